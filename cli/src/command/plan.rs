//! `pulse plan`

use std::collections::BTreeMap;
use std::process::ExitCode;

use chrono::Utc;
use pulse_core::decide::{Asked, RunPlan};
use pulse_core::manifest::{Read, Sink};
use pulse_core::name::TableName;
use pulse_core::project::Job;
use pulse_core::sql::EXTERNAL;
use pulse_core::{Error, ErrorKind, Result};
use pulse_engine::job::{Inferred, Mode, Pinned, Workbench, check_each, check_roots, external_schemas, preview};
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::{Global, Selection};
use crate::home::home;
use crate::runnable::{Selected, as_written, distinct};
use crate::{output, setup};

/// One line of the plan.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Line {
    #[schemars(with = "String")]
    job: TableName,
    does: Does,
    files: u64,
    bytes: u64,
    #[serde(rename = "where")]
    place: Option<&'static str>,
    why: String,
    warnings: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Does {
    Nothing,
    Changes,
    Everything,
    /// It cannot be planned.
    Error,
    /// It reads the table of a job that cannot be planned.
    Blocked,
}

impl Does {
    fn word(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Changes => "changes",
            Self::Everything => "everything",
            Self::Error => "error",
            Self::Blocked => "blocked",
        }
    }
}

impl Line {
    fn new(job: &TableName, does: Does, why: String) -> Self {
        Self { job: job.clone(), does, files: 0, bytes: 0, place: None, why, warnings: Vec::new() }
    }
}

/// Every job has its line, also one that cannot be planned; the exit code is that of the first error.
pub(crate) async fn plan(global: &Global, selection: &Selection) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    let Selected { parsed, graph, good } = Selected::new(home(global)?.parsed()?, selection)?;
    let asked = setup::asked(selection)?;
    let limit = settings.local_limit_mib << 20;
    let bench = setup::workbench_of(parsed.project, global, &settings).await?;
    let external = external_schemas(bench.lake.stores(), &bench.project, &good).await?;
    let mut checked = check_each(&bench.state, &bench.project, &external, &good).await?;
    as_written(global, &mut checked)?;
    checked.blocked.extend(parsed.blocked);
    let mut errors: BTreeMap<TableName, Error> = std::mem::take(&mut checked.mistakes).into_iter().collect();
    errors.extend(parsed.mistakes.into_iter().filter(|(name, _)| graph.contains(name)));
    let mut lines: Vec<Line> = Vec::new();
    for name in graph.order() {
        let stopped = checked.blocked.get(name).or_else(|| not_planned(&lines, graph.upstream(name)));
        let line = match (errors.get(name), stopped) {
            (Some(error), _) => Line::new(name, Does::Error, in_a_line(error)),
            (None, Some(up)) => Line::new(name, Does::Blocked, format!("after {up}, which cannot be planned")),
            (None, None) => {
                match line(&bench, name, &asked, limit, &runs(&lines, graph.upstream(name)), &checked).await {
                    Ok(line) => line,
                    Err(error) => Line::new(name, Does::Error, in_a_line(errors.entry(name.clone()).or_insert(error))),
                }
            }
        };
        lines.push(line);
    }
    print(&lines, global)?;
    Ok(output::errors(&distinct(errors.into_values())).unwrap_or(ExitCode::SUCCESS))
}

/// The first upstream job that cannot be planned.
fn not_planned<'a>(lines: &[Line], mut upstream: impl Iterator<Item = &'a TableName>) -> Option<&'a TableName> {
    let stops = |name: &TableName| {
        lines.iter().any(|line| line.job == *name && matches!(line.does, Does::Error | Does::Blocked))
    };
    upstream.find(|name| stops(name))
}

/// Upstream jobs that do something first.
fn runs<'a>(lines: &[Line], upstream: impl Iterator<Item = &'a TableName>) -> Vec<&'a TableName> {
    let runs = |name: &&TableName| lines.iter().any(|line| line.job == **name && line.does != Does::Nothing);
    upstream.filter(runs).collect()
}

fn in_a_line(error: &Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn print(lines: &[Line], global: &Global) -> Result<()> {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let (files, bytes) = (output::count(line.files), output::size(line.bytes));
            let word = line.does.word().to_owned();
            vec![line.job.to_string(), word, files, bytes, line.place.unwrap_or_default().to_owned(), line.why.clone()]
        })
        .collect();
    for line in lines {
        line.warnings.iter().for_each(|warning| eprintln!("warning: {}: {warning}", line.job));
    }
    let keys = ["job", "does", "files", "bytes", "where", "why"];
    output::listing((&["job", "does", "files", "reads", "where", "why"], &keys), &rows, lines, global.output)
}

