//! Two at once, and stopping in the middle.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Scene, assert_same_tables};

fn clean() -> Scene {
    let scene = Scene::shipped();
    scene.run_all();
    scene
}

#[test]
fn two_runs_of_everything_at_once_leave_the_rows_of_one() {
    let scene = Scene::shipped();
    let both = [(); 2].map(|()| scene.start(scene.command(&["run", "--all"])));
    for running in both {
        running.wait().ok();
    }
    assert_same_tables(&scene.tables(), &clean().tables());
    scene.run_all().says(&["nothing was committed"]);
}

#[test]
fn many_runs_of_one_job_at_once_commit_once() {
    let scene = Scene::shipped();
    let all = [(); 4].map(|()| scene.start(scene.command(&["run", "bronze.bars_1m"])));
    for running in all {
        running.wait().ok();
    }
    assert_eq!(scene.rows("bronze.bars_1m").len(), clean().rows("bronze.bars_1m").len());
    assert_eq!(scene.rows("bronze.bars_1m__quarantine"), clean().rows("bronze.bars_1m__quarantine"));
    assert_eq!(scene.versions()["bronze.bars_1m"], "0");
}

/// Whether the process has a handler of the signal, as Linux says.
fn listens(id: u32, signal: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() >> (signal - 1) & 1 == 1)
}

/// Interrupts a run of everything, `pause` after it began to listen to the signal; false when it ended before.
fn interrupt(scene: &Scene, signal: u32, pause: Duration) -> bool {
    let mut running = scene.start(scene.command(&["run", "--all"]));
    let id = running.child.id();
    while !listens(id, signal) {
        if running.child.try_wait().unwrap().is_some() {
            running.wait().ok();
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(pause);
    // A process that has ended stays until it is waited for, so that the signal meets nobody else.
    Command::new("kill").args([format!("-{signal}"), id.to_string()]).status().unwrap();
    let asked = Instant::now();
    let answer = running.wait();
    assert!(asked.elapsed() < Duration::from_secs(20), "{}", answer.stderr);
    match answer.status.code() {
        Some(130) => true,
        Some(0) => false,
        code => panic!("{signal} after {pause:?}: {code:?}: {}", answer.stderr),
    }
}

#[test]
fn an_interrupted_run_says_so_and_the_next_completes_it() {
    let expected = clean().tables();
    let mut interrupted = BTreeSet::new();
    for (signal, pauses) in [(2, [0, 20, 100, 300]), (15, [10, 50, 200, 500])] {
        for pause in pauses {
            let scene = Scene::shipped();
            if interrupt(&scene, signal, Duration::from_millis(pause)) {
                interrupted.insert(signal);
            }
            // What is visible is whole: a version of a table is there or it is not.
            for (table, rows) in scene.tables() {
                assert_eq!(rows.len(), expected[&table].len(), "{table} after {pause} ms");
            }
            scene.run_all();
            assert_same_tables(&scene.tables(), &expected);
        }
    }
    assert_eq!(interrupted.len(), 2, "no run was met in the middle: {interrupted:?}");
}
