//! The program from end to end: real binary, real repositories.

mod acp;
mod again;
mod agent_files;
mod agents;
mod at_once;
mod befalls;
mod beside;
mod boards;
mod budgets;
mod by_task;
mod caching;
mod cleaning;
mod coding;
mod conflicts;
mod culprits;
mod doctor;
mod drivers;
mod dropping;
mod everyday;
mod exit_codes;
mod fixing;
mod gates;
mod handoffs;
mod isolation;
mod keeping;
mod landing;
mod living;
mod looking;
mod mediating;
mod merging;
mod money;
mod order;
mod pacing;
mod pools;
mod prompts;
mod published;
mod publishing;
mod recovery;
mod regenerate;
mod repositories;
mod resolving;
mod resuming;
mod reviewing;
mod roles;
mod rules_and_resolver;
mod sandbox;
#[path = "../schema/mod.rs"]
mod schema;
mod secrets;
mod servers;
mod sessions;
mod space;
mod starts;
mod stopping;
mod store;
mod stories;
mod surroundings;
mod telemetry;
mod trespass;
#[path = "../xml/mod.rs"]
mod xml;

/// A file that is not named above would silently not be tested.
#[test]
fn no_file_is_forgotten() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e");
    let main = std::fs::read_to_string(here.join("main.rs")).expect("this file");
    for entry in std::fs::read_dir(here).expect("this folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        let module = name.trim_end_matches(".rs");
        assert!(module == "main" || main.contains(&format!("mod {module};")), "{name}");
    }
}
