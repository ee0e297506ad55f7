//! Finds `{{ name }}` in the strings of a board and fills in `{{ vars.… }}`.
//!
//! Knows no values but those of `[vars]`: the other names are filled in when a task starts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// The names that are todone's own. What else stands between braces belongs to somebody else.
const OURS: &[&str] =
    &["task", "item", "items", "needs", "handoff", "topics", "vars", "run", "prompt"];

/// A `{{ name }}` in a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hole<'t> {
    /// With its braces, in bytes of the text.
    pub(super) range: Range<usize>,
    /// The name alone.
    pub(super) name: &'t str,
}

impl<'t> Hole<'t> {
    /// The name up to the first dot.
    pub(super) fn head(&self) -> &'t str {
        self.name.split('.').next().unwrap_or(self.name)
    }

    /// Whether it is one of todone's names.
    pub(super) fn ours(&self) -> bool {
        let dotted = self.name.contains('.');
        OURS.contains(&self.head())
            && dotted == matches!(self.head(), "needs" | "handoff" | "topics" | "vars")
    }

    /// The name behind `vars.`.
    pub(super) fn var(&self) -> Option<&'t str> {
        self.name.strip_prefix("vars.")
    }

    /// The task and the part of it that is meant by `needs.TASK.PART`.
    pub(super) fn need(&self) -> Option<(&'t str, &'t str)> {
        self.name.strip_prefix("needs.")?.rsplit_once('.')
    }

    /// As it is written in a message.
    pub(super) fn shown(&self) -> String {
        format!("{{{{ {} }}}}", self.name)
    }
}

/// Every `{{ name }}`. Braces around anything but a dotted name, and `${{ … }}` of CI files, are
/// none of ours.
pub(super) fn holes(text: &str) -> Vec<Hole<'_>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(open) = text[from..].find("{{").map(|at| at + from) {
        let rest = &text[open + 2..];
        // Never looks past the next opening, so that a hostile text costs no more than its length.
        let rest = &rest[..rest.find("{{").unwrap_or(rest.len())];
        from = open + 1;
        let Some(inside) = rest.find("}}") else { continue };
        let name = rest[..inside].trim_matches([' ', '\t']);
        if is_name(name) {
            from = open + 2 + inside + 2;
            if !text[..open].ends_with('$') {
                found.push(Hole { range: open..from, name });
            }
        }
    }
    found
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// The text with the vars filled in, and these names spelt as the agent room expects them: one space
/// at each side. What a var holds is not looked at again.
pub(super) fn fill<'t>(
    text: &'t str,
    vars: &BTreeMap<String, String>,
    names: &[&str],
) -> Cow<'t, str> {
    if !text.contains("{{") {
        return Cow::Borrowed(text);
    }
    let mut filled = String::with_capacity(text.len());
    let mut done = 0;
    for hole in holes(text) {
        filled.push_str(&text[done..hole.range.start]);
        match hole.var().and_then(|name| vars.get(name)) {
            Some(value) => filled.push_str(value),
            None if names.contains(&hole.head()) => filled.push_str(&hole.shown()),
            None => filled.push_str(&text[hole.range.clone()]),
        }
        done = hole.range.end;
    }
    filled.push_str(&text[done..]);
    Cow::Owned(filled)
}

/// The environment variable in which scripts find a var.
pub(super) fn var_env(name: &str) -> String {
    let fold = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("TODONE_VAR_{}", name.chars().map(fold).collect::<String>())
}

/// Whose script it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// What a task runs.
    Run,
    /// What runs after it, or prepares what it gets: `verify`, `handoff`.
    Beside,
    /// What makes a worktree ready for any task: `setup`.
    Setup,
    /// What prints the items of a `foreach`, before there are shares.
    List,
    /// What runs for no task: a gate.
    Gate,
}

