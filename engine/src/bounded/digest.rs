//! Approximate percentiles, whose memory a query may ask for.

use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{Expr, WindowFunctionDefinition};

/// A hundred times those of a default, for each group.
const MAX_CENTROIDS: u64 = 10_000;

/// # Errors
/// `Plan` where a digest would have too many centroids.
pub(super) fn check(expression: &Expr) -> Result<()> {
    let (name, arguments) = match expression {
        Expr::AggregateFunction(call) => (call.func.name(), &call.params.args),
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::AggregateUDF(function) => (function.name(), &call.params.args),
            WindowFunctionDefinition::WindowUDF(_) => return Ok(()),
        },
        _ => return Ok(()),
    };
    let before = match name {
        "approx_percentile_cont" => 2,
        "approx_percentile_cont_with_weight" => 3,
        _ => return Ok(()),
    };
    let Some(Expr::Literal(centroids, _)) = arguments.get(before) else { return Ok(()) };
    let centroids = centroids.cast_to(&arrow::datatypes::DataType::UInt64);
    match centroids {
        Ok(ScalarValue::UInt64(Some(centroids))) if centroids > MAX_CENTROIDS => plan_err!(
            "`{name}` would keep {centroids} centroids for each group, and {MAX_CENTROIDS} are allowed: leave the number out, or use \
             `percentile_cont` for an exact value"
        ),
        _ => Ok(()),
    }
}
