//! `pulse runs`

use std::process::ExitCode;

use chrono::{DateTime, Days, Utc};
use pulse_core::run::{AttemptFailure, Place, RunError, RunId, RunRecord, RunState, TriggerId};
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_engine::table::Lake;
use pulse_scheduler::ledger::RunStore;

use crate::agree::agree;
use crate::args::{Global, Output, Runs};
use crate::{output, setup, shape};

pub(crate) async fn runs(global: &Global, action: Runs) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    let ledger = RunStore::new(&Lake::new(setup::lake_root(global)?, setup::stores(&settings)))?;
    match action {
        Runs::List { limit, open } => {
            let records = match open {
                true => ledger.of_open(Utc::now(), settings.lease()).await?,
                false => ledger.newest(limit, Utc::now(), settings.lease()).await?,
            };
            list(&records, global.output)?;
        }
        Runs::Show { id } => show(&ledger, &settings, &id, global.output).await?,
        Runs::Cancel { id } => {
            let trigger = trigger_of(&id)?;
            cancel(&ledger, &settings, &trigger).await?;
        }
        Runs::Prune { keep, yes } => prune(&ledger, &settings, keep, yes).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(records: &[RunRecord], output: Output) -> Result<()> {
    let rows: Vec<Vec<String>> = records
        .iter()
        .map(|record| {
            let started = record.started.and_then(DateTime::from_timestamp_millis);
            vec![
                record.run.to_string(),
                record.state.to_string(),
                started.map(|at| at.format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default(),
                format!("{:.2}", record.seconds),
                output::count(record.counts.rows_out),
                output::count(record.counts.rows_quarantined),
                record.version.map(|version| version.to_string()).unwrap_or_default(),
            ]
        })
        .collect();
    let head = ["run", "state", "started (UTC)", "seconds", "written", "quarantined", "version"];
    let values: Vec<shape::Run> = records.iter().map(shape::Run::from).collect();
    output::listing((&head, &shape::RUN_KEYS), &rows, &values, output)
}

async fn cancel(ledger: &RunStore, settings: &Settings, trigger: &TriggerId) -> Result<()> {
    let records = ledger.records_at(trigger, Utc::now(), settings.lease()).await?;
    let submitted = ledger.is_open(trigger).await?;
    if records.is_empty() && !submitted {
        return Err(unknown(trigger.as_str()));
    }
    if !records.is_empty() && records.iter().all(|record| record.state.is_final()) {
        eprintln!("{trigger} has ended");
        return Ok(());
    }
    ledger.request_cancel(trigger).await?;
    match (records.iter().any(|record| record.state == RunState::Lost), submitted) {
        (true, false) => eprintln!("the process of {trigger} is gone; nothing of it runs"),
        (true, true) => eprintln!("{trigger} is cancelled when a scheduler takes it up"),
        (false, _) => eprintln!("asked the driver of {trigger} to stop"),
    }
    Ok(())
}

async fn prune(ledger: &RunStore, settings: &Settings, keep_days: u32, yes: bool) -> Result<()> {
    let now = Utc::now();
    let before = now - Days::new(u64::from(keep_days));
    let triggers = ledger.ended_before(before, now, settings.lease()).await?;
    let (count, day) = (output::plural(triggers.len() as u64, "trigger"), before.format("%Y-%m-%d %H:%M"));
    if triggers.is_empty() {
        eprintln!("no trigger that began before {day} UTC has records");
        return Ok(());
    }
    eprintln!(
        "the records of {count} that began before {day} UTC will be deleted, and their keys of submission; tables stay as they are"
    );
    agree(yes)?;
    ledger.forget(&triggers).await?;
    eprintln!("deleted the records of {count}");
    Ok(())
}

async fn show(ledger: &RunStore, settings: &Settings, id: &str, output: Output) -> Result<()> {
    let mut records = ledger.records_at(&trigger_of(id)?, Utc::now(), settings.lease()).await?;
    if let Ok(run) = id.parse::<RunId>() {
        records.retain(|record| record.run == run);
    }
    if records.is_empty() {
        let queued = ledger.submission(&trigger_of(id)?).await?;
        let Some(queued) = queued else { return Err(unknown(id)) };
        eprintln!("{id} waits in the queue `{}` of its scheduler; none of its runs has begun", queued.request.queue);
        return Ok(());
    }
    list(&records, output)?;
    if output != Output::Table {
        return Ok(());
    }
    for record in &records {
        details(record);
    }
    Ok(())
}

fn details(record: &RunRecord) {
    output::line(&format!("\n{} {}", record.job, record.state));
    if let Some(error) = &record.error {
        output::line(&format!("  error ({}): {}", error.kind.word(), indented(error.root())));
        told(error, "  ");
    }
    for failure in &record.failures {
        attempt(failure, record.error.as_ref());
    }
    if let Some(reason) = &record.reason {
        output::line(&format!("  {reason}"));
    }
    for warning in &record.warnings {
        output::line(&format!("  warning: {warning}"));
    }
    for note in &record.notes {
        output::line(&format!("  note: {note}"));
    }
    for input in &record.inputs {
        let version = input.version.map(|version| format!(" version {version}")).unwrap_or_default();
        let (files, bytes) = (output::count(input.files), output::size(input.bytes));
        output::line(&format!("  read {}{version}: {files} files, {bytes}", input.source));
    }
    for rejected in &record.rejected {
        output::line(&format!("  quarantined {} rows: {}", output::count(rejected.rows), rejected.reason));
    }
    for outcome in &record.expectations {
        let (failed, checked) = (output::count(outcome.failed), output::count(outcome.checked));
        output::line(&format!("  expected \"{}\": {failed} of {checked} failed ({:?})", outcome.name, outcome.on_fail));
        outcome.evidence.iter().for_each(|line| output::line(&format!("    {line}")));
    }
}

/// Each mistake in a line of its own.
fn indented(message: &str) -> String {
    message.replace('\n', "\n    ")
}

/// What an error's root led to, outwards.
fn told(error: &RunError, indent: &str) {
    for above in error.causes.iter().skip(1).chain(Some(&error.message).filter(|_| !error.causes.is_empty())) {
        output::line(&format!("{indent}  so: {above}"));
    }
}

/// Which attempt failed, when and where, and what was done about it.
fn attempt(failure: &AttemptFailure, last: Option<&RunError>) {
    let at = DateTime::from_timestamp_millis(failure.at);
    let at = at.map(|at| at.format("%H:%M:%S").to_string()).unwrap_or_default();
    let place = match failure.place {
        Some(Place::Local) => " in the driver's process",
        Some(Place::Cluster) => " on the cluster",
        None => "",
    };
    let next = match failure.retried_after {
        #[allow(clippy::cast_precision_loss, reason = "for people")]
        Some(millis) => format!("tried again after {:.1} s", millis as f64 / 1000.0),
        None => "not tried again".to_owned(),
    };
    output::line(&format!("  attempt {} failed at {at}{place}, {next}", failure.attempt));
    if last != Some(&failure.error) {
        output::line(&format!("    error ({}): {}", failure.error.kind.word(), failure.error.root()));
        told(&failure.error, "    ");
    }
}

fn trigger_of(id: &str) -> Result<TriggerId> {
    id.parse().or_else(|error| id.parse::<RunId>().map(|run| run.trigger().clone()).map_err(|_| error))
}

fn unknown(id: &str) -> Error {
    Error::invalid(format!("the lake's ledger has no run `{id}`; `pulse runs list` shows them, --lake names the lake"))
}
