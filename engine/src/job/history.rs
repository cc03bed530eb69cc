//! Histories of keys: computed from all rows of the query, or recorded by a table that remembers.
//!
//! Both are plans around the query, so they run where the query runs. Every row of the query reaches the sink, which
//! checks it and drops those that begin no version. Rows that are rejected or removed by a check are not part of a
//! history.

mod cover;
mod cut;
mod record;

use std::sync::Arc;

use arrow::datatypes::DataType;
use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::datasource::ViewTable;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, ident};
use pulse_core::manifest::{History, Sink, VALID_FROM};
use pulse_core::project::Job;
use pulse_core::{Error, Result};

use super::query::{JobQuery, Sources, context};
use super::repeatable::volatile_function;
use crate::error::from_datafusion;
use crate::sink::{FailAction, REASON, RowCheck};
use crate::source::file::is_of_rejected_lines;

pub(super) use cover::covers;
use cut::cut;
use record::record;
pub(super) use record::{SystemTime, system_time};

/// Columns that the plans add; no column of a query may begin with `__`.
const OUT: &str = "__out";
const GONE: &str = "__gone";
const SINCE: &str = "__since";

/// True if the row has a start time.
const HAS_TIME: &str = "__check_has_time";
/// True if no other version of the key begins at the same time.
const ONE_VERSION: &str = "__check_one_version";
/// True if the query yields one row for the key.
const ONE_ROW: &str = "__check_one_row";
/// True if the row begins a version. Other rows are dropped.
const IS_VERSION: &str = "__check_is_version";
/// True if the table does not have the row yet. Other rows are dropped.
const IS_NEW: &str = "__check_is_new";
/// False for a row of the table that is closed.
const OF_QUERY: &str = "__check_of_query";

/// The state that a table that remembers is compared with.
#[derive(Debug, Clone, Default)]
pub(super) struct Recording {
    /// The time of the run.
    pub(super) at: DateTime<Utc>,
    /// Rows of the table that hold now. `None` if there are none.
    pub(super) current: Option<LogicalPlan>,
}

/// The rows for the sink, derived from those of the query with its checks.
///
/// # Errors
/// `Invalid` when the manifest does not fit the query.
pub(super) async fn versions(
    state: &SessionState,
    job: &Job,
    query: JobQuery,
    recording: &Recording,
) -> Result<JobQuery> {
    let Some(history) = job.manifest.sink.history() else { return Ok(query) };
    let rows = Rows::new(state, job, history, query);
    match &job.manifest.sink {
        Sink::Scd2(history) if history.is_observed() => record(rows, recording).await,
        Sink::Bitemporal(_) => record(Rows::new(state, job, history, cut(rows).await?), recording).await,
        _ => cut(rows).await,
    }
}

/// The first violated check that fails the run, with its number of rows.
pub(super) fn broken(query: &JobQuery, failed: &[u64]) -> Option<(&'static str, u64)> {
    [HAS_TIME, ONE_VERSION, ONE_ROW]
        .into_iter()
        .map(|check| (check, count(query, failed, check)))
        .find(|(_, rows)| *rows > 0)
}

/// Number of query rows that are left out because they add no information.
pub(super) fn left_out(query: &JobQuery, failed: &[u64]) -> u64 {
    count(query, failed, IS_VERSION) + count(query, failed, IS_NEW)
}

/// Number of rows that the sink got in addition to those of the query: rows of the table that are closed.
pub(super) fn closed(query: &JobQuery, failed: &[u64]) -> u64 {
    count(query, failed, OF_QUERY)
}

fn count(query: &JobQuery, failed: &[u64], column: &str) -> u64 {
    let place = query.checks.iter().position(|check| check.column == column);
    place.and_then(|place| failed.get(place)).copied().unwrap_or_default()
}

/// Columns in which rows are equal that violate a check; `None` if no other row is involved.
pub(super) fn agreeing(job: &Job, check: &str) -> Option<Vec<String>> {
    let keys = job.manifest.sink.history()?.keys.iter().cloned();
    (check != HAS_TIME).then(|| keys.chain([VALID_FROM.to_owned()]).collect())
}

