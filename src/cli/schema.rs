//! `todone schema`: prints the JSON Schema of boards.
//!
//! Knows nothing of any board.

use std::io::Write as _;

use super::error::Failure;

pub(super) fn schema() -> Result<u8, Failure> {
    let schema = serde_json::to_string_pretty(&crate::board::schema())
        .expect("BUG: a JSON value can be written");
    writeln!(std::io::stdout(), "{schema}")?;
    Ok(0)
}
