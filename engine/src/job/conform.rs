//! Types of tables: what a query yields, in types that Delta at protocol (1,2) has.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use pulse_core::project::Job;
use pulse_core::{Error, Result};

use crate::error::from_datafusion;
use crate::source::file::is_of_rejected_lines;

/// The type a column has in a table; none when Delta has none that holds its values.
pub fn normalized(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Utf8 => Some(DataType::Utf8),
        DataType::BinaryView | DataType::LargeBinary | DataType::Binary => Some(DataType::Binary),
        DataType::UInt8 => Some(DataType::Int16),
        DataType::UInt16 => Some(DataType::Int32),
        DataType::UInt32 | DataType::UInt64 => Some(DataType::Int64),
        DataType::Float16 => Some(DataType::Float32),
        DataType::Date64 => Some(DataType::Date32),
        // A stamp without a zone is UTC, as everywhere in pulse.
        DataType::Timestamp(_, _) => Some(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        DataType::Dictionary(_, values) => normalized(values),
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32
        | DataType::Decimal128(_, _) => Some(data_type.clone()),
        _ => None,
    }
}

/// The plan with every column in the table's type; columns of rejected lines stay as they are.
pub(super) fn conformed(plan: LogicalPlan, job: &Job) -> Result<LogicalPlan> {
    let mut expressions = Vec::new();
    let mut same = true;
    for (column, field) in plan.schema().columns().into_iter().zip(plan.schema().fields()) {
        let wanted = normalized(field.data_type()).ok_or_else(|| {
            Error::invalid(format!(
                "{}: column `{}` has the type {}, which a table cannot hold; cast it",
                job.query_path(),
                field.name(),
                field.data_type()
            ))
        })?;
        same &= column.relation.is_none() && wanted == *field.data_type();
        let name = field.name().clone();
        let expression = Expr::Column(column);
        let unchanged = wanted == *field.data_type() || is_of_rejected_lines(&name);
        expressions.push(if unchanged { expression } else { cast(expression, wanted) }.alias(name));
    }
    if same {
        return Ok(plan);
    }
    LogicalPlanBuilder::from(plan)
        .project(expressions)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| from_datafusion(&job.query_path(), e))
}
