//! One attempt of a run: pins, looks for an earlier commit, computes, commits. The driver that runs it is the real one, and so
//! are the protocols of the commits.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use pulse_core::commit::EntrySummary;
use pulse_core::commit::pair::Named;
use pulse_core::interval_set::IntervalSet;
use pulse_core::name::TableName;
use pulse_core::run::{Place, RunCounts, RunId, RunState, TriggerId};
use pulse_core::{Error, Result};
use pulse_engine::execute::Reached;
use pulse_engine::job::{Mode, Outcome, Report, RunOptions};
use pulse_scheduler::driver::Runs;

use super::ledger::{newest_epoch, records};
use super::life::{Arrival, Kind, Life};
use super::quarantine::{Files, QuarantineState, Row, is_rejected};
use super::tables::{Consumed, Entry, JobNo, TableState, Tables, job_name, job_no};
use super::{Bug, Violation};

/// Of a run that others overtake.
const ATTEMPTS: u32 = 3;

/// The jobs of one drive.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) life: Life,
}

/// What a run read before it computed.
#[derive(Debug, Clone)]
pub(super) struct Pins {
    pub(super) table: TableState,
    pub(super) quarantine: QuarantineState,
    source: Consumed,
}

/// An attempt that is about to commit.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) job: JobNo,
    pub(super) run: String,
    pub(super) name: String,
    /// Its entry of the table's log.
    pub(super) entry: Option<Entry>,
    pub(super) sequence: i64,
    /// Version that the entry is written to first.
    pub(super) next: u64,
    /// The files that the quarantine holds with it, and those among them with new rows.
    pub(super) wanted: Files,
    pub(super) staged: BTreeSet<String>,
}

pub(super) fn transactions() -> BTreeSet<String> {
    ["pulse/sequence".to_owned(), "pulse/table/source".to_owned()].into()
}

pub(super) fn no_answer() -> Error {
    Error::unavailable("no answer came")
}

impl Model {
    pub(super) fn new(life: Life) -> Self {
        Self { life }
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.life.world.bug == Some(bug)
    }

    pub(super) fn reads_quarantine_by_name(&self) -> bool {
        !self.has(Bug::QuarantineUnnamed)
    }

    /// Asks the store of the tables.
    pub(super) async fn read<T: Send + 'static>(&self, read: impl FnOnce(&Tables) -> T + Send + 'static) -> Result<T> {
        let world = self.life.world.clone();
        self.life.ask(Kind::Read, move |_| world.tables(|tables, _| read(tables))).await.ok_or_else(no_answer)
    }

    /// Writes to the store of the tables; `None` if no answer came.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        run: String,
        write: impl FnOnce(&mut Tables) -> Result<T, Violation> + Send + 'static,
    ) -> Option<T> {
        let life = self.life.clone();
        let write = move |arrival| {
            let is_late = arrival == Arrival::Late || is_superseded(&life, &run);
            let written = life.world.tables(|tables, _| {
                if is_late {
                    tables.late.insert(run.clone());
                }
                write(tables)
            });
            written.map_err(|violation| life.world.violated(violation)).ok()
        };
        self.life.ask(Kind::Commit, write).await.flatten()
    }

    async fn pin(&self, job: JobNo) -> Result<Pins> {
        let table = self.read(move |tables| tables.table(job)).await?;
        let named = match table.named {
            Named::Version(version) if self.reads_quarantine_by_name() => Some(version),
            Named::Version(_) | Named::Nothing | Named::Unknown => None,
        };
        let quarantine = self.read(move |tables| tables.quarantine(job, named)).await?;
        let source = self.read(move |tables| tables.source(job)).await?;
        // What was read and went away stays read.
        let source = Consumed { files: source.files.max(table.consumed.files), ..source };
        Ok(Pins { table, quarantine, source })
    }

    async fn attempt(&self, run: &RunId, number: u32, options: &RunOptions<'_>) -> Result<Option<Outcome>> {
        let job = job_no(run.job());
        (options.entering)(RunState::Planning)?;
        let pins = self.pin(job).await?;
        let mut attempt = self.begin(job, run, number, &pins);
        if (options.begun.is_some() || number > 1)
            && !self.has(Bug::NoLookUp)
            && let Some(version) = self.find(job, run).await?
        {
            self.settle(&mut attempt).await?;
            return Ok(Some(Outcome::Committed { version }));
        }
        if pins.source == pins.table.consumed {
            self.settle(&mut attempt).await?;
            return Ok(Some(Outcome::Unchanged));
        }
        self.compute(options).await?;
        (options.entering)(RunState::Committing)?;
        self.stage(&mut attempt, &pins);
        Ok(self.commit(&mut attempt, &pins).await?.map(|version| Outcome::Committed { version }))
    }

    fn begin(&self, job: JobNo, run: &RunId, number: u32, pins: &Pins) -> Attempt {
        Attempt {
            job,
            run: run.to_string(),
            name: format!("{}.{number}", self.life.world.name()),
            entry: None,
            sequence: pins.table.sequence,
            next: pins.table.next,
            wanted: Files::new(),
            staged: BTreeSet::new(),
        }
    }

    async fn find(&self, job: JobNo, run: &RunId) -> Result<Option<u64>> {
        let run = run.to_string();
        self.read(move |tables| tables.committed(job, &run)).await
    }

    async fn compute(&self, options: &RunOptions<'_>) -> Result<()> {
        let world = &self.life.world;
        if world.trouble(60) {
            return Err(Error::unavailable("the cluster did not answer"));
        }
        (options.entering)(RunState::Running)?;
        let hangs = world.trouble(30);
        self.life.rest(if hangs { 1_000_000 } else { world.random(|random| random.between(0, 900)) }).await;
        (options.progress)(Reached { done: 1, tasks: 1, rows: 0, bytes: 0 });
        Ok(())
    }

    /// Rows of corrected files go, those of what was read come.
    fn stage(&self, attempt: &mut Attempt, pins: &Pins) {
        let (Consumed { files: from, corrections: since }, now) = (pins.table.consumed, pins.source);
        let before = self.files_before(pins);
        let name = attempt.name.clone();
        self.life.world.tables(|tables, _| {
            let corrected = tables.corrected_in(since, now.corrections);
            let dead: BTreeSet<u64> = corrected.into_iter().filter(|file| *file < from).collect();
            let mut moved = BTreeSet::new();
            for (file, rows) in before {
                if rows.iter().any(|(of, _)| dead.contains(of)) {
                    moved.extend(rows.into_iter().filter(|(of, _)| !dead.contains(of)));
                } else {
                    attempt.wanted.insert(file, rows);
                }
            }
            let read = (from..now.files).chain(dead).map(|file| (file, tables.content(file, now.corrections)));
            let new: BTreeSet<Row> = read.filter(|row| is_rejected(*row)).collect();
            if !new.is_empty() {
                attempt.staged.insert(format!("{name}/new"));
                attempt.wanted.insert(format!("{name}/new"), new);
            }
            if !moved.is_empty() {
                attempt.wanted.insert(format!("{name}/moved"), moved);
            }
        });
        let summary = EntrySummary {
            run: Some(attempt.run.clone()),
            attempt: Some(name),
            redefines: pins.table.next == 0,
            transactions: transactions(),
            removes: BTreeSet::new(),
            adds_rows: true,
        };
        let (read, consumed) = (pins.table.consumed, pins.source);
        attempt.entry = Some(Entry { summary, read, consumed, is_of_run: true, named: Named::Unknown });
    }

    /// Files of the quarantine that the run goes out from.
    fn files_before(&self, pins: &Pins) -> Files {
        if !self.reads_quarantine_by_name() {
            // The planted mistake: of what the newest version holds, what has the number that the run will have is taken for that
            // of a run that died.
            let newest = &pins.quarantine.newest;
            let orphaned = newest.sequence > pins.table.sequence;
            let is_orphan = |file: &String| orphaned && newest.added.contains(file);
            return newest.files.clone().into_iter().filter(|(file, _)| !is_orphan(file)).collect();
        }
        match pins.table.named {
            Named::Version(_) => pins.quarantine.named.clone().unwrap_or_default(),
            // Nothing was committed yet: all of it goes.
            Named::Nothing | Named::Unknown => Files::new(),
        }
    }
}

