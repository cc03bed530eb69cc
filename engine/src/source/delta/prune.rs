//! Files that a filter rules out, by partition values and statistics.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::scalar::ScalarValue;

use crate::error::into_datafusion;
use crate::table::DataFile;

pub(super) fn prune(
    session: &dyn Session,
    files: &[DataFile],
    schema: &SchemaRef,
    filters: &[Expr],
) -> Result<Vec<DataFile>> {
    let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(files.to_vec()) };
    let expression = session.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(schema))?)?;
    let predicate = PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema)).try_build(expression)?;
    let keep = predicate.prune(&Bounds { files, schema })?;
    Ok(files.iter().zip(keep).filter(|(_, keep)| *keep).map(|(file, _)| file.clone()).collect())
}

/// Files in whose partitions all filters are true, which name partition columns alone. Bounds would keep files that a filter rules out
/// in other words than theirs, and nobody looks at their rows again.
pub(super) fn of_partitions(
    session: &dyn Session,
    files: Vec<DataFile>,
    columns: &SchemaRef,
    filters: &[Expr],
) -> Result<Vec<DataFile>> {
    let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(files) };
    if files.is_empty() {
        return Ok(files);
    }
    let expression = session.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(columns))?)?;
    let mut arrays = Vec::with_capacity(columns.fields().len());
    for field in columns.fields() {
        let values = files.iter().map(|file| file.known_partition_value(field.name(), field.data_type()));
        let values = values.collect::<pulse_core::Result<Vec<_>>>().map_err(into_datafusion)?;
        arrays.push(ScalarValue::iter_to_array(values)?);
    }
    let rows = RecordBatchOptions::new().with_row_count(Some(files.len()));
    let batch = RecordBatch::try_new_with_options(Arc::clone(columns), arrays, &rows)?;
    let keep = expression.evaluate(&batch)?.into_array(files.len())?;
    let keep = as_boolean_array(&keep)?;
    Ok(files.into_iter().zip(keep).filter(|(_, keep)| *keep == Some(true)).map(|(file, _)| file).collect())
}

struct Bounds<'a> {
    files: &'a [DataFile],
    schema: &'a SchemaRef,
}

impl Bounds<'_> {
    fn values(&self, column: &Column, of: impl Fn(&DataFile, &DataType) -> Option<ScalarValue>) -> Option<ArrayRef> {
        let data_type = self.schema.field_with_name(&column.name).ok()?.data_type();
        let null = ScalarValue::try_from(data_type).ok()?;
        ScalarValue::iter_to_array(self.files.iter().map(|file| of(file, data_type).unwrap_or_else(|| null.clone())))
            .ok()
    }
}

impl PruningStatistics for Bounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |file, data_type| file.min(&column.name, data_type))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |file, data_type| file.max(&column.name, data_type))
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::new(self.files.iter().map(|file| file.null_count(&column.name)).collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.files.iter().map(DataFile::rows).collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
