//! Holds the house against its plan: which room may import which, where each heavy crate lives, how
//! long a file may grow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms and what each may import. A room may exist here before it exists in `src`.
const ROOMS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("event", &["model"]),
    ("process", &[]),
    ("board", &["model"]),
    ("plan", &["model"]),
    ("git", &["model", "process"]),
    ("executor", &["model", "process"]),
    ("agent", &["model"]),
    ("policy", &["model"]),
    ("store", &["model", "event", "process"]),
    ("bus", &["model", "event"]),
    ("bridge", &["model", "process", "agent"]),
    ("merge", &["model", "git", "executor"]),
    ("verify", &["model", "git", "executor"]),
    (
        "run",
        &[
            "model", "event", "process", "board", "plan", "git", "executor", "agent", "policy",
            "store", "bus", "merge", "verify",
        ],
    ),
    ("report", &["model", "event"]),
    ("serve", &["model", "event", "bus", "board", "run"]),
    (
        "cli",
        &[
            "model", "event", "process", "board", "plan", "git", "executor", "agent", "policy",
            "store", "bus", "merge", "verify", "run", "report", "serve",
        ],
    ),
];

/// Heavy crates and the only rooms that see their types.
const HOMES: &[(&str, &[&str])] = &[
    ("agent_client_protocol", &["bridge"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("futures_util", &["bridge"]),
    ("git2", &["git"]),
    ("gix_ignore", &["git"]),
    ("indicatif", &["report"]),
    ("jsonschema", &["board"]),
    ("landlock", &["executor"]),
    ("maud", &["report", "serve"]),
    ("miette", &["board"]),
    ("minreq", &["cli"]),
    ("petgraph", &["plan"]),
    ("rusqlite", &["store"]),
    ("saphyr_parser", &["board"]),
    ("schemars", &["board"]),
    ("tokio", &["executor", "bridge", "run", "serve", "cli"]),
    ("toml", &["board"]),
];

/// Past so many lines of code, tests and comments not counted, a file holds two ideas.
const LONGEST: usize = 500;

/// A source file of a room.
struct Source {
    path: PathBuf,
    /// The folder of `src` it stands in.
    room: String,
    /// How many modules deep it is: 1 for `src/room/mod.rs`.
    depth: usize,
    text: String,
    /// The text with comments and literals blanked out.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let inside = path.strip_prefix(&root).expect("inside").to_owned();
            let parts: Vec<&str> =
                inside.iter().map(|part| part.to_str().expect("a plain name")).collect();
            let [room, .., file] = parts[..] else { continue };
            if file.ends_with(".rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                found.push(Source {
                    room: room.to_owned(),
                    depth: parts.len() - usize::from(file == "mod.rs"),
                    code: code(&text),
                    text,
                    path: Path::new("src").join(inside),
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 30, "the sources were found");
    found
}

/// The text with comments, strings and character literals blanked out, lines kept.
fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let starts = |at: usize, with: &str| {
        with.chars().enumerate().all(|(n, c)| chars.get(at + n) == Some(&c))
    };
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = if starts(at, "//") {
            (at..chars.len()).find(|n| chars[*n] == '\n').unwrap_or(chars.len())
        } else if starts(at, "/*") {
            let mut depth = 0;
            let mut n = at;
            loop {
                if starts(n, "/*") {
                    depth += 1;
                    n += 2;
                } else if starts(n, "*/") {
                    depth -= 1;
                    n += 2;
                } else {
                    n += 1;
                }
                if depth == 0 || n >= chars.len() {
                    break n;
                }
            }
        } else if let Some(hashes) = raw_string(&chars, at) {
            let close = format!("\"{}", "#".repeat(hashes));
            let first = at + hashes + 2;
            (first..chars.len())
                .find(|n| starts(*n, &close))
                .map_or(chars.len(), |n| n + 1 + hashes)
        } else if chars[at] == '"' {
            let mut n = at + 1;
            while n < chars.len() && chars[n] != '"' {
                n += if chars[n] == '\\' { 2 } else { 1 };
            }
            n + 1
        } else if starts(at, "'\\") {
            (at + 3..chars.len()).find(|n| chars[*n] == '\'').map_or(chars.len(), |n| n + 1)
        } else if chars[at] == '\'' && chars.get(at + 2) == Some(&'\'') {
            at + 3
        } else {
            out.push(chars[at]);
            at += 1;
            continue;
        };
        let end = end.min(chars.len());
        out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// The number of `#` of a raw string that begins here.
fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    let word =
        at.checked_sub(1).is_some_and(|before| is_word(chars[before]) && chars[before] != 'b');
    if chars[at] != 'r' || word {
        return None;
    }
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    (chars.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The words of code with the place right after each.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + code[rest..].find(is_word)?;
        let length = code[start..].find(|c| !is_word(c)).unwrap_or(code.len() - start);
        rest = start + length;
        Some((rest, &code[start..rest]))
    })
}

