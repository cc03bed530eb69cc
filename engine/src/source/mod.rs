//! Where rows come from: files from outside and tables of the lake.

pub mod delta;
pub mod file;
mod footer;
mod nan;
mod projected;

use std::sync::Arc;

use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

pub(crate) use nan::NanSafeScans;

/// A scan of no files has no partition, and what must gather its rows in one cannot be planned.
fn with_a_partition(scan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    match scan.output_partitioning().partition_count() {
        0 => Arc::new(EmptyExec::new(scan.schema())),
        _ => scan,
    }
}

/// Input of a task below which one more task costs more than it helps.
const LEAST_PARTITION_BYTES: u64 = 12 << 20;

/// Bytes of input for one task: `most`, or less where `total` would not make as many tasks as the session asks for.
fn partition_bytes(total: u64, most: u64, tasks: usize) -> u64 {
    let share = total / u64::try_from(tasks.max(1)).unwrap_or(u64::MAX);
    // A sixteenth more, so that what does not divide evenly leaves no small last task.
    (share + share / 16).max(LEAST_PARTITION_BYTES).min(most)
}

#[cfg(test)]
mod tests {
    use super::partition_bytes;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_task_reads_its_share_within_bounds() {
        // Little input is not cut into crumbs, much is cut at the target.
        assert_eq!(partition_bytes(20 * MIB, 256 * MIB, 4), 12 * MIB);
        assert_eq!(partition_bytes(320 * MIB, 256 * MIB, 4), 85 * MIB);
        assert_eq!(partition_bytes(100_000 * MIB, 256 * MIB, 4), 256 * MIB);
        // Who asks for less gets it.
        assert_eq!(partition_bytes(100_000 * MIB, MIB, 4), MIB);
        assert_eq!(partition_bytes(0, 256 * MIB, 0), 12 * MIB);
    }
}
