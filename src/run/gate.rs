//! Runs the board's gates on a commit, in a gate slot.
//!
//! Knows nothing of what follows from a verdict.

use std::ffi::OsString;
use std::time::Instant;

use tokio::sync::watch;

use crate::event::Progress;
use crate::executor::How;
use crate::git::Purpose;
use crate::model::{Board, Clean, Copy, GateRun, GateScope, Oid, Setup};
use crate::verify;

use super::Error;
use super::slot::{Halt, NotReady, Place, Ready, Wish, World, blocking};

/// What gates need of the board: that of its tasks, where all agree.
fn common<'b, T: PartialEq>(
    board: &'b Board,
    of: impl Fn(&'b crate::model::Task) -> T,
) -> Option<T> {
    let mut all = board.tasks.iter().map(of);
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

/// Runs the gates one after another until one is red. `None`: the run was stopped meanwhile.
pub async fn gates(
    world: &World,
    board: &Board,
    commit: Oid,
    tree: Oid,
    scope: &GateScope,
    halt: &watch::Receiver<Halt>,
    tell: &(dyn Fn(Progress) + Sync),
) -> Result<Option<Vec<GateRun>>, Error> {
    let mut ran = Vec::new();
    if board.gates.is_empty() {
        return Ok(Some(ran));
    }
    let setup: Option<Setup> = common(board, |task| task.setup.clone()).flatten();
    let copy: Vec<Copy> = common(board, |task| task.copy.clone()).unwrap_or_default();
    let wish = Wish {
        purpose: Purpose::Gate,
        isolation: board.isolation,
        sandbox: board.sandbox.clone(),
        base: commit,
        clean: Clean::Keep,
        copy: copy.into_iter().map(|copy| copy.from).collect(),
        setup,
        label: "gate".to_owned(),
    };
    let Ready { mut lease, seat, .. } = match world.ready(wish, halt).await? {
        Ok(ready) => ready,
        Err(NotReady::Halted) => return Ok(None),
        Err(NotReady::Setup(tail)) => return Err(Error::Setup { tail }),
    };
    let place = match scope {
        GateScope::Wave { wave } => format!("wave-{}", wave + 1),
        GateScope::Land { onto } => format!("land-{}", onto.short()),
        GateScope::Rebuild => format!("rebuild-{}", tree.short()),
    };
    let slot = Place::of(&lease, &seat).fenced(world, &board.sandbox);
    let mut stopped = false;
    for gate in &board.gates {
        let begun = Instant::now();
        let log = world.dir.join(world.names().gate_log(&gate.name, &place));
        let script = ["sh", "-e", "-c", gate.run.as_str()].map(OsString::from).to_vec();
        let env = vec![
            ("TODONE_GATE".into(), gate.name.as_str().into()),
            ("TODONE_BOARD_DIR".into(), board.dir.as_os_str().to_owned()),
        ];
        // So that it is seen before it prints anything.
        tell(Progress::GateLine { gate: gate.name.clone(), line: Vec::new() });
        let mut command = world.command(script, lease.worktree(), env, log, &slot);
        command.timeout = gate.timeout;
        let line = |line| tell(Progress::GateLine { gate: gate.name.clone(), line });
        let exit = world.watch(command, halt.clone(), line).await;
        if exit.how == How::Stopped {
            stopped = true;
            break;
        }
        let verdict = verify::verdict(&exit);
        let green = verdict.is_green();
        ran.push(GateRun {
            gate: gate.name.clone(),
            scope: scope.clone(),
            tree,
            verdict,
            millis: begun.elapsed().as_millis() as u64,
        });
        if !green {
            break;
        }
    }
    blocking(move || {
        drop(seat);
        Ok(lease.settle()?)
    })
    .await?;
    Ok((!stopped).then_some(ran))
}
