//! Unknown fields, from files through runs.

use super::types::world;
use super::*;
use crate::job::{Report, committed};

const SOURCES: &str = r#"
[files.ticks]
root = "$raw"
columns = [{ name = "k", type = "bigint", required = true }, { name = "px", type = "double" }]
[files.ticks.feed.lines]
path = "{part}.jsonl"
format = { json_lines = {} }
rename = { px = "price" }
unknown = "UNKNOWN"
"#;
const MANIFEST: &str = "grain = [\"source_file\", \"line\"]\nmax_rejected = 1.0\n[sink.append]\n";

async fn reported(world: &mut World) -> Report {
    world.runs += 1;
    let id = format!("run-{}", world.runs);
    let (asked, now) = (Asked::default(), world.time());
    let options = RunOptions { run_id: &id, asked: &asked, now, begun: None, progress: &|_| (), entering: &|_| Ok(()) };
    let job = world.bench.project.job(&"bronze.ticks".parse().unwrap()).unwrap();
    run(&world.bench, job, options).await.unwrap()
}

fn files(unknown: &str, query: &'static str, files: &[(&str, &str)]) -> World {
    let world = world(&SOURCES.replace("UNKNOWN", unknown), &[("bronze.ticks", MANIFEST.to_owned(), query)]);
    for (name, text) in files {
        std::fs::write(world.folder.path().join("raw").join(name), text).unwrap();
    }
    world
}

/// Two files that end in notes, in several partitions, behind a filter and with an order.
const FILES: [(&str, &str); 2] = [
    ("a.jsonl", "{\"k\":1,\"x\":1,\"y\":{}}\n{\"k\":2}\n{\"k\":\"no\"}\n"),
    ("b.jsonl", "{\"k\":3,\"price\":2.5,\"x\":\"t\"}\n{\"k\":4,\"price\":0.5}\n"),
];

#[tokio::test]
async fn ignored_and_missing_fields_are_noted_once_a_run() {
    let query = "select k, px, source_file, line from raw.ticks where k <> 4";
    let mut world = files("ignore", query, &FILES);
    let report = reported(&mut world).await;
    let expected = [
        "feed `lines`: the fields `x`, `y` of `a.jsonl` and of other files are ignored, because no column is read from there",
        "feed `lines`: no record of `a.jsonl` has the field `price` of the column `px`, which is null there",
    ];
    assert_eq!(report.notes, expected);
    // Notes are not counted as rows; the row that the condition leaves out was read.
    assert_eq!((report.counts.rows_in, report.counts.rows_out, report.counts.rows_quarantined), (5, 3, 1));
    assert_eq!(report.rejected.len(), 1);
    let rows = ["1 - a.jsonl 1", "2 - a.jsonl 2", "3 2.5 b.jsonl 1"];
    assert_eq!(world.rows(&"bronze.ticks".parse().unwrap(), None).await, rows);
    // Found again by a driver that resumes the run.
    let found =
        committed(&world.bench, world.bench.project.job(&"bronze.ticks".parse().unwrap()).unwrap(), "run-1", now());
    assert_eq!(found.await.unwrap().unwrap().notes, expected);
    let report = reported(&mut world).await;
    assert!(report.notes.is_empty(), "nothing was read: {:?}", report.notes);
}

#[tokio::test]
async fn unknown_fields_are_a_column_or_reject_their_record() {
    let query = "select k, px, _rescued as rest, source_file, line from raw.ticks";
    let mut world = files("rescue", query, &FILES);
    let report = reported(&mut world).await;
    assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
    let rows =
        ["1 - {\"x\":1,\"y\":{}} a.jsonl 1", "2 - - a.jsonl 2", "3 2.5 {\"x\":\"t\"} b.jsonl 1", "4 0.5 - b.jsonl 2"];
    assert_eq!(world.rows(&"bronze.ticks".parse().unwrap(), None).await, rows);

    // The only name beginning with `_` that is a column of the table.
    let mut world = files("rescue", "select * from raw.ticks", &FILES);
    assert_eq!(reported(&mut world).await.notes.len(), 1);
    let rows = world.rows(&"bronze.ticks".parse().unwrap(), None).await;
    assert_eq!(rows[0], "1 - a lines a.jsonl 1 {\"x\":1,\"y\":{}}");

    let mut world = files("rescue", "select k, source_file, line from raw.ticks", &FILES);
    let notes = reported(&mut world).await.notes;
    assert!(notes[0].contains("`x`, `y`"), "a column that nobody reads keeps nothing: {notes:?}");

    let mut world = files("reject", "select k, source_file, line from raw.ticks", &FILES);
    let report = reported(&mut world).await;
    assert_eq!((report.counts.rows_out, report.counts.rows_quarantined), (2, 3));
    let rejected: Vec<&str> = report.rejected.iter().map(|rejected| rejected.reason.as_str()).collect();
    assert_eq!(rejected[0], "the record has the field `x`, which no column is read from");
}
