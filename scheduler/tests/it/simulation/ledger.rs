//! The store of the ledger, as one process reaches it on a bad day.

use std::fmt::{Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use pulse_core::lease::Lease;
use pulse_core::run::{RunRecord, TriggerId};
use pulse_scheduler::ledger::RunStore;

use super::Bug;
use super::life::{Kind, Life};

/// What is ready at once in memory.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap()
}

#[derive(Debug, Clone)]
pub(super) struct Ledger {
    memory: Arc<InMemory>,
    life: Life,
    /// Leases of others do not count: a planted mistake.
    ignores_leases: bool,
}

impl Ledger {
    /// As a scheduler or a client uses it.
    pub(super) fn of(life: &Life) -> RunStore {
        Self::store(life, false)
    }

    /// As a driver uses it.
    pub(super) fn of_driver(life: &Life) -> RunStore {
        Self::store(life, matches!(life.world.bug, Some(Bug::LeaseIgnored | Bug::LeaseIgnoredWithoutTxn)))
    }

    fn store(life: &Life, ignores_leases: bool) -> RunStore {
        let store = Self { memory: Arc::clone(&life.world.memory), life: life.clone(), ignores_leases };
        RunStore::over(Arc::new(store), &Path::default()).timed(Arc::new(life.clone()))
    }

    async fn ask<T: Send + 'static>(
        &self,
        kind: Kind,
        op: impl FnOnce(&InMemory) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let memory = Arc::clone(&self.memory);
        let answer = self.life.ask(kind, move |_| op(&memory)).await;
        answer.unwrap_or_else(|| Err(Error::Generic { store: "simulated", source: "no answer came".into() }))
    }

    /// All epochs write to one place: a planted mistake.
    fn placed(&self, location: &Path) -> Path {
        let text = location.to_string();
        match text.split_once("/records/") {
            Some((before, after)) if self.life.world.bug == Some(Bug::RecordsUnfenced) => {
                Path::from(format!("{before}/records/00000001/{}", after.split_once('/').unwrap().1))
            }
            _ => location.clone(),
        }
    }
}

/// The epoch of a lease's object.
fn epoch_of(location: &Path) -> Option<u64> {
    let (_, epoch) = location.as_ref().split_once("/lease/")?;
    epoch.strip_suffix(".json")?.parse().ok()
}

impl Display for Ledger {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "the ledger of process {}", self.life.process)
    }
}

#[async_trait]
impl ObjectStore for Ledger {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (location, life) = (self.placed(location), self.life.clone());
        let is_ignored = self.ignores_leases && epoch_of(&location).is_some();
        let options = if is_ignored { PutOptions::default() } else { options };
        self.ask(Kind::Write, move |memory| {
            let put = now(memory.put_opts(&location, payload, options))?;
            epoch_of(&location).into_iter().for_each(|epoch| life.made_epoch(epoch));
            Ok(put)
        })
        .await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let asked = location.clone();
        let got = self.ask(Kind::Read, move |memory| now(memory.get_opts(&asked, options))).await?;
        let Some(epoch) = epoch_of(location).filter(|_| self.ignores_leases) else { return Ok(got) };
        // Somebody else's lease counts as over, and a later one is not seen: a planted mistake.
        if self.life.epoch() > 0 && epoch > self.life.epoch() {
            return Err(Error::NotFound { path: location.to_string(), source: "ignored".into() });
        }
        let lease: Lease = serde_json::from_slice(&now(got.bytes())?).unwrap();
        let ignored = InMemory::new();
        let text = serde_json::to_vec(&Lease { expires: i64::MIN / 2, ..lease }).unwrap();
        now(ignored.put(location, text.into()))?;
        now(ignored.get(location))
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let ledger = Arc::new(self.clone());
        let delete = move |location: Path| {
            let ledger = Arc::clone(&ledger);
            async move {
                let asked = location.clone();
                ledger.ask(Kind::Write, move |memory| now(memory.delete(&asked))).await.map(|()| location)
            }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let ledger = self.clone();
        let prefix = prefix.cloned();
        let listing = async move {
            let listed = move |memory: &InMemory| now(memory.list(prefix.as_ref()).try_collect::<Vec<_>>());
            ledger.ask(Kind::Read, listed).await
        };
        let listed = |listed: Result<Vec<ObjectMeta>>| match listed {
            Ok(objects) => objects.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        listing.map(listed).map(futures::stream::iter).flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(Error::NotImplemented { operation: "list folders".into(), implementer: "the simulation".into() })
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented { operation: "put in parts".into(), implementer: "the simulation".into() })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(Error::NotImplemented { operation: "copy".into(), implementer: "the simulation".into() })
    }
}

/// Objects of a trigger below one folder.
fn objects(memory: &InMemory, trigger: &TriggerId, folder: &str) -> Vec<Path> {
    let prefix = Path::from(format!("_pulse/runs/{trigger}/{folder}"));
    let listed: Vec<ObjectMeta> = now(memory.list(Some(&prefix)).try_collect()).unwrap();
    listed.into_iter().map(|object| object.location).collect()
}

/// Returns the newest epoch of a trigger, made by any driver; 0 if there is none.
pub(super) fn newest_epoch(memory: &InMemory, trigger: &TriggerId) -> u64 {
    objects(memory, trigger, "lease").iter().filter_map(epoch_of).max().unwrap_or_default()
}

/// All records of a trigger, of all epochs, oldest epoch first.
pub(super) fn records(memory: &InMemory, trigger: &TriggerId) -> Vec<RunRecord> {
    let mut paths = objects(memory, trigger, "records");
    paths.sort();
    let read = |path: &Path| now(now(memory.get(path)).unwrap().bytes()).unwrap();
    paths.iter().map(|path| RunRecord::from_json(std::str::from_utf8(&read(path)).unwrap()).unwrap()).collect()
}

/// Marks of triggers that have not ended.
pub(super) fn marks(memory: &InMemory) -> Vec<Path> {
    let listed: Vec<ObjectMeta> = now(memory.list(Some(&Path::from("_pulse/open"))).try_collect()).unwrap();
    listed.into_iter().map(|object| object.location).collect()
}

/// Asks to stop a trigger.
pub(super) fn cancel(memory: &Arc<InMemory>, trigger: &TriggerId) {
    let memory: Arc<dyn ObjectStore> = Arc::<InMemory>::clone(memory);
    now(RunStore::over(memory, &Path::default()).request_cancel(trigger)).unwrap();
}
