//! A task becomes units: its `foreach` is worked out on the tree that it starts from.
//!
//! Knows where items come from; cutting them into shares is the board's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tokio::sync::watch;

use crate::board;
use crate::executor::How;
use crate::git::Purpose;
use crate::model::{Foreach, ForeachSource, Item, Oid, Task, TaskId, Unit};

use super::Error;
use super::outward::Who;
use super::said::{Said, ended};
use super::slot::{Halt, NotReady, Place, Ready, Wish, World, blocking};

/// The longest list of items that a command may print, in bytes: a million paths. Half of one would be another.
const LONGEST: u64 = 64 << 20;

type Env = Vec<(OsString, OsString)>;

/// The units of a task, or why there are none. `None`: the run was stopped.
pub type Expansion = Option<Result<Vec<Unit>, String>>;

/// What a `foreach` can take its items from beside the tree.
#[derive(Clone, Debug)]
pub struct Sources {
    /// What the needs of the task printed.
    pub outputs: BTreeMap<TaskId, Vec<String>>,
    /// The board's folder.
    pub board_dir: PathBuf,
}

/// Expands a task on the commit that it starts from.
pub async fn expand(
    world: World,
    task: Task,
    base: Oid,
    sources: Sources,
    halt: watch::Receiver<Halt>,
) -> Result<Expansion, Error> {
    let items = match &task.foreach {
        None => Ok(None),
        Some(foreach) => match items(&world, &task, foreach, base, &sources, &halt).await? {
            Some(items) => items.map(Some),
            None => return Ok(None),
        },
    };
    Ok(Some(items.and_then(|items| board::expand(&task, items))))
}

async fn items(
    world: &World,
    task: &Task,
    foreach: &Foreach,
    base: Oid,
    sources: &Sources,
    halt: &watch::Receiver<Halt>,
) -> Result<Option<Result<Vec<Item>, String>>, Error> {
    match &foreach.source {
        ForeachSource::Items(items) => {
            Ok(Some(Ok(items.iter().map(|item| Item::from(item.as_str())).collect())))
        }
        ForeachSource::Glob { .. } => {
            let (repo, foreach) = (world.repo.clone(), foreach.clone());
            let found = blocking(move || Ok(glob(&repo, &foreach, base)?)).await?;
            Ok(Some(Ok(found)))
        }
        ForeachSource::From(need) => {
            // Each share of a needed foreach prints a list of its own.
            let texts = sources.outputs.get(need).map_or(&[][..], Vec::as_slice);
            let lists: Result<Vec<Vec<Item>>, String> =
                texts.iter().map(|text| board::items_of(text.as_bytes(), false)).collect();
            let items = lists.map(|lists| lists.concat());
            Ok(Some(items.map_err(|why| format!("the output of `{need}` is no list: {why}"))))
        }
        ForeachSource::Command { argv, script, null } => {
            let env = match environment(world, task, &sources.board_dir) {
                Ok(env) => env,
                Err(why) => return Ok(Some(Err(why))),
            };
            let mut words: Vec<OsString> = Vec::new();
            if *script {
                words.extend(task.shell.iter().map(OsString::from));
            }
            words.extend(argv.iter().map(OsString::from));
            command(world, task, (words, env), *null, base, halt).await
        }
    }
}

/// The tracked files of a commit that a `foreach` by globs names.
pub fn glob(
    repo: &crate::git::Repo,
    foreach: &Foreach,
    commit: Oid,
) -> Result<Vec<Item>, crate::git::Error> {
    let mut objects = repo.objects()?;
    let tree = objects.tree_of(commit)?;
    let leaves = objects.leaves(tree)?;
    // A submodule is no file.
    let files = leaves.iter().filter(|(_, leaf)| leaf.mode != crate::model::Mode::Submodule);
    Ok(board::matching(foreach, files.map(|(path, _)| path.as_bytes())))
}

/// What the command of a `foreach` is told: what the task is, but for what belongs to a share.
fn environment(world: &World, task: &Task, board_dir: &Path) -> Result<Env, String> {
    let given = task.env_from.iter().map(|(name, from)| {
        let value = world.given.get(from).cloned().ok_or_else(|| {
            format!("`env.{name}` takes its value from ${from}, which is not set")
        })?;
        Ok((OsString::from(name), value))
    });
    let mut env: Env = task.env.iter().map(|(key, value)| (key.into(), value.into())).collect();
    env.extend(given.collect::<Result<Env, String>>()?);
    env.push(("TODONE_TASK".into(), task.id.as_str().into()));
    env.push(("TODONE_BOARD_DIR".into(), board_dir.as_os_str().to_owned()));
    Ok(env)
}

async fn command(
    world: &World,
    task: &Task,
    (words, mut env): (Vec<OsString>, Env),
    null: bool,
    base: Oid,
    halt: &watch::Receiver<Halt>,
) -> Result<Option<Result<Vec<Item>, String>>, Error> {
    let wish = Wish {
        purpose: Purpose::Task,
        isolation: task.isolation,
        sandbox: task.sandbox.clone(),
        base,
        clean: task.clean,
        copy: task.copy.iter().map(|copy| copy.from.clone()).collect(),
        setup: task.setup.clone(),
        label: "foreach".to_owned(),
        near: None,
    };
    let Ready { mut lease, seat, .. } = match world.ready(wish, halt).await? {
        Ok(ready) => ready,
        Err(NotReady::Halted) => return Ok(None),
        Err(NotReady::Setup(tail)) => return Ok(Some(Err(format!("setup failed: {tail}")))),
    };
    let log = world.dir.join("logs").join(format!("{}.foreach.log", task.id));
    let out = world.dir.join("logs").join(format!("{}.foreach.out", task.id));
    env.push(("TODONE_WORKTREE".into(), lease.worktree().as_os_str().to_owned()));
    let place = Place::of(&lease, &seat).fenced(world, &task.sandbox);
    let exit = match place.dir(&task.dir) {
        Ok(dir) => {
            let mut spec = world.command(words, &dir, env, log, &place);
            spec.stdout = Some(out.clone());
            // One byte more tells a full list from one that was cut.
            spec.stdout_cap = LONGEST + 1;
            spec.timeout = task.timeout;
            world.keep_in(&mut spec, lease.worktree(), Who::Tree).await?;
            Ok(world.watch(spec, halt.clone(), |_| {}).await?)
        }
        Err(why) => Err(why),
    };
    blocking(move || {
        drop(seat);
        Ok(lease.settle()?)
    })
    .await?;
    let exit = match exit {
        Ok(exit) => exit,
        Err(why) => return Ok(Some(Err(format!("its command can't be started: {why}")))),
    };
    match exit.how {
        How::Stopped => Ok(None),
        How::Code(0) => {
            let bytes = std::fs::read(&out).map_err(|source| Error::Io {
                doing: "reading",
                path: out,
                source,
            })?;
            if bytes.len() as u64 > LONGEST {
                let most = LONGEST >> 20;
                return Ok(Some(Err(format!(
                    "its command printed a list of more than {most} MiB"
                ))));
            }
            Ok(Some(board::items_of(&bytes, null)))
        }
        _ => {
            let how = ended(&exit, &Said::default()).map(|failure| failure.to_string());
            let tail = String::from_utf8_lossy(&exit.tail);
            let how = how.unwrap_or_default();
            let tail = Some(tail.trim()).filter(|tail| !tail.is_empty());
            let tail = tail.map(|tail| format!(": {tail}")).unwrap_or_default();
            Ok(Some(Err(format!("its command failed, {how}{tail}"))))
        }
    }
}
