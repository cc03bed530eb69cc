//! A lake that an earlier build wrote (`fixtures/former-lake`, see its README) goes on: nothing is computed again, nothing is lost.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use crate::support::{Scene, copy_folder, text, workspace};

/// Modification time of the files when the lake was written; the bookmarks of that build hold it.
const WRITTEN: Duration = Duration::from_secs(1_700_000_000);

const TABLES: [&str; 5] = ["bronze.e", "silver.by_id", "silver.whole", "gold.by_day", "gold.by_year"];

fn former() -> Scene {
    let mut scene = Scene::empty();
    let fixture = workspace().join("cli/tests/fixtures/former-lake");
    for folder in ["raw", "lake"] {
        copy_folder(&fixture.join(folder), &scene.path(folder));
    }
    scene.project = scene.path("project");
    copy_folder(&fixture.join("project"), &scene.project);
    for file in fs::read_dir(&scene.raw).unwrap() {
        File::options()
            .write(true)
            .open(file.unwrap().path())
            .and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH + WRITTEN))
            .unwrap();
    }
    scene.raw_at(scene.raw.clone());
    scene
}

fn last_mode(scene: &Scene, table: &str) -> String {
    text(&scene.history(table)[0]["details"]["pulse.mode"])
}

#[test]
fn nothing_is_computed_again() {
    let scene = former();
    let before = scene.versions();
    scene.run_all().ok();
    for table in TABLES.iter().filter(|table| **table != "gold.by_year") {
        assert_eq!(scene.versions()[*table], before[*table], "{table}");
    }
    // Once the year has ended, it is due.
    assert!(
        scene.versions()["gold.by_year"] == before["gold.by_year"]
            || last_mode(&scene, "gold.by_year") == "incremental"
    );
}

#[test]
fn new_late_and_corrected_files_reach_their_rows() {
    let scene = former();
    // One more row of a day that the tables have, one of a new day, and one that is rejected.
    scene.put("c.csv", "id,at,v\n1,2024-02-29 13:00:00,32\n4,2025-12-31 10:00:00,64\n4,2025-12-31 10:00:00,-1\n");
    scene.run_all().ok();
    for table in ["bronze.e", "silver.by_id", "gold.by_day", "gold.by_year"] {
        assert_eq!(last_mode(&scene, table), "incremental", "{table}");
    }
    assert_eq!(scene.rows("(select id, n, v from silver.by_id)"), ["1,3,37", "2,2,10", "3,1,16", "4,1,64"]);
    assert_eq!(scene.rows("(select n, v from silver.whole)"), ["7,127"]);
    assert_eq!(
        scene.rows("(select d, id, v from gold.by_day)"),
        ["2023-05-01,1,1", "2023-05-01,2,2", "2024-02-29,1,36", "2024-02-29,2,8", "2025-07-04,3,16", "2025-12-31,4,64"]
    );
    assert_eq!(scene.rows("(select y, v from gold.by_year)"), ["2023-01-01,3", "2024-01-01,44", "2025-01-01,80"]);
    assert_eq!(scene.rows("bronze.e__quarantine").len(), 2);
    // A correction takes the place of the rows that the earlier build read.
    scene.put("a.csv", "id,at,v\n1,2023-05-01 10:00:00,128\n");
    scene.run_all().ok();
    assert_eq!(scene.rows("(select id, n, v from silver.by_id)"), ["1,2,160", "2,1,8", "3,1,16", "4,1,64"]);
    assert_eq!(scene.rows("(select n, v from silver.whole)"), ["5,248"]);
    assert_eq!(scene.rows("(select y, v from gold.by_year)"), ["2023-01-01,128", "2024-01-01,40", "2025-01-01,80"]);
}
