//! A control group for each supervisor, where the system delegates one (Linux, cgroup v2): what is in it
//! is killed in one step, and can be found also when the supervisor itself was killed.
//!
//! Knows nothing of commands. Everything here is a help: without it the process tree is hunted.
//!
//! The supervisor goes in once, before its first command, and what it starts is born inside: to move
//! each command would cost a wait for the whole machine. It holds a lock (`flock`) on the group's
//! directory, so a group without a holder is that of a dead supervisor. Files and their meaning:
//! <https://docs.kernel.org/admin-guide/cgroup-v2.html>.

use std::fs::{File, read_dir, read_to_string};
use std::path::{Path, PathBuf};

/// What the name of each group begins with.
const NAME: &str = "todone-";

/// The control group of this supervisor.
#[derive(Debug)]
pub(super) struct Group {
    /// That in which the supervisor was started.
    outer: PathBuf,
    own: PathBuf,
    inside: bool,
    /// Locked as long as the supervisor lives.
    _held: File,
}

impl Group {
    /// Makes a group, and ends what dead supervisors left in theirs; none: the system lets it have none.
    pub(super) fn make() -> Option<Self> {
        let outer = here()?;
        sweep(&outer);
        let own = outer.join(format!("{NAME}{}", std::process::id()));
        std::fs::create_dir(&own).ok()?;
        let held = File::open(&own).ok().filter(|held| held.try_lock().is_ok());
        let Some(held) = held else {
            let _ = std::fs::remove_dir(&own);
            return None;
        };
        Some(Self { outer, own, inside: false, _held: held })
    }

    /// Goes in: what is started from here on is inside. None: it can't, and is of no use.
    pub(super) fn enter(mut self) -> Option<Self> {
        self.inside = self.inside || join(&self.own);
        self.inside.then_some(self)
    }

    /// Kills everything inside but this process, in one step.
    #[cfg(target_os = "linux")]
    pub(super) fn kill(&mut self) {
        if self.inside && join(&self.outer) {
            self.inside = false;
            let _ = std::fs::write(self.own.join("cgroup.kill"), "1");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.inside || join(&self.outer) {
            // What can't be killed keeps the group, which the next supervisor finds.
            let _ = remove(&self.own);
        }
    }
}

/// Kills what dead supervisors left in their groups beside that of this process.
pub(super) fn end_orphans() {
    if let Some(outer) = here() {
        sweep(&outer);
    }
}

/// Whether supervisors can have groups of their own here, or why not.
pub fn groups() -> Result<(), String> {
    let outer = here().ok_or("no control groups (cgroup v2) are mounted")?;
    let name = format!("{NAME}probe-{}", std::process::id());
    let probe = outer.join(name);
    let fault = |fault| format!("`{}`: {fault}", outer.display());
    std::fs::create_dir(&probe).map_err(fault)?;
    let can = rustix::fs::access(outer.join("cgroup.procs"), rustix::fs::Access::WRITE_OK);
    remove(&probe).map_err(fault)?;
    can.map_err(|why| fault(why.into()))
}

fn sweep(outer: &Path) {
    let Ok(all) = read_dir(outer) else { return };
    for entry in all.flatten() {
        let is_ours = entry.file_name().as_encoded_bytes().starts_with(NAME.as_bytes());
        let Some(held) = is_ours.then(|| File::open(entry.path()).ok()).flatten() else { continue };
        if held.try_lock().is_ok() {
            let _ = std::fs::write(entry.path().join("cgroup.kill"), "1");
            // They may not be dead yet; then the next one removes it.
            let _ = remove(&entry.path());
        }
    }
}

/// Removes a group and those that were made in it. Nothing is lost: a group that holds a process can't
/// be removed.
fn remove(group: &Path) -> std::io::Result<()> {
    for entry in read_dir(group)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    std::fs::remove_dir(group)
}

/// Moves this process.
fn join(group: &Path) -> bool {
    std::fs::write(group.join("cgroup.procs"), "0").is_ok()
}

/// The directory of the group that this process is in.
fn here() -> Option<PathBuf> {
    place(&read_to_string("/proc/self/cgroup").ok()?, &read_to_string("/proc/self/mountinfo").ok()?)
}

/// From the words of the kernel (`cgroups(7)`, `proc_pid_mountinfo(5)`).
fn place(groups: &str, mounts: &str) -> Option<PathBuf> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        let inside = Path::new(own).strip_prefix(root).ok()?;
        let is_inside = inside.components().all(|part| part != std::path::Component::ParentDir);
        (kind.starts_with("cgroup2 ") && is_inside).then(|| Path::new(at).join(inside))
    })
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// A group is below where the kernel mounts them.
    #[test]
    fn control_groups() {
        let whole =
            b"0::/user.slice/a.scope\n\x0041 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        target("control-groups", vec![whole.to_vec()], |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let (groups, mounts) = text.split_once('\0').unwrap_or((&text, ""));
            if let Some(found) = place(groups, mounts) {
                let at = mounts.split([' ', '\n']).map(Path::new);
                assert!(at.into_iter().any(|at| found.starts_with(at)), "{found:?}");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_found_from_what_the_kernel_says() {
        let of = |own: &str, root: &str| {
            let mounts = format!(
                "22 1 0:5 / /proc rw - proc proc rw\n\
                 31 23 0:28 /x /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                 41 31 0:38 {root} /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
            );
            place(&format!("1:cpu:/y\n0::{own}\n"), &mounts)
        };
        let at = |path: &str| Some(PathBuf::from(path));
        assert_eq!(of("/", "/"), at("/sys/fs/cgroup/"));
        assert_eq!(of("/user.slice/a.scope", "/"), at("/sys/fs/cgroup/user.slice/a.scope"));
        assert_eq!(of("/docker/1/b", "/docker/1"), at("/sys/fs/cgroup/b"));
        assert_eq!(of("/elsewhere", "/docker/1"), None);
        assert_eq!(of("/../b", "/"), None);
        assert_eq!(place("1:cpu:/y\n", ""), None);
    }
}
