//! A slot made ready and a command run in it: what attempts, gates and expansions share.
//!
//! Knows no task states and records no event.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;

use crate::executor::{BEAT, Claims, CommandSpec, Confine, Executor, How, Walls, at_home};
use crate::git::{Identity, Lease, Leftover, Pool, Prepare, Purpose, Repo, Snapshot};
use crate::model::{
    Clean, Isolation, Note, Oid, Prices, RepoPath, RunId, Sandbox, Sandboxing, Setup,
};

use super::capture;
use super::outward::Who;
use super::seat::{Seat, Seats};
use super::secrets::Secrets;
use super::trials::{Known, Trial, Trials};
use super::warm::Warm;
use super::{Error, Lookout, Names};

/// How long a lease waits for a supervisor that is about to end.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long a command has between the first signal and SIGKILL.
pub const GRACE: Duration = Duration::from_secs(5);
/// The most that a log holds.
const LOG_CAP: u64 = 64 << 20;
/// The most of a standard output that is kept as a handoff.
pub const OUTPUT_CAP: u64 = 1 << 20;
/// The most if a foreach takes its items from it.
pub const ITEMS_CAP: u64 = 16 << 20;

/// What a run works with. Cheap to clone; each job takes its own.
#[derive(Clone)]
pub struct World {
    /// The run.
    pub run: RunId,
    /// The repository.
    pub repo: Repo,
    /// Its slots.
    pub pool: Pool,
    /// What the tasks of all runs of this user hold: locks and limits.
    pub claims: Claims,
    /// The numbers, ports and directories of what runs at one time.
    pub seats: Seats,
    /// The setups that were tried.
    pub trials: Trials,
    /// The program of todone itself.
    pub program: PathBuf,
    /// Where commands run.
    pub executor: Arc<dyn Executor>,
    /// Who makes the commits.
    pub identity: Identity,
    /// The environment that tasks inherit from the caller, before todone's own variables.
    pub env: Arc<Vec<(OsString, OsString)>>,
    /// The values of the caller's variables that the board hands on by `env = { NAME = { from } }`.
    pub given: Arc<BTreeMap<String, OsString>>,
    /// What is to be seen nowhere.
    pub secrets: Arc<Secrets>,
    /// The run's folder: logs and scratch files.
    pub dir: PathBuf,
    /// The time in milliseconds since 1970.
    pub now: fn() -> u64,
    /// How many tasks at once; none: as many as the run began with.
    pub jobs: Option<u32>,
    /// Where the machine tells how much it has to do: the root of its files.
    pub machine: PathBuf,
    /// Whether every merge is done a second time by git alone.
    pub both_ways: bool,
    /// Whether conflicts are looked for while tasks run.
    pub foresee: bool,
    /// Who looks whether tasks change what is the user's.
    pub lookout: Lookout,
    /// What can be enforced of the sandboxes that the board asks for.
    pub walls: Walls,
    /// What models cost.
    pub prices: Arc<Prices>,
    /// The user's home.
    pub home: Option<PathBuf>,
    /// The agent programs that stay from task to task.
    pub warm: Warm,
    /// Whether any agent of the board may not publish.
    pub keeps_in: bool,
    /// What of a tree git runs as hooks here, once it was asked for.
    pub hooks: Arc<OnceLock<Vec<RepoPath>>>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("run", &self.run).field("dir", &self.dir).finish()
    }
}

/// Whether and how a run is being stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Halt {
    /// It goes on.
    #[default]
    No,
    /// Nothing new; commands are asked to end, what they left is captured.
    Gently,
    /// Everything ends at once; what they left is captured on resume.
    Now,
}

/// How a slot is to be made ready.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What it is for.
    pub purpose: Purpose,
    /// How it is kept apart from the user's repository.
    pub isolation: Isolation,
    /// What `setup` is kept from writing.
    pub sandbox: Sandboxing,
    /// The commit whose tree it holds.
    pub base: Oid,
    /// What stays in it from before.
    pub clean: Clean,
    /// What is copied in.
    pub copy: Vec<String>,
    /// What prepares it once.
    pub setup: Option<Setup>,
    /// Its dirty mark.
    pub label: String,
    /// The worktree that it would best be.
    pub near: Option<PathBuf>,
}

/// A slot that is ready.
#[derive(Debug)]
pub struct Ready {
    /// The slot.
    pub lease: Lease,
    /// The seat of what runs in it.
    pub seat: Seat,
    /// What was worth telling.
    pub notes: Vec<Note>,
    /// What was found in it from an attempt that nobody ended.
    pub leftover: Option<Leftover>,
}

