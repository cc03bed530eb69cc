//! Timestamps in SQL have microseconds, as in tables. DataFusion's default is nanoseconds, which end in the year 2262.

use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::compute::cast as cast_array;
use arrow::datatypes::{DataType, TimeUnit, TimestampNanosecondType};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, exec_err, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::{
    Between, BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, cast,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast;

use crate::expressions::rewritten;

/// The type `timestamp`.
#[derive(Debug)]
pub(crate) struct MicrosecondTypes;

impl TypePlanner for MicrosecondTypes {
    fn plan_type(&self, sql_type: &ast::DataType) -> Result<Option<DataType>> {
        let zone = match sql_type {
            ast::DataType::Timestamp(None, ast::TimezoneInfo::None | ast::TimezoneInfo::WithoutTimeZone) => None,
            ast::DataType::Timestamp(None, _) => Some("+00:00".into()),
            _ => return Ok(None),
        };
        Ok(Some(DataType::Timestamp(TimeUnit::Microsecond, zone)))
    }
}

/// Converts text that is compared with a timestamp to its type, before DataFusion coerces both to nanoseconds.
#[derive(Debug)]
pub(crate) struct MicrosecondLiterals;

impl AnalyzerRule for MicrosecondLiterals {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewritten(plan, compare)
    }

    fn name(&self) -> &'static str {
        "microsecond_literals"
    }
}

fn compare(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(op) => {
            let (to_right, to_left) = (stamp(&left, schema), stamp(&right, schema));
            let (left, right) = (typed(*left, to_left.as_ref()), typed(*right, to_right.as_ref()));
            let changed = left.transformed || right.transformed;
            let both = BinaryExpr { left: Box::new(left.data), op, right: Box::new(right.data) };
            if changed { Transformed::yes(Expr::BinaryExpr(both)) } else { Transformed::no(Expr::BinaryExpr(both)) }
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            let of = stamp(&expr, schema);
            let (low, high) = (typed(*low, of.as_ref()), typed(*high, of.as_ref()));
            let changed = low.transformed || high.transformed;
            let between = Expr::Between(Between { expr, negated, low: Box::new(low.data), high: Box::new(high.data) });
            if changed { Transformed::yes(between) } else { Transformed::no(between) }
        }
        other => Transformed::no(other),
    }
}

pub(crate) fn compares(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// The expression's type, if it is a timestamp with microseconds.
fn stamp(expression: &Expr, schema: &DFSchema) -> Option<DataType> {
    let data_type = expression.get_type(schema).ok()?;
    matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, _)).then_some(data_type)
}

fn typed(expression: Expr, data_type: Option<&DataType>) -> Transformed<Expr> {
    match (&expression, data_type) {
        (Expr::Literal(ScalarValue::Utf8(Some(_)) | ScalarValue::Utf8View(Some(_)), _), Some(data_type)) => {
            Transformed::yes(cast(expression, data_type.clone()))
        }
        _ => Transformed::no(expression),
    }
}

/// A function for plans, from nanoseconds to microseconds. Queries cannot call it.
///
/// Fails for a value that is between two microseconds: without its last digits, two instants would be one.
pub(crate) fn exact_microseconds() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(ExactMicroseconds { signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactMicroseconds {
    signature: Signature,
}

impl ScalarUDFImpl for ExactMicroseconds {
    fn name(&self) -> &str {
        "__exact_microseconds"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Timestamp(TimeUnit::Nanosecond, zone)] => {
                Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
            }
            _ => internal_err!("{} takes a timestamp with nanoseconds, and has {types:?}", self.name()),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let Some((array, nanos)) =
            arrays.first().and_then(|array| Some((array, array.as_primitive_opt::<TimestampNanosecondType>()?)))
        else {
            return internal_err!("{} takes a timestamp with nanoseconds", self.name());
        };
        if let Some(value) = nanos.iter().flatten().find(|nanos| nanos % 1_000 != 0) {
            let shown = chrono::DateTime::from_timestamp_nanos(value).to_rfc3339();
            return exec_err!(
                "{shown} is between two microseconds, and a table holds microseconds; write `date_trunc('microsecond', ..)` in the query"
            );
        }
        Ok(ColumnarValue::Array(cast_array(array, arguments.return_field.data_type())?))
    }
}
