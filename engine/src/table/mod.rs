//! Delta tables of a lake: snapshots to read, commits to write. Protocol (1,2), so that Athena reads them as they are.

mod changes;
mod commit;
mod file;
mod snapshot;
mod statistics;
mod vacuum;

use std::sync::Arc;

use deltalake_core::kernel::Add;
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt as _};
use pulse_core::name::TableName;
use pulse_core::{Error, Result};
use url::Url;

use crate::error::from_store;
use crate::store::{Stores, store_path};

pub use changes::Changes;
pub use commit::{Commit, CommitOptions, CommitOutcome, History, Removal};
pub use file::{DataFile, OPTIMIZED_TAG, ORDER_TAG};
pub use snapshot::Snapshot;
pub use vacuum::Unneeded;

/// A folder of tables: `<root>/<layer>/<table>`.
#[derive(Debug, Clone)]
pub struct Lake {
    root: Url,
    stores: Arc<Stores>,
}

impl Lake {
    pub fn new(root: Url, stores: Arc<Stores>) -> Self {
        Self { root, stores }
    }

    pub fn root(&self) -> &Url {
        &self.root
    }

    pub fn stores(&self) -> &Arc<Stores> {
        &self.stores
    }

    /// # Errors
    /// `Invalid` when the lake's URL cannot hold tables.
    pub fn table(&self, name: &TableName) -> Result<Table> {
        let url = self
            .root
            .join(&format!("{}/", name.path()))
            .map_err(|e| Error::invalid(format!("lake `{}` cannot hold tables", self.root)).with_source(e))?;
        let store = self.stores.client(&url)?;
        // Not by scheme: delta-rs knows `s3://` only once its own S3 crate is registered. Both kinds of store put if absent.
        let folder: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(Arc::clone(&store), store_path(&url)?));
        let log = default_logstore(folder, store, &url, &StorageConfig::default());
        Ok(Table { name: name.clone(), url, log })
    }

    /// Names of all tables, quarantine tables included, sorted.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid` when the lake cannot be listed.
    pub async fn tables(&self) -> Result<Vec<TableName>> {
        let store = self.stores.client(&self.root)?;
        let root = store_path(&self.root)?;
        let doing = format!("list lake {}", self.root);
        let mut names = Vec::new();
        for layer in folders(store.as_ref(), &root).await.map_err(|e| from_store(&doing, &e))? {
            for table in folders(store.as_ref(), &layer).await.map_err(|e| from_store(&doing, &e))? {
                let (Some(layer), Some(name)) = (layer.filename(), table.filename()) else { continue };
                let Ok(name) = TableName::new(layer, name) else { continue };
                if self.table(&name)?.exists().await? {
                    names.push(name);
                }
            }
        }
        names.sort();
        Ok(names)
    }
}

async fn folders(store: &dyn ObjectStore, path: &Path) -> object_store::Result<Vec<Path>> {
    Ok(store.list_with_delimiter(Some(path)).await?.common_prefixes)
}

/// One table's place in the lake; it need not exist yet.
#[derive(Debug, Clone)]
pub struct Table {
    name: TableName,
    url: Url,
    log: LogStoreRef,
}

impl Table {
    pub fn name(&self) -> &TableName {
        &self.name
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// A store whose paths start at the table's root.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        self.log.object_store(None)
    }

    pub(crate) fn log(&self) -> &LogStoreRef {
        &self.log
    }

    /// Deletes files of a commit that will not be; what cannot be deleted now is left to vacuum.
    pub(crate) async fn discard(&self, adds: &[Add]) {
        let store = self.store();
        for add in adds {
            let Ok(path) = Path::parse(&add.path) else { continue };
            if let Err(error) = store.delete(&path).await {
                log::warn!("staged file {} of table {}: {error}", add.path, self.name);
            }
        }
    }

    /// Whether a log lies there.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid` when the store cannot be listed.
    pub async fn exists(&self) -> Result<bool> {
        let store = self.store();
        let mut entries = store.list(Some(&Path::from("_delta_log")));
        let doing = format!("table {}", self.name);
        while let Some(entry) = entries.try_next().await.map_err(|e| from_store(&doing, &e))? {
            let name = entry.location.filename().unwrap_or_default();
            if name.ends_with(".json") || name.ends_with(".parquet") {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
