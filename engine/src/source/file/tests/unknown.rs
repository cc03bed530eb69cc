//! Fields that no column is read from, in every format, against a model.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use proptest::prelude::*;
use pulse_core::notes::{FileNote, Notes};
use pulse_core::sources::FileSource;
use serde_json::{Map, Value, json};

use super::super::compression::Compression;
use super::super::layout::{Layout, NOTE};
use super::super::parquet::ParquetRows;
use super::super::parquet_file::read_whole;
use super::super::rows::{ReadOptions, Rows};
use super::files::parquet_bytes;
use super::support::{batches, file};
use crate::source::projected::Projected;

/// What a reader made of one file: objects of kept rows, reasons of others, and its note.
#[derive(Debug, Default, PartialEq)]
struct Found {
    kept: Vec<Option<Value>>,
    reasons: BTreeSet<String>,
    ignored: Vec<String>,
    absent: Vec<(String, String)>,
}

fn found(batches: &[RecordBatch]) -> Found {
    let mut found = Found::default();
    for batch in batches {
        let reasons = batch.column_by_name("_reason").unwrap().as_string::<i32>();
        let rescued = batch.column_by_name("_rescued").map(|column| column.as_string::<i32>());
        for row in 0..batch.num_rows() {
            let object = rescued.filter(|rescued| rescued.is_valid(row)).map(|rescued| rescued.value(row));
            if reasons.is_null(row) {
                found.kept.push(object.map(|object| serde_json::from_str(object).unwrap()));
                continue;
            }
            assert_eq!(object, None);
            let reason = reasons.value(row);
            match reason.strip_prefix(NOTE) {
                None => drop(found.reasons.insert(reason.to_owned())),
                Some(note) => {
                    let note: FileNote = serde_json::from_str(note).unwrap();
                    assert_eq!((note.feed.as_str(), note.file.as_str()), ("bars", "bars/AAPL"));
                    assert!(found.ignored.is_empty() && found.absent.is_empty(), "one note a file");
                    (found.ignored, found.absent) = (note.ignored, note.absent);
                }
            }
        }
    }
    found.ignored.sort();
    found
}

const OPTIONS: ReadOptions = ReadOptions {
    batch_rows: 3,
    max_line_bytes: 1 << 20,
    max_raw_bytes: 1 << 10,
    max_object_bytes: 1 << 20,
    notes: true,
};

fn read(source: &FileSource, bytes: &[u8], piece: usize) -> Found {
    found(&batches(source, bytes, Compression::None, &OPTIONS, piece))
}

fn read_parquet(source: &FileSource, bytes: Vec<u8>) -> Found {
    let layout = Layout::new(source).unwrap();
    let fields = layout.schema.fields().iter().enumerate();
    let all: Vec<Projected> = fields.map(|(column, field)| Projected { column, name: field.name().clone() }).collect();
    let feed = &source.feed["bars"];
    let made = Rows::new(&layout, feed, &file(), &all, &OPTIONS).unwrap();
    let surveyed = Rows::surveyed(&layout, feed, &file(), &OPTIONS).unwrap();
    found(&read_whole(bytes.into(), &mut ParquetRows::new(made), surveyed).unwrap())
}

/// Columns are texts, unless a type follows their name.
fn source(columns: &[&str], format: &Value, unknown: &str, rename: &Value) -> FileSource {
    let column = |text: &&str| {
        let (name, data_type) = text.split_once(' ').unwrap_or((text, "string"));
        json!({ "name": name, "type": data_type })
    };
    let columns: Vec<Value> = columns.iter().map(column).collect();
    let feed = json!({ "path": "bars/{symbol}", "format": format, "unknown": unknown, "rename": rename });
    let source: FileSource =
        serde_json::from_value(json!({ "root": "raw", "columns": columns, "feed": { "bars": feed } })).unwrap();
    // As it travels to executors.
    serde_json::from_str(&serde_json::to_string(&source).unwrap()).unwrap()
}

fn object(pairs: &[(&str, Value)]) -> Value {
    Value::Object(pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<Map<_, _>>())
}

const NAMES: [&str; 6] = ["a", "b", "c", "x\"y", "z z", "ü"];
const TEXTS: [&str; 6] = ["1", "", "q\"uote", "ü", " blank ", "0.10"];

/// Names of a file's fields, and its rows.
type File = (Vec<&'static str>, Vec<Vec<&'static str>>);

fn files() -> impl Strategy<Value = File> {
    let names = prop::sample::subsequence(NAMES.to_vec(), 1..=NAMES.len()).prop_shuffle();
    names.prop_flat_map(|names| {
        let row = prop::collection::vec(prop::sample::select(&TEXTS[..]), names.len());
        (Just(names), prop::collection::vec(row, 1..7))
    })
}

