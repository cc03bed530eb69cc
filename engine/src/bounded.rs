//! Functions whose result may be much larger than their arguments. Memory of functions is not counted by the pool, and an allocation that
//! fails ends the process: so the size of what they would make is judged before they make it.

mod argument;
mod constant;
mod digest;
mod estimate;
mod growth;
mod series;
mod types;
mod wrapper;

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::config::ConfigOptions;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, ScalarUDF, lit};
use datafusion::optimizer::AnalyzerRule;

use crate::expressions::try_rewritten;
pub(crate) use constant::BoundedConstants;
use growth::Growth;
pub(crate) use series::one_way;
use wrapper::{Bounded, TextConcat};

/// Bytes of one value.
const MAX_VALUE_BYTES: u64 = 64 << 20;
/// Bytes of the values of one batch.
const MAX_BATCH_BYTES: u64 = 256 << 20;
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

/// Puts the bounded functions in the place of others, and one in the place of `||` and of patterns that differ by row, once both sides have
/// one type. Refuses casts to types that are wide whatever they hold.
#[derive(Debug)]
pub(crate) struct BoundedFunctions {
    patterns: Option<Arc<ScalarUDF>>,
}

impl Default for BoundedFunctions {
    fn default() -> Self {
        let functions = SessionStateDefaults::default_scalar_functions();
        let patterns = functions.iter().find(|function| function.name() == "regexp_like").and_then(bounded);
        Self { patterns }
    }
}

impl AnalyzerRule for BoundedFunctions {
    fn name(&self) -> &'static str {
        "bounded_functions"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        try_rewritten(plan, |expression, schema| self.replaced(expression, schema))
    }
}

impl BoundedFunctions {
    fn replaced(&self, expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        types::check(&expression, schema)?;
        Ok(match expression {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => Transformed::yes(
                Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(text_concat()), vec![*left, *right])),
            ),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if !matches!(*right, Expr::Literal(..)) => {
                match (matches(op), &self.patterns) {
                    (Some((flags, is_match)), Some(function)) => {
                        let arguments = [*left, *right].into_iter().chain(flags.map(lit)).collect();
                        let call = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), arguments));
                        Transformed::yes(if is_match { call } else { Expr::Not(Box::new(call)) })
                    }
                    _ => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
                }
            }
            Expr::ScalarFunction(call) => match bounded(&call.func) {
                Some(func) => Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, ..call })),
                None => Transformed::no(Expr::ScalarFunction(call)),
            },
            other => Transformed::no(other),
        })
    }
}

/// The flags of a pattern's operator, and whether it asks for a match.
fn matches(operator: Operator) -> Option<(Option<&'static str>, bool)> {
    match operator {
        Operator::RegexMatch => Some((None, true)),
        Operator::RegexIMatch => Some((Some("i"), true)),
        Operator::RegexNotMatch => Some((None, false)),
        Operator::RegexNotIMatch => Some((Some("i"), false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
