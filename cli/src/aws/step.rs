//! `pulse submit --cluster`: jobs as a step of EMR.

use std::process::ExitCode;

use object_store::{ObjectStoreExt as _, PutPayload};
use pulse_aws::clients::Clients;
use pulse_aws::emr::{Clusters, StepOutcome, StepRequest, Steps};
use pulse_core::project::ProjectFiles;
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_engine::error::from_store;
use pulse_engine::store::{folder_url, store_path};

use super::cluster::spec;
use crate::args::{Global, Selection, SubmitOptions, Where};
use crate::home::home;
use crate::interrupt::interrupted;
use crate::runnable::Runnable;
use crate::{output, setup};

/// Exit code of a process that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

pub(crate) async fn step(
    global: &Global,
    settings: &Settings,
    cluster: &str,
    options: &SubmitOptions,
    runnable: &Runnable,
) -> Result<ExitCode> {
    let arguments = arguments(global, options)?;
    let clients = Clients::load().await?;
    let spec = spec(settings, &clients).await?;
    let steps = Steps::new(Clusters::new(&clients), cluster.to_owned());
    let url = upload(settings, &spec.storage.projects, &runnable.files(home(global)?.files()?)?).await?;
    let request = StepRequest {
        name: name(&options.selection),
        spec: &spec.step,
        arguments: std::iter::once(url).chain(arguments).collect(),
    };
    let id = steps.add(request).await?;
    output::line(&id);
    if !options.wait {
        return Ok(ExitCode::SUCCESS);
    }
    let outcome = tokio::select! {
        outcome = steps.follow(&id, |state| eprintln!("step {id} {state}")) => outcome?,
        () = interrupted() => {
            eprintln!("step {id} goes on; `pulse cluster status {cluster}` shows it, `pulse runs cancel` stops its runs");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    match outcome {
        StepOutcome::Completed => Ok(ExitCode::SUCCESS),
        StepOutcome::Failed(error) | StepOutcome::Cancelled(error) => Err(error),
    }
}

/// Of `pulse` on the primary node: it waits, so that the step ends as the runs do.
fn arguments(global: &Global, options: &SubmitOptions) -> Result<Vec<String>> {
    let mut arguments = Vec::new();
    let mut say = |parts: &[&str]| arguments.extend(parts.iter().map(|part| (*part).to_owned()));
    let home = home(global)?;
    // Folders are of this machine, which the cluster does not see: without a URL it takes its own lake.
    if home.lake.contains("://") {
        say(&["--lake", &home.lake]);
    }
    let given = setup::pairs(&global.variables, "--var")?;
    for (name, value) in home.places()? {
        if value.contains("://") {
            say(&["--var", &format!("{name}={value}")]);
        } else if given.contains_key(&name) {
            return Err(Error::invalid(format!(
                "--var {name}={value}: the cluster does not see folders of this machine; give a s3:// URL, or nothing to take \
                 the cluster's own"
            )));
        }
    }
    say(&["submit", "--wait"]);
    let place = match options.on {
        Where::Auto => "auto",
        Where::Local => "local",
        Where::Cluster => "cluster",
    };
    say(&["--on", place]);
    let Selection { jobs, all, from, to, rebuild, allow_loss } = &options.selection;
    for (option, value) in [("--from", from), ("--to", to), ("--key", &options.key)] {
        if let Some(value) = value {
            say(&[option, value]);
        }
    }
    for (option, given) in [("--all", all), ("--rebuild", rebuild), ("--allow-loss", allow_loss)] {
        if *given {
            say(&[option]);
        }
    }
    jobs.iter().for_each(|job| say(&[job]));
    Ok(arguments)
}

fn name(selection: &Selection) -> String {
    match selection.jobs.as_slice() {
        [] => "pulse: all jobs".to_owned(),
        [job] => format!("pulse: {job}"),
        [first, others @ ..] => format!("pulse: {first} and {} more", others.len()),
    }
}

/// The project below `projects`, in a folder of its own; its URL. What lies there is never changed, so that a step which waits
/// runs what was handed in.
async fn upload(settings: &Settings, projects: &str, files: &ProjectFiles) -> Result<String> {
    let folder = format!("{}/{}", projects.trim_end_matches('/'), uuid::Uuid::new_v4());
    let url = folder_url(&folder, &setup::here()?)?;
    let store = setup::stores(settings).client(&url)?;
    let root = store_path(&url)?;
    for (path, text) in files.iter() {
        let to = object_store::path::Path::from_iter(
            root.parts().chain(object_store::path::Path::from(path.as_str()).parts()),
        );
        let put = store.put(&to, PutPayload::from(text.clone().into_bytes())).await;
        put.map_err(|e| from_store(&format!("upload the project to {folder}"), &e))?;
    }
    Ok(folder)
}
