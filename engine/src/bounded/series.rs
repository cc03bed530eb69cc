//! Series with a step that goes forward in one unit and back in another, such as a month less 31 days. They may come back to where they
//! were and have no end.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::catalog::{TableFunction, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::Expr;

pub(super) fn comes_back(step: IntervalMonthDayNano) -> bool {
    let signs = [i64::from(step.months), i64::from(step.days), step.nanoseconds].map(i64::signum);
    signs.contains(&1) && signs.contains(&-1)
}

/// The table functions, with steps of one direction.
pub(crate) fn one_way(functions: &mut HashMap<String, Arc<TableFunction>>) {
    for (name, function) in functions.iter_mut() {
        let inner = Arc::clone(function);
        *function = Arc::new(TableFunction::new(name.clone(), Arc::new(OneWay { inner })));
    }
}

#[derive(Debug)]
struct OneWay {
    inner: Arc<TableFunction>,
}

impl TableFunctionImpl for OneWay {
    fn call_with_args(&self, arguments: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let has_two_ways = arguments.exprs().iter().any(|argument| match argument {
            Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(step)), _) => comes_back(*step),
            _ => false,
        });
        if has_two_ways {
            return plan_err!(
                "`{}` would make rows without end: its step goes forward in one unit and back in another. Write it in one unit, such as \
                 `interval '30 days'`",
                self.inner.name()
            );
        }
        self.inner.function().call_with_args(arguments)
    }
}
