//! Turns the items of a `foreach` into units of work.
//!
//! Knows the output of commands as bytes, not how it was made.

use std::collections::HashSet;

use serde_json::Value;

use crate::model::{Item, Task, Unit};

/// As many shares as a name has room for.
const MOST_UNITS: usize = 1_000_000;

/// The items in what a command or a needed task printed: a JSON array of strings and numbers, else
/// lines that are not empty; with `null` only items that end with NUL.
pub fn items_of(output: &[u8], null: bool) -> Result<Vec<Item>, String> {
    if null {
        let parts = output.split(|byte| *byte == 0);
        return Ok(parts.filter(|item| !item.is_empty()).map(Item::new).collect());
    }
    if output.contains(&0) {
        return Err(
            "the output holds NUL bytes; `null = true` reads items that end with NUL".to_owned()
        );
    }
    match serde_json::from_slice::<Vec<Value>>(output) {
        Ok(array) => return array.iter().enumerate().map(of_json).collect(),
        Err(error) if looks_like_json(output) => {
            return Err(format!("the output begins like a JSON array, but is none: {error}"));
        }
        // A file's name may begin with a bracket.
        Err(_) => {}
    }
    let lines = output.split(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    Ok(lines.filter(|line| !line.is_empty()).map(Item::new).collect())
}

fn of_json((place, value): (usize, &Value)) -> Result<Item, String> {
    let what = match value {
        Value::String(text) if text.contains('\0') => "holds a NUL",
        Value::String(text) if text.is_empty() => "is empty",
        Value::String(text) => return Ok(Item::from(text.as_str())),
        Value::Number(number) => return Ok(Item::from(number.to_string().as_str())),
        Value::Null => "is null",
        Value::Bool(_) => "is a boolean",
        Value::Array(_) => "is an array",
        Value::Object(_) => "is an object",
    };
    Err(format!("item {} of the JSON array {what}; items are strings or numbers", place + 1))
}

fn looks_like_json(output: &[u8]) -> bool {
    let mut rest = output.iter().filter(|byte| !byte.is_ascii_whitespace());
    rest.next() == Some(&b'[') && matches!(rest.next(), Some(b'"' | b'{' | b']') | None)
}

/// The units of a task whose items these are; a task without `foreach` is one unit. An item that
/// comes twice counts once, where it came first.
pub fn expand(task: &Task, items: Option<Vec<Item>>) -> Result<Vec<Unit>, String> {
    let Some(foreach) = &task.foreach else {
        return Ok(vec![Unit { id: task.id.clone(), task: task.id.clone(), items: None }]);
    };
    let items = items.ok_or_else(|| format!("the items of `{}` are not known yet", task.id))?;
    let mut seen = HashSet::with_capacity(items.len());
    let items: Vec<Item> = items.into_iter().filter(|item| seen.insert(item.clone())).collect();
    if items.is_empty() && !foreach.allow_empty {
        return Err(format!(
            "`foreach` of `{}` has no items; `allow_empty = true` allows that",
            task.id
        ));
    }
    let batch = foreach.batch.max(1);
    let shares = items.len().div_ceil(batch);
    if shares > MOST_UNITS {
        return Err(format!(
            "`foreach` of `{}` makes {shares} shares, at most {MOST_UNITS} can be; raise `batch`",
            task.id
        ));
    }
    let unit = |(number, share): (usize, &[Item])| Unit {
        id: task.id.share(number),
        task: task.id.clone(),
        items: Some(share.to_vec()),
    };
    Ok(items.chunks(batch).enumerate().map(unit).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn bytes(items: Result<Vec<Item>, String>) -> Vec<Vec<u8>> {
        items.expect("items").iter().map(|item| item.as_bytes().to_vec()).collect()
    }

    #[test]
    fn output_is_json_or_lines_or_nul() {
        assert_eq!(bytes(items_of(b" [\"a b\", 3, 1.5]\n", false)), [&b"a b"[..], b"3", b"1.5"]);
        assert_eq!(bytes(items_of(b"a\r\n\n b \xff\n", false)), [&b"a"[..], b" b \xff"]);
        assert_eq!(bytes(items_of(b"a\nb\0c\0\0", true)), [&b"a\nb"[..], b"c"]);
        assert_eq!(bytes(items_of(b"[id].tsx\n[[...slug]].tsx\n", false)).len(), 2);
        assert_eq!(bytes(items_of(b"", false)).len(), 0);
        assert_eq!(bytes(items_of(b"[]", false)).len(), 0);
    }

    #[test]
    fn what_is_no_list_is_said() {
        for (output, part) in [
            (&b"[\"a\", {\"b\": 1}]"[..], "item 2 of the JSON array is an object"),
            (b"[null]", "is null"),
            (b"[\"\"]", "is empty"),
            (b"[\"a\\u0000\"]", "NUL"),
            (b"[\"a\",\n\"b\"", "begins like a JSON array"),
            (b"a\0b", "`null = true`"),
        ] {
            let error = items_of(output, false).expect_err("an error");
            assert!(error.contains(part), "{error}");
        }
    }

    fn task(foreach: &str) -> Task {
        let text = format!("[[task]]\nid = \"t\"\nrun = \"true\"\n{foreach}\n");
        let board =
            super::super::read(text.as_bytes(), "b.toml", Path::new("/"), &Default::default());
        board.unwrap_or_else(|faults| panic!("{faults}")).tasks.remove(0)
    }

    #[test]
    fn items_become_shares() {
        let items = || Some(["a", "b", "a", "c"].map(Item::from).to_vec());
        let units =
            expand(&task("foreach = { items = [\"x\"], batch = 2 }"), items()).expect("units");
        let shown: Vec<_> =
            units.iter().map(|u| (u.id.to_string(), u.items.clone().map(|i| i.len()))).collect();
        assert_eq!(shown, [("t.0".to_owned(), Some(2)), ("t.1".to_owned(), Some(1))]);
        let units = expand(&task(""), None).expect("units");
        assert_eq!((units.len(), units[0].id.as_str(), &units[0].items), (1, "t", &None));
    }

    #[test]
    fn nothing_is_a_fault_unless_allowed() {
        let strict = task("foreach = \"**\"");
        assert!(expand(&strict, Some(vec![])).expect_err("a fault").contains("allow_empty"));
        assert!(expand(&strict, None).expect_err("a fault").contains("not known"));
        let lax = task("foreach = { glob = \"**\", allow_empty = true }");
        assert_eq!(expand(&lax, Some(vec![])).expect("units"), []);
    }
}
