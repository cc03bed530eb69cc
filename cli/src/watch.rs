//! Following a trigger: a block on a terminal, a line for each run that ended, and a summary that stays.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use console::style;
use pulse_core::manifest::OnFail;
use pulse_core::reasons::RejectedRows;
use pulse_core::run::{RunRecord, RunState};
use pulse_engine::job::Mode;
use pulse_scheduler::driver::Notice;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::live::Live;
use crate::output::{self, aligned, count, is_terminal, plural, size};

/// What the summary needs of all runs.
pub(crate) struct Watched {
    pub(crate) records: Vec<RunRecord>,
    pub(crate) elapsed: Duration,
}

/// Shows notices until the driver is done.
pub(crate) async fn watch(mut notices: UnboundedReceiver<Notice>, jobs: usize) -> Watched {
    let began = Instant::now();
    let mut live = Live::new(jobs, is_terminal());
    let mut reported = BTreeMap::new();
    let mut records = Vec::new();
    while let Some(notice) = notices.recv().await {
        match notice {
            Notice::Started { job } => live.started(&job),
            Notice::Progress { job, reached } => live.reached(&job, reached),
            Notice::Reported { job, warnings, mode } => {
                reported.insert(job, (warnings, mode));
            }
            Notice::Retried { job, attempt, after, error } => {
                live.ended(&job, false);
                let after = after.as_secs_f64();
                let word = style(format!("{:<10}", "retried")).for_stderr().yellow();
                live.say(&format!("{word} {:<24} attempt {attempt} in {after:.1} s: {error}", job.to_string()));
            }
            // Its mistake is reported already.
            Notice::NotRun { record } => records.push(*record),
            Notice::Ended { record, error } => {
                live.ended(&record.job, true);
                let (warnings, mode) = reported.remove(&record.job).unzip();
                // A run that failed reports nothing.
                let warnings = warnings.unwrap_or_else(|| record.warnings.clone());
                lines(&record, &warnings, mode.as_ref(), error.as_deref()).iter().for_each(|line| live.say(line));
                records.push(*record);
            }
        }
    }
    Watched { records, elapsed: began.elapsed() }
}

pub(crate) fn lines(
    record: &RunRecord,
    warnings: &[String],
    mode: Option<&Mode>,
    error: Option<&pulse_core::Error>,
) -> Vec<String> {
    let yellow = style("warning:").for_stderr().yellow();
    let mut lines: Vec<String> = warnings.iter().map(|warning| format!("{yellow} {}: {warning}", record.job)).collect();
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
    lines.push(format!("{} {:<24} {detail}", coloured(record.state), record.job.to_string()).trim_end().to_owned());
    for outcome in record.expectations.iter().filter(|outcome| outcome.failed > 0) {
        let word = match outcome.on_fail {
            OnFail::Warn => "warn",
            OnFail::Drop => "dropped",
            OnFail::Quarantine => "quarantined",
            OnFail::Fail => "failed",
        };
        let (failed, checked) = (count(outcome.failed), count(outcome.checked));
        lines.push(format!("{:<10}   {word}: \"{}\" {failed} of {checked}", "", outcome.name));
        // The message of a run that failed has it already.
        if outcome.on_fail == OnFail::Fail {
            continue;
        }
        lines.extend(outcome.evidence.iter().map(|line| format!("{:<10}     {line}", "")));
    }
    // A row that fails several expectations has the names of all of them; each stands above with its count.
    let is_name = |name: &str| record.expectations.iter().any(|outcome| outcome.name == name);
    let is_expectation = |reason: &str| is_name(reason) || reason.split("; ").all(is_name);
    for RejectedRows { rows, reason } in record.rejected.iter().filter(|rejected| !is_expectation(&rejected.reason)) {
        lines.push(format!("{:<10}   quarantined: {}: {reason}", "", plural(*rows, "row")));
    }
    lines.extend(record.notes.iter().map(|note| format!("{:<10}   note: {note}", "")));
    lines
}

/// The state in a field of its own width.
fn coloured(state: RunState) -> impl std::fmt::Display {
    let word = style(format!("{:<10}", state.to_string())).for_stderr();
    match state {
        RunState::Succeeded => word.green(),
        RunState::Failed => word.red().bold(),
        RunState::Cancelled | RunState::Skipped | RunState::Lost => word.yellow(),
        RunState::Unchanged | RunState::Queued | RunState::Planning | RunState::Running | RunState::Committing => {
            word.dim()
        }
    }
}

/// A column of the summary.
struct Column {
    head: &'static str,
    /// Columns of a higher number are left out first where the terminal is narrow.
    rank: u8,
    cell: fn(&RunRecord) -> String,
}

const COLUMNS: [Column; 10] = [
    Column { head: "job", rank: 0, cell: |record| record.job.to_string() },
    Column { head: "state", rank: 0, cell: |record| record.state.to_string() },
    Column { head: "read", rank: 4, cell: |record| size(record.counts.bytes_read) },
    Column { head: "rows in", rank: 3, cell: |record| count(record.counts.rows_in) },
    Column { head: "written", rank: 1, cell: |record| count(record.counts.rows_out) },
    Column { head: "quarantined", rank: 2, cell: |record| count(record.counts.rows_quarantined) },
    Column { head: "dropped", rank: 3, cell: |record| count(record.counts.rows_dropped) },
    Column {
        head: "files",
        rank: 6,
        cell: |record| format!("+{} -{}", record.counts.files_added, record.counts.files_removed),
    },
    Column { head: "size", rank: 5, cell: |record| size(record.counts.bytes_written) },
    Column { head: "seconds", rank: 1, cell: |record| format!("{:.2}", record.seconds) },
];

/// The last words on stderr: a row for each run.
pub(crate) fn summary(watched: &Watched) -> String {
    let total = |of: fn(&RunRecord) -> u64| watched.records.iter().map(of).sum::<u64>();
    let unchanged = watched.records.iter().filter(|record| record.state == RunState::Unchanged).count();
    let note = if unchanged == watched.records.len() { "; nothing changed, nothing was committed" } else { "" };
    format!(
        "\n{}{}\n{} in {:.1} s: {} written, {} quarantined, {} dropped{note}\n",
        table(&watched.records, output::width()),
        not_begun(&watched.records),
        plural(watched.records.len() as u64, "run"),
        watched.elapsed.as_secs_f64(),
        plural(total(|record| record.counts.rows_out), "row"),
        count(total(|record| record.counts.rows_quarantined)),
        count(total(|record| record.counts.rows_dropped)),
    )
}

/// Why some runs never began, a line for each.
fn not_begun(records: &[RunRecord]) -> String {
    let why = |record: &RunRecord| {
        let error = record.error.as_ref().map(|error| error.message.as_str());
        let first = error.or(record.reason.as_deref())?.lines().next()?;
        Some(format!("  {}: {first}\n", record.job))
    };
    records.iter().filter(|record| record.started.is_none()).filter_map(why).collect()
}

/// As many columns as fit.
fn table(records: &[RunRecord], width: Option<usize>) -> String {
    let mut most = COLUMNS.iter().map(|column| column.rank).max().unwrap_or_default();
    loop {
        let columns: Vec<&Column> = COLUMNS.iter().filter(|column| column.rank <= most).collect();
        let head: Vec<&str> = columns.iter().map(|column| column.head).collect();
        let rows: Vec<Vec<String>> =
            records.iter().map(|record| columns.iter().map(|column| (column.cell)(record)).collect()).collect();
        let text = aligned(&head, &rows);
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or_default();
        if most == 0 || width.is_none_or(|width| widest <= width) {
            return text;
        }
        most -= 1;
    }
}
