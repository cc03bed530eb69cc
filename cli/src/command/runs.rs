//! `pulse runs`

use std::process::ExitCode;

use chrono::DateTime;
use pulse_core::run::{RunId, RunRecord, TriggerId};
use pulse_core::{Error, Result};
use pulse_scheduler::ledger::RunStore;

use crate::args::{Global, Output, Runs};
use crate::{output, setup};

pub(crate) async fn runs(global: &Global, action: Runs) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    let ledger = RunStore::new(&setup::lake(global, &settings)?)?;
    match action {
        Runs::List { limit } => {
            let mut records = ledger.list(None).await?;
            records.reverse();
            records.truncate(limit);
            list(&records, global.output)?;
        }
        Runs::Show { id } => show(&ledger, &id, global.output).await?,
        Runs::Cancel { id } => {
            let trigger = trigger_of(&id)?;
            if ledger.list(Some(&trigger)).await?.is_empty() {
                return Err(unknown(&id));
            }
            ledger.request_cancel(&trigger).await?;
            eprintln!("asked the driver of {trigger} to stop");
        }
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
    output::table(
        &["run", "state", "started (UTC)", "seconds", "rows", "quarantined", "version"],
        &rows,
        records,
        output,
    )
}

async fn show(ledger: &RunStore, id: &str, output: Output) -> Result<()> {
    let mut records = ledger.list(Some(&trigger_of(id)?)).await?;
    if let Ok(run) = id.parse::<RunId>() {
        records.retain(|record| record.run == run);
    }
    if records.is_empty() {
        return Err(unknown(id));
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
        output::line(&format!("  error ({:?}): {}", error.kind, error.message));
    }
    if let Some(reason) = &record.reason {
        output::line(&format!("  {reason}"));
    }
    for input in &record.inputs {
        let version = input.version.map(|version| format!(" version {version}")).unwrap_or_default();
        let (files, bytes) = (output::count(input.files), output::size(input.bytes));
        output::line(&format!("  read {}{version}: {files} files, {bytes}", input.source));
    }
    for outcome in &record.expectations {
        let (failed, checked) = (output::count(outcome.failed), output::count(outcome.checked));
        output::line(&format!("  expected \"{}\": {failed} of {checked} failed ({:?})", outcome.name, outcome.on_fail));
    }
}

fn trigger_of(id: &str) -> Result<TriggerId> {
    id.parse().or_else(|error| id.parse::<RunId>().map(|run| run.trigger().clone()).map_err(|_| error))
}

fn unknown(id: &str) -> Error {
    Error::invalid(format!("the lake's ledger has no run `{id}`; `pulse runs list` shows them, --lake names the lake"))
}
