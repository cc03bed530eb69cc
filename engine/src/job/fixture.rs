//! Runs a job's test: given rows pass through the same planner and sink as in a run and are compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::json::LineDelimitedWriter;
use chrono::{DateTime, NaiveDate};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionState;
use pulse_core::fixture::Fixture;
use pulse_core::name::TableName;
use pulse_core::project::{Job, Project};
use pulse_core::{Error, Result};
use serde_json::{Map, Value};

use super::Workbench;
use super::query::{Sources, plan_query};
use super::replace::write;
use super::schema::table_schema;
use super::spec::sink_spec;
use crate::catalog::LocalCatalog;
use crate::error::from_datafusion;
use crate::execute::InProcess;
use crate::landing::Databases;
use crate::scratch::private;
use crate::sink::quarantine_schema;
use crate::source::delta::DeltaScan;
use crate::source::file::{Misfit, file_source_schema, literal_column};
use crate::store::{Stores, folder_url};
use crate::table::{CommitOptions, DataFile, Lake, Table};

type Row = Map<String, Value>;

/// Relative tolerance for doubles in a fixture.
const TOLERANCE: f64 = 1e-9;

/// The differences from the fixture's expectation, one per line; empty if it holds.
///
/// # Errors
/// `Invalid` when a given or expected row does not fit its table's columns.
pub async fn run_fixture(
    state: &SessionState,
    project: &Project,
    job: &Job,
    fixture: &Fixture,
    schemas: &BTreeMap<TableName, SchemaRef>,
) -> Result<Vec<String>> {
    let sources = sources(project, job, fixture, schemas)?;
    let query = plan_query(state, job, &sources, fixture.interval()?.as_slice()).await?;
    let schema = table_schema(&query.plan, &query.columns)?;
    let folder = tempfile::Builder::new()
        .permissions(private())
        .tempdir()
        .map_err(|e| Error::unavailable("no temporary folder").with_source(e))?;
    let bench = scratch(state, project, folder.path())?;
    let (table, quarantine) = (bench.lake.table(&job.name)?, bench.lake.table(&job.name.quarantine())?);
    let spec = sink_spec(job, &query, "test", &table, &quarantine);
    let staged = write(&bench, &job.name.to_string(), query.plan, spec, &|_| ()).await?;
    let files = |adds: &[deltalake_core::kernel::Add], schema: &Schema| {
        adds.iter().map(|add| DataFile::from_add(add, schema)).collect::<Vec<_>>()
    };
    let rows = read(&bench, &table, &schema, job.manifest.partition_by(), files(&staged.total.files, &schema)).await?;
    let mut differences = compare(&typed(&fixture.expect, &schema, fixture, "expect")?, rows, fixture.partial, "table");
    if let Some(expected) = &fixture.quarantine {
        let schema = quarantine_schema(&schema);
        let rows = read(&bench, &quarantine, &schema, &[], files(&staged.total.quarantine_files, &schema)).await?;
        let named: Vec<Vec<&String>> = expected.iter().map(|row| row.keys().collect()).collect();
        let mut wanted = typed(expected, &schema, fixture, "quarantine")?;
        for (row, named) in wanted.iter_mut().zip(&named) {
            row.retain(|key, _| named.contains(&key));
        }
        differences.extend(compare(&wanted, rows, false, "quarantine"));
    }
    Ok(differences)
}

/// A workbench whose lake is a temporary folder.
fn scratch(state: &SessionState, project: &Project, folder: &std::path::Path) -> Result<Workbench> {
    let url = folder_url(&folder.to_string_lossy(), folder)?;
    Ok(Workbench {
        project: Arc::new(project.clone()),
        lake: Lake::new(url, Arc::new(Stores::default())),
        state: state.clone(),
        execute: Arc::new(InProcess { slots: 1 }),
        catalog: Arc::new(LocalCatalog),
        databases: Databases::default(),
        options: super::JobOptions {
            target_partition_bytes: 1 << 30,
            read: crate::source::file::ReadOptions::default(),
            commit: CommitOptions::default(),
            attempts: 1,
            optimize_files: 0,
        },
    })
}

fn sources(
    project: &Project,
    job: &Job,
    fixture: &Fixture,
    schemas: &BTreeMap<TableName, SchemaRef>,
) -> Result<Sources> {
    let mut sources = Sources::new();
    let none = Vec::new();
    for reference in &job.query.references {
        let schema = match (reference.files(), reference.table()) {
            (Some(name), _) => project.sources.files.get(name).map(file_source_schema),
            (None, Some(table)) => schemas.get(&table).cloned(),
            (None, None) => None,
        };
        let schema = schema.ok_or_else(|| {
            Error::invalid(format!(
                "{}: the columns of `{}` are not known: name the variables of sources.toml with `--var`",
                fixture.path, reference.name
            ))
        })?;
        let rows = fixture.given.get(&reference.name).unwrap_or(&none);
        let batch = batch(rows, &schema, fixture, &format!("given.\"{}\"", reference.name))?;
        let table =
            MemTable::try_new(batch.schema(), vec![vec![batch]]).map_err(|e| from_datafusion(&fixture.path, e))?;
        sources.insert(reference.name.clone(), Arc::new(table) as Arc<dyn TableProvider>);
    }
    Ok(sources)
}

