//! Formats of a feed's files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Format of a feed's files. A name that ends in `.gz` is decompressed first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Format {
    /// RFC 4180 with a header line.
    Csv {
        /// One ASCII character.
        #[serde(default = "comma")]
        delimiter: char,
    },
    /// One JSON object a line.
    JsonLines {},
    /// One JSON document: somewhere in it an array of objects, or an object whose values are the records.
    Json {
        /// JSON pointer of the records, such as `/data/bars`; empty is the whole document.
        #[serde(default)]
        records: String,
        /// Field that takes the records' keys, when `records` is an object.
        #[serde(default)]
        key: Option<String>,
    },
    /// Columns by their names.
    Parquet {},
}

fn comma() -> char {
    ','
}
