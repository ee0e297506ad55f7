//! Decodes what a task does: a script, a command, or an agent with a prompt.
//!
//! Knows nothing of when and where it is done.

use std::collections::BTreeSet;
use std::path::Path;

use super::fault::{Span, quote};
use super::keys::{IN_PROMPT, IN_TEMPLATE};
use super::settings::{first_word, table};
use super::tasks::{Context, Decoder, Shares, WAYS};
use super::template::{Hole, fill, holes};
use super::value::{View, elements, filled_texts, texts};
use crate::model::{ProfileKind, Prompt, Transform, Work};

/// Keys that would do nothing for commits that exist already.
const NOT_WITH_BRANCH: &[&str] = &[
    "foreach",
    "verify",
    "outputs",
    "changes",
    "context",
    "publish",
    "subscribe",
    "handoff",
    "expect",
    "cache",
];

impl Decoder<'_, '_> {
    /// What a task does.
    pub(super) fn work(
        &mut self,
        view: &View<'_, '_>,
        place: Span,
        context: &Context<'_>,
    ) -> Option<Work> {
        let own_way = WAYS.iter().copied().find(|way| view.own(way).is_some());
        let own_agent = view.own("agent");
        if let (Some(way @ ("run" | "command" | "branch" | "patch")), Some(agent)) =
            (own_way, own_agent)
        {
            let message = format!("`agent` beside {}: such a task has no agent", quote(way));
            self.c.sink.hinted(agent.key.clone(), message, "leave one of them out".to_owned());
        }
        let prompts = |way: &&str| matches!(*way, "prompt" | "prompt_file");
        let way = own_way.or_else(|| {
            // A task that names an agent is done by it, whatever the defaults run.
            let given = WAYS.iter().copied().filter(|way| view.find(way).is_some());
            given
                .filter(|way| own_agent.is_none() || prompts(way))
                .min_by_key(|way| !prompts(way) as u8)
        });
        match way {
            Some("run") => Some(Work::Run { script: view.raw("run")? }),
            Some("command") => {
                let argv = view.value("command")?;
                first_word(Some(argv), self.c);
                let words = filled_texts(argv, &self.c.vars);
                for (word, value) in words.iter().zip(elements(argv)) {
                    self.in_context(word, &value.span(), context);
                }
                Some(Work::Command { argv: words })
            }
            Some("branch") => {
                self.nothing_runs(view, "branch");
                Some(Work::Branch { rev: view.text("branch", &self.c.vars)? })
            }
            Some("patch") => {
                self.nothing_runs(view, "patch");
                let span = view.value("patch")?.span();
                let file = view.text("patch", &self.c.vars)?;
                match read_file(&self.dir.join(&file)) {
                    Ok(text) if holds_patch(&text) => Some(Work::Patch { file, text }),
                    Ok(_) => {
                        let message = format!("{} holds no patch", quote(&file));
                        let hint =
                            "make one with `git diff` or `git format-patch --stdout`".to_owned();
                        self.c.sink.hinted(span, message, hint);
                        None
                    }
                    Err(fault) => {
                        let message = format!("can't read {}: {fault}", quote(&file));
                        let hint = "`patch` is relative to the folder of the board".to_owned();
                        self.c.sink.hinted(span, message, hint);
                        None
                    }
                }
            }
            _ => self.agent_work(view, place, context),
        }
    }

