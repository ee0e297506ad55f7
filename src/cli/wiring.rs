//! The one place where traits meet their implementations.
//!
//! Knows where things are: repository, board, store, slots, the user's cache directory.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::agent;
use crate::board::{self, Vars};
use crate::event::RunState;
use crate::executor::{Claims, Local, Walls};
use crate::git::{Identity, Pool, Repo};
use crate::model::{Board, Prices, RunId};
use crate::plan::Touched;
use crate::process::{brink, own};
use crate::run::{self, Lookout, Names, Seats, Secrets, Trials, Warm, World};
use crate::store::{Sqlite, Store};

use super::Global;
use super::error::Failure;

/// The file that `todone run` takes without an argument.
const BOARD: &str = "todone.toml";

/// The secrets of the board that this process works on: what fails far from it may name one.
static KNOWN: Mutex<Option<Secrets>> = Mutex::new(None);

/// Milliseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// The directory that the user works in.
pub fn dir(global: &Global) -> Result<PathBuf, Failure> {
    let here = std::env::current_dir();
    match &global.dir {
        None => here.map_err(|fault| {
            Failure::environment(format!("the current directory can't be used: {fault}"))
                .hint("`cd` to the repository, or name it: `todone -C DIR …`")
        }),
        // A whole path needs no place to begin at.
        Some(dir) => {
            here.unwrap_or_default().join(dir).canonicalize().map_err(|fault| {
                Failure::usage(format!("can't work in {}: {fault}", dir.display()))
            })
        }
    }
}

/// The repository that the user works in. Whoever stands in a worktree of todone's own works in the
/// checkout that it was made for, as far as boards, copies and landing go.
pub fn repo(global: &Global) -> Result<Repo, Failure> {
    let repo = found(global)?;
    let own = repo.checkout().is_some_and(Pool::owns);
    match own.then(|| repo.main_worktree()).transpose()?.flatten() {
        Some(main) => Ok(Repo::discover(&main)?),
        None => Ok(repo),
    }
}

/// The repository around the directory that the user works in.
fn found(global: &Global) -> Result<Repo, Failure> {
    if let Some(repo) = global.found.get() {
        return Ok(repo.clone());
    }
    let repo = Repo::discover(&dir(global)?)?;
    Ok(global.found.get_or_init(|| repo).clone())
}

/// The text of the board that was named, or of the one that is found from here up to the checkout's
/// root, with its name for messages and its folder.
pub fn board_text(
    global: &Global,
    named: Option<&Path>,
) -> Result<(Vec<u8>, String, PathBuf), Failure> {
    let here = dir(global)?;
    if named == Some(Path::new("-")) {
        let mut text = Vec::new();
        std::io::stdin().lock().read_to_end(&mut text)?;
        return Ok((text, "<stdin>".to_owned(), here));
    }
    let path = match named {
        Some(named) => here.join(named),
        None => find(global, &here)?,
    };
    let text = std::fs::read(&path).map_err(|fault| Failure::unread("the board", &path, &fault))?;
    let name = match named {
        Some(named) => named.display().to_string(),
        None => path.strip_prefix(&here).unwrap_or(&path).display().to_string(),
    };
    let folder = path.parent().unwrap_or(&here).to_owned();
    Ok((text, name, folder))
}

/// Reads that board.
pub fn board(
    global: &Global,
    named: Option<&Path>,
    set: &[(String, String)],
) -> Result<Board, Failure> {
    let (text, name, dir) = board_text(global, named)?;
    let vars: Vars = set.iter().cloned().collect();
    let files = super::agent_files::found(global);
    let mut board = board::read_with(&text, &name, &dir, &vars, &files)?;
    board.given.vars = vars;
    if named != Some(Path::new("-")) {
        let file = Path::new(&name).file_name().unwrap_or_default();
        board.file = Some(board.dir.join(file));
    }
    Ok(board)
}

/// Puts what the command line said in the place of what the file says.
pub fn heed_given(board: &mut Board) {
    board.into = board.given.into.clone().or(board.into.take());
    if let Some(base) = &board.given.base {
        board.base.clone_from(base);
    }
}

/// Reads the board of a run again, as it is in its file now, with what was given on the command line
/// then, and these further values.
pub fn board_again(
    global: &Global,
    old: &Board,
    set: &[(String, String)],
) -> Result<Board, Failure> {
    let Some(file) = &old.file else {
        return Err(Failure::usage(
            "the board of this run came from no file, so none can be edited",
        )
        .hint("start again: `todone run --new`"));
    };
    let mut vars = old.given.vars.clone();
    vars.extend(set.iter().cloned());
    let vars: Vec<(String, String)> = vars.into_iter().collect();
    let mut board = board(global, Some(file), &vars)?;
    board.given.base.clone_from(&old.given.base);
    board.given.into.clone_from(&old.given.into);
    heed_given(&mut board);
    Ok(board)
}

