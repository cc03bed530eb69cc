//! Files that are small and unpack to much, files that are none, and files whose names nobody can read.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path as FsPath;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::Int64Type;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::physical_plan::collect_partitioned;
use datafusion::prelude::SessionContext;
use object_store::path::Path;
use pulse_core::sources::FileSource;
use serde_json::json;
use url::Url;

use super::super::{Listing, ReadOptions, ScanOptions, list, scan};
use super::files::options;
use crate::store::{Links, LocalFiles};

fn source(columns: &serde_json::Value, path: &str, format: &serde_json::Value) -> Arc<FileSource> {
    let feed = json!({ "path": path, "format": format });
    Arc::new(serde_json::from_value(json!({ "root": "raw", "columns": columns, "feed": { "f": feed } })).unwrap())
}

async fn listed(root: &FsPath, source: &FileSource, links: Links) -> Listing {
    let files = LocalFiles::of_source(root.to_owned(), links);
    list(&files, &Path::from_absolute_path(root).unwrap(), source).await.unwrap()
}

async fn batches(root: &FsPath, source: &Arc<FileSource>, links: Links, read: ReadOptions) -> Vec<RecordBatch> {
    let files = listed(root, source, links).await.files;
    let plan = scan(source, files, &ScanOptions { read, ..options(root, u64::MAX) }).unwrap();
    let context = SessionContext::new();
    // As it was listed: with the change times of files.
    context.register_object_store(&Url::parse("file:///").unwrap(), Arc::new(LocalFiles::default()));
    collect_partitioned(plan, context.task_ctx()).await.unwrap().into_iter().flatten().collect()
}

/// Each row's file, and why it is rejected.
fn reasons(batches: &[RecordBatch]) -> BTreeMap<String, Vec<Option<String>>> {
    let mut all = BTreeMap::<String, Vec<Option<String>>>::new();
    for batch in batches {
        let [files, reasons] =
            ["source_file", "_reason"].map(|name| batch.column_by_name(name).unwrap().as_string::<i32>().clone());
        for row in 0..batch.num_rows() {
            let reason = reasons.is_valid(row).then(|| reasons.value(row).to_owned());
            all.entry(files.value(row).to_owned()).or_default().push(reason);
        }
    }
    all
}

fn write(path: &FsPath, columns: Vec<(&str, ArrayRef)>, dictionary: bool) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_dictionary_enabled(dictionary)
        .set_dictionary_page_size_limit(8 << 20)
        .build();
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    for start in (0..batch.num_rows()).step_by(16) {
        writer.write(&batch.slice(start, 16.min(batch.num_rows() - start))).unwrap();
    }
    writer.close().unwrap();
}

const ROWS: usize = 96;
const TEXT_BYTES: usize = 1 << 20;

#[tokio::test]
async fn no_batch_of_a_small_parquet_file_is_large() {
    let text = "x".repeat(TEXT_BYTES);
    let texts = || Arc::new(StringArray::from_iter_values((0..ROWS).map(|_| &text))) as ArrayRef;
    let lists = || {
        let mut lists = ListBuilder::new(StringBuilder::new());
        for _ in 0..ROWS {
            lists.values().append_value(&text);
            lists.append(true);
        }
        Arc::new(lists.finish()) as ArrayRef
    };
    let numbers = || Arc::new(Int64Array::from_iter_values(0..i64::try_from(ROWS).unwrap())) as ArrayRef;
    for (dictionary, kind, texts) in
        [(true, "string", texts()), (false, "string", texts()), (true, "array<string>", lists())]
    {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("bomb.parquet");
        write(&file, vec![("n", numbers()), ("t", texts)], dictionary);
        assert!(file.metadata().unwrap().len() < 400_000, "{}", file.metadata().unwrap().len());
        let columns = json!([{ "name": "n", "type": "bigint" }, { "name": "t", "type": kind }]);
        let source = source(&columns, "*.parquet", &json!({ "parquet": {} }));
        let batches = batches(root.path(), &source, Links::Left, ReadOptions::default()).await;
        let mut all = Vec::new();
        for batch in &batches {
            let bytes = batch.num_rows() * TEXT_BYTES;
            assert!(bytes <= 24 << 20, "{kind} {dictionary}: {} rows", batch.num_rows());
            all.extend(batch.column_by_name("n").unwrap().as_primitive::<Int64Type>().values().iter().copied());
        }
        assert_eq!(all, (0..i64::try_from(ROWS).unwrap()).collect::<Vec<_>>(), "{kind} {dictionary}");
    }
}

