//! A table of queries. Expectations were derived by hand from how a changed row can affect rows of other groups.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::datasource::empty::EmptyTable;
use pulse_core::project::{Project, ProjectFiles};

use super::*;
use crate::job::query::{Sources, plan_query};
use crate::session::{RuntimeOptions, runtime, session_config, session_state};
use crate::store::Stores;

/// Event tables e and d, read by changes, and s, read whole. `by` applies to e and d; the query yields at least `k`.
fn scene(by: &str, rest: &str, sql: &str, changed: &[&str]) -> Result<Increment, String> {
    let source = |name: &str| format!("[source.\"t.{name}\"]\nread = \"changed\"\n{by}\n");
    let mut manifest = "grain = [\"k\"]\n".to_owned();
    manifest.extend(["e", "d"].into_iter().filter(|name| sql.contains(&format!("t.{name} "))).map(source));
    manifest.push_str(rest);
    proven(&manifest, sql, changed)
}

fn proven(manifest: &str, sql: &str, changed: &[&str]) -> Result<Increment, String> {
    let mut files = ProjectFiles::from([
        ("project.toml".to_owned(), "name = \"t\"\n[defaults]\nowner = \"me\"\n".to_owned()),
        ("t/x/job.toml".to_owned(), manifest.to_owned()),
        ("t/x/query.sql".to_owned(), sql.to_owned()),
    ]);
    for name in ["e", "d", "s"] {
        files.insert(format!("t/{name}/job.toml"), "grain = [\"k\"]\n[sink.overwrite]\n".to_owned());
        files.insert(format!("t/{name}/query.sql"), "select 1 as k".to_owned());
    }
    let project = Project::parse(&files).unwrap();
    let job = project.job(&"t.x".parse().unwrap()).unwrap();
    let query = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(plan(job));
    increment(job, &query, &changed.iter().map(|name| format!("t.{name}")).collect())
}

async fn plan(job: &Job) -> JobQuery {
    let field = |(name, data_type): (&str, DataType)| Field::new(name, data_type, true);
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let columns = [
        ("k", DataType::Int64),
        ("day", DataType::Date32),
        ("v", DataType::Int64),
        ("f", DataType::Float64),
        ("text", DataType::Utf8),
        ("ts", time),
    ];
    let schema = Arc::new(Schema::new(columns.map(field).to_vec()));
    let mut sources = Sources::new();
    for name in
        ["t.e", "t.d", "t.s"].into_iter().filter(|name| job.query.tables().iter().any(|t| t.to_string() == **name))
    {
        sources.insert(name.to_owned(), Arc::new(EmptyTable::new(Arc::clone(&schema))));
    }
    let limits = RuntimeOptions { memory_bytes: 64 << 20, spill_dir: None, spill_limit_bytes: 1 << 20 };
    let runtime = runtime(&limits, &Arc::new(Stores::default())).unwrap();
    let state = session_state(session_config(datafusion::prelude::SessionConfig::new(), 2, 8192), runtime);
    plan_query(&state, job, &sources, &[]).await.unwrap()
}

const MERGE: &str = "[sink.merge]\nkeys = [\"k\"]\n";
const APPEND: &str = "[sink.append]\n";

#[test]
fn row_by_row_needs_no_groups() {
    for sql in [
        "select k, v from t.e where v > 1",
        "select k, upper(text) as text, case when f > 1 then v end as v from t.e ",
        "select e.k, s.v from t.e e left join t.s s on s.k = e.k",
        "select e.k, s.v from t.s s right join t.e e on s.v < e.v",
        "select e.k, s.v from t.e e join t.s s on s.day = e.day",
        "select e.k from t.e e where e.v in (select v from t.s where day > date '2024-01-01')",
        "select e.k from t.e e where not exists (select 1 from t.s s where s.k = e.k)",
        "select e.k, sums.v from t.e e join (select k, sum(v) as v from t.s group by k) sums on sums.k = e.k",
        "select k, unnest([v, 1]) as v from t.e ",
        "with rows as (select k, v from t.e where v > 0) select k, v + 1 as v from rows order by k",
    ] {
        assert_eq!(scene("", MERGE, sql, &["e"]), Ok(Increment::Nothing), "{sql}");
        assert!(scene("", APPEND, sql, &["e"]).is_ok(), "{sql}");
    }
    // Rows of the one would be repeated with those of the other, unless both are read by their changes.
    let both = "select k from t.e union all select k from t.d ";
    assert_eq!(scene("", MERGE, both, &["e", "d"]), Ok(Increment::Nothing));
    assert!(scene("", MERGE, both, &["e"]).is_err());
}

