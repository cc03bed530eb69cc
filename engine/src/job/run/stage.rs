//! Writes the rows of a run to files that no reader sees yet, and checks them before anything is replaced.

use std::sync::atomic::{AtomicU64, Ordering};

use chrono::DateTime;
use datafusion::logical_expr::LogicalPlanBuilder;
use pulse_core::decide::RunPlan;
use pulse_core::interval::Interval;
use pulse_core::manifest::Manifest;
use pulse_core::{Error, Result};

use super::Run;
use crate::error::from_datafusion;
use crate::execute::{Progress, Reached};
use crate::job::changes::State;
use crate::job::limit;
use crate::job::partitions;
use crate::job::query::{JobQuery, plan_rows};
use crate::job::replace::write;
use crate::job::report::Staged;
use crate::job::spec::sink_spec;
use crate::sink::SinkSpec;
use crate::source::delta::DeltaScan;
use crate::step::{Step, reached};

/// Maximum evaluations of the query in one plan: more take too long to plan.
const MOST_EVALUATIONS: usize = 400;

impl Run<'_> {
    /// Intervals for which the query is evaluated, grouped into parts of one plan each. There is at least one part.
    pub(super) fn parts(&self) -> Result<Vec<Vec<Interval>>> {
        let rebuilds = matches!(self.pinned.plan, RunPlan::Rebuild { .. });
        in_parts(self.evaluations(State::Now), rebuilds && are_apart(&self.job.manifest))
            .map_err(|evaluations| self.too_many(evaluations))
    }

    /// Intervals for which the query is evaluated.
    fn evaluations(&self, state: State) -> Vec<Interval> {
        let intervals = match (state, &self.pinned.plan) {
            (State::Before, RunPlan::Changes { again, .. }) => again.clone(),
            _ => self.pinned.plan.intervals(),
        };
        match self.job.manifest.interval.filter(|_| !self.pinned.decomposes) {
            Some(unit) => intervals.iter().flat_map(|interval| interval.split(unit)).collect(),
            None => intervals.iter().collect(),
        }
    }

    #[cold]
    fn too_many(&self, evaluations: usize) -> Error {
        let part = match &self.pinned.plan {
            RunPlan::Rebuild { reason, .. } => format!(
                " ({reason}), and rows of several units are compared with each other: group by the unit, so that one evaluation \
                 can do, or remove the table's folder and fill it again with `pulse backfill`"
            ),
            _ => format!(
                ": group by the unit, so that one evaluation can do, or compute them in parts: pulse backfill {} --from .. --to ..",
                self.job.name
            ),
        };
        Error::invalid(format!(
            "job {}: its query is evaluated for each unit of its interval, which would be {evaluations} evaluations in one run, and \
             {MOST_EVALUATIONS} is the limit{part}",
            self.job.name
        ))
    }

    /// The query over the earlier state of the sources, as one plan.
    pub(super) async fn query_before(&self) -> Result<JobQuery> {
        let mut parts = in_parts(self.evaluations(State::Before), false).map_err(|count| self.too_many(count))?;
        self.query(State::Before, &parts.pop().unwrap_or_default()).await
    }

    pub(super) async fn query(&self, state: State, evaluations: &[Interval]) -> Result<JobQuery> {
        let sources = self.sources(state)?;
        let plan =
            async |evaluations| plan_rows(&self.bench.state, self.job, &sources, evaluations, &self.recording()?).await;
        match self.job.manifest.interval.filter(|_| evaluations.is_empty()) {
            // No unit has ended: the table has the query's columns and no rows.
            Some(unit) => {
                let start = DateTime::UNIX_EPOCH;
                let query = plan(&[Interval { start, end: unit.next(start) }]).await?;
                let no_rows =
                    LogicalPlanBuilder::from(query.plan).limit(0, Some(0)).and_then(LogicalPlanBuilder::build);
                let plan = no_rows.map_err(|e| from_datafusion(&self.job.name.to_string(), e))?;
                Ok(JobQuery { plan, ..query })
            }
            None => plan(evaluations).await,
        }
    }

    /// Writes the rows of `query`, the first part, and those of the `rest`.
    pub(super) async fn stage(
        &self,
        query: &JobQuery,
        rest: &[Vec<Interval>],
        progress: Progress<'_>,
    ) -> Result<(Staged, SinkSpec)> {
        let compared = self.compared(query)?;
        let spec = sink_spec(self.job, &compared, self.run_id, &self.pinned.table, &self.pinned.quarantine_table);
        reached(Step::Planned);
        let name = self.job.name.to_string();
        let read = AtomicU64::default();
        let counting = |reached: Reached| {
            read.store(reached.rows, Ordering::Relaxed);
            progress(reached);
        };
        let mut staged = write(self.bench, &name, compared.plan, spec.clone(), &counting).await?;
        staged.rows_read = read.swap(0, Ordering::Relaxed);
        for part in rest {
            let written = match self.query(State::Now, part).await {
                Ok(query) => write(self.bench, &name, query.plan, spec.clone(), &counting).await,
                Err(error) => Err(error),
            };
            staged.add(self.or_discard(written, &staged, &Default::default()).await?);
            staged.rows_read += read.swap(0, Ordering::Relaxed);
        }
        reached(Step::Staged);
        Ok((self.counted(staged), spec))
    }

    /// # Errors
    /// `Data` for rows that are wrong independent of the table's contents.
    pub(super) async fn refuse_staged(&self, query: &JobQuery, staged: &Staged, scan: &DeltaScan) -> Result<()> {
        self.refuse_rejects(query, staged)?;
        partitions::refuse_empty_texts(self.job, &staged.total.files)?;
        self.refuse_ties(query, staged, scan).await?;
        self.refuse_broken_history(query, staged, scan).await
    }

    fn refuse_rejects(&self, query: &JobQuery, staged: &Staged) -> Result<()> {
        let rejected = staged.total.rows_rejected;
        let limit = self.bench.project.max_rejected(self.job);
        if rejected > 0 && matches!(self.pinned.plan, RunPlan::Observe { .. }) && limit.is_none() {
            return Err(Error::data(format!(
                "{}: {rejected} of the lines that the table is compared with could not be read, and their keys would seem to be \
                 deleted; correct the lines, or set `max_rejected` to close the keys; the table stays as it was",
                self.job.manifest_path()
            )));
        }
        limit::check(self.job, limit, query, &staged.total)
    }
}

