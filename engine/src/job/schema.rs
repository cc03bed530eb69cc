//! Columns of tables, as queries say before anything has run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use pulse_core::graph::Graph;
use pulse_core::interval::Interval;
use pulse_core::manifest::Read;
use pulse_core::name::TableName;
use pulse_core::project::{Job, Project};
use pulse_core::{Error, Result};

use super::increment::unproven;
use super::query::{Sources, plan_query};
use crate::error::from_datafusion;
use crate::source::file::file_source_schema;

/// The columns that a job's table has, by its query alone.
pub(super) fn table_schema(plan: &LogicalPlan, columns: &[String]) -> Result<SchemaRef> {
    let fields = columns.iter().map(|name| {
        let field =
            plan.schema().field_with_unqualified_name(name).map_err(|e| from_datafusion("type the table", e))?;
        Ok(Field::new(name, field.data_type().clone(), true))
    });
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
}

/// Plans every job over empty tables, upstream first: what `pulse check` does, and how tests know their columns.
///
/// # Errors
/// `Invalid` with the place of the first mistake of a job.
pub async fn infer_schemas(state: &SessionState, project: &Project) -> Result<BTreeMap<TableName, SchemaRef>> {
    infer(state, project, Graph::new(project)?.order()).await
}

/// Mistakes in jobs and in those that they read from, found before anything runs.
///
/// # Errors
/// As [`infer_schemas`].
pub async fn check_jobs(state: &SessionState, project: &Project, jobs: &[TableName]) -> Result<()> {
    let mut needed: BTreeSet<TableName> = BTreeSet::new();
    let mut open = jobs.to_vec();
    while let Some(name) = open.pop() {
        if needed.insert(name.clone()) {
            open.extend(project.job(&name)?.query.tables());
        }
    }
    let graph = Graph::new(project)?;
    infer(state, project, graph.order().iter().filter(|name| needed.contains(name))).await.map(|_| ())
}

async fn infer<'a>(
    state: &SessionState,
    project: &Project,
    names: impl IntoIterator<Item = &'a TableName>,
) -> Result<BTreeMap<TableName, SchemaRef>> {
    let mut schemas: BTreeMap<TableName, SchemaRef> = BTreeMap::new();
    for name in names {
        let job = project.job(name)?;
        let sources = empty_sources(project, job, &schemas);
        let query = plan_query(state, job, &sources, example_interval(job)?.as_slice()).await?;
        // Parameters of functions and the sink's own columns are checked only here.
        state.create_physical_plan(&query.plan).await.map_err(|e| from_datafusion(&job.query_path(), e))?;
        schemas.insert(name.clone(), table_schema(&query.plan, &query.columns)?);
    }
    Ok(schemas)
}

/// By job: why it reads all rows of a source although it asks for those that changed.
///
/// # Errors
/// As [`infer_schemas`], which `schemas` come from.
pub async fn unproven_increments(
    state: &SessionState,
    project: &Project,
    schemas: &BTreeMap<TableName, SchemaRef>,
) -> Result<BTreeMap<TableName, BTreeSet<String>>> {
    let mut found = BTreeMap::new();
    for (name, job) in &project.jobs {
        if job.manifest.source.values().any(|source| source.read == Read::Changed) {
            let sources = empty_sources(project, job, schemas);
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

/// For a run that leaves rows in the table.
///
/// # Errors
/// `Invalid` naming the columns that differ.
pub(super) fn refuse_other_columns(job: &Job, query: &Schema, table: &Schema) -> Result<()> {
    if missing(query, table).is_empty() && missing(table, query).is_empty() {
        return Ok(());
    }
    let help = "name the columns in the query; a query that was edited builds its table anew, and may add columns";
    Err(misfit(job, query, table, help))
}

/// For a run that replaces all rows, and with them may add columns.
///
/// # Errors
/// `Invalid` naming the columns of the table that are gone or have another type: readers rely on them.
pub(super) fn refuse_lost_columns(job: &Job, query: &Schema, table: &Schema) -> Result<()> {
    if missing(table, query).is_empty() {
        return Ok(());
    }
    let help = "columns may be added, and neither be taken away nor change their type: cast in the query, select the new \
                one under another name, or remove the table's folder to build it anew";
    Err(misfit(job, query, table, help))
}

fn misfit(job: &Job, query: &Schema, table: &Schema, help: &str) -> Error {
    let or_none = |text: String| if text.is_empty() { "no such column".to_owned() } else { text };
    Error::invalid(format!(
        "{}: the query does not fit the table {}: the query yields {}, the table has {}; {help}",
        job.query_path(),
        job.name,
        or_none(missing(query, table)),
        or_none(missing(table, query))
    ))
}

/// Columns of `schema` that `other` does not have, or not in the same type.
fn missing(schema: &Schema, other: &Schema) -> String {
    let differs = |field: &&Arc<Field>| {
        other.field_with_name(field.name()).map_or(true, |known| known.data_type() != field.data_type())
    };
    let fields = schema.fields().iter().filter(differs).map(|f| format!("{} {}", f.name(), f.data_type()));
    fields.collect::<Vec<_>>().join(", ")
}
