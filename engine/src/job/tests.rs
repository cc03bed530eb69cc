//! Runs over random small inputs. In whatever order they arrive: a repeated run is a no-op, a table that was built
//! incrementally equals one built from all current files, and no version violates a `fail` expectation or its grain.

mod evaluations;
mod external;
mod fuzz;
mod grain;
mod history;
mod hive;
mod increments;
mod latest;
mod life;
mod types;
mod unknown;
mod whole;

mod names;
mod partitions;
mod question;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, Utc};
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use pulse_core::decide::Asked;
use pulse_core::graph::Graph;
use pulse_core::name::TableName;
use pulse_core::project::{Project, ProjectFiles};
use tempfile::TempDir;

use super::{JobOptions, Mode, Outcome, RunOptions, Workbench, run};
use crate::execute::InProcess;
use crate::landing::Databases;
use crate::session::{RuntimeOptions, runtime, session_config, session_state};
use crate::source::delta::DeltaScan;
use crate::source::file::ReadOptions;
use crate::store::{Stores, folder_url};
use crate::table::{CommitOptions, Lake};

/// Time limit of one case, which takes a second or two on an idle machine.
const LIMIT: Duration = Duration::from_secs(300);

/// A line of a file; an empty field is null.
type Line = (Option<i64>, i64, Option<i64>);

/// Files that are written before a run, by number; an existing file is replaced.
type Step = BTreeMap<u8, Vec<Line>>;

const SOURCES: &str = "[files.lines]\nroot = \"$raw\"\ncolumns = [{ name = \"k\", type = \"bigint\" }, \
                       { name = \"d\", type = \"date\" }, { name = \"v\", type = \"bigint\" }]\n\
                       [files.lines.feed.all]\npath = \"{part}.csv\"\nformat = { csv = {} }\n\
                       [files.days]\nroot = \"$raw\"\ncolumns = [{ name = \"x\", type = \"bigint\" }, \
                       { name = \"day\", type = \"date\" }]\n[files.days.feed.all]\npath = \"days/*.csv\"\n\
                       format = { csv = {} }\npartitions = [\"day\"]\n\
                       [tables.t]\nlocation = \"$raw/t\"\n";

const BRONZE: &str = "grain = [\"source_file\", \"line\"]\n[sink.append]\n";

fn by(columns: &str) -> String {
    format!("[source.\"bronze.lines\"]\nread = \"changed\"\nby = {columns}\n")
}

fn expect(name: &str, what: &str, on_fail: &str) -> String {
    format!("[[expect]]\nname = \"{name}\"\n{what}\non_fail = \"{on_fail}\"\n")
}

/// Name, manifest and query of a job.
type JobText = (&'static str, String, &'static str);

/// Each sink, with and without checks that remove rows, groups, joins and filtered groups.
fn jobs_of_every_kind() -> Vec<JobText> {
    // Random rows may all exceed the check's limit.
    const ANY: &str = "max_rejected = 1.0\n";
    let small = expect("v is small", "check = \"coalesce(v, 0) < 7\"", "quarantine");
    let first = "unique = { columns = [\"k\", \"d\"], keep_first_by = [\"_source_file desc\", \"_line\"] }";
    let both = "[source.\"silver.sums\"]\nread = \"changed\"\nby = [\"k\"]\n[source.\"silver.rows\"]\nread = \"changed\"\n\
                by = [\"k\"]\n[sink.merge]\nkeys = [\"k\", \"d\"]\n";
    vec![
        ("bronze.lines", BRONZE.to_owned(), "select k, d, v, source_file, line from raw.lines"),
        ("bronze.star", BRONZE.to_owned(), "select * from raw.lines"),
        (
            "silver.whole",
            "grain = [\"d\"]\n[source.\"bronze.lines\"]\nread = \"all\"\n[sink.overwrite]\n".to_owned(),
            "select d, count(*) as n, sum(v) as v from bronze.lines group by d",
        ),
        (
            "silver.days",
            format!("{ANY}grain = [\"d\", \"n\"]\n{}[sink.overwrite_partitions]\nby = [\"d\"]\n{small}", by("[\"d\"]")),
            "select k, d, v, row_number() over (partition by d order by k, v) as n from bronze.lines",
        ),
        (
            "silver.sums",
            format!("{ANY}grain = [\"k\"]\n{}[sink.merge]\nkeys = [\"k\"]\n{small}", by("[\"k\"]")),
            "select k, count(*) as n, sum(v) as v from bronze.lines group by k",
        ),
        (
            "silver.rows",
            format!(
                "{ANY}grain = [\"k\", \"d\"]\n{}[sink.merge]\nkeys = [\"k\", \"d\"]\n{small}{}",
                by("[\"k\", \"d\"]"),
                expect("once", first, "drop")
            ),
            "select k, d, v, source_file as _source_file, line as _line from bronze.lines",
        ),
        (
            "silver.rare",
            format!("grain = [\"k\"]\n{}[sink.merge]\nkeys = [\"k\"]\n", by("[\"k\"]")),
            "select k, min(v) as v from bronze.lines group by k having count(*) < 3",
        ),
        (
            "gold.joined",
            format!("grain = [\"k\", \"d\"]\n{both}"),
            "select r.k, r.d, r.v, s.n, s.v as total from silver.rows r left join silver.sums s on s.k = r.k",
        ),
    ]
}

