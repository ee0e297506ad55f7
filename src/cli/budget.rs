//! Budgets on the command line: `--budget usd=+20`, and what is refused before anything is spent.
//!
//! Knows how they are spelt; the policy says what they mean.

use crate::event::RunState;
use crate::git::Repo;
use crate::model::{Board, Bounds, Budget, Measure, Pot, RunId, micro};
use crate::policy::unpriced;

use super::error::Failure;
use super::wiring;

/// One `--budget`: whose, of what, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pot: Pot,
    key: Key,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    /// Set, or raised by so much.
    Bound {
        measure: Measure,
        by: bool,
        amount: u64,
    },
    PerTask(u64),
    Unknown(bool),
}

/// `usd=+20`, `tokens=1000000`, `time=2h`, `agent.claude.usd=5`, `task.api.usd=+1`.
pub(super) fn parse(text: &str) -> Result<Change, String> {
    let such = "such as usd=+20, tokens=+1000000, time=+2h or agent.NAME.usd=5";
    let (name, value) = text.split_once('=').ok_or_else(|| such.to_owned())?;
    let (pot, key) = match name.rsplit_once('.') {
        None => (Pot::Run, name),
        Some((of, key)) => match of.split_once('.') {
            Some(("agent", name)) => (Pot::Agent { name: name.to_owned() }, key),
            Some(("task", name)) => {
                let name = name.parse().map_err(|_| format!("`{name}` is no name of a task"))?;
                (Pot::Task { name }, key)
            }
            _ => return Err(such.to_owned()),
        },
    };
    let (by, value) = match value.strip_prefix('+') {
        Some(value) => (true, value),
        None => (false, value),
    };
    let dollars = |value: &str| {
        let usd = value.parse::<f64>().ok().filter(|usd| usd.is_finite() && *usd > 0.0);
        usd.map(micro).ok_or_else(|| format!("`{value}` is no number of dollars above 0"))
    };
    let bound = |measure, amount| Key::Bound { measure, by, amount };
    let key = match key {
        "usd" => bound(Measure::Usd, dollars(value)?),
        "tokens" => {
            let tokens = value.parse().ok().filter(|tokens| *tokens > 0);
            let tokens =
                tokens.ok_or_else(|| format!("`{value}` is no number of tokens from 1"))?;
            bound(Measure::Tokens, tokens)
        }
        "time" => {
            let time = crate::board::length_of_time(value);
            let time = time.ok_or_else(|| format!("`{value}` is no time, such as 90m"))?;
            bound(Measure::Time, time.as_millis() as u64)
        }
        "per_task" if !by => Key::PerTask(dollars(value)?),
        "unknown" if !by && value == "allow" => Key::Unknown(true),
        "unknown" if !by && value == "refuse" => Key::Unknown(false),
        _ => return Err(such.to_owned()),
    };
    Ok(Change { pot, key })
}

/// What a board has of budgets after these changes, each pot once.
pub(super) fn changed(
    run: &RunId,
    board: &Board,
    changes: &[Change],
) -> Result<Vec<(Pot, Budget)>, Failure> {
    let mut board = Board::clone(board);
    let mut pots: Vec<Pot> = Vec::new();
    for Change { pot, key } in changes {
        let Some(place) = board.budget_at(pot) else {
            return Err(Failure::usage(format!("the board of run {run} has no {pot}")));
        };
        let budget = place.get_or_insert_default();
        match *key {
            Key::PerTask(each) => budget.per_task = Some(each),
            Key::Unknown(allow) => budget.unknown = allow,
            Key::Bound { measure, by, amount } => {
                let bound = budget.bounds.at(measure);
                *bound = match (*bound, by) {
                    (Some(before), true) => Some(before.saturating_add(amount)),
                    (_, false) => Some(amount),
                    (None, true) => {
                        let (key, amount) = (pot.key(measure), measure.spell(amount));
                        let text = format!("{pot} has no budget of {} to add to", measure.word());
                        return Err(
                            Failure::usage(text).hint(format!("set one: --budget {key}={amount}"))
                        );
                    }
                };
            }
        }
        if !pots.contains(pot) {
            pots.push(pot.clone());
        }
    }
    let all = pots.into_iter().filter_map(|pot| {
        let budget = (*board.budget_at(&pot)?)?;
        Some((pot, budget))
    });
    Ok(all.collect())
}

