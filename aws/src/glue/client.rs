//! Client of the Glue Data Catalog.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_glue::Client;
use aws_sdk_glue::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_glue::types::{DatabaseInput, Table};
use pulse_core::name::TableName;
use pulse_core::{Error, Result};
use pulse_engine::catalog::{Catalog, Difference, ForeignCatalog, ForeignEntry, Registered, TableDescription};
use tokio::sync::OnceCell;

use super::entry::foreign_entry;
use super::{Entry, database, difference, entry_of, folder, is_here};
use crate::clients::Clients;
use crate::error::from_sdk;

/// Attempts at updating an entry that another process changes at the same time.
const ATTEMPTS: u32 = 4;

#[derive(Debug, Clone, Default)]
pub struct GlueOptions {
    /// Prefix of database names, before the layer.
    pub prefix: String,
    /// Creates missing databases; otherwise they are an error.
    pub create_databases: bool,
}

/// The Glue Data Catalog of the environment's account and region; connects on first use.
#[derive(Debug)]
pub struct GlueCatalog {
    options: GlueOptions,
    client: OnceCell<Client>,
}

impl GlueCatalog {
    pub fn new(options: GlueOptions) -> Self {
        Self { options, client: OnceCell::new() }
    }

    async fn client(&self) -> Result<&Client> {
        self.client.get_or_try_init(|| async { Ok(Clients::load().await?.glue()) }).await
    }

    async fn get(&self, name: &TableName) -> Result<Option<Table>> {
        self.get_named(&self.database(name), name.table()).await
    }

    async fn get_named(&self, database: &str, table: &str) -> Result<Option<Table>> {
        match self.client().await?.get_table().database_name(database).name(table).send().await {
            Ok(answer) => Ok(answer.table),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_entity_not_found_exception()) => Ok(None),
            Err(e) => Err(from_sdk(&format!("look {database}.{table} up in Glue"), "glue:GetTable", e)),
        }
    }

    fn database(&self, name: &TableName) -> String {
        database(&self.options.prefix, name)
    }

    /// Returns false if another process created it first.
    async fn create(&self, table: &TableDescription) -> Result<bool> {
        let name = &table.name;
        let input = entry_of(table).into_input(name.table(), None)?;
        let request = self.client().await?.create_table().database_name(self.database(name)).table_input(input);
        match request.send().await {
            Ok(_) => Ok(true),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_already_exists_exception()) => Ok(false),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_entity_not_found_exception()) => {
                self.create_database(name).await?;
                Ok(false)
            }
            Err(e) => Err(from_sdk(&format!("register {name} in Glue"), "glue:CreateTable", e)),
        }
    }

    async fn create_database(&self, name: &TableName) -> Result<()> {
        let database = self.database(name);
        if !self.options.create_databases {
            return Err(Error::invalid(format!(
                "Glue has no database `{database}` for {name}: create it (Terraform's module `catalog` does), or set \
                 `catalog_databases = \"create\"`; `catalog_prefix` is part of its name"
            )));
        }
        let input =
            DatabaseInput::builder().name(&database).description("Tables of a lake, registered by pulse").build();
        let input = input.map_err(|e| Error::internal("a database without a name").with_source(e))?;
        match self.client().await?.create_database().database_input(input).send().await {
            Ok(_) => Ok(()),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_already_exists_exception()) => Ok(()),
            Err(e) => Err(from_sdk(&format!("create database {database} in Glue"), "glue:CreateDatabase", e)),
        }
    }

    /// Returns false if another process changed or removed the entry since it was read.
    async fn update(&self, table: &TableDescription, present: &Table) -> Result<bool> {
        let name = &table.name;
        let input = entry_of(table).into_input(name.table(), Some(present))?;
        let request = self
            .client()
            .await?
            .update_table()
            .database_name(self.database(name))
            .set_version_id(present.version_id().map(str::to_owned))
            // Old versions of an entry are not needed: the table's log has them all.
            .skip_archive(true)
            .table_input(input);
        match request.send().await {
            Ok(_) => Ok(true),
            Err(e) if is_overtaken(&e) => Ok(false),
            Err(e) => Err(from_sdk(&format!("update {name} in Glue"), "glue:UpdateTable", e)),
        }
    }
}

