//! `todone init`: writes a first `todone.toml` that fits what stands at the checkout's root.
//!
//! Knows build tools by their files alone; runs none of them and overwrites nothing.

use std::io::Write as _;
use std::path::Path;

use crate::board::{self, Vars};
use crate::git::Repo;
use crate::model::RepoPath;

use super::Global;
use super::each::quoted;
use super::error::Failure;
use super::wiring;

/// The file that is written.
const BOARD: &str = "todone.toml";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// As JSON: `{"path": …, "found": […]}`
    #[arg(long)]
    json: bool,
}

/// A build tool, and what it is asked to do.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tool {
    /// The file that it was found by.
    file: &'static str,
    /// Whether a worktree can be worked with; quick.
    verify: Option<String>,
    /// Whether everything is good; thorough.
    gate: Option<String>,
    /// What makes a fresh worktree usable, and the files that it depends on.
    setup: Option<(String, Vec<&'static str>)>,
    /// A glob of source files, for the example.
    sources: &'static str,
}

pub(super) fn init(global: &Global, args: Args) -> Result<u8, Failure> {
    let repo = wiring::repo(global)?;
    let Some(root) = repo.checkout() else {
        return Err(Failure::usage("a bare repository has no checkout to write todone.toml to")
            .hint("write a board anywhere and name it: `todone run BOARD`"));
    };
    let path = root.join(BOARD);
    let tools = tools(root);
    let copies = copies(&repo, root)?;
    let text = text(&tools, &copies);
    // A board that todone would not take must not be left behind.
    board::read(text.as_bytes(), BOARD, root, &Vars::new())?;
    let new = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
    let mut file = new.map_err(|fault| match fault.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::usage(format!("{} exists; nothing is overwritten", path.display()))
                .hint("check it with `todone check`, run it with `todone run`")
        }
        _ => Failure::environment(format!("can't write {}: {fault}", path.display())),
    })?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let found: Vec<&str> =
        tools.iter().map(|tool| tool.file).chain(copies.iter().copied()).collect();
    let mut out = anstream::stdout();
    if args.json {
        let page = serde_json::json!({ "path": path.to_string_lossy(), "found": found });
        writeln!(out, "{page:#}")?;
    } else if !global.quiet {
        let found = match found.is_empty() {
            true => "no build tool that todone knows".to_owned(),
            false => found.join(", "),
        };
        writeln!(
            out,
            "wrote {}\nfound: {found}\n\nnext\n  \
             todone check   look for mistakes after you changed it\n  \
             todone plan    see its waves; runs nothing\n  \
             todone run     run it: the first task tries whether a fresh worktree works",
            path.display()
        )?;
    }
    Ok(0)
}

/// The tools whose files stand at the root, in a fixed order.
fn tools(root: &Path) -> Vec<Tool> {
    let there = |name: &str| root.join(name).is_file();
    let text = |name: &str| std::fs::read_to_string(root.join(name)).unwrap_or_default();
    let mut tools = Vec::new();
    if there("Cargo.toml") {
        let all = if text("Cargo.toml").contains("[workspace]") { " --workspace" } else { "" };
        tools.push(Tool {
            file: "Cargo.toml",
            verify: Some(format!("cargo check{all}")),
            gate: Some(format!("cargo test{all}")),
            setup: None,
            sources: "src/**/*.rs",
        });
    }
    if there("package.json") {
        tools.push(node(&text("package.json"), &there));
    }
    if there("go.mod") {
        tools.push(Tool {
            file: "go.mod",
            verify: Some("go build ./...".to_owned()),
            gate: Some("go vet ./...\ngo test ./...".to_owned()),
            setup: None,
            sources: "**/*.go",
        });
    }
    let python = ["pyproject.toml", "setup.py", "setup.cfg", "pytest.ini"];
    if let Some(file) = python.into_iter().find(|name| there(name)) {
        tools.push(python_tool(file, &text("pyproject.toml"), root));
    }
    let make = ["GNUmakefile", "makefile", "Makefile"].into_iter().find(|name| there(name));
    // With another tool there, a Makefile mostly calls that one.
    if let (Some(file), true) = (make, tools.is_empty()) {
        let rules = text(file);
        let goals = goals(&rules);
        let of = |names: &[&str]| {
            let goal = names.iter().find(|name| goals.iter().any(|goal| goal == *name));
            goal.map(|goal| format!("make {goal}"))
        };
        tools.push(Tool {
            file,
            verify: of(&["build", "all"]),
            gate: of(&["check", "test", "tests"]),
            setup: None,
            sources: "src/**",
        });
    }
    tools
}

