//! What a run reads: versions and files, pinned before anything is read. A run is a function of these.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hasher as _;

use chrono::{DateTime, Utc};
use pulse_core::commit::pair::{NAMED_ID, Named, SETTLES_ID};
use pulse_core::interval::{Interval, parse_stamp};
use pulse_core::manifest::{Manifest, Read, Sink, Source};
use pulse_core::name::TableName;
use pulse_core::project::Job;
use pulse_core::{Error, ErrorKind, Result};

use super::Workbench;
use crate::source::file::{SourceFile, list};
use crate::store::{folder_url, store_path};
use crate::table::{Changes, DataFile, Snapshot, Table};

/// How much of the table a run computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Nothing changed since the last commit.
    Unchanged,
    /// Only what follows from the changes.
    Incremental,
    /// All rows, for the reason given; the table's content is replaced, except what is only ever appended.
    Full { reason: String },
}

/// One source of files.
#[derive(Debug, Clone)]
pub struct PinnedFiles {
    pub root: url::Url,
    /// Files to read, in the order of feed and path.
    pub new: Vec<SourceFile>,
    /// Paths among `new` that were read before with other content.
    pub replaced: Vec<String>,
    /// All files of the source at this moment.
    pub total: usize,
    pub warnings: Vec<String>,
}

/// One table at its pinned version.
#[derive(Debug, Clone)]
pub struct PinnedTable {
    pub table: Table,
    pub read: Source,
    pub now: Snapshot,
    /// The version that the last run has read; none for a first run or when it can no longer be read.
    pub before: Option<Snapshot>,
    /// From `before` to `now`; without `before`, all of `now` is added.
    changes: Changes,
}

impl PinnedTable {
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
    /// Its newest version, whoever wrote it.
    pub quarantine: Option<Snapshot>,
    /// The version that belongs to the target: what the run goes out from.
    pub own_quarantine: Option<Snapshot>,
    pub files: BTreeMap<String, PinnedFiles>,
    pub tables: BTreeMap<TableName, PinnedTable>,
    pub interval: Option<Interval>,
    pub mode: Mode,
    /// Bookmarks that the commit sets.
    pub transactions: Vec<(String, i64)>,
}

impl Pinned {
    /// Bytes of the files that the run reads of its sources, at most.
    pub fn bytes(&self) -> u64 {
        let files = self.files.values().flat_map(|files| &files.new).map(|file| file.size);
        files.sum::<u64>() + self.tables.values().map(|table| self.table_bytes(table)).sum::<u64>()
    }

    fn table_bytes(&self, table: &PinnedTable) -> u64 {
        match (&self.mode, table.read.read) {
            (Mode::Unchanged, _) => 0,
            (Mode::Incremental, Read::Changed) => table.added().iter().map(|file| file.bytes).sum(),
            (Mode::Incremental, Read::All) | (Mode::Full { .. }, _) => table.now.bytes(),
        }
    }
}

const JOB_ID: &str = "pulse/job";
const INTERVAL_ID: &str = "pulse/interval";

/// Reads logs and lists folders; no data.
///
/// # Errors
/// `Invalid` when a source does not exist or cannot be read, `Data` for a broken log.
pub async fn pin(bench: &Workbench, job: &Job, asked: Option<Interval>, now: DateTime<Utc>) -> Result<Pinned> {
    let table = bench.lake.table(&job.name)?;
    let quarantine_table = bench.lake.table(&job.name.quarantine())?;
    let target = table.snapshot(None).await?;
    let quarantine = quarantine_table.snapshot(None).await?;
    let own_quarantine = own_quarantine(&quarantine_table, target.as_ref(), quarantine.as_ref()).await?;
    let known = target.as_ref().map(|target| target.transactions.clone()).unwrap_or_default();
    let version = job_version(job)?;
    let feeds = feed_versions(bench, job)?;
    let differs = |(id, version): &(String, i64)| known.get(id).is_some_and(|known| known != version);
    let rebuilt = match &target {
        Some(_) if known.get(JOB_ID) != Some(&version) => Some("the job changed"),
        Some(_) if feeds.iter().any(differs) => Some("sources.toml changed"),
        _ => None,
    };
    let bookmarks = if rebuilt.is_some() { HashMap::new() } else { known };

    let mut files = BTreeMap::new();
    for name in job.query.files() {
        files.insert(name.to_owned(), pin_files(bench, name, &bookmarks).await?);
    }
    let mut tables = BTreeMap::new();
    for name in job.query.tables() {
        let pinned = pin_table(bench, job, &name, &bookmarks).await?;
        tables.insert(name, pinned);
    }
    let interval = interval(job, asked, &bookmarks, now)?;
    let mode = match (&target, rebuilt) {
        (None, _) => Mode::Full { reason: "the table does not exist yet".to_owned() },
        (_, Some(what)) => Mode::Full { reason: what.to_owned() },
        _ => mode(job, &files, &tables, interval),
    };
    let mut transactions = transactions(version, &files, &tables, interval);
    transactions.extend(feeds);
    Ok(Pinned {
        table,
        target,
        quarantine_table,
        quarantine,
        own_quarantine,
        files,
        tables,
        interval,
        mode,
        transactions,
    })
}