/// The error for a violated check: `count` rows, or keys if `examples` shows some.
pub(super) fn refusal(job: &Job, check: &str, count: u64, examples: &[String]) -> Error {
    let Some(history) = job.manifest.sink.history() else { return Error::internal("a check of a history without one") };
    let keys = history.keys.join(", ");
    let keys = if count == 1 { format!("1 key ({keys}) has") } else { format!("{count} keys ({keys}) have") };
    let rows = if count == 1 { "1 row".to_owned() } else { format!("{count} rows") };
    let such = examples.join("; ");
    let (what, remedy) = match check {
        HAS_TIME => (
            format!("`{}` is null in {rows}, so that nothing says since when they hold", history.effective),
            "give each row a time, or take the others out with a `check` that drops or quarantines them".to_owned(),
        ),
        ONE_VERSION => (
            format!("{keys} several versions that begin at the same time: {such}"),
            format!("let `{}` tell them apart, or let the query choose one", history.effective),
        ),
        _ => (format!("{keys} several rows that differ: {such}"), "let the query yield one row a key".to_owned()),
    };
    Error::data(format!("{}: {what}; {remedy}; the table stays as it was", job.manifest_path()))
}

/// Rows of the query, by the names that the plans use.
struct Rows<'a> {
    state: &'a SessionState,
    job: &'a Job,
    history: &'a History,
    query: JobQuery,
    /// All columns of the query, including those that are not written.
    columns: Vec<String>,
    /// Additional columns: of checks and of rejected lines.
    beside: Vec<String>,
}

impl<'a> Rows<'a> {
    fn new(state: &'a SessionState, job: &'a Job, history: &'a History, query: JobQuery) -> Self {
        let all = query.plan.schema().fields().iter().map(|field| field.name().clone());
        let is_beside = |name: &String| {
            let is_check = query.checks.iter().any(|check| check.column == *name);
            is_check || (is_of_rejected_lines(name) && !query.columns.contains(name))
        };
        let (beside, columns): (Vec<String>, Vec<String>) = all.partition(is_beside);
        Self { state, job, history, query, columns, beside }
    }

    fn data_type(&self, column: &str) -> Result<&DataType> {
        match self.query.plan.schema().field_with_unqualified_name(column) {
            Ok(field) if self.columns.iter().any(|name| name == column) => Ok(field.data_type()),
            _ => Err(Error::invalid(format!(
                "{}: the sink names the column `{column}`, which the query does not yield; it yields {}",
                self.job.manifest_path(),
                self.columns.join(", ")
            ))),
        }
    }

    /// The condition for a row that closes its key, as SQL.
    fn deleted(&self) -> Result<String> {
        let Some(condition) = &self.history.deleted else { return Ok("false".to_owned()) };
        let wrong = |what: String| Error::invalid(format!("{}: `deleted`: {what}", self.job.manifest_path()));
        let schema = self.query.plan.schema();
        let first_line = |e: datafusion::error::DataFusionError| {
            wrong(e.strip_backtrace().lines().next().unwrap_or_default().to_owned())
        };
        let expression = self.state.create_logical_expr(condition, schema).map_err(first_line)?;
        if let Some(function) = volatile_function(&expression) {
            return Err(wrong(format!("`{function}` has another value in each run: compare columns of the row")));
        }
        match expression.get_type(schema).map_err(first_line)? {
            DataType::Boolean | DataType::Null => Ok(format!("coalesce((\n{condition}\n), false)")),
            other => Err(wrong(format!("it is {other} and not a condition; compare it with a value"))),
        }
    }

    /// Columns whose change begins a version.
    fn compared(&self) -> Result<Vec<String>> {
        if let Some(compare) = &self.history.compare {
            compare.iter().try_for_each(|column| self.data_type(column).map(|_| ()))?;
            return Ok(compare.clone());
        }
        let left_out = |column: &String| {
            self.history.keys.contains(column)
                || (*column == self.history.effective && !self.history.is_observed())
                || self.history.deleted.as_ref().is_some_and(|deleted| deleted.trim() == column)
        };
        Ok(self.query.columns.iter().filter(|column| !left_out(column)).cloned().collect())
    }

