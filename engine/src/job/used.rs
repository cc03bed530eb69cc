//! Finds the source columns that a query uses: rows that differ only in others give the same result.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::LogicalPlan;
use pulse_core::Result;
use pulse_core::project::Job;

use super::Workbench;
use crate::error::from_datafusion;

/// Columns by the source's SQL name.
pub(super) type UsedColumns = BTreeMap<String, BTreeSet<String>>;

/// # Errors
/// As of the query's plan.
pub(super) fn used_columns(bench: &Workbench, job: &Job, plan: &LogicalPlan) -> Result<UsedColumns> {
    let failed = |e| from_datafusion(&job.query_path(), e);
    let optimized = bench.state.optimize(plan).map_err(failed)?;
    scanned(&optimized).map_err(failed)
}

/// Collects them from an optimized plan, whose scans yield only needed columns.
fn scanned(plan: &LogicalPlan) -> DataFusionResult<UsedColumns> {
    let mut used = UsedColumns::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let name = format!("{}.{}", scan.table_name.schema().unwrap_or_default(), scan.table_name.table());
            let columns = used.entry(name).or_default();
            columns.extend(scan.projected_schema.fields().iter().map(|field| field.name().clone()));
            columns
                .extend(scan.filters.iter().flat_map(|filter| filter.column_refs()).map(|column| column.name.clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(used)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::datasource::MemTable;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    fn used(sql: &str) -> String {
        let threads = tokio::runtime::Builder::new_current_thread().build().unwrap();
        threads.block_on(async {
            let context =
                SessionContext::new_with_config(SessionConfig::new().with_default_catalog_and_schema("c", "t"));
            let field = |name| Field::new(name, DataType::Int64, true);
            let schema = Arc::new(Schema::new(vec![field("a"), field("b"), field("c"), field("d")]));
            for name in ["x", "y"] {
                let table = MemTable::try_new(Arc::clone(&schema), vec![Vec::new()]).unwrap();
                context.register_table(format!("t.{name}"), Arc::new(table)).unwrap();
            }
            let state = context.state();
            let plan = state.optimize(&state.create_logical_plan(sql).await.unwrap()).unwrap();
            let used = scanned(&plan).unwrap().into_iter();
            let columns = |columns: BTreeSet<String>| columns.into_iter().collect::<Vec<_>>().join(" ");
            used.map(|(name, used)| format!("{name}: {}", columns(used))).collect::<Vec<_>>().join("; ")
        })
    }

    #[test]
    fn what_decides_the_answer_is_used() {
        for (sql, columns) in [
            ("select a from t.x", "t.x: a"),
            ("select a from t.x where b > 1", "t.x: a b"),
            ("select a, sum(b) as b from t.x group by a having max(c) > 1", "t.x: a b c"),
            ("select a, row_number() over (partition by b order by c) as n from t.x", "t.x: a b c"),
            ("select * from t.x", "t.x: a b c d"),
            ("select x.a, y.b from t.x join t.y on x.c = y.c and x.b < y.d", "t.x: a b c; t.y: b c d"),
            ("select a from t.x where b in (select c from t.y where d = 1)", "t.x: a b; t.y: c d"),
            ("select a, (select max(b) from t.y) as m from t.x", "t.x: a; t.y: b"),
            ("select a from t.x where exists (select 1 from t.y where y.c = x.d)", "t.x: a d; t.y: c"),
            ("select a from t.x union all select b from t.x", "t.x: a b"),
            ("with w as (select *, c + d as e from t.x) select a, e from w order by a", "t.x: a c d"),
        ] {
            assert_eq!(used(sql), columns, "{sql}");
        }
        // The number of rows matters, whatever they contain.
        assert!(used("select count(*) as n from t.x").starts_with("t.x:"));
    }
}