async fn line(
    bench: &Workbench,
    name: &TableName,
    asked: &Asked,
    limit: u64,
    waits: &[&TableName],
    checked: &Inferred,
) -> Result<Line> {
    check_roots(&bench.project, std::slice::from_ref(name))?;
    let job = bench.project.job(name)?;
    match (preview(bench, job, asked, Utc::now()).await, waits) {
        (Ok(pinned), _) => Ok(known(job, &pinned, limit, waits)),
        // What it reads is made by a job that this plan runs first.
        (Err(error), [first, ..]) if error.kind() == ErrorKind::Invalid && missing_source(&error) => {
            Ok(Line::new(name, Does::Everything, format!("after {first}, whose table does not exist yet")))
        }
        (Err(error), _) if error.kind() == ErrorKind::Invalid => match changes_columns(bench, waits, checked).await? {
            Some(first) => Ok(Line::new(name, Does::Everything, format!("after {first}, whose columns change"))),
            None => Err(error),
        },
        (Err(error), _) => Err(error),
    }
}

/// The first of some jobs whose next run changes the columns of its table.
async fn changes_columns<'a>(
    bench: &Workbench,
    jobs: &[&'a TableName],
    checked: &Inferred,
) -> Result<Option<&'a TableName>> {
    for &name in jobs {
        let (Some(wanted), Some(now)) = (checked.schemas.get(name), bench.lake.table(name)?.snapshot(None).await?)
        else {
            continue;
        };
        if wanted.fields().iter().any(|field| now.schema.field_with_name(field.name()).is_err()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn missing_source(error: &Error) -> bool {
    error.message().contains("does not exist in")
}

fn known(job: &Job, pinned: &Pinned, limit: u64, waits: &[&TableName]) -> Line {
    let waits: Vec<&TableName> = waits.iter().copied().filter(|up| job.query.tables().contains(*up)).collect();
    let (does, why) = match (&pinned.mode, waits.iter().find_map(|up| rebuilds_after(job, up))) {
        (Mode::Full { reason }, _) => (Does::Everything, reason.clone()),
        (Mode::Unchanged | Mode::Incremental, Some(reason)) => (Does::Everything, reason),
        (Mode::Unchanged, None) if !pinned.databases.is_empty() => (Does::Changes, databases(&pinned.databases)),
        (Mode::Unchanged, None) if waits.is_empty() => (Does::Nothing, "no source changed".to_owned()),
        (Mode::Unchanged, None) => (Does::Changes, after(&waits)),
        (Mode::Incremental, None) => {
            let later = (!waits.is_empty()).then(|| after(&waits));
            (Does::Changes, std::iter::once(changes(pinned)).chain(later).collect::<Vec<_>>().join("; "))
        }
    };
    let why = match does {
        Does::Everything => std::iter::once(why).chain(versions(pinned)).collect::<Vec<_>>().join("; "),
        _ => why,
    };
    let files = pinned.files.values().map(|files| files.read.len() as u64).sum::<u64>();
    let bytes = match does {
        Does::Everything => pinned.bytes().max(pinned.tables.values().map(|table| table.now.bytes()).sum()),
        _ => pinned.bytes(),
    };
    let place = Some(if bytes > limit { "cluster" } else { "in process" });
    Line { job: job.name.clone(), does, files, bytes, place, why, warnings: pinned.warnings() }
}

/// Why the job computes everything once a job that it reads has changed its table.
fn rebuilds_after(job: &Job, up: &TableName) -> Option<String> {
    let read = job.manifest.source.get(&up.to_string()).map_or(Read::All, |source| source.read);
    match (job.manifest.interval, &job.manifest.sink, read) {
        (Some(_), ..) => None,
        (None, Sink::Overwrite {}, _) => Some(format!("after {up}, and the sink overwrites")),
        (None, _, Read::All) => Some(format!("after {up}, which it reads whole")),
        (None, _, Read::Changed) => None,
    }
}

/// Tables of others that are read whole.
fn versions(pinned: &Pinned) -> impl Iterator<Item = String> {
    let external = pinned.tables.iter().filter(|(name, _)| name.layer() == EXTERNAL);
    external.map(|(name, table)| {
        let (version, files, bytes) = (table.now.version, table.now.files.len(), output::size(table.now.bytes()));
        format!("{name}: version {version}, {files} files, {bytes}")
    })
}

/// Sources that the run reads of their databases before it decides.
fn databases(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("raw.{name}")).collect();
    format!("{}: the database may have changed", names.join(" and "))
}

fn after(waits: &[&TableName]) -> String {
    let names: Vec<String> = waits.iter().map(ToString::to_string).collect();
    format!("after {}, what it will have changed", names.join(" and "))
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
    let intervals = pinned.plan.intervals();
    let files = pinned.files.iter().filter(|(_, files)| !files.read.is_empty() || !files.removed.is_empty());
    let files = files.map(|(name, files)| {
        let removed = match files.removed.len() {
            0 => String::new(),
            count => format!(", rows of {count} that are gone are removed"),
        };
        let new = files.read.len() - files.replaced.len();
        match intervals.is_empty() {
            true => {
                format!("raw.{name}: {new} of {} files are new, {} changed{removed}", files.total, files.replaced.len())
            }
            // Those that were read before hold rows of other intervals.
            false => format!("raw.{name}: reads all {} files{removed}", files.total),
        }
    });
    let intervals = (!intervals.is_empty()).then(|| format!("computes {intervals}"));
    files.chain(tables).chain(intervals).collect::<Vec<_>>().join("; ")
}
