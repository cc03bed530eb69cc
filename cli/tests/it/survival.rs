//! Drivers that die, come twice, or are asked to stop: real processes, killed at steps and at moments.

mod serving;
mod stop;

use std::time::{Duration, Instant};

use crate::support::{Scene, assert_same_tables, free_port};
use serving::{PATIENCE, Scheduler, assert_one_commit_a_run, at, ledger_entries, records, signal, wait_until};

const ALL: [&str; 4] = ["submit", "--all", "--on", "local"];

fn clean() -> Scene {
    let scene = Scene::shipped();
    scene.run_all();
    scene
}

fn api_port() -> String {
    format!("api_port={}", free_port())
}

/// Submits everything and leaves.
fn submit(scene: &Scene, port: &str, more: &[&str]) -> String {
    scene.pulse(&at(port, &[&ALL, more].concat())).ok().stdout.trim().to_owned()
}

/// Follows to the end, by asking for the same again.
fn follow(scene: &Scene, port: &str, key: &str) -> String {
    submit(scene, port, &["--wait", "--key", key])
}

#[test]
fn a_scheduler_that_dies_at_a_step_is_followed_by_one_that_goes_on() {
    let expected = clean().tables();
    for step in ["staged", "quarantine_committed", "table_committed"] {
        let (scene, port) = (Scene::shipped(), api_port());
        let dying = Scheduler::start(&scene, &port, Some(step));
        // The client is gone when the scheduler dies.
        let trigger = submit(&scene, &port, &["--key", "k"]);
        dying.died();
        // Nobody asks the next ones for anything: they find the trigger by themselves, once its lease is over.
        Scheduler::start(&scene, &port, Some(step)).died();
        let living = Scheduler::start(&scene, &port, None);
        assert_eq!(follow(&scene, &port, "k"), trigger, "{step}");
        assert_one_commit_a_run(&scene, &trigger);
        assert_same_tables(&scene.tables(), &expected);
        assert!(ledger_entries(&scene, "open").is_empty(), "{step}");
        assert_eq!(living.asked_to_stop().status.code(), Some(0));
    }
}

#[test]
fn a_scheduler_that_is_killed_at_any_moment_is_followed_by_one_that_goes_on() {
    let expected = clean().tables();
    for moment in [0, 150, 500] {
        let (scene, port) = (Scene::shipped(), api_port());
        let killed = Scheduler::start(&scene, &port, None);
        let trigger = submit(&scene, &port, &["--key", "k"]);
        std::thread::sleep(Duration::from_millis(moment));
        killed.kill();
        let _living = Scheduler::start(&scene, &port, None);
        assert_eq!(follow(&scene, &port, "k"), trigger, "{moment}");
        assert_one_commit_a_run(&scene, &trigger);
        assert_same_tables(&scene.tables(), &expected);
    }
}

#[test]
fn a_scheduler_that_is_asked_to_stop_lets_go_of_its_triggers() {
    let (scene, port) = (Scene::shipped(), api_port());
    let first = Scheduler::start(&scene, &port, None);
    let trigger = submit(&scene, &port, &["--key", "k"]);
    assert_eq!(first.asked_to_stop().status.code(), Some(0));
    let _second = Scheduler::start(&scene, &port, None);
    assert_eq!(follow(&scene, &port, "k"), trigger);
    assert_one_commit_a_run(&scene, &trigger);
}

#[test]
fn a_client_that_waits_outlives_the_scheduler() {
    let (scene, port) = (Scene::shipped(), api_port());
    let dying = Scheduler::start(&scene, &port, Some("staged"));
    let client = scene.start(scene.command(&at(&port, &[&ALL[..], &["--wait"]].concat())));
    dying.died();
    let began = Instant::now();
    while !client.read("stderr").contains("waiting for it") {
        assert!(began.elapsed() < PATIENCE, "{}", client.read("stderr"));
        std::thread::sleep(Duration::from_millis(20));
    }
    let _living = Scheduler::start(&scene, &port, None);
    let answer = client.wait().ok().says(&["10 runs in"]);
    assert_one_commit_a_run(&scene, answer.stdout.trim());
}

