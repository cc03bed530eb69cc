//! A model of the inputs, and of a table that follows the plans.

use super::*;

/// First day of a job by day; earlier ones are computed where a run asks for them.
const START: u8 = 2;

/// The inputs, and the table as the plans leave it.
pub(super) struct World {
    pub(super) kind: Kind,
    pub(super) sink: Sink,
    partitions_within: bool,
    pub(super) on_missing: OnMissing,
    /// Whether the query over changed rows yields exactly the changes of the full result.
    proven: bool,
    files: BTreeMap<String, (i64, Vec<Row>)>,
    /// Rows of every version of the source table.
    versions: Vec<Vec<Row>>,
    id: i64,
    comparable_from: usize,
    /// The job's meaning, and its text.
    meaning: i64,
    layout: i64,
    now: u8,
    pub(super) numbers: HashMap<String, i64>,
    pub(super) table: Option<Vec<Row>>,
    /// The model's state: rows of deleted files that stay, and days that must exist.
    kept: BTreeMap<String, Vec<Row>>,
    covered: BTreeSet<u8>,
    /// Of a sink that remembers: each row that the table has or had, since which run, and until which one.
    recorded: Vec<(Row, u32, Option<u32>)>,
    /// The model's: what each run saw, since the history began.
    seen: BTreeMap<u32, Vec<Row>>,
    /// Runs up to now.
    runs: u32,
}

