use datafusion::arrow::datatypes::{Field, Schema, TimeUnit};
use datafusion::catalog::MemTable;
use datafusion::prelude::SessionContext;
use std::sync::Arc;

use super::*;

async fn plan(query: &str) -> LogicalPlan {
    let context = SessionContext::new();
    context.sql("create schema s").await.unwrap();
    for name in ["e", "d"] {
        let at = Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true);
        let fields = vec![at, Field::new("k", DataType::Int64, true), Field::new("day", DataType::Date32, true)];
        let table = MemTable::try_new(Arc::new(Schema::new(fields)), vec![vec![]]).unwrap();
        context.register_table(TableReference::partial("s", name), Arc::new(table)).unwrap();
    }
    context.state().create_logical_plan(query).await.unwrap()
}

const DAY: &str = "at >= $interval_start and at < $interval_end";

async fn scope(query: &str) -> (Option<String>, bool) {
    let scope = IntervalScope::of(&plan(&query.replace("DAY", DAY)).await, IntervalUnit::Day).unwrap();
    (scope.column("s.e").map(str::to_owned), scope.decomposes)
}

#[tokio::test]
async fn what_an_interval_reads_is_proven_from_its_filters() {
    let at = || Some("at".to_owned());
    let cases = [
        ("select at, k from s.e where DAY", at(), true),
        ("select at, k from s.e where $interval_start <= at and $interval_end > at and k > 1", at(), true),
        (
            "with x as (select at as t, k from s.e) select t from x where t >= $interval_start and t < $interval_end",
            at(),
            true,
        ),
        ("select cast(at as date) d, sum(k) from s.e where DAY group by cast(at as date)", at(), true),
        ("select date_trunc('hour', at) h, sum(k) from s.e where DAY group by 1", at(), true),
        // A week contains rows of several days, and so does a key.
        ("select date_trunc('week', at) w, sum(k) from s.e where DAY group by 1", at(), false),
        ("select k, count(*) from s.e where DAY group by k", at(), false),
        ("select distinct k from s.e where DAY", at(), false),
        ("select k, row_number() over (order by at) from s.e where DAY", at(), false),
        ("select k from s.e where DAY order by at limit 3", at(), false),
        ("select at, $interval_start as start from s.e where DAY", at(), false),
        // A single bound proves nothing, an exclusive start shifts it, and `or` bounds nothing.
        ("select k from s.e where at >= $interval_start", None, false),
        ("select k from s.e where at > $interval_start and at < $interval_end", None, false),
        ("select k from s.e where (DAY) or k = 1", None, false),
        ("select k from s.e where cast(at as date) >= $interval_start and at < $interval_end", None, false),
        // Each scan must be bounded.
        (
            "select a.k from s.e a join s.e b on a.k = b.k where a.at >= $interval_start and a.at < $interval_end",
            None,
            false,
        ),
        ("select k from s.e where DAY and k in (select k from s.e)", None, false),
        // Below an aggregate, rows of other days matter.
        ("select * from (select max(at) as at, k from s.e group by k) where DAY", None, false),
    ];
    for (query, column, decomposes) in cases {
        assert_eq!(scope(query).await, (column, decomposes), "{query}");
    }
}

#[tokio::test]
async fn a_join_with_an_unbounded_table_is_bounded_on_one_side() {
    let query = "select e.k from s.e join s.d on e.k = d.k where e.at >= $interval_start and e.at < $interval_end";
    let plan = plan(query).await;
    let scope = IntervalScope::of(&plan, IntervalUnit::Day).unwrap();
    assert_eq!((scope.column("s.e"), scope.column("s.d")), (None, None), "a join is not followed");
}

#[tokio::test]
async fn partitions_of_several_intervals_are_not_within_one() {
    let within = async |query: &str, unit| {
        columns_within(&plan(&query.replace("DAY", DAY)).await, &["p".to_owned()], unit).unwrap()
    };
    let by_day = "select cast(at as date) as p, sum(k) from s.e where DAY group by 1";
    let by_month = "select date_trunc('month', at) as p, sum(k) from s.e where DAY group by 1";
    assert!(within(by_day, IntervalUnit::Day).await && within(by_day, IntervalUnit::Month).await);
    assert!(!within(by_day, IntervalUnit::Hour).await && !within(by_month, IntervalUnit::Day).await);
    assert!(within(by_month, IntervalUnit::Month).await);
    assert!(!within("select day as p from s.e where DAY", IntervalUnit::Day).await, "another column");
}
