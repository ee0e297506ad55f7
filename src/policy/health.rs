//! When a profile may be asked again, and whether at all: holds and stops of its account, its own breaker.
//!
//! Knows no task and no clock; it is told what came of attempts, and when.
//!
//! All profiles of one kind that say who they are and where they ask alike share an account. A limit holds
//! all of it, an overloaded model only that model. A breaker is of one profile: two of an account may have
//! other programs, models and flags, and one that works says nothing of one that does not.

use std::collections::BTreeMap;

use crate::model::{Failure, Profile, ProfileKind, Recovery, Trouble, Turned};

use super::breaker::Record;

/// How long is waited the first time if nobody says how long; it doubles.
const WAIT: u64 = Recovery::FIRST_WAIT;
/// The longest that is waited if nobody says how long.
const MOST_WAIT: u64 = Recovery::LONGEST_WAIT;

/// Whether an account may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Now.
    Open,
    /// At this time, in milliseconds since 1970.
    Until {
        /// The time.
        at: u64,
        /// What is waited for, in words: `claude's rate limit`.
        what: String,
    },
    /// One is being tried; the others wait for what comes of it.
    Probing {
        /// What is waited for, in words.
        what: String,
    },
}

#[derive(Clone, Debug, Default)]
struct Account {
    /// Until when nothing is asked, and why.
    hold: Option<(u64, Trouble)>,
    /// Limits met in a row.
    strikes: u32,
    /// The same for one model.
    models: BTreeMap<Option<String>, (u64, u32, Trouble)>,
    /// Why nobody asks it any more.
    stopped: Option<String>,
}

/// How the accounts and the profiles of a run stand.
#[derive(Clone, Debug, Default)]
pub struct Health {
    accounts: BTreeMap<String, Account>,
    profiles: BTreeMap<String, Record>,
    /// How breakers turned since that was asked for last.
    turns: Vec<Turned>,
}

/// Whether a variable may say who asks, or whom: a credential, an address, where a program finds its own.
pub fn says_who(name: &str) -> bool {
    const ENDS: [&str; 4] = ["_KEY", "_TOKEN", "_SECRET", "_PASSWORD"];
    const HOLDS: [&str; 15] = [
        "ACCESS_KEY",
        "ACCOUNT",
        "API_BASE",
        "AUTH",
        "BASE_URL",
        "BEDROCK",
        "CONFIG",
        "CREDENTIAL",
        "ENDPOINT",
        "HOME",
        "ORGANIZATION",
        "PROFILE",
        "PROJECT",
        "REGION",
        "VERTEX",
    ];
    // These are of a login, whoever is asked.
    const LOGIN: [&str; 2] = ["SSH_AUTH_SOCK", "XAUTHORITY"];
    let name = name.to_ascii_uppercase();
    if LOGIN.contains(&name.as_str()) {
        return false;
    }
    ENDS.iter().any(|end| name.ends_with(end)) || HOLDS.iter().any(|part| name.contains(part))
}

/// What profiles with the same credentials share.
pub fn account(profile: &Profile) -> String {
    match profile.kind {
        ProfileKind::Command => format!("profile {}", profile.name),
        // What they speak says nothing of who they are.
        ProfileKind::Acp => format!("{} {}", profile.command.join(" "), env(profile)),
        _ => format!("{} {}", profile.kind.word(), env(profile)),
    }
}

/// What of the environment of a profile tells its account from another. Of a value that the caller's
/// environment gives, its name.
fn env(profile: &Profile) -> String {
    let own = profile.env.iter().filter(|(name, _)| says_who(name));
    let given = profile.env_from.iter().filter(|(name, _)| says_who(name));
    format!("{:?} {:?}", own.collect::<Vec<_>>(), given.collect::<Vec<_>>())
}

/// A spread of up to a fifth, so that not everybody comes back at once. The same for the same salt.
fn jitter(millis: u64, salt: u64) -> u64 {
    // Mixes the bits of the salt well enough for that.
    let mixed = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31) >> 40;
    millis / 5 * (mixed % 100) / 100
}