/// Jobs that guarantee small rows and unique k, for each sink.
fn guarded_jobs() -> Vec<JobText> {
    let guards =
        expect("v is small", "check = \"v < 6\"", "fail") + &expect("k once", "unique = { columns = [\"k\"] }", "fail");
    let guarded = |source: String, sink: &str| format!("grain = [\"k\"]\n{source}{sink}\n{guards}");
    let query = "select k, d, v from bronze.lines";
    vec![
        ("bronze.lines", BRONZE.to_owned(), "select k, d, v, source_file, line from raw.lines"),
        (
            "silver.appended",
            guarded("[source.\"bronze.lines\"]\nread = \"changed\"\n".to_owned(), "[sink.append]"),
            query,
        ),
        ("silver.whole", guarded(String::new(), "[sink.overwrite]"), query),
        ("silver.days", guarded(by("[\"d\"]"), "[sink.overwrite_partitions]\nby = [\"d\"]"), query),
        ("silver.merged", guarded(by("[\"d\"]"), "[sink.merge]\nkeys = [\"d\"]"), query),
    ]
}

struct World {
    folder: TempDir,
    bench: Workbench,
    runs: u32,
    /// The mode of each job's last run.
    modes: BTreeMap<TableName, Mode>,
}

impl World {
    fn new(jobs: &[JobText]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("raw")).unwrap();
        let bench = bench(project(jobs, folder.path()), folder.path(), "lake");
        Self { folder, bench, runs: 0, modes: BTreeMap::new() }
    }

    /// The same inputs and lake with other jobs.
    fn edited(&self, jobs: &[JobText]) -> World {
        let bench = bench(project(jobs, self.folder.path()), self.folder.path(), "lake");
        World { folder: tempfile::tempdir().unwrap(), bench, runs: self.runs + 1000, modes: BTreeMap::new() }
    }

    fn write(&self, step: &Step) {
        for (file, lines) in step {
            let cell = |value: &Option<i64>| value.map(|value| value.to_string()).unwrap_or_default();
            let rows: String =
                lines.iter().map(|(k, d, v)| format!("{},2024-01-0{},{}\n", cell(k), d + 1, cell(v))).collect();
            std::fs::write(self.folder.path().join(format!("raw/{file}.csv")), format!("k,d,v\n{rows}")).unwrap();
        }
    }

    /// Runs all jobs in dependency order and returns their outcomes.
    async fn run_all(&mut self) -> BTreeMap<TableName, pulse_core::Result<Outcome>> {
        self.run_all_as(&Asked::default()).await
    }

    /// The time of a run: each begins a second after its predecessor.
    fn time(&self) -> DateTime<Utc> {
        now() + Duration::from_secs(self.runs.into())
    }

    async fn run_all_as(&mut self, asked: &Asked) -> BTreeMap<TableName, pulse_core::Result<Outcome>> {
        let mut outcomes = BTreeMap::new();
        for name in Graph::new(&self.bench.project).unwrap().order() {
            self.runs += 1;
            let job = self.bench.project.job(name).unwrap();
            let id = format!("run-{}", self.runs);
            let options = RunOptions {
                run_id: &id,
                asked,
                now: self.time(),
                begun: None,
                progress: &|_| (),
                entering: &|_| Ok(()),
            };
            let report = run(&self.bench, job, options).await;
            self.modes.remove(name);
            self.modes.extend(report.iter().map(|report| (name.clone(), report.mode.clone())));
            outcomes.insert(name.clone(), report.map(|report| report.outcome));
        }
        outcomes
    }

    /// The same input with an empty lake.
    fn afresh(&self) -> World {
        let bench = bench(self.bench.project.as_ref().clone(), self.folder.path(), &format!("fresh-{}", self.runs));
        World { folder: tempfile::tempdir().unwrap(), bench, runs: 0, modes: BTreeMap::new() }
    }

    async fn tables(&self) -> BTreeMap<TableName, Vec<String>> {
        let mut tables = BTreeMap::new();
        for name in self.bench.lake.tables().await.unwrap() {
            let rows = self.rows(&name, None).await;
            // A quarantine that lost its last row remains as an empty table.
            if !rows.is_empty() {
                tables.insert(name, rows);
            }
        }
        tables
    }

    async fn version(&self, name: &TableName) -> Option<u64> {
        self.bench.lake.table(name).unwrap().snapshot(None).await.unwrap().map(|snapshot| snapshot.version)
    }

    /// Rows as text, sorted; without the run's id.
    async fn rows(&self, name: &TableName, version: Option<u64>) -> Vec<String> {
        let table = self.bench.lake.table(name).unwrap();
        let snapshot = table.snapshot(version).await.unwrap().unwrap();
        let scan = DeltaScan::new(table, &snapshot, 1 << 20);
        let context = SessionContext::new_with_state(self.bench.state.clone());
        let batches = context.read_table(Arc::new(scan)).unwrap().collect().await.unwrap();
        let mut rows = Vec::new();
        for batch in batches {
            let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
            let options = FormatOptions::default().with_null("-");
            let columns: Vec<_> =
                batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
            let shown = || names.iter().zip(&columns).filter(|(name, _)| *name != "_run_id");
            let row = |row| shown().map(|(_, column)| column.value(row).to_string()).collect::<Vec<_>>().join(" ");
            rows.extend((0..batch.num_rows()).map(row));
        }
        rows.sort();
        rows
    }
}

