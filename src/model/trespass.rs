//! A change of the user's repository while tasks ran in worktrees of it, and what puts it back.
//!
//! Knows no file and runs nothing: names, values and commands.

use serde::{Deserialize, Serialize};

use super::TaskId;

/// What stands where a value was taken out that is to be seen nowhere. No ref can hold it.
pub const HIDDEN: &str = "***";

/// What is no task's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Thing {
    /// A branch, a tag or another ref.
    Ref {
        /// In full.
        name: String,
    },
    /// What HEAD of the checkout names.
    Head,
    /// An entry of the stash.
    Stash {
        /// What `git stash list` says of it.
        message: String,
    },
    /// In which order, and under which messages, the entries of the stash stand that were there before and
    /// still are.
    #[serde(rename = "stash-order")]
    StashOrder,
    /// The repository's own settings.
    Config,
    /// The settings of this checkout alone.
    #[serde(rename = "config.worktree")]
    ConfigWorktree,
    /// A hook.
    Hook {
        /// Its file's name.
        name: String,
        /// The folder that `core.hooksPath` names; none: the repository's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        folder: Option<String>,
    },
    /// A file that a hook is a link to.
    Linked {
        /// Its absolute path.
        path: String,
    },
}

/// One change. Values are ids, of an order several with blanks between them, the newest entry first, and a `*`
/// behind those that have another message than before; of HEAD and of other refs that name one a ref (`ref: …`);
/// of a file its rights and an id, of a link its target (`link …`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    /// Of what.
    pub what: Thing,
    /// What it was; none: it was not there.
    pub before: Option<String>,
    /// What it became; none: it is gone.
    pub after: Option<String>,
    /// The ref that keeps what it was, or what a new thing is; none: nothing is to be kept, or it was
    /// gone already.
    pub saved: Option<String>,
    /// Of settings: where they are, and a copy of what they were, so that they can be put back without git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<FileCopy>,
    /// Of an entry that was taken from the stash: those above it that are still there, the newest first. Of an
    /// order: all entries as they are to stand again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<Stashed>,
}

/// A file that git needs to read anything at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCopy {
    /// Its absolute path.
    pub file: String,
    /// Where what it was stands; none: it was not there.
    pub copy: Option<String>,
}

/// An entry of the stash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stashed {
    /// Its commit.
    pub id: String,
    /// What `git stash list` says of it.
    pub message: String,
}

/// What changed between two looks, and who ran meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trespass {
    /// The tasks that ran in worktrees of the repository; one of them, or the user, did it.
    pub tasks: Vec<TaskId>,
    /// What changed.
    pub shifts: Vec<Shift>,
    /// todone was killed with them, so that what was done until the run was taken up again is among it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

impl Shift {
    fn is_hidden(&self) -> bool {
        match &self.what {
            Thing::Ref { name } | Thing::Hook { name, .. } | Thing::Linked { path: name } => {
                name.contains(HIDDEN) || self.before_is_hidden()
            }
            Thing::Head => self.before_is_hidden(),
            Thing::Stash { .. } | Thing::StashOrder => false,
            Thing::Config | Thing::ConfigWorktree => false,
        }
    }

    fn before_is_hidden(&self) -> bool {
        self.before.as_ref().is_some_and(|before| before.contains(HIDDEN))
    }

    /// For people.
    pub fn told(&self) -> String {
        let word = match (&self.before, &self.after) {
            (Some(_), Some(_)) => "changed",
            (Some(_), None) => "gone",
            _ => "new",
        };
        match &self.what {
            Thing::Ref { name } => {
                let (kind, short) = match name.split_once('/').map(|(_, rest)| rest.split_once('/'))
                {
                    Some(Some(("heads", short))) => ("branch", short),
                    Some(Some(("tags", short))) => ("tag", short),
                    _ => ("ref", &name[..]),
                };
                let word = if word == "changed" { "moved" } else { word };
                format!("{kind} `{short}` {}{word}", if word == "moved" { "" } else { "is " })
            }
            Thing::Head => "HEAD names something else".to_owned(),
            Thing::Stash { message } if self.after.is_none() => {
                format!("stash entry taken: {message}")
            }
            Thing::Stash { message } => format!("stash entry new: {message}"),
            Thing::StashOrder => {
                let after = self.after.as_deref().unwrap_or_default();
                let plain = after.replace(Stashed::OTHERWISE, "");
                let order = "the entries of the stash stand in another order";
                let sorted = |ids: &str| {
                    let mut ids: Vec<String> = ids.split(' ').map(str::to_owned).collect();
                    ids.sort_unstable();
                    ids
                };
                if sorted(&plain) != sorted(self.before.as_deref().unwrap_or_default()) {
                    return "an entry of the stash stands in it more often than before, or less"
                        .to_owned();
                }
                match (after.contains(Stashed::OTHERWISE), self.before.as_ref() == Some(&plain)) {
                    (false, _) => order.to_owned(),
                    (true, true) => "entries of the stash have other messages".to_owned(),
                    (true, false) => format!("{order}, and have other messages"),
                }
            }
            Thing::Config => "the repository's config was rewritten".to_owned(),
            Thing::ConfigWorktree => "`config.worktree` of your checkout was rewritten".to_owned(),
            Thing::Hook { name, folder: None } => format!("hook `{name}` is {word}"),
            Thing::Hook { name, folder: Some(folder) } => {
                format!("hook `{name}` in {folder} (`core.hooksPath`) is {word}")
            }
            Thing::Linked { path } => format!("{path}, which a hook is a link to, is {word}"),
        }
    }

