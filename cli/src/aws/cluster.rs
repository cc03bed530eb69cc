//! `pulse cluster`

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use pulse_aws::clients::Clients;
use pulse_aws::emr::{ClusterSpec, ClusterView, Clusters, Market, Role, Started, StepView, Waited, load};
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};

use crate::agree::agree;
use crate::args::{ClusterAction, Global, Output};
use crate::{output, setup, shape};

pub(crate) async fn cluster(global: &Global, action: ClusterAction) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    let clients = Clients::load().await?;
    let clusters = Clusters::new(&clients);
    match action {
        ClusterAction::Up { no_wait } => up(&clusters, &spec(&settings, &clients).await?, !no_wait).await?,
        ClusterAction::Status { id } => {
            let id = find(&clusters, id, &settings, &clients).await?;
            status(&clusters.view(&id).await?, global.output)?;
        }
        ClusterAction::Scale { machines, id, yes } => {
            let spec = spec(&settings, &clients).await?;
            let id = clusters.find(id.as_deref(), spec.name()).await?;
            scale(&clusters, &id, machines, &spec, yes).await?;
        }
        ClusterAction::Down { id, yes } => {
            let id = find(&clusters, id, &settings, &clients).await?;
            down(&clusters, &id, yes).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn spec(settings: &Settings, clients: &Clients) -> Result<ClusterSpec> {
    load(&settings.cluster_spec, clients, &setup::stores(settings)).await
}

/// The one that is named needs no specification.
async fn find(clusters: &Clusters, id: Option<String>, settings: &Settings, clients: &Clients) -> Result<String> {
    match id {
        Some(id) => Ok(id),
        None => clusters.find(None, spec(settings, clients).await?.name()).await,
    }
}

/// In the first zone that has the machines. The id is all that goes to stdout.
async fn up(clusters: &Clusters, spec: &ClusterSpec, wait: bool) -> Result<()> {
    let mut lacking = None;
    for subnet in spec.zones() {
        let started = clusters.up(spec, subnet).await?;
        let (id, name) = (started.id(), spec.name());
        match &started {
            Started::New { .. } => {
                eprintln!("cluster {id} of the name {name} is starting; this takes about ten minutes")
            }
            Started::Reused { state, .. } => {
                eprintln!("cluster {id} of the name {name} is up already ({state}); it is used")
            }
        }
        let tell = |state: &str| eprintln!("{} {state}", Utc::now().format("%H:%M:%S"));
        if wait && let Waited::NoMachines(error) = clusters.wait(id, spec, tell).await? {
            eprintln!("{}", error.render());
            lacking = Some(error);
            continue;
        }
        output::line(id);
        return Ok(());
    }
    Err(lacking.unwrap_or_else(|| Error::internal("a specification without zones")))
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Core => "core",
        Role::Task => "task",
        Role::Other => "other",
    }
}

/// For programs.
fn for_programs(view: &ClusterView) -> shape::Cluster {
    let groups = view.groups.iter().map(|group| shape::MachineGroup {
        id: group.id.clone(),
        name: group.name.clone(),
        role: role(group.role).to_owned(),
        market: match group.market {
            Market::OnDemand => "on_demand".to_owned(),
            Market::Spot => "spot".to_owned(),
        },
        instance_type: group.instance_type.clone(),
        requested: group.requested as u64,
        running: group.running as u64,
        state: group.state.clone(),
    });
    let step =
        |step: &StepView| shape::Step { id: step.id.clone(), name: step.name.clone(), state: step.state.clone() };
    shape::Cluster {
        id: view.id.clone(),
        name: view.name.clone(),
        state: view.state.clone(),
        reason: view.reason.clone(),
        log_uri: view.log_uri.clone(),
        created: view.created.and_then(DateTime::from_timestamp_millis).map(shape::stamp),
        idle_timeout: view.idle_timeout,
        groups: groups.collect(),
        steps: view.steps.iter().map(step).collect(),
    }
}

fn status(view: &ClusterView, output: Output) -> Result<()> {
    if output == Output::Json {
        return output::table(&[], &[], &[for_programs(view)], output);
    }
    let groups: Vec<Vec<String>> = view
        .groups
        .iter()
        .map(|group| {
            let role = role(group.role);
            let market = match group.market {
                Market::OnDemand => "on demand",
                Market::Spot => "spot",
            };
            let counts = [group.requested.to_string(), group.running.to_string()];
            let [requested, running] = counts;
            vec![
                group.name.clone(),
                role.to_owned(),
                group.instance_type.clone(),
                market.to_owned(),
                requested,
                running,
                group.state.clone(),
            ]
        })
        .collect();
    output::table(
        &["group", "role", "type", "market", "requested", "running", "state"],
        &groups,
        &view.groups,
        output,
    )?;
    if !view.steps.is_empty() && output == Output::Table {
        output::line("");
        let steps: Vec<Vec<String>> =
            view.steps.iter().map(|step| vec![step.id.clone(), step.state.clone(), step.name.clone()]).collect();
        output::table(&["step", "state", "name"], &steps, &view.steps, output)?;
    }
    let created = view.created.and_then(DateTime::from_timestamp_millis);
    let since = created.map_or_else(String::new, |at| format!(" since {} UTC", at.format("%Y-%m-%d %H:%M")));
    let idle = match view.idle_timeout {
        Some(seconds) => format!("ends itself after {} idle minutes", seconds / 60),
        None => "does not end by itself".to_owned(),
    };
    let reason = if view.reason.is_empty() { String::new() } else { format!(" ({})", view.reason) };
    eprintln!("{} {} is {}{reason}{since}; it {idle}; logs: {}", view.id, view.name, view.state, view.log_uri);
    Ok(())
}

async fn scale(clusters: &Clusters, id: &str, machines: usize, spec: &ClusterSpec, yes: bool) -> Result<()> {
    let present = clusters.view(id).await?.units();
    if machines < present {
        eprintln!(
            "EMR chooses which of {present} machines of {id} to end; their executors have up to 90 s to end their tasks, what is \
             cut off runs again elsewhere. The scaler (`scaler = \"emr\"`) ends drained machines only"
        );
        agree(yes)?;
    }
    clusters.scale(id, machines, spec).await?;
    eprintln!("cluster {id}: {machines} machines with executors were asked for, there were {present}");
    Ok(())
}

async fn down(clusters: &Clusters, id: &str, yes: bool) -> Result<()> {
    let view = clusters.view(id).await?;
    if view.state.starts_with("TERMINAT") {
        eprintln!("cluster {id} is {} already", view.state);
        return Ok(());
    }
    for step in view.steps.iter().filter(|step| step.is_open()) {
        eprintln!("still open: step {} {} {}", step.id, step.state, step.name);
    }
    eprintln!("cluster {id} {} with {} machines of executors is {}", view.name, view.units(), view.state);
    agree(yes)?;
    clusters.down(id).await?;
    eprintln!("cluster {id} is ending; tables stay");
    Ok(())
}
