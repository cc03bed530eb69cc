use std::fs;

use ballista_core::execution_plans::UnresolvedShuffleExec;
use datafusion::physical_plan::Partitioning;
use datafusion::prelude::{CsvReadOptions, JsonReadOptions, ParquetReadOptions, SessionConfig, SessionContext};
use datafusion_proto::physical_plan::AsExecutionPlan as _;
use datafusion_proto::protobuf::PhysicalPlanNode;
use pulse_engine::codec::PhysicalCodec;

use super::*;

const JOB: &str = "00aa00aa-1";

async fn context(folder: &std::path::Path) -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(3));
    fs::write(folder.join("t.csv"), "a,b\n1,x\n2,y\n").unwrap();
    fs::write(folder.join("t.json"), "{\"a\":1}\n").unwrap();
    let at = |name: &str| folder.join(name).display().to_string();
    context.register_csv("as_csv", at("t.csv"), CsvReadOptions::new()).await.unwrap();
    context.register_json("as_json", at("t.json"), JsonReadOptions::default()).await.unwrap();
    let rows = context.table("as_csv").await.unwrap();
    rows.write_parquet(&at("t"), Default::default(), None).await.unwrap();
    context.register_parquet("t", at("t"), ParquetReadOptions::default()).await.unwrap();
    context
}

/// As an executor decodes what was sent to it.
fn sent(plan: Arc<dyn ExecutionPlan>, job: &str) -> Arc<dyn ExecutionPlan> {
    let codec = PhysicalCodec::default();
    let plan = ShuffleWriterExec::try_new(job.to_owned().into(), 1, plan, String::new()).unwrap();
    let node = PhysicalPlanNode::try_from_physical_plan(Arc::new(plan), &codec).unwrap();
    let mut bytes = Vec::new();
    node.try_encode(&mut bytes).unwrap();
    let task = SessionContext::new().task_ctx();
    PhysicalPlanNode::try_decode(&bytes).unwrap().try_into_physical_plan(&task, &codec).unwrap()
}

async fn checked(context: &SessionContext, sql: &str) -> Result<(), String> {
    let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    check(&sent(plan, JOB), JOB)
}

#[tokio::test]
async fn plans_that_work_on_rows_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path()).await;
    for sql in [
        "select a + 1 from t where b = 'x' order by a desc limit 3",
        "select b, count(*), sum(a) from t group by b having count(*) > 0 order by 1",
        "select x.a from t x join t y on x.a = y.a left join t z on x.b = z.b where x.a not in (select a from t)",
        "select x.a from t x, t y where x.a < y.a",
        "select a, row_number() over (partition by b order by a), sum(a) over (order by a rows 2 preceding) from t",
        "select a from t union all select 1 union select 2",
        "select * from (values (1), (2)) v(x) where x = (select max(a) from t)",
        "select unnest([a, 2]) from t",
        "select distinct on (b) b, a from t order by b, a",
        "select 1",
        "select value from generate_series(1, 5)",
    ] {
        assert_eq!(checked(&context, sql).await, Ok(()), "{sql}");
    }
}

#[tokio::test]
async fn readers_and_writers_of_any_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path()).await;
    for sql in [
        "select * from as_csv",
        "select count(*) from t x join as_json y on x.a = y.a",
        "copy (select 1) to '/tmp/pulse-never/x.csv' stored as csv",
        "copy (select 1) to '/tmp/pulse-never/x.parquet' stored as parquet",
        "copy (select 1) to '/tmp/pulse-never/x.json' stored as json",
        "explain analyze select 1",
    ] {
        assert!(checked(&context, sql).await.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn shuffles_of_other_jobs_are_refused() {
    let context = SessionContext::new();
    let plan = context.sql("select 1 as x").await.unwrap().create_physical_plan().await.unwrap();
    for job in ["../../etc", "/etc", "00aa00aa-2", ""] {
        assert!(check(&sent(Arc::clone(&plan), job), JOB).is_err(), "{job}");
    }
    assert!(check(&sent(Arc::clone(&plan), "../x"), "../x").is_err(), "even of its own name");
    let open = UnresolvedShuffleExec::new(1, plan.schema(), Partitioning::UnknownPartitioning(1));
    assert!(check(&sent(Arc::new(open), JOB), JOB).is_err());
}
