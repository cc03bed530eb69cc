//! Files that were read and deleted since: counts their rows in the table, and decides on them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlanBuilder, ident};
use pulse_core::decide::{Asked, Bookmarks, Observed, RunPlan};
use pulse_core::graph::is_like;
use pulse_core::project::Job;
use pulse_core::sources::OnMissing;
use pulse_core::{Error, ErrorKind, Result};

use super::Pinned;
use super::files::ListedFiles;
use super::own::OwnTables;
use crate::job::Workbench;
use crate::job::replace::{counted as count_of, text_rows};
use crate::source::delta::DeltaScan;
use crate::source::file::SOURCE_FILE;
use crate::table::{DataFile, Snapshot, Table};

/// Number of files that a warning names.
const NAMED: usize = 3;
/// Limit for the bytes searched for a warning: a landing folder with expiring files must not slow down every run.
const MOST_BYTES: u64 = 256 << 20;

/// Number of rows of a table that derive from some files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::job) enum RowsOfFiles {
    Counted(u64),
    /// There may be more in files that were not searched.
    AtLeast(u64),
    /// The table does not have the source file of a row.
    Unknown,
}

/// By source.
pub(super) fn on_missing(bench: &Workbench, listings: &BTreeMap<String, ListedFiles>) -> BTreeMap<String, OnMissing> {
    let source = |name: &String| Some((name.clone(), bench.project.sources.files.get(name)?.on_missing));
    listings.keys().filter_map(source).collect()
}

/// A misspelled root of an object store, and a disk that is not mounted, look like a root whose files were all deleted. This must not
/// remove their rows.
///
/// # Errors
/// `Data` when all files of a source with `on_missing = "remove"` are gone.
pub(super) fn refuse_empty_root(
    listings: &BTreeMap<String, ListedFiles>,
    known: &Bookmarks,
    observed: &Observed,
    asked: &Asked,
) -> Result<()> {
    for (name, listing) in listings {
        let removes = observed.on_missing.get(name) == Some(&OnMissing::Remove);
        let reads = |file: &String| file.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
        if removes && !asked.allow_loss && listing.marks.is_empty() && known.gone(observed).iter().any(reads) {
            return Err(Error::data(format!(
                "raw.{name}: nothing is left below {}, and `on_missing = \"remove\"` would remove all rows of its files; correct the root, \
                 or give --allow-loss if its files are gone",
                listing.root
            )));
        }
    }
    Ok(())
}

/// Resolves user input to the files of the bookmarks: `raw.source/path`, the path alone, or a pattern with `*`, which matches the
/// deleted files in `gone`.
///
/// # Errors
/// `Invalid` when the table has not read a file, two sources have it, or a pattern matches no deleted file.
pub(super) fn named(job: &Job, known: &Bookmarks, names: &[String], gone: &[String]) -> Result<Vec<String>> {
    let (patterns, names): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| name.contains('*'));
    let mut files = BTreeSet::new();
    for pattern in patterns {
        let path = |file: &str| file.split_once('/').map_or(String::new(), |(_, path)| path.to_owned());
        let is_meant = |file: &&String| is_like(&path(file), pattern) || is_like(&format!("raw.{file}"), pattern);
        let before = files.len();
        files.extend(gone.iter().filter(is_meant).cloned());
        if files.len() == before {
            return Err(Error::invalid(format!(
                "no file that the table has read and that is gone is like `{pattern}`; `pulse plan` names those that are gone"
            )));
        }
    }
    let sources = job.query.files();
    let find = |name: &String| {
        let of_source = |source: &&str| {
            let path = name.strip_prefix("raw.").and_then(|name| name.strip_prefix(source)?.strip_prefix('/'));
            [path, Some(name.as_str())].into_iter().flatten().find(|path| known.file(source, path).is_some())
        };
        let found = sources.iter().filter_map(|source| Some(format!("{source}/{}", of_source(source)?)));
        match found.collect::<Vec<_>>().as_slice() {
            [] => Err(Error::invalid(format!(
                "the table has not read a file `{name}`, or has forgotten it; `pulse plan` names files that are gone"
            ))),
            [file] => Ok(file.clone()),
            [one, other, ..] => Err(Error::invalid(format!("`{name}` may be raw.{one} or raw.{other}: write which"))),
        }
    };
    for name in names {
        files.insert(find(name)?);
    }
    Ok(files.into_iter().collect())
}

