//! Tables from their first commit to their last, by the command line; and what commands print for programs.

use serde_json::Value;

use crate::support::{Scene, assert_same_tables, text, workspace};

const SOURCES: &str = "[files.rows]\nroot = \"$raw\"\n\
    columns = [{ name = \"k\", type = \"bigint\", required = true }, { name = \"v\", type = \"bigint\" }]\n\
    [files.rows.feed.all]\npath = \"*.csv\"\nformat = { csv = {} }\n";

fn scene() -> Scene {
    let mut scene = Scene::empty();
    scene.sources(SOURCES);
    let bronze = "grain = [\"source_file\", \"line\"]\nmax_rejected = 1.0\n[sink.append]\n";
    scene.job("bronze.rows", bronze, "select k, v, source_file, line from raw.rows");
    let silver =
        "grain = [\"k\"]\n[source.\"bronze.rows\"]\nread = \"changed\"\nby = [\"k\"]\n[sink.merge]\nkeys = [\"k\"]\n";
    scene.job("silver.sums", silver, "select k, sum(v) as v from bronze.rows group by k");
    scene
}

fn put(scene: &Scene, file: i64) {
    scene.put(&format!("{file}.csv"), format!("k,v\n1,{file}\n2,1\nx,1\n"));
}

fn assert_as_if_at_once(scene: &mut Scene) {
    let found = scene.tables();
    scene.with_fresh_lake().run_all();
    assert_same_tables(&found, &scene.tables());
}

#[test]
fn a_table_is_restored_and_goes_on_from_there() {
    let mut scene = scene();
    for file in 0..3 {
        put(&scene, file);
        scene.run_all();
    }
    let rows = scene.rows("bronze.rows");
    scene.pulse(&["table", "restore", "bronze.rows", "--version", "0"]).ok().says(&[
        "bronze.rows version 3 is what it was at version 0: +0 -2 files, 2 rows",
        "the next run computes again what has come since",
    ]);
    assert_eq!((scene.count("bronze.rows"), scene.count("bronze.rows__quarantine")), (2, 1));
    scene.pulse(&["table", "restore", "bronze.rows", "--version", "0"]).ok().says(&["nothing was committed"]);
    scene.pulse(&["table", "restore", "bronze.rows", "--version", "9"]).fails(2, &["its newest is 3"]);
    scene.run_all();
    assert_eq!(scene.rows("bronze.rows"), rows);
    assert_as_if_at_once(&mut scene);
}

#[test]
fn a_dropped_table_is_gone_and_built_again() {
    let mut scene = scene();
    put(&scene, 0);
    scene.run_all();
    scene.pulse(&["table", "drop", "bronze.rows"]).fails(2, &["nobody can be asked here: say --yes"]);
    assert_eq!(scene.count("bronze.rows"), 2);
    scene.pulse(&["table", "drop", "bronze.rows", "--yes"]).ok().says(&[
        "bronze.rows version 0: 2 rows in 1 file",
        "its rejected rows stay in bronze.rows__quarantine",
        "the next run of bronze.rows builds it again",
        "read by silver.sums",
        "bronze.rows: dropped",
    ]);
    assert!(!scene.lake.join("bronze/rows").exists());
    scene.pulse(&["table", "drop", "bronze.rows", "--yes"]).fails(2, &["does not exist"]);
    scene.pulse(&["run", "silver.sums"]).fails(1, &["bronze.rows, which does not exist"]);
    put(&scene, 1);
    scene.run_all().says(&["bronze.rows was removed and made again"]);
    scene.pulse(&["table", "drop", "bronze.z*", "--yes"]).fails(2, &["no table of", "is like `bronze.z*`"]);
    let all = ["table", "drop", "*.*", "--quarantine", "--yes"];
    scene.pulse(&all).ok().says(&[
        "3 tables will be deleted",
        "bronze.rows__quarantine: dropped",
        "silver.sums: dropped",
    ]);
    assert!(!scene.lake.join("bronze/rows__quarantine").exists());
    scene.run_all();
    assert_as_if_at_once(&mut scene);
}

