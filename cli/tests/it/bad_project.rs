//! Projects with mistakes: exit code 2, the place in the file, and a caret below it.

use std::fs;

use crate::support::{Scene, text, workspace};

const MANIFEST: &str = "grain = [\"x\"]\n[sink.overwrite]\n";

/// One job `silver.a`.
fn project(manifest: &str, query: &str) -> Scene {
    let scene = Scene::empty();
    scene.job("silver.a", manifest, query);
    scene
}

/// Every command that plans says the same.
#[track_caller]
fn assert_refused(scene: &Scene, texts: &[&str]) {
    for command in [["check"].as_slice(), &["run", "silver.a"], &["plan", "--all"], &["submit", "silver.a"]] {
        scene.pulse(command).fails(2, texts).says(&["error"]);
    }
    assert!(!scene.lake.join("silver/a").exists());
}

#[test]
fn a_wrong_key_has_a_caret() {
    let scene = project("grain = [\"x\"]\nowners = \"me\"\n[sink.overwrite]\n", "select 1 as x");
    assert_refused(&scene, &["silver/a/job.toml:2", "owners", "^"]);
}

#[test]
fn a_wrong_type_has_a_caret() {
    let scene = project("grain = \"x\"\n[sink.overwrite]\n", "select 1 as x");
    assert_refused(&scene, &["silver/a/job.toml:1", "^"]);
    let scene = project("grain = [\"x\"]\n[sink.merge]\nkeys = 7\n", "select 1 as x");
    assert_refused(&scene, &["silver/a/job.toml:3", "^"]);
}

#[test]
fn text_that_is_no_toml_or_no_sql_has_a_caret() {
    let scene = project("grain = [\"x\"\n[sink.overwrite]\n", "select 1 as x");
    assert_refused(&scene, &["silver/a/job.toml", "^"]);
    let scene = project(MANIFEST, "select 1 as x\nfrom where\n");
    assert_refused(&scene, &["silver/a/query.sql:2", "^"]);
}

#[test]
fn an_unknown_column_or_function_has_a_caret() {
    let scene = project(MANIFEST, "select x\nfrom silver.b\n");
    scene.job("silver.b", "grain = [\"y\"]\n[sink.overwrite]\n", "select 1 as y");
    let answer = scene.pulse(&["check"]).fails(2, &["silver/a/query.sql:1:8", "^"]);
    assert!(answer.stderr.contains("there is no column `x`"), "{}", answer.stderr);
    let scene = project(MANIFEST, "select\n    emma(1) as x\n");
    assert_refused(&scene, &["silver/a/query.sql:2:5", "emma", "^"]);
}

#[test]
fn a_job_that_lies_elsewhere_hides_no_mistake_and_stops_no_other() {
    let scene = project(MANIFEST, "select x\nfrom silver.b\n");
    scene.job("silver.b", "grain = [\"y\"]\n[sink.overwrite]\n", "select 1 as y");
    let deep = scene.project.join("silver/deep/er");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("job.toml"), MANIFEST).unwrap();
    let all = ["silver/a/query.sql:1:8", "there is no column `x`", "silver/deep/er/job.toml", "does not lie here"];
    scene.pulse(&["check"]).fails(2, &all);
    scene.pulse(&["run", "--all"]).fails(2, &all).says(&["succeeded  silver.b"]);
    let named = scene.pulse(&["run", "silver.b"]).ok();
    assert!(!named.stderr.contains("does not lie here"), "{}", named.stderr);
}

#[test]
fn a_test_that_would_never_run_is_a_mistake() {
    for place in ["silver/a/tests/sub/t.toml", "silver/a/test/t.toml", "silver/a/t.toml"] {
        let scene = project(MANIFEST, "select 1 as x");
        let file = scene.project.join(place);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
        scene.pulse(&["check"]).fails(2, &[place, "nothing reads this file", "in its folder `tests`"]);
    }
}

