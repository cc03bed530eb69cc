//! Whether a run that reads only the changes leaves the same table as a run over everything: a proof over the query's
//! plan and the sink, for the changed sources. Without a proof, all rows are read.

mod additive;

use std::collections::BTreeSet;

use pulse_core::manifest::{History, Manifest, OnFail, Read, Sink, Source};
use pulse_core::project::Job;

use self::additive::{Names, Obstacle, Parts, Rows};
use super::query::JobQuery;

/// Which rows of the table an increment replaces. Relevant for sinks that replace rows by keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Increment {
    /// Rows with the keys that the changed groups yield and yielded: all rows of a key are in one group.
    #[default]
    Keys,
    /// Rows with the keys that the changed groups yielded. If another group may yield the same key, two rows have it.
    FormerKeys,
    /// None: the query only adds rows.
    Nothing,
    /// Rows with the keys of new ones, unless they are later: the query only adds rows, and one row per key is kept.
    Earlier,
}

/// The increment of a job when these sources (`layer.table`) changed.
///
/// # Errors
/// Why it is not proven, with the remedy.
pub(super) fn increment(job: &Job, query: &JobQuery, changed: &BTreeSet<String>) -> Result<Increment, String> {
    let manifest = &job.manifest;
    let Some(parts) = parts(manifest, changed) else {
        let names = changed.iter().map(String::as_str).collect::<Vec<_>>().join(" and ");
        return Err(format!("{names} changed, which are read by different columns"));
    };
    let mut shown = by_changes(manifest).filter(|(name, _)| parts.sources.contains(*name));
    if let Some((name, _)) = shown.find(|(_, source)| source.lookback.is_some()) {
        return Err(format!(
            "the rows that `lookback` of {name} reads first are computed without those before them: all rows are read; use `by`"
        ));
    }
    prove(manifest, query, &parts).map_err(|obstacle| {
        let names = parts.sources.iter().map(String::as_str).collect::<Vec<_>>().join(" and ");
        let remedy = remedy(manifest, query, &parts, &obstacle.enough);
        format!("{} may need rows of {names} that did not change: {remedy}", obstacle.clause)
    })
}

/// For the author: for each source with `read = "changed"`, why its changes alone do not suffice.
pub(super) fn unproven(job: &Job, query: &JobQuery) -> BTreeSet<String> {
    if job.manifest.interval.is_some() || job.manifest.sink == (Sink::Overwrite {}) {
        return BTreeSet::new();
    }
    let one = |name: &String| increment(job, query, &BTreeSet::from([name.clone()])).err();
    by_changes(&job.manifest).filter_map(|(name, _)| one(name)).collect()
}

fn by_changes(manifest: &Manifest) -> impl Iterator<Item = (&String, &Source)> {
    manifest.source.iter().filter(|(name, source)| source.read == Read::Changed && !name.starts_with("raw."))
}

/// Sources with the same `by` columns as a changed one expose the same groups; `None` if the changed ones differ in
/// `by`.
fn parts<'a>(manifest: &'a Manifest, changed: &BTreeSet<String>) -> Option<Parts<'a>> {
    let columns = |source: &'a Source| source.by.iter().collect::<BTreeSet<_>>();
    let mut all = by_changes(manifest).filter(|(name, _)| changed.contains(*name)).map(|(_, source)| source);
    let first = all.next()?;
    if all.any(|other| columns(other) != columns(first)) {
        return None;
    }
    let shown = by_changes(manifest).filter(|(name, source)| match first.by.is_empty() {
        true => changed.contains(*name),
        false => columns(source) == columns(first),
    });
    Some(Parts { sources: shown.map(|(name, _)| name.clone()).collect(), by: &first.by })
}

