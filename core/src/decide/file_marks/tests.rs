use proptest::prelude::*;

use super::*;

/// A log and the objects beside it, in memory.
#[derive(Default)]
struct Log {
    stored: HashMap<String, i64>,
    objects: HashMap<i64, Marks>,
    written: usize,
}

impl Log {
    fn meant(&self) -> HashMap<String, i64> {
        let marks = segments(&self.stored).iter().map(|segment| self.objects[&segment.number].clone()).collect();
        meant(self.stored.clone(), marks)
    }

    fn commit(&mut self, numbers: Vec<(String, i64)>, capacity: usize) {
        let mut fold = Fold::with_capacity(&self.stored, numbers, capacity);
        while let Some(segment) = fold.wants() {
            fold.take(self.objects[&segment.number].clone());
        }
        let number = i64::try_from(self.objects.len()).unwrap();
        let Stored { numbers, segment } = fold.end(number);
        let mut ids: Vec<&String> = numbers.iter().map(|(id, _)| id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), numbers.len(), "a commit may hold an id only once: {numbers:?}");
        self.written += segment.as_ref().map_or(0, Marks::len);
        self.objects.extend(segment.map(|marks| (number, marks)));
        self.stored.extend(numbers);
    }

    /// As a build that knows no segments: it takes the job for a changed one, reads every file again, and stores each.
    fn rebuilt_by_earlier_build(&mut self, job: i64, files: &BTreeMap<String, i64>) {
        self.stored.insert(JOB.to_owned(), job);
        self.stored.extend(files.iter().map(|(file, mark)| (format!("{FILE}{file}"), *mark)));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Commit { files: Vec<(u8, i64)>, job: Option<i64>, other: Option<i64> },
    EarlierBuild { job: i64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let files = prop::collection::vec((any::<u8>(), prop_oneof![Just(GONE), 0..5_i64]), 0..40);
    let number = || prop::option::of(0..9_i64);
    let commit = (files, number(), number()).prop_map(|(files, job, other)| Step::Commit { files, job, other });
    let step = prop_oneof![9 => commit, 1 => (0..9_i64).prop_map(|job| Step::EarlierBuild { job })];
    prop::collection::vec(step, 1..40)
}

fn known(numbers: &HashMap<String, i64>) -> BTreeMap<String, i64> {
    numbers.iter().filter(|(_, number)| **number != GONE).map(|(id, number)| (id.clone(), *number)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_log_means_what_was_committed(steps in steps(), capacity in 1..20_usize, formerly in 0..30_u8) {
        let mut log = Log::default();
        let mut model: HashMap<String, i64> = HashMap::new();
        if formerly > 0 {
            // A lake of an earlier build.
            model = (0..formerly).map(|file| (format!("{FILE}s/{file}"), 1)).collect();
            model.insert(JOB.to_owned(), 7);
            log.stored.clone_from(&model);
        }
        for step in steps {
            match step {
                Step::Commit { files, job, other } => {
                    let files: BTreeMap<String, i64> =
                        files.into_iter().map(|(file, mark)| (format!("{FILE}s/{file}"), mark)).collect();
                    let mut numbers: Vec<(String, i64)> = files.into_iter().collect();
                    numbers.extend(job.map(|job| (JOB.to_owned(), job)));
                    numbers.extend(other.map(|other| ("pulse/table/s.t".to_owned(), other)));
                    model.extend(numbers.clone());
                    log.commit(numbers, capacity);
                }
                Step::EarlierBuild { job } => {
                    let mut there: BTreeMap<String, i64> = BTreeMap::new();
                    for (id, mark) in &model {
                        if let Some(file) = id.strip_prefix(FILE) {
                            there.insert(file.to_owned(), *mark);
                        }
                    }
                    model.insert(JOB.to_owned(), job);
                    log.rebuilt_by_earlier_build(job, &there);
                }
            }
            prop_assert_eq!(known(&log.meant()), known(&model));
            // Read by an earlier build, a log with segments is that of a changed job.
            let job = log.stored.get(JOB).copied();
            prop_assert!(segments(&log.stored).is_empty() || job == Some(IN_SEGMENTS));
            prop_assert!(segments(&log.stored).len() <= 1 + 256_usize.div_ceil(capacity).ilog2() as usize / GROWTH_BITS + 1);
        }
    }
}

#[test]
fn a_year_of_new_files_costs_few_actions_and_few_writes_of_each_mark() {
    let mut log = Log::default();
    let (commits, each) = (2_000, 50);
    for commit in 0..commits {
        let files = (0..each).map(|file| (format!("{FILE}s/{commit}-{file}"), 1)).collect();
        log.commit(files, CAPACITY);
    }
    assert_eq!(log.meant().len(), commits * each + 1);
    assert!(log.stored.len() < 10, "{:?}", log.stored);
    let writes = log.written / (commits * each);
    assert!(writes < 30, "each mark was written {writes} times");
}

#[test]
fn a_table_without_files_is_stored_as_before() {
    let mut log = Log::default();
    let numbers = vec![(JOB.to_owned(), 3), ("pulse/table/s.t".to_owned(), 5)];
    log.commit(numbers.clone(), CAPACITY);
    assert_eq!(log.stored, numbers.into_iter().collect());
    assert_eq!(log.objects.len(), 0);
}

#[test]
fn files_that_are_gone_leave_the_oldest_segment() {
    let mut log = Log::default();
    let file = |mark| vec![(format!("{FILE}s/a"), mark), (format!("{FILE}s/{mark}"), 1)];
    log.commit(file(1), CAPACITY);
    log.commit(file(GONE), CAPACITY);
    let last = &log.objects[&1];
    assert!(!last.contains_key("s/a") && last.len() == 2, "{last:?}");
}