#[test]
fn a_client_that_is_interrupted_leaves_the_runs_alone() {
    let (scene, port) = (Scene::shipped(), api_port());
    let dying = Scheduler::start(&scene, &port, Some("staged"));
    let client = scene.start(scene.command(&at(&port, &[&ALL[..], &["--wait", "--key", "k"]].concat())));
    dying.died();
    signal(&client, "-INT");
    let answer = client.wait().fails(130, &["goes on", "runs show", "runs cancel"]);
    let _living = Scheduler::start(&scene, &port, None);
    assert_eq!(follow(&scene, &port, "k"), answer.stdout.trim());
    assert_one_commit_a_run(&scene, answer.stdout.trim());
}

#[test]
fn the_same_submission_sent_twice_is_one_trigger() {
    let (scene, port) = (Scene::shipped(), api_port());
    let _scheduler = Scheduler::start(&scene, &port, None);
    let arguments = at(&port, &[&ALL[..], &["--key", "nightly-1"]].concat());
    let both = [(); 2].map(|()| scene.start(scene.command(&arguments)));
    let ids = both.map(|client| client.wait().ok().stdout);
    assert_eq!(ids[0], ids[1]);
    let trigger = follow(&scene, &port, "nightly-1");
    assert_eq!(trigger, ids[0].trim());
    assert_one_commit_a_run(&scene, &trigger);
    assert_eq!(ledger_entries(&scene, "runs"), [trigger.as_str()]);
    // After its end, too.
    assert_eq!(submit(&scene, &port, &["--key", "nightly-1"]), trigger);
    // Without a key, each is its own.
    assert_ne!(submit(&scene, &port, &["--wait"]), trigger);
    let other = ["submit", "silver.sessions", "--on", "local", "--key", "nightly-1"];
    scene.pulse(&at(&port, &other)).fails(2, &["key `nightly-1` was used for another submission", &trigger]);
    scene.pulse(&at(&port, &["submit", "--all", "--key", "../up"])).fails(2, &["`../up` is no key"]);
}

#[test]
fn two_schedulers_over_one_lake_drive_each_trigger_once() {
    let expected = clean().tables();
    let scene = Scene::shipped();
    let ports = [api_port(), api_port()];
    let schedulers = ports.each_ref().map(|port| Scheduler::start(&scene, port, None));
    let clients = ports.each_ref().map(|port| {
        let arguments = at(port, &[&ALL[..], &["--wait", "--key", "both"]].concat());
        scene.start(scene.command(&arguments))
    });
    let ids = clients.map(|client| client.wait().ok().stdout);
    assert_eq!(ids[0], ids[1]);
    let trigger = ids[0].trim();
    assert_one_commit_a_run(&scene, trigger);
    assert_same_tables(&scene.tables(), &expected);
    // Whoever came second has written nothing.
    for folder in ["lease", "records"] {
        assert_eq!(ledger_entries(&scene, &format!("runs/{trigger}/{folder}")).len(), 1, "{folder}");
    }
    drop(schedulers);
}

/// One of two dies in the middle; the other one, which knew of nothing, ends it.
#[test]
fn the_other_scheduler_takes_over() {
    let (scene, ports) = (Scene::shipped(), [api_port(), api_port()]);
    let dying = Scheduler::start(&scene, &ports[0], Some("quarantine_committed"));
    let trigger = submit(&scene, &ports[0], &["--key", "k"]);
    dying.died();
    let _other = Scheduler::start(&scene, &ports[1], None);
    wait_until(&scene, &ports[1], &trigger, |records| {
        records.len() == 10 && records.iter().all(|record| record["state"] == "succeeded")
    });
    assert_one_commit_a_run(&scene, &trigger);
    let cut_off = records(&scene, &trigger).into_iter().filter(|record| record["attempt"] == 2).count();
    assert!(cut_off > 0, "somebody's attempt was cut off");
}
