//! Finds the wall-clock columns of a query: timestamps without a zone that derive from a source's timestamps without
//! one.
//!
//! Functions such as `to_timestamp` also yield timestamps without a zone, but mean UTC: the type alone is ambiguous.

use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// For each column of the plan, whether it derives from a source column with timestamps without a zone.
pub(super) fn wall_clocks(plan: &LogicalPlan) -> Result<Vec<bool>> {
    let mut inputs = Vec::new();
    // Evaluated once per node: evaluating it per column would visit the nodes below exponentially often.
    for input in plan.inputs() {
        inputs.push(Input { plan: input, clocks: wall_clocks(input)? });
    }
    let of_first = || inputs.first().map(|input| input.clocks.clone()).unwrap_or_default();
    let columns = plan.schema().fields().len();
    match plan {
        LogicalPlan::TableScan(scan) => {
            Ok(scan.projected_schema.fields().iter().map(|field| holds_wall_clock(field.data_type())).collect())
        }
        LogicalPlan::Projection(projection) => follow(projection.expr.iter(), &inputs),
        LogicalPlan::Aggregate(aggregate) => {
            let follows = follow(aggregate.group_expr.iter().chain(&aggregate.aggr_expr), &inputs)?;
            // Grouping sets are one expression with several columns, plus a grouping id.
            Ok(match follows.len() == columns {
                true => follows,
                false => vec![follows.iter().any(|follows| *follows); columns],
            })
        }
        LogicalPlan::Window(window) => Ok([of_first(), follow(window.window_expr.iter(), &inputs)?].concat()),
        LogicalPlan::Union(_) => {
            let is_any = |at: usize| inputs.iter().any(|input| input.clocks.get(at).copied().unwrap_or_default());
            Ok((0..columns).map(is_any).collect())
        }
        // Its columns are those of its input under another qualifier.
        LogicalPlan::SubqueryAlias(_) => Ok(of_first()),
        LogicalPlan::Unnest(unnest) => {
            let before = of_first();
            Ok(unnest.dependency_indices.iter().map(|at| before.get(*at).copied().unwrap_or_default()).collect())
        }
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => Ok(vec![false; columns]),
        _ => Ok(plan.schema().columns().iter().map(|column| of_column(column, &inputs)).collect()),
    }
}

/// An input plan, and which of its columns are wall clocks.
struct Input<'a> {
    plan: &'a LogicalPlan,
    clocks: Vec<bool>,
}

fn follow<'a>(expressions: impl Iterator<Item = &'a Expr>, inputs: &[Input<'_>]) -> Result<Vec<bool>> {
    expressions.map(|expression| follows(expression, inputs)).collect()
}

/// Whether the expression's value derives from such a column.
fn follows(expression: &Expr, inputs: &[Input<'_>]) -> Result<bool> {
    let mut found = false;
    expression.apply(|part| {
        found |= match part {
            Expr::Column(column) => of_column(column, inputs),
            Expr::ScalarSubquery(subquery) => wall_clocks(&subquery.subquery)?.into_iter().any(|one| one),
            _ => false,
        };
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn of_column(column: &Column, inputs: &[Input<'_>]) -> bool {
    let found = inputs.iter().find_map(|input| {
        let at = input.plan.schema().maybe_index_of_column(column)?;
        input.clocks.get(at).copied()
    });
    found.unwrap_or_default()
}

/// Whether the type is a timestamp without a zone or contains one.
pub(crate) fn holds_wall_clock(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, None) => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::Map(item, _) => holds_wall_clock(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| holds_wall_clock(field.data_type())),
        DataType::Dictionary(_, values) => holds_wall_clock(values),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, Schema, TimeUnit};
    use datafusion::datasource::empty::EmptyTable;
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn stamps_without_a_zone_follow_from_those_of_sources() {
        let stamp = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        let schema = Schema::new(vec![
            Field::new("k", DataType::Int64, true),
            Field::new("local", stamp(None), true),
            Field::new("at", stamp(Some("UTC")), true),
            Field::new("text", DataType::Utf8, true),
        ]);
        let context = SessionContext::new();
        context.register_table("t", Arc::new(EmptyTable::new(Arc::new(schema)))).unwrap();
        for (sql, expected) in [
            ("select * from t", [false, true, false, false].as_slice()),
            (
                "select local as a, date_trunc('day', local) as b, to_timestamp(text) as c, cast(at as timestamp) as d from t",
                &[true, true, false, false],
            ),
            (
                "select k, max(local) as a, count(*) as n, min(to_timestamp(text)) as b from t group by k",
                &[false, true, false, false],
            ),
            ("select k, lag(local) over (partition by k order by at) as a from t", &[false, true]),
            ("select coalesce(local, to_timestamp('2020-01-01')) as a from t", &[true]),
            (
                "with a as (select k, local as l from t where local > '2020-01-01') select x.l, y.text from a x join t y on x.k = y.k",
                &[true, false],
            ),
            ("select to_timestamp(text) as a from t union all select local from t", &[true]),
            ("select (select max(local) from t) as a, k from t order by k limit 3", &[true, false]),
            ("select distinct local, k from t", &[true, false]),
            ("select unnest([local]) as a, k from t", &[true, false]),
            ("select now()::timestamp as a", &[false]),
        ] {
            let plan = context.state().create_logical_plan(sql).await.unwrap();
            let found: Vec<bool> = wall_clocks(&plan).unwrap();
            assert_eq!(found, expected, "{sql}");
        }
    }

    /// Takes time linear in the number of plan nodes.
    #[tokio::test]
    async fn a_deep_query_is_looked_through_once() {
        let local = Field::new("local", DataType::Timestamp(TimeUnit::Microsecond, None), true);
        let number = |at: usize| Field::new(format!("c{at}"), DataType::Int64, true);
        let fields: Vec<Field> = (0..10).map(number).chain([local]).collect();
        let context = SessionContext::new();
        context.register_table("t", Arc::new(EmptyTable::new(Arc::new(Schema::new(fields))))).unwrap();
        let mut frame = context.table("t").await.unwrap();
        for _ in 0..40 {
            let columns = frame.schema().columns();
            frame = frame.select(columns.into_iter().map(Expr::Column).collect::<Vec<_>>()).unwrap();
            frame = frame.filter(datafusion::logical_expr::col("c0").gt(datafusion::logical_expr::lit(0))).unwrap();
        }
        let found = wall_clocks(frame.logical_plan()).unwrap();
        assert_eq!(found, [vec![false; 10], vec![true]].concat());
    }
}
