//! Two runs of one job at once, each of which commits to the quarantine and then to the table: stopped in between.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::support::{Running, Scene};

const TABLE: &str = "bronze.lines";
const QUARANTINE: &str = "bronze.lines__quarantine";

/// Each file has one line that can be read, and one that cannot.
fn scene(files: &[&str]) -> Scene {
    let mut scene = Scene::empty();
    scene.sources(
        "[files.lines]\nroot = \"$raw\"\ncolumns = [{ name = \"k\", type = \"bigint\" }]\n[files.lines.feed.all]\n\
         path = \"{part}.csv\"\nformat = { csv = {} }\n",
    );
    let manifest = "grain = [\"source_file\", \"line\"]\n[sink.append]\n";
    scene.job(TABLE, manifest, "select k, source_file, line from raw.lines\n");
    files.iter().for_each(|file| put(&scene, file));
    scene
}

fn put(scene: &Scene, file: &str) {
    scene.put(&format!("{file}.csv"), "k\n1\nwrong\n");
}

/// Files of all rows in the order of their names.
fn files(scene: &Scene, table: &str) -> Vec<String> {
    let sql = format!("select source_file from {table} order by source_file");
    let answer = scene.pulse(&["--output", "csv", "query", &sql]).ok();
    answer.stdout.lines().skip(1).map(|line| line.trim_end_matches(".csv").to_owned()).collect()
}

/// A run that has committed to the quarantine and stands still.
fn stopped(scene: &Scene) -> Running {
    let mut command = scene.command(&["run", TABLE]);
    command.env("PULSE_STOP_AT", "quarantine_committed");
    let running = scene.start(command);
    let (id, began) = (running.child.id().to_string(), Instant::now());
    loop {
        let state = Command::new("ps").args(["-o", "stat=", "-p", &id]).output().unwrap().stdout;
        if String::from_utf8_lossy(&state).trim().starts_with('T') {
            return running;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "it never stops: {}", running.read("stderr"));
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal(running: &Running, signal: &str) {
    let id = running.child.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
}

/// Everything in the folder was written three hours ago.
fn age(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            age(&path);
        } else {
            let file = std::fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(3 * 3600)).unwrap();
        }
    }
}

fn goes_on(running: Running) {
    signal(&running, "-CONT");
    running.wait().ok();
}

fn dies(running: Running) {
    signal(&running, "-KILL");
    assert_eq!(running.wait().status.code(), None);
}

#[test]
fn rejected_rows_of_a_run_that_was_overtaken_are_there_once() {
    let scene = scene(&["one"]);
    let first = stopped(&scene);
    put(&scene, "two");
    let second = stopped(&scene);
    assert_eq!(files(&scene, QUARANTINE), ["one", "two"]);
    goes_on(first);
    // The first one found that the second one had written over what belongs to the table.
    assert_eq!((files(&scene, TABLE), files(&scene, QUARANTINE)), (vec!["one".to_owned()], vec!["one".to_owned()]));
    goes_on(second);
    assert_eq!(files(&scene, TABLE), ["one", "two"]);
    assert_eq!(files(&scene, QUARANTINE), ["one", "two"]);
    scene.pulse(&["run", TABLE]).ok().says(&["nothing was committed"]);
    assert_eq!(files(&scene, QUARANTINE), ["one", "two"]);
}

#[test]
fn rejected_rows_of_a_run_that_was_overtaken_and_died_are_there_once() {
    let scene = scene(&["one"]);
    scene.pulse(&["run", TABLE]).ok();
    put(&scene, "two");
    let first = stopped(&scene);
    put(&scene, "three");
    let second = stopped(&scene);
    goes_on(first);
    dies(second);
    assert_eq!(files(&scene, QUARANTINE), ["one", "two"]);
    scene.pulse(&["run", TABLE]).ok();
    assert_eq!(files(&scene, TABLE), ["one", "three", "two"]);
    assert_eq!(files(&scene, QUARANTINE), ["one", "three", "two"]);
}

