use pulse_core::run::{AttemptFailure, RunCounts, RunError, RunId, TriggerId};
use pulse_metrics::Shows;
use pulse_metrics::text::Scraped;

use super::*;
use crate::scaler::ExecutorLoad;

fn metrics() -> Metrics {
    let settings = Settings { driven_triggers: 7, queued_triggers: 70, scheduler_runs: 3, ..Settings::default() };
    Metrics::new(&settings, Process::new("ab".to_owned(), 1 << 30)).unwrap()
}

fn scraped(metrics: &Metrics) -> Scraped {
    Scraped::parse(&metrics.encode(&Scene::default()).unwrap()).unwrap()
}

fn record(table: &str, state: RunState) -> RunRecord {
    let trigger: TriggerId = "20260101T000000-0000000a".parse().unwrap();
    let counts = RunCounts {
        rows_in: 100,
        rows_out: 90,
        rows_quarantined: 7,
        rows_dropped: 3,
        bytes_read: 4096,
        bytes_written: 2048,
        ..RunCounts::default()
    };
    RunRecord {
        state,
        counts,
        ended: state.is_final().then_some(1_700_000_000_500),
        seconds: 4.0,
        version: (state == RunState::Succeeded).then_some(1),
        ..RunRecord::queued(RunId::new(trigger, table.parse().unwrap()))
    }
}

fn failure(kind: ErrorKind) -> AttemptFailure {
    AttemptFailure { attempt: 1, at: 0, place: None, error: RunError::new(kind, "x"), retried_after: None }
}

#[test]
fn every_family_is_described_and_every_description_is_shown() {
    let metrics = metrics();
    metrics.observe(&record("gold.a", RunState::Succeeded));
    metrics.answered("/runs", 200, Duration::from_millis(3));
    assert_eq!(scraped(&metrics).differences(Shows::Scheduler), Vec::<String>::new());
}

#[test]
fn a_committed_run_counts_with_its_rows_attempts_and_failures() {
    let metrics = metrics();
    let failures = vec![failure(ErrorKind::Conflict), failure(ErrorKind::Unavailable), failure(ErrorKind::Conflict)];
    metrics.observe(&RunRecord { attempt: 4, failures, ..record("gold.a", RunState::Succeeded) });
    let shown = scraped(&metrics);
    let of = [("table", "gold.a")];
    for (name, value) in [
        ("pulse_rows_read_total", 100.0),
        ("pulse_rows_written_total", 90.0),
        ("pulse_rows_quarantined_total", 7.0),
        ("pulse_rows_dropped_total", 3.0),
        ("pulse_read_bytes_total", 4096.0),
        ("pulse_written_bytes_total", 2048.0),
        ("pulse_run_retries_total", 3.0),
        ("pulse_run_duration_seconds_sum", 4.0),
        ("pulse_job_last_success_timestamp_seconds", 1_700_000_000.5),
    ] {
        assert_eq!(shown.value(name, &of), Some(value), "{name}");
    }
    assert_eq!(
        shown.value("pulse_attempts_failed_total", &[("kind", "data")]),
        Some(0.0),
        "so that the first is an increase"
    );
    let bucket = |le| shown.value("pulse_run_duration_seconds_bucket", &[("table", "gold.a"), ("le", le)]);
    assert_eq!((bucket("1"), bucket("5"), bucket("+Inf")), (Some(0.0), Some(1.0), Some(1.0)));
    assert_eq!(shown.value("pulse_attempts_failed_total", &[("kind", "conflict")]), Some(2.0));
    assert_eq!(shown.value("pulse_attempts_failed_total", &[("kind", "unavailable")]), Some(1.0));
}

#[test]
fn each_final_state_is_an_outcome_and_a_run_that_goes_on_is_none() {
    let metrics = metrics();
    let outcomes = || {
        let shown = scraped(&metrics);
        FINAL.map(|state| shown.value("pulse_runs_total", &[("table", "gold.a"), ("outcome", &state.to_string())]))
    };
    assert_eq!(outcomes(), [None; 5]);
    for state in [RunState::Queued, RunState::Planning, RunState::Running, RunState::Committing] {
        metrics.observe(&record("gold.a", state));
    }
    assert_eq!(outcomes(), [Some(0.0); 5], "so that the first end is an increase");
    for (number, state) in FINAL.into_iter().enumerate() {
        assert!(state.is_final());
        (0..=number).for_each(|_| metrics.observe(&record("gold.a", state)));
    }
    assert_eq!(outcomes(), [1.0, 2.0, 3.0, 4.0, 5.0].map(Some));
}

