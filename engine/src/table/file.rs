//! Files of a table.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Schema};
use chrono::{DateTime, Utc};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::scalar::ScalarValue;
use deltalake_core::kernel::Add;
use pulse_core::{Error, Result};

use super::DeletionVector;
use super::statistics::{FileStatistics, parse_statistics};

/// Tag of an `add` action: columns the file's rows are sorted by, comma separated.
pub const ORDER_TAG: &str = "pulse.order";

/// Tag of an `add` action: the target size, in bytes, of the optimization that wrote the file.
pub const OPTIMIZED_TAG: &str = "pulse.optimized";

/// A committed Parquet file.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// Relative to the table's root, not URL-encoded.
    pub path: String,
    pub bytes: u64,
    /// Milliseconds since the epoch, UTC.
    pub modified: i64,
    pub partition_values: HashMap<String, Option<String>>,
    /// Columns its rows are sorted by, if we wrote it so.
    pub order: Vec<String>,
    /// Target size of the optimization that wrote it, if one did.
    pub optimized: Option<u64>,
    /// Which of its rows are deleted; only in tables that others write.
    pub deletion_vector: Option<DeletionVector>,
    statistics: FileStatistics,
}

impl DataFile {
    pub fn from_add(add: &Add, schema: &Schema) -> Self {
        let tag = |name| add.tags.as_ref().and_then(|tags| tags.get(name)).and_then(Option::as_deref);
        let order = tag(ORDER_TAG).unwrap_or_default();
        Self {
            path: add.path.clone(),
            bytes: u64::try_from(add.size).unwrap_or_default(),
            modified: add.modification_time,
            partition_values: add.partition_values.clone().into_iter().map(null_if_empty).collect(),
            order: order.split(',').filter(|column| !column.is_empty()).map(str::to_owned).collect(),
            optimized: tag(OPTIMIZED_TAG).and_then(|bytes| bytes.parse().ok()),
            deletion_vector: None,
            statistics: parse_statistics(add.stats.as_deref(), schema),
        }
    }

    /// With the columns' names in SQL; columns without one are gone.
    pub(super) fn renamed(mut self, name: impl Fn(&str) -> Option<String>) -> Self {
        fn keys<V>(values: HashMap<String, V>, name: impl Fn(&str) -> Option<String>) -> HashMap<String, V> {
            values.into_iter().filter_map(|(known, value)| Some((name(&known)?, value))).collect()
        }
        self.partition_values = keys(self.partition_values, &name);
        self.statistics.min = keys(self.statistics.min, &name);
        self.statistics.max = keys(self.statistics.max, &name);
        self.statistics.null_counts = keys(self.statistics.null_counts, &name);
        self.order.clear();
        self
    }

    /// Without the rows of a deletion vector. Bounds of the others are those of all; a count of nulls is known where it is none or all.
    pub(super) fn without_rows(mut self, deleted: DeletionVector) -> Self {
        let all = self.statistics.rows;
        let rows = all.and_then(|all| all.checked_sub(deleted.rows));
        let nulls = std::mem::take(&mut self.statistics.null_counts).into_iter();
        let known = |count: u64| if count == 0 { Some(0) } else { rows.filter(|_| Some(count) == all) };
        self.statistics.null_counts = nulls.filter_map(|(name, count)| Some((name, known(count)?))).collect();
        self.statistics.rows = rows;
        self.deletion_vector = Some(deleted);
        self
    }

    /// What tells files of one table apart: with other rows deleted, a file is another one.
    pub(crate) fn key(&self) -> (&str, Option<&DeletionVector>) {
        (&self.path, self.deletion_vector.as_ref())
    }

    pub fn rows(&self) -> Option<u64> {
        self.statistics.rows
    }

    /// A lower bound of a column's values, or the partition's value; none when unknown or all null.
    pub fn min(&self, column: &str, data_type: &DataType) -> Option<ScalarValue> {
        self.partition_bound(column, data_type).or_else(|| self.statistics.min.get(column).cloned())
    }

    /// An upper bound; see [`Self::min`].
    pub fn max(&self, column: &str, data_type: &DataType) -> Option<ScalarValue> {
        self.partition_bound(column, data_type).or_else(|| self.statistics.max.get(column).cloned())
    }

    /// A null bounds nothing, also where all rows of the null partition are deleted and no null is left.
    fn partition_bound(&self, column: &str, data_type: &DataType) -> Option<ScalarValue> {
        self.partition_value(column, data_type).filter(|value| !value.is_null())
    }

    pub fn null_count(&self, column: &str) -> Option<u64> {
        match self.partition_values.get(column) {
            Some(Some(_)) => Some(0),
            Some(None) => self.rows(),
            None => self.statistics.null_counts.get(column).copied(),
        }
    }

    /// The value of a partition column as its type; null for the null partition.
    pub fn partition_value(&self, column: &str, data_type: &DataType) -> Option<ScalarValue> {
        partition_value(self.partition_values.get(column)?.as_deref(), data_type)
    }

    /// As [`Self::partition_value`].
    ///
    /// # Errors
    /// `Data` when the log has none of the type.
    pub(crate) fn known_partition_value(&self, column: &str, data_type: &DataType) -> Result<ScalarValue> {
        let path = &self.path;
        self.partition_value(column, data_type)
            .ok_or_else(|| Error::data(format!("file {path} has no value of partition column `{column}`")))
    }

    /// Bounds, not exact values: long strings are cut and stamps rounded in Delta's statistics.
    pub fn column_statistics(&self, schema: &Schema) -> Statistics {
        let columns = schema
            .fields()
            .iter()
            .map(|field| ColumnStatistics {
                null_count: inexact(self.null_count(field.name()).map(|n| usize::try_from(n).unwrap_or(usize::MAX))),
                min_value: inexact(self.min(field.name(), field.data_type())),
                max_value: inexact(self.max(field.name(), field.data_type())),
                ..ColumnStatistics::new_unknown()
            })
            .collect();
        Statistics {
            num_rows: self.rows().and_then(|n| usize::try_from(n).ok()).map_or(Precision::Absent, Precision::Exact),
            total_byte_size: Precision::Inexact(usize::try_from(self.bytes).unwrap_or(usize::MAX)),
            column_statistics: columns,
        }
    }
}

/// To Delta, an empty text is null whatever the column's type.
fn null_if_empty((name, value): (String, Option<String>)) -> (String, Option<String>) {
    (name, value.filter(|text| !text.is_empty()))
}

/// A partition's value as Delta writes it; none when it is not of the type.
pub(crate) fn partition_value(text: Option<&str>, data_type: &DataType) -> Option<ScalarValue> {
    match text {
        Some(text) => ScalarValue::try_from_string(text.to_owned(), data_type).ok(),
        None => ScalarValue::try_from(data_type).ok(),
    }
}

fn inexact<T: std::fmt::Debug + Clone + PartialEq + Eq + PartialOrd>(value: Option<T>) -> Precision<T> {
    value.map_or(Precision::Absent, Precision::Inexact)
}

/// A file that no version needs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Unneeded {
    /// Relative to the table's folder.
    pub path: String,
    pub bytes: u64,
    pub modified: DateTime<Utc>,
}

/// Whether readers of tables ignore files of this name.
pub(super) fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with(['_', '.']))
}
