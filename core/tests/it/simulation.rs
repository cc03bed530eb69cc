//! Histories of drivers over a store that loses, doubles and delays answers: processes crash before and after anything that
//! they do, freeze and wake up as zombies, their clocks differ, clients submit twice. The state machines of triggers, leases
//! and commits, and what a resumed trigger is made of, are the real ones; who does what next is decided by a seed.

mod actors;
mod drive;
mod happening;
mod pair;
mod quarantine;
mod random;
mod store;
mod task;
mod world;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use pulse_core::run::RunState;

use store::{JobNo, Op, TriggerNo};
use world::World;

/// What an actor waits for.
#[derive(Debug)]
enum Pending {
    Op(Op),
    Sleep {
        until: DateTime<Utc>,
    },
    /// For something in the inbox, at most until then.
    Inbox {
        until: DateTime<Utc>,
    },
    End,
}

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

fn run_id(trigger: TriggerNo, job: JobNo) -> String {
    format!("{trigger}/{job}")
}

/// Histories that run in `cargo test`.
const HISTORIES: u64 = 10_000;

/// The first history among so many that goes wrong, with what went wrong; steps of all of them else.
fn search(histories: u64, bug: Option<Bug>) -> Result<usize, (u64, String)> {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let results: Vec<Result<usize, (u64, String)>> = std::thread::scope(|scope| {
        let part = |first: u64| {
            let mut steps = 0;
            for seed in (first..histories).step_by(threads as usize) {
                let mut world = World::new(seed, bug);
                let ran = world.run().and_then(|()| check(&world));
                ran.map_err(|Violation(what)| (seed, what))?;
                steps += world.steps;
            }
            Ok(steps)
        };
        let running: Vec<_> = (0..threads).map(|first| scope.spawn(move || part(first))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut steps = 0;
    let mut worst: Option<(u64, String)> = None;
    for result in results {
        match result {
            Ok(of_thread) => steps += of_thread,
            Err(found) if worst.as_ref().is_none_or(|(seed, _)| found.0 < *seed) => worst = Some(found),
            Err(_) => {}
        }
    }
    worst.map_or(Ok(steps), Err)
}

/// After everything has ended, ledger and logs must tell the same.
fn check(world: &World) -> Result<(), Violation> {
    let store = &world.store;
    for (key, trigger) in &world.told {
        let others: BTreeSet<TriggerNo> = world.told.iter().filter(|(k, _)| k == key).map(|(_, t)| *t).collect();
        if others.len() > 1 {
            return Err(Violation(format!("key {key} is {others:?}")));
        }
        if store.exit(*trigger).is_none() {
            return Err(Violation(format!("trigger {trigger} was accepted and has no end")));
        }
    }
    for trigger in &store.triggers {
        check_trigger(world, *trigger)?;
    }
    // The last trigger ran undisturbed: nothing is left to read, and nothing that no table names is in quarantine.
    for job in 0..store.tables.len() {
        let (consumed, source) = (store.consumed(job), store.source(job));
        if consumed.files < source.files || consumed.corrections != source.corrections {
            return Err(Violation(format!("job {job} has read {consumed:?} of {source:?} in the end")));
        }
        store.check_quarantine(job)?;
    }
    Ok(())
}

fn check_trigger(world: &World, trigger: TriggerNo) -> Result<(), Violation> {
    let store = &world.store;
    let records = store.newest_records(trigger);
    if records.len() != store.sources.len() {
        return Err(Violation(format!("trigger {trigger} has {} records", records.len())));
    }
    for record in &records {
        let run = run_id(trigger, record.job);
        let log = &store.tables[record.job];
        let committed = log.iter().position(|entry| entry.summary.run.as_ref() == Some(&run)).map(|at| at as u64);
        let wrong = match (record.state, committed) {
            (RunState::Succeeded, Some(version)) => record.version != Some(version),
            // The write of a run that was given up, or whose next attempt found that what it had read went away, may arrive
            // later; its rows are right, and the next run finds them.
            (RunState::Unchanged | RunState::Failed | RunState::Cancelled, Some(version)) => {
                record.version != Some(version) && !store.late.contains(&run)
            }
            (RunState::Unchanged | RunState::Failed | RunState::Cancelled | RunState::Skipped, None) => false,
            _ => true,
        };
        if wrong {
            return Err(Violation(format!("run {run} is {record:?} and has committed {committed:?}")));
        }
    }
    Ok(())
}

#[test]
fn nothing_is_lost_or_doubled_in_ten_thousand_histories() {
    if let Err((seed, what)) = search(HISTORIES, None) {
        panic!("history {seed}: {what}");
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
        let mut world = World::new(seed, Some(Bug::LeaseIgnored));
        if let Err(Violation(what)) = world.run() {
            panic!("history {seed}: {what}");
        }
    }
}
