//! Random histories: compares the table that the plans produce with the query over all inputs.

mod world;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::*;
use crate::manifest::History;
use world::World;

/// A row: its file's path (or empty), its key, its day and its value.
type Row = (String, u8, u8, u8);

fn day(n: u8) -> DateTime<Utc> {
    DateTime::from_timestamp(i64::from(n) * 86_400, 0).unwrap()
}

fn days(from: u8, to: u8) -> Interval {
    Interval::new(day(from), day(to)).unwrap()
}

fn within(set: &IntervalSet, row: &Row) -> bool {
    set.iter().any(|interval| interval.contains(day(row.2)))
}

#[derive(Debug, Clone)]
enum Event {
    PutFile {
        path: u8,
        content: u8,
        keys: Vec<(u8, u8)>,
    },
    DeleteFile {
        path: u8,
    },
    /// Rows of some days of the source table are replaced, or only added.
    Write {
        keys: Vec<(u8, u8)>,
        value: u8,
        replace: bool,
    },
    /// The source table is dropped and recreated with as many versions.
    Recreate {
        keys: Vec<(u8, u8)>,
        value: u8,
    },
    LoseHistory,
    EditJob,
    /// The job is reformatted, with the same meaning.
    Reformat,
    NextDay,
    Forget {
        path: u8,
    },
    Run {
        from: u8,
        length: u8,
        asked: bool,
        rebuild: bool,
        allow_loss: bool,
        killed: bool,
    },
}

fn keys() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec((0_u8..6, 0_u8..8), 0..4)
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0_u8..4, 0_u8..3, keys()).prop_map(|(path, content, keys)| Event::PutFile { path, content, keys }),
        1 => (0_u8..4).prop_map(|path| Event::DeleteFile { path }),
        3 => (keys(), 0_u8..9, any::<bool>()).prop_map(|(keys, value, replace)| Event::Write { keys, value, replace }),
        1 => (keys(), 0_u8..9).prop_map(|(keys, value)| Event::Recreate { keys, value }),
        1 => Just(Event::LoseHistory),
        1 => Just(Event::EditJob),
        1 => Just(Event::Reformat),
        2 => Just(Event::NextDay),
        1 => (0_u8..4).prop_map(|path| Event::Forget { path }),
        8 => (0_u8..8, 1_u8..4, any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.2), prop::bool::weighted(0.2)).prop_map(
            |(from, length, asked, rebuild, allow_loss, killed)| Event::Run { from, length, asked, rebuild, allow_loss, killed }
        ),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Files,
    Table(Read),
    /// A query over a table, by day. Without reach, the changed days are unknown.
    Days {
        reach: bool,
    },
}

fn sinks(kind: Kind) -> Vec<Sink> {
    let history = |effective: &str| {
        let effective = effective.to_owned();
        History { keys: vec!["key".to_owned()], compare: None, effective, deleted: None }
    };
    let mut sinks = vec![
        Sink::Append {},
        Sink::Overwrite {},
        Sink::OverwritePartitions { by: vec!["day".to_owned()] },
        Sink::Merge { keys: vec!["key".to_owned()], latest_by: Vec::new() },
    ];
    // Histories have no intervals.
    if !matches!(kind, Kind::Days { .. }) {
        sinks.extend([Sink::Scd2(history("day")), Sink::Scd2(history("observed")), Sink::Bitemporal(history("day"))]);
    }
    sinks
}

/// Random histories of one kind of source, over every sink. `PULSE_TEST_HISTORIES` sets their number, `PULSE_TEST_SEED`
/// repeats a failure.
#[expect(clippy::disallowed_methods, reason = "no setting of the product")]
fn histories(kind: Kind) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("PULSE_TEST_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let cases = number("PULSE_TEST_HISTORIES").unwrap_or(1_000) as u32;
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let on_missing = prop::sample::select(vec![OnMissing::Keep, OnMissing::Remove, OnMissing::Fail]);
    let events = prop::collection::vec(event(), 1..14);
    let histories = (prop::sample::select(sinks(kind)), any::<bool>(), on_missing, any::<bool>(), events);
    let result = runner.run(&histories, |(sink, partitions_within, on_missing, proven, events)| {
        World::new(kind, sink, partitions_within, on_missing, proven).follow(&events)
    });
    if let Err(failure) = result {
        panic!("PULSE_TEST_SEED={seed} PULSE_TEST_HISTORIES={cases}: {failure}");
    }
}

