//! `pulse alert`

use std::process::ExitCode;

use pulse_core::Result;
use pulse_core::alert::Kind;
use pulse_scheduler::alerts::Alerts;
use pulse_scheduler::ledger::RunStore;

use crate::args::{AlertAction, Global};
use crate::home::home;
use crate::{output, setup, shape};

pub(crate) async fn alert(global: &Global, action: AlertAction) -> Result<ExitCode> {
    match action {
        AlertAction::List => list(global).await?,
        AlertAction::Test { name } => {
            Alerts::of(&home(global)?.parsed()?.project).test(&name).await?;
            eprintln!("{name}: the message was taken");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(global: &Global) -> Result<()> {
    let ledger = RunStore::new(&setup::lake(global, &setup::settings(global)?).await?)?;
    let parsed = home(global)?.parsed()?;
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for (name, alert) in &parsed.project.settings.alert {
        // A job with a mistake may be late because of it.
        for job in parsed.upstream.keys().filter(|job| alert.is_about(job)) {
            for incident in ledger.incidents(name, job).await?.iter() {
                let state = match (incident.kind, incident.over) {
                    (_, Some(_)) => "in order again",
                    (Kind::Failed, None) => "failed",
                    (Kind::Quarantined, None) => "rejects rows",
                    (Kind::Late, None) => "late",
                };
                let delivered = if incident.delivered { "yes" } else { "not yet" };
                rows.push(vec![
                    name.clone(),
                    job.to_string(),
                    state.to_owned(),
                    incident.began(),
                    delivered.to_owned(),
                    incident.trigger.as_ref().map(ToString::to_string).unwrap_or_default(),
                ]);
                values.push(shape::Alert {
                    alert: name.clone(),
                    job: job.to_string(),
                    kind: incident.kind,
                    since: shape::stamp_of_millis(incident.since),
                    over: incident.over.and_then(shape::stamp_of_millis),
                    delivered: incident.delivered,
                    trigger: incident.trigger.as_ref().map(ToString::to_string),
                    what: incident.what.clone(),
                });
            }
        }
    }
    let head = ["alert", "job", "state", "since", "delivered", "trigger"];
    let keys = ["alert", "job", "kind", "since", "over", "delivered", "trigger", "what"];
    output::listing((&head, &keys), &rows, &values, global.output)
}
