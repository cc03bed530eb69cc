//! Tables in the Glue Data Catalog, where Athena, Spark and users find them.

mod client;
mod compare;
mod entry;

use pulse_core::name::TableName;
use pulse_engine::catalog::TableDescription;

pub use client::{GlueCatalog, GlueOptions};
pub use compare::difference;
pub use entry::{Entry, entry_of};

/// A table's database: the prefix followed by the layer.
fn database(prefix: &str, table: &TableName) -> String {
    format!("{prefix}{}", table.layer())
}

/// Normalizes a folder: readers accept it with and without the slash.
fn folder(location: &str) -> &str {
    location.trim_end_matches('/')
}

/// Whether an entry is for this location, and not for another lake's table of the same name.
fn is_here(entry: &Entry, table: &TableDescription) -> bool {
    entry.location.is_empty() || folder(&entry.location) == folder(&table.location)
}

#[cfg(test)]
mod tests;
