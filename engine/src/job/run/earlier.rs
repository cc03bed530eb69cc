//! Finds a commit that an earlier attempt of the same run made, perhaps without receiving the answer.

use chrono::{DateTime, TimeDelta, Utc};
use pulse_core::Result;
use pulse_core::interval_set::IntervalSet;
use serde::de::DeserializeOwned;

use crate::job::Workbench;
use crate::job::pin::Mode;
use crate::job::report::{Outcome, Report};
use crate::table::{History, Table};

/// How far the store's clock may be behind ours.
const CLOCK_MARGIN: TimeDelta = TimeDelta::minutes(10);

/// Reads the report from the commit. A run checks after it has pinned its versions: a later commit would conflict with
/// its own.
pub(super) async fn committed(
    bench: &Workbench,
    table: &Table,
    run_id: &str,
    begun: DateTime<Utc>,
) -> Result<Option<Report>> {
    let found = table.commit_of(run_id, begun - CLOCK_MARGIN).await?;
    Ok(found.map(|found| Report {
        job: table.name().clone(),
        outcome: Outcome::Committed { version: found.version },
        mode: mode(&found),
        place: bench.execute.place(),
        intervals: IntervalSet::default(),
        inputs: detail(&found, "pulse.inputs"),
        counts: detail(&found, "pulse.counts"),
        expectations: detail(&found, "pulse.expectations"),
        rejected: detail(&found, "pulse.rejected"),
        notes: detail(&found, "pulse.notes"),
        warnings: Vec::new(),
        attempt: 1,
    }))
}

fn mode(found: &History) -> Mode {
    let text: String = detail(found, "pulse.mode");
    match text.strip_prefix("full: ") {
        Some(reason) => Mode::Full { reason: reason.to_owned() },
        None => Mode::Incremental,
    }
}

/// Empty if the commit lacks it; the rows are committed all the same.
fn detail<T: DeserializeOwned + Default>(found: &History, key: &str) -> T {
    let value = found.details.get(key).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}
