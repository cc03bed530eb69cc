//! Whether we may write to a table: what its protocol, properties and columns require of a writer.
//!
//! Delta's rules are in its PROTOCOL.md. What is not listed here as honoured is refused, so a feature that nobody knows yet is
//! refused as well.

use std::collections::BTreeMap;

use delta_kernel::schema::{DataType, StructField, StructType};
use deltalake_core::kernel::Protocol;
use pulse_core::{Error, Result};

use super::{Commit, Removal, Snapshot, Table, Whole};

/// What a write does to the rows of a table. A later one is bound by all that binds an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowChange {
    /// The same rows, in other files or with unneeded files deleted.
    Kept,
    Added,
    /// Rows are removed, and others may take their place.
    Replaced,
}

impl Commit {
    pub(super) fn row_change(&self) -> RowChange {
        if let Some(Whole::Dropped) = self.whole {
            // What a table promises of its rows ends with it.
            return RowChange::Kept;
        }
        match (self.read_table, self.removes.is_empty()) {
            (Removal::Moved, _) => RowChange::Kept,
            (Removal::Independent | Removal::FromRows, true) => RowChange::Added,
            (Removal::Independent | Removal::FromRows, false) => RowChange::Replaced,
        }
    }
}

impl Table {
    /// # Errors
    /// `Invalid` when the table requires something that such a write does not do.
    pub(crate) fn refuse_unwritable(&self, snapshot: &Snapshot, change: RowChange) -> Result<()> {
        writable(&snapshot.protocol, &snapshot.configuration, &snapshot.columns, change)
            .map_err(|why| Error::invalid(format!("table {} at {} {why}", self.name(), self.url())))
    }
}

/// The first version that lists its features by name.
const FEATURES_VERSION: i32 = 7;

/// Writer features that are safe to write with, for the reason given.
const HONOURED: [&str; 13] = [
    // Their effects are in the properties and columns below, and are refused there where we do not do what they require.
    "appendOnly",
    "invariants",
    "checkConstraints",
    "changeDataFeed",
    "generatedColumns",
    "identityColumns",
    "inCommitTimestamp",
    "icebergCompatV1",
    "icebergCompatV2",
    "icebergCompatV3",
    // We write no domain. Features that give one a meaning, such as `clustering`, have names of their own.
    "domainMetadata",
    // We delete no entries and no checkpoints of a log, and write checkpoints of the newest version only.
    "checkpointProtection",
    // Columns of the type are written as they are.
    "timestampNtz",
];

