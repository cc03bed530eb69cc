//! Leases in the lake, and keeping one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use object_store::path::Path;
use pulse_core::Result;
use pulse_core::lease::{Claim, Holding, Lease, LeaseAction, LeaseEvent, LeaseOptions, claim, is_over};
use pulse_core::run::TriggerId;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Made, Origin, RunStore, json};

/// Times in a lease's length that its keeper looks whether something is due.
const LOOKS_PER_LEASE: u32 = 6;
/// Whoever must wait for a lease to be renewed looks again after this.
const WAIT: Duration = Duration::from_millis(20);

impl RunStore {
    fn lease_folder(&self, trigger: &TriggerId) -> Path {
        self.of(trigger).join("lease")
    }

    fn lease_path(&self, trigger: &TriggerId, epoch: u64) -> Path {
        self.lease_folder(trigger).join(format!("{epoch:08}.json"))
    }

    /// The last epoch of a trigger; none when nobody ever drove it.
    ///
    /// # Errors
    /// `Unavailable` when the lake cannot be read.
    pub async fn newest_lease(&self, trigger: &TriggerId) -> Result<Option<Lease>> {
        let objects = self.list_below(&self.lease_folder(trigger)).await?;
        match objects.into_iter().map(|object| object.location).max() {
            Some(newest) => self.read_json(&newest).await,
            None => Ok(None),
        }
    }

    /// Whether a driver has the trigger, as far as anybody else can tell.
    ///
    /// # Errors
    /// `Unavailable` when the lake cannot be read.
    pub async fn is_driven(&self, trigger: &TriggerId, now: DateTime<Utc>, options: LeaseOptions) -> Result<bool> {
        Ok(self.newest_lease(trigger).await?.is_some_and(|lease| !is_over(&lease, now, options)))
    }

    /// The mark comes before the epoch, so that the end of an earlier driver that is not quite gone does not close it.
    async fn make_lease(&self, trigger: &TriggerId, origin: Origin, lease: &Lease) -> Result<Made> {
        if origin == Origin::Submitted {
            self.mark_open(trigger, lease.epoch).await?;
        }
        self.make(&self.lease_path(trigger, lease.epoch), json(lease)?).await
    }
}

/// A lease that is renewed until this is dropped.
#[derive(Debug)]
pub struct LeaseKeeper {
    ledger: RunStore,
    trigger: TriggerId,
    holding: Arc<Mutex<Holding>>,
    lost: watch::Receiver<bool>,
    keeping: JoinHandle<()>,
    first_epoch: u64,
}

impl LeaseKeeper {
    /// Takes a trigger; none when somebody else has it.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid` when the lake cannot be read or written.
    pub async fn claim(
        ledger: &RunStore,
        trigger: &TriggerId,
        origin: Origin,
        options: LeaseOptions,
    ) -> Result<Option<Self>> {
        let owner = format!("{:016x}", rand::random::<u64>());
        let newest = ledger.newest_lease(trigger).await?;
        let lease = match claim(newest.as_ref(), &owner, ledger.clock.now(), options) {
            Claim::Held => return Ok(None),
            Claim::Ours(lease) => lease,
            Claim::Make(lease) => match ledger.make_lease(trigger, origin, &lease).await? {
                Made::Now => lease,
                // By somebody else, or by a try of ours whose answer was lost.
                Made::Before => match ledger.newest_lease(trigger).await? {
                    Some(lease) if lease.owner == owner => lease,
                    _ => return Ok(None),
                },
            },
        };
        let first_epoch = lease.epoch;
        let holding = Arc::new(Mutex::new(Holding::new(lease, options)));
        let (tell, lost) = watch::channel(false);
        let every = options.length.to_std().unwrap_or_default() / LOOKS_PER_LEASE;
        let keeping = keep(ledger.clone(), (trigger.clone(), origin), Arc::clone(&holding), tell, every);
        let keeping = ledger.clock.keep(Box::pin(keeping));
        Ok(Some(Self { ledger: ledger.clone(), trigger: trigger.clone(), holding, lost, keeping, first_epoch }))
    }

    /// The epoch that was claimed: above 1, others drove before.
    pub fn first_epoch(&self) -> u64 {
        self.first_epoch
    }

