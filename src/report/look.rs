//! How a text looks: with colours or without, and where the logs are.
//!
//! Knows no terminal: whoever asks for a text says whether colours are wanted.

use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};

/// What a text is written for.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Whether it is coloured.
    pub colour: bool,
    /// The run's folder, which the paths of logs are relative to; none: they are shown relative.
    pub run_dir: Option<PathBuf>,
}

/// What a piece of text is, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    Head,
    Good,
    Bad,
    Odd,
    Faint,
    Command,
    Old,
    OldWord,
    New,
    NewWord,
}

impl Ink {
    fn style(self) -> Style {
        let plain = Style::new();
        let of = |colour: AnsiColor| plain.fg_color(Some(colour.into()));
        match self {
            Self::Head => plain.bold(),
            Self::Good => of(AnsiColor::Green),
            Self::Bad => of(AnsiColor::Red).bold(),
            Self::Odd => of(AnsiColor::Yellow),
            Self::Faint => plain.dimmed(),
            Self::Command => of(AnsiColor::Cyan),
            Self::Old => of(AnsiColor::Red),
            Self::New => of(AnsiColor::Green),
            Self::OldWord => of(AnsiColor::Red).bold().underline(),
            Self::NewWord => of(AnsiColor::Green).bold().underline(),
        }
    }
}

impl Look {
    /// The text in this ink. It must hold no line feed.
    pub(super) fn ink(&self, ink: Ink, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let style = ink.style();
        format!("{style}{text}{style:#}")
    }

    /// Where a log is.
    pub(super) fn log(&self, log: &Path) -> String {
        let path = match &self.run_dir {
            Some(dir) => dir.join(log),
            None => log.to_owned(),
        };
        super::escape::line(path.as_os_str().as_encoded_bytes())
    }
}