/// What belongs to the target, where it says so; else the newest version, as also where the quarantine was removed since.
async fn own_quarantine(
    table: &Table,
    target: Option<&Snapshot>,
    newest: Option<&Snapshot>,
) -> Result<Option<Snapshot>> {
    Ok(match (named(target), newest) {
        (Named::Nothing, _) | (_, None) => None,
        (Named::Unknown, Some(newest)) => Some(newest.clone()),
        (Named::Version(version), Some(newest)) => {
            Some(named_version(table, newest, version).await?.unwrap_or_else(|| newest.clone()))
        }
    })
}

/// Which version of its quarantine belongs to a table.
pub(super) fn named(target: Option<&Snapshot>) -> Named {
    Named::from_number(target.and_then(|target| target.transactions.get(NAMED_ID)).copied())
}

/// Whether runs have put other rows there since `version`. What others do to a quarantine, such as to rearrange it or to take
/// out what they have dealt with, stays.
async fn written_by_runs(table: &Table, newest: &Snapshot, version: u64) -> Result<bool> {
    for later in (version + 1..=newest.version).rev() {
        if let Some(transactions) = table.run_transactions(later).await? {
            let settles = transactions.get(SETTLES_ID).copied();
            return Ok(Named::from_number(settles) != Named::Version(version));
        }
    }
    Ok(false)
}

/// A version of the quarantine, with what nobody's run did to it since; none when it was removed and made anew, or when its log does not reach back so far.
///
/// # Errors
/// As of the store; a log that cannot be read is told and no error.
pub(super) async fn named_version(table: &Table, newest: &Snapshot, version: u64) -> Result<Option<Snapshot>> {
    match version.cmp(&newest.version) {
        Ordering::Equal => Ok(Some(newest.clone())),
        Ordering::Greater => Ok(None),
        Ordering::Less if !written_by_runs(table, newest, version).await? => Ok(Some(newest.clone())),
        Ordering::Less => match table.snapshot(Some(version)).await {
            Err(error) if error.kind() == ErrorKind::Data => {
                log::warn!("what belongs in table {} is not known any more: {error}", table.name());
                Ok(None)
            }
            other => other,
        },
    }
}

async fn pin_files(bench: &Workbench, name: &str, bookmarks: &HashMap<String, i64>) -> Result<PinnedFiles> {
    let source = bench
        .project
        .sources
        .files
        .get(name)
        .ok_or_else(|| Error::internal(format!("source `raw.{name}` is referenced and not declared")))?;
    let base = std::env::current_dir().map_err(|e| Error::unavailable("no current folder").with_source(e))?;
    let root = folder_url(&source.root, &base)?;
    let store = bench.lake.stores().client(&root)?;
    let listing = list(store.as_ref(), &store_path(&root)?, source).await?;
    let total = listing.files.len();
    let is_new = |file: &SourceFile| bookmarks.get(&file_id(name, &file.path)) != Some(&file.fingerprint);
    let new: Vec<SourceFile> = listing.files.into_iter().filter(is_new).collect();
    let replaced = new.iter().map(|file| file.path.clone()).filter(|path| bookmarks.contains_key(&file_id(name, path)));
    Ok(PinnedFiles { root, replaced: replaced.collect(), new, total, warnings: listing.warnings })
}

async fn pin_table(
    bench: &Workbench,
    job: &Job,
    name: &TableName,
    bookmarks: &HashMap<String, i64>,
) -> Result<PinnedTable> {
    let table = bench.lake.table(name)?;
    let Some(now) = table.snapshot(None).await? else {
        return Err(Error::invalid(format!(
            "job {} reads table {name}, which does not exist in {}; run its job first: pulse run {name}",
            job.name,
            bench.lake.root()
        )));
    };
    let read = job.manifest.source.get(&name.to_string()).cloned().unwrap_or(Source {
        read: Read::All,
        by: Vec::new(),
        lookback: None,
    });
    let before = match bookmarks.get(&table_id(name)).and_then(|version| u64::try_from(*version).ok()) {
        Some(version) if version == now.version => Some(now.clone()),
        // A version whose log is gone cannot be compared with; the run then reads everything.
        Some(version) => table.past_snapshot(version).await?,
        None => None,
    };
    let changes = match &before {
        Some(before) => table.changes(before, &now).await?,
        None => None,
    };
    Ok(match changes {
        Some(changes) => PinnedTable { table, read, now, before, changes },
        None => {
            let changes = Changes { added: now.files.clone(), removed: Vec::new() };
            PinnedTable { table, read, now, before: None, changes }
        }
    })
}

