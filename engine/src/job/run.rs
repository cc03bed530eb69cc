//! The steps of a run: pin, plan, execute, check, commit. Restarts if another commit conflicts.

mod commit;
mod earlier;
mod forget;
mod history;
mod latest;
mod pair;
mod quarantine;
mod refuse;
mod replaced;
mod stage;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use deltalake_core::kernel::Add;
use pulse_core::decide::{Asked, RunPlan};
use pulse_core::manifest::Read;
use pulse_core::project::Job;
use pulse_core::run::{ExpectationOutcome, RunState};
use pulse_core::{Error, Result};

use super::Workbench;
use super::changes::{State, visible};
use super::check::{Written, outcomes, refusal};
use super::external::with_one_nan;
use super::grain;
use super::increment::Increment;
use super::partitions;
use super::pin::{Mode, Pinned, Wanted, pin, pin_for, raw_files};
use super::query::{JobQuery, Sources};
use super::replace::Replacement;
use super::report::{Outcome, Report, Staged, inputs};
use super::schema::{refuse_lost_columns, refuse_other_columns, table_schema};
use super::tidy::tidied;
use crate::execute::Progress;
use crate::landing;
use crate::source::delta::DeltaScan;
use crate::table::DataFile;

pub(super) use pair::{SEQUENCE_ID, sequence};

pub use forget::{Forgettable, forget, forgettable};

/// Called at each state change of a run; an error stops it there.
pub type Entering<'a> = &'a (dyn Fn(RunState) -> Result<()> + Sync);

/// One execution of a job.
#[derive(Clone, Copy)]
pub struct RunOptions<'a> {
    pub run_id: &'a str,
    pub asked: &'a Asked,
    pub now: DateTime<Utc>,
    /// Set for a run that another process began, which may still be running: if the run has committed since then, that
    /// commit is returned and not repeated.
    pub begun: Option<DateTime<Utc>>,
    pub progress: Progress<'a>,
    /// [`RunState::Planning`], [`RunState::Running`], and [`RunState::Committing`] before the first commit.
    pub entering: Entering<'a>,
}

/// Runs a job once, for the changes or for the requested interval.
///
/// # Errors
/// By kind: `Invalid` input, `Data`, `Unavailable`, `Exhausted`, `Conflict` when every attempt lost against another
/// commit. After any error, no reader sees anything of the run.
pub async fn run(bench: &Workbench, job: &Job, options: RunOptions<'_>) -> Result<Report> {
    let report = run_for(bench, job, Wanted::Run(options.asked), options).await?;
    Ok(tidied(bench, job, options.now, report).await)
}

/// As [`run`], for `wanted` instead of the options' request.
async fn run_for(bench: &Workbench, job: &Job, wanted: Wanted<'_>, options: RunOptions<'_>) -> Result<Report> {
    let RunOptions { run_id, asked, now, begun, progress, entering } = options;
    let mut overtaken = String::new();
    let landed = match wanted {
        Wanted::Run(_) => {
            entering(RunState::Planning)?;
            landing::land(bench, job, progress).await?
        }
        Wanted::Forget(_) => bench.clone(),
    };
    let bench = &landed;
    for attempt in 1..=bench.options.attempts {
        entering(RunState::Planning)?;
        let pinned = pin_for(bench, job, wanted, now).await?.with_bookmarks_of_files(bench).await?;
        let run = Run { bench, job, run_id, pinned: &pinned, asked, now };
        if let Some(begun) = begun.or((attempt > 1).then_some(now))
            && let Some(report) = earlier::committed(bench, &pinned.table, run_id, begun).await?
        {
            run.settle().await?;
            return Ok(report);
        }
        let attempted = run.attempt(progress, entering).await;
        match attempted.map_err(|error| error.with_warnings(pinned.warnings()))? {
            Attempt::Done(report) => return Ok(Report { attempt, ..*report }),
            Attempt::Overtaken { reason } => overtaken = reason,
        }
    }
    Err(Error::conflict(format!(
        "job {}: {} attempts were overtaken by other commits ({overtaken}); run it alone",
        job.name, bench.options.attempts
    )))
}

