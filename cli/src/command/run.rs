//! `pulse run`

use std::process::ExitCode;

use chrono::Utc;
use pulse_core::run::TriggerId;
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_engine::job::{Workbench, pin};
use pulse_scheduler::api::On;
use pulse_scheduler::driver::{DriveOptions, Driven, Interruption, Placement, Submission, drive};
use pulse_scheduler::ledger::Origin;

use super::submit::run_on_cluster;
use crate::args::{Global, RunOptions, Selection, Where};
use crate::interrupt::interrupted;
use crate::watch::{summary, watch};
use crate::{output, setup};

pub(crate) async fn run(global: &Global, options: &RunOptions) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    setup::refuse_mistakes(global, &settings, &options.selection).await?;
    if options.on == Where::Cluster {
        return run_on_cluster(global, &settings, &options.selection, On::Cluster).await;
    }
    let bench = setup::workbench(global, &settings).await?;
    setup::refuse_missing_roots(&bench.project, &options.selection)?;
    if options.on == Where::Auto && too_large(&bench, &settings, &options.selection).await? {
        return run_on_cluster(global, &settings, &options.selection, On::Auto).await;
    }
    let submission = Submission {
        trigger: TriggerId::new(Utc::now(), rand::random()),
        origin: Origin::Here,
        graph: setup::graph(&bench.project, &options.selection)?,
        asked: setup::asked(&options.selection)?,
        options: DriveOptions::new(&settings),
    };
    let id = submission.trigger.clone();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let watching = tokio::spawn(watch(receiver));
    let asked = async {
        interrupted().await;
        Interruption::Cancel
    };
    let driven = drive(Placement::Fixed(Box::new(bench)), submission, sender, asked).await?;
    if let Ok(watched) = watching.await {
        eprint!("{}", summary(&watched));
        if global.output == crate::args::Output::Json {
            for record in &watched.records {
                output::line(&record.to_json()?);
            }
        }
    }
    eprintln!("trigger {id}; `pulse runs show {id}` tells more");
    match driven {
        Driven::Ended(exit) => Ok(ExitCode::from(exit.code())),
        // Nobody else knows of this trigger.
        Driven::Elsewhere | Driven::Left => Err(Error::internal(format!("another process drives trigger {id}"))),
    }
}

/// Whether a job that is ready now reads more than one process should.
async fn too_large(bench: &Workbench, settings: &Settings, selection: &Selection) -> Result<bool> {
    let asked = setup::asked(selection)?;
    for name in setup::graph(&bench.project, selection)?.order() {
        // A source that does not exist yet is made by this trigger; its size is not known before.
        if let Ok(pinned) = pin(bench, bench.project.job(name)?, &asked, Utc::now()).await
            && pinned.bytes() > settings.local_limit_mib << 20
        {
            return Ok(true);
        }
    }
    Ok(false)
}
