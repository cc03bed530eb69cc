//! A file of an object store as a stream of batches.

use std::io::Read;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use bytes::Bytes;
use datafusion::error::DataFusionError;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::arrow::async_reader::{ParquetObjectReader, ParquetRecordBatchStreamBuilder};
use datafusion::parquet::errors::ParquetError;
use datafusion::physical_plan::metrics::Count;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetResult, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt};
use pulse_core::sources::{FileSource, Format};
use pulse_core::{Error, Result};

use super::decoder::{Compression, Decoder};
use super::gzip::Inflater;
use super::layout::Layout;
use super::listing::{SourceFile, fingerprint};
use super::parquet::ParquetRows;
use super::rows::{ReadOptions, Rows};

/// Bytes read from a local file at a time: large enough that handing over to another thread does not count.
const CHUNK_BYTES: usize = 1 << 20;

/// Batches of one file.
pub(super) type Batches = BoxStream<'static, Result<RecordBatch, DataFusionError>>;

/// Reads files of one source.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) source: Arc<FileSource>,
    pub(super) layout: Arc<Layout>,
    /// Columns of the layout's schema that the batches hold.
    pub(super) projection: Vec<usize>,
    /// Their names in the batches.
    pub(super) names: Vec<String>,
    pub(super) options: ReadOptions,
    pub(super) metrics: ReadMetrics,
}

/// What was read, as the plan's metrics show it.
#[derive(Debug, Clone)]
pub(super) struct ReadMetrics {
    pub(super) bytes_scanned: Count,
    pub(super) rejected_rows: Count,
}

impl Reader {
    /// # Errors
    /// `Conflict` when the file is not the one that was listed, `Unavailable` or `Invalid` when the store does not give it.
    pub(super) async fn open(&self, store: Arc<dyn ObjectStore>, location: Path, file: &SourceFile) -> Result<Batches> {
        let feed = self.source.feed.get(&file.feed).ok_or_else(|| {
            Error::internal(format!("file `{}` belongs to the feed `{}`, which is unknown", file.path, file.feed))
        })?;
        let rows = Rows::new(&self.layout, feed, file, &self.projection, &self.options)?;
        let compression = Compression::of(&file.path);
        if let (Format::Parquet {}, Compression::None) = (&feed.format, compression) {
            let meta = store.head(&location).await.map_err(|error| unreadable(&location, error))?;
            check_unchanged(&meta, file)?;
            return Ok(self.parquet(store, meta, rows).await?.map_err(into_datafusion).boxed());
        }
        let response = store.get(&location).await.map_err(|error| unreadable(&location, error))?;
        check_unchanged(&response.meta, file)?;
        let chunks = Chunks::new(response);
        let metrics = self.metrics.clone();
        match Decoder::new(rows, &feed.format, compression)? {
            Some(decoder) => Ok(text(TextFile::new(location, chunks, decoder, metrics))),
            None => {
                let rows = Rows::new(&self.layout, feed, file, &self.projection, &self.options)?;
                let batches = compressed_parquet(&location, chunks, rows, &metrics).await?;
                Ok(stream::iter(batches).map(Ok).boxed())
            }
        }
    }

    async fn parquet(
        &self,
        store: Arc<dyn ObjectStore>,
        meta: ObjectMeta,
        rows: Rows,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let location = meta.location.clone();
        let metrics = self.metrics.clone();
        metrics.bytes_scanned.add(usize::try_from(meta.size).unwrap_or(usize::MAX));
        let mut rows = ParquetRows::new(rows);
        let object = ParquetObjectReader::new(store, location.clone()).with_file_size(meta.size);
        let opened = match ParquetRecordBatchStreamBuilder::new(object).await {
            Ok(builder) => match rows.open(builder.schema()) {
                Ok(()) => {
                    builder.with_batch_size(self.options.batch_rows).build().map_err(|e| (e.to_string(), Some(e)))
                }
                Err(reason) => Err((reason, None)),
            },
            Err(error) => Err((format!("not readable as Parquet: {error}"), Some(error))),
        };
        let batches = match opened {
            Ok(batches) => batches,
            Err((_, Some(error))) if is_store_error(&error) => return Err(unreadable(&location, error)),
            Err((reason, _)) => {
                metrics.rejected_rows.add(1);
                return Ok(stream::iter(rows.break_off(&reason)?).map(Ok).boxed());
            }
        };
        let state = (Some(batches), rows, metrics, location);
        let batches = stream::try_unfold(state, |(batches, mut rows, metrics, location)| async move {
            let Some(mut batches) = batches else { return Ok(None) };
            let before = rows.rows().rejected();
            let (batch, batches) = match batches.next().await {
                None => return Ok(None),
                Some(Ok(batch)) => (rows.push(&batch)?, Some(batches)),
                Some(Err(error)) if is_store_error(&error) => return Err(unreadable(&location, error)),
                Some(Err(error)) => (rows.break_off(&format!("not readable as Parquet: {error}"))?, None),
            };
            metrics.rejected_rows.add(rows.rows().rejected() - before);
            Ok(Some((batch, (batches, rows, metrics, location))))
        });
        Ok(batches.try_filter_map(|batch| async move { Ok(batch) }).boxed())
    }
}

