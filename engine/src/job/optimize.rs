//! Merges small files of a table: the same rows in the same order, in one commit that changes no data.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use deltalake_core::kernel::Add;
use futures::{StreamExt, TryStreamExt};
use pulse_core::name::TableName;
use pulse_core::{Error, Result};
use serde_json::json;
use uuid::Uuid;

use super::Workbench;
use super::replace::write;
use crate::error::from_datafusion;
use crate::sink::SinkSpec;
use crate::source::delta::{DeltaScan, by_leading_column};
use crate::table::{Commit, CommitOutcome, DataFile, OPTIMIZED_TAG, Removal, RowChange, Snapshot, Table};

/// Result of an optimization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Optimized {
    /// `None` if there was nothing to merge.
    pub version: Option<u64>,
    pub files_removed: usize,
    pub bytes_removed: u64,
    pub files_added: usize,
    pub bytes_added: u64,
}

/// Merges small files that are adjacent in the table's order, one storage partition after the other.
///
/// # Errors
/// `Invalid` when the table does not exist or has writer features that we do not support, `Conflict` when others
/// removed its files at every attempt, `Data` when rows would be lost; and those of any run.
pub async fn optimize(bench: &Workbench, name: &TableName, target_bytes: u64, now: DateTime<Utc>) -> Result<Optimized> {
    let (done, _) = optimize_where(bench, name, target_bytes, now, &|bins| bins).await?;
    Ok(done)
}

/// Chooses the groups of files to rewrite.
pub(super) type Choice<'a> = &'a (dyn Fn(Vec<Bin>) -> Vec<Bin> + Sync);

/// As [`optimize`], for chosen groups, which it returns.
///
/// # Errors
/// As [`optimize`].
pub(super) async fn optimize_where(
    bench: &Workbench,
    name: &TableName,
    target_bytes: u64,
    now: DateTime<Utc>,
    choice: Choice<'_>,
) -> Result<(Optimized, Vec<Bin>)> {
    if name.table().ends_with("__quarantine") {
        return Err(Error::invalid(format!(
            "table {name}: runs replace quarantined rows file by file; optimize its table"
        )));
    }
    let table = bench.lake.table(name)?;
    let mut overtaken = String::new();
    for _ in 0..bench.options.attempts {
        let Some(snapshot) = table.snapshot(None).await? else {
            return Err(Error::invalid(format!(
                "table {name} does not exist in {}; `pulse table list` shows what does",
                bench.lake.root()
            )));
        };
        let bins = choice(bins(&snapshot, target_bytes));
        if bins.is_empty() {
            return Ok((Optimized::default(), bins));
        }
        table.refuse_unwritable(&snapshot, RowChange::Kept)?;
        let optimization = Optimization { bench, table: &table, snapshot: &snapshot, target_bytes, now };
        let files = bins.iter().map(|bin| bin.files.clone()).collect();
        match optimization.commit(files).await? {
            Ok(done) => return Ok((done, bins)),
            Err(reason) => overtaken = reason,
        }
    }
    Err(Error::conflict(format!(
        "table {name}: {} attempts to optimize were overtaken by runs ({overtaken}); try again when it is written less",
        bench.options.attempts
    )))
}

struct Optimization<'a> {
    bench: &'a Workbench,
    table: &'a Table,
    snapshot: &'a Snapshot,
    target_bytes: u64,
    now: DateTime<Utc>,
}

