//! `docs/reference/manifest.md`, written from the schemas: one table for each file and each type.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Reference of `project.toml`, `profiles/*.toml`, `sources.toml`, `job.toml` and `tests/*.toml`.
pub fn reference_markdown() -> String {
    let files = [
        ("job.toml", super::manifest_schema()),
        ("tests/*.toml", super::fixture_schema()),
        ("sources.toml", super::sources_schema()),
        ("project.toml", super::project_schema()),
        ("profiles/*.toml", super::profile_schema()),
    ];
    let mut page = String::from(
        "# Files of a project\n\n\
         A job is a folder `<layer>/<table>` with `job.toml`, `query.sql` and, in `tests/`, its tests. Beside the layers lie\n\
         `project.toml` and `sources.toml`, and where they are needed `functions.sql` and `profiles/*.toml`. A choice is a table of its name: `[sink.merge]`, or `format = { csv = {} }`.\n\
         This page is generated from the types of `core/`.\n",
    );
    for (file, schema) in &files {
        let types = schema.get("$defs").and_then(Value::as_object);
        let _ = write!(page, "\n## {file}\n\n{}\n\n", description(schema));
        type_table(&mut page, schema);
        let mut types: Vec<(&String, &Value)> = types.into_iter().flatten().collect();
        types.sort_by_key(|(name, _)| *name);
        for (name, schema) in types {
            let _ = write!(page, "\n### {}\n\n{}\n\n", words(name), description(schema));
            type_table(&mut page, schema);
        }
    }
    page
}

fn type_table(page: &mut String, schema: &Value) {
    match schema.get("oneOf").and_then(Value::as_array) {
        Some(choices) => choice_table(page, choices),
        None => key_table(page, schema),
    }
}

fn key_table(page: &mut String, schema: &Value) {
    page.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
    for (key, property, is_needed) in properties(schema) {
        let default = match (is_needed, property.get("default")) {
            (true, _) => "needed".to_owned(),
            (false, Some(default)) => format!("`{default}`"),
            (false, None) => String::new(),
        };
        let _ = writeln!(page, "| `{key}` | {} | {default} | {} |", type_words(property), description(property));
    }
}

fn choice_table(page: &mut String, choices: &[Value]) {
    let is_text = choices.iter().all(|choice| choice.get("const").or(choice.get("pattern")).is_some());
    page.push_str(match is_text {
        true => "| value | meaning |\n|---|---|\n",
        false => "| table | keys | meaning |\n|---|---|---|\n",
    });
    for choice in choices {
        if let Some(value) = choice.get("const").or(choice.get("title")) {
            let _ = writeln!(page, "| `{value}` | {} |", description(choice));
        }
        for (name, table, _) in properties(choice) {
            let keys: Vec<String> = match table.get("$ref") {
                Some(_) => vec![format!("those of {}", type_words(table))],
                None => {
                    let keys = properties(table).into_iter();
                    keys.map(|(key, property, is_needed)| choice_key(key, property, is_needed)).collect()
                }
            };
            let _ = writeln!(page, "| `{name}` | {} | {} |", keys.join("<br>"), description(choice));
        }
    }
}

fn choice_key(key: &str, property: &Value, is_needed: bool) -> String {
    let default = match (is_needed, property.get("default")) {
        (false, Some(default)) => format!(", `{default}`"),
        (true, _) | (false, None) => String::new(),
    };
    format!("`{key}` ({}{default}): {}", type_words(property), description(property))
}

/// Needed keys first, as they are declared; the others by name.
fn properties(schema: &Value) -> Vec<(&str, &Value, bool)> {
    let map: Option<&Map<String, Value>> = schema.get("properties").and_then(Value::as_object);
    let needed: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let mut rows: Vec<(&str, &Value, bool)> = Vec::new();
    rows.extend(needed.iter().filter_map(|key| Some((*key, map?.get(*key)?, true))));
    let mut others: Vec<(&str, &Value, bool)> = map
        .into_iter()
        .flatten()
        .filter(|(key, _)| !needed.contains(&key.as_str()))
        .map(|(key, value)| (key.as_str(), value, false))
        .collect();
    others.sort_by_key(|(key, _, _)| *key);
    rows.extend(others);
    rows
}

