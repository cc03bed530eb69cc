//! Accepted and refused queries, and that results of accepted ones do not depend on the order of rows.

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::session::{RuntimeOptions, runtime, session_config, session_state};
use crate::store::Stores;

type Row = (i64, i64, i64);

/// `t.rows` with columns k, a and b.
fn context(rows: &[Row]) -> SessionContext {
    let options = RuntimeOptions { memory_bytes: 64 << 20, spill_dir: None, spill_limit_bytes: 1 << 20 };
    let runtime = runtime(&options, &Arc::new(Stores::default())).unwrap();
    let context = SessionContext::new_with_state(session_state(session_config(SessionConfig::new(), 1, 64), runtime));
    let schema = Arc::new(Schema::new(["k", "a", "b"].map(|name| Field::new(name, DataType::Int64, true)).to_vec()));
    let column = |value: fn(&Row) -> i64| Arc::new(rows.iter().map(value).collect::<Int64Array>()) as _;
    let columns = vec![column(|row| row.0), column(|row| row.1), column(|row| row.2)];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let catalog = context.catalog("datafusion").unwrap();
    catalog.register_schema("t", Arc::new(datafusion::catalog::MemorySchemaProvider::new())).unwrap();
    context.register_table("t.rows", Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap())).unwrap();
    context
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// `key` is that of `t.rows`.
fn found(sql: &str, key: &[&str]) -> Vec<Problem> {
    let plan = block_on(context(&[]).state().create_logical_plan(sql)).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let key = key.iter().map(|name| (*name).to_owned()).collect();
    problems(&plan, &BTreeMap::from([("t.rows".parse().unwrap(), key)])).unwrap()
}

#[test]
fn functions_of_chance_and_of_the_time_are_refused_wherever_they_stand() {
    for (sql, word) in [
        ("select shuffle(make_array(k, a)) as s from t.rows", "shuffle"),
        ("select random() as r from t.rows", "random"),
        ("select uuid() as u from t.rows", "uuid"),
        ("select k from t.rows where a < random()", "random"),
        ("select sum(random()) as s from t.rows", "random"),
        ("select k from t.rows order by random()", "random"),
        ("select k from t.rows where k in (select k from t.rows where random() < 0.5)", "random"),
        ("with r as (select random() as r from t.rows) select r from r", "random"),
        ("select sum(a) over (order by random()) as s from t.rows", "random"),
        ("select k from t.rows where now() > '2024-01-01'", "now"),
        ("select \"now\"() as n from t.rows", "now"),
        ("select current_timestamp as n from t.rows", "now"),
        ("select current_date as d from t.rows", "current_date"),
        ("select today() as d from t.rows", "current_date"),
        ("select current_time() as d from t.rows", "current_time"),
    ] {
        let problems = found(sql, &[]);
        assert_eq!(problems.len(), 1, "{sql}: {problems:?}");
        assert_eq!(problems[0].words[0], word, "{sql}");
    }
    for sql in [
        "select k, abs(a) as now, date_trunc('day', to_timestamp(b)) as today from t.rows",
        "select sum(a) over (partition by k order by b) as s, md5(k::text) as uuid from t.rows",
    ] {
        assert_eq!(found(sql, &[]), [], "{sql}");
    }
}

#[test]
fn a_limit_needs_an_order_that_tells_rows_apart() {
    for (sql, order) in [
        ("select k, a from t.rows limit 3", "k, a"),
        ("select k, a from t.rows order by k limit 3", "k, a"),
        ("select k, a from t.rows order by a limit 3", "a, k"),
        ("select k, a from t.rows order by a desc nulls last limit 3", "a desc nulls last, k"),
        ("select k, a from t.rows order by abs(k) limit 3", "abs(t.rows.k), k, a"),
        ("select a, k from t.rows order by b limit 3", "b, a, k"),
        ("select k, a from t.rows order by a offset 3", "a, k"),
        ("select k, a from (select k, a from t.rows order by k) limit 3", "k, a"),
        ("select k, a from (select k, a from t.rows order by k limit 3)", "k, a"),
        ("with x as (select k, a from t.rows limit 3) select k from x", "k, a"),
        ("select k from t.rows where a in (select a from t.rows order by b limit 3)", "b, a"),
        ("select k, (select a from t.rows order by b limit 1) as a from t.rows", "b, a"),
        ("(select k from t.rows order by a limit 1) union all select k from t.rows", "a, k"),
        ("select sum(a) as k from (select a from t.rows limit 9)", "a"),
        ("select k from t.rows where exists (select * from t.rows order by k limit 1)", "k, a, b"),
        ("select k, max(a) as a from t.rows group by k, b order by k limit 3", "k, a"),
        ("select distinct on (k) k, a from t.rows", "k, a"),
        ("select distinct on (k) k, a from t.rows order by k, b desc", "k, b desc, a"),
    ] {
        let problems = found(sql, &[]);
        assert_eq!(problems.len(), 1, "{sql}: {problems:?}");
        assert!(problems[0].help.ends_with(&format!("`order by {order}`")), "{sql}: {}", problems[0].help);
    }
    for sql in [
        "select k, a from t.rows order by k limit 3",
        "select k, a from t.rows order by a desc, k limit 3",
        "select k as \"K\", a from t.rows order by a, k limit 3",
        "select k + a as s, 1 as one from t.rows order by k, a limit 3",
        "select k, a from t.rows limit 0",
        "select k, a from t.rows offset 0",
        "select max(k) as k from t.rows limit 1",
        "select k from t.rows where a = (select max(a) from t.rows limit 1)",
        "select k from t.rows where exists (select 1 from t.rows limit 1)",
        "select k, sum(a) as s from t.rows group by k order by k limit 3",
        "select n from (select k, sum(a) as n from t.rows group by k order by k limit 3)",
        "select k, a, b from (select * from t.rows order by a, b, k limit 3)",
        "select k, a from (select k, a, row_number() over (partition by k order by a, b) as n from t.rows) where n <= 3",
        "select distinct on (k) k, a from t.rows order by k, a desc",
        "select distinct k from t.rows order by k limit 2",
        "select k, b from (select k, a, b from t.rows where a > 1 order by k limit 3)",
        "with x as (select k, a + b as s from t.rows) select * from x order by k desc offset 2",
        "select distinct on (k) k, a from t.rows",
    ] {
        assert_eq!(found(sql, &["k"]), [], "{sql}");
    }
    for sql in [
        "select r.a from t.rows r join t.rows s on r.k = s.k order by r.k limit 3",
        "select k, a from (select * from t.rows union all select * from t.rows) order by k limit 3",
        "select k % 3 as k, a from t.rows order by k limit 3",
        "select k, a from t.rows order by k limit 3",
    ] {
        assert_eq!(found(sql, &["k", "b"]).len(), 1, "{sql}");
    }
}