/// The board with these budgets.
pub(super) fn with(board: &Board, budgets: &[(Pot, Budget)]) -> Board {
    let mut board = board.clone();
    for (pot, budget) in budgets {
        if let Some(place) = board.budget_at(pot) {
            *place = Some(*budget);
        }
    }
    board
}

/// The board as its file has it now, with what `--budget` allowed the run since; and what its file says
/// where that differs. What was edited in the file since counts as it stands there.
pub(super) fn keeping(state: &RunState, board: Board) -> (Board, Vec<(Pot, Option<Budget>)>) {
    let (mut board, mut given) = (board, Vec::new());
    for (pot, before) in &state.given {
        let now = Board::clone(&state.board).budget_at(pot).and_then(|place| *place);
        let Some(place) = board.budget_at(pot) else { continue };
        let kept = match (now, *place) {
            (now, file) if file == *before => now,
            (Some(now), Some(file)) => Some(merged(before.unwrap_or_default(), now, file)),
            (_, file) => file,
        };
        if kept != *place {
            given.push((pot.clone(), std::mem::replace(place, kept)));
        }
    }
    (board, given)
}

/// Of each key what the file has if it was edited there, else what holds by now.
fn merged(before: Budget, now: Budget, file: Budget) -> Budget {
    fn pick<T: PartialEq>(before: &T, now: T, file: T) -> T {
        if file == *before { now } else { file }
    }
    let of = |measure| {
        let [before, now, file] = [before, now, file].map(|budget| budget.bounds.of(measure));
        pick(&before, now, file)
    };
    let [usd, tokens, time] = Measure::ALL.map(of);
    Budget {
        bounds: Bounds { usd, tokens, time },
        per_task: pick(&before.per_task, now.per_task, file.per_task),
        unknown: pick(&before.unknown, now.unknown, file.unknown),
    }
}

/// A budget in dollars can't hold whom nobody can charge.
pub(super) fn refuse_unpriced(repo: Option<&Repo>, board: &Board) -> Result<(), Failure> {
    if board.budgets().is_empty() {
        return Ok(());
    }
    let found = unpriced(board, &wiring::prices(repo)?);
    let Some(first) = found.first() else { return Ok(()) };
    let lines: Vec<String> = found
        .iter()
        .map(|agent| {
            let (name, pot, why) = (&agent.profile, &agent.pot, &agent.why);
            format!("the budget of {pot} is in dollars, and nobody would know what agent `{name}` costs: {why}")
        })
        .collect();
    let profile = &first.profile;
    let fallback = "let it run all the same, each attempt charged what it holds: `unknown = \"allow\"` with a `per_task` in the budget";
    Err(Failure::usage(lines.join("\nerror: "))
        .hint(format!("name a `model` of agent `{profile}` whose price is known: `todone cost` tells where prices come from"))
        .hint("or give the price: .todone/prices.toml, [model] \"NAME\" = { input = 1.25, output = 10 }")
        .hint(format!("or {fallback}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_spelt_after_the_board() {
        let bound =
            |pot, measure, by, amount| Ok(Change { pot, key: Key::Bound { measure, by, amount } });
        assert_eq!(parse("usd=+20"), bound(Pot::Run, Measure::Usd, true, 20_000_000));
        assert_eq!(parse("usd=0.5"), bound(Pot::Run, Measure::Usd, false, 500_000));
        assert_eq!(parse("tokens=+9"), bound(Pot::Run, Measure::Tokens, true, 9));
        assert_eq!(parse("time=+2h"), bound(Pot::Run, Measure::Time, true, 7_200_000));
        let agent = Pot::Agent { name: "my.agent".into() };
        assert_eq!(parse("agent.my.agent.usd=5"), bound(agent, Measure::Usd, false, 5_000_000));
        let task = Pot::Task { name: "a.b".parse().expect("a name") };
        assert_eq!(parse("task.a.b.usd=+1"), bound(task, Measure::Usd, true, 1_000_000));
        for bad in [
            "usd",
            "usd=",
            "usd=-1",
            "usd=nan",
            "tokens=1.5",
            "time=x",
            "x=1",
            "per_task=+1",
            "x.usd=1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
