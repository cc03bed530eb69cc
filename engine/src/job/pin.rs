//! Pins the versions and files that a run reads, before it reads anything. A run is a function of these.

mod files;
mod gone;
mod history;
mod increments;
mod inputs;
mod own;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use pulse_core::decide::{Asked, Bookmarks, IntervalRules, JobRules, Reach, RunPlan, Since, TableMark, decide};
use pulse_core::fnv::hash_of;
use pulse_core::interval::parse_stamp;
use pulse_core::interval_set::IntervalSet;
use pulse_core::manifest::{IntervalUnit, Read, Sink, Source};
use pulse_core::meaning::Meaning;
use pulse_core::name::TableName;
use pulse_core::project::Job;
use pulse_core::sql::EXTERNAL;
use pulse_core::{Error, Result};

use super::Workbench;
use super::calls::changed_functions;
use super::changes::files_read;
use super::external;
use super::increment::Increment;
use super::interval_scope::{IntervalScope, columns_within, times};
use super::refers::{self, Referred};
use crate::error::from_datafusion;
use crate::source::file::{RawFiles, ScanOptions, SourceFile};
use crate::store::{store_path, store_url};
use crate::table::{Changes, DataFile, Snapshot, Table};
use increments::increment_of;
use inputs::Inputs;
use own::OwnTables;

pub use files::PinnedFiles;
pub(super) use gone::{RowsOfFiles, count_rows};
pub(super) use own::{named, named_version};

/// The requested change of the table.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    Run(&'a Asked),
    /// Remove the rows of these deleted files, given as `raw.source/path` or the path alone.
    Forget(&'a [String]),
}

/// How much of the table a run computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Nothing changed since the last commit.
    Unchanged,
    /// Only the rows affected by the changes.
    Incremental,
    /// All rows, for the given reason; replaces the table's content, except in sinks that only append.
    Full { reason: String },
}

impl From<&RunPlan> for Mode {
    fn from(plan: &RunPlan) -> Self {
        match plan {
            RunPlan::Nothing => Self::Unchanged,
            RunPlan::Changes { .. } | RunPlan::Observe { .. } => Self::Incremental,
            RunPlan::Rebuild { reason, .. } => Self::Full { reason: reason.clone() },
        }
    }
}

/// One table at its pinned version.
#[derive(Debug, Clone)]
pub struct PinnedTable {
    pub table: Table,
    pub read: Source,
    pub now: Snapshot,
    /// The version that the last run read; `None` for a first run, or if it can no longer be read.
    pub before: Option<Snapshot>,
    /// Columns to compare between the two versions; `None` for all.
    pub(super) compared: Option<Vec<String>>,
    /// The column by which the query filters this table's rows by interval.
    pub(super) interval_column: Option<String>,
    /// Changes from `before` to `now`; without `before`, all of `now` is added.
    changes: Changes,
}

impl PinnedTable {
    /// Which of its rows the run must read. Without `by`, the target rows that derive from removed rows are unknown.
    fn reads(&self) -> Read {
        if self.reads_added_only() && !self.changes.removed.is_empty() { Read::All } else { self.read.read }
    }

    /// Whether a run that reads changes sees the added rows alone, and not all rows of their groups.
    pub(super) fn reads_added_only(&self) -> bool {
        self.read.by.is_empty() && self.read.lookback.is_none()
    }

    /// Whether added rows are compared with removed ones.
    fn is_compared(&self) -> bool {
        self.read.read == Read::Changed && !self.read.by.is_empty() && !self.changes.removed.is_empty()
    }

    pub fn added(&self) -> Vec<DataFile> {
        self.changes.added.clone()
    }

    pub fn removed(&self) -> Vec<DataFile> {
        self.changes.removed.clone()
    }

    pub fn changed(&self) -> bool {
        self.before.is_none() || !self.changes.is_empty()
    }
}