    /// The commands that put it back; none: it is left to the user, or its whole name is told nowhere.
    pub fn commands(&self) -> Vec<String> {
        if self.is_hidden() {
            return Vec::new();
        }
        match (&self.what, self.before.as_deref(), self.after.as_deref()) {
            (Thing::Ref { name }, before, after) => ref_back(&quoted(name), before, after),
            (Thing::Head, Some(before), _) => vec![match before.strip_prefix("ref: ") {
                Some(name) => format!("git symbolic-ref HEAD {}", quoted(name)),
                None => format!("git update-ref --no-deref HEAD {before}"),
            }],
            (Thing::Stash { message }, Some(before), None) => {
                vec![stash_back(message, before, &self.above)]
            }
            (Thing::StashOrder, _, Some(after)) if !self.above.is_empty() => {
                order_back(after, &self.above)
            }
            (Thing::Config | Thing::ConfigWorktree, before, _) if self.kept.is_some() => {
                let kept = self.kept.as_ref().expect("BUG: it was looked at");
                let file = quoted(&kept.file);
                match (before, &kept.copy) {
                    (None, _) => vec![format!("rm {file}")],
                    (Some(_), Some(copy)) => vec![format!("cp -f {} {file}", quoted(copy))],
                    (Some(_), None) => Vec::new(),
                }
            }
            (Thing::Config, Some(before), _) => {
                vec![through("\"$(git rev-parse --git-path config)\"", before)]
            }
            (Thing::ConfigWorktree, before, _) => {
                let path = "\"$(git rev-parse --git-path config.worktree)\"";
                vec![before.map_or_else(|| format!("rm {path}"), |before| through(path, before))]
            }
            (Thing::Hook { name, folder }, before, _) => {
                // Not by `--git-path`: that is the folder of `core.hooksPath`.
                let path = match folder {
                    None => {
                        let name = quoted(&format!("/hooks/{name}"));
                        format!("\"$(git rev-parse --git-common-dir)\"{name}")
                    }
                    Some(folder) => quoted(&format!("{folder}/{name}")),
                };
                vec![before.map_or_else(|| format!("rm {path}"), |before| anew(&path, before))]
            }
            (Thing::Linked { path }, Some(before), _) => vec![through(&quoted(path), before)],
            _ => Vec::new(),
        }
    }
}

fn ref_back(name: &str, before: Option<&str>, after: Option<&str>) -> Vec<String> {
    let symbolic = |value: Option<&str>| value.is_some_and(|value| value.starts_with("ref: "));
    let command = match (before, after) {
        (Some(before), after) => match before.strip_prefix("ref: ") {
            Some(target) => format!("git symbolic-ref {name} {}", quoted(target)),
            None if symbolic(after) => format!("git update-ref --no-deref {name} {before}"),
            None => {
                let nothing = "0".repeat(before.len());
                format!("git update-ref {name} {before} {}", after.unwrap_or(&nothing))
            }
        },
        (None, after) if symbolic(after) => format!("git symbolic-ref -d {name}"),
        (None, Some(after)) => format!("git update-ref -d {name} {after}"),
        (None, None) => return Vec::new(),
    };
    vec![command]
}