fn csv_of((names, rows): &File) -> String {
    let quoted = |text: &&str| format!("\"{}\"", text.replace('"', "\"\""));
    let line = |fields: &[&str]| fields.iter().map(quoted).collect::<Vec<_>>().join(",");
    std::iter::once(line(names)).chain(rows.iter().map(|row| line(row))).collect::<Vec<_>>().join("\n")
}

fn json_of((names, rows): &File) -> String {
    let line = |row: &Vec<&str>| {
        let pairs: Vec<(&str, Value)> = names.iter().copied().zip(row.iter().map(|text| json!(text))).collect();
        object(&pairs).to_string()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn parquet_of((names, rows): &File) -> Vec<u8> {
    let column = |at: usize| Arc::new(rows.iter().map(|row| Some(row[at])).collect::<StringArray>()) as ArrayRef;
    parquet_bytes(names.iter().enumerate().map(|(at, name)| (*name, column(at))).collect())
}

/// The rows that each of the three policies yields for a file, if the contract declares `declared`.
fn model((names, rows): &File, declared: &[&str], unknown: &str) -> Found {
    let strays: Vec<&str> = names.iter().copied().filter(|name| !declared.contains(name)).collect();
    let mut found = Found::default();
    let rescued = |row: &Vec<&str>| {
        let pairs = names.iter().copied().zip(row.iter().map(|text| json!(text)));
        let pairs: Vec<(&str, Value)> = pairs.filter(|(name, _)| strays.contains(name)).collect();
        (unknown == "rescue" && !pairs.is_empty()).then(|| object(&pairs))
    };
    found.kept = rows.iter().map(rescued).collect();
    let absent = declared.iter().filter(|name| !names.contains(name));
    found.absent = absent.map(|name| ((*name).to_owned(), (*name).to_owned())).collect();
    if unknown == "ignore" {
        found.ignored = strays.iter().map(|name| (*name).to_owned()).collect();
        found.ignored.sort();
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_format_follows_one_rule(
        file in files(),
        declared in prop::sample::subsequence(vec!["a", "b", "c"], 1..=3),
        unknown in prop::sample::select(vec!["ignore", "reject", "rescue"]),
        piece in 1_usize..40,
    ) {
        prop_assume!(declared.iter().any(|name| file.0.contains(name)));
        let of = |format: Value| source(&declared, &format, unknown, &json!({}));
        let results = [
            ("csv", read(&of(json!({ "csv": {} })), csv_of(&file).as_bytes(), piece)),
            ("json_lines", read(&of(json!({ "json_lines": {} })), json_of(&file).as_bytes(), piece)),
            ("joined", read(&of(json!({ "json_lines": { "joined": true } })), json_of(&file).as_bytes(), piece)),
            ("json", read(&of(json!({ "json": {} })), format!("[{}]", json_of(&file).replace('\n', ",")).as_bytes(), piece)),
            ("parquet", read_parquet(&of(json!({ "parquet": {} })), parquet_of(&file))),
        ];
        let expected = model(&file, &declared, unknown);
        let has_strays = file.0.iter().any(|name| !declared.contains(name));
        for (format, found) in results {
            if unknown == "reject" && has_strays {
                prop_assert!(found.kept.is_empty(), "{} {:?}", format, found);
                prop_assert!(!found.reasons.is_empty());
                for reason in &found.reasons {
                    prop_assert!(reason.contains(", which no column is read from"), "{}", reason);
                    prop_assert!(file.0.iter().any(|name| !declared.contains(name) && reason.contains(&format!("`{name}`"))), "{}", reason);
                }
            } else {
                prop_assert_eq!(&found, &expected, "{}", format);
            }
        }
    }
}

#[test]
fn a_field_of_json_is_known_if_a_pointer_leads_into_it() {
    let rename = json!({ "px": "/p/q", "sz": "s", "no": "/p/none", "far": "/none/at/all" });
    let lines = "{\"p\":{\"q\":1,\"r\":2},\"s\":3,\"t\":[4, 5],\"u\":1.50}\n{\"s\":6}\n{\"p\":null,\"s\":7,\"t\":\"\\u00fc\"}\n";
    let json_lines = json!({ "json_lines": {} });
    let columns = ["px bigint", "sz bigint", "no", "far"];
    let ignored = read(&source(&columns, &json_lines, "ignore", &rename), lines.as_bytes(), 7);
    assert_eq!(ignored.ignored, ["t", "u"]);
    let absent = [("no", "/p/none"), ("far", "/none/at/all")];
    let absent = absent.map(|(column, field)| (column.to_owned(), field.to_owned()));
    assert_eq!(ignored.absent, absent);
    let rejected = read(&source(&columns, &json_lines, "reject", &rename), lines.as_bytes(), 7);
    assert_eq!(rejected.kept, [None]);
    assert_eq!(
        rejected.reasons,
        BTreeSet::from(["the record has the field `t`, which no column is read from".to_owned()])
    );
    // As it stands in the file, to the last digit and escape.
    let source = source(&columns, &json_lines, "rescue", &rename);
    let batches = batches(&source, lines.as_bytes(), Compression::None, &OPTIONS, 7);
    let rescued = batches[0].column_by_name("_rescued").unwrap().as_string::<i32>();
    let rescued: Vec<Option<&str>> = rescued.iter().take(3).collect();
    assert_eq!(rescued, [Some("{\"t\":[4, 5],\"u\":1.50}"), None, Some("{\"t\":\"\\u00fc\"}")]);
    let twice = read(&source, b"{\"s\":1,\"t\":1,\"t\":2}\n{\"s\":1,\"t\":1}", 7);
    assert_eq!(twice.reasons, BTreeSet::from(["`t` is there twice".to_owned()]));
    assert_eq!(twice.kept, [Some(json!({ "t": 1 }))]);
}

#[test]
fn values_beside_the_records_are_no_missing_fields() {
    let format =
        json!({ "json": { "records": "/bars", "key": "id", "outer": { "sym": "/ticker", "none": "/nothing" } } });
    let source = source(&["id", "sym", "none", "v bigint"], &format, "ignore", &json!({}));
    let found = read(&source, b"{\"ticker\":\"A\",\"more\":1,\"bars\":{\"k1\":{\"v\":1},\"k2\":{\"v\":2,\"w\":3}}}", 9);
    assert_eq!((found.kept.len(), found.ignored), (2, vec!["w".to_owned()]));
    assert_eq!(found.absent, [("none".to_owned(), "/nothing".to_owned())]);
}

#[test]
fn arrays_of_columns_have_unknown_fields_too() {
    let format = json!({ "json": { "layout": "columns" } });
    let text = b"{\"t\":[1,2],\"o\":[3,4],\"extra\":[5,6]}";
    let ignored = read(&source(&["t bigint", "o bigint", "c"], &format, "ignore", &json!({})), text, 5);
    assert_eq!((ignored.kept.len(), ignored.ignored), (2, vec!["extra".to_owned()]));
    assert_eq!(ignored.absent, [("c".to_owned(), "c".to_owned())]);
    let rejected = read(&source(&["t bigint", "o bigint"], &format, "reject", &json!({})), text, 5);
    assert_eq!(
        rejected.reasons,
        BTreeSet::from(["the record has the field `extra`, which no column is read from".to_owned()])
    );
}

/// Values of Parquet that JSON has no form for are texts, and no other loses a bit.
#[test]
fn rescued_values_of_parquet_are_exact() {
    let doubles = Float64Array::from(vec![Some(0.1), Some(f64::NAN), Some(f64::NEG_INFINITY), None]);
    let bytes = parquet_bytes(vec![
        ("a", Arc::new(StringArray::from(vec!["1", "2", "3", "4"]))),
        ("d", Arc::new(doubles)),
        ("i", Arc::new(Int64Array::from(vec![i64::MAX, i64::MIN, 0, 1]))),
    ]);
    let found = read_parquet(&source(&["a"], &json!({ "parquet": {} }), "rescue", &json!({})), bytes);
    let expected = [
        json!({ "d": 0.1, "i": i64::MAX }),
        json!({ "d": "NaN", "i": i64::MIN }),
        json!({ "d": "-Infinity", "i": 0 }),
        json!({ "d": null, "i": 1 }),
    ];
    assert_eq!(found.kept, expected.map(Some));
}

#[test]
fn a_record_of_avro_that_a_pointer_leads_into_is_known() {
    const FILE: &[u8] = include_bytes!("data/trades_null.avro");
    let rename = json!({ "ticker": "symbol", "code": "/venue/code", "gone": "/venue/gone" });
    let of = |unknown: &str| source(&["ticker", "code", "gone"], &json!({ "avro": {} }), unknown, &rename);
    let ignored = read(&of("ignore"), FILE, 100);
    assert!(
        ignored.ignored.contains(&"px".to_owned()) && !ignored.ignored.contains(&"venue".to_owned()),
        "{ignored:?}"
    );
    assert_eq!(ignored.absent, [("gone".to_owned(), "/venue/gone".to_owned())]);
    let rescued = read(&of("rescue"), FILE, 100);
    let names = |object: &Value| object.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(rescued.kept.len(), ignored.kept.len());
    for object in &rescued.kept {
        assert_eq!(names(object.as_ref().unwrap()), ignored.ignored.iter().cloned().collect());
    }
    let rejected = read(&of("reject"), FILE, 100);
    assert!(rejected.kept.is_empty() && rejected.reasons.len() == 1, "{rejected:?}");
}

#[test]
fn notes_are_made_only_if_asked_for() {
    let source = source(&["a bigint"], &json!({ "json_lines": {} }), "ignore", &json!({}));
    let options = ReadOptions { notes: false, ..OPTIONS };
    let found = found(&batches(&source, b"{\"a\":1,\"b\":2}", Compression::None, &options, 3));
    assert_eq!(found, Found { kept: vec![None], ..Found::default() });
    assert!(Notes::default().is_empty());
}
