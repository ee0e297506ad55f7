//! The fast engine: objects through libgit2.
//!
//! Knows one store and no repository around it.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use git2::{Config, ConfigLevel, ErrorClass, ObjectType, Odb, Repository};

use crate::model::Oid;
use crate::process::brink;

use super::super::Error;
use super::super::scratch::{io, write};
use super::engine::{Kind, Object};

/// A store that libgit2 opened.
pub(in crate::git) struct Store {
    pub(super) repository: Repository,
    /// Where its loose objects are, if what is written must outlive a power cut.
    synced: Option<PathBuf>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.repository.path()).finish()
    }
}

/// A `git gc`, of a task for example, may take the directory of an object away between its making and
/// the object's coming.
const TRIES: u32 = 6;

/// More objects than this go to a pack rather than to a file each.
const LOOSE: usize = 40;

impl Store {
    /// The store of the repository whose common directory this is; every write is synced.
    pub(in crate::git) fn synced(common: &Path) -> Result<Self, Error> {
        let mut store = Self::plain(common)?;
        // libgit2 reads the wish for syncing from the configuration when it opens the objects. The
        // user's file is not ours to write, so it gets one line on top, in memory.
        let io = |source| Error::Io { doing: "writing", path: std::env::temp_dir(), source };
        // A file without a name: nothing of it is left by a death.
        let mut file = tempfile::tempfile().map_err(io)?;
        file.write_all(b"[core]\n\tfsyncObjectFiles = true\n").map_err(io)?;
        let told = |source| library("opening the objects", source);
        let mut config = Config::new().map_err(told)?;
        let path = format!("/dev/fd/{}", file.as_raw_fd());
        config.add_file(Path::new(&path), ConfigLevel::App, true).map_err(told)?;
        store.repository.set_config(&config).map_err(told)?;
        store.repository.odb().map_err(told)?;
        // Refs heed it from the first look at one on, whatever that finds.
        let _ = store.repository.find_reference("HEAD");
        // Now both know. Under the number of the file there will soon be another one, which libgit2 would
        // read in its place whenever it asks for a setting.
        let none = Config::new().map_err(told)?;
        store.repository.set_config(&none).map_err(told)?;
        store.synced = Some(common.join("objects"));
        Ok(store)
    }

    /// The store of a bare repository; writes are not synced.
    pub(super) fn plain(dir: &Path) -> Result<Self, Error> {
        let told = |source| library("opening the objects", source);
        let repository = Repository::open_bare(dir).map_err(told)?;
        Ok(Self { repository, synced: None })
    }

    /// Makes a ref point to an object, whatever it held before; synced if the store is. Another's lock
    /// is not waited for.
    pub(in crate::git) fn point(&self, name: &str, to: Oid) -> Result<(), Error> {
        let told = |source| library(&format!("moving {name}"), source);
        brink::reach("ref.before");
        self.repository.reference(name, theirs(to), true, "").map(drop).map_err(told)?;
        brink::reach("ref.after");
        Ok(())
    }

    pub(super) fn odb(&self) -> Result<Odb<'_>, Error> {
        self.repository.odb().map_err(|source| library("opening the objects", source))
    }

    pub(super) fn read(&self, oid: Oid) -> Result<Option<(Kind, Vec<u8>)>, Error> {
        let odb = self.odb()?;
        let object = match odb.read(theirs(oid)) {
            Ok(object) => object,
            Err(fault) if fault.code() == git2::ErrorCode::NotFound => return Ok(None),
            Err(fault) => return Err(library(&format!("reading {oid}"), fault)),
        };
        let kind = match object.kind() {
            ObjectType::Blob => Kind::Blob,
            ObjectType::Tree => Kind::Tree,
            ObjectType::Commit => Kind::Commit,
            _ => Kind::Tag,
        };
        Ok(Some((kind, object.data().to_vec())))
    }

    pub(super) fn size(&self, oid: Oid) -> Option<usize> {
        self.odb().ok()?.read_header(theirs(oid)).ok().map(|(size, _)| size)
    }

    pub(super) fn write(&self, oid: Oid, kind: Kind, bytes: &[u8]) -> Result<(), Error> {
        if let Some(objects) = &self.synced {
            // Whoever wrote it first, a task for example, may not have synced it, and an object that
            // is there is not written again.
            sync_loose(objects, oid)?;
        }
        let mut left = TRIES;
        let written = loop {
            left -= 1;
            match self.odb()?.write(object_type(kind), bytes) {
                Ok(written) => break written,
                Err(fault) if fault.class() == ErrorClass::Os && left > 0 => {}
                Err(source) => {
                    let place = self.repository.commondir().display();
                    return Err(library(&format!("writing {oid} to {place}"), source));
                }
            }
        };
        assert_eq!(written, theirs(oid), "BUG: an object has two names");
        Ok(())
    }

    pub(super) fn write_many(&self, objects: &[Object], dir: &Path) -> Result<(), Error> {
        if objects.len() > LOOSE {
            return pack(objects.iter().map(|object| (object, "")), &dir.join("objects/pack"));
        }
        objects.iter().try_for_each(|(oid, kind, bytes)| self.write(*oid, *kind, bytes))
    }
}