    /// Whether an effect is allowed now.
    pub fn holds(&self) -> bool {
        lock(&self.holding).holds(self.ledger.clock.now())
    }

    /// The epoch to write by; none when another driver has gone on. Waits while it is not known.
    pub async fn epoch(&self) -> Option<u64> {
        loop {
            {
                let holding = lock(&self.holding);
                if holding.is_lost() {
                    return None;
                }
                if holding.holds(self.ledger.clock.now()) {
                    return Some(holding.epoch());
                }
            }
            self.ledger.clock.sleep(WAIT).await;
        }
    }

    /// Resolves when another driver has gone on.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        if lost.wait_for(|lost| *lost).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Lets others go on at once.
    pub async fn release(self) {
        self.keeping.abort();
        let released = {
            let (holding, now) = (lock(&self.holding), self.ledger.clock.now());
            holding.holds(now).then(|| holding.released(now))
        };
        let Some(lease) = released else { return };
        let path = self.ledger.lease_path(&self.trigger, lease.epoch);
        // Others wait until it is over by itself.
        if let Err(error) = async { self.ledger.overwrite(&path, json(&lease)?).await }.await {
            log::warn!("lease of {}: {error}", self.trigger);
        }
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

async fn keep(
    ledger: RunStore,
    (trigger, origin): (TriggerId, Origin),
    holding: Arc<Mutex<Holding>>,
    tell: watch::Sender<bool>,
    every: Duration,
) {
    loop {
        ledger.clock.sleep(every).await;
        let action = lock(&holding).due(ledger.clock.now());
        match carry_out(&ledger, &trigger, origin, action).await {
            Ok(Some(event)) => lock(&holding).apply(event, ledger.clock.now()),
            Ok(None) => {}
            // The next look tries again; until then the lease may run out, and then nothing is done.
            Err(error) => log::warn!("lease of {trigger}: {error}"),
        }
        if lock(&holding).is_lost() {
            tell.send_replace(true);
            return;
        }
    }
}

async fn carry_out(
    ledger: &RunStore,
    trigger: &TriggerId,
    origin: Origin,
    action: LeaseAction,
) -> Result<Option<LeaseEvent>> {
    match action {
        LeaseAction::Nothing => Ok(None),
        LeaseAction::Renew(lease) => {
            let next: Option<Lease> = ledger.read_json(&ledger.lease_path(trigger, lease.epoch + 1)).await?;
            if let Some(next) = next {
                return Ok(Some(LeaseEvent::Superseded(next)));
            }
            ledger.overwrite(&ledger.lease_path(trigger, lease.epoch), json(&lease)?).await?;
            Ok(Some(LeaseEvent::Stored(lease)))
        }
        LeaseAction::Make(lease) => match ledger.make_lease(trigger, origin, &lease).await? {
            Made::Now => Ok(Some(LeaseEvent::Stored(lease))),
            Made::Before => Ok(ledger.newest_lease(trigger).await?.map(LeaseEvent::Superseded)),
        },
    }
}

fn lock(holding: &Mutex<Holding>) -> MutexGuard<'_, Holding> {
    holding.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use pulse_engine::store::Stores;
    use pulse_engine::table::Lake;
    use url::Url;

    use super::*;

    /// A query may take all threads of the runtime for longer than a lease.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_lease_is_renewed_while_all_threads_compute() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::new(Url::from_directory_path(folder.path()).unwrap(), Arc::new(Stores::default()));
        let ledger = RunStore::new(&lake).unwrap();
        let options = LeaseOptions { length: TimeDelta::seconds(1), clock_margin: TimeDelta::zero() };
        let trigger = TriggerId::new(Utc::now(), 7);
        let keeper = LeaseKeeper::claim(&ledger, &trigger, Origin::Here, options).await.unwrap().unwrap();
        let computes = tokio::spawn(async { std::thread::sleep(Duration::from_secs(3)) });
        std::thread::sleep(Duration::from_millis(2_500));
        let looks = move || {
            let threads = tokio::runtime::Runtime::new().unwrap();
            threads.block_on(ledger.is_driven(&trigger, Utc::now(), options)).unwrap()
        };
        assert!(std::thread::spawn(looks).join().unwrap());
        assert!(keeper.holds());
        computes.await.unwrap();
    }
}
