//! Lands what is missing.

mod carry;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use pulse_core::sources::Requested;
use pulse_core::{Error, Result};
use tokio::sync::watch;

use crate::fetch::Fetch;
use crate::key::Key;
use crate::plan::{Order, Plan, Rules, Wanted};
use crate::store::ProviderFolder;
use carry::{Carried, Carrier, Unlanded};
use turns::Turns;

/// Answers without data in a row, or requests without an answer, after which the provider is not believed.
const ROW: usize = 3;
/// Beside its timeout, how long a process may take to put an answer before others may send the request.
const PUTTING: TimeDelta = TimeDelta::seconds(30);

/// What to land.
#[derive(Clone, Copy)]
pub struct LandOptions<'a> {
    pub requested: Requested<'a>,
    /// Ask for everything again, whatever was answered.
    pub again: bool,
    /// Requests to send at most.
    pub most: Option<usize>,
    pub clock: &'a dyn Clock,
}

impl LandOptions<'_> {
    /// Where all requests of an order stand.
    ///
    /// # Errors
    /// Those of the folder.
    pub async fn plan(&self, folder: &ProviderFolder, order: &Order) -> Result<Plan> {
        let answers = folder.answers(self.requested.request_name, self.requested.request.answer.ending()).await?;
        Ok(Plan::new(order, &answers, Rules::of(self.requested.request), self.clock.now()))
    }
}

/// Something that people follow.
#[derive(Debug)]
pub enum Event<'e> {
    /// Requests to send.
    Planned {
        missing: usize,
        wanted: usize,
    },
    Landed {
        wanted: &'e Wanted,
        bytes: u64,
    },
    WithoutData {
        wanted: &'e Wanted,
        why: &'e str,
    },
    Failed {
        wanted: &'e Wanted,
        why: &'e str,
    },
    Retry {
        wanted: &'e Wanted,
        why: &'e str,
    },
    /// The provider's limits, or its own words, ask to wait.
    Waiting {
        until: DateTime<Utc>,
    },
}

/// What a landing has done.
#[derive(Debug)]
pub struct Landed {
    /// Requests whose answers hold data.
    pub data: usize,
    pub bytes: u64,
    /// Requests whose answers hold none.
    pub without_data: usize,
    /// Requests that were to be sent and have no answer.
    pub left: usize,
    pub ended: Ended,
}

/// Why a landing ended.
#[derive(Debug)]
pub enum Ended {
    /// Every request was sent, or as many as `most` allows.
    Complete,
    /// The limit of a day is used up until then.
    DayUsed(DateTime<Utc>),
    Interrupted,
    /// The provider is not believed, or the folder cannot be used.
    Stopped(Error),
}

/// Time, which tests make up.
#[async_trait]
pub trait Clock: Send + Sync {
    fn now(&self) -> DateTime<Utc>;
    async fn sleep(&self, length: Duration);
}

/// The machine's time.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    async fn sleep(&self, length: Duration) {
        tokio::time::sleep(length).await;
    }
}

/// A request to end.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Sleeps, unless the end is asked for.
    async fn sleep(&self, clock: &dyn Clock, length: Duration) {
        let mut asked = self.0.clone();
        let stopped = asked.wait_for(|stop| *stop);
        // Where nobody can ask for the end any more, the sleep is what remains.
        tokio::select! {
            Ok(_) = stopped => {}
            () = clock.sleep(length) => {}
        }
    }
}