/// Puts an entry back into the stash, in its place: it comes on top, and then those again that stood above it.
/// Only then their old places are given up, so that nothing is ever out of the stash. If somebody used the stash
/// since nothing is done.
fn stash_back(message: &str, id: &str, above: &[Stashed]) -> String {
    let back = Stashed { id: id.to_owned(), message: message.to_owned() };
    let store = std::iter::once(&back).chain(above.iter().rev()).collect();
    let top = above.first().map(|entry| &entry.id[..]);
    let turn = Turn { top, store, drops: above.len(), kept: 0 };
    let test = top.map(|top| format!("test \"$(git rev-parse 'stash@{{0}}')\" = {top}"));
    test.into_iter().chain(turn.words()).collect::<Vec<_>>().join(" && ")
}

/// Brings the entries of the stash into this order, if they stand as `after` says.
fn order_back(after: &str, wanted: &[Stashed]) -> Vec<String> {
    let now: Vec<&str> = after.split(' ').filter(|id| !id.is_empty()).collect();
    let stand = after.replace(Stashed::OTHERWISE, "");
    let stand = if now.is_empty() { stand } else { format!("{stand} ") };
    let all = "$(git stash list --format=%H | tr '\\n' ' ')";
    let mut words = vec![format!("test \"{all}\" = {}", quoted(&stand))];
    words.extend(turned(&now, wanted).words());
    vec![words.join(" && ")]
}

impl Stashed {
    /// Behind the id of an entry that has another message than before.
    pub const OTHERWISE: &str = "*";

    /// How these stand, held against how they are to stand. An entry that is there twice, or is to be, can't be told
    /// by its id: it has another message until all stand as they are to.
    pub fn stand(now: &[Self], wanted: &[Self]) -> Vec<String> {
        let times = |all: &[Self], id: &str| all.iter().filter(|entry| entry.id == id).count();
        let whole = now == wanted;
        let told = |entry: &Self| {
            let known = times(wanted, &entry.id);
            let alone = known == 1 && times(now, &entry.id) == 1;
            Self::told(&entry.id, whole || known == 0 || alone && wanted.contains(entry))
        };
        now.iter().map(told).collect()
    }

    fn told(id: &str, as_before: bool) -> String {
        format!("{id}{}", if as_before { "" } else { Self::OTHERWISE })
    }
}

/// How one stash becomes another. Nothing is ever out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn<'a> {
    /// What is on top.
    top: Option<&'a str>,
    /// To be stored, one after another.
    store: Vec<&'a Stashed>,
    /// So many old places are given up then, all at the place behind those.
    drops: usize,
    /// One on top, below those that are stored, stays.
    kept: usize,
}

impl Turn<'_> {
    /// As words for a shell.
    fn words(&self) -> Vec<String> {
        let line = |args: &Vec<String>| {
            let args: Vec<String> = args.iter().map(|arg| quoted(arg)).collect();
            format!("git {}", args.join(" "))
        };
        self.calls().iter().map(line).collect()
    }

    /// As calls of git.
    pub fn calls(&self) -> Vec<Vec<String>> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let mut calls: Vec<Vec<String>> = Vec::new();
        let mut top = self.top;
        // The oldest first: whether it is there for a moment alone.
        let mut made = Vec::new();
        for entry in &self.store {
            // git takes no entry that is on top already, not even under another message: of this one the commit
            // that it was made on comes between.
            if top == Some(&entry.id) {
                let base = format!("{}^", entry.id);
                let ours = ["update-ref", "--create-reflog", "-m", "between", "refs/stash", &base];
                calls.push(words(&ours));
                made.push(true);
            }
            calls.push(words(&["stash", "store", "-m", &entry.message, &entry.id]));
            made.push(false);
            top = Some(&entry.id);
        }
        while let Some(at) = made.iter().rposition(|between| *between) {
            let place = format!("refs/stash@{{{}}}", made.len() - 1 - at);
            calls.push(words(&["reflog", "delete", "--updateref", "--rewrite", &place]));
            made.remove(at);
        }
        let place = format!("stash@{{{}}}", self.store.len() + self.kept);
        calls.extend((0..self.drops).map(|_| words(&["stash", "drop", "-q", &place])));
        calls
    }
}