/// Where a command works in a leased slot.
#[derive(Clone, Debug)]
pub struct Place {
    /// The root of its worktree.
    pub worktree: PathBuf,
    /// The lock that a supervisor holds.
    pub lock: PathBuf,
    /// The number of its seat.
    pub seat: u32,
    /// The first of its ports.
    pub port: Option<u16>,
    /// The directory for its temporary files.
    pub tmp: PathBuf,
    /// What else a supervisor holds.
    pub locks: Vec<PathBuf>,
    /// What a command may write here; none: anything.
    pub confine: Option<Confine>,
}

impl Place {
    /// The same place behind the walls that are asked for, as far as they can be enforced.
    #[must_use]
    pub fn fenced(mut self, world: &World, asked: &Sandboxing) -> Self {
        let level = world.walls.enforced(asked.level);
        self.confine = (level != Sandbox::None).then(|| {
            let own = [self.worktree.clone(), self.tmp.clone()];
            let more = asked.paths.iter().map(|path| at_home(path, world.home.as_deref()));
            Confine {
                level,
                writable: own.into_iter().chain(more).collect(),
                network: asked.network,
            }
        });
        self
    }

    /// A directory of the worktree, an empty path is its root; or why it is none: a link leads out of there.
    /// What is done elsewhere would be in no patch, and nobody's to keep apart.
    pub fn dir(&self, path: &RepoPath) -> Result<PathBuf, String> {
        // Joining an empty path would leave a slash at the end of PWD.
        if path.as_bytes().is_empty() {
            return Ok(self.worktree.clone());
        }
        let dir = self.worktree.join(path.to_path());
        match (dir.canonicalize(), self.worktree.canonicalize()) {
            (Ok(real), Ok(root)) if !real.starts_with(&root) => {
                let text = format!("its directory `{path}` leads out of the worktree, to");
                Err(format!("{text} `{}`", real.display()))
            }
            // One that is not there is told by whoever starts it.
            _ => Ok(dir),
        }
    }

    /// That of this slot and this seat.
    pub fn of(lease: &Lease, seat: &Seat) -> Self {
        Self {
            worktree: lease.worktree().to_owned(),
            lock: lease.busy_lock().to_owned(),
            seat: seat.number(),
            port: seat.port(),
            tmp: seat.dir().to_owned(),
            locks: vec![seat.busy().to_owned()],
            confine: None,
        }
    }
}

/// What kept a slot from becoming ready though todone itself could go on.
#[derive(Debug)]
pub enum NotReady {
    /// `setup` failed: the last lines of its output.
    Setup(String),
    /// The run is being stopped.
    Halted,
}

/// How `setup` went.
#[derive(Debug)]
pub(super) enum SetUp {
    /// It need not run.
    Before,
    /// It ran, and well.
    Ran,
    /// It failed: the last lines of its output.
    Failed(String),
    /// The run is being stopped.
    Halted,
}

/// Runs blocking work on the blocking pool.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(gone) => std::panic::resume_unwind(gone.into_panic()),
    }
}

impl World {
    /// The names of this run.
    pub fn names(&self) -> Names {
        Names::of(&self.run)
    }

