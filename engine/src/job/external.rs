//! External tables: their locations and columns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use futures::StreamExt as _;
use object_store::path::Path;
use pulse_core::name::TableName;
use pulse_core::project::{Project, variables_of};
use pulse_core::sources::ExternalTable;
use pulse_core::sql::EXTERNAL;
use pulse_core::{Error, Result};

use super::Workbench;
use super::conform::nan_is_greatest;
use crate::error::{from_datafusion, from_store};
use crate::one_nan::{holds_float, one_nan};
use crate::store::{Stores, folder_url};
use crate::table::{Snapshot, Table};

/// Objects of `metadata` that are checked to find out whether the table is an Iceberg table.
const LOOKED_AT: usize = 10_000;

/// Columns of each external table, or why its log does not have them.
pub type ExternalSchemas = BTreeMap<TableName, Result<SchemaRef>>;

impl Workbench {
    /// Returns a table that a query reads: one of the lake, or one that `[tables]` declares.
    ///
    /// # Errors
    /// `Invalid` when its location is invalid.
    pub(super) async fn readable(&self, name: &TableName) -> Result<Table> {
        match self.project.external(name) {
            Some(declared) => external_table(self.lake.stores(), name, declared).await,
            None => self.lake.table(name),
        }
    }
}

/// The rows of an external table with canonical NaN, as in our tables: greater than all numbers. Other writers keep the
/// sign of their processor, by which a filter or a sort would distinguish NaNs.
///
/// # Errors
/// `Internal` when the table's columns cannot be selected.
pub(super) fn with_one_nan(name: &TableName, rows: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
    let schema = rows.schema();
    if name.layer() != EXTERNAL || !schema.fields().iter().any(|field| holds_float(field.data_type())) {
        return Ok(rows);
    }
    let scan = || -> datafusion::error::Result<LogicalPlan> {
        let reference = TableReference::partial(name.layer(), name.table());
        let scan = LogicalPlanBuilder::scan(reference, provider_as_source(Arc::clone(&rows)), None)?;
        let mut columns = Vec::new();
        for (column, field) in scan.schema().columns().into_iter().zip(schema.fields()) {
            let plain = Expr::Column(column);
            columns.push(match field.data_type() {
                DataType::Float32 | DataType::Float64 => nan_is_greatest(plain, scan.schema())?.alias(field.name()),
                nested if holds_float(nested) => one_nan().call(vec![plain]).alias(field.name()),
                _ => plain,
            });
        }
        scan.project(columns)?.build()
    };
    let plan = scan().map_err(|e| from_datafusion(&format!("read {name}"), e))?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// Reads the logs of the external tables that these jobs read, for checks before anything runs. Variables in the
/// project are replaced already.
///
/// # Errors
/// `Invalid` for a job that the project does not have.
pub async fn external_schemas(stores: &Stores, project: &Project, jobs: &[TableName]) -> Result<ExternalSchemas> {
    let mut names = BTreeSet::new();
    for job in jobs {
        names.extend(project.job(job)?.query.tables());
    }
    let mut schemas = ExternalSchemas::new();
    for name in names {
        let declared = project.external(&name).filter(|declared| declared.check_location(&name).is_ok());
        let Some(declared) = declared else { continue };
        let schema = match external_table(stores, &name, declared).await {
            Ok(table) => existing(&table, declared).await.map(|snapshot| snapshot.schema),
            Err(error) => Err(error),
        };
        schemas.insert(name, schema);
    }
    Ok(schemas)
}

/// The table at its registered location.
///
/// # Errors
/// `Invalid` when a variable of its location has no value, or the location is invalid; otherwise as
/// [`Stores::registered`].
pub(super) async fn external_table(stores: &Stores, name: &TableName, declared: &ExternalTable) -> Result<Table> {
    declared.check_location(name)?;
    let registered = match declared.glue_name() {
        Some((database, table)) => Some(
            stores
                .registered(database, table)
                .await
                .map_err(|e| Error::new(e.kind(), format!("{name}: {}", e.message())))?,
        ),
        None => None,
    };
    let location = registered.as_deref().unwrap_or(&declared.location);
    let base = std::env::current_dir().map_err(|e| Error::unavailable("no current folder").with_source(e))?;
    Table::of_others(name, folder_url(location, &base)?, stores)
}

/// Its newest version.
///
/// # Errors
/// `Invalid` when there is no Delta table, otherwise as [`Table::snapshot`].
pub(super) async fn existing(table: &Table, declared: &ExternalTable) -> Result<Snapshot> {
    if let Some(snapshot) = table.snapshot(None).await? {
        return Ok(snapshot);
    }
    let (name, url) = (table.name(), table.url());
    if is_iceberg(table).await? {
        return Err(Error::invalid(format!(
            "{name}: an Iceberg table lies at {url}, and pulse reads Delta tables; let its owner write a Delta table, or export \
             its rows to files"
        )));
    }
    let written = declared.written_location.as_deref().unwrap_or(&declared.location);
    let remedy = match variables_of(written).as_slice() {
        [] if declared.glue.is_some() => {
            format!("Glue says that `{}` lies there", declared.glue.as_deref().unwrap_or_default())
        }
        [] => "correct `location` in sources.toml".to_owned(),
        variables => {
            let options = variables.iter().map(|name| format!("`--var {name}`")).collect::<Vec<_>>().join(" or ");
            format!("its location is `{written}`; correct {options}, or `location` in sources.toml")
        }
    };
    Err(Error::invalid(format!(
        "{name}: no Delta table lies at {url}, where no `_delta_log` holds a version; {remedy}"
    )))
}

async fn is_iceberg(table: &Table) -> Result<bool> {
    let store = table.store();
    let mut objects = store.list(Some(&Path::from("metadata"))).take(LOOKED_AT);
    while let Some(object) = objects.next().await {
        let object = object.map_err(|e| from_store(&table.doing("look for"), &e))?;
        if object.location.as_ref().ends_with(".metadata.json") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A warning for the user, if there is one.
pub(super) fn warning(snapshot: &Snapshot, table: &Table) -> Option<String> {
    let message = || format!("{}: version {} at {} has no files", table.name(), snapshot.version, table.url());
    snapshot.files.is_empty().then(message)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array as _, ArrayRef, AsArray as _, Float64Array, ListArray, RecordBatch};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{Field, Int64Type, Schema};
    use datafusion::datasource::MemTable;
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn the_sign_of_nan_means_nothing() {
        let negative = f64::from_bits(f64::NAN.to_bits() | 1 << 63);
        let values = Float64Array::from(vec![f64::NAN, negative, 1.0, f64::INFINITY, -0.0]);
        let values: ArrayRef = Arc::new(values);
        let item = Arc::new(Field::new_list_field(DataType::Float64, true));
        let list = ListArray::new(item, OffsetBuffer::from_lengths([1; 5]), Arc::clone(&values), None);
        let schema = Arc::new(Schema::new(vec![
            Field::new("x", DataType::Float64, true),
            Field::new("l", list.data_type().clone(), true),
        ]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![values, Arc::new(list)]).unwrap();
        let rows: Arc<dyn TableProvider> = Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap());
        let context = SessionContext::new();
        let name: TableName = "external.t".parse().unwrap();
        context.register_table("t", with_one_nan(&name, rows).unwrap()).unwrap();
        // As in DuckDB and PostgreSQL: NaN is one value, greater than all others.
        for (condition, wanted) in [
            ("x < 0", 0),
            ("x > 1", 3),
            ("x = 'NaN'::double", 2),
            ("x in ('NaN'::double, 1)", 3),
            ("x >= 'inf'::double", 3),
            ("x = 0", 1),
            ("l[1] < 0", 0),
            ("l[1] > 1", 3),
            ("l = ['NaN'::double]", 2),
        ] {
            let batches = context.sql(&format!("select count(*) from t where {condition}")).await.unwrap();
            let batches = batches.collect().await.unwrap();
            assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().value(0), wanted, "{condition}");
        }
    }
}
