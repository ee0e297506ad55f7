//! `todone each`: a command for each file that matches, as a board of one `foreach` that nobody has
//! to write.
//!
//! Knows how such a board is written; it is read and run as any other.

use std::io::Write as _;
use std::path::Path;

use crate::board::{self, Vars};
use crate::git::Repo;
use crate::model::Board;

use super::Global;
use super::error::Failure;
use super::reports::Reports;
use super::run::{Asked, start};
use super::wiring;

/// The name of the board without `--name`, and of its only task.
const NAME: &str = "each";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Globs of tracked files, relative to the current directory; a directory: all files below
    #[arg(required = true, value_name = "GLOB")]
    globs: Vec<String>,
    /// Leave out files that match
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// So many files for each start of the command
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// A script that must succeed in the worktree before a patch is taken
    #[arg(long, value_name = "CMD")]
    verify: Option<String>,
    /// A script that must succeed on the merged tree before it lands
    #[arg(long, value_name = "CMD")]
    gate: Option<String>,
    /// Untracked paths that the command needs, such as a script that is not committed
    #[arg(long, value_name = "GLOB")]
    copy: Vec<String>,
    /// The branch to land on
    #[arg(long, value_name = "BRANCH")]
    into: Option<String>,
    /// The revision to start from
    #[arg(long, value_name = "REV")]
    base: Option<String>,
    /// Starts of the command at once; default the processors
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,
    /// The name of the board, which the run is called by
    #[arg(long, default_value = NAME)]
    name: String,
    /// Print the board instead of running it
    #[arg(long, conflicts_with_all = ["new", "json", "targets"])]
    print: bool,
    /// Start a new run though the last one of this name is not finished
    #[arg(long)]
    new: bool,
    /// One event per line on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reports: Reports,
    /// What is run at the root of a worktree, without a shell; the files take the place of an argument
    /// `{{ items }}`, else they are appended
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(super) fn each(global: &Global, args: Args) -> Result<u8, Failure> {
    let repo = wiring::repo(global)?;
    let here = wiring::dir(global)?;
    let text = write(&args, &repo, &here)?;
    let board = board::read(text.as_bytes(), "todone each", &here, &Vars::new())?;
    if args.print {
        write!(std::io::stdout(), "{text}")?;
        return Ok(0);
    }
    refuse_nothing(&repo, &board, &args)?;
    let asked = Asked {
        verb: "each …",
        jobs: None,
        only: &[],
        dry_run: false,
        new: args.new,
        json: args.json,
        reports: &args.reports,
        then: None,
    };
    start(global, board, &asked)
}

/// A mistyped glob is told before anything is made.
fn refuse_nothing(repo: &Repo, board: &Board, args: &Args) -> Result<(), Failure> {
    let foreach = board.tasks.iter().find_map(|task| task.foreach.as_ref());
    let foreach = foreach.expect("BUG: the board has one foreach");
    if !crate::run::glob(repo, foreach, repo.commit(&board.base)?)?.is_empty() {
        return Ok(());
    }
    let globs: Vec<String> = args.globs.iter().map(|glob| format!("`{glob}`")).collect();
    let left = if args.exclude.is_empty() { "" } else { " that is not excluded" };
    Err(Failure::usage(format!("no file of {} matches {}{left}", board.base, globs.join(" or ")))
        .hint("only committed files are looked at; `**` crosses directories: 'src/**/*.rs'"))
}

/// The board as TOML.
fn write(args: &Args, repo: &Repo, here: &Path) -> Result<String, Failure> {
    let inside = inside(repo, here)?;
    let all = |globs: &[String]| -> Result<Vec<String>, Failure> {
        globs.iter().map(|glob| from_root(glob, &inside, here)).collect()
    };
    let (include, exclude, copy) = (all(&args.globs)?, all(&args.exclude)?, all(&args.copy)?);
    let mut command = args.command.clone();
    if !command.iter().any(|word| is_items(word)) {
        command.push("{{ items }}".to_owned());
    }
    let vars = set_aside(&mut command);
    let mut lines = vec![format!("name = {}", quoted(&args.name))];
    let mut put = |key: &str, value: &Option<String>| {
        lines.extend(value.as_ref().map(|value| format!("{key} = {}", quoted(value))));
    };
    put("base", &args.base);
    put("into", &args.into);
    put("gate", &args.gate);
    lines.extend(args.jobs.map(|jobs| format!("jobs = {jobs}")));
    if !vars.is_empty() {
        lines.extend([String::new(), "[vars]".to_owned()]);
        lines.extend(vars.iter().map(|(name, value)| format!("{name} = {}", quoted(value))));
    }
    lines.extend([String::new(), "[[task]]".to_owned()]);
    lines.push(format!("id = {}", quoted(NAME)));
    let left_out = match exclude.is_empty() {
        true => String::new(),
        false => format!(" exclude = {},", list(&exclude)),
    };
    lines.push(format!(
        "foreach = {{ glob = {},{left_out} batch = {} }}",
        list(&include),
        args.batch
    ));
    lines.push(format!("command = {}", list(&command)));
    if !copy.is_empty() {
        lines.push(format!("copy = {}", list(&copy)));
    }
    lines.extend(args.verify.as_ref().map(|verify| format!("verify = {}", quoted(verify))));
    Ok(lines.join("\n") + "\n")
}