impl Health {
    /// An attempt with this profile failed so at this time; none: it did well.
    pub fn heard(&mut self, profile: &Profile, failure: Option<&Failure>, now: u64) {
        let name = profile.name.as_str();
        let llm = profile.kind.is_llm();
        let account = self.accounts.entry(account(profile)).or_default();
        let record = self.profiles.entry(name.to_owned()).or_default();
        // Of these it is not to blame, and they say nothing of whether it works.
        if let Some(Failure::Interrupted | Failure::Setup { .. } | Failure::Handoff { .. }) =
            failure
        {
            self.turns.extend(record.let_go(name));
            return;
        }
        let probed = std::mem::take(&mut record.probing);
        record.lacks = matches!(failure, Some(Failure::Start { .. }));
        let how = match failure {
            Some(failure @ Failure::Agent { kind, message, after, at }) => match kind {
                Trouble::RateLimit => {
                    let told = at.map(|at| at.saturating_sub(now)).or(*after);
                    // Others may have been under way when the first one met the limit.
                    if account.hold.is_none_or(|(until, _)| now >= until) {
                        account.strikes += 1;
                    }
                    let wait = wait(told, account.strikes, at.is_some(), now);
                    let until = account.hold.map_or(0, |(until, _)| until).max(now + wait);
                    account.hold = Some((until, *kind));
                    None
                }
                Trouble::Overloaded | Trouble::Server | Trouble::Network => {
                    let model =
                        account.models.entry(profile.model.clone()).or_insert((0, 0, *kind));
                    if now >= model.0 {
                        model.1 += 1;
                    }
                    *model = (model.0.max(now + wait(*after, model.1, false, now)), model.1, *kind);
                    (*kind != Trouble::Overloaded).then_some(failure)
                }
                Trouble::Auth | Trouble::Quota => {
                    account.stopped = Some(format!("{kind}: {message}"));
                    None
                }
                Trouble::NoResult | Trouble::Other => Some(failure),
                _ => None,
            },
            Some(failure @ Failure::Start { .. }) if llm => {
                record.stopped = Some(failure.to_string());
                None
            }
            // A command ended badly by itself, which a test or a rewriter may do for its task's sake: that is no
            // dead agent, but one that can't be started, or is killed, is.
            Some(Failure::Exit { .. }) if !llm => None,
            Some(
                failure @ (Failure::Start { .. }
                | Failure::Exit { .. }
                | Failure::Signal { .. }
                | Failure::Lost),
            ) => Some(failure),
            // Whatever else went wrong, it worked.
            _ => {
                self.turns.extend(record.works(name));
                *account = Account { stopped: account.stopped.take(), ..Account::default() };
                None
            }
        };
        if let Some(failure) = how {
            let how = match failure {
                Failure::Agent { kind, .. } => kind.to_string(),
                failure => failure.to_string(),
            };
            self.turns.extend(record.fails(name, &how, probed, now));
        }
    }

    /// An attempt that was let through did not come to its beginning.
    pub fn let_go(&mut self, profile: &Profile) {
        let record = self.profiles.get_mut(&profile.name);
        self.turns.extend(record.and_then(|record| record.let_go(&profile.name)));
    }

    /// An attempt begins.
    pub fn begins(&mut self, profile: &Profile) {
        let record = self.profiles.get_mut(&profile.name);
        self.turns.extend(record.and_then(|record| record.begins(&profile.name)));
    }

    /// How breakers turned since this was asked last.
    pub fn turned(&mut self) -> Vec<Turned> {
        std::mem::take(&mut self.turns)
    }