#[test]
fn files_that_are_no_text_are_named() {
    let scene = project(MANIFEST, "select 1 as x");
    let query = scene.project.join("silver/a/query.sql");
    fs::write(&query, "\u{feff}select 1 as x\n").unwrap();
    scene.pulse(&["check"]).ok();
    fs::write(&query, b"select 'caf\xe9' as x").unwrap();
    scene.pulse(&["check"]).fails(2, &["silver/a/query.sql", "save it as UTF-8"]);
    fs::remove_file(&query).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&query).status().unwrap().success());
    scene.pulse(&["check"]).fails(2, &["silver/a/query.sql", "no regular file"]);
}

#[test]
fn expectations_that_would_fail_every_run_are_mistakes() {
    for (expect, says) in [
        ("fresh = { column = \"z\", hours = 24 }", "the table has no column `z`; it has x, s"),
        ("fresh = { column = \"x\", hours = 24 }", "`x` is bigint, and `fresh` needs a timestamp or a date"),
        ("refers = { column = \"z\", to = \"silver.b.y\" }", "the table has no column `z`"),
        ("refers = { column = \"x\", to = \"silver.b.z\" }", "silver.b has no column `z`; it has y"),
        ("refers = { column = \"s\", to = \"silver.b.y\" }", "`s` is string and `silver.b.y` is bigint"),
        ("check = \"null\"", "no condition"),
        ("check = \"sum(x) > 0\"", "is about several rows"),
        ("check = \"row_number() over () > 1\"", "is about several rows"),
    ] {
        let manifest = format!("{MANIFEST}[[expect]]\nname = \"e\"\n{expect}\non_fail = \"fail\"\n");
        let scene = project(&manifest, "select y as x, 'a' as s from silver.b");
        scene.job("silver.b", "grain = [\"y\"]\n[sink.overwrite]\n", "select 1 as y");
        scene.pulse(&["check"]).fails(2, &["silver/a/job.toml", says]);
    }
}

#[test]
fn a_query_that_may_yield_other_rows_is_refused() {
    for (query, texts) in [
        (
            "select element_at(shuffle(make_array(1, 2)), 1) as x",
            ["silver/a/query.sql:1:19", "`shuffle` has another value"],
        ),
        (
            "select extract(year from\n  current_date) as x",
            ["silver/a/query.sql:2:3", "`current_date` has another value"],
        ),
        ("select x, y from silver.b order by y\nlimit 2", ["silver/a/query.sql:2:1", "write `order by y, x`"]),
        (
            "select x from silver.b where y in (select y from silver.b limit 2)",
            ["query.sql:1:59", "write `order by y`"],
        ),
    ] {
        let scene = project(MANIFEST, query);
        scene.job("silver.b", MANIFEST, "select 1 as x, 2 as y");
        assert_refused(&scene, &[texts[0], texts[1], "^", "a run that is repeated must yield the same rows"]);
    }
    let scene = project(MANIFEST, "select x, y from silver.b order by y, x limit 2");
    scene.job("silver.b", MANIFEST, "select 1 as x, 2 as y");
    scene.run_all();
    let expect = "[[expect]]\nname = \"lucky\"\ncheck = \"random() < x\"\non_fail = \"drop\"\n";
    let scene = project(&format!("{MANIFEST}{expect}"), "select 1 as x");
    assert_refused(&scene, &["silver/a/job.toml", "\"lucky\"", "`random` has another value"]);
}

#[test]
fn an_unknown_table_has_a_caret() {
    let scene = project(MANIFEST, "select x\nfrom silver.nothing\n");
    assert_refused(&scene, &["silver/a/query.sql:2:6", "silver.nothing", "^"]);
}

#[test]
fn a_cycle_names_its_jobs() {
    let scene = project(MANIFEST, "select x from silver.b");
    scene.job("silver.b", MANIFEST, "select x from silver.a");
    assert_refused(&scene, &["silver.a", "silver.b", "reads"]);
    let scene = project(MANIFEST, "select x from silver.a");
    assert_refused(&scene, &["`silver.a` reads itself"]);
}

