//! The same plans in one process and on a scheduler with two executors.

mod tables;

use std::sync::Arc;
use std::time::Duration;

use datafusion::physical_plan::{ExecutionPlan, displayable};
use futures::FutureExt;
use pulse_core::ErrorKind;
use pulse_core::settings::Settings;
use pulse_engine::cluster::cluster_state;
use pulse_engine::execute::{Execute, InProcess};
use pulse_engine::session::{RuntimeOptions, runtime};
use pulse_engine::store::Stores;
use pulse_scheduler::cluster::{Cluster, OnCluster};
use pulse_scheduler::scaler::Workload as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use tables::Tables;

/// All of it; a hang is a failure.
const LIMIT: Duration = Duration::from_secs(300);
/// Of one query, most of which take some tenths of a second.
const QUERY_LIMIT: Duration = Duration::from_secs(20);
const PARTITIONS: usize = 5;

fn settings(folder: &std::path::Path) -> Settings {
    Settings {
        scheduler_port: 0,
        executor_port: 0,
        executor_grpc_port: 0,
        heartbeat_s: 1,
        vcores: 2,
        memory_mib: 512,
        work_dir: folder.join("work").display().to_string(),
        ..Settings::default()
    }
}

/// A scheduler and two executors, in tasks of this process.
struct Running {
    cluster: Cluster,
    stop: watch::Sender<bool>,
    executors: Vec<JoinHandle<pulse_core::Result<()>>>,
}

impl Running {
    async fn start(settings: &Settings, tables: &Tables) -> Self {
        let cluster = Cluster::start(settings, Arc::clone(tables.state.runtime_env())).await.unwrap();
        let settings = Settings { scheduler_port: cluster.address().port(), ..settings.clone() };
        let (stop, stopped) = watch::channel(false);
        let mut executors = Vec::new();
        for _ in 0..2 {
            let (settings, mut stopped) = (settings.clone(), stopped.clone());
            executors.push(tokio::spawn(async move {
                let shutdown = async move {
                    let _ = stopped.wait_for(|stop| *stop).await;
                };
                pulse_executor::serve(&settings, shutdown).await
            }));
        }
        cluster.wait_for_executors(2, Duration::from_secs(30)).await.unwrap();
        Self { cluster, stop, executors }
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        for executor in self.executors {
            executor.await.unwrap().unwrap();
        }
        assert_eq!(self.cluster.executors(), 0, "the scheduler was not told");
    }
}

/// Queries with what each is about. Every answer is compared as a set, so none needs an order unless it has a limit.
const QUERIES: &[(&str, &str)] = &[
    ("a scan", "select * from bars"),
    ("grouping by what files are split by", "select symbol, count(*) n, sum(price) p from bars group by symbol"),
    ("grouping by something else", "select volume % 7 v, count(*) n, sum(price) p from bars group by volume % 7"),
    (
        "whole numbers that are computed",
        "select symbol, volume * 3 - 1 v, -volume w, count(*) n from bars group by 1, 2, 3",
    ),
    ("a global aggregate", "select count(*), min(ts), max(price) from bars"),
    ("distinct", "select distinct volume from bars"),
    ("a limit under an order", "select symbol, ts from bars order by price desc, symbol, ts limit 17"),
    (
        "a window by the split column",
        "select symbol, ts, avg(price) over (partition by symbol order by ts rows 4 preceding) a from bars",
    ),
    (
        "a window by something else",
        "select symbol, ts, row_number() over (partition by volume order by symbol, ts) n from bars",
    ),
    ("a window over all", "select symbol, ts, row_number() over (order by ts, symbol) n from bars"),
    ("two range scans joined", "select b.symbol, b.ts, d.close from bars b join daily d on b.symbol = d.symbol"),
    (
        "a window over a join of range scans",
        "select b.symbol, b.ts, d.day, lag(b.price) over (partition by b.symbol, d.day order by b.ts) l
      from bars b join daily d on b.symbol = d.symbol",
    ),
    (
        "a window over a join with a small table",
        "select b.symbol, b.ts, s.sector, sum(b.price) over (partition by b.symbol order by b.ts) l
      from bars b join sectors s on b.symbol = s.symbol",
    ),
    (
        "a window over a join with an empty table",
        "select b.symbol, b.ts, s.sector, sum(b.price) over (partition by b.symbol order by b.ts) l
      from bars b left join nothing s on b.symbol = s.symbol",
    ),
    ("a join by other columns", "select count(*), sum(b.price) from bars b join daily d on b.volume = d.volume"),
    ("a left join", "select b.symbol, s.sector from bars b left join sectors s on b.symbol = s.symbol"),
    ("a full join", "select d.symbol, s.symbol from daily d full join sectors s on d.symbol = s.symbol"),
    ("a semi join", "select * from bars where symbol in (select symbol from sectors where sector = 'b')"),
    ("an anti join", "select * from bars b where not exists (select 1 from sectors s where s.symbol = b.symbol)"),
    (
        "an anti join of a small table",
        "select * from sectors s where not exists (select 1 from bars b where s.symbol = b.symbol)",
    ),
    ("not in", "select symbol, ts from bars where symbol not in (select symbol from sectors)"),
    ("a cross join", "select count(*), sum(b.price) from bars b cross join sectors s"),
    ("a join by inequality", "select d.symbol, s.symbol from daily d join sectors s on d.symbol < s.symbol"),
    ("a scalar subquery", "select symbol, ts from bars where price > (select avg(price) from bars)"),
    ("a union", "select symbol, ts from bars union all select symbol, day from daily union all select 'x', 1"),
    ("a union without repeats", "select symbol from bars union select symbol from sectors"),
    ("values", "select * from (values (1, 'a'), (2, 'b')) v"),
    ("a row of nothing", "select 1 + 1"),
    ("nothing", "select * from nothing"),
    ("an aggregate of nothing", "select count(*), max(sector) from nothing"),
    ("a join with nothing", "select b.symbol from bars b join nothing n on b.symbol = n.symbol"),
    (
        "several joins and a window",
        "with ranked as (
        select b.symbol, b.ts, b.price, s.sector, d.close,
               rank() over (partition by s.sector order by b.price desc, b.symbol, b.ts) r
        from bars b join sectors s on b.symbol = s.symbol join daily d on d.symbol = b.symbol and d.volume = b.volume)
      select sector, count(*) n, sum(price - close) x from ranked where r < 50 group by sector",
    ),
];

