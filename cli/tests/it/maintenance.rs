//! Files made fewer and deleted, beside the jobs that read them.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::{Scene, assert_same_tables};

const SOURCES: &str = "[files.bars]\nroot = \"$raw\"\n\
    columns = [{ name = \"s\", type = \"string\" }, { name = \"at\", type = \"bigint\" }, { name = \"x\", type = \"double\" }]\n\
    [files.bars.feed.all]\npath = \"*.csv\"\nformat = { csv = {} }\n";

/// A chain of every way to read a table's changes.
fn scene() -> Scene {
    let mut scene = Scene::empty();
    scene.sources(SOURCES);
    let bronze = "grain = [\"source_file\", \"line\"]\norder = [\"s\", \"at\"]\n[sink.append]\n";
    scene.job("bronze.bars", bronze, "select s, at, x, source_file, line from raw.bars");
    let copy = "grain = [\"s\", \"at\"]\n[source.\"bronze.bars\"]\nread = \"changed\"\n[sink.append]\n";
    scene.job("silver.copy", copy, "select s, at, x from bronze.bars");
    let merged = "grain = [\"s\", \"at\"]\n[source.\"bronze.bars\"]\nread = \"changed\"\nby = [\"s\", \"at\"]\n\
                  [sink.merge]\nkeys = [\"s\", \"at\"]\n";
    scene.job("silver.bars", merged, "select s, at, x from bronze.bars");
    let chained = "grain = [\"s\", \"at\"]\n[source.\"silver.bars\"]\nread = \"changed\"\nby = [\"s\"]\n\
                   [sink.merge]\nkeys = [\"s\", \"at\"]\n";
    let query = "select s, at, ema(x, 2) over (partition by s order by at) as value from silver.bars";
    scene.job("gold.means", chained, query);
    let whole = "grain = [\"s\"]\n[source.\"silver.bars\"]\nread = \"all\"\n[sink.overwrite]\n";
    scene.job("gold.counts", whole, "select s, count(*) as n from silver.bars group by s");
    scene
}

fn put(scene: &Scene, at: i64) {
    scene.put(&format!("{at}.csv"), format!("s,at,x\nA,{at},{at}\nB,{at},{}\n", at * at));
}

