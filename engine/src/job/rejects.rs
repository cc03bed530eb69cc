//! Passes rejected lines through the query of a job over files, to the sink that quarantines them.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::source_as_provider;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder, Projection, ident};
use pulse_core::project::Job;
use pulse_core::{Error, Result};

use crate::error::from_datafusion;
use crate::sink::{RAW, REASON};
use crate::source::file::RawFiles;

/// Adds the hidden columns to every projection and lets rejects through every filter.
///
/// # Errors
/// `Invalid` for any other operation on a source of files: a join has no meaning for a line without columns.
pub(super) fn carry_rejects(plan: LogicalPlan, job: &Job) -> Result<LogicalPlan> {
    plan.transform_up(|node| extend(node).map(Transformed::yes)).map(|transformed| transformed.data).map_err(|error| {
        match error {
            DataFusionError::Plan(what) => Error::invalid(format!(
                "{}: {what} over a source of files; select its rows as they are and do the rest in the next job",
                job.query_path()
            )),
            other => from_datafusion(&job.query_path(), other),
        }
    })
}

fn extend(node: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    match node {
        LogicalPlan::TableScan(_) => Ok(node),
        // Its cached schema lacks the hidden columns of the input below.
        LogicalPlan::SubqueryAlias(alias) => {
            LogicalPlanBuilder::from(alias.input.as_ref().clone()).alias(alias.alias)?.build()
        }
        LogicalPlan::Projection(Projection { expr, input, .. }) => {
            // `select *` includes them already, qualified by the source's name.
            let shown =
                |name: &str| expr.iter().any(|shown| matches!(shown, Expr::Column(column) if column.name == name));
            let hidden = [REASON, RAW].into_iter().filter(|name| !shown(name)).map(ident);
            let expressions: Vec<Expr> = expr.iter().cloned().chain(hidden).collect();
            LogicalPlanBuilder::from(input.as_ref().clone()).project(expressions)?.build()
        }
        LogicalPlan::Filter(Filter { predicate, input, .. }) => {
            let predicate = or_rejected(predicate, &input)?;
            LogicalPlanBuilder::from(input.as_ref().clone()).filter(predicate)?.build()
        }
        other => Err(DataFusionError::Plan(format!("`{}`", name_of(&other)))),
    }
}

/// Also true for rejected rows. Conditions on path placeholders stay separate, so that the scan can prune files by
/// them.
fn or_rejected(predicate: Expr, input: &LogicalPlan) -> DataFusionResult<Expr> {
    let rejected = || ident(REASON).is_not_null();
    let mut node = input;
    while let [below] = node.inputs().as_slice() {
        node = below;
    }
    let LogicalPlan::TableScan(scan) = node else { return Ok(predicate.or(rejected())) };
    let provider = source_as_provider(&scan.source)?;
    let Some(files) = provider.downcast_ref::<RawFiles>().filter(|files| files.have_partitions()) else {
        return Ok(predicate.or(rejected()));
    };
    let (picking, rest): (Vec<Expr>, Vec<Expr>) =
        split_conjunction_owned(predicate).into_iter().partition(|part| files.are_picked_by(part));
    let parts = picking.into_iter().chain(conjunction(rest)).map(|part| part.or(rejected()));
    conjunction(parts).ok_or_else(|| DataFusionError::Internal("a filter has a condition".to_owned()))
}

fn name_of(node: &LogicalPlan) -> String {
    node.display().to_string().split(':').next().unwrap_or_default().to_lowercase()
}
