//! Optimizations concurrent with runs, and the versions that remain readable after a vacuum.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use pulse_core::ErrorKind;
use pulse_core::project::{Project, ProjectFiles};
use pulse_core::run::Place;
use tempfile::TempDir;

use super::*;
use crate::execute::{Execute, InProcess, Progress};
use crate::job::JobOptions;
use crate::session::{RuntimeOptions, runtime, session_config, session_state};
use crate::source::file::ReadOptions;
use crate::store::{Stores, folder_url};
use crate::table::{CommitOptions, Lake};

const TARGET: u64 = 1 << 20;
const HOUR: Duration = Duration::from_secs(3600);

struct Scene {
    folder: TempDir,
    bench: Workbench,
    name: TableName,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stores = Arc::new(Stores::default());
        let options = RuntimeOptions { memory_bytes: 1 << 30, spill_dir: None, spill_limit_bytes: 1 << 30 };
        let runtime = runtime(&options, &stores).unwrap();
        let project = ProjectFiles::from([("project.toml".to_owned(), "name = \"test\"\n".to_owned())]);
        let bench = Workbench {
            project: Arc::new(Project::parse(&project).unwrap()),
            lake: Lake::new(folder_url(folder.path().to_str().unwrap(), folder.path()).unwrap(), stores),
            state: session_state(session_config(SessionConfig::new(), 4, 1024), runtime),
            execute: Arc::new(InProcess { slots: 2 }),
            catalog: Arc::new(crate::catalog::LocalCatalog),
            options: JobOptions {
                target_partition_bytes: 1 << 30,
                read: ReadOptions {
                    batch_rows: 1024,
                    max_line_bytes: 1 << 20,
                    max_raw_bytes: 1 << 10,
                    max_object_bytes: 1 << 20,
                    notes: false,
                },
                commit: CommitOptions::default(),
                attempts: 3,
                optimize_files: 0,
            },
            databases: crate::landing::Databases::default(),
        };
        Self { folder, bench, name: "silver.rows".parse().unwrap() }
    }

    fn table(&self) -> Table {
        self.bench.lake.table(&self.name).unwrap()
    }

    async fn snapshot(&self) -> Snapshot {
        self.table().snapshot(None).await.unwrap().unwrap()
    }

    /// Commits the rows of a query, sorted by `k` and `v`, and removes `removes`.
    async fn commit(&self, sql: &str, partition_by: &[&str], removes: Vec<DataFile>) -> u64 {
        let context = SessionContext::new_with_state(self.bench.state.clone());
        let rows = context.sql(sql).await.unwrap().into_unoptimized_plan();
        let partition_by: Vec<String> = partition_by.iter().map(|name| (*name).to_owned()).collect();
        commit(&self.bench, &self.table(), rows, &partition_by, removes).await
    }

    async fn optimize(&self) -> Result<Optimized> {
        optimize(&self.bench, &self.name, TARGET, Utc::now()).await
    }

    /// Rows of one version, as text, sorted.
    async fn rows(&self, version: Option<u64>) -> Vec<String> {
        let snapshot = self.table().snapshot(version).await.unwrap().unwrap();
        let scan = DeltaScan::new(self.table(), &snapshot, 1 << 30);
        let context = SessionContext::new_with_state(self.bench.state.clone());
        let batches = context.read_table(Arc::new(scan)).unwrap().collect().await.unwrap();
        let mut rows: Vec<String> = batches.iter().flat_map(texts).collect();
        rows.sort();
        rows
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join("silver/rows").join(below)
    }

    fn age(&self, below: &str, age: Duration) {
        let file = std::fs::File::options().append(true).open(self.path(below)).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    fn age_version(&self, version: u64, age: Duration) {
        self.age(&format!("_delta_log/{version:020}.json"), age);
    }
}

fn texts(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default();
    let columns: Vec<_> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
    let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(",");
    (0..batch.num_rows()).map(row).collect()
}