fn mode(
    job: &Job,
    files: &BTreeMap<String, PinnedFiles>,
    tables: &BTreeMap<TableName, PinnedTable>,
    interval: Option<Interval>,
) -> Mode {
    let mut changed = interval.is_some() || files.values().any(|files| !files.new.is_empty());
    for (name, table) in tables {
        match (table.read.read, table.changed()) {
            (_, false) => {}
            (Read::All, true) if interval.is_none() => {
                return Mode::Full { reason: format!("{name} changed and is read whole") };
            }
            (Read::All, true) => {}
            (Read::Changed, true) if table.before.is_none() => {
                return Mode::Full { reason: format!("{name} was not read before, or its last read version is gone") };
            }
            (Read::Changed, true) => changed = true,
        }
    }
    if let Some(reason) = apart(tables) {
        return Mode::Full { reason };
    }
    match (changed, &job.manifest.sink) {
        (false, _) => Mode::Unchanged,
        (true, Sink::Overwrite {}) => Mode::Full { reason: "the sink overwrites".to_owned() },
        (true, _) => Mode::Incremental,
    }
}

/// Why two sources that changed at once cannot be read by their changes: groups of one say nothing of those of the other.
fn apart(tables: &BTreeMap<TableName, PinnedTable>) -> Option<String> {
    let in_groups = |table: &PinnedTable| table.read.read == Read::Changed && !table.read.by.is_empty();
    let mut changed = tables.iter().filter(|(_, table)| in_groups(table) && table.changed());
    let (first, one) = changed.next()?;
    let (second, _) = changed.find(|(_, other)| !same_columns(&one.read.by, &other.read.by))?;
    Some(format!("{first} and {second} changed, which are read by different columns"))
}

fn interval(
    job: &Job,
    asked: Option<Interval>,
    bookmarks: &HashMap<String, i64>,
    now: DateTime<Utc>,
) -> Result<Option<Interval>> {
    let Some(unit) = job.manifest.interval.filter(|_| job.query.uses_interval()) else { return Ok(None) };
    if let Some(asked) = asked {
        asked.check_aligned(unit)?;
        return Ok(Some(asked));
    }
    let consumed = bookmarks.get(INTERVAL_ID).and_then(|micros| DateTime::from_timestamp_micros(*micros));
    let start = job.manifest.start.as_deref().map(parse_stamp).transpose()?.unwrap_or_default();
    Ok(Interval::pending(unit, start, consumed, now))
}

fn transactions(
    version: i64,
    files: &BTreeMap<String, PinnedFiles>,
    tables: &BTreeMap<TableName, PinnedTable>,
    interval: Option<Interval>,
) -> Vec<(String, i64)> {
    let mut all = vec![(JOB_ID.to_owned(), version)];
    for (name, pinned) in files {
        all.extend(pinned.new.iter().map(|file| (file_id(name, &file.path), file.fingerprint)));
    }
    for (name, pinned) in tables {
        all.push((table_id(name), i64::try_from(pinned.now.version).unwrap_or(i64::MAX)));
    }
    all.extend(interval.map(|interval| (INTERVAL_ID.to_owned(), interval.end.timestamp_micros())));
    all
}

fn file_id(source: &str, path: &str) -> String {
    format!("pulse/file/{source}/{path}")
}

fn table_id(name: &TableName) -> String {
    format!("pulse/table/{name}")
}

/// Changes when the query or the manifest does, except for its words to people; the same in every process and build.
fn job_version(job: &Job) -> Result<i64> {
    let manifest = Manifest { owner: String::new(), description: String::new(), ..job.manifest.clone() };
    version_of(&[&as_json(&manifest)?, &job.query.text])
}

/// The contract of each feed that the job reads. Not where its files lie: a folder may move, and its files are known by what
/// they hold. A feed that is new has no version in the table and only brings new files.
fn feed_versions(bench: &Workbench, job: &Job) -> Result<Vec<(String, i64)>> {
    let mut versions = Vec::new();
    for name in job.query.files() {
        let Some(source) = bench.project.sources.files.get(name) else { continue };
        let columns = as_json(&source.columns)?;
        for (feed, contract) in &source.feed {
            versions.push((format!("pulse/feed/{name}/{feed}"), version_of(&[&columns, &as_json(contract)?])?));
        }
    }
    Ok(versions)
}

fn as_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::internal("a manifest is not JSON").with_source(e))
}

fn version_of(texts: &[&str]) -> Result<i64> {
    let mut hash = Fnv::default();
    texts.iter().for_each(|text| hash.write(text.as_bytes()));
    i64::try_from(hash.finish() & (u64::MAX >> 1)).map_err(|e| Error::internal("63 bits are no number").with_source(e))
}

/// FNV-1a: stable across releases, which the standard library's hasher does not promise.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

pub(super) fn same_columns(left: &[String], right: &[String]) -> bool {
    left.len() == right.len() && left.iter().all(|column| right.contains(column))
}
