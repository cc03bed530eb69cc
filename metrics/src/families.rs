//! The one place that says what a metric is called and what it means.

use crate::described::{Described, Kind, Shows};

/// All metrics, in the order of the reference.
pub const FAMILIES: &[Described] = &[
    scheduler("pulse_triggers_driven", Kind::Gauge, &[], "triggers", "Triggers that are driven now"),
    scheduler("pulse_triggers_driven_limit", Kind::Gauge, &[], "triggers", "The setting `driven_triggers`"),
    scheduler("pulse_triggers_waiting", Kind::Gauge, &[], "triggers", "Triggers that wait until one may be driven"),
    scheduler("pulse_triggers_waiting_limit", Kind::Gauge, &[], "triggers", "The setting `queued_triggers`"),
    scheduler(
        "pulse_triggers_submitted_total",
        Kind::Counter,
        &[],
        "triggers",
        "New triggers that were accepted; a submission whose key was used before is none",
    ),
    scheduler(
        "pulse_triggers_refused_total",
        Kind::Counter,
        &["reason"],
        "submissions",
        "Submissions that were refused: `queue_full`, or the kind of the error, such as `invalid`",
    ),
    scheduler(
        "pulse_triggers_ended_total",
        Kind::Counter,
        &["outcome"],
        "triggers",
        "Triggers that ended: `done`, `run_failed`, `expectation_failed`, `cancelled`",
    ),
    scheduler("pulse_runs_running", Kind::Gauge, &[], "runs", "Runs that hold one of `scheduler_runs` permits"),
    scheduler("pulse_runs_running_limit", Kind::Gauge, &[], "runs", "The setting `scheduler_runs`"),
    scheduler(
        "pulse_runs_total",
        Kind::Counter,
        &["table", "outcome"],
        "runs",
        "Runs that ended: `succeeded`, `unchanged`, `failed`, `cancelled`, `skipped`",
    ),
    scheduler(
        "pulse_run_duration_seconds",
        Kind::Histogram,
        &["table"],
        "seconds",
        "Time from the start to the end of runs that succeeded, all attempts together",
    ),
    scheduler(
        "pulse_run_retries_total",
        Kind::Counter,
        &["table"],
        "attempts",
        "Attempts of runs beyond the first one, counted when the run ends",
    ),
    scheduler(
        "pulse_attempts_failed_total",
        Kind::Counter,
        &["kind"],
        "attempts",
        "Failed attempts of runs by the kind of the error, such as `conflict`, counted when the run ends",
    ),
    scheduler(
        "pulse_job_last_success_timestamp_seconds",
        Kind::Gauge,
        &["table"],
        "seconds",
        "End of the last run that succeeded or had nothing to do, since 1970 in UTC; absent until one has ended in this process",
    ),
    scheduler("pulse_rows_read_total", Kind::Counter, &["table"], "rows", "Rows that runs read, failed ones too"),
    scheduler("pulse_rows_written_total", Kind::Counter, &["table"], "rows", "Rows that runs committed"),
    scheduler(
        "pulse_rows_quarantined_total",
        Kind::Counter,
        &["table"],
        "rows",
        "Rows that runs committed to the quarantine",
    ),
    scheduler(
        "pulse_rows_dropped_total",
        Kind::Counter,
        &["table"],
        "rows",
        "Rows that committed runs left out because of a check with `on_fail = \"drop\"`",
    ),
    scheduler(
        "pulse_read_bytes_total",
        Kind::Counter,
        &["table"],
        "bytes",
        "Sizes of the files that runs read, failed ones too",
    ),
    scheduler(
        "pulse_written_bytes_total",
        Kind::Counter,
        &["table"],
        "bytes",
        "Sizes of the files that runs committed",
    ),
    scheduler(
        "pulse_executors",
        Kind::Gauge,
        &[],
        "executors",
        "Executors that accept tasks: registered, not silent, not leaving",
    ),
    scheduler("pulse_slots", Kind::Gauge, &[], "tasks", "Tasks that all registered executors may run at once"),
    scheduler("pulse_tasks_running", Kind::Gauge, &[], "tasks", "Tasks that executors run now"),
    scheduler("pulse_tasks_waiting", Kind::Gauge, &[], "tasks", "Tasks that could run and have no slot"),
    scheduler(
        "pulse_api_requests_total",
        Kind::Counter,
        &["route", "status"],
        "requests",
        "Requests to the API by the pattern of the path and the class of the status, such as `2xx`; `other` is a path that does not exist",
    ),
    scheduler(
        "pulse_api_request_duration_seconds",
        Kind::Histogram,
        &["route"],
        "seconds",
        "Time from a request's head to the head of its answer",
    ),
    scheduler(
        "pulse_alerts_undelivered_total",
        Kind::Counter,
        &[],
        "messages",
        "Messages of alerts that a webhook did not take at the end of a trigger; they are sent with the next run of the job",
    ),
    executor(
        "pulse_executor_slots",
        Kind::Gauge,
        &[],
        "tasks",
        "Tasks that the executor runs at once, the setting `vcores`",
    ),
    executor(
        "pulse_executor_tasks_running",
        Kind::Gauge,
        &[],
        "tasks",
        "Tasks that it was given and that have not ended",
    ),
    executor(
        "pulse_executor_tasks_total",
        Kind::Counter,
        &["outcome"],
        "tasks",
        "Tasks that ended: `succeeded`, `failed`, `cancelled`, and `lost_input` where rows of another executor are gone",
    ),
    executor(
        "pulse_executor_memory_reserved_bytes",
        Kind::Gauge,
        &[],
        "bytes",
        "Memory that sorts, joins and aggregates of running tasks hold",
    ),
    executor(
        "pulse_executor_memory_limit_bytes",
        Kind::Gauge,
        &[],
        "bytes",
        "Memory that they may hold before they spill, the setting `memory_mib`",
    ),
    executor(
        "pulse_executor_spilled_bytes_total",
        Kind::Counter,
        &[],
        "bytes",
        "What tasks wrote to `spill_dir`, counted when a task ends",
    ),
    executor(
        "pulse_executor_shuffle_written_bytes_total",
        Kind::Counter,
        &[],
        "bytes",
        "Shuffled rows that tasks wrote to `work_dir`, as Ballista counts them, when a task ends",
    ),
    executor(
        "pulse_executor_shuffle_served_bytes_total",
        Kind::Counter,
        &[],
        "bytes",
        "Shuffled rows that others fetched from this executor",
    ),
    both(
        "pulse_build_info",
        Kind::Gauge,
        &["version", "build"],
        "",
        "Always 1; `build` is the build id, which all processes of a cluster share",
    ),
    both(
        "pulse_machine_memory_bytes",
        Kind::Gauge,
        &[],
        "bytes",
        "Memory of the machine, or of the tightest control group of the process, when it started",
    ),
    both("process_cpu_seconds_total", Kind::Counter, &[], "seconds", "Processor time of user and system"),
    both("process_resident_memory_bytes", Kind::Gauge, &[], "bytes", "Resident memory"),
    both("process_open_fds", Kind::Gauge, &[], "files", "Open file descriptors"),
    both("process_max_fds", Kind::Gauge, &[], "files", "File descriptors that it may open; absent without a limit"),
    both("process_threads", Kind::Gauge, &[], "threads", "Threads"),
    both("process_start_time_seconds", Kind::Gauge, &[], "seconds", "Start of the process, since 1970 in UTC"),
];

const fn scheduler(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    unit: &'static str,
    meaning: &'static str,
) -> Described {
    Described { name, kind, labels, unit, on: Shows::Scheduler, meaning }
}

const fn executor(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    unit: &'static str,
    meaning: &'static str,
) -> Described {
    Described { name, kind, labels, unit, on: Shows::Executor, meaning }
}

const fn both(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    unit: &'static str,
    meaning: &'static str,
) -> Described {
    Described { name, kind, labels, unit, on: Shows::Both, meaning }
}
