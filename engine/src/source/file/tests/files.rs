//! Files on disk, through the plan.

use std::fs;
use std::io::Write;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::compute::concat_batches;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::physical_plan::{ExecutionPlan, collect, collect_partitioned};
use datafusion::prelude::SessionContext;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use pulse_core::ErrorKind;
use pulse_core::sources::FileSource;
use serde_json::{Value, json};

use super::super::{
    Fingerprint, Known, Listing, ReadOptions, ScanOptions, SourceFile, digests, has_digest, list, scan,
};
use super::support::{Row, bars, csv, kept, rejected, rows};
use crate::store::LocalFiles;

pub(super) fn options(root: &FsPath, target_partition_bytes: u64) -> ScanOptions {
    ScanOptions {
        store_url: ObjectStoreUrl::local_filesystem(),
        root: Path::from_absolute_path(root).unwrap(),
        target_partition_bytes,
        read: ReadOptions::default(),
    }
}

pub(super) async fn listed(root: &FsPath, source: &FileSource) -> Listing {
    list(&LocalFileSystem::new(), &Path::from_absolute_path(root).unwrap(), source).await.unwrap()
}

pub(super) async fn run(plan: Arc<dyn ExecutionPlan>) -> RecordBatch {
    let schema = plan.schema();
    let partitions = collect_partitioned(plan, SessionContext::new().task_ctx()).await.unwrap();
    concat_batches(&schema, partitions.iter().flatten()).unwrap()
}

async fn read_folder(root: &FsPath, source: FileSource) -> Vec<Row> {
    let source = Arc::new(source);
    let files = listed(root, &source).await.files;
    let plan = scan(&source, files, &options(root, u64::MAX)).unwrap();
    rows(&source, &[run(plan).await])
}

fn folder(name: &str, content: &[u8]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("bars")).unwrap();
    fs::write(root.path().join("bars").join(name), content).unwrap();
    root
}

fn shared_data() -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    let folder = std::env::var_os("PULSE_SHARED_DATA").map_or_else(|| PathBuf::from(default), PathBuf::from);
    fs::canonicalize(folder).unwrap()
}

fn market_feed(path: &str, stamp: &str, kind: &str) -> FileSource {
    serde_json::from_value(json!({
        "root": "raw",
        "columns": [
            { "name": "ts", "type": kind, "required": true },
            { "name": "open", "type": "double" }, { "name": "high", "type": "double" },
            { "name": "low", "type": "double" }, { "name": "close", "type": "double" },
            { "name": "volume", "type": "bigint" },
        ],
        "feed": { "bars": {
            "path": path, "format": { "csv": {} }, "rename": { "ts": stamp }, "time_zone": "America/New_York",
        } },
    }))
    .unwrap()
}

/// Rows kept and rejected per file, and the sum of all volumes.
fn tally(batch: &RecordBatch) -> (std::collections::BTreeMap<String, (usize, usize)>, i64) {
    let files = batch.column_by_name("source_file").unwrap().as_string::<i32>();
    let reasons = batch.column_by_name("_reason").unwrap();
    let volumes: &Int64Array = batch.column_by_name("volume").unwrap().as_primitive();
    let mut counts = std::collections::BTreeMap::new();
    for row in 0..batch.num_rows() {
        let count: &mut (usize, usize) = counts.entry(files.value(row).to_owned()).or_default();
        if reasons.is_null(row) { count.0 += 1 } else { count.1 += 1 }
    }
    (counts, volumes.iter().flatten().sum())
}