/// Everything that decides what a run will do.
#[derive(Debug, Clone)]
pub struct Pinned {
    pub table: Table,
    pub target: Option<Snapshot>,
    pub quarantine_table: Table,
    /// Its newest version, including writes of others.
    pub quarantine: Option<Snapshot>,
    /// The version that belongs to the target, on which the run builds.
    pub own_quarantine: Option<Snapshot>,
    pub files: BTreeMap<String, PinnedFiles>,
    pub tables: BTreeMap<TableName, PinnedTable>,
    /// The tables that `refers` expectations check against; empty if nothing is written.
    pub referred: Referred,
    /// The decision on what to read and replace.
    pub plan: RunPlan,
    pub mode: Mode,
    /// Which rows an incremental run of a job without intervals replaces.
    pub(super) increment: Increment,
    /// Whether one evaluation of the query may compute several intervals.
    pub(super) decomposes: bool,
    /// Bookmarks of the last run.
    pub(super) known: Bookmarks,
    /// Bookmarks that the commit sets; bookmarks of files are added by [`Pinned::with_bookmarks_of_files`].
    pub transactions: Vec<(String, i64)>,
    /// Only for a preview: sources whose databases may have changed, which a run would land first.
    pub databases: Vec<String>,
}

impl Pinned {
    /// Upper bound of the bytes of source files that the run reads.
    pub fn bytes(&self) -> u64 {
        let files = self.files.values().flat_map(|files| &files.read).map(|file| file.size);
        let of_tables = self.tables.values().flat_map(|table| files_read(self, table)).map(|file| file.bytes);
        files.sum::<u64>() + of_tables.sum::<u64>()
    }

    /// Warnings about the sources.
    pub fn warnings(&self) -> Vec<String> {
        let files = self.files.values().flat_map(|files| files.warnings.clone());
        let external = self.tables.iter().filter(|(name, _)| name.layer() == EXTERNAL);
        files.chain(external.filter_map(|(_, pinned)| external::warning(&pinned.now, &pinned.table))).collect()
    }

    /// Adds the bookmarks of files, for which it reads new local files. A run that does not commit needs none.
    ///
    /// # Errors
    /// `Conflict` when a file has changed since it was listed, otherwise by the kind of the store's error.
    pub(super) async fn with_bookmarks_of_files(mut self, bench: &Workbench) -> Result<Self> {
        if self.mode != Mode::Unchanged {
            for (name, pinned) in &self.files {
                let bookmarks = pinned.bookmarks(bench, name).await?;
                self.transactions.retain(|(id, _)| !bookmarks.contains_key(id));
                self.transactions.extend(bookmarks.into_iter().filter(|(id, mark)| !self.known.has(id, *mark)));
            }
        }
        Ok(self)
    }
}

/// Reads logs and lists folders; reads data only of local files that may have changed since the last run.
///
/// # Errors
/// `Invalid` when a source does not exist or cannot be read, `Data` for a broken log or when rows would be lost.
pub async fn pin(bench: &Workbench, job: &Job, asked: &Asked, now: DateTime<Utc>) -> Result<Pinned> {
    pin_for(bench, job, Wanted::Run(asked), now).await
}

