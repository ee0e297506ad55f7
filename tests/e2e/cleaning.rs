//! `todone clean`: what goes, what stays, and why.

use std::fs;
use std::path::PathBuf;

use crate::space::Space;

/// One task merged, one failed with a patch that is nowhere else.
fn mixed() -> Space {
    let space = Space::new(&[("x", "")]);
    space.board(
        "[[task]]\nid = \"good\"\nrun = \"echo 1 > good\"\n\
         [[task]]\nid = \"bad\"\nrun = \"echo 1 > bad; exit 1\"\n",
    );
    space.run(&["-j", "1"]).code(1);
    space
}

fn whole() -> Space {
    let space = Space::new(&[("x", "")]);
    space.board("[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n");
    space.run(&[]).code(0);
    space
}

fn pool(space: &Space) -> PathBuf {
    let dirs = fs::read_dir(space.path("cache/todone")).expect("the cache");
    let mut dirs = dirs.map(|entry| entry.expect("an entry").path());
    dirs.find(|path| path.join("task-0").exists()).expect("a pool")
}

/// The names of everything in the git directory that could be todone's.
fn traces(space: &Space) -> String {
    let git = space.repo().join(".git");
    let mut command = space.command("find");
    command.arg(&git).args(["-iname", "*todone*", "-o", "-name", "worktrees"]);
    let found = command.output().expect("find runs").stdout;
    let refs = space.git(&["for-each-ref", "refs/todone", "refs/heads/todone"]);
    let config = fs::read_to_string(git.join("config")).expect("the config");
    assert!(!config.contains("todone"));
    format!("{}{refs}", String::from_utf8_lossy(&found))
}

#[test]
fn a_rehearsal_explains_each_item_and_changes_nothing() {
    let space = whole();
    let run = space.last_run();
    let told = space.todone(&["clean", "--dry-run", "--slots"]).code(0);
    let told = told.says(&format!("{run}: would be removed, all of it landed on main; logs "));
    told.says("task-0: would be removed, idle, ").says("KiB");
    assert!(pool(&space).join("task-0").exists());
    assert_ne!(space.git(&["for-each-ref", "refs/todone"]), "");
    let space = mixed();
    space
        .todone(&["clean", "-n"])
        .code(0)
        .says("kept, 1 merged task landed nowhere")
        .says("--force");
}

#[test]
fn what_is_young_stays_on_request() {
    let space = whole();
    space.todone(&["clean", "--slots", "--older-than", "7d"]).code(0).says("kept, it is younger");
    assert_ne!(space.git(&["for-each-ref", "refs/todone"]), "");
    assert!(pool(&space).join("task-0").exists());
    space.todone(&["clean", "--slots", "--older-than", "0s"]).code(0).says("removed");
    assert_eq!(space.git(&["for-each-ref", "refs/todone"]), "");
    space.todone(&["clean", "--older-than", "soon"]).code(2);
}

#[test]
fn slots_of_repositories_that_are_gone_go() {
    let mut space = whole();
    let slot = pool(&space).join("task-0");
    // What carries no sign of ours stays, whatever it is called.
    let foreign = space.path("cache/todone/other-0123456789ab/task-0");
    fs::create_dir_all(&foreign).expect("made");
    fs::write(foreign.join("mine"), "1").expect("written");
    space.todone(&["clean", "--orphans"]).code(0);
    assert!(slot.exists(), "its repository is there");
    space.move_repo("elsewhere".as_ref());
    // What can't be looked at is not known to be gone.
    std::os::unix::fs::symlink("repo", space.path("repo")).expect("linked to itself");
    space.todone(&["clean", "--orphans"]).code(0);
    assert!(slot.exists(), "its repository may be there");
    fs::remove_file(space.path("repo")).expect("removed");
    space.todone(&["clean", "--orphans", "--dry-run"]).code(0).says("task-0: would be removed");
    assert!(slot.exists());
    space.todone(&["clean", "--orphans"]).code(0).says("is gone");
    assert!(!slot.exists());
    assert!(foreign.join("mine").exists());
}

#[test]
fn an_orphan_that_may_hold_work_needs_force() {
    let mut space = whole();
    let slot = pool(&space).join("task-0");
    let settled = fs::read_to_string(slot.join("settled")).expect("its last use");
    assert!(settled.contains("\"ready\":true"), "{settled}");
    fs::rename(slot.join("settled"), slot.join("mark")).expect("as a kill leaves it");
    space.move_repo("elsewhere".as_ref());
    space.todone(&["clean", "--orphans"]).code(0).says("kept").says("--force");
    assert!(slot.exists());
    space.todone(&["clean", "--orphans", "--force"]).code(0).says("removed");
    assert!(!slot.exists());
}

