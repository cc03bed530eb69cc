//! From a calculation that takes one row after the other to an evaluator of whole partitions.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use datafusion::arrow::buffer::{BooleanBuffer, NullBuffer};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::logical_expr::PartitionEvaluator;

/// A calculation over rows of `COLUMNS` numbers, fed in order.
pub(super) trait Chain<const COLUMNS: usize>: Debug + Send + 'static {
    /// Whether the row counts. One that does not gives null and leaves the state alone.
    fn accepts(row: &[f64; COLUMNS]) -> bool {
        row.iter().all(|value| value.is_finite())
    }

    /// The value after this row; NaN while there is none.
    fn push(&mut self, row: [f64; COLUMNS]) -> f64;
}

/// For a chain over prices, of which ratios or logarithms are taken.
pub(super) fn is_price(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

pub(super) fn evaluator<const COLUMNS: usize>(chain: impl Chain<COLUMNS>) -> Box<dyn PartitionEvaluator> {
    Box::new(ChainEvaluator::<_, COLUMNS> { chain })
}

/// One evaluator is one window partition. Its rows may come in one call or in consecutive pieces, with equal results:
/// who has sorted rows need not hold a partition whole.
#[derive(Debug)]
struct ChainEvaluator<C, const COLUMNS: usize> {
    chain: C,
}

impl<C: Chain<COLUMNS>, const COLUMNS: usize> PartitionEvaluator for ChainEvaluator<C, COLUMNS> {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let columns: Vec<&Float64Array> = values.iter().filter_map(|column| column.as_primitive_opt()).collect();
        let columns: [&Float64Array; COLUMNS] = columns.try_into().map_err(|_| {
            internal_datafusion_err!("an indicator takes {COLUMNS} columns of doubles, found {values:?}")
        })?;
        Ok(Arc::new(run(&mut self.chain, columns, rows)))
    }

    fn is_causal(&self) -> bool {
        true
    }
}

fn run<C: Chain<COLUMNS>, const COLUMNS: usize>(
    chain: &mut C,
    columns: [&Float64Array; COLUMNS],
    rows: usize,
) -> Float64Array {
    let nulls = NullBuffer::union_many(columns.map(|column| column.nulls()));
    let values = columns.map(|column| &column.values()[..rows]);
    let mut results = Vec::with_capacity(rows);
    for index in 0..rows {
        let row = values.map(|column| column[index]);
        let counts = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(index)) && C::accepts(&row);
        results.push(if counts { chain.push(row) } else { f64::NAN });
    }
    let valid = NullBuffer::new(BooleanBuffer::collect_bool(rows, |index| results[index].is_finite()));
    Float64Array::new(results.into(), Some(valid).filter(|valid| valid.null_count() > 0))
}
