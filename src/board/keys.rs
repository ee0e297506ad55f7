//! Every key of a board: where it stands, what it may hold, what it means. The only list of them:
//! the check, the JSON Schema and the table in the README come from here.
//!
//! Knows nothing of files; what a key does is decided where it is decoded.
//!
//! To add a key: one row here; a row whose shape is not `Later` must be read in `settings` or
//! `tasks`, which the tests hold it to.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::shape::{Key, Naming, REQUIRED, Section, Shape, key};
use Shape::{
    Any, Arg, Choice, Duration, Either, Filled, Filling, Flag, Glob, Later, LaterFlag, List, Loose,
    Many, ManyFilling, Map, Number, Path, Scalar, Script, Size, Table, Template, Text, Whole, Word,
};

/// The names that an element of a task's argv may hold.
pub(super) const IN_ARGV: &[&str] = &["items", "item", "task"];
/// The names that an element of an agent's argv may hold.
const IN_AGENT_ARGV: &[&str] = &["prompt", "items", "item", "task"];
/// The names that a prompt may hold (those of `needs` and `topics` with a dot).
pub(super) const IN_PROMPT: &[&str] = &["items", "item", "task", "needs", "handoff", "topics"];
/// The names that a template of prompts may hold.
pub(super) const IN_TEMPLATE: &[&str] = &[
    "prompt",
    "task",
    "description",
    "items",
    "item",
    "rules",
    "context",
    "handoff",
    "topics",
    "before",
    "answer",
];
/// The names that a commit's message may hold.
const IN_MESSAGE: &[&str] = &["task", "description", "run", "board"];

const COUNT: Shape = Whole(1, u32::MAX as i64);
const NO_SCOPE: &str = "leave `scope` out, or write `[\"**\"]`: then any path may change";
const NO_INPUT: &str = "leave it out if the result depends on the whole tree";
const NO_GLOB: &str = "name at least one glob, such as `\"src/**/*.rs\"`";
const NO_WORDS: &str = "name the program and its arguments, such as `[\"cargo\", \"fmt\"]`";

const ENV_VALUE: Shape = Either(&[Text, Table(ENV_FROM)]);
const ENV_FROM: &Section = &Section::new(
    "env",
    &[key("from", Word, REQUIRED, "the variable of the caller whose value it takes")],
);
#[rustfmt::skip]
pub(super) const SERVER: &Section = &Section::new(
    "mcp",
    &[
        key("command", Filling(&Filled, NO_WORDS), "none", "its program and arguments"),
        key("url", Filled, "none", "its address, instead of a program (streamable HTTP)"),
        key("env", Map(Naming::Env, &ENV_VALUE), "none", "environment variables for its program"),
        key("headers", Map(Naming::Header, &ENV_VALUE), "none", "headers of each request to its address"),
    ],
);
const RETRIES: &Section =
    &Section::new("retry", &[key("attempts", COUNT, REQUIRED, "attempts in all")]);
