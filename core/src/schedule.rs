//! When jobs run by themselves: which times of a schedule are due.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::TableName;

/// A time that passed longer ago than this was missed.
pub const PUNCTUAL: TimeDelta = TimeDelta::minutes(15);
/// Missed times that one look catches up; the next look goes on behind them.
const MOST: usize = 100;

/// Jobs that run at certain times. `pulse run-due` runs what is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Minute, hour, day of the month, month, day of the week, such as `30 16 * * mon-fri`; or `@hourly`, `@daily`, `@weekly`,
    /// `@monthly`. Where both days are restricted, either is enough.
    #[serde(default)]
    pub cron: Option<String>,
    /// Times that a table holds, in place of `cron`: such as 30 minutes after each close of an exchange, early closes included.
    #[serde(default)]
    pub sessions: Option<Sessions>,
    /// IANA name of the time zone in which `cron` is meant, such as `America/New_York`. A fixed hour that a clock change leaves out
    /// runs at the change, and one that it repeats runs once. Hours with `*` follow the clock.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// The jobs, as on the command line: a name, `silver.*`, `+gold.x` with all that it needs, `x+` with all that need it. All jobs
    /// without it.
    #[serde(default)]
    pub jobs: Vec<String>,
    /// What becomes of times at which nothing looked.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// `true` passes over a time at which the jobs would change nothing: no file, table or interval is new since their last runs.
    #[serde(default)]
    pub only_changed: bool,
    /// `false` pauses the schedule. Times that pass meanwhile are not caught up.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// A column whose stamps are the times of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// A table of the project, such as `silver.sessions`.
    #[schemars(with = "String")]
    pub table: TableName,
    /// One of its columns, a timestamp, such as `close_ts`. Null is no time.
    pub column: String,
    /// Minutes from the stamp to the time of the schedule; negative ones lie before it.
    #[serde(default)]
    pub delay_minutes: i32,
}

impl fmt::Display for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column)?;
        match self.delay_minutes {
            0 => Ok(()),
            delay => write!(f, " {delay:+} min"),
        }
    }
}

impl Schedule {
    /// What names its times, as people read it and the ledger keeps it.
    pub fn times(&self) -> String {
        match (&self.cron, &self.sessions) {
            (Some(cron), _) => cron.clone(),
            (None, Some(sessions)) => sessions.to_string(),
            (None, None) => String::new(),
        }
    }
}

/// What becomes of times that were missed: nothing looked within 15 minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// They are passed over.
    None,
    /// The newest runs, for all of them.
    #[default]
    Last,
    /// Each runs, the oldest first.
    All,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn yes() -> bool {
    true
}

/// A schedule's times.
#[derive(Debug, Clone)]
pub struct Timetable {
    times: Times,
    zone: Tz,
}

#[derive(Debug, Clone)]
enum Times {
    Cron(Box<Cron>),
    Named(BTreeSet<DateTime<Utc>>),
}

/// Which key of a schedule is wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub key: &'static str,
    pub message: String,
    pub help: String,
}

impl Wrong {
    fn new(key: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { key, message: message.into(), help: help.into() }
    }
}

impl Timetable {
    /// `stamps` are the values of the column that `sessions` names.
    ///
    /// # Errors
    /// The key that does not parse, or `cron` when it matches no time.
    pub fn new(schedule: &Schedule, stamps: impl IntoIterator<Item = DateTime<Utc>>) -> Result<Self, Wrong> {
        let zone = schedule.time_zone.parse::<Tz>().map_err(|_| unknown_zone(&schedule.time_zone));
        match (&schedule.cron, &schedule.sessions) {
            (Some(cron), None) => Self::of_cron(cron, zone),
            (None, Some(sessions)) => {
                let delay = TimeDelta::minutes(sessions.delay_minutes.into());
                let times = stamps.into_iter().filter_map(|stamp| stamp.checked_add_signed(delay)).collect();
                Ok(Self { times: Times::Named(times), zone: zone? })
            }
            (None, None) => Err(Wrong::new("cron", "it has no times", "write `cron` or `sessions`")),
            (Some(_), Some(_)) => {
                Err(Wrong::new("sessions", "its times have two sources", "write either `cron` or `sessions`"))
            }
        }
    }

