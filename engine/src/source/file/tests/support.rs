//! Bytes in, rows out as text.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::util::display::array_value_to_string;
use pulse_core::sources::{FileSource, Format};
use serde_json::{Value, json};

use super::super::compression::Compression;
use super::super::decoder::Decoder;
use super::super::fingerprint::Fingerprint;
use super::super::layout::Layout;
use super::super::listing::SourceFile;
use super::super::rows::{ReadOptions, Rows};
use crate::source::projected::Projected;

/// One row: `Ok` with the declared values, `|` between them and nothing for a null; `Err` with reason and raw text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Row {
    pub(super) line: i64,
    pub(in super::super) content: Result<String, (String, String)>,
}

pub(super) fn kept(line: i64, values: &str) -> Row {
    Row { line, content: Ok(values.to_owned()) }
}

pub(super) fn rejected(line: i64, reason: &str, raw: &str) -> Row {
    Row { line, content: Err((reason.to_owned(), raw.to_owned())) }
}

/// Stamps and numbers as a vendor sends them, at bar ends in New York, and a note.
pub(super) fn bars(format: &Value) -> FileSource {
    serde_json::from_value(json!({
        "root": "raw",
        "columns": [
            { "name": "ts", "type": "timestamp", "required": true },
            { "name": "price", "type": "double" },
            { "name": "volume", "type": "bigint" },
            { "name": "note", "type": "string" },
        ],
        "feed": { "bars": {
            "path": "bars/{symbol}",
            "format": format,
            "rename": { "ts": "time" },
            "time_zone": "America/New_York",
            "bar": { "column": "ts", "label": "end", "seconds": 60 },
        } },
    }))
    .unwrap()
}

/// A source of one column `x`.
pub(super) fn one_column(data_type: &str, format: &Value) -> FileSource {
    serde_json::from_value(json!({
        "root": "raw",
        "columns": [{ "name": "x", "type": data_type }, { "name": "y", "type": "string" }],
        "feed": { "bars": { "path": "bars/{symbol}", "format": format, "time_zone": "America/New_York" } },
    }))
    .unwrap()
}

/// A source with these columns, as `name type` or `name type required`.
pub(super) fn columns(columns: &[&str], format: &Value) -> FileSource {
    let column = |text: &&str| {
        let words: Vec<&str> = text.split(' ').collect();
        json!({ "name": words[0], "type": words[1], "required": words.len() > 2 })
    };
    let columns: Vec<Value> = columns.iter().map(column).collect();
    let feed = json!({ "path": "bars/{symbol}", "format": format });
    serde_json::from_value(json!({ "root": "raw", "columns": columns, "feed": { "bars": feed } })).unwrap()
}

pub(super) fn csv() -> Value {
    json!({ "csv": {} })
}

pub(super) fn file() -> SourceFile {
    SourceFile {
        feed: "bars".to_owned(),
        path: "bars/AAPL".to_owned(),
        size: 0,
        fingerprint: Fingerprint::Content(7),
        captures: [("symbol".to_owned(), "AAPL".to_owned())].into(),
        fault: None,
    }
}

/// Batches of bytes that arrive in pieces of `piece`.
pub(super) fn batches(
    source: &FileSource,
    bytes: &[u8],
    compression: Compression,
    options: &ReadOptions,
    piece: usize,
) -> Vec<RecordBatch> {
    let layout = Layout::new(source).unwrap();
    let fields = layout.schema.fields().iter().enumerate();
    let all: Vec<Projected> = fields.map(|(column, field)| Projected { column, name: field.name().clone() }).collect();
    let feed = source.feed.get("bars").unwrap();
    let rows = Rows::new(&layout, feed, &file(), &all, options).unwrap();
    let format: &Format = &feed.format;
    let mut decoder = Decoder::new(rows, format, compression).unwrap().unwrap();
    let mut batches = Vec::new();
    for piece in bytes.chunks(piece) {
        let mut rest = piece;
        while !rest.is_empty() {
            let used = decoder.feed(rest);
            rest = &rest[used..];
            if decoder.rows().is_full() {
                batches.extend(decoder.rows().take().unwrap());
            }
        }
    }
    while !decoder.finish() {
        batches.extend(decoder.rows().take().unwrap());
    }
    batches.extend(decoder.rows().take().unwrap());
    batches
}

pub(in super::super) fn read(source: &FileSource, bytes: &[u8]) -> Vec<Row> {
    read_with(source, bytes, &ReadOptions::default(), usize::MAX)
}

pub(super) fn read_with(source: &FileSource, bytes: &[u8], options: &ReadOptions, piece: usize) -> Vec<Row> {
    rows(source, &batches(source, bytes, Compression::None, options, piece))
}

pub(super) fn rows(source: &FileSource, batches: &[RecordBatch]) -> Vec<Row> {
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| row_of(source, batch, row))).collect()
}

fn row_of(source: &FileSource, batch: &RecordBatch, row: usize) -> Row {
    let text = |name: &str| {
        let column = batch.column_by_name(name).unwrap();
        (!column.is_null(row)).then(|| array_value_to_string(column, row).unwrap())
    };
    assert_eq!(text("feed").as_deref(), Some("bars"));
    assert_eq!(text("symbol").as_deref(), Some("AAPL"));
    assert_eq!(text("source_file").as_deref(), Some("bars/AAPL"));
    let line = batch.column_by_name("line").unwrap().as_primitive::<Int64Type>().value(row);
    let values: Vec<Option<String>> = source.columns.iter().map(|column| text(&column.name)).collect();
    let content = match (text("_reason"), text("_raw")) {
        (None, None) => Ok(values.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join("|")),
        (Some(reason), Some(raw)) => {
            assert!(values.iter().all(Option::is_none), "a rejected row has values: {values:?}");
            Err((reason, raw))
        }
        other => panic!("a row is kept or rejected: {other:?}"),
    };
    Row { line, content }
}
