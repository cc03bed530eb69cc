//! Parquet files of an object store as streams of batches.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{
    ArrowReaderBuilder, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use datafusion::parquet::arrow::async_reader::{
    AsyncFileReader, ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder,
};
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pulse_core::Result;

use super::chunks::{Batches, Chunks, ReadMetrics, into_datafusion, unreadable};
use super::gzip::Inflater;
use super::parquet::ParquetRows;
use super::read::Again;
use super::repeated::Occurrences;
use super::rows::Rows;

/// Why a file yields no batches: the reason of its one rejected row, or the store's failure.
enum Unread {
    Content(String),
    Store(ParquetError),
}

impl From<ParquetError> for Unread {
    fn from(error: ParquetError) -> Self {
        if is_store_error(&error) { Self::Store(error) } else { Self::Content(unreadable_content(&error)) }
    }
}

/// Streams a file, reading the pages that it needs.
///
/// # Errors
/// `Unavailable` when the store does not answer.
pub(super) async fn open(object: ObjectReader, rows: Rows, metrics: ReadMetrics, again: Again) -> Result<Batches> {
    let location = object.location.clone();
    metrics.bytes_scanned.add(usize::try_from(object.size).unwrap_or(usize::MAX));
    let mut rows = ParquetRows::new(rows);
    match open_stream(object, &rows).await {
        Ok(batches) => {
            let file = ParquetFile { batches: Some(batches), rows, metrics, location, again };
            let batches = stream::try_unfold(file, |mut file| async move {
                let batch = file.next_batch().await?;
                Ok(batch.map(|batch| (batch, file)))
            });
            Ok(batches.map_err(into_datafusion).boxed())
        }
        Err(Unread::Store(error)) => Err(unreadable(&location, error)),
        Err(Unread::Content(reason)) => {
            metrics.rejected_rows.add(1);
            Ok(stream::iter(rows.break_off(&reason)?).map(Ok).boxed())
        }
    }
}

/// What the order of a file's rows says of its stamps; `rows` are of [`Rows::surveyed`].
///
/// # Errors
/// `Unavailable` when the store does not answer.
pub(super) async fn survey(object: ObjectReader, rows: Rows) -> Result<Occurrences> {
    let location = object.location.clone();
    let mut rows = ParquetRows::new(rows);
    match open_stream(object, &rows).await {
        Ok(mut batches) => {
            while let Some(batch) = batches.next().await {
                match batch {
                    Ok(batch) => rows.push(&batch)?,
                    Err(error) if is_store_error(&error) => return Err(unreadable(&location, error)),
                    Err(_) => break,
                }
                rows.take()?;
            }
        }
        Err(Unread::Store(error)) => return Err(unreadable(&location, error)),
        Err(Unread::Content(_)) => {}
    }
    Ok(rows.take_occurrences().unwrap_or_default())
}

/// Reads a compressed file whole, since its end says where everything is. `surveyed` are rows of the same file.
///
/// # Errors
/// `Unavailable` when the store does not answer.
pub(super) async fn open_compressed(
    mut chunks: Chunks,
    rows: Rows,
    surveyed: Rows,
    metrics: ReadMetrics,
) -> Result<Batches> {
    let limit = rows.options().max_object_bytes;
    let mut inflater = Inflater::new();
    let mut content = Vec::new();
    let mut broken = None;
    while let Some(mut chunk) = chunks.next().await? {
        while broken.is_none() && !chunk.is_empty() {
            match inflater.push(&chunk) {
                Ok(used) => chunk = chunk.slice(used..),
                Err(reason) => broken = Some(reason),
            }
            content.append(&mut inflater.take());
            if content.len() > limit {
                broken = Some(format!("the file is larger than {limit} bytes: raise `max_object_mib`"));
            }
        }
    }
    let broken = broken.or(inflater.finish().err());
    content.append(&mut inflater.take());
    let mut rows = ParquetRows::new(rows);
    let batches = match broken {
        Some(reason) => rows.break_off(&reason)?.into_iter().collect(),
        None if content.is_empty() => Vec::new(),
        None => read_whole(Bytes::from(content), &mut rows, surveyed)?,
    };
    metrics.rejected_rows.add(rows.rows().rejected());
    Ok(stream::iter(batches).map(Ok).boxed())
}

