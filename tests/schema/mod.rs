//! The schemas of reports: todone's own, held more strictly than it is published (it knows every key that
//! there is), and those of `fixtures/schemas`, as others have published them.

use std::sync::OnceLock;

use serde_json::Value;
use uppsala::XsdValidator;

const SARIF: &str = include_str!("../../fixtures/schemas/sarif-schema-2.1.0.json");
const JUNIT: &str = include_str!("../../fixtures/schemas/junit-10.xsd");

/// Fails unless this is a report as `todone schema report` describes it, without a key that it does not name.
#[track_caller]
pub fn holds(report: &Value) {
    static KNOWN: OnceLock<jsonschema::Validator> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        let mut schema: Value =
            serde_json::from_str(todone::report::SCHEMA).expect("the schema is JSON");
        jsonschema::draft7::meta::validate(&schema).expect("the schema is one");
        close(&mut schema);
        jsonschema::validator_for(&schema).expect("a schema")
    });
    let faults = faults(known, report);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn faults(known: &jsonschema::Validator, page: &Value) -> Vec<String> {
    let told = known.iter_errors(page).map(|fault| format!("{}: {fault}", fault.instance_path()));
    told.take(5).collect()
}

/// What OASIS's schema says against a SARIF log, formats of addresses and times included.
pub fn against_sarif(page: &str) -> Vec<String> {
    static KNOWN: OnceLock<jsonschema::Validator> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        let schema = serde_json::from_str(SARIF).expect("the schema is JSON");
        // It calls itself draft 4, which does not know the format of relative addresses that it asks for.
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft7);
        options.should_validate_formats(true).build(&schema).expect("a schema")
    });
    match serde_json::from_str(page) {
        Ok(page) => faults(known, &page),
        Err(fault) => vec![fault.to_string()],
    }
}

/// What the schema of Jenkins says against a JUnit file.
pub fn against_junit(page: &str) -> Vec<String> {
    static KNOWN: OnceLock<XsdValidator> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        let schema = uppsala::parse(JUNIT).expect("the schema is XML");
        XsdValidator::from_schema(&schema).expect("a schema")
    });
    match uppsala::parse(page) {
        Ok(page) => known.validate(&page).iter().take(5).map(ToString::to_string).collect(),
        Err(fault) => vec![fault.to_string()],
    }
}

/// Fails unless both are as published.
#[track_caller]
pub fn published(sarif: &str, junit: &str) {
    let (log, file) = (against_sarif(sarif), against_junit(junit));
    assert!(log.is_empty(), "SARIF: {}\n{sarif}", log.join("\n"));
    assert!(file.is_empty(), "JUnit: {}\n{junit}", file.join("\n"));
}

/// Lets objects have no keys but those that are named.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            if keys.get("properties").is_some_and(Value::is_object) && keys.contains_key("type") {
                keys.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            keys.values_mut().for_each(close);
        }
        Value::Array(all) => all.iter_mut().for_each(close),
        _ => {}
    }
}