fn type_words(schema: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()) {
        let name = words(name);
        return format!("[{name}](#{name})");
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("array") => format!("list of {}", schema.get("items").map_or_else(|| "values".to_owned(), type_words)),
        Some("object") => match schema.get("additionalProperties").filter(|values| values.is_object()) {
            Some(values) => format!("table of {} by name", type_words(values)),
            None => "rows".to_owned(),
        },
        Some("string") => "text".to_owned(),
        Some("integer") => "whole number".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some(other) => other.to_owned(),
        None => "any value".to_owned(),
    }
}

fn description(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

/// `OnFail` as a user would write it: `on_fail`.
fn words(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(heading: &str) -> String {
        let page = reference_markdown();
        let start = page.find(&format!("# {heading}\n")).unwrap() + 2 + heading.len();
        let end = page[start..].find("\n#").unwrap_or(page.len() - start);
        page[start..start + end].trim().to_owned()
    }

    #[test]
    fn a_type_is_a_table() {
        insta::assert_snapshot!(section("on_fail"), @r#"
        What happens to rows, or to the run, when an expectation does not hold.

        | value | meaning |
        |---|---|
        | `"warn"` | Counted, kept. |
        | `"drop"` | Counted, left out. |
        | `"quarantine"` | Counted, left out, kept in `<table>__quarantine`. |
        | `"fail"` | The run fails and the table stays as it was. |
        "#);
        insta::assert_snapshot!(section("sink"), @r#"
        How the query's rows reach the table.

        | table | keys | meaning |
        |---|---|---|
        | `append` |  | Rows are added. Of a source of files that changed, the rows of its earlier content are replaced. |
        | `overwrite` |  | The table holds exactly the query's rows. |
        | `overwrite_partitions` | `by` (list of text): Columns that the table is partitioned by. | The partitions that occur in the query's rows are replaced whole. |
        | `merge` | `keys` (list of text): Columns of the key.<br>`latest_by` (list of text): Which of several rows of a key stays: the greatest by these columns, compared one after the other, such as `["ts", "line"]`; the least by one with `desc`. A row with a null stays only if no other has a value there. Rows that agree in all of these columns must be equal. Without it, a key with several rows is an error. | The table holds the query's rows, each key once; keys whose source rows are gone are deleted. |
        | `scd2` | those of [history](#history) | The history of each key: one row for each version, with `valid_from`, `valid_to` (null while it is valid) and `is_current`. Late and corrected rows change the history that they belong to. |
        | `bitemporal` | those of [history](#history) | As `scd2`, and what was known of it when: each row also has `recorded_from` and `recorded_to` (null while it is known), and no row goes. |
        "#);
        insta::assert_snapshot!(section("source"), @r#"
        How one source is read.

        | key | type | default | meaning |
        |---|---|---|---|
        | `read` | [read](#read) | needed | `all` rows of the pinned version, or only those `changed` since the bookmark. |
        | `by` | list of text | `[]` | With `changed`: read again every row that agrees in these columns with a changed row, so that the query sees whole groups. Without it the query sees the added rows alone, and all rows once some were changed or removed. Where the query or the sink looks across these groups, a run reads all rows; `pulse check` says so, and which `by` would do. |
        | `lookback` | [lookback](#lookback) |  | With `changed`: also read this much before the first changed row, such as `{ column = "ts", days = 3 }`. The first rows of these lack the rows before them, so that a run reads all rows; use `by`. |
        "#);
        insta::assert_snapshot!(section("tests/*.toml"), @r#"
        One test of a job. Rows are TOML tables; what is not in a row is null. Values take the types of the tables' columns.

        | key | type | default | meaning |
        |---|---|---|---|
        | `description` | text | `""` | What it shows. |
        | `expect` | list of rows | `[]` | Rows that reach the table, in any order. |
        | `given` | table of list of rows by name | `{}` | Rows by the name of a table (`silver.sessions`) or of a source of files (`raw.bars`); one that is not here is empty. |
        | `interval_end` | text |  | Value of `$interval_end`. |
        | `interval_start` | text |  | Value of `$interval_start`: a day or an RFC 3339 stamp. |
        | `partial` | true or false | `false` | Rows may reach the table that `expect` does not list. |
        | `quarantine` | list of rows |  | Rows that go to quarantine, in any order; the columns that are named are compared. None: not compared. |
        "#);
    }

    #[test]
    fn every_link_has_its_heading() {
        let page = reference_markdown();
        let mut links = 0;
        for link in page.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(page.contains(&format!("### {link}\n")), "{link}");
            links += 1;
        }
        assert!(links > 10);
    }
}
