//! Whether a query's plan proves that some columns are unique in its rows. Pure, on plans; without a proof, rows may be
//! equal.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::JoinType;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, Join, LogicalPlan, Operator, Projection, TableScan,
};
use pulse_core::sql::RAW;

use crate::source::file::{LINE, SOURCE_FILE};

/// Indices of columns in a plan's schema.
type Places = BTreeSet<usize>;

/// Whether the plan proves that no two rows are equal in all of `columns`.
pub(super) fn are_distinct(plan: &LogicalPlan, columns: &[String]) -> bool {
    contain_one_of(plan, columns, &keys(plan, &lines))
}

/// Whether `columns` identify the file of a row, so that rows of two files are never equal in them.
pub(super) fn name_their_file(plan: &LogicalPlan, columns: &[String]) -> bool {
    contain_one_of(plan, columns, &keys(plan, &file))
}

fn contain_one_of(plan: &LogicalPlan, columns: &[String], keys: &[Places]) -> bool {
    let places: Option<Places> = columns.iter().map(|name| place(plan, name)).collect();
    places.is_some_and(|places| keys.iter().any(|key| key.is_subset(&places)))
}

fn place(plan: &LogicalPlan, name: &str) -> Option<usize> {
    plan.schema().fields().iter().position(|field| field.name() == name)
}

/// A line of a file is read once.
fn lines(scan: &LogicalPlan) -> Option<Places> {
    [SOURCE_FILE, LINE].into_iter().map(|name| place(scan, name)).collect()
}

fn file(scan: &LogicalPlan) -> Option<Places> {
    Some(BTreeSet::from([place(scan, SOURCE_FILE)?]))
}

/// Column sets that are unique keys of the plan's rows. `leaf` returns those of a source of files.
fn keys(plan: &LogicalPlan, leaf: &dyn Fn(&LogicalPlan) -> Option<Places>) -> Vec<Places> {
    let below = |input: &LogicalPlan| keys(input, leaf);
    match plan {
        LogicalPlan::TableScan(scan) if is_of_files(scan) => leaf(plan).into_iter().collect(),
        // It has at most one row.
        LogicalPlan::EmptyRelation(_) => vec![Places::new()],
        LogicalPlan::SubqueryAlias(alias) => below(&alias.input),
        LogicalPlan::Filter(filter) => below(&filter.input),
        LogicalPlan::Sort(sort) => below(&sort.input),
        LogicalPlan::Limit(limit) => below(&limit.input),
        // Its own columns come after those of its input.
        LogicalPlan::Window(window) => below(&window.input),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let mut keys = below(input);
            keys.push((0..input.schema().fields().len()).collect());
            keys
        }
        LogicalPlan::Aggregate(aggregate) => of_groups(aggregate).into_iter().collect(),
        LogicalPlan::Projection(projection) => of_projection(projection, &below(&projection.input)),
        LogicalPlan::Join(join) => of_join(join, below(&join.left), below(&join.right)),
        _ => Vec::new(),
    }
}

pub(super) fn is_of_files(scan: &TableScan) -> bool {
    scan.table_name.schema() == Some(RAW)
}

/// Grouping sets may yield a group several times.
fn of_groups(aggregate: &Aggregate) -> Option<Places> {
    let plain = aggregate.group_expr.iter().all(|expression| !matches!(expression, Expr::GroupingSet(_)));
    plain.then(|| (0..aggregate.group_expr.len()).collect())
}

/// A key remains one if each of its columns is projected, under any name.
fn of_projection(projection: &Projection, keys: &[Places]) -> Vec<Places> {
    let origins: Vec<Option<usize>> =
        projection.expr.iter().map(|expression| shown_column(expression, &projection.input)).collect();
    let target = |wanted: &usize| origins.iter().position(|origin| origin.as_ref() == Some(wanted));
    keys.iter().filter_map(|key| key.iter().map(target).collect()).collect()
}

/// The input column that an expression passes through injectively.
pub(super) fn shown_column(expression: &Expr, input: &LogicalPlan) -> Option<usize> {
    match expression {
        Expr::Column(column) => input.schema().maybe_index_of_column(column),
        Expr::Alias(alias) => shown_column(&alias.expr, input),
        Expr::Cast(cast) => {
            let inner = shown_column(&cast.expr, input)?;
            keeps_values_apart(input.schema().field(inner).data_type(), cast.field.data_type()).then_some(inner)
        }
        _ => None,
    }
}

pub(super) fn keeps_values_apart(from: &DataType, to: &DataType) -> bool {
    // The wall clock of another zone shows a time twice when it is set back.
    let is_utc = |zone: &Option<Arc<str>>| zone.as_deref().is_none_or(|zone| zone == "UTC" || zone == "+00:00");
    match (from, to) {
        (DataType::Timestamp(from, zone), DataType::Timestamp(TimeUnit::Microsecond, other)) => {
            let same_clock = zone.is_some() == other.is_some() || (is_utc(zone) && is_utc(other));
            *from != TimeUnit::Nanosecond && same_clock
        }
        _ => from == to || (from.is_string() && to.is_string()) || (from.is_integer() && to.is_integer()),
    }
}