/// As [`pin`].
pub(super) async fn pin_for(bench: &Workbench, job: &Job, wanted: Wanted<'_>, now: DateTime<Utc>) -> Result<Pinned> {
    let own = OwnTables::pinned(bench, job).await?;
    let unit = job.manifest.interval.filter(|_| job.query.uses_interval());
    let start = job.manifest.start.as_deref().map(parse_stamp).transpose()?.unwrap_or_default();
    let known = own.bookmarks(unit.map(|_| start)).await?;
    let mut inputs = Inputs::pinned(bench, job, &known).await?;
    let facts = match unit {
        Some(unit) => interval_facts(bench, job, unit, &inputs).await?,
        None => IntervalFacts::default(),
    };
    match unit {
        Some(_) => inputs.name_interval_columns(&facts.scope),
        None => inputs.name_compared_columns(bench, job).await?,
    }
    let mut observed = inputs.observed(bench, &known, unit);
    history::read_whole_histories(bench, job, &inputs, &mut observed).await?;
    let mut increment = Increment::default();
    if unit.is_none() && own.target.is_some() {
        match increment_of(bench, job, &observed, &inputs).await? {
            Ok(proven) => increment = proven,
            Err(reason) => observed.unproven = Some(reason),
        }
    }
    let query = inputs.plan(bench, job).await?;
    let meaning = Meaning::of(&bench.project, job)?.calling(changed_functions(&bench.state, job, &query));
    let partitions_within = facts.partitions_within;
    let interval =
        unit.map(|unit| IntervalRules { unit, start, partitions_within, has_quarantine: own.has_quarantine() });
    let rules = JobRules { sink: &job.manifest.sink, interval, meaning: &meaning };
    let plan = match wanted {
        Wanted::Run(asked) => gone::refuse_empty_root(&inputs.listings, &known, &observed, asked)
            .and_then(|()| decide(rules, own.target.as_ref().map(|_| &known), &observed, asked, now)),
        Wanted::Forget(names) => {
            let gone = known.gone(&observed);
            gone::named(job, &known, names, &gone)
                .and_then(|files| pulse_core::decide::forget(&known, &observed, &files))
        }
    };
    let plan = match plan {
        Err(refusal) => Err(of_job(job, gone::counted(bench, &own, &known.gone(&observed), refusal).await)),
        plan => plan,
    }?;
    let transactions = match wanted {
        Wanted::Run(_) if plan == RunPlan::Nothing => known.after(&plan, &meaning, &observed),
        Wanted::Run(_) => {
            let recorded = known.recorded_after(job.manifest.sink.remembers(), now);
            known.after(&plan, &meaning, &observed).into_iter().chain(recorded).collect()
        }
        Wanted::Forget(_) => Bookmarks::after_forgetting(&plan),
    };
    let referred = match &plan {
        RunPlan::Nothing => Referred::new(),
        RunPlan::Changes { .. } | RunPlan::Observe { .. } | RunPlan::Rebuild { .. } => {
            refers::pin(bench, job, &inputs.tables).await?
        }
    };
    let (files, tables) = inputs.read_by(&plan, &known.gone(&observed));
    let OwnTables { table, target, quarantine_table, quarantine, own_quarantine } = own;
    let mode = Mode::from(&plan);
    let decomposes = facts.scope.decomposes;
    let mut pinned = Pinned {
        table,
        target,
        quarantine_table,
        quarantine,
        own_quarantine,
        files,
        tables,
        referred,
        plan,
        mode,
        increment,
        decomposes,
        known,
        transactions,
        databases: Vec::new(),
    };
    gone::warn(bench, &mut pinned).await?;
    Ok(pinned)
}

fn of_job(job: &Job, error: Error) -> Error {
    Error::new(error.kind(), format!("job {}: {}", job.name, error.message()))
}

/// The query's proven properties of intervals.
#[derive(Default)]
struct IntervalFacts {
    scope: IntervalScope,
    partitions_within: bool,
}

async fn interval_facts(bench: &Workbench, job: &Job, unit: IntervalUnit, inputs: &Inputs) -> Result<IntervalFacts> {
    let plan = inputs.plan(bench, job).await?;
    let failed = |e| from_datafusion(&job.query_path(), e);
    let partitions_within = match &job.manifest.sink {
        Sink::OverwritePartitions { by } => columns_within(&plan, by, unit).map_err(failed)?,
        Sink::Append {} | Sink::Overwrite {} | Sink::Merge { .. } | Sink::Scd2(_) | Sink::Bitemporal(_) => true,
    };
    Ok(IntervalFacts { scope: IntervalScope::of(&plan, unit).map_err(failed)?, partitions_within })
}

/// A table over some files of a source.
pub(super) fn raw_files(bench: &Workbench, name: &str, root: &url::Url, files: Vec<SourceFile>) -> Result<RawFiles> {
    let source = bench.project.sources.files.get(name);
    let source = source.ok_or_else(|| Error::internal(format!("source `raw.{name}` is not declared")))?;
    let scan = ScanOptions {
        store_url: store_url(root)?,
        root: store_path(root)?,
        target_partition_bytes: bench.options.target_partition_bytes,
        read: bench.options.read.clone(),
    };
    Ok(RawFiles::new(Arc::new(source.clone()), files, scan))
}

