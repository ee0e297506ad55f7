//! Qwen Code: `qwen -o stream-json`, whose lines are shaped as Claude Code's.
//!
//! Knows flags of this program alone. Seen with 0.24.4.

use crate::model::{Permissions, Profile, Trouble};

use super::json::text;
use super::listen::{Step, Transcript};
use super::mcp::Way;
use super::{
    Adapter, Asked, Assignment, Start, allowed, argument, claude, mcp, parsed, parts, program,
};

pub(super) struct Qwen;

impl Adapter for Qwen {
    fn start(&self, profile: &Profile, assignment: &Assignment<'_>, prompt: &Asked) -> Start {
        let mut argv = program(profile);
        if profile.permissions != Permissions::All {
            let commands = allowed(profile, assignment);
            let rules = commands.iter().flat_map(|command| parts(command));
            // It takes a comma for the end of a rule.
            let rules = rules.filter(|rule| !rule.contains(','));
            let rules: Vec<_> = rules.map(|rule| format!("run_shell_command({rule})")).collect();
            if !rules.is_empty() {
                // It takes all words behind this up to the next flag.
                argv.push("--allowed-tools".into());
                argv.extend(rules.into_iter().map(Into::into));
            }
        }
        let mode = match profile.permissions {
            Permissions::Read => "default",
            Permissions::Edit => "auto-edit",
            Permissions::All => "yolo",
        };
        argv.extend(["-o", "stream-json", "--approval-mode", mode].map(Into::into));
        if let Some(most) = profile.max_turns {
            argv.extend(["--max-session-turns".into(), most.to_string().into()]);
        }
        if let Some(model) = &profile.model {
            argv.extend(["-m".into(), model.into()]);
        }
        if let Some(system) = &profile.system {
            argv.extend(["--append-system-prompt".into(), system.into()]);
        }
        if let Some(session) = &prompt.session {
            argv.extend(["--resume".into(), session.into()]);
        }
        let mut start = Start::default();
        if let Some(file) = mcp::file(profile, Way::Qwen, assignment, &mut start) {
            argv.extend(["--mcp-config".into(), file.into()]);
        }
        let (word, input) = argument(prompt.text.clone());
        argv.push(word);
        Start { argv, input, ..start }
    }

    fn speaks(&self) -> bool {
        true
    }

    fn follows(&self) -> bool {
        true
    }

    fn counts_on(&self) -> bool {
        true
    }

    fn line(&self, so_far: &mut Transcript, line: &str) -> Option<Step> {
        let line = parsed(line)?;
        let step = claude::read(so_far, &line);
        if text(&line, &["type"]) == Some("result") {
            // Unlike there, what came out of a cache is counted among what was read, too.
            let cached = so_far.cache_read.unwrap_or(0);
            so_far.input = so_far.input.map(|all| all.saturating_sub(cached));
        }
        step
    }

    fn exit(&self, code: i32) -> Option<Trouble> {
        (code == 53).then_some(Trouble::Bound)
    }
}