fn of_join(join: &Join, left: Vec<Places>, right: Vec<Places>) -> Vec<Places> {
    let shift = join.left.schema().fields().len();
    let (on_left, on_right) = joined_columns(join);
    let one = |keys: &[Places], on: &Places| keys.iter().any(|key| key.is_subset(on));
    let (one_left, one_right) = (one(&left, &on_left), one(&right, &on_right));
    let right: Vec<Places> = match join.join_type {
        JoinType::RightSemi | JoinType::RightAnti => right,
        _ => right.into_iter().map(|key| key.into_iter().map(|place| place + shift).collect()).collect(),
    };
    let pairs = || left.iter().flat_map(|left| right.iter().map(move |right| left | right));
    match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti => left,
        JoinType::RightSemi | JoinType::RightAnti => right,
        JoinType::Inner | JoinType::Left | JoinType::Right => {
            let mut keys: Vec<Places> = pairs().collect();
            // A row with at most one match occurs at most once.
            keys.extend(left.iter().filter(|_| one_right && join.join_type != JoinType::Right).cloned());
            keys.extend(right.iter().filter(|_| one_left && join.join_type != JoinType::Left).cloned());
            keys
        }
        _ => Vec::new(),
    }
}

/// Columns of each side that must equal a column of the other.
fn joined_columns(join: &Join) -> (Places, Places) {
    let conjuncts = join.filter.iter().flat_map(|filter| split_conjunction(filter));
    let equal = conjuncts.filter_map(|expression| match expression {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => Some((left.as_ref(), right.as_ref())),
        _ => None,
    });
    let mut places = (Places::new(), Places::new());
    for (a, b) in join.on.iter().map(|(a, b)| (a, b)).chain(equal) {
        for (a, b) in [(a, b), (b, a)] {
            if let (Some(left), Some(right)) = (shown_column(a, &join.left), shown_column(b, &join.right)) {
                places.0.insert(left);
                places.1.insert(right);
                break;
            }
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use datafusion::datasource::MemTable;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    /// `raw.lines` of k, v, source_file and line; `t.rows` of k and v.
    async fn plan(sql: &str) -> LogicalPlan {
        let context = SessionContext::new_with_config(SessionConfig::new().with_default_catalog_and_schema("c", "raw"));
        context.sql("create schema t").await.unwrap();
        let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
        let columns =
            [("k", DataType::Int64), ("v", DataType::Int64), (SOURCE_FILE, DataType::Utf8), (LINE, DataType::Int64)];
        for (name, count) in [("raw.lines", 4), ("t.rows", 2), ("t.others", 2)] {
            let schema = Arc::new(Schema::new(columns[..count].iter().map(field).collect::<Vec<_>>()));
            context.register_table(name, Arc::new(MemTable::try_new(schema, vec![Vec::new()]).unwrap())).unwrap();
        }
        context.state().create_logical_plan(sql).await.unwrap()
    }

    async fn distinct(sql: &str, columns: &[&str]) -> bool {
        are_distinct(&plan(sql).await, &columns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[tokio::test]
    async fn what_the_plan_shows_to_be_distinct() {
        for (sql, columns) in [
            ("select * from raw.lines", &["source_file", "line"][..]),
            ("select k, line as n, source_file as f from (select * from raw.lines where v > 1)", &["n", "f", "k"]),
            ("select k, cast(line as int) as line, source_file from raw.lines", &["source_file", "line"]),
            ("select k, sum(v) as v from t.rows group by k", &["k"]),
            (
                "with s as (select k as a, v % 2 as b, count(*) as n from t.rows group by 1, 2) select n, b, a from s",
                &["a", "b"],
            ),
            ("select distinct k, v from t.rows", &["v", "k"]),
            ("select count(*) as n from t.rows", &["n"]),
            ("select 1 as id", &["id"]),
            ("select k, row_number() over (order by k) as n from (select k from t.rows group by k)", &["k"]),
            (
                "select a.k, b.v from (select distinct k from t.rows) a left join (select k, max(v) as v from t.rows group by k) b on a.k = b.k",
                &["k"],
            ),
            (
                "select a.k, b.k as other from (select distinct k from t.rows) a join (select distinct k from t.others) b on a.k < b.k",
                &["k", "other"],
            ),
        ] {
            assert!(distinct(sql, columns).await, "{sql}");
        }
    }

    #[tokio::test]
    async fn what_the_plan_does_not_show() {
        for (sql, columns) in [
            ("select k, v from t.rows", &["k", "v"][..]),
            ("select * from raw.lines", &["source_file"]),
            ("select lower(source_file) as source_file, line from raw.lines", &["source_file", "line"]),
            (
                "select source_file, line from raw.lines union all select source_file, line from raw.lines",
                &["source_file", "line"],
            ),
            ("select k % 2 as k, n from (select k, count(*) as n from t.rows group by k)", &["k"]),
            ("select k, v, count(*) as n from t.rows group by grouping sets ((k, v), (k))", &["k", "v"]),
            ("select a.k from (select distinct k from t.rows) a join t.others b on a.k = b.k", &["k"]),
            ("select a.k from t.others b left join (select distinct k from t.rows) a on a.k = b.k", &["k"]),
            (
                "select a.k, b.k as other from (select distinct k from t.rows) a full join (select distinct k from t.others) b on a.k = b.k",
                &["k", "other"],
            ),
            ("select unnest([1, 2]) as n, k from (select distinct k from t.rows)", &["k"]),
            ("select cast(k as double) as k from (select distinct k from t.rows)", &["k"]),
        ] {
            assert!(!distinct(sql, columns).await, "{sql}");
        }
    }

    #[tokio::test]
    async fn a_row_may_name_its_file() {
        let names = async |sql: &str| name_their_file(&plan(sql).await, &["f".to_owned(), "k".to_owned()]);
        assert!(names("select k, source_file as f from raw.lines where v > 1").await);
        assert!(!names("select k, lower(source_file) as f from raw.lines").await);
        assert!(!names("select k, v as f from raw.lines").await);
    }
}
