//! Infers the columns of tables from queries, before anything has run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use pulse_core::graph::Graph;
use pulse_core::interval::Interval;
use pulse_core::manifest::{Expectation, Read};
use pulse_core::name::TableName;
use pulse_core::project::{Job, Project, unknown_description};
use pulse_core::{Error, Result};

use super::external::ExternalSchemas;
use super::increment::unproven;
use super::pointing::planned;
use super::query::{Sources, plan_query};
use crate::error::from_datafusion;
use crate::source::file::file_source_schema;
use crate::table::Lake;
use crate::type_name::type_name;

/// The columns of a job's table, derived from its query alone.
pub(super) fn table_schema(plan: &LogicalPlan, columns: &[String]) -> Result<SchemaRef> {
    let fields = columns.iter().map(|name| {
        let field =
            plan.schema().field_with_unqualified_name(name).map_err(|e| from_datafusion("type the table", e))?;
        Ok(Field::new(name, field.data_type().clone(), true))
    });
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
}

/// Plans every job over empty tables, upstream first. Used by `pulse check`, and by tests to know their columns.
///
/// # Errors
/// `Invalid` with the place of a job's first mistake.
pub async fn infer_schemas(
    state: &SessionState,
    project: &Project,
    external: &ExternalSchemas,
) -> Result<BTreeMap<TableName, SchemaRef>> {
    infer(state, project, external, Graph::new(project)?.order()).await?.all()
}

/// As [`infer_schemas`], with the mistakes of every job.
///
/// # Errors
/// `Invalid` when jobs read each other in a cycle.
pub async fn infer_each(state: &SessionState, project: &Project, external: &ExternalSchemas) -> Result<Inferred> {
    infer(state, project, external, Graph::new(project)?.order()).await
}

/// The result of planning each job.
#[derive(Debug, Default)]
pub struct Inferred {
    pub schemas: BTreeMap<TableName, SchemaRef>,
    /// In the order of the jobs' dependencies.
    pub mistakes: Vec<(TableName, Error)>,
    /// Jobs that read the table of a job that cannot be planned or is not in the project, with that job.
    pub blocked: BTreeMap<TableName, TableName>,
    /// Jobs that depend, directly or not, on an external table with unknown columns, with that table.
    pub unknown: BTreeMap<TableName, TableName>,
}

impl Inferred {
    fn all(self) -> Result<BTreeMap<TableName, SchemaRef>> {
        match self.mistakes.into_iter().next() {
            Some((_, mistake)) => Err(mistake),
            None => Ok(self.schemas),
        }
    }
}

/// Mistakes in jobs and in those that they read from, found before anything runs, with the mistakes of every job.
///
/// # Errors
/// As [`infer_each`].
pub async fn check_each(
    state: &SessionState,
    project: &Project,
    external: &ExternalSchemas,
    jobs: &[TableName],
) -> Result<Inferred> {
    let graph = Graph::new(project)?;
    let mut needed: BTreeSet<TableName> = BTreeSet::new();
    let mut open = jobs.to_vec();
    while let Some(name) = open.pop() {
        if needed.insert(name.clone()) {
            project.job(&name)?;
            // Those that only an expectation refers to, too: it names one of their columns.
            open.extend(graph.upstream(&name).filter(|table| project.jobs.contains_key(*table)).cloned());
        }
    }
    infer(state, project, external, graph.order().iter().filter(|name| needed.contains(name))).await
}

/// Tables whose columns a run would not keep, with the remedy. Reads logs, no data.
///
/// # Errors
/// By the kind of the store's error.
pub async fn check_tables(
    lake: &Lake,
    project: &Project,
    schemas: &BTreeMap<TableName, SchemaRef>,
) -> Result<Vec<Error>> {
    let mut mistakes = Vec::new();
    for (name, schema) in schemas {
        if let Some(table) = lake.table(name)?.snapshot(None).await? {
            mistakes.extend(refuse_lost_columns(project.job(name)?, schema, &table.schema).err());
        }
    }
    Ok(mistakes)
}

async fn infer<'a>(
    state: &SessionState,
    project: &Project,
    external: &ExternalSchemas,
    names: impl IntoIterator<Item = &'a TableName>,
) -> Result<Inferred> {
    let mut inferred = Inferred::default();
    let mut schemas = known(external);
    for name in names {
        let job = project.job(name)?;
        if let Some(mistake) = job.query.tables().iter().find_map(|table| external.get(table)?.as_ref().err()) {
            inferred.mistakes.push((name.clone(), of_job(job, mistake)));
            continue;
        }
        let is_unknown = |table: &TableName| {
            inferred.unknown.contains_key(table) || (project.external(table).is_some() && !external.contains_key(table))
        };
        if let Some(table) = job.query.tables().into_iter().find(is_unknown) {
            inferred.unknown.insert(name.clone(), table);
            continue;
        }
        let unknown = |table: &TableName| {
            let is_missing = project.external(table).is_none() && !project.jobs.contains_key(table);
            is_missing
                || inferred.blocked.contains_key(table)
                || inferred.mistakes.iter().any(|(name, _)| name == table)
        };
        if let Some(table) = job.query.tables().into_iter().find(unknown) {
            inferred.blocked.insert(name.clone(), table);
            continue;
        }
        match schema_of(state, project, job, &schemas).await {
            Ok(schema) => {
                schemas.insert(name.clone(), Arc::clone(&schema));
                inferred.schemas.insert(name.clone(), schema);
            }
            Err(mistake) => inferred.mistakes.push((name.clone(), mistake)),
        }
    }
    Ok(inferred)
}

