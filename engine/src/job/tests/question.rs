//! Ad-hoc queries.

use arrow::util::pretty::pretty_format_batches;

use super::*;
use crate::job::ask;
use crate::source::delta::foreign::Foreign;
use crate::table::Mapping;

async fn answer(world: &World, sql: &str) -> pulse_core::Result<(String, Vec<String>)> {
    let answer = ask(&world.bench, sql).await?;
    let batches = answer.rows.collect().await.unwrap();
    let text = pretty_format_batches(&batches).unwrap().to_string();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).skip(1).collect();
    let rows = lines.iter().map(|line| line.replace(['|', ' '], "")).collect::<Vec<_>>().join(" ");
    Ok((rows, answer.warnings))
}

#[tokio::test]
async fn tables_sources_of_files_and_tables_of_others_are_read_by_their_names() {
    let mut world =
        World::new(&[("bronze.lines", BRONZE.to_owned(), "select k, d, v, source_file, line from raw.lines")]);
    world.write(&Step::from([(0, vec![(Some(1), 0, Some(5)), (None, 1, None)])]));
    std::fs::write(world.folder.path().join("raw/9.csv"), "k,d,v\n1,2024-01-01,x\n2,2024-01-01,3\n").unwrap();
    let mut table = Foreign::new(world.folder.path().join("raw/t"), Mapping::Name, true);
    table.append(&[[("k".to_owned(), 1), ("v".to_owned(), 40)].into()]);
    table.append(&[[("k".to_owned(), 2), ("v".to_owned(), 2)].into()]);
    table.delete_rows(0, &BTreeSet::from([0]), true);
    world.run_all().await;
    for (sql, expected) in [
        ("select count(*) from bronze.lines", "3"),
        ("select count(*) from raw.lines", "4"),
        ("select sum(k), sum(v) from RAW.Lines where _reason is null and part = '9'", "23"),
        ("select _raw from raw.lines where _reason is not null", "1,2024-01-01,x"),
        ("select sum(v) from external.t", "2"),
        ("with t as (select 1 as x) select x from t", "1"),
        ("select l.k + t.v from bronze.lines l join external.t t on t.k = l.k", "4"),
        ("select v from bronze.\"lines\" where exists (select 1 from external.t where v = 2) and v = 5", "5"),
        ("select 1", "1"),
    ] {
        let (rows, warnings) = answer(&world, sql).await.unwrap();
        assert_eq!(rows, expected, "{sql}");
        let with_rejects = sql == "select count(*) from raw.lines";
        assert_eq!(warnings.len(), usize::from(with_rejects), "{sql}: {warnings:?}");
    }
    for (sql, expected) in [
        ("select 1 from silver.lines", "it has bronze.lines"),
        ("select 1 from raw.line", "no source of files `line`; it has days, lines"),
        ("select 1 from external.x", "no table `x` that others write; it has external.t"),
        ("select 1 from lines", "name its layer: `bronze.lines`"),
        ("select 1 from lineage", "name its layer: `silver.lineage`"),
        ("select 1 from", "query"),
        ("select 1 from bronze.\"Lines\"", "does not exist"),
        ("create table bronze.x as select 1", "query"),
        ("drop table bronze.lines", "query"),
    ] {
        let error = answer(&world, sql).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{sql}: {error}");
    }
    // No other table is opened.
    std::fs::remove_dir_all(world.folder.path().join("raw/t/_delta_log")).unwrap();
    assert_eq!(answer(&world, "select count(*) from bronze.lines").await.unwrap().0, "3");
    let missing = answer(&world, "select 1 from external.t").await.unwrap_err();
    assert!(missing.message().contains("no Delta table lies at"), "{missing}");
}

#[cfg(unix)]
#[tokio::test]
async fn roots_may_be_links() {
    let query = "select l.k, l.d, l.v, l.source_file, l.line from raw.lines l";
    let whole = "grain = [\"id\"]\n[sink.overwrite]\n".to_owned();
    let jobs = [("bronze.lines", BRONZE.to_owned(), query), ("silver.t", whole, "select id, v from external.t")];
    let mut world = World::new(&jobs);
    let (raw, real) = (world.folder.path().join("raw"), world.folder.path().join("real"));
    std::fs::rename(&raw, &real).unwrap();
    std::os::unix::fs::symlink(&real, &raw).unwrap();
    // The table's folder is also a link.
    std::os::unix::fs::symlink(world.folder.path().join("t of others"), real.join("t")).unwrap();
    let mut table = Foreign::new(world.folder.path().join("t of others"), Mapping::None, true);
    table.append(&[[("id".to_owned(), 1), ("v".to_owned(), 4)].into()]);
    table.append(&[[("id".to_owned(), 2), ("v".to_owned(), 6)].into()]);
    table.delete_rows(0, &BTreeSet::from([0]), false);
    world.write(&Step::from([(0, vec![(Some(1), 0, Some(5))]), (1, vec![(Some(2), 0, Some(6))])]));
    let outcomes = world.run_all().await;
    assert!(outcomes.values().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(answer(&world, "select sum(v), count(*) from bronze.lines").await.unwrap().0, "112");
    assert_eq!(answer(&world, "select id, v from silver.t").await.unwrap().0, "26");
    assert_eq!(answer(&world, "select max(id) from external.t").await.unwrap().0, "2");
    let again = world.run_all().await;
    assert!(matches!(again[&"bronze.lines".parse().unwrap()], Ok(Outcome::Unchanged)), "{again:?}");
}