    /// Whether this profile, with its model, may be asked now.
    pub fn gate(&self, profile: &Profile, now: u64) -> Gate {
        let name = &profile.name;
        let what = |kind: Trouble| match kind {
            Trouble::RateLimit => format!("{name}'s rate limit"),
            kind => format!("{name} ({kind})"),
        };
        if let Some(account) = self.accounts.get(&account(profile)) {
            let model = account.models.get(&profile.model).map(|(at, _, kind)| (*at, *kind));
            for (at, kind) in account.hold.into_iter().chain(model) {
                if now < at {
                    return Gate::Until { at, what: what(kind) };
                }
            }
        }
        match self.profiles.get(name) {
            Some(record) if record.tripped() => {
                let what = format!("{name}, which failed {} times in a row", record.failed);
                if now < record.open_until {
                    return Gate::Until { at: record.open_until, what };
                }
                if record.probing {
                    return Gate::Probing { what: format!("the one try of {what}") };
                }
                Gate::Open
            }
            _ => Gate::Open,
        }
    }

    /// Until when a limit holds the whole account of this profile; none: none does.
    pub fn limit(&self, profile: &Profile) -> Option<u64> {
        self.accounts.get(&account(profile))?.hold.map(|(until, _)| until)
    }

    /// Why this profile is not asked any more, and what to do.
    pub fn stopped(&self, profile: &Profile) -> Option<&str> {
        let account = self.accounts.get(&account(profile)).and_then(|of| of.stopped.as_deref());
        account.or_else(|| self.profiles.get(&profile.name)?.stopped.as_deref())
    }

    /// Whether the program of this profile could not be started the last time.
    pub fn lacks(&self, profile: &str) -> bool {
        self.profiles.get(profile).is_some_and(|record| record.lacks)
    }

    /// Whoever takes a run up again has mended what stopped it; limits hold on.
    pub fn lift(&mut self) {
        self.turns.clear();
        self.profiles.clear();
        for account in self.accounts.values_mut() {
            account.stopped = None;
        }
    }
}

