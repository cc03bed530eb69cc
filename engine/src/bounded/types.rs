//! Types that take much memory whatever values they have.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::{Expr, ExprSchemable as _};

use super::argument::null_bytes;

/// Types within a type: `struct(a, a)` doubles them.
const MAX_NODES: usize = 5_000;
/// Bytes of a null: lists and binaries of a fixed size are as wide without a value.
const MAX_NULL_BYTES: u64 = 1 << 10;

/// # Errors
/// `Plan` where an expression is a cast to a type that is too large.
pub(super) fn check(expression: &Expr, schema: &DFSchema) -> Result<()> {
    match expression {
        Expr::Cast(_) | Expr::TryCast(_) => judged("cast", &expression.get_type(schema)?),
        Expr::ScalarFunction(call) if CASTS.contains(&call.name()) => {
            judged(call.name(), &expression.get_type(schema)?)
        }
        _ => Ok(()),
    }
}

/// Functions that become casts before they are computed.
const CASTS: [&str; 5] = ["arrow_cast", "arrow_try_cast", "cast_to_type", "try_cast_to_type", "spark_cast"];

/// # Errors
/// `Plan` where the type of a result has too many parts, or is too wide.
pub(super) fn judged(function: &str, data_type: &DataType) -> Result<()> {
    if nodes(data_type, MAX_NODES).is_none() {
        return plan_err!("`{function}` would make a type of more than {MAX_NODES} parts: nest less");
    }
    let bytes = widest(data_type);
    if bytes > MAX_NULL_BYTES {
        return plan_err!(
            "`{function}` would make a type that takes {bytes} bytes for each row, and {MAX_NULL_BYTES} are allowed: use a list or binary \
             without a fixed size"
        );
    }
    Ok(())
}

/// Parts of a type, unless they are more than `most`.
fn nodes(data_type: &DataType, most: usize) -> Option<usize> {
    let left = most.checked_sub(1)?;
    let add = |sum: usize, field: &DataType| Some(sum + nodes(field, left.checked_sub(sum)?)?);
    let within = within(data_type).into_iter().try_fold(0, add)?;
    (within < most).then_some(within + 1)
}

/// Bytes of the widest null among the type and the types within it.
fn widest(data_type: &DataType) -> u64 {
    let within = within(data_type).into_iter().map(widest).max().unwrap_or(0);
    within.max(null_bytes(data_type))
}

/// Types that a type contains.
fn within(data_type: &DataType) -> Vec<&DataType> {
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => vec![field.data_type()],
        DataType::Dictionary(_, value) => vec![value],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        _ => Vec::new(),
    }
}
