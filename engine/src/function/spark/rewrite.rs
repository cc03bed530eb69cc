//! Calls that get Spark's value by calls of other functions, of the same type.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::{coalesce, nullif};
use datafusion::functions_nested::remove::array_remove_all_udf;
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable as _, LogicalPlan, lit, when};
use datafusion::optimizer::AnalyzerRule;

use crate::expressions::rewritten;

/// Once all arguments have their types.
#[derive(Debug)]
pub(crate) struct SparkValues;

impl AnalyzerRule for SparkValues {
    fn name(&self) -> &'static str {
        "spark_values"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewritten(plan, spark_value)
    }
}

fn spark_value(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expression {
        Expr::ScalarFunction(call) => match rewrite(&call, schema) {
            Some(other) => Transformed::yes(other),
            None => Transformed::no(Expr::ScalarFunction(call)),
        },
        Expr::AggregateFunction(call) => aggregate(call),
        other => Transformed::no(other),
    }
}

fn aggregate(mut call: AggregateFunction) -> Transformed<Expr> {
    let mut changed = false;
    // Nulls are no items.
    if call.func.name() == "array_agg" && call.params.null_treatment.is_none() {
        call.params.null_treatment = Some(NullTreatment::IgnoreNulls);
        changed = true;
    }
    // A row that the filter takes out is not computed.
    if let Some(filter) = &call.params.filter {
        for argument in call.params.args.iter_mut().filter(|argument| computes(argument)) {
            if let Ok(guarded) = when(filter.as_ref().clone(), argument.clone()).end() {
                *argument = guarded;
                changed = true;
            }
        }
    }
    match changed {
        true => Transformed::yes(Expr::AggregateFunction(call)),
        false => Transformed::no(Expr::AggregateFunction(call)),
    }
}

fn computes(argument: &Expr) -> bool {
    let is_guarded = matches!(argument, Expr::Case(_));
    let computed = |inner: &Expr| Ok(matches!(inner, Expr::Cast(_) | Expr::ScalarFunction(_) | Expr::BinaryExpr(_)));
    !is_guarded && argument.exists(computed).unwrap_or(true)
}

fn rewrite(call: &ScalarFunction, schema: &DFSchema) -> Option<Expr> {
    let same = |args: Vec<Expr>| Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&call.func), args));
    match (call.func.name(), &call.args[..]) {
        // All of them, and not the first one alone.
        ("array_remove", [_, _]) => {
            Some(Expr::ScalarFunction(ScalarFunction::new_udf(array_remove_all_udf(), call.args.clone())))
        }
        ("array_sort", [list]) => Some(same(vec![list.clone(), lit("ASC"), lit("NULLS LAST")])),
        ("array_append", [list, _]) => {
            let null = ScalarValue::try_from(&same(call.args.clone()).get_type(schema).ok()?).ok()?;
            when(list.clone().is_null(), lit(null)).otherwise(same(call.args.clone())).ok()
        }
        ("array_position", [list, item]) => {
            let zero = ScalarValue::new_zero(&same(call.args.clone()).get_type(schema).ok()?).ok()?;
            let is_there = list.clone().is_not_null().and(item.clone().is_not_null());
            when(is_there, coalesce(vec![same(call.args.clone()), lit(zero)])).end().ok()
        }
        // A length below 0 is 0.
        ("left" | "right", [text, length]) if !is_natural(length) => {
            let zero = ScalarValue::Int64(Some(0));
            if length.get_type(schema).ok()? != DataType::Int64 {
                return None;
            }
            let length = when(length.clone().lt(lit(zero.clone())), lit(zero)).otherwise(length.clone()).ok()?;
            Some(same(vec![text.clone(), length]))
        }
        ("regexp_replace", [_, _, _]) => Some(same(call.args.iter().cloned().chain([lit("g")]).collect())),
        // No list has no size.
        ("size", [_]) => Some(nullif(same(call.args.clone()), lit(-1_i32))),
        _ => None,
    }
}

/// Whether a length is a constant that is none below 0.
fn is_natural(length: &Expr) -> bool {
    matches!(length, Expr::Literal(ScalarValue::Int64(Some(0..)), _))
}