#[test]
fn what_looks_at_other_rows_needs_groups() {
    for (sql, by, hopeless) in [
        ("select k, sum(v) as v from t.e group by k", "k", "day"),
        ("select k, day, count(*) as n from t.e group by k, day", "k", "v"),
        ("select k, day, count(*) as n from t.e group by k, day", "k\", \"day", "k\", \"v"),
        ("select distinct k, day from t.e ", "day", "v"),
        ("select distinct on (k) k, v from t.e order by k, v", "k", "v"),
        ("select k, lag(v) over (partition by day order by k) as v from t.e ", "day", "k"),
        ("select k, first_value(v) over (partition by k, day order by ts) as v from t.e ", "k", "ts"),
        (
            "select k from (select k, row_number() over (partition by k order by ts) as n from t.e ) where n = 1",
            "k",
            "ts",
        ),
        ("select k, n from (select k, text as name, count(*) as n from t.e group by k, text) where n > 1", "text", "v"),
        ("select a.k, b.v from t.e a join t.e b on a.k = b.k and a.v < b.v", "k", "v"),
        ("select a.k, b.v from t.e a left join t.d b on a.k = b.k", "k", "day"),
        ("select a.k, b.v from t.e a, t.d b where a.k = b.k and a.day = b.day", "k\", \"day", "v"),
        ("select a.k from t.e a left anti join t.d b on a.k = b.k", "k", "day"),
        ("select coalesce(a.k, b.k) as k from t.e a full join t.d b on a.k = b.k", "k", "day"),
        ("select k, day from t.e except select k, day from t.d ", "k", "v"),
        ("select k, day from t.e intersect select k, day from t.d ", "day", "v"),
        ("select k, day from t.e union select k, day from t.d ", "day", "v"),
        (
            "with e as (select k, day, sum(v) as v from t.e group by k, day), d as (select k, max(v) as v from t.d group by k) \
             select e.k, e.v / d.v as v from e join d on d.k = e.k",
            "k",
            "day",
        ),
    ] {
        for changed in [&["e"][..], &["d"], &["e", "d"]] {
            let changed: Vec<&str> =
                changed.iter().copied().filter(|name| sql.contains(&format!("t.{name} "))).collect();
            if changed.is_empty() {
                continue;
            }
            let with = |by: &str| scene(&format!("by = [\"{by}\"]"), MERGE, sql, &changed);
            assert!(with(by).is_ok(), "{sql} by {by}: {:?}", with(by));
            assert!(with(hopeless).is_err(), "{sql} by {hopeless}");
        }
        let none = scene("", MERGE, sql, &["e"]);
        let join_of_one =
            sql.contains("t.d ") && (sql.contains("join") || sql.contains(", t.d") || sql.contains("except"));
        assert!(none.is_err() || join_of_one, "{sql}");
    }
}

#[test]
fn no_groups_are_enough_for_what_looks_at_all_rows() {
    for sql in [
        "select count(*) as k from t.e ",
        "select k, row_number() over (order by v) as v from t.e ",
        "select k, v from t.e order by k, v, day, f, text, ts limit 3",
        "select k from t.e where v > (select avg(v) from t.e )",
        "select k from t.s where k not in (select k from t.e )",
        "select k, sum(v) as v from t.e group by grouping sets ((k), (day))",
        "select k, sum(v) as v from t.e group by rollup (k, day)",
        "select s.k, e.v from t.s s left join t.e e on e.k = s.k",
        "select s.k from t.s s left semi join t.e e on e.k = s.k",
        "select s.k from t.e e right anti join t.s s on e.k = s.k",
        "select s.k from t.e e full join t.s s on e.k = s.k",
        "select k from t.s except select k from t.e ",
        "select k from t.e union all select k from t.s",
        "select a.k from t.e a join t.e b on a.v < b.v",
        "select a.k from t.e a cross join t.d b",
        "select k + 1 as k, sum(v) as v from t.e group by k + 1",
        "select date_trunc('day', ts) as ts, 1 as k from t.e group by date_trunc('day', ts)",
        "select cast(f as bigint) as k from t.e group by f",
        "select a.k from t.e a join t.d b on a.k = cast(b.text as bigint)",
    ] {
        for by in
            ["", "by = [\"k\"]", "by = [\"day\"]", "by = [\"v\"]", "by = [\"f\"]", "by = [\"ts\"]", "by = [\"text\"]"]
        {
            // New rows of one source, joined with the old rows of the other, are not the whole change.
            let changed: &[&str] = if sql.contains("t.d ") { &["e", "d"] } else { &["e"] };
            assert!(scene(by, MERGE, sql, changed).is_err(), "{sql} {by}");
        }
    }
}

