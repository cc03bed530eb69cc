//! One partition of a sink.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, RecordBatch, StringArray, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::runtime_env::RuntimeEnv;
use object_store::ObjectStore;
use object_store::prefix::PrefixStore;
use pulse_core::{Error, Result};
use url::Url;

use super::ties::Ties;
use super::verdict::{Repeats, judge, without_notes};
use super::writer::FileWriter;
use super::{FailAction, PartitionResult, RAW, REASON, RUN_ID, SinkSpec, UniqueCheck};
use crate::error::from_datafusion;
use crate::store::{of_table, store_path, store_url};

pub(super) struct SinkTask {
    spec: Arc<SinkSpec>,
    table: FileWriter,
    quarantine: FileWriter,
    quarantine_schema: SchemaRef,
    repeats: Repeats,
    grain: Repeats,
    ties: Ties,
    result: PartitionResult,
}

impl SinkTask {
    pub(super) fn new(spec: Arc<SinkSpec>, input: &Schema, runtime: &RuntimeEnv) -> Result<Self> {
        let schema = table_schema(&spec, input)?;
        let quarantine_schema = quarantine_schema(&schema);
        let table = FileWriter::new(
            &spec.table,
            folder_store(&spec.table, runtime)?,
            &schema,
            &spec.partition_by,
            &spec.written_order(),
            spec.target_file_bytes,
        )?;
        let store = folder_store(&spec.quarantine, runtime)?;
        let quarantine =
            FileWriter::new(&spec.quarantine, store, &quarantine_schema, &[], &[], spec.target_file_bytes)?;
        let result = PartitionResult { failed: vec![0; spec.checks.len()], ..PartitionResult::default() };
        Ok(Self {
            spec,
            table,
            quarantine,
            quarantine_schema,
            repeats: Repeats::default(),
            grain: Repeats::default(),
            ties: Ties::default(),
            result,
        })
    }

    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let before = batch.num_rows() as u64;
        let batch = &without_notes(batch, &self.spec.columns, &mut self.result.notes)?;
        self.result.note_rows += before - batch.num_rows() as u64;
        self.result.rows_in += batch.num_rows() as u64;
        let verdict = judge(batch, &self.spec.checks, &self.spec.columns)?;
        self.result.rows_rejected += verdict.rejected;
        self.result.rows_dropped += verdict.dropped;
        for (total, failed) in self.result.failed.iter_mut().zip(&verdict.failed) {
            *total += failed;
        }
        if let Some((rows, reasons)) = verdict.quarantined {
            self.quarantine(&rows, reasons).await?;
        }
        let kept = match self.spec.unique.clone() {
            Some(unique) => self.without_repeats(verdict.kept, &unique).await?,
            None => verdict.kept,
        };
        // The driver resolves a doubt on the written files; further ones add nothing.
        if let Some(grain) = self.spec.grain.as_ref().filter(|_| !self.result.grain_in_doubt) {
            let repeated = self.grain.find(&kept, grain)?;
            self.result.grain_in_doubt |= repeated.count_set_bits() > 0 || self.grain.disordered();
        }
        self.result.rows_written += kept.num_rows() as u64;
        self.table.write(&kept).await
    }

    async fn without_repeats(&mut self, batch: RecordBatch, unique: &UniqueCheck) -> Result<RecordBatch> {
        let mut repeated = self.repeats.find(&batch, unique)?;
        if unique.on_fail != FailAction::Count {
            let tied = self.ties.find(&batch, &repeated, unique, &self.spec.columns)?;
            self.result.tied |= tied.count_set_bits() > 0;
            repeated = &repeated & &!&tied;
        }
        let count = repeated.count_set_bits() as u64;
        self.result.repeated += count;
        self.result.disordered |= self.repeats.disordered();
        if count == 0 || unique.on_fail == FailAction::Count {
            return Ok(batch);
        }
        let filter = |rows| {
            filter_record_batch(&batch, &rows).map_err(|e| Error::internal("rows cannot be filtered").with_source(e))
        };
        if unique.on_fail == FailAction::Quarantine {
            let rows = filter(repeated.clone().into())?;
            let reasons = StringArray::from_iter_values(std::iter::repeat_n(&unique.name, rows.num_rows()));
            self.quarantine(&rows, Arc::new(reasons)).await?;
        } else {
            self.result.rows_dropped += count;
        }
        filter((!&repeated).into())
    }

    async fn quarantine(&mut self, rows: &RecordBatch, reasons: ArrayRef) -> Result<()> {
        let count = rows.num_rows();
        self.result.rows_quarantined += count as u64;
        for reason in reasons.as_string::<i32>() {
            self.result.reasons.add(reason.unwrap_or_default(), 1);
        }
        let columns = self
            .quarantine_schema
            .fields()
            .iter()
            .map(|field| match field.name().as_str() {
                REASON => Arc::clone(&reasons),
                RUN_ID => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&self.spec.run_id, count))),
                name => match rows.column_by_name(name) {
                    Some(column) => Arc::clone(column),
                    None => new_null_array(field.data_type(), count),
                },
            })
            .collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.quarantine_schema), columns)
            .map_err(|e| Error::internal("rows do not fit the quarantine table").with_source(e))?;
        self.quarantine.write(&batch).await
    }

    pub(super) async fn finish(mut self) -> Result<PartitionResult> {
        self.result.files = self.table.finish().await?;
        self.result.quarantine_files = self.quarantine.finish().await?;
        Ok(self.result)
    }

    pub(super) async fn abort(self) {
        self.table.abort().await;
        self.quarantine.abort().await;
    }
}

/// The columns that the spec writes, with the types of the input.
fn table_schema(spec: &SinkSpec, input: &Schema) -> Result<SchemaRef> {
    let fields = spec
        .columns
        .iter()
        .map(|name| input.field_with_name(name).cloned())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| Error::internal("a column of the table is not in the sink's input").with_source(e))?;
    Ok(Arc::new(Schema::new(fields)))
}

/// The table's columns, all nullable, plus reason, raw text and run id.
pub fn quarantine_schema(table: &Schema) -> SchemaRef {
    let mut fields: Vec<Field> =
        table.fields().iter().map(|field| Field::new(field.name(), field.data_type().clone(), true)).collect();
    fields.extend([REASON, RAW, RUN_ID].map(|name| Field::new(name, DataType::Utf8, true)));
    Arc::new(Schema::new(fields))
}

/// A store whose paths are relative to `folder`.
fn folder_store(folder: &str, runtime: &RuntimeEnv) -> Result<Arc<dyn ObjectStore>> {
    let url = Url::parse(folder).map_err(|e| Error::internal(format!("`{folder}` is not a URL")).with_source(e))?;
    let store = runtime.object_store(store_url(&url)?).map_err(|e| from_datafusion("open the sink's store", e))?;
    // Other than the table's, a task's store need not know the lake: the driver has opened the table in it, and the task deletes only what it has made.
    Ok(Arc::new(PrefixStore::new(of_table(store, &url), store_path(&url)?)))
}
