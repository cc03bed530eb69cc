//! Finds different rows of one key that tie with the kept one.

use std::cmp::Ordering;

use arrow::array::{ArrayRef, BooleanBufferBuilder, DynComparator, RecordBatch, make_comparator};
use arrow::buffer::BooleanBuffer;
use arrow::compute::SortOptions;
use arrow::error::ArrowError;
use pulse_core::{Error, Result};

use super::UniqueCheck;

/// Scans a sorted stream in which the kept row is the first of its key.
#[derive(Debug, Default)]
pub(super) struct Ties {
    /// The first row of the current key; has length one.
    first: Option<RecordBatch>,
}

impl Ties {
    /// True where a row ties with the first one of its key. `repeated` is false for these; `columns` are all columns of
    /// the table.
    pub(super) fn find(
        &mut self,
        batch: &RecordBatch,
        repeated: &BooleanBuffer,
        unique: &UniqueCheck,
        columns: &[String],
    ) -> Result<BooleanBuffer> {
        let failed = |e| Error::invalid(format!("`{}`: its columns cannot be compared", unique.name)).with_source(e);
        let order: Vec<String> = unique.keep_first_by.iter().map(|key| key.column.clone()).collect();
        let within = Comparison::new(batch, batch, &order, columns).map_err(failed)?;
        let earlier = self.first.as_ref().map(|first| Comparison::new(first, batch, &order, columns));
        let earlier = earlier.transpose().map_err(failed)?;
        let mut tied = BooleanBufferBuilder::new(batch.num_rows());
        let mut first = None;
        for row in 0..batch.num_rows() {
            if !repeated.value(row) {
                first = Some(row);
            }
            tied.append(
                repeated.value(row)
                    && match (first, &earlier) {
                        (Some(first), _) => within.ties(first, row),
                        (None, Some(earlier)) => earlier.ties(0, row),
                        (None, None) => false,
                    },
            );
        }
        if let Some(first) = first {
            self.first = Some(batch.slice(first, 1));
        }
        Ok(tied.finish())
    }
}

struct Comparison {
    order: Vec<DynComparator>,
    columns: Vec<DynComparator>,
}

impl Comparison {
    fn new(left: &RecordBatch, right: &RecordBatch, order: &[String], columns: &[String]) -> Result<Self, ArrowError> {
        let column = |batch: &RecordBatch, name: &String| -> Result<ArrayRef, ArrowError> {
            batch.column_by_name(name).cloned().ok_or_else(|| ArrowError::SchemaError(format!("no column `{name}`")))
        };
        let comparators = |names: &[String]| {
            let of = |name| make_comparator(&column(left, name)?, &column(right, name)?, SortOptions::default());
            names.iter().map(of).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self { order: comparators(order)?, columns: comparators(columns)? })
    }

    fn ties(&self, left: usize, right: usize) -> bool {
        let equal = |comparators: &[DynComparator]| comparators.iter().all(|c| c(left, right) == Ordering::Equal);
        equal(&self.order) && !equal(&self.columns)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use super::*;
    use crate::sink::{Adjacency, FailAction, SortKey};

    /// Which rows of (key, time, value) tie, given in one batch or in batches of one row.
    fn tied(rows: &[(i64, Option<i64>, i64)], together: bool) -> Vec<bool> {
        let unique = UniqueCheck {
            name: "latest".to_owned(),
            columns: vec!["k".to_owned()],
            adjacency: Adjacency::Proven,
            on_fail: FailAction::Supersede,
            keep_first_by: vec![SortKey::ascending("t")],
        };
        let columns = ["k", "t", "v"].map(str::to_owned);
        let mut ties = Ties::default();
        let mut last = None;
        let mut found = Vec::new();
        for rows in rows.chunks(if together { rows.len() } else { 1 }) {
            let array = |values: Vec<Option<i64>>| Arc::new(Int64Array::from(values)) as ArrayRef;
            let arrays = [
                array(rows.iter().map(|row| Some(row.0)).collect()),
                array(rows.iter().map(|row| row.1).collect()),
                array(rows.iter().map(|row| Some(row.2)).collect()),
            ];
            let batch = RecordBatch::try_from_iter(columns.iter().cloned().zip(arrays)).unwrap();
            let repeated = rows.iter().map(|row| last.replace(row.0) == Some(row.0)).collect();
            let repeated = ties.find(&batch, &repeated, &unique, &columns).unwrap();
            found.extend(repeated.iter());
        }
        found
    }

    #[test]
    fn rows_as_late_as_the_first_tie_unless_they_are_equal() {
        let rows = [
            (1, Some(9), 1),
            (1, Some(9), 1),
            (1, Some(9), 2),
            (1, Some(8), 3),
            (1, Some(8), 4),
            (2, None, 1),
            (2, None, 2),
        ];
        for together in [true, false] {
            assert_eq!(tied(&rows, together), [false, false, true, false, false, false, true]);
        }
    }
}
