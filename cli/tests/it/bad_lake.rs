//! Lakes that cannot be written or read: one error that names the thing, and nothing half-visible.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::json;

use crate::support::{Scene, assert_same_tables, text};

fn shipped() -> Scene {
    let scene = Scene::shipped();
    scene.run_all();
    scene
}

#[test]
fn a_lake_that_is_a_file_is_named() {
    let scene = Scene::shipped();
    fs::write(&scene.lake, "not a folder").unwrap();
    for command in [["run", "--all"].as_slice(), &["plan", "--all"], &["table", "list"], &["query", "select 1"]] {
        scene.pulse(command).fails(2, &["error: lake ", "/lake is a file: name a folder"]);
    }
    assert_eq!(fs::read_to_string(&scene.lake).unwrap(), "not a folder");
    // A table's folder that is a file harms that table alone.
    let scene = Scene::shipped();
    fs::create_dir_all(scene.lake.join("bronze")).unwrap();
    fs::write(scene.lake.join("bronze/bars_1d"), "not a folder").unwrap();
    scene.pulse(&["run", "--all"]).fails(1, &["failed     bronze.bars_1d", "Not a directory"]);
    assert!(scene.versions().contains_key("gold.indicators_1m"));
}

#[test]
fn a_lake_that_cannot_be_written_is_named() {
    let mut scene = Scene::shipped();
    // Whoever runs the tests may write anywhere, but nobody can make folders in the kernel's.
    scene.lake = "/proc/pulse-lake".into();
    scene.pulse(&["run", "--all"]).fails(1, &["error", "/proc/pulse-lake"]);
}

#[test]
fn a_lake_without_permission_to_write_is_named() {
    let scene = Scene::shipped_for_anybody();
    fs::create_dir(&scene.lake).unwrap();
    fs::set_permissions(&scene.lake, fs::Permissions::from_mode(0o555)).unwrap();
    let answer = scene.start(scene.unprivileged(&["run", "--all"])).wait();
    answer.fails(2, &["error", "/lake", "Permission denied"]);
    assert_eq!(fs::read_dir(&scene.lake).unwrap().count(), 0);
    // A lake of which one layer may not be written: the others are.
    fs::set_permissions(&scene.lake, fs::Permissions::from_mode(0o777)).unwrap();
    fs::create_dir(scene.lake.join("gold")).unwrap();
    fs::set_permissions(scene.lake.join("gold"), fs::Permissions::from_mode(0o555)).unwrap();
    let answer = scene.start(scene.unprivileged(&["run", "--all"])).wait();
    answer.fails(1, &["succeeded  silver.bars_1m", "failed     gold.bars_15m", "/lake/gold", "Permission denied"]);
    assert!(scene.versions().keys().all(|table| !table.starts_with("gold.")));
}

/// Nothing half-visible, and the rest once there is room.
fn assert_recovers(scene: &Scene, expected: &BTreeMap<String, Vec<String>>) {
    for (table, rows) in scene.tables() {
        assert_eq!(rows.len(), expected[&table].len(), "{table} is there and not whole");
    }
    scene.run_all();
    assert_same_tables(&scene.tables(), expected);
}

/// The kernel refuses to let any file grow beyond a few hundred KiB, which is what a full disk looks like to a writer.
#[test]
fn a_file_that_may_not_grow_fails_its_table() {
    let expected = shipped().tables();
    let scene = Scene::shipped();
    let run = scene.command(&["run", "--all"]);
    // In blocks of 1 KiB; without the signal that would end the process.
    let mut limited = Command::new("bash");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 300; exec \"$@\"", "bash"])
        .arg(run.get_program())
        .args(run.get_args());
    limited.current_dir(run.get_current_dir().unwrap());
    let answer = scene.start(limited).wait();
    answer.fails(
        1,
        &["failed     bronze.bars_1m", "File too large", "free or add disk space", "skipped    silver.bars_1m"],
    );
    assert_recovers(&scene, &expected);
}

