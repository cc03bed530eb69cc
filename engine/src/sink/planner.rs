//! Plans the sink's logical node as its physical operator.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use super::{SinkExec, SinkNode};

/// DataFusion's planner, extended by the sink.
#[derive(Debug, Default)]
pub struct SinkPlanner;

#[async_trait]
impl QueryPlanner for SinkPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Self)]).create_physical_plan(plan, session).await
    }
}

#[async_trait]
impl ExtensionPlanner for SinkPlanner {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(sink), [input]) = (node.as_any().downcast_ref::<SinkNode>(), inputs) else { return Ok(None) };
        Ok(Some(Arc::new(SinkExec::try_new(Arc::clone(input), Arc::clone(sink.spec()))?)))
    }
}
