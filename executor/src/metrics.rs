//! Figures of an executor for Prometheus. They outlive its lives under several ids.

mod endpoint;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use ballista_core::serde::protobuf::failed_task::FailedReason;
use ballista_core::serde::protobuf::{FailedTask, SuccessfulTask, TaskStatus, task_status};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool as _};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use pulse_core::Result;
use pulse_metrics::{Process, Registry};

pub(crate) use endpoint::Endpoint;

const SUCCEEDED: &str = "succeeded";
const FAILED: &str = "failed";
const CANCELLED: &str = "cancelled";
const LOST_INPUT: &str = "lost_input";

#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    running: Gauge,
    ended: Family<Outcome, Counter>,
    reserved: Gauge,
    spilled: Counter,
    shuffle_written: Counter,
    shuffle_served: Counter,
    /// Each task has a pool of its own; those of ended tasks are gone.
    pools: Mutex<Vec<Weak<FairSpillPool>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// A task that was taken. It runs until this is dropped.
pub(crate) struct Running<'m>(&'m Gauge);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// # Errors
    /// `Internal` when a metric is not described.
    pub(crate) fn new(slots: usize, memory_bytes: u64, process: Process) -> Result<Self> {
        let mut registry = Registry::of(process);
        let limits = [
            ("pulse_executor_slots", u64::try_from(slots).unwrap_or(u64::MAX)),
            ("pulse_executor_memory_limit_bytes", memory_bytes),
        ];
        for (name, limit) in limits {
            registry.add(name, Gauge::<i64>::default())?.set(i64::try_from(limit).unwrap_or(i64::MAX));
        }
        let metrics = Self {
            running: registry.add("pulse_executor_tasks_running", Gauge::default())?,
            ended: registry.add("pulse_executor_tasks_total", Family::default())?,
            reserved: registry.add("pulse_executor_memory_reserved_bytes", Gauge::default())?,
            spilled: registry.add("pulse_executor_spilled_bytes_total", Counter::default())?,
            shuffle_written: registry.add("pulse_executor_shuffle_written_bytes_total", Counter::default())?,
            shuffle_served: registry.add("pulse_executor_shuffle_served_bytes_total", Counter::default())?,
            pools: Mutex::default(),
            registry,
        };
        // The first failure is an increase, too.
        for outcome in [SUCCEEDED, FAILED, CANCELLED, LOST_INPUT] {
            drop(metrics.ended.get_or_create(&Outcome { outcome }));
        }
        Ok(metrics)
    }

    pub(crate) fn running(&self) -> Running<'_> {
        self.running.inc();
        Running(&self.running)
    }

    pub(crate) fn ended(&self, status: &TaskStatus) {
        let outcome = match &status.status {
            Some(task_status::Status::Successful(done)) => {
                self.shuffle_written.inc_by(written(done));
                SUCCEEDED
            }
            Some(task_status::Status::Failed(FailedTask { failed_reason, .. })) => match failed_reason {
                Some(FailedReason::TaskKilled(_)) => CANCELLED,
                Some(FailedReason::FetchPartitionError(_)) => LOST_INPUT,
                _ => FAILED,
            },
            Some(task_status::Status::Running(_)) | None => return,
        };
        self.ended.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn spilled(&self, bytes: u64) {
        self.spilled.inc_by(bytes);
    }

    pub(crate) fn served(&self, bytes: usize) {
        self.shuffle_served.inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// A pool whose reservations count as long as it lives.
    pub(crate) fn pool(&self, bytes: usize) -> Arc<FairSpillPool> {
        let pool = Arc::new(FairSpillPool::new(bytes));
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&pool));
        pool
    }

    /// # Errors
    /// `Internal` when a metric cannot be written.
    pub(crate) fn encode(&self) -> Result<String> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let reserved: usize = pools.iter().filter_map(Weak::upgrade).map(|pool| pool.reserved()).sum();
        drop(pools);
        self.reserved.set(i64::try_from(reserved).unwrap_or(i64::MAX));
        self.registry.encode()
    }
}

