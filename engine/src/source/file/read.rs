//! A file of an object store as a stream of batches.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::stream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use pulse_core::sources::{FileSource, Format};
use pulse_core::{Error, Result};

use super::chunks::{Batches, Chunks, ReadMetrics, into_datafusion, unreadable};
use super::decoder::{Compression, Decoder};
use super::fingerprint::Fingerprint;
use super::layout::Layout;
use super::listing::SourceFile;
use super::parquet_file::{self, ObjectReader};
use super::rows::{Projected, ReadOptions, Rows};

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

/// # Errors
/// `Conflict` when the file is not the one that was listed.
pub(super) fn check_unchanged(meta: &ObjectMeta, file: &SourceFile) -> Result<()> {
    if Fingerprint::of(meta) == file.fingerprint {
        return Ok(());
    }
    Err(Error::conflict(format!("file `{}` has changed since it was listed: run the job again", file.path)))
}
