//! Carries one request out: waits for its turn, sends it, judges its answer, and puts it.

use chrono::{DateTime, TimeDelta, Utc};
use pulse_core::retry::RetryPolicy;
use pulse_core::{Error, ErrorKind, Result};

use super::turns::{Permit, Sending, Turns};
use super::{Event, LandOptions, Stop};
use crate::fetch::{Fetch, Fetched, Request};
use crate::judge::{Verdict, judge};
use crate::key::Key;
use crate::object::{Outcome, hash, path};
use crate::plan::{Rules, Wanted};
use crate::store::Record;

/// The provider may ask for a wait up to this long. For longer ones, the landing ends.
const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(10);
const BACKOFF: TimeDelta = TimeDelta::seconds(2);

/// What became of a request.
#[derive(Debug)]
pub(super) enum Carried {
    /// Its answer holds data, and is landed.
    Data {
        bytes: u64,
    },
    /// Its answer holds none. It is landed once another answer shows that the provider gives data.
    Without(Unlanded),
    /// Another process landed its answer.
    Answered,
    /// Another process waits for its answer, at most until then.
    Claimed(DateTime<Utc>),
    /// No whole answer in all attempts.
    Failed(String),
    DayUsed(DateTime<Utc>),
    Interrupted,
}

/// An answer without data.
#[derive(Debug)]
pub(super) struct Unlanded {
    pub(super) wanted: Wanted,
    pub(super) path: String,
    pub(super) body: Vec<u8>,
    pub(super) why: String,
}

/// What all requests of a landing share.
pub(super) struct Carrier<'a> {
    pub(super) options: &'a LandOptions<'a>,
    pub(super) key: Option<&'a Key>,
    pub(super) fetch: &'a dyn Fetch,
    pub(super) turns: Turns<'a>,
    pub(super) stop: &'a Stop,
    pub(super) events: &'a (dyn Fn(Event<'_>) + Sync),
}

/// What to do about a reply.
enum Next {
    End(Carried),
    Retry { why: String, after: TimeDelta },
}