    /// SQL: the row is rejected, or removed by a check.
    fn is_out(&self) -> String {
        let reason = self.beside.iter().any(|name| name == REASON).then(|| format!("{} is not null", quoted(REASON)));
        let removing = self.query.checks.iter().filter(|check| check.on_fail != FailAction::Count);
        let conditions =
            reason.into_iter().chain(removing.map(|check| format!("{} is not true", quoted(&check.column))));
        any(conditions.collect())
    }

    /// # Errors
    /// `Invalid` when the query yields a column that the sink adds.
    fn refuse_added(&self, added: &[&str]) -> Result<()> {
        match added.iter().find(|added| self.columns.iter().any(|column| column == *added)) {
            None => Ok(()),
            Some(column) => Err(Error::invalid(format!(
                "{}: the query yields `{column}`, which the sink adds: give it another name",
                self.job.query_path()
            ))),
        }
    }

    /// The statement over these tables, with its columns unqualified.
    async fn planned(&self, sql: &str, tables: Vec<(&str, LogicalPlan)>) -> Result<LogicalPlan> {
        let failed = |e| from_datafusion(&format!("job {}: plan its history", self.job.name), e);
        let view = |plan| Arc::new(ViewTable::new(plan, None)) as Arc<dyn TableProvider>;
        let tables: Sources = tables.into_iter().map(|(name, plan)| (name.to_owned(), view(plan))).collect();
        let context = context(self.state, &tables)?;
        let plan = context.state().create_logical_plan(sql).await.map_err(failed)?;
        let names: Vec<String> = plan.schema().fields().iter().map(|field| field.name().clone()).collect();
        let columns = plan.schema().columns().into_iter().zip(names);
        let columns: Vec<Expr> = columns.map(|(column, name)| Expr::Column(column).alias(name)).collect();
        LogicalPlanBuilder::from(plan).project(columns).and_then(LogicalPlanBuilder::build).map_err(failed)
    }
}

/// A check that this plan adds.
fn own_check(column: &str, on_fail: FailAction) -> RowCheck {
    RowCheck { name: column.to_owned(), column: column.to_owned(), on_fail }
}

fn quoted(column: &str) -> String {
    format!("\"{}\"", column.replace('"', "\"\""))
}

fn list(columns: &[String]) -> String {
    columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ")
}

/// SQL, with nulls as values. In parentheses, because `is distinct from` takes everything after it as its right side.
fn differ(left: &str, right: &str) -> String {
    format!("({left} is distinct from {right})")
}

fn any(conditions: Vec<String>) -> String {
    if conditions.is_empty() { "false".to_owned() } else { format!("({})", conditions.join(" or ")) }
}

/// A window over the rows of one key.
struct Window {
    partition: Vec<String>,
    order: Vec<String>,
}

impl Window {
    /// Rows that are equal in all of `order` are interchangeable.
    fn new(keys: &[String], leading: &[&str], compared: &[String], columns: &[String]) -> Self {
        let mut order: Vec<String> = leading.iter().map(|column| (*column).to_owned()).collect();
        for column in compared.iter().chain(columns) {
            if !order.contains(column) && !keys.contains(column) {
                order.push(column.clone());
            }
        }
        Self { partition: std::iter::once(OUT.to_owned()).chain(keys.iter().cloned()).collect(), order }
    }

    /// Restricts it to rows that are also equal in this column.
    fn with(mut self, column: &str) -> Self {
        self.partition.push(column.to_owned());
        self
    }

    fn over(&self, function: &str) -> String {
        format!("{function} over (partition by {} order by {})", list(&self.partition), list(&self.order))
    }
}

/// The rows that hold now: `until` is null.
pub(super) fn holding(plan: LogicalPlan, until: &str) -> Result<LogicalPlan> {
    LogicalPlanBuilder::from(plan)
        .filter(ident(until).is_null())
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| from_datafusion("select the rows that hold", e))
}
