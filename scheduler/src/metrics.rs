//! Figures of a scheduler for Prometheus. Runs and triggers are counted where the ledger records them, so that every driver of the
//! process counts them in one place.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use pulse_core::run::{RunRecord, RunState};
use pulse_core::settings::Settings;
use pulse_core::trigger::TriggerExit;
use pulse_core::{ErrorKind, Result};
use pulse_metrics::{Process, Registry, Tables};

use crate::scaler::Load;

/// Upper bounds in seconds, up to twelve hours: a run that does nothing takes less than one, and a restatement of years takes a night.
const RUN_SECONDS: [f64; 12] =
    [1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0, 43_200.0];
/// A call answers in milliseconds; a submission reads the project and writes the ledger.
const CALL_SECONDS: [f64; 10] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Reason of a refusal that is no error's kind.
const QUEUE_FULL: &str = "queue_full";
const KINDS: [ErrorKind; 7] = [
    ErrorKind::Invalid,
    ErrorKind::Conflict,
    ErrorKind::Unavailable,
    ErrorKind::Data,
    ErrorKind::Exhausted,
    ErrorKind::Cancelled,
    ErrorKind::Internal,
];
const FINAL: [RunState; 5] =
    [RunState::Succeeded, RunState::Unchanged, RunState::Failed, RunState::Cancelled, RunState::Skipped];
const EXITS: [TriggerExit; 4] =
    [TriggerExit::Done, TriggerExit::RunFailed, TriggerExit::ExpectationFailed, TriggerExit::Cancelled];

/// What changes by itself, as one scrape finds it.
#[derive(Debug, Clone, Default)]
pub struct Scene {
    pub driven: usize,
    pub waiting: usize,
    pub running: usize,
    pub executors: usize,
    pub load: Load,
}

/// The metrics of a scheduler.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    tables: Tables,
    triggers: Triggers,
    runs: Runs,
    rows: Rows,
    now: Now,
    calls: Calls,
    undelivered: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTable {
    table: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    table: String,
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    route: String,
    status: &'static str,
}

type ByTable = Family<OfTable, Counter>;
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;
type Seconds = Gauge<f64, AtomicU64>;

#[derive(Debug)]
struct Triggers {
    submitted: Counter,
    refused: Family<Reason, Counter>,
    ended: Family<Outcome, Counter>,
}

#[derive(Debug)]
struct Runs {
    ended: Family<Ended, Counter>,
    seconds: Histograms<OfTable>,
    retries: ByTable,
    failures: Family<OfKind, Counter>,
    last_success: Family<OfTable, Seconds>,
}

#[derive(Debug)]
struct Rows {
    read: ByTable,
    written: ByTable,
    quarantined: ByTable,
    dropped: ByTable,
    bytes_read: ByTable,
    bytes_written: ByTable,
}

#[derive(Debug)]
struct Now {
    driven: Gauge,
    waiting: Gauge,
    running: Gauge,
    executors: Gauge,
    slots: Gauge,
    tasks_running: Gauge,
    tasks_waiting: Gauge,
}

#[derive(Debug)]
struct Calls {
    answered: Family<Answer, Counter>,
    seconds: Histograms<Route>,
}

impl Metrics {
    /// # Errors
    /// `Internal` when a metric is not described.
    pub fn new(settings: &Settings, process: Process) -> Result<Self> {
        let mut registry = Registry::of(process);
        let limits = [
            ("pulse_triggers_driven_limit", settings.driven_triggers),
            ("pulse_triggers_waiting_limit", settings.queued_triggers),
            ("pulse_runs_running_limit", settings.scheduler_runs),
        ];
        for (name, limit) in limits {
            registry.add(name, Gauge::<i64>::default())?.set(i64::try_from(limit).unwrap_or(i64::MAX));
        }
        Ok(Self {
            tables: Tables::default(),
            triggers: Triggers::new(&mut registry)?,
            runs: Runs::new(&mut registry)?,
            rows: Rows::new(&mut registry)?,
            now: Now::new(&mut registry)?,
            calls: Calls::new(&mut registry)?,
            undelivered: registry.add("pulse_alerts_undelivered_total", Counter::default())?,
            registry,
        })
    }

