//! The run ledger: small JSON objects in the lake, so that it outlives every process and can be read from anywhere.
//!
//! | object below `_pulse` | holds | written |
//! |---|---|---|
//! | `open/<trigger>.<epoch>` | nothing: the trigger has not ended | with the submission and by each driver of it; deleted at the end by a driver of this epoch or a later one |
//! | `runs/<trigger>/trigger.json` | the submission | once, before anything else |
//! | `runs/<trigger>/lease/<epoch>.json` | who drives it, until when | made once, overwritten by its owner only |
//! | `runs/<trigger>/records/<epoch>/<job>.json` | a run | by the owner of the epoch only; the newest epoch holds |
//! | `runs/<trigger>/cancel` | nothing: somebody wants it to stop | by anybody |
//! | `runs/<trigger>/ended/<epoch>.json` | how it ended | once, by the owner of the epoch; the newest epoch holds |
//! | `runs/<trigger>/driving/<epoch>` | nothing: its driver has neither ended it nor let go of it | by the driver of the epoch, who deletes it; those that stay are of processes that died |
//! | `keys/<key>` | the trigger that was submitted with the key | once |
//! | `schedules/<name>.json` | since when a schedule counts, and the newest time that it ran | by `pulse run-due` |
//! | `alerts/<alert>/<job>.json` | incidents of a job, and whether their messages were delivered | at the end of a trigger, by its driver |
//! | `jobs/<job>.json` | how long its last runs took | by whoever ran it |
//! | `lakes/<hash>` | the URL of another lake whose triggers a scheduler drives | once |

mod alerts;
mod driving;
#[cfg(test)]
pub(crate) mod fuzz;
mod lease;
mod records;
mod retention;
mod schedules;
mod seal;
mod submission;

use std::path::PathBuf;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload};
use pulse_core::name::TableName;
use pulse_core::run::TriggerId;
use pulse_core::timeout::JobHistory;
use pulse_core::{Error, Result};
use pulse_engine::error::from_store;
use pulse_engine::store::store_path;
use pulse_engine::table::Lake;
use serde::de::DeserializeOwned;

use crate::clock::{Clock, SystemClock};
use crate::metrics::Metrics;

pub use lease::LeaseKeeper;
pub use seal::Seal;
pub use submission::{Key, Limits, SubmissionRecord};

/// Below the lake's root; the underscore keeps catalogs from taking it for a layer.
const FOLDER: &str = "_pulse";
const READ: &str = "read the run ledger";
const WRITE: &str = "write the run ledger";
/// Bytes of the largest object that is read. A submission has at most the 2 MB of its request, written as JSON twice over.
const MAX_OBJECT_BYTES: u64 = 8 << 20;
/// Attempts to make an object that the store refuses to make and does not show.
const MAKES: usize = 4;

/// Who knows of a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This process alone: with it, the trigger is gone.
    Here,
    /// The ledger holds all that is needed to go on.
    Submitted,
}

/// The ledger of one lake.
#[derive(Debug, Clone)]
pub struct RunStore {
    store: Arc<dyn ObjectStore>,
    root: Path,
    /// Its folder, on this machine.
    folder: Option<PathBuf>,
    seal: Seal,
    clock: Arc<dyn Clock>,
    /// Counts what becomes of runs and triggers.
    metrics: Option<Arc<Metrics>>,
}

/// What became of an object that may be made only once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    Now,
    Before,
}

impl RunStore {
    /// # Errors
    /// `Invalid` when the lake cannot be opened.
    pub fn new(lake: &Lake) -> Result<Self> {
        let ledger = Self::over(lake.stores().client(lake.root())?, &store_path(lake.root())?);
        Ok(Self { folder: lake.root().to_file_path().ok().map(|lake| lake.join(FOLDER)), ..ledger })
    }

    /// The ledger of the lake whose root is this path of a store.
    pub fn over(store: Arc<dyn ObjectStore>, lake: &Path) -> Self {
        let root = lake.clone().join(FOLDER);
        Self { store, root, folder: None, seal: Seal::default(), clock: Arc::new(SystemClock), metrics: None }
    }