/// What the files hold by a plain reading of their text: records, and the sum of the sixth field, which is the volume (the
/// seventh in the file that has an index in front).
fn plain_reading(root: &FsPath, listing: &Listing) -> (Vec<(String, usize)>, i64) {
    let mut records = Vec::new();
    let mut volume = 0.0;
    for file in &listing.files {
        let text = fs::read_to_string(root.join(&file.path)).unwrap();
        let lines: Vec<&str> = text.lines().skip(1).filter(|line| !line.trim().is_empty()).collect();
        let at = if file.path.ends_with("HCAC.csv") { 6 } else { 5 };
        volume += lines.iter().filter_map(|line| line.split(',').nth(at)?.parse::<f64>().ok()).sum::<f64>();
        records.push((file.path.clone(), lines.len()));
    }
    (records, volume as i64)
}

#[tokio::test]
async fn real_files_lose_only_what_is_broken_in_them() {
    for (path, stamp, kind, files) in [
        ("intraday/av_1min_2020q4/intraday_1min_{symbol}.csv", "timestamp", "timestamp", 10),
        ("intraday/av_week_2019_02_11/{symbol}_1min.csv", "datetime", "timestamp", 12),
        ("daily/sp500_5yr/{symbol}_data.csv", "date", "date", 58),
    ] {
        let root = shared_data();
        let source = Arc::new(market_feed(path, stamp, kind));
        let listing = listed(&root, &source).await;
        assert_eq!(listing.files.len(), files, "{path}");
        let (records, volume) = plain_reading(&root, &listing);
        let plan = scan(&source, listing.files.clone(), &options(&root, 1 << 20)).unwrap();
        let (counts, volume_read) = tally(&run(plan).await);
        for (file, lines) in records {
            let (good, bad) = counts[&file];
            assert_eq!(good + bad, lines, "{file}");
            let expected_bad = usize::from(file.ends_with("intraday_1min_HCAC.csv"));
            assert_eq!(bad, expected_bad, "{file}");
        }
        assert_eq!(volume_read, volume, "{path}");
    }
}

#[tokio::test]
async fn an_api_error_in_a_file_is_one_rejected_row() {
    let root = shared_data();
    let source = Arc::new(market_feed("intraday/av_1min_2020q4/intraday_1min_{symbol}.csv", "timestamp", "timestamp"));
    let files =
        listed(&root, &source).await.files.into_iter().filter(|file| file.captures["symbol"] == "HCAC").collect();
    let batch = run(scan(&source, files, &options(&root, u64::MAX)).unwrap()).await;
    let reasons = batch.column_by_name("_reason").unwrap().as_string::<i32>();
    let raws = batch.column_by_name("_raw").unwrap().as_string::<i32>();
    let lines: &Int64Array = batch.column_by_name("line").unwrap().as_primitive();
    let bad: Vec<usize> = (0..batch.num_rows()).filter(|row| reasons.is_valid(*row)).collect();
    let [row] = bad.as_slice() else { panic!("{bad:?}") };
    assert_eq!(reasons.value(*row), "`timestamp` is empty");
    assert!(raws.value(*row).contains("Invalid API call"));
    assert_eq!((lines.value(*row), batch.num_rows()), (12_067, 12_066));
}

#[tokio::test]
async fn a_hundred_megabyte_line_costs_itself() {
    let mut text = b"time,price,volume,note\n2020-12-21 09:31:00,20.5,737,x\n".to_vec();
    text.resize(text.len() + 100_000_000, b'x');
    text.extend_from_slice(b"\n2020-12-21 09:31:00,20.5,737,x\n");
    let root = folder("AAPL", &text);
    let good = "2020-12-21T14:30:00Z|20.5|737|x";
    let raw = "x".repeat(64 << 10);
    let expected = [kept(2, good), rejected(3, "the line is longer than 16777216 bytes", &raw), kept(4, good)];
    assert!(read_folder(root.path(), bars(&csv())).await == expected);
}

