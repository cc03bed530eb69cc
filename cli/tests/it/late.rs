//! Files that come late or are corrected change exactly the rows that they should.

use std::fs;

use crate::support::{Scene, assert_same_tables};

const INTRADAY: &str = "intraday/av_1min_2020q4/intraday_1min_WAM.csv";
const DAILY: &str = "daily/sp500_5yr/WAM_data.csv";

/// Every later value of a chain hangs on the bars of a day that is not the last.
const OLD_DAY: &str = "2020-12-28 12:";

/// Corrects a file as a vendor would: another close, a row less, a row that cannot be read, a row twice.
pub(crate) fn correct_bars(scene: &Scene) {
    let mut lines = lines(scene, INTRADAY);
    let old: Vec<usize> = (0..lines.len()).filter(|place| lines[*place].starts_with(OLD_DAY)).collect();
    let cells: Vec<String> = lines[old[5]].split(',').map(str::to_owned).collect();
    let (high, close) = (&cells[2], &cells[4]);
    assert_ne!(high, close, "the correction must change something");
    let corrected = format!("{},{},{},{},{high},{}", cells[0], cells[1], cells[2], cells[3], cells[5]);
    lines[old[5]] = corrected;
    let comma = lines[old[20]].find(',').unwrap();
    lines[old[20]].insert_str(comma + 1, "what");
    let twice = lines[old[30]].clone();
    lines.insert(old[30], twice);
    lines.remove(old[10]);
    write(scene, INTRADAY, &lines);
}

fn correct_days(scene: &Scene) {
    let mut lines = lines(scene, DAILY);
    lines[100] = lines[100].replacen(",WAM", "0,WAM", 1);
    lines.remove(60);
    let twice = lines[50].clone();
    lines.push(twice);
    lines[40] = lines[40].replacen(',', ",-", 1);
    write(scene, DAILY, &lines);
}

fn lines(scene: &Scene, path: &str) -> Vec<String> {
    fs::read_to_string(scene.raw.join(path)).unwrap().lines().map(str::to_owned).collect()
}

fn write(scene: &Scene, path: &str, lines: &[String]) {
    scene.put(path, lines.join("\n") + "\n");
}

/// Runs what is new, and asserts that nobody could tell the lake from one that was built of today's files at once.
fn assert_like_built_anew(mut scene: Scene, arguments: &[&str]) {
    scene.pulse(arguments).ok();
    let grown = scene.tables();
    let scene = scene.with_fresh_lake();
    scene.run_all();
    assert_same_tables(&grown, &scene.tables());
}

#[test]
fn a_new_symbol_is_added_and_no_other_row_changes() {
    let scene = Scene::shipped();
    scene.run_all();
    let others = |scene: &Scene| {
        let of = |table: &str| scene.rows(&format!("{table} where symbol <> 'LATE'"));
        ["silver.bars_1m", "gold.bars_15m", "gold.daily_summary", "gold.indicators_1m"].map(of)
    };
    let before = others(&scene);
    fs::copy(scene.raw.join(INTRADAY), scene.raw.join(INTRADAY.replace("WAM", "LATE"))).unwrap();
    scene.run_all();
    assert!(others(&scene) == before);
    let of =
        |symbol: &str| scene.count(&format!("silver.bars_1m where symbol = '{symbol}' and feed = 'av_1min_2020q4'"));
    assert_eq!(of("LATE"), of("WAM"));
    assert_like_built_anew(scene, &["run", "--all"]);
}

#[test]
fn corrected_bars_change_everything_that_follows_from_them() {
    let scene = Scene::shipped();
    scene.run_all();
    let later = "select sum(ema_26) from gold.indicators_1m \
                 where symbol = 'WAM' and ts between '2020-12-28T18:05:00Z' and '2020-12-28T19:00:00Z'";
    let (ema, kept) = (scene.value(later), scene.count("bronze.bars_1m"));
    correct_bars(&scene);
    scene.run_all();
    assert_ne!(scene.value(later), ema, "an old close moves the averages after it");
    // One row left, one can no longer be read, one came.
    assert_eq!(scene.count("bronze.bars_1m"), kept - 1);
    assert_like_built_anew(scene, &["run", "--all"]);
}