/// Makes the world of a run that of another version of its board.
pub fn refit(world: &mut World, board: &Board) {
    world.env = task_env(board);
    world.given = given(board);
    world.secrets = Arc::new(secrets(Some(board)));
}

/// What tasks of a board inherit from the caller's environment.
fn task_env(board: &Board) -> Arc<Vec<(OsString, OsString)>> {
    Arc::new(agent::base_env(std::env::vars_os(), board.env_pass.as_deref()))
}

/// The values that a board takes from the caller's environment by name.
fn given(board: &Board) -> Arc<BTreeMap<String, OsString>> {
    let values = run::given(board).into_iter();
    Arc::new(values.filter_map(|name| Some((name.clone(), std::env::var_os(name)?))).collect())
}

fn find(global: &Global, here: &Path) -> Result<PathBuf, Failure> {
    let root = found(global).ok().and_then(|repo| repo.checkout().map(Path::to_owned));
    for folder in here.ancestors() {
        let path = folder.join(BOARD);
        if path.is_file() {
            return Ok(path);
        }
        if Some(folder) == root.as_deref() {
            break;
        }
    }
    let place =
        root.map_or("here".to_owned(), |root| format!("between here and {}", root.display()));
    Err(Failure::usage(format!("there is no {BOARD} {place}"))
        .hint("name a board: `todone run BOARD`"))
}

/// `key=value` of `--set`.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it has the form NAME=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The store for reading; none: nothing was ever run here.
pub fn read_store(repo: &Repo) -> Result<Option<Sqlite>, Failure> {
    Ok(Sqlite::open_read_only(&repo.state_dir())?)
}

/// What the tasks of this board that declare no scope changed in earlier runs of it, but for `except`.
pub fn touched(
    repo: Option<&Repo>,
    board: &Board,
    except: Option<&RunId>,
) -> Result<Touched, Failure> {
    let wanted = crate::plan::unscoped(board);
    let store = match repo {
        // One alone meets nobody.
        Some(repo) if board.tasks.len() > 1 && !wanted.is_empty() => read_store(repo)?,
        _ => None,
    };
    Ok(match store {
        Some(store) => run::touched(&store, &board.name, wanted, except)?,
        None => Touched::new(),
    })
}

/// The run that an argument means: any unique beginning of its name, default the latest.
pub fn find_run(store: &dyn Store, named: Option<&str>) -> Result<RunId, Failure> {
    let runs = store.runs()?;
    let Some(named) = named else {
        return runs
            .last()
            .map(|entry| entry.run.clone())
            .ok_or_else(|| Failure::usage("nothing was run in this repository yet"));
    };
    pick_run(runs.iter().map(|entry| &entry.run), named)
}

/// The run among these that a unique beginning of its name means.
pub fn pick_run<'r>(runs: impl Iterator<Item = &'r RunId>, named: &str) -> Result<RunId, Failure> {
    let hits: Vec<&RunId> = runs.filter(|run| run.as_str().starts_with(named)).collect();
    if let Some(exact) = hits.iter().find(|run| run.as_str() == named) {
        return Ok((*exact).clone());
    }
    match hits.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(Failure::usage(format!("there is no run `{named}`"))
            .hint("list the runs with `todone status`")),
        several => {
            let names: Vec<&str> = several.iter().map(|run| run.as_str()).collect();
            Err(Failure::usage(format!("`{named}` may mean several runs: {}", names.join(", "))))
        }
    }
}

/// Reads the state of a run.
pub fn state(store: &dyn Store, run: &RunId) -> Result<RunState, Failure> {
    let events = store.events(run, 0)?;
    let state =
        RunState::fold(run, &events).map_err(|bad| Failure::environment(bad.to_string()))?;
    state.ok_or_else(|| Failure::usage(format!("there is no run {run}")))
}

/// Store and state for the verbs that only look.
pub fn look(repo: &Repo, named: Option<&str>) -> Result<(Sqlite, RunState), Failure> {
    let store = read_store(repo)?
        .ok_or_else(|| Failure::usage("nothing was run in this repository yet"))?;
    let run = find_run(&store, named)?;
    let state = state(&store, &run)?;
    Ok((store, state))
}

/// Where the slots of a repository stand.
pub fn slots_dir(repo: &Repo, board: Option<&Board>) -> Result<PathBuf, Failure> {
    if let Some(dir) = board.and_then(|board| board.worktrees.as_ref()) {
        let root = repo.checkout().unwrap_or_else(|| repo.common_dir());
        return Ok(root.join(dir).join(repo.cache_name()));
    }
    let Some(cache) = cache_dir() else {
        return Err(Failure::environment("there is no cache directory: HOME is not set")
            .hint("set HOME or XDG_CACHE_HOME, or `worktrees = \"DIR\"` in the board"));
    };
    Ok(cache.join("todone").join(repo.cache_name()))
}

