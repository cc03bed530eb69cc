//! `pulse backfill`

use std::process::ExitCode;
use std::time::{Duration, Instant};

use chrono::Utc;
use pulse_core::backfill::{Chunk, open, overlapped};
use pulse_core::decide::{Asked, RunPlan};
use pulse_core::graph::Graph;
use pulse_core::interval::{Interval, parse_stamp};
use pulse_core::interval_set::IntervalSet;
use pulse_core::manifest::IntervalUnit;
use pulse_core::name::TableName;
use pulse_core::project::Job;
use pulse_core::run::NotRunJobs;
use pulse_core::settings::Settings;
use pulse_core::trigger::TriggerExit;
use pulse_core::{ErrorKind, Result};
use pulse_engine::job::{Workbench, check_roots, computed_intervals, pin, preview};

use super::run::{drive_here, print_records};
use crate::agree::agree;
use crate::args::{BackfillOptions, Global};
use crate::runnable::{Planned, Runnable};
use crate::shape::BackfillJob;
use crate::watch::{Watched, summary};
use crate::{output, setup};

pub(crate) async fn backfill(global: &Global, options: &BackfillOptions) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    let span = Interval::parse_bounds(&options.from, &options.to)?;
    let name: TableName = options.job.parse()?;
    let pattern = if options.downstream { format!("{name}+") } else { name.to_string() };
    let runnable = Runnable::all_of(global, &settings, vec![pattern]).await?;
    let bench = setup::workbench_of(runnable.project(), global, &settings).await?;
    bench.project.check_asked(std::slice::from_ref(&name), Some(span))?;
    let graph = &runnable.graph;
    let jobs = graph.order();
    check_roots(&bench.project, jobs)?;
    let backfill = Backfill { global, settings: &settings, bench: &bench, options, name: &name, span, graph };
    let mut lines = Vec::new();
    for job in jobs {
        lines.push(backfill.line(bench.project.job(job)?).await?);
    }
    show(&lines, global)?;
    if lines.iter().all(|line| line.runs == 0) {
        eprintln!("every interval of {span} was computed; --restate computes them again");
        return Ok(ExitCode::SUCCESS);
    }
    agree(options.yes)?;
    backfill.carry_out(jobs).await
}

fn show(lines: &[BackfillJob], global: &Global) -> Result<()> {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let (missing, again) = (line.missing.clone(), line.again.clone());
            let (bytes, runs) = (output::size(line.bytes), line.runs.to_string());
            vec![line.job.clone(), missing, again, bytes, runs, line.why.clone()]
        })
        .collect();
    let head = ["job", "computes", "computes again", "reads", "runs", "why"];
    output::listing((&head, &["job", "missing", "again", "bytes", "runs", "why"]), &rows, lines, global.output)
}

struct Backfill<'a> {
    global: &'a Global,
    settings: &'a Settings,
    bench: &'a Workbench,
    options: &'a BackfillOptions,
    /// The job that was named.
    name: &'a TableName,
    span: Interval,
    /// The jobs, upstream first.
    graph: &'a Graph,
}

/// Runs of one job.
struct Runs {
    /// What each asks for.
    asked: Vec<Asked>,
}

