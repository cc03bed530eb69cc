//! Compressed files with damage anywhere.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use datafusion::physical_plan::metrics::Count;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;
use pulse_core::sources::FileSource;
use serde_json::json;

use super::super::chunks::Chunks;
use super::super::compression::Compression;
use super::super::compression::tests::{ALL, compressed};
use super::super::scan;
use super::super::whole::{HELD_BYTES, Whole};
use super::files::{listed, options, run};

const ENDINGS: [&str; 6] = ["gz", "zst", "bz2", "xz", "snappy", "zip"];

fn source(format: &serde_json::Value) -> Arc<FileSource> {
    let columns = [json!({ "name": "x", "type": "bigint" }), json!({ "name": "y", "type": "string" })];
    let feed = json!({ "path": "*", "format": format });
    let source = json!({ "root": "raw", "columns": columns, "feed": { "bars": feed } });
    Arc::new(serde_json::from_value(source).unwrap())
}

/// Rows that are kept as text, and reasons.
async fn read(name: &str, bytes: &[u8], format: &serde_json::Value) -> (Vec<String>, Vec<String>) {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join(name), bytes).unwrap();
    let source = source(format);
    let files = listed(root.path(), &source).await.files;
    let batch = run(scan(&source, files, &options(root.path(), u64::MAX)).unwrap()).await;
    let reasons = batch.column_by_name("_reason").unwrap().as_string::<i32>();
    let column =
        |name: &str| arrow::compute::cast(batch.column_by_name(name).unwrap(), &arrow::datatypes::DataType::Utf8);
    let (x, y) = (column("x").unwrap(), column("y").unwrap());
    let (x, y) = (x.as_string::<i32>(), y.as_string::<i32>());
    let kept = (0..batch.num_rows()).filter(|row| reasons.is_null(*row));
    let kept = kept.map(|row| format!("{},{}", x.value(row), y.value(row))).collect();
    (kept, reasons.iter().flatten().map(str::to_owned).collect())
}

fn lines(rows: usize) -> Vec<String> {
    (0..rows).map(|at| format!("{},n{}", at * 7919 % 100_003, at % 11)).collect()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// All rows as they were, or none and one reason.
    #[test]
    fn rows_of_a_damaged_file_are_true_or_not_there(
        rows in 1_usize..4_000,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4),
        several in any::<bool>(),
    ) {
        let lines = lines(rows);
        let text = format!("x,y\n{}\n", lines.join("\n"));
        for (compression, ending) in ALL.into_iter().zip(ENDINGS) {
            let mut bytes = compressed(compression, text.as_bytes());
            let mut expected = lines.clone();
            if several && compression != Compression::Zip {
                bytes.extend(compressed(compression, b"-1,last\n"));
                expected.push("-1,last".to_owned());
            }
            for (place, bits) in &flips {
                let place = place.index(bytes.len());
                bytes[place] ^= bits;
            }
            let name = format!("a.csv.{ending}");
            let (kept, reasons) = block_on(read(&name, &bytes, &json!({ "csv": {} })));
            match reasons.as_slice() {
                [] => prop_assert!(kept == expected, "{}", ending),
                [reason] => {
                    prop_assert!(kept.is_empty(), "{}: {} rows kept beside {}", ending, kept.len(), reason);
                    prop_assert!(reason.ends_with(&format!(", so that no row of the file is kept: `{name}`")), "{}", reason);
                }
                more => prop_assert!(false, "{}: {:?}", ending, more),
            }
        }
    }
}

/// In each format, the end of a file is looked at before its first row is kept.
#[tokio::test]
async fn a_wrong_checksum_takes_all_rows_of_a_file() {
    let csv = format!("x,y\n{}\n", lines(50).join("\n"));
    let json_lines: String = (0..50).map(|at| format!("{{\"x\":{at},\"y\":\"n\"}}\n")).collect();
    let document = format!("[{}]", json_lines.trim_end().replace('\n', ","));
    let formats = [
        ("csv", json!({ "csv": {} }), csv),
        ("jsonl", json!({ "json_lines": {} }), json_lines.clone()),
        ("joined", json!({ "json_lines": { "joined": true } }), json_lines),
        ("json", json!({ "json": {} }), document),
    ];
    for (kind, format, text) in formats {
        for (compression, ending) in ALL.into_iter().zip(ENDINGS) {
            let name = format!("a.{kind}.{ending}");
            let right = compressed(compression, text.as_bytes());
            let (kept, reasons) = read(&name, &right, &format).await;
            assert_eq!((kept.len(), reasons.len()), (50, 0), "{name}: {reasons:?}");
            // Cut off behind the last row, but before the end of what the checksum is in.
            let (kept, reasons) = read(&name, &right[..right.len() - 1], &format).await;
            assert_eq!((kept.len(), reasons.len()), (0, 1), "{name}: {reasons:?}");
        }
    }
}

async fn chunks(store: &dyn ObjectStore, location: &Path) -> Chunks {
    Chunks::new(location.clone(), store.get(location).await.unwrap(), Count::new())
}

#[tokio::test]
async fn a_file_is_held_up_to_the_limit() {
    let root = tempfile::tempdir().unwrap();
    let text = format!("{}\n", lines(20_000).join("\n"));
    let file = root.path().join("a.gz");
    std::fs::File::create(&file).unwrap().write_all(&compressed(Compression::Gzip, text.as_bytes())).unwrap();
    let (store, location) = (LocalFileSystem::new(), Path::from_absolute_path(&file).unwrap());
    for (limit, is_held) in [(text.len(), true), (text.len() - 1, false), (0, false)] {
        let whole =
            Whole::with_limit(chunks(&store, &location).await, Compression::Gzip, 1 << 20, limit).await.unwrap();
        match whole {
            Whole::Held(mut held) => {
                let mut bytes = Vec::new();
                while let Some(chunk) = held.next().await.unwrap() {
                    bytes.extend_from_slice(&chunk);
                }
                assert!(is_held && bytes == text.as_bytes());
            }
            Whole::Large => assert!(!is_held),
            Whole::Damaged(reason) => panic!("{reason}"),
        }
    }
}

/// A file beyond the limit is decompressed twice, with the same rows.
#[tokio::test]
async fn a_large_file_is_read_as_a_small_one() {
    let line = "1,a text that takes some room in the file\n";
    let rows = HELD_BYTES / line.len() + 10;
    let text = format!("x,y\n{}", line.repeat(rows));
    let bytes = compressed(Compression::Zstd, text.as_bytes());
    let (kept, reasons) = read("a.csv.zst", &bytes, &json!({ "csv": {} })).await;
    assert_eq!((kept.len(), reasons.len()), (rows, 0));
    assert_eq!(kept.iter().collect::<BTreeSet<_>>().len(), 1);
    let (kept, reasons) = read("a.csv.zst", &bytes[..bytes.len() - 1], &json!({ "csv": {} })).await;
    assert_eq!((kept.len(), reasons.len()), (0, 1));
}