fn prove(manifest: &Manifest, query: &JobQuery, parts: &Parts<'_>) -> Result<Increment, Obstacle> {
    let rows = parts.additive(&query.plan)?;
    let output = Output { query, rows: &rows, parts };
    for expectation in manifest.expect.iter().filter(|expectation| expectation.removes_rows()) {
        if let Some(unique) = &expectation.unique {
            let clause = || {
                format!("\"{}\" keeps one of the rows that agree in {}", expectation.name, unique.columns.join(", "))
            };
            output.cover(&unique.columns).map_err(|names| Obstacle::new(clause(), names))?;
        }
    }
    if manifest.expect.iter().any(|expectation| expectation.on_fail == OnFail::Quarantine)
        && let Some(column) = parts.by.iter().find(|column| !output.shows(column))
    {
        let clause =
            format!("rows in the quarantine are found by `{column}`, which the query does not yield, so that it");
        return Err(Obstacle::new(clause, output.own_names()));
    }
    match &manifest.sink {
        Sink::OverwritePartitions { by } => {
            let clause = || format!("`overwrite_partitions` by {}", by.join(", "));
            output.cover(by).map_err(|names| Obstacle::new(clause(), names))?;
            Ok(Increment::Keys)
        }
        Sink::Merge { latest_by, .. } if parts.by.is_empty() => match latest_by.is_empty() {
            true => Ok(Increment::Nothing),
            false => Ok(Increment::Earlier),
        },
        Sink::Merge { keys, .. } => match output.cover(keys) {
            Ok(()) => Ok(Increment::Keys),
            Err(_) if is_unique_by(manifest, keys) && !takes_out_repeats(manifest) => Ok(Increment::FormerKeys),
            Err(names) => Err(Obstacle::new(format!("`merge` by {}", keys.join(", ")), names)),
        },
        Sink::Scd2(History { keys, .. }) | Sink::Bitemporal(History { keys, .. }) => {
            let clause = || format!("the history of {}", keys.join(", "));
            output.cover(keys).map_err(|names| Obstacle::new(clause(), names))?;
            Ok(Increment::Keys)
        }
        Sink::Append {} | Sink::Overwrite {} => Ok(Increment::Keys),
    }
}

/// Whether the grain implies that the keys are unique.
fn is_unique_by(manifest: &Manifest, keys: &[String]) -> bool {
    manifest.latest_by().is_empty() && manifest.grain.iter().all(|column| keys.contains(column))
}

/// Keys of repeated rows are not keys of rows in the table.
fn takes_out_repeats(manifest: &Manifest) -> bool {
    manifest.expect.iter().any(|expectation| expectation.unique.is_some() && expectation.removes_rows())
}

/// The query's rows as the sink sees them.
struct Output<'a> {
    query: &'a JobQuery,
    rows: &'a Rows,
    parts: &'a Parts<'a>,
}

impl Output<'_> {
    fn place(&self, column: &str) -> Option<usize> {
        self.query.plan.schema().fields().iter().position(|field| field.name() == column)
    }

    fn cover(&self, columns: &[String]) -> Result<(), Names> {
        self.rows.cover(self.parts, columns.iter().filter_map(|column| self.place(column)))
    }

    /// Whether the column of this name is passed through from the source.
    fn shows(&self, column: &str) -> bool {
        let is_written = self.query.columns.iter().any(|written| written == column);
        is_written && self.place(column).is_some_and(|place| self.rows.column(place).contains(column))
    }

    fn own_names(&self) -> Names {
        self.query.columns.iter().filter(|column| self.shows(column)).cloned().collect()
    }
}

/// Suggests the `by` that suffices for the query and the sink, or says that none does.
fn remedy(manifest: &Manifest, query: &JobQuery, parts: &Parts<'_>, columns: &Names) -> String {
    if manifest.sink == (Sink::Append {}) {
        return "all rows are read; use `merge` with a `by`, or `read = \"all\"`".to_owned();
    }
    let all: BTreeSet<String> = by_changes(manifest).map(|(name, _)| name.clone()).collect();
    let enough = |sources: &BTreeSet<String>| {
        let by = enough(manifest, query, sources, columns.iter().cloned().collect())?;
        let by = by.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ");
        let sources = sources.iter().map(String::as_str).collect::<Vec<_>>().join(" and of ");
        Some(format!("all rows are read; `by = [{by}]` of {sources} would do"))
    };
    let found = enough(&all).or_else(|| enough(&parts.sources));
    found.unwrap_or_else(|| "all rows are read, as with `read = \"all\"`".to_owned())
}

/// The columns of `by` that no clause objects to.
fn enough(
    manifest: &Manifest,
    query: &JobQuery,
    sources: &BTreeSet<String>,
    mut by: Vec<String>,
) -> Option<Vec<String>> {
    while !by.is_empty() {
        let Err(obstacle) = prove(manifest, query, &Parts { sources: sources.clone(), by: &by }) else {
            return Some(by);
        };
        let before = by.len();
        by.retain(|column| obstacle.enough.contains(column));
        if by.len() == before {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests;