/// What makes the stash stand as `wanted`, as it stands by [`Stashed::stand`]. What is right at its end stays.
pub fn turned<'a>(now: &[&'a str], wanted: &'a [Stashed]) -> Turn<'a> {
    let same = |(id, entry): &(&&str, &Stashed)| **id == entry.id;
    let right = now.iter().rev().zip(wanted.iter().rev()).take_while(same).count();
    let mut store: Vec<&Stashed> = wanted[..wanted.len() - right].iter().rev().collect();
    let mut drops = now.len() - right;
    let mut kept = 0;
    if drops > 0 && store.first().is_some_and(|first| first.id == now[0]) {
        // There it stands where it is to be.
        store.remove(0);
        (drops, kept) = (drops - 1, 1);
    }
    let top = now.first().map(|top| top.strip_suffix(Stashed::OTHERWISE).unwrap_or(top));
    Turn { top, store, drops, kept }
}

/// Writes a file in place, with its rights if they are told, and through a link. At first beside it: without
/// its settings git might not find what to write.
fn through(path: &str, value: &str) -> String {
    let (mode, oid) = value.split_once(' ').unwrap_or(("", value));
    let rights = if mode.is_empty() { String::new() } else { format!(" && chmod {mode} \"$f\"") };
    format!(
        "(f={path}; mkdir -p \"$(dirname \"$f\")\" && git cat-file blob {oid} > \"$f.new\" && \
         cat \"$f.new\" > \"$f\" && rm \"$f.new\"{rights})"
    )
}

/// Makes a file or a link in the place of whatever is there.
fn anew(path: &str, value: &str) -> String {
    let make = match (value.strip_prefix("link "), value.split_once(' ')) {
        (Some(target), _) => format!("ln -s {} \"$f\"", quoted(target)),
        (None, Some((mode, oid))) => {
            format!("git cat-file blob {oid} > \"$f\" && chmod {mode} \"$f\"")
        }
        (None, None) => format!("git cat-file blob {value} > \"$f\""),
    };
    format!("(f={path}; mkdir -p \"$(dirname \"$f\")\" && rm -f \"$f\" && {make})")
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_told_is_one_line() {
        let told = order_back("2 1*", &[entry("1", "m"), entry("2", "m")]);
        assert!(told.iter().all(|command| !command.contains('\n')), "{told:?}");
    }

    /// What `git stash` makes of it.
    fn played(now: &[Stashed], wanted: &[Stashed]) -> Vec<Stashed> {
        let told = Stashed::stand(now, wanted);
        let told: Vec<&str> = told.iter().map(String::as_str).collect();
        let mut stash = now.to_vec();
        let mut least = stash.len();
        for call in turned(&told, wanted).calls() {
            let words: Vec<&str> = call.iter().map(String::as_str).collect();
            let place = |word: &str| {
                let digits = word.trim_start_matches("refs/").trim_start_matches("stash@{");
                digits.trim_end_matches('}').parse::<usize>().expect("a place")
            };
            match words[..] {
                ["update-ref", .., id] => stash.insert(0, entry(id, "between")),
                ["stash", "store", "-m", message, id] => {
                    assert_ne!(stash.first().map(|top| &top.id[..]), Some(id), "git does nothing");
                    stash.insert(0, entry(id, message));
                }
                ["reflog", "delete", "--updateref", "--rewrite", at] => {
                    assert_eq!(stash.remove(place(at)).message, "between");
                }
                ["stash", "drop", "-q", at] => drop(stash.remove(place(at))),
                _ => panic!("{words:?}"),
            }
            let lost = |one: &&Stashed| !stash.iter().any(|there| there.id == one.id);
            let out: Vec<&Stashed> =
                now.iter().filter(|one| wanted.contains(one)).filter(lost).collect();
            assert!(out.is_empty(), "out of the stash for a moment: {out:?}");
            least = least.min(stash.len());
        }
        assert!(least >= now.len().min(wanted.len()));
        stash
    }

    fn entry(id: &str, message: &str) -> Stashed {
        Stashed { id: id.to_owned(), message: message.to_owned() }
    }

    /// Capitals are the same entries under other messages.
    #[test]
    fn any_stash_becomes_any_other() {
        let stashes = [
            "", "a", "abc", "acb", "bac", "bca", "cab", "cba", "Abc", "aBC", "ABC", "bA", "cAb",
            "abac", "bbac", "cbabc", "aAb", "Aab", "aAaA", "aaa", "bAbaB", "cAa", "ab",
        ];
        let all = |text: &str| -> Vec<Stashed> {
            text.chars().map(|c| entry(&c.to_lowercase().to_string(), &c.to_string())).collect()
        };
        for now in stashes {
            for wanted in stashes {
                assert_eq!(played(&all(now), &all(wanted)), all(wanted), "{now} to {wanted}");
            }
        }
    }
}
