//! Makes every piece of a shuffle be read once, even if several attempts wrote it.
//!
//! If a running stage loses its input, Ballista restarts it and forgets which of its tasks had ended. The stage that reads it keeps
//! the locations that those tasks reported, and would read their rows twice.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ballista_core::JobId;
use ballista_core::execution_plans::ShuffleReaderExec;
use ballista_core::serde::scheduler::PartitionLocation;
use ballista_scheduler::state::execution_stage::{ExecutionStage, RunningStage};
use ballista_scheduler::state::task_manager::JobInfoCache;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;

use super::attempts::{counting, settle};

/// The tasks of an ended stage that count, with the executors that hold their rows.
type Made = HashMap<usize, String>;

/// Drops repeated locations from the inputs of running stages that have not started a task yet.
pub(super) async fn read_once(jobs: &HashMap<JobId, JobInfoCache>) -> Result<()> {
    for (id, job) in jobs {
        let mut graph = job.execution_graph.write().await;
        let stages = graph.stages().iter().filter_map(|(id, stage)| match stage {
            ExecutionStage::Successful(stage) => Some((*id, counting(&stage.task_infos))),
            _ => None,
        });
        let made: HashMap<usize, Made> = stages.collect();
        let mut seen = Vec::new();
        while let Some(stage) = graph.fetch_running_stage(&seen) {
            seen.push(stage.stage_id);
            settle(stage);
            if stage.task_infos.is_empty() {
                let repeats = drop_repeats(stage, &made)?;
                if repeats > 0 {
                    log::warn!(
                        "job {id}, stage {}: {repeats} pieces were made twice and are read once",
                        stage.stage_id
                    );
                }
            }
        }
    }
    Ok(())
}

/// Returns the number of dropped locations.
fn drop_repeats(stage: &mut RunningStage, made: &HashMap<usize, Made>) -> Result<usize> {
    for (id, input) in &mut stage.inputs {
        let Some(made) = made.get(id) else { continue };
        input.partition_locations.values_mut().for_each(|places| *places = kept(places, made));
    }
    let mut dropped = 0;
    let plan = Arc::clone(&stage.plan).transform_up(|node| {
        let Some(reader) = node.downcast_ref::<ShuffleReaderExec>() else { return Ok(Transformed::no(node)) };
        let Some(made) = made.get(&reader.stage_id) else { return Ok(Transformed::no(node)) };
        let places: Vec<Vec<PartitionLocation>> = reader.partition.iter().map(|places| kept(places, made)).collect();
        let repeats = count(&reader.partition) - count(&places);
        if repeats == 0 {
            return Ok(Transformed::no(node));
        }
        dropped += repeats;
        replaced(reader, places).map(Transformed::yes)
    })?;
    stage.plan = plan.data;
    Ok(dropped)
}

fn replaced(reader: &ShuffleReaderExec, places: Vec<Vec<PartitionLocation>>) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = reader.schema();
    if reader.broadcast {
        let all = places.into_iter().flatten().collect();
        let reader =
            ShuffleReaderExec::try_new_broadcast(reader.stage_id, all, schema, reader.upstream_partition_count)?;
        return Ok(Arc::new(reader));
    }
    let partitioning = reader.properties().output_partitioning().clone();
    Ok(Arc::new(ShuffleReaderExec::try_new(reader.stage_id, places, schema, partitioning)?))
}

/// Keeps the last reported location of each task that counts. Two attempts of a stage may give the same number to different tasks. If
/// both ran on the same executor, they wrote the same file, and the later one overwrote it.
fn kept(places: &[PartitionLocation], made: &Made) -> Vec<PartitionLocation> {
    let mut seen = HashSet::new();
    let mut kept: Vec<PartitionLocation> = places
        .iter()
        .rev()
        .filter(|place| made.get(&place.map_partition_id).is_some_and(|executor| *executor == place.executor_meta.id))
        .filter(|place| seen.insert((place.partition_id.partition_id, place.map_partition_id)))
        .cloned()
        .collect();
    kept.reverse();
    kept
}

fn count(places: &[Vec<PartitionLocation>]) -> usize {
    places.iter().map(Vec::len).sum()
}

#[cfg(test)]
mod tests {
    use ballista_core::serde::scheduler::{
        ExecutorMetadata, ExecutorOperatingSystemSpecification, ExecutorSpecification, PartitionId, PartitionStats,
    };

    use super::*;

    fn place(task: usize, executor: &str, attempt: u64) -> PartitionLocation {
        PartitionLocation {
            map_partition_id: task,
            partition_id: PartitionId { job_id: JobId::new("job"), stage_id: 2, partition_id: 5 },
            executor_meta: ExecutorMetadata {
                id: executor.to_owned(),
                host: "127.0.0.1".to_owned(),
                port: 1,
                grpc_port: 2,
                specification: ExecutorSpecification::default(),
                os_info: ExecutorOperatingSystemSpecification::default(),
            },
            partition_stats: PartitionStats::new(None, None, None),
            // Not its meaning; it tells places apart here.
            file_id: Some(attempt),
            is_sort_shuffle: true,
        }
    }

    fn told(places: &[PartitionLocation]) -> Vec<(usize, &str, Option<u64>)> {
        let of = |place| -> (usize, &str, Option<u64>) {
            let place: &PartitionLocation = place;
            (place.map_partition_id, place.executor_meta.id.as_str(), place.file_id)
        };
        places.iter().map(of).collect()
    }

    #[test]
    fn what_an_earlier_attempt_of_the_stage_made_is_not_read() {
        let made = Made::from([(0, "a".to_owned()), (1, "b".to_owned())]);
        // Task 0 was on b, task 1 on a, task 2 anywhere; then the stage was begun anew.
        let places = [place(0, "b", 1), place(1, "a", 1), place(2, "b", 1), place(0, "a", 2), place(1, "b", 2)];
        assert_eq!(told(&kept(&places, &made)), [(0, "a", Some(2)), (1, "b", Some(2))]);
    }

    #[test]
    fn the_same_task_on_the_same_executor_is_the_later_one() {
        let made = Made::from([(0, "a".to_owned())]);
        assert_eq!(told(&kept(&[place(0, "a", 1), place(0, "a", 2)], &made)), [(0, "a", Some(2))]);
    }

    #[test]
    fn without_a_loss_nothing_changes() {
        let made = Made::from([(0, "a".to_owned()), (1, "b".to_owned()), (2, "a".to_owned())]);
        let places = [place(2, "a", 1), place(0, "a", 1), place(1, "b", 1)];
        assert_eq!(kept(&places, &made).len(), 3);
        assert_eq!(told(&kept(&places, &made)), told(&places));
    }
}
