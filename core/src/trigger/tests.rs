use super::*;
use proptest::prelude::*;

fn table(index: usize) -> TableName {
    TableName::new("t", &format!("j{index:02}")).unwrap()
}

/// Job `i` reads the jobs of `edges[i]`.
fn graph(edges: &[&[usize]]) -> Graph {
    let upstream =
        edges.iter().enumerate().map(|(job, tables)| (table(job), tables.iter().map(|t| table(*t)).collect()));
    Graph::from_upstream(upstream.collect()).unwrap()
}

fn trigger(edges: &[&[usize]], concurrent_runs: usize) -> Trigger {
    Trigger::new(graph(edges), NonZeroUsize::new(concurrent_runs).unwrap())
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

fn finished(job: usize, outcome: RunOutcome) -> TriggerEvent {
    TriggerEvent::RunFinished { job: table(job), outcome }
}

/// One word an action: `start j01`, `skipped j02`, `exit 1`.
fn words(actions: &[TriggerAction]) -> Vec<String> {
    let word = |action: &TriggerAction| match action {
        TriggerAction::StartRun { job } => format!("start {}", job.table()),
        TriggerAction::CancelRun { job } => format!("cancel {}", job.table()),
        TriggerAction::Record { job, state, .. } => format!("{state} {}", job.table()),
        TriggerAction::Finish { exit } => format!("exit {}", exit.code()),
    };
    actions.iter().map(word).collect()
}

#[test]
fn runs_start_when_their_upstream_has_succeeded_and_a_place_is_free() {
    let mut trigger = trigger(&[&[], &[0], &[0], &[1, 2]], 1);
    assert_eq!(words(&trigger.apply(TriggerEvent::Started, now())), ["start j00"]);
    let mut step = |event| words(&trigger.apply(event, now()));
    assert_eq!(step(finished(0, RunOutcome::Succeeded)), ["succeeded j00", "start j01"]);
    assert_eq!(step(finished(1, RunOutcome::Unchanged)), ["unchanged j01", "start j02"]);
    assert_eq!(step(finished(2, RunOutcome::Succeeded)), ["succeeded j02", "start j03"]);
    assert_eq!(step(finished(3, RunOutcome::Succeeded)), ["succeeded j03", "exit 0"]);
}

#[test]
fn a_failure_skips_what_is_downstream_and_the_rest_goes_on() {
    let mut trigger = trigger(&[&[], &[0], &[1], &[]], 4);
    assert_eq!(words(&trigger.apply(TriggerEvent::Started, now())), ["start j00", "start j03"]);
    let actions = trigger.apply(finished(0, RunOutcome::ExpectationFailed), now());
    assert_eq!(words(&actions), ["failed j00", "skipped j01", "skipped j02"]);
    let TriggerAction::Record { reason: Some(reason), .. } = &actions[2] else { panic!("{actions:?}") };
    assert_eq!(reason, "`t.j00`, which it reads from, is failed");
    assert_eq!(words(&trigger.apply(finished(3, RunOutcome::Succeeded), now())), ["succeeded j03", "exit 3"]);
}

#[test]
fn a_cancelled_trigger_waits_for_what_runs_and_starts_no_more() {
    let mut trigger = trigger(&[&[], &[0], &[]], 2);
    trigger.apply(TriggerEvent::Started, now());
    assert_eq!(
        words(&trigger.apply(TriggerEvent::CancelRequested, now())),
        ["cancel j00", "cancelled j01", "cancel j02"]
    );
    assert_eq!(words(&trigger.apply(TriggerEvent::CancelRequested, now())), Vec::<String>::new());
    // It was committed before the request reached it.
    assert_eq!(words(&trigger.apply(finished(0, RunOutcome::Succeeded), now())), ["succeeded j00"]);
    assert_eq!(words(&trigger.apply(finished(2, RunOutcome::Cancelled), now())), ["cancelled j02", "exit 130"]);
    assert_eq!(trigger.exit(), Some(TriggerExit::Cancelled));
}

#[test]
fn a_request_that_comes_too_late_does_not_make_a_success_a_failure() {
    let mut trigger = trigger(&[&[]], 1);
    trigger.apply(TriggerEvent::Started, now());
    assert_eq!(words(&trigger.apply(TriggerEvent::CancelRequested, now())), ["cancel j00"]);
    assert_eq!(words(&trigger.apply(finished(0, RunOutcome::Succeeded), now())), ["succeeded j00", "exit 0"]);
}

#[test]
fn one_cancelled_run_skips_what_is_downstream() {
    let mut trigger = trigger(&[&[], &[0]], 1);
    trigger.apply(TriggerEvent::Started, now());
    assert_eq!(
        words(&trigger.apply(finished(0, RunOutcome::Cancelled), now())),
        ["cancelled j00", "skipped j01", "exit 130"]
    );
}

#[test]
fn nothing_to_run_is_done_at_once() {
    assert_eq!(words(&trigger(&[], 1).apply(TriggerEvent::Started, now())), ["exit 0"]);
}

#[test]
fn the_worst_run_decides_the_exit() {
    let mut trigger = trigger(&[&[], &[], &[]], 3);
    trigger.apply(TriggerEvent::Started, now());
    trigger.apply(finished(0, RunOutcome::Failed), now());
    trigger.apply(finished(1, RunOutcome::ExpectationFailed), now());
    assert_eq!(words(&trigger.apply(finished(2, RunOutcome::Succeeded), now())), ["succeeded j02", "exit 1"]);
}

#[test]
fn a_resumed_trigger_does_not_run_again_what_has_ended() {
    let ended = BTreeMap::from([(table(0), RunOutcome::Succeeded), (table(2), RunOutcome::Failed)]);
    let mut trigger = Trigger::resume(graph(&[&[], &[0], &[], &[2]]), NonZeroUsize::MIN, &ended);
    assert_eq!(words(&trigger.apply(TriggerEvent::Started, now())), ["skipped j03", "start j01"]);
    assert_eq!(words(&trigger.apply(finished(1, RunOutcome::Succeeded), now())), ["succeeded j01", "exit 1"]);
}

const OUTCOMES: [RunOutcome; 5] = [
    RunOutcome::Succeeded,
    RunOutcome::Unchanged,
    RunOutcome::Failed,
    RunOutcome::ExpectationFailed,
    RunOutcome::Cancelled,
];

/// A graph without a cycle: job `i` reads some of the jobs before it.
fn edges() -> impl Strategy<Value = Vec<BTreeSet<usize>>> {
    prop::collection::vec(prop::collection::btree_set(0_usize..12, 0..4), 0..12).prop_map(|mut edges| {
        for (job, tables) in edges.iter_mut().enumerate() {
            tables.retain(|table| *table < job);
        }
        edges
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn every_job_runs_at_most_once_after_its_upstream_and_the_trigger_ends(
        edges in edges(),
        concurrent_runs in 1_usize..5,
        choices in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12), 12),
        cancel_after in prop::option::of(0_usize..12),
    ) {
        let borrowed: Vec<Vec<usize>> = edges.iter().map(|tables| tables.iter().copied().collect()).collect();
        let slices: Vec<&[usize]> = borrowed.iter().map(Vec::as_slice).collect();
        let mut trigger = trigger(&slices, concurrent_runs);
        let mut running: Vec<TableName> = Vec::new();
        let mut started = BTreeSet::new();
        let mut outcomes: BTreeMap<TableName, RunState> = BTreeMap::new();
        let mut exits = Vec::new();
        let mut actions = trigger.apply(TriggerEvent::Started, now());
        for (step, (choice, kind)) in choices.iter().enumerate() {
            if cancel_after == Some(step) {
                actions.extend(trigger.apply(TriggerEvent::CancelRequested, now()));
            }
            for action in actions.drain(..) {
                prop_assert!(exits.is_empty(), "an action after the last one");
                match action {
                    TriggerAction::StartRun { job } => {
                        prop_assert!(started.insert(job.clone()), "{job} started twice");
                        let index: usize = job.table()[1..].parse().unwrap();
                        for upstream in &edges[index] {
                            prop_assert!(outcomes.get(&table(*upstream)).is_some_and(|state| state.is_success()));
                        }
                        prop_assert!(cancel_after.is_none_or(|after| step <= after), "started after the cancel");
                        running.push(job);
                        prop_assert!(running.len() <= concurrent_runs);
                    }
                    TriggerAction::CancelRun { job } => prop_assert!(running.contains(&job)),
                    TriggerAction::Record { job, state, .. } => {
                        prop_assert!(state.is_final());
                        prop_assert_eq!(outcomes.insert(job, state), None);
                    }
                    TriggerAction::Finish { exit } => exits.push(exit),
                }
            }
            if !running.is_empty() {
                let job = running.remove(choice.index(running.len()));
                // Most runs succeed, or no run would get far.
                let outcome = OUTCOMES.get(*kind).copied().unwrap_or(RunOutcome::Succeeded);
                actions = trigger.apply(TriggerEvent::RunFinished { job: job.clone(), outcome }, now());
                // The same event again is no event.
                prop_assert_eq!(trigger.apply(TriggerEvent::RunFinished { job, outcome }, now()), vec![]);
            }
        }
        for action in actions {
            match action {
                TriggerAction::Record { job, state, .. } => prop_assert_eq!(outcomes.insert(job, state), None),
                TriggerAction::Finish { exit } => exits.push(exit),
                other => prop_assert!(false, "{:?} at the end", other),
            }
        }
        prop_assert_eq!(exits.len(), 1);
        prop_assert_eq!(outcomes.len(), edges.len());
        let success = outcomes.values().all(|state| state.is_success());
        prop_assert_eq!(success, exits[0] == TriggerExit::Done);
    }
}
