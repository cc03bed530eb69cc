//! Jobs over Hive-partitioned folders.

use super::*;

fn write(world: &World, path: &str, text: &str) {
    let path = world.folder.path().join("raw/days").join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Rows of a table, and of its quarantine.
async fn both(world: &World, name: &str) -> [Vec<String>; 2] {
    let tables = world.tables().await;
    let rows = |name: TableName| tables.get(&name).cloned().unwrap_or_default();
    let name: TableName = name.parse().unwrap();
    [rows(name.clone()), rows(name.quarantine())]
}

#[tokio::test]
async fn a_filter_on_folders_reads_no_others_and_a_file_in_no_folder_is_quarantined() {
    let select = "select x, day, source_file, line from raw.days where day >= date '2026-01-02' and x > 1";
    let any = || format!("max_rejected = 1.0\n{BRONZE}");
    let mut world = World::new(&[
        ("bronze.some", any(), select),
        ("bronze.all", any(), "select x, day, source_file, line from raw.days"),
        ("bronze.star", any(), "select * from raw.days where day < '2026-01-02'"),
    ]);
    write(&world, "day=2026-01-01/a.csv", "x\n7\nold\n");
    write(&world, "day=2026-01-02/a.csv", "x\n1\n2\nnew\n");
    write(&world, "b.csv", "x\n9\n");
    let outcomes = world.run_all().await;
    assert!(outcomes.values().all(Result::is_ok), "{outcomes:?}");

    let reasons = |quarantined: &[String], expected: &[&str]| {
        assert_eq!(quarantined.len(), expected.len(), "{quarantined:?}");
        for reason in expected {
            assert!(quarantined.iter().any(|row| row.contains(reason)), "{reason}: {quarantined:?}");
        }
    };
    let [rows, quarantined] = both(&world, "bronze.some").await;
    assert_eq!(rows, ["2 2026-01-02 days/day=2026-01-02/a.csv 3"]);
    reasons(&quarantined, &["not a number: `new`", "has no folder `day=`"]);
    let [rows, quarantined] = both(&world, "bronze.all").await;
    assert_eq!(rows.len(), 3, "{rows:?}");
    reasons(&quarantined, &["not a number: `new`", "not a number: `old`", "has no folder `day=`"]);
    let [rows, quarantined] = both(&world, "bronze.star").await;
    assert!(rows.len() == 1 && rows[0].starts_with("7 2026-01-01"), "{rows:?}");
    reasons(&quarantined, &["not a number: `old`", "has no folder `day=`"]);

    // A new file is read, a changed one is rejected again.
    write(&world, "day=2026-01-03/c.csv", "x\n5\n");
    write(&world, "b.csv", "");
    let outcomes = world.run_all().await;
    assert!(outcomes.values().all(Result::is_ok), "{outcomes:?}");
    let [rows, _] = both(&world, "bronze.some").await;
    assert_eq!(rows.len(), 2, "{rows:?}");
    let again = world.run_all().await;
    assert!(again.values().all(|outcome| matches!(outcome, Ok(Outcome::Unchanged))), "{again:?}");
    let mut fresh = world.afresh();
    fresh.run_all().await;
    assert_eq!(world.tables().await, fresh.tables().await);
}