/// npm or one that takes its place, told by the lock file.
fn node(package: &str, there: &dyn Fn(&str) -> bool) -> Tool {
    let (program, lock) = [
        ("pnpm", "pnpm-lock.yaml"),
        ("yarn", "yarn.lock"),
        ("bun", "bun.lock"),
        ("bun", "bun.lockb"),
        ("npm", "package-lock.json"),
        ("npm", "npm-shrinkwrap.json"),
    ]
    .into_iter()
    .find(|(_, lock)| there(lock))
    .unwrap_or(("npm", ""));
    let install = match (program, lock) {
        ("npm", "") => "npm install --no-package-lock".to_owned(),
        ("npm", _) => "npm ci".to_owned(),
        (program, _) => format!("{program} install --frozen-lockfile"),
    };
    let page: serde_json::Value = serde_json::from_str(package).unwrap_or_default();
    let has = |name: &str| page["scripts"][name].is_string();
    let run = |names: &[&str]| {
        let name = names.iter().find(|name| has(name))?;
        Some(format!("{program} run {name}"))
    };
    let inputs = ["package.json", lock].into_iter().filter(|name| !name.is_empty()).collect();
    Tool {
        file: "package.json",
        verify: run(&["typecheck", "type-check", "check", "lint", "build"]),
        gate: run(&["test"]),
        setup: Some((install, inputs)),
        sources: "src/**/*.{js,jsx,ts,tsx}",
    }
}

fn python_tool(file: &'static str, project: &str, root: &Path) -> Tool {
    let pytest = project.contains("pytest")
        || ["pytest.ini", "conftest.py", "tests/conftest.py"]
            .iter()
            .any(|name| root.join(name).is_file());
    let gate = if pytest { "python3 -m pytest" } else { "python3 -m unittest discover" };
    let linter = project.contains("[tool.ruff").then(|| "ruff check".to_owned());
    let types = project.contains("[tool.mypy").then(|| "mypy .".to_owned());
    Tool {
        file,
        verify: linter.or(types),
        gate: Some(gate.to_owned()),
        setup: None,
        sources: "**/*.py",
    }
}

/// The goals that a Makefile names.
fn goals(text: &str) -> Vec<&str> {
    let rule = |line: &'_ str| !line.starts_with(['\t', ' ', '#', '.']);
    let heads = text.lines().filter(|line| rule(line)).filter_map(|line| {
        let (head, rest) = line.split_once(':')?;
        // `x := 1` is no rule.
        (!rest.starts_with('=') && !head.contains('=')).then_some(head)
    });
    heads.flat_map(str::split_whitespace).collect()
}

/// Files that tasks will miss in a fresh worktree, because git does not hold them.
fn copies(repo: &Repo, root: &Path) -> Result<Vec<&'static str>, Failure> {
    let mut missing = Vec::new();
    for name in [".env", ".env.local"] {
        if !root.join(name).is_file() {
            continue;
        }
        let held = match repo.commit("HEAD") {
            Ok(head) => {
                let mut objects = repo.objects()?;
                let tree = objects.tree_of(head)?;
                objects.leaf(tree, &RepoPath::from(name))?.is_some()
            }
            // Nothing is committed yet.
            Err(_) => false,
        };
        if !held {
            missing.push(name);
        }
    }
    Ok(missing)
}

/// The board.
fn text(tools: &[Tool], copies: &[&str]) -> String {
    let join = |of: fn(&Tool) -> Option<&String>| {
        let all: Vec<&str> = tools.iter().filter_map(of).map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join("\n"))
    };
    let verify = join(|tool| tool.verify.as_ref());
    let gate = join(|tool| tool.gate.as_ref());
    let first = verify.as_deref().or(gate.as_deref()).unwrap_or("git status --short");
    let sources = quoted(tools.first().map_or("src/**", |tool| tool.sources));
    let mut check = key("verify", Some(verify.as_deref().unwrap_or("make")), "");
    check = check.lines().map(|line| format!("# {line}\n")).collect();
    [
        "\
# The tasks of this repository. `todone check` looks for mistakes, `todone plan` shows the waves,
# `todone run` runs them, each in a git worktree of its own.
# Every key: `todone schema`, or the README of todone.

# What must succeed on the merged tree after every wave.
",
        &key("gate", gate.as_deref(), "make test"),
        "
# The branch to land on; default: the one that is checked out.
# into = \"main\"
# When to land by itself: \"clean\" (if every task succeeded), \"merged\" (whatever merged), \"never\".
land = \"clean\"
# Tasks at once; default: the processors.
# jobs = 4

# What every task has, unless it says otherwise.
[defaults]
timeout = \"30m\"
# Files that git does not hold and tasks need in their worktrees.
",
        &copy(copies),
        &setup(tools),
        "
# Does the project work in a fresh worktree? The first thing to find out; take this task out when you
# know. It fails if it leaves files that no ignore rule covers.
[[task]]
id = \"fresh\"
",
        &key("run", Some(first), ""),
        "\
changes = \"forbidden\"

# A change of many files: five to a share, side by side. The files are \"$@\".
# [[task]]
# id = \"convert\"
# needs = [\"fresh\"]
# foreach = { glob = ",
        &sources,
        ", batch = 5 }
# run = 'my-codemod \"$@\"'
",
        &check,
        "
# A task for an AI coding CLI, or any program that takes a prompt.
# [agent.builder]
# command = [\"my-agent\", \"--print\", \"{{ prompt }}\"]
#
# [[task]]
# id = \"docs\"
# agent = \"builder\"
# prompt = \"Bring the README up to date.\"
# scope = [\"README.md\"]
",
    ]
    .concat()
}