const RETRY: Shape = Either(&[COUNT, Table(RETRIES)]);
#[rustfmt::skip]
const BUDGET: &Section = &Section::new(
    "budget",
    &[
        key("usd", Number, "no bound", "dollars that may be spent"),
        key("tokens", Whole(1, i64::MAX), "no bound", "tokens that may be used"),
        key("time", Duration, "no bound", "time that agents may work, added up"),
        key("per_task", Number, "the dearest attempt seen", "dollars that an attempt holds from its start, and the most that it may spend"),
        key("unknown", Choice(&["refuse", "allow"], &[]), "\"refuse\"", "whether a model without a known price may run under a budget in dollars"),
    ],
);
#[rustfmt::skip]
const COMMIT: &Section = &Section::new(
    "commit",
    &[
        key("message", Template(IN_MESSAGE), "the first line of the description, or the id", "the message, with `{{ task }}`, `{{ description }}`, `{{ run }}`, `{{ board }}`"),
        key("author", Choice(&["user", "agent"], &[]), "\"user\"", "who is named as author; the committer is always you"),
        key("trailers", Many(&Filled), "none", "further trailers, `Key: value`"),
        key("signoff", Flag, "false", "whether a `Signed-off-by` is added"),
        key("sign", LaterFlag(false), "false", "whether commits are signed"),
    ],
);
#[rustfmt::skip]
const GATE: &Section = &Section::new(
    "gate",
    &[
        key("name", Word, "`gate`", "its name"),
        key("run", Script, REQUIRED, "the shell script"),
        key("timeout", Duration, "no limit", "how long it may take"),
        key("paths", Many(&Glob), "any", "the part of the tree whose change makes it run"),
    ],
);
#[rustfmt::skip]
const MERGE_RULE: &Section = &Section::new(
    "merge_rule",
    &[
        key("paths", ManyFilling(&Glob, NO_GLOB), REQUIRED, "the paths that the rule is for"),
        key("regenerate", Script, "none", "the shell script that makes these files anew in the merged tree, wherever both sides changed them"),
        key("timeout", Duration, "`10m`", "how long that script may take"),
        key("strategy", Choice(&["union", "ours", "theirs", "driver", "mergiraf"], &[]), "none", "what is taken of a file that can't be merged: where the two meet the lines of both, the whole file as it is at the tip or as the patch has it, or what a merge driver or Mergiraf makes of the three"),
        key("driver", Word, "none", "with `strategy = \"driver\"`: the merge driver of your git configuration, `merge.NAME.driver`"),
    ],
);

/// The top of the file.
#[rustfmt::skip]
pub(super) const BOARD: &Section = &Section::new(
    "board",
    &[
        key("name", Filled, "the file's stem", "the board's name"),
        key("base", Filled, "`HEAD`", "the revision that the first wave starts from"),
        key("into", Filled, "the branch checked out at the start", "the branch to land on; made if missing"),
        key("branch", Filled, "`todone`", "the prefix of the integration branch, `todone/<run>`"),
        key("land", Choice(&["clean", "merged", "never", "branches", "push"], &[]), "\"clean\"", "when a run lands by itself: if every task succeeded, whatever merged, or never; or what it does instead: keep a branch for each merged task, or push to a remote"),
        key("push_landed", Flag, "false", "whether the branch is pushed to `remote` when the run has landed on it"),
        key("remote", Word, "`origin`", "with `land = \"push\"` or `push_landed`: the remote that is pushed to"),
        key("push_branches", Choice(&["run", "tasks"], &[]), "\"run\"", "with `land = \"push\"`: what is pushed: the integration branch, or a branch for each merged task"),
        key("pull_requests", Flag, "false", "with `land = \"push\"`: whether your `gh` opens a pull request for each branch"),
        key("land_as", Choice(&["commits", "squash", "merge"], &[]), "\"commits\"", "what lands: the tasks' commits, one commit, or a merge commit"),
        key("land_moved", Choice(&["refuse", "merge"], &[]), "\"refuse\"", "what to do when the branch moved and there is no gate to check the result"),
        key("merge", Choice(&["linear", "merge-commits"], &[]), "\"linear\"", "the history: one line of commits, or a merge commit per task"),
        key("commits", Choice(&["squash"], &["keep"]), "\"squash\"", "whether a task's own commits are kept"),
        key("commit", Table(COMMIT), "", "how commits are written"),
        key("jobs", Either(&[COUNT, Choice(&["auto"], &[])]), "the processors", "tasks at once; `\"auto\"` adapts to load, memory and rate limits"),
        key("schedule", Choice(&["waves", "eager"], &[]), "\"waves\"", "whether a task starts with its wave, or as soon as its needs are there"),
        key("overlap", Choice(&["report", "serialise"], &[]), "\"report\"", "what happens to tasks of a wave whose `scope` overlaps: they are told, or the later ones go into later waves"),
        key("on_failure", Choice(&["continue", "stop"], &[]), "\"continue\"", "whether a failure stops the start of further tasks"),
        key("on_conflict", ON_CONFLICT, "\"report\"", "what happens to a task whose patch can't be merged"),
        key("on_reject", ON_REJECT, "\"report\"", "what happens to a task that a gate rejects"),
        key("resolver", Word, "none", "the agent profile that resolves conflicts, with `on_conflict = \"resolve\"`"),
        key("gate", Either(&[Script, Table(GATE), Filling(&Table(GATE), "leave `gate` out")]), "none", "what must succeed on the merged tree after every wave: a script, a table, or `[[gate]]` for several"),
        key("gate_base", Flag, "true", "whether the gate runs on the base before the first task"),
        key("budget", Table(BUDGET), "none", "what the run may spend"),
        key("protect", Many(&Glob), "none", "paths that no task may change"),
        key("redact", Many(&Word), "none", "variables of the caller (`MY_*`: all that begin so) whose values are kept out of logs, reports and patches, besides those called `…_KEY`, `…_TOKEN`, `…_SECRET`, `…_PASSWORD`"),
        key("env_pass", List(&Word), "all", "the only variables of the caller's environment that tasks inherit"),
        key("isolation", ISOLATION, "\"worktree\"", "how tasks are kept apart"),
        key("sandbox", SANDBOX, "\"none\"", "what a task may write outside its directory"),
        key("require_sandbox", Flag, "false", "whether a weaker sandbox than the one asked for is an error"),
        key("worktrees", Filled, "the user's cache directory", "the folder of the worktrees, outside of the checkout, relative to the board's folder"),
        key("sparse", Later(&Many(&Glob)), "the whole tree", "the part of the tree that worktrees hold"),
        key("cache_limit", Size, "none", "how much disk the idle worktrees of this repository may hold, before and after a run"),
        key("vars", Map(Naming::Var, &Scalar), "none", "values for `{{ vars.NAME }}`; in scripts of tasks `$TODONE_VAR_NAME`"),
        key("limits", Map(Naming::Limit, &COUNT), "none", "how many tasks may hold each of these locks at once, in all your runs on this machine"),
        key("defaults", Table(DEFAULTS), "none", "any key of a task, for the tasks that lack it; `env` is joined"),
        key("agent", Map(Naming::Agent, &Table(AGENT)), "none", "the agent profiles, `[agent.NAME]`"),
        key("merge_rule", List(&Table(MERGE_RULE)), "none", "how conflicts in certain paths are settled, `[[merge_rule]]`; the first that names a path decides"),
        key("task", List(&Table(TASK)), REQUIRED, "the tasks, `[[task]]`, in the order in which they are merged"),
    ],
);