#[test]
fn corrected_days_change_everything_that_follows_from_them() {
    let scene = Scene::shipped();
    scene.run_all();
    correct_days(&scene);
    scene.run_all();
    assert_eq!(scene.count("silver.bars_1d__quarantine where _reason like 'prices are above zero%'"), 1);
    assert_like_built_anew(scene, &["run", "--all"]);
}

#[test]
fn corrections_reach_tables_of_many_files() {
    let scene = Scene::shipped();
    let small = ["--set", "target_partition_mib=1", "--set", "slots=4", "run", "--all"];
    scene.pulse(&small).ok();
    fs::copy(scene.raw.join(INTRADAY), scene.raw.join(INTRADAY.replace("WAM", "LATE"))).unwrap();
    scene.pulse(&small).ok();
    correct_bars(&scene);
    correct_days(&scene);
    assert_like_built_anew(scene, &small);
}

#[test]
fn a_correction_that_heals_a_file_empties_its_quarantine() {
    let scene = Scene::shipped();
    scene.run_all();
    let at = |scene: &Scene, table: &str| scene.count(&format!("{table} where source_file = '{INTRADAY}'"));
    let quarantined = "bronze.bars_1m__quarantine";
    let others = scene.count(&format!("{quarantined} where source_file <> '{INTRADAY}'"));
    assert!(at(&scene, quarantined) > 0, "the sample has defects in this file");
    let healthy: Vec<String> = lines(&scene, INTRADAY)
        .into_iter()
        .filter(|line| line.split(',').count() == 6 && line.split(',').skip(2).all(|cell| cell.parse::<f64>().is_ok()))
        .collect();
    let head = "timestamp,open,high,low,close,volume".to_owned();
    write(&scene, INTRADAY, &[vec![head], healthy.clone()].concat());
    scene.run_all();
    assert_eq!(at(&scene, quarantined), 0);
    assert_eq!(scene.count(quarantined), others);
    assert_eq!(at(&scene, "bronze.bars_1m"), healthy.len() as u64);
    assert_like_built_anew(scene, &["run", "--all"]);
}

/// A file that was only touched is read again, and nothing follows from it.
#[test]
fn a_file_that_is_written_again_as_it_was_changes_no_row() {
    let scene = Scene::shipped();
    scene.run_all();
    let before = scene.tables();
    write(&scene, INTRADAY, &lines(&scene, INTRADAY));
    scene.run_all();
    assert_same_tables(&before, &scene.tables());
}

/// Merges by key ranges: files of other symbols or days are not rewritten.
#[test]
fn a_late_file_touches_only_what_it_must() {
    let scene = Scene::shipped();
    scene.run_all();
    // A symbol that sorts after all others lies in no existing file's range.
    fs::copy(scene.raw.join(INTRADAY), scene.raw.join(INTRADAY.replace("WAM", "ZZZZ"))).unwrap();
    scene.run_all();
    for table in ["silver.bars_1m", "gold.bars_15m", "gold.daily_summary", "gold.indicators_1m"] {
        let newest = &scene.history(table)[0];
        assert_eq!(newest["version"], 1, "{table}");
        assert_eq!(newest["files_removed"], 0, "{table}");
        assert_eq!(newest["details"]["pulse.mode"], "incremental", "{table}");
    }
    // Its daily bars did not change: nothing was done there.
    assert_eq!(scene.history("gold.trends").len(), 1);
    // A corrected file costs the files in which its symbol lies, not those of the later symbol.
    correct_bars(&scene);
    scene.run_all();
    for table in ["silver.bars_1m", "gold.indicators_1m"] {
        let newest = &scene.history(table)[0];
        assert_eq!(newest["version"], 2, "{table}");
        assert_eq!(newest["files_removed"], 1, "{table}");
    }
}
