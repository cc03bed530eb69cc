//! What was planted is counted again from the text, by a parser that shares no code with the generator.

mod recount;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use pulse_core::ErrorKind;
use serde_json::Value;
use url::Url;

use super::write::{Destination, write_to};
use super::{Defect, Feed, FileRecord, GenerateOptions, Hours, Plan, Planted, calendar, symbol, write};
use recount::recount;

fn options() -> GenerateOptions {
    GenerateOptions {
        symbols: 12,
        sessions: 12,
        seed: 3,
        defects: 0.01,
        hours: Hours::Extended,
        feeds: BTreeSet::from(Feed::ALL),
    }
}

fn generate(options: GenerateOptions) -> BTreeMap<String, (String, FileRecord)> {
    let plan = Plan::new(options).unwrap();
    let file = |file| {
        let mut text = Vec::new();
        let record = plan.write_file(&file, &mut text).unwrap();
        (file.path(), (String::from_utf8(text).unwrap(), record))
    };
    plan.files().map(file).collect()
}

fn texts(options: GenerateOptions) -> BTreeMap<String, String> {
    generate(options).into_iter().map(|(path, (text, _))| (path, text)).collect()
}

#[test]
fn equal_options_give_equal_bytes_and_another_seed_gives_others() {
    let first = texts(options());
    assert_eq!(first, texts(options()));
    let other = texts(GenerateOptions { seed: 4, ..options() });
    assert_eq!(first.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    assert!(first.iter().all(|(path, text)| *text != other[path]));
}

#[test]
fn a_file_does_not_depend_on_other_symbols_and_more_sessions_add_older_rows() {
    let large = texts(GenerateOptions { symbols: 30, ..options() });
    for (path, text) in texts(options()) {
        assert_eq!(text, large[&path], "{path}");
    }
    let clean = GenerateOptions { defects: 0.0, ..options() };
    let long = texts(GenerateOptions { sessions: 40, ..clean.clone() });
    for (path, text) in texts(clean) {
        assert!(long[&path].starts_with(&text) || path.starts_with("daily"), "{path}");
    }
}

#[test]
fn defects_leave_all_other_rows_as_they_were() {
    let clean = texts(GenerateOptions { defects: 0.0, ..options() });
    for (path, (text, record)) in generate(options()) {
        if record.planted.contains_key(&Defect::BrokenHeader) {
            continue;
        }
        let spoiled: u64 = record.planted.values().sum();
        let rows: BTreeSet<&str> = text.lines().collect();
        let changed = clean[&path].lines().filter(|row| !rows.contains(row)).count() as u64;
        assert!(changed <= spoiled, "{path}: {changed} rows changed with {spoiled} defects");
    }
}

#[test]
fn counts_of_planted_defects_are_those_that_a_parser_finds() {
    let mut all = Planted::new();
    for rate in [0.0, 0.01, 0.3, 1.0] {
        for hours in [Hours::Regular, Hours::Extended] {
            for (path, (text, record)) in generate(GenerateOptions { defects: rate, hours, ..options() }) {
                let found = recount(&path, &text);
                assert_eq!(found.planted, record.planted, "{path} at {rate}");
                assert_eq!(found.rows, record.rows, "{path} at {rate}");
                assert_eq!(found.regular, record.regular, "{path} at {rate}");
                assert_eq!(text.len() as u64, record.bytes, "{path} at {rate}");
                for (defect, count) in found.planted {
                    *all.entry(defect).or_default() += count;
                }
            }
        }
    }
    assert_eq!(all.len(), 14, "every kind occurs: {all:?}");
}

#[test]
fn the_rate_is_kept() {
    let files = generate(GenerateOptions { symbols: 5, sessions: 100, defects: 0.02, ..options() });
    let of_bars = |(_, record): &(String, FileRecord)| -> (u64, u64) { (record.planted.values().sum(), record.rows) };
    let (planted, rows) = files.values().map(of_bars).fold((0, 0), |sum, file| (sum.0 + file.0, sum.1 + file.1));
    let rate = planted as f64 / rows as f64;
    assert!((0.018..0.024).contains(&rate), "{rate}");
}

#[test]
fn without_defects_every_minute_of_every_session_has_one_good_bar() {
    let regular = GenerateOptions { defects: 0.0, hours: Hours::Regular, sessions: 60, ..options() };
    for (path, (text, record)) in generate(regular) {
        let found = recount(&path, &text);
        assert!(found.planted.is_empty() && record.planted.is_empty(), "{path}");
        // 60 sessions with the early closings of 2020-11-27 and 2020-12-24, a week, 300 days.
        let expected = match record.feed {
            Feed::Intraday => 58 * 390 + 2 * 210,
            Feed::Week => 5 * 390,
            Feed::Daily => 300,
        };
        assert_eq!((record.rows, found.regular), (expected, expected), "{path}");
        let mut stamps: Vec<&str> = text.lines().skip(1).filter_map(|row| row.split(',').next()).collect();
        let written = stamps.clone();
        stamps.sort_unstable();
        if record.feed != Feed::Daily {
            assert!(stamps[0].ends_with(" 09:31:00") && stamps[stamps.len() - 1].ends_with(" 16:00:00"), "{path}");
            stamps.reverse();
        }
        assert_eq!(written, stamps, "{path}");
    }
}

#[test]
fn extended_hours_add_bars_around_the_session() {
    let clean = GenerateOptions { defects: 0.0, ..options() };
    let files = generate(clean);
    let (text, record) = &files["intraday/av_1min_2020q4/intraday_1min_Q.csv"];
    assert_eq!(record.regular, 11 * 390 + 210);
    assert!(record.rows > record.regular);
    let after_early_close = |row: &&str| row.starts_with("2020-12-24 ") && &row[11..16] > "13:00";
    for row in text.lines().filter(after_early_close) {
        assert!(&row[11..16] == "13:01" || ("16:01"..="17:00").contains(&&row[11..16]), "{row}");
    }
}

#[test]
fn sessions_are_as_many_as_the_exchange_held() {
    // 253 in 2020 and five in January 2021.
    assert_eq!(calendar::intraday().len(), 258);
    assert_eq!(calendar::week().len(), 5);
    // 251 in 2017; of 2018 the 23 weekdays of January without two holidays, and five days of February.
    let daily = calendar::daily();
    let of = |year: &str| daily.iter().filter(|session| session.date.to_string().starts_with(year)).count();
    assert_eq!((daily.len(), of("2017"), of("2018")), (300, 251, 26));
    let dates: BTreeSet<String> = calendar::intraday().iter().map(|session| session.date.to_string()).collect();
    for closed in ["2020-11-26", "2020-12-25", "2021-01-01", "2020-07-03", "2020-04-10"] {
        assert!(!dates.contains(closed), "{closed}");
    }
    let early: Vec<String> = calendar::intraday()
        .iter()
        .filter(|session| session.closes_early())
        .map(|session| session.date.to_string())
        .collect();
    assert_eq!(early, ["2020-11-27", "2020-12-24"]);
}

#[test]
fn symbols_are_unique_and_one_has_a_dash() {
    let symbols: BTreeSet<String> = (0..symbol::MOST).map(symbol::symbol).collect();
    assert_eq!(symbols.len(), symbol::MOST as usize);
    let first: Vec<String> = (0..5_000).map(symbol::symbol).collect();
    let letters = |symbol: &String| symbol.bytes().all(|byte| byte.is_ascii_uppercase()) && symbol.len() <= 4;
    let others: Vec<&String> = first.iter().filter(|symbol| !letters(symbol)).collect();
    assert_eq!(others, ["DK-B"]);
    let lengths: BTreeSet<usize> = first.iter().map(String::len).collect();
    assert_eq!(lengths, BTreeSet::from([1, 2, 3, 4]));
}

#[test]
fn options_out_of_range_are_refused_with_the_range() {
    let refused = |options| {
        let error = Plan::new(options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    };
    assert_eq!(
        refused(GenerateOptions { sessions: 259, ..options() }),
        "259 sessions are not in the calendar: ask for 1 to 258, which go back to 2020-01-02 from 2021-01-08"
    );
    assert!(refused(GenerateOptions { sessions: 0, ..options() }).starts_with("0 sessions"));
    assert!(refused(GenerateOptions { symbols: 0, ..options() }).starts_with("0 symbols"));
    assert!(refused(GenerateOptions { symbols: 35_153, ..options() }).ends_with("1 to 35152"));
    assert!(refused(GenerateOptions { defects: 1.5, ..options() }).starts_with("1.5 is not a share"));
    assert!(refused(GenerateOptions { defects: f64::NAN, ..options() }).starts_with("NaN is not a share"));
    assert!(refused(GenerateOptions { feeds: BTreeSet::new(), ..options() }).starts_with("no feed"));
}

#[tokio::test]
async fn a_folder_and_a_store_get_the_same_files_and_a_record_that_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    let url = Url::from_file_path(folder.path()).unwrap();
    let mut heard = Vec::new();
    let summary = write(&url, options(), |file| heard.push(file.path.clone())).await.unwrap();
    let store = Arc::new(InMemory::new());
    let destination = Destination::Store { store: Arc::clone(&store) as Arc<dyn ObjectStore>, prefix: "a/b".into() };
    write_to(destination, options(), |_| {}).await.unwrap();

    let on_disk = contents(folder.path());
    for (path, bytes) in &on_disk {
        let object = store.get(&ObjectPath::from(format!("a/b/{path}"))).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes, &object, "{path}");
    }
    let mut expected = texts(options());
    assert_eq!(heard.iter().collect::<BTreeSet<_>>(), expected.keys().collect());
    let record: Value = serde_json::from_slice(&on_disk["defects.json"]).unwrap();
    expected.insert("defects.json".to_owned(), String::new());
    assert_eq!(on_disk.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());

    let mut rows = 0;
    for feed in ["intraday", "week", "daily"] {
        let entry = &record["feeds"][feed];
        let of = |name: &str| entry["expected"][name].as_u64().unwrap();
        let mut found = recount::Found::default();
        let folder = format!("{}/", feed.parse::<Feed>().unwrap().folder());
        for (path, text) in expected.iter().filter(|(path, _)| path.starts_with(&folder)) {
            found.add(recount(path, text));
        }
        assert_eq!(entry["rows"].as_u64().unwrap(), found.rows);
        assert_eq!(of("bronze_rejected"), found.rejected, "{feed}");
        assert_eq!(of("bronze_kept"), found.rows - found.rejected, "{feed}");
        assert_eq!(of("silver_quarantined"), found.quarantined, "{feed}");
        assert_eq!(of("silver_dropped"), found.repeated, "{feed}");
        assert_eq!(of("silver_kept"), found.rows - found.rejected - found.quarantined - found.repeated, "{feed}");
        assert_eq!(of("silver_regular"), found.regular, "{feed}");
        rows += found.rows;
    }
    assert_eq!((summary.files, summary.rows), (heard.len() as u64, rows));
}