const ON_CONFLICT: Shape = Choice(&["report", "retry", "resolve"], &[]);
const ON_REJECT: Shape = Choice(&["report", "retry"], &[]);
const ISOLATION: Shape = Choice(&["worktree", "clone"], &[]);
const SANDBOX: Shape = Either(&[LEVEL, Table(WALLS)]);
const LEVEL: Shape = Choice(&["none", "write", "strict"], &[]);
#[rustfmt::skip]
const WALLS: &Section = &Section::new(
    "sandbox",
    &[
        key("level", LEVEL, REQUIRED, "how strong it is"),
        key("paths", Many(&Filled), "none", "what may be written all the same: whole paths, or `~/…`; those that exist"),
        key("network", Flag, "true", "whether there is a network; only `\"strict\"` can take it away"),
    ],
);

/// The kinds of agents that there are.
const KINDS: &[&str] =
    &["command", "claude", "codex", "gemini", "opencode", "copilot", "qwen", "aider", "acp"];

/// `[agent.NAME]`.
#[rustfmt::skip]
pub(super) const AGENT: &Section = &Section::new(
    "agent",
    &[
        key("kind", Choice(KINDS, &[]), "\"command\"", "how it talks"),
        key("command", Filling(&Arg(IN_AGENT_ARGV), NO_WORDS), "none; the kind's program", "program and arguments; the element `{{ prompt }}` becomes the prompt. Of a coding agent: what stands before todone's arguments"),
        key("stdin", Choice(&["none", "prompt"], &[]), "\"none\"", "what its standard input is"),
        key("model", Filled, "the agent's own", "the model"),
        key("fallback", Many(&Word), "none", "models of its own, or other profiles, that take over, in this order"),
        key("system", Filled, "none", "what its system prompt gains"),
        key("permissions", Choice(&["read", "edit", "all"], &[]), "\"edit\"", "what it may do without asking: look; change files of its worktree and run `allow` and `verify`; anything"),
        key("allow", Many(&Filled), "none", "commands that it may run"),
        key("push", Flag, "false", "whether it may publish"),
        key("max", COUNT, "no bound; 4 for coding agents", "the most tasks it works on at once, in all your runs on this machine"),
        key("pool", COUNT, "none", "how many of its programs stay from task to task, each task in a session of its own; only of kind `\"acp\"`"),
        key("mcp", Map(Naming::Server, &Table(SERVER)), "none", "servers of the Model Context Protocol that it gets beside its own, `[agent.NAME.mcp.SERVER]`"),
        key("max_turns", COUNT, "no bound", "how often its model may be asked in one attempt; of kind `\"claude\"`, `\"qwen\"`, `\"gemini\"`, `\"opencode\"` and `\"copilot\"`"),
        key("retry", RETRY, "1", "attempts of a task that has no `retry`"),
        key("budget", Table(BUDGET), "none", "what it may spend"),
        key("isolation", ISOLATION, "the board's", "how its tasks are kept apart"),
        key("sandbox", SANDBOX, "the board's", "what its tasks may write outside their directory"),
        key("env", Map(Naming::Env, &ENV_VALUE), "none", "environment variables for it"),
        key("env_pass", List(&Word), "the board's", "the only variables of the caller's environment that it inherits"),
    ],
);

