//! Where rows come from: files from outside and tables of the lake.

pub mod delta;
pub mod file;

use std::sync::Arc;

use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

/// A scan of no files has no partition, and what must gather its rows in one cannot be planned.
fn with_a_partition(scan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    match scan.output_partitioning().partition_count() {
        0 => Arc::new(EmptyExec::new(scan.schema())),
        _ => scan,
    }
}