/// The jobs over files in `raw` of the folder.
fn project(jobs: &[JobText], folder: &std::path::Path) -> Project {
    let mut files = ProjectFiles::from([
        ("project.toml".to_owned(), "name = \"test\"\n[defaults]\nowner = \"test\"\n".to_owned()),
        ("sources.toml".to_owned(), SOURCES.to_owned()),
    ]);
    for (name, manifest, query) in jobs {
        let path = name.replace('.', "/");
        files.insert(format!("{path}/job.toml"), manifest.clone());
        files.insert(format!("{path}/query.sql"), (*query).to_owned());
    }
    let variables = BTreeMap::from([("raw".to_owned(), folder.join("raw").to_string_lossy().into_owned())]);
    Project::parse(&files).unwrap().with_variables(&variables)
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

fn bench(project: Project, folder: &std::path::Path, lake: &str) -> Workbench {
    let stores = Arc::new(Stores::default());
    let limits = RuntimeOptions { memory_bytes: 256 << 20, spill_dir: None, spill_limit_bytes: 1 << 30 };
    let state = session_state(session_config(SessionConfig::new(), 2, 8192), runtime(&limits, &stores).unwrap());
    Workbench {
        project: Arc::new(project),
        lake: Lake::new(folder_url(lake, folder).unwrap(), stores),
        state,
        execute: Arc::new(InProcess { slots: 2 }),
        options: JobOptions {
            // Small enough that a scan has several partitions.
            target_partition_bytes: 2 << 10,
            read: ReadOptions::default(),
            commit: CommitOptions { checkpoint_every: 3, ..CommitOptions::default() },
            attempts: 1,
            optimize_files: 0,
        },
        catalog: Arc::new(crate::catalog::LocalCatalog),
        databases: Databases::default(),
    }
}

fn steps(values: std::ops::Range<i64>, keys: std::ops::Range<i64>, lines: usize) -> impl Strategy<Value = Vec<Step>> {
    let line = (prop::option::weighted(0.9, keys), 0..3_i64, prop::option::weighted(0.9, values));
    let step = prop::collection::btree_map(0..3_u8, vec(line, 0..lines), 1..3);
    vec(step, 1..4)
}

/// Uses different inputs in each test run; `PULSE_TEST_SEED` repeats a failure.
fn check<S: Strategy>(cases: u32, strategy: S, property: impl Fn(S::Value)) {
    let seed = std::env::var("PULSE_TEST_SEED")
        .map_or_else(|_| RandomState::new().build_hasher().finish(), |seed| seed.parse().unwrap());
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 64, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let result = runner.run(&strategy, |value| {
        property(value);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("PULSE_TEST_SEED={seed}: {failure}");
    }
}

/// Repeats a check until its inputs have covered the tested situation.
fn check_until<S: Strategy>(
    cases: u32,
    strategy: impl Fn() -> S,
    property: impl Fn(S::Value),
    covered: impl Fn() -> bool,
) {
    for _ in 0..20 {
        check(cases, strategy(), &property);
        if covered() {
            return;
        }
    }
    panic!("no inputs have shown what the test is about");
}

fn block_on<F: Future>(future: F) -> F::Output {
    let threads =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().thread_stack_size(16 << 20).build();
    threads.unwrap().block_on(async { tokio::time::timeout(LIMIT, future).await.expect("it hangs") })
}

/// The number of cases; `PROPTEST_CASES` overrides it.
fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn a_repeated_run_changes_nothing_and_growth_leaves_no_trace() {
    check(cases(6), steps(0..5, 0..4, 6), |steps| {
        block_on(async {
            let mut world = World::new(&jobs_of_every_kind());
            for step in &steps {
                world.write(step);
                let outcomes = world.run_all().await;
                assert!(outcomes.values().all(Result::is_ok), "{outcomes:?}");
                let grown = world.tables().await;
                let again = world.run_all().await;
                assert!(again.values().all(|outcome| matches!(outcome, Ok(Outcome::Unchanged))), "{again:?}");
                let mut fresh = world.afresh();
                fresh.run_all().await;
                assert_eq!(grown, fresh.tables().await);
            }
        });
    });
}

/// An independent check of the guarantees of [`guarded_jobs`]: columns are k, d and v.
fn holds(rows: &[String]) -> bool {
    let cells: Vec<Vec<&str>> = rows.iter().map(|row| row.split(' ').collect()).collect();
    let keys: BTreeSet<&str> = cells.iter().map(|cells| cells[0]).collect();
    keys.len() == rows.len() && cells.iter().all(|cells| cells[2].parse::<i64>().is_ok_and(|v| v < 6))
}

#[test]
fn no_version_violates_what_it_must_hold() {
    let (failed, committed) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let property = |steps: Vec<Step>| {
        block_on(async {
            let mut world = World::new(&guarded_jobs());
            for step in &steps {
                let mut before = BTreeMap::new();
                for name in world.bench.project.jobs.keys() {
                    before.insert(name.clone(), world.version(name).await);
                }
                world.write(step);
                for (name, outcome) in world.run_all().await.into_iter().filter(|(name, _)| name.layer() == "silver") {
                    let version = world.version(&name).await;
                    match outcome {
                        Ok(Outcome::Committed { version: committed_as }) => {
                            committed.set(committed.get() + 1);
                            assert_eq!(version, Some(committed_as));
                            let rows = world.rows(&name, version).await;
                            assert!(holds(&rows), "{name} at version {version:?}: {rows:?}");
                        }
                        Err(error) => panic!("{name}: {error}"),
                        Ok(Outcome::Unchanged) => assert_eq!(version, before[&name], "{name}"),
                        Ok(Outcome::ExpectationFailed { .. }) => {
                            failed.set(failed.get() + 1);
                            assert_eq!(version, before[&name], "{name}");
                        }
                    }
                }
            }
        });
    };
    let covered = || failed.get() > 0 && committed.get() > 0;
    check_until(cases(12), || steps(0..7, 0..9, 4), property, covered);
}
