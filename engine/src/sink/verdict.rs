//! Decides which rows of a batch are kept, dropped or quarantined. Pure, one batch at a time.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::make_comparator;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, RecordBatch, StringBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{SortOptions, filter_record_batch, partition};
use arrow::error::ArrowError;
use pulse_core::notes::Notes;
use pulse_core::{Error, Result};

use super::{Adjacency, FailAction, NOTE, REASON, RowCheck, UniqueCheck};

/// The split of a batch.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Rows for the table, with all columns.
    pub(super) kept: RecordBatch,
    /// Rows for quarantine, with all columns, and a reason for each.
    pub(super) quarantined: Option<(RecordBatch, ArrayRef)>,
    pub(super) rejected: u64,
    pub(super) dropped: u64,
    /// Failures by check.
    pub(super) failed: Vec<u64>,
}

/// Splits rows by the reader's rejects and the checks that the plan below computed. A check holds only if it is true,
/// not null.
///
/// If the sink itself writes the column [`REASON`], as for a quarantine table, nothing is rejected.
pub(super) fn judge(batch: &RecordBatch, checks: &[RowCheck], columns: &[String]) -> Result<Verdict> {
    let is_written = columns.iter().any(|column| column == REASON);
    let reasons = batch.column_by_name(REASON).filter(|_| !is_written);
    let rejects = reasons.filter(|reasons| reasons.null_count() < reasons.len());
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

/// Removes the notes of file readers from a batch and adds them to `notes`.
pub(crate) fn without_notes(batch: &RecordBatch, columns: &[String], notes: &mut Notes) -> Result<RecordBatch> {
    let is_written = columns.iter().any(|column| column == REASON);
    let reasons = batch.column_by_name(REASON).filter(|reasons| !is_written && reasons.null_count() < reasons.len());
    let Some(reasons) = reasons.and_then(|reasons| reasons.as_string_opt::<i32>()) else { return Ok(batch.clone()) };
    let mut is_row = BooleanBufferBuilder::new(batch.num_rows());
    for reason in reasons {
        let note = reason.and_then(|reason| reason.strip_prefix(NOTE));
        if let Some(note) = note {
            let note = serde_json::from_str(note);
            notes.add(note.map_err(|e| Error::internal("a note of a file cannot be read").with_source(e))?);
        }
        is_row.append(note.is_none());
    }
    let is_row = is_row.finish();
    if is_row.count_set_bits() == batch.num_rows() { Ok(batch.clone()) } else { filtered(batch, is_row) }
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

/// Finds rows of a sorted stream that equal the row before them in the unique columns.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// Unique columns of the last row seen; arrays of length one.
    last: Option<Vec<ArrayRef>>,
    disordered: bool,
}

impl Repeats {
    /// True where a row repeats its predecessor, which may be in an earlier batch.
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
            let compared = compare(last, 0, &columns, 0).map_err(|e| uncomparable(unique, e))?;
            repeated.set_bit(0, compared.is_eq());
            self.disordered |= compared.is_gt() && unique.adjacency == Adjacency::Watched;
        }
        if unique.adjacency == Adjacency::Watched {
            self.disordered |= !ascends(&columns, &ranges).map_err(|e| uncomparable(unique, e))?;
        }
        self.last = Some(columns.iter().map(|column| column.slice(batch.num_rows() - 1, 1)).collect());
        Ok(repeated.finish())
    }

    /// Whether rows were not in the order of the unique columns, so that equal ones may not have been adjacent.
    pub(super) fn disordered(&self) -> bool {
        self.disordered
    }
}

const ASCENDING: SortOptions = SortOptions { descending: false, nulls_first: false };

fn compare(left: &[ArrayRef], at: usize, right: &[ArrayRef], other: usize) -> Result<Ordering, ArrowError> {
    for (left, right) in left.iter().zip(right) {
        let compared = make_comparator(left, right, ASCENDING)?(at, other);
        if compared.is_ne() {
            return Ok(compared);
        }
    }
    Ok(Ordering::Equal)
}

/// Whether the ranges of equal rows are strictly ascending.
fn ascends(columns: &[ArrayRef], ranges: &[Range<usize>]) -> Result<bool, ArrowError> {
    let compare =
        columns.iter().map(|column| make_comparator(column, column, ASCENDING)).collect::<Result<Vec<_>, _>>()?;
    let starts = ranges.iter().skip(1).map(|range| range.start);
    let below = |start: usize| {
        let compared = compare.iter().map(|compare| compare(start - 1, start)).find(|compared| compared.is_ne());
        compared == Some(Ordering::Less)
    };
    Ok(starts.into_iter().all(below))
}

fn uncomparable(unique: &UniqueCheck, error: ArrowError) -> Error {
    Error::invalid(format!("`{}`: its columns cannot be compared", unique.name)).with_source(error)
}