#[tokio::test]
async fn a_file_that_changed_or_vanished_is_an_error() {
    let root = folder("AAPL", b"time,price,volume,note\n");
    let source = Arc::new(bars(&csv()));
    let files = listed(root.path(), &source).await.files;
    let outcome = async || {
        let plan = scan(&source, files.clone(), &options(root.path(), 1)).unwrap();
        let error = collect(plan, SessionContext::new().task_ctx()).await.unwrap_err();
        let datafusion::error::DataFusionError::External(error) = error.find_root() else { panic!("{error}") };
        error.downcast_ref::<pulse_core::Error>().map(|error| (error.kind(), error.message().to_owned())).unwrap()
    };
    fs::write(root.path().join("bars/AAPL"), "time,price,volume,note\n\n").unwrap();
    let (kind, message) = outcome().await;
    assert_eq!(kind, ErrorKind::Conflict);
    assert_eq!(message, "file `bars/AAPL` has changed since it was listed: run the job again");
    fs::remove_file(root.path().join("bars/AAPL")).unwrap();
    assert_eq!(outcome().await.0, ErrorKind::Conflict);
}

/// A lake may lie below the root of a source.
#[tokio::test]
async fn the_ledger_of_a_lake_has_no_files_of_a_source() {
    let root = tempfile::tempdir().unwrap();
    for path in ["_pulse/runs/1/trigger.json", "lake/_pulse/runs/1/trigger.json", "lake/my_pulse/1/trigger.json"] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "{}").unwrap();
    }
    let feed = |path: &str| json!({ "path": path, "format": { "json_lines": {} } });
    let feeds = json!({ "a": feed("{a}/{b}/{c}/trigger.json"), "b": feed("lake/{a}/{b}/{c}/trigger.json"),
                        "c": feed("_pulse/runs/{a}/trigger.json") });
    let source: FileSource = serde_json::from_value(json!({ "root": "raw", "columns": [], "feed": feeds })).unwrap();
    let found: Vec<String> = listed(root.path(), &source).await.files.into_iter().map(|file| file.path).collect();
    assert_eq!(found, ["lake/my_pulse/1/trigger.json"]);
}

#[tokio::test]
async fn files_are_listed_per_feed() {
    let root = tempfile::tempdir().unwrap();
    for path in
        ["a/A_1min.csv", "a/B C_1min.csv.gz", "a/D%2FE_1min.csv", "a/A_daily.csv", "a/notes.txt", "a/b/F_1min.csv"]
    {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    let feed = |path: &str| json!({ "path": path, "format": { "csv": {} } });
    let source = |feeds: Value| -> FileSource {
        serde_json::from_value(json!({ "root": "raw", "columns": [], "feed": feeds })).unwrap()
    };
    let all = source(json!({
        "minutes": feed("a/{symbol}_1min.csv"), "days": feed("a/{symbol}_daily.csv"), "any": feed("a/*.csv"),
        "gone": feed("nowhere/{symbol}.csv"),
    }));
    let listing = listed(root.path(), &all).await;
    let found: Vec<(&str, &str, Option<&str>)> = listing
        .files
        .iter()
        .map(|file| (file.feed.as_str(), file.path.as_str(), file.captures.get("symbol").map(String::as_str)))
        .collect();
    assert_eq!(
        found,
        [
            ("days", "a/A_daily.csv", Some("A")),
            ("minutes", "a/A_1min.csv", Some("A")),
            ("minutes", "a/B C_1min.csv.gz", Some("B C")),
            ("minutes", "a/D%2FE_1min.csv", Some("D/E")),
        ]
    );
    assert_eq!(listing.warnings.len(), 2);
    let taken = "what matches `a/*.csv` belongs to feeds whose `path` says more, such as `a/A_daily.csv` to `days`";
    assert_eq!(listing.warnings[0], format!("feed `any` has no files: {taken}"));
    assert!(listing.warnings[1].starts_with("feed `gone` has no files: nothing below"), "{:?}", listing.warnings);
    assert!(listing.files.iter().all(|file| file.fingerprint.bookmark(0) >= 0 && file.size == 1));
    let twice = source(json!({ "one": feed("a/{symbol}_1min.csv"), "two": feed("a/{other}_1min.csv") }));
    let root_path = Path::from_absolute_path(root.path()).unwrap();
    let error = list(&LocalFileSystem::new(), &root_path, &twice).await.unwrap_err();
    assert!(error.message().contains("belongs to the feeds `one` and `two`"), "{error}");
}

#[tokio::test]
async fn odd_names_are_read_as_they_are_listed() {
    let text = b"time,price,volume,note\n2020-12-21 09:31:00,20.5,737,x\n";
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("bars")).unwrap();
    for name in ["BRK%2FB", "BRK-B", "B R K", "é", "100%"] {
        fs::write(root.path().join("bars").join(name), text).unwrap();
    }
    let source = Arc::new(bars(&csv()));
    let files = listed(root.path(), &source).await.files;
    let batch = run(scan(&source, files, &options(root.path(), u64::MAX)).unwrap()).await;
    let symbols: Vec<Option<&str>> = batch.column_by_name("symbol").unwrap().as_string::<i32>().iter().collect();
    assert_eq!(symbols, [Some("100%"), Some("B R K"), Some("BRK-B"), Some("BRK/B"), Some("é")]);
}