impl World {
    pub(super) fn new(kind: Kind, sink: Sink, partitions_within: bool, on_missing: OnMissing, proven: bool) -> Self {
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
            recorded: Vec::new(),
            seen: BTreeMap::new(),
            runs: 0,
        }
    }

    pub(super) fn change(&mut self, event: &Event) {
        let rows = |path: &str, keys: &[(u8, u8)], value: u8| -> Vec<Row> {
            keys.iter().map(|(key, day)| (path.to_owned(), *key, *day, value)).collect()
        };
        match event {
            Event::PutFile { path, content, keys } => {
                let path = format!("f{path}.csv");
                let rows = rows(&path, keys, *content);
                // The fingerprint identifies the content.
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

    /// Whether the table keeps earlier contents of its inputs.
    pub(super) fn remembered(&self) -> bool {
        self.sink.remembers() && self.table.is_some()
    }

    pub(super) fn is_edited(&self) -> bool {
        Meaning::test(self.layout, &self.meaning.to_string()).change(&self.numbers).is_some()
    }

    pub(super) fn bookmarks(&self) -> Bookmarks {
        Bookmarks::new(self.numbers.clone(), Some(day(START)))
    }

    fn observed(&self, known: &Bookmarks) -> Observed {
        let unproven = (!self.proven).then(|| "`limit`".to_owned());
        let mut observed = Observed { unproven, ..Observed::default() };
        let Kind::Files = self.kind else {
            let version = self.versions.len() - 1;
            let mark = TableMark { version: version as u64, id: Some(self.id) };
            let read = if let Kind::Table(read) = self.kind { read } else { Read::All };
            let same = |known: &TableMark| known.id == mark.id;
            let since = match known.table(&self.source()).filter(same).map(|mark| mark.version as usize) {
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
                // File statistics give an hour within the day, and the hull of the changes.
                let (first, last) = (changed.first().unwrap(), changed.last().unwrap());
                let at = |n: &u8, hours| day(*n) + chrono::TimeDelta::hours(hours);
                Since::Changed(Reach::Within(Some(Interval { start: at(first, 5), end: at(last, 6) }).into()))
            }
            (false, _) => Since::Changed(Reach::Anything),
        }
    }

    /// Decides and applies the plan. Returns false if the run fails; then nothing changes.
    pub(super) fn run(&mut self, asked: &Asked, killed: bool) -> bool {
        self.runs += 1;
        let now = day(self.now) + chrono::TimeDelta::seconds(i64::from(self.runs));
        let known = self.bookmarks();
        let observed = self.observed(&known);
        let meaning = Meaning::test(self.layout, &self.meaning.to_string());
        let interval = matches!(self.kind, Kind::Days { .. }).then_some(IntervalRules {
            unit: IntervalUnit::Day,
            start: day(START),
            partitions_within: self.partitions_within,
            has_quarantine: false,
        });
        let job = JobRules { sink: &self.sink, interval, meaning: &meaning };
        let bookmarks = self.table.is_some().then_some(&known);
        let Ok(plan) = decide(job, bookmarks, &observed, asked, now) else { return false };
        if plan == RunPlan::Nothing || killed {
            return true;
        }
        self.table = Some(self.carried_out(&known, &plan));
        self.expect(&plan, asked);
        self.record(&plan);
        self.numbers.extend(known.after(&plan, &meaning, &observed));
        self.numbers.extend(known.recorded_after(self.sink.remembers(), now));
        true
    }

    /// Closes rows that the table does not have any more, and adds new ones. A rebuild begins the history.
    fn record(&mut self, plan: &RunPlan) {
        if matches!(plan, RunPlan::Rebuild { .. }) {
            self.recorded.clear();
            self.seen.clear();
        }
        let mut new = self.table.clone().unwrap_or_default();
        for (row, _, until) in self.recorded.iter_mut().filter(|(_, _, until)| until.is_none()) {
            match new.iter().position(|other| other == row) {
                Some(place) => drop(new.swap_remove(place)),
                None => *until = Some(self.runs),
            }
        }
        self.recorded.extend(new.into_iter().map(|row| (row, self.runs, None)));
        self.seen.insert(self.runs, self.model());
    }

    /// What each run saw is what the table says that it was then.
    pub(super) fn seen_as_recorded(&self) -> std::result::Result<(), TestCaseError> {
        for (run, seen) in &self.seen {
            let holds = |from: &u32, until: &Option<u32>| from <= run && until.is_none_or(|until| until > *run);
            let recorded = self.recorded.iter().filter(|(_, from, until)| holds(from, until));
            let mut rows: Vec<Row> = recorded.map(|(row, ..)| row.clone()).collect();
            rows.sort();
            prop_assert_eq!(&rows, seen);
        }
        Ok(())
    }

    /// Deleted files whose rows the table still holds.
    pub(super) fn gone(&self) -> impl Iterator<Item = &String> {
        self.kept.keys().filter(|path| !self.files.contains_key(*path))
    }

    /// Forgets the rows of a file and returns whether that was possible, which it is only for deleted files.
    pub(super) fn forget(&mut self, path: u8) -> bool {
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
            RunPlan::Observe { inputs, .. } => {
                assert!(self.sink.remembers());
                table = if self.kind == Kind::Files { inputs.files("x").iter().flat_map(of).collect() } else { now };
            }
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
                    // Groups with a changed row are replaced as a whole.
                    let before = known.table(&self.source()).unwrap().version as usize;
                    let changed = changed_days(&self.versions[before], &now);
                    table.retain(|row| !changed.contains(&row.2));
                    table.extend(now.into_iter().filter(|row| changed.contains(&row.2)));
                }
                Kind::Days { .. } => {
                    match &self.sink {
                        Sink::Append {} => assert!(again.is_empty()),
                        // A partition of two days is replaced as a whole.
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

    /// Updates the model after a successful run; uses the plan only to see whether files were given up.
    fn expect(&mut self, plan: &RunPlan, asked: &Asked) {
        // Rows of deleted files stay, unless a rebuild may lose them.
        let reads_all = matches!(plan, RunPlan::Rebuild { .. } | RunPlan::Observe { .. });
        if (reads_all && asked.allow_loss) || self.on_missing == OnMissing::Remove {
            self.kept.clear();
        }
        self.kept.extend(self.files.iter().map(|(path, (_, rows))| (path.clone(), rows.clone())));
        let asked_days = asked.interval.map(|interval| (0..40).filter(move |n| interval.contains(day(*n))));
        match (asked_days, plan) {
            (Some(days), _) => self.covered.extend(days),
            (None, _) => self.covered.extend(START..self.now),
        }
        // A rebuild also computes due intervals.
        if let (RunPlan::Rebuild { reason, .. }, Some(_)) = (plan, asked.interval)
            && reason != "the table does not exist yet"
        {
            self.covered.extend(START..self.now);
        }
    }

    pub(super) fn model(&self) -> Vec<Row> {
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
