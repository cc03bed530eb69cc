//! Tables that others write: where they lie, and which columns they have.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::SchemaRef;
use futures::StreamExt as _;
use object_store::path::Path;
use pulse_core::name::TableName;
use pulse_core::project::{Project, variables_of};
use pulse_core::sources::ExternalTable;
use pulse_core::{Error, Result};

use super::Workbench;
use crate::error::from_store;
use crate::store::{Stores, folder_url};
use crate::table::{Snapshot, Table};

/// Objects of `metadata` that are looked at to see whether the table is an Iceberg table.
const LOOKED_AT: usize = 10_000;

/// Columns of each table that others write, or why its log does not say them.
pub type ExternalSchemas = BTreeMap<TableName, Result<SchemaRef>>;

impl Workbench {
    /// A table that a query reads, whoever writes it.
    ///
    /// # Errors
    /// `Invalid` when it cannot lie where it is said to.
    pub(super) fn readable(&self, name: &TableName) -> Result<Table> {
        match self.project.external(name) {
            Some(declared) => external_table(self.lake.stores(), name, declared),
            None => self.lake.table(name),
        }
    }
}

/// Reads the logs of the tables that others write and these jobs read, for checks before anything runs. The project has the values
/// of its variables.
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
        let Some(declared) = project.external(&name) else { continue };
        let schema = match external_table(stores, &name, declared) {
            Ok(table) => existing(&table, declared).await.map(|snapshot| snapshot.schema),
            Err(error) => Err(error),
        };
        schemas.insert(name, schema);
    }
    Ok(schemas)
}

fn external_table(stores: &Stores, name: &TableName, declared: &ExternalTable) -> Result<Table> {
    let base = std::env::current_dir().map_err(|e| Error::unavailable("no current folder").with_source(e))?;
    Table::of_others(name, folder_url(&declared.location, &base)?, stores)
}

/// Its newest version.
///
/// # Errors
/// `Invalid` when no Delta table lies there, otherwise as [`Table::snapshot`].
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

/// What a person should know of it.
pub(super) fn warning(snapshot: &Snapshot, table: &Table) -> Option<String> {
    let message = || format!("{}: version {} at {} has no files", table.name(), snapshot.version, table.url());
    snapshot.files.is_empty().then(message)
}
