//! Processes of a cluster that a test may kill.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Answer, Running, Scene, text};

/// Far beyond what anything here takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Leases are over soon, and clocks are one.
const SETTINGS: [&str; 4] = ["scheduler_port=0", "lease_s=1", "clock_margin_ms=200", "run_backoff_ms=200"];

/// A scheduler; killed when it is dropped.
pub(super) struct Scheduler {
    running: Option<Running>,
}

/// Arguments that make a client or a scheduler of `port`, before those given.
pub(super) fn at<'a>(port: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    let settings = SETTINGS.iter().flat_map(|setting| ["--set", setting]);
    settings.chain(["--set", port]).chain(arguments.iter().copied()).collect()
}

impl Scheduler {
    /// Starts it at `api_port=..`; with a step, it dies there.
    pub(super) fn start(scene: &Scene, port: &str, kill_at: Option<&str>) -> Self {
        let mut command = scene.command(&at(port, &["serve", "scheduler"]));
        if let Some(step) = kill_at {
            command.env("PULSE_KILL_AT", step);
        }
        let scheduler = Self { running: Some(scene.start(command)) };
        let began = Instant::now();
        while !scheduler.says().contains("submissions at") {
            assert!(began.elapsed() < PATIENCE, "{}", scheduler.says());
            std::thread::sleep(Duration::from_millis(10));
        }
        scheduler
    }

    fn says(&self) -> String {
        self.running.as_ref().unwrap().read("stderr")
    }

    pub(super) fn kill(mut self) {
        self.running.as_mut().unwrap().child.kill().unwrap();
        self.running.take().unwrap().wait();
    }

    /// Waits for it to die of its own step.
    pub(super) fn died(mut self) {
        let answer = self.running.take().unwrap().wait();
        assert_eq!(answer.status.signal(), Some(6), "{}", answer.stderr);
    }

    pub(super) fn asked_to_stop(mut self) -> Answer {
        let running = self.running.take().unwrap();
        signal(&running, "-TERM");
        running.wait()
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

pub(super) fn signal(running: &Running, signal: &str) {
    let id = running.child.id().to_string();
    assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
}

/// Records of a trigger.
pub(super) fn records(scene: &Scene, trigger: &str) -> Vec<Value> {
    scene.pulse(&at("api_port=0", &["--output", "json", "runs", "show", trigger])).ok().json()
}

/// Waits until all of a trigger's runs satisfy `holds`.
pub(super) fn wait_until(scene: &Scene, port: &str, trigger: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let answer = scene.pulse(&at(port, &["--output", "json", "runs", "show", trigger]));
        let records = if answer.status.success() { answer.json() } else { Vec::new() };
        if holds(&records) {
            return records;
        }
        assert!(began.elapsed() < PATIENCE, "{records:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ledger and logs agree: each run that says so has committed once, and no other.
pub(super) fn assert_one_commit_a_run(scene: &Scene, trigger: &str) {
    let records = records(scene, trigger);
    assert!(!records.is_empty());
    for record in &records {
        let commits: Vec<String> = scene
            .history(&text(&record["table"]))
            .iter()
            .filter(|entry| entry["run_id"] == record["run"])
            .map(|entry| text(&entry["version"]))
            .collect();
        match record["state"].as_str().unwrap() {
            "succeeded" => assert_eq!(commits, [text(&record["version"])], "{record:#}"),
            "unchanged" => assert!(commits.is_empty(), "{record:#}"),
            state => panic!("{state}: {record:#}"),
        }
    }
}

/// Names of what lies in a folder of the lake's ledger.
pub(super) fn ledger_entries(scene: &Scene, folder: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(scene.lake.join("_pulse").join(folder)) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
