use super::*;
use crate::trigger::RunOutcome;

fn id() -> TriggerId {
    TriggerId::new("2024-02-29T23:59:58Z".parse().unwrap(), 0xab)
}

#[test]
fn ids_are_made_of_what_is_passed_in_and_read_back() {
    let run = RunId::new(id(), "silver.bars_1m".parse().unwrap());
    assert_eq!(run.to_string(), "20240229T235958-000000ab-silver.bars_1m");
    assert_eq!(run.to_string().parse::<RunId>().unwrap(), run);
    assert_eq!(id().to_string().parse::<TriggerId>().unwrap(), id());
    assert_eq!(id().time(), "2024-02-29T23:59:58Z".parse::<DateTime<Utc>>().unwrap());
    assert!(id() < TriggerId::new("2024-03-01T00:00:00Z".parse().unwrap(), 0));
    for wrong in ["", "20240229T235958", "20240230T235958-000000ab", "20240229T235958-000000AB", "20240229T235958-ab"] {
        assert!(wrong.parse::<TriggerId>().is_err(), "{wrong}");
        assert!(format!("{wrong}-silver.bars").parse::<RunId>().is_err(), "{wrong}");
    }
    assert!("20240229T235958-000000ab-silver".parse::<RunId>().is_err());
    insta::assert_snapshot!(
        "last".parse::<RunId>().unwrap_err(),
        @"`last` is not a run's id: write it as `20240131T143000-0a1b2c3d-silver.bars`; `pulse runs list` shows them"
    );
}

#[test]
fn a_record_survives_json() {
    let mut record = RunRecord::queued(RunId::new(id(), "silver.bars".parse().unwrap()));
    record.state = RunState::Failed;
    record.started = Some(1_709_251_198_000);
    record.place = Some(Place::Cluster);
    record.interval = Some(Interval::parse_bounds("2024-02-28", "2024-02-29").unwrap());
    record.inputs = vec![InputRecord { source: "raw.bars".into(), version: None, files: 2, rows: 3, bytes: 4 }];
    record.expectations = vec![ExpectationOutcome {
        name: "n".into(),
        on_fail: OnFail::Quarantine,
        checked: 3,
        failed: 1,
        evidence: Vec::new(),
    }];
    record.error = Some(RunError { causes: vec!["root".into()], ..RunError::new(ErrorKind::Exhausted, "m") });
    record.failures = vec![AttemptFailure {
        attempt: 1,
        at: 1_709_251_199_000,
        place: Some(Place::Local),
        error: RunError::new(ErrorKind::Unavailable, "busy"),
        retried_after: Some(2500),
    }];
    record.seconds = 1.25;
    let json = record.to_json().unwrap();
    assert_eq!(RunRecord::from_json(&json).unwrap(), record);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["run"], "20240229T235958-000000ab-silver.bars");
    assert_eq!((&value["state"], &value["place"]), (&"failed".into(), &"cluster".into()));
}

#[test]
fn a_record_of_another_format_or_of_none_is_refused() {
    let record = RunRecord::queued(RunId::new(id(), "silver.bars".parse().unwrap()));
    let later = record.to_json().unwrap().replace("\"format\":1", "\"format\":2");
    insta::assert_snapshot!(
        RunRecord::from_json(&later).unwrap_err(),
        @"a record of the run ledger has format 2, this pulse reads 1: use a later pulse"
    );
    assert_eq!(RunRecord::from_json("{\"format\":1}").unwrap_err().kind(), ErrorKind::Data);
    assert_eq!(RunRecord::from_json("").unwrap_err().kind(), ErrorKind::Data);
    // Fields that a newer pulse adds within the same format are ignored.
    let added = record.to_json().unwrap().replace("\"format\":1", "\"format\":1,\"cost\":3");
    assert_eq!(RunRecord::from_json(&added).unwrap(), record);
}

#[test]
fn states_are_named_as_they_are_stored() {
    for state in [RunState::Queued, RunState::Unchanged, RunState::Committing, RunState::Skipped] {
        assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
    }
}

#[test]
fn an_error_keeps_what_lies_below_it_the_root_first() {
    let error =
        Error::unavailable("job silver.bars").with_source(Error::data("read f").with_source(Error::data("disk")));
    let kept = RunError::from(&error);
    assert_eq!((kept.message.as_str(), kept.root()), ("job silver.bars", "disk"));
    assert_eq!(kept.causes, ["disk", "read f"]);
    assert_eq!(RunError::from(&Error::data("alone")).root(), "alone");
}

#[test]
fn how_a_run_ended_is_read_from_its_record() {
    let mut record = RunRecord::queued(RunId::new(id(), "silver.bars".parse().unwrap()));
    for state in [RunState::Queued, RunState::Running, RunState::Skipped, RunState::Lost] {
        record.state = state;
        assert_eq!(RunOutcome::of(&record), None, "{state}");
    }
    record.state = RunState::Failed;
    record.error = Some(RunError::new(ErrorKind::Data, "m"));
    assert_eq!(RunOutcome::of(&record), Some(RunOutcome::Failed { kind: ErrorKind::Data }));
    record.expectations = vec![ExpectationOutcome {
        name: "n".into(),
        on_fail: OnFail::Fail,
        checked: 3,
        failed: 1,
        evidence: vec!["x 1".into()],
    }];
    assert_eq!(RunOutcome::of(&record), Some(RunOutcome::ExpectationFailed));
}