#[tokio::test]
async fn an_output_that_holds_other_files_is_refused_and_an_equal_one_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let url = Url::from_file_path(folder.path()).unwrap();
    write(&url, options(), |_| {}).await.unwrap();
    write(&url, options(), |_| {}).await.unwrap();
    let error = write(&url, GenerateOptions { symbols: 11, ..options() }, |_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("name an empty folder"), "{error}");

    let occupied = folder.path().join("defects.json");
    let error = write(&Url::from_file_path(occupied).unwrap(), options(), |_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = write(&Url::parse("gopher://host/x").unwrap(), options(), |_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// The command is in the sample's README.md.
#[tokio::test]
async fn the_shipped_sample_is_what_its_command_writes() {
    let shipped = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../sample"));
    let folder = tempfile::tempdir().unwrap();
    let sample = GenerateOptions { symbols: 10, sessions: 10, seed: 7, defects: 0.002, ..options() };
    write(&Url::from_file_path(folder.path()).unwrap(), sample, |_| {}).await.unwrap();
    let mut shipped = contents(&shipped);
    assert!(shipped.remove("README.md").is_some());
    let made = contents(folder.path());
    assert_eq!(shipped.keys().collect::<Vec<_>>(), made.keys().collect::<Vec<_>>());
    for (path, bytes) in &made {
        assert!(shipped[path] == *bytes, "{path} differs");
    }
    assert!(made.values().map(Vec::len).sum::<usize>() < 2_500_000);
}

/// Files below a folder by their path there.
fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}
