//! `pulse run`

use std::process::ExitCode;

use chrono::Utc;
use pulse_core::decide::Asked;
use pulse_core::graph::Graph;
use pulse_core::run::TriggerId;
use pulse_core::settings::Settings;
use pulse_core::trigger::TriggerExit;
use pulse_core::{Error, Result};
use pulse_engine::job::{Workbench, check_roots, pin};
use pulse_scheduler::api::On;
use pulse_scheduler::driver::{DriveOptions, Driven, Interruption, Placement, Submission, drive};
use pulse_scheduler::ledger::Origin;

use super::submit::run_on_cluster;
use crate::args::{Global, RunOptions, Where};
use crate::interrupt::interrupted;
use crate::runnable::Runnable;
use crate::watch::{Watched, summary, watch};
use crate::{output, setup, shape};

pub(crate) async fn run(global: &Global, options: &RunOptions) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    let runnable = Runnable::new(global, &settings, &options.selection).await?;
    runnable.report();
    if runnable.is_empty() {
        return Ok(ExitCode::from(runnable.exit_code(0)));
    }
    let asked = setup::asked(&options.selection)?;
    if options.on == Where::Cluster {
        return run_on_cluster(global, &settings, &runnable, &options.selection, On::Cluster).await;
    }
    let bench = setup::workbench_of(runnable.project.clone(), global, &settings).await?;
    check_roots(&bench.project, runnable.graph.order())?;
    if options.on == Where::Auto && too_large(&bench, &settings, &runnable.graph, &asked).await? {
        return run_on_cluster(global, &settings, &runnable, &options.selection, On::Auto).await;
    }
    let (id, exit, watched) = drive_here(bench, &settings, runnable.graph.clone(), asked).await?;
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

/// Drives a trigger in this process, and shows its runs.
pub(crate) async fn drive_here(
    bench: Workbench,
    settings: &Settings,
    graph: Graph,
    asked: Asked,
) -> Result<(TriggerId, TriggerExit, Option<Watched>)> {
    let submission = Submission {
        trigger: TriggerId::new(Utc::now(), rand::random()),
        origin: Origin::Here,
        graph,
        asked,
        options: DriveOptions::new(settings),
        work: None,
    };
    let id = submission.trigger.clone();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let watching = tokio::spawn(watch(receiver, submission.graph.order().len()));
    let cancelled = async {
        interrupted().await;
        Interruption::Cancel
    };
    let driven = drive(Placement::Fixed(Box::new(bench)), submission, sender, cancelled).await?;
    let watched = watching.await.ok();
    match driven {
        Driven::Ended(exit) => Ok((id, exit, watched)),
        // Nobody else knows of this trigger.
        Driven::Elsewhere | Driven::Left => Err(Error::internal(format!("another process drives trigger {id}"))),
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