async fn commit(
    bench: &Workbench,
    table: &Table,
    rows: LogicalPlan,
    partition_by: &[String],
    removes: Vec<DataFile>,
) -> u64 {
    // As in all of our tables.
    let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
    let schema = Arc::new(Schema::new(rows.schema().fields().iter().map(nullable).collect::<Vec<_>>()));
    let spec = SinkSpec {
        run_id: "test".to_owned(),
        table: table.url().to_string(),
        columns: schema.fields().iter().map(|field| field.name().clone()).collect(),
        partition_by: partition_by.to_vec(),
        order: vec!["k".to_owned(), "v".to_owned()],
        target_file_bytes: TARGET,
        quarantine: table.url().to_string(),
        checks: Vec::new(),
        unique: None,
        grain: None,
    };
    let staged = write(bench, "test", rows, spec, &|_| ()).await.unwrap();
    let commit = Commit {
        run_id: Uuid::new_v4().to_string(),
        adds: staged.total.files,
        removes,
        read_table: Removal::Independent,
        transactions: Vec::new(),
        details: BTreeMap::new(),
        schema,
        partition_by: partition_by.to_vec(),
        whole: None,
        at: Utc::now().timestamp_millis(),
    };
    let read = table.snapshot(None).await.unwrap();
    match table.commit(read.as_ref(), &commit, &CommitOptions::default()).await.unwrap() {
        CommitOutcome::Committed { version } => version,
        other => panic!("{other:?}"),
    }
}

/// Rows with keys `from`..=`to`.
fn span(from: i64, to: i64) -> String {
    format!("select value as k, value * 2 as v, 'row ' || value as t from generate_series({from}, {to})")
}

