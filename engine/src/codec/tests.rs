use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;
use object_store::path::Path;
use pulse_core::sources::FileSource;
use serde_json::json;

use super::*;
use crate::session::{session_config, session_state};
use crate::sink::{Adjacency, FailAction, RowCheck, SortKey, UniqueCheck};
use crate::source::file::{Fingerprint, RawFiles, ReadOptions, ScanOptions, SourceFile};

pub(crate) fn there_and_back(plan: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let codec = PhysicalCodec::default();
    let node = PhysicalPlanNode::try_from_physical_plan(Arc::clone(plan), &codec).unwrap();
    let mut bytes = Vec::new();
    node.try_encode(&mut bytes).unwrap();
    // As executors have it.
    let state = session_state(session_config(SessionConfig::new(), 2, 8192), Arc::default());
    let task = SessionContext::new_with_state(state).task_ctx();
    PhysicalPlanNode::try_decode(&bytes).unwrap().try_into_physical_plan(&task, &codec).unwrap()
}

fn picture(plan: &Arc<dyn ExecutionPlan>) -> String {
    displayable(plan.as_ref()).indent(true).to_string()
}

fn spec() -> SinkSpec {
    SinkSpec {
        run_id: "run-1".to_owned(),
        table: "file:///lake/silver/bars/".to_owned(),
        columns: vec!["symbol".to_owned(), "ts".to_owned()],
        partition_by: Vec::new(),
        order: vec!["symbol".to_owned(), "ts".to_owned()],
        target_file_bytes: 128 << 20,
        quarantine: "file:///lake/silver/bars__quarantine/".to_owned(),
        checks: vec![RowCheck {
            name: "ts is there".to_owned(),
            column: "ok".to_owned(),
            on_fail: FailAction::Quarantine,
        }],
        unique: Some(UniqueCheck {
            name: "once".to_owned(),
            columns: vec!["symbol".to_owned()],
            adjacency: Adjacency::Watched,
            on_fail: FailAction::Drop,
            keep_first_by: vec![SortKey { column: "ts".to_owned(), descending: true, nulls_first: true }],
        }),
        grain: Some(UniqueCheck {
            name: "grain".to_owned(),
            columns: vec!["ts".to_owned()],
            adjacency: Adjacency::Watched,
            on_fail: FailAction::Count,
            keep_first_by: Vec::new(),
        }),
    }
}

#[test]
fn a_sink_arrives_as_it_was_sent() {
    let field = |name, data_type| Field::new(name, data_type, true);
    let schema = Schema::new(vec![
        field("symbol", DataType::Utf8),
        field("ts", DataType::Int64),
        field("ok", DataType::Boolean),
    ]);
    let input = Arc::new(EmptyExec::new(Arc::new(schema))) as Arc<dyn ExecutionPlan>;
    let sent = Arc::new(SinkExec::try_new(input, Arc::new(spec())).unwrap()) as Arc<dyn ExecutionPlan>;
    let arrived = there_and_back(&sent);
    assert_eq!(arrived.downcast_ref::<SinkExec>().unwrap().spec().as_ref(), &spec());
    assert_eq!(arrived.children()[0].schema(), sent.children()[0].schema());
}

#[tokio::test]
async fn a_scan_of_files_arrives_with_its_groups() {
    let source: FileSource = serde_json::from_value(json!({
        "root": "raw",
        "columns": [{ "name": "ts", "type": "timestamp" }, { "name": "price", "type": "double" }],
        "feed": { "bars": { "path": "bars/{symbol}", "format": { "csv": {} }, "time_zone": "America/New_York" } },
    }))
    .unwrap();
    let file = |symbol: &str| SourceFile {
        feed: "bars".to_owned(),
        path: format!("bars/{symbol}"),
        size: 100,
        fingerprint: Fingerprint::Content(7),
        captures: [("symbol".to_owned(), symbol.to_owned())].into(),
        fault: None,
    };
    let options = ScanOptions {
        store_url: datafusion::execution::object_store::ObjectStoreUrl::parse("file:///").unwrap(),
        root: Path::from("data/raw"),
        target_partition_bytes: 100,
        read: ReadOptions::default(),
    };
    let context = SessionContext::new();
    let files = RawFiles::new(Arc::new(source), vec![file("AAPL"), file("MSFT"), file("NVDA")], options);
    context.register_table("bars", Arc::new(files)).unwrap();
    let plan = context.sql("select price, symbol from bars").await.unwrap().create_physical_plan().await.unwrap();
    let arrived = there_and_back(&plan);
    assert_eq!(picture(&arrived), picture(&plan));
    assert_eq!(arrived.schema(), plan.schema());
    assert!(picture(&arrived).contains("NVDA"), "{}", picture(&arrived));
}

#[test]
fn other_plans_are_ballistas() {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    let reader = ballista_core::execution_plans::UnresolvedShuffleExec::new(
        3,
        schema,
        datafusion::physical_plan::Partitioning::UnknownPartitioning(4),
    );
    let sent = Arc::new(reader) as Arc<dyn ExecutionPlan>;
    assert_eq!(picture(&there_and_back(&sent)), picture(&sent));
}

#[test]
fn torn_bytes_are_an_error() {
    let mut bytes = SINK.to_vec();
    bytes.extend(b"{\"run_id\":");
    let task = SessionContext::new().task_ctx();
    let converter = datafusion_proto::physical_plan::DefaultPhysicalProtoConverter {};
    let error = PhysicalCodec::default().try_decode(&bytes, &[], &task, &converter).unwrap_err();
    assert!(error.to_string().contains("a sink cannot be decoded"), "{error}");
}
