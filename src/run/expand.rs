//! A task becomes units: its `foreach` is worked out on the tree that it starts from.
//!
//! Knows where items come from; cutting them into shares is the board's.

use std::collections::BTreeMap;
use std::ffi::OsString;

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

/// The units of a task, or why there are none. `None`: the run was stopped.
pub type Expansion = Option<Result<Vec<Unit>, String>>;

/// Expands a task on the commit that it starts from; `outputs` holds what its needs printed.
pub async fn expand(
    world: World,
    task: Task,
    base: Oid,
    outputs: BTreeMap<TaskId, Vec<String>>,
    halt: watch::Receiver<Halt>,
) -> Result<Expansion, Error> {
    let items = match &task.foreach {
        None => Ok(None),
        Some(foreach) => match items(&world, &task, foreach, base, &outputs, &halt).await? {
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
    outputs: &BTreeMap<TaskId, Vec<String>>,
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
            let texts = outputs.get(need).map_or(&[][..], Vec::as_slice);
            let lists: Result<Vec<Vec<Item>>, String> =
                texts.iter().map(|text| board::items_of(text.as_bytes(), false)).collect();
            let items = lists.map(|lists| lists.concat());
            Ok(Some(items.map_err(|why| format!("the output of `{need}` is no list: {why}"))))
        }
        ForeachSource::Command { argv, script, null } => {
            command(world, task, argv, *script, *null, base, halt).await
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

async fn command(
    world: &World,
    task: &Task,
    argv: &[String],
    script: bool,
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
    let mut words: Vec<OsString> = Vec::new();
    if script {
        words.extend(task.shell.iter().map(OsString::from));
    }
    words.extend(argv.iter().map(OsString::from));
    let log = world.dir.join("logs").join(format!("{}.foreach.log", task.id));
    let out = world.dir.join("logs").join(format!("{}.foreach.out", task.id));
    let env = task.env.iter().map(|(key, value)| (key.into(), value.into()));
    let env = env.chain([("TODONE_TASK".into(), task.id.as_str().into())]).collect();
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
            Ok(Some(Err(format!("its command failed, {how}: {}", tail.trim()))))
        }
    }
}
