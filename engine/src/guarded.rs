//! A condition guards what it stands before: an expression that can fail is computed on no row that a filter, the left side of `and` or
//! `or`, or a branch of `case` takes out. DataFusion moves projections below filters, and computes both sides of `and` on all rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, binary, case, lit};
use datafusion::physical_expr::{ScalarFunctionExpr, conjunction, split_conjunction};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::projection_pushdown::ProjectionPushdown;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::projection::{
    ProjectionExec, ProjectionExpr, all_columns, remove_unnecessary_projections, try_embed_projection,
};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

/// In the place of DataFusion's rule of that name.
#[derive(Debug)]
pub(crate) struct GuardedProjections;

impl PhysicalOptimizerRule for GuardedProjections {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        if !plan.exists(|plan| Ok(could_sink(plan)))? {
            return ProjectionPushdown::new().optimize(plan, config);
        }
        plan.transform_down(|plan| match plan.downcast_ref::<ProjectionExec>() {
            Some(projection) if !all_columns(projection.expr()) && takes_rows_out(projection.input()) => {
                // The filter may leave out columns all the same.
                let embedded = match projection.input().downcast_ref::<FilterExec>() {
                    Some(filter) => try_embed_projection(projection, filter)?,
                    None => None,
                };
                Ok(embedded.map_or_else(|| Transformed::no(plan), Transformed::yes))
            }
            _ => remove_unnecessary_projections(plan),
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "guarded_projections"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether it computes something above a filter, however far below.
fn could_sink(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let Some(projection) = plan.downcast_ref::<ProjectionExec>() else { return false };
    !all_columns(projection.expr()) && below(projection.input(), &|plan| is_filter(plan))
}

/// Whether it is a filter, or hands a projection on to one.
fn takes_rows_out(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let hands_on = matches!(plan.name(), "CoalesceBatchesExec" | "CooperativeExec" | "BufferExec");
    is_filter(plan) || (hands_on && plan.children().into_iter().any(takes_rows_out))
}

fn is_filter(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<FilterExec>() || plan.downcast_ref::<SortExec>().is_some_and(|sort| sort.fetch().is_some())
}

fn below(plan: &Arc<dyn ExecutionPlan>, test: &dyn Fn(&Arc<dyn ExecutionPlan>) -> bool) -> bool {
    test(plan) || plan.children().into_iter().any(|child| below(child, test))
}

/// Puts what cannot fail first into the conditions of filters, and what can fail behind a `case`.
#[derive(Debug)]
pub(crate) struct GuardedConditions;

impl PhysicalOptimizerRule for GuardedConditions {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            if let Some(filter) = plan.downcast_ref::<FilterExec>() {
                let predicate = in_order(filter.predicate(), &filter.input().schema());
                let guarded = guarded(predicate.data, &filter.input().schema())?;
                if predicate.transformed || guarded.transformed {
                    let filter = FilterExecBuilder::from(filter).with_predicate(guarded.data).build()?;
                    return Ok(Transformed::yes(Arc::new(filter) as Arc<dyn ExecutionPlan>));
                }
            } else if let Some(projection) = plan.downcast_ref::<ProjectionExec>()
                && let Some(expressions) = guarded_all(projection)?
            {
                let input = Arc::clone(projection.input());
                let schema = projection.schema();
                let projection = ProjectionExec::try_new_with_schema_metadata(expressions, input, schema.as_ref())?;
                return Ok(Transformed::yes(Arc::new(projection) as Arc<dyn ExecutionPlan>));
            }
            Ok(Transformed::no(plan))
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "guarded_conditions"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// `None` where nothing changes.
fn guarded_all(projection: &ProjectionExec) -> Result<Option<Vec<ProjectionExpr>>> {
    let schema = projection.input().schema();
    let mut changed = false;
    let mut expressions = Vec::with_capacity(projection.expr().len());
    for ProjectionExpr { expr, alias } in projection.expr() {
        let guarded = guarded(Arc::clone(expr), &schema)?;
        changed |= guarded.transformed;
        expressions.push(ProjectionExpr { expr: guarded.data, alias: alias.clone() });
    }
    Ok(changed.then_some(expressions))
}

/// The same conditions, first those that cannot fail.
fn in_order(predicate: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Transformed<Arc<dyn PhysicalExpr>> {
    let conditions = split_conjunction(predicate);
    let (can, cannot): (Vec<_>, Vec<_>) =
        conditions.into_iter().cloned().partition(|condition| can_fail(condition, schema));
    match can.is_empty() || cannot.is_empty() {
        true => Transformed::no(Arc::clone(predicate)),
        false => Transformed::yes(conjunction(cannot.into_iter().chain(can))),
    }
}

/// `a and b` as `case a when false then false when true then b else null and b end`, and `or` alike, where `b` can fail.
fn guarded(expression: Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    if !can_fail(&expression, schema) {
        return Ok(Transformed::no(expression));
    }
    expression.transform_up(|expression| {
        let Some(operation) = expression.downcast_ref::<BinaryExpr>() else { return Ok(Transformed::no(expression)) };
        let settled = match operation.op() {
            Operator::And => false,
            Operator::Or => true,
            _ => return Ok(Transformed::no(expression)),
        };
        if !can_fail(operation.right(), schema) {
            return Ok(Transformed::no(expression));
        }
        let (left, right) = (Arc::clone(operation.left()), Arc::clone(operation.right()));
        let is = |value| lit(ScalarValue::Boolean(value));
        let settles = (is(Some(settled)), is(Some(settled)));
        let unknown = match left.nullable(schema)? {
            true => binary(is(None), *operation.op(), Arc::clone(&right), schema)?,
            false => is(Some(settled)),
        };
        Ok(Transformed::yes(case(Some(left), vec![settles, (is(Some(!settled)), right)], Some(unknown))?))
    })
}

/// Whether some value makes it an error.
fn can_fail(expression: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    let mut found = false;
    let _ = expression.apply(|inner| {
        found = can_fail_itself(inner, schema);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}

fn can_fail_itself(expression: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    if let Some(cast) = expression.downcast_ref::<CastExpr>() {
        let from = cast.expr().data_type(schema);
        return from.map_or(true, |from| !always_casts(&from, cast.cast_type()));
    }
    if let Some(operation) = expression.downcast_ref::<BinaryExpr>() {
        let is_division = matches!(operation.op(), Operator::Divide | Operator::Modulo);
        return is_division && !operation.left().data_type(schema).is_ok_and(|of| of.is_floating());
    }
    expression.downcast_ref::<ScalarFunctionExpr>().is_some_and(|call| !NEVER_FAILS.contains(&call.name()))
}

/// Functions whose calls can be sent to a scan or computed on all rows as ever.
const NEVER_FAILS: [&str; 24] = [
    "lower",
    "upper",
    "trim",
    "btrim",
    "ltrim",
    "rtrim",
    "length",
    "character_length",
    "octet_length",
    "coalesce",
    "nullif",
    "starts_with",
    "ends_with",
    "contains",
    "strpos",
    "substring",
    "concat",
    "reverse",
    "get_field",
    "isnan",
    "__one_nan",
    "date_trunc",
    "date_part",
    "get_json_object",
];

fn always_casts(from: &DataType, to: &DataType) -> bool {
    use DataType::{Binary, Date32, Float32, Float64, LargeUtf8, Timestamp, Utf8, Utf8View};
    match (from, to) {
        (DataType::Null, _) | (_, Utf8 | LargeUtf8 | Utf8View | Binary) => true,
        (from, to) if from == to => true,
        (from, Float64) => from.is_numeric(),
        (from, Float32) => from.is_integer(),
        (Date32, Timestamp(..)) => true,
        (Timestamp(from, _), Timestamp(to, _)) => from == to,
        (Timestamp(..), Date32) => true,
        (from, to) if from.is_integer() && to.is_integer() => {
            let wider = to.primitive_width() > from.primitive_width();
            wider && (to.is_signed_integer() || from.is_unsigned_integer())
        }
        (from, DataType::Decimal128(precision, scale)) if from.is_integer() => {
            let digits = match from.primitive_width() {
                Some(1) => 3,
                Some(2) => 5,
                Some(4) => 10,
                _ => 20,
            };
            i16::from(*precision) - i16::from(*scale) >= digits
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
