//! Permits for runs, which the drivers of one process share. Whose turn it is, `pulse_core::queue` decides.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use pulse_core::name::TableName;
use pulse_core::queue::{QueueName, QueueState, Queues, Turns};
use tokio::sync::oneshot;

/// Permits for runs of all triggers of a process.
#[derive(Clone)]
pub struct Permits(Arc<Mutex<State>>);

struct State {
    turns: Turns<u64, oneshot::Sender<()>>,
    next: u64,
}

impl Permits {
    pub fn new(queues: Queues, most: usize) -> Self {
        Self(Arc::new(Mutex::new(State { turns: Turns::new(queues, most), next: 0 })))
    }

    /// Runs that hold a permit and requests that wait for one, by queue.
    pub fn states(&self) -> BTreeMap<QueueName, QueueState<u64>> {
        self.lock().turns.states()
    }

    fn ask(&self, queue: &QueueName) -> Asked {
        let (sender, granted) = oneshot::channel();
        let mut state = self.lock();
        let key = state.next;
        state.next += 1;
        state.turns.wait(queue, key, sender);
        state.grant();
        Asked { granted, permit: Some(Permit { permits: self.clone(), key }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn grant(&mut self) {
        while let Some((_, waiting)) = self.turns.next_turn() {
            // One who does not listen any more is about to take its request back.
            let _ = waiting.send(());
        }
    }
}

/// A place among the runs of the process, or the wish for one, until it is dropped.
struct Permit {
    permits: Permits,
    key: u64,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.permits.lock();
        state.turns.forget(&self.key);
        state.turns.release(&self.key);
        state.grant();
    }
}

/// Resolves to the permit.
struct Asked {
    granted: oneshot::Receiver<()>,
    permit: Option<Permit>,
}

impl Future for Asked {
    type Output = Option<Permit>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Permit>> {
        Pin::new(&mut self.granted).poll(cx).map(|_| self.permit.take())
    }
}

/// The permits of one driver. It asks for one at a time, so that triggers of one queue take turns, however many jobs each has.
pub(super) struct Admission {
    /// Without it, runs need no permit.
    shared: Option<Permits>,
    queue: QueueName,
    /// Kept until it is granted, because permits of a queue are granted in the order of the requests.
    asked: Option<Asked>,
    granted: Option<Permit>,
    held: HashMap<TableName, Permit>,
}

impl Admission {
    pub(super) fn new(shared: Option<Permits>, queue: QueueName) -> Self {
        Self { shared, queue, asked: None, granted: None, held: HashMap::new() }
    }

    pub(super) fn is_limited(&self) -> bool {
        self.shared.is_some()
    }

    /// Asks for a permit, or takes the request back. A permit that no run took is returned.
    pub(super) fn want(&mut self, wanted: bool) {
        self.granted = None;
        match (&self.shared, wanted) {
            (Some(shared), true) if self.asked.is_none() => self.asked = Some(shared.ask(&self.queue)),
            (Some(_), true) | (None, _) => {}
            (Some(_), false) => self.asked = None,
        }
    }

    /// Resolves when the permit that was asked for is granted; the next run takes it.
    pub(super) async fn granted(&mut self) {
        let permit = match &mut self.asked {
            Some(asked) => asked.await,
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

    fn held(shared: &Permits) -> usize {
        shared.states().values().map(|state| state.holders).sum()
    }

    #[tokio::test]
    async fn drivers_take_turns() {
        let shared = Permits::new(Queues::default(), 1);
        let [mut one, mut two] = [(); 2].map(|()| Admission::new(Some(shared.clone()), QueueName::default()));
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
        assert_eq!(held(&shared), 0);
        assert!(one.granted().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_queue_of_a_higher_priority_goes_first() {
        let shared = Permits::new(Queues::parse("urgent priority=1").unwrap(), 1);
        let of = |queue: &str| Admission::new(Some(shared.clone()), queue.parse().unwrap());
        let (mut first, mut second, mut urgent) = (of("default"), of("default"), of("urgent"));
        first.want(true);
        first.granted().await;
        first.begin(&job("a"));
        second.want(true);
        urgent.want(true);
        first.end(&job("a"));
        assert!(second.granted().now_or_never().is_none());
        urgent.granted().await;
    }

    #[tokio::test]
    async fn a_granted_permit_that_nobody_took_goes_to_the_next() {
        let shared = Permits::new(Queues::default(), 1);
        let of = || Admission::new(Some(shared.clone()), QueueName::default());
        let (mut one, mut two) = (of(), of());
        one.want(true);
        two.want(true);
        drop(one);
        two.granted().await;
        assert_eq!(held(&shared), 1);
        drop(two);
        assert_eq!(held(&shared), 0);
    }

    #[tokio::test]
    async fn without_a_limit_nothing_is_granted() {
        let mut free = Admission::new(None, QueueName::default());
        free.want(true);
        assert!(!free.is_limited() && free.granted().now_or_never().is_none());
    }
}
