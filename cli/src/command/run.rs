//! `pulse run`

use std::process::ExitCode;

use chrono::Utc;
use pulse_core::decide::Asked;
use pulse_core::graph::Graph;
use pulse_core::queue::QueueName;
use pulse_core::run::TriggerId;
use pulse_core::settings::Settings;
use pulse_core::trigger::TriggerExit;
use pulse_core::{Error, Result};
use pulse_engine::job::{Workbench, check_roots, pin};
use pulse_scheduler::api::On;
use pulse_scheduler::driver::{DriveOptions, Driven, Interruption, Placement, Submission, drive};
use pulse_scheduler::ledger::{Origin, RunStore};

use super::submit::run_on_cluster;
use crate::args::{Global, RunOptions, Where};
use crate::interrupt::interrupted;
use crate::runnable::{Places, Planned, Runnable};
use crate::watch::{Watched, summary, watch};
use crate::{output, setup, shape};

pub(crate) async fn run(global: &Global, options: &RunOptions) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    let runnable = Runnable::new(global, &settings, &options.selection, Places::Known).await?;
    runnable.report();
    let asked = setup::asked(&options.selection)?;
    if options.on == Where::Cluster && !runnable.is_empty() {
        let code = run_on_cluster(global, &settings, &runnable, &options.selection, On::Cluster, None).await?;
        return Ok(ExitCode::from(code));
    }
    let bench = setup::workbench_of(runnable.project(), global, &settings).await?;
    check_roots(&bench.project, runnable.graph.order())?;
    if options.on == Where::Auto && too_large(&bench, &settings, &runnable.graph, &asked).await? {
        let code = run_on_cluster(global, &settings, &runnable, &options.selection, On::Auto, None).await?;
        return Ok(ExitCode::from(code));
    }
    let (id, exit, watched) = drive_here(bench, &settings, runnable.planned(), asked).await?;
    if let Some(watched) = watched {
        eprint!("{}", summary(&watched));
        print_records(global, &watched)?;
    }
    eprintln!("details: pulse runs show {id}");
    Ok(ExitCode::from(runnable.exit_code(exit.code())))
}

/// One line of JSON for each run, where that is asked for.
pub(crate) fn print_records(global: &Global, watched: &Watched) -> Result<()> {
    let runs: Vec<shape::Run> = watched.records.iter().map(shape::Run::from).collect();
    output::jsons(&runs, global.output)
}

/// Drives a new trigger in this process, and shows its runs.
pub(crate) async fn drive_here(
    bench: Workbench,
    settings: &Settings,
    planned: Planned,
    asked: Asked,
) -> Result<(TriggerId, TriggerExit, Option<Watched>)> {
    let id = TriggerId::new(Utc::now(), rand::random());
    match drive_as(id.clone(), bench, settings, planned, asked).await? {
        Some((exit, watched)) => Ok((id, exit, watched)),
        // Nobody else knows of this trigger.
        None => Err(Error::internal(format!("another process drives trigger {id}"))),
    }
}

/// Drives a trigger in this process, and shows its runs; `None` when another process drives it.
pub(crate) async fn drive_as(
    trigger: TriggerId,
    bench: Workbench,
    settings: &Settings,
    planned: Planned,
    asked: Asked,
) -> Result<Option<(TriggerExit, Option<Watched>)>> {
    let submission = Submission {
        trigger,
        origin: Origin::Here,
        limits: bench.project.run_limits(planned.graph.order()),
        graph: planned.graph,
        not_run: planned.not_run,
        asked,
        options: DriveOptions::new(settings),
        work: None,
        permits: None,
        queue: QueueName::default(),
    };
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let watching = tokio::spawn(watch(receiver, submission.graph.order().len()));
    let cancelled = async {
        interrupted().await;
        Interruption::Cancel
    };
    let ledger = RunStore::new(&bench.lake)?;
    let driven = drive(ledger, Placement::Fixed(Box::new(bench)).runs(), submission, sender, cancelled).await?;
    let watched = watching.await.ok();
    match driven {
        Driven::Ended(exit) => Ok(Some((exit, watched))),
        Driven::Elsewhere | Driven::Left => Ok(None),
    }
}

/// Whether a job that is ready now reads more than one process should.
async fn too_large(bench: &Workbench, settings: &Settings, graph: &Graph, asked: &Asked) -> Result<bool> {
    for name in graph.order() {
        // A source that does not exist yet is made by this trigger; its size is not known before.
        if let Ok(pinned) = pin(bench, bench.project.job(name)?, asked, Utc::now()).await
            && pinned.bytes() > settings.local_limit_mib << 20
        {
            return Ok(true);
        }
    }
    Ok(false)
}
