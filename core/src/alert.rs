//! Decides when an alert sends a message about a job: once when an incident begins, and once when it ends.

mod message;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::graph::is_like;
use crate::name::TableName;
use crate::run::{RunRecord, RunState, TriggerId};

pub use message::Message;

/// Variables of the environment that may hold the URL of a webhook. A scheduler takes projects of others, who must not choose which
/// of its variables it uses.
pub const VARIABLES: &str = "PULSE_ALERT_";

/// Incidents of one job that are kept.
const MOST: usize = 10;

/// Where a message goes when a job fails, and when it is in order again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// Variable of the environment that holds the URL of a webhook, such as `env:PULSE_ALERT_TEAM`; its name begins with
    /// `PULSE_ALERT_`. The message is JSON that Slack and Mattermost take. The URL is a secret: anyone who has it can post
    /// messages. Do not write it into a file of the project.
    pub webhook: String,
    /// The jobs: a name, or a pattern such as `gold.*`. All jobs without it.
    #[serde(default)]
    pub jobs: Vec<String>,
    /// Also when a run rejects more than this percentage of its rows.
    #[serde(default)]
    #[schemars(range(min = 0, max = 99))]
    pub quarantined_percent: Option<u32>,
    /// Also when no run of a job has succeeded, or had nothing to do, for so many hours: `pulse run-due` looks at it whenever it is
    /// called.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub late_hours: Option<u32>,
}

/// Kind of incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Its last run failed.
    Failed,
    /// Its last run rejected more rows than the alert allows.
    Quarantined,
    /// No run of it was in order for longer than the alert allows.
    Late,
}

/// Something that is wrong with a job, from the first run that shows it to the first one that does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    pub kind: Kind,
    /// The trigger that showed it first; none where there was no run.
    #[serde(default)]
    pub trigger: Option<TriggerId>,
    /// When that run ended, or the last one that was in order, in milliseconds since 1970 in UTC.
    pub since: i64,
    /// The error, how many rows, or how many hours.
    pub what: String,
    /// When a run showed that it is over, in milliseconds since 1970 in UTC.
    #[serde(default)]
    pub over: Option<i64>,
    /// Whether a message about this state was delivered.
    #[serde(default)]
    pub delivered: bool,
}

/// What an alert knows of one job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incidents {
    #[serde(default)]
    incidents: Vec<Incident>,
    /// When a run was in order, or the first look at the job, in milliseconds since 1970 in UTC; only where that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_order: Option<i64>,
}

/// What a run shows of one kind.
enum Shown {
    Nothing,
    InOrder,
    Wrong(String),
}

impl Alert {
    /// The variable with the URL; `None` unless `webhook` names one that may be used.
    pub fn variable(&self) -> Option<&str> {
        let name = self.webhook.strip_prefix("env:")?;
        let is_name = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        (is_name && name.len() > VARIABLES.len() && name.starts_with(VARIABLES)).then_some(name)
    }

    pub fn is_about(&self, job: &TableName) -> bool {
        self.jobs.is_empty() || self.jobs.iter().any(|pattern| is_like(&job.to_string(), pattern))
    }

    /// What is known after a run.
    #[must_use]
    pub fn after(&self, record: &RunRecord, known: &Incidents) -> Incidents {
        let mut incidents = known.clone();
        let at = record.ended.or(record.started).unwrap_or_default();
        if let Shown::InOrder = failure(record) {
            incidents.in_order = self.late_hours.map(|_| at);
            incidents.end(Kind::Late, at);
        }
        for (kind, shown) in [(Kind::Failed, failure(record)), (Kind::Quarantined, self.rejects(record))] {
            match shown {
                Shown::Nothing => {}
                Shown::InOrder => incidents.end(kind, at),
                Shown::Wrong(what) => incidents.begin(kind, Some(&record.trigger), at, what),
            }
        }
        incidents
    }

    /// What is known at a time. A job that is seen for the first time has missed nothing.
    #[must_use]
    pub fn at(&self, now: DateTime<Utc>, known: &Incidents) -> Incidents {
        let Some(hours) = self.late_hours else { return known.clone() };
        let mut incidents = known.clone();
        let in_order = *incidents.in_order.get_or_insert(now.timestamp_millis());
        if now.timestamp_millis().saturating_sub(in_order) > i64::from(hours) * 3_600_000 {
            let what = format!("no run was in order for more than {hours} h");
            incidents.begin(Kind::Late, None, in_order, what);
        }
        incidents
    }

    fn rejects(&self, record: &RunRecord) -> Shown {
        let Some(percent) = self.quarantined_percent else { return Shown::InOrder };
        let (rejected, written) = (record.counts.rows_quarantined, record.counts.rows_out);
        let all = u128::from(rejected) + u128::from(written);
        match record.state {
            RunState::Succeeded if u128::from(rejected) * 100 > u128::from(percent) * all => {
                Shown::Wrong(format!("{rejected} of {all} rows rejected, and {percent} % is the limit"))
            }
            RunState::Succeeded if all > 0 => Shown::InOrder,
            _ => Shown::Nothing,
        }
    }
}

fn failure(record: &RunRecord) -> Shown {
    match (record.state, &record.error) {
        (RunState::Failed, Some(error)) => Shown::Wrong(error.root().to_owned()),
        (RunState::Failed, None) => Shown::Wrong("no error was recorded".to_owned()),
        (RunState::Succeeded | RunState::Unchanged, _) => Shown::InOrder,
        // It says nothing of the job: somebody stopped it, or what comes before it failed, which has an incident of its own.
        _ => Shown::Nothing,
    }
}

impl Incidents {
    pub fn iter(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.iter()
    }

    /// Those about which no message was delivered yet.
    pub fn undelivered(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.iter().filter(|incident| !incident.delivered)
    }

    /// After a message about all of them was delivered.
    #[must_use]
    pub fn delivered(self) -> Self {
        let open = self.incidents.into_iter().filter(|incident| incident.over.is_none());
        Self { incidents: open.map(|incident| Incident { delivered: true, ..incident }).collect(), ..self }
    }

    fn begin(&mut self, kind: Kind, trigger: Option<&TriggerId>, at: i64, what: String) {
        let is_open = |incident: &Incident| incident.kind == kind && incident.over.is_none();
        if !self.incidents.iter().any(is_open) {
            // While no message arrives, a job may fail and recover any number of times.
            let too_many = self.incidents.len().saturating_sub(MOST - 1);
            self.incidents.drain(..too_many);
            self.incidents.push(Incident {
                kind,
                trigger: trigger.cloned(),
                since: at,
                what,
                over: None,
                delivered: false,
            });
        }
    }

    fn end(&mut self, kind: Kind, at: i64) {
        let is_open = |incident: &&mut Incident| incident.kind == kind && incident.over.is_none();
        for incident in self.incidents.iter_mut().filter(is_open) {
            (incident.over, incident.delivered) = (Some(at), false);
        }
    }
}

impl Incident {
    /// Seconds from the first run that showed it to the first one that did not.
    fn lasted(&self) -> Option<i64> {
        Some((self.over? - self.since).max(0) / 1000)
    }

    /// When it began, as people of the ledger read it.
    pub fn began(&self) -> String {
        DateTime::from_timestamp_millis(self.since).unwrap_or_default().format("%Y-%m-%d %H:%M UTC").to_string()
    }
}

#[cfg(test)]
mod tests;
