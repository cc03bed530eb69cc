//! Plans a job's SQL over given sources, with the table's types.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::{
    CatalogProvider as _, CatalogProviderList as _, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, TableProvider,
};
use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{DFSchema, ParamValues, TableReference};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, col, ident};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use pulse_core::diagnostic::Diagnostic;
use pulse_core::interval::Interval;
use pulse_core::name::is_written;
use pulse_core::project::Job;
use pulse_core::{Error, Result};

use super::conform::{conformed, nan_is_greatest};
use super::distinct::name_their_file;
use super::history::{Recording, versions};
use super::meant::{refuse_casts, refuse_casts_of};
use super::partitions;
use super::pointing::pointed;
use super::rejects::carry_rejects;
use super::repeatable::{refuse_unrepeatable, volatile_function};
use super::spec::sort_key;
use super::subqueries;
use crate::error::{from_datafusion, literals, plain};
use crate::sink::{FailAction, REASON, RowCheck};
use crate::source::file::SOURCE_FILE;
use crate::type_name::type_name;

/// Tables by their SQL names: `silver.bars_1m`, `raw.bars_1m`.
pub type Sources = BTreeMap<String, Arc<dyn TableProvider>>;

/// A job's rows and their checks.
#[derive(Debug, Clone)]
pub struct JobQuery {
    /// All columns of the query, then one boolean column per row check, then optionally the columns of rejected lines.
    pub plan: LogicalPlan,
    /// Columns of the table: those of the query, except names that start with `_`.
    pub columns: Vec<String>,
    pub checks: Vec<RowCheck>,
}

/// The unchanged query, with its parameters.
///
/// # Errors
/// `Invalid` with the place in the query.
pub(super) async fn logical_plan(state: &SessionState, job: &Job, sources: &Sources) -> Result<LogicalPlan> {
    let context = context(state, sources)?;
    let plan = context.state().create_logical_plan(&job.query.text).await.map_err(|e| wrong_query(job, e))?;
    refuse_casts(&plan).map_err(|e| wrong_query(job, e))?;
    Ok(plan)
}

/// Plans the job's query and row checks over `sources`: the rows of one evaluation for each of `intervals`.
///
/// # Errors
/// `Invalid` with the place in the query or manifest, also for a query that is not repeatable.
pub async fn plan_query(
    state: &SessionState,
    job: &Job,
    sources: &Sources,
    intervals: &[Interval],
) -> Result<JobQuery> {
    plan_rows(state, job, sources, intervals, &Recording::default()).await
}

/// As [`plan_query`], for a table that remembers: the rows to add to those in `recording`.
pub(super) async fn plan_rows(
    state: &SessionState,
    job: &Job,
    sources: &Sources,
    intervals: &[Interval],
    recording: &Recording,
) -> Result<JobQuery> {
    let context = context(state, sources)?;
    let plan = logical_plan(state, job, sources).await?;
    refuse_unrepeatable(&plan, job)?;
    subqueries::refuse(job, &plan)?;
    let plan = bind(plan, intervals, job)?;
    let plan = if job.query.files().is_empty() { plan } else { carry_rejects(plan, job)? };
    let plan = conformed(plan, job)?;
    let columns = plan.schema().fields().iter().map(|field| field.name().clone()).filter(|name| is_written(name));
    let columns: Vec<String> = columns.collect();
    refuse_unnamed_columns(job, &columns, sources)?;
    let mut wrong = unknown_columns(job, &plan, &columns);
    wrong.extend(refuse_rows_of_no_file(job, &plan, &columns).err());
    wrong.extend(refuse_nested_keys(job, &plan).err());
    let (plan, checks) = with_checks(&context, plan, job, wrong)?;
    let query = versions(&context.state(), job, JobQuery { plan, columns, checks }, recording).await?;
    partitions::refuse_columns(job, &query.plan, &query.columns)?;
    Ok(query)
}