#[test]
fn a_column_that_the_query_does_not_yield_is_named() {
    let scene = project("grain = [\"z\"]\n[sink.overwrite]\n", "select 1 as x");
    assert_refused(&scene, &["silver/a/job.toml", "`grain` names the column `z`"]);
    let scene = project("grain = [\"x\"]\n[sink.merge]\nkeys = [\"z\"]\n", "select 1 as x");
    assert_refused(&scene, &["silver/a/job.toml", "`keys` names the column `z`"]);
}

#[test]
fn a_wrong_condition_names_its_expectation() {
    let expect = "[[expect]]\nname = \"sane\"\ncheck = \"z > 1\"\non_fail = \"drop\"\n";
    let scene = project(&format!("{MANIFEST}{expect}"), "select 1 as x");
    assert_refused(&scene, &["silver/a/job.toml", "\"sane\"", "z"]);
}

#[test]
fn types_that_do_not_fit_the_table_leave_it_alone() {
    let scene = project(MANIFEST, "select 1 as x");
    scene.run_all();
    let before = scene.tables();
    scene.job("silver.a", MANIFEST, "select 'one' as x");
    scene
        .pulse(&["run", "--all"])
        .fails(1, &["silver/a/query.sql", "does not fit the table silver.a", "x string", "x bigint"]);
    assert_eq!(scene.tables(), before);
    assert_eq!(scene.versions()["silver.a"], "0");
}

#[test]
fn wrong_usage_is_exit_code_two() {
    let scene = project(MANIFEST, "select 1 as x");
    scene.pulse(&["run"]).fails(2, &["no job is named", "--all", "silver.a"]);
    scene.pulse(&["run", "--all", "--frm", "2024-01-01"]).fails(2, &["--frm"]);
    scene.pulse(&["run", "silver.b"]).fails(2, &["silver.b"]);
    scene.pulse(&["--set", "memory_mb=1", "run", "--all"]).fails(2, &["memory_mb"]);
    scene.pulse(&["--set", "slots=many", "run", "--all"]).fails(2, &["slots"]);
    scene.pulse(&["--var", "nonsense", "run", "--all"]).fails(2, &["nonsense", "NAME=VALUE"]);
    scene.pulse(&["--config", "nowhere.toml", "run", "--all"]).fails(2, &["nowhere.toml"]);
    fs::remove_dir_all(&scene.project).unwrap();
    scene.pulse(&["check"]).fails(2, &["jobs", "--project"]);
}

#[test]
fn a_variable_without_a_value_is_asked_for() {
    let mut scene = Scene::empty();
    scene.project = workspace().join("jobs");
    scene.pulse(&["check"]).ok();
    scene.pulse(&["run", "--all"]).fails(2, &["raw", "--var"]);
}

#[test]
fn a_mistake_stops_only_the_jobs_that_need_it() {
    for broken in ["selec 1", "select y from silver.a"] {
        let scene = project(MANIFEST, "select 1 as x");
        let manifest = "grain = [\"x\"]\n[sink.overwrite]\n";
        scene.job("silver.b", manifest, broken);
        scene.job("gold.c", manifest, "select x from silver.b");
        scene.job("gold.d", manifest, "select x from silver.a");
        let told = ["silver/b/query.sql", "not run: gold.c reads silver.b", "4 runs in"];
        scene.pulse(&["run", "--all"]).fails(2, &told);
        assert_eq!(scene.tables().keys().map(String::as_str).collect::<Vec<_>>(), ["gold.d", "silver.a"]);
        scene.pulse(&["run", "gold.c"]).fails(2, &["silver/b/query.sql", "not run: gold.c reads silver.b"]);
        scene.pulse(&["run", "gold.d"]).ok().says(&["nothing was committed"]);
        let plan = scene.pulse(&["plan", "--all"]).fails(2, &["silver/b/query.sql"]).stdout;
        assert!(plan.contains("blocked"), "{plan}");
        scene.pulse(&["check"]).fails(2, &["silver/b/query.sql", "not checked: gold.c reads silver.b"]);
    }
}