fn written(done: &SuccessfulTask) -> u64 {
    done.partitions.iter().map(|partition| partition.num_bytes).sum()
}

#[cfg(test)]
mod tests {
    use ballista_core::serde::protobuf::{FetchPartitionError, ShuffleWritePartition, TaskKilled};
    use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};
    use pulse_metrics::Shows;
    use pulse_metrics::text::Scraped;

    use super::*;

    fn metrics() -> Metrics {
        Metrics::new(4, 8 << 30, Process::new("b".to_owned(), 1)).unwrap()
    }

    fn scraped(metrics: &Metrics) -> Scraped {
        Scraped::parse(&metrics.encode().unwrap()).unwrap()
    }

    fn status(status: task_status::Status) -> TaskStatus {
        TaskStatus { status: Some(status), ..TaskStatus::default() }
    }

    fn failed(reason: FailedReason) -> TaskStatus {
        status(task_status::Status::Failed(FailedTask { failed_reason: Some(reason), ..FailedTask::default() }))
    }

    #[test]
    fn every_family_is_described_and_every_description_is_shown() {
        let metrics = metrics();
        let shown = scraped(&metrics);
        assert_eq!(shown.differences(Shows::Executor), Vec::<String>::new());
        assert_eq!(shown.value("pulse_executor_slots", &[]), Some(4.0));
        assert_eq!(shown.value("pulse_executor_memory_limit_bytes", &[]), Some(8.0 * f64::from(1 << 30)));
    }

    #[test]
    fn tasks_run_until_they_end_or_are_dropped_and_count_by_their_outcome() {
        let metrics = metrics();
        let running = || scraped(&metrics).value("pulse_executor_tasks_running", &[]).unwrap();
        let (one, other) = (metrics.running(), metrics.running());
        assert_eq!(running(), 2.0);
        drop(one);
        assert_eq!(running(), 1.0);
        drop(other);
        assert_eq!(running(), 0.0);
        let partition = |num_bytes| ShuffleWritePartition { num_bytes, ..ShuffleWritePartition::default() };
        let partitions = vec![partition(10), partition(32)];
        metrics.ended(&status(task_status::Status::Successful(SuccessfulTask {
            partitions,
            ..SuccessfulTask::default()
        })));
        metrics.ended(&failed(FailedReason::TaskKilled(TaskKilled {})));
        metrics.ended(&failed(FailedReason::FetchPartitionError(FetchPartitionError::default())));
        metrics.ended(&status(task_status::Status::Failed(FailedTask::default())));
        metrics.ended(&TaskStatus::default());
        metrics.spilled(7);
        metrics.served(9);
        let shown = scraped(&metrics);
        for outcome in [SUCCEEDED, FAILED, CANCELLED, LOST_INPUT] {
            assert_eq!(shown.value("pulse_executor_tasks_total", &[("outcome", outcome)]), Some(1.0), "{outcome}");
        }
        assert_eq!(shown.value("pulse_executor_shuffle_written_bytes_total", &[]), Some(42.0));
        assert_eq!(shown.value("pulse_executor_spilled_bytes_total", &[]), Some(7.0));
        assert_eq!(shown.value("pulse_executor_shuffle_served_bytes_total", &[]), Some(9.0));
    }

    #[test]
    fn memory_of_all_living_pools_is_added_up() {
        let metrics = metrics();
        let reserved = || scraped(&metrics).value("pulse_executor_memory_reserved_bytes", &[]).unwrap();
        let pools: [Arc<dyn MemoryPool>; 2] = [metrics.pool(1 << 20), metrics.pool(1 << 20)];
        let held: Vec<_> = pools
            .iter()
            .map(|pool| {
                let reservation = MemoryConsumer::new("sort").register(pool);
                reservation.try_grow(1000).unwrap();
                reservation
            })
            .collect();
        assert_eq!(reserved(), 2000.0);
        drop(held);
        assert_eq!(reserved(), 0.0);
        drop(pools);
        let _another = metrics.pool(1);
        assert_eq!(metrics.pools.lock().unwrap().len(), 1, "pools of ended tasks are forgotten");
    }
}