async fn open_stream(
    object: ObjectReader,
    rows: &ParquetRows,
) -> Result<ParquetRecordBatchStream<ObjectReader>, Unread> {
    let builder = ParquetRecordBatchStreamBuilder::new(object).await?;
    Ok(declared(builder, rows)?.build()?)
}

fn open_whole(content: Bytes, rows: &ParquetRows) -> Result<ParquetRecordBatchReader, Unread> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(content)?;
    Ok(declared(builder, rows)?.build()?)
}

/// Only the declared columns.
fn declared<T>(builder: ArrowReaderBuilder<T>, rows: &ParquetRows) -> Result<ArrowReaderBuilder<T>, Unread> {
    let places = rows.places(builder.schema()).map_err(Unread::Content)?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), places.into_iter().flatten());
    Ok(builder.with_batch_size(rows.rows().options().batch_rows).with_projection(mask))
}

pub(super) fn read_whole(content: Bytes, rows: &mut ParquetRows, surveyed: Rows) -> Result<Vec<RecordBatch>> {
    let mut surveyed = Some(surveyed);
    let mut batches = Vec::new();
    let reader = match open_whole(content.clone(), rows) {
        Ok(reader) => reader,
        Err(Unread::Content(reason)) => return Ok(rows.break_off(&reason)?.into_iter().collect()),
        Err(Unread::Store(error)) => return Ok(rows.break_off(&unreadable_content(&error))?.into_iter().collect()),
    };
    for batch in reader {
        match batch {
            Ok(batch) => rows.push(&batch)?,
            Err(error) => {
                batches.extend(rows.break_off(&unreadable_content(&error))?);
                break;
            }
        }
        if rows.rows().needs_occurrences()
            && let Some(surveyed) = surveyed.take()
        {
            rows.set_occurrences(Arc::new(survey_whole(content.clone(), surveyed)?));
        }
        batches.extend(rows.take()?);
    }
    Ok(batches)
}

fn survey_whole(content: Bytes, rows: Rows) -> Result<Occurrences> {
    let mut rows = ParquetRows::new(rows);
    if let Ok(reader) = open_whole(content, &rows) {
        for batch in reader.map_while(|batch| batch.ok()) {
            rows.push(&batch)?;
            rows.take()?;
        }
    }
    Ok(rows.take_occurrences().unwrap_or_default())
}

/// A file half-way read; without `batches` at its end.
struct ParquetFile {
    batches: Option<ParquetRecordBatchStream<ObjectReader>>,
    rows: ParquetRows,
    metrics: ReadMetrics,
    location: Path,
    again: Again,
}

impl ParquetFile {
    async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(batches) = &mut self.batches {
            let before = self.rows.rows().rejected();
            let batch = match batches.next().await {
                None => return Ok(None),
                Some(Ok(batch)) => {
                    self.rows.push(&batch)?;
                    if self.rows.rows().needs_occurrences() {
                        self.rows.set_occurrences(self.again.occurrences().await?);
                    }
                    self.rows.take()?
                }
                Some(Err(error)) if is_store_error(&error) => return Err(unreadable(&self.location, error)),
                Some(Err(error)) => {
                    self.batches = None;
                    self.rows.break_off(&unreadable_content(&error))?
                }
            };
            self.metrics.rejected_rows.add(self.rows.rows().rejected() - before);
            if batch.is_some() {
                return Ok(batch);
            }
        }
        Ok(None)
    }
}

fn unreadable_content(error: &dyn std::error::Error) -> String {
    format!("not readable as Parquet: {error}")
}

/// Whether the store failed, rather than the file's content.
fn is_store_error(error: &ParquetError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<object_store::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Ranges of one object.
pub(in crate::source) struct ObjectReader {
    store: Arc<dyn ObjectStore>,
    location: Path,
    size: u64,
}

impl ObjectReader {
    pub(in crate::source) fn new(store: Arc<dyn ObjectStore>, location: Path, size: u64) -> Self {
        Self { store, location, size }
    }
}

impl AsyncFileReader for ObjectReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.store.get_range(&self.location, range).map_err(external).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move { self.store.get_ranges(&self.location, &ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        let options = options.map(|options| options.metadata_options().clone());
        let size = self.size;
        let reader = ParquetMetaDataReader::new().with_metadata_options(options);
        async move { Ok(Arc::new(reader.load_and_finish(self, size).await?)) }.boxed()
    }
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}
