//! Formats of a feed's files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::json::{Json, JsonLines};

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

fn comma() -> char {
    ','
}
