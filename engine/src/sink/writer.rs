//! Writes the Parquet files of one table from sorted rows.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{concat, partition};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use delta_kernel::table_properties::DataSkippingNumIndexedCols;
use deltalake_core::datafile::writer::{DeltaWriter, WriterConfig};
use deltalake_core::kernel::Add;
use object_store::ObjectStore;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use pulse_core::{Error, Result};

use super::bounds::Bounds;
use crate::error::from_delta;
use crate::one_nan::with_one_nan;
use crate::table::ORDER_TAG;

/// Metadata key by which readers match columns when Iceberg metadata is added to the files.
const FIELD_ID_KEY: &str = "PARQUET:field_id";

/// Rows per row group: a few MiB of encoded bars, so that an open file uses little memory.
const ROW_GROUP_ROWS: usize = 256 * 1024;

/// A file that cannot be split between two values of the leading column may exceed the target size by this factor.
const LARGEST: u64 = 2;

/// Longest name of a folder in file systems, and in tables that are copied to one.
const FOLDER_BYTES: usize = 255;

/// Bytes that the name of a partition's folder has as they are; others are percent-encoded (RFC 3986).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Rows from which the size of further rows is estimated.
const SAMPLE_ROWS: usize = 64 * 1024;

/// Writes one file at a time: rows arrive sorted by partition. Files are split near their target size, where the
/// leading column of the order changes: files that share a value cannot be read one after another in order.
pub(super) struct FileWriter {
    store: Arc<dyn ObjectStore>,
    config: WriterConfig,
    schema: SchemaRef,
    partition_by: Vec<String>,
    order: Vec<String>,
    target_file_bytes: u64,
    properties: WriterProperties,
    /// Index of the first column of the order that is not constant within a file.
    leading: Option<usize>,
    open: Option<DeltaWriter>,
    /// Rows of the open file, and their size in memory.
    open_rows: usize,
    open_memory: u64,
    /// Of the rows of the open file.
    bounds: Bounds,
    /// Value of the leading column in the last written row; has length one.
    last: Option<ArrayRef>,
    sample: Option<ArrowWriter<Vec<u8>>>,
    /// Estimated bytes per row in a file, once it is accurate enough.
    row_bytes: Option<f64>,
    /// Partition columns of the last written row; has length one.
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
            Some(properties.clone()),
            NonZeroU64::new(target_file_bytes.saturating_mul(LARGEST)),
            None,
            DataSkippingNumIndexedCols::AllColumns,
            None,
        );
        Ok(Self {
            store,
            config,
            leading: order.iter().find(|name| !partition_by.contains(name)).and_then(|name| schema.index_of(name).ok()),
            partition_by: partition_by.to_vec(),
            // The rows' order distinguishes NaNs.
            order: order.iter().take_while(|name| !is_float(schema.as_ref(), name)).cloned().collect(),
            target_file_bytes,
            schema,
            properties,
            open: None,
            open_rows: 0,
            open_memory: 0,
            bounds: Bounds::default(),
            last: None,
            sample: None,
            row_bytes: None,
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
                self.refuse_long_folder(&key)?;
                self.close().await?;
                self.current = Some(key);
            }
            self.append(&batch.slice(range.start, range.len())).await?;
        }
        Ok(())
    }

    async fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut rest = batch.clone();
        while let Some(cut) = self.cut(&rest)? {
            self.extend(&rest.slice(0, cut)).await?;
            self.close().await?;
            rest = rest.slice(cut, rest.num_rows() - cut);
        }
        self.extend(&rest).await
    }

    /// The number of rows of the batch after which the open file may end; `None` if it continues.
    fn cut(&self, batch: &RecordBatch) -> Result<Option<usize>> {
        let Some(row_bytes) = self.row_bytes else { return Ok(None) };
        // Allows an eighth more, so that slightly more than one file does not become two. Precise enough: no file has
        // 2^52 rows.
        let most = (self.target_file_bytes as f64 * 1.125 / row_bytes).max(1.0) as usize;
        if self.open_rows + batch.num_rows() <= most {
            return Ok(None);
        }
        let earliest = most.saturating_sub(self.open_rows);
        let Some(leading) = self.leading.map(|leading| batch.column(leading)) else { return Ok(Some(earliest)) };
        if let Some(last) = &self.last
            && earliest == 0
            && self.open_rows > 0
            && runs(&concat(&[last.as_ref(), leading.slice(0, 1).as_ref()]).map_err(|e| self.misfit(e))?)
                .map_err(|e| self.misfit(e))?
                .len()
                == 2
        {
            return Ok(Some(0));
        }
        let mut ends = runs(leading).map_err(|e| self.misfit(e))?.into_iter().map(|range| range.end);
        Ok(ends.find(|end| *end >= earliest.max(1) && *end < batch.num_rows()))
    }

    async fn extend(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.measure(batch)?;
        self.open_rows += batch.num_rows();
        self.bounds.add(batch);
        self.open_memory += batch.get_array_memory_size() as u64;
        self.last = self.leading.map(|leading| batch.column(leading).slice(batch.num_rows() - 1, 1));
        let writer = self.open.get_or_insert_with(|| DeltaWriter::new(Arc::clone(&self.store), self.config.clone()));
        writer.write(batch).await.map_err(|e| from_delta(&format!("write a file of {}", self.table), e))
    }

    /// Writes some rows a second time to a discarded buffer when the file may become too large, because the writer does
    /// not report how much it has buffered.
    fn measure(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.row_bytes.is_some() || self.open_memory < self.target_file_bytes {
            return Ok(());
        }
        let failed = |e| Error::internal("a sample of rows cannot be written").with_source(e);
        let mut sample = match self.sample.take() {
            Some(sample) => sample,
            None => ArrowWriter::try_new(Vec::new(), Arc::clone(&self.schema), Some(self.properties.clone()))
                .map_err(failed)?,
        };
        sample.write(batch).map_err(failed)?;
        let rows = sample.in_progress_rows();
        // Fewer rows suffice if they are wide: a file twice too large is split anywhere.
        if rows < SAMPLE_ROWS && (sample.in_progress_size() as u64) < self.target_file_bytes / 4 {
            self.sample = Some(sample);
            return Ok(());
        }
        let bytes = sample.into_inner().map_err(failed)?.len();
        self.row_bytes = Some(bytes as f64 / rows as f64);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.open_rows);
        self.open_memory = 0;
        let bounds = std::mem::take(&mut self.bounds);
        let Some(writer) = self.open.take() else { return Ok(()) };
        let adds = writer.close().await.map_err(|e| from_delta(&format!("write a file of {}", self.table), e))?;
        if rows >= SAMPLE_ROWS {
            self.row_bytes = Some(adds.iter().map(|add| add.size).sum::<i64>() as f64 / rows as f64);
        }
        let (order, schema) = (self.order.join(","), Arc::clone(&self.schema));
        self.written.extend(adds.into_iter().map(|mut add| {
            add.stats = add.stats.map(|statistics| bounds.correct(&statistics, &schema));
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

    /// The batch with the schema's columns in order, with its field metadata.
    fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let missing = || Error::internal(format!("a column of {} is not in the sink's input", self.table));
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            let column = batch.column_by_name(field.name()).ok_or_else(missing)?;
            columns.push(with_one_nan(column).map_err(|e| self.misfit(e))?);
        }
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|e| self.misfit(e))
    }

    /// # Errors
    /// `Data` when a partition value makes a folder name that file systems cannot hold.
    fn refuse_long_folder(&self, key: &RecordBatch) -> Result<()> {
        for (name, column) in self.partition_by.iter().zip(key.columns()) {
            let value = array_value_to_string(column, 0).map_err(|e| self.misfit(e))?;
            let bytes = name.len() + 1 + percent_encode(value.as_bytes(), UNRESERVED).map(str::len).sum::<usize>();
            if bytes > FOLDER_BYTES {
                let shown: String = value.chars().take(20).collect();
                return Err(Error::data(format!(
                    "{}: the value `{shown}..` of `{name}`, which the table is partitioned by, makes a folder name of {bytes} bytes, and \
                     {FOLDER_BYTES} are possible; let the query yield a shorter value, or partition by another column",
                    self.table
                )));
            }
        }
        Ok(())
    }

    fn misfit(&self, error: ArrowError) -> Error {
        Error::internal(format!("rows do not fit the columns of {}: {error}", self.table))
    }
}