/// Sends the requests of an order that are missing, and lands their answers. When `stop` becomes true, it waits for the answers of what
/// was sent, and sends nothing more.
///
/// # Errors
/// Those of the folder before the first request. What happens later is in [`Landed::ended`].
pub async fn land(
    options: &LandOptions<'_>,
    (folder, key, fetch): (&ProviderFolder, Option<&Key>, &dyn Fetch),
    order: &Order,
    stop: watch::Receiver<bool>,
    events: &(dyn Fn(Event<'_>) + Sync),
) -> Result<Landed> {
    let longest = TimeDelta::seconds(i64::from(options.requested.provider.timeout_s)) + PUTTING;
    // Before the listing: what others send later is noticed.
    let turns = Turns::new(folder, options.requested.provider.limits, longest, options.clock).await?;
    let plan = options.plan(folder, order).await?;
    let mut queue: VecDeque<Wanted> = match options.again {
        true => plan.requests.iter().map(|(wanted, _)| wanted.clone()).collect(),
        false => plan.missing().cloned().collect(),
    };
    queue.truncate(options.most.unwrap_or(usize::MAX));
    events(Event::Planned { missing: queue.len(), wanted: plan.requests.len() });
    let stop = Stop(stop);
    let carrier = Carrier { options, key, fetch, turns, stop: &stop, events };
    let known = plan.requests.iter().find(|(_, standing)| standing.has_data()).map(|(wanted, _)| wanted.clone());
    let landing = Landing {
        carrier: &carrier,
        known,
        queue,
        later: Vec::new(),
        row: Vec::new(),
        doubted: HashSet::new(),
        failures: 0,
        landed: Landed::none(),
    };
    Ok(landing.run().await)
}

impl Landed {
    fn none() -> Self {
        Self { data: 0, bytes: 0, without_data: 0, left: 0, ended: Ended::Complete }
    }
}

/// A landing on its way.
struct Landing<'a> {
    carrier: &'a Carrier<'a>,
    /// A request that was answered with data.
    known: Option<Wanted>,
    queue: VecDeque<Wanted>,
    /// Requests that other processes wait for, at most until then.
    later: Vec<(Wanted, DateTime<Utc>)>,
    /// Answers without data since the last one with data, and whether it was the second one to its request.
    row: Vec<(Unlanded, bool)>,
    /// Requests that were answered without data once.
    doubted: HashSet<Wanted>,
    /// Requests without an answer since the last answer.
    failures: usize,
    landed: Landed,
}

impl Landing<'_> {
    async fn run(mut self) -> Landed {
        let ended = match self.send_all().await {
            Ok(ended) => ended,
            Err(error) => Ended::Stopped(error),
        };
        // Without it, others wait until the claims are over.
        if let Err(error) = self.carrier.turns.release().await {
            log::debug!("claims stay until they are over: {error}");
        }
        let asked_twice = self.row.iter().filter(|(_, is_second)| *is_second).count();
        self.landed.left += self.queue.len() + self.later.len() + asked_twice;
        Landed { ended, ..self.landed }
    }

    async fn send_all(&mut self) -> Result<Ended> {
        let mut first_failure = None;
        loop {
            if let Some(ended) = self.send_queue(&mut first_failure).await? {
                return Ok(ended);
            }
            if !self.row.is_empty()
                && let Some(ended) = self.prove().await?
            {
                return Ok(ended);
            }
            if !self.queue.is_empty() {
                continue;
            }
            let Some(until) = self.later.iter().map(|(_, until)| *until).min() else { break };
            self.sleep_until(until).await;
            self.queue.extend(self.later.drain(..).map(|(wanted, _)| wanted));
        }
        match first_failure {
            None => Ok(Ended::Complete),
            Some(why) => Err(self.unanswered(&why)),
        }
    }

    /// Until the queue is empty, or the answers of a row hold no data.
    async fn send_queue(&mut self, first_failure: &mut Option<String>) -> Result<Option<Ended>> {
        let carrier = self.carrier;
        let at_once = usize::try_from(carrier.options.requested.provider.concurrency).unwrap_or(1).max(1);
        let mut sent = FuturesUnordered::new();
        let mut ended = None;
        let mut error = None;
        loop {
            let goes_on = ended.is_none() && error.is_none() && self.row.len() < ROW && self.failures < ROW;
            while goes_on && sent.len() < at_once {
                let Some(wanted) = self.queue.pop_front() else { break };
                let again = carrier.options.again;
                sent.push(async move {
                    let carried = carrier.carry(&wanted, again).await;
                    (wanted, carried)
                });
            }
            let Some((wanted, carried)) = sent.next().await else { break };
            match carried {
                Err(stopping) => {
                    self.landed.left += 1;
                    error.get_or_insert(stopping);
                }
                Ok(Carried::DayUsed(until)) => {
                    self.queue.push_back(wanted);
                    ended = Some(Ended::DayUsed(until));
                }
                Ok(Carried::Interrupted) => {
                    self.queue.push_back(wanted);
                    ended = Some(Ended::Interrupted);
                }
                Ok(Carried::Failed(why)) => {
                    (carrier.events)(Event::Failed { wanted: &wanted, why: &why });
                    self.landed.left += 1;
                    self.failures += 1;
                    first_failure.get_or_insert(why);
                }
                Ok(carried) => {
                    // What was sent is still awaited.
                    if let Err(stopping) = self.take(wanted, carried).await {
                        error.get_or_insert(stopping);
                    }
                }
            }
        }
        match (error, first_failure) {
            (Some(error), _) => Err(error),
            (None, Some(why)) if self.failures >= ROW => Err(self.unanswered(why)),
            (None, _) => Ok(ended),
        }
    }

    async fn take(&mut self, wanted: Wanted, carried: Carried) -> Result<()> {
        match carried {
            Carried::Data { bytes } => {
                (self.carrier.events)(Event::Landed { wanted: &wanted, bytes });
                self.landed.data += 1;
                self.landed.bytes += bytes;
                self.failures = 0;
                self.known.get_or_insert(wanted);
                self.believe().await?;
            }
            Carried::Without(unlanded) => {
                self.failures = 0;
                // A notice about a limit may have come between answers with data.
                let is_second = !self.doubted.insert(wanted.clone());
                if !is_second {
                    self.queue.push_back(wanted);
                }
                self.row.push((unlanded, is_second));
            }
            Carried::Claimed(until) => self.later.push((wanted, until)),
            Carried::Answered | Carried::Failed(_) | Carried::DayUsed(_) | Carried::Interrupted => {}
        }
        Ok(())
    }

    /// The provider gives data: where it gave none twice, it has none.
    async fn believe(&mut self) -> Result<()> {
        for (unlanded, _) in self.row.drain(..).filter(|(_, is_second)| *is_second) {
            self.carrier.turns.folder.put(&unlanded.path, unlanded.body).await?;
            (self.carrier.events)(Event::WithoutData { wanted: &unlanded.wanted, why: &unlanded.why });
            self.landed.without_data += 1;
        }
        Ok(())
    }

    /// Answers without data are the same when a provider has none, and when a limit is used up. A request that was answered with data
    /// tells which it is.
    async fn prove(&mut self) -> Result<Option<Ended>> {
        let Some(known) = self.known.clone() else { return Err(self.unbelieved()) };
        loop {
            match self.carrier.carry(&known, true).await? {
                Carried::Data { .. } => return self.believe().await.map(|()| None),
                Carried::DayUsed(until) => return Ok(Some(Ended::DayUsed(until))),
                Carried::Interrupted => return Ok(Some(Ended::Interrupted)),
                Carried::Failed(why) => return Err(self.unanswered(&why)),
                Carried::Claimed(until) => self.sleep_until(until).await,
                Carried::Without(_) | Carried::Answered => return Err(self.unbelieved()),
            }
        }
    }

    async fn sleep_until(&self, until: DateTime<Utc>) {
        let clock = self.carrier.options.clock;
        self.carrier.stop.sleep(clock, (until - clock.now()).to_std().unwrap_or_default()).await;
    }

    fn unbelieved(&self) -> Error {
        let name = self.carrier.options.requested.provider_name;
        let first = self.row.first();
        let why = first.map_or("", |(unlanded, _)| unlanded.why.as_str());
        let answers = if self.row.len() == 1 { "1 answer" } else { &format!("{} answers in a row", self.row.len()) };
        Error::unavailable(format!(
            "provider `{name}` gave no data in {answers}: {why}. A limit may be used up, the key or the request may be wrong, or it has none of \
             these: nothing of them is recorded, land again later"
        ))
    }

    fn unanswered(&self, why: &str) -> Error {
        let name = self.carrier.options.requested.provider_name;
        Error::unavailable(format!(
            "provider `{name}` gave no whole answer: {why}; land again, and what is missing is asked for"
        ))
    }
}
