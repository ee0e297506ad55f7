//! Agent programs that stay from task to task (`pool` of a profile).
//!
//! Knows not how one stays, which is the executor's, nor what is said to it, which is the bridge's.
//!
//! A place in a pool is held by one attempt at a time, with the seat of its program: number, ports and
//! directory are those of the program as long as it lives, since its environment can't change. All else
//! that belongs to a task comes with its order. An attempt that finds no place runs a program of its own,
//! as does one that goes on with a conversation of before.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::agent::{Launch, Order, Stay};
use crate::executor::{CommandSpec, Exit, Keep};
use crate::model::Profile;

use super::Error;
use super::job::Job;
use super::seat::Seat;
use super::slot::{Place, World, blocking};

/// The variables that are those of a place.
const OF_PLACE: [&str; 6] = ["PWD", "TMPDIR", "TMP", "TEMP", "TODONE_SLOT", "TODONE_PORT"];
/// Those of todone's own that are the same for all tasks of a run.
const OF_RUN: [&str; 2] = ["TODONE_RUN", "TODONE_BOARD_DIR"];

type Env = Vec<(OsString, OsString)>;

/// The places of all pools of a run. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Warm(Arc<Mutex<Places>>);

#[derive(Debug, Default)]
struct Places {
    /// How many were made, for their names.
    made: u64,
    /// Those that wait, the longest first.
    idle: Vec<Warmed>,
    /// How many of each profile are at work.
    busy: BTreeMap<String, usize>,
}

/// A place, and what its program was started with.
#[derive(Debug)]
struct Warmed {
    key: String,
    profile: String,
    argv: Vec<String>,
    env: Env,
    seat: Seat,
}

/// What an attempt gets.
enum Got {
    /// A program that waits.
    Warm(Warmed),
    /// Room for a new one of this name; one that waits goes for it.
    Room(String, Option<Warmed>),
}

impl Warm {
    fn places(&self) -> MutexGuard<'_, Places> {
        // What a panicking thread left is whole: a place goes in and out in one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a program that is started so; none: all of them are at work.
    fn take(&self, profile: &Profile, argv: &[String], env: &Env) -> Option<Got> {
        let most = profile.pool? as usize;
        let mut places = self.places();
        let busy = places.busy.get(&profile.name).copied().unwrap_or_default();
        let same = |place: &Warmed| place.profile == profile.name;
        let fits = |place: &Warmed| same(place) && place.argv == argv && place.env == *env;
        let got = if let Some(found) = places.idle.iter().rposition(fits) {
            Got::Warm(places.idle.remove(found))
        } else if busy < most {
            let full = busy + places.idle.iter().filter(|place| same(place)).count() >= most;
            let goes = places.idle.iter().position(same).filter(|_| full);
            places.made += 1;
            let name = format!("{}#{}", profile.name, places.made);
            Got::Room(name, goes.map(|place| places.idle.remove(place)))
        } else {
            return None;
        };
        places.busy.insert(profile.name.clone(), busy + 1);
        Some(got)
    }

    fn give_back(&self, profile: &str, place: Option<Warmed>) {
        let mut places = self.places();
        if let Some(busy) = places.busy.get_mut(profile) {
            *busy -= 1;
        }
        places.idle.extend(place);
    }

    /// Ends all programs that wait.
    pub async fn end(&self, world: &World) {
        let idle = std::mem::take(&mut self.places().idle);
        let end = |place: &Warmed| tokio::spawn(world.executor.let_go(&place.key));
        let ends: Vec<_> = idle.iter().map(end).collect();
        for end in ends {
            // One that panicked has said so.
            let _ = end.await;
        }
    }
}

/// A place at work for one attempt. It is given back when it is dropped.
pub(super) struct Turn {
    warm: Warm,
    profile: String,
    place: Option<Warmed>,
    kept: bool,
}

impl Turn {
    /// The attempt is over: the place waits for the next if its program stayed.
    pub(super) fn over(mut self, exit: &Exit) {
        self.kept = exit.kept;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let place = self.place.take().filter(|_| self.kept);
        self.warm.give_back(&self.profile, place);
    }
}

