//! `partition_by` decides where rows are stored, not which rows there are.

use super::*;

/// Texts with characters that are special in paths, URLs, JSON or SQL.
const TEXTS: [&str; 14] = [
    "a",
    "A b",
    "a/b",
    "a%2Fb",
    "%",
    "p=x",
    "ü日",
    "a+b?c#d&e",
    ".",
    "..",
    "\\:*",
    "\"q\"",
    "__HIVE_DEFAULT_PARTITION__",
    "null",
];

/// Columns of every type that a table may be partitioned by, as functions of v.
fn columns() -> String {
    let texts: String = TEXTS.iter().enumerate().map(|(v, text)| format!("when {v} then '{text}' ")).collect();
    format!(
        "case v {texts}end as p, v < 3 as b, cast(v as decimal(9, 2)) / 4 as m, \
         to_timestamp_micros(v * 1000001 - 5000000) as t, cast(v as smallint) - 3 as i"
    )
}

/// Each sink, by the partition columns.
fn jobs(partition_by: &str) -> Vec<(String, String, String)> {
    let head = |grain: &str| match partition_by {
        "" => format!("grain = {grain}\n"),
        columns => format!("grain = {grain}\npartition_by = [{columns}]\n"),
    };
    let name = |sink: &str| format!("{sink}{}", partition_by.replace(['"', ',', ' '], ""));
    let columns = columns();
    vec![
        (
            name("bronze.appended"),
            head("[\"source_file\", \"line\"]") + "[sink.append]\n",
            format!("select k, d, v, {columns}, source_file, line from raw.lines"),
        ),
        (
            name("silver.grown"),
            head("[\"f\", \"line\"]") + "[source.\"bronze.lines\"]\nread = \"changed\"\n[sink.append]\n",
            format!("select k, d, {columns}, source_file as f, line from bronze.lines"),
        ),
        (
            name("silver.whole"),
            head("[\"f\", \"line\"]") + "[sink.overwrite]\n",
            format!("select k, d, {columns}, source_file as f, line from bronze.lines"),
        ),
        (
            name("silver.merged"),
            head("[\"k\", \"d\"]") + &by("[\"k\", \"d\"]") + "[sink.merge]\nkeys = [\"k\", \"d\"]\n",
            format!(
                "with newest as (select k, d, max(v) as v from bronze.lines group by k, d) select k, d, {columns} from newest"
            ),
        ),
    ]
}

fn all_jobs(partitions: &[&str]) -> Vec<JobText> {
    let leak = |text: String| -> &'static str { text.leak() };
    let own =
        partitions.iter().flat_map(|columns| jobs(columns)).map(|(name, toml, sql)| (leak(name), toml, leak(sql)));
    let bronze = ("bronze.lines", BRONZE.to_owned(), "select k, d, v, source_file, line from raw.lines");
    let by_text = (
        "silver.texts",
        "grain = [\"f\", \"line\"]\n[sink.overwrite_partitions]\nby = [\"p\"]\n".to_owned(),
        leak(format!("select k, d, {}, source_file as f, line from bronze.lines", columns())),
    );
    std::iter::once(bronze).chain([by_text]).chain(own).collect()
}

const PARTITIONS: [&str; 8] = ["", "\"p\"", "\"d\", \"p\"", "\"b\"", "\"m\", \"k\"", "\"t\"", "\"i\", \"d\"", "\"d\""];

#[test]
fn rows_are_the_same_in_other_partitions() {
    check(cases(4), steps(0..15, 0..4, 8), |steps| {
        block_on(async {
            let mut world = World::new(&all_jobs(&PARTITIONS));
            for step in &steps {
                world.write(step);
                let outcomes = world.run_all().await;
                assert!(outcomes.values().all(Result::is_ok), "{outcomes:?}");
                let tables = world.tables().await;
                for sink in ["bronze.appended", "silver.grown", "silver.whole", "silver.merged"] {
                    let rows = |columns: &str| {
                        let name = format!("{sink}{}", columns.replace(['"', ',', ' '], ""));
                        tables.get(&name.parse::<TableName>().unwrap())
                    };
                    for columns in &PARTITIONS[1..] {
                        assert_eq!(rows(columns), rows(""), "{sink} by {columns}");
                    }
                }
                let table = |name: &str| tables.get(&name.parse::<TableName>().unwrap());
                assert_eq!(table("silver.texts"), table("silver.whole"));
                let again = world.run_all().await;
                assert!(again.values().all(|outcome| matches!(outcome, Ok(Outcome::Unchanged))), "{again:?}");
            }
        });
    });
}

