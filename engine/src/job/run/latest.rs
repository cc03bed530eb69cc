//! `latest_by`: of several rows of a key, keeps the greatest, whether it is new or existing. Refuses rows that tie, also for
//! `keep_first_by`.

use std::sync::Arc;

use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Operator, binary_expr, ident, lit};
use pulse_core::manifest::Sink;
use pulse_core::{Error, Result};

use super::Run;
use crate::error::from_datafusion;
use crate::job::increment::Increment;
use crate::job::pin::Mode;
use crate::job::query::JobQuery;
use crate::job::repeats::Groups;
use crate::job::replace::overlapping;
use crate::job::report::Staged;
use crate::job::spec::sort_key;
use crate::sink::{FailAction, REASON, RowCheck, SortKey};
use crate::source::delta::DeltaScan;

/// Keys that an error shows.
const EXAMPLES: usize = 3;

/// True if the table has a row of the key.
const MET: &str = "__kept";

/// Name of the table's column, next to the query's.
fn kept(column: &str) -> String {
    format!("__kept_{column}")
}

impl Run<'_> {
    /// Whether new rows are compared with the existing row of their key.
    fn compares(&self) -> bool {
        self.pinned.mode == Mode::Incremental && self.pinned.increment == Increment::Earlier
    }

    /// Adds a check to the query that drops good rows whose key has a greater row in the table.
    pub(super) fn compared(&self, query: &JobQuery) -> Result<JobQuery> {
        let (Sink::Merge { keys, latest_by }, Some(target)) = (&self.job.manifest.sink, &self.pinned.target) else {
            return Ok(query.clone());
        };
        if !self.compares() {
            return Ok(query.clone());
        }
        let order: Vec<SortKey> = latest_by.iter().map(|text| sort_key(text)).collect();
        let table = self.own_scan(&target.schema, target.files.clone());
        let column = format!("__check_{}", query.checks.len());
        let plan = with_check(query, table, keys, &order, &column)
            .map_err(|e| from_datafusion(&format!("job {}: rows that are later in the table", self.job.name), e))?;
        let mut checks = query.checks.clone();
        checks.push(RowCheck { name: "latest_by".to_owned(), column, on_fail: FailAction::Drop });
        Ok(JobQuery { plan, columns: query.columns.clone(), checks })
    }

    /// Counts these rows as repetitions of existing rows, not as failures.
    pub(super) fn counted(&self, mut staged: Staged) -> Staged {
        if self.compares() {
            staged.total.repeated += staged.total.failed.pop().unwrap_or_default();
        }
        staged
    }

    /// # Errors
    /// `Data` when different rows of a key tie for the one that stays.
    pub(super) async fn refuse_ties(&self, query: &JobQuery, staged: &Staged, scan: &DeltaScan) -> Result<()> {
        let manifest = &self.job.manifest;
        let name = || format!("{}: rows that tie", self.job.name);
        let unique = manifest.unique_in_sink().and_then(|place| manifest.expect[place].unique.as_ref());
        if let Some(unique) = unique.filter(|_| staged.total.tied) {
            let groups = Groups::repeated(name(), scan, &unique.columns)?;
            self.refuse(&groups, "keep_first_by", &unique.keep_first_by).await?;
        }
        let Sink::Merge { keys, latest_by } = &manifest.sink else { return Ok(()) };
        if unique.is_none() && staged.total.tied {
            self.refuse(&Groups::repeated(name(), scan, keys)?, "latest_by", latest_by).await?;
        }
        let Some(target) = self.pinned.target.as_ref().filter(|_| self.compares()) else { return Ok(()) };
        let files = overlapping(&target.files, scan, keys);
        if files.is_empty() || scan.files().is_empty() {
            return Ok(());
        }
        let name = format!("{}: rows that tie with the table's", self.job.name);
        let kept = self.own_scan(&target.schema, files);
        let columns = |text: &String| sort_key(text).column;
        let order: Vec<String> = latest_by.iter().map(columns).filter(|column| !keys.contains(column)).collect();
        let groups = Groups::differing(name, scan, &kept, keys, &order, &query.columns)?;
        self.refuse(&groups, "latest_by", latest_by).await
    }

    async fn refuse(&self, groups: &Groups, option: &str, order: &[String]) -> Result<()> {
        let count = groups.count(self.bench).await?;
        if count == 0 {
            return Ok(());
        }
        let examples = groups.examples(self.bench, EXAMPLES).await?.join("; ");
        let keys = if count == 1 { "1 key has".to_owned() } else { format!("{count} keys have") };
        let such = if count > EXAMPLES as u64 { "such as " } else { "" };
        Err(Error::data(format!(
            "{}: `{option}` ({}) says which row of a key stays, and {keys} several rows that agree in it and differ: \
             {such}{examples}; name further columns in `{option}`; the table stays as it was",
            self.job.manifest_path(),
            order.join(", ")
        )))
    }
}

/// Conditions that hold for rows written to the table.
fn good(query: &JobQuery) -> impl Iterator<Item = Expr> {
    let has_reason = query.plan.schema().field_with_unqualified_name(REASON).is_ok();
    let read = has_reason.then(|| ident(REASON).is_null());
    let removing = query.checks.iter().filter(|check| check.on_fail != FailAction::Count);
    removing.map(|check| ident(&check.column)).chain(read)
}

/// Whether the table's row is greater. Nulls are less than all values.
fn later(order: &[SortKey]) -> Expr {
    order.iter().rev().fold(lit(false), |rest, key| {
        let (old, new) = (ident(kept(&key.column)), ident(&key.column));
        let greater = if key.descending { old.clone().lt(new.clone()) } else { old.clone().gt(new.clone()) };
        let greater = greater.or(new.clone().is_null().and(old.clone().is_not_null()));
        greater.or(binary_expr(old, Operator::IsNotDistinctFrom, new).and(rest))
    })
}

fn with_check(
    query: &JobQuery,
    table: DeltaScan,
    keys: &[String],
    order: &[SortKey],
    check: &str,
) -> DataFusionResult<LogicalPlan> {
    let mut columns: Vec<&String> = keys.iter().chain(order.iter().map(|key| &key.column)).collect();
    columns.sort_unstable();
    columns.dedup();
    // It has at most one row per key.
    let table = LogicalPlanBuilder::scan("target", provider_as_source(Arc::new(table)), None)?
        .project(columns.into_iter().map(|column| ident(column).alias(kept(column))).chain([lit(true).alias(MET)]))?
        .build()?;
    let on = (
        keys.iter().map(Column::from_name).collect::<Vec<_>>(),
        keys.iter().map(|key| Column::from_name(kept(key))).collect::<Vec<_>>(),
    );
    let superseded = good(query).fold(ident(MET).is_true().and(later(order)), Expr::and);
    let all = query.plan.schema().columns().into_iter().map(Expr::Column);
    LogicalPlanBuilder::from(query.plan.clone())
        .join_detailed(table, JoinType::Left, on, None, NullEquality::NullEqualsNull)?
        .project(all.chain([superseded.is_not_true().alias(check)]))?
        .build()
}