#[test]
fn sinks_and_expectations_look_at_groups_too() {
    let sql = "select k, day, v, text as name from t.e ";
    let partitions = "[sink.overwrite_partitions]\nby = [\"day\"]\n";
    assert!(scene("", partitions, sql, &["e"]).is_err());
    assert!(scene("by = [\"k\"]", partitions, sql, &["e"]).is_err());
    assert_eq!(scene("by = [\"day\"]", partitions, sql, &["e"]), Ok(Increment::Keys));
    let renamed = "select k, v, cast(text as string) as day from t.e ";
    assert!(scene("by = [\"day\"]", partitions, renamed, &["e"]).is_err());
    assert_eq!(scene("by = [\"text\"]", partitions, renamed, &["e"]), Ok(Increment::Keys));

    // A key without a match is null, whatever its group.
    let by_key = "[sink.overwrite_partitions]\nby = [\"k\"]\n";
    for (side, join, kept) in
        [("a", "left", true), ("b", "left", false), ("a", "right", false), ("b", "right", true), ("a", "full", false)]
    {
        let joined = format!("select {side}.k, 1 as one from t.e a {join} join t.d b on a.k = b.k");
        assert_eq!(scene("by = [\"k\"]", by_key, &joined, &["e", "d"]).is_ok(), kept, "{joined}");
    }
    // A column equal to one of a source that is read whole is not that source's.
    let foreign = "select s.k, e.v from t.e e join t.s s on s.k = e.v";
    assert!(scene("by = [\"k\"]", by_key, foreign, &["e"]).is_err());
    assert_eq!(scene("by = [\"v\"]", by_key, foreign, &["e"]), Ok(Increment::Keys));

    assert_eq!(scene("by = [\"k\"]", MERGE, sql, &["e"]), Ok(Increment::Keys));
    assert_eq!(scene("by = [\"day\"]", MERGE, sql, &["e"]), Ok(Increment::FormerKeys));
    // A key that several rows of the table have does not identify a group.
    let by_name = "[sink.merge]\nkeys = [\"name\"]\n";
    assert!(scene("by = [\"k\"]", by_name, sql, &["e"]).is_err());
    assert_eq!(scene("by = [\"text\"]", by_name, sql, &["e"]), Ok(Increment::Keys));

    let once =
        "[[expect]]\nname = \"once\"\nunique = { columns = [\"k\"], keep_first_by = [\"v\"] }\non_fail = \"drop\"\n";
    let once = &format!("{MERGE}{once}");
    assert!(scene("", once, sql, &["e"]).is_err());
    assert!(scene("by = [\"day\"]", once, sql, &["e"]).is_err());
    assert_eq!(scene("by = [\"k\"]", once, sql, &["e"]), Ok(Increment::Keys));

    let small = &format!("{MERGE}[[expect]]\nname = \"small\"\ncheck = \"v < 9\"\non_fail = \"quarantine\"\n");
    assert_eq!(scene("by = [\"day\"]", small, sql, &["e"]), Ok(Increment::FormerKeys));
    assert!(scene("by = [\"text\"]", small, sql, &["e"]).is_err());
    assert_eq!(scene("", small, sql, &["e"]), Ok(Increment::Nothing));
}

#[test]
fn reasons_name_what_would_do() {
    let mut texts = Vec::new();
    for (by, rest, sql, changed) in [
        ("", MERGE, "select day as k, sum(v) as v from t.e group by day", &["e"][..]),
        ("", MERGE, "select e.k, d.v from t.e e left join t.d d on e.k = d.k", &["d"]),
        ("by = [\"k\"]", MERGE, "select k, row_number() over (order by v) as n from t.e ", &["e"]),
        ("", "[sink.overwrite_partitions]\nby = [\"day\"]\n", "select k, day from t.e ", &["e"]),
        ("", APPEND, "select distinct k from t.e ", &["e"]),
        // Columns that the grouping and the window share.
        ("", MERGE, "select k, lag(sum(v)) over (partition by k order by day) as v from t.e group by k, day", &["e"]),
    ] {
        texts.push(scene(by, rest, sql, changed).unwrap_err());
    }
    let lookback = "lookback = { column = \"ts\", days = 2 }";
    texts.push(scene(lookback, MERGE, "select k from t.e ", &["e"]).unwrap_err());
    let apart = "grain = [\"k\"]\n[source.\"t.e\"]\nread = \"changed\"\nby = [\"k\"]\n[source.\"t.d\"]\nread = \"changed\"\n[sink.append]\n";
    texts.push(
        proven(&apart.replace("[sink.append]", MERGE), "select e.k from t.e e join t.d d on e.k = d.k", &["e", "d"])
            .unwrap_err(),
    );
    insta::assert_snapshot!(texts.join("\n"), @r#"
    `group by day` may need rows of t.e that did not change: all rows are read; `by = ["day"]` of t.e would do
    the left join to a source that is read by changes may need rows of t.d that did not change: all rows are read; `by = ["k"]` of t.d and of t.e would do
    `row_number` over a window without `partition by` may need rows of t.e that did not change: all rows are read, as with `read = "all"`
    `overwrite_partitions` by day may need rows of t.e that did not change: all rows are read; `by = ["day"]` of t.e would do
    `distinct` may need rows of t.e that did not change: all rows are read; use `merge` with a `by`, or `read = "all"`
    `group by k, day` may need rows of t.e that did not change: all rows are read; `by = ["k"]` of t.e would do
    the rows that `lookback` of t.e reads first are computed without those before them: all rows are read; use `by`
    t.d and t.e changed, which are read by different columns
    "#);
}