    /// Counts a record that was written: of a run that goes on, the series appear at zero, so that its end is an increase.
    pub fn observe(&self, record: &RunRecord) {
        let table = self.tables.label(&record.job);
        if record.state.is_final() {
            self.runs.end(&table, record);
            self.rows.end(&OfTable { table }, record);
        } else {
            self.runs.begin(&table);
            self.rows.begin(&OfTable { table });
        }
    }

    pub fn submitted(&self) {
        self.triggers.submitted.inc();
    }

    /// Counts a submission that was refused because as many triggers wait as may.
    pub fn refused_by_queue(&self) {
        self.triggers.refused.get_or_create(&Reason { reason: QUEUE_FULL }).inc();
    }

    pub fn refused(&self, kind: ErrorKind) {
        self.triggers.refused.get_or_create(&Reason { reason: kind.word() }).inc();
    }

    /// Counts a trigger that ended with this exit code.
    pub fn trigger_ended(&self, code: u8) {
        if let Some(exit) = EXITS.into_iter().find(|exit| exit.code() == code) {
            self.triggers.ended.get_or_create(&Outcome { outcome: outcome(exit) }).inc();
        }
    }

    pub fn undelivered(&self, messages: u64) {
        self.undelivered.inc_by(messages);
    }

    /// Counts a call by its route, the pattern of its path: paths themselves would make too many labels.
    pub fn answered(&self, route: &str, status: u16, took: Duration) {
        let route = route.to_owned();
        self.calls.seconds.get_or_create(&Route { route: route.clone() }).observe(took.as_secs_f64());
        self.calls.answered.get_or_create(&Answer { route, status: class(status) }).inc();
    }

    /// # Errors
    /// `Internal` when a metric cannot be written.
    pub fn encode(&self, scene: &Scene) -> Result<String> {
        self.now.set(scene);
        self.registry.encode()
    }
}

impl Triggers {
    fn new(registry: &mut Registry) -> Result<Self> {
        let triggers = Self {
            submitted: registry.add("pulse_triggers_submitted_total", Counter::default())?,
            refused: registry.add("pulse_triggers_refused_total", Family::default())?,
            ended: registry.add("pulse_triggers_ended_total", Family::default())?,
        };
        // The first failure is an increase, too.
        for exit in EXITS {
            drop(triggers.ended.get_or_create(&Outcome { outcome: outcome(exit) }));
        }
        for reason in KINDS.map(ErrorKind::word).into_iter().chain([QUEUE_FULL]) {
            drop(triggers.refused.get_or_create(&Reason { reason }));
        }
        Ok(triggers)
    }
}

impl Runs {
    fn new(registry: &mut Registry) -> Result<Self> {
        let seconds: Histograms<OfTable> = Family::new_with_constructor(|| Histogram::new(RUN_SECONDS));
        let runs = Self {
            ended: registry.add("pulse_runs_total", Family::default())?,
            seconds: registry.add("pulse_run_duration_seconds", seconds)?,
            retries: registry.add("pulse_run_retries_total", Family::default())?,
            failures: registry.add("pulse_attempts_failed_total", Family::default())?,
            last_success: registry.add("pulse_job_last_success_timestamp_seconds", Family::default())?,
        };
        for kind in KINDS.map(ErrorKind::word) {
            drop(runs.failures.get_or_create(&OfKind { kind }));
        }
        Ok(runs)
    }

    fn begin(&self, table: &str) {
        for state in FINAL {
            drop(self.ended.get_or_create(&Ended { table: table.to_owned(), outcome: state.to_string() }));
        }
        drop(self.retries.get_or_create(&OfTable { table: table.to_owned() }));
    }

