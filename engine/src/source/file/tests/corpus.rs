//! Malformed and odd files of every format. What is expected of them is what Python's csv, json, fastavro and pyarrow make of their bytes
//! (`scripts/verify/corpus.py`, which writes `data/corpus.json`): each record is a row, kept with its values or rejected with its text.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use pulse_core::sources::FileSource;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::compression::Compression;
use super::super::rows::ReadOptions;
use super::super::scan;
use super::files::{listed, options, run};
use super::support::{Row, batches, rows};

#[derive(Deserialize)]
pub(super) struct Corpus {
    pub(super) contracts: BTreeMap<String, Value>,
    pub(super) cases: Vec<Case>,
}

#[derive(Deserialize)]
pub(super) struct Case {
    pub(super) contract: String,
    name: String,
    /// How the file is compressed.
    pub(super) ending: String,
    pub(super) bytes: String,
    /// Whether a row is kept, and its values or its text; a text that is not there is not compared.
    rows: Vec<(bool, Option<String>)>,
}

pub(super) fn corpus() -> Corpus {
    serde_json::from_str(include_str!("data/corpus.json")).unwrap()
}

pub(super) fn source(contract: &Value) -> FileSource {
    let mut feed = contract["feed"].clone();
    feed["path"] = json!("bars/{symbol}");
    serde_json::from_value(json!({ "root": "raw", "columns": contract["columns"], "feed": { "bars": feed } })).unwrap()
}

async fn read_file(source: &FileSource, bytes: &[u8]) -> Vec<Row> {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("bars")).unwrap();
    std::fs::write(root.path().join("bars/AAPL"), bytes).unwrap();
    let source = Arc::new(source.clone());
    let plan = scan(&source, listed(root.path(), &source).await.files, &options(root.path(), u64::MAX)).unwrap();
    rows(&source, &[run(plan).await])
}

/// What was read that is not expected.
fn difference(case: &Case, found: &[Row]) -> Option<String> {
    let is_expected = |(row, (kept, text)): (&Row, &(bool, Option<String>))| match &row.content {
        Ok(values) => *kept && text.as_ref() == Some(values),
        Err((_, raw)) => !kept && text.as_ref().is_none_or(|text| text == raw),
    };
    let is_whole = found.len() == case.rows.len() && found.iter().zip(&case.rows).all(is_expected);
    let is_in_order = found.is_sorted_by(|a, b| a.line < b.line);
    (!is_whole || !is_in_order).then(|| {
        let found: Vec<_> = found.iter().map(|row| (row.line, &row.content)).collect();
        format!("{}, {}:\n  expected {:?}\n  found {found:?}", case.contract, case.name, case.rows)
    })
}

/// Rows of a file, which are the same however its bytes arrive.
fn read_in_pieces(source: &FileSource, bytes: &[u8], compression: Compression, case: &Case) -> Vec<Row> {
    let read = |piece, batch_rows| {
        let options = ReadOptions { batch_rows, ..ReadOptions::default() };
        rows(source, &batches(source, bytes, compression, &options, piece))
    };
    let whole = read(usize::MAX, 8192);
    for (piece, batch_rows) in [(1, 1), (2, 8192), (3, 2), (7, 1), (64, 3)] {
        assert_eq!(read(piece, batch_rows), whole, "{}, {} in pieces of {piece}", case.contract, case.name);
    }
    whole
}

#[tokio::test]
async fn each_record_of_the_corpus_is_kept_or_rejected_as_an_independent_reader_says() {
    let Corpus { contracts, cases } = corpus();
    assert!(cases.len() >= 240, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let source = source(&contracts[&case.contract]);
        let bytes = base64::engine::general_purpose::STANDARD.decode(&case.bytes).unwrap();
        let compression = Compression::of(&format!("AAPL{}", case.ending));
        if case.contract != "parquet" {
            wrong.extend(difference(case, &read_in_pieces(&source, &bytes, compression, case)));
        }
        if compression == Compression::None {
            wrong.extend(difference(case, &read_file(&source, &bytes).await));
        }
    }
    assert!(wrong.is_empty(), "{} of {} files are read otherwise:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
