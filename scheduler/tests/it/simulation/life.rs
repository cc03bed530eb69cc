//! A process between two crashes: its clock, and its requests to what lies outside of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use pulse_scheduler::clock::Clock;

use super::world::{Fate, World};

/// The longest that a request takes to arrive, and its answer.
const LATENCY: i64 = 12;
/// The longest that a request survives its sender.
const SURVIVES: i64 = 1500;

/// What a request does. A process dies rather while it commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
    Commit,
}

/// Whether somebody waits for a request when it is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    Awaited,
    Late,
}

#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) world: Arc<World>,
    pub(super) process: usize,
    /// Number of the process's life.
    number: u64,
    /// The newest epoch that the drive of this handle made, 0 before.
    epoch: Arc<AtomicU64>,
}

type Op<T> = Box<dyn FnOnce(Arrival) -> T + Send>;

/// A request that is under way. Dropped with its sender, it may arrive all the same.
struct Request<T: 'static> {
    life: Life,
    kind: Kind,
    op: Option<Op<T>>,
}

impl<T> Request<T> {
    fn carry_out(&mut self) -> T {
        self.op.take().unwrap()(Arrival::Awaited)
    }

    fn carry_out_later(&mut self) {
        let Some(op) = self.op.take() else { return };
        let delay = self.life.world.random(|random| random.between(0, SURVIVES));
        self.life.world.later(delay, Box::new(move || drop(op(Arrival::Late))));
    }
}

impl<T> Drop for Request<T> {
    fn drop(&mut self) {
        if self.kind != Kind::Read && self.op.is_some() && self.life.world.random(|random| random.chance(500)) {
            self.carry_out_later();
        }
    }
}

impl Life {
    pub(super) fn new(world: Arc<World>, process: usize, number: u64) -> Self {
        Self { world, process, number, epoch: Arc::default() }
    }

    pub(super) fn is_over(&self) -> bool {
        self.world.number_of(self.process) != Some(self.number)
    }

    pub(super) fn made_epoch(&self, epoch: u64) {
        self.epoch.fetch_max(epoch, Ordering::Relaxed);
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Resolves when the process has crashed.
    pub(super) async fn ended(&self) {
        while !self.is_over() {
            self.world.time.sleep(20).await;
        }
    }

    /// Sleeps; a frozen process wakes up only when it goes on.
    pub(super) async fn rest(&self, millis: i64) {
        self.world.time.sleep(millis).await;
        loop {
            if self.is_over() {
                std::future::pending::<()>().await;
            }
            let until = self.world.frozen_until(self.process);
            if until <= self.world.time.now() {
                return;
            }
            self.world.time.until(until).await;
        }
    }

    /// Sends a request; `None` if no answer came. It is carried out whole and at once, or not at all, or later.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        kind: Kind,
        op: impl FnOnce(Arrival) -> T + Send + 'static,
    ) -> Option<T> {
        let mut request = Request { life: self.clone(), kind, op: Some(Box::new(op)) };
        self.rest(self.world.random(|random| random.between(0, LATENCY))).await;
        let answer = match self.world.fate(kind) {
            Fate::Fine => Some(request.carry_out()),
            Fate::AnswerLost => {
                request.carry_out();
                None
            }
            Fate::Delayed => {
                request.carry_out_later();
                None
            }
            Fate::Lost => {
                request.op = None;
                None
            }
            Fate::DiesBefore => {
                self.world.crash(self.process);
                std::future::pending().await
            }
            Fate::DiesAfter => {
                request.carry_out();
                self.world.crash(self.process);
                std::future::pending().await
            }
        };
        self.rest(self.world.random(|random| random.between(0, 3))).await;
        answer
    }
}

impl Clock for Life {
    fn now(&self) -> DateTime<Utc> {
        // Far from the epoch, so that no clock is before it.
        let millis = 1_000_000 + self.world.time.now() + self.world.skew(self.process);
        DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (life, millis) = (self.clone(), i64::try_from(duration.as_millis()).unwrap());
        Box::pin(async move { life.rest(millis).await })
    }
}
