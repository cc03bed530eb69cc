//! Random histories: what the plans make of a table is compared with the query over all inputs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::*;

/// A row: what it was read from (a file's path, or empty), its key, its day and its value.
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
    /// The source table is removed and made again with as many versions.
    Recreate {
        keys: Vec<(u8, u8)>,
        value: u8,
    },
    LoseHistory,
    EditJob,
    /// The job is written otherwise, and means the same.
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
    /// A query over a table, by day. Without reach, what changed is not known by day.
    Days {
        reach: bool,
    },
}

/// The world, and the table as the plans leave it.
struct World {
    kind: Kind,
    sink: Sink,
    partitions_within: bool,
    on_missing: OnMissing,
    /// What the query makes of changed rows of a table is what changes in the whole.
    proven: bool,
    files: BTreeMap<String, (i64, Vec<Row>)>,
    /// Rows of every version of the source table.
    versions: Vec<Vec<Row>>,
    id: i64,
    comparable_from: usize,
    /// What the job means, and how it is written.
    meaning: i64,
    layout: i64,
    now: u8,
    numbers: HashMap<String, i64>,
    table: Option<Vec<Row>>,
    /// What the model knows: rows of files that are gone and stay, and days that must be there.
    kept: BTreeMap<String, Vec<Row>>,
    covered: BTreeSet<u8>,
}

impl World {
    fn new(kind: Kind, sink: Sink, partitions_within: bool, on_missing: OnMissing, proven: bool) -> Self {
        Self {
            kind,
            sink,
            partitions_within,
            on_missing,
            proven,
            files: BTreeMap::new(),
            versions: vec![Vec::new()],
            id: 1,
            comparable_from: 0,
            meaning: 1,
            layout: 1,
            now: 8,
            numbers: HashMap::new(),
            table: None,
            kept: BTreeMap::new(),
            covered: BTreeSet::new(),
        }
    }

    fn change(&mut self, event: &Event) {
        let rows = |path: &str, keys: &[(u8, u8)], value: u8| -> Vec<Row> {
            keys.iter().map(|(key, day)| (path.to_owned(), *key, *day, value)).collect()
        };
        match event {
            Event::PutFile { path, content, keys } => {
                let path = format!("f{path}.csv");
                let rows = rows(&path, keys, *content);
                // A fingerprint stands for the content.
                let fingerprint = rows.iter().fold(7, |hash: i64, row| {
                    hash * 31 % 1_000_003 + i64::from(row.1) * 100 + i64::from(row.2) * 10 + i64::from(row.3)
                });
                self.files.insert(path, (fingerprint, rows));
            }
            Event::DeleteFile { path } => {
                self.files.remove(&format!("f{path}.csv"));
            }
            Event::Write { keys, value, replace } => {
                let mut now = self.versions.last().cloned().unwrap_or_default();
                if *replace {
                    now.retain(|row| !keys.iter().any(|(_, day)| *day == row.2));
                }
                now.extend(rows("", keys, *value));
                self.versions.push(now);
            }
            Event::Recreate { keys, value } => {
                let count = self.versions.len();
                self.versions = vec![rows("", keys, *value); count];
                self.id += 1;
            }
            Event::LoseHistory => self.comparable_from = self.versions.len(),
            Event::EditJob => {
                self.meaning += 1;
                self.layout += 1;
            }
            Event::Reformat => self.layout += 1,
            Event::NextDay => self.now = self.now.saturating_add(1).min(30),
            Event::Run { .. } | Event::Forget { .. } => {}
        }
    }

    fn source(&self) -> TableName {
        "bronze.t".parse().unwrap()
    }

    fn bookmarks(&self) -> Bookmarks {
        Bookmarks::new(self.numbers.clone(), Some(day(0)))
    }

    fn observed(&self, known: &Bookmarks) -> Observed {
        let unproven = (!self.proven).then(|| "`limit`".to_owned());
        let mut observed = Observed { unproven, ..Observed::default() };
        let Kind::Files = self.kind else {
            let version = self.versions.len() - 1;
            let mark = TableMark { version: version as u64, id: Some(self.id) };
            let read = if let Kind::Table(read) = self.kind { read } else { Read::All };
            let since = match known.table(&self.source()).map(|mark| mark.version as usize) {
                None => Since::Unknown,
                Some(before) if before == version => Since::Nothing,
                Some(before) if before < self.comparable_from || before > version => Since::Unknown,
                Some(before) => self.since(before, version),
            };
            let by = vec!["day".to_owned()];
            observed.tables.insert(self.source(), ObservedTable { mark, read, by, since });
            return observed;
        };
        let marks = self.files.iter().map(|(path, (fingerprint, _))| (path.clone(), *fingerprint)).collect();
        observed.files.insert("x".to_owned(), marks);
        observed.on_missing.insert("x".to_owned(), self.on_missing);
        observed
    }