/// Everything that was written to the lake is that much older.
fn age(folder: &Path, by: Duration) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            age(&path, by);
        } else {
            File::options().append(true).open(&path).unwrap().set_modified(SystemTime::now() - by).unwrap();
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const TABLES: [&str; 5] = ["bronze.bars", "silver.copy", "silver.bars", "gold.means", "gold.counts"];

fn assert_as_if_at_once(mut scene: Scene) {
    let found = scene.tables();
    scene.with_fresh_lake().run_all();
    assert_same_tables(&found, &scene.tables());
}

#[test]
fn jobs_do_not_see_that_rows_were_moved() {
    let scene = scene();
    for at in 1..=4 {
        put(&scene, at);
        scene.run_all();
    }
    let rows = scene.tables();
    for table in ["bronze.bars", "silver.copy", "silver.bars"] {
        scene.pulse(&["table", "optimize", table]).ok().says(&[table, " became 1 of "]);
        scene.pulse(&["table", "optimize", table]).ok().says(&["no files can become fewer; nothing was committed"]);
    }
    assert_same_tables(&scene.tables(), &rows);
    let versions = scene.versions();
    scene.run_all().says(&["nothing was committed"]);
    assert_eq!(scene.versions(), versions);

    // What is new is all that is new, also when it was moved before anybody read it.
    put(&scene, 5);
    scene.pulse(&["run", "bronze.bars"]).ok();
    scene.pulse(&["table", "optimize", "bronze.bars"]).ok();
    put(&scene, 6);
    scene.pulse(&["run", "bronze.bars"]).ok();
    scene.pulse(&["run", "silver.copy", "silver.bars"]).ok();
    scene.pulse(&["table", "optimize", "silver.bars"]).ok();
    scene.run_all();
    let entry = &scene.history("silver.copy")[0];
    assert_eq!(entry["details"]["pulse.counts"]["rows_out"], 4, "{entry}");
    scene.run_all().says(&["nothing was committed"]);
    assert_as_if_at_once(scene);
}

/// A corrected file, after which rows leave files that were moved.
#[test]
fn corrections_find_their_rows_in_moved_files() {
    let scene = scene();
    for at in 1..=3 {
        put(&scene, at);
        scene.run_all();
    }
    for table in ["bronze.bars", "silver.bars"] {
        scene.pulse(&["table", "optimize", table]).ok();
    }
    scene.put("2.csv", "s,at,x\nA,2,77\n");
    scene.pulse(&["run", "bronze.bars", "silver.bars", "gold.means", "gold.counts"]).ok();
    assert_eq!(scene.value("select count(*) from silver.bars"), "5");
    scene.pulse(&["run", "gold.means"]).ok().says(&["nothing was committed"]);
    let found: Vec<_> = ["silver.bars", "gold.means"].map(|table| scene.rows(table)).to_vec();
    let mut scene = scene;
    scene.with_fresh_lake().run_all();
    assert_eq!(["silver.bars", "gold.means"].map(|table| scene.rows(table)).to_vec(), found);
}

#[test]
fn a_vacuum_deletes_what_nobody_needs_and_nothing_else() {
    let scene = scene();
    for at in 1..=3 {
        put(&scene, at);
        scene.run_all();
    }
    for table in TABLES {
        scene.pulse(&["table", "optimize", table]).ok();
    }
    let rows = scene.tables();
    scene.pulse(&["table", "vacuum", "bronze.bars"]).ok().says(&["bronze.bars: 0 files"]);
    age(&scene.lake, DAY * 9);
    let dry = scene.pulse(&["table", "vacuum", "bronze.bars", "--dry-run"]).ok().says(&["5 files", "would be deleted"]);
    // The files that are one now, and the bookmarks of two versions before the last one that read files.
    assert_eq!(dry.stdout.matches("part-").count(), 3, "{}", dry.stdout);
    assert_eq!(dry.stdout.matches("_pulse_files/").count(), 2, "{}", dry.stdout);
    for table in TABLES {
        scene.pulse(&["table", "vacuum", table]).ok().says(&["deleted"]);
    }
    scene.pulse(&["table", "vacuum", "bronze.bars"]).ok().says(&["bronze.bars: 0 files"]);
    assert_same_tables(&scene.tables(), &rows);
    scene.run_all().says(&["nothing was committed"]);

    scene.pulse(&["table", "vacuum", "bronze.bars", "--retain", "100"]).fails(2, &["--force"]);
    scene.pulse(&["table", "vacuum", "bronze.bars", "--retain", "0", "--force"]).fails(2, &["run_timeout_s"]);
    scene.pulse(&["table", "vacuum", "bronze.none"]).fails(2, &["bronze.none does not exist"]);
    scene.pulse(&["table", "optimize", "bronze.none"]).fails(2, &["bronze.none does not exist"]);

    // Rows that were moved and whose own files are gone before their reader came: it reads everything.
    put(&scene, 4);
    scene.pulse(&["run", "bronze.bars"]).ok();
    scene.pulse(&["table", "optimize", "bronze.bars"]).ok();
    age(&scene.lake, DAY * 9);
    scene.pulse(&["table", "vacuum", "bronze.bars"]).ok().says(&["3 files"]);
    scene.pulse(&["plan", "silver.bars"]).ok();
    scene.pulse(&["run", "silver.bars", "gold.means", "gold.counts"]).ok();
    assert_eq!(scene.count("silver.bars"), 8);
    assert_eq!(scene.count("gold.means"), 8);
}

/// The records of old triggers go, those of others stay, and so do all tables.
#[test]
fn old_runs_are_pruned() {
    let scene = scene();
    put(&scene, 1);
    scene.run_all().ok();
    put(&scene, 2);
    scene.run_all().ok();
    let runs = scene.path("lake").join("_pulse/runs");
    let triggers = || {
        let mut names: Vec<_> = std::fs::read_dir(&runs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let newest = triggers().pop().unwrap();
    let old = triggers().remove(0);
    // The first one began long ago.
    let id = "20200101T000000-0000000a";
    std::fs::rename(runs.join(&old), runs.join(id)).unwrap();
    std::fs::remove_dir_all(runs.join(id).join("lease")).unwrap();
    let tables = scene.versions();
    scene.pulse(&["runs", "prune", "--keep", "30"]).fails(2, &["nobody can be asked here: say --yes"]);
    scene.pulse(&["runs", "prune", "--keep", "0", "--yes"]).fails(2, &["--keep"]);
    assert_eq!(triggers(), [id.into(), newest.clone()]);
    scene.pulse(&["runs", "prune", "--keep", "30", "--yes"]).ok().says(&["deleted the records of 1 trigger"]);
    assert_eq!(triggers(), [newest]);
    scene.pulse(&["runs", "prune", "--keep", "30", "--yes"]).ok().says(&["no trigger that began before"]);
    assert_eq!(scene.versions(), tables);
    scene.pulse(&["runs", "show", id]).fails(2, &[id]);
}
