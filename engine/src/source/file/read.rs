//! A file of an object store as a stream of batches.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use datafusion::physical_plan::metrics::Count;
use futures::future::BoxFuture;
use futures::stream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use pulse_core::sources::{Feed, FileSource, Format};
use pulse_core::{Error, Result};

use super::chunks::{Batches, Chunks, ReadMetrics, into_datafusion, unreadable};
use super::compression::Compression;
use super::decoder::Decoder;
use super::fingerprint::Fingerprint;
use super::layout::Layout;
use super::listing::SourceFile;
use super::parquet_file::{self, ObjectReader};
use super::repeated::Occurrences;
use super::rows::{ReadOptions, Rows};
use super::whole::Whole;
use crate::source::projected::Projected;

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
    pub(super) async fn open(
        self: &Arc<Self>,
        store: Arc<dyn ObjectStore>,
        location: Path,
        file: &SourceFile,
    ) -> Result<Batches> {
        let again = Again { reader: Arc::clone(self), store, location, file: file.clone() };
        let feed = self.feed(file)?;
        let rows = Rows::new(&self.layout, feed, file, &self.projection, &self.options)?;
        let metrics = self.metrics.clone();
        if let Some(reason) = rows.misplaced().map(str::to_owned) {
            return rejected(rows, reason, &metrics);
        }
        let compression = Compression::of(&file.path);
        if let (Format::Parquet {}, Compression::None) = (&feed.format, compression) {
            return parquet_file::open(again.object().await?, rows, metrics, again).await;
        }
        let mut chunks = again.chunks().await?;
        if matches!(feed.format, Format::Parquet {}) {
            return parquet_file::open_compressed(chunks, compression, rows, again.surveyed()?, metrics).await;
        }
        let mut compression = compression;
        if compression != Compression::None {
            match Whole::of(chunks, compression, self.options.max_object_bytes).await? {
                Whole::Held(held) => (chunks, compression) = (held, Compression::None),
                Whole::Large => chunks = again.chunks().await?,
                Whole::Damaged(reason) => {
                    let reason = format!("{reason}, so that no row of the file is kept: `{}`", file.path);
                    return rejected(rows, reason, &metrics);
                }
            }
        }
        let decoder = Decoder::new(rows, &feed.format, compression)?;
        let decoder = decoder.ok_or_else(|| Error::internal("a Parquet file is not read as text"))?;
        Ok(text(TextFile::new(chunks, decoder, metrics, Some(again))))
    }

    fn feed(&self, file: &SourceFile) -> Result<&Feed> {
        self.source.feed.get(&file.feed).ok_or_else(|| {
            Error::internal(format!("file `{}` belongs to the feed `{}`, which is unknown", file.path, file.feed))
        })
    }
}

/// A file that is being read, and may have to be read a second time for the order of its stamps.
#[derive(Debug)]
pub(super) struct Again {
    reader: Arc<Reader>,
    store: Arc<dyn ObjectStore>,
    location: Path,
    file: SourceFile,
}

impl Again {
    /// What the order of all rows says of stamps that the feed's clock shows twice. Reads the whole file.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub(super) fn occurrences(&self) -> BoxFuture<'_, Result<Arc<Occurrences>>> {
        async {
            let format = &self.reader.feed(&self.file)?.format;
            let compression = Compression::of(&self.file.path);
            if let (Format::Parquet {}, Compression::None) = (format, compression) {
                return parquet_file::survey(self.object().await?, self.surveyed()?).await.map(Arc::new);
            }
            let Some(decoder) = Decoder::new(self.surveyed()?, format, compression)? else {
                return Err(Error::internal("a compressed Parquet file is read as a whole"));
            };
            let metrics = ReadMetrics { rejected_rows: Count::new(), ..self.reader.metrics.clone() };
            let mut file = TextFile::new(self.chunks().await?, decoder, metrics, None);
            while file.next_batch().await?.is_some() {}
            Ok(Arc::new(file.decoder.rows().take_occurrences().unwrap_or_default()))
        }
        .boxed()
    }

    fn surveyed(&self) -> Result<Rows> {
        let Reader { layout, options, .. } = self.reader.as_ref();
        Rows::surveyed(layout, self.reader.feed(&self.file)?, &self.file, options)
    }

    async fn chunks(&self) -> Result<Chunks> {
        let response = self.store.get(&self.location).await.map_err(|error| unreadable(&self.location, error))?;
        check_unchanged(&response.meta, &self.file)?;
        Ok(Chunks::new(self.location.clone(), response, self.reader.metrics.bytes_scanned.clone()))
    }

    async fn object(&self) -> Result<ObjectReader> {
        let meta = self.store.head(&self.location).await.map_err(|error| unreadable(&self.location, error))?;
        check_unchanged(&meta, &self.file)?;
        Ok(ObjectReader::new(Arc::clone(&self.store), self.location.clone(), meta.size))
    }
}

/// One rejected row that stands for a whole file: none of its rows can be read, or damage may have changed any of them.
fn rejected(mut rows: Rows, reason: String, metrics: &ReadMetrics) -> Result<Batches> {
    rows.reject(1, reason, b"");
    metrics.rejected_rows.add(1);
    Ok(stream::iter(rows.take()?).map(Ok).boxed())
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
    /// None in a second reading.
    again: Option<Again>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Reading,
    /// All bytes have arrived.
    Finishing,
    Done,
}

impl TextFile {
    fn new(chunks: Chunks, decoder: Decoder, metrics: ReadMetrics, again: Option<Again>) -> Self {
        Self { chunks, decoder, metrics, chunk: Bytes::new(), stage: Stage::Reading, rejected: 0, again }
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
                if rows.needs_occurrences()
                    && let Some(again) = &self.again
                {
                    let occurrences = again.occurrences().await?;
                    self.decoder.rows().set_occurrences(occurrences);
                }
                let rows = self.decoder.rows();
                let batch = rows.take()?;
                let rejected = rows.rejected();
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
