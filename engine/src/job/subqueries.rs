//! Refuses subqueries over files that would not have SQL's result.

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, LogicalPlan};
use pulse_core::manifest::Sink;
use pulse_core::project::Job;
use pulse_core::{Error, Result};

use super::distinct::is_of_files;
use crate::error::from_datafusion;

/// An appending run reads only new files, so a subquery over files would not see the others. And a condition over files
/// is combined with the rejected rows by `or`, where `not in` with a null is false instead of null.
///
/// # Errors
/// `Invalid`, with what to write instead.
pub(super) fn refuse(job: &Job, plan: &LogicalPlan) -> Result<()> {
    if job.query.files().is_empty() {
        return Ok(());
    }
    let failed = |e| from_datafusion(&job.query_path(), e);
    let wrong = |what: &str| Err(Error::invalid(format!("{}: {what}", job.query_path())));
    if job.manifest.sink == (Sink::Append {}) && files_in_subqueries(plan).map_err(failed)? {
        return wrong(
            "a subquery reads files, and an appending sink reads new files only: it would not see the others; append the files to a \
             table, and use the subquery in a job over that table",
        );
    }
    if negated_in(plan).map_err(failed)? {
        return wrong(
            "`not in (select ..)` over files is not right where the subquery yields a null; write `not exists (select 1 from .. where ..)`, \
             or use it in a job over a table",
        );
    }
    Ok(())
}

fn files_in_subqueries(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut found = false;
    plan.apply(|node| {
        node.apply_subqueries(|subquery| {
            subquery.apply_with_subqueries(|node| {
                found |= matches!(node, LogicalPlan::TableScan(scan) if is_of_files(scan));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

fn negated_in(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let is_subquery = |part: &Expr| Ok(matches!(part, Expr::InSubquery(_)));
    let mut found = false;
    plan.apply(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                found |= match part {
                    Expr::InSubquery(inside) => inside.negated,
                    Expr::Not(inside) => inside.exists(is_subquery)?,
                    _ => false,
                };
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}
