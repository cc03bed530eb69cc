//! Runs that never end by themselves, and those whose process is gone.

use std::time::{Duration, Instant};

use super::serving::{Scheduler, at, records, wait_until};
use super::{ALL, api_port};
use crate::support::Scene;

/// Takes years, one batch after the other.
fn endless() -> Scene {
    let scene = Scene::empty();
    let manifest = "grain = [\"x\"]\n[sink.overwrite]\n";
    let query = "select count(*) as x from generate_series(1, 100000000) a cross join generate_series(1, 100000000) b \
                 where a.value * 7 = b.value * 3 + 1\n";
    scene.job("silver.endless", manifest, query);
    scene.job("silver.after", manifest, "select x from silver.endless\n");
    scene
}

fn running(records: &[serde_json::Value]) -> bool {
    records.iter().any(|record| record["state"] == "running")
}

#[test]
fn a_run_on_a_scheduler_is_cancelled_from_anywhere() {
    let (scene, port) = (endless(), api_port());
    let _scheduler = Scheduler::start(&scene, &port, None);
    let client = scene.start(scene.command(&at(&port, &[&ALL[..], &["--wait", "--key", "k"]].concat())));
    let asked = ["submit", "--all", "--on", "local", "--key", "k"];
    let trigger = scene.pulse(&at(&port, &asked)).ok().stdout.trim().to_owned();
    wait_until(&scene, &port, &trigger, running);
    let began = Instant::now();
    scene.pulse(&["runs", "cancel", &trigger]).ok().says(&["asked the driver"]);
    client.wait().fails(130, &["cancelled  silver.endless"]);
    assert!(began.elapsed() < Duration::from_secs(10));
    let states: Vec<String> =
        records(&scene, &trigger).iter().map(|r| r["state"].as_str().unwrap().to_owned()).collect();
    assert_eq!(states, ["cancelled", "cancelled"]);
    scene.pulse(&["runs", "cancel", &trigger]).ok().says(&["has ended"]);
    assert!(scene.versions().is_empty());
}

#[test]
fn a_run_of_a_process_is_cancelled_from_another() {
    let scene = endless();
    let run = scene.start(scene.command(&["run", "--all"]));
    let trigger = first_trigger(&scene);
    wait_until(&scene, "api_port=0", &trigger, running);
    scene.pulse(&["runs", "cancel", &trigger]).ok();
    run.wait().fails(130, &["cancelled  silver.endless"]);
}

fn first_trigger(scene: &Scene) -> String {
    let began = Instant::now();
    loop {
        let triggers = super::ledger_entries(scene, "runs");
        if let Some(trigger) = triggers.first() {
            return trigger.clone();
        }
        assert!(began.elapsed() < super::serving::PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_run_without_progress_is_stopped_tried_again_and_given_up() {
    let scene = endless();
    let settings = ["--set", "progress_timeout_s=1", "--set", "run_attempts=2", "--set", "run_backoff_ms=100"];
    let answer = scene.pulse(&[&settings[..], &["run", "--all"]].concat());
    let answer =
        answer.fails(1, &["retried", "none of its tasks ended for 1 s; raise `progress_timeout_s`", "skipped"]);
    let trigger = answer.stderr.rsplit("runs show ").next().unwrap().trim().to_owned();
    let shown = scene.pulse(&["runs", "show", &trigger]).ok().stdout;
    for text in [
        "error (unavailable): job silver.endless: none of its tasks",
        "attempt 1 failed at",
        "in the driver's process, tried again after 0.",
        "attempt 2 failed at",
        "not tried again",
    ] {
        assert!(shown.contains(text), "`{text}` is not in:\n{shown}");
    }
}

#[test]
fn a_run_over_its_time_is_stopped_for_good() {
    let scene = endless();
    let answer = scene.pulse(&["--set", "run_timeout_s=1", "run", "silver.endless"]);
    answer.fails(1, &["failed     silver.endless", "took too long; raise `run_timeout_s`"]);
    // The job's own limit counts more than the setting.
    let file = scene.project.join("silver/endless/job.toml");
    let manifest = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, format!("run_timeout_s = 1\n{manifest}")).unwrap();
    let answer = scene.pulse(&["--set", "run_timeout_s=600", "run", "silver.endless"]);
    answer.fails(1, &["failed     silver.endless", "took too long; raise `run_timeout_s`"]);
}

#[test]
fn runs_of_a_process_that_is_gone_are_shown_as_lost() {
    let scene = Scene::shipped();
    let settings = ["--set", "lease_s=1", "--set", "clock_margin_ms=0"];
    let mut command = scene.command(&[&settings[..], &["run", "bronze.bars_1d"]].concat());
    command.env("PULSE_KILL_AT", "staged");
    scene.start(command).wait();
    let began = Instant::now();
    loop {
        let listed = scene.pulse(&[&settings[..], &["runs", "list"]].concat()).ok().stdout;
        if listed.contains("lost") {
            break;
        }
        assert!(listed.contains("running"), "{listed}");
        assert!(began.elapsed() < Duration::from_secs(10), "{listed}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let trigger = first_trigger(&scene);
    scene.pulse(&[&settings[..], &["runs", "cancel", &trigger]].concat()).ok().says(&["nothing of it runs"]);
    scene.pulse(&["run", "bronze.bars_1d"]).ok();
    // No scheduler takes it up: nobody has submitted it.
    let port = api_port();
    let _scheduler = Scheduler::start(&scene, &port, None);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(records(&scene, &trigger)[0]["state"], "lost");
}

/// Nobody is there to do the work; when somebody comes, it is done.
#[test]
fn a_run_that_finds_no_executor_is_tried_again() {
    let (scene, port) = (Scene::empty(), format!("api_port={}", super::free_port()));
    scene.job("silver.one", "grain = [\"x\"]\n[sink.overwrite]\n", "select 1 as x\n");
    let internal = format!("scheduler_port={}", super::free_port());
    let serve = at(&port, &["--set", &internal, "serve", "scheduler"]);
    let mut scheduler = scene.start(scene.command(&serve));
    let client = scene.start(scene.command(&at(&port, &["submit", "--all", "--wait"])));
    let trigger = first_trigger(&scene);
    wait_until(&scene, &port, &trigger, |records| {
        records.iter().any(|record| !record["failures"].as_array().unwrap().is_empty())
    });
    let ports = ["--set", "executor_port=0", "--set", "executor_grpc_port=0", "--set", &internal];
    let mut executor = scene.start(scene.command(&[&ports[..], &["serve", "executor"]].concat()));
    let answer = client.wait();
    for child in [&mut executor.child, &mut scheduler.child] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    answer.ok();
    let record = &records(&scene, &trigger)[0];
    assert_eq!(record["state"], "succeeded");
    assert_eq!(record["failures"][0]["place"], "cluster");
    assert_eq!(record["failures"][0]["error"]["kind"], "unavailable");
    assert!(record["attempt"].as_u64().unwrap() > 1);
}