#[tokio::test]
async fn a_row_of_parquet_with_too_long_a_text_is_rejected_alone() {
    let root = tempfile::tempdir().unwrap();
    let lengths = [10, 2_000, 900, 1_025, 0, 1_024];
    let texts = StringArray::from_iter_values(lengths.map(|length| "x".repeat(length)));
    write(&root.path().join("a.parquet"), vec![("t", Arc::new(texts) as ArrayRef)], true);
    let source = source(&json!([{ "name": "t", "type": "string" }]), "*.parquet", &json!({ "parquet": {} }));
    let read = ReadOptions { max_line_bytes: 1_024, ..ReadOptions::default() };
    let found = reasons(&batches(root.path(), &source, Links::Left, read).await);
    let rejected: Vec<bool> = found["a.parquet"].iter().map(Option::is_some).collect();
    assert_eq!(rejected, lengths.map(|length| length > 1_024));
    let reason = found["a.parquet"][1].as_deref().unwrap();
    assert!(reason.contains("2000 bytes") && reason.contains("max_line_bytes"), "{reason}");
}

/// Of the root, and of folders in it.
fn csv() -> Arc<FileSource> {
    let feed = |path: &str| json!({ "path": path, "format": { "csv": {} } });
    Arc::new(
        serde_json::from_value(json!({
            "root": "raw",
            "columns": [{ "name": "a", "type": "string" }],
            "feed": { "f": feed("*.csv"), "g": feed("*/*.csv") },
        }))
        .unwrap(),
    )
}

#[tokio::test]
async fn a_link_in_a_source_is_set_apart_unless_it_may_be_followed() {
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(elsewhere.path().join("secret.csv"), "a\nsecret\n").unwrap();
    fs::write(root.path().join("good.csv"), "a\nfine\n").unwrap();
    symlink(elsewhere.path().join("secret.csv"), root.path().join("l.csv")).unwrap();
    symlink(elsewhere.path(), root.path().join("folder")).unwrap();
    symlink(root.path(), root.path().join("loop")).unwrap();
    symlink("nowhere", root.path().join("broken.csv")).unwrap();
    let source = csv();
    let left = reasons(&batches(root.path(), &source, Links::Left, ReadOptions::default()).await);
    assert_eq!(left.keys().collect::<Vec<_>>(), ["good.csv", "l.csv"]);
    assert_eq!(left["good.csv"], [None]);
    assert_eq!(left["l.csv"].len(), 1);
    assert!(left["l.csv"][0].as_deref().unwrap().contains("follow_links"), "{left:?}");
    let warnings = listed(root.path(), &source, Links::Left).await.warnings.join("\n");
    assert!(warnings.contains("(2, `/") && warnings.contains("follow_links"), "{warnings}");

    let followed = reasons(&batches(root.path(), &source, Links::Followed, ReadOptions::default()).await);
    assert_eq!(followed.keys().collect::<Vec<_>>(), ["folder/secret.csv", "good.csv", "l.csv"]);
    assert!(followed.values().all(|rows| *rows == [None]), "{followed:?}");
    assert_eq!(listed(root.path(), &source, Links::Followed).await.warnings, Vec::<String>::new());
}

#[tokio::test]
async fn a_name_that_cannot_be_shown_sets_its_file_apart_and_no_other() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join(OsStr::from_bytes(b"d\x07"))).unwrap();
    for name in
        [&b"a\nb.csv"[..], b"tab\t.csv", b"esc\x1b[2J.csv", b"inv\xff.csv", b"d\x07/x.csv", b"good.csv", b"a\\x0ab.csv"]
    {
        fs::write(root.path().join(OsStr::from_bytes(name)), "a\nfine\n").unwrap();
    }
    let found = reasons(&batches(root.path(), &csv(), Links::Left, ReadOptions::default()).await);
    let kept: Vec<&str> = found.iter().filter(|(_, rows)| **rows == [None]).map(|(name, _)| name.as_str()).collect();
    assert_eq!(kept, ["a\\x0ab.csv", "good.csv"]);
    let apart: Vec<&str> = found.keys().map(String::as_str).filter(|name| !kept.contains(name)).collect();
    assert_eq!(apart, ["a\\x0ab.csv\\", "d\\x07/x.csv", "esc\\x1b[2J.csv", "inv\\xff.csv", "tab\\x09.csv"]);
    for name in apart {
        let [Some(reason)] = &found[name][..] else { panic!("{name}: {:?}", found[name]) };
        assert!(reason.contains("cannot be shown"), "{reason}");
    }
}
