//! Syntax that stands for a function.

use std::sync::Arc;

use datafusion::common::{DFSchema, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable as _, GetFieldAccess, ScalarUDF};

use super::chosen::is_list;

/// Before DataFusion's planners, which would put its own functions there.
#[derive(Debug)]
pub(crate) struct SparkPlanner {
    pub(crate) substring: Arc<ScalarUDF>,
    pub(crate) date_part: Arc<ScalarUDF>,
}

impl ExprPlanner for SparkPlanner {
    fn plan_substring(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(call(&self.substring, args)))
    }

    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(call(&self.date_part, args)))
    }

    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let is_item = matches!(expr.field_access, GetFieldAccess::ListIndex { .. });
        if is_item && expr.expr.get_type(schema).is_ok_and(|data_type| is_list(&data_type)) {
            return plan_err!(
                "`[i]` counts items from 0 in Spark, and from 1 in other engines: write `element_at(list, i)`, which counts from 1 \
                 everywhere, or `try_element_at`, which gives null beyond the list"
            );
        }
        Ok(PlannerResult::Original(expr))
    }
}

fn call(function: &Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), args))
}