    fn since(&self, before: usize, now: usize) -> Since {
        let changed = changed_days(&self.versions[before], &self.versions[now]);
        match (changed.is_empty(), self.kind) {
            (true, _) => Since::Nothing,
            (false, Kind::Days { reach: true }) => {
                // Statistics of files know an hour in the day, and the hull of what changed.
                let (first, last) = (changed.first().unwrap(), changed.last().unwrap());
                let at = |n: &u8, hours| day(*n) + chrono::TimeDelta::hours(hours);
                Since::Changed(Reach::Within(Some(Interval { start: at(first, 5), end: at(last, 6) }).into()))
            }
            (false, _) => Since::Changed(Reach::Anything),
        }
    }

    /// Decides and carries out. False when the run fails, and then nothing changes.
    fn run(&mut self, asked: &Asked, killed: bool) -> bool {
        let known = self.bookmarks();
        let observed = self.observed(&known);
        let meaning = Meaning::test(self.layout, &self.meaning.to_string());
        let interval = matches!(self.kind, Kind::Days { .. }).then_some(IntervalRules {
            unit: IntervalUnit::Day,
            start: day(0),
            partitions_within: self.partitions_within,
            has_quarantine: false,
        });
        let job = JobRules { sink: &self.sink, interval, meaning: &meaning };
        let bookmarks = self.table.is_some().then_some(&known);
        let Ok(plan) = decide(job, bookmarks, &observed, asked, day(self.now)) else { return false };
        if plan == RunPlan::Nothing || killed {
            return true;
        }
        self.table = Some(self.carried_out(&known, &plan));
        self.expect(&plan, asked);
        self.numbers.extend(known.after(&plan, &meaning, &observed));
        true
    }

    /// Files whose rows the table holds, and that are gone.
    fn gone(&self) -> impl Iterator<Item = &String> {
        self.kept.keys().filter(|path| !self.files.contains_key(*path))
    }

    /// Whether the rows of a file were forgotten, which only those that are gone can be.
    fn forget(&mut self, path: u8) -> bool {
        let known = self.bookmarks();
        let path = format!("f{path}.csv");
        let Ok(plan) = forget(&known, &self.observed(&known), &[format!("x/{path}")]) else { return false };
        let mut table = self.carried_out(&known, &plan);
        std::mem::swap(self.table.get_or_insert_default(), &mut table);
        self.numbers.extend(Bookmarks::after_forgetting(&plan));
        self.kept.remove(&path);
        true
    }

    fn carried_out(&self, known: &Bookmarks, plan: &RunPlan) -> Vec<Row> {
        let now = self.versions.last().cloned().unwrap_or_default();
        let mut table = self.table.clone().unwrap_or_default();
        let of = |path: &String| self.files.get(path).map(|(_, rows)| rows.clone()).unwrap_or_default();
        match plan {
            RunPlan::Nothing => {}
            RunPlan::Rebuild { inputs, intervals, .. } => match self.kind {
                Kind::Files => table = inputs.files("x").iter().flat_map(of).collect(),
                Kind::Table(_) => table = now,
                Kind::Days { .. } => table = now.into_iter().filter(|row| within(intervals, row)).collect(),
            },
            RunPlan::Changes { files, intervals, again } => match self.kind {
                Kind::Files => {
                    let changes = files.get("x").cloned().unwrap_or_default();
                    assert!(matches!(self.sink, Sink::Append {}), "others replace what they did not read");
                    table.retain(|row| !changes.replaced.contains(&row.0) && !changes.removed.contains(&row.0));
                    table.extend(changes.read.iter().flat_map(of));
                }
                Kind::Table(_) => {
                    assert!(self.proven, "the query may look across groups");
                    // Groups that hold a changed row are replaced whole.
                    let before = known.table(&self.source()).unwrap().version as usize;
                    let changed = changed_days(&self.versions[before], &now);
                    table.retain(|row| !changed.contains(&row.2));
                    table.extend(now.into_iter().filter(|row| changed.contains(&row.2)));
                }
                Kind::Days { .. } => {
                    match &self.sink {
                        Sink::Append {} => assert!(again.is_empty()),
                        // A partition of two days goes as a whole.
                        Sink::OverwritePartitions { .. } if !self.partitions_within => {
                            let computed: BTreeSet<u8> =
                                now.iter().filter(|row| within(intervals, row)).map(|row| row.2 / 2).collect();
                            table.retain(|row| !computed.contains(&(row.2 / 2)));
                        }
                        Sink::OverwritePartitions { .. } | Sink::Merge { .. } | Sink::Overwrite {} => {}
                    }
                    table.retain(|row| !within(again, row));
                    table.extend(now.into_iter().filter(|row| within(intervals, row)));
                }
            },
        }
        table
    }