    fn end(&self, table: &str, record: &RunRecord) {
        self.begin(table);
        let of = OfTable { table: table.to_owned() };
        self.ended.get_or_create(&Ended { table: table.to_owned(), outcome: record.state.to_string() }).inc();
        self.retries.get_or_create(&of).inc_by(record.attempt.saturating_sub(1).into());
        for failure in &record.failures {
            self.failures.get_or_create(&OfKind { kind: failure.error.kind.word() }).inc();
        }
        if record.state == RunState::Succeeded {
            self.seconds.get_or_create(&of).observe(record.seconds);
        }
        if let Some(ended) = record.ended.filter(|_| record.state.is_success()) {
            let last = self.last_success.get_or_create(&of);
            #[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970")]
            last.set(last.get().max(ended as f64 / 1000.0));
        }
    }
}

impl Rows {
    fn new(registry: &mut Registry) -> Result<Self> {
        Ok(Self {
            read: registry.add("pulse_rows_read_total", Family::default())?,
            written: registry.add("pulse_rows_written_total", Family::default())?,
            quarantined: registry.add("pulse_rows_quarantined_total", Family::default())?,
            dropped: registry.add("pulse_rows_dropped_total", Family::default())?,
            bytes_read: registry.add("pulse_read_bytes_total", Family::default())?,
            bytes_written: registry.add("pulse_written_bytes_total", Family::default())?,
        })
    }

    fn begin(&self, table: &OfTable) {
        let all = [&self.read, &self.written, &self.quarantined, &self.dropped, &self.bytes_read, &self.bytes_written];
        for family in all {
            drop(family.get_or_create(table));
        }
    }

    fn end(&self, table: &OfTable, record: &RunRecord) {
        self.begin(table);
        let counts = &record.counts;
        self.read.get_or_create(table).inc_by(counts.rows_in);
        self.bytes_read.get_or_create(table).inc_by(counts.bytes_read);
        // What a failed run wrote, no reader sees; a run whose commit was answered too late has a version all the same.
        if record.version.is_some() {
            self.written.get_or_create(table).inc_by(counts.rows_out);
            self.quarantined.get_or_create(table).inc_by(counts.rows_quarantined);
            self.dropped.get_or_create(table).inc_by(counts.rows_dropped);
            self.bytes_written.get_or_create(table).inc_by(counts.bytes_written);
        }
    }
}

impl Now {
    fn new(registry: &mut Registry) -> Result<Self> {
        let mut gauge = |name: &str| registry.add(name, Gauge::default());
        Ok(Self {
            driven: gauge("pulse_triggers_driven")?,
            waiting: gauge("pulse_triggers_waiting")?,
            running: gauge("pulse_runs_running")?,
            executors: gauge("pulse_executors")?,
            slots: gauge("pulse_slots")?,
            tasks_running: gauge("pulse_tasks_running")?,
            tasks_waiting: gauge("pulse_tasks_waiting")?,
        })
    }

    fn set(&self, scene: &Scene) {
        let slots = scene.load.executors.iter().map(|executor| executor.slots).sum();
        let values = [
            (&self.driven, scene.driven),
            (&self.waiting, scene.waiting),
            (&self.running, scene.running),
            (&self.executors, scene.executors),
            (&self.slots, slots),
            (&self.tasks_running, scene.load.running_tasks),
            (&self.tasks_waiting, scene.load.pending_tasks),
        ];
        for (gauge, value) in values {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
}

impl Calls {
    fn new(registry: &mut Registry) -> Result<Self> {
        let seconds: Histograms<Route> = Family::new_with_constructor(|| Histogram::new(CALL_SECONDS));
        Ok(Self {
            answered: registry.add("pulse_api_requests_total", Family::default())?,
            seconds: registry.add("pulse_api_request_duration_seconds", seconds)?,
        })
    }
}

fn outcome(exit: TriggerExit) -> &'static str {
    match exit {
        TriggerExit::Done => "done",
        TriggerExit::ExpectationFailed => "expectation_failed",
        TriggerExit::RunFailed => "run_failed",
        TriggerExit::Cancelled => "cancelled",
    }
}

fn class(status: u16) -> &'static str {
    match status {
        0..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}

#[cfg(test)]
mod tests;
