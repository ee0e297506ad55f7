//! A run's changes task by task, and logs of tasks and gates, for people and programs.

use crate::space::Space;

fn ran() -> Space {
    ran_with("no poison")
}

fn ran_with(gate: &str) -> Space {
    let space = Space::new(&[("text", "one\ntwo\n"), ("gone", "x\n")]);
    let board = r#"
[[gate]]
name = "GATE"
run = "echo judged; test ! -e poison"
[[task]]
id = "second"
verify = "echo verified"
run = "sed -i s/two/TWO/ text; rm gone; printf 'a\\377\\n'"
[[task]]
id = "first"
run = "printf 'a\\000b' > binary; printf 'a\\nb\\n' > made; chmod +x made; echo made"
[[task]]
id = "bad"
run = "echo lost > lost; exit 1"
[[task]]
id = "after"
needs = ["first"]
run = "echo c >> made"
"#;
    space.board(&board.replace("GATE", gate));
    space.run(&[]).code(1);
    space
}

#[test]
fn the_changes_of_a_run_are_told_task_by_task_in_merge_order() {
    let space = ran();
    let said = space.todone(&["diff", "--by-task"]).code(0).out;
    let heads: Vec<&str> = said.lines().filter(|line| line.starts_with("==> ")).collect();
    let of = |id: &str| {
        let commit = space.task(id)["commit"].as_str().expect("a commit").to_owned();
        format!("==> {id}, {} <==", &commit[..10])
    };
    assert_eq!(heads, [of("second"), of("first"), of("after")]);
    let parts: Vec<&str> = said.split("==> ").collect();
    assert!(parts[1].contains("+TWO") && parts[1].contains("deleted file"), "{said}");
    assert!(parts[2].contains("+a\n+b\n") && !parts[2].contains("TWO"), "{said}");
    assert!(parts[3].contains("+c") && !parts[3].contains("+b"), "{said}");
    assert!(!said.contains("lost"), "{said}");
    space.todone(&["diff", "--by-task", "--stat"]).code(0).says("1 file changed");
    space.todone(&["diff", "--by-task", "first"]).code(2);
}

#[test]
fn a_program_gets_the_same_as_json() {
    let space = ran();
    let pages = space.todone(&["diff", "--json"]).code(0).json();
    let ids: Vec<&str> = pages
        .as_array()
        .expect("tasks")
        .iter()
        .map(|page| page["id"].as_str().expect("id"))
        .collect();
    assert_eq!(ids, ["second", "first", "after"]);
    assert_eq!(pages[2]["commit"], space.task("after")["commit"]);
    assert_eq!(pages[2]["base"], space.task("first")["commit"]);
    let files = pages[1]["files"].as_array().expect("files");
    assert_eq!(files[0]["path"], "binary");
    assert!(files[0]["added"].is_null(), "{files:#?}");
    assert_eq!(files[1]["path"], "made");
    assert_eq!(files[1]["kind"], "added");
    assert!(files[1]["old"].is_null());
    assert_eq!(files[1]["new"]["mode"], "executable");
    let blob = files[1]["new"]["oid"].as_str().expect("a blob");
    assert_eq!(space.git(&["cat-file", "-p", blob]), "a\nb");
    assert_eq!((&files[1]["added"], &files[1]["deleted"]), (&2.into(), &0.into()));
    let files = pages[0]["files"].as_array().expect("files");
    assert_eq!((&files[0]["path"], &files[0]["kind"]), (&"gone".into(), &"deleted".into()));
    assert_eq!((&files[1]["added"], &files[1]["deleted"]), (&1.into(), &1.into()));
    // What was not merged is told of the task alone.
    let pages = space.todone(&["diff", "bad", "--json"]).code(0).json();
    assert_eq!(pages[0]["files"][0]["path"], "lost");
    assert_eq!(pages[0]["commit"], space.task("bad")["patch"]);
}

#[test]
fn logs_are_told_as_json_whatever_bytes_they_hold() {
    let space = ran();
    let pages = space.todone(&["logs", "first", "second", "--json"]).code(0).json();
    let page = |place: usize| &pages[place];
    assert_eq!((&page(0)["task"], &page(0)["attempt"]), (&"second".into(), &1.into()));
    assert_eq!(page(0)["of"], "task");
    assert_eq!(page(0)["content"]["bytes"], "Yf8K");
    assert_eq!((&page(1)["of"], &page(1)["content"]), (&"verify".into(), &"verified\n".into()));
    assert_eq!((&page(2)["task"], &page(2)["content"]), (&"first".into(), &"made\n".into()));
    let path = page(2)["path"].as_str().expect("a path");
    assert_eq!(std::fs::read_to_string(path).expect("a log"), "made\n");
}

#[test]
fn what_a_gate_printed_is_told_each_time_that_it_ran() {
    let space = ran();
    let said = space.todone(&["logs", "--gate", "no poison"]).code(0).out;
    assert!(said.starts_with("==> gate no poison, base <==\njudged\n"), "{said}");
    assert!(said.contains("==> gate no poison, wave-2 <==\njudged\n"), "{said}");
    space.todone(&["logs", "no poison"]).code(0).says("judged");
    let pages = space.todone(&["logs", "--gate", "no poison", "--json"]).code(0).json();
    assert_eq!((&pages[2]["gate"], &pages[2]["at"]), (&"no poison".into(), &"wave-2".into()));
    assert_eq!(pages[2]["content"], "judged\n");
    space.todone(&["logs", "--gate", "nope"]).code(2).says("no gate `nope`").says("no poison");
    // Where a task is called so, the task is meant.
    let space = ran_with("second");
    space.todone(&["logs", "second"]).code(0).says("verified").says_not("judged");
    space.todone(&["logs", "--gate", "second"]).code(0).says("==> gate second, wave-1 <==");
}
