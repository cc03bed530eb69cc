use super::*;

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn now(version: u64, files: &[&str]) -> QuarantineFiles {
    QuarantineFiles { version: Some(version), files: set(files) }
}

fn commit(after: Option<u64>, removes: &[&str], adds: &[&str]) -> PairAction {
    PairAction::CommitQuarantine { after, removes: set(removes), adds: set(adds) }
}

/// A run that wants `old` and `own`, over a quarantine that holds `old` and a file of a run that died.
fn running() -> (PairProtocol, PairAction) {
    PairProtocol::commit(3, &now(7, &["old", "left"]), set(&["old", "own"]), 2)
}

#[test]
fn what_died_before_its_table_is_taken_back_with_the_next_commit() {
    let (mut protocol, first) = running();
    assert_eq!(first, commit(Some(7), &["left"], &["own"]));
    let table = protocol.apply(PairEvent::QuarantineCommitted { version: 8 });
    assert_eq!(table, PairAction::CommitTable { names: Some(8) });
    assert_eq!(protocol.apply(PairEvent::TableCommitted), PairAction::LookBehind { names: Some(8) });
    assert_eq!(protocol.apply(PairEvent::Behind(false)), PairAction::Done(PairOutcome::Settled));
}

#[test]
fn a_quarantine_that_holds_it_already_is_only_named() {
    let none = QuarantineFiles::default();
    assert_eq!(PairProtocol::commit(0, &none, set(&[]), 2).1, PairAction::CommitTable { names: None });
    let same = PairProtocol::commit(0, &now(4, &["old"]), set(&["old"]), 2);
    assert_eq!(same.1, PairAction::CommitTable { names: Some(4) });
}

#[test]
fn whoever_is_overtaken_in_quarantine_writes_its_own_if_the_table_is_as_it_was() {
    let (mut protocol, _) = running();
    assert_eq!(protocol.apply(PairEvent::QuarantineOvertaken), PairAction::ReadTable);
    let read = protocol.apply(PairEvent::Table { sequence: 3, named: Named::Version(6) });
    assert_eq!(read, PairAction::ReadQuarantine { named: None });
    let again = protocol.apply(PairEvent::Quarantine { now: now(8, &["others"]), named: None });
    assert_eq!(again, commit(Some(8), &["others"], &["old", "own"]));
    protocol.apply(PairEvent::QuarantineOvertaken);
    protocol.apply(PairEvent::Table { sequence: 3, named: Named::Version(6) });
    let third = protocol.apply(PairEvent::Quarantine { now: now(9, &["others"]), named: None });
    assert_eq!(third, PairAction::Done(PairOutcome::Overtaken), "two tries were all");
}

#[test]
fn whoever_is_overtaken_in_both_plans_again() {
    let (mut protocol, _) = running();
    protocol.apply(PairEvent::QuarantineOvertaken);
    let told = protocol.apply(PairEvent::Table { sequence: 4, named: Named::Version(8) });
    assert_eq!(told, PairAction::Done(PairOutcome::Overtaken));
    let (mut protocol, _) = running();
    protocol.apply(PairEvent::QuarantineCommitted { version: 8 });
    assert_eq!(protocol.apply(PairEvent::TableOvertaken), PairAction::Done(PairOutcome::Overtaken));
}

#[test]
fn what_came_behind_a_committed_table_is_taken_back() {
    let (mut protocol, _) = running();
    protocol.apply(PairEvent::QuarantineCommitted { version: 8 });
    protocol.apply(PairEvent::TableCommitted);
    assert_eq!(protocol.apply(PairEvent::Behind(true)), PairAction::ReadTable);
    let read = protocol.apply(PairEvent::Table { sequence: 4, named: Named::Version(8) });
    assert_eq!(read, PairAction::ReadQuarantine { named: Some(8) });
    let named = Some(set(&["old", "own"]));
    let write = protocol.apply(PairEvent::Quarantine { now: now(9, &["others"]), named: named.clone() });
    assert_eq!(write, commit(Some(9), &["others"], &["old", "own"]));
    // Read once more, as the table may have changed meanwhile.
    assert_eq!(protocol.apply(PairEvent::QuarantineCommitted { version: 10 }), PairAction::ReadTable);
    protocol.apply(PairEvent::Table { sequence: 4, named: Named::Version(8) });
    let settled = protocol.apply(PairEvent::Quarantine { now: now(10, &["old", "own"]), named });
    assert_eq!(settled, PairAction::Done(PairOutcome::Settled));
}

#[test]
fn settling_needs_something_to_go_by() {
    let settle = |named, files: Option<&[&str]>| {
        let (mut protocol, _) = PairProtocol::settle(1);
        let action = protocol.apply(PairEvent::Table { sequence: 1, named });
        match action {
            PairAction::ReadQuarantine { .. } => {
                protocol.apply(PairEvent::Quarantine { now: now(2, &["left"]), named: files.map(set) })
            }
            other => other,
        }
    };
    let settled = PairAction::Done(PairOutcome::Settled);
    assert_eq!(settle(Named::Unknown, None), settled);
    assert_eq!(settle(Named::Version(1), None), settled, "its log is gone");
    assert_eq!(settle(Named::Version(1), Some(&["left"])), settled);
    assert_eq!(settle(Named::Version(1), Some(&[])), commit(Some(2), &["left"], &[]));
    assert_eq!(settle(Named::Nothing, None), commit(Some(2), &["left"], &[]));
}

#[test]
fn a_settling_that_others_always_overtake_is_left_to_the_next_run() {
    let (mut protocol, _) = PairProtocol::settle(1);
    for expected in [commit(Some(2), &["left"], &[]), PairAction::Done(PairOutcome::Unsettled)] {
        protocol.apply(PairEvent::Table { sequence: 1, named: Named::Nothing });
        let action = protocol.apply(PairEvent::Quarantine { now: now(2, &["left"]), named: None });
        assert_eq!(action, expected);
        protocol.apply(PairEvent::QuarantineOvertaken);
    }
}

#[test]
fn names_are_numbers_in_the_log() {
    for (version, named) in [(None, Named::Nothing), (Some(0), Named::Version(0)), (Some(41), Named::Version(41))] {
        assert_eq!(Named::from_number(Some(Named::at(version).to_number())), named);
    }
    assert_eq!(Named::from_number(None), Named::Unknown);
    assert_eq!(Named::from_number(Some(-3)), Named::Unknown);
}
