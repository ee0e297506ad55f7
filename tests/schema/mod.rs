//! The schema of reports, held more strictly than it is published: it knows every key that there is.

use serde_json::Value;
use std::sync::OnceLock;

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
    let faults: Vec<String> = known
        .iter_errors(report)
        .take(5)
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
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
