//! Decides between several attempts at the same partitions of a stage: which are slow, and which one counts.
//!
//! Ballista never starts a second attempt while the first one runs; pulse does. Invariant: two live tasks (running or successful) hold
//! either the same partitions or disjoint ones, and no live task holds a pending partition. So any one of several equal tasks
//! can stand for all of them.

use std::collections::{HashMap, HashSet};

use ballista_core::serde::protobuf::{FailedTask, ResultLost, TaskKilled, failed_task, task_status};
use ballista_scheduler::state::execution_stage::{PendingPartitions, RunningStage, TaskInfo};

/// Share of a stage's partitions that must have ended before running tasks are compared with them.
const ENDED_SHARE: f64 = 0.5;
/// Minimum age of a slow task; starting another attempt costs about as much.
const SLOW_MS: u128 = 1_000;

fn runs(task: &TaskInfo) -> bool {
    matches!(task.task_status, task_status::Status::Running(_))
}

fn ended_well(task: &TaskInfo) -> bool {
    matches!(task.task_status, task_status::Status::Successful(_))
}

/// Tasks without another attempt that have run for more than `factor` times the median duration of ended ones.
pub(super) fn slow(tasks: &[TaskInfo], partitions: usize, now_ms: u128, factor: u64) -> Vec<usize> {
    let ended: Vec<&TaskInfo> = tasks.iter().filter(|task| ended_well(task)).collect();
    let share = done(tasks) as f64 / partitions.max(1) as f64;
    let mut took: Vec<u128> = ended.iter().map(|task| task.finish_time.saturating_sub(task.scheduled_time)).collect();
    took.sort_unstable();
    let Some(median) = took.get(took.len() / 2).filter(|_| share >= ENDED_SHARE) else { return Vec::new() };
    let limit = SLOW_MS.max(median.saturating_mul(u128::from(factor)));
    let alone = |task: &TaskInfo| others(tasks, task).next().is_none();
    let is_slow = |task: &TaskInfo| runs(task) && now_ms.saturating_sub(task.scheduled_time) > limit && alone(task);
    tasks.iter().enumerate().filter(|(_, task)| is_slow(task)).map(|(id, _)| id).collect()
}

/// Running tasks with another live attempt: first those that are still racing, then those whose other attempt has ended.
pub(super) fn racing(tasks: &[TaskInfo]) -> (Vec<usize>, Vec<usize>) {
    let beside = tasks.iter().enumerate().filter(|(_, task)| runs(task) && others(tasks, task).next().is_some());
    let (beaten, racing) = beside.map(|(id, _)| id).partition(|id| others(tasks, &tasks[*id]).any(ended_well));
    (racing, beaten)
}

/// Other live attempts at the same partitions.
fn others<'a>(tasks: &'a [TaskInfo], of: &'a TaskInfo) -> impl Iterator<Item = &'a TaskInfo> {
    tasks.iter().filter(move |task| {
        task.task_id != of.task_id
            && (runs(task) || ended_well(task))
            && task.global_input_partition_ids == of.global_input_partition_ids
    })
}

/// The tasks of an ended stage that count, with the executors that hold their rows: one task per set of partitions.
pub(super) fn counting(tasks: &[TaskInfo]) -> HashMap<usize, String> {
    let mut seen: HashSet<&[usize]> = HashSet::new();
    let ended = tasks.iter().enumerate().filter_map(|(id, task)| match &task.task_status {
        task_status::Status::Successful(ended) => Some((id, task, ended.executor_id.clone())),
        _ => None,
    });
    ended
        .filter(|(_, task, _)| seen.insert(&task.global_input_partition_ids))
        .map(|(id, _, executor)| (id, executor))
        .collect()
}

/// Partitions that have ended.
pub(super) fn done(tasks: &[TaskInfo]) -> usize {
    let ended = tasks.iter().filter(|task| ended_well(task)).flat_map(|task| &task.global_input_partition_ids);
    ended.collect::<HashSet<_>>().len()
}

/// Removes partitions from the pending ones that a live task holds. Ballista makes the partitions of a lost attempt pending even
/// if another attempt at them is live.
pub(super) fn settle(stage: &mut RunningStage) {
    settle_pending(&mut stage.task_infos, &mut stage.pending);
}

fn settle_pending(tasks: &mut [TaskInfo], pending: &mut PendingPartitions) {
    if pending.is_empty() || !tasks.iter().any(|task| runs(task) || ended_well(task)) {
        return;
    }
    let mut waiting = pending.next_slice(usize::MAX);
    let running: HashSet<usize> =
        tasks.iter().filter(|task| runs(task)).flat_map(|task| task.global_input_partition_ids.clone()).collect();
    waiting.retain(|partition| !running.contains(partition));
    // What has ended is made again as a whole: the stage ends with the report of a task, and there may be none left to report.
    for task in tasks.iter_mut().filter(|task| ended_well(task)) {
        let held = &task.global_input_partition_ids;
        if held.iter().any(|partition| waiting.contains(partition)) {
            waiting.extend(held.iter().filter(|partition| !running.contains(*partition)));
            task.task_status = given_up("made again", true, failed_task::FailedReason::ResultLost(ResultLost {}));
        }
    }
    let mut seen = HashSet::new();
    waiting.retain(|partition| seen.insert(*partition));
    pending.reschedule(waiting);
}

