//! Tables to which another tool gave rules that pulse does not keep: they are refused before anything is written.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::support::{Scene, text};

const SOURCES: &str = "[files.bars]\nroot = \"$raw\"\n\
    columns = [{ name = \"s\", type = \"string\" }, { name = \"x\", type = \"double\" }]\n\
    [files.bars.feed.all]\npath = \"*.csv\"\nformat = { csv = {} }\n";

/// A table of each sink, with rows in files enough to optimize.
fn scene() -> Scene {
    let mut scene = Scene::empty();
    scene.sources(SOURCES);
    let bronze = "grain = [\"source_file\", \"line\"]\n[sink.append]\n";
    scene.job("bronze.bars", bronze, "select s, x, source_file, line from raw.bars");
    let merged =
        "grain = [\"s\"]\n[source.\"bronze.bars\"]\nread = \"changed\"\nby = [\"s\"]\n[sink.merge]\nkeys = [\"s\"]\n";
    scene.job("silver.bars", merged, "select s, sum(x) as x from bronze.bars group by s");
    scene.job("gold.total", "grain = [\"x\"]\n[sink.overwrite]\n", "select sum(x) as x from silver.bars");
    for symbol in ["A", "B"] {
        scene.put(&format!("{symbol}.csv"), format!("s,x\n{symbol},1\n"));
        scene.run_all();
    }
    scene
}

/// The remedy for a condition on rows.
const EXPECT: &str = "make it an expectation of the job";

/// What another tool's commit sets: protocol, properties, the metadata of column `x` and whether it may be null.
struct Rule {
    protocol: Value,
    properties: Value,
    column: Value,
    nullable: bool,
}

fn version(writer: u32) -> Value {
    json!({"minReaderVersion": 1, "minWriterVersion": writer})
}

fn features(names: &[&str]) -> Value {
    json!({"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": names})
}

fn properties(protocol: Value, properties: Value) -> Rule {
    Rule { protocol, properties, column: json!({}), nullable: true }
}

impl Rule {
    /// Commits it to a table as the next version.
    fn give(&self, scene: &Scene, table: &str) {
        let log = scene.lake.join(table.replace('.', "/")).join("_delta_log");
        let first = fs::read_to_string(log.join(format!("{:020}.json", 0))).unwrap();
        let mut actions = first.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut metadata = actions.find_map(|action| action.get("metaData").cloned()).unwrap();
        let mut schema: Value = serde_json::from_str(&text(&metadata["schemaString"])).unwrap();
        let fields = schema["fields"].as_array_mut().unwrap();
        let field = fields.iter_mut().find(|field| field["name"] == "x").unwrap();
        field["metadata"] = self.column.clone();
        field["nullable"] = json!(self.nullable);
        metadata["schemaString"] = json!(schema.to_string());
        metadata["configuration"] = self.properties.clone();
        let next: u64 = scene.versions()[table].parse::<u64>().unwrap() + 1;
        let entry = format!("{}\n{}\n", json!({"protocol": self.protocol}), json!({"metaData": metadata}));
        fs::write(log.join(format!("{next:020}.json")), entry).unwrap();
    }
}

/// Names of everything in a table's folder.
fn files(scene: &Scene, table: &str) -> BTreeSet<String> {
    let folder = scene.lake.join(table.replace('.', "/"));
    let names = |folder: &std::path::Path| -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    names(&folder).into_iter().chain(names(&folder.join("_delta_log"))).collect()
}

/// Each command fails with the texts, and the table's folder is as it was.
#[track_caller]
fn assert_refused(scene: &Scene, table: &str, commands: &[&[&str]], texts: &[&str]) {
    let before = files(scene, table);
    for command in commands {
        let code = if command[0] == "run" { 1 } else { 2 };
        scene.pulse(command).fails(code, texts).says(&[table]);
        assert_eq!(files(scene, table), before, "{command:?}");
    }
}

#[test]
fn a_table_that_only_grows_lets_no_row_go() {
    let scene = scene();
    properties(version(2), json!({"delta.appendOnly": "true"})).give(&scene, "bronze.bars");
    scene.put("C.csv", "s,x\nC,1\n");
    scene.run_all();
    assert_eq!(scene.count("bronze.bars"), 3);
    scene.pulse(&["table", "optimize", "bronze.bars"]).ok().says(&["3 files of", "became 1 of"]);
    scene.pulse(&["table", "vacuum", "bronze.bars", "--dry-run"]).ok();

    // A file with other content takes the place of rows.
    scene.put("C.csv", "s,x\nC,2\n");
    let told = ["`delta.appendOnly` = `true`", "would remove or replace rows", "let the job only append"];
    assert_refused(&scene, "bronze.bars", &[&["run", "bronze.bars"]], &told);
    // As does another query, which is known without looking at rows.
    let bronze = "grain = [\"source_file\", \"line\"]\n[sink.append]\n";
    scene.job("bronze.bars", bronze, "select s, x + 1 as x, source_file, line from raw.bars");
    assert_refused(&scene, "bronze.bars", &[&["run", "bronze.bars"], &["plan", "bronze.bars"]], &told);
    assert_eq!(scene.count("bronze.bars"), 3);
}

