//! Looks at the machine: how much its processors have to do, and how much memory is free.
//!
//! Knows the files in which Linux tells it. Elsewhere nothing is read, and nothing is said.

use std::path::Path;

use crate::policy::Reading;

/// What the machine is at now, by the files below `root`.
pub fn reading(root: &Path) -> Reading {
    let text = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
    let load = text("proc/loadavg").and_then(|text| runnable(&text));
    let machine = text("proc/meminfo").and_then(|text| free_memory(&text));
    let bound = text("sys/fs/cgroup/memory.max");
    let held = text("sys/fs/cgroup/memory.stat").and_then(|stat| {
        let used = text("sys/fs/cgroup/memory.current")?;
        free_below(bound.as_deref()?, &used, &stat)
    });
    let memory = match (machine, held) {
        (Some(machine), Some(held)) => Some(machine.min(held)),
        (machine, held) => machine.or(held),
    };
    Reading { load: load.map(|count| f64::from(count) / processors as f64), memory }
}

/// How many processes want to run, but for the one that asks: `0.20 0.18 0.12 3/80 11206`.
fn runnable(text: &str) -> Option<u32> {
    let (running, _) = text.split_whitespace().nth(3)?.split_once('/')?;
    Some(running.parse::<u32>().ok()?.saturating_sub(1))
}

/// The share of the machine's memory that is available.
fn free_memory(text: &str) -> Option<f64> {
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    share(of("MemAvailable:")?, of("MemTotal:")?)
}

/// The share that is left of the bound of a control group; what it only caches can go.
fn free_below(bound: &str, used: &str, stat: &str) -> Option<f64> {
    // `max` is no bound.
    let bound: u64 = bound.trim().parse().ok()?;
    let used: u64 = used.trim().parse().ok()?;
    let cached = stat.lines().find_map(|line| line.strip_prefix("inactive_file "));
    let cached = cached.and_then(|number| number.trim().parse().ok()).unwrap_or(0);
    share(bound.saturating_sub(used.saturating_sub(cached)), bound)
}

/// None: of nothing at all.
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64).min(1.0))
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// Whatever a kernel writes, a share is one, and what the first words say is what counts.
    #[test]
    fn machines() {
        let whole = "0.20 0.18 0.12 3/80 11206\n\0MemTotal: 1000 kB\nMemFree: 1 kB\n\
                     MemAvailable: 250 kB\n\x001000\n\x00900\n\0anon 1\ninactive_file 300\n";
        let odd = "\0MemTotal: inf\nMemAvailable: nan\n\0-1\0NaN\0inactive_file 1e999";
        let more = [whole, odd].map(|text| text.as_bytes().to_vec());
        target("machines", more.to_vec(), |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let mut files = text.split('\0');
            let mut next = || files.next().unwrap_or_default();
            let count = runnable(next());
            assert!(
                count.is_none_or(|count| text.contains(&format!("{}/", count + 1)) || count == 0)
            );
            let shares = [free_memory(next()), free_below(next(), next(), next())];
            for share in shares.into_iter().flatten() {
                assert!((0.0..=1.0).contains(&share), "{share}");
            }
            let first = format!("MemTotal: 4 kB\nMemAvailable: 1 kB\n{text}");
            assert_eq!(free_memory(&first), Some(0.25));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_tells_is_read_and_what_it_does_not_tell_is_unknown() {
        assert_eq!(runnable("0.20 0.18 0.12 3/80 11206\n"), Some(2));
        assert_eq!(runnable("0.20"), None);
        let memory = "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    250 kB\n";
        assert_eq!(free_memory(memory), Some(0.25));
        assert_eq!(free_memory("MemTotal: 0 kB\nMemAvailable: 0 kB\n"), None);
        assert_eq!(free_below("1000\n", "900\n", "anon 1\ninactive_file 300\n"), Some(0.4));
        assert_eq!(free_below("max\n", "900\n", ""), None);
        if cfg!(target_os = "linux") {
            let now = reading(Path::new("/"));
            assert!(now.load.is_some_and(|load| load >= 0.0));
            assert!(now.memory.is_some_and(|free| (0.0..=1.0).contains(&free)));
        }
    }
}
