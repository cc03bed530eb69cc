//! Finds rows with equal values in some columns, in staged files. Nulls count as equal.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DataFusionResult;
use datafusion::functions_aggregate::count::count_all;
use datafusion::functions_aggregate::sum::sum;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, Operator, binary_expr, ident, lit};
use pulse_core::{Error, Result};

use super::Workbench;
use super::replace::collect;
use crate::error::from_datafusion;
use crate::source::delta::DeltaScan;

/// Row count of a group; no column of a table begins with `__`.
const ROWS: &str = "__rows";

/// Length limit for values in errors.
const SHOWN: usize = 100;

/// Groups of equal rows, as a plan: the columns, and the row count.
pub(super) struct Groups {
    name: String,
    columns: Vec<String>,
    plan: LogicalPlanBuilder,
}

impl Groups {
    /// Groups with several rows.
    pub(super) fn repeated(name: String, rows: &DeltaScan, columns: &[String]) -> Result<Self> {
        let plan = groups(rows, columns).and_then(|plan| plan.filter(ident(ROWS).gt(lit(1_i64))));
        Self::new(name, columns, plan)
    }

    /// Groups that match a row of `kept`.
    pub(super) fn met_again(name: String, rows: &DeltaScan, kept: &DeltaScan, columns: &[String]) -> Result<Self> {
        let keys: Vec<Column> = columns.iter().map(Column::from_name).collect();
        let plan = scan("kept", kept, columns).and_then(LogicalPlanBuilder::build).and_then(|kept| {
            let keys = (keys.clone(), keys);
            groups(rows, columns)?.join_detailed(kept, JoinType::LeftSemi, keys, None, NullEquality::NullEqualsNull)
        });
        Self::new(name, columns, plan)
    }

    /// Keys of rows that are equal in `order` to a row of the same key in `kept`, and differ in another of `columns`.
    pub(super) fn differing(
        name: String,
        rows: &DeltaScan,
        kept: &DeltaScan,
        keys: &[String],
        order: &[String],
        columns: &[String],
    ) -> Result<Self> {
        let plan = (|| {
            let same: Vec<&String> = keys.iter().chain(order).collect();
            let beside = |column: &str| format!("__kept_{column}");
            let kept = scan("kept", kept, columns)?
                .project(columns.iter().map(|column| ident(column).alias(beside(column))))?
                .build()?;
            let on = (
                same.iter().map(|column| Column::from_name(column.as_str())).collect::<Vec<_>>(),
                same.iter().map(|column| Column::from_name(beside(column))).collect::<Vec<_>>(),
            );
            let others = columns.iter().filter(|column| !same.contains(column));
            let differs = others.fold(lit(false), |any, column| {
                any.or(binary_expr(ident(column), Operator::IsDistinctFrom, ident(beside(column))))
            });
            scan("staged", rows, columns)?
                .join_detailed(kept, JoinType::Inner, on, None, NullEquality::NullEqualsNull)?
                .filter(differs)?
                .aggregate(keys.iter().map(ident), [(count_all() + lit(1_i64)).alias(ROWS)])
        })();
        Self::new(name, keys, plan)
    }

    fn new(name: String, columns: &[String], plan: DataFusionResult<LogicalPlanBuilder>) -> Result<Self> {
        let plan = plan.map_err(|e| from_datafusion(&name, e))?;
        Ok(Self { name, columns: columns.to_vec(), plan })
    }

    /// Number of groups.
    pub(super) async fn count(&self, bench: &Workbench) -> Result<u64> {
        self.number(bench, count_all()).await
    }

    /// Number of rows beyond one per group.
    pub(super) async fn surplus(&self, bench: &Workbench) -> Result<u64> {
        self.number(bench, sum(ident(ROWS) - lit(1_i64))).await
    }

    async fn number(&self, bench: &Workbench, aggregate: Expr) -> Result<u64> {
        let plan = self.plan.clone().aggregate(Vec::<Expr>::new(), [aggregate]).and_then(LogicalPlanBuilder::build);
        Ok(number(&self.collect(bench, plan).await?))
    }

    /// The first groups by their values, such as `id = 1, day = 2024-01-01 (3 rows)`.
    pub(super) async fn examples(&self, bench: &Workbench, most: usize) -> Result<Vec<String>> {
        let order: Vec<_> = self.columns.iter().map(|column| ident(column).sort(true, false)).collect();
        let plan = self.plan.clone().sort_with_limit(order, Some(most)).and_then(LogicalPlanBuilder::build);
        let mut examples = Vec::new();
        for batch in self.collect(bench, plan).await? {
            examples.extend(shown(&batch).map_err(|e| Error::internal("keys have no text").with_source(e))?);
        }
        examples.truncate(most);
        Ok(examples)
    }

    async fn collect(
        &self,
        bench: &Workbench,
        plan: DataFusionResult<datafusion::logical_expr::LogicalPlan>,
    ) -> Result<Vec<RecordBatch>> {
        collect(bench, &self.name, &plan.map_err(|e| from_datafusion(&self.name, e))?).await
    }
}

fn groups(rows: &DeltaScan, columns: &[String]) -> DataFusionResult<LogicalPlanBuilder> {
    scan("staged", rows, columns)?.aggregate(columns.iter().map(ident), [count_all().alias(ROWS)])
}

fn scan(name: &str, rows: &DeltaScan, columns: &[String]) -> DataFusionResult<LogicalPlanBuilder> {
    LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(rows.clone())), None)?.project(columns.iter().map(ident))
}

/// Rows as text, such as `symbol = A, ts = null`.
pub(super) fn shown(batch: &RecordBatch) -> std::result::Result<Vec<String>, arrow::error::ArrowError> {
    let options = FormatOptions::default().with_null("null");
    let (names, formatters): (Vec<_>, Vec<_>) = batch
        .schema_ref()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| (field.name().clone(), ArrayFormatter::try_new(column.as_ref(), &options)))
        .unzip();
    let formatters = formatters.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
    let row = |row: usize| {
        let mut values = Vec::new();
        let mut rows = String::new();
        for (name, formatter) in names.iter().zip(&formatters) {
            let value = formatter.value(row).to_string();
            match name.as_str() {
                ROWS if value == "1" => {}
                ROWS => rows = format!(" ({value} rows)"),
                _ => values.push(format!("{name} = {}", value.chars().take(SHOWN).collect::<String>())),
            }
        }
        values.join(", ") + &rows
    };
    Ok((0..batch.num_rows()).map(row).collect())
}

/// The single number of a result; null, the sum of no rows, is 0.
fn number(batches: &[RecordBatch]) -> u64 {
    let columns = batches.iter().filter_map(|batch| batch.column(0).as_primitive_opt::<Int64Type>());
    let sum: i64 = columns.flat_map(|column| column.iter().flatten()).sum();
    u64::try_from(sum).unwrap_or_default()
}
