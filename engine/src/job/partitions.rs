//! Checks a table's partitioning.

use arrow::datatypes::DataType;
use datafusion::logical_expr::LogicalPlan;
use deltalake_core::kernel::Add;
use pulse_core::project::Job;
use pulse_core::{Error, Result};

use crate::error::from_datafusion;
use crate::table::Snapshot;

/// # Errors
/// `Invalid` naming a column whose values do not round-trip through Delta's text form, or if only partition columns
/// remain.
pub(super) fn refuse_columns(job: &Job, plan: &LogicalPlan, columns: &[String]) -> Result<()> {
    let partition_by = job.manifest.partition_by();
    for name in partition_by {
        let field = plan.schema().field_with_unqualified_name(name);
        let data_type = field.map_err(|e| from_datafusion("type a partition column", e))?.data_type();
        if !is_text_and_back(data_type) {
            return Err(Error::invalid(format!(
                "{}: the table cannot be partitioned by `{name}`, which is {data_type}: use text, a whole number, a \
                 decimal, a date, a timestamp or a boolean",
                job.manifest_path()
            )));
        }
    }
    if !partition_by.is_empty() && columns.iter().all(|column| partition_by.contains(column)) {
        return Err(Error::invalid(format!(
            "{}: the table is partitioned by all of its columns, and its files would hold none: leave one out",
            job.manifest_path()
        )));
    }
    Ok(())
}

/// Paths and logs store partition values as text. The text of a float or of bytes does not identify the value.
fn is_text_and_back(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8
            | DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Timestamp(_, _)
            | DataType::Decimal128(_, _)
    )
}

/// Delta cannot store an empty string in a partition column: readers take it for null. `overwrite_partitions` has always written it that
/// way, and jobs rely on that; it is an error there only beside a null, as two keys would become one. With `partition_by`, it is always
/// an error.
///
/// # Errors
/// `Data` with the column.
pub(super) fn refuse_empty_texts(job: &Job, written: &[Add]) -> Result<()> {
    let holds = |column: &String, wanted: Option<&str>| {
        written.iter().any(|add| add.partition_values.get(column).is_some_and(|text| text.as_deref() == wanted))
    };
    let is_lost = |column: &&String| {
        holds(column, Some("")) && (job.manifest.partition_by.contains(column) || holds(column, None))
    };
    match job.manifest.partition_by().iter().find(is_lost) {
        None => Ok(()),
        Some(column) => Err(Error::data(format!(
            "{}: an empty text in `{column}`, which the table is partitioned by: Delta reads it as null; let the query yield \
             `nullif({column}, '')`, or another text; the table stays as it was",
            job.manifest_path()
        ))),
    }
}

/// For a run that keeps rows of the table; one that replaces all rows may change the partitioning.
///
/// # Errors
/// `Invalid` when the table's partitioning differs from the job's.
pub(super) fn refuse_others(job: &Job, target: &Snapshot) -> Result<()> {
    let (wanted, found) = (job.manifest.partition_by(), &target.partition_by);
    if wanted == found {
        return Ok(());
    }
    let named = |columns: &[String]| match columns {
        [] => "not partitioned".to_owned(),
        columns => format!("partitioned by {}", columns.join(", ")),
    };
    Err(Error::invalid(format!(
        "{}: table {} is {} where the job says {}: pulse run {} --rebuild writes all rows in the job's way",
        job.manifest_path(),
        job.name,
        named(found),
        named(wanted),
        job.name
    )))
}
