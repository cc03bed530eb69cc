//! Queues of a scheduler, from outside.

use serde_json::{Value, json};

use crate::life::check;
use crate::submissions::Cluster;
use crate::support::{Scene, workspace};

fn scene() -> Scene {
    let scene = Scene::empty();
    scene.job("silver.one", "grain = [\"a\"]\nowner = \"me\"\n[sink.overwrite]\n", "select 1 as a");
    scene
}

#[test]
fn a_submission_waits_in_its_queue_and_the_queues_are_shown() {
    let scene = scene();
    let cluster = Cluster::start_with(&scene, &[("PULSE_QUEUES", "urgent priority=1; etl weight=3 runs=2")]);
    let pulse = |arguments: &[&str]| {
        let mut command = scene.command(arguments);
        cluster.reach(&mut command);
        scene.start(command).wait()
    };
    for queue in ["default", "urgent", "etl"] {
        let setting = format!("queue={queue}");
        pulse(&["--set", &setting, "submit", "--wait", "--key", queue, "--all"]).ok();
    }
    pulse(&["--set", "queue=elt", "submit", "--all"]).fails(2, &["no queue `elt`", "it has default, etl, urgent"]);
    pulse(&["--set", "queue=E tl", "submit", "--all"]).fails(2, &["`E tl` is no name of a queue"]);
    let shown = pulse(&["queue"]).ok().stdout;
    let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.iter().find(|row| row[0] == "etl").unwrap()[..6], ["etl", "3", "0", "0", "of", "2"], "{shown}");
    let answer = pulse(&["--output", "json", "queue"]).ok();
    let schemas = std::fs::read_to_string(workspace().join("docs/reference/output.schema.json")).unwrap();
    let schema = &serde_json::from_str::<Value>(&schemas).unwrap()["queue"];
    answer.json().iter().for_each(|line| check(line, schema, schema, "queue"));
    let idle = json!({
        "name": "urgent", "weight": 1, "priority": 1, "runs_limit": null, "runs": 0, "triggers": 0, "waiting": 0,
        "oldest": null, "oldest_submitted": null,
    });
    assert!(answer.json().contains(&idle), "{answer:?}");
}

#[test]
fn a_scheduler_with_wrong_queues_does_not_start() {
    let scene = scene();
    for (queues, problem) in [
        ("etl weight=0", "`weight` cannot be `0`: write 1 to 1000"),
        ("etl; etl", "names the queue `etl` twice"),
        ("etl fast", "`fast` has no value"),
    ] {
        let setting = format!("queues={queues}");
        scene.pulse(&["--set", &setting, "serve", "scheduler"]).fails(2, &["`queues`", problem]);
    }
    scene.pulse(&["queue"]).fails(1, &["no scheduler answers"]);
}