#[test]
fn a_cluster_answers_as_one_process_does() {
    let folder = std::env::temp_dir().join(format!("pulse-cluster-{}", uuid::Uuid::new_v4()));
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(8 << 20).build().unwrap();
    threads.block_on(async {
        tokio::time::timeout(LIMIT, compare(&folder)).await.expect("it took too long");
    });
    threads.shutdown_timeout(Duration::from_secs(5));
    std::fs::remove_dir_all(&folder).unwrap();
}

async fn compare(folder: &std::path::Path) {
    let settings = settings(folder);
    let options = RuntimeOptions { memory_bytes: 1 << 30, spill_dir: None, spill_limit_bytes: 1 << 30 };
    let runtime = runtime(&options, &Arc::new(Stores::default())).unwrap();
    let tables = Tables::write(folder, cluster_state(&settings, PARTITIONS, runtime)).await;
    let running = Running::start(&settings, &tables).await;
    let on_cluster = running.cluster.on_cluster();

    let mut wrong = Vec::new();
    for (about, sql) in QUERIES {
        let plan = tables.plan(sql).await;
        let here = tables.rows(&InProcess { slots: 2 }, Arc::clone(&plan)).await;
        let there = tokio::time::timeout(QUERY_LIMIT, tables.rows(&on_cluster, Arc::clone(&plan))).await;
        let there = there.unwrap_or_else(|_| Err(pulse_core::Error::internal("it does not end")));
        match (here, there) {
            (Ok(here), Ok(there)) if here == there => {}
            (here, there) => {
                let counts = (here.map(|rows| rows.len()), there.map(|rows| rows.len()));
                wrong.push(format!("{about}: {counts:?}\n{}", displayable(plan.as_ref()).indent(true)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), QUERIES.len(), wrong.join("\n"));

    the_split_of_files_is_used(&tables).await;
    sinks_write_the_same(&tables, &on_cluster).await;
    errors_keep_their_kind(&tables, &on_cluster).await;
    a_drained_executor_gets_no_tasks(&tables, &on_cluster, &running.cluster).await;
    a_dropped_run_is_cancelled(&tables, &on_cluster).await;
    a_run_dropped_while_it_is_submitted_is_cancelled(&tables, &on_cluster, &running.cluster).await;
    running.stop().await;
    without_executors_it_says_so(&tables, &on_cluster).await;
}

/// Otherwise the comparison would not be about ranges at all.
async fn the_split_of_files_is_used(tables: &Tables) {
    let plan = tables.plan("select symbol, count(*) n from bars group by symbol").await;
    let picture = displayable(plan.as_ref()).indent(true).to_string();
    assert!(picture.contains("Range"), "{picture}");
    assert!(!picture.contains("RepartitionExec"), "{picture}");
}

async fn sinks_write_the_same(tables: &Tables, on_cluster: &OnCluster) {
    let sql = "select b.symbol, b.ts, d.close, s.sector,
                      avg(b.price) over (partition by b.symbol order by b.ts rows 4 preceding) a
               from bars b join daily d on b.symbol = d.symbol and b.volume = d.volume
               join sectors s on s.symbol = b.symbol";
    let (here, here_rows) = tables.write_query("here", sql, &InProcess { slots: 2 }).await;
    let (there, there_rows) = tables.write_query("there", sql, on_cluster).await;
    assert!(here.rows_written > 0);
    assert_eq!((there.rows_in, there.rows_written), (here.rows_in, here.rows_written));
    assert_eq!(there_rows, here_rows);
}

async fn errors_keep_their_kind(tables: &Tables, on_cluster: &OnCluster) {
    for (sql, text) in [
        ("select cast(symbol as bigint) from bars", "is no bigint"),
        ("select (volume + 1) * 9223372036854775807 from bars", "leaves the range of the type"),
    ] {
        let plan = tables.plan(sql).await;
        let here = tables.rows(&InProcess { slots: 2 }, Arc::clone(&plan)).await.unwrap_err();
        let there = tables.rows(on_cluster, plan).await.unwrap_err();
        assert_eq!(there.kind(), here.kind(), "{there} | {here}");
        assert_eq!(here.kind(), ErrorKind::Data);
        assert!(there.message().contains(text), "{}", there.message());
    }
}

async fn a_dropped_run_is_cancelled(tables: &Tables, on_cluster: &OnCluster) {
    let slow = tables.plan("select count(*) from bars a, bars b, bars c where a.price + b.price > c.price + 1e9").await;
    let run = tables.rows(on_cluster, slow);
    assert!(tokio::time::timeout(Duration::from_millis(700), run.boxed()).await.is_err(), "it is not slow");
    // Its slots are free again.
    let plan: Arc<dyn ExecutionPlan> = tables.plan("select symbol, count(*) n from bars group by symbol").await;
    let rows = tokio::time::timeout(Duration::from_secs(60), tables.rows(on_cluster, plan)).await.unwrap().unwrap();
    assert_eq!(rows.len(), tables::SYMBOLS);
}

/// Ballista queues a plan, plans it and only then runs it; a cancel that comes before has no effect on it.
async fn a_run_dropped_while_it_is_submitted_is_cancelled(tables: &Tables, on_cluster: &OnCluster, cluster: &Cluster) {
    for after in [0, 1, 2, 3, 5, 8, 13, 21] {
        let slow =
            tables.plan("select count(*) from bars a, bars b, bars c where a.price + b.price > c.price + 1e9").await;
        let run = tables.rows(on_cluster, slow).boxed();
        assert!(tokio::time::timeout(Duration::from_millis(after), run).await.is_err(), "it is not slow");
        // Long enough for the plan to be planned and its tasks to be given out.
        tokio::time::sleep(Duration::from_millis(700)).await;
        let load = cluster.load().await;
        assert!(load.executors.iter().all(|executor| !executor.is_needed), "dropped after {after} ms: {load:?}");
    }
}

/// What the scaler goes by.
async fn a_drained_executor_gets_no_tasks(tables: &Tables, on_cluster: &OnCluster, cluster: &Cluster) {
    let slow = tables.plan("select count(*) from bars a, bars b, bars c where a.price + b.price > c.price + 1e9").await;
    let run = tokio::time::timeout(Duration::from_millis(700), tables.rows(on_cluster, slow));
    let look = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.load().await
    };
    let (ended, load) = futures::join!(run.boxed(), look);
    assert!(ended.is_err(), "it is not slow");
    assert!(load.running_tasks > 0, "{load:?}");
    assert_eq!(load.executors.iter().map(|executor| executor.slots).collect::<Vec<_>>(), [2, 2]);
    assert!(load.executors.iter().any(|executor| executor.is_needed), "{load:?}");
    let idle = async {
        loop {
            let load = cluster.load().await;
            if load.executors.iter().all(|executor| !executor.is_needed) {
                return load;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let load = tokio::time::timeout(Duration::from_secs(60), idle).await.unwrap();
    assert_eq!((load.pending_tasks, load.running_tasks), (0, 0));
    cluster.drain(&load.executors[0].id);
    assert_eq!(cluster.executors(), 1);
    let plan = tables.plan("select symbol, count(*) n from bars group by symbol").await;
    assert_eq!(tables.rows(on_cluster, plan).await.unwrap().len(), tables::SYMBOLS);
    // Others may still read from it.
    assert_eq!(cluster.load().await.executors.len(), 2);
}

async fn without_executors_it_says_so(tables: &Tables, on_cluster: &OnCluster) {
    let plan = tables.plan("select * from bars").await;
    let error = on_cluster.execute("silver.bars", &tables.state, plan, &|_| ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.message(), "silver.bars: no executor is registered: start one with `pulse serve executor`");
}
