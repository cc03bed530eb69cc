//! The run ledger: one JSON object a run in the lake, so that it outlives every process and can be read from anywhere.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use pulse_core::run::{RunId, RunRecord, TriggerId};
use pulse_core::{Error, Result};
use pulse_engine::error::from_store;
use pulse_engine::store::store_path;
use pulse_engine::table::Lake;

/// Below the lake's root; the underscore keeps catalogs from taking it for a layer.
const FOLDER: &str = "_pulse/runs";

/// Records by trigger and job: `_pulse/runs/<trigger>/<job>.json`.
#[derive(Debug, Clone)]
pub struct RunStore {
    store: Arc<dyn ObjectStore>,
    root: Path,
}

impl RunStore {
    /// # Errors
    /// `Invalid` when the lake cannot be opened.
    pub fn new(lake: &Lake) -> Result<Self> {
        let root = store_path(lake.root())?;
        let root = Path::from_iter(root.parts().chain(Path::from(FOLDER).parts()));
        Ok(Self { store: lake.stores().client(lake.root())?, root })
    }

    fn path(&self, run: &RunId) -> Path {
        self.root.clone().join(run.trigger().as_str()).join(format!("{}.json", run.job()))
    }

    /// Replaces the record of a run; only the run's driver writes it.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid` when the lake cannot be written.
    pub async fn put(&self, record: &RunRecord) -> Result<()> {
        let payload = PutPayload::from(record.to_json()?);
        let path = self.path(&record.run);
        self.store.put(&path, payload).await.map_err(|e| from_store("write the run ledger", &e))?;
        Ok(())
    }

    /// Asks the driver of a trigger to stop it, wherever it runs.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid` when the lake cannot be written.
    pub async fn request_cancel(&self, trigger: &TriggerId) -> Result<()> {
        let path = self.cancel_path(trigger);
        let put = self.store.put(&path, PutPayload::from_static(b"")).await;
        put.map(|_| ()).map_err(|e| from_store("write the run ledger", &e))
    }

    /// # Errors
    /// `Unavailable` when the lake cannot be read.
    pub async fn cancel_requested(&self, trigger: &TriggerId) -> Result<bool> {
        match self.store.head(&self.cancel_path(trigger)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(from_store("read the run ledger", &error)),
        }
    }

    fn cancel_path(&self, trigger: &TriggerId) -> Path {
        self.root.clone().join(trigger.as_str()).join("cancel")
    }

    /// Records of one trigger, or of all, oldest first.
    ///
    /// # Errors
    /// `Unavailable` when the lake cannot be listed, `Data` for a record that cannot be read.
    pub async fn list(&self, trigger: Option<&TriggerId>) -> Result<Vec<RunRecord>> {
        let folder = trigger.map_or_else(|| self.root.clone(), |trigger| self.root.clone().join(trigger.as_str()));
        let doing = "read the run ledger";
        let objects: Vec<_> = self.store.list(Some(&folder)).try_collect().await.map_err(|e| from_store(doing, &e))?;
        let mut records = Vec::new();
        for object in objects.iter().filter(|object| object.location.extension() == Some("json")) {
            let got = self.store.get(&object.location).await.map_err(|e| from_store(doing, &e))?;
            let bytes = got.bytes().await.map_err(|e| from_store(doing, &e))?;
            let text = std::str::from_utf8(&bytes)
                .map_err(|e| Error::data(format!("{} is not text; delete it", object.location)).with_source(e))?;
            records.push(RunRecord::from_json(text)?);
        }
        records.sort_by(|a, b| (&a.trigger, a.started, &a.job).cmp(&(&b.trigger, b.started, &b.job)));
        Ok(records)
    }
}
