//! One file as batches of the table.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::datasource::physical_plan::parquet::Int96Coercer;
use datafusion::error::{DataFusionError, Result};
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use datafusion::parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use datafusion::parquet::errors::ParquetError;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::ObjectStore;
use object_store::path::Path;
use pulse_core::Error;

use super::columns::{self, Conversion};
use super::deleted::Deleted;
use super::{FILE_COLUMN, MappedFile, MappedTable};
use crate::error::{from_datafusion, into_datafusion};
use crate::source::file::ObjectReader;
use crate::table::partition_value;

/// How files become batches: the same for all files of a scan.
pub(super) struct Reader {
    pub(super) table: Arc<MappedTable>,
    /// Columns of the table that are wanted.
    pub(super) wanted: Vec<FieldRef>,
    /// The same, by their names above the scan.
    pub(super) output: SchemaRef,
    pub(super) batch_rows: usize,
}

/// Where a wanted column is.
enum Origin {
    /// The same in all rows.
    Constant(ScalarValue),
    /// Among the columns that are read of the file.
    File(usize, Conversion),
}

impl Reader {
    /// # Errors
    /// `Data` for a file that is not what the log says, otherwise by the kind of the store's error.
    pub(super) async fn open(
        &self,
        store: Arc<dyn ObjectStore>,
        location: Path,
        file: MappedFile,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let doing = format!("read `{location}` of table {}", self.table.name);
        let broken = |e: ParquetError| broken(&doing, e.into());
        let mut object = ObjectReader::new(Arc::clone(&store), location, file.bytes);
        let metadata = metadata(&mut object).await.map_err(broken)?;
        let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or_default();
        let mut deleted = match &file.deletion_vector {
            None => None,
            Some(vector) => {
                let root = Path::parse(&self.table.root).map_err(|e| DataFusionError::External(Box::new(e)))?;
                let read = Deleted::read(store.as_ref(), &root, &self.table.store_url, vector, rows).await;
                Some(read.map_err(|e| into_datafusion(Error::new(e.kind(), format!("{doing}: {}", e.message()))))?)
            }
        };
        let (origins, roots) = self.origins(&file, metadata.schema(), &doing).map_err(into_datafusion)?;
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(object, metadata);
        let stream = builder.with_projection(mask).with_batch_size(self.batch_rows).build().map_err(broken)?;
        let output = Arc::clone(&self.output);
        let batches = stream.map(move |batch| {
            let failed = |e: DataFusionError| self::broken(&doing, e);
            let mut batch = batch.map_err(|e| failed(e.into()))?;
            if let Some(deleted) = &mut deleted {
                batch = deleted.filter(&batch).map_err(|e| failed(e.into()))?;
            }
            assembled(&origins, &batch, &output).map_err(failed)
        });
        Ok(batches.boxed())
    }

    /// Of each wanted column, and the columns of the file that they need, in its order.
    fn origins(
        &self,
        file: &MappedFile,
        schema: &Schema,
        doing: &str,
    ) -> pulse_core::Result<(Vec<Origin>, Vec<usize>)> {
        let data = |why: String| Error::data(format!("{doing}: {why}"));
        let mut origins = Vec::with_capacity(self.wanted.len());
        let mut roots = Vec::new();
        for field in &self.wanted {
            let name = field.name();
            if name == FILE_COLUMN && self.table.file_column {
                origins.push(Origin::Constant(ScalarValue::from(file.path.as_str())));
            } else if self.table.partition_by.contains(name) {
                let value = file
                    .partition_values
                    .get(name)
                    .and_then(|text| partition_value(text.as_deref(), field.data_type()));
                let value =
                    value.ok_or_else(|| data(format!("the log has no value of the partition column `{name}`")))?;
                origins.push(Origin::Constant(value));
            } else {
                let column = self.table.columns.field(name).ok_or_else(|| data(format!("no column `{name}`")))?;
                let found =
                    columns::find(column, field.data_type(), schema.fields(), self.table.mapping).map_err(data)?;
                origins.push(match found {
                    Some((root, conversion)) => {
                        roots.push(root);
                        Origin::File(root, conversion)
                    }
                    None => {
                        Origin::Constant(ScalarValue::try_from(field.data_type()).map_err(|e| data(e.to_string()))?)
                    }
                });
            }
        }
        roots.sort_unstable();
        roots.dedup();
        for origin in &mut origins {
            if let Origin::File(root, _) = origin {
                *root = roots.partition_point(|known| known < root);
            }
        }
        Ok((origins, roots))
    }
}

/// Of a file, with microseconds where older writers have nanoseconds, which do not reach as far.
async fn metadata(object: &mut ObjectReader) -> Result<ArrowReaderMetadata, ParquetError> {
    // What writers say of Arrow's types is of their batches, and not of the table.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let found = ArrowReaderMetadata::load_async(object, options.clone()).await?;
    match Int96Coercer::new(found.parquet_schema(), found.schema(), &TimeUnit::Microsecond).coerce() {
        Some(schema) => {
            ArrowReaderMetadata::try_new(Arc::clone(found.metadata()), options.with_schema(Arc::new(schema)))
        }
        None => Ok(found),
    }
}

fn assembled(origins: &[Origin], batch: &RecordBatch, output: &SchemaRef) -> Result<RecordBatch> {
    let lost = || DataFusionError::Internal("a batch has fewer columns than its file".to_owned());
    let column = |origin: &Origin| match origin {
        Origin::Constant(value) => value.to_array_of_size(batch.num_rows()),
        Origin::File(place, conversion) => Ok(conversion.apply(batch.columns().get(*place).ok_or_else(lost)?)?),
    };
    let columns: Vec<ArrayRef> = origins.iter().map(column).collect::<Result<_>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(output), columns, &rows)?)
}

fn broken(doing: &str, error: DataFusionError) -> DataFusionError {
    into_datafusion(from_datafusion(doing, error))
}