/// The report of a run's commit since `begun`; `None` if it has not committed.
///
/// # Errors
/// `Unavailable` when the store does not answer, `Data` for a broken log.
pub async fn committed(bench: &Workbench, job: &Job, run_id: &str, begun: DateTime<Utc>) -> Result<Option<Report>> {
    let table = bench.lake.table(&job.name)?;
    earlier::committed(bench, &table, run_id, begun).await
}

/// Plans a run without reading data.
///
/// # Errors
/// As [`run`] before it executes.
pub async fn preview(bench: &Workbench, job: &Job, asked: &Asked, now: DateTime<Utc>) -> Result<Pinned> {
    let databases = landing::look(bench, job).await?;
    let pinned = Pinned { databases, ..pin(bench, job, asked, now).await? };
    let run = Run { bench, job, run_id: "preview", pinned: &pinned, asked, now };
    run.refuse_unwritable()?;
    // If there is no interval to compute, the query's parameters have no values.
    if pinned.mode != Mode::Unchanged || job.manifest.interval.is_none() {
        let parts = run.parts()?;
        run.schema(&run.query(State::Now, parts.first().map_or(&[], Vec::as_slice)).await?)?;
    }
    Ok(pinned)
}

enum Attempt {
    Done(Box<Report>),
    Overtaken { reason: String },
}

struct Run<'a> {
    bench: &'a Workbench,
    job: &'a Job,
    run_id: &'a str,
    pinned: &'a Pinned,
    asked: &'a Asked,
    now: DateTime<Utc>,
}

/// Both tables' changes, ready to commit.
struct Changes {
    staged: Staged,
    table: Replacement,
    quarantine: Replacement,
}