fn is_overtaken<R>(error: &SdkError<aws_sdk_glue::operation::update_table::UpdateTableError, R>) -> bool {
    match error.as_service_error() {
        Some(error) => {
            error.is_concurrent_modification_exception()
                || error.is_entity_not_found_exception()
                // Glue's other code for a version that is not the newest.
                || error.code() == Some("VersionMismatchException")
        }
        None => false,
    }
}

#[async_trait]
impl ForeignCatalog for GlueCatalog {
    async fn entry(&self, database: &str, table: &str) -> Result<Option<ForeignEntry>> {
        Ok(self.get_named(database, table).await?.as_ref().map(foreign_entry))
    }
}

#[async_trait]
impl Catalog for GlueCatalog {
    async fn difference(&self, table: &TableDescription) -> Result<Option<Difference>> {
        let found = self.get(&table.name).await?;
        Ok(difference(table, found.as_ref().map(Entry::of_glue).as_ref()))
    }

    async fn register(&self, table: &TableDescription) -> Result<Registered> {
        let name = &table.name;
        if !table.location.starts_with("s3://") {
            return Err(Error::invalid(format!(
                "{name} lies at {}: Glue registers tables on s3:// only; set `catalog = \"local\"` for this lake",
                table.location
            )));
        }
        for _ in 0..ATTEMPTS {
            let present = self.get(name).await?;
            let entry = present.as_ref().map(Entry::of_glue);
            if let Some(entry) = entry.as_ref().filter(|entry| !is_here(entry, table)) {
                return Err(Error::invalid(format!(
                    "Glue has {}.{} at {}, this table is at {}: set another `catalog_prefix`, or drop the entry if that \
                     table is gone",
                    self.database(name),
                    name.table(),
                    entry.location,
                    table.location
                )));
            }
            let became = match (difference(table, entry.as_ref()), &present) {
                (None, _) => return Ok(Registered::Unchanged),
                (Some(_), None) => self.create(table).await?.then_some(Registered::Created),
                (Some(_), Some(present)) => self.update(table, present).await?.then_some(Registered::Updated),
            };
            if let Some(became) = became {
                return Ok(became);
            }
        }
        Err(Error::conflict(format!("{name} is changed in Glue by others again and again; register it later")))
    }

    async fn registrations(&self, layers: &BTreeMap<String, String>) -> Result<BTreeMap<TableName, String>> {
        let mut found = BTreeMap::new();
        for (layer, url) in layers {
            let below = format!("{}/", folder(&url.replacen("s3a://", "s3://", 1)));
            let database = format!("{}{layer}", self.options.prefix);
            let mut pages = self.client().await?.get_tables().database_name(&database).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = match page {
                    // The database of a layer without tables may not exist.
                    Err(e) if e.as_service_error().is_some_and(|e| e.is_entity_not_found_exception()) => break,
                    page => {
                        page.map_err(|e| from_sdk(&format!("list tables of {database} in Glue"), "glue:GetTables", e))?
                    }
                };
                for table in page.table_list() {
                    let location = Entry::of_glue(table).location;
                    if let (true, Ok(name)) = (location.starts_with(&below), TableName::new(layer, table.name())) {
                        found.insert(name, location);
                    }
                }
            }
        }
        Ok(found)
    }

    async fn remove(&self, table: &TableName) -> Result<()> {
        let request = self.client().await?.delete_table().database_name(self.database(table)).name(table.table());
        match request.send().await {
            Ok(_) => Ok(()),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_entity_not_found_exception()) => Ok(()),
            Err(e) => Err(from_sdk(&format!("remove {table} from Glue"), "glue:DeleteTable", e)),
        }
    }
}

#[cfg(test)]
mod tests;