/// How a script gets what it tried to have pasted in.
pub(super) fn in_script(hole: &Hole<'_>, place: Place) -> String {
    match (hole.head(), place) {
        ("prompt", _) => "a script has no prompt".to_owned(),
        (_, Place::Gate) => "a gate runs for no task and gets no values".to_owned(),
        ("run", Place::Setup) => "`$TODONE_RUN` holds it".to_owned(),
        (_, Place::Setup) => {
            "`setup` makes a worktree ready for any task and gets no values".to_owned()
        }
        ("item" | "items", Place::List) => "this command is what prints the items".to_owned(),
        ("needs", Place::List) => {
            let task = hole.need().map_or("TASK", |(task, _)| task);
            format!("`from = \"{task}\"` takes the items from its output")
        }
        ("handoff" | "topics", Place::List) => {
            "it is for the shares, which this command makes".to_owned()
        }
        ("item" | "items", Place::Run) => "`\"$@\"` holds the items".to_owned(),
        ("item" | "items", Place::Beside) => {
            "`$TODONE_ITEMS_FILE` names a file with the items of a share".to_owned()
        }
        ("vars", _) => format!("`${}` holds it", var_env(hole.var().unwrap_or_default())),
        ("handoff", _) => "`$TODONE_HANDOFF_OUTPUT` holds it".to_owned(),
        ("topics", _) => {
            let name = var_env(hole.name.strip_prefix("topics.").unwrap_or_default());
            format!("`${}_FILE` names a file with it", name.replacen("VAR", "TOPIC", 1))
        }
        ("needs", _) => {
            let task = hole.need().map_or(hole.name, |(task, _)| task);
            let name = var_env(task).replacen("TODONE_VAR", "TODONE_NEEDS", 1);
            format!("`${name}_OUTPUT` holds it")
        }
        (name, _) => format!("`$TODONE_{}` holds it", name.to_ascii_uppercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&str> {
        holes(text).into_iter().map(|hole| hole.name).collect()
    }

    /// A script is told of variables that it has, and of no others.
    #[test]
    fn a_script_is_told_what_it_gets() {
        let all = "{{ item }}{{ task }}{{ run }}{{ vars.x }}{{ needs.a.output }}{{ topics.t }}";
        let told = |place| {
            let hints = holes(all).iter().map(|hole| in_script(hole, place)).collect::<Vec<_>>();
            hints.join("\n")
        };
        assert_eq!(told(Place::Setup).matches('$').count(), 1, "{}", told(Place::Setup));
        let list = told(Place::List);
        for (variable, there) in [
            ("$TODONE_TASK", true),
            ("$TODONE_RUN", true),
            ("$TODONE_VAR_X", true),
            ("$TODONE_ITEMS_FILE", false),
            ("$TODONE_NEEDS_A_OUTPUT", false),
            ("$TODONE_TOPIC_T", false),
        ] {
            assert_eq!(list.contains(variable), there, "{variable}: {list}");
        }
        assert!(list.contains("`from = \"a\"`"), "{list}");
        assert!(told(Place::Beside).contains("$TODONE_NEEDS_A_OUTPUT"));
    }

    #[test]
    fn only_names_count() {
        assert_eq!(
            names("a {{ items }} b {{vars.x}}{{ needs.a.b.output }}"),
            ["items", "vars.x", "needs.a.b.output"]
        );
        let none: [&str; 0] = [];
        assert_eq!(names("{{ .Dir }} {{ json .X }} ${{ github.ref }} {{}} {{ open"), none);
        assert_eq!(names("{{{ items }}}"), ["items"]);
        assert_eq!(names("{{ a b {{ item }}"), ["item"]);
    }

    #[test]
    fn a_need_may_have_dots() {
        assert_eq!(holes("{{ needs.a.b.output }}")[0].need(), Some(("a.b", "output")));
    }

    #[test]
    fn vars_are_filled_once() {
        let vars = BTreeMap::from([("x".to_owned(), "{{ vars.x }}".to_owned())]);
        assert_eq!(
            fill("<{{vars.x}}> {{items}} {{other}}", &vars, &["items"]),
            "<{{ vars.x }}> {{ items }} {{other}}"
        );
    }
}
