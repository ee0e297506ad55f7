//! Reads price tables, `prices.toml`, and holds the one that is built in.
//!
//! Knows no directories: who asks says which files there are.
//!
//! ```toml
//! date = "July 2026"
//! source = "our contract"
//!
//! [model]
//! "gpt-5.5" = { input = 1.25, output = 10, cache_read = 0.125, cache_write = 1.25 }
//! ```
//!
//! Dollars per million tokens. `cache_read` and `cache_write` are as `input` if they are not named.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::{Price, PriceSource, Prices};

/// The table that is built in.
const OWN: &str = include_str!("prices.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default)]
    date: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    model: BTreeMap<String, Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
}

/// The prices that are built in, with these tables (name and text) over them, the weakest first. The
/// error names the file, and what is wrong where in it.
pub fn prices<'t>(tables: impl IntoIterator<Item = (String, &'t str)>) -> Result<Prices, String> {
    let mut prices = Prices::default();
    for (file, text) in std::iter::once(("built in".to_owned(), OWN)).chain(tables) {
        let form: Form = toml::from_str(text).map_err(|fault| {
            let at = fault.span().map_or(0, |span| span.start.min(text.len()));
            let (line, column) = place(text, at);
            format!("{file}:{line}:{column}: {}", fault.message())
        })?;
        let mut models = BTreeMap::new();
        for (name, row) in form.model {
            let Row { input, output, cache_read, cache_write } = row;
            let all = [Some(input), Some(output), cache_read, cache_write];
            if all.into_iter().flatten().any(|price| !price.is_finite() || price < 0.0) {
                return Err(format!("{file}: `{name}`: a price is 0 or more"));
            }
            models.insert(name, Price { input, output, cache_read, cache_write });
        }
        let (date, source, count) = (form.date, form.source, models.len());
        prices.lay(PriceSource { file, date, source, models: count }, models);
    }
    Ok(prices)
}

fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..at];
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_table_says_when_and_whose() {
        let prices = prices([]).expect("it can be read");
        let own = &prices.sources[0];
        assert!(own.date.contains("2026") && own.source.contains("list prices"), "{own:?}");
        for model in [
            "claude-sonnet-4-5-20250929",
            "claude-sonnet-5-5",
            "gpt-5-codex",
            "gemini-3.5-flash",
            "openai/gpt-4o",
        ] {
            assert!(prices.of(model).is_some(), "{model}");
        }
        let price = Price { input: 5.0, output: 30.0, cache_read: Some(0.5), cache_write: None };
        assert_eq!(prices.of("gpt-5.5-2026-04-23"), Some(&price));
        assert!(prices.of("fake-model").is_none());
    }

    #[test]
    fn a_table_lies_over_the_others() {
        let mine = "[model]\ngpt-5 = { input = 9, output = 9 }\nown = { input = 0, output = 0 }\n";
        let prices = prices([("mine.toml".to_owned(), mine)]).expect("it can be read");
        assert_eq!(prices.of("gpt-5").map(|price| price.input), Some(9.0));
        assert_eq!(prices.of("own").map(|price| price.output), Some(0.0));
        assert!(prices.of("gpt-4o").is_some());
        assert_eq!(prices.sources.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let read = |text| prices([("p.toml".to_owned(), text)]).expect_err("it is wrong");
        assert!(read("[model]\nx = { input = 1 }\n").starts_with("p.toml:2:"));
        assert!(read("[model]\nx = { input = 1, output = 1, inptu = 2 }\n").contains("inptu"));
        assert_eq!(
            read("[model]\nx = { input = -1, output = 1 }\n"),
            "p.toml: `x`: a price is 0 or more"
        );
    }
}