/// The front matter of an agent file, as far as it is read.
#[rustfmt::skip]
pub(super) const AGENT_FILE: &Section = &Section::new(
    "front matter",
    &[
        key("name", Word, REQUIRED, "its name"),
        key("tools", Many(&Text), "all", "the tools of Claude Code that it has"),
        key("disallowedTools", Many(&Text), "none", "those that it has not"),
        key("model", Filled, "its own", "the model"),
        key("mcpServers", Any, "none", "servers of the Model Context Protocol that it gets"),
        key("maxTurns", COUNT, "no bound", "how often its model may be asked in one attempt"),
        key("todone", Table(AGENT), "none", "the keys of `[agent.NAME]`"),
    ],
);

#[rustfmt::skip]
const FOREACH: &Section = &Section::new(
    "foreach",
    &[
        key("glob", ManyFilling(&Glob, NO_GLOB), "none", "the tracked files that match, sorted"),
        key("exclude", Many(&Glob), "none", "of these, those that don't match this"),
        key("items", List(&Scalar), "none", "these"),
        key("command", Either(&[Script, Filling(&Text, NO_WORDS)]), "none", "what a script or program prints, a line an item"),
        key("from", Word, "none", "the output of a needed task: a JSON array, or lines"),
        key("batch", COUNT, "1", "items per share"),
        key("allow_empty", Flag, "false", "whether no items at all are no fault"),
        key("null", Flag, "false", "whether the command's items end with NUL"),
    ],
);
const CHECK: &Section =
    &Section::new("verify", &[key("run", Script, REQUIRED, "the shell script")]);
#[rustfmt::skip]
const SETUP: &Section = &Section::new(
    "setup",
    &[
        key("run", Script, REQUIRED, "the shell script"),
        key("inputs", Many(&Glob), "none", "tracked files whose change runs it again"),
        key("timeout", Duration, "no limit", "how long it may take"),
    ],
);
#[rustfmt::skip]
const CACHE: &Section = &Section::new(
    "cache",
    &[
        key("inputs", ManyFilling(&Glob, NO_INPUT), "the whole tree", "the files that the result depends on"),
        key("ttl", Duration, "for ever", "how long a result holds"),
    ],
);
const CONTEXT: &Section = &Section::new(
    "context",
    &[key("files", ManyFilling(&Glob, NO_GLOB), REQUIRED, "the files of the repository")],
);
const EXPECT: &Section = &Section::new(
    "expect",
    &[key(
        "json_schema",
        Any,
        REQUIRED,
        "the schema that it must meet: a table, or a file relative to the board's folder",
    )],
);
const HANDOFF: &Section = &Section::new(
    "handoff",
    &[key(
        "transform",
        Either(&[Script, Filling(&Text, NO_WORDS)]),
        REQUIRED,
        "an agent profile by its name, a shell script, or program and arguments",
    )],
);