#[async_trait]
impl Runs for Model {
    async fn run(&self, job: &TableName, placed: &(dyn Fn(Place) + Sync), options: RunOptions<'_>) -> Result<Report> {
        placed(Place::Local);
        let run: RunId = options.run_id.parse()?;
        if let Some(upstream) = self.life.world.tables(|tables, _| tables.sources[job_no(job)]) {
            self.check_upstream(run.trigger(), job, upstream);
        }
        for number in 1..=ATTEMPTS {
            if let Some(outcome) = self.attempt(&run, number, &options).await? {
                return Ok(report(job, outcome, number));
            }
        }
        Err(Error::conflict("overtaken"))
    }

    async fn committed(&self, run: &RunId, _: DateTime<Utc>) -> Result<Option<Report>> {
        if self.has(Bug::NoLookUp) {
            return Ok(None);
        }
        let found = self.find(job_no(run.job()), run).await?;
        Ok(found.map(|version| report(run.job(), Outcome::Committed { version }, 1)))
    }

    async fn registered(&self, report: Report) -> Report {
        report
    }
}

impl Model {
    /// A run starts when its upstream has succeeded, and that is recorded; by whichever driver started it.
    fn check_upstream(&self, trigger: &TriggerId, job: &TableName, upstream: JobNo) {
        let upstream = job_name(upstream);
        let records = records(&self.life.world.memory, trigger);
        if !records.iter().any(|record| record.job == upstream && record.state.is_success()) {
            self.life.world.violated(Violation(format!("trigger {trigger}: {job} begins before its upstream")));
        }
    }
}

/// Whether another driver has gone on, or the run's end is recorded already.
fn is_superseded(life: &Life, run: &str) -> bool {
    let run: RunId = run.parse().unwrap();
    let memory = &life.world.memory;
    let newest = records(memory, run.trigger()).into_iter().rfind(|record| record.job == *run.job());
    newest_epoch(memory, run.trigger()) > life.epoch() || newest.is_some_and(|record| record.state.is_final())
}

fn report(job: &TableName, outcome: Outcome, attempt: u32) -> Report {
    Report {
        job: job.clone(),
        outcome,
        mode: Mode::Incremental,
        place: Place::Local,
        intervals: IntervalSet::default(),
        inputs: Vec::new(),
        counts: RunCounts::default(),
        expectations: Vec::new(),
        rejected: Vec::new(),
        notes: Vec::new(),
        warnings: Vec::new(),
        attempt,
    }
}
