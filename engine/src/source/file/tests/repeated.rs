//! Stamps of an hour that occurs twice: instants are written as a clock shows them, and must be read as what they were.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;
use pulse_core::sources::FileSource;
use serde_json::json;

use super::super::{ReadOptions, ScanOptions, scan};
use super::files::{listed, options, parquet_bytes, run};

/// When clocks were set back, and by how much, as the tz database has it.
const SET_BACK: [(Tz, &str, i64); 3] = [
    (Tz::America__New_York, "2024-11-03T06:00:00Z", 60),
    (Tz::Europe__Berlin, "2024-10-27T01:00:00Z", 60),
    (Tz::Australia__Lord_Howe, "2024-04-06T15:00:00Z", 30),
];

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// One row: its series and the instant that its stamp was made from.
type Row = (String, DateTime<Utc>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Csv,
    CsvGzip,
    JsonLines,
    Json,
    Parquet,
}

const KINDS: [Kind; 5] = [Kind::Csv, Kind::CsvGzip, Kind::JsonLines, Kind::Json, Kind::Parquet];

fn shown(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

fn source(kind: Kind, zone: Tz, ambiguous: Option<&str>) -> FileSource {
    let format = match kind {
        Kind::Csv | Kind::CsvGzip => json!({ "csv": {} }),
        Kind::JsonLines => json!({ "json_lines": {} }),
        Kind::Json => json!({ "json": {} }),
        Kind::Parquet => json!({ "parquet": {} }),
    };
    let mut feed = json!({ "path": "bars/{part}", "format": format, "time_zone": zone.name() });
    if let Some(ambiguous) = ambiguous {
        feed["ambiguous"] = json!(ambiguous);
    }
    serde_json::from_value(json!({
        "root": "raw",
        "columns": [{ "name": "symbol", "type": "string" }, { "name": "ts", "type": "timestamp", "required": true }],
        "feed": { "bars": feed },
    }))
    .unwrap()
}

fn content(kind: Kind, zone: Tz, rows: &[Row]) -> Vec<u8> {
    let object = |(symbol, at): &Row| json!({ "symbol": symbol, "ts": shown(zone, *at).to_string() });
    match kind {
        Kind::Csv => {
            let mut text = "symbol,ts\n".to_owned();
            rows.iter().for_each(|(symbol, at)| writeln!(text, "{symbol},{}", shown(zone, *at)).unwrap());
            text.into_bytes()
        }
        Kind::CsvGzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, &content(Kind::Csv, zone, rows)).unwrap();
            encoder.finish().unwrap()
        }
        Kind::JsonLines => rows.iter().map(|row| object(row).to_string() + "\n").collect::<String>().into_bytes(),
        Kind::Json => serde_json::to_vec(&rows.iter().map(object).collect::<Vec<_>>()).unwrap(),
        Kind::Parquet => {
            let symbols: StringArray = rows.iter().map(|(symbol, _)| Some(symbol.as_str())).collect();
            let stamps = rows.iter().map(|(_, at)| Some(shown(zone, *at).and_utc().timestamp_micros()));
            let stamps: TimestampMicrosecondArray = stamps.collect();
            parquet_bytes(vec![("symbol", Arc::new(symbols) as ArrayRef), ("ts", Arc::new(stamps))])
        }
    }
}

/// What is read of each row: its instant, or why it was rejected.
fn read(
    kind: Kind,
    zone: Tz,
    ambiguous: Option<&str>,
    rows: &[Row],
    batch_rows: usize,
) -> Vec<Result<DateTime<Utc>, String>> {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("bars")).unwrap();
    let name = if kind == Kind::CsvGzip { "bars/p.gz" } else { "bars/p" };
    std::fs::write(root.path().join(name), content(kind, zone, rows)).unwrap();
    let source = Arc::new(source(kind, zone, ambiguous));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let batch = runtime.block_on(async {
        let files = listed(root.path(), &source).await.files;
        let read = ReadOptions { batch_rows, ..ReadOptions::default() };
        let options = ScanOptions { read, ..options(root.path(), u64::MAX) };
        run(scan(&source, files, &options).unwrap()).await
    });
    let stamps = batch.column_by_name("ts").unwrap().as_primitive::<TimestampMicrosecondType>();
    let reasons = batch.column_by_name("_reason").unwrap().as_string::<i32>();
    let raw = batch.column_by_name("_raw").unwrap();
    let lines = batch.column_by_name("line").unwrap().as_primitive::<Int64Type>();
    assert!(lines.values().is_sorted());
    let row = |row: usize| match (reasons.is_null(row), raw.is_null(row), stamps.is_null(row)) {
        (true, true, false) => Ok(DateTime::from_timestamp_micros(stamps.value(row)).unwrap()),
        (false, false, true) => Err(reasons.value(row).to_owned()),
        other => panic!("a row is kept or rejected: {other:?}"),
    };
    (0..batch.num_rows()).map(row).collect()
}