    /// What the model makes of a run that succeeded: it looks at the plan only for whether files were given up.
    fn expect(&mut self, plan: &RunPlan, asked: &Asked) {
        // Rows of files that are gone stay, unless a rebuild may lose them.
        if (matches!(plan, RunPlan::Rebuild { .. }) && asked.allow_loss) || self.on_missing == OnMissing::Remove {
            self.kept.clear();
        }
        self.kept.extend(self.files.iter().map(|(path, (_, rows))| (path.clone(), rows.clone())));
        let asked_days = asked.interval.map(|interval| (0..40).filter(move |n| interval.contains(day(*n))));
        match (asked_days, plan) {
            (Some(days), _) => self.covered.extend(days),
            (None, _) => self.covered.extend(0..self.now),
        }
        // A rebuild also computes what is due.
        if let (RunPlan::Rebuild { reason, .. }, Some(_)) = (plan, asked.interval)
            && reason != "the table does not exist yet"
        {
            self.covered.extend(0..self.now);
        }
    }

    fn model(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = match self.kind {
            Kind::Files => self.kept.values().flatten().cloned().collect(),
            Kind::Table(_) => self.versions.last().cloned().unwrap_or_default(),
            Kind::Days { .. } => {
                let now = self.versions.last().cloned().unwrap_or_default();
                now.into_iter().filter(|row| self.covered.contains(&row.2)).collect()
            }
        };
        rows.sort();
        rows
    }
}

fn changed_days(before: &[Row], now: &[Row]) -> BTreeSet<u8> {
    let count = |rows: &[Row], row: &Row| rows.iter().filter(|other| *other == row).count();
    before.iter().chain(now).filter(|row| count(before, row) != count(now, row)).map(|row| row.2).collect()
}

fn sinks() -> [Sink; 4] {
    [
        Sink::Append {},
        Sink::Overwrite {},
        Sink::OverwritePartitions { by: vec!["day".to_owned()] },
        Sink::Merge { keys: vec!["key".to_owned()], latest_by: Vec::new() },
    ]
}

/// Random histories of one kind of source, over every sink. `PULSE_TEST_HISTORIES` sets how many, `PULSE_TEST_SEED` repeats a failure.
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
    let histories = (prop::sample::select(sinks().to_vec()), any::<bool>(), on_missing, any::<bool>(), events);
    let result = runner.run(&histories, |(sink, partitions_within, on_missing, proven, events)| {
        World::new(kind, sink, partitions_within, on_missing, proven).follow(&events)
    });
    if let Err(failure) = result {
        panic!("PULSE_TEST_SEED={seed} PULSE_TEST_HISTORIES={cases}: {failure}");
    }
}

impl World {
    /// After every run that succeeds the table is the query over all inputs, and one that fails leaves it as it was.
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
            let succeeded = self.run(&asked, killed);
            if self.kind == Kind::Files {
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
            // The same again finds nothing to do, unless it is asked for.
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

/// A lake of a build that stored one number for all intervals, and no ids of tables.
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

/// A file that was read for one day holds rows of others.
#[test]
fn intervals_over_files_read_all_files() {
    let files = BTreeMap::from([("a.csv".to_owned(), 1), ("b.csv".to_owned(), 2)]);
    let observed = Observed { files: BTreeMap::from([("x".to_owned(), files)]), ..Observed::default() };
    let (sink, meaning) = (Sink::Append {}, Meaning::default());
    let numbers = ["a.csv", "b.csv"].into_iter().zip(1_i64..).map(|(path, mark)| (Bookmarks::file_id("x", path), mark));
    let known = Bookmarks { intervals: Some(days(1, 3)).into(), numbers: numbers.collect() };
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
