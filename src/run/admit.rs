//! What a patch may hold: paths in the scope of its task, none that the board protects, no secret; and
//! whether there may be one.
//!
//! Knows not how the patch was made.

use crate::board::scope_set;
use crate::model::{Board, Changes, Entry, Failure, HeldBy, Mode, Note, Patch, RepoPath, Task};

use super::slot::World;
use super::{Error, Secrets};

/// Why a patch is not taken though its command succeeded.
pub fn refused(
    world: &World,
    board: &Board,
    task: &Task,
    patch: &Patch,
) -> Result<Option<Failure>, Error> {
    if !task.scope.is_empty() {
        let scope = scope_set(&task.scope);
        let paths = changed(patch, |path| !scope.contains(path.as_bytes()));
        if !paths.is_empty() {
            return Ok(Some(Failure::Scope { paths }));
        }
    }
    if !board.protect.is_empty() {
        let protected = scope_set(&board.protect);
        let paths = changed(patch, |path| protected.contains(path.as_bytes()));
        if !paths.is_empty() {
            return Ok(Some(Failure::Protected { paths }));
        }
    }
    match task.changes {
        Changes::Required if patch.changes.is_empty() => return Ok(Some(Failure::Unchanged)),
        Changes::Forbidden if !patch.changes.is_empty() => {
            return Ok(Some(Failure::Changed { paths: changed(patch, |_| true) }));
        }
        _ => {}
    }
    secret(world, &world.secrets, patch)
}

/// What of a patch that is not taken for another reason is to be seen nowhere.
pub fn held_back(world: &World, patch: &Patch) -> Result<Option<Note>, Error> {
    Ok(match secret(world, &world.secrets, patch)? {
        Some(Failure::Secret { variable, path, .. }) => Some(Note::HoldsSecret { variable, path }),
        _ => None,
    })
}

/// What of a patch deserves a look before it lands.
pub fn marks(world: &World, patch: &Patch) -> Result<Vec<Note>, Error> {
    let mut notes = Vec::new();
    let hooks = world.hooks.get_or_init(|| world.lookout.hooks_in_tree().unwrap_or_default());
    for change in &patch.changes {
        let path = change.path.clone();
        // One that is gone runs no more, which nobody asks for either.
        if runs_elsewhere(path.as_bytes()) || hooks.iter().any(|hook| is_at_or_below(&path, hook)) {
            notes.push(Note::RunsElsewhere { path: path.clone() });
        }
        if let Some(new) = change.new.filter(|new| new.mode == Mode::Link) {
            let to = world.repo.objects()?.blob(new.oid)?;
            if leads_out(&path, &to) {
                let to = String::from_utf8_lossy(&to).into_owned();
                notes.push(Note::LeadsOut { path, to });
            }
        }
    }
    Ok(notes)
}

fn is_at_or_below(path: &RepoPath, top: &RepoPath) -> bool {
    let rest = path.as_bytes().strip_prefix(top.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Whether something outside of todone runs a file of this name, or what it names, by itself.
fn runs_elsewhere(path: &[u8]) -> bool {
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let folder = |name: &[u8]| parts[..parts.len() - 1].contains(&name);
    let top = parts[0];
    let ci = top == b".github" && matches!(parts.get(1), Some(&(b"workflows" | b"actions")))
        || matches!(top, b".circleci" | b".buildkite" | b".gitlab-ci.yml" | b"Jenkinsfile");
    let hooks = [&b".husky"[..], b".githooks", b".devcontainer"];
    let names =
        [&b".gitmodules"[..], b".envrc", b".mcp.json", b".pre-commit-config.yaml", b"lefthook.yml"];
    let agents =
        top == b".claude" && parts.last().is_some_and(|name| name.starts_with(b"settings"));
    let editor = path == b".vscode/tasks.json";
    let last = parts[parts.len() - 1];
    ci || agents || editor || hooks.into_iter().any(folder) || names.contains(&last)
}

/// Whether a link at this path names a place above the root, or an absolute one.
fn leads_out(path: &RepoPath, to: &[u8]) -> bool {
    if to.starts_with(b"/") {
        return true;
    }
    let mut depth = path.as_bytes().iter().filter(|byte| **byte == b'/').count();
    for part in to.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match depth.checked_sub(1) {
                Some(up) => depth = up,
                None => return true,
            },
            _ => depth += 1,
        }
    }
    false
}

fn changed(patch: &Patch, which: impl Fn(&RepoPath) -> bool) -> Vec<RepoPath> {
    patch.changes.iter().map(|change| &change.path).filter(|path| which(path)).cloned().collect()
}

/// A secret in what a patch adds: in a changed file or the path that a link names, if it was not there
/// before, and in a new name.
fn secret(world: &World, secrets: &Secrets, patch: &Patch) -> Result<Option<Failure>, Error> {
    let Some(finder) = secrets.finder() else { return Ok(None) };
    let mut objects = world.repo.objects()?;
    let held = |entry: Option<Entry>| entry.filter(|e| e.mode.is_file() || e.mode == Mode::Link);
    for change in &patch.changes {
        if let (None, Some((number, _))) = (change.old, finder.find(change.path.as_bytes())) {
            let (variable, path) =
                (secrets.name(number).to_owned(), secrets.hide_path(&change.path));
            return Ok(Some(Failure::Secret { variable, path, line: 0, held: HeldBy::Name }));
        }
        let Some(new) = held(change.new) else { continue };
        let bytes = objects.blob(new.oid)?;
        let found = finder.found(&bytes);
        if found.is_empty() {
            continue;
        }
        let before = match held(change.old) {
            Some(old) => finder.found(&objects.blob(old.oid)?),
            None => Default::default(),
        };
        let added = found.into_iter().find(|(number, _)| !before.contains_key(number));
        let Some((number, at)) = added else { continue };
        let (line, held) = match new.mode {
            Mode::Link => (0, HeldBy::Link),
            _ => (1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count(), HeldBy::Content),
        };
        let (variable, path) = (secrets.name(number).to_owned(), secrets.hide_path(&change.path));
        return Ok(Some(Failure::Secret { variable, path, line, held }));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_by_itself() {
        for path in [
            ".github/workflows/ci.yml",
            ".github/actions/x/action.yml",
            "sub/.envrc",
            ".gitmodules",
            ".husky/pre-commit",
            ".claude/settings.json",
            ".vscode/tasks.json",
            ".gitlab-ci.yml",
        ] {
            assert!(runs_elsewhere(path.as_bytes()), "{path}");
        }
        for path in ["src/main.rs", ".github/CODEOWNERS", "workflows/x.yml", "hooks/x", "envrc"] {
            assert!(!runs_elsewhere(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn links_out_of_the_tree() {
        for (path, to, out) in [
            ("a", "/etc/passwd", true),
            ("a", "../x", true),
            ("a/b", "../x", false),
            ("a/b", "../../x", true),
            ("a/b", "c/../../d/./e", false),
            ("a", "b/../../c", true),
        ] {
            assert_eq!(leads_out(&RepoPath::from(path), to.as_bytes()), out, "{path} -> {to}");
        }
    }
}