impl Run<'_> {
    async fn attempt(&self, progress: Progress<'_>, entering: Entering<'_>) -> Result<Attempt> {
        if self.pinned.mode == Mode::Unchanged {
            self.settle().await?;
            return Ok(self.done(self.report(Outcome::Unchanged, &Staged::default())));
        }
        self.refuse_unwritable()?;
        let parts = self.parts()?;
        let (first, rest) = parts.split_first().ok_or_else(|| Error::internal("a run has no part"))?;
        let query = self.query(State::Now, first).await?;
        let schema = self.schema(&query)?;
        entering(RunState::Running)?;
        let (staged, spec) = self.stage(&query, rest, progress).await?;
        let scan = self.staged_scan(&schema, &staged.total.files);
        let refused = self.refuse_staged(&query, &staged, &scan).await;
        self.or_discard(refused, &staged, &Replacement::default()).await?;
        let table = self.replace_in_table(&query, &spec, &scan).await;
        let table = self.or_discard(table, &staged, &Replacement::default()).await?;
        let kept = self.kept_scan(&schema, &table);
        let keys_may_meet = self.pinned.mode == Mode::Incremental
            && matches!(self.pinned.increment, Increment::FormerKeys | Increment::Nothing);
        let written =
            Written { staged: &staged, scan: &scan, kept: &kept, referred: &self.pinned.referred, keys_may_meet };
        let expectations = self.judge(&query, &written).await;
        let expectations = self.or_discard(expectations, &staged, &table).await?;
        if let Some(message) = refusal(self.job, &expectations) {
            self.discard(&staged, &table).await;
            let mut report = self.report(Outcome::ExpectationFailed { message }, &Staged::default());
            report.counts.rows_in = staged.rows_in();
            report.expectations = expectations;
            return Ok(self.done(report));
        }
        let quarantine = self.replace_in_quarantine().await;
        let quarantine = self.or_discard(quarantine, &staged, &table).await?;
        let changes = Changes { staged, table, quarantine };
        entering(RunState::Committing)?;
        self.commit(changes, &schema, expectations).await
    }

    /// Returns `step`'s result; deletes the run's files if it failed.
    async fn or_discard<T>(&self, step: Result<T>, staged: &Staged, table: &Replacement) -> Result<T> {
        if step.is_err() {
            self.discard(staged, table).await;
        }
        step
    }

    /// Evaluates the expectations on the table as it would be committed.
    ///
    /// # Errors
    /// `Data` also when it would violate its grain.
    async fn judge(&self, query: &JobQuery, written: &Written<'_>) -> Result<Vec<ExpectationOutcome>> {
        let expectations = outcomes(self.bench, self.job, written, self.now).await?;
        if refusal(self.job, &expectations).is_none() {
            grain::check(self.bench, self.job, query, written, &expectations).await?;
        }
        Ok(expectations)
    }

    /// Deletes the files of a commit that will not happen.
    async fn discard(&self, staged: &Staged, table: &Replacement) {
        self.pinned.table.discard(&staged.total.files).await;
        self.pinned.table.discard(&table.adds).await;
        self.pinned.quarantine_table.discard(&staged.total.quarantine_files).await;
    }

    /// The table's columns after the run.
    fn schema(&self, query: &JobQuery) -> Result<SchemaRef> {
        let schema = table_schema(&query.plan, &query.columns)?;
        if let Some(target) = &self.pinned.target {
            match self.pinned.mode {
                // No existing row remains, so the same commit may change the columns.
                Mode::Full { .. } if self.asked.rebuild => {}
                Mode::Full { .. } => refuse_lost_columns(self.job, &schema, &target.schema)?,
                Mode::Incremental | Mode::Unchanged => {
                    refuse_other_columns(self.job, &schema, &target.schema)?;
                    partitions::refuse_others(self.job, target)?;
                }
            }
        }
        Ok(schema)
    }

    fn done(&self, report: Report) -> Attempt {
        Attempt::Done(Box::new(report))
    }

    fn sources(&self, state: State) -> Result<Sources> {
        let options = &self.bench.options;
        let mut sources = Sources::new();
        for (name, pinned) in &self.pinned.files {
            let files = raw_files(self.bench, name, &pinned.root, pinned.read.clone())?.with_notes();
            sources.insert(format!("raw.{name}"), Arc::new(files));
        }
        for (name, pinned) in &self.pinned.tables {
            let provider = visible(self.pinned, pinned, self.state_of(pinned, state), options.target_partition_bytes)?;
            sources.insert(name.to_string(), with_one_nan(name, provider)?);
        }
        Ok(sources)
    }

    /// Only sources that are read by their changes have a relevant earlier state, and all sources of a query with
    /// intervals.
    fn state_of(&self, pinned: &super::PinnedTable, state: State) -> State {
        if pinned.read.read == Read::Changed || self.by_interval() { state } else { State::Now }
    }

    fn by_interval(&self) -> bool {
        !self.pinned.plan.intervals().is_empty()
    }

    /// Whether rows of an earlier run are recomputed.
    fn computes_again(&self) -> bool {
        matches!(&self.pinned.plan, RunPlan::Changes { again, .. } if !again.is_empty())
    }

    fn staged_scan(&self, schema: &SchemaRef, adds: &[Add]) -> DeltaScan {
        self.own_scan(schema, adds.iter().map(|add| DataFile::from_add(add, schema)).collect())
    }

    /// The rows that remain in the table.
    fn kept_scan(&self, schema: &SchemaRef, replacement: &Replacement) -> DeltaScan {
        let removed: HashSet<&str> = replacement.removes.iter().map(|file| file.path.as_str()).collect();
        let known = self.pinned.target.iter().flat_map(|target| &target.files);
        let mut files: Vec<DataFile> = known.filter(|file| !removed.contains(file.path.as_str())).cloned().collect();
        files.extend(replacement.adds.iter().map(|add| DataFile::from_add(add, schema)));
        self.own_scan(schema, files)
    }

    fn own_scan(&self, schema: &SchemaRef, files: Vec<DataFile>) -> DeltaScan {
        let target = self.bench.options.target_partition_bytes;
        DeltaScan::of_files(self.pinned.table.clone(), schema, self.job.manifest.partition_by(), files, target)
    }

    fn report(&self, outcome: Outcome, staged: &Staged) -> Report {
        let mut counts = staged.counts();
        counts.bytes_read = self.pinned.bytes();
        Report {
            job: self.job.name.clone(),
            outcome,
            mode: self.pinned.mode.clone(),
            place: self.bench.execute.place(),
            intervals: self.pinned.plan.intervals(),
            inputs: inputs(self.pinned),
            counts,
            expectations: Vec::new(),
            rejected: staged.total.reasons.most_frequent(),
            notes: staged.total.notes.lines(),
            warnings: self.pinned.warnings(),
            attempt: 1,
        }
    }
}
