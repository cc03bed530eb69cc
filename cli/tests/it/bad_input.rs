//! Files that are not what they should be: a wrong row costs itself, a wrong file costs itself, nothing stops the rest.

use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::support::Scene;

const FOLDER: &str = "intraday/av_1min_2020q4";
const HEAD: &str = "timestamp,open,high,low,close,volume\n";
const GOOD: &str = "2020-12-28 12:00:00,10.0,11.0,9.0,10.5,100\n";

fn file(symbol: &str) -> String {
    format!("{FOLDER}/intraday_1min_{symbol}.csv")
}

/// Runs bronze over a wrong file beside a good one, which must not suffer.
fn read(content: impl AsRef<[u8]>) -> Scene {
    let scene = Scene::shipped_without_input();
    scene.put(&file("BAD"), content);
    scene.put(&file("FINE"), format!("{HEAD}{GOOD}"));
    scene.pulse(&["run", "bronze.bars_1m"]).ok();
    assert_eq!(scene.count("bronze.bars_1m where symbol = 'FINE'"), 1);
    scene
}

fn kept(scene: &Scene) -> Vec<String> {
    scene.rows("bronze.bars_1m where symbol = 'BAD'")
}

/// File, line, raw text and reason of every rejected line.
#[track_caller]
fn assert_rejected(scene: &Scene, rows: &[(u64, &str, &str)]) {
    let sql = "select source_file, line, _raw, _reason from bronze.bars_1m__quarantine order by line";
    let rejected = scene.pulse(&["--output", "json", "query", sql]).ok().json();
    assert_eq!(rejected.len(), rows.len(), "{rejected:?}");
    for (row, (line, raw, reason)) in rejected.iter().zip(rows) {
        assert_eq!(row["source_file"], file("BAD"));
        assert_eq!(row["line"], *line);
        assert_eq!(row["_raw"], *raw);
        assert!(row["_reason"].as_str().unwrap().contains(reason), "{row}");
    }
}

/// One wrong line between two good ones.
#[track_caller]
fn assert_only_line_lost(line: &str, reason: &str) {
    let scene = read(format!("{HEAD}{GOOD}{line}\n{}", GOOD.replace("12:00", "12:01")));
    assert_eq!(kept(&scene).len(), 2);
    assert_rejected(&scene, &[(3, line, reason)]);
}

#[test]
fn files_without_rows_yield_none() {
    for content in ["", HEAD, HEAD.trim_end()] {
        let scene = read(content);
        assert!(kept(&scene).is_empty());
        assert!(!scene.versions().contains_key("bronze.bars_1m__quarantine"));
    }
}

#[test]
fn marks_and_line_ends_are_no_content() {
    let plain = kept(&read(format!("{HEAD}{GOOD}")));
    assert_eq!(plain.len(), 1);
    assert!(plain[0].starts_with("2020-12-28T16:59:00Z,10.0,11.0,9.0,10.5,100,"), "{}", plain[0]);
    let crlf = format!("{HEAD}{GOOD}").replace('\n', "\r\n");
    let mark = format!("\u{feff}{HEAD}{GOOD}");
    let no_end = format!("{HEAD}{}", GOOD.trim_end());
    for content in [crlf, mark, no_end] {
        assert_eq!(kept(&read(content)), plain);
    }
}

#[test]
fn a_wrong_value_costs_its_line() {
    assert_only_line_lost("2020-12-28 12:02:00,1.0,NaN,9.0,10.5,100", "`high` is not a finite number");
    assert_only_line_lost("2020-12-28 12:02:00,1.0,1.0,Infinity,10.5,100", "`low` is not a finite number");
    assert_only_line_lost("2020-12-28 12:02:00,1.0,1.0,1.0,1.0,1e19", "`volume` does not fit in 64 bits");
    assert_only_line_lost("2020-03-08 02:30:00,1.0,1.0,1.0,1.0,1", "does not exist in America/New_York");
    assert_only_line_lost("2020-13-28 12:02:00,1.0,1.0,1.0,1.0,1", "`timestamp` is not a timestamp");
    assert_only_line_lost("2020-12-28 12:02:00,1.0,1.0,1.0,1.0", "expected 6 fields, found 5");
    assert_only_line_lost("2020-12-28 12:02:00,1.0,1.0,1.0,1.0,1,1", "expected 6 fields, found 7");
}

