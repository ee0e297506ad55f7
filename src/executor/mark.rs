//! The mark of a command: a variable in the environment of all that comes of it. Where the system hands no
//! orphans over (macOS), those that left the command's process group are found by it and killed.
//!
//! Knows no supervisor. The list is that of `ps`: there is no file system of processes everywhere.
//!
//! What it can't find: a process that cleared its environment; on macOS the programs that are part of the system
//! itself (in `/bin` and `/usr/bin`), whose environment the kernel shows to nobody while System Integrity
//! Protection is on; and one that begins a session of its own, starts its successor and ends, again and again,
//! faster than `ps` tells of it. The first two are found as long as they are in a group with one that is found.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpgrp, getpid, kill_process, kill_process_group};

/// The variable.
pub(super) const VARIABLE: &str = "TODONE_MARK";

/// How long there is between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Every process of this user with its environment behind its arguments, however long that is, a line each, and
/// first its number and that of its group. From `ps(1)` of macOS, and of procps on Linux, whose `e` has no dash.
const ARGS: &[&str] = if cfg!(target_os = "macos") {
    &["-x", "-E", "-ww", "-o", "pid=", "-o", "pgid=", "-o", "command="]
} else {
    &["xeww", "-o", "pid=", "-o", "pgid=", "-o", "command="]
};

/// A mark that no other command has.
pub(super) fn fresh() -> String {
    let word = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", word(), word())
}

/// Kills whatever carries the mark until nothing does; false: not within the limit.
pub(super) fn sweep(mark: &str, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    loop {
        match list() {
            Ok(said) => {
                let found = marked(&said, mark);
                if found.is_empty() {
                    return true;
                }
                for (pid, group) in found {
                    let _ = kill_process(pid, Signal::KILL);
                    // In one step with what it has started since the list was made.
                    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
                }
            }
            // Then nothing can be found at all.
            Err(fault) if fault.kind() == ErrorKind::NotFound => return true,
            // No room for one more process: perhaps those that it is about have taken it.
            Err(_) => {}
        }
        if Instant::now() >= until {
            return false;
        }
        sleep(PAUSE);
    }
}

/// What `ps` says; that of the system, whatever the `PATH`.
fn list() -> io::Result<Vec<u8>> {
    let program = ["/bin/ps", "/usr/bin/ps"].into_iter().find(|path| Path::new(path).exists());
    let mut ps = Command::new(program.ok_or(ErrorKind::NotFound)?);
    ps.args(ARGS).env_clear().env("LC_ALL", "C");
    let said = ps.stdin(Stdio::null()).stderr(Stdio::null()).output()?;
    Ok(said.stdout)
}

