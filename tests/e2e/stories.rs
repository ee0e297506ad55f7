//! A day with the program, as three users live it: the README's guide, step by step. (The third, a
//! nightly batch in CI, is in `everyday`.)

use std::path::PathBuf;

use crate::space::Space;
use crate::stopping::{signal, wait_for};

/// 400 sources, of which one can't be converted by the codemod, and some need a second pass.
fn four_hundred() -> Space {
    let names: Vec<String> = (0..400).map(|n| format!("src/m{:02}/f{n:03}.txt", n / 20)).collect();
    let text = |n: usize| match n {
        // What the codemod can't read.
        137 => "use old_api(\nbroken",
        _ if n % 40 == 7 => "use old_api;\nalias = old_api_alias;\n",
        _ => "use old_api;\n",
    };
    let files: Vec<(&str, &str)> =
        names.iter().enumerate().map(|(n, name)| (name.as_str(), text(n))).collect();
    Space::new(&files)
}

/// A batch refactor: a codemod over 400 files, a second pass over what it left, one share mended by
/// hand, landed as one commit.
#[test]
fn an_engineer_converts_four_hundred_files() {
    let space = four_hundred();
    space.board(
        r#"
name = "new-api"
land_as = "squash"

[[task]]
id = "convert"
foreach = { glob = "src/**/*.txt", batch = 10 }
run = 'sed -i "s/use old_api;/use new_api;/" "$@"'
verify = "! xargs -0 grep -l 'old_api(' < \"$TODONE_ITEMS_FILE\""
scope = ["src/**"]

[[task]]
id = "leftovers"
needs = ["convert"]
foreach = { command = "git grep -l old_api_alias", batch = 3 }
run = 'sed -i "s/old_api_alias/new_api_alias/" "$@"'
"#,
    );
    let ran = space.run(&[]).code(1).says("convert.13").says("verify failed");
    assert!(ran.out.lines().count() < 200, "{}", ran.out.lines().count());
    assert_eq!(space.status_of("leftovers"), "skipped");
    assert_eq!(space.git(&["log", "--format=%s", "main"]), "start", "nothing has landed");

    let ran = space.todone(&["fix", "convert.13"]).code(0);
    let dir = PathBuf::from(ran.out.trim_end_matches('\n'));
    std::fs::write(dir.join("src/m06/f137.txt"), "use new_api;\n").expect("written");
    space.todone(&["fix", "convert.13", "--done"]).code(0);
    space.todone_landing(&["resume"], "main").code(0).says("landed");

    let left = space.git(&["grep", "-c", "new_api", "main", "--", "src"]);
    assert_eq!(left.lines().count(), 400);
    assert_eq!(space.read("src/m00/f007.txt"), "use new_api;\nalias = new_api_alias;\n");
    let log = space.git(&["log", "--format=%s", "main"]);
    assert_eq!(log, "new-api: 44 tasks\nstart", "40 shares and 4 more, as one commit");
    assert_eq!(space.task("convert.13")["attempts"], 2);
    assert_eq!(space.task("convert.12")["attempts"], 1);
}

/// Twelve features that build on each other. The API is reviewed, refused once and done again; half way
/// the run is stopped, and goes on from what was left.
#[test]
fn a_team_builds_twelve_features() {
    let space = Space::new(&[("app", "start\n")]);
    let mut board = String::from("name = \"features\"\ngate = \"test -f app\"\n");
    let mut add = |id: &str, needs: &[&str], more: &str, run: &str| {
        board.extend([
            format!("[[task]]\nid = {id:?}\nneeds = {needs:?}\n{more}"),
            format!("run = '''\n{run}\n'''\n"),
        ]);
    };
    add("schema", &[], "", "echo schema > schema");
    add("model", &["schema"], "", "cat schema > model; echo model >> model");
    let api = "cp model api; echo \"attempt $TODONE_ATTEMPT\" >> api";
    add("api", &["model"], "review = true\n", api);
    for n in 1..=4 {
        add(&format!("page-{n}"), &["model"], "", &format!("cp model page-{n}"));
    }
    for n in 1..=3 {
        let id = format!("client-{n}");
        // Only what was left of the first attempt lets the second one end.
        let slow = format!(
            "if test -e {id}; then cat api >> {id}; exit; fi\n\
             echo half > {id}; touch {}/half; while :; do sleep 0.05; done",
            space.path("home").display(),
        );
        let quick = format!("cat api > {id}");
        add(&id, &["api"], "", if n == 2 { &slow } else { &quick });
    }
    add("docs", &["client-1", "client-2", "client-3"], "", "cat client-* > docs");
    add("release", &["docs", "page-1"], "", "echo done > release");
    assert_eq!(board.matches("[[task]]").count(), 12);
    space.board(&board);

    space.run(&["-j", "2"]).code(5).says("todone approve api");
    space.todone(&["reject", "api", "-m", "say which attempt it is"]).code(0);
    space.todone(&["retry", "api"]).code(5).says("todone approve api");
    space.todone(&["diff", "api"]).code(0).says("+attempt 2");
    space.todone(&["approve", "api"]).code(0);

    let mut child = space.spawn(&["resume"]);
    wait_for(&space.path("home/half"));
    signal(&child, "INT");
    assert_eq!(child.wait().expect("ended").code(), Some(130));
    space.todone_landing(&["resume", "--keep"], "main").code(0).says("landed");

    assert_eq!(space.read("client-2"), "half\nschema\nmodel\nattempt 2\n");
    assert_eq!(space.read("release"), "done\n");
    assert_eq!(space.task("api")["attempts"], 2);
    assert_eq!(space.task("client-2")["attempts"], 2);
    assert_eq!(space.task("page-1")["attempts"], 1);
    assert_eq!(space.report()["counts"]["merged"], 12);
}