/// Adds to a refusal how many rows of the table would be lost with the files that are gone.
pub(super) async fn counted(bench: &Workbench, own: &OwnTables, gone: &[String], refusal: Error) -> Error {
    let paths: Vec<String> =
        gone.iter().filter_map(|file| file.split_once('/')).map(|(_, path)| path.to_owned()).collect();
    if paths.is_empty() || refusal.kind() != ErrorKind::Data {
        return refusal;
    }
    let rows = match count_rows(bench, &own.table, own.target.as_ref(), &paths, MOST_BYTES).await {
        Ok(RowsOfFiles::Counted(1)) => "1 row".to_owned(),
        Ok(RowsOfFiles::Counted(rows)) => format!("{rows} rows"),
        Ok(RowsOfFiles::AtLeast(rows)) => format!("at least {rows} rows"),
        Ok(RowsOfFiles::Unknown) | Err(_) => return refusal,
    };
    Error::new(refusal.kind(), format!("{}; the table has {rows} of files that are gone", refusal.message()))
}

/// Adds warnings about deleted files to those of their sources.
///
/// # Errors
/// When files of the table cannot be read.
pub(super) async fn warn(bench: &Workbench, pinned: &mut Pinned) -> Result<()> {
    let mut warnings = Vec::new();
    // Landed files of a database are replaced together with its rows.
    let is_of_database = |name: &str| bench.project.sources.database_of(name).is_some();
    let of_files = pinned.files.iter().filter(|(name, files)| !files.gone.is_empty() && !is_of_database(name));
    for (name, files) in of_files {
        let rows = count_rows(bench, &pinned.table, pinned.target.as_ref(), &files.gone, MOST_BYTES).await?;
        let fate = match &pinned.plan {
            RunPlan::Rebuild { .. } => Fate::Replaced,
            RunPlan::Observe { .. } => Fate::Closed,
            RunPlan::Changes { .. } if !files.removed.is_empty() => Fate::Removed,
            RunPlan::Nothing | RunPlan::Changes { .. } => Fate::Kept,
        };
        warnings.push((name.clone(), sentence(name, &files.gone, rows, fate)));
    }
    for (name, warning) in warnings {
        pinned.files.entry(name).and_modify(|files| files.warnings.push(warning));
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Removed,
    Replaced,
    Closed,
}

fn sentence(name: &str, gone: &[String], rows: RowsOfFiles, fate: Fate) -> String {
    let (files, whose, of) = match gone.len() {
        1 => ("1 file that was read is gone".to_owned(), "its", "it"),
        count => (format!("{count} files that were read are gone"), "their", "them"),
    };
    let goes = |one: bool| match (fate, one) {
        (Fate::Kept, true) => "stays",
        (Fate::Kept, false) => "stay",
        (Fate::Removed, true) => "is removed",
        (Fate::Removed, false) => "are removed",
        (Fate::Closed, true) => "is closed, because the table is compared with what is there",
        (Fate::Closed, false) => "are closed, because the table is compared with what is there",
        (Fate::Replaced, true) => "goes too, because all rows are replaced",
        (Fate::Replaced, false) => "go too, because all rows are replaced",
    };
    let rows = match rows {
        RowsOfFiles::Counted(0) => format!("the table has no rows of {of}"),
        RowsOfFiles::Counted(1) => format!("{whose} only row {}", goes(true)),
        RowsOfFiles::Counted(rows) => format!("{whose} {rows} rows {}", goes(false)),
        RowsOfFiles::AtLeast(rows) => format!("{whose} rows {}, at least {rows}", goes(false)),
        RowsOfFiles::Unknown => {
            format!("{whose} rows {}; how many is not known, as the table has no column `{SOURCE_FILE}`", goes(false))
        }
    };
    format!("raw.{name}: {files}; {rows}: {}", some(gone))
}

/// Lists the first few by name.
fn some(paths: &[String]) -> String {
    let named = paths.iter().take(NAMED).map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
    match paths.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Counts the rows of the table that derive from `paths`, by statistics where possible. Searches at most `most_bytes`
/// of other files.
///
/// # Errors
/// When files of the table cannot be read.
pub(in crate::job) async fn count_rows(
    bench: &Workbench,
    table: &Table,
    target: Option<&Snapshot>,
    paths: &[String],
    most_bytes: u64,
) -> Result<RowsOfFiles> {
    let has_column = |snapshot: &&Snapshot| snapshot.schema.field_with_name(SOURCE_FILE).is_ok();
    let Some(snapshot) = target.filter(has_column) else { return Ok(RowsOfFiles::Unknown) };
    let wanted: BTreeSet<&str> = paths.iter().map(String::as_str).collect();
    let mut rows = 0;
    let mut unclear = Vec::new();
    for file in &snapshot.files {
        match holds(file, snapshot, &wanted) {
            Holds::Nothing => {}
            Holds::Only(all) => rows += all,
            Holds::Perhaps => unclear.push(file.clone()),
        }
    }
    if unclear.iter().map(|file| file.bytes).sum::<u64>() > most_bytes {
        return Ok(RowsOfFiles::AtLeast(rows));
    }
    let target = bench.options.target_partition_bytes;
    let scan = DeltaScan::of_files(table.clone(), &snapshot.schema, &snapshot.partition_by, unclear, target);
    Ok(RowsOfFiles::Counted(rows + search(bench, scan, paths).await?))
}

enum Holds {
    Nothing,
    /// All of its rows match.
    Only(u64),
    Perhaps,
}

fn holds(file: &DataFile, snapshot: &Snapshot, wanted: &BTreeSet<&str>) -> Holds {
    let Ok(field) = snapshot.schema.field_with_name(SOURCE_FILE) else { return Holds::Nothing };
    let bounds = (file.min(SOURCE_FILE, field.data_type()), file.max(SOURCE_FILE, field.data_type()));
    let (Some(min), Some(max)) = bounds else { return Holds::Perhaps };
    let (Some(Some(min)), Some(Some(max))) = (min.try_as_str(), max.try_as_str()) else { return Holds::Perhaps };
    if min > max || wanted.range::<&str, _>(min..=max).next().is_none() {
        return Holds::Nothing;
    }
    match (min == max && file.null_count(SOURCE_FILE) == Some(0), file.rows()) {
        (true, Some(rows)) => Holds::Only(rows),
        _ => Holds::Perhaps,
    }
}

async fn search(bench: &Workbench, scan: DeltaScan, paths: &[String]) -> Result<u64> {
    if scan.files().is_empty() {
        return Ok(0);
    }
    let doing = "count rows of files that are gone";
    let gone =
        LogicalPlanBuilder::from(text_rows(SOURCE_FILE, paths)?).alias("gone").and_then(LogicalPlanBuilder::build);
    let keys = || vec![Column::from_name(SOURCE_FILE)];
    let plan = LogicalPlanBuilder::scan("target", provider_as_source(Arc::new(scan)), None)
        .and_then(|plan| plan.project([ident(SOURCE_FILE)]))
        .and_then(|plan| {
            plan.join_detailed(gone?, JoinType::LeftSemi, (keys(), keys()), None, NullEquality::NullEqualsNothing)
        });
    count_of(bench, doing, plan).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_gone_are_named_with_their_rows_and_what_becomes_of_these() {
        let say = |count: usize, rows: RowsOfFiles, fate: Fate| {
            let gone: Vec<String> = (0..count).map(|n| format!("{n}.csv")).collect();
            sentence("s", &gone, rows, fate)
        };
        for (said, expected) in [
            (
                say(1, RowsOfFiles::Counted(1), Fate::Kept),
                "raw.s: 1 file that was read is gone; its only row stays: `0.csv`",
            ),
            (
                say(1, RowsOfFiles::Counted(0), Fate::Kept),
                "raw.s: 1 file that was read is gone; the table has no rows of it: `0.csv`",
            ),
            (
                say(5, RowsOfFiles::Counted(12), Fate::Removed),
                "raw.s: 5 files that were read are gone; their 12 rows are removed: `0.csv`, `1.csv`, `2.csv` and 2 more",
            ),
            (
                say(2, RowsOfFiles::AtLeast(7), Fate::Kept),
                "raw.s: 2 files that were read are gone; their rows stay, at least 7: `0.csv`, `1.csv`",
            ),
            (
                say(2, RowsOfFiles::Unknown, Fate::Replaced),
                "raw.s: 2 files that were read are gone; their rows go too, because all rows are replaced; how many is not known, as \
                 the table has no column `source_file`: `0.csv`, `1.csv`",
            ),
        ] {
            assert_eq!(said, expected);
        }
    }
}