#[test]
fn a_table_is_renamed_with_its_quarantine() {
    let scene = scene();
    put(&scene, 0);
    scene.run_all();
    let rows = (scene.rows("bronze.rows"), scene.rows("bronze.rows__quarantine"));
    scene.pulse(&["table", "rename", "bronze.rows", "bronze.lines"]).ok().says(&[
        "bronze.rows is bronze.lines now",
        "rename its folder to bronze/lines",
        "read by silver.sums",
    ]);
    assert_eq!((scene.rows("bronze.lines"), scene.rows("bronze.lines__quarantine")), rows);
    scene.pulse(&["table", "list"]).ok().says(&["2 tables without a job of the project"]);
    scene.pulse(&["table", "rename", "bronze.rows", "bronze.x"]).fails(2, &["does not exist"]);
    scene.pulse(&["table", "rename", "bronze.lines", "raw.lines"]).fails(2, &["would not see a table there"]);
}

#[test]
fn several_tables_are_looked_after_at_once() {
    let scene = scene();
    for file in 0..3 {
        put(&scene, file);
        scene.run_all();
    }
    scene
        .pulse(&["table", "optimize", "silver.none", "bronze.*", "silver.sums"])
        .fails(2, &["silver.none does not exist", "bronze.rows version 3", "3 tables: ", "1 refused"]);
    scene.pulse(&["table", "vacuum", "--all", "--dry-run"]).ok().says(&["3 tables: 0 files, 0 B would be deleted"]);
    let none = scene.pulse(&["--output", "csv", "table", "vacuum", "--all", "--dry-run"]).ok().stdout;
    assert_eq!(none, "table,path,bytes,modified\n");
    scene.pulse(&["table", "vacuum"]).fails(2, &["no table is named"]);
    scene.pulse(&["table", "optimize", "gold.*"]).fails(2, &["is like `gold.*`"]);
    put(&scene, 3);
    put(&scene, 4);
    scene.pulse(&["run", "bronze.rows"]).ok();
    put(&scene, 5);
    let note = "note: optimized, as it had ";
    scene.pulse(&["--set", "optimize_files=3", "run", "--all"]).ok().says(&[note, "(optimize_files = 3)"]);
}

#[test]
fn a_table_says_what_it_was_made_from() {
    let scene = scene();
    put(&scene, 0);
    scene.run_all();
    put(&scene, 1);
    scene.pulse(&["run", "bronze.rows"]).ok();
    scene
        .pulse(&["table", "show", "silver.sums"])
        .ok()
        .says(&["made from bronze.rows version 0, and it is at 1 now", ": full: the table does not exist yet"]);
    let shown = scene.pulse(&["table", "show", "bronze.rows"]).ok().stderr;
    assert!(shown.contains("made from raw.rows: 2 files") && !shown.contains("1.csv"), "{shown}");
    scene.pulse(&["table", "show", "bronze.rows", "--files", "all"]).ok().says(&["  0.csv", "  1.csv"]);
    let detail = scene.pulse(&["--output", "json", "table", "show", "silver.sums"]).ok().json().remove(0);
    let read = serde_json::json!([{"table": "bronze.rows", "version": 0, "newest": 1, "recreated": false}]);
    assert_eq!(detail["read_tables"], read);
    scene.pulse(&["table", "drop", "bronze.rows", "--yes"]).ok();
    scene.pulse(&["run", "bronze.rows"]).ok();
    scene.pulse(&["table", "show", "silver.sums"]).ok().says(&["another table is there now"]);
}