#[test]
fn all_leaves_nothing_and_loses_nothing_unasked() {
    let space = mixed();
    // Slots of another day, when the cache was elsewhere.
    let other = space.path("home/other");
    let env = [("XDG_CACHE_HOME", other.to_str().expect("a name"))];
    let board = space.path("board.toml");
    let args = ["run", "--new", board.to_str().expect("a name")];
    space.todone_env(&args, &env, Some("main")).code(1);
    let before = traces(&space);
    let told = space.todone(&["clean", "--all"]).code(2).says("nothing was removed");
    told.says("landed nowhere").says("--all --force");
    assert_eq!(traces(&space), before);
    space.todone(&["clean", "--all", "--force", "--dry-run"]).code(0).says("would be removed");
    assert_eq!(traces(&space), before);
    space.todone(&["clean", "--all", "--force"]).code(0).says("removed");
    assert_eq!(traces(&space), "");
    let left: Vec<_> = fs::read_dir(space.path("cache/todone"))
        .expect("the cache")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .filter(|name| name != "locks" && name != "tmp")
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(space.git(&["worktree", "list", "--porcelain"]).matches("worktree ").count(), 1);

    // Landed work is the user's: nothing has to be given up.
    let space = whole();
    space.todone(&["clean", "--all"]).code(0);
    assert_eq!(traces(&space), "");
    assert_eq!(space.read("a"), "1\n");
}

/// As after a run in a container, or on a disk that is not mounted: git lists worktrees that are nowhere here.
#[test]
fn all_takes_worktrees_that_are_not_seen_from_here_on_request() {
    let space = whole();
    let other = space.path("far/away/cache");
    let env = [("XDG_CACHE_HOME", other.to_str().expect("a name"))];
    let board = space.path("board.toml");
    let args = ["run", "--new", board.to_str().expect("a name")];
    space.todone_env(&args, &env, Some("main")).code(0);
    space.todone(&["doctor"]).code(0).says_not("can't be seen");
    fs::rename(space.path("far"), space.path("unmounted")).expect("moved");
    space.todone(&["doctor"]).code(0).says("that can't be seen from here");
    let told = space.todone(&["clean", "--all"]).code(2).says("that can't be seen from here");
    told.says("nothing was removed");
    assert_eq!(space.git(&["worktree", "list", "--porcelain"]).matches("worktree ").count(), 3);
    space.todone(&["clean", "--all", "--force"]).code(0);
    assert_eq!(traces(&space), "");
    assert_eq!(space.git(&["worktree", "list", "--porcelain"]).matches("worktree ").count(), 1);
}

/// Whoever gives a run up is told all that goes with it, and whose it is.
#[test]
fn all_that_would_be_lost_is_named() {
    let space = Space::new(&[("x", "1\n")]);
    space.write("x", "precious\n");
    space.git(&["stash", "push", "-q"]);
    space.board(
        "[[task]]\nid = \"good\"\nrun = \"git stash drop -q; echo 1 > good\"\n\
         [[task]]\nid = \"bad\"\nrun = \"echo 1 > bad; exit 1\"\n\
         [[task]]\nid = \"waits\"\nreview = true\nrun = \"echo 1 > waits\"\n",
    );
    let board = space.path("board.toml");
    let ran = space.todone_quiet(&["run", "-j", "1", board.to_str().expect("a name")]);
    assert_ne!(ran.code, 0, "{}", ran.err);
    let run = space.last_run();
    let lost = "1 task waits for review: waits; 1 merged task landed nowhere (todone land): good; \
                1 patch that was not merged is nowhere else: bad; \
                it keeps 1 thing of your repository as before a task changed it (todone restore)";
    space.todone(&["clean"]).code(0).says(&format!("{run}: kept, {lost}"));
    space.todone(&["clean", "--all"]).code(2).says(&format!("{run}: kept, {lost}"));
    let told = space.todone(&["clean", "-n", "--force", &run]).code(0);
    told.says(&format!("{run}: would be removed, given up though {lost}"));
}

#[test]
fn all_spares_a_branch_that_is_checked_out() {
    let space = whole();
    let branch = space.report()["branch"].as_str().expect("a branch").to_owned();
    space.git(&["switch", "-q", branch.trim_start_matches("refs/heads/")]);
    space.todone(&["clean", "--all", "--force"]).code(2).says("checked out").says("in use");
    space.git(&["rev-parse", &branch]);
}