/// The other way round: whoever came later wins, and the first one, which wakes up, has to read its file again or not at all.
#[test]
fn a_sleeper_that_wakes_up_behind_others_takes_nothing_away() {
    let scene = scene(&["one"]);
    let sleeper = stopped(&scene);
    put(&scene, "two");
    scene.pulse(&["run", TABLE]).ok();
    put(&scene, "three");
    goes_on(sleeper);
    assert_eq!(files(&scene, TABLE), ["one", "three", "two"]);
    assert_eq!(files(&scene, QUARANTINE), ["one", "three", "two"]);
}

#[test]
fn rejected_rows_of_a_file_that_went_away_before_its_run_committed_go_with_the_next_run() {
    let scene = scene(&["one"]);
    scene.pulse(&["run", TABLE]).ok();
    put(&scene, "two");
    dies(stopped(&scene));
    assert_eq!(files(&scene, QUARANTINE), ["one", "two"]);
    std::fs::remove_file(scene.raw.join("two.csv")).unwrap();
    scene.pulse(&["run", TABLE]).ok().says(&["nothing was committed"]);
    assert_eq!(files(&scene, QUARANTINE), ["one"]);
}

/// What was taken out by a run that died is given back, although the file is again as it was.
#[test]
fn a_correction_that_was_taken_back_before_its_run_committed_leaves_no_trace() {
    let scene = scene(&["one", "two"]);
    scene.pulse(&["run", TABLE]).ok();
    let path = scene.raw.join("one.csv");
    let kept = scene.raw.join("kept");
    std::fs::rename(&path, &kept).unwrap();
    scene.put("one.csv", "k\n1\n22\n");
    dies(stopped(&scene));
    assert_eq!(files(&scene, QUARANTINE), ["two"]);
    std::fs::rename(&kept, &path).unwrap();
    // Nobody deletes what the next run wants back.
    age(&scene.lake.join("bronze/lines__quarantine"));
    let vacuum = ["--set", "run_timeout_s=60", "table", "vacuum", QUARANTINE, "--retain", "1", "--force"];
    scene.pulse(&vacuum).ok().says(&["0 files"]);
    scene.pulse(&["run", TABLE]).ok();
    assert_eq!(files(&scene, TABLE), ["one", "two"]);
    assert_eq!(files(&scene, QUARANTINE), ["one", "two"]);
}

/// Runs put right what runs did, and nothing else.
#[test]
fn what_somebody_takes_out_of_quarantine_stays_out() {
    let scene = scene(&["one"]);
    scene.pulse(&["run", TABLE]).ok();
    let log = scene.lake.join("bronze/lines__quarantine/_delta_log");
    let first = std::fs::read_to_string(log.join(format!("{:020}.json", 0))).unwrap();
    let mut actions = first.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let path = actions.find_map(|action| action.get("add").map(|add| add["path"].clone())).unwrap();
    let information = json!({"commitInfo": {"timestamp": 1_700_000_000_000_i64, "operation": "DELETE"}});
    let removal = json!({"remove": {"path": path, "deletionTimestamp": 1_700_000_000_000_i64, "dataChange": true}});
    std::fs::write(log.join(format!("{:020}.json", 1)), format!("{information}\n{removal}\n")).unwrap();
    scene.pulse(&["run", TABLE]).ok().says(&["nothing was committed"]);
    assert_eq!(scene.count(QUARANTINE), 0);
    put(&scene, "two");
    scene.pulse(&["run", TABLE]).ok();
    assert_eq!(files(&scene, QUARANTINE), ["two"]);
    // Not even after a run that died in between.
    put(&scene, "three");
    dies(stopped(&scene));
    std::fs::remove_file(scene.raw.join("three.csv")).unwrap();
    scene.pulse(&["run", TABLE]).ok();
    assert_eq!(files(&scene, QUARANTINE), ["two"]);
}
