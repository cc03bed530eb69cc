//! Virtual time. It moves on when nothing is left to do at a moment, so a history of minutes takes milliseconds.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::runtime::Builder;

/// Milliseconds since the history began.
#[derive(Debug, Clone, Default)]
pub(super) struct Time(Arc<Mutex<Timers>>);

#[derive(Debug, Default)]
struct Timers {
    now: i64,
    /// Distinguishes timers of one moment; they end in the order in which they began.
    next: u64,
    waiting: BTreeMap<(i64, u64), Waker>,
}

impl Time {
    pub(super) fn now(&self) -> i64 {
        self.0.lock().unwrap().now
    }

    pub(super) fn until(&self, moment: i64) -> Sleep {
        Sleep { time: self.clone(), moment, key: None }
    }

    pub(super) fn sleep(&self, millis: i64) -> Sleep {
        self.until(self.now() + millis)
    }

    /// Goes to the moment of the next timer.
    fn advance(&self) {
        let due = {
            let mut timers = self.0.lock().unwrap();
            let Some((&(moment, _), _)) = timers.waiting.first_key_value() else { return };
            timers.now = timers.now.max(moment);
            let later = timers.waiting.split_off(&(moment + 1, 0));
            std::mem::replace(&mut timers.waiting, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// Runs a future on one thread, in this time.
    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let time = self.clone();
        // Called when no task can go on.
        let runtime = Builder::new_current_thread().on_thread_park(move || time.advance()).build().unwrap();
        runtime.block_on(future)
    }
}

pub(super) struct Sleep {
    time: Time,
    moment: i64,
    key: Option<(i64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let time = self.time.clone();
        let mut timers = time.0.lock().unwrap();
        if timers.now >= self.moment {
            return Poll::Ready(());
        }
        let fresh = (self.moment, timers.next);
        let key = *self.key.get_or_insert(fresh);
        timers.next += 1;
        timers.waiting.insert(key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.time.0.lock().unwrap().waiting.remove(&key);
        }
    }
}