#[test]
fn a_check_that_is_no_condition_is_found_before_a_run() {
    let manifest = format!("{MANIFEST}[[expect]]\nname = \"n\"\ncheck = \"x + 1\"\non_fail = \"fail\"\n");
    let scene = project(&manifest, "select 1 as x");
    scene.pulse(&["check"]).fails(2, &["silver/a/job.toml", "\"n\"", "no condition", "price > 0"]);
}

#[test]
fn a_column_whose_name_is_empty_is_refused() {
    let scene = project(MANIFEST, "select 1 as x, 2 as \"\"");
    scene.pulse(&["check"]).fails(2, &["silver/a/query.sql", "has no name"]);
}

#[test]
fn a_question_without_columns_is_refused() {
    let scene = project(MANIFEST, "select 1 as x");
    scene.run_all();
    scene.pulse(&["query", "from silver.a"]).fails(2, &["selects no column", "write `select *`"]);
}

#[test]
fn a_column_without_a_name_is_refused() {
    let scene = project(MANIFEST, "select 1 as x, count(*)");
    assert_refused(&scene, &["silver/a/query.sql:1:16", "`count(*)` has no name", "as orders", "^"]);
    let scene = project(MANIFEST, "select 1 as x, 7 / 2");
    assert_refused(&scene, &["`7 / 2` has no name"]);
    project(MANIFEST, "select 1 as x, 2 as \"no plain name\"").pulse(&["check"]).ok();
}

/// `silver.a` is in order, `silver.b` is not, `gold.c` needs it, and `gold.d` needs `silver.a`.
fn half_broken(broken: &str) -> Scene {
    let scene = project(MANIFEST, "select 1 as x");
    scene.job("silver.b", MANIFEST, broken);
    scene.job("gold.c", MANIFEST, "select x from silver.b");
    scene.job("gold.d", MANIFEST, "select x from silver.a");
    scene
}

#[test]
fn jobs_that_cannot_run_are_runs_that_failed_or_were_skipped() {
    for broken in ["selec 1", "select y from silver.a"] {
        let scene = half_broken(broken);
        let ran = scene.pulse(&["--output", "json", "run", "--all"]);
        let ran = ran.fails(2, &["4 runs in", "failed", "skipped", "silver.b: silver/b/query.sql:1:"]);
        let states = |runs: &[serde_json::Value]| -> Vec<String> {
            let mut states: Vec<String> =
                runs.iter().map(|run| format!("{} {}", text(&run["job"]), text(&run["state"]))).collect();
            states.sort();
            states
        };
        let wanted = ["gold.c skipped", "gold.d succeeded", "silver.a succeeded", "silver.b failed"];
        let runs = ran.json();
        assert_eq!(states(&runs), wanted);
        let wrong = runs.iter().find(|run| run["job"] == "silver.b").unwrap();
        assert_eq!(wrong["error"]["kind"], "invalid");
        assert!(text(&wrong["error"]["message"]).contains("silver/b/query.sql:1:"), "{wrong}");
        let trigger = text(&wrong["trigger"]);
        let shown = scene.pulse(&["--output", "json", "runs", "show", &trigger]).ok().json();
        assert_eq!(states(&shown), wanted);
        let page = scene.pulse(&["runs", "show", &trigger]).ok().stdout;
        assert!(page.contains("silver/b/query.sql:1:") && page.contains("it reads silver.b"), "{page}");
        // Nothing of a selection can run.
        let none = scene.pulse(&["--output", "json", "run", "gold.c"]).fails(2, &["1 run in"]).json();
        assert_eq!(states(&none), ["gold.c skipped"]);
    }
}

