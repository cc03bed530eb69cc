//! Sends messages about jobs that failed, and that are in order again. What cannot be delivered is sent with the job's next run: a
//! webhook that does not answer fails no run.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use pulse_core::alert::{Alert, Incident, Incidents, Message};
use pulse_core::diagnostic::closest;
use pulse_core::name::TableName;
use pulse_core::project::Project;
use pulse_core::run::TriggerId;
use pulse_core::{Error, Result};
use url::{Host, Url};

use crate::ledger::RunStore;

/// Time limit for one request.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Requests for one message.
const ATTEMPTS: u32 = 2;
const PAUSE: Duration = Duration::from_millis(500);

/// The alerts of a project.
#[derive(Debug, Clone)]
pub struct Alerts {
    project: String,
    by_name: BTreeMap<String, Alert>,
}

impl Alerts {
    pub fn of(project: &Project) -> Self {
        Self { project: project.settings.name.clone(), by_name: project.settings.alert.clone() }
    }

    /// Tells of the runs of a trigger that has ended. Logs what goes wrong, and returns the number of messages that were not taken.
    pub async fn send_after(&self, ledger: &RunStore, trigger: &TriggerId) -> u64 {
        if self.by_name.is_empty() {
            return 0;
        }
        let mut undelivered = 0;
        let records = match ledger.records(trigger).await {
            Ok(records) => records,
            Err(error) => {
                log::error!("alerts of trigger {trigger}: {error}");
                return 0;
            }
        };
        for (name, alert) in &self.by_name {
            let jobs = records.iter().map(|record| &record.job).filter(|job| alert.is_about(job));
            let after = |job: &TableName, known: &Incidents| {
                records
                    .iter()
                    .filter(|record| record.job == *job)
                    .fold(known.clone(), |known, record| alert.after(record, &known))
            };
            if let Err(error) = self.look(name, alert, ledger, jobs, after).await {
                undelivered += 1;
                log::error!(
                    "alert {name} of trigger {trigger}: {error}; it is sent again with the next run of the job"
                );
            }
        }
        undelivered
    }

    /// Tells of jobs that are late, and what could not be delivered before. Logs what goes wrong.
    pub async fn send_late(&self, ledger: &RunStore, jobs: &[TableName], now: DateTime<Utc>) {
        for (name, alert) in self.by_name.iter().filter(|(_, alert)| alert.late_hours.is_some()) {
            let jobs = jobs.iter().filter(|job| alert.is_about(job));
            let at = |_: &TableName, known: &Incidents| alert.at(now, known);
            if let Err(error) = self.look(name, alert, ledger, jobs, at).await {
                log::error!("alert {name}: {error}; it is sent again");
            }
        }
    }

    /// Keeps what is known of each job now, and sends what was not delivered.
    async fn look<'a>(
        &self,
        name: &str,
        alert: &Alert,
        ledger: &RunStore,
        jobs: impl Iterator<Item = &'a TableName>,
        now: impl Fn(&TableName, &Incidents) -> Incidents,
    ) -> Result<()> {
        let mut undelivered: Vec<(TableName, Incident)> = Vec::new();
        let mut sent: Vec<(TableName, Incidents)> = Vec::new();
        for job in jobs {
            let known = ledger.incidents(name, job).await?;
            let now = now(job, &known);
            // Before the message: what is not delivered is sent later, also by another process.
            if now != known {
                ledger.put_incidents(name, job, &now).await?;
            }
            if now.undelivered().next().is_some() {
                undelivered.extend(now.undelivered().map(|incident| (job.clone(), incident.clone())));
                sent.push((job.clone(), now));
            }
        }
        if undelivered.is_empty() {
            return Ok(());
        }
        send(&destination(alert)?, &Message::new(&self.project, &undelivered)).await?;
        for (job, incidents) in sent {
            ledger.put_incidents(name, &job, &incidents.delivered()).await?;
        }
        Ok(())
    }

    /// Sends a message that only shows that messages of an alert arrive.
    ///
    /// # Errors
    /// `Invalid` without such an alert or without a usable URL, `Unavailable` when the message is not taken.
    pub async fn test(&self, name: &str) -> Result<()> {
        let alert = self.by_name.get(name).ok_or_else(|| {
            let help = match closest(name, self.by_name.keys().map(String::as_str)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "add it to project.toml, such as `[alert.team]` with `webhook = \"env:PULSE_ALERT_TEAM\"`"
                    .to_owned(),
            };
            Error::invalid(format!("there is no alert `{name}`: {help}"))
        })?;
        send(&destination(alert)?, &Message::test(&self.project, name)).await
    }
}

/// Where messages of an alert go. Errors do not show it, because it is a secret.
fn destination(alert: &Alert) -> Result<Url> {
    let variable = alert.variable().ok_or_else(|| Error::invalid("`webhook` does not name a variable for alerts"))?;
    let text = std::env::var(variable)
        .map_err(|e| Error::invalid(format!("variable {variable}, which holds its URL, cannot be read here: {e}")))?;
    let url = Url::parse(text.trim()).map_err(|e| Error::invalid(format!("variable {variable} holds no URL: {e}")))?;
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match (url.scheme(), is_here) {
        ("https", _) | ("http", true) => Ok(url),
        _ => Err(Error::invalid(format!("variable {variable} holds no URL that begins with `https://`"))),
    }
}

async fn send(url: &Url, message: &Message) -> Result<()> {
    let client = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build();
    let client = client.map_err(|e| Error::internal("no HTTP client").with_source(e))?;
    let mut last = Error::internal("no message was sent");
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        last = match client.post(url.clone()).json(message).send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => Error::unavailable(format!("its webhook answered {}", answer.status())),
            Err(error) => Error::unavailable("its webhook does not answer").with_source(error.without_url()),
        };
    }
    Err(last)
}
