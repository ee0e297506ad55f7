//! Paths of the machine in JSON: a string if they are UTF-8, else `{"bytes": "<base64>"}`.
//!
//! Knows no file. For `#[serde(with = "…")]`, since serde's own form refuses what is no text.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

use super::RepoPath;

/// Writes a path.
pub fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    RepoPath::new(path.as_os_str().as_bytes()).serialize(to)
}

/// Reads a path.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    let path = RepoPath::deserialize(from)?;
    Ok(OsString::from_vec(path.as_bytes().to_vec()).into())
}

/// The same for a path that may be missing.
pub mod optional {
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct One(#[serde(with = "super")] PathBuf);

    /// Writes a path or nothing.
    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        path.clone().map(One).serialize(to)
    }

    /// Reads a path or nothing.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<One>::deserialize(from)?.map(|one| one.0))
    }
}

/// The same for the bytes of a file.
pub mod bytes {
    use super::*;

    /// Writes them.
    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        RepoPath::new(bytes).serialize(to)
    }

    /// Reads them.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        Ok(RepoPath::deserialize(from)?.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Page {
        #[serde(with = "super")]
        dir: PathBuf,
        #[serde(default, with = "super::optional", skip_serializing_if = "Option::is_none")]
        file: Option<PathBuf>,
    }

    #[test]
    fn every_path_goes_round_and_text_stays_text() {
        let odd = PathBuf::from(OsString::from_vec(b"/w\xff/\n".to_vec()));
        for file in [None, Some("/a b".into()), Some(odd.clone())] {
            let page = Page { dir: odd.clone(), file };
            let json = serde_json::to_string(&page).expect("json");
            assert_eq!(serde_json::from_str::<Page>(&json).expect("a page"), page, "{json}");
        }
        let plain = r#"{"dir":"/work","file":"/work/b.toml"}"#;
        let page: Page = serde_json::from_str(plain).expect("as it was written before");
        assert_eq!(serde_json::to_string(&page).expect("json"), plain);
    }
}