/// At least one part.
///
/// # Errors
/// The number of evaluations, if they exceed what one plan may have.
fn in_parts(evaluations: Vec<Interval>, may_part: bool) -> std::result::Result<Vec<Vec<Interval>>, usize> {
    match evaluations.len() {
        0..=MOST_EVALUATIONS => Ok(vec![evaluations]),
        _ if may_part => Ok(evaluations.chunks(MOST_EVALUATIONS).map(<[Interval]>::to_vec).collect()),
        count => Err(count),
    }
}

/// Whether no row is compared with rows of other evaluations before it is written. Checks on written rows see all parts
/// together.
fn are_apart(manifest: &Manifest) -> bool {
    let compares = manifest.expect.iter().any(|expectation| expectation.unique.is_some() && expectation.removes_rows());
    !compares && manifest.latest_by().is_empty() && manifest.sink.history().is_none()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    #[test]
    fn every_evaluation_is_in_one_part() {
        let hour = |number: i64| {
            let start = DateTime::UNIX_EPOCH + TimeDelta::hours(number);
            Interval { start, end: start + TimeDelta::hours(1) }
        };
        let all = |count: usize| (0..count as i64).map(hour).collect::<Vec<_>>();
        for (count, parts) in [(0, 1), (1, 1), (400, 1), (401, 2), (800, 2), (801, 3)] {
            let found = in_parts(all(count), true).unwrap();
            assert_eq!((found.len(), found.concat()), (parts, all(count)), "{count}");
            assert_eq!(in_parts(all(count), false).is_ok(), count <= MOST_EVALUATIONS, "{count}");
        }
    }
}