/// A context with the sources under their SQL names.
pub(super) fn context(state: &SessionState, sources: &Sources) -> Result<SessionContext> {
    // A cloned state shares its catalog, but two queries must not see each other's sources.
    let catalogs = Arc::new(MemoryCatalogProviderList::new());
    let catalog = Arc::new(MemoryCatalogProvider::new());
    catalogs.register_catalog(state.config_options().catalog.default_catalog.clone(), Arc::clone(&catalog) as _);
    let own = SessionStateBuilder::new_from_existing(state.clone()).with_catalog_list(catalogs).build();
    let context = SessionContext::new_with_state(own);
    let wrong = |e| from_datafusion("register a source", e);
    for (name, provider) in sources {
        let (layer, table) = name.split_once('.').unwrap_or(("public", name));
        if catalog.schema(layer).is_none() {
            catalog.register_schema(layer, Arc::new(MemorySchemaProvider::new())).map_err(wrong)?;
        }
        context.register_table(TableReference::partial(layer, table), Arc::clone(provider)).map_err(wrong)?;
    }
    Ok(context)
}

fn bind(plan: LogicalPlan, intervals: &[Interval], job: &Job) -> Result<LogicalPlan> {
    let failed = |e| wrong_query(job, e);
    let mut evaluations = intervals.iter().map(|interval| bind_one(plan.clone(), *interval).map_err(failed));
    let Some(first) = evaluations.next() else { return Ok(plan) };
    let mut all = LogicalPlanBuilder::from(first?);
    for evaluation in evaluations {
        if !job.query.files().is_empty() {
            return Err(Error::invalid(format!(
                "{}: a query over files is evaluated for one span of time; let a job read the files whole, and the next one \
                 compute its intervals",
                job.query_path()
            )));
        }
        all = all.union(evaluation?).map_err(failed)?;
    }
    all.build().map_err(failed)
}

fn bind_one(plan: LogicalPlan, interval: Interval) -> datafusion::error::Result<LogicalPlan> {
    let stamp = |time: chrono::DateTime<chrono::Utc>| {
        ScalarValue::TimestampMicrosecond(Some(time.timestamp_micros()), Some("UTC".into())).into()
    };
    let values = [("interval_start", stamp(interval.start)), ("interval_end", stamp(interval.end))];
    plan.with_param_values(ParamValues::Map(values.map(|(name, value)| (name.to_owned(), value)).into()))
}

/// Adds a column for each condition, so that it is evaluated in the same pass and serialized with the plan.
///
/// # Errors
/// `Invalid` with all that is wrong in the manifest: `wrong`, and conditions that are none.
fn with_checks(
    context: &SessionContext,
    plan: LogicalPlan,
    job: &Job,
    mut wrong: Vec<Error>,
) -> Result<(LogicalPlan, Vec<RowCheck>)> {
    let mut expressions: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let mut checks = Vec::new();
    for expectation in &job.manifest.expect {
        let Some(condition) = &expectation.check else { continue };
        let column = format!("__check_{}", checks.len());
        match check_of_row(context, job, &expectation.name, condition, plan.schema()) {
            Ok(expression) => expressions.push(expression.alias(&column)),
            Err(error) => wrong.push(error),
        }
        checks.push(RowCheck { name: expectation.name.clone(), column, on_fail: expectation.on_fail.into() });
    }
    refuse_all(job, wrong)?;
    if checks.is_empty() {
        return Ok((plan, checks));
    }
    let plan = LogicalPlanBuilder::from(plan)
        .project(expressions)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| wrong_check(job, "expectations", e))?;
    Ok((plan, checks))
}

/// # Errors
/// `Invalid` for what is no condition on a row, or has another value in each run.
fn check_of_row(context: &SessionContext, job: &Job, name: &str, condition: &str, schema: &DFSchema) -> Result<Expr> {
    let failed = |e| wrong_check(job, name, e);
    let expression = context.state().create_logical_expr(condition, schema).map_err(failed)?;
    let is_of_rows = |part: &Expr| Ok(matches!(part, Expr::AggregateFunction(_) | Expr::WindowFunction(_)));
    if expression.exists(is_of_rows).map_err(failed)? {
        return Err(Error::invalid(format!(
            "{}: expectation \"{name}\": `{condition}` is about several rows, and a check is about one: compute the value in the query, \
             or use `rows`, `unique` or `refers`",
            job.manifest_path()
        )));
    }
    refuse_value(job, name, &expression, schema)?;
    refuse_casts_of(&expression, schema).map_err(failed)?;
    if let Some(function) = volatile_function(&expression) {
        return Err(Error::invalid(format!(
            "{}: expectation \"{name}\": `{function}` has another value in each run: compare columns of the row",
            job.manifest_path()
        )));
    }
    nan_is_greatest(expression, schema).map_err(failed)
}