#[test]
fn a_worktree_that_somebody_mends_in_stays() {
    let space = mixed();
    let at = space.todone(&["fix", "bad"]).code(0).out;
    let at = PathBuf::from(at.trim_end());
    fs::write(at.join("more"), "1").expect("written");
    space.todone(&["clean", "--slots"]).code(0).says("somebody mends");
    space.todone(&["clean", "--all"]).code(2).says("somebody mends");
    space.todone(&["doctor"]).code(0).says("somebody mends");
    assert!(at.join("more").exists());
    space.todone(&["clean", "--all", "--force"]).code(0);
    assert_eq!(traces(&space), "");
    assert!(!at.exists());
}

#[test]
fn a_run_that_is_not_there_is_told() {
    let space = Space::new(&[("x", "")]);
    space.todone(&["clean"]).code(0).says("nothing to clean");
    space.todone(&["clean", "nothing"]).code(2).says("there is no run nothing");
    space.todone(&["clean", "--dry-run", "nothing"]).code(2).says("there is no run nothing");
    mixed().todone(&["clean", "nothing"]).code(2).says("nothing");
}

#[test]
fn force_says_what_it_gives_up() {
    let space = mixed();
    space.todone(&["clean", "--force"]).code(2).says("say of what");
    space.todone(&["clean", "--slots", "--force"]).code(0).says("landed nowhere");
    assert_ne!(space.git(&["for-each-ref", "refs/todone"]), "", "of slots, not of runs");
}

#[test]
fn a_run_of_which_a_worktree_was_set_aside_is_kept_and_says_what_stands_there() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "[[task]]\nid = \"a\"\nrun = \"head -c 60000000 /dev/zero > huge; git init -q sub; echo 1 > sub/x\"\n",
    );
    let why = "can't be captured whole: huge (larger than 50 MiB), sub (a repository of its own)";
    space.run(&[]).code(1).says(&format!("a: {why}"));
    let (run, aside) = (space.last_run(), pool(&space).join("retired-task-0-0/tree"));
    let stands = format!("`a` {why}; it stands in {} until", aside.display());
    let told = space.todone(&["clean"]).code(0);
    told.says(&format!("{run}: kept, {stands}")).says(&format!("clean --force {run}"));
    let told = space.todone(&["clean", "--all"]).code(2);
    told.says(&stands).says(&format!("it holds what of `a` of {run} could not be captured"));
    let told = space.todone(&["clean", "--force", &run]).code(0);
    told.says(&format!("{run}: removed, given up though {stands}"));
    assert!(aside.join("huge").exists() && aside.join("sub/x").exists());
    let told = space.todone(&["clean", "--slots"]).code(0);
    told.says(&format!("kept, it holds what of `a` of {run} could not be captured"));
    space.todone(&["clean", "--slots", "--force"]).code(0);
    assert!(!aside.exists());
}

/// What stands in a task's own history and is told with its patch goes; a branch or a stash of other content is work.
#[test]
fn histories_that_tasks_made_beside_their_patches_are_nowhere_else() {
    let space = Space::new(&[("x", "1\n")]);
    let set = "git config user.name T; git config user.email t@t";
    space.board(&format!(
        "isolation = \"clone\"\n\
         [[task]]\nid = \"plain\"\nrun = \"{set}; echo 1 > a; git add a; git commit -qm half; git tag half; \
         echo 2 > a; git commit -qam own; git branch same; echo 3 > a\"\n"
    ));
    space.run(&[]).code(0);
    assert_ne!(space.git(&["for-each-ref", "refs/todone/*/own/plain/**"]), "");
    space.todone(&["clean", "--slots"]).code(0).says_not("nowhere else");
    assert_eq!(space.git(&["for-each-ref", "refs/todone"]), "");

    space.board(&format!(
        "isolation = \"clone\"\n\
         [[task]]\nid = \"more\"\nrun = \"{set}; git checkout -q -b side; echo 1 > side; git add side; \
         git commit -qm side; git checkout -q --detach HEAD~; echo 5 > x; git stash push -q; echo 1 > b\"\n\
         [[task]]\nid = \"undone\"\nrun = \"{set}; echo 1 > c; git add c; git commit -qm c; git rm -q c\"\n"
    ));
    space.run(&["--new"]).code(0);
    let run = space.last_run();
    let lost = "3 histories that tasks made beside their patches";
    let told = space.todone(&["clean"]).code(0).says(lost);
    told.says("are nowhere else: more, undone").says(&format!("clean --force {run}"));
    space.todone(&["clean", "--all"]).code(2).says(lost);
    assert_eq!(space.git(&["show", &format!("refs/todone/{run}/own/more/1/heads/side:side")]), "1");
    space.todone(&["clean", "--force", &run]).code(0).says(lost);
    assert_eq!(space.git(&["for-each-ref", "refs/todone"]), "");
}
