//! Tables in the Glue Data Catalog, where Athena, Spark and people find them.

mod client;
mod compare;
mod entry;

use pulse_core::name::TableName;
use pulse_engine::catalog::TableDescription;

pub use client::{GlueCatalog, GlueOptions};
pub use compare::difference;
pub use entry::{Entry, entry_of};

/// A table's database: the layer behind the prefix.
fn database(prefix: &str, table: &TableName) -> String {
    format!("{prefix}{}", table.layer())
}

/// One spelling of a folder: readers take both, with and without the slash.
fn folder(location: &str) -> &str {
    location.trim_end_matches('/')
}

/// Whether an entry is about this place and not about another lake's table of the same name.
fn is_here(entry: &Entry, table: &TableDescription) -> bool {
    entry.location.is_empty() || folder(&entry.location) == folder(&table.location)
}

#[cfg(test)]
mod tests;
