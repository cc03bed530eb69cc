//! What rules of the analyzer share.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// The plan with all expressions rewritten, subqueries included. `rewrite` gets each expression after its parts, and the columns that the
/// expression can name. Columns keep their names.
///
/// # Errors
/// Returns DataFusion's, where a plan with other expressions cannot be built.
pub(crate) fn rewritten(plan: LogicalPlan, rewrite: fn(Expr, &DFSchema) -> Transformed<Expr>) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| {
        let mut schema = merge_schema(&plan.inputs());
        if let LogicalPlan::TableScan(scan) = &plan {
            schema.merge(&scan.projected_schema);
        }
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let rewritten = expression.transform_up(|inner| Ok(rewrite(inner, &schema)))?;
            Ok(rewritten.update_data(|expression| name.restore(expression)))
        })
    })
    .data()
}