impl World {
    /// After every successful run the table equals the query over all inputs; a failed run leaves it unchanged.
    fn follow(mut self, events: &[Event]) -> std::result::Result<(), TestCaseError> {
        for event in events {
            self.change(event);
            if let (Event::Forget { path }, Kind::Files, Sink::Append {}) = (event, self.kind, &self.sink) {
                let is_gone = self.gone().any(|gone| *gone == format!("f{path}.csv"));
                prop_assert_eq!(self.forget(*path), is_gone);
                let mut table = self.table.clone().unwrap_or_default();
                table.sort();
                prop_assert!(!is_gone || table == self.model());
            }
            let Event::Run { from, length, asked, rebuild, allow_loss, killed } = *event else { continue };
            let missing_only = length == 2;
            let asked = Asked { interval: asked.then(|| days(from, from + length)), missing_only, rebuild, allow_loss };
            let before = self.table.clone();
            let is_gone = self.gone().next().is_some();
            let keeps_more = self.remembered() && (rebuild || self.is_edited()) && !allow_loss;
            let succeeded = self.run(&asked, killed);
            if keeps_more {
                prop_assert!(!succeeded, "the table's earlier contents are lost");
            } else if self.kind == Kind::Files {
                match self.on_missing {
                    OnMissing::Remove => prop_assert!(succeeded),
                    OnMissing::Keep => prop_assert!(succeeded || (is_gone && !allow_loss)),
                    OnMissing::Fail if allow_loss => prop_assert!(succeeded || is_gone),
                    OnMissing::Fail => prop_assert_eq!(succeeded, !is_gone),
                }
            }
            if !succeeded || killed {
                prop_assert_eq!(&before, &self.table);
                continue;
            }
            let mut table = self.table.clone().unwrap_or_default();
            table.sort();
            prop_assert_eq!(table, self.model());
            self.seen_as_recorded()?;
            // Repeating the run is a no-op, unless it is requested explicitly.
            let settled = self.numbers.clone();
            if asked.interval.is_none() && !asked.rebuild {
                prop_assert!(self.run(&Asked::default(), false));
                prop_assert_eq!(&settled, &self.numbers);
            }
        }
        Ok(())
    }
}

#[test]
fn histories_of_files() {
    histories(Kind::Files);
}

#[test]
fn histories_of_a_table_that_is_read_whole() {
    histories(Kind::Table(Read::All));
}

#[test]
fn histories_of_a_table_that_is_read_by_its_changes() {
    histories(Kind::Table(Read::Changed));
}

#[test]
fn histories_of_a_table_by_day() {
    histories(Kind::Days { reach: true });
}

#[test]
fn histories_of_a_table_whose_changed_days_are_not_known() {
    histories(Kind::Days { reach: false });
}

/// A lake of an older build, which stored one number for all intervals, and no table ids.
#[test]
fn the_intervals_of_an_earlier_build_go_on() {
    let numbers = HashMap::from([
        ("pulse/job".to_owned(), 1),
        ("pulse/table/bronze.t".to_owned(), 4),
        ("pulse/interval".to_owned(), day(3).timestamp_micros()),
    ]);
    let known = Bookmarks::new(numbers, Some(day(1)));
    assert_eq!(known.intervals, Some(days(1, 3)).into());
    let mark = TableMark { version: 4, id: Some(77) };
    let table = ObservedTable { mark, read: Read::All, by: Vec::new(), since: Since::Nothing };
    let observed = Observed { tables: BTreeMap::from([("bronze.t".parse().unwrap(), table)]), ..Observed::default() };
    let meaning = Meaning::test(1, "");
    let sink = Sink::Append {};
    let rules =
        IntervalRules { unit: IntervalUnit::Day, start: day(1), partitions_within: true, has_quarantine: false };
    let job = JobRules { sink: &sink, interval: Some(rules), meaning: &meaning };
    let plan = decide(job, Some(&known), &observed, &Asked::default(), day(5)).unwrap();
    assert_eq!(plan.intervals(), Some(days(3, 5)).into());
    let stored = known.after(&plan, &meaning, &observed);
    let mut numbers = known.numbers.clone();
    numbers.extend(stored);
    let next = Bookmarks::new(numbers, Some(day(1)));
    assert_eq!(next.intervals, Some(days(1, 5)).into());
    assert_eq!(next.table(&"bronze.t".parse().unwrap()), Some(mark));
}

