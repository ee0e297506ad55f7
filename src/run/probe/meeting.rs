//! Paths of which two works made something else, and which of them will not merge.
//!
//! Knows no worktree and no file: what the two made is in the quarantine.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::git::{Quarantine, ThreeWay, may_merge};
use crate::model::{Change, Entry, Oid, RepoPath, TaskId};

use super::{Error, Pair, in_order};

/// A path of which both of a pair made something else.
pub(super) struct Meeting {
    /// Its number.
    pub pair: usize,
    pub path: RepoPath,
    /// What was there, and what the two made of it.
    pub sides: [Option<Entry>; 3],
}

/// All of a look.
pub(super) struct Meetings<'a> {
    pub pairs: &'a [Pair],
    pub all: Vec<Meeting>,
}

impl Meetings<'_> {
    /// One clash at the most for each task that is merged second: more of it tells no more. With `guess` git is
    /// asked only of what is no small text.
    pub fn clashing<'a>(
        &'a self,
        quarantine: &mut Quarantine,
        merge: &ThreeWay,
        guess: bool,
    ) -> Result<Vec<&'a Meeting>, Error> {
        // Drivers may look at more than the lines.
        let guess = guess && !merge.has_drivers();
        let mut texts = Texts::default();
        let (mut found, mut open) = (BTreeMap::new(), Vec::new());
        for (number, meeting) in self.all.iter().enumerate() {
            let second = self.second(meeting);
            if found.contains_key(second) {
                continue;
            }
            match if guess { texts.guess(quarantine, meeting)? } else { None } {
                Some(true) => {}
                Some(false) => drop(found.insert(second, meeting)),
                None => open.push(number),
            }
        }
        open.retain(|number| !found.contains_key(self.second(&self.all[*number])));
        for number in self.asked(quarantine, merge, &open)? {
            let meeting = &self.all[number];
            found.entry(self.second(meeting)).or_insert(meeting);
        }
        Ok(found.into_values().collect())
    }

    /// Who of a meeting is merged second.
    fn second(&self, meeting: &Meeting) -> &TaskId {
        in_order(&self.pairs[meeting.pair]).1
    }

    /// Those of the numbers at which git finds a conflict.
    fn asked(
        &self,
        quarantine: &mut Quarantine,
        merge: &ThreeWay,
        numbers: &[usize],
    ) -> Result<BTreeSet<usize>, Error> {
        match merge.has_drivers() {
            true => self.one_by_one(quarantine, merge, numbers),
            false => self.at_once(quarantine, merge, numbers),
        }
    }

    /// Each at its own path: drivers look at it.
    fn one_by_one(
        &self,
        quarantine: &mut Quarantine,
        merge: &ThreeWay,
        numbers: &[usize],
    ) -> Result<BTreeSet<usize>, Error> {
        let mut clashing = BTreeSet::new();
        let mut seconds = BTreeSet::new();
        for number in numbers {
            let Meeting { path, sides, .. } = &self.all[*number];
            let second = self.second(&self.all[*number]);
            if seconds.contains(second) {
                continue;
            }
            let mut alone =
                |new| tree(quarantine, &[Change { path: path.clone(), old: None, new }]);
            let [base, ours, theirs] = [alone(sides[0])?, alone(sides[1])?, alone(sides[2])?];
            if merge.merge(quarantine, base, ours, theirs)?.is_err() {
                clashing.insert(*number);
                seconds.insert(second);
            }
        }
        Ok(clashing)
    }

    /// The same with one question for all of them: starting git is what costs.
    fn at_once(
        &self,
        quarantine: &mut Quarantine,
        merge: &ThreeWay,
        numbers: &[usize],
    ) -> Result<BTreeSet<usize>, Error> {
        let mut clashing = BTreeSet::new();
        let mut trees: [Vec<Change>; 3] = Default::default();
        for number in numbers {
            let Meeting { path, sides, .. } = &self.all[*number];
            // Both added it, or one deleted what the other changed.
            if sides.contains(&None) {
                clashing.insert(*number);
                continue;
            }
            // Each in a folder of its own; what attributes say of names holds there, too.
            let path =
                RepoPath::new([format!("{number:08}/").as_bytes(), path.as_bytes()].concat());
            for (new, tree) in sides.iter().zip(&mut trees) {
                tree.push(Change { path: path.clone(), old: None, new: *new });
            }
        }
        if trees.iter().all(|tree| !tree.is_empty()) {
            let mut write = |side: usize| tree(quarantine, &trees[side]);
            let [base, ours, theirs] = [write(0)?, write(1)?, write(2)?];
            if let Err((_, stages, _)) = merge.merge(quarantine, base, ours, theirs)? {
                let number = |path: &RepoPath| -> Option<usize> {
                    path.to_string().split('/').next()?.parse().ok()
                };
                clashing.extend(stages.iter().filter_map(|stage| number(&stage.path)));
            }
        }
        Ok(clashing)
    }
}

/// A tree of these alone.
fn tree(quarantine: &mut Quarantine, changes: &[Change]) -> Result<Oid, Error> {
    let objects = quarantine.objects();
    let empty = objects.empty_tree();
    Ok(objects.edit(empty, changes)?)
}

/// No text that is larger is looked at here.
const LARGEST: usize = 1 << 20;
/// Texts are forgotten as soon as they are more than this together.
const MOST: usize = 32 << 20;

/// Texts that may be needed again, and what was guessed of them.
#[derive(Default)]
struct Texts {
    known: HashMap<Oid, Option<Vec<u8>>>,
    size: usize,
    guessed: HashMap<[Oid; 3], Option<bool>>,
}

impl Texts {
    /// Whether these merge; none: they are no three small texts, of which anybody else but git knew.
    fn guess(
        &mut self,
        quarantine: &mut Quarantine,
        meeting: &Meeting,
    ) -> Result<Option<bool>, Error> {
        let files = meeting.sides.map(|side| side.filter(|side| side.mode.is_file()));
        let [Some(base), Some(ours), Some(theirs)] = files else { return Ok(None) };
        let names = [base.oid, ours.oid, theirs.oid];
        if let Some(guessed) = self.guessed.get(&names) {
            return Ok(*guessed);
        }
        if self.size > MOST {
            *self = Self::default();
        }
        for oid in names {
            if let Slot::Vacant(place) = self.known.entry(oid) {
                let text = quarantine.objects().small_blob(oid, LARGEST)?;
                self.size += text.as_ref().map_or(0, Vec::len);
                place.insert(text);
            }
        }
        let [base, ours, theirs] = names.map(|oid| self.known[&oid].as_deref());
        let guessed = match (base, ours, theirs) {
            (Some(base), Some(ours), Some(theirs)) => Some(may_merge(base, ours, theirs)),
            _ => None,
        };
        self.guessed.insert(names, guessed);
        Ok(guessed)
    }
}
