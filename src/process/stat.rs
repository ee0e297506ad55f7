//! The processes of this machine, as Linux tells of them; elsewhere there are none to be seen.
//!
//! Knows not whose they are.

/// What `/proc/PID/stat` says, in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Whether it only waits to be noticed.
    pub zombie: bool,
    /// Whose child it is.
    pub parent: i32,
    /// The group that it is in.
    pub group: i32,
    /// When it was started: with its number the name of a process for good.
    pub started: u64,
}

/// The numbers of all processes, the smallest first.
pub fn all() -> Vec<i32> {
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    let number = |name: std::ffi::OsString| name.to_str()?.parse::<i32>().ok();
    let mut all: Vec<i32> = all.flatten().filter_map(|entry| number(entry.file_name())).collect();
    all.sort_unstable();
    all
}

impl Stat {
    /// Of this process; none: there is no such process.
    pub fn of(id: i32) -> Option<Self> {
        Self::parse(&std::fs::read(format!("/proc/{id}/stat")).ok()?)
    }

    /// The second field is the program's name, in brackets, and may hold brackets and spaces itself.
    fn parse(stat: &[u8]) -> Option<Self> {
        let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(stat.get(name_ends + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        Some(Self {
            zombie: fields.next()? == "Z",
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
            // The 22nd field of all (`proc_pid_stat(5)`).
            started: fields.nth(16)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    #[test]
    fn proc_stat() {
        let whole = b"12 (a) R 1 (b) S 7 8 8 9 0 -1 1 2 3 4 5 6 7 8 20 0 1 0 99 5".to_vec();
        target("proc-stat", vec![whole], |stat| {
            // A process's name is of its own making: no bytes of it change what the kernel says behind.
            let rest = b") S 7 8 8 9 0 -1 1 2 3 4 5 6 7 8 20 0 1 0 99 5";
            let read = Stat::parse(&[b"12 (", stat, rest].concat()).expect("whole");
            assert_eq!((read.parent, read.group, read.started), (7, 8, 99));
            let _ = Stat::parse(stat);
        });
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn names_of_programs_do_not_confuse() {
        let stat = |zombie, parent, group| Some(Stat { zombie, parent, group, started: 99 });
        let rest = "8 9 0 -1 1 2 3 4 5 6 7 8 20 0 1 0 99 5";
        assert_eq!(
            Stat::parse(format!("12 (a) R 1 (b) S 7 8 {rest}").as_bytes()),
            stat(false, 7, 8)
        );
        assert_eq!(Stat::parse(&[b"12 (\xff) Z 7 0 ", rest.as_bytes()].concat()), stat(true, 7, 0));
        assert_eq!(Stat::parse(b"garbage"), None);
    }

    #[test]
    fn own_place_is_found() {
        let own = i32::try_from(std::process::id()).expect("a number");
        let stat = Stat::of(own).expect("Linux has it");
        let real = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
        assert_eq!(Some(stat.parent), real);
        assert!(all().contains(&own));
    }
}
