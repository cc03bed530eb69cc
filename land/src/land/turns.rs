//! Waits for the turn of a request, together with all processes that land below the same root.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use pulse_core::sources::RequestLimits;
use pulse_core::{Error, Result};
use tokio::sync::Mutex;

use super::{Clock, Stop};
use crate::object::symbol_folder;
use crate::plan::{Rules, Wanted, standing};
use crate::store::ProviderFolder;
use crate::usage::{Claimant, Turn, Usage};

/// Age from which on what is known of the usage is read again.
const FRESH: TimeDelta = TimeDelta::seconds(2);
/// Longest sleep until the next look at the usage, which others may change.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// Attempts to store the usage while other processes do.
const ATTEMPTS: u32 = 100;

/// The usage as last read or stored.
#[derive(Debug)]
struct Known {
    number: u64,
    usage: Usage,
    at: DateTime<Utc>,
    /// Whether another process sent requests since the plan was made.
    others: bool,
}

/// The way to turns.
pub(super) struct Turns<'a> {
    pub(super) folder: &'a ProviderFolder,
    pub(super) limits: RequestLimits,
    /// Random, so that claims of processes differ.
    pub(super) process: String,
    /// After which a request has an answer or has failed.
    pub(super) longest: TimeDelta,
    pub(super) clock: &'a dyn Clock,
    known: Mutex<Known>,
}

/// What became of the wish to send a request.
#[derive(Debug)]
pub(super) enum Permit {
    Send,
    /// Another process landed its answer.
    Answered,
    /// Another process waits for its answer, at most until then.
    Claimed(DateTime<Utc>),
    DayUsed(DateTime<Utc>),
    Interrupted,
}

/// The request whose turn it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending<'a> {
    pub(super) request: &'a str,
    pub(super) wanted: &'a Wanted,
    pub(super) ending: &'a str,
    pub(super) rules: Rules,
    /// Whether it is sent although it was answered.
    pub(super) again: bool,
}

impl<'a> Turns<'a> {
    pub(super) async fn new(
        folder: &'a ProviderFolder,
        limits: RequestLimits,
        longest: TimeDelta,
        clock: &'a dyn Clock,
    ) -> Result<Self> {
        let (number, usage) = folder.usage().await?;
        let known = Mutex::new(Known { number, usage, at: clock.now(), others: false });
        Ok(Self { folder, limits, process: format!("{:016x}", rand::random::<u64>()), longest, clock, known })
    }

    /// Waits until the request may be sent; it counts as sent then.
    ///
    /// # Errors
    /// Those of the folder.
    pub(super) async fn wait(
        &self,
        sending: Sending<'_>,
        stop: &Stop,
        waiting: &dyn Fn(DateTime<Utc>),
    ) -> Result<Permit> {
        loop {
            if stop.is_set() {
                return Ok(Permit::Interrupted);
            }
            match self.take(sending).await? {
                None => return Ok(Permit::Answered),
                Some(Turn::Send(_)) => return Ok(Permit::Send),
                Some(Turn::Claimed(until)) => return Ok(Permit::Claimed(until)),
                Some(Turn::DayUsed(until)) => return Ok(Permit::DayUsed(until)),
                Some(Turn::Wait(until)) => {
                    waiting(until);
                    let wait = (until - self.clock.now()).to_std().unwrap_or_default();
                    stop.sleep(self.clock, wait.min(LONGEST_SLEEP)).await;
                }
            }
        }
    }

    /// `None` when another process landed the answer.
    async fn take(&self, sending: Sending<'_>) -> Result<Option<Turn>> {
        let symbol = symbol_folder(sending.wanted.symbol.as_deref());
        let request = format!("{}/{symbol}/{}", sending.request, sending.wanted.period);
        let claimant = Claimant { process: &self.process, request: &request, longest: self.longest };
        let mut known = self.known.lock().await;
        for _ in 0..ATTEMPTS {
            if self.clock.now() - known.at > FRESH {
                self.read(&mut known).await?;
            }
            if known.others && !sending.again && !self.is_wanted(sending).await? {
                return Ok(None);
            }
            let turn = known.usage.turn(self.limits, claimant, self.clock.now());
            let Turn::Send(next) = &turn else { return Ok(Some(turn)) };
            if self.store(&mut known, next.clone()).await? {
                return Ok(Some(turn));
            }
        }
        Err(Error::conflict(format!(
            "other processes always sent requests to provider `{}` first; try again, or let fewer processes land from it",
            self.folder.name()
        )))
    }

    async fn is_wanted(&self, sending: Sending<'_>) -> Result<bool> {
        let answers = self.folder.answers_to(sending.request, sending.wanted, sending.ending).await?;
        Ok(standing(sending.wanted.period, &answers, sending.rules, self.clock.now()).is_wanted())
    }

    async fn read(&self, known: &mut Known) -> Result<()> {
        let (number, usage) = self.folder.usage().await?;
        let others = known.others || number != known.number;
        *known = Known { number, usage, at: self.clock.now(), others };
        Ok(())
    }

    async fn store(&self, known: &mut Known, usage: Usage) -> Result<bool> {
        let number = known.number + 1;
        if self.folder.store_usage(number, &usage).await? {
            *known = Known { number, usage, at: self.clock.now(), others: known.others };
            return Ok(true);
        }
        self.read(known).await?;
        Ok(false)
    }

    /// Lets nobody send anything before a time.
    ///
    /// # Errors
    /// Those of the folder.
    pub(super) async fn pause(&self, until: DateTime<Utc>) -> Result<()> {
        self.change(|usage| usage.paused(until)).await
    }

    /// Lets other processes send at once what this one does not wait for any more.
    ///
    /// # Errors
    /// Those of the folder.
    pub(super) async fn release(&self) -> Result<()> {
        self.change(|usage| usage.released(&self.process)).await
    }

    async fn change(&self, change: impl Fn(&Usage) -> Usage) -> Result<()> {
        let mut known = self.known.lock().await;
        for _ in 0..ATTEMPTS {
            let changed = change(&known.usage);
            if changed == known.usage || self.store(&mut known, changed).await? {
                break;
            }
        }
        Ok(())
    }
}
