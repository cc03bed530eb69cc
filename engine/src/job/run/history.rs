//! Runs of tables that keep a history of keys.

use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use pulse_core::Result;

use super::Run;
use crate::error::from_datafusion;
use crate::job::history::{self, Recording, holding, system_time};
use crate::job::pin::Mode;
use crate::job::query::JobQuery;
use crate::job::repeats::Groups;
use crate::job::report::Staged;
use crate::source::delta::DeltaScan;

/// Keys that an error shows.
const EXAMPLES: usize = 3;

impl Run<'_> {
    /// The state that the query's rows are compared with.
    pub(super) fn recording(&self) -> Result<Recording> {
        let at = self.now;
        let (Some(time), Some(target), Mode::Incremental) =
            (system_time(self.job), &self.pinned.target, &self.pinned.mode)
        else {
            return Ok(Recording { at, current: None });
        };
        let target_bytes = self.bench.options.target_partition_bytes;
        let scan = DeltaScan::new(self.pinned.table.clone(), target, target_bytes);
        let rows = LogicalPlanBuilder::scan("current", provider_as_source(Arc::new(scan)), None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|e| from_datafusion(&format!("job {}: rows that hold", self.job.name), e))?;
        Ok(Recording { at, current: Some(holding(rows, time.until)?) })
    }

    /// # Errors
    /// `Data` when the rows of a key do not form a history, with the first keys.
    pub(super) async fn refuse_broken_history(
        &self,
        query: &JobQuery,
        staged: &Staged,
        scan: &DeltaScan,
    ) -> Result<()> {
        let Some((check, rows)) = history::broken(query, &staged.total.failed) else { return Ok(()) };
        let Some(columns) = history::agreeing(self.job, check) else {
            return Err(history::refusal(self.job, check, rows, &[]));
        };
        let groups = Groups::repeated(format!("{}: versions at the same time", self.job.name), scan, &columns)?;
        let (count, examples) = (groups.count(self.bench).await?, groups.examples(self.bench, EXAMPLES).await?);
        Err(history::refusal(self.job, check, count.max(1), &examples))
    }
}