    /// Complains of keys that do nothing in a task that no agent does: those that are for agents alone, and
    /// where there are only commits to be merged, those that are for what is run. `helped`: whether an agent
    /// may work for it all the same.
    pub(super) fn without_agent(&mut self, view: &View<'_, '_>, work: &Work, helped: bool) {
        if let Work::Agent { .. } = work {
            return;
        }
        let way = match work {
            Work::Branch { .. } => Some("branch"),
            Work::Patch { .. } => Some("patch"),
            _ => None,
        };
        let of_branch = ["dir", "shell", "env", "timeout", "idle_timeout", "clean"];
        for key in of_branch.iter().filter(|_| !helped) {
            if let (Some(found), Some(way)) = (view.own(key), way) {
                let message = format!("`{key}` beside `{way}`: nothing is run for such a task");
                self.c.sink.hinted(found.key.clone(), message, "leave it out".to_owned());
            }
        }
        let spends = "no agent works for this task, so that nothing of it is spent";
        let keys = [
            ("prompt_template", "no agent is asked anything for this task", true),
            ("budget", spends, !helped),
        ];
        for (key, why, idle) in keys {
            if let (Some(found), true) = (view.own(key), idle) {
                let message = format!("`{key}` does nothing here: {why}");
                let hint = match key {
                    "budget" => "take it out; `timeout` bounds the time of a command".to_owned(),
                    _ => "take it out, or give the task an `agent`".to_owned(),
                };
                self.c.sink.hinted(found.key.clone(), message, hint);
            }
        }
    }

    /// Complains of keys that mean nothing for work that exists already.
    fn nothing_runs(&mut self, view: &View<'_, '_>, way: &str) {
        for key in NOT_WITH_BRANCH {
            let Some(found) = view.find(key) else { continue };
            let message = format!("`{key}` beside `{way}`: nothing is run for such a task");
            let hint = match *key {
                "verify" => "a `gate` judges what is merged".to_owned(),
                _ => "leave it out".to_owned(),
            };
            self.c.sink.hinted(found.key.clone(), message, hint);
        }
    }

    fn agent_work(
        &mut self,
        view: &View<'_, '_>,
        place: Span,
        context: &Context<'_>,
    ) -> Option<Work> {
        let Some(found) = view.find("agent") else {
            let id = view.raw("id").map(|id| format!(" {}", quote(&id))).unwrap_or_default();
            let asked = view.find("prompt").or(view.find("prompt_file"));
            match asked {
                Some(asked) => self.c.sink.hinted(
                    asked.key.clone(),
                    format!("task{id} has a prompt and no agent"),
                    "name one: `agent = \"NAME\"` here or in `[defaults]`, with an `[agent.NAME]`"
                        .to_owned(),
                ),
                None => self.c.sink.hinted(
                    place,
                    format!("task{id} has nothing to do"),
                    "give it `run`, `command`, or an `agent` with a `prompt`".to_owned(),
                ),
            }
            return None;
        };
        let agent_place = found.value.span();
        // Both are looked into, whatever is wrong with the first.
        let (name, text) = (self.agent(view), self.prompt(view, context));
        let (name, text) = (name?, text?);
        let profile = self.agents.get(&name)?;
        let wants = profile.stdin_prompt
            || profile.kind != ProfileKind::Command
            || profile.command.iter().any(|word| word == "{{ prompt }}");
        if text.trim().is_empty() && wants {
            let id = view.raw("id").unwrap_or_default();
            let message = format!("task {} has no prompt for agent {}", quote(&id), quote(&name));
            let hint = "give it a `prompt`, a `prompt_file` or a `description`".to_owned();
            self.c.sink.hinted(place, message, hint);
        }
        let before = self.c.sink.count();
        for word in &profile.command {
            self.in_context(word, &agent_place, context);
        }
        self.c.sink.name_since(before, &format!("the command of agent {}", quote(&name)));
        let template = self.template(view, context);
        Some(Work::Agent { profile: name, prompt: Prompt { text, template } })
    }

