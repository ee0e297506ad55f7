//! `todone schema`: prints the JSON Schema of boards, or of reports.
//!
//! Knows nothing of any board or run.

use std::io::Write as _;

use super::error::Failure;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Of what
    #[arg(default_value = "board")]
    of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Of {
    /// Boards, for editors
    Board,
    /// What `todone report --format json` prints
    Report,
}

pub(super) fn schema(args: Args) -> Result<u8, Failure> {
    let schema = match args.of {
        Of::Board => serde_json::to_string_pretty(&crate::board::schema())
            .expect("BUG: a JSON value can be written"),
        Of::Report => crate::report::SCHEMA.trim_end().to_owned(),
    };
    writeln!(std::io::stdout(), "{schema}")?;
    Ok(0)
}