impl Optimization<'_> {
    /// Returns the reason if another commit was first.
    async fn commit(&self, bins: Vec<Vec<DataFile>>) -> Result<std::result::Result<Optimized, String>> {
        let run_id = format!("optimize-{}", Uuid::new_v4());
        let at_once = (self.bench.state.config().target_partitions() / 2).max(1);
        // Not mapped in the stream: a closure there would not be `Send` for every lifetime.
        let rewrites: Vec<_> = bins.iter().map(|bin| self.rewrite(&run_id, bin)).collect();
        let adds: Vec<Add> = futures::stream::iter(rewrites).buffered(at_once).try_concat().await?;
        let removes: Vec<DataFile> = bins.into_iter().flatten().collect();
        let bytes_added = adds.iter().map(|add| u64::try_from(add.size).unwrap_or_default()).sum();
        let done = Optimized {
            version: None,
            files_removed: removes.len(),
            bytes_removed: removes.iter().map(|file| file.bytes).sum(),
            files_added: adds.len(),
            bytes_added,
        };
        let commit = Commit {
            run_id,
            adds,
            removes,
            read_table: Removal::Moved,
            transactions: Vec::new(),
            details: BTreeMap::from([
                ("pulse.mode".to_owned(), json!("optimize")),
                ("pulse.targetBytes".to_owned(), json!(self.target_bytes)),
            ]),
            schema: Arc::clone(&self.snapshot.schema),
            partition_by: self.snapshot.partition_by.clone(),
            whole: None,
            at: self.now.timestamp_millis(),
        };
        match self.table.commit(Some(self.snapshot), &commit, &self.bench.options.commit).await? {
            CommitOutcome::Committed { version }
            | CommitOutcome::AlreadyCommitted { version }
            | CommitOutcome::CommittedByAnother { version } => Ok(Ok(Optimized { version: Some(version), ..done })),
            CommitOutcome::Conflict { version, reason } => {
                self.table.discard(&commit.adds).await;
                Ok(Err(format!("version {version}: {reason}")))
            }
        }
    }

    /// Rewrites the rows of one bin to new files.
    async fn rewrite(&self, run_id: &str, bin: &[DataFile]) -> Result<Vec<Add>> {
        let doing = format!("{}: optimize", self.table.name());
        let files = bin.to_vec();
        let scan = DeltaScan::of_files(
            self.table.clone(),
            &self.snapshot.schema,
            &self.snapshot.partition_by,
            files,
            u64::MAX,
        )
        .in_one_task();
        let columns: Vec<String> = self.snapshot.schema.fields().iter().map(|field| field.name().clone()).collect();
        let rows = LogicalPlanBuilder::scan("optimized", provider_as_source(Arc::new(scan)), None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|e| from_datafusion(&doing, e))?;
        let url = self.table.url().to_string();
        let spec = SinkSpec {
            run_id: run_id.to_owned(),
            table: url.clone(),
            columns,
            partition_by: self.snapshot.partition_by.clone(),
            order: bin.first().map(|file| file.order.clone()).unwrap_or_default(),
            // A bin yields at most one file, unless its files overlap.
            target_file_bytes: self.target_bytes,
            // There are no checks, so nothing is quarantined.
            quarantine: url,
            checks: Vec::new(),
            unique: None,
            grain: None,
        };
        let staged = write(self.bench, &doing, rows, spec, &|_| ()).await?;
        let expected: Option<u64> = bin.iter().map(DataFile::rows).sum();
        if expected.is_some_and(|expected| expected != staged.total.rows_written) {
            self.table.discard(&staged.total.files).await;
            return Err(Error::data(format!(
                "{doing}: files hold {} rows where the log says {}; nothing was committed",
                staged.total.rows_written,
                expected.unwrap_or_default()
            )));
        }
        Ok(staged.total.files.into_iter().map(|add| self.moved(add)).collect())
    }

    fn moved(&self, add: Add) -> Add {
        let mut tags: HashMap<String, Option<String>> = add.tags.unwrap_or_default();
        tags.insert(OPTIMIZED_TAG.to_owned(), Some(self.target_bytes.to_string()));
        Add { data_change: false, tags: Some(tags), ..add }
    }
}

/// Values of the partition columns, by name.
pub(super) type Partition = Vec<(String, Option<String>)>;

/// Files to rewrite together: at least two, and none that an optimization for the same size already left unchanged.
#[derive(Debug, Clone)]
pub(super) struct Bin {
    pub(super) partition: Partition,
    pub(super) files: Vec<DataFile>,
}

/// Whether a file is large enough to stay unchanged.
pub(super) fn is_large(bytes: u64, target_bytes: u64) -> bool {
    bytes >= target_bytes / 4 * 3
}

fn bins(snapshot: &Snapshot, target_bytes: u64) -> Vec<Bin> {
    let mut alike: BTreeMap<(Partition, Vec<String>), Vec<DataFile>> = BTreeMap::new();
    for file in &snapshot.files {
        let mut values: Partition = file.partition_values.clone().into_iter().collect();
        values.sort();
        alike.entry((values, file.order.clone())).or_default().push(file.clone());
    }
    let bins = |((partition, _), files): ((Partition, _), _)| {
        let bins = bins_of(&snapshot.schema, files, target_bytes).into_iter();
        bins.map(move |files| Bin { partition: partition.clone(), files })
    };
    alike.into_iter().flat_map(bins).collect()
}

/// Bins of the files of one storage partition with the same order.
fn bins_of(schema: &arrow::datatypes::Schema, files: Vec<DataFile>, target_bytes: u64) -> Vec<Vec<DataFile>> {
    let mut bins: Vec<Vec<DataFile>> = Vec::new();
    let mut open: Vec<DataFile> = Vec::new();
    let size = |files: &[DataFile]| files.iter().map(|file| file.bytes).sum::<u64>();
    for cluster in by_leading_column(schema, files) {
        let bytes = size(&cluster);
        // A single large file stays unchanged, and so ends a run of small ones.
        let large = cluster.len() == 1 && is_large(bytes, target_bytes);
        if large || size(&open) + bytes > target_bytes {
            bins.push(std::mem::take(&mut open));
        }
        if !large {
            open.extend(cluster);
        }
    }
    bins.push(open);
    let settled = |file: &DataFile| file.optimized == Some(target_bytes);
    bins.into_iter().filter(|bin| bin.len() > 1 && !bin.iter().all(settled)).collect()
}

#[cfg(test)]
mod tests;