    /// What prepares what the needs hand over. What the defaults say is for tasks that need others.
    pub(super) fn transform(
        &mut self,
        view: &View<'_, '_>,
        needs: &[(Span, &str)],
    ) -> Option<Transform> {
        let inner = table(view, "handoff")?;
        let found = inner.value("transform")?;
        if needs.is_empty() {
            if let Some(own) = view.own("handoff") {
                let message = "`handoff` in a task that needs none";
                let hint = "add `needs`: it prepares what these hand over".to_owned();
                self.c.sink.hinted(own.key.clone(), message, hint);
            }
            return None;
        }
        let Some(said) = inner.raw("transform") else {
            first_word(Some(found), self.c);
            return Some(Transform::Command(texts(found, &self.c.vars)));
        };
        let name = said.trim();
        if self.agents.contains_key(name) {
            return Some(Transform::Agent(name.to_owned()));
        }
        // A script of one word is far more often a name that is spelt wrongly.
        if !name.contains(|c: char| c.is_whitespace() || "|&;<>()$`\\\"'/=".contains(c)) {
            if !name.is_empty() {
                let hint = self.c.near.ask(name, self.agents.keys().map(String::as_str));
                let hint = hint.unwrap_or_else(|| {
                    format!("declare `[agent.{name}]`; a program stands in a list: [{name:?}]")
                });
                self.c.sink.hinted(found.span(), format!("unknown agent {}", quote(name)), hint);
            }
            return None;
        }
        Some(Transform::Script(said))
    }

    /// What stands around the prompt. Every name in it must have a value, or may have none by its nature.
    fn template(&mut self, view: &View<'_, '_>, context: &Context<'_>) -> Option<String> {
        let span = view.value("prompt_template")?.span();
        let name = view.text("prompt_template", &self.c.vars)?;
        let text = self.file(&name, &span, "prompt_template")?;
        let holes = holes(&text);
        if !holes.iter().any(|hole| hole.name == "prompt") {
            let message = format!("{} has no `{{{{ prompt }}}}`", quote(&name));
            let hint = "it stands where the prompt of the task is to be".to_owned();
            self.c.sink.hinted(span.clone(), message, hint);
        }
        for hole in &holes {
            if let Some((message, hint)) = self.in_template(hole, view, context) {
                self.c.sink.elsewhere((&name, &text), hole.range.clone(), message, hint);
            }
        }
        Some(fill(&text, &self.c.vars, IN_TEMPLATE).into_owned())
    }

    /// What is wrong with a name in a template, and how to mend it.
    fn in_template(
        &mut self,
        hole: &Hole<'_>,
        view: &View<'_, '_>,
        context: &Context<'_>,
    ) -> Option<(String, String)> {
        let shown = quote(&hole.shown());
        if let Some(var) = hole.var() {
            self.c.used.insert(var.to_owned());
            let vars = self.c.vars.clone();
            return (!vars.contains_key(var)).then(|| {
                let near = self.c.near.ask(var, vars.keys().map(String::as_str));
                let set = || format!("set it in `[vars]`, or with `--set {var}=VALUE`");
                (format!("unknown var {}", quote(var)), near.unwrap_or_else(set))
            });
        }
        let id = || quote(&view.raw("id").unwrap_or_default());
        match (hole.name, context.shares) {
            ("item" | "items", Shares::None) => {
                let hint = format!("add `foreach` to task {}, or give it another template", id());
                return Some((format!("{shown} for a task without `foreach`"), hint));
            }
            ("item", Shares::Of(batch)) if batch != 1 => {
                let hint = format!("use `{{{{ items }}}}`: a share of {} has several", id());
                return Some((format!("{shown} needs `batch = 1`"), hint));
            }
            _ if IN_TEMPLATE.contains(&hole.name) => return None,
            _ => {}
        }
        let whole = IN_TEMPLATE.contains(&hole.head());
        let hint = match hole.head() {
            head if whole => format!("a template has `{{{{ {head} }}}}`, all of it"),
            "needs" => "name it in the prompt of the task: values of needs stand there".to_owned(),
            _ => {
                let near = self.c.near.ask(hole.name, IN_TEMPLATE.iter().copied());
                near.unwrap_or_else(|| {
                    let names = IN_TEMPLATE.iter().map(|name| format!("`{name}`"));
                    format!("there are {} and `vars.NAME`", names.collect::<Vec<_>>().join(", "))
                })
            }
        };
        Some((format!("{shown} is no name of a template"), hint))
    }