/// Writes these objects as a pack with its index into a directory; nothing is synced.
///
/// The packer sorts by the names it is told, so that the versions of a directory become neighbours:
/// then a small window finds the same differences as a large one, in a fraction of the time.
pub(super) fn pack<'a>(
    objects: impl Iterator<Item = (&'a Object, &'a str)> + Clone,
    into: &Path,
) -> Result<(), Error> {
    let told = |source| library("packing objects", source);
    let odb = Odb::new().map_err(told)?;
    odb.add_new_mempack_backend(1).map_err(told)?;
    for ((_, kind, bytes), _) in objects.clone() {
        odb.write(object_type(*kind), bytes).map_err(told)?;
    }
    let repository = Repository::from_odb(odb).map_err(told)?;
    let settings = into.join("settings");
    write(&settings, b"[pack]\n\twindowMemory = 32k\n")?;
    let config = Config::open(&settings).map_err(told)?;
    repository.set_config(&config).map_err(told)?;
    let mut builder = repository.packbuilder().map_err(told)?;
    std::fs::remove_file(&settings).map_err(io("removing", &settings))?;
    for ((oid, ..), name) in objects {
        builder.insert_object(theirs(*oid), Some(name)).map_err(told)?;
    }
    builder.write(into, 0o444).map_err(told)?;
    remove_twins(into);
    Ok(())
}

/// libgit2 gives a file its name by a second link, and tells nobody if the first can't be removed.
fn remove_twins(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let first = name.starts_with(b"pack_git2_") && name.ends_with(b".lock");
        if first && entry.metadata().is_ok_and(|there| there.nlink() > 1) {
            // It is in nobody's way.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The SHA-1 name of an object.
pub(super) fn hash(kind: Kind, bytes: &[u8]) -> Oid {
    let oid = git2::Oid::hash_object(object_type(kind), bytes)
        .expect("BUG: hashing bytes in memory does not fail");
    Oid::from_bytes(oid.as_bytes()).expect("BUG: SHA-1 has 20 bytes")
}

/// Syncs an object that stands in a file of its own, if it does.
pub(super) fn sync_loose(objects: &Path, oid: Oid) -> Result<(), Error> {
    let path = loose_path(objects, oid);
    let io = |source| Error::Io { doing: "syncing", path: path.clone(), source };
    match File::open(&path) {
        Ok(file) => {
            file.sync_all().map_err(io)?;
            let dir = path.parent().expect("BUG: an object stands in a directory");
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)
        }
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(fault) => Err(io(fault)),
    }
}

/// Where an object stands if it has a file of its own.
pub(super) fn loose_path(objects: &Path, oid: Oid) -> PathBuf {
    let hex = oid.to_string();
    objects.join(&hex[..2]).join(&hex[2..])
}

fn object_type(kind: Kind) -> ObjectType {
    match kind {
        Kind::Blob => ObjectType::Blob,
        Kind::Tree => ObjectType::Tree,
        Kind::Commit => ObjectType::Commit,
        Kind::Tag => ObjectType::Tag,
    }
}

pub(super) fn theirs(oid: Oid) -> git2::Oid {
    git2::Oid::from_bytes(oid.as_bytes()).expect("BUG: only SHA-1 names come to libgit2")
}

pub(super) fn library(doing: &str, source: git2::Error) -> Error {
    Error::Library { doing: doing.to_owned(), source }
}
