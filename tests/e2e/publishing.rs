//! `land = "branches"` and `land = "push"`: branches for review, here or on a remote.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::space::Space;

/// Three tasks that merge, one of them in a second wave, and one that conflicts with the first.
const TASKS: &str = r#"
[[task]]
id = "api"
description = "Add the API\n\nWith all that it needs."
run = "echo api > api; sed -i s/two/API/ text"
[[task]]
id = "web"
run = "echo web > web"
[[task]]
id = "docs"
needs = ["api"]
run = "test -e api; echo docs > docs"
"#;
const MEETS: &str = "[[task]]\nid = \"meets\"\nrun = 'sed -i 2s=.*=MEETS= text'\n";

fn space() -> Space {
    Space::new(&[("text", "1\ntwo\n3\n")])
}

/// A bare repository as `origin`.
fn remote(space: &Space) -> PathBuf {
    let bare = space.path("remote.git");
    let name = bare.to_str().expect("a name").to_owned();
    space.git(&["init", "-q", "--bare", "-b", "main", &name]);
    space.git(&["remote", "add", "origin", &name]);
    space.git(&["push", "-q", "origin", "main"]);
    bare
}

fn program(path: &std::path::Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("allowed");
}

#[test]
fn a_branch_is_kept_for_each_merged_task_and_main_stays() {
    let space = space();
    space.board(&format!("land = \"branches\"\n{TASKS}{MEETS}"));
    let board = space.path("board.toml");
    let before = space.git(&["rev-parse", "main"]);
    let ran = space.todone(&["run", board.to_str().expect("a name")]).code(4);
    let run = space.last_run();
    let of = |task: &str| format!("todone/{run}-tasks/{task}");
    let ran = ran.says(&format!("kept for review: `{}` at", of("api")));
    ran.says(&format!("git log -p main..{}", of("api"))).says_not("not landed");
    assert_eq!(space.git(&["rev-parse", "main"]), before);
    let log = |task: &str| space.git(&["log", "--format=%s", &format!("main..{}", of(task))]);
    assert_eq!(log("api"), "api: Add the API");
    assert_eq!(log("web"), "web");
    // It builds on the work of the wave before.
    assert_eq!(log("docs").lines().next(), Some("docs"));
    let diff = |task: &str| {
        let name = of(task);
        space.git(&["diff", "--name-only", &format!("{name}~1"), &name])
    };
    assert_eq!([diff("api"), diff("web"), diff("docs")], ["api\ntext", "web", "docs"]);
    let refs =
        space.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads/todone/*-tasks/*"]);
    assert_eq!(refs.lines().count(), 3, "{refs}");
    let land = space.report()["land"].clone();
    assert_eq!((&land["state"], land["remote"].is_null()), (&"published".into(), true), "{land:#}");
    assert_eq!(land["branches"][0]["task"], "api", "{land:#}");

    // Somebody goes on on one of them; another task is mended, and its branch comes beside the others.
    space.git(&["checkout", "-q", &of("web")]);
    space.write("web", "more\n");
    let mine = space.commit("more");
    space.git(&["checkout", "-q", "main"]);
    space.todone(&["retry", "meets"]).code(0).says(&of("meets"));
    assert_eq!(space.git(&["rev-parse", &of("web")]), mine);
    // The branches are the user's now.
    space.todone(&["clean"]).code(0).says("not merged");
    space.todone(&["clean", "--force", &run]).code(0);
    let refs = space.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads/todone"]);
    assert_eq!(refs.lines().count(), 4, "{refs}");
}

#[test]
fn the_integration_branch_is_pushed_and_clean_knows_it() {
    let space = space();
    let bare = remote(&space);
    space.board(&format!("land = \"push\"\ngate = \"test -e text\"\n{TASKS}"));
    let before = space.git(&["rev-parse", "main"]);
    let ran = space.run(&[]).code(0);
    let run = space.last_run();
    ran.says(&format!("pushed to origin: `todone/{run}` at"));
    assert_eq!(space.git(&["rev-parse", "main"]), before);
    let there = space.git_in(&bare, &["rev-parse", &format!("todone/{run}")]);
    assert_eq!(there, space.git(&["rev-parse", &format!("todone/{run}")]));
    assert_eq!(space.report()["land"]["remote"], "origin");
    space.todone(&["land", &run]).code(0).says("published already");
    space.todone(&["status"]).code(0).says("pushed to origin");
    space.todone(&["clean"]).code(0).says("all of it was pushed to origin");
}

#[test]
fn a_remote_that_refuses_is_heard_and_nothing_is_lost() {
    let space = space();
    let bare = remote(&space);
    let hook = bare.join("hooks/pre-receive");
    program(&hook, "#!/bin/sh\necho 'no pushes on Fridays' >&2\nexit 1\n");
    space.board(&format!("land = \"push\"\n{TASKS}"));
    let ran = space.run(&[]).code(5);
    let run = space.last_run();
    ran.says("not pushed: origin did not take `todone/")
        .says("(pre-receive hook declined): no pushes on Fridays")
        .says(&format!("todone land {run}"))
        .says_not("hint:");
    for task in ["api", "web", "docs"] {
        assert_eq!(space.status_of(task), "merged");
    }
    let report = space.report();
    assert_eq!(report["land"]["reason"]["because"], "not-pushed", "{report:#}");
    space.todone(&["clean"]).code(0).says("landed nowhere");
    space.todone(&["land", &run]).code(5).says("no pushes on Fridays");
    std::fs::remove_file(&hook).expect("removed");
    space.todone(&["land", &run]).code(0).says("pushed to origin");
    let there = space.git_in(&bare, &["rev-parse", &format!("todone/{run}")]);
    assert_eq!(there, report["head"]);
    // A remote that is gone is no worse.
    std::fs::rename(&bare, space.path("elsewhere")).expect("moved");
    space.run(&["--new"]).code(5).says("origin can't be pushed to").says("todone land");
}

#[test]
fn branches_of_tasks_are_pushed_and_pushed_anew_after_a_retry() {
    let space = space();
    let bare = remote(&space);
    let one = "#!/bin/sh\ncase $1 in */web) echo 'web is frozen' >&2; exit 1;; esac\n";
    program(&bare.join("hooks/update"), one);
    let board = format!("land = \"push\"\npush_branches = \"tasks\"\n{TASKS}");
    space.board(&board);
    let ran = space.run(&[]).code(5);
    let run = space.last_run();
    ran.says(&format!(
        "origin did not take `todone/{run}-tasks/web` (hook declined): web is frozen"
    ));
    let there =
        || space.git_in(&bare, &["for-each-ref", "--format=%(refname:short)", "refs/heads/todone"]);
    assert_eq!(there().lines().count(), 2, "{}", there());
    std::fs::remove_file(bare.join("hooks/update")).expect("removed");
    space.todone(&["land", &run]).code(0);
    assert_eq!(there().lines().count(), 3, "{}", there());
    let at =
        |task: &str| space.git_in(&bare, &["rev-parse", &format!("todone/{run}-tasks/{task}")]);
    let (api, web) = (at("api"), at("web"));
    // What this run pushed it may replace.
    std::fs::write(space.path("board.toml"), board.replace("echo web", "echo again"))
        .expect("written");
    space.todone(&["resume", "--update"]).code(0);
    assert_eq!(at("api"), api);
    assert_ne!(at("web"), web);
}

