//! Converts the types of a query's columns to types that Delta has.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::functions::math::expr_fn::isnan;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit, when};
use pulse_core::project::Job;
use pulse_core::{Error, Result};

use super::wall_clock::wall_clocks;
use crate::error::from_datafusion;
use crate::microseconds::exact_microseconds;
use crate::source::file::is_of_rejected_lines;

/// The meaning of a timestamp without a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamps {
    /// An instant in UTC, as intended by functions that yield such a type.
    InUtc,
    /// A wall-clock time, as declared by a source.
    OfWallClocks,
}

/// The type of a column in a table; `None` if no Delta type can hold its values.
pub fn normalized(data_type: &DataType, stamps: Stamps) -> Option<DataType> {
    let normalized = |data_type: &DataType| normalized(data_type, stamps);
    let part = |name: &str, field: &Field| Some(Field::new(name, normalized(field.data_type())?, true));
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Utf8 => Some(DataType::Utf8),
        DataType::BinaryView | DataType::LargeBinary | DataType::Binary => Some(DataType::Binary),
        DataType::UInt8 => Some(DataType::Int16),
        DataType::UInt16 => Some(DataType::Int32),
        DataType::UInt32 | DataType::UInt64 => Some(DataType::Int64),
        DataType::Float16 => Some(DataType::Float32),
        DataType::Date64 => Some(DataType::Date32),
        DataType::Timestamp(_, None) if stamps == Stamps::OfWallClocks => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        DataType::Timestamp(_, _) => Some(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        DataType::Dictionary(_, values) => normalized(values),
        // The fields of a nested column have the names that Delta gives them.
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => Some(DataType::List(Arc::new(part("element", item)?))),
        DataType::Map(entries, _) => {
            let DataType::Struct(fields) = entries.data_type() else { return None };
            let [key, value] = fields.as_ref() else { return None };
            let key = part("key", key)?.with_nullable(false);
            let entries = DataType::Struct(vec![key, part("value", value)?].into());
            Some(DataType::Map(Arc::new(Field::new("key_value", entries, false)), false))
        }
        DataType::Struct(fields) => {
            let fields: Option<Vec<Field>> = fields.iter().map(|field| part(field.name(), field)).collect();
            fields.filter(|fields| !fields.is_empty()).map(|fields| DataType::Struct(fields.into()))
        }
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

/// Canonicalizes every NaN of the condition's columns, so that NaN is greater than all numbers. A processor may give it
/// a sign that makes it less than all.
pub(super) fn nan_is_greatest(condition: Expr, schema: &DFSchema) -> datafusion::error::Result<Expr> {
    let replaced = condition.transform_up(|expression| {
        let Expr::Column(column) = &expression else { return Ok(Transformed::no(expression)) };
        let nan = match schema.field_from_column(column)?.data_type() {
            DataType::Float64 => lit(f64::NAN),
            DataType::Float32 => lit(f32::NAN),
            _ => return Ok(Transformed::no(expression)),
        };
        when(isnan(expression.clone()), nan).otherwise(expression).map(Transformed::yes)
    });
    replaced.data()
}

/// Converts every column of the plan to the table's type, except the columns of rejected lines. A column by which rows are told apart
/// has one zero: `-0.0` equals `0.0` in queries, and both would be two keys where rows are sorted by their bits.
pub(super) fn conformed(plan: LogicalPlan, job: &Job) -> Result<LogicalPlan> {
    let mut expressions = Vec::new();
    let mut same = true;
    let wall_clocks = wall_clocks(&plan).map_err(|e| from_datafusion(&job.query_path(), e))?;
    let columns = plan.schema().columns().into_iter().zip(plan.schema().fields());
    for (at, (column, field)) in columns.enumerate() {
        let stamps = match wall_clocks.get(at) {
            Some(true) => Stamps::OfWallClocks,
            Some(false) | None => Stamps::InUtc,
        };
        let wanted = normalized(field.data_type(), stamps).ok_or_else(|| {
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
        let converted = match field.data_type() {
            _ if unchanged => expression,
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                cast(exact_microseconds().call(vec![expression]), wanted.clone())
            }
            _ => cast(expression, wanted.clone()),
        };
        let is_key = job.manifest.is_key(&name);
        same &= !(is_key && wanted.is_floating());
        // A sum of zeros is `0.0` unless both are negative.
        let expression = match wanted {
            DataType::Float64 if is_key => converted + lit(0.0_f64),
            DataType::Float32 if is_key => converted + lit(0.0_f32),
            _ => converted,
        };
        expressions.push(expression.alias(name));
    }
    if same {
        return Ok(plan);
    }
    LogicalPlanBuilder::from(plan)
        .project(expressions)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| from_datafusion(&job.query_path(), e))
}
