//! Small tables in a lake of their own, written by our sink.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use arrow::util::display::array_value_to_string;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use pulse_core::Result;
use pulse_core::name::TableName;
use pulse_engine::execute::{Execute, InProcess};
use pulse_engine::sink::{PartitionResult, SinkNode, SinkSpec};
use pulse_engine::source::delta::DeltaScan;
use pulse_engine::store::Stores;
use pulse_engine::table::{DataFile, Lake, Table};

pub(super) const SYMBOLS: usize = 24;
const BARS: usize = 40;

pub(super) struct Tables {
    pub(super) state: SessionState,
    context: SessionContext,
    lake: Lake,
}

impl Tables {
    /// `bars` and `daily` in files of several symbols each, cut at different symbols; `sectors` in one file; `nothing` in none.
    pub(super) async fn write(folder: &Path, state: SessionState) -> Self {
        let root = url::Url::from_directory_path(folder.join("lake")).unwrap();
        let lake = Lake::new(root, Arc::new(Stores::default()));
        let context = SessionContext::new_with_state(state.clone());
        let tables = Self { state, context, lake };
        tables.put("bars", (0..8).map(|file| bars(file * 3..(file + 1) * 3)).collect()).await;
        tables.put("daily", (0..4).map(|file| daily(file * 5 + 2..file * 5 + 7)).collect()).await;
        tables.put("sectors", vec![sectors()]).await;
        let sectors = tables.context.table_provider("sectors").await.unwrap().schema();
        let nothing = DeltaScan::of_files(tables.table("nothing"), &sectors, &[], Vec::new(), 1);
        tables.context.register_table("nothing", Arc::new(nothing)).unwrap();
        tables
    }

    /// One file a batch.
    async fn put(&self, name: &str, files: Vec<RecordBatch>) {
        let schema = files[0].schema();
        let rows = MemTable::try_new(Arc::clone(&schema), files.into_iter().map(|file| vec![file]).collect()).unwrap();
        let order: Vec<String> = schema.fields().iter().take(2).map(|field| field.name().clone()).collect();
        let plan = LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(rows)), None).unwrap().build().unwrap();
        let (_, scan) = self.sink(name, plan, order, &InProcess { slots: 2 }).await;
        self.context.register_table(name, Arc::new(scan)).unwrap();
    }

    fn table(&self, name: &str) -> Table {
        self.lake.table(&TableName::new("silver", name).unwrap()).unwrap()
    }

    async fn sink(
        &self,
        name: &str,
        rows: datafusion::logical_expr::LogicalPlan,
        order: Vec<String>,
        execute: &dyn Execute,
    ) -> (PartitionResult, DeltaScan) {
        let table = self.table(name);
        let schema: SchemaRef = Arc::new(rows.schema().as_arrow().clone());
        let spec = SinkSpec {
            run_id: "run".to_owned(),
            table: table.url().to_string(),
            columns: schema.fields().iter().map(|field| field.name().clone()).collect(),
            partition_by: Vec::new(),
            order,
            target_file_bytes: 1 << 20,
            quarantine: self.table(&format!("{name}__quarantine")).url().to_string(),
            checks: Vec::new(),
            unique: None,
            grain: None,
        };
        let plan = SinkNode::plan(rows, Arc::new(spec)).unwrap();
        let plan = self.state.create_physical_plan(&plan).await.unwrap();
        let partitions = execute.execute(name, &self.state, plan, &|_| ()).await.unwrap();
        let mut total = PartitionResult::default();
        for batches in &partitions {
            let texts: Vec<&str> =
                batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten()).collect();
            assert_eq!(texts.len(), 1, "one result a partition");
            let result: PartitionResult = serde_json::from_str(texts[0]).unwrap();
            total.rows_in += result.rows_in;
            total.rows_written += result.rows_written;
            total.files.extend(result.files);
        }
        let files = total.files.iter().map(|add| DataFile::from_add(add, &schema)).collect();
        // Files of some hundred bytes: as many partitions as there are ranges.
        (total, DeltaScan::of_files(table, &schema, &[], files, 1))
    }

    /// What a sink did with the query's rows, and the rows that are in its files.
    pub(super) async fn write_query(
        &self,
        name: &str,
        sql: &str,
        execute: &dyn Execute,
    ) -> (PartitionResult, Vec<String>) {
        let rows = self.context.sql(sql).await.unwrap().into_unoptimized_plan();
        let (result, scan) = self.sink(name, rows, vec!["symbol".to_owned(), "ts".to_owned()], execute).await;
        self.context.register_table(name, Arc::new(scan)).unwrap();
        let plan = self.plan(&format!("select * from {name}")).await;
        (result, self.rows(&InProcess { slots: 2 }, plan).await.unwrap())
    }

    pub(super) async fn plan(&self, sql: &str) -> Arc<dyn ExecutionPlan> {
        self.context.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
    }

    /// The answer's rows as text, sorted.
    pub(super) async fn rows(&self, execute: &dyn Execute, plan: Arc<dyn ExecutionPlan>) -> Result<Vec<String>> {
        let partitions = execute.execute("query", &self.state, plan, &|_| ()).await?;
        let mut rows = Vec::new();
        for batch in partitions.iter().flatten() {
            for row in 0..batch.num_rows() {
                let values = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
                rows.push(values.collect::<Vec<_>>().join("|"));
            }
        }
        rows.sort();
        Ok(rows)
    }
}

fn symbol(number: usize) -> String {
    format!("S{number:02}")
}

/// Prices are quarters, so that sums do not depend on the order of addition.
fn bars(symbols: std::ops::Range<usize>) -> RecordBatch {
    let rows: Vec<(usize, usize)> = symbols.flat_map(|symbol| (0..BARS).map(move |bar| (symbol, bar))).collect();
    RecordBatch::try_from_iter([
        ("symbol", Arc::new(StringArray::from_iter_values(rows.iter().map(|(number, _)| symbol(*number)))) as _),
        ("ts", Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, bar)| *bar as i64))) as _),
        ("price", Arc::new(Float64Array::from_iter_values(rows.iter().map(price))) as _),
        (
            "volume",
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|(s, bar)| ((s * 7 + bar * 3) % 11) as i64))) as _,
        ),
    ])
    .unwrap()
}

fn price((symbol, bar): &(usize, usize)) -> f64 {
    ((symbol * 31 + bar * 17) % 101) as f64 / 4.0
}

fn daily(symbols: std::ops::Range<usize>) -> RecordBatch {
    let rows: Vec<(usize, usize)> = symbols.flat_map(|symbol| (0..3).map(move |day| (symbol, day))).collect();
    RecordBatch::try_from_iter([
        ("symbol", Arc::new(StringArray::from_iter_values(rows.iter().map(|(number, _)| symbol(*number)))) as _),
        ("day", Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, day)| *day as i64))) as _),
        ("close", Arc::new(Float64Array::from_iter_values(rows.iter().map(price))) as _),
        ("volume", Arc::new(Int64Array::from_iter_values(rows.iter().map(|(s, day)| ((s + day) % 11) as i64))) as _),
    ])
    .unwrap()
}

/// Of every second symbol, and one that has no bars.
fn sectors() -> RecordBatch {
    let numbers: Vec<usize> = (0..SYMBOLS).step_by(2).chain([99]).collect();
    RecordBatch::try_from_iter([
        ("symbol", Arc::new(StringArray::from_iter_values(numbers.iter().map(|number| symbol(*number)))) as _),
        (
            "sector",
            Arc::new(StringArray::from_iter_values(numbers.iter().map(|number| ["a", "b", "c"][number % 3]))) as _,
        ),
    ])
    .unwrap()
}
