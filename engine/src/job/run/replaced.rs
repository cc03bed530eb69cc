//! Which rows of the table go, by the rules of its sink.

use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use pulse_core::manifest::Read;
use pulse_core::{Error, Result};

use super::Run;
use crate::error::from_datafusion;
use crate::job::changes::State;
use crate::job::growth::keeps_keys;
use crate::job::pin::Mode;
use crate::job::query::{JobQuery, project, without_rejects};
use crate::job::replace::{Dead, Goes, Replacement, Rest, With, overlapping, rewrite, rules, text_rows, touched};
use crate::sink::SinkSpec;
use crate::source::delta::DeltaScan;
use crate::source::file::SOURCE_FILE;
use crate::table::Snapshot;

impl Run<'_> {
    /// What must go for the new rows, which are staged.
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
            Goes::All => return Ok(Replacement { removes: target.files.clone(), adds: Vec::new() }),
            Goes::OfFiles => match self.dead_files(target)? {
                None => return Ok(Replacement::default()),
                Some(dead) => (dead, target.files.clone(), Rest::Stays),
            },
            Goes::Agreeing { columns, with: With::NewRows, rest } => {
                let dead = self.dead_keys(staged, &columns, With::NewRows).await?;
                let candidates = overlapping(&target.files, staged, &columns);
                (dead, candidates, rest)
            }
            Goes::Agreeing { columns, with: With::NewAndEarlierRows, rest } => {
                let keeps = self.keeps_keys(query, &columns);
                let with = if keeps { With::NewRows } else { With::NewAndEarlierRows };
                let dead = self.dead_keys(staged, &columns, with).await?;
                let near = keeps && rest == Rest::Stays;
                let candidates = if near { overlapping(&target.files, staged, &columns) } else { target.files.clone() };
                (dead, candidates, rest)
            }
        };
        let (table, dead) = (&self.pinned.table, [dead]);
        let files = touched(self.bench, table, target, candidates, &dead).await?;
        match rest {
            Rest::Goes => Ok(Replacement { removes: files, adds: Vec::new() }),
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

    /// Whether no key that the query yielded from the changed groups is gone.
    fn keeps_keys(&self, query: &JobQuery, keys: &[String]) -> bool {
        if self.by_interval() {
            return !self.computes_again();
        }
        let fixed: Vec<_> =
            self.pinned.tables.iter().filter(|(_, pinned)| !pinned.changed()).map(|(name, _)| name).collect();
        self.sources_only_grew() && keeps_keys(query, keys, &fixed)
    }

    /// Rows of files whose content changed since they were read.
    pub(super) fn dead_files(&self, target: &Snapshot) -> Result<Option<Dead>> {
        let replaced: Vec<String> =
            self.pinned.files.values().flat_map(|files| files.replaced.iter().cloned()).collect();
        if replaced.is_empty() {
            return Ok(None);
        }
        if target.schema.field_with_name(SOURCE_FILE).is_err() {
            return Err(Error::data(format!(
                "{} changed since it was read, and table {} has no column `{SOURCE_FILE}` to find its rows by; select it",
                replaced[0], self.job.name
            )));
        }
        Ok(Some(Dead { rows: text_rows(SOURCE_FILE, &replaced)?, columns: vec![SOURCE_FILE.to_owned()] }))
    }

    /// Keys of the rows just written, and keys that the query yielded from the changed groups before they changed.
    async fn dead_keys(&self, staged: &DeltaScan, keys: &[String], with: With) -> Result<Dead> {
        let failed = |e| from_datafusion(&format!("job {}: keys", self.job.name), e);
        let staged = LogicalPlanBuilder::scan("staged", provider_as_source(Arc::new(staged.clone())), None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(failed)?;
        let mut rows = LogicalPlanBuilder::from(project(staged, keys)?);
        if with == With::NewAndEarlierRows {
            let before = self.query(State::Before).await?;
            rows = rows.union(project(without_rejects(before.plan)?, keys)?).map_err(failed)?;
        }
        Ok(Dead { rows: rows.build().map_err(failed)?, columns: keys.to_vec() })
    }
}
