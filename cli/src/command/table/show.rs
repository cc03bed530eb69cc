//! `pulse table show`

use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::FieldRef;
use pulse_core::Result;
use pulse_core::decide::Bookmarks;
use pulse_core::interval::{Interval, parse_stamp};
use pulse_core::interval_set::IntervalSet;
use pulse_core::manifest::IntervalUnit;
use pulse_core::name::TableName;
use pulse_core::sql::EXTERNAL;
use pulse_engine::job::{bookmarks, mark_of};
use pulse_engine::table::{Lake, Snapshot, Table};
use pulse_engine::type_name::type_name;

use super::open;
use crate::args::{Global, Output, ShowFiles};
use crate::home::home;
use crate::output;
use crate::shape;

/// Commits that are shown; `pulse table history` shows others.
const COMMITS: usize = 5;

pub(super) async fn show(global: &Global, lake: &Lake, name: &str, files: ShowFiles) -> Result<()> {
    let (table, snapshot) = open(lake, name).await?;
    let calendar = calendar(global, table.name())?;
    let known = bookmarks(&table, &snapshot, calendar.map(|(_, start)| start)).await?;
    let missing = calendar.map(|(unit, start)| {
        let due = Interval::new(unit.floor(start), unit.floor(Utc::now())).ok();
        IntervalSet::from(due).without(&known.intervals)
    });
    let spans = |set: &IntervalSet| set.iter().map(shape::Span::from).collect();
    let detail = shape::TableDetail {
        table: table.name().to_string(),
        version: snapshot.version,
        location: table.url().to_string(),
        rows: snapshot.rows(),
        files: snapshot.files.len() as u64,
        bytes: snapshot.bytes(),
        columns: columns(&snapshot),
        partition_by: snapshot.partition_by.clone(),
        read_tables: read_tables(lake, &known).await?,
        read_files: read_files(&known, files),
        computed: spans(&known.intervals),
        missing: missing.as_ref().map(spans),
        commits: table.history(COMMITS).await?.into_iter().map(shape::Commit::from).collect(),
    };
    let rows: Vec<Vec<String>> =
        detail.columns.iter().map(|column| vec![column.name.clone(), column.data_type.clone()]).collect();
    output::table(&["column", "type"], &rows, std::slice::from_ref(&detail), global.output)?;
    size(&table, &detail);
    intervals(&known.intervals, missing.as_ref());
    if global.output == Output::Table {
        sources(&detail);
    }
    Ok(())
}

/// Unit and start of the intervals of the job that writes the table, if the project has it.
fn calendar(global: &Global, name: &TableName) -> Result<Option<(IntervalUnit, DateTime<Utc>)>> {
    // A lake can be looked after where its project is not, or is not in order.
    let project = home(global)?.parsed().ok().map(|parsed| parsed.readable());
    let manifest = project.as_ref().and_then(|project| project.jobs.get(name)).map(|job| &job.manifest);
    let start = manifest.and_then(|manifest| manifest.start.as_deref()).map(parse_stamp).transpose()?;
    Ok(manifest.and_then(|manifest| manifest.interval).zip(start))
}

fn columns(snapshot: &Snapshot) -> Vec<shape::Column> {
    let column =
        |field: &FieldRef| shape::Column { name: field.name().clone(), data_type: type_name(field.data_type()) };
    snapshot.schema.fields().iter().map(column).collect()
}

async fn read_tables(lake: &Lake, known: &Bookmarks) -> Result<Vec<shape::ReadTable>> {
    let mut tables = Vec::new();
    for (name, mark) in known.tables() {
        // Where those of others lie, only the project says.
        let newest = match name.layer() == EXTERNAL {
            true => None,
            false => lake.table(&name)?.snapshot(None).await?,
        };
        let now = newest.as_ref().map(mark_of);
        tables.push(shape::ReadTable {
            table: name.to_string(),
            version: mark.version,
            newest: now.map(|now| now.version),
            recreated: now.is_some_and(|now| known.is_another(&name, &now)),
        });
    }
    Ok(tables)
}

fn read_files(known: &Bookmarks, show: ShowFiles) -> Vec<shape::ReadFiles> {
    let files = known.files().into_iter().map(|(source, paths)| shape::ReadFiles {
        source: format!("raw.{source}"),
        files: paths.len() as u64,
        paths: (show == ShowFiles::All).then(|| paths.into_iter().collect()),
    });
    files.collect()
}

fn size(table: &Table, detail: &shape::TableDetail) {
    eprintln!(
        "{} version {}: {} rows in {}, {}; at {}",
        table.name(),
        detail.version,
        detail.rows.map_or_else(|| "unknown".to_owned(), output::count),
        output::plural(detail.files, "file"),
        output::size(detail.bytes),
        detail.location
    );
}

fn intervals(computed: &IntervalSet, missing: Option<&IntervalSet>) {
    let or_none = |set: &IntervalSet| if set.is_empty() { "none".to_owned() } else { set.to_string() };
    match missing {
        Some(missing) => {
            eprintln!("intervals computed: {}\nintervals missing: {}", or_none(computed), or_none(missing));
        }
        None if computed.is_empty() => {}
        None => eprintln!("intervals computed: {}; which are missing, its job tells (--project)", or_none(computed)),
    }
}

/// What it was made from, and how.
fn sources(detail: &shape::TableDetail) {
    for read in &detail.read_tables {
        let now = match (read.recreated, read.newest) {
            (true, _) => ", and another table is there now: the next run computes everything".to_owned(),
            (false, None) => String::new(),
            (false, Some(newest)) if newest == read.version => ", its newest".to_owned(),
            (false, Some(newest)) => format!(", and it is at {newest} now"),
        };
        eprintln!("made from {} version {}{now}", read.table, read.version);
    }
    for read in &detail.read_files {
        eprintln!("made from {}: {}", read.source, output::plural(read.files, "file"));
        for path in read.paths.iter().flatten() {
            eprintln!("  {path}");
        }
    }
    for commit in &detail.commits {
        let at = commit.timestamp.as_deref().map(output::short_stamp).unwrap_or_default();
        let mode = commit.mode.as_deref().unwrap_or("written by others");
        eprintln!("version {} at {at}: {mode}", commit.version);
    }
}
