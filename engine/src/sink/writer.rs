//! Parquet files of one table, from sorted rows.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::partition;
use arrow::datatypes::{Field, Schema, SchemaRef};
use delta_kernel::table_properties::DataSkippingNumIndexedCols;
use deltalake_core::datafile::writer::{DeltaWriter, WriterConfig};
use deltalake_core::kernel::Add;
use object_store::ObjectStore;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use pulse_core::{Error, Result};

use crate::error::from_delta;
use crate::table::ORDER_TAG;

/// Key that readers match columns by when Iceberg metadata is laid over the files.
const FIELD_ID_KEY: &str = "PARQUET:field_id";

/// Rows of a row group: a few MiB of encoded bars, so that an open file holds little memory.
const ROW_GROUP_ROWS: usize = 256 * 1024;

/// Writes to one open file at a time: rows come sorted by partition.
pub(super) struct FileWriter {
    store: Arc<dyn ObjectStore>,
    config: WriterConfig,
    schema: SchemaRef,
    partition_by: Vec<String>,
    order: Vec<String>,
    open: Option<DeltaWriter>,
    /// Partition columns of the row written last, one row long.
    current: Option<RecordBatch>,
    written: Vec<Add>,
    table: String,
}

impl FileWriter {
    pub(super) fn new(
        table: &str,
        store: Arc<dyn ObjectStore>,
        schema: &Schema,
        partition_by: &[String],
        order: &[String],
        target_file_bytes: u64,
    ) -> Result<Self> {
        let schema = with_field_ids(schema);
        let level = ZstdLevel::try_new(1).map_err(|e| Error::internal("zstd level 1 is refused").with_source(e))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let config = WriterConfig::new(
            Arc::clone(&schema),
            partition_by.to_vec(),
            Some(properties),
            NonZeroU64::new(target_file_bytes),
            None,
            DataSkippingNumIndexedCols::AllColumns,
            None,
        );
        Ok(Self {
            store,
            config,
            schema,
            partition_by: partition_by.to_vec(),
            order: order.to_vec(),
            open: None,
            current: None,
            written: Vec::new(),
            table: table.to_owned(),
        })
    }

    /// `batch` holds the schema's columns by name, in any order.
    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = self.conform(batch)?;
        if self.partition_by.is_empty() {
            return self.append(&batch).await;
        }
        let keys = self
            .partition_by
            .iter()
            .map(|name| self.schema.index_of(name))
            .collect::<Result<Vec<_>, _>>()
            .and_then(|indices| batch.project(&indices))
            .map_err(|e| self.misfit(e))?;
        let ranges = partition(keys.columns()).map_err(|e| self.misfit(e))?.ranges();
        for range in ranges {
            let key = keys.slice(range.start, 1);
            if self.current.as_ref() != Some(&key) {
                self.close().await?;
                self.current = Some(key);
            }
            self.append(&batch.slice(range.start, range.len())).await?;
        }
        Ok(())
    }

    async fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let writer = self.open.get_or_insert_with(|| DeltaWriter::new(Arc::clone(&self.store), self.config.clone()));
        writer.write(batch).await.map_err(|e| from_delta(&format!("write a file of {}", self.table), e))
    }

    async fn close(&mut self) -> Result<()> {
        let Some(writer) = self.open.take() else { return Ok(()) };
        let adds = writer.close().await.map_err(|e| from_delta(&format!("write a file of {}", self.table), e))?;
        let order = self.order.join(",");
        self.written.extend(adds.into_iter().map(|mut add| {
            if !order.is_empty() {
                add.tags = Some(HashMap::from([(ORDER_TAG.to_owned(), Some(order.clone()))]));
            }
            add
        }));
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Result<Vec<Add>> {
        self.close().await?;
        Ok(self.written)
    }

    pub(super) async fn abort(self) {
        if let Some(writer) = self.open
            && let Err(error) = writer.abort().await
        {
            log::warn!("an upload to {} could not be aborted: {error}", self.table);
        }
    }

    /// The schema's columns in its order, with its field metadata.
    fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self
            .schema
            .fields()
            .iter()
            .map(|field| batch.column_by_name(field.name()).cloned())
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Error::internal(format!("a column of {} is not in the sink's input", self.table)))?;
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|e| self.misfit(e))
    }

    fn misfit(&self, error: arrow::error::ArrowError) -> Error {
        Error::internal(format!("rows do not fit the columns of {}: {error}", self.table))
    }
}

/// Numbers columns by their place in the table; columns are only ever added at the end.
fn with_field_ids(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .zip(1..)
        .map(|(field, id): (_, u32)| {
            let metadata = HashMap::from([(FIELD_ID_KEY.to_owned(), id.to_string())]);
            Field::new(field.name(), field.data_type().clone(), true).with_metadata(metadata)
        })
        .collect();
    Arc::new(Schema::new(fields))
}