/// Converts TOML rows of the list `place` to a batch.
fn batch(rows: &[toml::Table], schema: &SchemaRef, fixture: &Fixture, place: &str) -> Result<RecordBatch> {
    let wrong =
        |row: usize, what: &str| Error::invalid(format!("{}: row {} of `{place}`: {what}", fixture.path, row + 1));
    for (at, row) in rows.iter().enumerate() {
        if let Some(key) = row.keys().find(|key| schema.field_with_name(key).is_err()) {
            return Err(wrong(at, &format!("there is no column `{key}`")));
        }
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let values: Vec<Option<Value>> = rows.iter().map(|row| row.get(field.name()).map(json)).collect();
        columns.push(literal_column(field, &values)?.map_err(|Misfit { row, what }| {
            wrong(row, &format!("{what}; write a value that the column holds exactly, or give the column another type"))
        })?);
    }
    let nullable: Vec<_> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(nullable)), columns, &options)
        .map_err(|e| Error::internal("a test's rows are no batch").with_source(e))
}

fn json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        // JSON has neither NaN nor infinity.
        toml::Value::Float(number) if !number.is_finite() => Value::from(number.to_string()),
        toml::Value::Float(number) => Value::from(*number),
        toml::Value::Boolean(flag) => Value::from(*flag),
        toml::Value::Datetime(stamp) => Value::from(stamp.to_string()),
        toml::Value::Array(values) => values.iter().map(json).collect(),
        toml::Value::Table(table) => {
            table.iter().map(|(key, value)| (key.clone(), json(value))).collect::<Row>().into()
        }
    }
}

/// Converts expected rows to the form of the read ones.
fn typed(rows: &[toml::Table], schema: &SchemaRef, fixture: &Fixture, place: &str) -> Result<Vec<Row>> {
    to_rows(&[batch(rows, schema, fixture, place)?])
}

async fn read(
    bench: &Workbench,
    table: &Table,
    schema: &SchemaRef,
    partition_by: &[String],
    files: Vec<DataFile>,
) -> Result<Vec<Row>> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let scan = DeltaScan::of_files(table.clone(), schema, partition_by, files, 1 << 30);
    let context = datafusion::prelude::SessionContext::new_with_state(bench.state.clone());
    let failed = |e| from_datafusion("read back the test's rows", e);
    let batches = context.read_table(Arc::new(scan)).map_err(failed)?.collect().await.map_err(failed)?;
    to_rows(&batches)
}

fn to_rows(batches: &[RecordBatch]) -> Result<Vec<Row>> {
    let broken = |e: arrow::error::ArrowError| Error::internal("rows have no JSON").with_source(e);
    let mut writer = LineDelimitedWriter::new(Vec::new());
    for batch in batches {
        writer.write(&decimals_as_text(batch).map_err(broken)?).map_err(broken)?;
    }
    writer.finish().map_err(broken)?;
    let text = writer.into_inner();
    serde_json::Deserializer::from_slice(&text)
        .into_iter()
        .collect::<serde_json::Result<Vec<Row>>>()
        .map_err(|e| Error::internal("rows have no JSON").with_source(e))
}

/// A decimal may have more digits than a JSON number keeps.
fn decimals_as_text(batch: &RecordBatch) -> std::result::Result<RecordBatch, arrow::error::ArrowError> {
    let mut fields: Vec<FieldRef> = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let is_decimal = field.data_type().is_decimal();
        let wanted = if is_decimal { DataType::Utf8 } else { field.data_type().clone() };
        columns.push(cast(column, &wanted)?);
        fields.push(Arc::new(Field::clone(field).with_data_type(wanted)));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

/// Pairs each expected row with an actual one; unpaired rows of either side are differences.
fn compare(expected: &[Row], mut found: Vec<Row>, partial: bool, place: &str) -> Vec<String> {
    let whole = place == "table";
    let mut differences = Vec::new();
    for row in expected {
        match found.iter().position(|candidate| agrees(row, candidate, whole)) {
            Some(at) => drop(found.remove(at)),
            None => differences.push(format!("{place}: missing {}", show(row))),
        }
    }
    if !partial {
        differences.extend(found.iter().map(|row| format!("{place}: unexpected {}", show(row))));
    }
    differences
}

/// Nulls are left out of JSON, so a missing column is null.
fn agrees(expected: &Row, found: &Row, whole: bool) -> bool {
    let same = |key: &String, value: &Value| found.get(key).is_some_and(|other| equal(value, other));
    expected.iter().all(|(key, value)| same(key, value))
        && (!whole || found.keys().all(|key| expected.contains_key(key)))
}

/// Only doubles have a tolerance: integers are compared exactly, and decimals are strings.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => {
            match (one.as_f64(), other.as_f64()) {
                (Some(a), Some(b)) => (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0),
                _ => false,
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| equal(a, b))
        }
        (Value::Object(one), Value::Object(other)) => agrees(one, other, true),
        _ => a == b || stamp(a).is_some_and(|a| stamp(b) == Some(a)),
    }
}

fn stamp(value: &Value) -> Option<i64> {
    let text = value.as_str()?;
    let instant = DateTime::parse_from_rfc3339(text).ok().map(|stamp| stamp.timestamp_micros());
    instant.or_else(|| Some(text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros()))
}

fn show(row: &Row) -> String {
    Value::Object(row.clone()).to_string()
}