/// Where the slots of all repositories stand, unless a board says otherwise.
pub fn cache_root() -> Result<PathBuf, Failure> {
    let cache = cache_dir()
        .ok_or_else(|| Failure::environment("there is no cache directory: HOME is not set"))?;
    Ok(cache.join("todone"))
}

/// Every directory in which slots of this repository may stand: the usual one, and those of the boards
/// of its runs, as far as the store can be read, and those that git knows of.
pub fn pools(repo: &Repo) -> Result<Vec<PathBuf>, Failure> {
    let mut boards = Vec::new();
    if let Ok(Some(store)) = read_store(repo) {
        let runs = store.runs().unwrap_or_default();
        boards.extend(runs.iter().filter_map(|entry| Some(state(&store, &entry.run).ok()?.board)));
    }
    pools_of(repo, boards.iter().map(|board| &**board))
}

/// The same for whoever knows the boards that were run here.
pub fn pools_of<'a>(
    repo: &Repo,
    boards: impl Iterator<Item = &'a Board>,
) -> Result<Vec<PathBuf>, Failure> {
    let mut dirs: std::collections::BTreeSet<PathBuf> = repo.slot_places().into_iter().collect();
    for board in std::iter::once(None).chain(boards.map(Some)) {
        let dir = slots_dir(repo, board)?;
        // By whatever way it is reached.
        dirs.insert(std::fs::canonicalize(&dir).unwrap_or(dir));
    }
    Ok(dirs.into_iter().collect())
}

/// The user's cache directory.
fn cache_dir() -> Option<PathBuf> {
    match std::env::var_os("XDG_CACHE_HOME").filter(|dir| Path::new(dir).is_absolute()) {
        Some(dir) => Some(PathBuf::from(dir)),
        None => {
            let home = PathBuf::from(std::env::var_os("HOME").filter(|home| !home.is_empty())?);
            let macos = cfg!(target_os = "macos");
            Some(home.join(if macos { "Library/Caches" } else { ".cache" }))
        }
    }
}

/// What all runs of this user on this machine share, whatever the repository: the locks, and the
/// numbers, ports and temporary directories of tasks. Not in the directory of the session
/// (`XDG_RUNTIME_DIR`), which a run started by cron or over ssh would not know of.
pub fn shared() -> Result<(Claims, Seats), Failure> {
    let dir = match cache_dir() {
        Some(cache) => cache.join("todone"),
        None => own_dir_in_tmp()?,
    };
    let claims = Claims::new(dir.join("locks"));
    let seats = Seats::new(claims.clone(), dir.join("tmp"));
    Ok((claims, seats))
}

/// A user without a home still has one place that all runs find. Others may write there as well, so
/// it is looked at closely.
fn own_dir_in_tmp() -> Result<PathBuf, Failure> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
    let user = rustix::process::getuid().as_raw();
    let dir = PathBuf::from(format!("/tmp/todone-{user}"));
    match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
        Err(fault) if fault.kind() != std::io::ErrorKind::AlreadyExists => return Err(fault.into()),
        _ => {}
    }
    let there = dir.symlink_metadata()?;
    if !there.is_dir() || there.uid() != user || there.mode() & 0o077 != 0 {
        let text = format!("{} is open to others, or somebody else's", dir.display());
        return Err(Failure::environment(text).hint("set HOME or XDG_CACHE_HOME"));
    }
    Ok(dir)
}

/// Who makes the commits: the user, or a stated stand-in.
pub fn identity(repo: &Repo) -> Result<Identity, Failure> {
    Ok(repo.identity()?.unwrap_or_else(nobody))
}

/// Who makes the commits where git knows no name of the user.
pub fn nobody() -> Identity {
    Identity { name: "todone".to_owned(), email: "todone@localhost".to_owned() }
}

