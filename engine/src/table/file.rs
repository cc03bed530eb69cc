//! Files of a table: those of a snapshot, and those of none.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Schema};
use chrono::{DateTime, Utc};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::scalar::ScalarValue;
use deltalake_core::kernel::Add;

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
            partition_values: add.partition_values.clone(),
            order: order.split(',').filter(|column| !column.is_empty()).map(str::to_owned).collect(),
            optimized: tag(OPTIMIZED_TAG).and_then(|bytes| bytes.parse().ok()),
            statistics: parse_statistics(add.stats.as_deref(), schema),
        }
    }

    pub fn rows(&self) -> Option<u64> {
        self.statistics.rows
    }

    /// A lower bound of a column's values, or the partition's value; none when unknown or all null.
    pub fn min(&self, column: &str, data_type: &DataType) -> Option<ScalarValue> {
        self.partition_value(column, data_type).or_else(|| self.statistics.min.get(column).cloned())
    }

    /// An upper bound; see [`Self::min`].
    pub fn max(&self, column: &str, data_type: &DataType) -> Option<ScalarValue> {
        self.partition_value(column, data_type).or_else(|| self.statistics.max.get(column).cloned())
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
        match self.partition_values.get(column)? {
            Some(text) => ScalarValue::try_from_string(text.clone(), data_type).ok(),
            None => ScalarValue::try_from(data_type).ok(),
        }
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

fn inexact<T: std::fmt::Debug + Clone + PartialEq + Eq + PartialOrd>(value: Option<T>) -> Precision<T> {
    value.map_or(Precision::Absent, Precision::Inexact)
}

/// One file that nobody needs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Unneeded {
    /// Below the table's folder.
    pub path: String,
    pub bytes: u64,
    pub modified: DateTime<Utc>,
}

/// Of a name that readers of tables do not look at.
pub(super) fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with(['_', '.']))
}