#[test]
fn bytes_that_are_no_text_cost_their_line() {
    let bad = |bytes: &[u8]| [HEAD.as_bytes(), b"2020-12-28 12:02:00,", bytes, b",1,1,1,1\n", GOOD.as_bytes()].concat();
    let not_text = read(bad(b"\xff\xfe"));
    assert_eq!(kept(&not_text).len(), 1);
    assert_rejected(&not_text, &[(2, "2020-12-28 12:02:00,\u{fffd}\u{fffd},1,1,1,1", "not UTF-8")]);
    let nul = read(bad(b"1\x000"));
    assert_eq!(kept(&nul).len(), 1);
    assert_rejected(&nul, &[(2, "2020-12-28 12:02:00,1\x000,1,1,1,1", "NUL byte")]);
}

#[test]
fn a_wrong_header_costs_its_file() {
    let semicolons = format!("{HEAD}{GOOD}").replace(',', ";");
    let scene = read(&semicolons);
    assert!(kept(&scene).is_empty());
    let lines: Vec<&str> = semicolons.lines().collect();
    let reason = "the header has no field `timestamp`";
    assert_rejected(&scene, &[(1, lines[0], reason), (2, lines[1], reason)]);

    let twice = "timestamp,open,high,low,close,close,volume\n2020-12-28 12:00:00,1,1,1,1,1,1\n";
    let scene = read(twice);
    assert!(kept(&scene).is_empty());
    let lines: Vec<&str> = twice.lines().collect();
    let reason = "the header has the field `close` twice";
    assert_rejected(&scene, &[(1, lines[0], reason), (2, lines[1], reason)]);
}

#[test]
fn a_line_of_a_hundred_megabytes_is_one_rejected_row() {
    let scene = Scene::shipped_without_input();
    scene.put(&file("FINE"), format!("{HEAD}{GOOD}"));
    let mut long = std::io::BufWriter::new(std::fs::File::create(scene.raw.join(file("BAD"))).unwrap());
    long.write_all(HEAD.as_bytes()).unwrap();
    let chunk = [b'7'; 1 << 20];
    for _ in 0..100 {
        long.write_all(&chunk).unwrap();
    }
    long.write_all(b"\n").unwrap();
    long.write_all(GOOD.as_bytes()).unwrap();
    drop(long);
    scene.pulse(&["run", "bronze.bars_1m"]).ok();
    assert_eq!(kept(&scene).len(), 1, "the line after it is read");
    let rejected = "bronze.bars_1m__quarantine where line = 2";
    assert_eq!(scene.count(&format!("{rejected} and _reason like '%long%'")), 1);
    let raw: usize = scene.value(&format!("select length(_raw) from {rejected}")).parse().unwrap();
    assert!((1..=70_000).contains(&raw), "the raw text is cut at raw_text_bytes: {raw}");
}

/// Days before the calendar and after it are no sessions; prices below zero are no prices.
#[test]
fn what_only_silver_can_judge_is_quarantined_there() {
    let scene = Scene::shipped_without_input();
    let days = ["1900-01-02", "9999-12-31"].map(|day| GOOD.replace("2020-12-28", day)).concat();
    let below = "2020-12-28 12:01:00,-10.0,11.0,-12.0,10.5,100\n";
    scene.put(&file("BAD"), format!("{HEAD}{GOOD}{days}{below}"));
    scene.run_all();
    assert_eq!(scene.count("bronze.bars_1m"), 4);
    assert_eq!(scene.count("silver.bars_1m"), 1);
    let quarantined = "silver.bars_1m__quarantine where _reason =";
    for day in ["1900-01-02", "9999-12-31"] {
        let row = format!("{quarantined} 'the exchange has a session that day' and session_date = '{day}'");
        assert_eq!(scene.count(&row), 1, "{day}");
    }
    assert_eq!(scene.count(&format!("{quarantined} 'prices are above zero'")), 1);
    assert_eq!(scene.count("gold.indicators_1m"), 1);
}

#[test]
fn symbols_are_what_the_file_names_say() {
    let scene = Scene::shipped_without_input();
    for symbol in ["BRK-B", "A B", "A%2FB", "O'x", "a=b"] {
        scene.put(&file(symbol), format!("{HEAD}{GOOD}"));
    }
    scene.run_all();
    let symbols: Vec<String> =
        scene.rows("gold.indicators_1m").iter().map(|row| row.split(',').next().unwrap().to_owned()).collect();
    assert_eq!(symbols, ["A B", "A/B", "BRK-B", "O'x", "a=b"]);
    scene.run_all().says(&["nothing was committed"]);
}

