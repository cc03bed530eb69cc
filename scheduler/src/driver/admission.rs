//! Permits for runs, which the drivers of one process share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use pulse_core::name::TableName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The permits of one driver. It asks for one at a time, so that triggers take turns, however many jobs each has.
pub(super) struct Admission {
    /// Without it, runs need no permit.
    shared: Option<Arc<Semaphore>>,
    /// Kept until it is granted, because permits are granted in the order of the requests. The lock only makes it `Sync`.
    asked: Option<Mutex<BoxFuture<'static, Option<OwnedSemaphorePermit>>>>,
    granted: Option<OwnedSemaphorePermit>,
    held: HashMap<TableName, OwnedSemaphorePermit>,
}

impl Admission {
    pub(super) fn new(shared: Option<Arc<Semaphore>>) -> Self {
        Self { shared, asked: None, granted: None, held: HashMap::new() }
    }

    pub(super) fn is_limited(&self) -> bool {
        self.shared.is_some()
    }

    /// Asks for a permit, or takes the request back. A permit that no run took is returned.
    pub(super) fn want(&mut self, wanted: bool) {
        self.granted = None;
        match (&self.shared, wanted) {
            (Some(shared), true) if self.asked.is_none() => {
                let permit = Arc::clone(shared).acquire_owned();
                self.asked = Some(Mutex::new(Box::pin(async { permit.await.ok() })));
            }
            (Some(_), true) | (None, _) => {}
            (Some(_), false) => self.asked = None,
        }
    }

    /// Resolves when the permit that was asked for is granted; the next run takes it.
    pub(super) async fn granted(&mut self) {
        let permit = match self.asked.as_mut() {
            Some(asked) => asked.get_mut().unwrap_or_else(PoisonError::into_inner).await,
            None => None,
        };
        if permit.is_none() {
            return std::future::pending().await;
        }
        self.asked = None;
        self.granted = permit;
    }

    pub(super) fn begin(&mut self, job: &TableName) {
        self.held.extend(self.granted.take().map(|permit| (job.clone(), permit)));
    }

    pub(super) fn end(&mut self, job: &TableName) {
        self.held.remove(job);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn job(name: &str) -> TableName {
        TableName::new("t", name).unwrap()
    }

    #[tokio::test]
    async fn drivers_take_turns() {
        let shared = Arc::new(Semaphore::new(1));
        let [mut one, mut two] = [Admission::new(Some(Arc::clone(&shared))), Admission::new(Some(Arc::clone(&shared)))];
        one.want(true);
        one.granted().await;
        one.begin(&job("a"));
        // The first one has many jobs and asks again before the second one asks at all; a repeated request keeps its turn.
        two.want(true);
        assert!(two.granted().now_or_never().is_none());
        one.want(true);
        assert!(one.granted().now_or_never().is_none());
        two.want(true);
        one.end(&job("a"));
        assert!(one.granted().now_or_never().is_none(), "it asked later");
        two.granted().await;
        two.begin(&job("b"));
        two.end(&job("b"));
        one.granted().await;
        // A permit without a run goes back, and so does a request.
        one.want(false);
        assert_eq!(shared.available_permits(), 1);
        assert!(one.granted().now_or_never().is_none());
    }

    #[tokio::test]
    async fn without_a_limit_nothing_is_granted() {
        let mut free = Admission::new(None);
        free.want(true);
        assert!(!free.is_limited() && free.granted().now_or_never().is_none());
    }
}
