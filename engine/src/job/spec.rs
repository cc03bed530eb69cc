//! Builds a sink's specification from a manifest.

use pulse_core::manifest::{Manifest, Sink, Unique};
use pulse_core::project::Job;

use super::distinct::are_distinct;
use super::query::JobQuery;
use crate::sink::{Adjacency, FailAction, SinkSpec, SortKey, UniqueCheck};
use crate::table::Table;

/// The specification of a job's checks and files.
pub(super) fn sink_spec(job: &Job, query: &JobQuery, run_id: &str, table: &Table, quarantine: &Table) -> SinkSpec {
    let manifest = &job.manifest;
    let unique = manifest.unique_in_sink().and_then(|place| {
        let expectation = &manifest.expect[place];
        Some(UniqueCheck {
            on_fail: expectation.on_fail.into(),
            ..unique_check(manifest, &expectation.name, expectation.unique.as_ref()?)
        })
    });
    let unique = unique.or_else(|| latest(manifest));
    let columns = || Unique { columns: manifest.grain.clone(), keep_first_by: Vec::new() };
    let grain = sees_grain(manifest, query).then(|| unique_check(manifest, "grain", &columns()));
    SinkSpec {
        run_id: run_id.to_owned(),
        table: table.url().to_string(),
        columns: query.columns.clone(),
        partition_by: manifest.partition_by().to_vec(),
        order: manifest.order().to_vec(),
        target_file_bytes: u64::from(manifest.target_file_mib) << 20,
        quarantine: quarantine.url().to_string(),
        checks: query.checks.clone(),
        unique,
        grain,
    }
}

/// Whether the sink should look for rows with equal grain: it can, and nothing else proves uniqueness.
fn sees_grain(manifest: &Manifest, query: &JobQuery) -> bool {
    manifest.orders_by(&manifest.grain)
        && manifest.stricter_than_grain().next().is_none()
        && !are_distinct(&query.plan, &manifest.grain)
}

fn unique_check(manifest: &Manifest, name: &str, unique: &Unique) -> UniqueCheck {
    let mut order: Vec<&String> = Vec::new();
    for column in manifest.partition_by().iter().chain(manifest.order()) {
        if !order.contains(&column) {
            order.push(column);
        }
    }
    let columns: Vec<String> =
        order.iter().filter(|column| unique.columns.contains(column)).map(|column| (*column).clone()).collect();
    let leads = order.iter().take(columns.len()).all(|column| columns.contains(column));
    UniqueCheck {
        name: name.to_owned(),
        columns,
        adjacency: if leads { Adjacency::Proven } else { Adjacency::Watched },
        on_fail: FailAction::Count,
        keep_first_by: unique.keep_first_by.iter().map(|text| sort_key(text)).collect(),
    }
}

/// Keeps the greatest row of each key.
fn latest(manifest: &Manifest) -> Option<UniqueCheck> {
    let Sink::Merge { keys, latest_by } = &manifest.sink else { return None };
    let columns = Unique { columns: keys.clone(), keep_first_by: Vec::new() };
    let greatest = |text: &String| {
        let key = sort_key(text);
        SortKey { descending: !key.descending, nulls_first: false, column: key.column }
    };
    (!latest_by.is_empty()).then(|| UniqueCheck {
        on_fail: FailAction::Supersede,
        keep_first_by: latest_by.iter().map(greatest).collect(),
        ..unique_check(manifest, "latest_by", &columns)
    })
}

pub(super) fn sort_key(text: &str) -> SortKey {
    match text.trim().rsplit_once(char::is_whitespace) {
        Some((column, direction)) if direction.eq_ignore_ascii_case("desc") => {
            SortKey { column: column.trim().to_owned(), descending: true, nulls_first: true }
        }
        Some((column, direction)) if direction.eq_ignore_ascii_case("asc") => SortKey::ascending(column.trim()),
        _ => SortKey::ascending(text.trim()),
    }
}
