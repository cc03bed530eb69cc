use super::*;

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn intent() -> CommitIntent {
    CommitIntent {
        run: "r".to_owned(),
        attempt: "a".to_owned(),
        transactions: set(&["pulse/sequence", "pulse/table/bronze.bars"]),
        removes: set(&["f1"]),
        removal: Removal::Independent,
    }
}

/// Another commit that ours can follow.
fn harmless() -> EntrySummary {
    EntrySummary { run: Some("x".to_owned()), adds_rows: true, ..EntrySummary::default() }
}

fn of_run(attempt: &str) -> CommitEvent {
    let (run, attempt) = (Some("r".to_owned()), Some(attempt.to_owned()));
    CommitEvent::Entry(EntrySummary { run, attempt, transactions: set(&["pulse/sequence"]), ..EntrySummary::default() })
}

/// The last action after these events.
fn after(events: impl IntoIterator<Item = CommitEvent>) -> CommitAction {
    let mut protocol = CommitProtocol::new(intent(), 4, 3);
    let first = protocol.start();
    events.into_iter().fold(first, |_, event| protocol.apply(event))
}

use CommitEvent::{AlreadyExists, Doubtful, Entry, NothingThere, Refused, Written};

#[test]
fn an_undisturbed_commit_is_one_write() {
    assert_eq!(after([]), CommitAction::Write { version: 4, retry: 0 });
    assert_eq!(after([Written]), CommitAction::Done(CommitOutcome::Committed { version: 4 }));
}

#[test]
fn it_goes_behind_commits_that_do_not_concern_it() {
    let events = [AlreadyExists, Entry(harmless()), Entry(harmless()), NothingThere];
    assert_eq!(after(events.clone()), CommitAction::Write { version: 6, retry: 1 });
    assert_eq!(after(events.into_iter().chain([Written])), CommitAction::Done(CommitOutcome::Committed { version: 6 }));
}

#[test]
fn a_lost_answer_is_looked_up() {
    assert_eq!(after([Doubtful]), CommitAction::Read { version: 4 });
    assert_eq!(after([Doubtful, of_run("a")]), CommitAction::Done(CommitOutcome::AlreadyCommitted { version: 4 }));
    // Also with other commits in between.
    let behind = [Doubtful, Entry(harmless()), of_run("a")];
    assert_eq!(after(behind), CommitAction::Done(CommitOutcome::AlreadyCommitted { version: 5 }));
}

#[test]
fn another_attempt_of_the_run_is_not_taken_for_ours() {
    let done = CommitAction::Done(CommitOutcome::CommittedByAnother { version: 4 });
    assert_eq!(after([AlreadyExists, of_run("b")]), done);
}

/// A write with a lost answer may arrive late; the next write at its version then finds it.
#[test]
fn a_write_in_doubt_is_repeated_at_the_same_version() {
    assert_eq!(after([Doubtful, NothingThere]), CommitAction::Write { version: 4, retry: 1 });
    let late = [Doubtful, NothingThere, AlreadyExists, of_run("a")];
    assert_eq!(after(late), CommitAction::Done(CommitOutcome::AlreadyCommitted { version: 4 }));
    assert_eq!(after([Doubtful, NothingThere, Doubtful, NothingThere, Doubtful, NothingThere]), CommitAction::GiveUp);
}

#[test]
fn a_refusal_is_final() {
    assert_eq!(after([Refused]), CommitAction::GiveUp);
    assert_eq!(after([Refused, Written]), CommitAction::GiveUp, "nobody asked");
}

#[test]
fn tries_have_a_limit() {
    let overtaken = [AlreadyExists, Entry(harmless()), NothingThere];
    let all = overtaken.iter().cycle().take(9).cloned();
    assert_eq!(after(all), CommitAction::Overtaken);
}

#[test]
fn what_rules_a_commit_out() {
    let from_rows = CommitIntent { removal: Removal::FromRows, ..intent() };
    let cases = [
        (EntrySummary { redefines: true, ..harmless() }, intent(), Some("the table's definition changed")),
        (
            EntrySummary { transactions: set(&["pulse/sequence"]), ..harmless() },
            intent(),
            Some("another run already moved `pulse/sequence`"),
        ),
        (EntrySummary { removes: set(&["f1", "f2"]), ..harmless() }, intent(), Some("file f1 is already removed")),
        (harmless(), from_rows.clone(), Some("rows were added to the table")),
        // Rows were only rearranged, and not in our files.
        (EntrySummary { adds_rows: false, removes: set(&["f2"]), ..harmless() }, from_rows, None),
        (EntrySummary { transactions: set(&["somebody/else"]), ..harmless() }, intent(), None),
    ];
    for (winner, ours, reason) in cases {
        assert_eq!(conflict(&winner, &ours).as_deref(), reason, "{winner:?}");
        let ended = CommitProtocol::new(ours, 7, 3);
        let mut protocol = ended;
        protocol.apply(AlreadyExists);
        let action = protocol.apply(Entry(winner));
        match reason {
            Some(reason) => {
                let conflict = CommitOutcome::Conflict { version: 7, reason: reason.to_owned() };
                assert_eq!(action, CommitAction::Done(conflict));
            }
            None => assert_eq!(action, CommitAction::Read { version: 8 }),
        }
    }
}
