//! The language in which the keys of a board are described: what a value may be, as data.
//!
//! Knows no key and reads nothing; `keys` holds the tables, `check` obeys them.

use serde_json::{Map, Value, json};

/// What a value may be.
pub(super) enum Shape {
    /// A string in which `{{ vars.… }}` is replaced and no other name of todone's may stand.
    Text,
    /// The same, not blank.
    Filled,
    /// For people, and sometimes a prompt: only `{{ vars.… }}` is looked at.
    Loose,
    /// A name: not empty, nothing replaced.
    Word,
    /// Shell text: nothing is ever replaced in it.
    Script,
    /// A string in which these names are replaced later.
    Template(&'static [&'static str]),
    /// An element of an argv in which these names are replaced later.
    Arg(&'static [&'static str]),
    /// A path relative to the root of the repository.
    Path,
    /// A glob relative to the root of the repository.
    Glob,
    /// Such as `20m`.
    Duration,
    /// Such as `20GB`.
    Size,
    /// True or false.
    Flag,
    /// True or false, where only this value is built.
    LaterFlag(bool),
    /// An integer in these bounds.
    Whole(i64, i64),
    /// Any number that is not negative.
    Number,
    /// A string, number or boolean, kept as text and not replaced.
    Scalar,
    /// One of these words; the second list is not built yet.
    Choice(&'static [&'static str], &'static [&'static str]),
    /// A list.
    List(&'static Self),
    /// A list with at least one element, and what to do instead of an empty one.
    Filling(&'static Self, &'static str),
    /// One, or a list of them.
    Many(&'static Self),
    /// One, or a list of at least one of them, and what to do instead of an empty one.
    ManyFilling(&'static Self, &'static str),
    /// A table with names of the user's.
    Map(Naming, &'static Self),
    /// A table with these keys.
    Table(&'static Section),
    /// Any of these; they differ in their TOML type.
    Either(&'static [Self]),
    /// Checked, but not built yet.
    Later(&'static Self),
    /// Anything.
    Any,
}

/// What names a table of the user's may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// `[vars]`.
    Var,
    /// An environment variable.
    Env,
    /// `[limits]`.
    Limit,
    /// `[agent.NAME]`.
    Agent,
    /// `[agent.NAME.mcp.NAME]`.
    Server,
    /// A header of HTTP.
    Header,
}

/// A table with fixed keys.
pub(super) struct Section {
    /// How it is called: `board`, `task`, …
    pub(super) name: &'static str,
    /// Its keys.
    pub(super) keys: &'static [Key],
    /// Those of them that it does not have after all (`[defaults]` is a task without an id).
    pub(super) except: &'static [&'static str],
}

/// A key and what is known of it.
pub(super) struct Key {
    /// As it is spelt.
    pub(super) name: &'static str,
    /// Other spellings.
    pub(super) aliases: &'static [&'static str],
    /// What it may hold.
    pub(super) shape: Shape,
    /// What holds without it, for people; `required` if it can't be left out.
    pub(super) default: &'static str,
    /// What it is for, for people.
    pub(super) meaning: &'static str,
}

/// The default of a key that can't be left out.
pub(super) const REQUIRED: &str = "required";

impl Section {
    pub(super) const fn new(name: &'static str, keys: &'static [Key]) -> Self {
        Self { name, keys, except: &[] }
    }

    /// The key of this spelling.
    pub(super) fn key(&self, spelt: &str) -> Option<&'static Key> {
        let is = |key: &&Key| key.name == spelt || key.aliases.contains(&spelt);
        self.keys.iter().find(is).filter(|key| !self.except.contains(&key.name))
    }

    /// Its keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().filter(|key| !self.except.contains(&key.name))
    }

    fn schema(&self) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for key in self.keys() {
            let mut about = key.meaning.to_owned();
            if key.default == REQUIRED {
                required.push(key.name);
            } else if !key.default.is_empty() {
                about = format!("{about}. Default: {}", key.default);
            }
            if key.shape.later() {
                about = format!("{about}. Checked, but not built in this version");
            }
            for spelt in std::iter::once(&key.name).chain(key.aliases) {
                let mut schema = key.shape.schema();
                if let Value::Object(map) = &mut schema {
                    map.insert("description".to_owned(), json!(about));
                }
                properties.insert((*spelt).to_owned(), schema);
            }
        }
        let mut schema = json!({
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schema
    }
}

/// A key that may be left out.
pub(super) const fn key(
    name: &'static str,
    shape: Shape,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key { name, aliases: &[], shape, default, meaning }
}

impl Key {
    /// The same key with further spellings.
    pub(super) const fn or(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }
}

impl Shape {
    /// Whether nothing of it is built yet.
    pub(super) fn later(&self) -> bool {
        matches!(self, Self::Later(_) | Self::LaterFlag(_))
    }

    /// What a message says it must be.
    pub(super) fn expects(&self) -> String {
        match self {
            Self::Text | Self::Filled | Self::Loose | Self::Word => "a string".to_owned(),
            Self::Template(_) | Self::Arg(_) => "a string".to_owned(),
            Self::Script => "a shell script in a string".to_owned(),
            Self::Path => "a path in a string".to_owned(),
            Self::Glob => "a glob in a string".to_owned(),
            Self::Duration => "a duration such as \"20m\"".to_owned(),
            Self::Size => "a size such as \"20GB\"".to_owned(),
            Self::Flag | Self::LaterFlag(_) => "true or false".to_owned(),
            Self::Whole(..) => "a whole number".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Scalar => "a string, a number, true or false".to_owned(),
            Self::Choice(now, later) => {
                let words: Vec<_> =
                    now.iter().chain(*later).map(|word| format!("{word:?}")).collect();
                if words.len() == 1 {
                    words[0].clone()
                } else {
                    format!("one of {}", words.join(", "))
                }
            }
            Self::List(of) | Self::Filling(of, _) => match of {
                Self::Table(_) => "a list of tables".to_owned(),
                Self::Scalar => "a list of strings or numbers".to_owned(),
                _ => "a list of strings".to_owned(),
            },
            Self::Many(of) | Self::ManyFilling(of, _) => {
                format!("{} or a list of them", of.expects())
            }
            Self::Map(..) | Self::Table(_) => "a table".to_owned(),
            Self::Either(shapes) => {
                shapes.iter().map(Self::expects).collect::<Vec<_>>().join(" or ")
            }
            Self::Later(of) => of.expects(),
            Self::Any => "a value".to_owned(),
        }
    }

    /// What the table of keys says it is.
    pub(super) fn short(&self) -> String {
        match self {
            Self::Text | Self::Filled | Self::Loose | Self::Word => "string".to_owned(),
            Self::Template(_) | Self::Arg(_) => "string".to_owned(),
            Self::Script => "script".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Glob => "glob".to_owned(),
            Self::Duration => "duration".to_owned(),
            Self::Size => "size".to_owned(),
            Self::Flag | Self::LaterFlag(_) => "true, false".to_owned(),
            Self::Whole(..) => "integer".to_owned(),
            Self::Number => "number".to_owned(),
            Self::Scalar => "string, number, boolean".to_owned(),
            Self::Choice(now, later) => {
                let shown = |words: &[&str]| {
                    words.iter().map(|w| format!("`{w:?}`")).collect::<Vec<_>>().join(", ")
                };
                let not_yet = if later.is_empty() {
                    String::new()
                } else {
                    format!("*not built yet:* {}", shown(later))
                };
                let parts = [shown(now), not_yet];
                parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
            }
            Self::List(of) | Self::Filling(of, _) => format!("list of {}", plural(&of.short())),
            Self::Many(of) | Self::ManyFilling(of, _) => {
                format!("{} or list of {}", of.short(), plural(&of.short()))
            }
            Self::Map(_, of) => format!("table of {}", plural(&of.short())),
            Self::Table(section) => format!("table ({})", section.name),
            Self::Either(shapes) => shapes.iter().map(Self::short).collect::<Vec<_>>().join(" or "),
            Self::Later(of) => of.short(),
            Self::Any => "anything".to_owned(),
        }
    }

    /// Its JSON Schema.
    pub(super) fn schema(&self) -> Value {
        match self {
            Self::Text | Self::Loose | Self::Template(_) | Self::Arg(_) => {
                json!({"type": "string"})
            }
            Self::Filled | Self::Word | Self::Script | Self::Path | Self::Glob => {
                json!({"type": "string", "minLength": 1})
            }
            Self::Duration => json!({"type": "string", "examples": ["90s", "20m", "1h 30m"]}),
            Self::Size => json!({"type": "string", "examples": ["500MB", "20GB"]}),
            Self::Flag | Self::LaterFlag(_) => json!({"type": "boolean"}),
            Self::Whole(i64::MIN, i64::MAX) => json!({"type": "integer"}),
            Self::Whole(least, most) => {
                json!({"type": "integer", "minimum": least, "maximum": most})
            }
            Self::Number => json!({"type": "number", "minimum": 0}),
            Self::Scalar => json!({"type": ["string", "number", "boolean"]}),
            Self::Choice(now, later) => {
                let words: Vec<_> = now.iter().chain(*later).collect();
                json!({"enum": words})
            }
            Self::List(of) => json!({"type": "array", "items": of.schema()}),
            Self::Filling(of, _) => json!({"type": "array", "items": of.schema(), "minItems": 1}),
            Self::Many(of) => json!({"anyOf": [of.schema(), Self::List(of).schema()]}),
            Self::ManyFilling(of, hint) => {
                json!({"anyOf": [of.schema(), Self::Filling(of, hint).schema()]})
            }
            Self::Map(_, of) => json!({"type": "object", "additionalProperties": of.schema()}),
            Self::Table(section) => section.schema(),
            Self::Either(shapes) => {
                let all: Vec<_> = shapes.iter().map(Self::schema).collect();
                json!({"anyOf": all})
            }
            Self::Later(of) => of.schema(),
            Self::Any => json!({}),
        }
    }
}

fn plural(word: &str) -> String {
    match word {
        "string, number, boolean" => "strings, numbers or booleans".to_owned(),
        _ if word.starts_with("table (") => word.replacen("table", "tables", 1),
        _ if word.contains(" or ") => format!("({word})"),
        _ => format!("{word}s"),
    }
}
