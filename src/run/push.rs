//! Pushes branches to a remote, and has `gh` open pull requests.
//!
//! Knows the command lines of git and gh. They run with the user's own settings, hooks and credentials, under
//! a supervisor that ends them when the run is stopped; neither may ask questions.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use crate::event::{EventKind, LandRefusal, LandState, PushState, RunState};
use crate::executor::{BEAT, CommandSpec, Exit, How};
use crate::git::guard_env;
use crate::model::Published;

use super::publish::{Wanted, is_ours};
use super::slot::{Halt, World};
use super::{Error, Journal};

/// How long a push may take, or a call of gh.
const PATIENCE: Duration = Duration::from_secs(600);
/// The most lines of the remote that are told.
const LINES: usize = 8;
/// GitHub takes so many characters as the text of a pull request. Bytes are never fewer.
const BODY: usize = 65_536;

/// The beginning of a text, as much of it as a pull request takes.
fn short(body: &str) -> &str {
    &body[..body.floor_char_boundary(BODY.min(body.len()))]
}

/// What git says at the end of every push that failed, and helps nobody.
const NOISE: [&str; 4] = ["hint:", "error: failed to push some refs", "To ", "Done"];

/// What came of it.
pub(super) enum Pushed {
    /// They are there.
    Done(Vec<Published>),
    /// They are not, or not all.
    Refused(LandRefusal),
    /// The run was stopped.
    Stopped,
}

/// Pushes these branches to the board's remote.
pub(super) async fn push(
    world: &World,
    state: &RunState,
    wanted: Vec<Wanted>,
    halt: &watch::Receiver<Halt>,
) -> Result<Pushed, Error> {
    let remote = state.board.pushing.remote.clone();
    let mut argv: Vec<OsString> = ["git", "push", "--porcelain"].map(OsString::from).to_vec();
    for Wanted { branch, .. } in &wanted {
        // What this run pushed before is replaced, unless somebody went on from it.
        if let Some(before) = state.published.get(&branch.name)
            && !is_ours(state, &branch.name, branch.commit)
        {
            argv.push(format!("--force-with-lease={}:{before}", branch.name).into());
        }
    }
    argv.extend(["--".into(), remote.clone().into()]);
    argv.extend(
        wanted.iter().map(|Wanted { branch, .. }| {
            OsString::from(format!("{}:{}", branch.commit, branch.name))
        }),
    );
    let run = Run { world, halt };
    let (exit, out) = run.call(argv, "push").await?;
    match exit.how {
        How::Code(0) => {}
        How::Stopped => return Ok(Pushed::Stopped),
        _ => {
            let (refused, said) = (rejected(&out), said(&exit, &out));
            return Ok(Pushed::Refused(LandRefusal::NotPushed { remote, refused, said }));
        }
    }
    if !state.board.pushing.pull_requests {
        return Ok(Pushed::Done(wanted.into_iter().map(|wanted| wanted.branch).collect()));
    }
    let mut done = Vec::new();
    for wanted in wanted {
        match run.pull_request(state, &wanted).await? {
            Ok(Some(url)) => done.push(Published { url: Some(url), ..wanted.branch }),
            Ok(None) => return Ok(Pushed::Stopped),
            Err(said) => {
                let branch = wanted.branch.name;
                return Ok(Pushed::Refused(LandRefusal::NoPullRequest { remote, branch, said }));
            }
        }
    }
    Ok(Pushed::Done(done))
}

/// Pushes the branch that the run has landed on, or that had all of it before, and records what came of it.
/// Trying again after a death does nothing twice.
pub(super) async fn push_landed(
    world: &World,
    journal: &mut Journal,
    halt: &watch::Receiver<Halt>,
) -> Result<(), Error> {
    let state = journal.state();
    if !state.board.pushing.landed || matches!(state.push, PushState::Done { .. }) {
        return Ok(());
    }
    let landed = match (&state.land, &state.into) {
        (LandState::Landed { into, to }, _) => Some((into.clone(), *to)),
        (LandState::Refused(LandRefusal::Nothing), Some(into)) => {
            world.repo.ref_at(into)?.map(|at| (into.clone(), at))
        }
        _ => None,
    };
    let Some((branch, commit)) = landed else { return Ok(()) };
    let remote = state.board.pushing.remote.clone();
    let argv = ["git", "push", "--porcelain", "--", &remote, &format!("{commit}:{branch}")];
    let run = Run { world, halt };
    let (exit, out) = run.call(argv.map(OsString::from).to_vec(), "push").await?;
    journal.record(match exit.how {
        How::Code(0) => EventKind::LandPushed { remote, branch, commit },
        // The run can be resumed and will try again.
        How::Stopped => return Ok(()),
        _ => {
            let (refused, said) = (rejected(&out), said(&exit, &out));
            let reason = LandRefusal::NotPushed { remote, refused, said };
            EventKind::LandNotPushed { reason }
        }
    })
}

/// Where and until when commands run.
struct Run<'w> {
    world: &'w World,
    halt: &'w watch::Receiver<Halt>,
}