/// One error with all that is wrong.
fn refuse_all(job: &Job, wrong: Vec<Error>) -> Result<()> {
    let path = job.manifest_path();
    let diagnostics = |error: Error| match error.diagnostics() {
        [] => {
            let message = error.message().strip_prefix(&format!("{path}: ")).unwrap_or(error.message()).to_owned();
            vec![Diagnostic::of_file(&path, message)]
        }
        all => all.to_vec(),
    };
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error::from_diagnostics(wrong.into_iter().flat_map(diagnostics).collect())),
    }
}

/// A check must be boolean.
fn refuse_value(job: &Job, name: &str, expression: &Expr, schema: &DFSchema) -> Result<()> {
    let data_type = expression.get_type(schema).map_err(|e| wrong_check(job, name, e))?;
    match data_type {
        DataType::Boolean => Ok(()),
        other => Err(Error::invalid(format!(
            "{}: expectation \"{name}\": its `check` is a value of the type {} and no condition: write a comparison, such as \
             `price > 0`",
            job.manifest_path(),
            type_name(&other)
        ))),
    }
}

/// A column without a name would be called as its expression is written, and have another name when that changes.
fn refuse_unnamed_columns(job: &Job, columns: &[String], sources: &Sources) -> Result<()> {
    let is_plain = |name: &str| name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let is_quoted = |name: &str| job.query.text.contains(&format!("\"{}\"", name.replace('"', "\"\"")));
    let is_of_source = |name: &str| sources.values().any(|source| source.schema().field_with_name(name).is_ok());
    let has_name = |name: &str| is_plain(name) || is_quoted(name) || is_of_source(name);
    let unnamed = columns.iter().find(|name| name.is_empty() || !has_name(name));
    let Some(name) = unnamed else { return Ok(()) };
    let (text, name) = (&job.query.text, literals(name));
    let start = text.to_ascii_lowercase().find(&name.to_ascii_lowercase());
    let span = start.map_or(0..1, |start| start..start + name.len());
    let problem =
        Diagnostic::new(&job.query_path(), &Arc::from(text.as_str()), span, format!("the column `{name}` has no name"));
    Err(Error::from_diagnostics(vec![problem.with_help("give it one with `as`, such as `count(*) as orders`")]))
}

/// Columns named in the manifest must exist in the query; those of the table must be written.
fn unknown_columns(job: &Job, plan: &LogicalPlan, columns: &[String]) -> Vec<Error> {
    use pulse_core::manifest::{History, Sink};
    let manifest = &job.manifest;
    let added = manifest.sink.added_columns();
    let fields = plan.schema().fields().iter().map(|field| field.name().as_str());
    let all: Vec<&str> = fields.chain(added.iter().copied()).collect();
    let written: Vec<&str> = columns.iter().map(String::as_str).chain(added.iter().copied()).collect();
    let of_query = &written[..columns.len()];
    let mut wrong = Vec::new();
    let mut check = |key: &str, names: &[String], known: &[&str]| {
        wrong.extend(names.iter().filter(|name| !known.contains(&name.as_str())).map(|name| {
            Error::invalid(format!(
                "{}: `{key}` names the column `{name}`, which the query does not yield; it yields {}",
                job.manifest_path(),
                known.join(", ")
            ))
        }));
    };
    check("grain", &manifest.grain, &written);
    check("order", manifest.order.as_deref().unwrap_or_default(), &all);
    check("partition_by", &manifest.partition_by, &written);
    match &manifest.sink {
        Sink::Merge { keys, latest_by } => {
            check("keys", keys, of_query);
            let latest: Vec<String> = latest_by.iter().map(|text| sort_key(text).column).collect();
            check("latest_by", &latest, &written);
        }
        Sink::Scd2(History { keys, .. }) | Sink::Bitemporal(History { keys, .. }) => check("keys", keys, of_query),
        Sink::OverwritePartitions { by } => check("by", by, &written),
        Sink::Append {} | Sink::Overwrite {} => {}
    }
    for unique in manifest.expect.iter().filter_map(|expectation| expectation.unique.as_ref()) {
        check("unique", &unique.columns, &all);
    }
    wrong
}

