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
        ("regexp_replace", [text, pattern, by, ..]) => {
            let by_groups = with_groups(pattern, by);
            let flags = call.args.get(3).cloned().or_else(|| Some(lit("g")));
            let is_same = call.args.len() > 3 && by_groups.is_none();
            let by = by_groups.unwrap_or_else(|| by.clone());
            (!is_same).then(|| same([text.clone(), pattern.clone(), by].into_iter().chain(flags).collect()))
        }
        // No list has no size.
        ("size", [_]) => Some(nullif(same(call.args.clone()), lit(-1_i32))),
        _ => None,
    }
}

/// A constant replacement with its groups in braces: `$2_` is the group 2 in Spark, and one called `2_` in the crate `regex`.
fn with_groups(pattern: &Expr, by: &Expr) -> Option<Expr> {
    let text = |expression: &Expr| match expression {
        Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
        _ => None,
    };
    let by = text(by)?;
    let groups =
        text(pattern).and_then(|pattern| regex::Regex::new(&pattern).ok()).map_or(9, |regex| regex.captures_len() - 1);
    let braced = braced(&by, groups);
    (braced != by).then(|| lit(braced))
}

/// As Java reads it: a group has as many digits as there are groups for.
fn braced(by: &str, groups: usize) -> String {
    let (mut out, mut rest) = (String::with_capacity(by.len() + 4), by);
    while let Some((before, behind)) = rest.split_once('$') {
        out.push_str(before);
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        let fits = |length: &usize| {
            behind.get(..*length).and_then(|number| number.parse::<usize>().ok()).is_some_and(|number| number <= groups)
        };
        match (1..=digits).rev().find(fits) {
            Some(length) => {
                let (number, tail) = behind.split_at(length);
                out.push_str(&format!("${{{number}}}"));
                rest = tail;
            }
            None => {
                out.push('$');
                rest = behind;
            }
        }
    }
    out + rest
}

/// Whether a length is a constant that is none below 0.
fn is_natural(length: &Expr) -> bool {
    matches!(length, Expr::Literal(ScalarValue::Int64(Some(0..)), _))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_a_replacement_end_where_java_ends_them() {
        for (by, groups, expected) in [
            ("$2_$1", 2, "${2}_${1}"),
            ("$0x", 0, "${0}x"),
            ("$12", 1, "${1}2"),
            ("$12", 12, "${12}"),
            ("a$", 1, "a$"),
            ("none", 1, "none"),
            ("${1}a", 1, "${1}a"),
        ] {
            assert_eq!(braced(by, groups), expected, "{by}");
        }
    }
}
