//! Which plans may go to executors.

use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::window::StandardWindowExpr;
use datafusion::physical_plan::ExecutionPlan;

use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec, WindowExpr};
use pulse_core::{Error, Result};

/// Checks that tasks can run parts of a plan. Ballista can cut scans of files and of rows in memory. Every task would run any other leaf
/// in full, and its rows would be repeated. Invariant I10.
///
/// # Errors
/// `Internal`, naming the operator; `Invalid` for a window function whose `IGNORE NULLS` would be lost.
pub fn validate(plan: &dyn ExecutionPlan) -> Result<()> {
    if let Some(function) = ignores_nulls(plan) {
        return Err(Error::invalid(format!(
            "`{function}`: executors cannot be sent IGNORE NULLS of a window function, and would compute other rows; run the job \
             with `--on local`"
        )));
    }
    let children = plan.children();
    if children.is_empty() {
        return leaf(plan);
    }
    children.into_iter().try_for_each(|child| validate(child.as_ref()))
}

/// Finds a window function with `IGNORE NULLS`, which DataFusion leaves out when it serializes a plan. It keeps it for aggregates.
fn ignores_nulls(plan: &dyn ExecutionPlan) -> Option<String> {
    let functions = match (plan.downcast_ref::<WindowAggExec>(), plan.downcast_ref::<BoundedWindowAggExec>()) {
        (Some(window), _) => window.window_expr(),
        (_, Some(window)) => window.window_expr(),
        (None, None) => return None,
    };
    let is_lost = |function: &&std::sync::Arc<dyn WindowExpr>| {
        function.as_any().is::<StandardWindowExpr>() && function.name().contains("IGNORE NULLS")
    };
    functions.iter().find(is_lost).map(|function| function.name().to_owned())
}

fn leaf(plan: &dyn ExecutionPlan) -> Result<()> {
    let partitions = plan.properties().output_partitioning().partition_count();
    if let Some(exec) = plan.downcast_ref::<DataSourceExec>() {
        let source = exec.data_source();
        if source.downcast_ref::<FileScanConfig>().is_some() || source.downcast_ref::<MemorySourceConfig>().is_some() {
            return Ok(());
        }
    }
    // Of empty and placeholder rows, not even the count of partitions is sent.
    if partitions > 1 { Err(refused(plan, partitions)) } else { Ok(()) }
}

fn refused(plan: &dyn ExecutionPlan, partitions: usize) -> Error {
    Error::internal(format!(
        "operator {} has {partitions} partitions and cannot be cut into tasks (I10): run the job with `--on local`",
        plan.name()
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
    use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
    use datafusion::execution::object_store::ObjectStoreUrl;
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::physical_plan::memory::LazyMemoryExec;
    use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
    use datafusion::physical_plan::union::UnionExec;
    use pulse_core::ErrorKind;

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]))
    }

    #[test]
    fn scans_of_files_and_of_rows_may_go() {
        let store = ObjectStoreUrl::parse("file:///").unwrap();
        let files = FileScanConfigBuilder::new(store, Arc::new(ParquetSource::new(schema())))
            .with_file_groups(vec![FileGroup::new(Vec::new()), FileGroup::new(Vec::new())])
            .build();
        validate(DataSourceExec::from_data_source(files).as_ref()).unwrap();
        let rows = MemorySourceConfig::try_new(&[vec![], vec![], vec![]], schema(), None).unwrap();
        validate(DataSourceExec::from_data_source(rows).as_ref()).unwrap();
    }

    #[tokio::test]
    async fn nulls_that_are_ignored_stay_here() {
        let context = datafusion::prelude::SessionContext::new();
        let plan = |function: &str| {
            let query = format!(
                "select x, {function} over (partition by x order by x rows between 3 preceding and current row) as y \
                 from (values (1), (null)) t(x) order by y limit 3"
            );
            let context = context.clone();
            async move { context.sql(&query).await.unwrap().create_physical_plan().await.unwrap() }
        };
        for function in ["lag(x) ignore nulls", "last_value(x) ignore nulls", "nth_value(x, 2) ignore nulls"] {
            let error = validate(plan(function).await.as_ref()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.message().contains("IGNORE NULLS") && error.message().contains("--on local"), "{error}");
        }
        for function in ["lag(x)", "last_value(x) respect nulls", "sum(x)"] {
            validate(plan(function).await.as_ref()).unwrap();
        }
    }

    #[test]
    fn one_partition_may_go_and_more_may_not() {
        validate(&EmptyExec::new(schema())).unwrap();
        validate(&PlaceholderRowExec::new(schema())).unwrap();
        for plan in [
            Arc::new(EmptyExec::new(schema()).with_partitions(3)) as Arc<dyn ExecutionPlan>,
            Arc::new(PlaceholderRowExec::new(schema()).with_partitions(2)),
        ] {
            let error = validate(plan.as_ref()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
            assert!(error.message().contains(plan.name()), "{}", error.message());
        }
    }

    #[test]
    fn a_foreign_leaf_is_found_below_others() {
        let one = Arc::new(EmptyExec::new(schema())) as Arc<dyn ExecutionPlan>;
        let foreign = Arc::new(LazyMemoryExec::try_new(schema(), Vec::new()).unwrap()) as Arc<dyn ExecutionPlan>;
        validate(foreign.as_ref()).unwrap();
        let two = Arc::new(PlaceholderRowExec::new(schema()).with_partitions(2)) as Arc<dyn ExecutionPlan>;
        let union = UnionExec::try_new(vec![one, foreign, two]).unwrap();
        let error = validate(union.as_ref()).unwrap_err();
        assert!(error.message().contains("PlaceholderRowExec has 2 partitions"), "{}", error.message());
    }
}