#[test]
fn what_has_not_ended_cannot_be_asked_for() {
    let sink = Sink::Append {};
    let rules =
        IntervalRules { unit: IntervalUnit::Day, start: day(0), partitions_within: true, has_quarantine: false };
    let meaning = Meaning::default();
    let job = JobRules { sink: &sink, interval: Some(rules), meaning: &meaning };
    let asked = Asked { interval: Some(days(2, 9)), ..Asked::default() };
    let error = decide(job, None, &Observed::default(), &asked, day(5)).unwrap_err();
    insta::assert_snapshot!(error, @"[1970-01-03, 1970-01-10) has not ended: choose an end that is not after 1970-01-06T00:00:00Z");
}

#[test]
fn a_backfill_computes_what_was_not_computed() {
    let sink = Sink::Append {};
    let rules =
        IntervalRules { unit: IntervalUnit::Day, start: day(0), partitions_within: true, has_quarantine: false };
    let meaning = Meaning::default();
    let job = JobRules { sink: &sink, interval: Some(rules), meaning: &meaning };
    let known = Bookmarks { intervals: [days(1, 2), days(3, 4)].into_iter().collect(), ..Bookmarks::default() };
    let plan = |from, to, missing_only| {
        let asked = Asked { interval: Some(days(from, to)), missing_only, ..Asked::default() };
        decide(job, Some(&known), &Observed::default(), &asked, day(9)).unwrap()
    };
    let RunPlan::Changes { intervals, again, .. } = plan(0, 5, true) else { panic!("nothing is replaced") };
    assert_eq!(intervals, [days(0, 1), days(2, 3), days(4, 5)].into_iter().collect());
    assert!(again.is_empty());
    assert_eq!(plan(3, 4, true), RunPlan::Nothing);
    assert!(matches!(plan(3, 4, false), RunPlan::Rebuild { .. }), "an appending sink cannot compute a day again");
}

/// A file that was read for one day may hold rows of others.
#[test]
fn intervals_over_files_read_all_files() {
    let files = BTreeMap::from([("a.csv".to_owned(), 1), ("b.csv".to_owned(), 2)]);
    let observed = Observed { files: BTreeMap::from([("x".to_owned(), files)]), ..Observed::default() };
    let (sink, meaning) = (Sink::Append {}, Meaning::default());
    let numbers = ["a.csv", "b.csv"].into_iter().zip(1_i64..).map(|(path, mark)| (Bookmarks::file_id("x", path), mark));
    let known = Bookmarks { intervals: Some(days(1, 3)).into(), numbers: numbers.collect(), ..Bookmarks::default() };
    let plan = |has_quarantine| {
        let rules = IntervalRules { unit: IntervalUnit::Day, start: day(1), partitions_within: true, has_quarantine };
        let job = JobRules { sink: &sink, interval: Some(rules), meaning: &meaning };
        decide(job, Some(&known), &observed, &Asked::default(), day(5)).unwrap()
    };
    let RunPlan::Changes { files, intervals, .. } = plan(false) else { panic!("nothing is replaced") };
    assert_eq!(intervals, Some(days(3, 5)).into());
    assert_eq!(files["x"].read, ["a.csv", "b.csv"]);
    assert!(files["x"].replaced.is_empty());
    assert!(matches!(plan(true), RunPlan::Rebuild { .. }), "lines that were rejected would be rejected again");
}

