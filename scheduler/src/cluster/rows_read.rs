//! How many rows the tasks of a plan have read from its sources. Ballista forgets a plan when it ends, and what its executors counted with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ballista_core::serde::protobuf::operator_metric::Metric;
use ballista_core::serde::protobuf::{TaskStatus, task_status};
use pulse_engine::cluster::ROWS_READ;

/// By plan, until [`RowsRead::forget`].
#[derive(Debug, Clone, Default)]
pub(super) struct RowsRead(Arc<Mutex<HashMap<String, u64>>>);

impl RowsRead {
    /// Adds what tasks report that have succeeded, of plans that run.
    pub(super) fn note(&self, reports: &[TaskStatus], is_running: impl Fn(&str) -> bool) {
        let mut plans = self.plans();
        for report in reports.iter().filter(|report| is_running(&report.job_id)) {
            let rows = plans.entry(report.job_id.clone()).or_default();
            *rows = rows.saturating_add(rows_of(report));
        }
    }

    /// Of tasks that have ended so far.
    pub(super) fn of(&self, plan: &str) -> u64 {
        self.plans().get(plan).copied().unwrap_or_default()
    }

    pub(super) fn forget(&self, plan: &str) {
        self.plans().remove(plan);
    }

    fn plans(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rows_of(report: &TaskStatus) -> u64 {
    if !matches!(report.status, Some(task_status::Status::Successful(_))) {
        return 0;
    }
    let metrics = report.metrics.iter().flat_map(|set| &set.metrics);
    metrics.fold(0, |sum, metric| match &metric.metric {
        Some(Metric::Count(count)) if count.name == ROWS_READ => count.value.saturating_add(sum),
        _ => sum,
    })
}

#[cfg(test)]
mod tests {
    use ballista_core::serde::protobuf::{FailedTask, NamedCount, OperatorMetric, OperatorMetricsSet, SuccessfulTask};

    use super::*;

    fn report(plan: &str, rows: u64, status: task_status::Status) -> TaskStatus {
        let count = |name: &str, value| OperatorMetric {
            metric: Some(Metric::Count(NamedCount { name: name.to_owned(), value })),
            ..OperatorMetric::default()
        };
        TaskStatus {
            job_id: plan.to_owned(),
            metrics: vec![OperatorMetricsSet { metrics: vec![count("other", 99), count(ROWS_READ, rows)] }],
            status: Some(status),
            ..TaskStatus::default()
        }
    }

    #[test]
    fn rows_of_tasks_that_succeeded_are_added_up_while_their_plan_runs() {
        let done = || task_status::Status::Successful(SuccessfulTask::default());
        let failed = task_status::Status::Failed(FailedTask::default());
        let read = RowsRead::default();
        read.note(&[report("a", 5, done()), report("b", 7, done()), report("a", 9, failed)], |_| true);
        read.note(&[report("a", 3, done()), report("c", 1, done())], |plan| plan == "a");
        assert_eq!([read.of("a"), read.of("b"), read.of("c")], [8, 7, 0]);
        read.forget("a");
        assert_eq!([read.of("a"), read.of("b")], [0, 7]);
        read.note(&[TaskStatus { metrics: Vec::new(), ..report("b", 1, done()) }], |_| true);
        assert_eq!(read.of("b"), 7);
    }
}
