//! `pulse plan`

use std::process::ExitCode;

use chrono::Utc;
use pulse_core::decide::{Asked, RunPlan};
use pulse_core::name::TableName;
use pulse_core::{Error, Result};
use pulse_engine::job::{Mode, Pinned, Workbench, preview};
use serde::Serialize;

use crate::args::{Global, Selection};
use crate::{output, setup};

/// One line of the plan.
#[derive(Debug, Serialize)]
struct Line {
    job: TableName,
    does: String,
    files: u64,
    bytes: u64,
    #[serde(rename = "where")]
    place: &'static str,
    why: String,
    warnings: Vec<String>,
}

pub(crate) async fn plan(global: &Global, selection: &Selection) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    setup::refuse_mistakes(global, &settings, selection).await?;
    let bench = setup::workbench(global, &settings).await?;
    setup::refuse_missing_roots(&bench.project, selection)?;
    let graph = setup::graph(&bench.project, selection)?;
    let limit = settings.local_limit_mib << 20;
    let mut lines: Vec<Line> = Vec::new();
    for name in graph.order() {
        let waits = graph.upstream(name).find(|up| lines.iter().any(|line| line.job == **up && line.does != "nothing"));
        lines.push(line(&bench, name, &setup::asked(selection)?, limit, waits).await?);
    }
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let files = output::count(line.files);
            vec![
                line.job.to_string(),
                line.does.clone(),
                files,
                output::size(line.bytes),
                line.place.to_owned(),
                line.why.clone(),
            ]
        })
        .collect();
    for line in &lines {
        line.warnings.iter().for_each(|warning| eprintln!("warning: {}: {warning}", line.job));
    }
    output::table(&["job", "does", "files", "reads", "where", "why"], &rows, &lines, global.output)?;
    Ok(ExitCode::SUCCESS)
}

async fn line(
    bench: &Workbench,
    name: &TableName,
    asked: &Asked,
    limit: u64,
    waits: Option<&TableName>,
) -> Result<Line> {
    let job = bench.project.job(name)?;
    match preview(bench, job, asked, Utc::now()).await {
        Ok(pinned) => Ok(known(name, &pinned, limit, waits)),
        // What it reads is made by a job that this plan runs first.
        Err(error) if waits.is_some() && error.kind() == pulse_core::ErrorKind::Invalid && missing_source(&error) => {
            Ok(Line {
                job: name.clone(),
                does: "everything".to_owned(),
                files: 0,
                bytes: 0,
                place: "",
                why: format!(
                    "after {}, whose table does not exist yet",
                    waits.map(ToString::to_string).unwrap_or_default()
                ),
                warnings: Vec::new(),
            })
        }
        Err(error) => Err(error),
    }
}

fn missing_source(error: &Error) -> bool {
    error.message().contains("does not exist in")
}

fn known(name: &TableName, pinned: &Pinned, limit: u64, waits: Option<&TableName>) -> Line {
    let (does, why) = match (&pinned.mode, waits) {
        (Mode::Unchanged, Some(up)) => ("changes".to_owned(), format!("after {up}, what it will have changed")),
        (Mode::Unchanged, None) => ("nothing".to_owned(), "no source changed".to_owned()),
        (Mode::Incremental, _) => ("changes".to_owned(), changes(pinned)),
        (Mode::Full { reason }, _) => ("everything".to_owned(), reason.clone()),
    };
    let files = pinned.files.values().map(|files| files.read.len() as u64).sum::<u64>();
    let place = if pinned.bytes() > limit { "cluster" } else { "in process" };
    let warnings = pinned.files.values().flat_map(|files| files.warnings.clone()).collect();
    Line { job: name.clone(), does, files, bytes: pinned.bytes(), place, why, warnings }
}

fn changes(pinned: &Pinned) -> String {
    let tables = pinned.tables.iter().filter(|(_, table)| table.changed()).map(|(name, table)| {
        format!("{name}: version {}, +{} -{} files", table.now.version, table.added().len(), table.removed().len())
    });
    if let RunPlan::Observe { .. } = pinned.plan {
        return std::iter::once("compares all rows with those of the table".to_owned())
            .chain(tables)
            .collect::<Vec<_>>()
            .join("; ");
    }
    let files = pinned.files.iter().filter(|(_, files)| !files.read.is_empty()).map(|(name, files)| {
        format!(
            "raw.{name}: {} of {} files are new, {} changed",
            files.read.len() - files.replaced.len(),
            files.total,
            files.replaced.len()
        )
    });
    let intervals = pinned.plan.intervals();
    let intervals = (!intervals.is_empty()).then(|| format!("computes {intervals}"));
    files.chain(tables).chain(intervals).collect::<Vec<_>>().join("; ")
}
