//! Describes a table's newest version for a catalog. Does not read its files.

use delta_kernel::schema::StructField;
use deltalake_core::kernel::Snapshot as DeltaSnapshot;
use pulse_core::{Error, Result};

use super::{CatalogColumn, TableDescription, hive_type};
use crate::table::Table;

/// `None` if there is no table.
///
/// # Errors
/// `Data` for a broken log, `Unavailable` when the store does not answer.
pub async fn describe(table: &Table) -> Result<Option<TableDescription>> {
    if !table.exists().await? {
        return Ok(None);
    }
    let doing = table.doing("read the log of");
    let delta = DeltaSnapshot::try_new(table.log().as_ref(), None).await.map_err(|e| table.broken(&doing, e))?;
    // The accessors of the id and the schema text are private; their JSON is the protocol's own.
    let metadata = serde_json::to_value(delta.metadata())
        .map_err(|e| Error::internal(format!("{doing}: metadata is always JSON")).with_source(e))?;
    let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
    let keys = delta.metadata().partition_columns();
    let schema = delta.schema();
    let is_key = |field: &&StructField| keys.iter().any(|key| key == field.name());
    Ok(Some(TableDescription {
        name: table.name().clone(),
        location: location(table.url().as_str()),
        table_id: text("id"),
        version: delta.version(),
        columns: schema.fields().filter(|field| !is_key(field)).map(column).collect(),
        partition_by: keys.iter().filter_map(|key| schema.field(key)).map(column).collect(),
        schema_string: text("schemaString"),
    }))
}

fn column(field: &StructField) -> CatalogColumn {
    CatalogColumn { name: field.name().to_lowercase(), kind: hive_type(field.data_type()) }
}

/// Other readers know only the scheme `s3`.
fn location(url: &str) -> String {
    url.strip_prefix("s3a://").map_or_else(|| url.to_owned(), |rest| format!("s3://{rest}"))
}
