//! Random histories: what the plans make of a table is compared with the query over all inputs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

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
    NextDay,
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
        2 => Just(Event::NextDay),
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
    files: BTreeMap<String, (i64, Vec<Row>)>,
    /// Rows of every version of the source table.
    versions: Vec<Vec<Row>>,
    id: i64,
    comparable_from: usize,
    meaning: i64,
    now: u8,
    numbers: HashMap<String, i64>,
    table: Option<Vec<Row>>,
    /// What the model knows: rows of files that are gone and stay, and days that must be there.
    kept: BTreeMap<String, Vec<Row>>,
    covered: BTreeSet<u8>,
}

impl World {
    fn new(kind: Kind, sink: Sink, partitions_within: bool) -> Self {
        Self {
            kind,
            sink,
            partitions_within,
            files: BTreeMap::new(),
            versions: vec![Vec::new()],
            id: 1,
            comparable_from: 0,
            meaning: 1,
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
            Event::EditJob => self.meaning += 1,
            Event::NextDay => self.now = self.now.saturating_add(1).min(30),
            Event::Run { .. } => {}
        }
    }

    fn source(&self) -> TableName {
        "bronze.t".parse().unwrap()
    }

    fn bookmarks(&self) -> Bookmarks {
        Bookmarks::new(self.numbers.clone(), Some(day(0)))
    }

    fn observed(&self, known: &Bookmarks) -> Observed {
        let mut observed = Observed::default();
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
        let meaning = BTreeMap::from([("pulse/job".to_owned(), self.meaning)]);
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

    fn carried_out(&self, known: &Bookmarks, plan: &RunPlan) -> Vec<Row> {
        let now = self.versions.last().cloned().unwrap_or_default();
        let mut table = self.table.clone().unwrap_or_default();
        let of = |path: &String| self.files.get(path).map(|(_, rows)| rows.clone()).unwrap_or_default();
        match plan {
            RunPlan::Nothing => {}
            RunPlan::Observe { .. } => panic!("no sink here remembers"),
            RunPlan::Rebuild { inputs, intervals, .. } => match self.kind {
                Kind::Files => table = inputs.files("x").iter().flat_map(of).collect(),
                Kind::Table(_) => table = now,
                Kind::Days { .. } => table = now.into_iter().filter(|row| within(intervals, row)).collect(),
            },
            RunPlan::Changes { files, intervals, again } => match self.kind {
                Kind::Files => {
                    let changes = &files["x"];
                    assert!(matches!(self.sink, Sink::Append {}), "others replace what they did not read");
                    table.retain(|row| !changes.replaced.contains(&row.0));
                    table.extend(changes.read.iter().flat_map(of));
                }
                Kind::Table(_) => {
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
                        _ => {}
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
        if matches!(plan, RunPlan::Rebuild { .. }) && asked.allow_loss {
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
        Sink::Merge { keys: vec!["key".to_owned()] },
    ]
}

const KINDS: [Kind; 5] = [
    Kind::Files,
    Kind::Table(Read::All),
    Kind::Table(Read::Changed),
    Kind::Days { reach: true },
    Kind::Days { reach: false },
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn after_every_run_the_table_is_the_query_over_all_inputs(
        kind in prop::sample::select(&KINDS[..]),
        sink in prop::sample::select(sinks().to_vec()),
        partitions_within in any::<bool>(),
        events in prop::collection::vec(event(), 1..14),
    ) {
        let mut world = World::new(kind, sink, partitions_within);
        for event in &events {
            world.change(event);
            let Event::Run { from, length, asked, rebuild, allow_loss, killed } = *event else { continue };
            let asked = Asked { interval: asked.then(|| days(from, from + length)), rebuild, allow_loss };
            let before = world.table.clone();
            if !world.run(&asked, killed) || killed {
                prop_assert_eq!(&before, &world.table);
                continue;
            }
            let mut table = world.table.clone().unwrap_or_default();
            table.sort();
            prop_assert_eq!(table, world.model());
            // The same again finds nothing to do, unless it is asked for.
            let known = world.bookmarks();
            let settled = world.numbers.clone();
            if asked.interval.is_none() && !asked.rebuild {
                prop_assert!(world.run(&Asked::default(), false));
                prop_assert_eq!(&settled, &world.numbers, "{:?}", known);
            }
        }
    }
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
    let meaning = BTreeMap::from([("pulse/job".to_owned(), 1)]);
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
    let meaning = BTreeMap::new();
    let job = JobRules { sink: &sink, interval: Some(rules), meaning: &meaning };
    let asked = Asked { interval: Some(days(2, 9)), ..Asked::default() };
    let error = decide(job, None, &Observed::default(), &asked, day(5)).unwrap_err();
    insta::assert_snapshot!(error, @"[1970-01-03, 1970-01-10) has not ended: choose an end that is not after 1970-01-06T00:00:00Z");
}