impl Carrier<'_> {
    /// # Errors
    /// Those that concern all requests: `Invalid` for a key that is not accepted or a wrong clock, `Unavailable` when the provider asks for
    /// a long wait, and those of the folder.
    pub(super) async fn carry(&self, wanted: &Wanted, again: bool) -> Result<Carried> {
        let asked = self.options.requested;
        let request = Request::new(asked, wanted, self.key)?;
        let rules = Rules::of(asked.request);
        let ending = asked.request.answer.ending();
        let sending = Sending { request: asked.request_name, wanted, ending, rules, again };
        let mut why = String::new();
        for attempt in 1..=asked.provider.attempts {
            let waiting = |until| (self.events)(Event::Waiting { until });
            match self.turns.wait(sending, self.stop, &waiting).await? {
                Permit::Send => {}
                Permit::Answered => return Ok(Carried::Answered),
                Permit::Claimed(until) => return Ok(Carried::Claimed(until)),
                Permit::DayUsed(until) => return Ok(Carried::DayUsed(until)),
                Permit::Interrupted => return Ok(Carried::Interrupted),
            }
            let fetched = self.fetch.fetch(&request).await;
            match self.take(wanted, &request, fetched, attempt).await? {
                Next::End(carried) => return Ok(carried),
                Next::Retry { why: reason, after } => {
                    why = reason;
                    if attempt < asked.provider.attempts {
                        (self.events)(Event::Retry { wanted, why: &why });
                        self.stop.sleep(self.turns.clock, after.to_std().unwrap_or_default()).await;
                    }
                }
            }
        }
        Ok(Carried::Failed(why))
    }

    async fn take(&self, wanted: &Wanted, request: &Request, fetched: Fetched, attempt: u32) -> Result<Next> {
        let now = self.turns.clock.now();
        let name = self.options.requested.provider_name;
        let backoff = RetryPolicy { attempts: u32::MAX, backoff: BACKOFF };
        let after = backoff.wait(ErrorKind::Unavailable, attempt, rand::random()).unwrap_or(BACKOFF);
        match fetched {
            Fetched::Body(body) => self.judge(wanted, request, body, attempt, after).await,
            Fetched::Refused(status) => {
                let why = format!("status {status}");
                self.record(request, now, Some(status), Some(&why)).await?;
                let path = self.path(wanted, now, Outcome::NoData, &[]);
                Ok(Next::End(Carried::Without(Unlanded { wanted: wanted.clone(), path, body: Vec::new(), why })))
            }
            Fetched::Forbidden(status) => {
                self.record(request, now, Some(status), None).await?;
                Err(Error::invalid(format!(
                    "provider `{name}` refuses the request with status {status}: look at its `key` in sources.toml, and at the account's rights"
                )))
            }
            Fetched::Busy { status, retry_after } => {
                let why = format!("status {status}");
                self.record(request, now, Some(status), Some(&why)).await?;
                let wait = retry_after.unwrap_or(after);
                if wait > LONGEST_WAIT {
                    return Err(Error::unavailable(format!(
                        "provider `{name}` asks to wait until {}: land again then",
                        (now + wait).format("%Y-%m-%dT%H:%M:%SZ")
                    )));
                }
                self.turns.pause(now + wait).await?;
                Ok(Next::Retry { why, after: TimeDelta::zero() })
            }
            Fetched::Failed(why) => {
                let why = self.key.map_or(why.clone(), |key| key.hide(&why));
                self.record(request, now, None, Some(&why)).await?;
                Ok(Next::Retry { why, after })
            }
            Fetched::Clock(ahead) => Err(Error::invalid(format!(
                "the clock of this machine and that of provider `{name}` differ by {} minutes: set the clock, since files are named by time",
                ahead.num_minutes().abs()
            ))),
        }
    }

    async fn judge(
        &self,
        wanted: &Wanted,
        request: &Request,
        body: Vec<u8>,
        attempt: u32,
        after: TimeDelta,
    ) -> Result<Next> {
        let (now, asked) = (self.turns.clock.now(), self.options.requested);
        let (outcome, why) = match judge(&asked.request.answer, wanted.symbol.as_deref(), &body) {
            Verdict::Data => (Outcome::Data, None),
            Verdict::NoData(why) => (Outcome::NoData, Some(why)),
            Verdict::Bad(why) => (Outcome::Bad, Some(why)),
        };
        // Data are landed as they are; a notice may repeat the key.
        let body = match (outcome, self.key) {
            (Outcome::NoData | Outcome::Bad, Some(key)) => key.hide_in(body),
            _ => body,
        };
        let why = why.map(|why| self.key.map_or(why.clone(), |key| key.hide(&why)));
        let path = self.path(wanted, now, outcome, &body);
        let bytes = body.len() as u64;
        let record = Record {
            time: now,
            request: &request.shown,
            status: Some(200),
            bytes,
            sha256: Some(hash(&body)),
            file: (outcome == Outcome::Data).then_some(path.as_str()),
            why: why.as_deref(),
        };
        self.turns.folder.record(&record).await?;
        Ok(match (outcome, why) {
            (Outcome::Data, _) => {
                self.turns.folder.put(&path, body).await?;
                Next::End(Carried::Data { bytes })
            }
            (Outcome::Bad, Some(why)) if attempt < asked.provider.attempts => Next::Retry { why, after },
            (_, why) => {
                let why = why.unwrap_or_default();
                Next::End(Carried::Without(Unlanded { wanted: wanted.clone(), path, body, why }))
            }
        })
    }

    fn path(&self, wanted: &Wanted, at: DateTime<Utc>, outcome: Outcome, body: &[u8]) -> String {
        let asked = self.options.requested;
        path(asked.request_name, wanted, at, outcome, asked.request.answer.ending(), body)
    }

    async fn record(
        &self,
        request: &Request,
        time: DateTime<Utc>,
        status: Option<u16>,
        why: Option<&str>,
    ) -> Result<()> {
        let record = Record { time, request: &request.shown, status, bytes: 0, sha256: None, file: None, why };
        self.turns.folder.record(&record).await
    }
}
