//! Shared code of analyzer rules.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// As `try_rewritten`.
///
/// # Errors
/// DataFusion's, when a plan cannot be built with the rewritten expressions.
pub(crate) fn rewritten(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr, &DFSchema) -> Transformed<Expr>,
) -> Result<LogicalPlan> {
    try_rewritten(plan, |expression, schema| Ok(rewrite(expression, schema)))
}

/// Rewrites all expressions of a plan, including subqueries. `rewrite` gets each expression after its children, and the
/// columns that it can refer to. Column names are kept.
///
/// # Errors
/// Those of `rewrite`; DataFusion's, when a plan cannot be built with the rewritten expressions.
pub(crate) fn try_rewritten(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| {
        let mut schema = merge_schema(&plan.inputs());
        if let LogicalPlan::TableScan(scan) = &plan {
            schema.merge(&scan.projected_schema);
        }
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let rewritten = expression.transform_up(|inner| rewrite(inner, &schema))?;
            Ok(rewritten.update_data(|expression| name.restore(expression)))
        })
    })
    .data()
}