/// Whether a value is what a schema says, with all keys and no others.
pub(crate) fn check(value: &Value, schema: &Value, root: &Value, path: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        return check(value, root.pointer(name.trim_start_matches('#')).unwrap(), root, path);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let is_null = |choice: &&Value| choice["type"] == "null";
        let choice = choices.iter().find(|choice| is_null(choice) == value.is_null()).unwrap();
        return check(value, choice, root, path);
    }
    if let Some(values) = schema["enum"].as_array() {
        assert!(values.contains(value), "{path}: {value}");
    } else if let Some(choices) = schema["oneOf"].as_array() {
        let is_it = |choice: &Value| {
            &choice["const"] == value || choice["enum"].as_array().is_some_and(|values| values.contains(value))
        };
        assert!(choices.iter().any(is_it), "{path}: {value}");
        return;
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed: Vec<&Value> = match &schema["type"] {
        Value::Array(names) => names.iter().collect(),
        name => vec![name],
    };
    assert!(allowed.iter().any(|name| *name == kind || (*name == "number" && kind == "integer")), "{path}: {value}");
    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
        check(item, &schema["items"], root, &format!("{path}[{place}]"));
    }
    if let (Some(object), Some(properties)) = (value.as_object(), schema["properties"].as_object()) {
        let keys =
            |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(keys(object), keys(properties), "{path}");
        object.iter().for_each(|(key, inner)| check(inner, &properties[key], root, &format!("{path}.{key}")));
    }
}

#[test]
fn commands_print_what_their_schemas_say() {
    let scene = scene();
    let text_of = std::fs::read_to_string(workspace().join("docs/reference/output.schema.json")).unwrap();
    let schemas: Value = serde_json::from_str(&text_of).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let mut conforms = |command: &str, arguments: &[&str]| {
        let answer = scene.pulse(&[&["--output", "jsonl"], arguments].concat()).ok();
        let lines = answer.json();
        assert!(!lines.is_empty(), "{command}: {answer:?}");
        lines.iter().for_each(|line| check(line, &schemas[command], &schemas[command], command));
        seen.insert(command.to_owned());
        lines
    };
    let tests = scene.project.join("silver/sums/tests");
    std::fs::create_dir_all(&tests).unwrap();
    std::fs::write(tests.join("one.toml"), "[[given.\"bronze.rows\"]]\nk = 1\nv = 2\n[[expect]]\nk = 1\nv = 2\n")
        .unwrap();
    put(&scene, 0);
    conforms("check", &["check"]);
    conforms("graph", &["graph"]);
    conforms("test", &["test"]);
    conforms("plan", &["plan", "--all"]);
    let runs = conforms("run", &["run", "--all"]);
    conforms("query \"show tables\"", &["query", "show tables"]);
    conforms("query \"describe ..\"", &["query", "describe bronze.rows"]);
    let columns = conforms("query \"describe ..\"", &["query", "show columns from bronze.rows"]);
    assert_eq!(columns[0]["column"], "k");
    conforms("runs list", &["runs", "list"]);
    conforms("runs show", &["runs", "show", &text(&runs[0]["trigger"])]);
    put(&scene, 1);
    scene.run_all();
    conforms("source preview --rejects", &["source", "preview", "rows", "--rejects"]);
    conforms("table list", &["table", "list"]);
    conforms("table show", &["table", "show", "bronze.rows"]);
    conforms("table show", &["table", "show", "silver.sums", "--files", "all"]);
    conforms("table history", &["table", "history", "bronze.rows"]);
    conforms("table optimize", &["table", "optimize", "--all"]);
    conforms("table restore", &["table", "restore", "bronze.rows", "--version", "0"]);
    let vacuum =
        ["--set", "run_timeout_s=1", "table", "vacuum", "--retain", "1", "--force", "--dry-run", "bronze.rows"];
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(9 * 3600);
    std::fs::write(scene.lake.join("bronze/rows/left.parquet"), "x").unwrap();
    let left = std::fs::File::options().append(true).open(scene.lake.join("bronze/rows/left.parquet")).unwrap();
    left.set_modified(old).unwrap();
    conforms("table vacuum", &vacuum);
    scene.run_all();
    std::fs::remove_file(scene.raw.join("1.csv")).unwrap();
    conforms("table forget", &["table", "forget", "bronze.rows", "1.csv", "--yes"]);
    conforms("table rename", &["table", "rename", "silver.sums", "silver.totals"]);
    conforms("table drop", &["table", "drop", "bronze.rows", "--quarantine", "--yes"]);
    let toml = scene.project.join("project.toml");
    let text = std::fs::read_to_string(&toml).unwrap();
    std::fs::write(&toml, format!("{text}\n[schedule.nightly]\ncron = \"@daily\"\n")).unwrap();
    conforms("schedule list", &["schedule", "list"]);
    conforms("schedule next", &["schedule", "next", "nightly"]);
    // These need a scheduler, a cluster, a catalog, a due time, an alert, a provider, or a job with intervals; most print what others print.
    let elsewhere = [
        "alert list",
        "backfill",
        "backfill, before its runs",
        "submit --wait",
        "catalog check",
        "catalog sync",
        "run-due",
        "queue",
        "cluster status",
        "land",
        "land plan",
        "land status",
        "land status --periods",
    ];
    let all: std::collections::BTreeSet<String> = schemas.as_object().unwrap().keys().cloned().collect();
    seen.extend(elsewhere.map(str::to_owned));
    assert_eq!(seen, all);
}

