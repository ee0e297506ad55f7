//! The session that is at work: what its requests are judged by.
//!
//! Knows no protocol but the names of sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::agent::{Limits, Order};

/// How far the program is.
#[derive(Clone, Debug, Default)]
pub(super) enum Stage {
    /// It is told for the first time: what goes wrong now goes wrong with another as well.
    #[default]
    First,
    /// It was at work before, and was not asked yet what this order says.
    Opening(Box<Order>),
    /// It was asked.
    Asked,
    /// It waits for the next order.
    Idle,
}

/// What requests of the session are judged by.
#[derive(Debug)]
pub(super) struct Now {
    pub(super) limits: Limits,
    pub(super) dir: PathBuf,
}

/// The session that is at work, and those that were.
#[derive(Debug, Default)]
pub(super) struct Desk {
    now: Mutex<Option<(Option<String>, Arc<Now>)>>,
    over: Mutex<BTreeSet<String>>,
    stage: Mutex<Stage>,
    /// The titles of the calls of tools that it announced.
    calls: Mutex<BTreeMap<String, String>>,
    /// A conversation that is loaded is told again from its beginning.
    pub(super) quiet: AtomicBool,
    /// Whether a file that is not there is to be taken for one that is empty.
    pub(super) empty: AtomicBool,
}

/// What a panicking thread left is whole: each value goes in and out in one step.
fn open<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    /// An order is taken up; its session has no name yet.
    pub(super) fn begin(&self, order: &Order, dir: PathBuf) {
        *open(&self.now) = Some((None, Arc::new(Now { limits: order.limits.clone(), dir })));
    }

    /// The name of its session. An agent may give the same name again.
    pub(super) fn named(&self, session: &str) {
        open(&self.over).remove(session);
        if let Some((name, _)) = &mut *open(&self.now) {
            *name = Some(session.to_owned());
        }
    }

    /// The session is over: nothing is done for it any more.
    pub(super) fn end(&self) {
        open(&self.calls).clear();
        if let Some((Some(name), _)) = open(&self.now).take() {
            open(&self.over).insert(name);
        }
    }

    /// What requests of this session are judged by; none: it is over, or was never begun. Before it has
    /// a name it can't be told from one that the agent made up.
    pub(super) fn of(&self, session: &str) -> Option<Arc<Now>> {
        if open(&self.over).contains(session) {
            return None;
        }
        open(&self.now).as_ref().map(|(_, now)| now.clone())
    }

    /// Whether what this session tells is to be passed on.
    pub(super) fn hears(&self, session: &str) -> bool {
        !self.quiet.load(Ordering::SeqCst) && self.of(session).is_some()
    }

    /// A call of a tool is announced under this title.
    pub(super) fn calls(&self, call: &str, title: &str) {
        open(&self.calls).insert(call.to_owned(), title.to_owned());
    }

    /// The title of a call that was announced.
    pub(super) fn called(&self, call: &str) -> Option<String> {
        open(&self.calls).get(call).cloned()
    }

    pub(super) fn stage(&self) -> Stage {
        open(&self.stage).clone()
    }

    pub(super) fn goes(&self, stage: Stage) {
        *open(&self.stage) = stage;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Permissions;

    #[test]
    fn a_session_that_is_over_gets_nothing_more() {
        let order = |root: &str| Order {
            argv: Vec::new(),
            prompt: String::new(),
            model: None,
            session: None,
            limits: Limits {
                permissions: Permissions::Edit,
                allow: Vec::new(),
                root: root.into(),
                readable: Vec::new(),
                servers: Vec::new(),
                titles: false,
            },
            mcp: Vec::new(),
            stay: None,
        };
        let desk = Desk::default();
        let root = |session| desk.of(session).map(|now| now.limits.root.clone());
        assert_eq!(root("a"), None);
        desk.begin(&order("/one"), "/one".into());
        desk.named("a");
        assert_eq!(root("a"), Some("/one".into()));
        desk.end();
        assert_eq!(root("a"), None);
        desk.begin(&order("/two"), "/two".into());
        assert_eq!((root("a"), root("b")), (None, Some("/two".into())), "it has no name yet");
        desk.named("b");
        assert!(desk.hears("b") && !desk.hears("a"));
        desk.end();
        desk.begin(&order("/three"), "/three".into());
        desk.named("a");
        assert_eq!(root("a"), Some("/three".into()), "the name is given again");
    }
}
