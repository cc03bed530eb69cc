//! What was submitted, until it has ended.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use object_store::path::Path;
use pulse_core::run::TriggerId;
use pulse_core::settings::Settings;
use pulse_core::{Error, ErrorKind, Result};
use pulse_engine::table::Lake;
use serde::{Deserialize, Serialize};

use super::{Made, RunStore, json};
use crate::api::SubmitRequest;

/// Version of the object's shape.
const FORMAT: u32 = 1;
const KEY_LENGTH: usize = 128;

/// Names a submission: the same key again is the same trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        // A leading dot is hidden, or leads out of the folder.
        match (1..=KEY_LENGTH).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('.') {
            true => Ok(Self(text.to_owned())),
            false => Err(Error::invalid(format!(
                "`{text}` is no key: use at most {KEY_LENGTH} letters, digits, `-`, `_` and `.`, no `.` first"
            ))),
        }
    }
}

impl TryFrom<String> for Key {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Settings of the scheduler that took the submission in, and that decide what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub concurrent_runs: u64,
    pub run_attempts: u64,
    pub run_backoff_ms: u64,
    pub run_timeout_s: u64,
    pub progress_timeout_s: u64,
}

impl Limits {
    pub fn of(settings: &Settings) -> Self {
        Self {
            concurrent_runs: settings.concurrent_runs,
            run_attempts: settings.run_attempts,
            run_backoff_ms: settings.run_backoff_ms,
            run_timeout_s: settings.run_timeout_s,
            progress_timeout_s: settings.progress_timeout_s,
        }
    }

    /// `settings` with these in the place of its own.
    pub fn within(self, settings: &Settings) -> Settings {
        Settings {
            concurrent_runs: self.concurrent_runs,
            run_attempts: self.run_attempts,
            run_backoff_ms: self.run_backoff_ms,
            run_timeout_s: self.run_timeout_s,
            progress_timeout_s: self.progress_timeout_s,
            ..settings.clone()
        }
    }
}

/// All that is needed to go on with a trigger.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubmissionRecord {
    pub format: u32,
    pub trigger: TriggerId,
    /// Milliseconds since 1970 in UTC.
    pub at: i64,
    pub request: SubmitRequest,
    pub limits: Limits,
    /// Of the scheduler that took it in, if it has a token; see [`super::Seal`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Ended {
    exit: u8,
    at: i64,
}

impl RunStore {
    /// Stores a submission, after which it is driven to its end by whatever scheduler is there. The trigger of an earlier
    /// submission with the same key instead, when there is one.
    ///
    /// # Errors
    /// `Invalid` when the key was used for something else; `Unavailable` or `Invalid` when the lake cannot be written.
    pub async fn submit(&self, id: TriggerId, request: SubmitRequest, limits: Limits) -> Result<TriggerId> {
        let id = self.trigger_of(&request.key, id).await?;
        let mut record = SubmissionRecord {
            format: FORMAT,
            trigger: id.clone(),
            at: self.clock.now().timestamp_millis(),
            request,
            limits,
            seal: None,
        };
        record.seal = self.seal.of_text(&json(&record)?);
        if let Some(earlier) = self.submission(&id).await? {
            return self.same(&record, &earlier);
        }
        // First the mark that makes it found: a mark without a submission is nothing, a submission without one is lost.
        self.mark_open(&id, 0).await?;
        match self.make(&self.of(&id).join("trigger.json"), json(&record)?).await? {
            Made::Now => Ok(id),
            Made::Before => match self.submission(&id).await? {
                Some(earlier) => self.same(&record, &earlier),
                None => Err(Error::unavailable("the run ledger shows an object and not its content; submit again")),
            },
        }
    }