#[test]
fn answers_of_queries_have_nulls_and_quotes() {
    let scene = scene();
    put(&scene, 0);
    scene.run_all();
    let sql = "select 'a,\"b\"\nc' as t, cast(null as int) as n, make_array(1, null) as l, '' as e";
    let json = scene.pulse(&["--output", "json", "query", sql]).ok().json();
    assert_eq!(json, [serde_json::json!({"t": "a,\"b\"\nc", "n": null, "l": [1, null], "e": ""})]);
    let csv = scene.pulse(&["--output", "csv", "query", sql]).ok().stdout;
    assert_eq!(csv, "t,n,l,e\n\"a,\"\"b\"\"\nc\",,\"[1,null]\",\"\"\n");
}

#[test]
fn mistakes_have_a_shape_for_programs() {
    let scene = scene();
    std::fs::create_dir_all(scene.project.join("gold/wrong")).unwrap();
    std::fs::write(scene.project.join("gold/wrong/query.sql"), "select nothing from bronze.rows").unwrap();
    std::fs::write(scene.project.join("gold/wrong/job.toml"), "grain = 1\nowner = \"me\"\n[sink.overwrite]\n").unwrap();
    let answer = scene.pulse(&["--output", "json", "check"]);
    assert_eq!(answer.status.code(), Some(2), "{answer:?}");
    let text_of = std::fs::read_to_string(workspace().join("docs/reference/output.schema.json")).unwrap();
    let schema = &serde_json::from_str::<Value>(&text_of).unwrap()["check"];
    let lines = answer.json();
    lines.iter().for_each(|line| check(line, schema, schema, "check"));
    let wrong = lines.iter().find(|line| line["job"] == "gold.wrong").unwrap();
    let places: Vec<_> = wrong["mistakes"].as_array().unwrap().iter().map(|one| (&one["file"], &one["line"])).collect();
    assert_eq!(places, [(&"gold/wrong/job.toml".into(), &1.into()), (&"gold/wrong/query.sql".into(), &1.into())]);
    assert!(lines.iter().any(|line| line["job"] == "bronze.rows" && line["mistakes"] == serde_json::json!([])));
    // One of project.toml hides none of the jobs, also where it is about a schedule.
    let toml = scene.project.join("project.toml");
    let before = std::fs::read_to_string(&toml).unwrap();
    std::fs::write(&toml, format!("{before}\n[schedule.nightly]\ncorn = \"@daily\"\n")).unwrap();
    let answer = scene.pulse(&["--output", "json", "check"]);
    assert_eq!(answer.status.code(), Some(2), "{answer:?}");
    let mistakes = &answer.json()[0]["mistakes"];
    let files: std::collections::BTreeSet<_> =
        mistakes.as_array().unwrap().iter().map(|one| text(&one["file"])).collect();
    assert_eq!(files, ["gold/wrong/job.toml".to_owned(), "project.toml".to_owned()].into());
}
