//! Whether rows that are only added to the sources can take a key out of a query's answer: then, and only then, the answer
//! before has to be computed too. Pure, on plans; what it does not know it takes for something that can.

use std::collections::HashSet;

use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan};
use pulse_core::name::TableName;

use super::query::JobQuery;
use crate::sink::FailAction;

/// True when each key that the query has yielded is yielded again after rows came to tables that are not in `fixed`.
pub(super) fn keeps_keys(query: &JobQuery, keys: &[String], fixed: &[&TableName]) -> bool {
    let removing = query.checks.iter().filter(|check| check.on_fail != FailAction::Count).map(|check| &check.column);
    let Some(moving) = moving(&query.plan, fixed) else { return false };
    keys.iter().chain(removing).all(|column| !moving.contains(column))
}

/// Columns whose values may become others in rows that stay; none when rows may go.
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

/// Whether the expression's value stays as it is in a row that stays.
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

/// Whether nothing below reads a table to which rows came.
fn is_fixed(plan: &LogicalPlan, fixed: &[&TableName]) -> bool {
    let moves = plan.exists(|node| {
        Ok(match node {
            LogicalPlan::TableScan(scan) => {
                let table = (scan.table_name.schema().unwrap_or_default(), scan.table_name.table());
                !fixed.iter().any(|name| (name.layer(), name.table()) == table)
            }
            _ => false,
        })
    });
    !moves.unwrap_or(true)
}
