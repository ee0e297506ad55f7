//! The JSON Schema that the structured output of a task must meet (`expect`).
//!
//! Knows no file and no network: a schema stands by itself.

use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::DeValue;

use super::fault::quote;
use super::settings::table;
use super::tasks::Decoder;
use super::value::{View, integer, number, scalar};

/// So many faults of an answer are told, each with at most so many bytes.
const MOST_FAULTS: usize = 3;
const MOST_FAULT: usize = 300;

/// Whether the answer, which is JSON, meets the schema; the error says in words why not.
pub fn meets(schema: &Value, answer: &str) -> Result<(), String> {
    let answer: Value = serde_json::from_str(answer).map_err(|fault| fault.to_string())?;
    let known = jsonschema::validator_for(schema).map_err(|fault| fault.to_string())?;
    let mut faults = known.iter_errors(&answer);
    let told: Vec<String> = faults
        .by_ref()
        .take(MOST_FAULTS)
        .map(|fault| short(format!("at {}: {fault}", place(fault.instance_path().as_str()))))
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    let more = faults.count();
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Err(format!("{}{more}", told.join("; ")))
}

/// Where in a document something stands.
fn place(pointer: &str) -> &str {
    if pointer.is_empty() { "the top" } else { pointer }
}

fn short(mut text: String) -> String {
    if text.len() > MOST_FAULT {
        let mut end = MOST_FAULT;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

impl Decoder<'_, '_> {
    /// What the structured output of a task must be.
    pub(super) fn expect(&mut self, view: &View<'_, '_>) -> Option<Value> {
        let inner = table(view, "expect")?;
        let found = inner.value("json_schema")?;
        let span = found.span();
        let schema = match found.get_ref() {
            DeValue::Table(_) => match json(found) {
                Some(schema) => schema,
                None => {
                    let message = "a number in this schema is none that JSON has".to_owned();
                    let hint = "JSON has neither `nan` nor `inf`".to_owned();
                    self.c.sink.hinted(span, message, hint);
                    return None;
                }
            },
            DeValue::String(_) => {
                let name = inner.text("json_schema", &self.c.vars)?;
                let text = self.file(&name, &span, "json_schema")?;
                match serde_json::from_str(&text) {
                    Ok(schema) => schema,
                    Err(fault) => {
                        let message = format!("{} is no JSON: {fault}", quote(&name));
                        let hint =
                            "mend that file: it holds one schema, and nothing else".to_owned();
                        self.c.sink.hinted(span, message, hint);
                        return None;
                    }
                }
            }
            _ => {
                let message = "`json_schema` must be a table or the name of a file".to_owned();
                let hint = "such as `json_schema = { type = \"object\" }`".to_owned();
                self.c.sink.hinted(span, message, hint);
                return None;
            }
        };
        if let Err(fault) = jsonschema::validator_for(&schema) {
            let elsewhere = matches!(fault.kind(), ValidationErrorKind::Referencing(_));
            match elsewhere {
                true => {
                    let hint = "a `$ref` names a part of this schema, such as `#/$defs/name`";
                    let message = "`$ref` names what is not in this schema, and todone loads none";
                    self.c.sink.hinted(span, message, hint.to_owned());
                }
                false => {
                    let at = place(fault.instance_path().as_str());
                    let message =
                        format!("this is no JSON Schema: at {at}: {}", short(fault.to_string()));
                    let hint = "https://json-schema.org says what may stand there".to_owned();
                    self.c.sink.hinted(span, message, hint);
                }
            }
            return None;
        }
        Some(schema)
    }
}

/// A TOML value as JSON; none: a number that JSON has not.
fn json(value: &Spanned<DeValue<'_>>) -> Option<Value> {
    Some(match value.get_ref() {
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Integer(_) => Value::from(integer(value)?),
        DeValue::Float(_) => Value::Number(Number::from_f64(number(value)?)?),
        DeValue::Array(list) => Value::Array(list.iter().map(json).collect::<Option<_>>()?),
        DeValue::Table(table) => {
            let entries = table.iter();
            let entries =
                entries.map(|(key, value)| Some((key.get_ref().to_string(), json(value)?)));
            Value::Object(entries.collect::<Option<Map<_, _>>>()?)
        }
        DeValue::Datetime(at) => Value::String(at.to_string()),
        DeValue::String(_) => Value::String(scalar(value)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_is_held_against_the_schema_and_the_faults_are_told_with_their_place() {
        let schema = json!({"type": "object", "required": ["files"],
            "properties": {"files": {"type": "array", "items": {"type": "string"}}}});
        let said = |text: &str| meets(&schema, text);
        assert_eq!(said(r#"{"files": ["a"], "more": 1}"#), Ok(()));
        assert_eq!(said("{}"), Err("at the top: \"files\" is a required property".to_owned()));
        let all = said(r#"{"files": [1, 2, 3, 4, 5]}"#).expect_err("wrong");
        assert!(
            all.starts_with("at /files/0: 1 is not of type \"string\"; at /files/1: "),
            "{all}"
        );
        assert!(all.ends_with("; and 2 more"), "{all}");
        let long = said(&format!("{{\"files\": {:?}}}", "ü".repeat(9999))).expect_err("wrong");
        assert!(long.len() < 400 && long.ends_with('…'), "{}", long.len());
    }
}
