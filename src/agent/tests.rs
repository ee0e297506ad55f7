//! What commands are really given: each launch is written out and run.
//!
//! Knows the room only by [`launch`] and [`base_env`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::model::{
    Changes, Clean, Foreach, ForeachSource, Isolation, Prompt, RepoPath, Retry, Work,
};

/// A task with what belongs to it.
struct Case {
    task: Task,
    unit: Unit,
    profile: Option<Profile>,
    needs: BTreeMap<TaskId, Handed>,
    around: Around,
    note: Option<String>,
}

fn id(text: &str) -> TaskId {
    text.parse().expect("an id")
}

fn case(work: Work) -> Case {
    let task = Task {
        id: id("convert"),
        description: None,
        needs: vec![id("scout"), id("silent")],
        work,
        shell: ["sh", "-e", "-c"].map(str::to_owned).to_vec(),
        dir: RepoPath::default(),
        foreach: None,
        scope: Vec::new(),
        locks: Vec::new(),
        shared_locks: Vec::new(),
        lock_timeout: None,
        on_lock_timeout: Default::default(),
        verify: None,
        outputs: Vec::new(),
        env: BTreeMap::new(),
        env_from: BTreeMap::new(),
        timeout: None,
        idle_timeout: None,
        retry: Retry::default(),
        priority: 0,
        changes: Changes::Optional,
        context: Vec::new(),
        publish: Vec::new(),
        subscribe: Vec::new(),
        handoff: None,
        expect: None,
        copy: Vec::new(),
        setup: None,
        clean: Clean::Keep,
        isolation: Isolation::Worktree,
        sandbox: Default::default(),
        review: false,
        cache: None,
        others: Vec::new(),
        budget: None,
        on_conflict: Default::default(),
        on_reject: Default::default(),
    };
    let unit = Unit { id: id("convert"), task: id("convert"), items: None };
    Case {
        task,
        unit,
        profile: None,
        needs: BTreeMap::new(),
        around: Around::default(),
        note: None,
    }
}

fn run(script: &str) -> Case {
    case(Work::Run { script: script.to_owned() })
}

fn command(argv: &[&str]) -> Case {
    case(Work::Command { argv: argv.iter().map(|word| (*word).to_owned()).collect() })
}

fn agent(argv: &[&str], text: &str) -> Case {
    let prompt = Prompt { text: text.to_owned(), template: None };
    let mut case = case(Work::Agent { profile: "helper".into(), prompt });
    let mut profile = Profile::new("helper", ProfileKind::Command);
    profile.command = argv.iter().map(|word| (*word).to_owned()).collect();
    case.profile = Some(profile);
    case
}

impl Case {
    fn items(mut self, source: ForeachSource, batch: usize, items: &[&[u8]]) -> Self {
        self.task.foreach = Some(Foreach { source, batch, allow_empty: false });
        self.unit.id = id("convert.3");
        self.unit.items = Some(items.iter().map(|item| RepoPath::new(*item)).collect());
        self
    }

    fn files(self, items: &[&[u8]]) -> Self {
        let source = ForeachSource::Glob { include: vec!["**".into()], exclude: Vec::new() };
        self.items(source, items.len(), items)
    }

    fn need(mut self, need: &str, output: &str) -> Self {
        let handed = Handed { output: output.to_owned(), ..Handed::default() };
        self.needs.insert(id(need), handed);
        self
    }

    fn launch(&self, scratch: &Path) -> Launch {
        launch(&Assignment {
            run: &"board-k3f9".parse().expect("an id"),
            task: &self.task,
            unit: &self.unit,
            profile: self.profile.as_ref(),
            share: Default::default(),
            attempt: 2,
            slot: 4,
            port: Some(20_040),
            board_dir: Path::new("/board"),
            worktree: scratch,
            scratch,
            given: &BTreeMap::new(),
            needs: &self.needs,
            around: &self.around,
            short: false,
            note: self.note.as_deref(),
            session: None,
        })
    }

