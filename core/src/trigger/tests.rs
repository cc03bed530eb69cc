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

/// At most three attempts per run, the second after at most a second; an hour per run, a minute without progress.
fn options(jobs: usize, concurrent_runs: usize) -> TriggerOptions {
    TriggerOptions {
        run_attempts: BTreeMap::new(),
        concurrent_runs: NonZeroUsize::new(concurrent_runs).unwrap(),
        waits_for_admission: false,
        retry: RetryPolicy { attempts: 3, backoff: TimeDelta::seconds(1) },
        progress_timeout: TimeDelta::minutes(1),
        run_timeouts: (0..jobs).map(|job| (table(job), TimeDelta::hours(1))).collect(),
        seed: 1,
    }
}

fn trigger(edges: &[&[usize]], concurrent_runs: usize) -> Trigger {
    Trigger::new(graph(edges), options(edges.len(), concurrent_runs))
}

/// Its runs wait for their admission.
fn waiting(edges: &[&[usize]], concurrent_runs: usize) -> Trigger {
    let options = TriggerOptions { waits_for_admission: true, ..options(edges.len(), concurrent_runs) };
    Trigger::new(graph(edges), options)
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

fn after(seconds: i64) -> DateTime<Utc> {
    now() + TimeDelta::seconds(seconds)
}

const BROKEN: RunOutcome = RunOutcome::Failed { kind: ErrorKind::Data };
const BUSY: RunOutcome = RunOutcome::Failed { kind: ErrorKind::Unavailable };

fn finished(job: usize, outcome: RunOutcome) -> TriggerEvent {
    TriggerEvent::RunFinished { job: table(job), outcome }
}

/// One text per action: `start j01`, `skipped j02`, `exit 1`.
fn words(actions: &[TriggerAction]) -> Vec<String> {
    let word = |action: &TriggerAction| match action {
        TriggerAction::StartRun { job, attempt: 1 } => format!("start {}", job.table()),
        TriggerAction::StartRun { job, attempt } => format!("start {} again, {attempt}", job.table()),
        TriggerAction::StopRun { job, why: StopReason::Requested } => format!("cancel {}", job.table()),
        TriggerAction::StopRun { job, why } => format!("stop {} {why:?}", job.table()),
        TriggerAction::Postpone { job, attempt, .. } => format!("postpone {} {attempt}", job.table()),
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
fn a_run_that_waits_for_its_admission_has_not_started() {
    let mut trigger = waiting(&[&[], &[], &[0]], 2);
    assert_eq!(words(&trigger.apply(TriggerEvent::Started, now())), Vec::<String>::new());
    assert!(trigger.wants_admission(now()));
    // Its time limits do not run yet.
    assert_eq!(trigger.wake_at(), None);
    assert_eq!(words(&trigger.apply(TriggerEvent::Tick, after(86_400))), Vec::<String>::new());
    let granted = after(86_400);
    assert_eq!(words(&trigger.apply(TriggerEvent::Admitted, granted)), ["start j00"]);
    assert_eq!(trigger.wake_at(), Some(granted + TimeDelta::minutes(1)));
    assert_eq!(words(&trigger.apply(TriggerEvent::Admitted, granted)), ["start j01"]);
    assert!(!trigger.wants_admission(granted));
    assert_eq!(words(&trigger.apply(TriggerEvent::Admitted, granted)), Vec::<String>::new());
    // A failed run waits for its time, and then for its admission.
    assert_eq!(words(&trigger.apply(finished(1, BUSY), granted)), ["postpone j01 2"]);
    assert!(!trigger.wants_admission(granted));
    assert!(trigger.wants_admission(after(86_402)));
    assert_eq!(words(&trigger.apply(finished(0, RunOutcome::Succeeded), granted)), ["succeeded j00"]);
    let cancelled = words(&trigger.apply(TriggerEvent::CancelRequested, granted));
    assert_eq!(cancelled, ["cancelled j01", "cancelled j02", "exit 130"]);
    assert!(!trigger.wants_admission(after(86_402)));
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
    // It committed before the request arrived.
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
    trigger.apply(finished(0, BROKEN), now());
    trigger.apply(finished(1, RunOutcome::ExpectationFailed), now());
    assert_eq!(words(&trigger.apply(finished(2, RunOutcome::Succeeded), now())), ["succeeded j02", "exit 1"]);
}

#[test]
fn a_resumed_trigger_does_not_run_again_what_has_ended() {
    let ended = [(table(0), Resumed::Ended(RunOutcome::Succeeded)), (table(2), Resumed::Ended(BROKEN))].into();
    let mut trigger = Trigger::resume(graph(&[&[], &[0], &[], &[2]]), options(4, 1), &ended);
    assert_eq!(words(&trigger.apply(TriggerEvent::Started, now())), ["skipped j03", "start j01"]);
    assert_eq!(words(&trigger.apply(finished(1, RunOutcome::Succeeded), now())), ["succeeded j01", "exit 1"]);
}

#[test]
fn an_attempt_that_was_cut_off_counts() {
    let known = [(table(0), Resumed::Attempted(2)), (table(1), Resumed::Attempted(3))].into();
    let mut trigger = Trigger::resume(graph(&[&[], &[], &[1]]), options(3, 2), &known);
    let actions = trigger.apply(TriggerEvent::Started, now());
    assert_eq!(words(&actions), ["failed j01", "skipped j02", "start j00 again, 3"]);
    let TriggerAction::Record { reason: Some(reason), .. } = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(reason, "its driver ended during the last of 3 attempts");
}

#[test]
fn a_run_that_may_end_better_is_tried_again_after_a_while() {
    let mut trigger = trigger(&[&[], &[0], &[]], 1);
    trigger.apply(TriggerEvent::Started, now());
    // Another job may use its slot meanwhile.
    assert_eq!(words(&trigger.apply(finished(0, BUSY), now())), ["postpone j00 2", "start j02"]);
    assert_eq!(words(&trigger.apply(finished(2, RunOutcome::Succeeded), now())), ["succeeded j02"]);
    let until = trigger.wake_at().unwrap();
    assert!(until > now() && until <= after(1), "{until}");
    assert_eq!(words(&trigger.apply(TriggerEvent::Tick, now())), Vec::<String>::new());
    assert_eq!(words(&trigger.apply(TriggerEvent::Tick, until)), ["start j00 again, 2"]);
    let conflict = RunOutcome::Failed { kind: ErrorKind::Conflict };
    assert_eq!(words(&trigger.apply(finished(0, conflict), until)), ["postpone j00 3"]);
    assert_eq!(words(&trigger.apply(TriggerEvent::Tick, after(4))), ["start j00 again, 3"]);
    assert_eq!(words(&trigger.apply(finished(0, BUSY), after(4))), ["failed j00", "skipped j01", "exit 1"]);
}

#[test]
fn what_would_fail_again_is_not_tried_again() {
    for kind in [ErrorKind::Invalid, ErrorKind::Data, ErrorKind::Exhausted, ErrorKind::Internal] {
        let mut trigger = trigger(&[&[]], 1);
        trigger.apply(TriggerEvent::Started, now());
        assert_eq!(words(&trigger.apply(finished(0, RunOutcome::Failed { kind }), now())), ["failed j00", "exit 1"]);
    }
}

#[test]
fn a_run_that_waits_for_its_next_attempt_can_be_cancelled() {
    let mut trigger = trigger(&[&[]], 1);
    trigger.apply(TriggerEvent::Started, now());
    trigger.apply(finished(0, BUSY), now());
    assert_eq!(words(&trigger.apply(TriggerEvent::CancelRequested, now())), ["cancelled j00", "exit 130"]);
}

#[test]
fn a_run_that_fails_while_it_is_asked_to_stop_is_cancelled_and_not_tried_again() {
    let mut trigger = trigger(&[&[]], 1);
    trigger.apply(TriggerEvent::Started, now());
    trigger.apply(TriggerEvent::CancelRequested, now());
    assert_eq!(words(&trigger.apply(finished(0, BUSY), now())), ["cancelled j00", "exit 130"]);
}

#[test]
fn a_run_without_progress_is_stopped_and_tried_again() {
    let mut trigger = trigger(&[&[]], 1);
    trigger.apply(TriggerEvent::Started, now());
    trigger.apply(TriggerEvent::Progressed { job: table(0) }, after(30));
    assert_eq!(words(&trigger.apply(TriggerEvent::Tick, after(89))), Vec::<String>::new());
    assert_eq!(trigger.wake_at(), Some(after(90)));
    assert_eq!(words(&trigger.apply(TriggerEvent::Tick, after(90))), ["stop j00 NoProgress"]);
    // Requested once, then awaited: nothing is recorded before it has ended.
    assert_eq!(words(&trigger.apply(TriggerEvent::Tick, after(300))), Vec::<String>::new());
    assert_eq!(trigger.wake_at(), None);
    let actions = trigger.apply(finished(0, RunOutcome::Cancelled), after(301));
    assert_eq!(words(&actions), ["postpone j00 2"]);
    assert!(matches!(actions[0], TriggerAction::Postpone { stopped: Some(StopReason::NoProgress), .. }));
    assert_eq!(words(&trigger.apply(TriggerEvent::Tick, after(302))), ["start j00 again, 2"]);
    // It was about to commit when the stop was requested.
    trigger.apply(TriggerEvent::Tick, after(400));
    assert_eq!(words(&trigger.apply(finished(0, RunOutcome::Succeeded), after(401))), ["succeeded j00", "exit 0"]);
}

#[test]
fn a_run_that_takes_too_long_ends_for_good() {
    let mut trigger = trigger(&[&[]], 1);
    trigger.apply(TriggerEvent::Started, now());
    for minute in 1..=60 {
        trigger.apply(TriggerEvent::Progressed { job: table(0) }, after(minute * 60 - 1));
    }
    assert_eq!(words(&trigger.apply(TriggerEvent::Tick, after(3599))), Vec::<String>::new());
    assert_eq!(words(&trigger.apply(TriggerEvent::Tick, after(3600))), ["stop j00 TimedOut"]);
    let actions = trigger.apply(finished(0, RunOutcome::Cancelled), after(3601));
    assert_eq!(words(&actions), ["failed j00", "exit 1"]);
    assert!(matches!(actions[0], TriggerAction::Record { stopped: Some(StopReason::TimedOut), .. }));
}

#[test]
fn a_job_has_attempts_of_its_own() {
    let own = [(table(0), 1), (table(1), 4)].into();
    let mut trigger = Trigger::new(graph(&[&[], &[], &[]]), TriggerOptions { run_attempts: own, ..options(3, 3) });
    trigger.apply(TriggerEvent::Started, now());
    let mut attempts = [1_u32; 3];
    let mut at = 0;
    while trigger.exit().is_none() {
        at += 1;
        assert!(at < 100);
        let mut actions: Vec<_> = (0..3).flat_map(|job| trigger.apply(finished(job, BUSY), after(at * 10))).collect();
        actions.extend(trigger.apply(TriggerEvent::Tick, after(at * 10 + 9)));
        for action in actions {
            if let TriggerAction::StartRun { job, attempt } = action {
                let job = (0..3).find(|number| table(*number) == job).unwrap();
                attempts[job] = attempt;
            }
        }
    }
    assert_eq!(attempts, [1, 4, 3]);
}

/// The time limit of a run covers all its attempts.
#[test]
fn no_attempt_starts_when_the_time_of_the_run_is_up() {
    let mut trigger = trigger(&[&[]], 1);
    trigger.apply(TriggerEvent::Started, now());
    assert_eq!(
        words(&trigger.apply(finished(0, BUSY), after(3599) + TimeDelta::milliseconds(900))),
        ["failed j00", "exit 1"]
    );
}

const OUTCOMES: [RunOutcome; 6] =
    [RunOutcome::Succeeded, RunOutcome::Unchanged, BROKEN, BUSY, RunOutcome::ExpectationFailed, RunOutcome::Cancelled];

/// A graph without a cycle: job `i` reads some of the jobs before it.
fn edges() -> impl Strategy<Value = Vec<BTreeSet<usize>>> {
    prop::collection::vec(prop::collection::btree_set(0_usize..12, 0..4), 0..12).prop_map(|mut edges| {
        for (job, tables) in edges.iter_mut().enumerate() {
            tables.retain(|table| *table < job);
        }
        edges
    })
}

/// The trigger's actions so far, to check them against its rules.
#[derive(Default)]
struct Told {
    running: Vec<TableName>,
    attempts: BTreeMap<TableName, u32>,
    ended: BTreeMap<TableName, RunState>,
    exits: Vec<TriggerExit>,
    cancelled: bool,
}

impl Told {
    fn take(&mut self, actions: Vec<TriggerAction>, edges: &[BTreeSet<usize>]) -> Result<(), TestCaseError> {
        for action in actions {
            prop_assert!(self.exits.is_empty(), "an action after the last one");
            match action {
                TriggerAction::StartRun { job, attempt } => {
                    let before = self.attempts.insert(job.clone(), attempt).unwrap_or_default();
                    prop_assert_eq!(attempt, before + 1, "{} started twice", job);
                    prop_assert!(attempt <= 3);
                    prop_assert!(!self.cancelled, "started after the cancel");
                    let index: usize = job.table()[1..].parse().unwrap();
                    for upstream in &edges[index] {
                        prop_assert!(self.ended.get(&table(*upstream)).is_some_and(|state| state.is_success()));
                    }
                    self.running.push(job);
                }
                TriggerAction::StopRun { job, .. } => prop_assert!(self.running.contains(&job)),
                TriggerAction::Postpone { .. } => {}
                TriggerAction::Record { job, state, .. } => {
                    prop_assert!(state.is_final());
                    prop_assert_eq!(self.ended.insert(job, state), None);
                }
                TriggerAction::Finish { exit } => self.exits.push(exit),
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn every_run_ends_after_its_upstream_and_so_does_the_trigger(
        edges in edges(),
        concurrent_runs in 1_usize..5,
        choices in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12), 200),
        cancel_after in prop::option::of(0_usize..12),
        waits in any::<bool>(),
    ) {
        let borrowed: Vec<Vec<usize>> = edges.iter().map(|tables| tables.iter().copied().collect()).collect();
        let slices: Vec<&[usize]> = borrowed.iter().map(Vec::as_slice).collect();
        let mut trigger = if waits { waiting(&slices, concurrent_runs) } else { trigger(&slices, concurrent_runs) };
        let (mut told, mut clock) = (Told::default(), now());
        told.take(trigger.apply(TriggerEvent::Started, clock), &edges)?;
        for (step, (choice, kind)) in choices.iter().enumerate() {
            if cancel_after == Some(step) {
                told.take(trigger.apply(TriggerEvent::CancelRequested, clock), &edges)?;
                told.cancelled = true;
            }
            while trigger.wants_admission(clock) && (told.running.is_empty() || choice.index(2) == 0) {
                let granted = trigger.apply(TriggerEvent::Admitted, clock);
                let is_one_start = matches!(granted[..], [TriggerAction::StartRun { .. }]);
                prop_assert!(is_one_start, "{:?}", granted);
                told.take(granted, &edges)?;
            }
            prop_assert!(told.running.len() <= concurrent_runs);
            if told.running.is_empty() {
                let Some(wake) = trigger.wake_at() else { break };
                clock = clock.max(wake);
                told.take(trigger.apply(TriggerEvent::Tick, clock), &edges)?;
                continue;
            }
            let job = told.running.remove(choice.index(told.running.len()));
            // Most runs succeed; otherwise histories would be short.
            let outcome = OUTCOMES.get(*kind).copied().unwrap_or(RunOutcome::Succeeded);
            let finished = TriggerEvent::RunFinished { job, outcome };
            let actions = trigger.apply(finished.clone(), clock);
            let restarted = actions.iter().any(|action| matches!(action, TriggerAction::StartRun { .. }));
            told.take(actions, &edges)?;
            // A duplicate event is ignored, unless the run has restarted.
            if !restarted {
                prop_assert_eq!(trigger.apply(finished, clock), vec![]);
            }
        }
        prop_assert_eq!(told.exits.len(), 1);
        prop_assert_eq!(told.ended.len(), edges.len());
        let success = told.ended.values().all(|state| state.is_success());
        prop_assert_eq!(success, told.exits[0] == TriggerExit::Done);
    }
}