/// Gives the command of an attempt a place in the pool of its profile. None: it runs by itself.
pub(super) async fn seated(
    world: &World,
    job: &Job,
    launch: &Launch,
    at: &Place,
    command: &mut CommandSpec,
) -> Result<Option<Turn>, Error> {
    let Some(profile) = job.profile.as_ref().filter(|profile| profile.pool.is_some()) else {
        return Ok(None);
    };
    let order = launch.input.as_deref().filter(|_| launch.bridged && at.confine.is_none());
    let order = order.and_then(|input| serde_json::from_slice::<Order>(input).ok());
    // A program that is through with a session may not know it any more.
    let Some(mut order) = order.filter(|order| order.session.is_none()) else { return Ok(None) };

    let (env, values) = parted(profile, job, launch, &command.env);
    let Some(got) = world.warm.take(profile, &order.argv, &env) else { return Ok(None) };
    let warm = world.warm.clone();
    let mut turn = Turn { warm, profile: profile.name.clone(), place: None, kept: false };
    let place = match got {
        Got::Warm(place) => place,
        Got::Room(key, goes) => {
            if let Some(goes) = goes {
                world.executor.let_go(&goes.key).await;
            }
            let (seats, path) = (world.seats.clone(), at.worktree.clone());
            let doing = "finding a number, ports and a directory for";
            let seat = move || seats.take().map_err(|source| Error::Io { doing, path, source });
            let seat = blocking(seat).await?;
            Warmed { key, profile: profile.name.clone(), argv: order.argv.clone(), env, seat }
        }
    };
    let mark = format!("\0todone turn {:016x} ", RandomState::new().build_hasher().finish());
    command.keep = Some(Keep {
        key: place.key.clone(),
        mark: mark.clone().into_bytes(),
        locks: vec![place.seat.busy().to_owned()],
    });
    order.stay = Some(Stay { mark, dir: std::mem::take(&mut command.dir), values });
    let mut input = serde_json::to_vec(&order).unwrap_or_default();
    input.push(b'\n');
    command.input = Some(input);
    command.dir = place.seat.dir().to_owned();
    command.env = with_place(&place);
    turn.place = Some(place);
    Ok(Some(turn))
}

/// What a program can be started with, and what it can only be told: the environment of an attempt in two
/// parts.
fn parted(
    profile: &Profile,
    job: &Job,
    launch: &Launch,
    all: &Env,
) -> (Env, BTreeMap<String, String>) {
    let of_board = |name: &str| {
        let texts = [&profile.env, &profile.env_from, &job.task.env, &job.task.env_from];
        texts.iter().any(|texts| texts.contains_key(name))
    };
    let is_told = |name: &str| {
        let own = launch.env.iter().any(|(one, _)| one == name);
        own && !of_board(name) && !OF_RUN.contains(&name) && !OF_PLACE.contains(&name)
    };
    let of_place = |name: &str| OF_PLACE.contains(&name) && !of_board(name);
    let mut env = Env::new();
    let mut values = BTreeMap::new();
    for (name, value) in all {
        match name.to_str() {
            Some(name) if of_place(name) => {}
            // What is no text stands in a file as well.
            Some(name) if is_told(name) => {
                values.extend(value.to_str().map(|value| (name.to_owned(), value.to_owned())));
            }
            _ => env.push((name.clone(), value.clone())),
        }
    }
    (env, values)
}

/// The environment of the program of a place.
fn with_place(place: &Warmed) -> Env {
    let dir = place.seat.dir().as_os_str();
    let mut env: BTreeMap<OsString, OsString> = BTreeMap::new();
    for name in ["PWD", "TMPDIR", "TMP", "TEMP"] {
        env.insert(name.into(), dir.to_owned());
    }
    env.insert("TODONE_SLOT".into(), place.seat.number().to_string().into());
    if let Some(port) = place.seat.port() {
        env.insert("TODONE_PORT".into(), port.to_string().into());
    }
    // What the board says of a name goes first.
    env.extend(place.env.iter().cloned());
    env.into_iter().collect()
}