async fn pin_table(bench: &Workbench, job: &Job, name: &TableName, known: Option<TableMark>) -> Result<PinnedTable> {
    let table = bench.readable(name).await?;
    let now = match bench.project.external(name) {
        Some(declared) => external::existing(&table, declared).await.map_err(|e| of_job(job, e))?,
        None => table.snapshot(None).await?.ok_or_else(|| {
            Error::invalid(format!(
                "job {} reads table {name}, which does not exist in {}; run its job first: pulse run {name}",
                job.name,
                bench.lake.root()
            ))
        })?,
    };
    let read = job.manifest.source.get(&name.to_string()).cloned().unwrap_or(Source {
        read: Read::All,
        by: Vec::new(),
        lookback: None,
    });
    let id = table_id_hash(&now);
    let before = match known {
        // Versions before and after a table was recreated cannot be compared.
        Some(known) if known.id.is_some_and(|known| known != id) => None,
        Some(known) if known.version == now.version => Some(now.clone()),
        Some(known) if known.version > now.version => None,
        Some(known) => table.past_snapshot(known.version).await?,
        None => None,
    };
    let changes = match &before {
        // A changed type changes the value in every row. With another partitioning, columns are located differently in
        // files.
        Some(before) if !same_types(before, &now) || !found_alike(before, &now) => None,
        Some(before) => table.changes(before, &now).await?,
        None => None,
    };
    Ok(match changes {
        Some(changes) => PinnedTable { table, read, now, before, compared: None, interval_column: None, changes },
        None => {
            let changes = Changes { added: now.files.clone(), removed: Vec::new() };
            PinnedTable { table, read, now, before: None, compared: None, interval_column: None, changes }
        }
    })
}

/// Whether the common columns of both versions have the same types.
fn same_types(before: &Snapshot, now: &Snapshot) -> bool {
    before.schema.fields().iter().all(|known| {
        now.schema.field_with_name(known.name()).map_or(true, |field| field.data_type() == known.data_type())
    })
}

/// Whether the files of both are read in the same way.
fn found_alike(before: &Snapshot, now: &Snapshot) -> bool {
    same_columns(&before.partition_by, &now.partition_by) && now.physical.finds_alike(&before.physical)
}

fn table_id_hash(snapshot: &Snapshot) -> i64 {
    hash_of(&[snapshot.id()])
}

/// The bookmark of this version of a table.
pub fn mark_of(snapshot: &Snapshot) -> TableMark {
    TableMark { version: snapshot.version, id: Some(table_id_hash(snapshot)) }
}

impl PinnedTable {
    fn mark(&self) -> TableMark {
        mark_of(&self.now)
    }

    fn since(&self, known: Option<TableMark>) -> Since {
        if known.is_none() || self.before.is_none() {
            return Since::Unknown;
        }
        if self.changes.is_empty() {
            return Since::Nothing;
        }
        let changed: Vec<&DataFile> = self.changes.added.iter().chain(&self.changes.removed).collect();
        let reach = self.interval_column.as_ref().and_then(|column| {
            let data_type = self.now.schema.field_with_name(column).ok()?.data_type();
            times(&changed, column, data_type)
        });
        Since::Changed(reach.map_or(Reach::Anything, Reach::Within))
    }
}

/// The bookmarks in a table's log. `start` is that of the job's first interval, which older builds did not store.
///
/// # Errors
/// As [`Table::bookmarks`].
pub async fn bookmarks(table: &Table, snapshot: &Snapshot, start: Option<DateTime<Utc>>) -> Result<Bookmarks> {
    Ok(Bookmarks::new(table.bookmarks(snapshot).await?, start))
}

/// The intervals of [`bookmarks`].
pub fn computed_intervals(snapshot: &Snapshot, start: Option<DateTime<Utc>>) -> IntervalSet {
    Bookmarks::new(snapshot.transactions.clone(), start).intervals
}

pub(super) fn same_columns(left: &[String], right: &[String]) -> bool {
    left.len() == right.len() && left.iter().all(|column| right.contains(column))
}