#[test]
fn what_a_failed_run_wrote_counts_only_if_it_was_committed_after_all() {
    let metrics = metrics();
    let written = || {
        let shown = scraped(&metrics);
        ["pulse_rows_read_total", "pulse_rows_written_total", "pulse_rows_quarantined_total"]
            .map(|name| shown.value(name, &[("table", "gold.a")]).unwrap())
    };
    metrics.observe(&record("gold.a", RunState::Failed));
    assert_eq!(written(), [100.0, 0.0, 0.0]);
    metrics.observe(&RunRecord { version: Some(3), ..record("gold.a", RunState::Failed) });
    assert_eq!(written(), [200.0, 90.0, 7.0]);
    let shown = scraped(&metrics);
    assert_eq!(shown.value("pulse_job_last_success_timestamp_seconds", &[("table", "gold.a")]), None);
    assert_eq!(shown.value("pulse_run_duration_seconds_count", &[("table", "gold.a")]), None);
}

#[test]
fn the_last_success_does_not_go_back() {
    let metrics = metrics();
    let last = || scraped(&metrics).value("pulse_job_last_success_timestamp_seconds", &[("table", "gold.a")]);
    metrics.observe(&record("gold.a", RunState::Unchanged));
    metrics.observe(&RunRecord { ended: Some(1_600_000_000_000), ..record("gold.a", RunState::Succeeded) });
    metrics.observe(&RunRecord { ended: Some(1_800_000_000_000), ..record("gold.a", RunState::Failed) });
    assert_eq!(last(), Some(1_700_000_000.5));
}

#[test]
fn a_submission_that_names_many_jobs_makes_no_more_series_than_the_limit() {
    let metrics = metrics();
    let series = || scraped(&metrics).samples.iter().filter(|s| s.name == "pulse_rows_read_total").count();
    for number in 0..1500 {
        metrics.observe(&record(&format!("gold.t{number}"), RunState::Succeeded));
    }
    assert_eq!(series(), 1001);
    assert_eq!(scraped(&metrics).value("pulse_rows_read_total", &[("table", "other")]), Some(500.0 * 100.0));
    assert_eq!(scraped(&metrics).value("pulse_rows_read_total", &[("table", "gold.t999")]), Some(100.0));
}

#[test]
fn triggers_and_calls_are_counted_by_what_became_of_them() {
    let metrics = metrics();
    metrics.submitted();
    metrics.refused_by_queue();
    metrics.refused(ErrorKind::Invalid);
    [0, 0, 1, 3, 130, 99].into_iter().for_each(|code| metrics.trigger_ended(code));
    metrics.undelivered(2);
    for status in [200, 204, 401, 503] {
        metrics.answered("/runs/{trigger}", status, Duration::from_millis(40));
    }
    let shown = scraped(&metrics);
    let ended = |outcome| shown.value("pulse_triggers_ended_total", &[("outcome", outcome)]);
    assert_eq!(ended("done"), Some(2.0));
    assert_eq!([ended("run_failed"), ended("expectation_failed"), ended("cancelled")], [Some(1.0); 3]);
    assert_eq!(shown.value("pulse_triggers_submitted_total", &[]), Some(1.0));
    assert_eq!(shown.value("pulse_triggers_refused_total", &[("reason", "queue_full")]), Some(1.0));
    assert_eq!(shown.value("pulse_triggers_refused_total", &[("reason", "invalid")]), Some(1.0));
    assert_eq!(shown.value("pulse_alerts_undelivered_total", &[]), Some(2.0));
    let route = ("route", "/runs/{trigger}");
    let calls = |status| shown.value("pulse_api_requests_total", &[route, ("status", status)]);
    assert_eq!([calls("2xx"), calls("4xx"), calls("5xx")], [Some(2.0), Some(1.0), Some(1.0)]);
    let bucket = |le| shown.value("pulse_api_request_duration_seconds_bucket", &[route, ("le", le)]);
    assert_eq!((bucket("0.025"), bucket("0.1")), (Some(0.0), Some(4.0)));
}

#[test]
fn the_scene_is_that_of_the_scrape() {
    let metrics = metrics();
    let executor = |slots| ExecutorLoad { id: String::new(), host: String::new(), slots, is_needed: false };
    let load = Load { pending_tasks: 5, running_tasks: 4, executors: vec![executor(8), executor(2)] };
    let scene = Scene { driven: 1, waiting: 2, running: 3, executors: 2, load };
    let shown = Scraped::parse(&metrics.encode(&scene).unwrap()).unwrap();
    for (name, value) in [
        ("pulse_triggers_driven", 1.0),
        ("pulse_triggers_driven_limit", 7.0),
        ("pulse_triggers_waiting", 2.0),
        ("pulse_triggers_waiting_limit", 70.0),
        ("pulse_runs_running", 3.0),
        ("pulse_runs_running_limit", 3.0),
        ("pulse_executors", 2.0),
        ("pulse_slots", 10.0),
        ("pulse_tasks_running", 4.0),
        ("pulse_tasks_waiting", 5.0),
    ] {
        assert_eq!(shown.value(name, &[]), Some(value), "{name}");
    }
    assert_eq!(scraped(&metrics).value("pulse_executors", &[]), Some(0.0));
}
