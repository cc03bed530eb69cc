//! The current inputs of a job.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use pulse_core::Result;
use pulse_core::decide::{Bookmarks, Observed, ObservedTable, RunPlan};
use pulse_core::manifest::IntervalUnit;
use pulse_core::name::TableName;
use pulse_core::project::Job;

use super::files::{ListedFiles, PinnedFiles, list_files};
use super::{PinnedTable, gone, pin_table, raw_files};
use crate::job::Workbench;
use crate::job::external::with_one_nan;
use crate::job::interval_scope::IntervalScope;
use crate::job::query::{Sources, logical_plan};
use crate::job::used::used_columns;
use crate::source::delta::DeltaScan;

pub(super) struct Inputs {
    pub(super) listings: BTreeMap<String, ListedFiles>,
    pub(super) tables: BTreeMap<TableName, PinnedTable>,
}

impl Inputs {
    pub(super) async fn pinned(bench: &Workbench, job: &Job, known: &Bookmarks) -> Result<Self> {
        let mut listings = BTreeMap::new();
        for name in job.query.files() {
            listings.insert(name.to_owned(), list_files(bench, name, known).await?);
        }
        let mut tables = BTreeMap::new();
        for name in job.query.tables() {
            let pinned = pin_table(bench, job, &name, known.table(&name)).await?;
            tables.insert(name, pinned);
        }
        Ok(Self { listings, tables })
    }

    /// Sources for planning only: no files are listed.
    pub(super) fn sources(&self, bench: &Workbench) -> Result<Sources> {
        let mut sources = Sources::new();
        for (name, listing) in &self.listings {
            sources.insert(format!("raw.{name}"), Arc::new(raw_files(bench, name, &listing.root, Vec::new())?));
        }
        for (name, pinned) in &self.tables {
            let target = bench.options.target_partition_bytes;
            let scan = Arc::new(DeltaScan::new(pinned.table.clone(), &pinned.now, target));
            sources.insert(name.to_string(), with_one_nan(name, scan)?);
        }
        Ok(sources)
    }

    /// The query's plan over its sources.
    pub(super) async fn plan(&self, bench: &Workbench, job: &Job) -> Result<LogicalPlan> {
        logical_plan(&bench.state, job, &self.sources(bench)?).await
    }

    /// Ignores columns that the query does not use when rows are compared.
    pub(super) async fn name_compared_columns(&mut self, bench: &Workbench, job: &Job) -> Result<()> {
        if !self.tables.values().any(PinnedTable::is_compared) {
            return Ok(());
        }
        let used = used_columns(bench, job, &self.plan(bench, job).await?)?;
        for (name, pinned) in self.tables.iter_mut().filter(|(_, pinned)| pinned.is_compared()) {
            let used = used.get(&name.to_string()).into_iter().flatten();
            pinned.compared = Some(used.chain(&pinned.read.by).cloned().collect::<BTreeSet<_>>().into_iter().collect());
        }
        Ok(())
    }

    /// Sets the column by which each table is filtered by interval.
    pub(super) fn name_interval_columns(&mut self, scope: &IntervalScope) {
        for (name, pinned) in &mut self.tables {
            pinned.interval_column = scope.column(&name.to_string()).map(str::to_owned);
        }
    }

    /// Converts to the input of the decision.
    pub(super) fn observed(&self, bench: &Workbench, known: &Bookmarks, unit: Option<IntervalUnit>) -> Observed {
        let table = |(name, pinned): (&TableName, &PinnedTable)| {
            let observed = ObservedTable {
                mark: pinned.mark(),
                read: if unit.is_none() { pinned.reads() } else { pinned.read.read },
                by: pinned.read.by.clone(),
                since: pinned.since(known.table(name)),
            };
            (name.clone(), observed)
        };
        Observed {
            files: self.listings.iter().map(|(name, listing)| (name.clone(), listing.marks.clone())).collect(),
            on_missing: gone::on_missing(bench, &self.listings),
            tables: self.tables.iter().map(table).collect(),
            ..Observed::default()
        }
    }

    /// The inputs that a run with `plan` reads. `gone` are files that were read and no longer exist.
    pub(super) fn read_by(
        self,
        plan: &RunPlan,
        gone: &[String],
    ) -> (BTreeMap<String, PinnedFiles>, BTreeMap<TableName, PinnedTable>) {
        let read = |(name, listing): (String, ListedFiles)| (name.clone(), listing.read_by(&name, plan, gone));
        (self.listings.into_iter().map(read).collect(), self.tables)
    }
}
