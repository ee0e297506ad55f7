//! What stood at a look, written down for whoever goes on after this process was killed.
//!
//! Knows no change. What can't be read is none: then nobody knows what stood before.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::Oid;

use super::hooks::{Hook, Hooks};
use super::{Entry, State, Value};

/// Of another version nothing is believed.
const VERSION: u32 = 1;

/// A state, without maps whose keys are no texts.
#[derive(Serialize, Deserialize)]
struct Page {
    v: u32,
    refs: Vec<(String, Named)>,
    head: Vec<u8>,
    stash: Vec<Entry>,
    config: Vec<u8>,
    own: Option<Vec<u8>>,
    hooks: Vec<(Option<PathBuf>, String, Kept)>,
    linked: Vec<(PathBuf, u32, Vec<u8>)>,
    folders: Vec<PathBuf>,
}

#[derive(Serialize, Deserialize)]
enum Named {
    Id(Oid),
    Name(String),
}

#[derive(Serialize, Deserialize)]
enum Kept {
    File(u32, Vec<u8>),
    Link(PathBuf),
}

/// As bytes; none where a path is no text.
pub(super) fn written(state: &State) -> Option<Vec<u8>> {
    let refs = state.refs.iter().map(|(name, value)| {
        let value = match value {
            Value::Id(oid) => Named::Id(*oid),
            Value::Name(name) => Named::Name(name.clone()),
        };
        (name.clone(), value)
    });
    let hooks = state.hooks.all.iter().map(|((folder, name), hook)| {
        let hook = match hook {
            Hook::File((mode, bytes)) => Kept::File(*mode, bytes.clone()),
            Hook::Link(target) => Kept::Link(target.clone()),
        };
        (folder.clone(), name.clone(), hook)
    });
    let linked = &state.hooks.linked;
    let page = Page {
        v: VERSION,
        refs: refs.collect(),
        head: state.head.clone(),
        stash: state.stash.clone(),
        config: state.settings.config.clone(),
        own: state.settings.own.clone(),
        hooks: hooks.collect(),
        linked: linked.iter().map(|(path, (mode, b))| (path.clone(), *mode, b.clone())).collect(),
        folders: state.folders.iter().cloned().collect(),
    };
    serde_json::to_vec(&page).ok()
}

pub(super) fn read(bytes: &[u8]) -> Option<State> {
    let page: Page = serde_json::from_slice(bytes).ok().filter(|page: &Page| page.v == VERSION)?;
    let value = |named| match named {
        Named::Id(oid) => Value::Id(oid),
        Named::Name(name) => Value::Name(name),
    };
    let hook = |kept| match kept {
        Kept::File(mode, bytes) => Hook::File((mode, bytes)),
        Kept::Link(target) => Hook::Link(target),
    };
    let hooks = page.hooks.into_iter().map(|(folder, name, kept)| ((folder, name), hook(kept)));
    let linked = page.linked.into_iter().map(|(path, mode, bytes)| (path, (mode, bytes)));
    Some(State {
        refs: page.refs.into_iter().map(|(name, named)| (name, value(named))).collect(),
        head: page.head,
        stash: page.stash,
        settings: super::Settings { config: page.config, own: page.own },
        hooks: Hooks { all: hooks.collect(), linked: linked.collect() },
        folders: page.folders.into_iter().collect(),
    })
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// What is read is what was written, whatever another version or a torn disk made of it.
    #[test]
    fn noted_states() {
        let whole = br#"{"v":1,"refs":[["refs/heads/a",{"Id":"1111111111111111111111111111111111111111"}],
            ["refs/heads/b",{"Name":"refs/heads/a"}]],"head":[10],"stash":[["2222222222222222222222222222222222222222",
            "On a: x"]],"config":[91],"own":[1],"hooks":[[null,"pre-push",{"File":[493,[35]]}],["/h","x",{"Link":"y"}]],
            "linked":[["/z",420,[1]]],"folders":["/h"]}"#;
        assert!(read(whole).is_some_and(|state| state.hooks.all.len() == 2));
        let other = String::from_utf8_lossy(whole).replace("\"v\":1", "\"v\":2").into_bytes();
        assert_eq!(read(&other), None);
        target("noted-states", vec![whole.to_vec(), other], |bytes| {
            if let Some(state) = read(bytes) {
                let again = written(&state).expect("its paths are texts");
                assert_eq!(read(&again), Some(state));
            }
        });
    }
}
