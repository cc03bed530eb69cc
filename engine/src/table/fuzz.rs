//! Logs that somebody else has written, or damaged: a snapshot, or an error that names the table.

use std::sync::Arc;

use url::Url;

use super::Lake;
use crate::fuzz::{fuzz, mutated};
use crate::store::Stores;

/// Entries of logs, an action a line.
const CORPUS: &str = include_str!("fuzz/log.jsonl");

const WORDS: &[&str] = &[
    "null",
    "true",
    "-1",
    "0",
    "9223372036854775808",
    "1e400",
    "\"\"",
    "[]",
    "{}",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\n",
    "\\u0000",
    "\\ud800",
    "%2e%2e/",
    "../",
    "/etc/passwd",
    "file:///",
    "\"path\":",
    "\"size\":",
    "\"stats\":",
    "\"remove\":",
    "\"add\":",
    "\"txn\":",
    "\"type\":\"struct\"",
    "\"variant\"",
    "\"decimal(99,1)\"",
    "\"long\"",
    "\"minReaderVersion\":3",
    "\"readerFeatures\":[\"deletionVectors\"]",
    "\"delta.columnMapping.mode\":\"id\"",
    "\"deletionVector\":{\"storageType\":\"u\"}",
    "\"partitionValues\":{\"d\":\"x\"}",
    "\"numRecords\":4611686018427387904",
];

#[test]
fn delta_logs() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let kept = tempfile::tempdir().unwrap();
    let log = kept.path().join("s/t/_delta_log");
    std::fs::create_dir_all(&log).unwrap();
    let lake = Lake::new(Url::from_directory_path(kept.path()).unwrap(), Arc::new(Stores::default()));
    let table = lake.table(&"s.t".parse().unwrap()).unwrap();
    let mut read = 0;
    fuzz("delta logs", |random, tried| {
        let entries: Vec<&str> = CORPUS.split("\n\n").collect();
        for (version, entry) in entries.iter().enumerate() {
            let text = match random.below(2) {
                0 => mutated(random, entry.as_bytes(), CORPUS.as_bytes(), WORDS),
                _ => entry.as_bytes().to_vec(),
            };
            *tried += &String::from_utf8_lossy(&text);
            std::fs::write(log.join(format!("{version:020}.json")), text).unwrap();
        }
        let since = chrono::Utc::now() + chrono::TimeDelta::hours(1);
        match runtime.block_on(table.snapshot(None)) {
            Ok(snapshot) => read += usize::from(snapshot.is_some()),
            Err(error) => assert!(error.to_string().contains("s.t"), "{error}"),
        }
        let _ = runtime.block_on(table.unneeded(since));
    });
    assert!(read > 5, "{read} logs were read");
}
