//! A table's entry, as Athena's own `create external table .. tblproperties ('table_type'='DELTA')` creates it in Glue,
//! plus the columns, which Lake Formation and users look at.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_glue::error::BuildError;
use aws_sdk_glue::types::{Column, SerDeInfo, StorageDescriptor, Table, TableInput};
use pulse_core::{Error, Result};
use pulse_engine::catalog::{CatalogColumn, ForeignEntry, TableDescription};

/// Length of one `spark.sql.sources.schema.part.N` in characters; Spark uses the same.
const SCHEMA_PART: usize = 4000;
const SCHEMA_PARTS: &str = "spark.sql.sources.schema.";
pub(super) const VERSION: &str = "delta.lastUpdateVersion";
/// Distinguishes a recreated table from its predecessor.
pub(super) const TABLE_ID: &str = "pulse.table_id";
const TABLE_TYPE: &str = "EXTERNAL_TABLE";
// No reader uses these: Athena and Spark check `table_type` first. Some tools fail if they are empty.
const INPUT_FORMAT: &str = "org.apache.hadoop.mapred.SequenceFileInputFormat";
const OUTPUT_FORMAT: &str = "org.apache.hadoop.hive.ql.io.HiveSequenceFileOutputFormat";
const SERDE: &str = "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe";

/// The part of an entry that we own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub location: String,
    pub table_type: String,
    pub columns: Vec<CatalogColumn>,
    pub partition_by: Vec<CatalogColumn>,
    /// Only those that we write.
    pub parameters: BTreeMap<String, String>,
    pub serde_path: String,
}

/// The entry that a table should have.
pub fn entry_of(table: &TableDescription) -> Entry {
    let mut parameters: BTreeMap<String, String> = [
        ("EXTERNAL", "TRUE"),
        ("table_type", "delta"),
        ("classification", "delta"),
        ("spark.sql.sources.provider", "delta"),
        ("spark.sql.partitionProvider", "catalog"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    let parts = parts(&table.schema_string);
    parameters.insert(format!("{SCHEMA_PARTS}numParts"), parts.len().to_string());
    for (number, part) in parts.into_iter().enumerate() {
        parameters.insert(format!("{SCHEMA_PARTS}part.{number}"), part);
    }
    parameters.insert(VERSION.to_owned(), table.version.to_string());
    parameters.insert(TABLE_ID.to_owned(), table.table_id.clone());
    Entry {
        location: table.location.clone(),
        table_type: TABLE_TYPE.to_owned(),
        columns: table.columns.clone(),
        partition_by: table.partition_by.clone(),
        parameters,
        serde_path: table.location.clone(),
    }
}

/// Pieces of at most [`SCHEMA_PART`] characters.
fn parts(schema: &str) -> Vec<String> {
    let characters: Vec<char> = schema.chars().collect();
    characters.chunks(SCHEMA_PART).map(|part| part.iter().collect()).collect()
}

fn is_ours(parameter: &str) -> bool {
    parameter.starts_with(SCHEMA_PARTS)
        || matches!(
            parameter,
            "EXTERNAL"
                | "table_type"
                | "classification"
                | "spark.sql.sources.provider"
                | "spark.sql.partitionProvider"
                | VERSION
                | TABLE_ID
        )
}

impl Entry {
    /// The entry in Glue.
    pub fn of_glue(table: &Table) -> Self {
        let storage = table.storage_descriptor();
        let serde = storage.and_then(StorageDescriptor::serde_info).and_then(SerDeInfo::parameters);
        let parameters = table.parameters().into_iter().flatten();
        Self {
            location: storage.and_then(StorageDescriptor::location).unwrap_or_default().to_owned(),
            table_type: table.table_type().unwrap_or_default().to_owned(),
            columns: columns(storage.map_or(&[], StorageDescriptor::columns)),
            partition_by: columns(table.partition_keys()),
            parameters: parameters
                .filter(|(key, _)| is_ours(key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            serde_path: serde.and_then(|serde| serde.get("path")).cloned().unwrap_or_default(),
        }
    }

    /// The request for Glue. Keeps what others wrote to the present entry: description, owner, comments, other
    /// parameters.
    ///
    /// # Errors
    /// `Internal` when a required part is missing.
    pub fn into_input(self, name: &str, present: Option<&Table>) -> Result<TableInput> {
        let incomplete = |e: BuildError| Error::internal("an entry for Glue lacks a part").with_source(e);
        let before = present.and_then(Table::storage_descriptor).map_or(&[][..], StorageDescriptor::columns);
        let keys_before = present.map_or(&[][..], Table::partition_keys);
        let mut parameters: HashMap<String, String> = present
            .and_then(Table::parameters)
            .into_iter()
            .flatten()
            .filter(|(key, _)| !is_ours(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        parameters.extend(self.parameters);
        let serde = SerDeInfo::builder()
            .serialization_library(SERDE)
            .parameters("path", &self.serde_path)
            .parameters("serialization.format", "1")
            .build();
        let storage = StorageDescriptor::builder()
            .location(&self.location)
            .set_columns(Some(glue_columns(&self.columns, before).map_err(incomplete)?))
            .input_format(INPUT_FORMAT)
            .output_format(OUTPUT_FORMAT)
            .serde_info(serde)
            .build();
        TableInput::builder()
            .name(name)
            .table_type(self.table_type)
            .set_parameters(Some(parameters))
            // Athena rejects a table without this list, so it is empty and not absent.
            .set_partition_keys(Some(glue_columns(&self.partition_by, keys_before).map_err(incomplete)?))
            .storage_descriptor(storage)
            .set_description(present.and_then(Table::description).map(str::to_owned))
            .set_owner(present.and_then(Table::owner).map(str::to_owned))
            .build()
            .map_err(incomplete)
    }
}

/// Glue's entry of an external table.
pub(super) fn foreign_entry(table: &Table) -> ForeignEntry {
    let owned = |map: Option<&HashMap<String, String>>| {
        map.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let storage = table.storage_descriptor();
    ForeignEntry {
        location: storage.and_then(StorageDescriptor::location).unwrap_or_default().to_owned(),
        kind: table.table_type().unwrap_or_default().to_owned(),
        parameters: owned(table.parameters()),
        serde_parameters: owned(storage.and_then(StorageDescriptor::serde_info).and_then(SerDeInfo::parameters)),
        input_format: storage.and_then(StorageDescriptor::input_format).unwrap_or_default().to_owned(),
        partition_by: table.partition_keys().iter().map(|column| column.name().to_owned()).collect(),
    }
}

fn columns(columns: &[Column]) -> Vec<CatalogColumn> {
    let column = |column: &Column| CatalogColumn {
        name: column.name().to_owned(),
        kind: column.r#type().unwrap_or_default().to_owned(),
    };
    columns.iter().map(column).collect()
}

fn glue_columns(columns: &[CatalogColumn], before: &[Column]) -> std::result::Result<Vec<Column>, BuildError> {
    let glue_column = |column: &CatalogColumn| {
        let same = before.iter().find(|other| other.name() == column.name);
        Column::builder()
            .name(&column.name)
            .r#type(&column.kind)
            .set_comment(same.and_then(Column::comment).map(str::to_owned))
            .set_parameters(same.and_then(Column::parameters).cloned())
            .build()
    };
    columns.iter().map(glue_column).collect()
}
