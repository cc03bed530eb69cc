//! The message about incidents.

use serde::Serialize;

use super::{Incident, Kind};
use crate::name::TableName;

/// Incidents that the text names.
const NAMED: usize = 20;
/// Characters of an error that the text shows.
const SHOWN: usize = 300;

/// The body of a request to a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// What people read.
    pub text: String,
    /// What programs read.
    pub incidents: Vec<Entry>,
}

/// One incident of a [`Message`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub job: TableName,
    pub kind: Kind,
    /// The trigger that showed it first; null where there was no run.
    pub trigger: Option<String>,
    pub since: String,
    pub over: bool,
    pub what: String,
}

impl Message {
    /// `project` is the project's name.
    pub fn new(project: &str, incidents: &[(TableName, Incident)]) -> Self {
        let mut lines: Vec<String> =
            incidents.iter().take(NAMED).map(|(job, incident)| line(project, job, incident)).collect();
        if let Some(more @ 1..) = incidents.len().checked_sub(NAMED) {
            lines.push(format!("and {more} more: pulse alert list"));
        }
        let delivered = incidents.iter().map(|(job, incident)| Entry {
            job: job.clone(),
            kind: incident.kind,
            trigger: incident.trigger.as_ref().map(ToString::to_string),
            since: incident.began(),
            over: incident.over.is_some(),
            what: shown(&incident.what),
        });
        Self { text: lines.join("\n"), incidents: delivered.collect() }
    }

    /// A message that only shows that messages arrive.
    pub fn test(project: &str, alert: &str) -> Self {
        Self { text: format!("{project}: this is a test of the alert `{alert}`"), incidents: Vec::new() }
    }
}

fn line(project: &str, job: &TableName, incident: &Incident) -> String {
    let what = shown(&incident.what);
    let began = incident.began();
    let details = match &incident.trigger {
        Some(trigger) => format!("pulse runs show {trigger}"),
        None => format!("the last one ended {began}"),
    };
    let news = match (incident.kind, incident.lasted()) {
        (Kind::Failed, None) => format!("{job} failed: {what} ({details})"),
        (Kind::Quarantined | Kind::Late, None) => format!("{job}: {what} ({details})"),
        (Kind::Failed, Some(seconds)) => format!("{job} is in order again after {}, since {began}", span(seconds)),
        (Kind::Quarantined, Some(seconds)) => {
            format!("{job} rejects fewer rows again after {}, since {began}", span(seconds))
        }
        (Kind::Late, Some(seconds)) => format!("{job} is late no more: a run is in order after {}", span(seconds)),
    };
    format!("{project}: {news}")
}

/// The first line of an error, as far as a message has room: further lines show rows, which do not leave the lake by a message.
fn shown(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    let mut shown: String = line.chars().take(SHOWN).collect();
    if shown.len() < error.len() {
        shown.push_str(" ..");
    }
    shown
}

fn span(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