/// The columns of readable tables.
fn known(external: &ExternalSchemas) -> BTreeMap<TableName, SchemaRef> {
    let known =
        |(name, schema): (&TableName, &Result<SchemaRef>)| Some((name.clone(), Arc::clone(schema.as_ref().ok()?)));
    external.iter().filter_map(known).collect()
}

fn of_job(job: &Job, mistake: &Error) -> Error {
    Error::new(mistake.kind(), format!("job {}: {}", job.name, mistake.message()))
}

async fn schema_of(
    state: &SessionState,
    project: &Project,
    job: &Job,
    schemas: &BTreeMap<TableName, SchemaRef>,
) -> Result<SchemaRef> {
    refuse_unknown_groups(job, schemas)?;
    let sources = empty_sources(project, job, schemas);
    let query = plan_query(state, job, &sources, example_interval(job)?.as_slice()).await?;
    // Parameters of functions and the sink's own columns are checked only here.
    let physical = state.create_physical_plan(&query.plan).await;
    physical.map_err(|e| planned(&job.query_path(), &job.query.text, e))?;
    let schema = table_schema(&query.plan, &query.columns)?;
    refuse_unknown_descriptions(job, &schema)?;
    refuse_idle_expectations(job, &schema, schemas)?;
    Ok(schema)
}

/// Refuses `fresh` and `refers` over columns that the tables do not have, or of types that cannot be compared: they would fail every
/// run.
fn refuse_idle_expectations(job: &Job, schema: &Schema, schemas: &BTreeMap<TableName, SchemaRef>) -> Result<()> {
    let type_of = |owner: &str, schema: &Schema, column: &str| match schema.field_with_name(column) {
        Ok(field) => Ok(field.data_type().clone()),
        Err(_) => {
            let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            Err(format!("{owner} has no column `{column}`; it has {}", columns.join(", ")))
        }
    };
    let problem = |expectation: &Expectation| -> std::result::Result<(), String> {
        if let Some(fresh) = &expectation.fresh {
            let data_type = type_of("the table", schema, &fresh.column)?;
            if !matches!(data_type, DataType::Timestamp(..) | DataType::Date32) {
                let name = type_name(&data_type);
                return Err(format!("`{}` is {name}, and `fresh` needs a timestamp or a date", fresh.column));
            }
        }
        if let Some(refers) = &expectation.refers {
            let own = type_of("the table", schema, &refers.column)?;
            let (table, column) = refers.target()?;
            let Some(target) = schemas.get(&table) else { return Ok(()) };
            let other = type_of(&table.to_string(), target, column)?;
            if own.is_string() != other.is_string() {
                let (own, other) = (type_name(&own), type_name(&other));
                return Err(format!(
                    "`{}` is {own} and `{}` is {other}: cast one in a query",
                    refers.column, refers.to
                ));
            }
        }
        Ok(())
    };
    let problems = job.manifest.expect.iter().filter_map(|expectation| {
        let problem = problem(expectation).err()?;
        Some(format!("{}: expectation \"{}\": {problem}", job.manifest_path(), expectation.name))
    });
    let problems: Vec<String> = problems.collect();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Error::invalid(problems.join("\n"))),
    }
}

/// Refuses descriptions of columns that the table does not have: renamed or misspelled ones.
fn refuse_unknown_descriptions(job: &Job, schema: &Schema) -> Result<()> {
    let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    match job.manifest.columns.keys().find(|column| !known.contains(&column.as_str())) {
        Some(column) => Err(unknown_description(job, column, &known)),
        None => Ok(()),
    }
}

/// Columns of `by` and `lookback` must exist in the source, or the first run after a change would fail.
fn refuse_unknown_groups(job: &Job, schemas: &BTreeMap<TableName, SchemaRef>) -> Result<()> {
    for (name, source) in &job.manifest.source {
        let Some(schema) = name.parse().ok().and_then(|name: TableName| schemas.get(&name)) else { continue };
        let lookback = source.lookback.as_ref().map(|lookback| &lookback.column);
        let unknown = |column: &&String| schema.field_with_name(column).is_err();
        if let Some(column) = source.by.iter().chain(lookback).find(unknown) {
            let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            return Err(Error::invalid(format!(
                "{}: {name} has no column `{column}` to read its changes by; it has {}",
                job.manifest_path(),
                columns.join(", ")
            )));
        }
    }
    Ok(())
}