    /// With the seal of submissions that may be driven.
    #[must_use]
    pub fn sealed(self, seal: Seal) -> Self {
        Self { seal, ..self }
    }

    /// With figures in which the runs and triggers that end count.
    #[must_use]
    pub fn measured(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// With a clock of its own, by which leases and drivers go.
    #[must_use]
    pub fn timed(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Asks the driver of a trigger to stop it, wherever it runs.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid` when the lake cannot be written.
    pub async fn request_cancel(&self, trigger: &TriggerId) -> Result<()> {
        self.overwrite(&self.of(trigger).join("cancel"), String::new()).await
    }

    /// # Errors
    /// `Unavailable` when the lake cannot be read.
    pub async fn cancel_requested(&self, trigger: &TriggerId) -> Result<bool> {
        self.exists(&self.of(trigger).join("cancel")).await
    }

    /// How long the last runs of a job took; nothing when that cannot be read, as it only shortens a limit.
    pub async fn history(&self, job: &TableName) -> JobHistory {
        self.read_json(&self.history_path(job)).await.ok().flatten().unwrap_or_default()
    }

    /// # Errors
    /// `Unavailable` or `Invalid` when the lake cannot be written.
    pub async fn put_history(&self, job: &TableName, history: &JobHistory) -> Result<()> {
        self.overwrite(&self.history_path(job), json(history)?).await
    }

    fn history_path(&self, job: &TableName) -> Path {
        self.root.clone().join("jobs").join(format!("{job}.json"))
    }

    fn of(&self, trigger: &TriggerId) -> Path {
        self.root.clone().join("runs").join(trigger.as_str())
    }

    async fn exists(&self, path: &Path) -> Result<bool> {
        match self.store.head(path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(from_store(READ, &error)),
        }
    }

    async fn list_below(&self, folder: &Path) -> Result<Vec<ObjectMeta>> {
        self.store.list(Some(folder)).try_collect().await.map_err(|e| from_store(READ, &e))
    }

    async fn read(&self, path: &Path) -> Result<Option<String>> {
        let got = match self.store.get(path).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(from_store(READ, &error)),
        };
        // Before anything of it is read.
        if got.meta.size > MAX_OBJECT_BYTES {
            return Err(Error::data(format!(
                "{path} of the run ledger has {} bytes, and none has more than {MAX_OBJECT_BYTES}: it is not ours; delete it",
                got.meta.size
            )));
        }
        let bytes = got.bytes().await.map_err(|e| from_store(READ, &e))?;
        let text = String::from_utf8(bytes.to_vec());
        text.map(Some).map_err(|e| Error::data(format!("{path} is not text; delete it")).with_source(e))
    }

    async fn read_json<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>> {
        let Some(text) = self.read(path).await? else { return Ok(None) };
        let broken = |e| Error::data(format!("{path} of the run ledger cannot be read: delete it")).with_source(e);
        serde_json::from_str(&text).map(Some).map_err(broken)
    }

    async fn overwrite(&self, path: &Path, text: String) -> Result<()> {
        let put = self.store.put(path, PutPayload::from(text)).await;
        put.map(|_| ()).map_err(|e| from_store(WRITE, &e))
    }

    /// Makes an object that nobody has made. After a lost answer of the store, the maker may be told that it was made before. A store
    /// also refuses while somebody else writes, who then may not have made it.
    async fn make(&self, path: &Path, text: String) -> Result<Made> {
        for _ in 0..MAKES {
            match self.store.put_opts(path, PutPayload::from(text.clone()), PutMode::Create.into()).await {
                Ok(_) => return Ok(Made::Now),
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                    if self.exists(path).await? {
                        return Ok(Made::Before);
                    }
                }
                Err(error) => return Err(from_store(WRITE, &error)),
            }
        }
        Err(Error::unavailable(format!("{WRITE}: the store refuses to make {path}, and does not show it; try again")))
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(from_store(WRITE, &error)),
        }
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::internal("an object of the run ledger is not JSON").with_source(e))
}
