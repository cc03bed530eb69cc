//! Histories of inputs, edits and runs: after each run that succeeds, a table is what its query gives over all inputs. The model adds
//! up the values of the files itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::support::{Scene, text};

const SOURCES: &str = "[files.e]\nroot = \"$raw\"\n\
    columns = [{ name = \"at\", type = \"timestamp\" }, { name = \"v\", type = \"bigint\" }]\n\
    [files.e.feed.all]\npath = \"*.csv\"\nformat = { csv = {} }\n";
const LANDED: &str = "select at, v, source_file, line from raw.e";
const BY_FILE: &str = "grain = [\"source_file\", \"line\"]\n";

/// Days of January 2024 with their values, as one file has them.
type File = Vec<(u8, i64)>;

fn csv(file: &File) -> String {
    let lines = file.iter().map(|(day, value)| format!("2024-01-{day:02} 10:00:00,{value}\n"));
    format!("at,v\n{}", lines.collect::<String>())
}

fn landing(sink: &str) -> Scene {
    let mut scene = Scene::empty();
    scene.sources(SOURCES);
    scene.job("bronze.e", &format!("{BY_FILE}{sink}\n"), LANDED);
    scene
}

fn by_day(scene: &Scene, sink: &str, query: &str) {
    let manifest = format!("grain = [\"d\"]\ninterval = \"day\"\nstart = \"2024-01-01\"\n{sink}\n");
    scene.job("gold.d", &manifest, query);
}

const SUMS: &str = "select cast(at as date) as d, sum(v) as v from bronze.e \
                    where at >= $interval_start and at < $interval_end group by 1";

/// Rows of `gold.d` as the files have them.
fn sums<'a>(files: impl Iterator<Item = &'a File>, days: &BTreeSet<u8>) -> Vec<String> {
    let mut sums: BTreeMap<u8, i64> = BTreeMap::new();
    for (day, value) in files.flatten().filter(|(day, _)| days.contains(day)) {
        *sums.entry(*day).or_default() += value;
    }
    sums.into_iter().map(|(day, sum)| format!("2024-01-{day:02},{sum}")).collect()
}

/// The sources, where some files have feeds of their own: clocks of Auckland show 10:00 at 21:00 UTC of the day before.
fn with_feeds(of_auckland: &BTreeMap<String, String>) -> String {
    let feed = |(file, name): (&String, &String)| {
        format!(
            "[files.e.feed.{name}]\npath = \"{file}\"\nformat = {{ csv = {{}} }}\ntime_zone = \"Pacific/Auckland\"\n"
        )
    };
    SOURCES.to_owned() + &of_auckland.iter().map(feed).collect::<String>()
}

/// The days in UTC.
fn read_by(of_auckland: &BTreeMap<String, String>, files: &BTreeMap<String, File>) -> Vec<File> {
    let days = |(name, file): (&String, &File)| match of_auckland.contains_key(name) {
        true => file.iter().map(|(day, value)| (day - 1, *value)).collect(),
        false => file.clone(),
    };
    files.iter().map(days).collect()
}

fn mode(scene: &Scene, table: &str) -> String {
    scene.history(table).first().map(|entry| text(&entry["details"]["pulse.mode"])).unwrap_or_default()
}

#[test]
fn a_sink_that_replaces_reads_all_files() {
    for sink in [
        "[sink.overwrite]",
        "[sink.overwrite_partitions]\nby = [\"at\"]",
        "[sink.merge]\nkeys = [\"source_file\", \"line\"]",
    ] {
        let scene = landing(sink);
        scene.put("a.csv", "at,v\n2024-01-01 00:00:00,1\n2024-01-01 00:00:00,2\n");
        scene.run_all().ok();
        scene.put("b.csv", "at,v\n2024-01-01 00:00:00,3\n");
        scene.run_all().ok();
        assert_eq!(scene.rows("(select v from bronze.e)"), ["1", "2", "3"], "{sink}: a new file");
        scene.put("a.csv", "at,v\n2024-01-01 00:00:00,40\n");
        scene.run_all().ok();
        assert_eq!(scene.rows("(select v from bronze.e)"), ["3", "40"], "{sink}: a corrected file with fewer lines");
    }
}

#[test]
fn a_rebuild_that_would_lose_rows_needs_permission() {
    let scene = landing("[sink.append]");
    scene.put("a.csv", csv(&vec![(1, 1)]));
    scene.put("b.csv", csv(&vec![(2, 2)]));
    scene.run_all().ok();
    std::fs::remove_file(scene.path("raw").join("a.csv")).unwrap();
    scene.put("c.csv", csv(&vec![(3, 4)]));
    scene.run_all().ok();
    let values = "(select v from bronze.e)";
    assert_eq!(scene.rows(values), ["1", "2", "4"], "rows of a file that is gone stay");
    scene.job("bronze.e", &format!("{BY_FILE}[sink.append]\n"), "select at, v * 1 as v, source_file, line from raw.e");
    let lost = ["1 file", "raw.e/a.csv", "--allow-loss"];
    scene.pulse(&["plan", "bronze.e"]).fails(1, &lost);
    scene.pulse(&["run", "bronze.e"]).fails(1, &lost);
    assert_eq!(scene.rows(values), ["1", "2", "4"]);
    scene.pulse(&["run", "bronze.e", "--allow-loss"]).ok();
    assert_eq!(scene.rows(values), ["2", "4"]);
    scene.pulse(&["run", "bronze.e", "--rebuild"]).ok();
    assert_eq!(scene.rows(values), ["2", "4"], "what was given up is not missed again");
}

