//! Casts whose value is one number in Spark and another here: errors as the query is planned.

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DFSchema, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable as _, LogicalPlan};

use arrow::datatypes::DataType;

/// # Errors
/// The first such cast of a query, as it is written.
pub(crate) fn refuse_casts(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expression| {
            expression.apply(|inner| refuse(inner, &schema).map(|()| TreeNodeRecursion::Continue))
        })
    })
    .map(|_| ())
}

/// # Errors
/// As [`refuse_casts`], for a condition.
pub(super) fn refuse_casts_of(condition: &Expr, schema: &DFSchema) -> Result<()> {
    condition.apply(|inner| refuse(inner, schema).map(|()| TreeNodeRecursion::Continue)).map(|_| ())
}

fn refuse(expression: &Expr, schema: &DFSchema) -> Result<()> {
    let (of, to) = match expression {
        Expr::Cast(cast) => (&cast.expr, cast.field.data_type()),
        Expr::TryCast(cast) => (&cast.expr, cast.field.data_type()),
        _ => return Ok(()),
    };
    let Ok(from) = of.get_type(schema) else { return Ok(()) };
    let is_number = |data_type: &DataType| data_type.is_numeric();
    match (&from, to) {
        (DataType::Timestamp(..), to) if is_number(to) => plan_err!(
            "a timestamp as a number is seconds in Spark and microseconds here: write `to_unixtime(ts)` for seconds or \
             `unix_micros(ts)` for microseconds"
        ),
        (from, DataType::Timestamp(..)) if is_number(from) => plan_err!(
            "a number as a timestamp is seconds in Spark and microseconds here: write `to_timestamp_seconds(x)` or \
             `to_timestamp_micros(x)`"
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;
    use crate::session::{session_config, session_state};

    async fn refused(sql: &str) -> Option<String> {
        let context = SessionContext::new_with_state(session_state(
            session_config(SessionConfig::new(), 2, 8192),
            Arc::default(),
        ));
        let plan = context.sql(sql).await.unwrap().into_unoptimized_plan();
        refuse_casts(&plan).err().map(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_stamp_is_no_number() {
        const ROW: &str = "(values (timestamp '2024-01-01', cast(5 as bigint))) t(ts, n)";
        for expression in [
            "cast(ts as bigint)",
            "ts::double",
            "try_cast(ts as bigint)",
            "cast(n as timestamp)",
            "n::timestamp is null",
        ] {
            let error = refused(&format!("select {expression} from {ROW}")).await;
            assert!(error.is_some_and(|error| error.contains("seconds in Spark")), "{expression}");
        }
        assert!(
            refused(&format!("select n from {ROW} where exists (select 1 where cast(n as timestamp) is null)"))
                .await
                .is_some()
        );
        for expression in [
            "cast(ts as date)",
            "cast('2024-01-01' as timestamp)",
            "to_timestamp_seconds(n)",
            "cast(ts as string)",
            "cast(n as double)",
        ] {
            assert_eq!(refused(&format!("select {expression} from {ROW}")).await, None, "{expression}");
        }
    }
}