/// Rows are sorted by their keys, and lists, maps and structs have no order that all readers share.
fn refuse_nested_keys(job: &Job, plan: &LogicalPlan) -> Result<()> {
    use pulse_core::manifest::{History, Sink};
    let manifest = &job.manifest;
    let keys: &[String] = match &manifest.sink {
        Sink::Merge { keys, .. } | Sink::Scd2(History { keys, .. }) | Sink::Bitemporal(History { keys, .. }) => keys,
        Sink::OverwritePartitions { .. } | Sink::Append {} | Sink::Overwrite {} => &[],
    };
    let unique = manifest.expect.iter().filter_map(|expectation| expectation.unique.as_ref());
    let named =
        manifest.grain.iter().chain(manifest.order()).chain(keys).chain(unique.flat_map(|unique| &unique.columns));
    for name in named {
        // Columns that the sink adds are not in the query, and are not nested.
        let Ok(field) = plan.schema().field_with_unqualified_name(name) else { continue };
        if field.data_type().is_nested() {
            return Err(Error::invalid(format!(
                "{}: `{name}` is a list, a map or a struct, and rows cannot be told apart or sorted by it: name columns of its parts",
                job.manifest_path()
            )));
        }
    }
    Ok(())
}

/// The rows of a corrected file are replaced by means of the column with its name.
fn refuse_rows_of_no_file(job: &Job, plan: &LogicalPlan, columns: &[String]) -> Result<()> {
    let appends = job.manifest.sink == (pulse_core::manifest::Sink::Append {}) && !job.query.files().is_empty();
    let source_file = [SOURCE_FILE.to_owned()];
    if !appends || (columns.contains(&source_file[0]) && name_their_file(plan, &source_file)) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{}: rows of files are appended without the file that they come from, so that a corrected file could not replace its \
         rows; select `{SOURCE_FILE}`",
        job.query_path()
    )))
}

/// Projects the plan to `columns`.
///
/// # Errors
/// `Internal` when a column is missing.
pub(super) fn project(plan: LogicalPlan, columns: &[String]) -> Result<LogicalPlan> {
    LogicalPlanBuilder::from(plan)
        .project(columns.iter().map(ident))
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| from_datafusion("select the key columns", e))
}

/// Only rows that the reader did not reject.
pub(super) fn without_rejects(plan: LogicalPlan) -> Result<LogicalPlan> {
    if plan.schema().field_with_unqualified_name(REASON).is_err() {
        return Ok(plan);
    }
    LogicalPlanBuilder::from(plan)
        .filter(col(REASON).is_null())
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| from_datafusion("leave out rejected lines", e))
}

/// Only rows that no check removes.
pub(super) fn without_failures(plan: LogicalPlan, checks: &[RowCheck]) -> Result<LogicalPlan> {
    let mut removing = checks.iter().filter(|check| check.on_fail != FailAction::Count);
    removing
        .try_fold(LogicalPlanBuilder::from(plan), |plan, check| plan.filter(ident(&check.column)))
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| from_datafusion("leave out rows that fail a check", e))
}

fn wrong_query(job: &Job, error: datafusion::error::DataFusionError) -> Error {
    pointed(&job.query_path(), &job.query.text, error)
}

fn wrong_check(job: &Job, name: &str, error: datafusion::error::DataFusionError) -> Error {
    let text = plain(&error.find_root().strip_backtrace());
    Error::invalid(format!("{}: expectation \"{name}\": {text}", job.manifest_path()))
}
