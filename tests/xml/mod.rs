//! A strict reader of the XML that a JUnit report is made of: panics on what is not well-formed.
//!
//! Knows elements, attributes, text and the five named references; nothing else may appear.

use std::collections::BTreeMap;

/// An element.
#[derive(Debug, Default)]
pub struct Element {
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    pub children: Vec<Self>,
    pub text: String,
}

impl Element {
    /// The value of an attribute.
    #[track_caller]
    pub fn get(&self, name: &str) -> &str {
        let found = self.attributes.get(name);
        found.unwrap_or_else(|| panic!("{} has no attribute {name}", self.name))
    }

    /// The children of this name.
    pub fn all(&self, name: &str) -> Vec<&Self> {
        self.children.iter().filter(|child| child.name == name).collect()
    }

    #[track_caller]
    fn number(&self, name: &str) -> usize {
        self.get(name).parse().expect("a number")
    }
}

/// Reads a JUnit report and holds its numbers against what is in it; gives its only suite.
#[track_caller]
pub fn suite(page: &str) -> Element {
    let mut root = parse(page);
    assert_eq!(root.name, "testsuites");
    assert_eq!(root.children.len(), 1, "one suite");
    let suite = root.children.remove(0);
    assert_eq!(suite.name, "testsuite");
    let cases = suite.all("testcase");
    assert_eq!(cases.len() + 1, suite.children.len(), "properties and test cases, nothing else");
    assert_eq!(suite.children[0].name, "properties", "which come first");
    for property in &suite.children[0].children {
        assert_eq!(property.name, "property");
        assert!(!property.get("name").is_empty() && property.attributes.contains_key("value"));
    }
    let with = |name: &str| cases.iter().filter(|case| !case.all(name).is_empty()).count();
    for (key, number) in
        [("tests", cases.len()), ("failures", with("failure")), ("errors", with("error"))]
    {
        assert_eq!(suite.number(key), number, "{key}");
        assert_eq!(root.number(key), number, "{key} of all");
    }
    assert_eq!(suite.number("skipped"), with("skipped"));
    let mut names = std::collections::BTreeSet::new();
    for case in cases {
        assert!(names.insert((case.get("classname"), case.get("name"))), "twice: {case:?}");
        assert!(case.get("time").parse::<f64>().expect("seconds") >= 0.0);
        let ends = ["failure", "error", "skipped"].iter().map(|name| case.all(name).len());
        assert!(ends.sum::<usize>() <= 1, "{case:?} ended twice");
        assert!(case.all("system-out").len() <= 1, "{case:?}");
        for child in case.children.iter().filter(|child| child.name != "system-out") {
            let known = ["failure", "error", "skipped", "flakyFailure", "rerunFailure"];
            assert!(known.contains(&child.name.as_str()), "{child:?}");
            assert!(child.attributes.contains_key("message"), "{child:?}");
        }
    }
    suite
}

#[track_caller]
fn parse(page: &str) -> Element {
    for ch in page.chars() {
        let allowed = matches!(ch, '\n' | ' '..='\u{7e}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..);
        assert!(allowed, "{ch:?} is no character of a report");
    }
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    let mut rest = page.strip_prefix(head).expect("a declaration");
    let root = element(&mut rest);
    assert_eq!(rest, "\n", "something follows the root");
    root
}

/// Takes an element from the front of the text.
#[track_caller]
fn element(rest: &mut &str) -> Element {
    let inside = rest.strip_prefix('<').expect("an element");
    let end = inside.find('>').expect("the end of a tag");
    let (tag, after) = (&inside[..end], &inside[end + 1..]);
    *rest = after;
    let (tag, empty) = match tag.strip_suffix('/') {
        Some(tag) => (tag, true),
        None => (tag, false),
    };
    let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
    let fine = |c: char| c.is_ascii_alphabetic() || c == '-';
    assert!(!name.is_empty() && name.chars().all(fine), "<{tag}>");
    let mut found = Element { name: name.to_owned(), ..Element::default() };
    let mut left = attributes;
    while !left.is_empty() {
        let (key, value) = left.split_once("=\"").expect("a value in quotes");
        let (value, more) = value.split_once('"').expect("the end of a value");
        assert!(!key.is_empty() && key.chars().all(|c| c.is_ascii_alphabetic()), "{key}");
        assert!(!value.contains('\n'), "a value of several lines: {value}");
        let old = found.attributes.insert(key.to_owned(), plain(value));
        assert_eq!(old, None, "{key} twice");
        left = more.strip_prefix(' ').unwrap_or(more);
    }
    if empty {
        return found;
    }
    loop {
        let open = rest.find('<').unwrap_or_else(|| panic!("<{name}> is not closed"));
        found.text.push_str(&plain(&rest[..open]));
        *rest = &rest[open..];
        let Some(after) = rest.strip_prefix("</") else {
            found.children.push(element(rest));
            continue;
        };
        let after = after.strip_prefix(name).and_then(|after| after.strip_prefix('>'));
        *rest = after.unwrap_or_else(|| panic!("<{name}> is closed by another"));
        return found;
    }
}

/// Text with its references resolved.
#[track_caller]
fn plain(text: &str) -> String {
    assert!(!text.contains(['<', '>', '"']), "a mark that is not spelt out: {text}");
    let mut out = String::new();
    let mut parts = text.split('&');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (name, more) = part.split_once(';').expect("the end of a reference");
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            other => panic!("&{other}; is unknown"),
        });
        out.push_str(more);
    }
    out
}