fn text(file: TextFile) -> Batches {
    stream::try_unfold(file, |mut file| async move {
        let batch = file.next_batch().await?;
        Ok(batch.map(|batch| (batch, file)))
    })
    .map_err(into_datafusion)
    .boxed()
}

/// A text file half-way read.
struct TextFile {
    location: Path,
    chunks: Chunks,
    decoder: Decoder,
    metrics: ReadMetrics,
    chunk: Bytes,
    stage: Stage,
    rejected: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Reading,
    /// All bytes have arrived.
    Finishing,
    Done,
}

impl TextFile {
    fn new(location: Path, chunks: Chunks, decoder: Decoder, metrics: ReadMetrics) -> Self {
        Self { location, chunks, decoder, metrics, chunk: Bytes::new(), stage: Stage::Reading, rejected: 0 }
    }

    async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while self.stage != Stage::Done {
            if !self.chunk.is_empty() {
                let used = self.decoder.feed(&self.chunk);
                self.chunk = self.chunk.slice(used..);
            } else if self.stage == Stage::Reading {
                match self.chunks.next().await.map_err(|error| unreadable(&self.location, error))? {
                    Some(chunk) => {
                        self.metrics.bytes_scanned.add(chunk.len());
                        self.chunk = chunk;
                    }
                    None => self.stage = Stage::Finishing,
                }
                continue;
            } else if self.decoder.finish() {
                self.stage = Stage::Done;
            }
            let is_done = self.stage == Stage::Done;
            let rows = self.decoder.rows();
            if is_done || rows.is_full() {
                let rejected = rows.rejected();
                let batch = rows.take()?;
                self.metrics.rejected_rows.add(rejected - self.rejected);
                self.rejected = rejected;
                if batch.is_some() {
                    return Ok(batch);
                }
            }
        }
        Ok(None)
    }
}

/// Bytes of an object, piece by piece.
enum Chunks {
    File(Option<std::fs::File>),
    Stream(BoxStream<'static, object_store::Result<Bytes>>),
}

impl Chunks {
    fn new(response: GetResult) -> Self {
        match response.payload {
            GetResultPayload::File(file, _) => Self::File(Some(file)),
            GetResultPayload::Stream(stream) => Self::Stream(stream),
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
        match self {
            Self::Stream(stream) => Ok(stream.try_next().await?),
            Self::File(slot) => {
                let Some(mut file) = slot.take() else { return Ok(None) };
                let (file, chunk) = tokio::task::spawn_blocking(move || {
                    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
                    (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk).map(|_| (file, chunk))
                })
                .await??;
                *slot = (!chunk.is_empty()).then_some(file);
                Ok((!chunk.is_empty()).then(|| Bytes::from(chunk)))
            }
        }
    }
}

/// A compressed Parquet file is read whole, since its end says where everything is.
async fn compressed_parquet(
    location: &Path,
    mut chunks: Chunks,
    rows: Rows,
    metrics: &ReadMetrics,
) -> Result<Vec<RecordBatch>> {
    let limit = rows.options().max_object_bytes;
    let mut inflater = Inflater::new();
    let mut content = Vec::new();
    let mut broken = None;
    while let Some(chunk) = chunks.next().await.map_err(|error| unreadable(location, error))? {
        metrics.bytes_scanned.add(chunk.len());
        let mut rest = chunk;
        while broken.is_none() && !rest.is_empty() {
            match inflater.push(&rest) {
                Ok(used) => rest = rest.slice(used..),
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
        None => parquet_in_memory(Bytes::from(content), &mut rows)?,
    };
    metrics.rejected_rows.add(rows.rows().rejected());
    Ok(batches)
}

fn parquet_in_memory(content: Bytes, rows: &mut ParquetRows) -> Result<Vec<RecordBatch>> {
    if content.is_empty() {
        return Ok(Vec::new());
    }
    let batch_rows = rows.rows().options().batch_rows;
    let opened = ParquetRecordBatchReaderBuilder::try_new(content).map_err(|error| error.to_string());
    let opened = opened.and_then(|builder| {
        let schema: Arc<Schema> = Arc::clone(builder.schema());
        rows.open(&schema)?;
        builder.with_batch_size(batch_rows).build().map_err(|error| error.to_string())
    });
    let mut batches = Vec::new();
    match opened {
        Ok(reader) => {
            for batch in reader {
                match batch {
                    Ok(batch) => batches.extend(rows.push(&batch)?),
                    Err(error) => {
                        batches.extend(rows.break_off(&format!("not readable as Parquet: {error}"))?);
                        break;
                    }
                }
            }
        }
        Err(reason) => batches.extend(rows.break_off(&reason)?),
    }
    Ok(batches)
}

fn check_unchanged(meta: &ObjectMeta, file: &SourceFile) -> Result<()> {
    if fingerprint(meta) == file.fingerprint {
        return Ok(());
    }
    Err(Error::conflict(format!("file `{}` has changed since it was listed: run the job again", file.path)))
}

fn unreadable(location: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let error = error.into();
    let message = format!("cannot read `{location}`");
    match error.downcast_ref::<object_store::Error>() {
        Some(object_store::Error::NotFound { .. }) => {
            Error::conflict(format!("{message}: it was there when it was listed; run the job again"))
        }
        Some(object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }) => {
            Error::invalid(format!("{message}: permission denied; grant read access to it"))
        }
        _ => Error::unavailable(message),
    }
    .with_source(error)
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

pub(super) fn into_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
