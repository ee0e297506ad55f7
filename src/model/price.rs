//! What models cost: a table of list prices, and what an attempt cost by it.
//!
//! Knows no file and no agent. A model that is not in the table has no price, which is not zero.

use std::collections::BTreeMap;

use super::Usage;

/// Dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// Tokens read that came out of no cache.
    pub input: f64,
    /// Tokens written.
    pub output: f64,
    /// Tokens read out of a cache; none: as `input`.
    pub cache_read: Option<f64>,
    /// Tokens written into a cache; none: as `input`.
    pub cache_write: Option<f64>,
}

/// Where prices come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceSource {
    /// The file, or `built in`.
    pub file: String,
    /// From when they are, in words; empty: not said.
    pub date: String,
    /// Whose they are, in words; empty: not said.
    pub source: String,
    /// How many models it knows.
    pub models: usize,
}

/// All prices that are known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices {
    /// The tables, the weakest first.
    pub sources: Vec<PriceSource>,
    models: BTreeMap<String, Price>,
}

impl Prices {
    /// Lays a table over what is known.
    pub fn lay(&mut self, source: PriceSource, models: BTreeMap<String, Price>) {
        self.sources.push(source);
        self.models.extend(models);
    }

    /// The price of a model: by its name, by the name without the provider before a slash, by either
    /// without a date at its end.
    pub fn of(&self, model: &str) -> Option<&Price> {
        let bare = model.rsplit('/').next().unwrap_or(model);
        let names = [model, undated(model), bare, undated(bare)];
        names.into_iter().find_map(|name| self.models.get(name))
    }

    /// What was used, in dollars by this table. None: the model has no price here, or the tokens are
    /// not known.
    pub fn estimate(&self, usage: &Usage) -> Option<f64> {
        let price = self.of(usage.model.as_deref()?)?;
        let part = |tokens: Option<u64>, each: f64| tokens.unwrap_or(0) as f64 * each / 1e6;
        let (input, output) = (usage.input?, usage.output?);
        Some(
            part(Some(input), price.input)
                + part(Some(output), price.output)
                + part(usage.cache_read, price.cache_read.unwrap_or(price.input))
                + part(usage.cache_write, price.cache_write.unwrap_or(price.input)),
        )
    }
}

/// A name without `-20250929` or `-2025-08-07` at its end.
fn undated(name: &str) -> &str {
    let is = |tail: &str, dashes: &[usize]| {
        tail.bytes().enumerate().all(|(at, byte)| match dashes.contains(&at) {
            true => byte == b'-',
            false => byte.is_ascii_digit(),
        })
    };
    for (length, dashes) in [(9, &[0][..]), (11, &[0, 5, 8])] {
        let cut = name.len().checked_sub(length).filter(|at| name.is_char_boundary(*at));
        if let Some((head, tail)) = cut.map(|at| name.split_at(at))
            && is(tail, dashes)
        {
            return head;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices() -> Prices {
        let mut prices = Prices::default();
        let price = Price { input: 2.0, output: 10.0, cache_read: Some(0.5), cache_write: None };
        let source = PriceSource {
            file: "built in".into(),
            date: String::new(),
            source: String::new(),
            models: 1,
        };
        prices.lay(source, [("some-5".to_owned(), price)].into_iter().collect());
        prices
    }

    #[test]
    fn a_model_is_known_with_its_date_and_provider() {
        let prices = prices();
        for name in
            ["some-5", "some-5-20250929", "some-5-2025-08-07", "x/some-5", "a/b/some-5-20250929"]
        {
            assert!(prices.of(name).is_some(), "{name}");
        }
        for name in ["some", "some-5-mini", "some-5-2025", "some-5x20250929", "é20250929", ""] {
            assert!(prices.of(name).is_none(), "{name}");
        }
    }

    #[test]
    fn what_is_not_known_has_no_cost() {
        let prices = prices();
        let usage = |model: Option<&str>, input, output| Usage {
            model: model.map(str::to_owned),
            input,
            output,
            cache_read: Some(1_000_000),
            cache_write: Some(500_000),
            ..Usage::default()
        };
        let cost = prices.estimate(&usage(Some("some-5"), Some(1_000_000), Some(100_000)));
        assert_eq!(cost, Some(2.0 + 1.0 + 0.5 + 1.0));
        assert_eq!(prices.estimate(&usage(Some("other"), Some(1), Some(1))), None);
        assert_eq!(prices.estimate(&usage(None, Some(1), Some(1))), None);
        assert_eq!(prices.estimate(&usage(Some("some-5"), None, Some(1))), None);
        assert_eq!(prices.estimate(&usage(Some("some-5"), Some(1), None)), None);
    }
}
