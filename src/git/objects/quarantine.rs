//! Objects that are not in the user's store yet, and how they get there: as one synced pack.
//!
//! Knows no meaning of any object.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::model::Oid;
use crate::process::brink;

use super::super::guard::output;
use super::super::scratch::{Scratch, io, make_dir, promisors, skeleton, write};
use super::super::{Error, Repo, alternate_line};
use super::commit::Header;
use super::engine::{Engine, Object, Staged};
use super::{Cache, Kind, Objects, fast, plumbing, tree};

/// An object and the path by which it was found.
type Named = (Object, String);

/// Objects that are not in the user's store yet. Dropped without [`Quarantine::keep`], they vanish.
#[derive(Debug)]
pub struct Quarantine {
    // Before `scratch`: what reads in it ends before it goes.
    objects: Objects,
    repo: Repo,
    scratch: Scratch,
}

impl Quarantine {
    pub(in crate::git) fn new(repo: &Repo) -> Result<Self, Error> {
        let scratch = Scratch::new(repo)?;
        let at = scratch.path();
        let settings = [&b"\tbare = true\n"[..], &promisors(repo)?].concat();
        skeleton(at, repo.format(), &settings)?;
        write(&at.join("objects/info/alternates"), &alternate_line(&repo.objects_dir()))?;

        let fast = if repo.plumbing() { None } else { fast::Store::plain(at).ok() };
        let git = repo.git().env("GIT_DIR", at).without("GIT_WORK_TREE").dir(at);
        let git = plumbing::Store::new(git.args(["-c", "core.fsync=none"]), None);
        let engine = match fast {
            Some(store) => Engine::Fast(store, git),
            None => Engine::Plumbing(git),
        };
        let (format, staged) = (repo.format(), Some(Staged::default()));
        let objects = Objects { engine, format, trees: Cache::default(), staged };
        Ok(Self { objects, repo: repo.clone(), scratch })
    }

    /// The objects of the quarantine and of the user's store; what is written goes to the quarantine.
    /// git sees it after [`Quarantine::flush`].
    pub fn objects(&mut self) -> &mut Objects {
        &mut self.objects
    }

    /// What a git call's environment needs to see the quarantine, and to write to it.
    pub fn env(&self) -> Vec<(&'static str, OsString)> {
        let here = self.scratch.path().join("objects");
        let mut alternate = OsString::new();
        // git reads a name in quotes as C would, so that one with a colon is one name.
        let user = alternate_line(&self.repo.objects_dir());
        alternate.push(std::ffi::OsStr::from_bytes(user.trim_ascii_end()));
        vec![
            ("GIT_OBJECT_DIRECTORY", here.into_os_string()),
            ("GIT_ALTERNATE_OBJECT_DIRECTORIES", alternate),
        ]
    }

    /// Makes everything that was written visible to git calls with [`Quarantine::env`].
    pub fn flush(&mut self) -> Result<(), Error> {
        let Objects { engine, staged, .. } = &mut self.objects;
        let staged = staged.as_mut().expect("BUG: a quarantine stages");
        engine.write_many(staged.take_unflushed(), self.scratch.path())
    }

    /// Makes what is reachable from these commits or trees, and not from `have`, one synced pack in
    /// the user's store.
    pub fn keep(&mut self, commits: &[Oid], have: &[Oid]) -> Result<(), Error> {
        let new = self.reachable(commits, have)?;
        if new.is_empty() {
            return Ok(());
        }
        let at = self.scratch.path().to_owned();
        let made = TempDir::new_in(&at).map_err(io("making a directory in", &at))?;
        match &self.objects.engine {
            Engine::Fast(..) => {
                let named = new.iter().map(|(object, name)| (object, name.as_str()));
                fast::pack(named, made.path())?;
            }
            Engine::Plumbing(_) => {
                self.flush()?;
                let mut names = String::new();
                for ((oid, ..), name) in &new {
                    names.extend([&oid.to_string(), " ", &name.replace('\n', " "), "\n"]);
                }
                let call = self.repo.git().env("GIT_DIR", &at).without("GIT_WORK_TREE").dir(&at);
                let call = call.args(["pack-objects", "-q"]).arg(made.path().join("pack"));
                output(call.input(names))?;
            }
        }
        move_pack(made.path(), &self.repo.objects_dir().join("pack"))
    }