#[rustfmt::skip]
const TASK_KEYS: &[Key] = &[
    key("id", Word, REQUIRED, "its name: letters, digits, `.`, `_`, `-`"),
    key("description", Loose, "none", "for people; the prompt of a task that has no other"),
    key("needs", Many(&Word), "none", "the tasks whose merged patches it starts from").or(&["dependencies", "depends_on"]),
    key("agent", Either(&[Word, Filling(&Word, "name at least one agent")]), "none", "the agent profile that does it; of several whoever has the least to do").or(&["agent_type"]),
    key("prompt", Template(IN_PROMPT), "the description", "what the agent is asked"),
    key("prompt_template", Filled, "none", "a file with what stands around prompts, relative to the board's folder; `{{ prompt }}` in it is the prompt"),
    key("prompt_file", Filled, "none", "the file that holds the prompt, relative to the board's folder"),
    key("run", Script, "none", "a shell script, without an agent; items are `\"$@\"`"),
    key("command", Filling(&Arg(IN_ARGV), NO_WORDS), "none", "program and arguments, without a shell and an agent"),
    key("shell", Filling(&Text, "such as `[\"bash\", \"-euo\", \"pipefail\", \"-c\"]`"), "`[\"sh\", \"-e\", \"-c\"]`", "what runs its scripts; the script is appended"),
    key("dir", Path, "the root", "the directory it runs in"),
    key("foreach", Either(&[Glob, Filling(&Glob, NO_GLOB), Table(FOREACH)]), "none", "what it is done for: globs, or a table"),
    key("scope", ManyFilling(&Glob, NO_SCOPE), "any path", "the paths it may change"),
    key("locks", Many(&Word), "none", "locks that it holds alone among all your runs, or names of `[limits]`"),
    key("shared_locks", Many(&Word), "none", "locks that it holds together with other sharers"),
    key("lock_timeout", Duration, "no limit", "how long it waits for its locks before `on_lock_timeout` decides"),
    key("on_lock_timeout", Choice(&["wait", "fail"], &[]), "\"wait\"", "what happens when it has waited that long: that is told and it waits on, or it fails"),
    key("verify", Either(&[Script, Table(CHECK)]), "none", "what must succeed in its worktree before its patch is taken"),
    key("outputs", Many(&Glob), "none", "paths that are part of its patch even if ignored"),
    key("env", Map(Naming::Env, &ENV_VALUE), "none", "environment variables for it"),
    key("timeout", Duration, "no limit; `60m` with a coding agent", "the longest time an attempt may take, and once more its `verify`"),
    key("idle_timeout", Duration, "no limit; `15m` with a coding agent", "the longest time an attempt may be silent; its `verify` may"),
    key("retry", RETRY, "the agent's, or 1", "how often it is tried"),
    key("priority", Whole(i64::MIN, i64::MAX), "0", "higher starts earlier among those that can start"),
    key("changes", Choice(&["optional", "required", "forbidden"], &[]), "\"optional\"", "whether a patch is expected"),
    key("cache", Either(&[Flag, Table(CACHE)]), "false", "whether an earlier result is used again"),
    key("copy", Many(&Glob), "none", "untracked paths of the checkout that are copied into the worktree"),
    key("setup", Either(&[Script, Table(SETUP)]), "none", "what prepares a worktree before its first task"),
    key("clean", Choice(&["keep", "all"], &[]), "\"keep\"", "whether ignored files of the task before stay in the worktree"),
    key("isolation", ISOLATION, "the agent's, or the board's", "how it is kept apart"),
    key("sandbox", SANDBOX, "the agent's, or the board's", "what it may write outside its directory"),
    key("branch", Filled, "none", "a branch, or any revision, whose commits are the work; nothing is run"),
    key("patch", Filled, "none", "a file that is the work, a mailbox or a diff, relative to the board's folder; nothing is run"),
    key("review", Flag, "false", "whether its patch waits until a person has approved it"),
    key("context", Table(CONTEXT), "none", "what it is shown"),
    key("expect", Table(EXPECT), "none", "what its structured output must be"),
    key("publish", Many(&Word), "none", "topics on which others hear its output"),
    key("subscribe", Many(&Word), "none", "topics that it hears: what was published before it began"),
    key("handoff", Table(HANDOFF), "none", "what prepares for it what its needs hand over"),
    key("on_conflict", ON_CONFLICT, "the board's", "what happens if its patch can't be merged"),
    key("on_reject", ON_REJECT, "the board's", "what happens if a gate rejects it"),
    key("budget", Table(BUDGET), "none", "what it may spend"),
];