/// A property of the table, what it turns off with, the least write that it binds, and what it requires.
type PropertyRule = (&'static str, &'static str, RowChange, &'static str);

/// Any value other than `off` counts as on, also in protocol versions that do not define the property.
const PROPERTIES: [PropertyRule; 10] = [
    ("delta.appendOnly", "false", RowChange::Replaced, "this run would remove or replace rows"),
    ("delta.enableChangeDataFeed", "false", RowChange::Replaced, "pulse writes no change data for removed rows"),
    ("delta.enableRowTracking", "false", RowChange::Kept, "pulse assigns no row ids"),
    ("delta.enableInCommitTimestamps", "false", RowChange::Kept, "pulse writes no timestamps in commits"),
    ("delta.enableIcebergCompatV1", "false", RowChange::Kept, NO_ICEBERG),
    ("delta.enableIcebergCompatV2", "false", RowChange::Kept, NO_ICEBERG),
    ("delta.enableIcebergCompatV3", "false", RowChange::Kept, NO_ICEBERG),
    ("delta.enableIcebergWriterCompatV1", "false", RowChange::Kept, NO_ICEBERG),
    ("delta.enableIcebergWriterCompatV3", "false", RowChange::Kept, NO_ICEBERG),
    ("delta.columnMapping.mode", "none", RowChange::Kept, "pulse does not map columns"),
];

const NO_ICEBERG: &str = "pulse does not keep to Iceberg's rules";

/// Beginning of the properties that hold a condition on each row.
const CONSTRAINT: &str = "delta.constraints.";

/// Prefixes of keys in a column's metadata, and the rule that each stands for. Writers that add rows have to keep it.
const COLUMNS: [(&str, &str); 3] = [
    ("delta.invariants", "has an invariant, which pulse does not check: make it an expectation of the job"),
    ("delta.generationExpression", "is generated, which pulse does not do: compute it in the query"),
    ("delta.identity.", "is an identity column, which pulse does not count on: compute a key in the query"),
];

/// # Errors
/// What stands in the way and what to do about it, as the end of a sentence about the table.
fn writable(
    protocol: &Protocol,
    configuration: &BTreeMap<String, String>,
    columns: &StructType,
    change: RowChange,
) -> Result<(), String> {
    refuse_features(protocol)?;
    refuse_properties(configuration, change)?;
    match change {
        RowChange::Kept => Ok(()),
        RowChange::Added | RowChange::Replaced => refuse_columns(columns),
    }
}

/// Versions below the one with named features have a fixed set of them, and all of those are honoured.
fn refuse_features(protocol: &Protocol) -> Result<(), String> {
    let version = protocol.min_writer_version();
    if version > FEATURES_VERSION {
        return Err(format!(
            "requires writer version {version}, and pulse knows {FEATURES_VERSION} at most; rewrite it with Delta protocol 1,2"
        ));
    }
    let features = protocol.writer_features().unwrap_or_default().iter().map(ToString::to_string);
    match features.filter(|feature| !HONOURED.contains(&feature.as_str())).min() {
        None => Ok(()),
        Some(feature) => Err(format!(
            "has the writer feature `{feature}`, which pulse does not honour; remove it (`alter table .. drop feature \
             {feature}`) or rewrite the table with Delta protocol 1,2"
        )),
    }
}

fn refuse_properties(configuration: &BTreeMap<String, String>, change: RowChange) -> Result<(), String> {
    for (property, off, binds, why) in PROPERTIES {
        let Some(value) = configuration.get(property) else { continue };
        if change >= binds && !value.trim().eq_ignore_ascii_case(off) {
            return Err(format!(
                "has the property `{property}` = `{value}`, and {why}; set the property to `{off}` (`alter table .. set \
                 tblproperties ('{property}' = '{off}')`){}",
                if property == "delta.appendOnly" { ", or let the job only append" } else { "" }
            ));
        }
    }
    let constraint = configuration.iter().find(|(property, _)| property.starts_with(CONSTRAINT));
    match constraint {
        Some((property, condition)) if change > RowChange::Kept => Err(format!(
            "has the constraint `{property}` = `{condition}`, which pulse does not check; make it an expectation of the job \
             and remove it (`alter table .. drop constraint {}`)",
            property.trim_start_matches(CONSTRAINT)
        )),
        Some(_) | None => Ok(()),
    }
}

fn refuse_columns(columns: &StructType) -> Result<(), String> {
    for field in columns.fields() {
        if !field.nullable {
            return Err(format!(
                "has the column `{name}` that is not null, which pulse does not check; make it an expectation of the job and \
                 allow nulls (`alter table .. alter column {name} drop not null`)",
                name = field.name
            ));
        }
        refuse_column(field)?;
    }
    Ok(())
}

/// Columns within a column may be bound as well. That one of them is not null is part of its type, which rows must have.
fn refuse_column(field: &StructField) -> Result<(), String> {
    for (key, why) in COLUMNS {
        if let Some(found) = field.metadata.keys().find(|found| found.starts_with(key)) {
            return Err(format!("has the column `{}` that {why}, and remove `{found}` from the column", field.name));
        }
    }
    refuse_within(&field.data_type)
}

fn refuse_within(data_type: &DataType) -> Result<(), String> {
    match data_type {
        DataType::Struct(inner) => inner.fields().try_for_each(refuse_column),
        DataType::Array(array) => refuse_within(&array.element_type),
        DataType::Map(map) => refuse_within(&map.key_type).and_then(|()| refuse_within(&map.value_type)),
        DataType::Primitive(_) | DataType::Variant(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