/// The part of the path from the checkout's root to here, with `/` behind, or nothing.
fn inside(repo: &Repo, here: &Path) -> Result<String, Failure> {
    let Some(root) = repo.checkout().and_then(|root| root.canonicalize().ok()) else {
        return Ok(String::new());
    };
    let Ok(inside) = here.canonicalize()?.strip_prefix(root).map(Path::to_owned) else {
        return Ok(String::new());
    };
    match inside.to_str() {
        Some("") => Ok(String::new()),
        Some(inside) => Ok(format!("{}/", escaped(inside))),
        None => Err(Failure::usage("the current directory is no UTF-8, which a board must be")
            .hint("start from the root of the repository")),
    }
}

/// A glob as the board wants it: relative to the root. What a shell made of it, names of files, is
/// taken by the letter.
fn from_root(glob: &str, inside: &str, here: &Path) -> Result<String, Failure> {
    let mut glob = glob.trim_start_matches("./");
    let mut inside = inside.trim_end_matches('/');
    let place = here.join(if glob.is_empty() { "." } else { glob });
    while let Some(rest) = glob.strip_prefix("..").filter(|r| r.is_empty() || r.starts_with('/')) {
        if inside.is_empty() {
            return Err(Failure::usage(format!("`{glob}` is outside of the repository")));
        }
        inside = inside.rsplit_once('/').map_or("", |(up, _)| up);
        glob = rest.trim_start_matches('/');
    }
    let meta = place.symlink_metadata().ok();
    let mut own = match meta {
        Some(_) => escaped(glob),
        None => glob.to_owned(),
    };
    if meta.is_some_and(|meta| meta.is_dir()) {
        let folder = own.trim_end_matches('/');
        own = if matches!(folder, "" | ".") { "**".to_owned() } else { format!("{folder}/**") };
    }
    Ok(if inside.is_empty() { own } else { format!("{inside}/{own}") })
}

/// A path as the glob that matches it alone.
fn escaped(path: &str) -> String {
    let mut glob = String::with_capacity(path.len());
    for ch in path.chars() {
        if "*?[]{}\\!".contains(ch) {
            glob.push('\\');
        }
        glob.push(ch);
    }
    glob
}

/// Whether an argument is where the items go.
fn is_items(word: &str) -> bool {
    let inside = word.strip_prefix("{{").and_then(|word| word.strip_suffix("}}"));
    inside.is_some_and(|name| matches!(name.trim(), "items" | "item"))
}

/// Braces that are the command's own, such as those of `docker --format`, would be names that the
/// board does not know. Arguments that hold them become vars, in which nothing is looked for.
fn set_aside(command: &mut [String]) -> Vec<(String, String)> {
    let mut vars = Vec::new();
    for word in command {
        let mut names = word.split("{{").skip(1).filter_map(|rest| rest.split_once("}}"));
        let ours = names.any(|(name, _)| matches!(name.trim(), "items" | "item" | "task"));
        if word.contains("{{") && !ours {
            let name = format!("argument_{}", vars.len() + 1);
            let whole = std::mem::replace(word, format!("{{{{ vars.{name} }}}}"));
            vars.push((name, whole));
        }
    }
    vars
}

/// A list of TOML.
fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}

/// A string of TOML: literal if it can be, since backslashes are common in arguments.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c == '\t' || !c.is_control();
    if text.contains(['"', '\\']) && !text.contains('\'') && text.chars().all(plain) {
        return format!("'{text}'");
    }
    let mut out = String::from("\"");
    for ch in text.chars() {
        match ch {
            '"' | '\\' => out.extend(['\\', ch]),
            '\n' => out.push_str("\\n"),
            _ if plain(ch) => out.push(ch),
            _ => out.extend(format!("\\u{:04x}", u32::from(ch)).chars()),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Work;

    #[test]
    fn any_argument_reads_back() {
        let hostile = [
            "plain",
            "",
            "a b",
            "it's",
            "\"",
            "'\"\\",
            "\\n",
            "a\nb\t\r\u{1}\u{7f}\u{85}",
            "s/\\d+/x/",
            "é\u{1f600}",
            "${{ x }}",
            "#",
        ];
        let argv: Vec<String> = hostile.map(str::to_owned).to_vec();
        let mut command = vec!["prog".to_owned()];
        command.extend(argv);
        let text = format!("[[task]]\nid = \"x\"\ncommand = {}\n", list(&command));
        let board = board::read(text.as_bytes(), "x", Path::new("/"), &Vars::new());
        let board = board.unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(board.tasks[0].work, Work::Command { argv: command });
    }

    #[test]
    fn globs_are_relative_to_here() {
        let here = tempfile::tempdir().expect("a folder");
        std::fs::write(here.path().join("[id].ts"), "").expect("written");
        std::fs::create_dir(here.path().join("pages")).expect("made");
        for (glob, inside, board) in [
            ("**/*.ts", "", "**/*.ts"),
            ("*.ts", "web/", "web/*.ts"),
            ("./*.ts", "web/app/", "web/app/*.ts"),
            ("../*.ts", "web/app/", "web/*.ts"),
            ("[id].ts", "", "\\[id\\].ts"),
            ("pages", "web/", "web/pages/**"),
            ("pages/", "", "pages/**"),
            (".", "web/", "web/**"),
            (".", "", "**"),
        ] {
            let found = from_root(glob, inside, here.path()).expect("inside");
            assert_eq!(found, board, "{glob} in {inside}");
        }
        assert!(from_root("../x", "", here.path()).is_err());
    }

    #[test]
    fn placeholders_stand_alone() {
        assert!(is_items("{{ items }}") && is_items("{{item}}"));
        assert!(!is_items("x{{ items }}") && !is_items("{{ other }}") && !is_items("items"));
    }
}
