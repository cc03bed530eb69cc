//! Histories of drivers over a store that loses, doubles and delays answers: processes crash before and after anything that
//! they do, freeze and wake up as zombies, their clocks differ, clients submit twice. The driver, its leases and the ledger are
//! the real ones, and so are the protocols of commits; the tables are a model. Who does what next is decided by a seed.

mod actors;
mod happening;
mod ledger;
mod life;
mod pair;
mod quarantine;
mod random;
mod runs;
mod tables;
mod time;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;
use object_store::ObjectStore;
use object_store::path::Path;
use pulse_core::lease::LeaseOptions;
use pulse_core::run::{RunState, TriggerId};
use pulse_scheduler::ledger::RunStore;

use tables::job_no;
use world::World;

const LEASE: LeaseOptions =
    LeaseOptions { length: TimeDelta::milliseconds(1500), clock_margin: TimeDelta::milliseconds(500) };

/// Mistakes that are made on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    /// A commit goes behind whatever came first without looking at it.
    NoTxn,
    /// Whoever comes drives.
    LeaseIgnored,
    LeaseIgnoredWithoutTxn,
    /// A run that was cut off is begun again without a look into the table's log.
    NoLookUp,
    /// The table does not say which version of the quarantine is its own: what has the number of the next run is taken for
    /// that of a run that died, and everything else for the table's.
    QuarantineUnnamed,
    /// Nobody looks whether the quarantine is what the table names.
    QuarantineLeft,
    /// A driver that has lost its lease overwrites the records of the next one.
    RecordsUnfenced,
}

/// What must not be.
#[derive(Debug)]
struct Violation(String);

/// Histories that run in `cargo test`.
const HISTORIES: u64 = 3_000;

/// The first history among so many that goes wrong, with what went wrong; otherwise the requests of all of them.
fn search(histories: u64, bug: Option<Bug>) -> Result<usize, (u64, String)> {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let results: Vec<Result<usize, (u64, String)>> = std::thread::scope(|scope| {
        let part = |first: u64| {
            let mut requests = 0;
            for seed in (first..histories).step_by(threads as usize) {
                requests += World::run(seed, bug, check).map_err(|Violation(what)| (seed, what))?;
            }
            Ok(requests)
        };
        let running: Vec<_> = (0..threads).map(|first| scope.spawn(move || part(first))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut requests = 0;
    let mut worst: Option<(u64, String)> = None;
    for result in results {
        match result {
            Ok(of_thread) => requests += of_thread,
            Err(found) if worst.as_ref().is_none_or(|(seed, _)| found.0 < *seed) => worst = Some(found),
            Err(_) => {}
        }
    }
    worst.map_or(Ok(requests), Err)
}

/// After everything has ended, ledger and logs must agree.
async fn check(world: &World) -> Result<(), Violation> {
    let memory: Arc<dyn ObjectStore> = Arc::<object_store::memory::InMemory>::clone(&world.memory);
    let ledger = RunStore::over(memory, &Path::default());
    let told = world.told();
    for (key, trigger) in &told {
        let others: BTreeSet<&TriggerId> = told.iter().filter(|(k, _)| k == key).map(|(_, t)| t).collect();
        if others.len() > 1 {
            return Err(Violation(format!("key {key} is {others:?}")));
        }
        if ledger.exit(trigger).await.unwrap().is_none() {
            return Err(Violation(format!("trigger {trigger} was accepted and has no end")));
        }
        check_trigger(world, &ledger, trigger).await?;
    }
    // The last trigger ran undisturbed.
    world.tables(|tables, _| tables.check_end())
}

async fn check_trigger(world: &World, ledger: &RunStore, trigger: &TriggerId) -> Result<(), Violation> {
    let records = ledger.records(trigger).await.unwrap();
    let jobs = world.tables(|tables, _| tables.sources.len());
    if records.len() != jobs {
        return Err(Violation(format!("trigger {trigger} has {} records", records.len())));
    }
    for record in &records {
        let run = record.run.to_string();
        let (committed, is_late) =
            world.tables(|tables, _| (tables.committed(job_no(&record.job), &run), tables.late.contains(&run)));
        let wrong = match (record.state, committed) {
            (RunState::Succeeded, Some(version)) => record.version != Some(version),
            // The write of a run that was given up, or whose next attempt found that what it had read went away, may arrive
            // later; its rows are right, and the next run finds them.
            (RunState::Unchanged | RunState::Failed | RunState::Cancelled, Some(version)) => {
                record.version != Some(version) && !is_late
            }
            (RunState::Unchanged | RunState::Failed | RunState::Cancelled | RunState::Skipped, None) => false,
            _ => true,
        };
        if wrong {
            return Err(Violation(format!(
                "run {run} is {:?} with version {:?} and has committed {committed:?}",
                record.state, record.version
            )));
        }
    }
    Ok(())
}

#[test]
fn nothing_is_lost_or_doubled_in_thousands_of_histories() {
    match search(HISTORIES, None) {
        Ok(requests) => println!("{requests} requests"),
        Err((seed, what)) => panic!("history {seed}: {what}"),
    }
}

/// The simulation is only worth something if it finds what is wrong.
#[test]
fn planted_mistakes_are_found() {
    for bug in [
        Bug::NoTxn,
        Bug::LeaseIgnoredWithoutTxn,
        Bug::NoLookUp,
        Bug::RecordsUnfenced,
        Bug::QuarantineUnnamed,
        Bug::QuarantineLeft,
    ] {
        let found = search(HISTORIES, Some(bug));
        let (seed, what) = found.expect_err("a planted mistake goes unnoticed");
        println!("{bug:?}: history {seed}: {what}");
    }
}

/// Leases spare work; what keeps tables right are the commits.
#[test]
fn two_drivers_of_one_trigger_leave_one_commit_a_run() {
    for seed in 0..HISTORIES / 10 {
        let ran = World::run(seed, Some(Bug::LeaseIgnored), async |_| Ok(()));
        if let Err(Violation(what)) = ran {
            panic!("history {seed}: {what}");
        }
    }
}
