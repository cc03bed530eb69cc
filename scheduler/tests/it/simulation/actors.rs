//! What processes do: they look for triggers and drive them. Clients submit.

use std::num::NonZeroUsize;
use std::sync::Arc;

use chrono::TimeDelta;
use pulse_core::decide::Asked;
use pulse_core::graph::Graph;
use pulse_core::queue::QueueName;
use pulse_core::retry::RetryPolicy;
use pulse_core::run::{NotRunJobs, TriggerId};
use pulse_core::settings::Settings;
use pulse_scheduler::api::{On, SubmitRequest};
use pulse_scheduler::clock::Clock as _;
use pulse_scheduler::driver::{DriveOptions, Submission};
use pulse_scheduler::ledger::{Limits, Origin};

use super::LEASE;
use super::ledger::Ledger;
use super::life::Life;
use super::runs::Model;
use super::tables::job_name;
use super::world::{PROCESSES, World};

const OPTIONS: DriveOptions = DriveOptions {
    concurrent_runs: NonZeroUsize::MIN.saturating_add(1),
    retry: RetryPolicy { attempts: 6, backoff: TimeDelta::milliseconds(200) },
    progress_timeout: TimeDelta::seconds(2),
    run_timeout: Some(TimeDelta::seconds(120)),
    longest_run: TimeDelta::seconds(120),
    lease: LEASE,
    // Processes die all the time.
    driver_attempts: usize::MAX,
};

/// Drives a trigger until it ends, or is driven elsewhere, or the ledger does not answer.
pub(super) async fn drive(life: &Life, trigger: &TriggerId) {
    let upstream = life.world.tables(|tables, _| {
        let sources = tables.sources.iter().enumerate();
        sources.map(|(job, source)| (job_name(job), source.iter().map(|s| job_name(*s)).collect())).collect()
    });
    let submission = Submission {
        trigger: trigger.clone(),
        origin: Origin::Submitted,
        graph: Graph::from_upstream(upstream).unwrap(),
        not_run: NotRunJobs::default(),
        asked: Asked::default(),
        options: OPTIONS,
        limits: std::collections::BTreeMap::new(),
        work: None,
        permits: None,
        queue: QueueName::default(),
    };
    let (notices, _) = tokio::sync::mpsc::unbounded_channel();
    let runs = Arc::new(Model::new(life.clone()));
    // An error is of the ledger; the trigger is taken up again.
    drop(
        pulse_scheduler::driver::drive(Ledger::of_driver(life), runs, submission, notices, std::future::pending())
            .await,
    );
}

/// As a scheduler does, for as long as it lives.
pub(super) async fn look_for_triggers(life: &Life) {
    let ledger = Ledger::of(life);
    loop {
        life.rest(LEASE.length.num_milliseconds() / 2).await;
        for trigger in ledger.open().await.unwrap_or_default() {
            if life.world.is_driven_by(life.process, &trigger) {
                continue;
            }
            let is_free = matches!(ledger.is_driven(&trigger, life.now(), LEASE).await, Ok(false));
            if is_free && matches!(ledger.submission(&trigger).await, Ok(Some(_))) {
                life.world.drive(life.process, &trigger);
            }
        }
    }
}

/// Submits with a key, again and again until there is an answer.
pub(super) async fn submit(world: &Arc<World>, key: usize, mut process: usize) -> TriggerId {
    let request = SubmitRequest {
        key: format!("key-{key}").parse().unwrap(),
        files: pulse_core::project::ProjectFiles::default(),
        variables: std::collections::BTreeMap::new(),
        lake: "memory:///".to_owned(),
        jobs: Vec::new(),
        not_run: NotRunJobs::default(),
        asked: Asked::default(),
        on: On::Local,
        queue: QueueName::default(),
    };
    loop {
        if let Some(life) = world.life(process) {
            let ledger = Ledger::of(&life);
            let submitted = ledger.submit(world.fresh(&life), request.clone(), Limits::of(&Settings::default()));
            let answered = tokio::select! {
                biased;
                () = life.ended() => None,
                trigger = submitted => trigger.ok(),
            };
            if let Some(trigger) = answered {
                world.drive(process, &trigger);
                return trigger;
            }
        }
        world.time.sleep(100).await;
        process = (process + 1) % PROCESSES;
    }
}
