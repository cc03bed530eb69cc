//! Following a trigger: bars on a terminal, a line a run otherwise, and a summary that stays.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use pulse_core::manifest::OnFail;
use pulse_core::name::TableName;
use pulse_core::reasons::RejectedRows;
use pulse_core::run::{RunRecord, RunState};
use pulse_engine::job::Mode;
use pulse_scheduler::driver::Notice;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::output::{aligned, count, size};

/// What the summary needs of all runs.
pub(crate) struct Watched {
    pub(crate) records: Vec<RunRecord>,
    pub(crate) elapsed: Duration,
}

/// Shows notices until the driver is done.
pub(crate) async fn watch(mut notices: UnboundedReceiver<Notice>) -> Watched {
    let began = Instant::now();
    let terminal = std::io::stderr().is_terminal();
    let bars = MultiProgress::new();
    let mut running: BTreeMap<TableName, ProgressBar> = BTreeMap::new();
    let mut reported = BTreeMap::new();
    let mut records = Vec::new();
    let say = |line: String| match terminal {
        true => drop(bars.println(line)),
        false => eprintln!("{line}"),
    };
    while let Some(notice) = notices.recv().await {
        match notice {
            Notice::Started { job } if terminal => {
                running.insert(job.clone(), bars.add(bar(&job)));
            }
            Notice::Started { .. } => {}
            Notice::Progress { job, done, tasks } => {
                if let Some(bar) = running.get(&job) {
                    bar.set_length(tasks as u64);
                    bar.set_position(done as u64);
                }
            }
            Notice::Reported { job, warnings, mode } => {
                reported.insert(job, (warnings, mode));
            }
            Notice::Retried { job, attempt, after, error } => {
                if let Some(bar) = running.remove(&job) {
                    bar.finish_and_clear();
                }
                let after = after.as_secs_f64();
                say(format!("{:<10} {:<24} attempt {attempt} in {after:.1} s: {error}", "retried", job.to_string()));
            }
            Notice::Ended { record, error } => {
                if let Some(bar) = running.remove(&record.job) {
                    bar.finish_and_clear();
                }
                let (warnings, mode) = reported.remove(&record.job).unzip();
                // A run that failed reports nothing.
                let warnings = warnings.unwrap_or_else(|| record.warnings.clone());
                lines(&record, &warnings, mode.as_ref(), error.as_deref()).into_iter().for_each(say);
                records.push(*record);
            }
        }
    }
    Watched { records, elapsed: began.elapsed() }
}

fn bar(job: &TableName) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{spinner} {prefix:24} {bar:24} {pos}/{len} tasks {elapsed}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_prefix(job.to_string());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

pub(crate) fn lines(
    record: &RunRecord,
    warnings: &[String],
    mode: Option<&Mode>,
    error: Option<&pulse_core::Error>,
) -> Vec<String> {
    let mut lines: Vec<String> = warnings.iter().map(|warning| format!("warning: {}: {warning}", record.job)).collect();
    let detail = match (&record.state, &record.error, &record.reason) {
        (_, Some(failure), _) => {
            error.map_or_else(|| failure.message.clone(), |error| error.render().trim_end().to_owned())
        }
        (_, None, Some(reason)) => reason.clone(),
        (RunState::Succeeded, None, None) => {
            let how = match mode {
                Some(Mode::Full { reason }) => format!(" ({reason})"),
                _ => String::new(),
            };
            format!("version {}{how}", record.version.unwrap_or_default())
        }
        _ => String::new(),
    };
    lines.push(
        format!("{:<10} {:<24} {detail}", record.state.to_string(), record.job.to_string()).trim_end().to_owned(),
    );
    for outcome in record.expectations.iter().filter(|outcome| outcome.failed > 0) {
        let word = match outcome.on_fail {
            OnFail::Warn => "warn",
            OnFail::Drop => "dropped",
            OnFail::Quarantine => "quarantined",
            OnFail::Fail => "failed",
        };
        let (failed, checked) = (count(outcome.failed), count(outcome.checked));
        lines.push(format!("{:<10}   {word}: \"{}\" {failed} of {checked}", "", outcome.name));
    }
    let is_expectation = |reason: &str| record.expectations.iter().any(|outcome| outcome.name == reason);
    for RejectedRows { rows, reason } in record.rejected.iter().filter(|rejected| !is_expectation(&rejected.reason)) {
        lines.push(format!("{:<10}   quarantined: {} rows: {reason}", "", count(*rows)));
    }
    lines.extend(record.notes.iter().map(|note| format!("{:<10}   note: {note}", "")));
    lines
}

/// The last words on stderr: a row a run.
pub(crate) fn summary(watched: &Watched) -> String {
    let head = ["job", "state", "read", "rows in", "written", "quarantined", "dropped", "files", "size", "seconds"];
    let rows: Vec<Vec<String>> = watched
        .records
        .iter()
        .map(|record| {
            let counts = &record.counts;
            vec![
                record.job.to_string(),
                record.state.to_string(),
                size(counts.bytes_read),
                count(counts.rows_in),
                count(counts.rows_out),
                count(counts.rows_quarantined),
                count(counts.rows_dropped),
                format!("+{} -{}", counts.files_added, counts.files_removed),
                size(counts.bytes_written),
                format!("{:.2}", record.seconds),
            ]
        })
        .collect();
    let total = |of: fn(&RunRecord) -> u64| watched.records.iter().map(of).sum::<u64>();
    let unchanged = watched.records.iter().filter(|record| record.state == RunState::Unchanged).count();
    let note = if unchanged == watched.records.len() { "; nothing changed, nothing was committed" } else { "" };
    format!(
        "\n{}\n{} runs in {:.1} s: {} rows written, {} quarantined, {} dropped{note}\n",
        aligned(&head, &rows),
        watched.records.len(),
        watched.elapsed.as_secs_f64(),
        count(total(|record| record.counts.rows_out)),
        count(total(|record| record.counts.rows_quarantined)),
        count(total(|record| record.counts.rows_dropped)),
    )
}
