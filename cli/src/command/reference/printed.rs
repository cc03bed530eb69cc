//! docs/reference/output.md and output.schema.json: what commands print for programs.

use std::fmt::Write as _;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::command::plan::Line;
use crate::shape;

/// Command, what each of its objects is, and their schema.
type Printed = (&'static str, &'static str, fn() -> Value);

const PRINTED: [Printed; 33] = [
    ("check", "a job, or the mistakes that belong to no job", schema::<shape::CheckedJob>),
    ("plan", "what a run of a job would do", schema::<Line>),
    ("run", "a run, when it has ended", schema::<shape::Run>),
    ("run-due", "a run, when it has ended", schema::<shape::Run>),
    ("land", "a landing, when all have ended", schema::<shape::Landed>),
    ("land plan", "a landing", schema::<shape::LandPlan>),
    ("land status", "a symbol", schema::<shape::LandStatus>),
    ("land status --periods", "a symbol and a period", schema::<shape::LandPeriod>),
    ("schedule list", "a schedule", schema::<shape::Schedule>),
    ("schedule next", "a time", schema::<shape::ScheduledTime>),
    ("alert list", "an incident", schema::<shape::Alert>),
    ("backfill, before its runs", "a job", schema::<shape::BackfillJob>),
    (
        "backfill",
        "a run, when it has ended; those before the first run have no `state` and are as above",
        schema::<shape::Run>,
    ),
    ("submit --wait", "a run, when all have ended", schema::<shape::Run>),
    ("queue", "a queue of the scheduler", schema::<shape::Queue>),
    ("runs list", "a run, the newest first", schema::<shape::Run>),
    ("runs show", "a run of the trigger", schema::<shape::Run>),
    ("graph", "a table or a source", schema::<shape::Node>),
    ("query \"show tables\"", "a table or a source", schema::<shape::Queryable>),
    ("query \"describe ..\"", "a column", schema::<shape::QueryColumn>),
    ("test", "a fixture", schema::<shape::Tested>),
    ("cluster status", "the cluster", schema::<shape::Cluster>),
    ("catalog check", "a difference", schema::<shape::CatalogDifference>),
    ("catalog sync", "a change", schema::<shape::CatalogChange>),
    ("source preview --rejects", "a rejected row", schema::<shape::Reject>),
    ("table list", "a table", schema::<shape::Table>),
    ("table show", "the table", schema::<shape::TableDetail>),
    ("table history", "a commit, the newest first", schema::<shape::Commit>),
    ("table optimize", "a table", schema::<shape::Optimized>),
    ("table vacuum", "a file", schema::<shape::UnneededFile>),
    ("table forget", "the table", schema::<shape::Forgotten>),
    ("table restore", "the table", schema::<shape::Restored>),
    ("table rename", "the table", schema::<shape::Renamed>),
];

const DROP: Printed = (
    "table drop",
    "a table: the one that is named, and with --quarantine that of its rejected rows",
    schema::<shape::Dropped>,
);

const INTRODUCTION: &str = "# Output for programs\n\n\
    This page is generated from `cli/src/shape.rs`. [output.schema.json](output.schema.json) holds the same as JSON schemas, by command.\n\n\
    With `--output json`, or its other name `jsonl`, a command prints one JSON object on each line of stdout, as it is described here. Words for people, progress and\n\
    errors are on stderr. Numbers are numbers, stamps are texts in ISO 8601 and UTC, sizes are bytes, and every key is there: what is not known is null. Later\n\
    versions may add keys.\n\n\
    With `--output csv`, the first line names the columns, which are keys of the objects, and fields are quoted by RFC 4180; lines end with a line feed. `run` and `submit` print no CSV. Of `query`, lists and structs are texts in JSON, and null\n\
    is an empty field.\n\n\
    The rows of `query` and of `source preview` have the columns of the query and of the source. In JSON, NaN and infinity are null, because JSON has neither, and a decimal is a number with all of its\n\
    digits, which a reader must not take for a double; CSV has `NaN`, `inf` and the digits. `query` with several statements prints their answers one after another, in CSV with an\n\
    empty line between. `source infer` prints a contract in TOML. Commands that are not named here print nothing for programs. [cli.md](cli.md) lists exit codes.\n";