/// As [`listed`], through the store that products use.
async fn listed_with_change_times(root: &FsPath, source: &FileSource) -> Vec<SourceFile> {
    list(&LocalFiles::default(), &Path::from_absolute_path(root).unwrap(), source).await.unwrap().files
}

#[tokio::test]
async fn a_bookmark_follows_content_whatever_the_times() {
    let root = folder("AAPL", b"one");
    let (source, path) = (bars(&csv()), root.path().join("bars/AAPL"));
    let below = Path::from_absolute_path(root.path()).unwrap();
    let look = async || {
        let file = listed_with_change_times(root.path(), &source).await.remove(0);
        (file.fingerprint, digests(&LocalFiles::default(), &below, vec![file]).await.unwrap()["bars/AAPL"])
    };
    let stamp = |path: &FsPath| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000)).unwrap();
    };
    // Change times have the kernel's resolution, a few milliseconds.
    let wait = || std::thread::sleep(std::time::Duration::from_millis(30));
    stamp(&path);
    let (fingerprint, digest) = look().await;
    let bookmark = fingerprint.bookmark(digest);
    assert_eq!(look().await.0.compared_with(bookmark), Known::Same);
    let assert_seen = async |same: bool, what: &str| {
        let (fingerprint, digest) = look().await;
        assert_eq!(fingerprint.compared_with(bookmark), Known::Unsure, "{what}");
        assert_eq!(has_digest(bookmark, digest), same, "{what}");
    };
    wait();
    fs::write(&path, b"two").unwrap();
    stamp(&path);
    assert_seen(false, "same size and modification time").await;
    fs::write(&path, b"one").unwrap();
    assert_seen(true, "written again").await;
    // Another file in its place, as `rsync --times` puts it.
    for (content, same) in [(b"six", false), (b"one", true)] {
        fs::write(root.path().join("new"), content).unwrap();
        stamp(&root.path().join("new"));
        wait();
        fs::rename(root.path().join("new"), &path).unwrap();
        assert_seen(same, "renamed").await;
    }
    fs::hard_link(&path, root.path().join("another")).unwrap();
    assert_seen(true, "linked").await;
    fs::write(&path, b"longer").unwrap();
    assert_seen(false, "longer").await;
}

#[tokio::test]
async fn values_of_null_partitions_are_null() {
    let text = b"time,price,volume,note\n2020-12-21 09:31:00,20.5,737,x\n";
    let root = tempfile::tempdir().unwrap();
    for name in ["MSFT", "__HIVE_DEFAULT_PARTITION__", "AAPL"] {
        fs::create_dir_all(root.path().join("bars")).unwrap();
        fs::write(root.path().join("bars").join(name), text).unwrap();
    }
    let source = Arc::new(bars(&csv()));
    let files = listed(root.path(), &source).await.files;
    for bytes in [1, u64::MAX] {
        let batch = run(scan(&source, files.clone(), &options(root.path(), bytes)).unwrap()).await;
        let symbols: Vec<Option<&str>> = batch.column_by_name("symbol").unwrap().as_string::<i32>().iter().collect();
        assert_eq!(symbols, [Some("AAPL"), Some("MSFT"), None]);
    }
}