    /// The agent that is named, the first of several; complains of those that there are not.
    pub(super) fn agent(&mut self, view: &View<'_, '_>) -> Option<String> {
        let mut first = None;
        let mut seen = BTreeSet::new();
        for (span, name) in view.words("agent") {
            if !seen.insert(name) {
                let message = format!("agent {} stands twice in the list", quote(name));
                let hint = "the work is spread by what each has to do: name each once".to_owned();
                self.c.sink.hinted(span, message, hint);
            } else if self.agents.contains_key(name) {
                first.get_or_insert_with(|| name.to_owned());
            } else if !name.trim().is_empty() {
                self.unknown_agent(name, span);
            }
        }
        first
    }

    /// Complains of an agent that there is not.
    pub(super) fn unknown_agent(&mut self, name: &str, span: Span) {
        let hint =
            self.c.near.ask(name, self.agents.keys().map(String::as_str)).unwrap_or_else(|| {
                match ProfileKind::named(name) {
                    kind if ProfileKind::AGENTS.contains(&kind) => {
                        format!("declare it: `[agent.{name}]` with `kind = {name:?}`")
                    }
                    _ => format!(
                        "declare it: `[agent.{0}]` with a `command`, or describe it in \
                         `.claude/agents/{0}.md`",
                        quote(name).trim_matches('`')
                    ),
                }
            });
        self.c.sink.hinted(span, format!("unknown agent {}", quote(name)), hint);
    }

    /// What the agent is asked; empty if the task does not say.
    fn prompt(&mut self, view: &View<'_, '_>, context: &Context<'_>) -> Option<String> {
        // What the task says itself goes before what the defaults say.
        let own = ["prompt", "prompt_file"].into_iter().find(|way| view.own(way).is_some());
        let other = || {
            ["prompt", "prompt_file", "description"]
                .into_iter()
                .find(|way| view.find(way).is_some())
        };
        let Some(way) = own.or_else(other) else { return Some(String::new()) };
        let found = view.value(way)?;
        let span = found.span();
        let said = match way {
            "prompt_file" => self.file(&view.text(way, &self.c.vars)?, &span, way)?,
            _ => found.get_ref().as_str()?.to_owned(),
        };
        let filled = fill(&said, &self.c.vars, IN_PROMPT).into_owned();
        match way {
            // The check has looked at a prompt for names that there are not.
            "prompt" => self.prompt_names(&filled, &span, context),
            "description" => {
                self.c.holes(&said, &span, IN_PROMPT, true);
                self.prompt_names(&filled, &span, context);
            }
            _ => {
                let name = view.text(way, &self.c.vars)?;
                for (number, line) in
                    said.lines().enumerate().filter(|(_, line)| line.contains("{{"))
                {
                    let before = self.c.sink.count();
                    self.c.holes(line, &span, IN_PROMPT, true);
                    let line = fill(line, &self.c.vars, IN_PROMPT).into_owned();
                    self.prompt_names(&line, &span, context);
                    self.c
                        .sink
                        .name_since(before, &format!("{}, line {}", quote(&name), number + 1));
                }
            }
        }
        Some(filled)
    }

    pub(super) fn file(&mut self, name: &str, span: &Span, key: &str) -> Option<String> {
        if name.trim().is_empty() {
            return None;
        }
        let dir = self.dir;
        let read =
            self.files.entry(name.to_owned()).or_insert_with(|| read_prompt(&dir.join(name)));
        match read {
            Ok(text) => Some(text.clone()),
            Err(fault) => {
                let message = format!("can't read {}: {fault}", quote(name));
                let hint = match fault.ends_with("is no UTF-8") {
                    true => "save it as UTF-8".to_owned(),
                    false => format!("`{key}` is relative to the folder of the board"),
                };
                self.c.sink.hinted(span.clone(), message, hint);
                None
            }
        }
    }

    /// Complains of names that have no value in this task.
    fn in_context(&mut self, text: &str, span: &Span, context: &Context<'_>) {
        for hole in holes(text) {
            let place = || self.c.inside(span, &text[hole.range.clone()]);
            let shown = || quote(&hole.shown());
            match (hole.name, context.shares) {
                ("item" | "items", Shares::None) => {
                    let hint = "add `foreach`".to_owned();
                    self.c.sink.hinted(
                        place(),
                        format!("{} in a task without `foreach`", shown()),
                        hint,
                    );
                }
                ("item", Shares::Of(batch)) if batch != 1 => {
                    let hint = "use `{{ items }}`".to_owned();
                    self.c.sink.hinted(place(), format!("{} needs `batch = 1`", shown()), hint);
                }
                _ => {}
            }
        }
    }