/// docs/reference/output.md.
pub(super) fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut known: Vec<(Value, &str)> = Vec::new();
    for (command, what, schema) in PRINTED.iter().chain([&DROP]) {
        let schema = schema();
        // Writing to a string does not fail.
        let _ = writeln!(page, "\n## pulse {command}\n\nEach line is {what}.");
        match known.iter().find(|(other, _)| *other == schema) {
            Some((_, other)) => {
                let _ = writeln!(page, "Its keys are those of `pulse {other}`.");
            }
            None => {
                let _ = writeln!(page, "\n| key | type | |\n|---|---|---|");
                rows("", &schema, &schema, &mut page);
                known.push((schema, command));
            }
        }
    }
    page
}

/// docs/reference/output.schema.json.
pub(super) fn schemas() -> Value {
    let all = PRINTED.iter().chain([&DROP]).map(|(command, _, schema)| ((*command).to_owned(), schema()));
    sorted(Value::Object(all.collect()))
}

fn schema<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    sorted(generator.into_root_schema_for::<T>().to_value())
}

/// Whichever map serde_json was built with.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// A row for each key, and for those of objects below it.
fn rows(above: &str, schema: &Value, root: &Value, page: &mut String) {
    let properties = schema["properties"].as_object();
    for (key, property) in properties.into_iter().flatten() {
        let (kind, object) = kind(property, root);
        let doc = property["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        let _ = writeln!(page, "| `{above}{key}` | {kind} | {doc} |");
        if let Some(object) = object {
            let list = if kind.starts_with("list") { "[]" } else { "" };
            rows(&format!("{above}{key}{list}."), object, root, page);
        }
    }
}

/// A type in words, and the schema of the object in it.
fn kind<'a>(schema: &'a Value, root: &'a Value) -> (String, Option<&'a Value>) {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
        return kind(&root["$defs"][name], root);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let known = choices.iter().find(|choice| choice["type"] != "null").map(|choice| kind(choice, root));
        let (text, object) = known.unwrap_or_default();
        return (format!("{text} or null"), object);
    }
    let words =
        |values: &[Value]| values.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect::<Vec<_>>();
    if let Some(values) = schema["enum"].as_array() {
        let null = if values.contains(&Value::Null) { " or null" } else { "" };
        return (format!("{}{null}", words(values).join(", ")), None);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let named = |choice: &Value| match (choice["const"].clone(), choice["enum"].as_array()) {
            (_, Some(values)) => values.clone(),
            (value, None) => vec![value],
        };
        let values: Vec<Value> = choices.iter().flat_map(named).collect();
        return (words(&values).join(", "), None);
    }
    let (name, null) = match &schema["type"] {
        Value::Array(names) => (names.first().and_then(Value::as_str).unwrap_or_default(), " or null"),
        name => (name.as_str().unwrap_or_default(), ""),
    };
    match name {
        "array" => {
            let (of, object) = kind(&schema["items"], root);
            (format!("list of {of}{null}"), object)
        }
        "object" => (format!("object{null}"), schema.get("properties").map(|_| schema)),
        "string" => (format!("text{null}"), None),
        "boolean" => (format!("true or false{null}"), None),
        other => (format!("{other}{null}"), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_always_there() {
        fn check(command: &str, schema: &Value) {
            if let Some(properties) = schema["properties"].as_object() {
                let required = schema["required"].as_array().cloned().unwrap_or_default();
                for key in properties.keys() {
                    assert!(required.iter().any(|name| name == key.as_str()), "{command}: {key}");
                }
            }
            for inner in schema.as_object().into_iter().flat_map(Map::values).filter(|inner| inner.is_object()) {
                check(command, inner);
            }
        }
        for (command, schema) in schemas().as_object().unwrap() {
            check(command, schema);
        }
    }

    #[test]
    fn a_page_names_types_in_words() {
        let page = page();
        for row in [
            "| `rows` | integer or null | Null where its log does not say. |",
            "| `columns[].type` | text |  |",
            "| `interval.start` | text |  |",
            "| `job` | true or false or null | Whether a job of the project writes it; null where there is no project. |",
        ] {
            assert!(page.contains(row), "{row} in {page}");
        }
        assert!(page.contains("| `place` | `local`, `cluster` or null |"), "{page}");
    }
}
