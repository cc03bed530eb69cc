//! Operators that hold a few batches, or spill, where DataFusion's own hold a whole partition.
//!
//! Each process applies [`streaming`] right before it executes a plan: plans are sent with DataFusion's own operators,
//! so the codec does not need ours.

mod join;
mod memory;
mod sort;
#[cfg(test)]
mod tests;
mod window;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::window::{StandardWindowExpr, WindowExpr};
use datafusion::physical_plan::expressions::Column;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec, WindowUDFExpr};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};

use crate::function::takes_pieces;
pub(crate) use join::SpillableJoins;
pub(crate) use memory::SharedPool;
pub use sort::ChunkedSortExec;
pub use window::StreamingWindowExec;

/// Returns an equivalent plan, with the same order, that uses bounded memory wherever possible.
///
/// # Errors
/// DataFusion's, when an operator cannot be rebuilt over its changed input.
pub fn streaming(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        if let Some(window) = plan.downcast_ref::<WindowAggExec>() {
            return Ok(stream_window(window)?.map_or(Transformed::no(plan), Transformed::yes));
        }
        let chunked = plan.downcast_ref::<SortExec>().map(ChunkedSortExec::try_new).transpose()?.flatten();
        Ok(chunked.map_or(Transformed::no(plan), |sort| Transformed::yes(Arc::new(sort))))
    })
    .data()
}

/// Replaces a window operator by a streaming one, plus DataFusion's own bounded one for the functions it supports;
/// `None` if some expression needs its whole window partition.
fn stream_window(window: &WindowAggExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let expressions = window.window_expr();
    let (ours, others): (Vec<usize>, Vec<usize>) =
        (0..expressions.len()).partition(|&index| call(&expressions[index]).is_some());
    let bounded = others.iter().all(|&index| expressions[index].uses_bounded_memory());
    if ours.is_empty() || !bounded {
        return Ok(None);
    }
    let pick = |indices: &[usize]| indices.iter().map(|&index| Arc::clone(&expressions[index])).collect::<Vec<_>>();
    let can_repartition = !window.partition_keys().is_empty();
    let lower = WindowAggExec::try_new(pick(&ours), Arc::clone(window.input()), can_repartition)?;
    let lower: Arc<dyn ExecutionPlan> = Arc::new(StreamingWindowExec::try_new(lower)?);
    if others.is_empty() {
        return Ok(Some(lower));
    }
    let upper = BoundedWindowAggExec::try_new(pick(&others), lower, InputOrderMode::Sorted, can_repartition)?;
    in_order(Arc::new(upper), window, &[ours, others].concat()).map(Some)
}

/// Restores the column order of `window` on a plan that has its expressions in another order.
fn in_order(plan: Arc<dyn ExecutionPlan>, window: &WindowAggExec, order: &[usize]) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = window.schema();
    let inputs = schema.fields().len() - order.len();
    let place = |index: usize| match index.checked_sub(inputs) {
        Some(expression) => order.iter().position(|&known| known == expression).map_or(index, |place| inputs + place),
        None => index,
    };
    let columns = schema.fields().iter().enumerate().map(|(index, field)| ProjectionExpr {
        expr: Arc::new(Column::new(field.name(), place(index))),
        alias: field.name().clone(),
    });
    Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
}

/// The function call, if its evaluator accepts a window partition in pieces.
fn call(expression: &Arc<dyn WindowExpr>) -> Option<&WindowUDFExpr> {
    let standard = expression.as_any().downcast_ref::<StandardWindowExpr>()?;
    let call = standard.get_standard_func_expr().as_any().downcast_ref::<WindowUDFExpr>()?;
    takes_pieces(call.fun()).then_some(call)
}
