//! Files that lack columns of their contract, in every format, against a model.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray};
use proptest::prelude::*;
use pulse_core::sources::FileSource;
use serde_json::{Map, Value, json};

use super::super::layout::Layout;
use super::super::parquet::ParquetRows;
use super::super::parquet_file::read_whole;
use super::super::rows::{ReadOptions, Rows};
use super::files::parquet_bytes;
use super::support::{file, read, rows};
use crate::source::projected::Projected;

const TYPES: [&str; 3] = ["string", "bigint", "boolean"];
/// A field that no column reads.
const EXTRA: &str = "extra";

#[derive(Debug, Clone)]
struct Column {
    data_type: &'static str,
    required: bool,
    is_there: bool,
}

impl Column {
    fn json(&self, value: u8) -> Value {
        match self.data_type {
            "string" => json!(format!("s{value}")),
            "bigint" => json!(value),
            _ => json!(value.is_multiple_of(2)),
        }
    }
}

fn name(at: usize) -> String {
    format!("c{at}")
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Declared values of each row that is kept, or `None` for one that is rejected.
fn model(columns: &[Column], lines: &[Vec<Option<u8>>]) -> Vec<Option<String>> {
    let lacks = columns.iter().any(|column| column.required && !column.is_there);
    let row = |line: &Vec<Option<u8>>| {
        let values = columns.iter().zip(line).map(|(column, value)| {
            let value = value.filter(|_| column.is_there).map(|value| text(&column.json(value)));
            (!column.required || value.is_some()).then(|| value.unwrap_or_default())
        });
        let values: Option<Vec<String>> = values.collect();
        values.filter(|_| !lacks && columns.iter().any(|column| column.is_there)).map(|values| values.join("|"))
    };
    lines.iter().map(row).collect()
}

fn source(columns: &[Column], format: &Value) -> FileSource {
    let declared: Vec<Value> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| json!({ "name": name(at), "type": column.data_type, "required": column.required }))
        .collect();
    let feed = json!({ "path": "bars/{symbol}", "format": format });
    serde_json::from_value(json!({ "root": "raw", "columns": declared, "feed": { "bars": feed } })).unwrap()
}

fn there(columns: &[Column]) -> impl Iterator<Item = (usize, &Column)> {
    columns.iter().enumerate().filter(|(_, column)| column.is_there)
}

fn csv_file(columns: &[Column], lines: &[Vec<Option<u8>>]) -> String {
    let header = there(columns).map(|(at, _)| name(at)).chain([EXTRA.to_owned()]).collect::<Vec<_>>().join(",");
    let line = |line: &Vec<Option<u8>>| {
        let values = there(columns).map(|(at, column)| line[at].map(|v| text(&column.json(v))).unwrap_or_default());
        values.chain(["x".to_owned()]).collect::<Vec<_>>().join(",")
    };
    std::iter::once(header).chain(lines.iter().map(line)).collect::<Vec<_>>().join("\n")
}

fn json_file(columns: &[Column], lines: &[Vec<Option<u8>>]) -> String {
    let line = |line: &Vec<Option<u8>>| {
        let values = there(columns).map(|(at, column)| (name(at), line[at].map_or(Value::Null, |v| column.json(v))));
        Value::Object(values.chain([(EXTRA.to_owned(), json!("x"))]).collect::<Map<_, _>>()).to_string()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn parquet_file(columns: &[Column], lines: &[Vec<Option<u8>>]) -> Vec<u8> {
    let array = |at: usize, column: &Column| -> ArrayRef {
        let values = lines.iter().map(|line| line[at]);
        match column.data_type {
            "string" => Arc::new(values.map(|v| v.map(|v| text(&column.json(v)))).collect::<StringArray>()),
            "bigint" => Arc::new(values.map(|v| v.map(i64::from)).collect::<Int64Array>()),
            _ => Arc::new(values.map(|v| v.map(|v| v.is_multiple_of(2))).collect::<BooleanArray>()),
        }
    };
    let names: Vec<String> = (0..columns.len()).map(name).collect();
    let mut arrays: Vec<(&str, ArrayRef)> =
        there(columns).map(|(at, column)| (names[at].as_str(), array(at, column))).collect();
    arrays.push((EXTRA, Arc::new(StringArray::from(vec!["x"; lines.len()]))));
    parquet_bytes(arrays)
}

pub(super) fn read_parquet(source: &FileSource, bytes: Vec<u8>) -> Vec<super::support::Row> {
    let layout = Layout::new(source).unwrap();
    let fields = layout.schema.fields().iter().enumerate();
    let all: Vec<Projected> = fields.map(|(column, field)| Projected { column, name: field.name().clone() }).collect();
    let options = ReadOptions { batch_rows: 3, ..ReadOptions::default() };
    let feed = &source.feed["bars"];
    let made = Rows::new(&layout, feed, &file(), &all, &options).unwrap();
    let surveyed = Rows::surveyed(&layout, feed, &file(), &options).unwrap();
    rows(source, &read_whole(bytes.into(), &mut ParquetRows::new(made), surveyed).unwrap())
}

fn contents(rows: Vec<super::support::Row>) -> Vec<Option<String>> {
    rows.into_iter().map(|row| row.content.ok()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_column_that_a_file_lacks_is_null_unless_it_is_required(
        columns in prop::collection::vec(
            (prop::sample::select(&TYPES[..]), prop::bool::weighted(0.3), prop::bool::weighted(0.7))
                .prop_map(|(data_type, required, is_there)| Column { data_type, required, is_there }),
            1..6,
        ),
        lines in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.8, 0_u8..9), 6), 1..9),
    ) {
        let expected = model(&columns, &lines);
        let is_read = there(&columns).next().is_some() && columns.iter().all(|column| column.is_there || !column.required);

        let json = contents(read(&source(&columns, &json!({ "json_lines": {} })), json_file(&columns, &lines).as_bytes()));
        prop_assert_eq!(&json, &expected);

        // A header that cannot be read is a rejected line too.
        let csv = contents(read(&source(&columns, &json!({ "csv": {} })), csv_file(&columns, &lines).as_bytes()));
        let header = if is_read { Vec::new() } else { vec![None] };
        prop_assert_eq!(csv, [header, expected.clone()].concat());

        let parquet = contents(read_parquet(&source(&columns, &json!({ "parquet": {} })), parquet_file(&columns, &lines)));
        prop_assert_eq!(parquet, if is_read { expected } else { vec![None] });
    }
}
