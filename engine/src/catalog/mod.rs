//! Catalogs in which other tools find the lake's tables. The log defines a table; a catalog repeats a part of it.

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

/// A catalog's description of a table: its newest version at the time of the description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDescription {
    pub name: TableName,
    /// `s3://bucket/path/`, with the trailing slash.
    pub location: String,
    /// The table's id in its log, which changes when the table is recreated.
    pub table_id: String,
    pub version: u64,
    /// Columns stored in the files, in the table's order.
    pub columns: Vec<CatalogColumn>,
    pub partition_by: Vec<CatalogColumn>,
    /// As in the log.
    pub schema_string: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogColumn {
    /// In lower case: catalogs fold it.
    pub name: String,
    /// Hive's name, such as `decimal(10,2)`.
    pub kind: String,
}

/// Outcome of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    Unchanged,
    Created,
    Updated,
}

/// How a catalog's entry and the table differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The table is not registered.
    Missing,
    /// Something that readers rely on differs, such as ``column `close` is float, the table has double``.
    Wrong(Vec<String>),
    /// Only the version number differs; readers take it from the log.
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
    /// The difference; `None` if there is none.
    ///
    /// # Errors
    /// By kind: `Invalid` for missing rights or databases, `Unavailable` when the catalog does not answer.
    async fn difference(&self, table: &TableDescription) -> Result<Option<Difference>>;

    /// Updates the entry to match the table, unless it is of a later version.
    ///
    /// # Errors
    /// As [`Self::difference`], and `Conflict` when concurrent changes of the entry exhaust the attempts.
    async fn register(&self, table: &TableDescription) -> Result<Registered>;

    /// Entries of tables in these folders of layers, with their locations; entries of other lakes are left out.
    ///
    /// # Errors
    /// As [`Self::difference`].
    async fn registrations(&self, layers: &BTreeMap<String, String>) -> Result<BTreeMap<TableName, String>>;

    /// Removes a table's entry; its data is not touched.
    ///
    /// # Errors
    /// As [`Self::difference`].
    async fn remove(&self, table: &TableName) -> Result<()>;

    /// False if the lake itself is the catalog, so there is nothing to register.
    fn keeps_entries(&self) -> bool {
        true
    }
}

/// The lake as its own catalog: tables are the folders with a log.
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