/// The processes in such a list that carry the mark, but for this one, with their groups, but for that of this
/// one: a group belongs to one session, and a session that holds one of ours was begun by one of ours.
fn marked(said: &[u8], mark: &str) -> Vec<(Pid, Option<Pid>)> {
    let wanted = format!("{VARIABLE}={mark}");
    let of = |line: &[u8]| {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let mut number = || std::str::from_utf8(words.next()?).ok()?.parse::<i32>().ok();
        let (id, group) = (number()?, number()?);
        // 1 is nobody's to kill, and no number below is one process, or one group.
        let one = |id: i32, own: Pid| {
            let pid = if id > 1 { Pid::from_raw(id) } else { None };
            pid.filter(|pid| *pid != own)
        };
        let found = (one(id, getpid())?, one(group, getpgrp()));
        words.any(|word| word == wanted.as_bytes()).then_some(found)
    };
    said.split(|byte| *byte == b'\n').filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, PipeWriter, Read as _};
    use std::os::unix::process::CommandExt as _;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    /// What is left when the one that started it has ended: a process in a session of its own, or in a group of
    /// its own where there is no `setsid` program. It holds the pipe, and says its number in it.
    const ESCAPE: &str = "if command -v setsid >/dev/null; then \
                          (setsid sh -c 'echo $$; exec sleep 1000' &); else \
                          set -m; (sh -c 'echo $$; exec sleep 1000' &); fi";

    struct Escaped {
        pid: Pid,
        pipe: PipeReader,
    }

    impl Escaped {
        fn new(env: &[(&str, &str)], before: &str) -> Self {
            let (pipe, to): (PipeReader, PipeWriter) = io::pipe().expect("a pipe");
            let mut shell = Command::new("sh");
            let script = if before.is_empty() {
                ESCAPE.to_owned()
            } else {
                ESCAPE.replace("exec sleep", &format!("exec {before} sleep"))
            };
            shell.args(["-c", &script]).env_remove(VARIABLE).envs(env.iter().copied());
            shell.stdin(Stdio::null()).stdout(to).stderr(Stdio::null());
            let ended = shell.status().expect("it runs");
            assert!(ended.success());
            drop(shell);
            let mut escaped = Self { pid: getpid(), pipe };
            let mut line = Vec::new();
            while !line.ends_with(b"\n") {
                assert!(escaped.says_something(Duration::from_secs(60)), "it was started");
                let mut byte = [0];
                assert_eq!(escaped.pipe.read(&mut byte).expect("read"), 1, "it lives");
                line.push(byte[0]);
            }
            let id = String::from_utf8_lossy(&line).trim().parse().expect("a number");
            escaped.pid = Pid::from_raw(id).expect("a process");
            escaped
        }

        fn says_something(&self, limit: Duration) -> bool {
            let limit = Timespec::try_from(limit).expect("short");
            let mut fds = [PollFd::new(&self.pipe, PollFlags::IN)];
            poll(&mut fds, Some(&limit)).expect("polled") > 0
        }

        /// It has nothing more to say: the pipe is at its end when, and only when, it is gone.
        fn is_gone(&self, limit: Duration) -> bool {
            self.says_something(limit)
        }
    }

    impl Drop for Escaped {
        fn drop(&mut self) {
            if !self.is_gone(Duration::ZERO) {
                let _ = kill_process(self.pid, Signal::KILL);
            }
        }
    }

    const SOON: Duration = Duration::from_secs(5);

    fn can() -> bool {
        let can = list().is_ok_and(|said| !said.is_empty());
        if !can {
            eprintln!("skipped: no ps program that takes {ARGS:?}");
        }
        can
    }

    #[test]
    fn who_carries_the_mark_is_killed_wherever_it_went_and_nobody_else() {
        if !can() {
            return;
        }
        let (mark, other) = (fresh(), fresh());
        // So that it does not stand at the end of a line that might be cut.
        let long = "x".repeat(5000);
        let env: &[(&str, &str)] = &[(VARIABLE, &mark), ("ZZ_LONG", &long), ("AA_LONG", &long)];
        let all: Vec<Escaped> = (0..3).map(|_| Escaped::new(env, "")).collect();
        let foreign = Escaped::new(&[(VARIABLE, &other)], "");
        let longer = Escaped::new(&[(VARIABLE, &format!("{mark}0"))], "");
        let unmarked = Escaped::new(&[("OTHER_MARK", &mark)], "");
        // As the manual says, and README.
        let cleared = Escaped::new(env, "env -i");
        // It says its number before it clears its environment.
        let until = Instant::now() + Duration::from_secs(60);
        while marked(&list().expect("listed"), &mark).iter().any(|(pid, _)| *pid == cleared.pid) {
            assert!(Instant::now() < until, "it clears its environment");
            sleep(PAUSE);
        }
        assert!(sweep(&mark, SOON), "nothing is left");
        assert!(all.iter().all(|one| one.is_gone(SOON)));
        let spared = [&foreign, &longer, &unmarked, &cleared];
        assert!(spared.iter().all(|one| !one.is_gone(Duration::ZERO)), "these go on");
        assert!(sweep(&mark, Duration::ZERO), "there was nothing to do");
    }

    #[test]
    fn who_goes_on_starting_others_is_caught() {
        if !can() {
            return;
        }
        let mark = fresh();
        let (pipe, to) = io::pipe().expect("a pipe");
        // Each starts its successor and ends a little later: whoever is in the list may be gone when it is read,
        // and the next is in none. They are in one group.
        let relay = "sleep 0.5; if [ \"$1\" -gt 0 ]; then sh -c \"$2\" sh $(($1 - 1)) \"$2\" & sleep 0.5; fi";
        let mut shell = Command::new("sh");
        shell.args(["-c", relay, "sh", "60", relay]).env(VARIABLE, &mark).process_group(0);
        shell.stdin(Stdio::null()).stdout(to).stderr(Stdio::null());
        let mut first = shell.spawn().expect("it runs");
        drop(shell);
        first.wait().expect("it ends");
        assert!(sweep(&mark, Duration::from_secs(20)), "nothing is left");
        let limit = Timespec::try_from(SOON).expect("short");
        let ended = poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&limit));
        assert_eq!(ended.expect("polled"), 1, "nobody holds the pipe");
    }

    #[test]
    fn lists_of_ps_are_read() {
        let mark = "0123456789abcdef";
        let said = format!(
            "    1 1 /sbin/init {VARIABLE}={mark}\n  812 800 sleep 9 HOME=/u {VARIABLE}={mark} LANG=C\n\
             90000 90000 /usr/libexec/x\n  813 800 sh -c x {VARIABLE}={mark}0\n  814 1 sh X{VARIABLE}={mark}\n\
             815\t{}\tsh {VARIABLE}={mark}\n  -3 -3 sh {VARIABLE}={mark}\nodd odd {VARIABLE}={mark}\n\n\
             816 816 [sh] <defunct>\n{} 7 me {VARIABLE}={mark}\n  99999999999 1 sh {VARIABLE}={mark}\n\
             0 0 sh {VARIABLE}={mark}\n 817 0 sh {VARIABLE}={mark}\n 818 sh {VARIABLE}={mark}",
            getpgrp().as_raw_nonzero(),
            getpid().as_raw_nonzero()
        );
        let number = |pid: Pid| pid.as_raw_nonzero().get();
        let found = marked(said.as_bytes(), mark).into_iter();
        let found: Vec<_> = found.map(|(pid, group)| (number(pid), group.map(number))).collect();
        assert_eq!(found, [(812, Some(800)), (815, None), (817, None)]);
    }

    #[test]
    fn marks_differ() {
        let (one, two) = (fresh(), fresh());
        assert_ne!(one, two);
        assert!(one.len() == 32 && one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::{corpus, target};

    /// Only a line that holds the mark as a word tells a process, and none hides one before it.
    #[test]
    fn ps() {
        let wanted = format!("{VARIABLE}=4f2a");
        target("ps", Vec::new(), |said| {
            let holds = |line: &&[u8]| line.windows(wanted.len()).any(|it| it == wanted.as_bytes());
            let most = said.split(|byte| *byte == b'\n').filter(holds).count();
            let found = marked(said, "4f2a");
            assert!(found.len() <= most);
            assert!(found.iter().all(|(pid, _)| pid.as_raw_nonzero().get() > 1));
            let said = [&b"  777 776 sh A=1 TODONE_MARK=4f2a B=2\n"[..], said].concat();
            let first = marked(&said, "4f2a").first().copied();
            assert_eq!(first, Pid::from_raw(777).map(|pid| (pid, Pid::from_raw(776))));
        });
        assert!(corpus("ps").iter().any(|said| !marked(said, "4f2a").is_empty()));
    }
}