#[test]
fn a_missing_folder_is_a_warning() {
    let scene = Scene::shipped_without_input();
    scene.put(&file("FINE"), format!("{HEAD}{GOOD}"));
    scene.run_all().says(&[
        &format!(
            "warning: bronze.bars_1m: raw.bars_1m: feed `av_week_2019_02_11` has no files: nothing below `{}` matches",
            scene.raw.display()
        ),
        "warning: bronze.bars_1d: raw.bars_1d: feed `sp500_5yr` has no files",
    ]);
    assert_eq!(scene.count("gold.indicators_1m"), 1);
    assert_eq!(scene.count("gold.trends"), 0);
}

#[test]
fn a_root_that_does_not_exist_is_refused_before_anything_runs() {
    let mut scene = Scene::shipped();
    scene.run_all();
    let tables = scene.versions();
    let there = scene.raw.clone();
    scene.raw_at(scene.path("tpyo"));
    let named = format!("folder `{}` does not exist; its root is `$raw`; correct `--var raw`", scene.raw.display());
    for command in ["plan", "run"] {
        scene.pulse(&[command, "--all"]).fails(2, &["raw.bars", &named]);
        // A job that reads no files is none of theirs.
        scene.pulse(&[command, "gold.trends"]).ok();
    }
    assert_eq!(scene.versions(), tables);
    scene.raw_at(there.join("intraday/av_1min_2020q4/intraday_1min_WAM.csv"));
    scene.pulse(&["run", "--all"]).fails(2, &["is not a folder"]);
    scene.raw_at(there);
    scene.run_all().says(&["nothing was committed"]);
}

/// A folder with a file's name and a link to nowhere are no files.
#[test]
fn what_is_no_file_is_not_read() {
    let scene = Scene::shipped_without_input();
    scene.put(&file("FINE"), format!("{HEAD}{GOOD}"));
    std::fs::create_dir(scene.raw.join(file("FOLDER"))).unwrap();
    symlink(scene.path("nowhere"), scene.raw.join(file("LINK"))).unwrap();
    scene.pulse(&["run", "bronze.bars_1m"]).ok();
    assert_eq!(scene.count("bronze.bars_1m"), 1);
}

/// Whether rows are missing because a file may not be read is not for a run to decide: it fails, and says which file.
#[test]
fn a_file_that_may_not_be_read_fails_its_table_and_no_other() {
    let scene = Scene::shipped_for_anybody();
    let closed = scene.raw.join("intraday/av_1min_2020q4/intraday_1min_WAM.csv");
    let allow = |mode| std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(mode)).unwrap();
    allow(0o000);
    let answer = scene.start(scene.unprivileged(&["run", "--all"])).wait();
    let named = format!("cannot read `{}`: permission denied; grant read access to it", closed.display());
    answer.fails(1, &["failed     bronze.bars_1m", &named, "skipped    silver.bars_1m", "succeeded  gold.trends"]);
    assert!(!scene.versions().contains_key("bronze.bars_1m"));
    allow(0o644);
    scene.start(scene.unprivileged(&["run", "--all"])).wait().ok();
    assert!(scene.count("bronze.bars_1m where symbol = 'WAM'") > 0);
}

#[test]
fn a_column_that_is_declared_or_selected_twice_is_refused() {
    let mut scene = Scene::empty();
    let column = "{ name = \"k\", type = \"bigint\" }";
    let feed = "[files.lines.feed.all]\npath = \"*.csv\"\nformat = { csv = {} }\n";
    scene.sources(&format!("[files.lines]\nroot = \"$raw\"\ncolumns = [{column}, {column}]\n{feed}"));
    scene.pulse(&["run", "--all"]).fails(2, &["sources.toml:3", "the column `k` is here twice", "^"]);
    scene.sources(&format!("[files.lines]\nroot = \"$raw\"\ncolumns = [{column}]\n{feed}"));
    scene.job("bronze.lines", "grain = [\"k\"]\n[sink.append]\n", "select k, line as k from raw.lines");
    scene.pulse(&["run", "--all"]).fails(2, &["bronze/lines/query.sql:1", "^"]);
}
