use proptest::prelude::*;

use super::*;
use crate::ErrorKind;
use crate::run::{RunError, RunId};

fn alert(percent: Option<u32>) -> Alert {
    Alert {
        webhook: "env:PULSE_ALERT_TEAM".to_owned(),
        jobs: Vec::new(),
        quarantined_percent: percent,
        late_hours: None,
    }
}

fn record(minute: i64, state: RunState, rejected: u64) -> RunRecord {
    let trigger = TriggerId::new(DateTime::from_timestamp(minute * 60, 0).unwrap(), 1);
    let mut record = RunRecord::queued(RunId::new(trigger, "gold.t".parse().unwrap()));
    record.state = state;
    record.ended = Some(minute * 60_000);
    record.counts.rows_out = 100 - rejected;
    record.counts.rows_quarantined = rejected;
    if state == RunState::Failed {
        record.error = Some(RunError::new(ErrorKind::Data, "two rows have one key\n  more"));
    }
    record
}

fn texts(incidents: &Incidents) -> Vec<String> {
    let undelivered: Vec<_> =
        incidents.undelivered().map(|incident| ("gold.t".parse().unwrap(), incident.clone())).collect();
    Message::new("shop", &undelivered).text.lines().map(str::to_owned).collect()
}

#[test]
fn one_message_for_an_incident_and_one_for_its_end() {
    let alert = alert(None);
    let failed = alert.after(&record(0, RunState::Failed, 0), &Incidents::default());
    assert_eq!(
        texts(&failed),
        ["shop: gold.t failed: two rows have one key .. (pulse runs show 19700101T000000-00000001)"]
    );
    let delivered: Vec<_> =
        failed.undelivered().map(|incident| ("gold.t".parse().unwrap(), incident.clone())).collect();
    assert!(
        !serde_json::to_string(&Message::new("shop", &delivered)).unwrap().contains("more"),
        "rows stay in the lake"
    );
    let delivered = failed.delivered();
    for state in [RunState::Failed, RunState::Cancelled, RunState::Skipped, RunState::Failed] {
        assert_eq!(alert.after(&record(1, state, 0), &delivered), delivered, "{state}");
    }
    let over = alert.after(&record(90, RunState::Unchanged, 0), &delivered);
    assert_eq!(texts(&over), ["shop: gold.t is in order again after 90 min, since 1970-01-01 00:00 UTC"]);
    assert_eq!(over.delivered(), Incidents::default());
}

#[test]
fn rejected_rows_are_an_incident_of_their_own() {
    let alert = alert(Some(5));
    let after = |rejected, known: &Incidents| alert.after(&record(3, RunState::Succeeded, rejected), known);
    assert_eq!(after(5, &Incidents::default()), Incidents::default());
    let many = after(6, &Incidents::default());
    assert_eq!(
        texts(&many),
        ["shop: gold.t: 6 of 100 rows rejected, and 5 % is the limit (pulse runs show 19700101T000300-00000001)"]
    );
    // A failed run says nothing of them, and a run without rows neither.
    let delivered = many.delivered();
    let failed = alert.after(&record(4, RunState::Failed, 0), &delivered);
    assert_eq!(texts(&failed).len(), 1);
    assert_eq!(alert.after(&record(5, RunState::Unchanged, 0), &delivered), delivered);
    assert_eq!(
        texts(&after(0, &delivered)),
        ["shop: gold.t rejects fewer rows again after 0 s, since 1970-01-01 00:03 UTC"]
    );
}

#[test]
fn a_job_without_a_run_in_order_is_late() {
    let alert = Alert { late_hours: Some(2), ..alert(None) };
    let at = |minute: i64, known: &Incidents| alert.at(DateTime::from_timestamp(minute * 60, 0).unwrap(), known);
    let seen = at(0, &Incidents::default());
    assert_eq!(at(120, &seen), seen, "two hours are allowed since it was seen first");
    // A failed run is none in order.
    let failed = alert.after(&record(100, RunState::Failed, 0), &seen).delivered();
    let late = at(121, &failed);
    assert_eq!(
        texts(&late),
        ["shop: gold.t: no run was in order for more than 2 h (the last one ended 1970-01-01 00:00 UTC)"]
    );
    assert_eq!(at(500, &late.clone().delivered()), late.clone().delivered(), "one message for one incident");
    let ran = alert.after(&record(600, RunState::Unchanged, 0), &late.delivered());
    assert_eq!(
        texts(&ran),
        [
            "shop: gold.t is in order again after 8 h, since 1970-01-01 01:40 UTC",
            "shop: gold.t is late no more: a run is in order after 10 h"
        ]
    );
    let delivered = ran.delivered();
    assert_eq!(at(720, &delivered), delivered);
    assert_eq!(texts(&at(721, &delivered)).len(), 1);
    // A limit that is removed ends what it began.
    let unlimited = self::alert(None).after(&record(800, RunState::Unchanged, 0), &at(721, &delivered).delivered());
    assert_eq!(unlimited.delivered(), Incidents::default());
    // Without the limit there is nothing to know.
    assert_eq!(self::alert(None).at(DateTime::UNIX_EPOCH, &Incidents::default()), Incidents::default());
}

#[test]
fn only_variables_for_alerts_are_used() {
    let variable = |webhook: &str| Alert { webhook: webhook.to_owned(), ..alert(None) }.variable().map(str::to_owned);
    assert_eq!(variable("env:PULSE_ALERT_TEAM"), Some("PULSE_ALERT_TEAM".to_owned()));
    for other in [
        "env:AWS_SECRET_ACCESS_KEY",
        "env:PULSE_ALERT_",
        "https://hooks.example.com/x",
        "PULSE_ALERT_A",
        "env:PULSE_ALERT_a",
    ] {
        assert_eq!(variable(other), None, "{other}");
    }
}

proptest! {
    /// Whatever the runs and however often messages are lost: the newest delivered message about a job says how it is.
    #[test]
    fn the_newest_delivered_message_is_true(
        runs in prop::collection::vec((0_usize..5, any::<bool>()), 0..20),
    ) {
        let alert = alert(None);
        let states =
            [RunState::Failed, RunState::Succeeded, RunState::Unchanged, RunState::Cancelled, RunState::Skipped];
        let (mut known, mut wrong, mut says, mut began, mut heard) = (Incidents::default(), false, false, 0, 0);
        for (minute, (state, delivered)) in runs.into_iter().enumerate() {
            let before = wrong;
            match states[state] {
                RunState::Failed => wrong = true,
                RunState::Succeeded | RunState::Unchanged => wrong = false,
                _ => {}
            }
            began += u32::from(wrong && !before);
            known = alert.after(&record(minute as i64, states[state], 0), &known);
            if delivered && known.undelivered().next().is_some() {
                heard += known.undelivered().filter(|incident| incident.over.is_none()).count() as u32;
                says = known.undelivered().last().is_some_and(|incident| incident.over.is_none());
                known = known.delivered();
            }
            prop_assert!(known.undelivered().next().is_some() || says == wrong);
            prop_assert!(heard <= began, "two messages for one incident");
        }
    }
}