fn log_entry(scene: &Scene, version: u64) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(scene.path(&format!("_delta_log/{version:020}.json"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn small_files_become_one_with_the_same_rows_in_order() {
    let scene = Scene::new();
    for from in [4000, 1, 2000] {
        scene.commit(&span(from, from + 999), &[], Vec::new()).await;
    }
    let before = scene.rows(None).await;
    let done = scene.optimize().await.unwrap();
    assert_eq!((done.version, done.files_removed, done.files_added), (Some(3), 3, 1));
    assert_eq!(scene.rows(None).await, before);
    assert_eq!(before.len(), 3000);

    for action in log_entry(&scene, 3) {
        for name in ["add", "remove"] {
            if let Some(file) = action.get(name) {
                assert_eq!(file["dataChange"], false, "{action}");
            }
        }
    }
    let snapshot = scene.snapshot().await;
    assert_eq!(snapshot.files[0].order, ["k", "v"]);
    // The scan still declares the order, so sorting by it is free.
    let context = SessionContext::new_with_state(scene.bench.state.clone());
    let scan = DeltaScan::new(scene.table(), &snapshot, 1 << 30);
    context.register_table("t", Arc::new(scan)).unwrap();
    let sorted = context.sql("select * from t order by k, v").await.unwrap();
    let plan = sorted.clone().create_physical_plan().await.unwrap();
    assert!(!displayable(plan.as_ref()).indent(false).to_string().contains("SortExec"));
    let keys: Vec<String> = sorted.collect().await.unwrap().iter().flat_map(texts).collect();
    let expected = (1..=1000).chain(2000..=2999).chain(4000..=4999);
    assert!(keys.iter().zip(expected).all(|(row, key)| row.starts_with(&format!("{key},"))));

    assert_eq!(scene.optimize().await.unwrap(), Optimized::default());
    assert_eq!(scene.snapshot().await.version, 3);
}

#[tokio::test]
async fn files_that_share_values_are_set_apart_and_then_left() {
    let scene = Scene::new();
    let wide = "select value as k, random() as v, uuid() as t from generate_series(1, 40000)";
    for _ in 0..3 {
        scene.commit(wide, &[], Vec::new()).await;
    }
    let before = scene.rows(None).await;
    let done = scene.optimize().await.unwrap();
    assert!(done.files_added > 1 && done.version.is_some(), "{done:?}");
    assert!(scene.rows(None).await == before);
    let snapshot = scene.snapshot().await;
    let k = arrow::datatypes::DataType::Int64;
    let mut bounds: Vec<_> =
        snapshot.files.iter().map(|file| (file.min("k", &k).unwrap(), file.max("k", &k).unwrap())).collect();
    bounds.sort_by(|a, b| a.partial_cmp(b).unwrap());
    assert!(bounds.windows(2).all(|pair| pair[0].1 < pair[1].0), "{bounds:?}");
    assert_eq!(scene.optimize().await.unwrap(), Optimized::default());
}

#[tokio::test]
async fn partitions_of_the_storage_stay_apart() {
    let scene = Scene::new();
    let days = |from: i64| {
        format!("select value as k, value * 2 as v, value % 2 as day from generate_series({from}, {})", from + 99)
    };
    for from in [1, 101, 201] {
        scene.commit(&days(from), &["day"], Vec::new()).await;
    }
    let before = scene.rows(None).await;
    assert_eq!(scene.snapshot().await.files.len(), 6);
    let done = scene.optimize().await.unwrap();
    assert_eq!((done.files_removed, done.files_added), (6, 2));
    let snapshot = scene.snapshot().await;
    let values: Vec<_> = snapshot.files.iter().map(|file| file.partition_values["day"].clone()).collect();
    assert_eq!(values, [Some("0".to_owned()), Some("1".to_owned())]);
    assert_eq!(scene.rows(None).await, before);
}

/// A callback that runs once, before a plan is executed.
type Meanwhile = Box<dyn Fn() -> futures::future::BoxFuture<'static, ()> + Send + Sync>;

struct Disturbed {
    inner: InProcess,
    meanwhile: Mutex<Option<Meanwhile>>,
    executed: AtomicUsize,
}

#[async_trait]
impl Execute for Disturbed {
    fn place(&self) -> Place {
        Place::Local
    }

    async fn execute(
        &self,
        name: &str,
        state: &SessionState,
        plan: Arc<dyn ExecutionPlan>,
        progress: Progress<'_>,
    ) -> Result<Vec<Vec<RecordBatch>>> {
        self.executed.fetch_add(1, Ordering::Relaxed);
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile().await;
        }
        self.inner.execute(name, state, plan, progress).await
    }
}

/// Optimizes while another writer commits the rows of `sql` and removes the files that `removed` selects.
async fn disturbed(scene: &Scene, sql: String, removed: fn(&DataFile) -> bool) -> (Optimized, usize) {
    let quiet = scene.bench.clone();
    let table = scene.table();
    let meanwhile: Meanwhile = Box::new(move || {
        let (quiet, table, sql) = (quiet.clone(), table.clone(), sql.clone());
        Box::pin(async move {
            let context = SessionContext::new_with_state(quiet.state.clone());
            let rows = context.sql(&sql).await.unwrap().into_unoptimized_plan();
            let now = table.snapshot(None).await.unwrap().unwrap();
            let removes = now.files.into_iter().filter(removed).collect();
            commit(&quiet, &table, rows, &[], removes).await;
        })
    });
    let execute = Arc::new(Disturbed {
        inner: InProcess { slots: 2 },
        meanwhile: Mutex::new(Some(meanwhile)),
        executed: AtomicUsize::new(0),
    });
    let bench = Workbench { execute: Arc::clone(&execute) as _, ..scene.bench.clone() };
    let done = optimize(&bench, &scene.name, TARGET, Utc::now()).await.unwrap();
    (done, execute.executed.load(Ordering::Relaxed))
}

#[tokio::test]
async fn rows_that_are_added_meanwhile_survive() {
    let scene = Scene::new();
    scene.commit(&span(1, 100), &[], Vec::new()).await;
    scene.commit(&span(101, 200), &[], Vec::new()).await;
    let (done, executed) = disturbed(&scene, span(50, 59), |_| false).await;
    assert_eq!((done.version, executed), (Some(3), 1));
    assert_eq!(scene.rows(None).await.len(), 210);
    assert_eq!(scene.snapshot().await.files.len(), 2);
}

#[tokio::test]
async fn a_file_that_is_removed_meanwhile_makes_it_plan_again() {
    let scene = Scene::new();
    scene.commit(&span(1, 100), &[], Vec::new()).await;
    scene.commit(&span(101, 200), &[], Vec::new()).await;
    let is_first = |file: &DataFile| file.min("k", &arrow::datatypes::DataType::Int64) == Some(1_i64.into());
    let (done, executed) = disturbed(&scene, span(1001, 1010), is_first).await;
    assert_eq!((done.version, executed), (Some(3), 2));
    let rows = scene.rows(None).await;
    assert_eq!(rows.len(), 110);
    assert!(rows.contains(&"1001,2002,row 1001".to_owned()) && !rows.iter().any(|row| row.starts_with("1,")));
    // Files of the first attempt are deleted.
    let files = std::fs::read_dir(scene.path("")).unwrap();
    let written = files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "parquet"));
    assert_eq!(written.count(), 4, "two, one and the optimized one");
}