    fn of_cron(text: &str, zone: Result<Tz, Wrong>) -> Result<Self, Wrong> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| {
            let help = "write five fields: minute, hour, day of the month, month, day of the week, such as `30 16 * * mon-fri`";
            Wrong::new("cron", format!("`{text}` is not a time of cron: {}", words_of(&error)), help)
        })?;
        let table = Self { times: Times::Cron(Box::new(cron)), zone: zone? };
        let help = "check the day of the month and the month: `0 0 30 2 *` is the 30th of February";
        let never = || Wrong::new("cron", format!("`{text}` matches no time"), help);
        table.next(DateTime::UNIX_EPOCH).map(|_| table.clone()).ok_or_else(never)
    }

    /// The first time after another.
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.times {
            Times::Cron(cron) => {
                let local = after.with_timezone(&self.zone);
                cron.find_next_occurrence(&local, false).ok().map(|next| next.with_timezone(&Utc))
            }
            Times::Named(times) => times.range((Bound::Excluded(after), Bound::Unbounded)).next().copied(),
        }
    }

    /// The newest time in `(after, until]`.
    fn newest(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let newest = match &self.times {
            Times::Cron(cron) => {
                let local = until.with_timezone(&self.zone);
                cron.find_previous_occurrence(&local, true).ok()?.with_timezone(&Utc)
            }
            Times::Named(times) => times.range(..=until).next_back().copied()?,
        };
        (newest > after).then_some(newest)
    }

    /// A time as a person of the schedule's time zone writes it.
    pub fn local(&self, time: DateTime<Utc>) -> String {
        time.with_timezone(&self.zone).format("%Y-%m-%d %H:%M %Z").to_string()
    }

    /// The day of a time in the schedule's time zone.
    pub fn day(&self, time: DateTime<Utc>) -> chrono::NaiveDate {
        time.with_timezone(&self.zone).date_naive()
    }
}

fn words_of(error: &CronError) -> String {
    match error {
        CronError::InvalidPattern(words) | CronError::IllegalCharacters(words) | CronError::ComponentError(words) => {
            // The library names a switch of its own that nobody can set here.
            words
                .replace(" when seconds are disallowed.", "")
                .replace("Pattern must", "it must")
                .replace("CronPattern", "it")
        }
        other => other.to_string(),
    }
}

fn unknown_zone(name: &str) -> Wrong {
    let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    let help = match crate::diagnostic::closest(name, known) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "use a name of the IANA time zone database, such as `America/New_York` or `UTC`".to_owned(),
    };
    Wrong::new("time_zone", format!("there is no time zone `{name}`"), help)
}

/// What the ledger keeps of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// What named the times, and the time zone, as they were at the last look.
    pub cron: String,
    pub time_zone: String,
    pub enabled: bool,
    /// Times up to here are not due, in milliseconds since 1970.
    since: i64,
    /// The newest time whose jobs have run, in milliseconds since 1970.
    last: Option<i64>,
    /// Whether one of these runs failed.
    #[serde(default)]
    failed: bool,
}

impl Remembered {
    /// A timetable that is seen for the first time.
    pub fn new(schedule: &Schedule, now: DateTime<Utc>) -> Self {
        Self {
            cron: schedule.times(),
            time_zone: schedule.time_zone.clone(),
            enabled: schedule.enabled,
            since: now.timestamp_millis(),
            last: None,
            failed: false,
        }
    }

    /// With the newest time whose jobs have run, and whether one of them failed.
    #[must_use]
    pub fn with_last(self, last: DateTime<Utc>, failed: bool) -> Self {
        Self { last: Some(last.timestamp_millis()), failed, ..self }
    }

    /// Whether a job failed at the newest time. It is run again although nothing has changed: its mistake may be mended.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// The newest time whose jobs have run.
    pub fn last(&self) -> Option<DateTime<Utc>> {
        self.last.and_then(DateTime::from_timestamp_millis)
    }

    /// Times up to this one are not due.
    pub fn after(&self) -> DateTime<Utc> {
        let after = self.last.map_or(self.since, |last| last.max(self.since));
        DateTime::from_timestamp_millis(after).unwrap_or_default()
    }
}

/// What a look at a schedule leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Times to run now, the oldest first. Each of them is `last` once its jobs have run.
    pub times: Vec<DateTime<Utc>>,
    /// To keep before anything runs.
    pub remembered: Remembered,
}

/// What of a schedule is due. A timetable counts from the look that first sees it: one that is new, changed or enabled again has
/// missed nothing.
pub fn due(schedule: &Schedule, table: &Timetable, remembered: Option<&Remembered>, now: DateTime<Utc>) -> Due {
    let is_same =
        |known: &&Remembered| known.enabled && known.cron == schedule.times() && known.time_zone == schedule.time_zone;
    let known = remembered.filter(|_| schedule.enabled).filter(is_same);
    let remembered = known.cloned().unwrap_or_else(|| Remembered::new(schedule, now));
    let after = remembered.after();
    if !schedule.enabled || after >= now {
        return Due { times: Vec::new(), remembered };
    }
    let times = match schedule.catch_up {
        CatchUp::None => table.newest(after, now).filter(|time| now - time <= PUNCTUAL).into_iter().collect(),
        CatchUp::Last => table.newest(after, now).into_iter().collect(),
        CatchUp::All => std::iter::successors(table.next(after), |time| table.next(*time))
            .take_while(|time| *time <= now)
            .take(MOST)
            .collect(),
    };
    Due { times, remembered }
}

#[cfg(test)]
mod tests;
