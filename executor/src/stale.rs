//! Deletes files that an earlier attempt of a stage left in this executor's folder.
//!
//! Ballista reads a shuffle partition from the local folder whenever a file of that name exists, even if another
//! executor is named as its location. A restarted stage numbers its tasks from zero again, so an old local file may
//! have the name of another executor's.

use std::path::Path;
use std::sync::Arc;

use ballista_core::execution_plans::ShuffleReaderExec;
use ballista_core::serde::scheduler::PartitionLocation;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_plan::ExecutionPlan;

/// Deletes files that a task with this plan would mistake for those of other executors.
pub(crate) fn remove_stale(plan: &Arc<dyn ExecutionPlan>, executor_id: &str, folder: &str) -> Result<()> {
    plan.apply(|node| {
        let places = node.downcast_ref::<ShuffleReaderExec>().map(|reader| reader.partition.iter().flatten());
        places.into_iter().flatten().try_for_each(|place| remove_if_stale(place, executor_id, folder))?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn remove_if_stale(place: &PartitionLocation, executor_id: &str, folder: &str) -> Result<()> {
    if place.executor_meta.id == executor_id {
        return Ok(());
    }
    let file = place.path(folder).map_err(|e| DataFusionError::External(Box::new(e)))?;
    match std::fs::remove_file(Path::new(&file)) {
        Ok(()) => {
            log::warn!("{} is of an attempt that counts no more", file.display());
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(DataFusionError::IoError(error)),
    }
}

#[cfg(test)]
mod tests {
    use ballista_core::JobId;
    use ballista_core::serde::scheduler::{
        ExecutorMetadata, ExecutorOperatingSystemSpecification, ExecutorSpecification, PartitionId, PartitionStats,
    };
    use datafusion::arrow::datatypes::Schema;
    use datafusion::physical_plan::Partitioning;

    use super::*;

    fn place(executor: &str, task: u64, is_sort_shuffle: bool) -> PartitionLocation {
        PartitionLocation {
            map_partition_id: 0,
            partition_id: PartitionId { job_id: JobId::new("job"), stage_id: 2, partition_id: 5 },
            executor_meta: ExecutorMetadata {
                id: executor.to_owned(),
                host: "127.0.0.1".to_owned(),
                port: 1,
                grpc_port: 2,
                specification: ExecutorSpecification::default(),
                os_info: ExecutorOperatingSystemSpecification::default(),
            },
            partition_stats: PartitionStats::default(),
            file_id: Some(task),
            is_sort_shuffle,
        }
    }

    #[test]
    fn files_with_the_names_of_others_go_and_own_ones_stay() {
        let kept = tempfile::tempdir().unwrap();
        let folder = kept.path().display().to_string();
        let places = [place("other", 0, true), place("other", 1, false), place("me", 2, true), place("me", 3, false)];
        let files: Vec<_> = places.iter().map(|place| place.path(&folder).unwrap()).collect();
        for file in &files {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "rows").unwrap();
        }
        let schema = Arc::new(Schema::empty());
        let partitioning = Partitioning::UnknownPartitioning(1);
        let reader = ShuffleReaderExec::try_new(2, vec![places.to_vec()], schema, partitioning).unwrap();
        let plan = Arc::new(reader) as Arc<dyn ExecutionPlan>;
        remove_stale(&plan, "me", &folder).unwrap();
        let left: Vec<bool> = files.iter().map(|file| file.exists()).collect();
        assert_eq!(left, [false, false, true, true]);
        remove_stale(&plan, "me", &folder).unwrap();
    }
}