#[test]
fn one_evaluation_for_each_interval() {
    let scene = landing("[sink.append]");
    let query = "select cast($interval_start as date) as d, sum(v) as v from bronze.e \
                 where at >= $interval_start and at < $interval_end having sum(v) is not null";
    by_day(&scene, "[sink.merge]\nkeys = [\"d\"]", query);
    scene.put("a.csv", csv(&vec![(1, 1), (2, 2), (2, 4), (4, 8)]));
    scene.pulse(&["run", "bronze.e"]).ok();
    scene.pulse(&["run", "gold.d", "--from", "2024-01-01", "--to", "2024-01-06"]).ok();
    assert_eq!(scene.rows("(select d, v from gold.d)"), ["2024-01-01,1", "2024-01-02,6", "2024-01-04,8"]);
    scene.pulse(&["run", "gold.d"]).fails(1, &["--from", "evaluations"]);
}

#[test]
fn a_table_that_was_made_again_is_read_again() {
    let scene = landing("[sink.append]");
    by_day(&scene, "[sink.overwrite_partitions]\nby = [\"d\"]", SUMS);
    scene.put("a.csv", csv(&vec![(1, 1)]));
    scene.run_all().ok();
    std::fs::remove_dir_all(scene.path("lake").join("bronze/e")).unwrap();
    scene.put("a.csv", csv(&vec![(2, 2)]));
    scene.run_all().ok();
    assert_eq!(scene.rows("(select d, v from gold.d)"), ["2024-01-02,2"]);
}

/// Everything at random, with the binary itself.
#[test]
fn after_every_run_a_table_is_its_query_over_all_inputs() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = std::env::var("PULSE_TEST_SEED")
        .map_or(now.as_secs() << 20 | u64::from(now.subsec_micros()), |seed| seed.parse().unwrap());
    for seed in seed..seed + 6 {
        history(seed);
    }
}

fn history(seed: u64) {
    let random = &mut StdRng::seed_from_u64(seed);
    let sinks = [
        "[sink.overwrite_partitions]\nby = [\"d\"]",
        "[sink.merge]\nkeys = [\"d\"]",
        "[sink.append]",
        "[sink.overwrite]",
    ];
    let sink = sinks[random.random_range(0..sinks.len())];
    let mut scene = landing("[sink.append]");
    by_day(&scene, sink, SUMS);
    let mut of_auckland = BTreeMap::new();
    let mut files: BTreeMap<String, File> = BTreeMap::new();
    let mut covered: BTreeSet<u8> = BTreeSet::new();
    let all: BTreeSet<u8> = (1..=31).collect();
    let mut said = vec![format!("PULSE_TEST_SEED={seed}"), sink.to_owned()];
    for step in 0..6 {
        for _ in 0..random.random_range(0..3) {
            let name = format!("f{}.csv", random.random_range(0..4));
            let lines = random.random_range(0..4);
            let file: File = (0..lines).map(|_| (random.random_range(1..8), random.random_range(1..100))).collect();
            scene.put(&name, csv(&file));
            said.push(format!("{name}: {file:?}"));
            files.insert(name, file);
        }
        if random.random_bool(0.3) {
            // A feed is added, renamed or removed, and takes a file over. A step changes one feed, so its number is a name of its own.
            let name = format!("f{}.csv", random.random_range(0..4));
            if of_auckland.remove(&name).is_none() || random.random_bool(0.5) {
                of_auckland.insert(name, format!("auckland_{step}"));
            }
            scene.sources(&with_feeds(&of_auckland));
            said.push(format!("feeds: {of_auckland:?}"));
        }
        if random.random_bool(0.2) {
            let edited = SUMS.replace("sum(v)", &format!("sum(v) + {step} - {step}"));
            by_day(&scene, sink, &edited);
            said.push("edited".to_owned());
        }
        if random.random_bool(0.15) && scene.path("lake").join("bronze/e").exists() {
            std::fs::remove_dir_all(scene.path("lake").join("bronze/e")).unwrap();
            said.push("made again".to_owned());
        }
        scene.pulse(&["run", "bronze.e"]).ok();
        let first = covered.is_empty();
        if random.random_bool(0.5) {
            let from = random.random_range(1..7);
            let to = from + random.random_range(1..4);
            let (start, end) = (format!("2024-01-{from:02}"), format!("2024-01-{to:02}"));
            said.push(format!("{start} to {end}"));
            scene.pulse(&["run", "gold.d", "--from", &start, "--to", &end]).ok();
            covered.extend(from..to);
            if !first && mode(&scene, "gold.d").starts_with("full") {
                covered.clone_from(&all);
            }
        } else {
            said.push("run".to_owned());
            scene.pulse(&["run", "gold.d"]).ok();
            covered.clone_from(&all);
        }
        let expected = sums(read_by(&of_auckland, &files).iter(), &covered);
        assert_eq!(scene.rows("(select d, v from gold.d)"), expected, "{said:#?}");
        let versions = scene.versions();
        if covered == all {
            scene.pulse(&["run", "bronze.e", "gold.d"]).ok();
            assert_eq!(scene.versions(), versions, "a second run found something to do: {said:#?}");
        }
    }
}