pub(in super::super) fn parquet_bytes(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn parquet_bars() -> Vec<u8> {
    // 2020-12-21 09:31 by a clock without a zone.
    let clock = 1_608_543_060_000_000_000;
    parquet_bytes(vec![
        ("ignored", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
        ("time", Arc::new(TimestampNanosecondArray::from(vec![Some(clock), None, Some(clock), Some(clock)]))),
        ("volume", Arc::new(Float64Array::from(vec![Some(737.0), Some(1.0), Some(1.5), None]))),
        ("price", Arc::new(StringArray::from(vec!["20.5", "1", "1", ""]))),
        ("note", Arc::new(StringArray::from(vec![Some("x"), None, None, None]))),
    ])
}

#[tokio::test]
async fn parquet_columns_are_held_to_their_types() {
    let source = || bars(&json!({ "parquet": {} }));
    let bytes = parquet_bars();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&bytes).unwrap();
    let gzip = gzip.finish().unwrap();
    let expected = [
        kept(1, "2020-12-21T14:30:00Z|20.5|737|x"),
        rejected(2, "`time` is empty", r#"{"volume":1.0,"price":"1"}"#),
        rejected(
            3,
            "`volume` is not a whole number: `1.5`",
            r#"{"time":"2020-12-21T09:31:00","volume":1.5,"price":"1"}"#,
        ),
        kept(4, "2020-12-21T14:30:00Z|||"),
    ];
    assert_eq!(read_folder(folder("AAPL", &bytes).path(), source()).await, expected);
    let zstd = zstd::stream::encode_all(&bytes[..], 1).unwrap();
    for (name, bytes) in [("AAPL.gz", &gzip), ("AAPL.zst", &zstd)] {
        let root = folder(name, bytes);
        let renamed = Arc::new(source());
        let files = listed(root.path(), &renamed).await.files;
        let batch = run(scan(&renamed, files, &options(root.path(), 1)).unwrap()).await;
        assert_eq!(batch.num_rows(), expected.len());
        assert_eq!(batch.column_by_name("_reason").unwrap().null_count(), 2);
    }
}

#[tokio::test]
async fn a_file_that_is_not_parquet_is_one_rejected_row() {
    let source = || bars(&json!({ "parquet": {} }));
    let whole = parquet_bars();
    let lacks = parquet_bytes(vec![("price", Arc::new(Int64Array::from(vec![1])))]);
    let alike = parquet_bytes(vec![
        ("time", Arc::new(Int64Array::from(vec![1]))),
        ("Price", Arc::new(Int64Array::from(vec![1]))),
    ]);
    for (bytes, reason) in [
        (b"time,price\n".to_vec(), "not readable as Parquet"),
        (whole[..whole.len() - 20].to_vec(), "not readable as Parquet"),
        (lacks, "the file has no column `time`"),
        (alike, "the file has no column `price` but `Price`"),
    ] {
        let rows = read_folder(folder("AAPL", &bytes).path(), source()).await;
        assert_eq!((rows.len(), rows[0].line), (1, 1));
        assert!(rows[0].content.as_ref().unwrap_err().0.starts_with(reason), "{rows:?}");
    }
}

pub(super) fn symbol_file(symbol: &str, size: u64) -> SourceFile {
    SourceFile {
        feed: "bars".to_owned(),
        path: format!("bars/{symbol}"),
        size,
        fingerprint: Fingerprint::Content(7),
        captures: [("symbol".to_owned(), symbol.to_owned())].into(),
        fault: None,
    }
}
