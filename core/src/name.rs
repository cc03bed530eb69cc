//! Names that must not be mixed up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::sources::RESCUED;

/// `<layer>.<table>`, the name of a table and of the job that writes it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TableName {
    layer: String,
    table: String,
}

/// Ends the name of a table of rejected rows.
const QUARANTINE: &str = "__quarantine";

impl TableName {
    /// # Errors
    /// `Invalid` when a part is not `[a-z][a-z0-9_]*`: Glue and Athena fold case and forbid the rest.
    pub fn new(layer: &str, table: &str) -> Result<Self> {
        for part in [layer, table] {
            if !is_identifier(part) {
                return Err(Error::invalid(format!(
                    "`{layer}.{table}` is not a table name: use lower-case letters, digits and `_`, a letter first"
                )));
            }
        }
        Ok(Self { layer: layer.to_owned(), table: table.to_owned() })
    }

    pub fn layer(&self) -> &str {
        &self.layer
    }

    pub fn table(&self) -> &str {
        &self.table
    }

    /// Where the table lies below the lake's root: `<layer>/<table>`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.layer, self.table)
    }

    /// The table of rejected rows that belongs to this one: `<table>__quarantine`.
    #[must_use]
    pub fn quarantine(&self) -> Self {
        Self { layer: self.layer.clone(), table: format!("{}{QUARANTINE}", self.table) }
    }

    /// The table whose rejected rows this one holds; none when it is no quarantine.
    pub fn quarantined(&self) -> Option<Self> {
        let table = self.table.strip_suffix(QUARANTINE)?;
        Some(Self { layer: self.layer.clone(), table: table.to_owned() })
    }
}

/// Whether a column of a query is one of its table. Names that begin with `_` serve checks and order alone, but for that of fields which a
/// source of files has rescued.
pub fn is_written(column: &str) -> bool {
    !column.starts_with('_') || column == RESCUED
}

/// `[a-z][a-z0-9_]*`
pub fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

impl FromStr for TableName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('.') {
            Some((layer, table)) => Self::new(layer, table),
            None => Err(Error::invalid(format!("`{text}` is not a table name: write `<layer>.<table>`"))),
        }
    }
}

impl TryFrom<String> for TableName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<TableName> for String {
    fn from(name: TableName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.layer, self.table)
    }
}

impl fmt::Debug for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_every_reader_takes() {
        let name: TableName = "silver.bars_1m".parse().unwrap();
        assert_eq!((name.layer(), name.table(), name.path().as_str()), ("silver", "bars_1m", "silver/bars_1m"));
        assert_eq!(name.quarantine().to_string(), "silver.bars_1m__quarantine");
        assert_eq!(name.quarantine().quarantined(), Some(name.clone()));
        assert_eq!(name.quarantined(), None);
        for wrong in ["silver", "Silver.a", "silver.", ".a", "a.b.c", "a.1b", "a.b-c", "a.ä", "a/b.c", ""] {
            assert!(wrong.parse::<TableName>().is_err(), "{wrong}");
        }
    }
}
