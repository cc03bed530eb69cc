//! `refers`: the values of a column must occur in a column of another table, at the version that the run has pinned.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::{Column, JoinType};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlanBuilder, ident};
use pulse_core::manifest::Refers;
use pulse_core::name::TableName;
use pulse_core::project::Job;
use pulse_core::{Error, Result};

use super::Workbench;
use super::check::Written;
use super::pin::PinnedTable;
use super::replace::collect;
use crate::error::from_datafusion;
use crate::source::delta::DeltaScan;
use crate::table::{Snapshot, Table};

/// Tables that expectations check against, with their pinned versions.
pub type Referred = BTreeMap<TableName, (Table, Snapshot)>;

/// The version that the query reads, if it reads the table; else the current one. A table that does not exist has none.
pub(super) async fn pin(bench: &Workbench, job: &Job, tables: &BTreeMap<TableName, PinnedTable>) -> Result<Referred> {
    let mut referred = Referred::new();
    for refers in job.manifest.expect.iter().filter_map(|expectation| expectation.refers.as_ref()) {
        let (name, _) = refers.target().map_err(Error::invalid)?;
        if referred.contains_key(&name) {
            continue;
        }
        let pinned = match tables.get(&name) {
            Some(pinned) => Some((pinned.table.clone(), pinned.now.clone())),
            None => {
                let table = bench.readable(&name).await?;
                table.snapshot(None).await?.map(|snapshot| (table, snapshot))
            }
        };
        referred.extend(pinned.map(|pinned| (name, pinned)));
    }
    Ok(referred)
}

/// Rows of the table as it would be committed whose value does not occur in the other table. This may include existing
/// rows whose value was removed there since.
pub(super) async fn missing(bench: &Workbench, job: &Job, refers: &Refers, written: &Written<'_>) -> Result<u64> {
    let (table, column) = refers.target().map_err(Error::invalid)?;
    let Some((other, snapshot)) = written.referred.get(&table) else {
        return Err(Error::invalid(format!(
            "{}: table {table} does not exist; run its job first",
            job.manifest_path()
        )));
    };
    let known = DeltaScan::new(other.clone(), snapshot, bench.options.target_partition_bytes);
    let failed = |e| from_datafusion(&format!("{}: refers to {}", job.manifest_path(), refers.to), e);
    let known = LogicalPlanBuilder::scan("known", provider_as_source(Arc::new(known)), None)
        .and_then(|plan| plan.project([ident(column)]))
        .and_then(LogicalPlanBuilder::build)
        .map_err(failed)?;
    let key = |name: &str| vec![Column::from_name(name)];
    let mut missing = 0;
    for rows in [written.scan, written.kept].into_iter().filter(|rows| !rows.files().is_empty()) {
        let plan = LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(rows.clone())), None)
            .and_then(|plan| plan.project([ident(&refers.column)]))
            .and_then(|plan| plan.join(known.clone(), JoinType::LeftAnti, (key(&refers.column), key(column)), None))
            .and_then(LogicalPlanBuilder::build)
            .map_err(failed)?;
        let batches = collect(bench, &format!("{}: references", job.name), &plan).await?;
        missing += batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
    }
    Ok(missing)
}
