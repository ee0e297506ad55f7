//! Which JSON Schemas the services behind the agents take for a structured answer.
//!
//! Knows no agent and no answer: one that is not taken is asked for in words, and held against the
//! schema all the same.

use serde_json::Value;

/// Whether an answer to it is an object, which every service wants.
pub(super) fn of_object(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("object")
}

/// Whether it is one of objects that have all their properties and no others, all the way down. Some
/// services take nothing else, and refuse the whole request for it.
pub(super) fn is_strict(schema: &Value) -> bool {
    of_object(schema) && parts(schema)
}

fn parts(part: &Value) -> bool {
    match part {
        Value::Object(map) => {
            let closed = match map.get("properties") {
                Some(Value::Object(properties)) => {
                    let required = map.get("required").and_then(Value::as_array);
                    let needed = |name: &String| {
                        required.is_some_and(|all| all.iter().any(|one| one == name.as_str()))
                    };
                    map.get("additionalProperties") == Some(&Value::Bool(false))
                        && properties.keys().all(needed)
                        && properties.values().all(parts)
                }
                Some(_) => false,
                None => map.get("type").and_then(Value::as_str) != Some("object"),
            };
            closed && map.iter().all(|(name, inner)| name == "properties" || parts(inner))
        }
        Value::Array(list) => list.iter().all(parts),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_closed_objects_are_strict() {
        let list = json!({"type": "array", "items": {"type": "string"}});
        assert!(!of_object(&list) && !is_strict(&list));
        let open = json!({"type": "object", "properties": {"a": list}, "required": ["a"]});
        assert!(of_object(&open) && !is_strict(&open));
        let closed = |required: Value, inner: &Value| {
            json!({"type": "object", "properties": {"type": inner}, "required": required,
                "additionalProperties": false})
        };
        assert!(is_strict(&closed(json!(["type"]), &list)));
        assert!(!is_strict(&closed(json!([]), &list)));
        let inner = json!({"type": "array", "items": open});
        assert!(!is_strict(&closed(json!(["type"]), &inner)));
        assert!(!is_strict(&closed(json!(["type"]), &json!({"type": "object"}))));
    }
}