/// By job: why it reads all rows of a source although it has `read = "changed"`.
///
/// # Errors
/// As [`infer_schemas`], which `schemas` come from.
pub async fn unproven_increments(
    state: &SessionState,
    project: &Project,
    external: &ExternalSchemas,
    schemas: &BTreeMap<TableName, SchemaRef>,
) -> Result<BTreeMap<TableName, BTreeSet<String>>> {
    let mut found = BTreeMap::new();
    let all: BTreeMap<TableName, SchemaRef> = known(external).into_iter().chain(schemas.clone()).collect();
    // Other jobs have a mistake that is already reported.
    for (name, job) in project.jobs.iter().filter(|(name, _)| schemas.contains_key(*name)) {
        if job.manifest.source.values().any(|source| source.read == Read::Changed) {
            let sources = empty_sources(project, job, &all);
            let query = plan_query(state, job, &sources, example_interval(job)?.as_slice()).await?;
            found.insert(name.clone(), unproven(job, &query));
        }
    }
    found.retain(|_, reasons| !reasons.is_empty());
    Ok(found)
}

fn empty_sources(project: &Project, job: &Job, schemas: &BTreeMap<TableName, SchemaRef>) -> Sources {
    let mut sources = Sources::new();
    for file in job.query.files() {
        if let Some(source) = project.sources.files.get(file) {
            sources.insert(format!("raw.{file}"), empty(file_source_schema(source)));
        }
    }
    for table in job.query.tables() {
        if let Some(schema) = schemas.get(&table) {
            sources.insert(table.to_string(), empty(Arc::clone(schema)));
        }
    }
    sources
}

fn empty(schema: SchemaRef) -> Arc<dyn TableProvider> {
    Arc::new(EmptyTable::new(schema))
}

fn example_interval(job: &Job) -> Result<Option<Interval>> {
    match job.query.uses_interval() {
        true => Interval::parse_bounds("2024-01-01", "2024-01-02").map(Some),
        false => Ok(None),
    }
}

/// For a run that keeps existing rows. Additional columns are null in these.
///
/// # Errors
/// `Invalid`, naming the table's columns that are missing or have another type.
pub(super) fn refuse_other_columns(job: &Job, query: &Schema, table: &Schema) -> Result<()> {
    let kept = |known: &Field, now: &Field| known.data_type() == now.data_type();
    refuse(job, query, table, |known| query.field_with_name(known.name()).is_ok_and(|now| kept(known, now)))
}

/// For a run that replaces all rows, which may add columns, widen their types, and rename those of `renamed`.
///
/// # Errors
/// `Invalid`, naming the table's columns that are missing or have another type: readers rely on them.
pub(super) fn refuse_lost_columns(job: &Job, query: &Schema, table: &Schema) -> Result<()> {
    let renamed = |known: &Field| {
        let is_new = |new: &&String| table.field_with_name(new).is_err();
        let new = job.manifest.renamed.iter().find(|(_, former)| *former == known.name()).map(|(new, _)| new);
        new.filter(is_new).unwrap_or(known.name()).clone()
    };
    refuse(job, query, table, |known| {
        let now = query.field_with_name(known.name()).or_else(|_| query.field_with_name(&renamed(known)));
        now.is_ok_and(|now| holds(now.data_type(), known.data_type()))
    })
}

/// Whether the wide type holds every value of the narrow type.
fn holds(wide: &DataType, narrow: &DataType) -> bool {
    use DataType::{Decimal128, Float32, Float64, Int8, Int16, Int32, Int64};
    match (narrow, wide) {
        (Int8, Int16 | Int32 | Int64) | (Int16, Int32 | Int64) | (Int32, Int64) | (Float32, Float64) => true,
        (Decimal128(digits, scale), Decimal128(wide_digits, wide_scale)) => {
            let whole = |digits: &u8, scale: &i8| i16::from(*digits) - i16::from(*scale);
            scale <= wide_scale && whole(digits, scale) <= whole(wide_digits, wide_scale)
        }
        _ => wide == narrow,
    }
}

fn refuse(job: &Job, query: &Schema, table: &Schema, is_kept: impl Fn(&Field) -> bool) -> Result<()> {
    let lost: Vec<&Field> = table.fields().iter().map(AsRef::as_ref).filter(|known| !is_kept(known)).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let named = |field: &Field| format!("{} {}", field.name(), type_name(field.data_type()));
    let becomes = lost.iter().map(|known| match query.field_with_name(known.name()) {
        Ok(now) => named(now),
        Err(_) => format!("no column {}", known.name()),
    });
    let (becomes, known): (Vec<_>, Vec<_>) = becomes.zip(lost.iter().map(|known| named(known))).unzip();
    Err(Error::invalid(format!(
        "{}: the query does not fit the table {}: the query yields {}, the table has {}; keep these columns in the query, or \
         let `pulse run {} --rebuild` replace the table; its earlier versions stay as they are",
        job.query_path(),
        job.name,
        becomes.join(", "),
        known.join(", "),
        job.name
    )))
}

#[cfg(test)]
mod tests;