/// How long is waited: what was told, else doubling; longer each time in a row, and a spread. A moment
/// that was told is not doubled.
fn wait(told: Option<u64>, strikes: u32, moment: bool, now: u64) -> u64 {
    let times = 1_u64 << strikes.saturating_sub(1).min(10);
    let wait = match told {
        Some(told) if moment => told,
        Some(told) => told.saturating_mul(times).max(1),
        None => WAIT.saturating_mul(times).min(MOST_WAIT),
    };
    wait.saturating_add(jitter(wait.min(MOST_WAIT), now ^ u64::from(strikes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Breaker;

    const IN_A_ROW: u32 = Recovery::IN_A_ROW;
    const PROBES: u32 = Recovery::PROBES;
    const OPEN: u64 = Recovery::OPEN;
    const NOW: u64 = 1_700_000_000_000;

    fn agent(kind: Trouble, after: Option<u64>, at: Option<u64>) -> Option<Failure> {
        Some(Failure::Agent { kind, message: "words".into(), after, at })
    }

    fn claude(name: &str, model: Option<&str>) -> Profile {
        let model = model.map(str::to_owned);
        Profile { model, ..Profile::new(name, ProfileKind::Claude) }
    }

    fn until(health: &Health, profile: &Profile, now: u64) -> u64 {
        match health.gate(profile, now) {
            Gate::Until { at, .. } => at - now,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_limit_holds_the_account_and_grows_and_ends_with_a_success() {
        let (one, two, codex) =
            (claude("one", None), claude("two", Some("m")), Profile::new("c", ProfileKind::Codex));
        let mut health = Health::default();
        health.heard(&one, agent(Trouble::RateLimit, None, None).as_ref(), NOW);
        let first = until(&health, &one, NOW);
        assert!((WAIT..=WAIT * 6 / 5).contains(&first), "{first}");
        assert_eq!(until(&health, &two, NOW), first, "the account is the same");
        assert_eq!(health.gate(&codex, NOW), Gate::Open);
        assert!(matches!(health.gate(&one, NOW),
            Gate::Until { what, .. } if what == "one's rate limit"));
        // A second one that was under way does not double it.
        health.heard(&two, agent(Trouble::RateLimit, None, None).as_ref(), NOW + 10);
        assert!(until(&health, &one, NOW) <= WAIT * 6 / 5 + 10);
        let later = NOW + 20_000;
        assert_eq!(health.gate(&one, later), Gate::Open);
        health.heard(&one, agent(Trouble::RateLimit, None, None).as_ref(), later);
        assert!((2 * WAIT..=WAIT * 12 / 5).contains(&until(&health, &one, later)));
        health.heard(&one, None, later + 20_000);
        health.heard(&one, agent(Trouble::RateLimit, None, None).as_ref(), later + 30_000);
        assert!(until(&health, &one, later + 30_000) <= WAIT * 6 / 5);
    }

    #[test]
    fn agents_of_one_protocol_are_not_of_one_account() {
        let speaks = |program: &str| {
            let command = vec![program.to_owned(), "--acp".to_owned()];
            Profile { command, ..Profile::new(program, ProfileKind::Acp) }
        };
        let (gemini, other) = (speaks("gemini"), speaks("other"));
        let mut health = Health::default();
        health.heard(&gemini, agent(Trouble::RateLimit, None, None).as_ref(), NOW);
        assert!(until(&health, &gemini, NOW) >= WAIT);
        assert_eq!(health.gate(&other, NOW), Gate::Open);
    }

    #[test]
    fn what_the_service_says_is_heeded() {
        let one = claude("one", None);
        let mut health = Health::default();
        health.heard(&one, agent(Trouble::RateLimit, Some(60_000), None).as_ref(), NOW);
        assert!((60_000..=72_000).contains(&until(&health, &one, NOW)));
        let mut health = Health::default();
        let reset = NOW + 3 * 3_600_000;
        health.heard(&one, agent(Trouble::RateLimit, Some(1), Some(reset)).as_ref(), NOW);
        let wait = until(&health, &one, NOW);
        assert!((3 * 3_600_000..=3 * 3_600_000 + 60_000).contains(&wait), "{wait}");
    }

    #[test]
    fn an_account_is_told_by_what_says_who_asks_and_by_nothing_else() {
        let with = |kind: &ProfileKind, name: &str, given: bool| {
            let mut profile = Profile::new("two", kind.clone());
            let env = if given { &mut profile.env_from } else { &mut profile.env };
            env.insert(name.to_owned(), "X".to_owned());
            profile
        };
        for kind in [ProfileKind::Claude, ProfileKind::Codex, ProfileKind::Acp] {
            let mut health = Health::default();
            let one = Profile::new("one", kind.clone());
            health.heard(&one, agent(Trouble::RateLimit, None, None).as_ref(), NOW);
            for name in ["FOO", "RUST_LOG", "MAX_THINKING_TOKENS", "HTTP_TIMEOUT"] {
                assert_ne!(health.gate(&with(&kind, name, false), NOW), Gate::Open, "{name}");
            }
            for name in [
                "ANTHROPIC_API_KEY",
                "CLAUDE_CODE_OAUTH_TOKEN",
                "OPENAI_BASE_URL",
                "OPENAI_API_BASE",
                "AZURE_OPENAI_ENDPOINT",
                "CODEX_HOME",
                "HOME",
                "CLAUDE_CONFIG_DIR",
                "XDG_CONFIG_HOME",
                "AWS_PROFILE",
                "AWS_REGION",
                "AWS_ACCESS_KEY_ID",
                "CLAUDE_CODE_USE_BEDROCK",
                "CLAUDE_CODE_USE_VERTEX",
                "GOOGLE_CLOUD_PROJECT",
                "GOOGLE_APPLICATION_CREDENTIALS",
                "OPENCODE_CONFIG_CONTENT",
            ] {
                for given in [false, true] {
                    let other = with(&kind, name, given);
                    assert_eq!(health.gate(&other, NOW), Gate::Open, "{name}");
                }
            }
        }
    }

    #[test]
    fn an_overloaded_model_holds_up_no_other() {
        let (opus, haiku) = (claude("a", Some("opus")), claude("a", Some("haiku")));
        let mut health = Health::default();
        health.heard(&opus, agent(Trouble::Overloaded, None, None).as_ref(), NOW);
        assert!(until(&health, &opus, NOW) >= WAIT);
        assert_eq!(health.gate(&haiku, NOW), Gate::Open);
    }

    #[test]
    fn auth_and_quota_stop_the_account_until_somebody_takes_the_run_up_again() {
        let (one, other) = (claude("one", None), claude("other", None));
        let mut apart = claude("apart", None);
        apart.env.insert("CLAUDE_CONFIG_DIR".into(), "/elsewhere".into());
        let mut health = Health::default();
        health.heard(&one, agent(Trouble::Auth, None, None).as_ref(), NOW);
        assert_eq!(health.stopped(&other), Some("not signed in: words"));
        assert_eq!(health.stopped(&apart), None);
        health.heard(&one, None, NOW);
        assert!(health.stopped(&one).is_some(), "one that was under way changes nothing");
        health.lift();
        assert_eq!(health.stopped(&one), None);
    }

    #[test]
    fn a_breaker_opens_probes_one_at_a_time_and_gives_up() {
        let one = claude("one", None);
        let crash = || Failure::Exit { code: 1 };
        let mut health = Health::default();
        for _ in 0..IN_A_ROW - 1 {
            health.heard(&one, Some(&crash()), NOW);
        }
        assert_eq!(health.gate(&one, NOW), Gate::Open);
        // A red verify is no crash: the agent works.
        health.heard(&one, Some(&Failure::Verify { code: None, tail: String::new() }), NOW);
        for _ in 0..IN_A_ROW {
            assert_eq!(health.gate(&one, NOW), Gate::Open);
            health.heard(&one, Some(&crash()), NOW);
        }
        let mut now = NOW;
        for round in 0..PROBES {
            assert_eq!(until(&health, &one, now), OPEN << round);
            now += OPEN << round;
            assert_eq!(health.gate(&one, now), Gate::Open);
            health.begins(&one);
            assert!(matches!(health.gate(&one, now), Gate::Probing { .. }));
            assert_eq!(health.stopped(&one), None);
            health.heard(&one, Some(&crash()), now);
        }
        assert!(health.stopped(&one).expect("stopped").contains("in a row"));
        // A success closes it.
        let mut health = Health::default();
        for _ in 0..IN_A_ROW {
            health.heard(&one, Some(&crash()), NOW);
        }
        health.begins(&one);
        health.heard(&one, None, NOW + OPEN);
        assert_eq!(health.gate(&one, NOW + OPEN), Gate::Open);
    }

    #[test]
    fn a_breaker_is_of_one_profile_and_a_limit_of_all_that_share_the_account() {
        let (bad, good) = (claude("bad", None), claude("good", None));
        let crash = Failure::Exit { code: 1 };
        let mut health = Health::default();
        for _ in 0..IN_A_ROW {
            health.heard(&bad, Some(&crash), NOW);
            // That the other one works says nothing of this one.
            health.heard(&good, None, NOW);
        }
        let turned: Vec<_> =
            health.turned().into_iter().map(|it| (it.profile, it.breaker)).collect();
        assert_eq!(turned, [("bad".to_owned(), Breaker::Open)]);
        assert_eq!(until(&health, &bad, NOW), OPEN);
        assert_eq!(health.gate(&good, NOW), Gate::Open);
        // Nor is the other one held while this one is tried, and then stopped.
        let mut now = NOW;
        for round in 0..PROBES {
            now += OPEN << round;
            health.begins(&bad);
            assert!(matches!(health.gate(&bad, now), Gate::Probing { .. }));
            assert_eq!(health.gate(&good, now), Gate::Open);
            health.heard(&bad, Some(&crash), now);
        }
        assert!(health.stopped(&bad).expect("stopped").contains("`bad` failed"));
        assert_eq!(health.stopped(&good), None);
        // A program that is not there is that of one profile.
        let mut elsewhere = claude("elsewhere", None);
        elsewhere.command = vec!["no-such-program".to_owned()];
        let missing = Failure::Start { reason: "it is not there".into() };
        health.heard(&elsewhere, Some(&missing), now);
        assert!(health.stopped(&elsewhere).is_some() && health.lacks("elsewhere"));
        assert!(health.stopped(&good).is_none() && !health.lacks("good"));
        health.heard(&good, agent(Trouble::RateLimit, None, None).as_ref(), now);
        assert!(until(&health, &elsewhere, now) >= WAIT);
    }

    #[test]
    fn a_breaker_tells_how_it_turns() {
        let one = claude("one", None);
        let crash = Failure::Exit { code: 1 };
        let mut health = Health::default();
        let told = |health: &mut Health| -> Vec<(String, Breaker, u32, Option<u64>)> {
            let turns = health.turned().into_iter();
            turns.map(|it| (it.profile, it.breaker, it.failed, it.until)).collect()
        };
        for _ in 0..IN_A_ROW {
            assert!(told(&mut health).is_empty());
            health.heard(&one, Some(&crash), NOW);
        }
        let name = || "one".to_owned();
        let until = Some(NOW + OPEN);
        assert_eq!(told(&mut health), [(name(), Breaker::Open, IN_A_ROW, until)]);
        // One is let through, and is not started after all.
        health.begins(&one);
        health.let_go(&one);
        assert_eq!(
            told(&mut health),
            [(name(), Breaker::HalfOpen, IN_A_ROW, None), (name(), Breaker::Open, IN_A_ROW, until)]
        );
        // One that is interrupted says nothing either.
        health.begins(&one);
        health.heard(&one, Some(&Failure::Interrupted), NOW + OPEN);
        assert_eq!(
            told(&mut health),
            [(name(), Breaker::HalfOpen, IN_A_ROW, None), (name(), Breaker::Open, IN_A_ROW, until)]
        );
        health.begins(&one);
        health.heard(&one, None, NOW + OPEN);
        health.let_go(&one);
        assert_eq!(
            told(&mut health),
            [
                (name(), Breaker::HalfOpen, IN_A_ROW, None),
                (name(), Breaker::Closed, IN_A_ROW, None)
            ]
        );
        // Open for good.
        let mut now = NOW;
        for round in 0..=PROBES {
            for _ in 0..if round == 0 { IN_A_ROW } else { 1 } {
                health.begins(&one);
                health.heard(&one, Some(&crash), now);
            }
            now += OPEN << round;
        }
        assert_eq!(told(&mut health).last().map(|it| (it.1, it.3)), Some((Breaker::Open, None)));
        health.lift();
        assert!(told(&mut health).is_empty());
    }

    #[test]
    fn a_command_has_a_breaker_for_what_is_not_its_tasks() {
        let own = Profile::new("own", ProfileKind::Command);
        let gate = |failure: Option<Failure>| {
            let mut health = Health::default();
            for _ in 0..IN_A_ROW {
                health.heard(&own, failure.as_ref(), NOW);
            }
            health.gate(&own, NOW)
        };
        // A test that fails, or a rewriter, is no dead agent.
        assert_eq!(gate(Some(Failure::Exit { code: 1 })), Gate::Open);
        for failure in [
            agent(Trouble::Other, None, None),
            agent(Trouble::NoResult, None, None),
            Some(Failure::Signal { signal: 9 }),
            Some(Failure::Lost),
            Some(Failure::Start { reason: "it is not there".into() }),
        ] {
            assert!(matches!(gate(failure.clone()), Gate::Until { .. }), "{failure:?}");
        }
    }
}
