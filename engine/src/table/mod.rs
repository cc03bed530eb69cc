//! Delta tables of a lake: snapshots to read, commits to write. Protocol (1,2), so that Athena reads them as they are.

mod changes;
mod commit;
mod deletion;
mod drop;
mod file;
mod file_marks;
#[cfg(test)]
mod fuzz;
mod half_written;
mod lake;
mod log_files;
mod physical;
mod rename;
mod snapshot;
mod statistics;
mod vacuum;
mod writable;

use std::sync::Arc;

use deltalake_core::kernel::Add;
use deltalake_core::logstore::LogStoreRef;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use pulse_core::Result;
use pulse_core::name::TableName;
use url::Url;

use crate::error::from_store;

pub use changes::Changes;
pub use commit::{Commit, CommitOptions, CommitOutcome, History, Removal, Whole};
pub use deletion::{DeletionPlace, DeletionVector};
pub use drop::Deleted;
pub(crate) use file::partition_value;
pub use file::{DataFile, OPTIMIZED_TAG, ORDER_TAG, Unneeded};
pub use lake::Lake;
pub use physical::{Mapping, Physical};
pub(crate) use physical::{field_id, physical_name, plain};
pub use rename::Renamed;
pub use snapshot::Snapshot;
pub use writable::RowChange;

/// The location of a table in a lake. The table need not exist.
#[derive(Debug, Clone)]
pub struct Table {
    name: TableName,
    url: Url,
    /// The lake's folder. Links below it are not followed.
    lake: Url,
    log: LogStoreRef,
    writer: Writer,
}

/// Who writes a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// Jobs. They do not read tables that they may not write.
    Jobs,
    Others,
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

    /// Deletes the files of a commit that will not happen. Leaves to vacuum what cannot be deleted now.
    pub(crate) async fn discard(&self, adds: &[Add]) {
        let store = self.store();
        for add in adds {
            let Ok(path) = Path::parse(&add.path) else { continue };
            if let Err(error) = store.delete(&path).await {
                log::warn!("staged file {} of table {}: {error}", add.path, self.name);
            }
        }
    }

    /// Whether the table has a log.
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
