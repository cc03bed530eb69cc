//! Optimizes the table at the end of a run, once it has many small files.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use pulse_core::Result;
use pulse_core::project::Job;

use super::optimize::{Bin, Optimized, Partition, is_large, optimize_where};
use super::{Outcome, Report, Workbench};

/// Optimizes the table if a part of it has at least `optimize_files` small files, and returns the run's report. The
/// rows are committed, so a failure is only a warning, and the next run retries.
pub(super) async fn tidied(bench: &Workbench, job: &Job, now: DateTime<Utc>, mut report: Report) -> Report {
    let limit = bench.options.optimize_files;
    if limit == 0 || !matches!(report.outcome, Outcome::Committed { .. }) {
        return report;
    }
    match optimized(bench, job, now, limit).await {
        Ok(None) => {}
        Ok(Some(note)) => report.notes.push(note),
        Err(error) => {
            report
                .warnings
                .push(format!("{} is committed and not optimized: {error}; the next run tries again", job.name));
        }
    }
    report
}

async fn optimized(bench: &Workbench, job: &Job, now: DateTime<Utc>, limit: usize) -> Result<Option<String>> {
    let target_bytes = u64::from(job.manifest.target_file_mib) << 20;
    let choice = |bins: Vec<Bin>| crowded(bins, target_bytes, limit);
    let (done, bins) = optimize_where(bench, &job.name, target_bytes, now, &choice).await?;
    Ok(done.version.map(|version| note(&done, version, &small_files(&bins, target_bytes), limit)))
}

/// The bins of partitions with at least `limit` small files that can be merged.
fn crowded(bins: Vec<Bin>, target_bytes: u64, limit: usize) -> Vec<Bin> {
    let counts = small_files(&bins, target_bytes);
    bins.into_iter().filter(|bin| counts.get(&bin.partition).is_some_and(|count| *count >= limit)).collect()
}

fn small_files(bins: &[Bin], target_bytes: u64) -> BTreeMap<Partition, usize> {
    let mut counts = BTreeMap::new();
    for bin in bins {
        let small = bin.files.iter().filter(|file| !is_large(file.bytes, target_bytes)).count();
        *counts.entry(bin.partition.clone()).or_default() += small;
    }
    counts
}

fn note(done: &Optimized, version: u64, counts: &BTreeMap<Partition, usize>, limit: usize) -> String {
    let most = counts.iter().max_by_key(|(_, count)| **count);
    let place = |partition: &Partition| {
        let values = partition.iter().map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("null")));
        let values = values.collect::<Vec<_>>().join(", ");
        if values.is_empty() { String::new() } else { format!(" in {values}") }
    };
    let reason = most.map(|(partition, count)| format!("{count} small files{}", place(partition))).unwrap_or_default();
    let others = match counts.len() {
        0 | 1 => String::new(),
        2 => ", and 1 more partition".to_owned(),
        count => format!(", and {} more partitions", count - 1),
    };
    format!(
        "optimized, as it had {reason}{others} (optimize_files = {limit}): {} files became {}, version {version}",
        done.files_removed, done.files_added
    )
}
