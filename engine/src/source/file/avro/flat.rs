//! Fields of nested records as columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Field, Schema};
use pulse_core::sources::{is_pointer, pointer_steps};

use super::super::parquet::ParquetRows;
use super::super::rows::Rows;

/// The paths that columns are read from.
#[derive(Debug)]
pub(super) struct Flat {
    paths: Vec<(String, Vec<String>)>,
}

impl Flat {
    pub(super) fn new(rows: &Rows) -> Self {
        let fields = rows.columns.iter().map(|column| column.field()).filter(|field| is_pointer(field));
        Self { paths: fields.filter_map(|field| Some((field.to_owned(), pointer_steps(field).ok()?))).collect() }
    }

    /// The fields that the paths lead into.
    pub(super) fn entered(&self) -> Vec<&str> {
        self.paths.iter().filter_map(|(_, steps)| steps.first().map(String::as_str)).collect()
    }

    /// Hands the batch on, with a column for each path.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn push(&self, rows: &mut ParquetRows, batch: &RecordBatch) -> Result<(), String> {
        rows.push(&self.of(batch)?).map_err(|error| error.message().to_owned())
    }

    /// The batch with a column for each path.
    ///
    /// # Errors
    /// When the columns do not fit together.
    pub(super) fn of(&self, batch: &RecordBatch) -> Result<RecordBatch, String> {
        if self.paths.is_empty() {
            return Ok(batch.clone());
        }
        let mut fields = batch.schema().fields().to_vec();
        let mut columns = batch.columns().to_vec();
        for (path, steps) in &self.paths {
            if let Some(column) = at(batch, steps)? {
                fields.push(Arc::new(Field::new(path, column.data_type().clone(), true)));
                columns.push(column);
            }
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|error| error.to_string())
    }
}

/// The column at a path; `None` if there is none.
fn at(batch: &RecordBatch, steps: &[String]) -> Result<Option<ArrayRef>, String> {
    let [first, rest @ ..] = steps else { return Ok(None) };
    let Some(mut column) = batch.column_by_name(first).cloned() else { return Ok(None) };
    for step in rest {
        let Some(record) = column.as_struct_opt() else { return Ok(None) };
        let Some(child) = record.column_by_name(step) else { return Ok(None) };
        // What is in no record is null.
        let nulls = NullBuffer::union(record.nulls(), child.logical_nulls().as_ref());
        let data = child.to_data().into_builder().nulls(nulls);
        column = make_array(data.build().map_err(|error| error.to_string())?);
    }
    Ok(Some(column))
}