    /// A variable that tasks inherit.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        let found = self.env.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_os_str())
    }

    /// How the commit of a snapshot is written. The same for equal content, so that runs compare.
    pub fn snapshot(&self, message: String, epoch: i64) -> Snapshot {
        Snapshot { message, identity: self.identity.clone(), time: epoch }
    }

    /// Leases a slot and makes it ready.
    pub async fn ready(
        &self,
        wish: Wish,
        halt: &watch::Receiver<Halt>,
    ) -> Result<Result<Ready, NotReady>, Error> {
        let world = self.clone();
        let (wish, mut lease, seat, leftover) = blocking(move || {
            let setup = wish.setup.as_ref().map(|setup| setup.run.as_str());
            // What `setup` installs for one, or a copy brings, must make nothing of another's green.
            let key = serde_json::json!([setup, wish.copy]).to_string();
            let pool = world.pool.isolated(wish.isolation).suited(key, world.run.to_string());
            let mut lease = match &wish.near {
                Some(near) => pool.lease_near(near, wish.purpose, PATIENCE)?,
                None => pool.lease(wish.purpose, PATIENCE)?,
            };
            let how = world.snapshot("todone: found in a slot that nobody gave back\n".into(), 0);
            let leftover =
                lease.salvage(&how, &|label, found| capture::found(&world, label, found))?;
            let seat = world.seats.take().map_err(|source| Error::Io {
                doing: "finding a number, ports and a directory for",
                path: lease.worktree().to_owned(),
                source,
            })?;
            lease.prepare(&Prepare {
                base: wish.base,
                pin: Some(world.names().pin(wish.base)),
                clean: wish.clean,
                copy: wish.copy.clone(),
                label: wish.label.clone(),
            })?;
            Ok((wish, lease, seat, leftover))
        })
        .await?;
        let mut setup_ran = false;
        if let Some(setup) = &wish.setup {
            let not_ready = match self.set_up(&mut lease, &seat, setup, &wish, halt).await? {
                SetUp::Before => None,
                SetUp::Ran => {
                    setup_ran = true;
                    None
                }
                SetUp::Failed(tail) => Some(NotReady::Setup(tail)),
                SetUp::Halted => Some(NotReady::Halted),
            };
            if let Some(not_ready) = not_ready {
                blocking(move || Ok(lease.settle()?)).await?;
                return Ok(Err(not_ready));
            }
        }
        let (lease, notes) = blocking(move || {
            let notes = lease.hand_over(setup_ran)?.notes;
            Ok((lease, notes))
        })
        .await?;
        Ok(Ok(Ready { lease, seat, notes, leftover }))
    }

    /// Runs `setup` in a prepared slot, unless it succeeded there before and nothing undid it.
    pub(super) async fn set_up(
        &self,
        lease: &mut Lease,
        seat: &Seat,
        setup: &Setup,
        wish: &Wish,
        halt: &watch::Receiver<Halt>,
    ) -> Result<SetUp, Error> {
        let key = self.setup_key(setup, wish.base)?;
        if lease.setup_key() == Some(key.as_str()) {
            return Ok(SetUp::Before);
        }
        lease.set_setup_key(None)?;
        let attempt = Names::parse(&wish.label).map_or(1, |(_, _, attempt)| attempt);
        let mut first = match self.trials.begin(&key, attempt).await {
            Trial::Hopeless(tail) => return Ok(SetUp::Failed(tail)),
            Trial::First(held) => Some(held),
            Trial::Free => None,
        };
        let apart = if lease.isolation() == Isolation::Clone { "-clone" } else { "" };
        let name = format!("setup.{}{apart}-{}.log", wish.purpose.word(), lease.number());
        let log = self.dir.join("logs").join(name);
        let script = ["sh", "-e", "-c", setup.run.as_str()].map(OsString::from).to_vec();
        let place = Place::of(lease, seat).fenced(self, &wish.sandbox);
        let command = self.command(script, lease.worktree(), Vec::new(), log, &place);
        let mut command = CommandSpec { timeout: setup.timeout, ..command };
        self.keep_in(&mut command, lease.worktree(), Who::Tree).await?;
        let exit = self.watch(command, halt.clone(), |_| {}).await?;
        let gone = lease.stand_again()?;
        match exit.how {
            How::Stopped => return Ok(SetUp::Halted),
            How::Code(0) if !gone => {}
            _ => {
                let mut tail = String::from_utf8_lossy(&exit.tail).into_owned();
                if gone {
                    tail.push_str("it took the worktree away\n");
                }
                if let Some(first) = &mut first {
                    **first = Known::Bad(attempt, tail.clone());
                }
                return Ok(SetUp::Failed(tail));
            }
        }
        if let Some(first) = &mut first {
            **first = Known::Good;
        }
        lease.set_setup_key(Some(&key))?;
        Ok(SetUp::Ran)
    }

    /// A command in a leased slot, with todone's environment; limits are still open.
    pub fn command(
        &self,
        argv: Vec<OsString>,
        dir: &Path,
        env: Vec<(OsString, OsString)>,
        log: PathBuf,
        place: &Place,
    ) -> CommandSpec {
        let mut all: BTreeMap<OsString, OsString> = self.env.iter().cloned().collect();
        all.insert("TODONE_RUN".into(), self.run.as_str().into());
        all.insert("PWD".into(), dir.as_os_str().to_owned());
        for name in ["TMPDIR", "TMP", "TEMP"] {
            all.insert(name.into(), place.tmp.as_os_str().to_owned());
        }
        all.insert("TODONE_SLOT".into(), place.seat.to_string().into());
        if let Some(port) = place.port {
            all.insert("TODONE_PORT".into(), port.to_string().into());
        }
        all.extend(env);
        CommandSpec {
            argv,
            dir: dir.to_owned(),
            env: all.into_iter().collect(),
            input: None,
            timeout: None,
            idle_timeout: None,
            grace: GRACE,
            log,
            log_cap: LOG_CAP,
            stdout: None,
            stdout_cap: OUTPUT_CAP,
            beat: BEAT,
            secrets: self.secrets.values(),
            lock: Some(place.lock.clone()),
            locks: place.locks.clone(),
            confine: place.confine.clone(),
            keep: None,
        }
    }

    /// What must be equal for a `setup` not to run again: its text and the content of its inputs.
    fn setup_key(&self, setup: &Setup, base: Oid) -> Result<String, Error> {
        let mut key = setup.run.clone();
        if !setup.inputs.is_empty() {
            let inputs = crate::board::scope_set(&setup.inputs);
            let mut objects = self.repo.objects()?;
            let tree = objects.tree_of(base)?;
            for (path, entry) in objects.leaves(tree)? {
                if inputs.contains(path.as_bytes()) {
                    key.extend(["\n", &path.to_string(), " ", &entry.oid.to_string()]);
                }
            }
        }
        Ok(key)
    }
}