    /// What of the quarantine these reach: an object of the user's store reaches only others there.
    fn reachable(&mut self, from: &[Oid], have: &[Oid]) -> Result<Vec<Named>, Error> {
        let mut seen: HashSet<Oid> = have.iter().copied().collect();
        let mut todo: Vec<(Oid, String)> =
            from.iter().rev().map(|oid| (*oid, String::new())).collect();
        let mut new = Vec::new();
        while let Some((oid, name)) = todo.pop() {
            if !seen.insert(oid) || !self.holds(oid) {
                continue;
            }
            let (kind, bytes) = self.objects.read(oid)?;
            match kind {
                Kind::Commit => {
                    let header = Header::parse(&bytes).unwrap_or_default();
                    let next = header.parents.into_iter().chain(header.tree);
                    todo.extend(next.map(|oid| (oid, String::new())));
                }
                Kind::Tree => {
                    let below = tree::children(&bytes, self.objects.format);
                    let damaged = || Error::Object { oid, what: "it is a damaged tree".to_owned() };
                    let mut below = below.ok_or_else(damaged)?;
                    below.retain(|(child, _)| !seen.contains(child));
                    for (child, part) in below {
                        let part = String::from_utf8_lossy(&part);
                        todo.push((child, format!("{name}/{part}")));
                    }
                }
                Kind::Blob | Kind::Tag => {}
            }
            new.push(((oid, kind, bytes.into()), name));
        }
        Ok(new)
    }

    /// Whether the object came into being here: in memory, or written by git, which writes a file
    /// for each.
    fn holds(&self, oid: Oid) -> bool {
        let staged = self.objects.staged.as_ref().is_some_and(|staged| staged.get(oid).is_some());
        staged || fast::loose_path(&self.scratch.path().join("objects"), oid).exists()
    }
}

/// Moves the pack in `from` into `to`, synced: first the pack, then the index that makes it count.
fn move_pack(from: &Path, to: &Path) -> Result<(), Error> {
    make_dir(to)?;
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(from).map_err(io("reading", from))? {
        files.push(entry.map_err(io("reading", from))?.path());
    }
    files.sort_by_key(|file| file.extension().is_some_and(|ending| ending == "idx"));
    for file in &files {
        File::open(file).and_then(|file| file.sync_all()).map_err(io("syncing", file))?;
        let name = file.file_name().expect("BUG: a listed file has a name");
        let target = to.join(name);
        brink::reach("pack.move");
        match fs::rename(file, &target) {
            Ok(()) => {}
            // The objects may stand on another disk.
            Err(fault) if fault.kind() == ErrorKind::CrossesDevices => {
                let mut near = tempfile::Builder::new()
                    .prefix("tmp_todone_")
                    .tempfile_in(to)
                    .map_err(io("writing in", to))?;
                let mut source = File::open(file).map_err(io("reading", file))?;
                std::io::copy(&mut source, &mut near).map_err(io("writing in", to))?;
                let mode = source.metadata().map_err(io("reading", file))?.permissions();
                fs::set_permissions(near.path(), mode).map_err(io("writing in", to))?;
                near.as_file().sync_all().map_err(io("syncing", to))?;
                near.persist(&target).map_err(|fault| io("writing", &target)(fault.error))?;
            }
            Err(fault) => return Err(io("writing", &target)(fault)),
        }
    }
    brink::reach("pack.moved");
    File::open(to).and_then(|dir| dir.sync_all()).map_err(io("syncing", to))
}