/// Where a file system of our own may be mounted, in a namespace that only the process sees.
#[test]
fn a_full_disk_fails_what_does_not_fit() {
    let allowed = Command::new("unshare").args(["--mount", "--map-root-user", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        return;
    }
    let scene = Scene::shipped();
    let run = scene.command(&["run", "--all"]);
    fs::create_dir(&scene.lake).unwrap();
    let script = "mount -t tmpfs -o size=1500k tmpfs \"$1\" || exit 99; shift; exec \"$@\"";
    let mut full = Command::new("unshare");
    full.args(["--mount", "--map-root-user", "bash", "-c", script, "bash"]).arg(&scene.lake);
    full.arg(run.get_program()).args(run.get_args()).current_dir(run.get_current_dir().unwrap());
    let answer = scene.start(full).wait();
    if answer.status.code() != Some(99) {
        answer
            .fails(1, &["succeeded  silver.sessions", "failed ", "No space left on device", "free or add disk space"]);
    }
}

#[test]
fn a_lake_of_an_unknown_kind_is_refused() {
    let mut scene = Scene::shipped();
    scene.lake = "ftp://host/lake".into();
    scene.pulse(&["run", "--all"]).fails(2, &["`ftp`"]);
}

#[test]
fn a_damaged_log_fails_its_table_and_says_what_to_do() {
    let scene = shipped();
    let log = scene.lake.join("silver/bars_1d/_delta_log/00000000000000000000.json");
    fs::write(&log, "{\"add\": garbage").unwrap();
    scene.pulse(&["run", "silver.bars_1d"]).fails(1, &["silver.bars_1d", "the log is damaged"]);
    scene.pulse(&["query", "select count(*) from silver.bars_1d"]).fails(1, &["silver.bars_1d", "the log is damaged"]);
    // Others do not care.
    scene.pulse(&["run", "silver.bars_1m", "gold.bars_15m"]).ok();
    assert_eq!(fs::read_to_string(&log).unwrap(), "{\"add\": garbage");
}

/// A version that a run read once: when its log is cleaned up everything is read, when it is damaged nothing is.
#[test]
fn a_read_version_that_is_damaged_is_not_one_that_is_gone() {
    let mut scene = Scene::empty();
    scene.sources(
        "[files.rows]\nroot = \"$raw\"\ncolumns = [{ name = \"x\", type = \"bigint\" }]\n\
         [files.rows.feed.all]\npath = \"*.csv\"\nformat = { csv = {} }\n",
    );
    let manifest = "grain = [\"source_file\"]\n[sink.append]\n";
    scene.job("bronze.rows", manifest, "select x, source_file from raw.rows");
    let manifest =
        "grain = [\"x\"]\n[source.\"bronze.rows\"]\nread = \"changed\"\nby = [\"x\"]\n[sink.merge]\nkeys = [\"x\"]\n";
    scene.job("silver.rows", manifest, "select x, count(*) as n from bronze.rows group by x");
    for x in 1..=2 {
        scene.put(&format!("{x}.csv"), format!("x\n{x}\n"));
        scene.pulse(&["--set", "checkpoint_every=1", "run", "bronze.rows"]).ok();
        if x == 1 {
            scene.run_all();
        }
    }
    let log = scene.lake.join("bronze/rows/_delta_log/00000000000000000000.json");
    fs::write(&log, "{\"add\": garbage").unwrap();
    scene.pulse(&["run", "silver.rows"]).fails(1, &["bronze.rows", "the log is damaged"]);
    assert_eq!(scene.versions()["silver.rows"], "0");
    fs::remove_file(&log).unwrap();
    scene.pulse(&["run", "silver.rows"]).ok();
    let mode = text(&scene.history("silver.rows")[0]["details"]["pulse.mode"]);
    assert!(mode.starts_with("full") && mode.contains("is gone"), "{mode}");
    assert_eq!(scene.count("silver.rows"), 2);
}

#[test]
fn a_missing_data_file_is_named() {
    let scene = shipped();
    let file = fs::read_dir(scene.lake.join("silver/bars_1d"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "parquet"))
        .unwrap();
    fs::remove_file(&file).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    scene.pulse(&["query", "select sum(close) from silver.bars_1d"]).fails(1, &[name]);
    fs::remove_dir_all(scene.lake.join("gold/trends")).unwrap();
    scene.pulse(&["run", "gold.trends"]).fails(1, &["gold.trends", name]);
    assert!(!scene.versions().contains_key("gold.trends"), "a run that failed leaves no table");
}

/// A table as another tool would have made it.
fn foreign_table(scene: &Scene, protocol: serde_json::Value, configuration: serde_json::Value, add: &str) {
    let log = scene.lake.join("silver/foreign/_delta_log");
    fs::create_dir_all(&log).unwrap();
    let schema = json!({"type": "struct", "fields": [{"name": "x", "type": "long", "nullable": true, "metadata": {
        "delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "col-1"}}]});
    let metadata = json!({"metaData": {"id": "6f1b9a6e-9a7c-4b57-8b5c-0d9d3f6b1a11", "format": {"provider": "parquet",
        "options": {}}, "schemaString": schema.to_string(), "partitionColumns": [], "configuration": configuration,
        "createdTime": 1_600_000_000_000_i64}});
    let text = format!("{}\n{metadata}\n{add}\n", json!({"protocol": protocol}));
    fs::write(log.join("00000000000000000000.json"), text).unwrap();
}

#[test]
fn features_that_change_what_files_mean_are_refused() {
    let deletion = json!({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"],
        "writerFeatures": ["deletionVectors"]});
    let mapping = json!({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["columnMapping"],
        "writerFeatures": ["columnMapping"]});
    let old_mapping = json!({"minReaderVersion": 2, "minWriterVersion": 5});
    let vector = json!({"add": {"path": "a.parquet", "partitionValues": {}, "size": 1, "modificationTime": 1,
        "dataChange": true, "deletionVector": {"storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^",
        "offset": 4, "sizeInBytes": 40, "cardinality": 6}}});
    let by_name = json!({"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "1"});
    let cases = [
        (deletion, json!({"delta.enableDeletionVectors": "true"}), vector.to_string(), "eletion"),
        (mapping, by_name.clone(), String::new(), "column mapping"),
        (old_mapping, by_name, String::new(), "column mapping"),
    ];
    for (protocol, configuration, add, named) in cases {
        let scene = Scene::empty();
        foreign_table(&scene, protocol, configuration, add.trim_end());
        scene.pulse(&["query", "select x from silver.foreign"]).fails(2, &["silver.foreign", named, "does not read"]);
        let manifest = "grain = [\"x\"]\n[sink.append]\n";
        scene.job("gold.copy", manifest, "select x from silver.foreign");
        scene.job("silver.foreign", manifest, "select 1 as x");
        scene.pulse(&["run", "gold.copy"]).fails(1, &["silver.foreign", named]);
        scene.pulse(&["run", "silver.foreign"]).fails(1, &["silver.foreign", named]);
        assert!(!scene.lake.join("gold/copy").exists());
    }
}

#[test]
fn a_protocol_of_the_future_is_refused() {
    let scene = Scene::empty();
    let protocol = json!({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["timeTravelBackwards"],
        "writerFeatures": ["timeTravelBackwards"]});
    foreign_table(&scene, protocol, json!({}), "");
    scene.pulse(&["query", "select x from silver.foreign"]).fails(2, &["silver.foreign", "timeTravelBackwards"]);
}

#[test]
fn a_query_of_a_table_that_is_not_there_is_the_askers_mistake() {
    let scene = Scene::empty();
    scene.pulse(&["query", "select 1 from silver.nothing"]).fails(2, &["silver.nothing"]);
    scene.pulse(&["table", "show", "silver.nothing"]).fails(2, &["silver.nothing"]);
    scene.pulse(&["query", "drop table silver.nothing"]).fails(2, &["error"]);
    assert!(scene.pulse(&["table", "list"]).ok().stdout.lines().count() <= 1);
}
