//! The time, as drivers and leases see it: a simulation brings its own.

use std::fmt::Debug;
use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// A clock, and what waits for it.
pub trait Clock: Debug + Send + Sync {
    fn now(&self) -> DateTime<Utc>;

    /// Resolves after a duration.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Begins what must keep to the time while the caller's threads compute.
    fn keep(&self, work: BoxFuture<'static, ()>) -> JoinHandle<()> {
        tokio::spawn(work)
    }
}

/// The clock of this machine. It may be set back or forth; sleeps are not affected.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn keep(&self, work: BoxFuture<'static, ()>) -> JoinHandle<()> {
        match KEEPERS.get_or_init(keepers) {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work),
        }
    }
}

/// For the life of the process: a runtime may not be dropped by a task.
static KEEPERS: OnceLock<Option<Runtime>> = OnceLock::new();

/// One thread, which no query uses. `None` if the process has no thread left; then the caller's are used.
fn keepers() -> Option<Runtime> {
    let mut threads = Builder::new_multi_thread();
    threads.worker_threads(1).enable_all().thread_name("pulse-keeper");
    threads.build().map_err(|error| log::warn!("leases share the threads of queries: {error}")).ok()
}
