//! Which tasks of a wave may change the same path, as far as their scopes tell.
//!
//! Knows globs only by whether two of them can meet.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::model::{Changes, Overlap, Task};

use super::globs::Glob;

/// The most overlaps that a plan lists: more of them help nobody, and two thousand tasks of one scope
/// have two million.
pub const MOST_OVERLAPS: usize = 1000;

/// After so many pairs were looked at closely, a pair counts as meeting without a look.
const MOST_LOOKS: usize = 200_000;

/// Globs by the literal bytes that they begin with, and under these by those that they end with
/// (backwards). Only globs of which both keys are kin can meet, so tasks that keep to places of their
/// own are never compared.
type Index = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<usize>>>;

/// The overlaps inside each of these waves: by wave, first task, second task. Tasks without a scope
/// don't count, nor do those that may change nothing at all.
pub(super) fn overlaps(waves: &[Vec<&Task>]) -> Vec<Overlap> {
    let mut found = Vec::new();
    let mut looks = 0;
    for (wave, tasks) in waves.iter().enumerate() {
        let changing = tasks.iter().copied().filter(|task| task.changes != Changes::Forbidden);
        let scoped: Vec<&Task> = changing.filter(|task| !task.scope.is_empty()).collect();
        in_wave(wave, &scoped, &mut looks, &mut found);
        if found.len() == MOST_OVERLAPS {
            break;
        }
    }
    found
}

/// A glob with everyone whose scope holds it.
struct Shared<'t> {
    text: &'t str,
    glob: Glob,
    /// Places in the wave.
    tasks: Vec<usize>,
}

fn in_wave(wave: usize, tasks: &[&Task], looks: &mut usize, found: &mut Vec<Overlap>) {
    let mut shared: Vec<Shared<'_>> = Vec::new();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    let mut index = Index::new();
    for (place, task) in tasks.iter().enumerate() {
        for text in &task.scope {
            let number = *known.entry(text).or_insert_with(|| {
                let glob = Glob::new(text);
                let by_tail = index.entry(glob.head.clone()).or_default();
                by_tail.entry(glob.tail.clone()).or_default().push(shared.len());
                shared.push(Shared { text, glob, tasks: Vec::new() });
                shared.len() - 1
            });
            shared[number].tasks.push(place);
        }
    }
    for (place, task) in tasks.iter().enumerate() {
        let mut partners: BTreeMap<usize, (String, String)> = BTreeMap::new();
        // Each is a result, and more than fit are of no use.
        let enough = 2 * MOST_OVERLAPS - found.len();
        'scope: for text in &task.scope {
            let mine = known[text.as_str()];
            let glob = &shared[mine].glob;
            let candidates = kin(&index, &glob.head).flat_map(|by_tail| kin(by_tail, &glob.tail));
            for theirs in candidates.flatten().copied() {
                let later = shared[theirs].tasks.partition_point(|other| *other <= place);
                if later == shared[theirs].tasks.len() {
                    continue;
                }
                *looks += usize::from(mine != theirs);
                if mine != theirs && *looks <= MOST_LOOKS && !glob.meets(&shared[theirs].glob) {
                    continue;
                }
                for other in &shared[theirs].tasks[later..] {
                    partners
                        .entry(*other)
                        .or_insert_with(|| (text.clone(), shared[theirs].text.to_owned()));
                    if partners.len() > enough {
                        break 'scope;
                    }
                }
            }
        }
        for (other, globs) in partners {
            if found.len() == MOST_OVERLAPS {
                return;
            }
            let (first, second) = (task.id.clone(), tasks[other].id.clone());
            found.push(Overlap { wave, first, second, globs, touched: (false, false) });
        }
    }
}

/// The values of which the key begins with this one, or this one with the key.
fn kin<'m, V>(map: &'m BTreeMap<Vec<u8>, V>, key: &'m [u8]) -> impl Iterator<Item = &'m V> {
    let shorter = (0..key.len()).filter_map(move |end| map.get(&key[..end]));
    let from = (Bound::Included(key), Bound::Unbounded);
    let longer = map.range::<[u8], _>(from).take_while(move |(other, _)| other.starts_with(key));
    shorter.chain(longer.map(|(_, value)| value))
}
