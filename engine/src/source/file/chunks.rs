//! Bytes of an object, piece by piece, the batches that they become, and what to say when they do not come.

use std::io::Read;

use arrow::array::RecordBatch;
use bytes::Bytes;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::metrics::Count;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{GetResult, GetResultPayload};
use pulse_core::{Error, Result};

use crate::error::find_cause;

/// Bytes read from a local file at a time: large enough that handing over to another thread does not count.
const CHUNK_BYTES: usize = 1 << 20;

/// Batches of one file.
pub(super) type Batches = BoxStream<'static, Result<RecordBatch, DataFusionError>>;

/// What was read, as the plan's metrics show it.
#[derive(Debug, Clone)]
pub(super) struct ReadMetrics {
    pub(super) bytes_scanned: Count,
    pub(super) rejected_rows: Count,
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
    pub(super) fn new(location: Path, response: GetResult, bytes_scanned: Count) -> Self {
        let payload = match response.payload {
            GetResultPayload::File(file, _) => Payload::File(file),
            GetResultPayload::Stream(stream) => Payload::Stream(stream),
        };
        Self { location, payload, bytes_scanned }
    }

    /// Bytes of the same object that are there already.
    pub(super) fn with_bytes(self, bytes: BoxStream<'static, object_store::Result<Bytes>>) -> Self {
        Self { payload: Payload::Stream(bytes), bytes_scanned: Count::new(), ..self }
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