/// The text of every row by a model of the lines: checks the contents of partition columns, and not only that all
/// tables are equal.
#[test]
fn special_texts_are_themselves_and_null_is_null() {
    block_on(async {
        let mut world = World::new(&all_jobs(&["\"p\""]));
        let lines = (0..TEXTS.len() as i64).map(|v| (Some(v), 0, Some(v))).chain([(Some(99), 0, None)]);
        world.write(&Step::from([(0, lines.collect())]));
        let outcomes = world.run_all().await;
        assert!(outcomes.values().all(Result::is_ok), "{outcomes:?}");
        let table = world.bench.lake.table(&"silver.wholep".parse().unwrap()).unwrap();
        let snapshot = table.snapshot(None).await.unwrap().unwrap();
        assert_eq!(snapshot.partition_by, ["p"]);
        let found: BTreeSet<Option<String>> =
            snapshot.files.iter().map(|file| file.partition_values["p"].clone()).collect();
        let wanted = TEXTS.iter().map(|text| Some((*text).to_owned())).chain([None]).collect();
        assert_eq!(found, wanted);
        let rows = world.rows(&"silver.wholep".parse().unwrap(), None).await;
        for (v, text) in TEXTS.iter().enumerate() {
            let start = format!("{v} 2024-01-01 {text} ");
            assert_eq!(rows.iter().filter(|row| row.starts_with(&start)).count(), 1, "{start} in {rows:?}");
        }
        assert_eq!(rows.iter().filter(|row| row.starts_with("99 2024-01-01 - ")).count(), 1);
    });
}

fn one_job(manifest: &str, query: &'static str) -> Vec<JobText> {
    let bronze = ("bronze.lines", BRONZE.to_owned(), "select k, d, v, source_file, line from raw.lines");
    vec![bronze, ("silver.one", manifest.to_owned(), query)]
}

const ONE: &str =
    "grain = [\"k\"]\n[source.\"bronze.lines\"]\nread = \"changed\"\nby = [\"k\"]\n[sink.merge]\nkeys = [\"k\"]\n";

#[test]
fn another_partitioning_rebuilds_the_table_in_one_commit() {
    block_on(async {
        let name: TableName = "silver.one".parse().unwrap();
        let query = "select k, max(d) as d, sum(v) as v from bronze.lines group by k";
        let mut world = World::new(&one_job(ONE, query));
        world.write(&Step::from([(0, vec![(Some(1), 0, Some(1)), (Some(2), 1, Some(2)), (None, 2, None)])]));
        world.run_all().await;
        let rows = world.rows(&name, None).await;
        for (columns, version) in [("partition_by = [\"d\"]\n", 1), ("partition_by = [\"v\", \"d\"]\n", 2), ("", 3)] {
            let mut edited = world.edited(&one_job(&format!("{columns}{ONE}"), query));
            edited.runs += version;
            let outcomes = edited.run_all().await;
            assert!(matches!(outcomes[&name], Ok(Outcome::Committed { .. })), "{columns}: {:?}", outcomes[&name]);
            assert_eq!(edited.rows(&name, None).await, rows);
            let table = edited.bench.lake.table(&name).unwrap();
            let snapshot = table.snapshot(None).await.unwrap().unwrap();
            assert_eq!(snapshot.version, u64::from(version));
            assert_eq!(snapshot.partition_by, *edited.bench.project.job(&name).unwrap().manifest.partition_by());
            let again = edited.run_all().await;
            assert!(matches!(again[&name], Ok(Outcome::Unchanged)));
        }
        // Every version is still readable.
        for version in 0..=3 {
            assert_eq!(world.rows(&name, Some(version)).await, rows);
        }
    });
}

#[test]
fn what_cannot_be_a_partition_column_is_an_error() {
    let refused = |manifest: &str, query: &'static str| {
        block_on(async {
            let mut world = World::new(&one_job(manifest, query));
            world.write(&Step::from([(0, vec![(Some(1), 0, Some(1))])]));
            let outcome = world.run_all().await.remove(&"silver.one".parse().unwrap()).unwrap();
            let error = outcome.unwrap_err();
            assert!(world.version(&"silver.one".parse().unwrap()).await.is_none());
            (error.kind(), error.to_string())
        })
    };
    let message = |columns: &str, query| refused(&format!("partition_by = [{columns}]\n{ONE}"), query);
    let query = "select k, cast(max(v) as double) as f, '' as e from bronze.lines group by k";
    let invalid = pulse_core::ErrorKind::Invalid;
    for (columns, kind, part) in [
        ("\"x\"", invalid, "`partition_by` names the column `x`, which the query does not yield"),
        ("\"f\"", invalid, "the table cannot be partitioned by `f`, which is Float64"),
        ("\"e\"", pulse_core::ErrorKind::Data, "an empty text in `e`, which the table is partitioned by"),
    ] {
        let (found, message) = message(columns, query);
        assert_eq!(found, kind, "{message}");
        assert!(message.contains(part), "{message}");
    }
    // Beside a null, and not alone, which jobs rely on.
    let both = "select k, max(v) as v, '' as e from bronze.lines group by k union all select 9, 9, null";
    let (kind, empty) = refused("grain = [\"k\"]\n[sink.overwrite_partitions]\nby = [\"e\"]\n", both);
    assert_eq!(kind, pulse_core::ErrorKind::Data, "{empty}");
    assert!(empty.contains("an empty text in `e`"), "{empty}");
    let (_, all) = message("\"k\"", "select k from bronze.lines group by k");
    assert!(all.contains("partitioned by all of its columns"), "{all}");
}