impl Backfill<'_> {
    async fn line(&self, job: &Job) -> Result<BackfillJob> {
        let mut line = BackfillJob {
            job: job.name.to_string(),
            missing: String::new(),
            again: String::new(),
            bytes: 0,
            runs: 1,
            why: String::new(),
        };
        let runs = self.runs(job).await?;
        line.runs = runs.asked.len();
        let Some(first) = runs.asked.first() else {
            line.why = match (self.span_of(job)?, job.manifest.interval) {
                (None, Some(unit)) => {
                    format!("nothing: it computes {unit} at a time, and none in this range has ended")
                }
                _ => "every interval was computed".to_owned(),
            };
            return Ok(line);
        };
        let whole = Asked { interval: self.span_of(job)?, ..*first };
        match pin(self.bench, job, &whole, Utc::now()).await {
            Ok(pinned) => {
                line.bytes = pinned.bytes();
                match &pinned.plan {
                    RunPlan::Nothing if job.name != *self.name => {
                        "what the jobs before it will have changed".clone_into(&mut line.why);
                    }
                    RunPlan::Nothing => "unless a source has changed by then, nothing".clone_into(&mut line.why),
                    RunPlan::Observe { .. } => "compares all rows with those of the table".clone_into(&mut line.why),
                    RunPlan::Changes { intervals, again, .. } => {
                        line.missing = intervals.without(again).to_string();
                        line.again = again.to_string();
                    }
                    RunPlan::Rebuild { reason, intervals, .. } => {
                        line.missing = intervals.to_string();
                        line.why = format!("all rows: {reason}");
                    }
                }
                // What can be refused is refused before anything is written.
                preview(self.bench, job, first, Utc::now()).await?;
            }
            Err(error) if job.name != *self.name && error.kind() == ErrorKind::Invalid => {
                line.why = format!("known once its sources are there: {error}");
            }
            Err(error) => return Err(error),
        }
        if line.why.is_empty() && job.name != *self.name {
            "and intervals whose source rows change".clone_into(&mut line.why);
        }
        Ok(line)
    }

    /// What is left to do, by what the table holds now.
    async fn runs(&self, job: &Job) -> Result<Runs> {
        let Some((unit, start)) = calendar(job)? else { return Ok(Runs { asked: vec![Asked::default()] }) };
        let Some(span) = self.span_of(job)? else { return Ok(Runs { asked: Vec::new() }) };
        let asked =
            |interval| Asked { interval: Some(interval), missing_only: !self.options.restate, ..Asked::default() };
        let table = self.bench.lake.table(&job.name)?.snapshot(None).await?;
        let exists = table.is_some();
        let computed = table.map_or_else(IntervalSet::default, |table| computed_intervals(&table, Some(start)));
        let chunk = self.options.chunk.filter(|_| job.name == *self.name).unwrap_or(Chunk::usual(unit));
        let mut open = open(chunk.split(span, unit)?, &computed, self.options.restate);
        let plan = || async { pin(self.bench, job, &asked(span), Utc::now()).await.map(|pinned| pinned.plan) };
        let rebuilds = || async { matches!(plan().await, Ok(RunPlan::Rebuild { .. })) };
        if open.is_empty() {
            // Rows that intervals were computed from may have changed, or will have, once the jobs before have run.
            if job.name != *self.name || plan().await? != RunPlan::Nothing {
                open.push(span);
            }
        } else if open.len() > 1 && exists && rebuilds().await {
            // One run does it all.
            open = vec![span];
        }
        Ok(Runs { asked: open.into_iter().map(asked).collect() })
    }

    /// None for a job without intervals, and where none of its intervals is meant.
    fn span_of(&self, job: &Job) -> Result<Option<Interval>> {
        Ok(match calendar(job)? {
            None => None,
            Some(_) if job.name == *self.name => Some(self.span),
            Some((unit, start)) => overlapped(self.span, unit, start, Utc::now()),
        })
    }

    async fn carry_out(&self, jobs: &[TableName]) -> Result<ExitCode> {
        let began = Instant::now();
        let mut all = Watched { records: Vec::new(), elapsed: Duration::ZERO };
        let mut code = ExitCode::SUCCESS;
        'jobs: for (place, name) in jobs.iter().enumerate() {
            let runs = self.runs(self.bench.project.job(name)?).await?.asked;
            for (number, asked) in runs.iter().enumerate() {
                let chunk = asked.interval.map(|interval| format!(" {interval}")).unwrap_or_default();
                eprintln!("{name}{chunk}: run {} of {}", number + 1, runs.len());
                let planned =
                    Planned { graph: self.graph.select(std::slice::from_ref(name))?, not_run: NotRunJobs::new() };
                let (_, exit, watched) = drive_here(self.bench.clone(), self.settings, planned, *asked).await?;
                if let Some(watched) = watched {
                    print_records(self.global, &watched)?;
                    all.records.extend(watched.records);
                }
                if exit != TriggerExit::Done {
                    eprintln!("{}", self.remedy(name, asked, jobs.get(place + 1..).unwrap_or_default()));
                    code = ExitCode::from(exit.code());
                    break 'jobs;
                }
            }
        }
        all.elapsed = began.elapsed();
        eprint!("{}", summary(&all));
        Ok(code)
    }

    /// How to go on after a run that did not succeed.
    fn remedy(&self, name: &TableName, asked: &Asked, rest: &[TableName]) -> String {
        let BackfillOptions { from, to, restate, .. } = self.options;
        match (restate, asked.interval) {
            (true, Some(interval)) => {
                let stamp = |time: chrono::DateTime<Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
                let rest: Vec<String> = rest.iter().map(ToString::to_string).collect();
                let then = if rest.is_empty() { String::new() } else { format!(", and then {}", rest.join(", ")) };
                format!(
                    "stopped; to continue: pulse backfill {name} --restate --from {} --to {}{then}",
                    stamp(interval.start),
                    to
                )
            }
            _ => format!(
                "stopped; the same command continues: pulse backfill {} --from {from} --to {to}; computed intervals are skipped",
                self.name
            ),
        }
    }
}

/// Unit and start of a job's intervals.
fn calendar(job: &Job) -> Result<Option<(IntervalUnit, chrono::DateTime<Utc>)>> {
    let start = job.manifest.start.as_deref().map(parse_stamp).transpose()?;
    Ok(job.manifest.interval.zip(start))
}
