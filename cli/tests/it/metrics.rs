//! What scheduler and executors show to Prometheus, against the records of the runs.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use pulse_metrics::text::Scraped;
use pulse_metrics::{FAMILIES, Shows};
use serde_json::Value;

use crate::submissions::Cluster;
use crate::support::{Scene, free_port, text};

const TOKEN: &str = "0123456789abcdef0123";
const LIMIT: Duration = Duration::from_secs(10);

/// Status and body of `GET /metrics`.
fn scrape(port: u16, token: Option<&str>) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\n{bearer}Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

fn scraped(port: u16, token: Option<&str>) -> Scraped {
    let (status, body) = scrape(port, token);
    assert_eq!(status, "200", "{body}");
    Scraped::parse(&body).unwrap()
}

fn described(scraped: &Scraped, shows: Shows) {
    for name in scraped.kinds.keys() {
        let family = FAMILIES.iter().find(|family| family.name == name);
        assert!(family.is_some_and(|family| family.on == shows || family.on == Shows::Both), "{name}");
    }
}

#[track_caller]
fn assert_close(shown: Option<f64>, expected: f64, what: &str) {
    assert!(shown.is_some_and(|shown| (shown - expected).abs() < 0.000_001), "{what}: {shown:?}, not {expected}");
}

/// Every figure of a run is that of its record.
fn agrees(shown: &Scraped, run: &Value) {
    let job = text(&run["job"]);
    let of = [("table", job.as_str())];
    for (name, field) in [
        ("pulse_rows_read_total", "rows_in"),
        ("pulse_rows_written_total", "rows_out"),
        ("pulse_rows_quarantined_total", "rows_quarantined"),
        ("pulse_rows_dropped_total", "rows_dropped"),
        ("pulse_read_bytes_total", "bytes_read"),
        ("pulse_written_bytes_total", "bytes_written"),
        ("pulse_run_duration_seconds_sum", "seconds"),
    ] {
        assert_close(shown.value(name, &of), run[field].as_f64().unwrap(), &format!("{job}: {name}"));
    }
    for outcome in ["succeeded", "unchanged", "failed", "cancelled", "skipped"] {
        let expected = if text(&run["state"]) == outcome { 1.0 } else { 0.0 };
        let value = shown.value("pulse_runs_total", &[of[0], ("outcome", outcome)]);
        assert_eq!(value, Some(expected), "{job}: {outcome}");
    }
    let retries = run["attempt"].as_f64().unwrap() - 1.0;
    assert_eq!(shown.value("pulse_run_retries_total", &of), Some(retries), "{job}");
}

/// Which of them ran a task is the scheduler's choice.
fn executors_agree(executors: &[Scraped]) {
    let sum = |name: &str, labels: &[(&str, &str)]| -> f64 {
        executors.iter().map(|executor| executor.value(name, labels).unwrap()).sum()
    };
    let tasks = |outcome| sum("pulse_executor_tasks_total", &[("outcome", outcome)]);
    assert!(tasks("succeeded") > 0.0);
    assert_eq!((tasks("failed"), tasks("lost_input")), (0.0, 0.0));
    assert_eq!(sum("pulse_executor_tasks_running", &[]), 0.0);
    assert_eq!(sum("pulse_executor_slots", &[]), 2.0);
    assert!(sum("pulse_executor_shuffle_served_bytes_total", &[]) > 0.0);
    for executor in executors {
        described(executor, Shows::Executor);
        // Names of tables are for those who hold the token.
        assert!(executor.samples.iter().all(|sample| !sample.labels.contains_key("table")));
    }
}

#[test]
fn a_scrape_shows_what_the_ledger_holds_to_those_who_may_see_it() {
    let scene = Scene::shipped();
    let token = scene.path("token");
    std::fs::write(&token, TOKEN).unwrap();
    let source = format!("file:{}", token.display());
    let variables = [("PULSE_API_TOKEN_SOURCE", source.as_str())];
    let metrics_ports = [free_port(), free_port()];
    let cluster = Cluster::start_measured(&scene, &variables, metrics_ports);
    let [_, api_port] = cluster.ports();
    let submit = || {
        let mut submit = scene.command(&["submit", "+gold.daily_summary", "--on", "cluster", "--wait"]);
        cluster.reach(&mut submit);
        submit.envs(variables);
        scene.start(submit).wait().ok();
    };
    submit();
    let runs = scene.pulse(&["--output", "json", "runs", "list"]).ok().json();
    assert!(runs.len() > 2, "{runs:?}");

    let shown = scraped(api_port, Some(TOKEN));
    described(&shown, Shows::Scheduler);
    runs.iter().for_each(|run| agrees(&shown, run));
    let one = |name: &str| shown.value(name, &[]);
    assert_eq!(one("pulse_triggers_submitted_total"), Some(1.0));
    assert_eq!(shown.value("pulse_triggers_ended_total", &[("outcome", "done")]), Some(1.0));
    assert_eq!((one("pulse_executors"), one("pulse_slots")), (Some(2.0), Some(2.0)));
    let posted = [("route", "/runs"), ("status", "2xx")];
    assert_eq!(shown.value("pulse_api_requests_total", &posted), Some(1.0));
    assert!(one("process_open_fds").unwrap() > 3.0 && one("process_resident_memory_bytes").unwrap() > 1e6);

    for token in [None, Some("0123456789abcdef0124")] {
        let (status, body) = scrape(api_port, token);
        assert_eq!(status, "401");
        assert!(!body.contains("gold") && !body.contains("pulse_"), "{body}");
    }

    executors_agree(&metrics_ports.map(|port| scraped(port, None)));

    submit();
    let again = scraped(api_port, Some(TOKEN));
    for run in &runs {
        let job = text(&run["job"]);
        let outcome = |outcome| again.value("pulse_runs_total", &[("table", job.as_str()), ("outcome", outcome)]);
        assert_eq!((outcome("succeeded"), outcome("unchanged")), (Some(1.0), Some(1.0)), "{job}");
        let last =
            |shown: &Scraped| shown.value("pulse_job_last_success_timestamp_seconds", &[("table", job.as_str())]);
        assert!(last(&again) > last(&shown), "{job}");
    }
    let refused = [("route", "/metrics"), ("status", "4xx")];
    assert_eq!(again.value("pulse_api_requests_total", &refused), Some(2.0));
}

#[test]
fn an_executor_shows_its_metrics_to_no_other_machine_without_certificates() {
    let scene = Scene::empty();
    let port = format!("metrics_port={}", free_port());
    let settings = ["--set", "metrics_host=0.0.0.0", "--set", &port, "--set", "executor_port=0"];
    let arguments: Vec<&str> =
        settings.into_iter().chain(["--set", "executor_grpc_port=0", "serve", "executor"]).collect();
    scene.pulse(&arguments).fails(2, &["`metrics_host` is 0.0.0.0", "cluster_certificates", "127.0.0.1"]);
}
