//! Functions whose result may be much larger than their arguments. Memory of functions is not counted by the pool, and an allocation that
//! fails ends the process: so the size of what they would make is judged before they make it.

mod constant;
mod growth;
mod wrapper;

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;

use crate::expressions::rewritten;
pub(crate) use constant::BoundedConstants;
use growth::Growth;
use wrapper::{Bounded, TextConcat};

/// Bytes of one value.
const MAX_VALUE_BYTES: u64 = 64 << 20;
/// Bytes of the values of one batch.
const MAX_BATCH_BYTES: u64 = 256 << 20;
/// Types within a type: `struct(a, a)` doubles them.
const MAX_TYPE_NODES: usize = 5_000;

/// What executors look up by the names of our own functions.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::new(text_concat()), Arc::new(constant::constant())]
}

/// The function with limits; itself when its result cannot grow, or when it has them.
pub(crate) fn bounded(function: &Arc<ScalarUDF>) -> Option<Arc<ScalarUDF>> {
    let growth = Growth::of(function.name())?;
    if function.inner().downcast_ref::<Bounded>().is_some() {
        return None;
    }
    Some(Arc::new(ScalarUDF::new_from_impl(Bounded::new(Arc::clone(function), growth))))
}

fn text_concat() -> ScalarUDF {
    ScalarUDF::new_from_impl(Bounded::new(Arc::new(ScalarUDF::new_from_impl(TextConcat::default())), Growth::Sum))
}

/// Puts the bounded functions in the place of others, and one in the place of `||`, once both sides have one type.
#[derive(Debug)]
pub(crate) struct BoundedFunctions;

impl AnalyzerRule for BoundedFunctions {
    fn name(&self) -> &'static str {
        "bounded_functions"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewritten(plan, replaced)
    }
}

fn replaced(expression: Expr, _: &DFSchema) -> Transformed<Expr> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => Transformed::yes(
            Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(text_concat()), vec![*left, *right])),
        ),
        Expr::ScalarFunction(call) => match bounded(&call.func) {
            Some(func) => Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, ..call })),
            None => Transformed::no(Expr::ScalarFunction(call)),
        },
        other => Transformed::no(other),
    }
}

#[cfg(test)]
mod tests;