#[test]
fn functions_of_rows_in_an_order_need_one() {
    for (sql, word) in [
        ("select k, first_value(a) as f from t.rows group by k", "first_value"),
        ("select k, last_value(a) as f from t.rows group by k", "last_value"),
        ("select k, array_agg(a) as f from t.rows group by k", "array_agg"),
        ("select k, array_agg(distinct a) as f from t.rows group by k", "array_agg"),
        ("select k, cardinality(array_agg(a)) as f from t.rows group by k", "array_agg"),
        ("select k, string_agg(a::text, ',') as f from t.rows group by k", "string_agg"),
        ("select k from t.rows group by k having first_value(a) > 1", "first_value"),
        ("select k, row_number() over (partition by k) as n from t.rows", "row_number"),
        ("select k, lag(a) over () as n from t.rows", "lag"),
        ("select k from (select k, lead(a) over (partition by k) as n from t.rows) where n > 1", "lead"),
        ("select k, ntile(2) over () as n from t.rows", "ntile"),
        ("select k, first_value(a) over (partition by k) as n from t.rows", "first_value"),
    ] {
        let problems = found(sql, &[]);
        assert_eq!(problems.len(), 1, "{sql}: {problems:?}");
        assert_eq!(problems[0].words[0], word, "{sql}");
    }
    for sql in [
        "select k, first_value(a order by b) as f, array_agg(a order by a) as l from t.rows group by k",
        "select k, row_number() over (partition by k order by a, b) as n, rank() over () as r from t.rows",
        "select k, sum(a) over (partition by k) as s, count(distinct a) as n from t.rows group by k, a",
    ] {
        assert_eq!(found(sql, &[]), [], "{sql}");
    }
}

#[test]
fn the_order_that_is_asked_for_is_enough() {
    for sql in ["select k, a from t.rows limit 3", "select a + b as s, b from t.rows order by b desc limit 3"] {
        let problems = found(sql, &[]);
        let (_, order) = problems[0].help.split_once('`').unwrap();
        let (head, _) = sql.split_once(if sql.contains("order") { "order" } else { "limit" }).unwrap();
        let mended = format!("{head} {} limit 3", order.trim_end_matches('`'));
        assert_eq!(found(&mended, &[]), [], "{mended}");
    }
}

/// Rows of a result as text, sorted.
fn answer(sql: &str, rows: &[Row]) -> Vec<String> {
    let batches = block_on(async { context(rows).sql(sql).await.unwrap().collect().await.unwrap() });
    let mut lines: Vec<String> =
        pretty_format_batches(&batches).unwrap().to_string().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every accepted query has one result, in whatever order its input is.
    #[test]
    fn what_is_accepted_does_not_depend_on_how_rows_lie(
        rows in prop::collection::vec((0..3_i64, 0..3_i64, 0..3_i64), 2..9),
        columns in subsequence(vec!["k", "a", "b", "k + a as c", "7 as d"], 1..5),
        order in subsequence(vec!["k", "a desc", "b", "k + b"], 0..4),
        shape in select(&["plain", "grouped", "within", "distinct on"][..]),
        limit in 1..4_usize,
    ) {
        let columns = columns.join(", ");
        let sorted = |order: &[&str]| if order.is_empty() { String::new() } else { format!("order by {}", order.join(", ")) };
        let sql = match shape {
            "plain" => format!("select {columns} from t.rows {} limit {limit}", sorted(&order)),
            "grouped" => {
                let order: Vec<&str> = order.into_iter().filter(|column| !column.contains('b')).collect();
                format!("select k, a, sum(b) as s from t.rows group by k, a {} limit {limit}", sorted(&order))
            }
            "within" => format!(
                "select count(*) as n from t.rows r join (select {columns} from t.rows {} limit {limit}) x on true",
                sorted(&order)
            ),
            _ => {
                let order: Vec<&str> = std::iter::once("k").chain(order.into_iter().filter(|column| *column != "k")).collect();
                format!("select distinct on (k) {columns} from t.rows {}", sorted(&order))
            }
        };
        if found(&sql, &[]).is_empty() {
            let reversed: Vec<Row> = rows.iter().rev().copied().collect();
            prop_assert_eq!(answer(&sql, &rows), answer(&sql, &reversed), "{}", sql);
        }
    }
}
