//! Mistakes of a project's files: all of them at once, each where it was written.

use std::fs;

use crate::support::Scene;

const MANIFEST: &str = "grain = [\"x\"]\n[sink.overwrite]\n";

#[test]
fn all_mistakes_of_a_file_are_said_at_once_with_their_lines() {
    let scene = Scene::empty();
    let manifest = "onwer = \"me\"\ngrain = \"id\"\ntarget_file_mib = \"x\"\n[sink.merge]\nkey = [\"id\"]\n\
                    [[expect]]\nnam = \"a\"\non_fail = \"stop\"\n[[expect]]\ncheck = 1\nname = \"b\"\n";
    scene.job("gold.t", manifest, "select 1 as id");
    let places = ["1:1", "2:9", "3:19", "5:1", "7:1", "8:11", "9:1", "10:9"];
    let texts = places.map(|place| format!("gold/t/job.toml:{place}\n"));
    let checked = scene.pulse(&["check"]).fails(2, &texts.each_ref().map(String::as_str));
    assert_eq!(checked.stderr.matches("--> gold/t/job.toml").count(), places.len(), "{}", checked.stderr);
    fs::write(scene.project.join("project.toml"), "nam = \"x\"\n[defaults]\nowner = 1\n[defalts]\n").unwrap();
    scene.pulse(&["check"]).fails(2, &["project.toml:1:1", "project.toml:3:9", "project.toml:4:2"]);
}

#[test]
fn a_column_that_an_expectation_refers_to_is_looked_for_also_where_one_job_is_named() {
    let scene = Scene::empty();
    let refers = |name: &str, column: &str, to: &str| {
        let what = format!("{{ column = \"{column}\", to = \"{to}\" }}");
        format!("[[expect]]\nname = \"{name}\"\nrefers = {what}\non_fail = \"fail\"\n")
    };
    scene.job("silver.a", MANIFEST, "select 1 as x");
    let expectations = refers("known", "x", "silver.a.xx") + &refers("own", "xy", "silver.a.x");
    scene.job("silver.b", &format!("{MANIFEST}{expectations}"), "select 1 as x");
    let texts =
        ["expectation \"known\": silver.a has no column `xx`", "expectation \"own\": the table has no column `xy`"];
    scene.pulse(&["check"]).fails(2, &texts);
    scene.pulse(&["check", "silver.b"]).fails(2, &texts);
}

#[test]
fn a_caret_behind_a_call_of_the_projects_functions_stands_in_the_file() {
    let scene = Scene::empty();
    let functions = "create function twice(v bigint) returns bigint return v + v;";
    fs::write(scene.project.join("functions.sql"), functions).unwrap();
    scene.job("gold.t", MANIFEST, "select twice(1) as x, idd from (select 1 as id) t");
    scene.job("gold.u", MANIFEST, "select twice(1) as x, 2 y z");
    let line = "1 | select twice(1) as x, idd from (select 1 as id) t\n  |                       ^^^\n";
    let checked = scene.pulse(&["check"]).fails(2, &["gold/t/query.sql:1:23", line, "gold/u/query.sql:1:27"]);
    assert!(!checked.stderr.contains("cast("), "{}", checked.stderr);
    scene.pulse(&["plan", "gold.t"]).fails(2, &["gold/t/query.sql:1:23", line]);
    scene.pulse(&["run", "gold.t"]).fails(2, &["gold/t/query.sql:1:23", line]);
    scene.pulse(&["query", "select twice(1) as x, idd from (select 1 as id) t"]).fails(2, &["query:1:23", line]);
}

#[test]
fn a_project_without_jobs_says_what_to_do() {
    let scene = Scene::empty();
    scene.pulse(&["run"]).fails(2, &["the project has no jobs yet", "pulse source infer FILE"]);
    scene.pulse(&["run", "--all"]).ok().says(&["the project has no jobs yet", "pulse init FOLDER --from FILE"]);
}
