//! Decides which rows of the table are deleted, by the rules of its sink.

use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use pulse_core::manifest::Read;
use pulse_core::{Error, Result};

use super::Run;
use crate::error::from_datafusion;
use crate::job::growth::keeps_keys;
use crate::job::increment::Increment;
use crate::job::pin::Mode;
use crate::job::query::{JobQuery, project, without_failures, without_rejects};
use crate::job::replace::{Dead, Goes, Replacement, Rest, With, overlapping, rewrite, rules, text_rows, touched};
use crate::sink::SinkSpec;
use crate::source::delta::DeltaScan;
use crate::source::file::SOURCE_FILE;
use crate::table::Snapshot;

impl Run<'_> {
    /// The rows to delete for the staged new rows.
    pub(super) async fn replace_in_table(
        &self,
        query: &JobQuery,
        spec: &SinkSpec,
        staged: &DeltaScan,
    ) -> Result<Replacement> {
        let Some(target) = &self.pinned.target else { return Ok(Replacement::default()) };
        let goes = match self.pinned.mode {
            Mode::Full { .. } => Goes::All,
            Mode::Incremental | Mode::Unchanged => rules(self.job).goes(),
        };
        let (dead, candidates, rest) = match goes {
            Goes::All => return Ok(Replacement { removes: target.files.clone(), ..Replacement::default() }),
            Goes::OfFiles => match self.dead_files(target)? {
                None => return Ok(Replacement::default()),
                Some(dead) => (dead, target.files.clone(), Rest::Stays),
            },
            Goes::Agreeing { .. } if self.pinned.increment == Increment::Nothing => return Ok(Replacement::default()),
            Goes::Agreeing { columns, with: With::NewRows, rest } => {
                let dead = Dead { rows: self.staged_keys(staged, &columns)?, columns: columns.clone() };
                let candidates = overlapping(&target.files, staged, &columns);
                (dead, candidates, rest)
            }
            Goes::Agreeing { columns, with: With::NewAndEarlierRows, rest } => {
                let keeps = self.pinned.increment == Increment::Earlier || self.keeps_keys(query, &columns);
                let dead = self.dead_keys(staged, &columns, keeps).await?;
                let near = keeps && rest == Rest::Stays;
                let candidates = if near { overlapping(&target.files, staged, &columns) } else { target.files.clone() };
                (dead, candidates, rest)
            }
        };
        let (table, dead) = (&self.pinned.table, [dead]);
        let files = touched(self.bench, table, target, candidates, &dead).await?;
        match rest {
            Rest::Goes => Ok(Replacement { removes: files, ..Replacement::default() }),
            Rest::Stays => {
                let order = spec.written_order();
                let plain = SinkSpec { checks: Vec::new(), unique: None, grain: None, order, ..spec.clone() };
                rewrite(self.bench, table, target, files, &dead, plain).await
            }
        }
    }

    fn sources_only_grew(&self) -> bool {
        self.pinned.tables.values().all(|pinned| pinned.read.read == Read::All || pinned.removed().is_empty())
    }

    /// Whether no key that the query yielded from the changed groups has disappeared.
    fn keeps_keys(&self, query: &JobQuery, keys: &[String]) -> bool {
        if self.by_interval() {
            return !self.computes_again();
        }
        let fixed: Vec<_> =
            self.pinned.tables.iter().filter(|(_, pinned)| !pinned.changed()).map(|(name, _)| name).collect();
        self.sources_only_grew() && keeps_keys(query, keys, &fixed)
    }

    /// Rows of files whose content changed, and of deleted files whose rows are removed, too.
    pub(super) fn dead_files(&self, target: &Snapshot) -> Result<Option<Dead>> {
        let files = self.pinned.files.values();
        let replaced: Vec<String> =
            files.flat_map(|files| files.replaced.iter().chain(&files.removed).cloned()).collect();
        if replaced.is_empty() {
            return Ok(None);
        }
        if target.schema.field_with_name(SOURCE_FILE).is_err() {
            return Err(Error::data(format!(
                "{} changed since it was read, or is gone, and table {} has no column `{SOURCE_FILE}` to find its rows by; select it, \
                 or compute the table again with --rebuild",
                replaced[0], self.job.name
            )));
        }
        Ok(Some(Dead { rows: text_rows(SOURCE_FILE, &replaced)?, columns: vec![SOURCE_FILE.to_owned()] }))
    }

    /// Keys of the rows just written, and, unless all of them are still yielded, keys that the query yielded from the
    /// changed groups before the change.
    async fn dead_keys(&self, staged: &DeltaScan, keys: &[String], keeps_keys: bool) -> Result<Dead> {
        let failed = |e| from_datafusion(&format!("job {}: keys", self.job.name), e);
        let rows = match (self.pinned.increment, keeps_keys) {
            (Increment::FormerKeys, _) => self.former_keys(keys).await?,
            (_, true) => self.staged_keys(staged, keys)?,
            (_, false) => LogicalPlanBuilder::from(self.staged_keys(staged, keys)?)
                .union(self.former_keys(keys).await?)
                .and_then(LogicalPlanBuilder::build)
                .map_err(failed)?,
        };
        Ok(Dead { rows, columns: keys.to_vec() })
    }

    fn staged_keys(&self, staged: &DeltaScan, keys: &[String]) -> Result<LogicalPlan> {
        let staged = LogicalPlanBuilder::scan("staged", provider_as_source(Arc::new(staged.clone())), None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|e| from_datafusion(&format!("job {}: keys", self.job.name), e))?;
        project(staged, keys)
    }

    /// Keys that the query yielded before the sources changed.
    async fn former_keys(&self, keys: &[String]) -> Result<LogicalPlan> {
        let before = self.query_before().await?;
        project(without_failures(without_rejects(before.plan)?, &before.checks)?, keys)
    }
}
