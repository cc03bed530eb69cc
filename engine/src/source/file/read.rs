//! A file of an object store as a stream of batches.

use std::io::Read;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::metrics::Count;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetResult, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt};
use pulse_core::sources::{FileSource, Format};
use pulse_core::{Error, Result};

use super::decoder::{Compression, Decoder};
use super::layout::Layout;
use super::listing::{SourceFile, fingerprint};
use super::parquet_file::{self, ObjectReader};
use super::rows::{Projected, ReadOptions, Rows};
use crate::error::find_cause;

/// Bytes read from a local file at a time: large enough that handing over to another thread does not count.
const CHUNK_BYTES: usize = 1 << 20;

/// Batches of one file.
pub(super) type Batches = BoxStream<'static, Result<RecordBatch, DataFusionError>>;

/// Reads files of one source.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) source: Arc<FileSource>,
    pub(super) layout: Arc<Layout>,
    /// Columns that the batches hold.
    pub(super) projection: Vec<Projected>,
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
        let rows = || Rows::new(&self.layout, feed, file, &self.projection, &self.options);
        let metrics = self.metrics.clone();
        let compression = Compression::of(&file.path);
        if let (Format::Parquet {}, Compression::None) = (&feed.format, compression) {
            let meta = store.head(&location).await.map_err(|error| unreadable(&location, error))?;
            check_unchanged(&meta, file)?;
            return parquet_file::open(ObjectReader::new(store, location, meta.size), rows()?, metrics).await;
        }
        let response = store.get(&location).await.map_err(|error| unreadable(&location, error))?;
        check_unchanged(&response.meta, file)?;
        let chunks = Chunks::new(location, response, metrics.bytes_scanned.clone());
        match Decoder::new(rows()?, &feed.format, compression)? {
            Some(decoder) => Ok(text(TextFile::new(chunks, decoder, metrics))),
            None => parquet_file::open_compressed(chunks, rows()?, metrics).await,
        }
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
    fn new(chunks: Chunks, decoder: Decoder, metrics: ReadMetrics) -> Self {
        Self { chunks, decoder, metrics, chunk: Bytes::new(), stage: Stage::Reading, rejected: 0 }
    }

    async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while self.stage != Stage::Done {
            if !self.chunk.is_empty() {
                let used = self.decoder.feed(&self.chunk);
                self.chunk = self.chunk.slice(used..);
            } else if self.stage == Stage::Reading {
                match self.chunks.next().await? {
                    Some(chunk) => self.chunk = chunk,
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
pub(super) struct Chunks {
    location: Path,
    payload: Payload,
    bytes_scanned: Count,
}

enum Payload {
    File(std::fs::File),
    Stream(BoxStream<'static, object_store::Result<Bytes>>),
    Done,
}

impl Chunks {
    fn new(location: Path, response: GetResult, bytes_scanned: Count) -> Self {
        let payload = match response.payload {
            GetResultPayload::File(file, _) => Payload::File(file),
            GetResultPayload::Stream(stream) => Payload::Stream(stream),
        };
        Self { location, payload, bytes_scanned }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// `Unavailable` when the store breaks off.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        let chunk = match std::mem::replace(&mut self.payload, Payload::Done) {
            Payload::Done => None,
            Payload::Stream(mut stream) => {
                let chunk = stream.try_next().await.map_err(|error| unreadable(&self.location, error))?;
                self.payload = Payload::Stream(stream);
                chunk
            }
            Payload::File(file) => {
                let read = tokio::task::spawn_blocking(move || read_chunk(file)).await;
                let read = read.map_err(|error| unreadable(&self.location, error))?;
                let (file, chunk) = read.map_err(|error| unreadable(&self.location, error))?;
                self.payload = Payload::File(file);
                (!chunk.is_empty()).then(|| Bytes::from(chunk))
            }
        };
        match &chunk {
            Some(chunk) => self.bytes_scanned.add(chunk.len()),
            None => self.payload = Payload::Done,
        }
        Ok(chunk)
    }
}

fn read_chunk(mut file: std::fs::File) -> std::io::Result<(std::fs::File, Vec<u8>)> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
    Ok((file, chunk))
}

fn check_unchanged(meta: &ObjectMeta, file: &SourceFile) -> Result<()> {
    if fingerprint(meta) == file.fingerprint {
        return Ok(());
    }
    Err(Error::conflict(format!("file `{}` has changed since it was listed: run the job again", file.path)))
}

/// What to say of a file that was listed and cannot be read.
pub(super) fn unreadable(location: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let error = error.into();
    let store = find_cause::<object_store::Error>(error.as_ref());
    let io = find_cause::<std::io::Error>(error.as_ref());
    // Paths of a local store lack their first slash.
    let root = if store.is_some_and(is_local) || (store.is_none() && io.is_some()) { "/" } else { "" };
    let message = format!("cannot read `{root}{location}`");
    match (store, io.map(std::io::Error::kind)) {
        (Some(object_store::Error::NotFound { .. }), _) => {
            Error::conflict(format!("{message}: it was there when it was listed; run the job again"))
        }
        (Some(object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }), _)
        | (_, Some(std::io::ErrorKind::PermissionDenied)) => {
            Error::invalid(format!("{message}: permission denied; grant read access to it"))
        }
        (_, Some(_)) => Error::unavailable(format!("{message}: {}", io.map(ToString::to_string).unwrap_or_default())),
        (_, None) => Error::unavailable(message),
    }
    .with_source(error)
}

fn is_local(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { store, .. } if *store == "LocalFileSystem")
}

pub(super) fn into_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
