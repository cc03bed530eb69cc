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

/// Interrupts a run of everything after `pause`; false when it was faster.
fn interrupt(scene: &Scene, signal: &str, pause: Duration) -> bool {
    let running = scene.start(scene.command(&["run", "--all"]));
    std::thread::sleep(pause);
    let id = running.child.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    let asked = Instant::now();
    let answer = running.wait();
    assert!(asked.elapsed() < Duration::from_secs(20), "{}", answer.stderr);
    match answer.status.code() {
        Some(130) => true,
        // It was done, or died before it could listen to signals.
        Some(0) | None => false,
        code => panic!("{code:?}: {}", answer.stderr),
    }
}

#[test]
fn an_interrupted_run_is_told_so_and_completed_by_the_next() {
    let expected = clean().tables();
    let mut told = BTreeSet::new();
    for (signal, pauses) in [("-INT", [60, 150, 400, 900]), ("-TERM", [100, 250, 600, 1200])] {
        for pause in pauses {
            let scene = Scene::shipped();
            if interrupt(&scene, signal, Duration::from_millis(pause)) {
                told.insert(signal);
            }
            // What is visible is whole: a version of a table is there or it is not.
            for (table, rows) in scene.tables() {
                assert_eq!(rows.len(), expected[&table].len(), "{table} after {pause} ms");
            }
            scene.run_all();
            assert_same_tables(&scene.tables(), &expected);
        }
    }
    assert_eq!(told.len(), 2, "no run was met in the middle: {told:?}");
}
