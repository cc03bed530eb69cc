//! Which rows of a batch are kept, dropped or quarantined: pure, one batch at a time.

use std::sync::Arc;

use arrow::array::make_comparator;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, RecordBatch, StringBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{SortOptions, filter_record_batch, partition};
use pulse_core::{Error, Result};

use super::{FailAction, REASON, RowCheck, SinkSpec, UniqueCheck};

/// A batch, sorted out.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Rows that go to the table, all columns.
    pub(super) kept: RecordBatch,
    /// Rows that go to quarantine, all columns, and a reason for each.
    pub(super) quarantined: Option<(RecordBatch, ArrayRef)>,
    pub(super) rejected: u64,
    pub(super) dropped: u64,
    /// Failures by check.
    pub(super) failed: Vec<u64>,
}

/// Judges rows by what the plan below computed: rejects of the reader and checks. A check holds only when it is true.
pub(super) fn judge(batch: &RecordBatch, spec: &SinkSpec) -> Result<Verdict> {
    let checks = spec.checks.as_slice();
    // A quarantine table that is written anew has the column as its own; its rows are not rejected once more.
    let rejects = batch.column_by_name(REASON).filter(|_| !spec.columns.iter().any(|column| column == REASON));
    let rejects = rejects.filter(|reason| reason.null_count() < reason.len());
    let failures = checks.iter().map(|check| failures(batch, check)).collect::<Result<Vec<_>>>()?;
    if rejects.is_none() && failures.iter().all(|failed| failed.count_set_bits() == 0) {
        let failed = vec![0; checks.len()];
        return Ok(Verdict { kept: batch.clone(), quarantined: None, rejected: 0, dropped: 0, failed });
    }
    let considered = match rejects {
        Some(reasons) => !&validity(reasons),
        None => BooleanBuffer::new_set(batch.num_rows()),
    };
    let failures: Vec<BooleanBuffer> = failures.iter().map(|failed| failed & &considered).collect();
    let union = |action: FailAction| {
        checks
            .iter()
            .zip(&failures)
            .filter(|(check, _)| check.on_fail == action)
            .fold(BooleanBuffer::new_unset(batch.num_rows()), |all, (_, failed)| &all | failed)
    };
    let quarantine = &union(FailAction::Quarantine) | &!&considered;
    let drop = &union(FailAction::Drop) & &!&quarantine;
    let keep = !&(&quarantine | &drop);
    Ok(Verdict {
        kept: filtered(batch, keep)?,
        quarantined: quarantined(batch, &quarantine, rejects, checks, &failures)?,
        rejected: as_count(&!&considered),
        dropped: as_count(&drop),
        failed: failures.iter().map(as_count).collect(),
    })
}

fn as_count(bits: &BooleanBuffer) -> u64 {
    bits.count_set_bits() as u64
}

fn validity(array: &ArrayRef) -> BooleanBuffer {
    array.nulls().map_or_else(|| BooleanBuffer::new_set(array.len()), |nulls| nulls.inner().clone())
}

fn failures(batch: &RecordBatch, check: &RowCheck) -> Result<BooleanBuffer> {
    let holds = batch
        .column_by_name(&check.column)
        .and_then(|column| column.as_boolean_opt())
        .ok_or_else(|| Error::internal(format!("check `{}` has no boolean column", check.name)))?;
    let passed = match holds.nulls() {
        Some(nulls) => holds.values() & nulls.inner(),
        None => holds.values().clone(),
    };
    Ok(!&passed)
}

fn filtered(batch: &RecordBatch, keep: BooleanBuffer) -> Result<RecordBatch> {
    filter_record_batch(batch, &BooleanArray::new(keep, None))
        .map_err(|e| Error::internal("rows cannot be filtered").with_source(e))
}

fn quarantined(
    batch: &RecordBatch,
    rows: &BooleanBuffer,
    rejects: Option<&ArrayRef>,
    checks: &[RowCheck],
    failures: &[BooleanBuffer],
) -> Result<Option<(RecordBatch, ArrayRef)>> {
    if rows.count_set_bits() == 0 {
        return Ok(None);
    }
    let reject_text = rejects.and_then(|reasons| reasons.as_string_opt::<i32>());
    let mut reasons = StringBuilder::new();
    for row in rows.set_indices() {
        match reject_text {
            Some(text) if text.is_valid(row) => reasons.append_value(text.value(row)),
            _ => reasons.append_value(names_of_failed(row, checks, failures)),
        }
    }
    Ok(Some((filtered(batch, rows.clone())?, Arc::new(reasons.finish()))))
}

fn names_of_failed(row: usize, checks: &[RowCheck], failures: &[BooleanBuffer]) -> String {
    let names: Vec<&str> = checks
        .iter()
        .zip(failures)
        .filter(|(check, failed)| check.on_fail == FailAction::Quarantine && failed.value(row))
        .map(|(check, _)| check.name.as_str())
        .collect();
    names.join("; ")
}

/// Rows of a sorted stream that repeat the row before them in the unique columns.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// Unique columns of the last row seen, one row long.
    last: Option<Vec<ArrayRef>>,
}

impl Repeats {
    /// True where a row repeats its predecessor, which may lie in an earlier batch.
    pub(super) fn find(&mut self, batch: &RecordBatch, unique: &UniqueCheck) -> Result<BooleanBuffer> {
        let columns = unique
            .columns
            .iter()
            .map(|name| batch.column_by_name(name).cloned())
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Error::internal(format!("`{}`: a unique column is not in the sink's input", unique.name)))?;
        if batch.num_rows() == 0 {
            return Ok(BooleanBuffer::new_unset(0));
        }
        let ranges = partition(&columns).map_err(|e| uncomparable(unique, e))?.ranges();
        let mut repeated = BooleanBufferBuilder::new(batch.num_rows());
        repeated.append_n(batch.num_rows(), true);
        for range in &ranges {
            repeated.set_bit(range.start, false);
        }
        if let Some(last) = &self.last {
            repeated.set_bit(0, first_equals(last, &columns, unique)?);
        }
        self.last = Some(columns.iter().map(|column| column.slice(batch.num_rows() - 1, 1)).collect());
        Ok(repeated.finish())
    }
}

fn first_equals(last: &[ArrayRef], columns: &[ArrayRef], unique: &UniqueCheck) -> Result<bool> {
    for (before, now) in last.iter().zip(columns) {
        let compare = make_comparator(before, now, SortOptions::default()).map_err(|e| uncomparable(unique, e))?;
        if compare(0, 0).is_ne() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn uncomparable(unique: &UniqueCheck, error: arrow::error::ArrowError) -> Error {
    Error::invalid(format!("`{}`: its columns cannot be compared", unique.name)).with_source(error)
}