/// `[[task]]`.
pub(super) const TASK: &Section = &Section::new("task", TASK_KEYS);

/// `[defaults]`: a task without what can't be alike for all of them.
pub(super) const DEFAULTS: &Section =
    &Section { name: "defaults", keys: TASK_KEYS, except: &["id", "needs", "branch", "patch"] };

/// Every table with fixed keys, the top first.
fn sections() -> Vec<&'static Section> {
    fn walk(shape: &'static Shape, found: &mut Vec<&'static Section>) {
        match shape {
            List(of) | Filling(of, _) | Many(of) => walk(of, found),
            ManyFilling(of, _) | Map(_, of) | Later(of) => walk(of, found),
            Either(shapes) => shapes.iter().for_each(|shape| walk(shape, found)),
            Table(section) if !found.iter().any(|known| known.name == section.name) => {
                found.push(section);
                section.keys().for_each(|key| walk(&key.shape, found));
            }
            _ => {}
        }
    }
    let mut found = vec![BOARD];
    BOARD.keys().for_each(|key| walk(&key.shape, &mut found));
    found
}

/// Where a key that does not belong here would belong: the first table that has it.
pub(super) fn home(spelt: &str) -> Option<&'static Section> {
    [BOARD, TASK, AGENT].into_iter().find(|section| section.key(spelt).is_some())
}

/// The JSON Schema of a board.
pub(super) fn schema() -> Value {
    let mut schema = Table(BOARD).schema();
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("a todone board");
    schema
}

/// Every key as a Markdown table.
pub(super) fn table() -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let mut table =
        String::from("| key | where | type | default | meaning |\n|---|---|---|---|---|\n");
    // The tables that a user meets first stand first; `[defaults]` repeats the task's.
    let mut all: Vec<_> = sections().into_iter().filter(|of| of.name != DEFAULTS.name).collect();
    all.sort_by_key(|of| {
        ["board", "task", "agent"].iter().position(|n| *n == of.name).unwrap_or(3)
    });
    for section in all {
        for key in section.keys() {
            let names: Vec<_> =
                std::iter::once(&key.name).chain(key.aliases).map(|n| format!("`{n}`")).collect();
            let later = if key.shape.later() { " *(not built yet)*" } else { "" };
            let (kind, default) = (key.shape.short(), key.default);
            let row = [&names.join(", "), section.name, &kind, default, key.meaning].map(cell);
            let _ = writeln!(table, "| {}{later} |", row.join(" | "));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The TOML types that a shape takes.
    fn types(shape: &Shape) -> Vec<&'static str> {
        match shape {
            Flag | LaterFlag(_) => vec!["boolean"],
            Whole(..) => vec!["integer"],
            Number => vec!["integer", "float"],
            Scalar => vec!["string", "integer", "float", "boolean"],
            List(_) | Filling(..) => vec!["array"],
            Many(of) | ManyFilling(of, _) => types(of).into_iter().chain(["array"]).collect(),
            Map(..) | Table(_) => vec!["table"],
            Either(shapes) => shapes.iter().flat_map(types).collect(),
            Later(of) => types(of),
            Any => vec!["any"],
            _ => vec!["string"],
        }
    }

    #[test]
    fn a_value_has_one_reading() {
        for section in sections() {
            let mut seen = std::collections::BTreeSet::new();
            for key in section.keys() {
                for spelt in std::iter::once(&key.name).chain(key.aliases) {
                    assert!(seen.insert(*spelt), "{}.{spelt} twice", section.name);
                }
                let types = types(&key.shape);
                let apart: std::collections::BTreeSet<_> = types.iter().collect();
                assert_eq!(apart.len(), types.len(), "{}.{}", section.name, key.name);
            }
        }
    }
}
