//! Which files a filter leaves: those whose path says values that it is not false for.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema};
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::utils::{disjunction, split_binary};
use datafusion::logical_expr::{Expr, Operator};
use pulse_core::sources::{Feed, FileSource};

use super::chunks::into_datafusion;
use super::hive::Partitions;
use super::layout::{REASON, file_source_schema};
use super::listing::SourceFile;

/// What a filter says of a row that is not rejected: rejected rows may be let through by `or _reason is not null`.
fn of_good_rows(filter: &Expr) -> Option<Expr> {
    let is_of_rejects = |expr: &&Expr| match expr {
        Expr::IsNotNull(inner) => matches!(inner.as_ref(), Expr::Column(column) if column.name == REASON),
        _ => false,
    };
    let parts = split_binary(filter, Operator::Or).into_iter().filter(|part| !is_of_rejects(part));
    disjunction(parts.cloned())
}

/// The columns that a filter looks at, if it picks files: all of them are said by paths, and it has one value for each file.
fn columns_of_paths(source: &FileSource, filter: &Expr) -> Option<BTreeSet<String>> {
    let columns: BTreeSet<String> = filter.column_refs().into_iter().map(|column| column.name.clone()).collect();
    let is_of_paths = |name: &String| source.feed.values().any(|feed| feed.has_from_path(name));
    (!columns.is_empty() && columns.iter().all(is_of_paths) && !filter.is_volatile()).then_some(columns)
}

/// Whether some feed's files are left out where a filter is false.
pub(super) fn picks_files(source: &FileSource, filter: &Expr) -> bool {
    of_good_rows(filter).is_some_and(|filter| columns_of_paths(source, &filter).is_some())
}

/// Picks the files of one source.
pub(super) struct Picker<'a> {
    source: &'a FileSource,
}

impl<'a> Picker<'a> {
    pub(super) fn new(source: &'a FileSource) -> Self {
        Self { source }
    }

    /// The files for which no filter is false or null. A file whose path does not say its values stays, so that it is rejected.
    ///
    /// # Errors
    /// When the values of a path cannot be read for what the source declares.
    pub(super) fn picked(
        &self,
        session: &dyn Session,
        filters: &[Expr],
        mut files: Vec<SourceFile>,
    ) -> Result<Vec<SourceFile>> {
        let filters = filters.iter().filter_map(of_good_rows);
        let filters: Vec<(BTreeSet<String>, Expr)> =
            filters.filter_map(|filter| Some((columns_of_paths(self.source, &filter)?, filter))).collect();
        for (columns, filter) in &filters {
            for (name, feed) in &self.source.feed {
                if columns.iter().all(|column| feed.has_from_path(column)) {
                    files = self.left(session, columns, filter, (name, feed), files)?;
                }
            }
        }
        Ok(files)
    }

    fn left(
        &self,
        session: &dyn Session,
        columns: &BTreeSet<String>,
        filter: &Expr,
        (name, feed): (&String, &Feed),
        files: Vec<SourceFile>,
    ) -> Result<Vec<SourceFile>> {
        let (of_feed, mut left): (Vec<SourceFile>, Vec<SourceFile>) =
            files.into_iter().partition(|file| file.feed == *name);
        let mut said = Vec::new();
        for file in of_feed {
            let partitions = Partitions::of(&self.source.columns, feed, &file.path).map_err(into_datafusion)?;
            match partitions.fault() {
                Some(_) => left.push(file),
                None => said.push((file, partitions)),
            }
        }
        let batch = self.values(columns, &said)?;
        // What cannot be evaluated here is left to the filter above the scan, which fails where a row needs it.
        let kept = batch.and_then(|batch| evaluated(session, filter, &batch).ok());
        for (at, (file, _)) in said.into_iter().enumerate() {
            if kept.as_ref().is_none_or(|kept| is_true(kept, at)) {
                left.push(file);
            }
        }
        Ok(left)
    }

    /// One row for each file; `None` without files.
    fn values(&self, columns: &BTreeSet<String>, said: &[(SourceFile, Partitions)]) -> Result<Option<RecordBatch>> {
        if said.is_empty() {
            return Ok(None);
        }
        let (mut fields, mut arrays): (Vec<_>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
        let schema = file_source_schema(self.source);
        for (at, field) in schema.fields().iter().enumerate().filter(|(_, field)| columns.contains(field.name())) {
            let values = said.iter().filter_map(|(_, partitions)| partitions.of_columns().nth(at).flatten().cloned());
            arrays.push(ScalarValue::iter_to_array(values)?);
            fields.push(Arc::clone(field));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(said.len()));
        Ok(Some(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?))
    }
}

fn evaluated(session: &dyn Session, filter: &Expr, batch: &RecordBatch) -> Result<ArrayRef> {
    let schema = DFSchema::try_from(batch.schema())?;
    let expression = session.create_physical_expr(filter.clone(), &schema)?;
    expression.evaluate(batch)?.into_array(batch.num_rows())
}

/// As a filter takes a value: null is not true.
fn is_true(values: &ArrayRef, at: usize) -> bool {
    match values.data_type() {
        DataType::Boolean => values.is_valid(at) && values.as_boolean().value(at),
        _ => true,
    }
}
