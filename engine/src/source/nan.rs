//! Bounds of columns of floating-point numbers are not trusted: they leave out NaN, which is greater than all numbers here.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{conjunction, split_conjunction};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use crate::one_nan::holds_float;

/// Takes conditions on floating-point columns out of what scans of Parquet skip row groups and pages by. The filter above the scan
/// still judges each row.
#[derive(Debug)]
pub(crate) struct NanSafeScans;

impl PhysicalOptimizerRule for NanSafeScans {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            Ok(match without_float_conditions(&plan) {
                Some(scan) => Transformed::yes(scan),
                None => Transformed::no(plan),
            })
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "nan_safe_scans"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// `None` when the plan is no scan, or has no such condition.
fn without_float_conditions(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let exec = plan.downcast_ref::<DataSourceExec>()?;
    let config = exec.data_source().downcast_ref::<FileScanConfig>()?;
    let parquet = config.file_source.downcast_ref::<ParquetSource>()?;
    let predicate = parquet.filter()?;
    let schema = parquet.table_schema().table_schema();
    let conditions = split_conjunction(&predicate);
    let kept: Vec<Arc<dyn PhysicalExpr>> = conditions
        .iter()
        .filter(|condition| !reads_float(condition, schema))
        .map(|condition| Arc::clone(condition))
        .collect();
    if kept.len() == conditions.len() {
        return None;
    }
    let source = parquet.with_predicate(conjunction(kept));
    Some(DataSourceExec::from_data_source(
        FileScanConfigBuilder::from(config.clone()).with_source(Arc::new(source)).build(),
    ))
}

fn reads_float(condition: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    collect_columns(condition)
        .iter()
        .any(|column| schema.field_with_name(column.name()).is_ok_and(|field| holds_float(field.data_type())))
}