fn is_float(schema: &Schema, name: &str) -> bool {
    schema.field_with_name(name).is_ok_and(|field| field.data_type().is_floating())
}

/// Runs of equal values.
fn runs(column: &ArrayRef) -> Result<Vec<Range<usize>>, ArrowError> {
    Ok(partition(std::slice::from_ref(column))?.ranges())
}

/// Numbers columns by position in the table; columns are only ever appended.
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

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, StringArray};
    use arrow::datatypes::DataType;
    use object_store::memory::InMemory;

    use super::*;

    const ROWS: usize = 600_000;
    const TARGET: u64 = 1 << 20;

    /// Bytes, first and last symbol and row count of each file, for rows whose symbol changes every `run` rows.
    async fn written(order: &[&str], run: usize) -> Vec<(u64, String, String, u64)> {
        let fields = [("symbol", DataType::Utf8), ("x", DataType::Float64)];
        let schema = Schema::new(fields.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec());
        let order: Vec<String> = order.iter().map(|name| (*name).to_owned()).collect();
        let store = Arc::new(InMemory::new());
        let mut writer = FileWriter::new("memory:///t", store, &schema, &[], &order, TARGET).unwrap();
        // Such numbers do not compress.
        let mut state = 7_u64;
        let mut number = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state as f64
        };
        for from in (0..ROWS).step_by(8192) {
            let rows = from..(from + 8192).min(ROWS);
            let symbols = StringArray::from_iter_values(rows.clone().map(|row| format!("S{:05}", row / run)));
            let numbers = Float64Array::from_iter_values(rows.map(|_| number()));
            let batch = RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::new(symbols), Arc::new(numbers)]);
            writer.write(&batch.unwrap()).await.unwrap();
        }
        let adds = writer.finish().await.unwrap();
        let files = adds.iter().map(|add| {
            let json: serde_json::Value = serde_json::from_str(add.stats.as_deref().unwrap()).unwrap();
            let bound = |side: &str| json[side]["symbol"].as_str().unwrap().to_owned();
            (add.size.cast_unsigned(), bound("minValues"), bound("maxValues"), json["numRecords"].as_u64().unwrap())
        });
        let mut files: Vec<_> = files.collect();
        files.sort_by(|a, b| a.1.cmp(&b.1));
        files
    }

    #[tokio::test]
    async fn files_end_near_their_size_and_between_values() {
        let files = written(&["symbol"], 5000).await;
        assert!(files.len() > 3, "{files:?}");
        for pair in files.windows(2) {
            assert!(pair[0].2 < pair[1].1, "a value lies in two files: {files:?}");
        }
        for (bytes, ..) in &files[..files.len() - 1] {
            assert!((TARGET / 2..TARGET * 2).contains(bytes), "{files:?}");
        }
        assert_eq!(files.iter().map(|file| file.3).sum::<u64>(), ROWS as u64);
    }

    #[tokio::test]
    async fn rows_without_order_are_cut_by_size_alone() {
        let files = written(&[], 5000).await;
        assert!(files.len() > 3, "{files:?}");
        assert_eq!(files.iter().map(|file| file.3).sum::<u64>(), ROWS as u64);
    }

    #[tokio::test]
    async fn a_value_longer_than_a_file_does_not_make_it_endless() {
        let files = written(&["symbol"], ROWS).await;
        assert!(files.len() > 1 && files.iter().all(|file| file.0 < 3 * TARGET), "{files:?}");
    }
}