/// `key = script`; commented out if there is none.
fn key(name: &str, script: Option<&str>, example: &str) -> String {
    match script {
        None => format!("# {name} = {}\n", quoted(example)),
        Some(script) if script.contains('\n') => format!("{name} = '''\n{script}\n'''\n"),
        Some(script) => format!("{name} = {}\n", quoted(script)),
    }
}

fn copy(copies: &[&str]) -> String {
    if copies.is_empty() {
        return "# copy = [\".env\"]\n".to_owned();
    }
    let names: Vec<String> = copies.iter().map(|name| quoted(name)).collect();
    format!("copy = [{}]\n", names.join(", "))
}

fn setup(tools: &[Tool]) -> String {
    let Some((run, inputs)) = tools.iter().find_map(|tool| tool.setup.as_ref()) else {
        return String::new();
    };
    let inputs: Vec<String> = inputs.iter().map(|name| quoted(name)).collect();
    format!(
        "# What makes a fresh worktree usable: once per worktree, again when its inputs change.\n\
         setup = {{ run = {}, inputs = [{}] }}\n",
        quoted(run),
        inputs.join(", ")
    )
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    #[test]
    fn makefiles() {
        target(
            "makefiles",
            vec![b"X := 1\n.PHONY: a\nall lint: a.o\n\tcc a.o\ntest:\n".to_vec()],
            |bytes| {
                let text = String::from_utf8_lossy(bytes);
                assert!(goals(&text).iter().all(|goal| !goal.contains(char::is_whitespace)));
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NPM: &str = r#"{"scripts": {"test": "jest", "lint": "eslint ."}}"#;

    /// The files of a root, and parts of what is written for it.
    type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);

    /// What is written for a root with these files.
    fn of(files: &[(&str, &str)]) -> String {
        let root = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(root.path().join(name), text).expect("written");
        }
        let text = text(&tools(root.path()), &[]);
        let board = board::read(text.as_bytes(), BOARD, root.path(), &Vars::new());
        let board = board.unwrap_or_else(|faults| panic!("{faults}\n{text}"));
        assert!(board.unbuilt.is_empty(), "{:?}", board.unbuilt);
        // What is commented out is good too, as soon as somebody takes the marks away.
        let bare: Vec<&str> = text
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.starts_with('[') || rest.contains(" = ") => rest,
                _ => line,
            })
            .collect();
        let bare = bare.join("\n");
        let board = board::read(bare.as_bytes(), BOARD, root.path(), &Vars::new());
        let board = board.unwrap_or_else(|faults| panic!("{faults}\n{bare}"));
        assert_eq!(board.tasks.len(), 3);
        text
    }

    #[test]
    fn the_board_fits_what_is_there() {
        let cases: &[Case] = &[
            (&[], &["\n# gate = \"make test\"\n", "run = \"git status --short\"\n"]),
            (
                &[("Cargo.toml", "[package]")],
                &["gate = \"cargo test\"\n", "run = \"cargo check\"\n"],
            ),
            (&[("Cargo.toml", "[workspace]")], &["gate = \"cargo test --workspace\"\n"]),
            (
                &[("package.json", NPM), ("package-lock.json", "{}")],
                &[
                    "gate = \"npm run test\"\n",
                    "run = \"npm run lint\"\n",
                    "setup = { run = \"npm ci\", inputs = [\"package.json\", \"package-lock.json\"] }",
                ],
            ),
            (&[("package.json", NPM), ("yarn.lock", "")], &["yarn run test", "yarn install"]),
            (&[("package.json", "no json")], &["npm install --no-package-lock", "# gate ="]),
            (&[("go.mod", "module x")], &["gate = '''\ngo vet ./...\ngo test ./...\n'''\n"]),
            (&[("setup.py", "")], &["gate = \"python3 -m unittest discover\"\n"]),
            (
                &[("pyproject.toml", "[tool.pytest.ini_options]\n[tool.ruff]")],
                &["gate = \"python3 -m pytest\"\n", "run = \"ruff check\"\n"],
            ),
            (
                &[("Makefile", "x := 1\nall: a b\n\tcc\n.PHONY: test\ntest check: all\n")],
                &["gate = \"make check\"\n", "run = \"make all\"\n"],
            ),
            (&[("Makefile", "a.o: a.c\n")], &["# gate = ", "run = \"git status --short\"\n"]),
            (
                &[("Cargo.toml", ""), ("package.json", NPM), ("Makefile", "test:\n")],
                &["gate = '''\ncargo test\nnpm run test\n'''\n"],
            ),
        ];
        for (files, parts) in cases {
            let text = of(files);
            for part in *parts {
                assert!(text.contains(part), "{part:?} is missing for {files:?}:\n{text}");
            }
        }
    }
}
