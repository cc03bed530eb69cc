//! A process that dies at any step of a commit is repeated, and nothing is lost or doubled.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;

use crate::late::correct_bars;
use crate::support::{Scene, assert_same_tables};

/// Each after those that it reads.
const ORDER: [&str; 8] = [
    "silver.sessions",
    "bronze.bars_1m",
    "bronze.bars_1d",
    "silver.bars_1m",
    "silver.bars_1d",
    "gold.bars_15m",
    "gold.daily_summary",
    "gold.indicators_1m",
];

const SIGABRT: i32 = 6;

fn die(scene: &Scene, step: &str, arguments: &[&str]) {
    let mut command = scene.command(arguments);
    command.env("PULSE_KILL_AT", step);
    let answer = scene.start(command).wait();
    assert_eq!(answer.status.signal(), Some(SIGABRT), "{step} {arguments:?}: {}", answer.stderr);
}

/// The lake as it is without any accident, before and after the correction.
fn clean() -> [BTreeMap<String, Vec<String>>; 2] {
    let scene = Scene::shipped();
    scene.run_all();
    let first = scene.tables();
    correct_bars(&scene);
    scene.run_all();
    [first, scene.tables()]
}

/// Every job dies at the step, is repeated, dies again before its next commit, and so on.
fn survives(step: &str) {
    let [first, corrected] = clean();
    let scene = Scene::shipped();
    for job in ORDER {
        die(&scene, step, &["run", job]);
        scene.pulse(&["run", job]).ok();
    }
    scene.run_all();
    assert_same_tables(&scene.tables(), &first);
    let unconcerned = ["silver.sessions", "bronze.bars_1d", "silver.bars_1d"];
    correct_bars(&scene);
    for job in ORDER.into_iter().filter(|job| !unconcerned.contains(job)) {
        die(&scene, step, &["run", job]);
        die_again_or_rest(&scene, step, job);
        scene.pulse(&["run", job]).ok();
    }
    scene.run_all();
    assert_same_tables(&scene.tables(), &corrected);
    assert!(scene.run_all().stderr.contains("nothing was committed"));
}

/// Twice at the same step: the second death must not take the first one's traces for its own.
fn die_again_or_rest(scene: &Scene, step: &str, job: &str) {
    if step == "table_committed" {
        // The commit stands, so there is nothing left to die of.
        let mut command = scene.command(&["run", job]);
        command.env("PULSE_KILL_AT", step);
        scene.start(command).wait().ok().says(&["unchanged"]);
    } else {
        die(scene, step, &["run", job]);
    }
}

#[test]
fn before_anything_is_committed() {
    survives("staged");
}

#[test]
fn between_quarantine_and_table() {
    survives("quarantine_committed");
}

#[test]
fn after_the_table_is_committed() {
    survives("table_committed");
}

#[test]
fn staged_files_are_not_rows() {
    let scene = Scene::shipped();
    die(&scene, "staged", &["run", "bronze.bars_1d"]);
    let files = std::fs::read_dir(scene.lake.join("bronze/bars_1d")).unwrap().count();
    assert!(files > 0, "the process died after it had written");
    assert!(scene.versions().is_empty(), "and no reader sees a table");
}

/// A run that died stays `running` in the ledger; the next one is not confused by it.
#[test]
fn a_whole_trigger_that_died_is_repeated() {
    let [first, _] = clean();
    let scene = Scene::shipped();
    for step in ["staged", "quarantine_committed", "table_committed", "quarantine_committed", "staged"] {
        die(&scene, step, &["run", "--all"]);
    }
    scene.run_all();
    assert_same_tables(&scene.tables(), &first);
}