    /// The same, and of needs that the task has not.
    fn prompt_names(&mut self, text: &str, span: &Span, context: &Context<'_>) {
        self.in_context(text, span, context);
        for hole in holes(text).iter().filter(|hole| hole.head() == "handoff" && hole.ours()) {
            let place = self.c.inside(span, &text[hole.range.clone()]);
            let shown = quote(&hole.shown());
            if !context.mediated {
                let message = format!("{shown} in a task without `handoff`");
                self.c.sink.hinted(place, message, "add `handoff`".to_owned());
            } else if !matches!(hole.name, "handoff.output" | "handoff.json") {
                let hint = "there are `{{ handoff.output }}` and `{{ handoff.json }}`".to_owned();
                self.c.sink.hinted(place, format!("{shown} names no part of a handoff"), hint);
            }
        }
        for hole in holes(text).iter().filter(|hole| hole.head() == "topics" && hole.ours()) {
            let topic = hole.name.strip_prefix("topics.").unwrap_or_default();
            if !context.topics.iter().any(|known| known == topic) {
                let place = self.c.inside(span, &text[hole.range.clone()]);
                let near = self.c.near.ask(topic, context.topics.iter().map(String::as_str));
                let hint = near.unwrap_or_else(|| format!("add {} to `subscribe`", quote(topic)));
                let message =
                    format!("{}: the task does not hear {}", quote(&hole.shown()), quote(topic));
                self.c.sink.hinted(place, message, hint);
            }
        }
        for hole in holes(text).iter().filter(|hole| hole.head() == "needs" && hole.ours()) {
            let place = self.c.inside(span, &text[hole.range.clone()]);
            self.need(hole, &quote(&hole.shown()), place, context);
        }
    }

    fn need(&mut self, hole: &Hole<'_>, shown: &str, place: Span, context: &Context<'_>) {
        let known = || context.needs.iter().map(|(_, need)| *need);
        match hole.need() {
            Some((task, _)) if !known().any(|need| need == task) => {
                let near = self.c.near.ask(task, known());
                let (lacking, hint) = match self.ids.contains(task) {
                    true => {
                        ("the task does not need", Some(format!("add {} to `needs`", quote(task))))
                    }
                    false => {
                        let hint = self.c.near.ask(task, self.ids.iter().copied());
                        let none = || "name a task of this board that it needs".to_owned();
                        ("there is no task", Some(hint.unwrap_or_else(none)))
                    }
                };
                self.c.sink.hinted(
                    place,
                    format!("{shown}: {lacking} {}", quote(task)),
                    near.or(hint),
                );
            }
            Some((_, "output" | "json" | "patch")) => {}
            _ => {
                let hint =
                    "a need has `output`, `json` and `patch`: `{{ needs.TASK.output }}`".to_owned();
                self.c.sink.hinted(place, format!("{shown} names no part of a need"), hint);
            }
        }
    }
}

fn read_prompt(path: &Path) -> Result<String, String> {
    let bytes = read_file(path)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| format!("byte {} is no UTF-8", error.utf8_error().valid_up_to()))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::ErrorKind;
    let meta = std::fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    })?;
    // A pipe would hold the reader up.
    if !meta.is_file() {
        return Err("it is no plain file".to_owned());
    }
    if meta.len() > super::LARGEST as u64 {
        return Err("it is larger than 10 MiB".to_owned());
    }
    std::fs::read(path).map_err(|error| error.to_string())
}

/// Whether there is something that git could apply: the rest of a mailbox is talk.
fn holds_patch(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let next = lines.peek().is_some_and(|next| next.starts_with(b"+++ "));
        if line.starts_with(b"diff --git ") || line.starts_with(b"--- ") && next {
            return true;
        }
    }
    false
}