/// Ballista takes no further report of a task in this state. `again` has its partitions given out again.
pub(super) fn killed(again: bool) -> task_status::Status {
    given_up("another attempt was faster", again, failed_task::FailedReason::TaskKilled(TaskKilled {}))
}

fn given_up(why: &str, again: bool, reason: failed_task::FailedReason) -> task_status::Status {
    task_status::Status::Failed(FailedTask {
        error: why.to_owned(),
        retryable: again,
        count_to_failures: false,
        failed_reason: Some(reason),
    })
}

#[cfg(test)]
mod tests {
    use ballista_core::serde::protobuf::{RunningTask, SuccessfulTask};

    use super::*;

    fn running(id: usize, partitions: &[usize], since_ms: u128) -> TaskInfo {
        TaskInfo {
            task_id: id,
            scheduled_time: since_ms,
            launch_time: 0,
            start_exec_time: 0,
            end_exec_time: 0,
            finish_time: 0,
            task_status: task_status::Status::Running(RunningTask { executor_id: format!("e{id}") }),
            global_input_partition_ids: partitions.to_vec(),
            vcores_consumed: 1,
        }
    }

    fn ended(id: usize, partitions: &[usize], took_ms: u128) -> TaskInfo {
        let done = SuccessfulTask { executor_id: format!("e{id}"), ..SuccessfulTask::default() };
        TaskInfo {
            finish_time: took_ms,
            task_status: task_status::Status::Successful(done),
            ..running(id, partitions, 0)
        }
    }

    fn lost(id: usize, partitions: &[usize]) -> TaskInfo {
        TaskInfo { task_status: killed(true), ..running(id, partitions, 0) }
    }

    fn waiting(partitions: &[usize]) -> PendingPartitions {
        let mut pending = PendingPartitions::empty(4);
        pending.reschedule(partitions.to_vec());
        pending
    }

    #[test]
    fn slow_is_what_takes_longer_than_a_multiple_of_the_median() {
        let tasks = [ended(0, &[0], 2_000), ended(1, &[1], 3_000), running(2, &[2], 0), running(3, &[3], 9_000)];
        assert_eq!(slow(&tasks, 4, 6_000, 2), [] as [usize; 0]);
        assert_eq!(slow(&tasks, 4, 6_001, 2), [2]);
        assert_eq!(slow(&tasks, 4, 9_001, 3), [2]);
    }

    #[test]
    fn nothing_is_slow_before_half_has_ended_nor_within_a_second() {
        let tasks = [ended(0, &[0], 10), running(1, &[1], 0), running(2, &[2], 0)];
        assert_eq!(slow(&tasks, 3, 100_000, 2), [] as [usize; 0]);
        let tasks = [ended(0, &[0], 10), running(1, &[1], 0)];
        assert_eq!(slow(&tasks, 2, 1_000, 2), [] as [usize; 0]);
        assert_eq!(slow(&tasks, 2, 1_001, 2), [1]);
    }

    #[test]
    fn a_task_has_one_other_attempt_at_most_and_a_lost_one_does_not_count() {
        let tasks = [ended(0, &[0], 10), running(1, &[1], 0), running(2, &[1], 0)];
        assert_eq!(slow(&tasks, 2, 100_000, 2), [] as [usize; 0]);
        let tasks = [ended(0, &[0], 10), running(1, &[1], 0), lost(2, &[1])];
        assert_eq!(slow(&tasks, 2, 100_000, 2), [1]);
    }

    #[test]
    fn the_one_that_ended_beats_those_that_run() {
        let tasks = [running(0, &[0], 0), running(1, &[1], 0), running(2, &[1], 0)];
        assert_eq!(racing(&tasks), (vec![1, 2], vec![]));
        let tasks = [running(0, &[0], 0), running(1, &[1], 0), ended(2, &[1], 5)];
        assert_eq!(racing(&tasks), (vec![], vec![1]));
    }

    #[test]
    fn of_attempts_that_both_ended_one_counts() {
        let tasks = [ended(0, &[0, 1], 1), lost(1, &[2]), ended(2, &[2], 1), ended(3, &[0, 1], 1)];
        assert_eq!(counting(&tasks), HashMap::from([(0, "e0".to_owned()), (2, "e2".to_owned())]));
        assert_eq!(done(&tasks), 3);
    }

    #[test]
    fn what_a_living_attempt_works_on_does_not_wait() {
        let (mut tasks, mut pending) = ([running(0, &[0, 1], 0), lost(1, &[0, 1])], waiting(&[0, 1, 2]));
        settle_pending(&mut tasks, &mut pending);
        assert_eq!(pending.next_slice(9), [2]);
    }

    /// A stage whose last report came before its lost partitions were given out again would otherwise wait for ever.
    #[test]
    fn what_waits_is_made_again_as_a_whole_where_an_attempt_had_ended() {
        let (mut tasks, mut pending) = ([ended(0, &[0, 1], 1), lost(1, &[0, 1])], waiting(&[1]));
        settle_pending(&mut tasks, &mut pending);
        assert_eq!(pending.next_slice(9), [1, 0]);
        assert!(counting(&tasks).is_empty());
    }

    #[test]
    fn without_a_loss_nothing_is_settled() {
        let (mut tasks, mut pending) = ([running(0, &[0], 0), ended(1, &[1], 1)], waiting(&[2, 3]));
        settle_pending(&mut tasks, &mut pending);
        assert_eq!(pending.next_slice(9), [2, 3]);
        assert_eq!(counting(&tasks).len(), 1);
    }
}