#[tokio::test]
async fn a_vacuum_leaves_every_version_within_the_retention() {
    let scene = Scene::new();
    let first = scene.commit(&span(1, 100), &[], Vec::new()).await;
    let old = scene.snapshot().await.files;
    let second = scene.commit(&span(101, 200), &[], old.clone()).await;
    let third = scene.commit(&span(201, 300), &[], Vec::new()).await;
    let optimized = scene.optimize().await.unwrap().version.unwrap();
    let (half, half_entry) = ("half.parquet#1", "_delta_log/00000000000000000009.json#1");
    for name in ["orphan.parquet", "young.parquet", "_tmp/hidden.parquet", half, "young.parquet#2", half_entry] {
        std::fs::create_dir_all(scene.path(name).parent().unwrap()).unwrap();
        std::fs::write(scene.path(name), "nobody's").unwrap();
    }
    for (version, hours) in [(first, 10), (second, 5), (third, 4), (optimized, 1)] {
        for action in log_entry(&scene, version) {
            if let Some(add) = action.get("add") {
                scene.age(add["path"].as_str().unwrap(), HOUR * hours);
            }
        }
        scene.age_version(version, HOUR * hours);
    }
    scene.age("orphan.parquet", HOUR * 9);
    scene.age("_tmp/hidden.parquet", HOUR * 9);
    scene.age(half, HOUR * 5);
    scene.age(half_entry, HOUR * 5);
    let unneeded = async |hours: i64| {
        let files = scene.table().unneeded(Utc::now() - chrono::TimeDelta::hours(hours)).await.unwrap();
        files.into_iter().map(|file| file.path).collect::<Vec<_>>()
    };
    let orphan = "orphan.parquet".to_owned();
    // The first version was current until five hours ago.
    assert_eq!(unneeded(6).await, std::slice::from_ref(&orphan));
    assert_eq!(unneeded(11).await, Vec::<String>::new());
    let mut expected = vec![old[0].path.clone(), orphan, half.to_owned(), half_entry.to_owned()];
    expected.sort();
    assert_eq!(unneeded(3).await, expected);

    let files = scene.table().unneeded(Utc::now() - chrono::TimeDelta::hours(3)).await.unwrap();
    assert_eq!(files.iter().map(|file| file.bytes).sum::<u64>(), old[0].bytes + 3 * "nobody's".len() as u64);
    scene.table().delete(&files).await.unwrap();
    assert_eq!(scene.rows(Some(second)).await.len(), 100);
    assert_eq!(scene.rows(Some(third)).await.len(), 200);
    assert_eq!(scene.rows(None).await.len(), 200);
    for name in ["young.parquet", "_tmp/hidden.parquet", "young.parquet#2"] {
        assert!(scene.path(name).exists(), "{name}");
    }
    assert_eq!(unneeded(3).await, Vec::<String>::new());
}

/// A log that was cleaned up no longer says which files are needed.
#[tokio::test]
async fn a_vacuum_deletes_nothing_when_the_log_has_a_hole() {
    let scene = Scene::new();
    for from in [1, 101, 201] {
        scene.commit(&span(from, from + 99), &[], Vec::new()).await;
    }
    std::fs::remove_file(scene.path(&format!("_delta_log/{:020}.json", 1))).unwrap();
    let error = scene.table().unneeded(Utc::now() + chrono::TimeDelta::hours(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{}", error.message());
}
