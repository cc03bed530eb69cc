//! Formats of a feed's files.

mod csv;
mod encoding;
mod fixed_width;
mod misuse;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use csv::{Csv, Matching, Ragged};
pub use encoding::Encoding;
pub use fixed_width::{FixedField, FixedWidth};
pub use misuse::Misuse;

use super::json::{Json, JsonLines};

/// Format of a feed's files. A file whose name ends in `.gz`, `.zst`, `.bz2`, `.xz`, `.snappy` or `.zip` is decompressed first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Format {
    /// A record a line and a delimiter between its fields: RFC 4180 with a header line, unless its keys say otherwise.
    Csv(Box<Csv>),
    /// A record a line, whose fields lie at fixed places.
    FixedWidth(Box<FixedWidth>),
    /// One JSON record a line: an object, or an array.
    JsonLines(JsonLines),
    /// One JSON document: somewhere in it an array of records, or an object whose values are the records, or whose values are the columns.
    Json(Json),
    /// Columns by their names.
    Parquet {},
    /// Object container files, compressed by any codec of Avro's specification. Fields by their names; a JSON pointer in `rename` reads a field of
    /// a nested record.
    Avro {},
}

impl Format {
    /// Which bytes stand for which characters.
    pub fn encoding(&self) -> Encoding {
        match self {
            Self::Csv(csv) => csv.encoding,
            Self::FixedWidth(fixed) => fixed.encoding,
            Self::JsonLines(_) | Self::Json(_) | Self::Parquet {} | Self::Avro {} => Encoding::default(),
        }
    }
}
