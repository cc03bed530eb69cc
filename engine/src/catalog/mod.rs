//! Where others find the lake's tables. A table is what its log says; a catalog repeats some of it for whoever looks there.

mod describe;
mod foreign;
mod hive;
mod reconcile;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use pulse_core::Result;
use pulse_core::name::TableName;

pub use describe::describe;
pub use foreign::{ForeignCatalog, ForeignEntry, delta_location};
pub use hive::hive_type;
pub use reconcile::{Finding, Gone, findings, mend};

/// What a catalog says of a table: its newest version when this was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDescription {
    pub name: TableName,
    /// `s3://bucket/path/`, with the slash at its end.
    pub location: String,
    /// Of the table in its log: another one when it was removed and made anew.
    pub table_id: String,
    pub version: u64,
    /// Columns that lie in the files, in the table's order.
    pub columns: Vec<CatalogColumn>,
    pub partition_by: Vec<CatalogColumn>,
    /// As in the log.
    pub schema_string: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogColumn {
    /// In lower case: catalogs fold it.
    pub name: String,
    /// In Hive's words, such as `decimal(10,2)`.
    pub kind: String,
}

/// What became of a table's registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    Unchanged,
    Created,
    Updated,
}

/// How a catalog's entry and the table differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The catalog does not know the table.
    Missing,
    /// Something that readers go by, such as ``column `close` is float, the table has double``.
    Wrong(Vec<String>),
    /// Only the number of the version; readers look into the log for it.
    Behind { registered: u64 },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("not registered"),
            Self::Wrong(what) => f.write_str(&what.join("; ")),
            Self::Behind { registered } => write!(f, "registered at version {registered}"),
        }
    }
}

/// A registry of tables, such as Glue's.
#[async_trait]
pub trait Catalog: fmt::Debug + Send + Sync {
    /// What is different; none when nothing is.
    ///
    /// # Errors
    /// By kind: `Invalid` for missing rights or databases, `Unavailable` when the catalog does not answer.
    async fn difference(&self, table: &TableDescription) -> Result<Option<Difference>>;

    /// Makes the entry what the table is. An entry of a later version is left alone.
    ///
    /// # Errors
    /// As [`Self::difference`], and `Conflict` when others change the entry again and again.
    async fn register(&self, table: &TableDescription) -> Result<Registered>;

    /// Entries of tables that lie in these folders of layers, with their locations; those of others are left out.
    ///
    /// # Errors
    /// As [`Self::difference`].
    async fn registrations(&self, layers: &BTreeMap<String, String>) -> Result<BTreeMap<TableName, String>>;

    /// Forgets a table; its data is not touched.
    ///
    /// # Errors
    /// As [`Self::difference`].
    async fn remove(&self, table: &TableName) -> Result<()>;

    /// False when the lake itself is the catalog, and there is nothing to do.
    fn keeps_entries(&self) -> bool {
        true
    }
}

/// The lake is its own catalog: tables are the folders that hold a log.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalCatalog;

#[async_trait]
impl Catalog for LocalCatalog {
    async fn difference(&self, _: &TableDescription) -> Result<Option<Difference>> {
        Ok(None)
    }

    async fn register(&self, _: &TableDescription) -> Result<Registered> {
        Ok(Registered::Unchanged)
    }

    async fn registrations(&self, _: &BTreeMap<String, String>) -> Result<BTreeMap<TableName, String>> {
        Ok(BTreeMap::new())
    }

    async fn remove(&self, _: &TableName) -> Result<()> {
        Ok(())
    }

    fn keeps_entries(&self) -> bool {
        false
    }
}