/// A query over files is evaluated for one span of time: a gap and what is behind it are computed with all the rest.
#[test]
fn a_gap_over_files_is_filled() {
    let files = BTreeMap::from([("a.csv".to_owned(), 1)]);
    let observed = Observed { files: BTreeMap::from([("x".to_owned(), files)]), ..Observed::default() };
    let (sink, meaning) = (Sink::Append {}, Meaning::default());
    let numbers = HashMap::from([(Bookmarks::file_id("x", "a.csv"), 1)]);
    let known = Bookmarks { intervals: Some(days(2, 3)).into(), numbers, ..Bookmarks::default() };
    let rules =
        IntervalRules { unit: IntervalUnit::Day, start: day(1), partitions_within: true, has_quarantine: false };
    let job = JobRules { sink: &sink, interval: Some(rules), meaning: &meaning };
    let plan = decide(job, Some(&known), &observed, &Asked::default(), day(5)).unwrap();
    assert!(matches!(plan, RunPlan::Rebuild { .. }), "{plan:?}");
    assert_eq!(plan.intervals(), Some(days(1, 5)).into());
}

/// A row for each day of a year, counted by unit. After each run, every unit that the table has is complete.
#[test]
fn a_job_whose_unit_is_edited_has_complete_units_only() {
    let event = (0_u8..4, 1_i64..40, 0_u8..9, 1_u8..3);
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() });
    let poisoned = prop::option::weighted(0.2, (0_i64..90, 1_i64..60));
    let histories = (prop::collection::vec(event, 1..12), poisoned);
    let start = midnight(0);
    let ran = runner.run(&histories, |(events, poisoned)| {
        let (mut now, mut unit, mut known) = (midnight(40), IntervalUnit::Day, None::<Bookmarks>);
        let mut table: BTreeMap<DateTime<Utc>, u64> = BTreeMap::new();
        // A build before the one that knows of edited units left parts of them.
        if let Some((from, length)) = poisoned {
            let interval = Interval::new(midnight(from), midnight(from + length)).unwrap();
            table.extend(
                interval.split(IntervalUnit::Month).map(|part| (IntervalUnit::Month.floor(part.start), days_in(part))),
            );
            unit = IntervalUnit::Month;
            let numbers = Meaning::test(2, &unit.to_string()).numbers().collect();
            known = Some(Bookmarks { intervals: Some(interval).into(), numbers, ..Bookmarks::default() });
            now = now.max(midnight(from + length));
        }
        for (what, days, from, length) in events {
            let (mut asked, mut text) = (Asked::default(), format!("{unit}"));
            match what {
                0 => now += chrono::TimeDelta::days(days),
                1 => {
                    unit = if unit == IntervalUnit::Day { IntervalUnit::Month } else { IntervalUnit::Day };
                    text = format!("{unit}");
                }
                2 => {
                    let first = unit.floor(midnight(i64::from(from) * 9 - 40));
                    let end = (0..length).fold(first, |end, _| unit.next(end));
                    asked.interval =
                        Some(Interval::new(first, end).unwrap()).filter(|asked| asked.end <= unit.floor(now));
                }
                _ => {}
            }
            let meaning = Meaning::test(if unit == IntervalUnit::Day { 1 } else { 2 }, &text);
            let sink = Sink::Merge { keys: vec!["unit".to_owned()], latest_by: Vec::new() };
            let rules = IntervalRules { unit, start, partitions_within: true, has_quarantine: false };
            let job = JobRules { sink: &sink, interval: Some(rules), meaning: &meaning };
            let plan = decide(job, known.as_ref(), &Observed::default(), &asked, now).unwrap();
            if matches!(plan, RunPlan::Rebuild { .. }) {
                table.clear();
            }
            for part in plan.intervals().iter().flat_map(|span| span.split(unit).collect::<Vec<_>>()) {
                table.insert(unit.floor(part.start), days_in(part));
            }
            let before = known.unwrap_or_default();
            let mut numbers = before.numbers.clone();
            numbers.extend(before.after(&plan, &meaning, &Observed::default()));
            known = Some(Bookmarks::new(numbers, Some(start)));
            for (first, count) in &table {
                let whole = Interval::new(*first, unit.next(*first)).unwrap();
                prop_assert_eq!(unit.floor(*first), *first, "{} after {:?}", unit, plan);
                prop_assert_eq!(*count, days_in(whole), "{} of {} after {:?}", unit, first, plan);
            }
        }
        Ok(())
    });
    ran.unwrap();
}

fn midnight(day: i64) -> DateTime<Utc> {
    DateTime::from_timestamp((20_000 + day) * 86_400, 0).unwrap()
}

fn days_in(interval: Interval) -> u64 {
    (interval.end - interval.start).num_days() as u64
}