    /// Runs it for real; what it printed.
    fn says(&self) -> Vec<u8> {
        let scratch = tempfile::tempdir().expect("a directory");
        let launch = self.launch(scratch.path());
        for (path, content) in &launch.files {
            assert!(path.starts_with(scratch.path()), "{path:?}");
            std::fs::write(path, content).expect("written");
        }
        let path = ("PATH".into(), std::env::var_os("PATH").expect("a PATH"));
        let mut command = Command::new(&launch.argv[0]);
        command.args(&launch.argv[1..]).current_dir(scratch.path());
        command.env_clear().envs(base_env([path].into_iter(), None)).envs(launch.env);
        let said = command.output().expect("it starts");
        assert!(said.status.success(), "{said:?}");
        assert!(!scratch.path().join("pwned").exists(), "a value was run");
        said.stdout
    }

    fn env(&self, name: &str) -> Option<OsString> {
        let launch = self.launch(Path::new("/scratch"));
        launch.env.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

fn words(argv: &[OsString]) -> Vec<String> {
    argv.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

const EVIL: &[&[u8]] = &[b"$(touch pwned)", b"'; touch pwned; '", b"a\nb", b"caf\xff", b"-rf"];

#[test]
fn items_of_a_script_are_its_parameters() {
    let case = run(r#"printf '%s\0' "$#" "$@""#).files(EVIL);
    assert_eq!(case.says(), b"5\0$(touch pwned)\0'; touch pwned; '\0a\nb\0caf\xff\0./-rf\0");
}

#[test]
fn items_of_a_command_are_its_arguments() {
    let case = command(&["printf", "<%s>", "{{ task }}", "{{items}}", "x{{ items }}"]).files(EVIL);
    assert_eq!(
        case.says(),
        b"<convert.3><$(touch pwned)><'; touch pwned; '><a\nb><caf\xff><./-rf><x{{ items }}>"
    );
}

#[test]
fn only_items_that_the_board_itself_lists_may_look_like_options() {
    let argv = |source| {
        let case = command(&["cc", "{{ item }}"]).items(source, 1, &[b"-O2"]);
        words(&case.launch(Path::new("/scratch")).argv)
    };
    assert_eq!(argv(ForeachSource::Items(vec!["-O2".into()])), ["cc", "-O2"]);
    assert_eq!(argv(ForeachSource::From(id("scout"))), ["cc", "./-O2"]);
}

#[test]
fn items_are_a_file_and_a_single_one_a_variable() {
    let case = run(r#"cat "$TODONE_ITEMS_FILE"; printf '%s' "${TODONE_ITEM-none}""#);
    assert_eq!(case.files(EVIL).says(), [&EVIL.join(&0)[..], b"\0none"].concat());
    let source = || ForeachSource::Items(Vec::new());
    let single = run("true").items(source(), 1, &[b"caf\xff"]);
    assert_eq!(single.env("TODONE_ITEM"), Some(OsString::from_vec(b"caf\xff".to_vec())));
    let last_of_many = run("true").items(source(), 5, &[b"a"]);
    assert_eq!(last_of_many.env("TODONE_ITEM"), None);
    let long = run("true").items(source(), 1, &[&[b'x'; MOST_INLINE + 1]]);
    assert_eq!(long.env("TODONE_ITEM"), None);
    assert_eq!(run("true").env("TODONE_ITEMS_FILE"), None);
}

#[test]
fn what_needs_printed_is_a_variable_and_a_file() {
    let case =
        run(r#"printf '%s|' "$TODONE_NEEDS_SCOUT_OUTPUT"; cat "$TODONE_NEEDS_SCOUT_OUTPUT_FILE""#)
            .need("scout", "$(touch pwned)\n");
    assert_eq!(case.says(), b"$(touch pwned)\n|$(touch pwned)\n");
    for output in ["x".repeat(MOST_INLINE + 1), "a\0b".to_owned()] {
        let case = run("true").need("scout", &output);
        assert_eq!(case.env("TODONE_NEEDS_SCOUT_OUTPUT"), None);
        let file = case.env("TODONE_NEEDS_SCOUT_OUTPUT_FILE").expect("a file");
        let files = case.launch(Path::new("/scratch")).files;
        let (_, content) = files.iter().find(|(path, _)| *path == file).expect("the file");
        assert_eq!(*content, output.as_bytes());
    }
}

#[test]
fn many_outputs_still_fit_into_an_environment() {
    let mut case = run(r#"cat "$TODONE_NEEDS_N199_OUTPUT_FILE""#);
    for number in 100..200 {
        case = case.need(&format!("n{number}"), &"x".repeat(MOST_INLINE));
    }
    assert_eq!(case.says().len(), MOST_INLINE);
    assert!(case.env("TODONE_NEEDS_N100_OUTPUT").is_some());
    assert!(case.env("TODONE_NEEDS_N199_OUTPUT").is_none());
}

#[test]
fn the_plain_facts_are_variables() {
    let case = run("true");
    for (name, value) in [
        ("TODONE_TASK", "convert"),
        ("TODONE_RUN", "board-k3f9"),
        ("TODONE_ATTEMPT", "2"),
        ("TODONE_SLOT", "4"),
        ("TODONE_PORT", "20040"),
        ("TODONE_BOARD_DIR", "/board"),
        ("TODONE_WORKTREE", "/scratch"),
    ] {
        assert_eq!(case.env(name), Some(value.into()), "{name}");
    }
}

#[test]
fn the_task_has_the_last_word_on_the_environment() {
    let mut case = agent(&["true"], "");
    let env = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    case.profile.as_mut().expect("a profile").env =
        env(&[("A", "profile"), ("B", "profile"), ("TODONE_SLOT", "profile")]);
    case.task.env = env(&[("B", "task")]);
    for (name, value) in [("A", "profile"), ("B", "task"), ("TODONE_SLOT", "profile")] {
        assert_eq!(case.env(name), Some(value.into()), "{name}");
    }
}

#[test]
fn a_prompt_is_filled_once_and_never_run() {
    let text = "Fix {{ items }} in {{task}} as {{ needs.scout.output }}{{ needs.silent.output }}; \
                {{ unknown }} {{ needs.other.output }} {{";
    let mut case = agent(&["printf", "%s", "{{ prompt }}"], text)
        .files(&[b"a.rs", b"$(touch pwned)"])
        .need("scout", "{{ task }}\n");
    let filled = "Fix a.rs\n$(touch pwned) in convert.3 as {{ task }}; {{ unknown }} \
                  {{ needs.other.output }} {{";
    assert_eq!(case.says(), filled.as_bytes());
    case.note = Some("Last time: red.\n".into());
    assert_eq!(case.says(), format!("{filled}\n\nLast time: red.\n").as_bytes());
}

#[test]
fn a_prompt_comes_as_argument_as_input_and_as_file() {
    let mut case = agent(&["sh", "-c", r#"cat "$TODONE_PROMPT_FILE""#], "Do it.");
    assert_eq!(case.says(), b"Do it.");
    assert_eq!(case.launch(Path::new("/scratch")).input, None);
    case.profile.as_mut().expect("a profile").stdin_prompt = true;
    assert_eq!(case.launch(Path::new("/scratch")).input.as_deref(), Some(&b"Do it."[..]));
    assert_eq!(run("true").env("TODONE_PROMPT_FILE"), None);
}

#[test]
fn a_prompt_is_no_flag_and_stays_what_it_is_elsewhere() {
    let mut case = agent(&["printf", "%s", "{{ prompt }}"], "{{ needs.scout.output }}")
        .need("scout", "--evil-flag");
    assert_eq!(case.says(), b"\n--evil-flag");
    case.profile.as_mut().expect("a profile").stdin_prompt = true;
    assert_eq!(case.launch(Path::new("/scratch")).input.as_deref(), Some(&b"--evil-flag"[..]));
    let case = agent(&["sh", "-c", r#"cat "$TODONE_PROMPT_FILE""#], "- one\n- two");
    assert_eq!(case.says(), b"- one\n- two");
}

#[test]
fn a_prompt_that_no_argument_can_hold_is_read_from_its_file() {
    let text = "word ".repeat(40_000);
    let case = agent(&["sh", "-c", r#"cat "${1##*: }""#, "sh", "{{ prompt }}"], &text);
    assert_eq!(case.says(), text.as_bytes());
}

#[test]
fn opencode_reads_its_prompt_since_it_would_quote_an_argument() {
    let mut case = agent(&["opencode"], "Say \"it\" twice.");
    case.profile.as_mut().expect("it is there").kind = ProfileKind::Opencode;
    let dir = tempfile::tempdir().expect("a directory");
    let launch = case.launch(dir.path());
    assert!(launch.input.expect("a prompt").starts_with(b"Say \"it\" twice."));
    assert!(words(&launch.argv).iter().all(|word| !word.contains("twice")));
}