/// What follows `::` here: one name, or those of a group.
fn heads(code: &str, at: usize) -> Vec<String> {
    let Some(rest) = code[at..].trim_start().strip_prefix("::") else { return Vec::new() };
    let rest = rest.trim_start();
    let Some(group) = rest.strip_prefix('{') else {
        return vec![rest.chars().take_while(|c| is_word(*c)).collect()];
    };
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut item = String::new();
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(std::mem::take(&mut item)),
            _ => {}
        }
        if depth == 0 && c != ',' {
            item.push(c);
        }
    }
    heads.push(item);
    let first = |item: &String| item.trim().chars().take_while(|c| is_word(*c)).collect();
    heads.iter().map(first).filter(|head: &String| !head.is_empty()).collect()
}

/// The modules at the crate's root that code names, by `crate::` or by climbing out with `super::`.
fn imports(code: &str, depth: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (after, word) in words(code) {
        if word == "crate" {
            found.extend(heads(code, after));
        }
        if word == "super" {
            let mut at = after;
            let mut climbed = 1;
            while let Some(rest) = code[at..].strip_prefix("::super") {
                at = code.len() - rest.len();
                climbed += 1;
            }
            if climbed >= depth {
                let heads = heads(code, at);
                found.extend(heads.into_iter().filter(|head| ROOMS.iter().any(|(r, _)| r == head)));
            }
        }
    }
    found
}

/// Whether code names this crate.
fn names(code: &str, name: &str) -> bool {
    words(code).any(|(after, word)| {
        let before = code[..after - word.len()].trim_end();
        let is_path = code[after..].trim_start().starts_with("::") && !before.ends_with("::");
        let is_use = before.ends_with("use") || before.ends_with("extern crate");
        word == name && (is_path || is_use) && !before.ends_with('.')
    })
}

#[test]
fn rooms_import_only_rooms_below() {
    let rooms: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let mut faults = Vec::new();
    for source in sources() {
        let Some(allowed) = rooms.get(source.room.as_str()) else {
            faults.push(format!("{}: no row for room `{}`", source.path.display(), source.room));
            continue;
        };
        // What gives samples to the tests of every room is in no build but theirs.
        let imports = imports(&source.code, source.depth).into_iter();
        for import in imports.filter(|import| import != "mangle") {
            if import != source.room && !allowed.contains(&import.as_str()) {
                faults.push(format!("{}: imports `{import}`", source.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_table_has_no_circles() {
    for (place, (room, allowed)) in ROOMS.iter().enumerate() {
        let above: Vec<_> = ROOMS[place..].iter().map(|(room, _)| room).collect();
        let up: Vec<_> = allowed.iter().filter(|other| above.contains(other)).collect();
        assert!(up.is_empty(), "{room} imports {up:?}, which stand above it");
    }
}

#[test]
fn heavy_crates_stay_at_home() {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for source in sources() {
        for (name, homes) in HOMES {
            if names(&source.code, name) {
                seen.insert(*name);
                if !homes.contains(&source.room.as_str()) {
                    faults.push(format!("{}: uses `{name}`", source.path.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen.contains("git2") && seen.contains("petgraph"), "crates are recognised: {seen:?}");
}

#[test]
fn files_hold_one_idea_and_say_which() {
    let mut faults = Vec::new();
    for source in sources() {
        if source.path.ends_with("tests.rs") {
            continue;
        }
        let lines: Vec<&str> = source.text.lines().collect();
        let tests = lines.windows(2).position(|pair| {
            pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
        });
        let length = source.code.lines().take(tests.unwrap_or(lines.len()));
        let length = length.filter(|line| !line.trim().is_empty()).count();
        if length > LONGEST {
            faults.push(format!("{}: {length} lines of code", source.path.display()));
        }
        if !lines.first().is_some_and(|line| line.starts_with("//! ")) {
            faults.push(format!(
                "{}: says nothing of itself in its first line",
                source.path.display()
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn nothing_is_unsafe() {
    for source in sources() {
        let found = words(&source.code).any(|(_, word)| word == "unsafe");
        assert!(!found, "{}", source.path.display());
    }
}

#[test]
fn this_reading_of_code_is_right() {
    let text = r##"
        //! [`crate::cli`] in a comment /* crate::serve */
        use crate::{git::{Repo, refs::Oid}, model, store::*};
        fn f<'a>(x: &'a str) { crate::board::read("crate::run \" crate::run", '"', r#"crate::bus "#) }
        use super::super::plan::order; use super::agent;
        /* crate::verify /* crate::verify */ crate::verify */
        let b = b'\''; let c = crate :: policy::after;
    "##;
    let found: Vec<String> = imports(&code(text), 2).into_iter().collect();
    assert_eq!(found, ["board", "git", "model", "plan", "policy", "store"]);
    assert!(imports(&code(text), 1).contains("agent"));
    let code = code(
        "use git2 as g; fn x() { toml::from_str(a.clap::<X>(), self::miette::y, \"tokio::z\") }",
    );
    assert!(names(&code, "git2") && names(&code, "toml"));
    assert!(!names(&code, "clap") && !names(&code, "miette") && !names(&code, "tokio"));
}