/// What of this program's environment is to be seen nowhere.
pub fn secrets(board: Option<&Board>) -> Secrets {
    let all: Vec<(String, OsString)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .collect();
    let found =
        Secrets::of(board, all.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
    if board.is_some() {
        *KNOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
    }
    found
}

/// A text on its way to the terminal without the secrets that are known by now.
pub fn hide(text: &str) -> String {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    known.unwrap_or_else(|| secrets(None)).hide(text)
}

/// What a run works with.
pub fn world(repo: &Repo, store: &Sqlite, run: &RunId, board: &Board) -> Result<World, Failure> {
    let program = program()?;
    // What a killed process left of its work in memory: nobody reads it again. It is in nobody's way, so who
    // can't remove it goes on.
    let _ = repo.sweep_quarantines();
    let pool = Pool::open(repo, &slots_dir(repo, Some(board))?)?;
    let (claims, seats) = shared()?;
    let walls = walls(board)?;
    let dir = store.run_dir(run)?;
    let keep = Names::of(run).changed();
    let lookout = Lookout::new(repo, keep, dir.clone(), Arc::new(secrets(Some(board))));
    Ok(World {
        given: given(board),
        secrets: Arc::new(secrets(Some(board))),
        run: run.clone(),
        repo: repo.clone(),
        pool,
        claims,
        seats,
        trials: Trials::default(),
        executor: Arc::new(Local::new(program.clone())),
        program,
        identity: identity(repo)?,
        env: task_env(board),
        dir,
        now,
        jobs: None,
        machine: std::env::var_os("TODONE_MACHINE").unwrap_or_else(|| "/".into()).into(),
        foresee: std::env::var_os("TODONE_FORESEE").is_none_or(|value| value != "off"),
        both_ways: std::env::var_os("TODONE_MERGE_BOTH_WAYS").is_some_and(|value| value == "1"),
        lookout,
        walls,
        prices: Arc::new(prices(Some(repo))?),
        home: std::env::var_os("HOME").map(PathBuf::from),
        warm: Warm::default(),
        keeps_in: run::keeps_in(board),
        hooks: Arc::default(),
    })
}

/// The program of todone itself, which its supervisors are.
pub fn program() -> Result<PathBuf, Failure> {
    brink::stand_in().map_or_else(own::program, Ok).map_err(|fault| {
        Failure::environment(format!("can't find the program of todone itself: {fault}"))
    })
}

/// What models cost: the table that is built in, under the user's own, under that of the repository.
pub fn prices(repo: Option<&Repo>) -> Result<Prices, Failure> {
    let var =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let config = var("XDG_CONFIG_HOME").or_else(|| Some(var("HOME")?.join(".config")));
    let user = config.map(|dir| dir.join("todone").join("prices.toml"));
    let own = repo.and_then(Repo::checkout).map(|root| root.join(".todone").join("prices.toml"));
    let mut tables = Vec::new();
    for path in [user, own].into_iter().flatten() {
        match std::fs::read_to_string(&path) {
            Ok(text) => tables.push((path.display().to_string(), text)),
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => {}
            Err(fault) => return Err(Failure::unread("the prices in", &path, &fault)),
        }
    }
    let tables = tables.iter().map(|(name, text)| (name.clone(), text.as_str()));
    board::prices(tables).map_err(|wrong| {
        Failure::usage(wrong).hint("a row is such as: \"gpt-5\" = { input = 1.25, output = 10 }")
    })
}

/// What this machine can enforce of what the board asks for.
fn walls(board: &Board) -> Result<Walls, Failure> {
    let asked = board.tasks.iter().map(|task| task.sandbox.level);
    let walls = Walls::probe(asked.chain([board.sandbox.level]));
    let weaker = walls.told().into_iter().find(|(asked, enforced, _)| enforced != asked);
    match weaker {
        Some((asked, enforced, why)) if board.require_sandbox => {
            let (asked, enforced) = (asked.word(), enforced.word());
            let text =
                format!("sandbox `{asked}` is required, and only `{enforced}` can be had: {why}");
            Err(Failure::environment(text)
                .hint("take `require_sandbox` out of the board to run with what there is"))
        }
        _ => Ok(walls),
    }
}

/// How many tasks at once: what was asked for, the board's number, or the processors.
pub fn jobs(asked: Option<u32>, board: &Board) -> u32 {
    let own = match board.jobs {
        Some(crate::model::Jobs::Fixed(jobs)) => Some(jobs),
        _ => None,
    };
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
    asked.or(own).unwrap_or(processors).max(1)
}

/// Whether standard error is a terminal that can be drawn on.
pub fn is_terminal() -> bool {
    use std::io::IsTerminal as _;
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The CI system that shows what is printed, if it folds logs.
pub fn folds() -> crate::report::Folds {
    let is = |name: &str| std::env::var_os(name).is_some_and(|value| value == "true");
    match (is("GITHUB_ACTIONS"), is("GITLAB_CI")) {
        (true, _) => crate::report::Folds::GitHub,
        (_, true) => crate::report::Folds::GitLab,
        _ => crate::report::Folds::None,
    }
}

/// Whether what is written to this stream is to be coloured.
pub fn colour(stream: &impl anstream::stream::RawStream) -> bool {
    anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never
}

/// How texts on standard output look.
pub fn look_of(run_dir: PathBuf) -> crate::report::Look {
    crate::report::Look { colour: colour(&std::io::stdout()), run_dir: Some(run_dir) }
}