#[test]
fn gh_opens_a_pull_request_for_each_branch_where_that_is_asked_for() {
    let space = space();
    remote(&space);
    let told = space.path("told");
    let gh = format!(
        "#!/bin/sh\nprintf '%s|' \"$@\" >> '{0}'; echo >> '{0}'\n\
         case \"$2 $4\" in view*) exit 1;; esac\n\
         case \"$4\" in */web) test -e '{0}.ok' || {{ echo 'not signed in' >&2; exit 4; }};; esac\n\
         echo \"https://forge.test/pull/$4\"\n",
        told.display()
    );
    program(&space.path("bin/gh"), &gh);
    let path =
        format!("{}:{}", space.path("bin").display(), std::env::var("PATH").expect("a path"));
    space.board(&format!(
        "land = \"push\"\npush_branches = \"tasks\"\npull_requests = true\n{TASKS}"
    ));
    let board = space.path("board.toml");
    let env = [("PATH", path.as_str())];
    let ran = space.todone_env(&["run", board.to_str().expect("a name")], &env, None).code(5);
    ran.says("is pushed to origin, but `gh` opened no pull request: not signed in");
    std::fs::write(space.path("told.ok"), "").expect("written");
    let run = space.last_run();
    let ran = space.todone_env(&["land", &run], &env, None).code(0);
    ran.says(&format!("https://forge.test/pull/todone/{run}-tasks/api"));
    let told = std::fs::read_to_string(told).expect("it was called");
    let wanted = format!(
        "pr|create|--head|todone/{run}-tasks/api|--title|api: Add the API|--body|With all that it needs."
    );
    assert!(told.contains(&wanted) && told.contains("|--base|main|"), "{told}");
    let urls = space.report()["land"]["branches"].clone();
    assert_eq!(urls[1]["url"], format!("https://forge.test/pull/todone/{run}-tasks/web"));
}

#[test]
fn what_pushing_needs_is_asked_for_before_anything_runs() {
    let space = space();
    space.board(&format!("land = \"push\"\nremote = \"upstream\"\n{TASKS}"));
    space.run(&[]).code(2).says("no such remote").says("git remote add upstream ADDRESS");
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    space.todone(&["check", board]).code(0).says("`upstream`").says("`run` would refuse it");
    remote(&space);
    // Whatever is installed here, `gh` is not.
    let bin = space.path("bin");
    std::fs::create_dir_all(&bin).expect("made");
    for tool in ["git", "sh"] {
        let found = std::env::split_paths(&std::env::var_os("PATH").expect("a path"))
            .map(|dir| dir.join(tool))
            .find(|path| path.is_file());
        std::os::unix::fs::symlink(found.expect("it is there"), bin.join(tool)).expect("linked");
    }
    space.board(&format!("land = \"push\"\npull_requests = true\n{TASKS}"));
    let path = [("PATH", bin.to_str().expect("a name"))];
    space.todone_env(&["run", board], &path, None).code(2).says("`gh` is not installed");
}
