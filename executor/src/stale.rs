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

use crate::job::{is_name, without_links};

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
    let job = place.partition_id.job_id.as_str();
    let refused = |why: &str| DataFusionError::Execution(format!("a shuffle of job {job:?} is not read: {why}"));
    // The name of a job becomes a folder's name. Without this, a plan could have any file of this account deleted.
    if !is_name(job) {
        return Err(refused("no job has such a name"));
    }
    let file = place.path(folder).map_err(|e| DataFusionError::External(Box::new(e)))?;
    let below = file.strip_prefix(folder).map_err(|_| refused("it is outside of the work folder"))?;
    let parts: Vec<String> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if let Some((_, folders)) = parts.split_last() {
        without_links(Path::new(folder), folders).map_err(|status| refused(status.message()))?;
    }
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
        place_of("job", executor, task, is_sort_shuffle)
    }

    fn place_of(job: &str, executor: &str, task: u64, is_sort_shuffle: bool) -> PartitionLocation {
        PartitionLocation {
            map_partition_id: 0,
            partition_id: PartitionId { job_id: JobId::new(job), stage_id: 2, partition_id: 5 },
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
        let plan = reader(places.to_vec());
        remove_stale(&plan, "me", &folder).unwrap();
        let left: Vec<bool> = files.iter().map(|file| file.exists()).collect();
        assert_eq!(left, [false, false, true, true]);
        remove_stale(&plan, "me", &folder).unwrap();
    }

    fn reader(places: Vec<PartitionLocation>) -> Arc<dyn ExecutionPlan> {
        let schema = Arc::new(Schema::empty());
        let partitioning = Partitioning::UnknownPartitioning(1);
        Arc::new(ShuffleReaderExec::try_new(2, vec![places], schema, partitioning).unwrap())
    }

    #[test]
    fn nothing_outside_of_the_work_folder_is_deleted() {
        let kept = tempfile::tempdir().unwrap();
        let (work, outside) = (kept.path().join("work"), kept.path().join("outside"));
        std::fs::create_dir(&work).unwrap();
        let folder = work.display().to_string();
        // Where the path of such a job leads, or would lead.
        let absolute = outside.display().to_string();
        for job in ["../outside", absolute.as_str(), "linked"] {
            for is_sort_shuffle in [true, false] {
                let place = place_of(job, "other", 1, is_sort_shuffle);
                let target = place_of("outside", "other", 1, is_sort_shuffle).path(&kept.path().display().to_string());
                let target = target.unwrap();
                std::fs::create_dir_all(target.parent().unwrap()).unwrap();
                std::fs::write(&target, "precious").unwrap();
                if !work.join("linked").exists() {
                    std::os::unix::fs::symlink(&outside, work.join("linked")).unwrap();
                }
                let error = remove_stale(&reader(vec![place]), "me", &folder).unwrap_err().to_string();
                assert!(target.exists(), "{job}");
                assert!(error.contains("is not read"), "{error}");
            }
        }
    }
}
