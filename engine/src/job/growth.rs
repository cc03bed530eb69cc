//! Whether rows that are only added to the sources can remove a key from a query's result. Only then, the previous
//! result must be computed too. Pure, on plans; unknown constructs count as if they could.

use std::collections::HashSet;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan};
use pulse_core::name::TableName;

use super::query::JobQuery;
use crate::sink::FailAction;

/// True if every key that the query yielded is still yielded after rows are added to tables outside `fixed`.
pub(super) fn keeps_keys(query: &JobQuery, keys: &[String], fixed: &[&TableName]) -> bool {
    let removing = query.checks.iter().filter(|check| check.on_fail != FailAction::Count).map(|check| &check.column);
    let Some(moving) = moving(&query.plan, fixed) else { return false };
    keys.iter().chain(removing).all(|column| !moving.contains(column))
}

/// Columns whose values may change in remaining rows; `None` if rows may disappear.
fn moving(plan: &LogicalPlan, fixed: &[&TableName]) -> Option<HashSet<String>> {
    if is_fixed(plan, fixed) {
        return Some(HashSet::new());
    }
    match plan {
        LogicalPlan::TableScan(_) => Some(HashSet::new()),
        LogicalPlan::SubqueryAlias(alias) => moving(&alias.input, fixed),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => moving(&sort.input, fixed),
        LogicalPlan::Distinct(Distinct::All(input)) => moving(input, fixed),
        LogicalPlan::Filter(filter) => {
            let below = moving(&filter.input, fixed)?;
            rests(&filter.predicate, &below).then_some(below)
        }
        LogicalPlan::Projection(projection) => {
            let below = moving(&projection.input, fixed)?;
            let names = projection.expr.iter().filter(|expression| !rests(expression, &below));
            Some(names.map(|expression| expression.schema_name().to_string()).map(unqualified).collect())
        }
        LogicalPlan::Aggregate(aggregate) => {
            let below = moving(&aggregate.input, fixed)?;
            let stable = aggregate.group_expr.iter().all(|expression| rests(expression, &below));
            stable.then(|| aggregate.aggr_expr.iter().map(|e| e.schema_name().to_string()).collect())
        }
        LogicalPlan::Window(window) => {
            let mut below = moving(&window.input, fixed)?;
            below.extend(window.window_expr.iter().map(|expression| expression.schema_name().to_string()));
            Some(below)
        }
        LogicalPlan::Union(union) => {
            let mut all = HashSet::new();
            for input in &union.inputs {
                let below = moving(input, fixed)?;
                // By position and not by name.
                let places = input.schema().fields().iter().enumerate().filter(|(_, f)| below.contains(f.name()));
                all.extend(places.map(|(place, _)| union.schema.field(place).name().clone()));
            }
            Some(all)
        }
        LogicalPlan::Join(join) => {
            let (mut left, right) = (moving(&join.left, fixed)?, moving(&join.right, fixed)?);
            let both: HashSet<String> = left.union(&right).cloned().collect();
            let keys = join.on.iter().all(|(a, b)| rests(a, &left) && rests(b, &right));
            if !keys || !join.filter.iter().all(|filter| rests(filter, &both)) {
                return None;
            }
            match join.join_type {
                JoinType::Inner => Some(both),
                JoinType::LeftSemi => Some(left),
                JoinType::Left if is_fixed(&join.right, fixed) => Some(left),
                JoinType::Left => {
                    left.extend(join.right.schema().fields().iter().map(|field| field.name().clone()));
                    Some(left)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Whether the expression's value cannot change in a remaining row.
fn rests(expression: &Expr, moving: &HashSet<String>) -> bool {
    let asks_elsewhere = expression.exists(|inner| {
        Ok(matches!(inner, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_)))
    });
    !asks_elsewhere.unwrap_or(true) && expression.column_refs().iter().all(|column| !moving.contains(&column.name))
}

/// A column's name without its table's.
fn unqualified(name: String) -> String {
    match name.rsplit_once('.') {
        Some((_, column)) if !name.contains('(') => column.to_owned(),
        _ => name,
    }
}

/// Whether the plan reads no table to which rows were added.
fn is_fixed(plan: &LogicalPlan, fixed: &[&TableName]) -> bool {
    let mut moves = false;
    let looked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let table = (scan.table_name.schema().unwrap_or_default(), scan.table_name.table());
            moves |= !fixed.iter().any(|name| (name.layer(), name.table()) == table);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    looked.is_ok() && !moves
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::datasource::MemTable;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;
    use crate::sink::RowCheck;

    /// Tables `t.moved` and `t.still` with the columns k, ts and v; rows were added to the first.
    fn keeps(sql: &str, checks: &[&str]) -> bool {
        let threads = tokio::runtime::Builder::new_current_thread().build().unwrap();
        threads.block_on(async {
            let context =
                SessionContext::new_with_config(SessionConfig::new().with_default_catalog_and_schema("c", "t"));
            let field = |name| Field::new(name, DataType::Int64, true);
            let schema = Arc::new(Schema::new(vec![field("k"), field("ts"), field("v")]));
            for name in ["moved", "still"] {
                let table = MemTable::try_new(Arc::clone(&schema), vec![Vec::new()]).unwrap();
                context.register_table(format!("t.{name}"), Arc::new(table)).unwrap();
            }
            let plan = context.state().create_logical_plan(sql).await.unwrap();
            let check = |column: &&str| RowCheck {
                name: String::new(),
                column: (*column).to_owned(),
                on_fail: FailAction::Quarantine,
            };
            let query = JobQuery { plan, columns: Vec::new(), checks: checks.iter().map(check).collect() };
            keeps_keys(&query, &["k".to_owned()], &[&"t.still".parse().unwrap()])
        })
    }

    #[test]
    fn rows_that_come_take_no_key_away() {
        for sql in [
            "select k, v from t.moved where v > 1",
            "select k, sum(v) as v from t.moved group by k",
            "select k, sum(v) over (partition by k order by ts) as v from (select * from t.moved where v > 1)",
            "select m.k, case when m.ts < s.ts then 1 end as v from t.moved m left join t.still s on s.ts = m.ts",
            "select m.k, m.v from t.moved m join t.still s on s.k = m.k where s.v < m.v",
            "with sums as (select k, sum(v) as v from t.moved group by k), \
             last as (select ts, row_number() over (order by ts) as n from t.still where v = (select max(v) from t.still)) \
             select sums.k, sums.v / lag(sums.v) over (order by sums.k) as v from sums join last on last.ts = sums.k",
            "select k, v from t.moved union all select k, v from t.still",
            "select distinct k from t.moved",
            "select k from t.still except select k from t.still where v > 1",
        ] {
            assert!(keeps(sql, &[]), "{sql}");
        }
        let checked = "select m.k, s.v is not null as ok from t.moved m left join t.still s on s.k = m.k";
        assert!(keeps(checked, &["ok"]));
    }

    #[test]
    fn rows_that_come_can_take_a_key_away() {
        for sql in [
            "select k, sum(v) as v from t.moved group by k having sum(v) < 9",
            "select k from (select k, row_number() over (partition by k order by ts desc) as n from t.moved) where n = 1",
            "select sum(v) as k from t.moved group by ts",
            "select count(*) over (partition by k) as k from t.moved",
            "select k, v from t.moved order by ts limit 3",
            "select k, v from t.still except select k, v from t.moved",
            "select s.k from t.still s where not exists (select 1 from t.moved m where m.k = s.k)",
            "select k from t.moved where v > (select avg(v) from t.moved)",
            "select s.k, m.v from t.still s left join t.moved m on m.k = s.k where m.v is null",
            "select m.k from t.moved m full join t.still s on s.k = m.k",
            "select a.k from t.still a join (select max(ts) as ts from t.moved) b on b.ts = a.ts",
        ] {
            assert!(!keeps(sql, &[]), "{sql}");
        }
        assert!(!keeps("select k, sum(v) < 9 as small from t.moved group by k", &["small"]));
        assert!(keeps("select k, sum(v) < 9 as small from t.moved group by k", &[]));
    }
}
