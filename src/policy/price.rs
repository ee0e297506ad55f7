//! Which agents a budget in dollars can't hold, since nobody could say what they cost.
//!
//! Knows no file: the prices come in.

use crate::model::{Board, Budget, Pot, Prices, Profile, ProfileKind};

/// An agent whose cost nobody will know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpriced {
    /// Its profile.
    pub profile: String,
    /// Why, in words.
    pub why: String,
    /// Whose budget it is.
    pub pot: Pot,
}

/// The agents under a budget in dollars that does not allow it, each once.
pub fn unpriced(board: &Board, prices: &Prices) -> Vec<Unpriced> {
    let mut found: Vec<Unpriced> = Vec::new();
    let strict = |budget: &Budget| budget.bounds.usd.is_some() && !budget.unknown;
    for (pot, _) in board.budgets().into_iter().filter(|(_, budget)| strict(budget)) {
        for task in &board.tasks {
            for profile in board.payees(task) {
                let under = match &pot {
                    Pot::Run => true,
                    Pot::Agent { name } => *name == profile.name,
                    Pot::Task { name } => *name == task.id,
                };
                let known = found.iter().any(|found| found.profile == profile.name);
                if !under || known {
                    continue;
                }
                // Only a profile's own list names models; those behind it are asked for theirs.
                let mut own = task.profiles().chain(board.helpers(task));
                let own = own.any(|name| name == profile.name);
                let models = if own { &profile.fallback[..] } else { &[] };
                let models = models.iter().filter(|name| !board.agents.contains_key(*name));
                let first = std::iter::once(profile.model.as_deref());
                let all = first.chain(models.map(|model| Some(model.as_str())));
                if let Some(why) = all.filter_map(|model| lacks(profile, model, prices)).next() {
                    found.push(Unpriced { profile: profile.name.clone(), why, pot: pot.clone() });
                }
            }
        }
    }
    found
}

/// Why nobody would know what this model of it costs.
fn lacks(profile: &Profile, model: Option<&str>, prices: &Prices) -> Option<String> {
    let kind = &profile.kind;
    // What a program of the user's tells is the user's to say.
    if *kind == ProfileKind::Command || kind.tells_usd() {
        return None;
    }
    let word = kind.word();
    match model {
        None => Some(format!("{word} tells tokens alone, and no `model` is named")),
        Some(model) if prices.of(model).is_none() => {
            Some(format!("{word} tells tokens alone, and no price of `{model}` is known"))
        }
        Some(_) => None,
    }
}