fn file_of(zone: usize, minutes: i64, symbols: usize, by_symbol: bool, descending: bool, kept: &[bool]) -> Vec<Row> {
    let (_, set_back, _) = SET_BACK[zone];
    let mut rows: Vec<Row> = Vec::new();
    let steps = 180 / minutes;
    for step in -steps..=steps {
        let at = instant(set_back) + TimeDelta::minutes(minutes * step);
        rows.extend((0..symbols).map(|symbol| (format!("S{symbol}"), at)));
    }
    if descending {
        rows.reverse();
    }
    if by_symbol {
        rows.sort_by(|a, b| a.0.cmp(&b.0));
    }
    rows.into_iter().zip(kept.iter().cycle()).filter(|(_, kept)| **kept).map(|(row, _)| row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_clock_shows_is_read_as_what_it_was(
        kind in prop::sample::select(&KINDS[..]),
        zone in 0..SET_BACK.len(),
        minutes in prop::sample::select(vec![10_i64, 15, 30, 60]),
        (symbols, by_symbol, descending, strict) in (1_usize..4, any::<bool>(), any::<bool>(), any::<bool>()),
        gaps in prop::option::of(prop::collection::vec(prop::bool::weighted(0.6), 1..40)),
        batch_rows in 1_usize..40,
    ) {
        let (tz, set_back, back) = SET_BACK[zone];
        let rows = file_of(zone, minutes, symbols, by_symbol, descending, gaps.as_deref().unwrap_or(&[true]));
        let ambiguous = strict.then_some("by_strict_order");
        let found = read(kind, tz, ambiguous, &rows, batch_rows);
        prop_assert_eq!(found.len(), rows.len());
        for ((symbol, at), found) in rows.iter().zip(&found) {
            let since = (*at - instant(set_back)).num_minutes();
            let occurs_twice = (-back..back).contains(&since);
            match found {
                Ok(found) => prop_assert_eq!(found, at, "{} of {:?}", symbol, rows),
                Err(reason) => prop_assert!(occurs_twice && reason.contains("occurs twice in"), "{}", reason),
            }
            // Nothing is missing, so there is a step back.
            if gaps.is_none() && (minutes < back || (strict && minutes == back)) {
                prop_assert!(found.is_ok(), "{:?}", found);
            }
        }
    }
}

/// By Python: `datetime(2024, 11, 3, 1, 30, tzinfo=ZoneInfo("America/New_York"), fold=n).astimezone(UTC)`.
#[test]
fn a_feed_may_choose() {
    let zone = Tz::America__New_York;
    let rows: Vec<Row> = ["2024-11-03T04:30:00Z", "2024-11-03T05:30:00Z", "2024-11-03T07:30:00Z"]
        .map(|at| ("A".to_owned(), instant(at)))
        .into();
    let unclear = "`ts`: 2024-11-03 01:30:00 occurs twice in America/New_York";
    let by_order =
        format!("{unclear}, and the order of the file's rows does not say which is meant: see `ambiguous` of its feed");
    for (ambiguous, expected) in [
        (Some("earlier"), Ok(instant("2024-11-03T05:30:00Z"))),
        (Some("later"), Ok(instant("2024-11-03T06:30:00Z"))),
        (Some("reject"), Err(unclear.to_owned())),
        (Some("by_order"), Err(by_order.clone())),
        (None, Err(by_order)),
    ] {
        for kind in KINDS {
            let found = read(kind, zone, ambiguous, &rows, 2);
            assert_eq!(found[1], expected, "{ambiguous:?} {kind:?}");
            assert_eq!((&found[0], &found[2]), (&Ok(rows[0].1), &Ok(rows[2].1)));
        }
    }
}