impl Run<'_> {
    /// The pull request of a branch, which is opened unless there is one; none: it was stopped.
    async fn pull_request(
        &self,
        state: &RunState,
        wanted: &Wanted,
    ) -> Result<Result<Option<String>, String>, Error> {
        let head = wanted.branch.name.trim_start_matches("refs/heads/");
        let view = ["gh", "pr", "view", head, "--json", "url", "--jq", ".url"];
        let (exit, out) = self.call(view.map(OsString::from).to_vec(), "gh").await?;
        if let (How::Code(0), Some(url)) = (&exit.how, last(&out)) {
            return Ok(Ok(Some(url)));
        }
        let (title, body) = wanted.message.split_once('\n').unwrap_or((&wanted.message, ""));
        let create =
            ["gh", "pr", "create", "--head", head, "--title", title, "--body", short(body.trim())];
        let mut argv = create.map(OsString::from).to_vec();
        if let Some(into) = &state.into {
            argv.extend(["--base".into(), into.trim_start_matches("refs/heads/").into()]);
        }
        let (exit, out) = self.call(argv, "gh").await?;
        Ok(match exit.how {
            How::Code(0) => Ok(Some(last(&out).unwrap_or_default())),
            How::Stopped => Ok(None),
            _ => Err(said(&exit, &out)),
        })
    }

    /// Runs a program in the user's checkout: how it ended, and its standard output.
    async fn call(&self, argv: Vec<OsString>, name: &str) -> Result<(Exit, String), Error> {
        let world = self.world;
        let mut env: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        for (key, value) in guard_env() {
            match value {
                Some(value) => _ = env.insert(key, value),
                None => _ = env.remove(&key),
            }
        }
        for (key, value) in
            [("GIT_TERMINAL_PROMPT", "0"), ("GH_PROMPT_DISABLED", "1"), ("LC_ALL", "C")]
        {
            env.insert(key.into(), value.into());
        }
        let out = world.dir.join("logs").join(format!("{name}.out"));
        let command = CommandSpec {
            argv,
            dir: world.repo.checkout().unwrap_or_else(|| world.repo.common_dir()).to_owned(),
            env: env.into_iter().collect(),
            input: None,
            timeout: Some(PATIENCE),
            idle_timeout: None,
            grace: Duration::from_secs(2),
            log: log(&world.dir, name),
            log_cap: 1 << 20,
            stdout: Some(out.clone()),
            stdout_cap: 1 << 20,
            beat: BEAT,
            secrets: world.secrets.values(),
            lock: None,
            locks: Vec::new(),
            confine: None,
            keep: None,
        };
        let exit = world.watch(command, self.halt.clone(), |_| {}).await?;
        // Without it nothing was printed.
        let text = std::fs::read(&out).unwrap_or_default();
        Ok((exit, String::from_utf8_lossy(&text).into_owned()))
    }
}

fn log(dir: &Path, name: &str) -> PathBuf {
    dir.join("logs").join(format!("{name}.log"))
}

fn last(out: &str) -> Option<String> {
    out.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
}

/// The branches that the remote did not take, with git's reason.
fn rejected(out: &str) -> Vec<(String, String)> {
    let lines = out.lines().filter_map(|line| line.strip_prefix("!\t"));
    lines
        .filter_map(|line| {
            let (refs, why) = line.split_once('\t')?;
            let (_, name) = refs.split_once(':')?;
            let why = why.trim().trim_start_matches("[remote rejected]");
            let why = why.trim_start_matches("[rejected]").trim();
            Some((name.to_owned(), why.trim_matches(['(', ')']).to_owned()))
        })
        .collect()
}

/// The last words of a program that failed, without what says nothing.
fn said(exit: &Exit, out: &str) -> String {
    let text = String::from_utf8_lossy(&exit.tail);
    let plain = |line: &str| line.trim_start_matches("remote:").trim().to_owned();
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !out.lines().any(|other| other == *line))
        .filter(|line| NOISE.iter().all(|noise| !line.starts_with(noise)))
        .map(plain)
        .filter(|line| !line.is_empty())
        .collect();
    let how = match &exit.how {
        How::Code(_) => None,
        How::Timeout => Some("it took too long".to_owned()),
        How::NotStarted(why) | How::NoRoom(why) => Some(why.clone()),
        How::Signal(signal) => Some(format!("it was killed by signal {signal}")),
        _ => Some("it was lost".to_owned()),
    };
    lines.extend(how);
    lines.drain(..lines.len().saturating_sub(LINES));
    lines.join("\n")
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    fn read(out: &[u8]) -> Vec<(String, String)> {
        let out = String::from_utf8_lossy(out);
        let found = rejected(&out);
        // No more is told than was said, and nothing of it twice.
        let told: usize = found.iter().map(|(name, why)| name.len() + why.len()).sum();
        assert!(told <= out.len(), "{found:?}");
        found
    }

    #[test]
    fn push_porcelain() {
        let first = ("refs/heads/a".to_owned(), "fetch first".to_owned());
        target("push-porcelain", Vec::new(), |out| {
            let all = read(&[b"!\ta:refs/heads/a\t[rejected] (fetch first)\n", out].concat());
            assert_eq!(all.first(), Some(&first), "hidden by what comes later");
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_of_refused_branches_is_understood() {
        let out = "To /tmp/x\n!\tabc:refs/heads/todone/b\t[remote rejected] (pre-receive hook declined)\n\
                   *\tdef:refs/heads/c\t[new branch]\n!\tdef:refs/heads/d\t[rejected] (fetch first)\nDone\n";
        let wanted =
            [("refs/heads/todone/b", "pre-receive hook declined"), ("refs/heads/d", "fetch first")];
        let wanted = wanted.map(|(name, why)| (name.to_owned(), why.to_owned()));
        assert_eq!(rejected(out), wanted);
    }

    #[test]
    fn a_pull_request_says_no_more_than_github_takes() {
        assert_eq!(short("all of it"), "all of it");
        assert_eq!(short(&"ü".repeat(40_000)).len(), 65_536);
        assert_eq!(short(&format!("x{}", "ü".repeat(40_000))).len(), 65_535);
    }
}