#[test]
fn a_mistake_in_sources_or_a_cycle_stops_only_the_jobs_that_need_it() {
    let mut scene = half_broken("select x from silver.b");
    scene.sources("[files.good]\nrot = \"$raw\"\ncolumns = []\n");
    scene.job("silver.e", MANIFEST, "select x from raw.good");
    scene.pulse(&["check", "gold.d"]).ok().says(&["1 job is in order"]);
    scene.pulse(&["check", "+gold.d"]).ok().says(&["2 jobs are in order"]);
    let texts = ["sources.toml:2:1", "rot", "`silver.b` reads itself", "not checked: gold.c reads silver.b"];
    let checked = scene.pulse(&["check"]).fails(2, &texts);
    assert_eq!(checked.stderr.matches("unknown key `rot`").count(), 1, "{}", checked.stderr);
    scene.pulse(&["run", "--all"]).fails(2, &["sources.toml:2:1", "`silver.b` reads itself", "5 runs in"]);
    assert_eq!(scene.tables().keys().map(String::as_str).collect::<Vec<_>>(), ["gold.d", "silver.a"]);
    scene.pulse(&["check", "silver.zz"]).fails(2, &["silver.zz"]);
}

#[test]
fn all_mistakes_are_said_at_once() {
    let scene = project("onwer = 1\n", "select 1 as x, emma(1) as y");
    scene.job("silver.b", MANIFEST, "select z from silver.a");
    scene.job("silver.c", "grain = [\"x\"]\n[sink.overwrit]\n", "select q from silver.d");
    scene.job("silver.d", MANIFEST, "select 1 as x");
    let texts = ["silver/a/job.toml:1:1", "silver/a/query.sql:1:16", "silver/c/job.toml", "silver/c/query.sql:1:8"];
    scene.pulse(&["check"]).fails(2, &texts);
}

#[test]
fn a_mistake_stops_only_the_tests_of_its_own_job() {
    let scene = half_broken("select y from silver.a");
    let expect = "expect = [{ x = 1 }]\n";
    for (job, fixture) in [
        ("silver/a", expect),
        ("silver/b", "expect = [{ y = 1 }]\n"),
        ("gold/d", "given.\"silver.a\" = [{ z = 1 }]\nexpect = []\n"),
    ] {
        fs::create_dir_all(scene.project.join(job).join("tests")).unwrap();
        fs::write(scene.project.join(job).join("tests/t.toml"), fixture).unwrap();
    }
    let more = "given.\"silver.a\" = [{ x = 5 }]\nexpect = [{ x = 5 }]\n";
    fs::write(scene.project.join("gold/d/tests/v.toml"), more).unwrap();
    let tested = scene.pulse(&["test"]).fails(2, &["silver/b/query.sql:1:8"]);
    let out = &tested.stdout;
    assert!(out.contains("ok      silver.a t") && out.contains("ok      gold.d v"), "{out}");
    assert!(out.contains("FAILED  silver.b") && out.contains("there is no column `z`"), "{out}");
    assert!(out.contains("2 passed, 2 failed"), "{out}");
    scene.pulse(&["test", "silver.a"]).ok();
    scene.pulse(&["test", "*.a"]).ok();
}

#[test]
fn all_wrong_checks_of_a_job_are_reported() {
    let scene = Scene::empty();
    let checks = [("a", "id + 1"), ("b", "idd > 1"), ("c", "id > 0"), ("d", "random() > id")];
    let checks =
        checks.map(|(name, check)| format!("[[expect]]\nname = \"{name}\"\ncheck = \"{check}\"\non_fail = \"drop\"\n"));
    scene.job("gold.t", &format!("grain = [\"id\"]\n[sink.overwrite]\n{}", checks.concat()), "select 1 as id");
    let texts = [
        "expectation \"a\": its `check` is a value",
        "expectation \"b\": there is no column `idd`",
        "expectation \"d\": `random`",
    ];
    scene.pulse(&["check"]).fails(2, &texts);
}