    /// Whether a scheduler with this one's token took it in.
    ///
    /// # Errors
    /// `Invalid` when somebody else wrote it.
    pub fn check_seal(&self, record: &SubmissionRecord) -> Result<()> {
        let text = json(&SubmissionRecord { seal: None, ..record.clone() })?;
        match self.seal.holds(&text, record.seal.as_deref()) {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "{} lies in the run ledger, and no scheduler with this token took it in: submit it again; `ledger_seal = \"off\"` drives \
                 what earlier builds, or schedulers with another token, took in",
                record.trigger
            ))),
        }
    }

    fn same(&self, asked: &SubmissionRecord, earlier: &SubmissionRecord) -> Result<TriggerId> {
        match json(&asked.request)? == json(&earlier.request)? {
            true => Ok(earlier.trigger.clone()),
            false => Err(Error::invalid(format!(
                "key `{}` was used for another submission, {}; use another",
                asked.request.key, earlier.trigger
            ))),
        }
    }

    pub(super) async fn trigger_of(&self, key: &Key, id: TriggerId) -> Result<TriggerId> {
        let path = self.root.clone().join("keys").join(key.0.as_str());
        match self.make(&path, id.to_string()).await? {
            Made::Now => Ok(id),
            Made::Before => self.read(&path).await?.unwrap_or_default().parse(),
        }
    }

    /// # Errors
    /// `Unavailable` when the lake cannot be read, `Data` for an object that cannot.
    pub async fn submission(&self, trigger: &TriggerId) -> Result<Option<SubmissionRecord>> {
        self.read_json(&self.of(trigger).join("trigger.json")).await
    }

    /// Triggers that were submitted and have not ended, oldest first. Costs one listing of those alone.
    ///
    /// # Errors
    /// `Unavailable` when the lake cannot be listed.
    pub async fn open(&self) -> Result<Vec<TriggerId>> {
        let mut open: Vec<TriggerId> = self.marks().await?.into_iter().map(|(trigger, _)| trigger).collect();
        open.sort_unstable();
        open.dedup();
        Ok(open)
    }

    /// # Errors
    /// `Unavailable` when the lake cannot be read.
    pub async fn is_open(&self, trigger: &TriggerId) -> Result<bool> {
        Ok(self.marks().await?.iter().any(|(open, _)| open == trigger))
    }

    fn mark_path(&self, trigger: &TriggerId, epoch: u64) -> Path {
        self.root.clone().join("open").join(format!("{trigger}.{epoch:08}"))
    }

    async fn marks(&self) -> Result<Vec<(TriggerId, u64)>> {
        let objects = self.list_below(&self.root.clone().join("open")).await?;
        let mark = |path: &Path| {
            let (trigger, epoch) = path.filename()?.split_once('.')?;
            Some((trigger.parse().ok()?, epoch.parse().ok()?))
        };
        Ok(objects.iter().filter_map(|object| mark(&object.location)).collect())
    }

    fn ended_path(&self, trigger: &TriggerId, epoch: u64) -> Path {
        self.of(trigger).join("ended").join(format!("{epoch:08}.json"))
    }

    /// The trigger is found until the driver of the epoch, or a later one, ends it.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid` when the lake cannot be written.
    pub async fn mark_open(&self, trigger: &TriggerId, epoch: u64) -> Result<()> {
        self.overwrite(&self.mark_path(trigger, epoch), String::new()).await
    }

    /// The driver of the epoch has ended the trigger. That of an epoch which another has followed holds nothing.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid` when the lake cannot be written.
    pub async fn end(&self, trigger: &TriggerId, epoch: u64, exit: u8, at: DateTime<Utc>) -> Result<()> {
        let ended = Ended { exit, at: at.timestamp_millis() };
        let made = self.make(&self.ended_path(trigger, epoch), json(&ended)?).await?;
        if let (Some(metrics), Made::Now) = (&self.metrics, made) {
            metrics.trigger_ended(exit);
        }
        for (open, of) in self.marks().await? {
            if open == *trigger && of <= epoch {
                self.delete(&self.mark_path(trigger, of)).await?;
            }
        }
        Ok(())
    }

    /// The exit code that a trigger ended with; none while it runs.
    ///
    /// # Errors
    /// `Unavailable` when the lake cannot be read.
    pub async fn exit(&self, trigger: &TriggerId) -> Result<Option<u8>> {
        let Some(lease) = self.newest_lease(trigger).await? else { return Ok(None) };
        let ended: Option<Ended> = self.read_json(&self.ended_path(trigger, lease.epoch)).await?;
        Ok(ended.map(|ended| ended.exit))
    }

    /// Remembers another lake whose triggers are to be found again; this ledger is the scheduler's own.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid` when the lake cannot be written.
    pub async fn remember_lake(&self, lake: &Lake) -> Result<()> {
        let url = lake.root().to_string();
        let name = format!("{:016x}", pulse_core::retry::seed_of(0, &url));
        self.make(&self.root.clone().join("lakes").join(name), url).await.map(|_| ())
    }

    /// URLs of the lakes that were remembered.
    ///
    /// # Errors
    /// `Unavailable` when the lake cannot be read.
    pub async fn lakes(&self) -> Result<Vec<String>> {
        let mut lakes = Vec::new();
        for object in self.list_below(&self.root.clone().join("lakes")).await? {
            match self.read(&object.location).await {
                Ok(url) => lakes.extend(url),
                Err(error) if error.kind() == ErrorKind::Data => log::warn!("lakes of this scheduler: {error}"),
                Err(error) => return Err(error),
            }
        }
        Ok(lakes)
    }
}
