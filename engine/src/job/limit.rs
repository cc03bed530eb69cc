//! Limits the rejected rows of a run: if all rows are rejected, the source is probably wrong.

use pulse_core::manifest::Manifest;
use pulse_core::project::Job;
use pulse_core::{Error, Result};

use super::history::{closed, left_out};
use super::query::JobQuery;
use crate::sink::{FailAction, PartitionResult};

/// Number of reasons that an error names.
const REASONS: usize = 3;

/// Additional rows of a history, and query rows that add no information: neither are rejected.
#[derive(Debug, Clone, Copy, Default)]
struct Versions {
    left_out: u64,
    closed: u64,
}

/// The number of rejected rows of a run, if it exceeds `limit`.
///
/// Counts lines that the reader rejected and rows that a `check` dropped or quarantined. A duplicate does not count as
/// rejected.
fn too_many(manifest: &Manifest, limit: Option<f64>, total: &PartitionResult, history: Versions) -> Option<u64> {
    let takes_out = !manifest.latest_by().is_empty()
        || manifest.unique_in_sink().is_some_and(|place| manifest.expect[place].removes_rows());
    let repeated = if takes_out { total.repeated } else { 0 };
    let rows_in = total.rows_in.saturating_sub(history.closed);
    let kept = total.rows_written.saturating_sub(history.closed) + repeated + history.left_out;
    let unread = total.notes.unread();
    let (rows_in, rejected) = (rows_in.saturating_add(unread), rows_in.saturating_sub(kept).saturating_add(unread));
    #[allow(clippy::cast_precision_loss, reason = "a share of rows, and no run has 2^52 of them")]
    let is_too_many = match limit {
        Some(share) => rejected as f64 > share * rows_in as f64,
        None => rejected == rows_in,
    };
    (rejected > 0 && is_too_many).then_some(rejected)
}

/// # Errors
/// `Data` when more rows were rejected than the job allows, with the most frequent reasons.
pub(super) fn check(job: &Job, limit: Option<f64>, query: &JobQuery, total: &PartitionResult) -> Result<()> {
    let history = Versions { left_out: left_out(query, &total.failed), closed: closed(query, &total.failed) };
    let Some(rejected) = too_many(&job.manifest, limit, total, history) else { return Ok(()) };
    let mut reasons: Vec<(u64, String)> =
        total.reasons.most_frequent().into_iter().map(|rejected| (rejected.rows, rejected.reason)).collect();
    let of_manifest = job.manifest.expect.iter().filter(|expectation| expectation.check.is_some()).count();
    let dropping =
        query.checks.iter().take(of_manifest).zip(&total.failed).filter(|(check, _)| check.on_fail == FailAction::Drop);
    reasons.extend(dropping.filter(|(_, failed)| **failed > 0).map(|(check, failed)| (*failed, check.name.clone())));
    reasons.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let reasons: Vec<String> =
        reasons.iter().take(REASONS).map(|(count, reason)| format!("{count} such as \"{reason}\"")).collect();
    let (what, remedy) = match limit {
        None => (
            match rejected {
                1 => "the only row that this run read was rejected".to_owned(),
                _ => format!("all {rejected} rows that this run read were rejected"),
            },
            "correct them where they come from, or set `max_rejected = 1.0` if such a run is to succeed".to_owned(),
        ),
        Some(share) => (
            format!(
                "{rejected} of {} rows that this run read were rejected",
                (total.rows_in - history.closed).saturating_add(total.notes.unread())
            ),
            format!("correct them where they come from, or raise `max_rejected`, which is {share}"),
        ),
    };
    Err(Error::data(format!(
        "{}: {what}: {}; {remedy}; the table stays as it was",
        job.manifest_path(),
        reasons.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a run with these numbers of written, rejected and repeated rows fails.
    fn fails(rest: &str, written: u64, rejected: u64, repeated: u64) -> bool {
        let once = "[[expect]]\nname = \"once\"\nunique = { columns = [\"k\"], keep_first_by = [\"v\"] }\non_fail = \"drop\"\n";
        let manifest: Manifest = toml::from_str(&format!("grain = [\"k\"]\n{rest}[sink.overwrite]\n{once}")).unwrap();
        let total = PartitionResult {
            rows_in: written + rejected + repeated,
            rows_written: written,
            repeated,
            ..PartitionResult::default()
        };
        too_many(&manifest, manifest.max_rejected, &total, Versions::default()).is_some()
    }

    #[test]
    fn a_run_fails_when_more_of_its_rows_were_rejected_than_it_allows() {
        for (rest, written, rejected, repeated, expected) in [
            ("", 0, 2, 0, true),
            ("", 1, 1000, 0, false),
            ("", 0, 0, 0, false),
            ("", 1, 0, 1000, false),
            ("max_rejected = 1.0\n", 0, 2, 0, false),
            ("max_rejected = 0.1\n", 9, 1, 0, false),
            ("max_rejected = 0.1\n", 8, 1, 0, true),
            ("max_rejected = 0.1\n", 1, 1, 8, false),
            ("max_rejected = 0.0\n", 1000, 1, 0, true),
            ("max_rejected = 0.0\n", 1, 0, 9, false),
            ("max_rejected = 0.0\n", 0, 0, 0, false),
        ] {
            assert_eq!(fails(rest, written, rejected, repeated), expected, "{rest}: {written}, {rejected}, {repeated}");
        }
    }
}
