//! Whether the changed groups of a source contain all rows of the keys that they touch. Only then can the keys'
//! histories be computed without the other rows.

use std::collections::BTreeSet;

use datafusion::common::tree_node::TreeNode as _;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};

use crate::job::distinct::shown_column;

/// The origins of a plan's column: table and column for each scan that yields rows.
type Origins = BTreeSet<(String, String)>;

/// True if every row of the query derives from one row of a source, and every `by` column of each source is a key.
/// `sources` are all sources of the query, with their `by` columns.
pub(in crate::job) fn covers(plan: &LogicalPlan, keys: &[String], sources: &[(String, Vec<String>)]) -> bool {
    let origins: Vec<Origins> = keys
        .iter()
        .filter_map(|key| origins(plan, plan.schema().fields().iter().position(|field| field.name() == key)?))
        .collect();
    let groups: BTreeSet<&String> = sources.iter().flat_map(|(_, by)| by).collect();
    // Sources with different `by` columns do not expose the same groups.
    let alike = sources.iter().all(|(_, by)| !by.is_empty() && by.len() == groups.len());
    let is_key = |column: &&String| origins.iter().any(|origins| origins.iter().all(|(_, origin)| origin == *column));
    let known = |(table, _): &(String, String)| sources.iter().any(|(source, _)| source == table);
    alike && !origins.is_empty() && origins.iter().flatten().all(known) && groups.iter().all(is_key)
}

/// `None` if a row may derive from several rows.
fn origins(plan: &LogicalPlan, place: usize) -> Option<Origins> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let name = scan.projected_schema.field(place).name().clone();
            let table = &scan.table_name;
            Some([(format!("{}.{}", table.schema().unwrap_or_default(), table.table()), name)].into())
        }
        LogicalPlan::SubqueryAlias(node) => origins(&node.input, place),
        LogicalPlan::Filter(node) if !asks_elsewhere(&node.predicate) => origins(&node.input, place),
        LogicalPlan::Sort(node) if node.fetch.is_none() => origins(&node.input, place),
        LogicalPlan::Distinct(Distinct::All(input)) => origins(input, place),
        LogicalPlan::Projection(node) if !node.expr.iter().any(asks_elsewhere) => {
            origins(&node.input, shown_column(node.expr.get(place)?, &node.input)?)
        }
        LogicalPlan::Union(node) => {
            let inputs = node.inputs.iter().map(|input| origins(input, place));
            Some(inputs.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
        }
        _ => None,
    }
}

fn asks_elsewhere(expression: &Expr) -> bool {
    let asks = |inner: &Expr| {
        Ok(matches!(inner, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_)))
    };
    expression.exists(asks).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::datasource::MemTable;
    use datafusion::prelude::SessionContext;

    use super::*;

    /// For a history of `id` over the tables `t.a` and `t.b` (k, x, v) with these `by` columns.
    async fn covered(sql: &str, sources: &[(&str, &[&str])]) -> bool {
        let context = SessionContext::new();
        context.sql("create schema t").await.unwrap().collect().await.unwrap();
        let schema =
            Arc::new(Schema::new(["k", "x", "v"].map(|name| Field::new(name, DataType::Int64, true)).to_vec()));
        for name in ["t.a", "t.b"] {
            context
                .register_table(name, Arc::new(MemTable::try_new(schema.clone(), vec![Vec::new()]).unwrap()))
                .unwrap();
        }
        let plan = context.state().create_logical_plan(sql).await.unwrap();
        let text = |text: &str| text.to_owned();
        let sources: Vec<_> =
            sources.iter().map(|(name, by)| (text(name), by.iter().map(|by| text(by)).collect())).collect();
        covers(&plan, &["id".to_owned(), "x".to_owned()], &sources)
    }

    #[tokio::test]
    async fn groups_that_hold_all_rows_of_their_keys() {
        let (a, ab) = ([("t.a", &["k"][..])], [("t.a", &["k"][..]), ("t.b", &["k"][..])]);
        assert!(covered("select k as id, x, v from t.a", &a).await);
        assert!(
            covered("select distinct k as id, x, v + 1 as v from (select * from t.a where v > 1) order by v", &a).await
        );
        assert!(covered("select k as id, x from t.a", &[("t.a", &["x"])]).await);
        assert!(covered("select k as id, x from t.a", &[("t.a", &["x", "k"])]).await);
        assert!(covered("select k as id, x from t.a union all select k, v from t.b", &ab).await);
    }

    #[tokio::test]
    async fn groups_that_need_not() {
        let (a, ab) = ([("t.a", &["k"][..])], [("t.a", &["k"][..]), ("t.b", &["k"][..])]);
        for sql in [
            "select k + 1 as id, x from t.a",
            "select x as id, v as x from t.a",
            "select k as id, max(x) as x from t.a group by k",
            "select k as id, x, sum(v) over (order by v) as v from t.a",
            "select k as id, x from t.a order by v limit 3",
            "select k as id, x from t.a where v in (select v from t.a)",
            "select k as id, (select max(x) from t.a) as x from t.a",
        ] {
            assert!(!covered(sql, &a).await, "{sql}");
        }
        assert!(!covered("select k as id, x from t.a", &[("t.a", &["v"])]).await);
        assert!(!covered("select k as id, x from t.a", &[("t.a", &[])]).await);
        assert!(!covered("select a.k as id, a.x from t.a join t.b on a.k = b.k", &ab).await);
        assert!(!covered("select k as id, x from t.a union all select x, k from t.b", &ab).await);
        // A source that is not read by its changes exposes all of its keys.
        assert!(!covered("select k as id, x from t.a union all select k, x from t.b", &a).await);
        let other = [("t.a", &["k"][..]), ("t.b", &["x"][..])];
        assert!(!covered("select k as id, x from t.a union all select k, x from t.b", &other).await);
    }
}
