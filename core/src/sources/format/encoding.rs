//! Which bytes stand for which characters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a text file's bytes stand for characters. Where a file begins with a byte order mark, the mark decides; it is no part of the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Encoding {
    /// The default.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// UTF-16 with a byte order mark. A file without one is rejected: say `utf-16le` or `utf-16be`.
    #[serde(rename = "utf-16")]
    Utf16,
    /// UTF-16, the lower byte first.
    #[serde(rename = "utf-16le")]
    Utf16Le,
    /// UTF-16, the higher byte first.
    #[serde(rename = "utf-16be")]
    Utf16Be,
    /// What Windows calls ANSI in Western Europe; five bytes have no character.
    #[serde(rename = "windows-1252")]
    Windows1252,
    /// ISO 8859-1: each byte is the character with its number.
    #[serde(rename = "latin-1")]
    Latin1,
}

impl Encoding {
    /// Its name in `sources.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf16 => "utf-16",
            Self::Utf16Le => "utf-16le",
            Self::Utf16Be => "utf-16be",
            Self::Windows1252 => "windows-1252",
            Self::Latin1 => "latin-1",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