#[test]
fn a_table_that_only_grows_is_merged_into_while_no_key_comes_again() {
    let scene = scene();
    for table in ["silver.bars", "gold.total"] {
        properties(features(&["appendOnly"]), json!({"delta.appendOnly": "true"})).give(&scene, table);
    }
    scene.put("C.csv", "s,x\nC,1\n");
    scene.pulse(&["run", "bronze.bars", "silver.bars"]).ok();
    assert_eq!(scene.count("silver.bars"), 3);
    assert_refused(&scene, "gold.total", &[&["run", "gold.total"], &["plan", "gold.total"]], &["delta.appendOnly"]);

    scene.put("D.csv", "s,x\nC,1\n");
    scene.pulse(&["run", "bronze.bars"]).ok();
    assert_refused(&scene, "silver.bars", &[&["run", "silver.bars"]], &["delta.appendOnly"]);
}

#[test]
fn conditions_on_rows_are_refused_by_whoever_adds_rows() {
    let column = |metadata: Value| Rule { column: metadata, ..properties(version(2), json!({})) };
    let cases = [
        (properties(version(3), json!({"delta.constraints.p": "x > 0"})), "delta.constraints.p", EXPECT),
        (properties(features(&["checkConstraints"]), json!({"delta.constraints.p": "x > 0"})), "constraints.p", EXPECT),
        (
            column(json!({"delta.invariants": "{\"expression\":{\"expression\":\"x > 0\"}}"})),
            "delta.invariants",
            EXPECT,
        ),
        (column(json!({"delta.generationExpression": "1.0"})), "delta.generationExpression", "compute it in the query"),
        (Rule { nullable: false, ..column(json!({})) }, "not null", EXPECT),
    ];
    for (rule, named, remedy) in cases {
        let scene = scene();
        rule.give(&scene, "silver.bars");
        scene.put("C.csv", "s,x\nC,1\n");
        scene.pulse(&["run", "bronze.bars"]).ok();
        let commands: [&[&str]; 2] = [&["run", "silver.bars"], &["plan", "silver.bars"]];
        assert_refused(&scene, "silver.bars", &commands, &[named, remedy]);
        // The rows that are there meet the condition, and stay the same.
        scene.pulse(&["table", "optimize", "silver.bars"]).ok().says(&["became 1 of"]);
    }
}

#[test]
fn features_that_bind_every_writer_are_refused_by_every_command_that_writes() {
    let cases = [
        (properties(features(&["rowTracking", "domainMetadata"]), json!({})), "rowTracking"),
        (properties(features(&["clustering", "domainMetadata"]), json!({})), "clustering"),
        (properties(features(&["aFeatureOfTheFuture"]), json!({})), "aFeatureOfTheFuture"),
        (
            properties(features(&["inCommitTimestamp"]), json!({"delta.enableInCommitTimestamps": "true"})),
            "delta.enableInCommitTimestamps",
        ),
    ];
    for (rule, named) in cases {
        let scene = scene();
        rule.give(&scene, "silver.bars");
        scene.put("C.csv", "s,x\nC,1\n");
        scene.pulse(&["run", "bronze.bars"]).ok();
        let commands: [&[&str]; 4] = [
            &["run", "silver.bars"],
            &["plan", "silver.bars"],
            &["table", "optimize", "silver.bars"],
            &["table", "vacuum", "silver.bars"],
        ];
        assert_refused(&scene, "silver.bars", &commands, &[named]);
        // Readers do not depend on it.
        assert_eq!(scene.count("silver.bars"), 2);
    }
}

#[test]
fn rules_that_ask_nothing_of_us_do_not_stand_in_the_way() {
    let cases = [
        properties(version(1), json!({})),
        properties(version(6), json!({"delta.enableChangeDataFeed": "false"})),
        properties(features(&["appendOnly", "invariants", "checkConstraints", "changeDataFeed"]), json!({})),
        properties(features(&["inCommitTimestamp"]), json!({"delta.appendOnly": "false", "owner": "us"})),
    ];
    for rule in cases {
        let scene = scene();
        for table in ["bronze.bars", "silver.bars", "gold.total"] {
            rule.give(&scene, table);
        }
        scene.put("A.csv", "s,x\nA,5\n");
        scene.run_all();
        assert_eq!(scene.value("select x from gold.total"), "6.0");
        scene.pulse(&["table", "optimize", "silver.bars"]).ok();
        scene.pulse(&["table", "vacuum", "silver.bars"]).ok();
    }
}
