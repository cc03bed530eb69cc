//! Parquet files of an object store as streams of batches.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{
    ArrowReaderBuilder, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use datafusion::parquet::arrow::async_reader::{
    AsyncFileReader, ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder,
};
use datafusion::parquet::basic::Type;
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::ParquetMetaData;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pulse_core::{Error, Result};

use super::chunks::{Batches, Chunks, ReadMetrics, into_datafusion, unreadable};
use super::compression::Compression;
use super::damage::{caught, caught_while};
use super::int96::{Int96, exact};
use super::legacy_calendar::Legacy;
use super::parquet::ParquetRows;
use super::parquet_pieces::{Piece, pieces, rows_at_once, with_views};
use super::read::Again;
use super::repeated::Occurrences;
use super::rows::Rows;
use crate::source::footer;

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
    match opened(object, &mut rows).await {
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
    match opened(object, &mut rows).await {
        Ok(mut batches) => loop {
            match pushed(&mut batches, &mut rows).await {
                Ok(true) => rows.take()?,
                Ok(false) => break,
                Err(Unpushed::Failed(error)) => return Err(error),
                Err(Unpushed::Content(error)) if is_store_error(&error) => return Err(unreadable(&location, error)),
                Err(Unpushed::Content(_)) => break,
            };
        },
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
    compression: Compression,
    rows: Rows,
    surveyed: Rows,
    metrics: ReadMetrics,
) -> Result<Batches> {
    let limit = rows.options().max_object_bytes;
    let Some(mut decompressor) = compression.decompressor(limit)? else {
        return Err(Error::internal("a Parquet file that is not compressed is not read as a whole"));
    };
    let mut content = Vec::new();
    let mut broken = None;
    while let Some(mut chunk) = chunks.next().await? {
        while broken.is_none() && !chunk.is_empty() {
            match decompressor.push(&chunk, &mut content) {
                Ok(used) => chunk = chunk.slice(used..),
                Err(reason) => broken = Some(reason),
            }
            broken = broken.or_else(|| too_large(&content, limit));
        }
    }
    let mut is_done = broken.is_some();
    while !is_done {
        match decompressor.finish(&mut content) {
            Ok(done) => is_done = done,
            Err(reason) => broken = Some(reason),
        }
        broken = broken.or_else(|| too_large(&content, limit));
        is_done |= broken.is_some();
    }
    let mut rows = ParquetRows::new(rows);
    let batches = match broken {
        Some(reason) => rows.break_off(&reason)?.into_iter().collect(),
        None if content.is_empty() => Vec::new(),
        None => read_whole(Bytes::from(content), &mut rows, surveyed)?,
    };
    metrics.rejected_rows.add(rows.rows().rejected());
    Ok(stream::iter(batches).map(Ok).boxed())
}

fn too_large(content: &[u8], limit: usize) -> Option<String> {
    (content.len() > limit).then(|| format!("the file is larger than {limit} bytes: raise `max_object_mib`"))
}

/// [`open_stream`]; a panic is a fault of the file.
async fn opened(object: ObjectReader, rows: &mut ParquetRows) -> Result<Stream, Unread> {
    caught_while(open_stream(object, rows))
        .await
        .unwrap_or_else(|reason| Err(Unread::Content(unreadable_because(&reason))))
}

/// [`open_whole`]; a panic is a fault of the file.
fn opened_whole(content: Bytes, rows: &mut ParquetRows) -> Result<Whole, Unread> {
    caught(|| open_whole(content, rows)).unwrap_or_else(|reason| Err(Unread::Content(unreadable_because(&reason))))
}

/// [`Stream::push_next`]; a panic is a fault of the file.
async fn pushed(batches: &mut Stream, rows: &mut ParquetRows) -> Result<bool, Unpushed> {
    caught_while(batches.push_next(rows)).await.unwrap_or_else(|reason| Err(ParquetError::General(reason).into()))
}

/// [`Whole::push_next`]; a panic is a fault of the file.
fn pushed_whole(reader: &mut Whole, rows: &mut ParquetRows) -> Result<bool, Unpushed> {
    caught(|| reader.push_next(rows)).unwrap_or_else(|reason| Err(ParquetError::General(reason).into()))
}

/// Takes what the file's footer says of its rows.
fn say(metadata: &ArrowReaderMetadata, rows: &mut ParquetRows) {
    let groups = metadata.metadata().row_groups().iter();
    let mut counts = groups.map(|group| u64::try_from(group.num_rows()).ok());
    rows.expect(counts.try_fold(0_u64, |sum, rows| sum.checked_add(rows?)));
    let entries = metadata.metadata().file_metadata().key_value_metadata();
    let value = |key: &str| {
        let entry = entries.into_iter().flatten().find(|entry| entry.key == key)?;
        Some(entry.value.as_deref().unwrap_or_default())
    };
    let leaves = metadata.parquet_schema().columns().iter().filter(|leaf| leaf.physical_type() == Type::INT96);
    let roots = leaves.filter_map(|leaf| leaf.path().parts().first().cloned());
    rows.set_legacy(Legacy::of("parquet", value).with_int96(roots));
}

async fn open_stream(mut object: ObjectReader, rows: &mut ParquetRows) -> Result<Stream, Unread> {
    let metadata = ArrowReaderMetadata::load_async(&mut object, ArrowReaderOptions::default()).await?;
    say(&metadata, rows);
    let metadata = with_views(metadata);
    rows.meet(metadata.schema(), &[]).map_err(Unread::Content)?;
    let rows = &*rows;
    let open = |object: ObjectReader, metadata: ArrowReaderMetadata, wanted: &dyn Fn(usize) -> bool| {
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(object, metadata);
        Ok::<_, Unread>(declared(builder, rows, wanted)?.build()?)
    };
    Ok(match Int96::of(&metadata)? {
        None => Stream { batches: open(object, metadata, &|_| true)?, nanos: None, pieces: VecDeque::new() },
        Some(Int96 { as_micros, as_nanos, roots }) => Stream {
            batches: open(object.clone(), as_micros, &|_| true)?,
            nanos: Some(open(object, as_nanos, &|at| roots.contains(&at))?),
            pieces: VecDeque::new(),
        },
    })
}

fn open_whole(content: Bytes, rows: &mut ParquetRows) -> Result<Whole, Unread> {
    let metadata = ArrowReaderMetadata::load(&content, footer::options(&content)?)?;
    say(&metadata, rows);
    let metadata = with_views(metadata);
    rows.meet(metadata.schema(), &[]).map_err(Unread::Content)?;
    let rows = &*rows;
    let open = |metadata: ArrowReaderMetadata, wanted: &dyn Fn(usize) -> bool| {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(content.clone(), metadata);
        Ok::<_, Unread>(declared(builder, rows, wanted)?.build()?)
    };
    Ok(match Int96::of(&metadata)? {
        None => Whole { batches: open(metadata, &|_| true)?, nanos: None, pieces: VecDeque::new() },
        Some(Int96 { as_micros, as_nanos, roots }) => {
            let nanos = Some(open(as_nanos, &|at| roots.contains(&at))?);
            Whole { batches: open(as_micros, &|_| true)?, nanos, pieces: VecDeque::new() }
        }
    })
}

/// Only the columns that are read, and of these the `wanted`.
fn declared<T>(
    builder: ArrowReaderBuilder<T>,
    rows: &ParquetRows,
    wanted: &dyn Fn(usize) -> bool,
) -> Result<ArrowReaderBuilder<T>, Unread> {
    let places = rows.read_places(builder.schema()).map_err(Unread::Content)?;
    let places = places.into_iter().filter(|at| wanted(*at));
    let mask = ProjectionMask::roots(builder.parquet_schema(), places);
    let at_once = rows_at_once(builder.metadata(), rows.rows().options().batch_rows);
    Ok(builder.with_batch_size(at_once).with_projection(mask))
}

/// Batches of a file, with the other reading of its INT96 stamps.
struct Stream {
    batches: ParquetRecordBatchStream<ObjectReader>,
    nanos: Option<ParquetRecordBatchStream<ObjectReader>>,
    /// Of the batch that was read last.
    pieces: VecDeque<Piece>,
}

impl Stream {
    /// Pushes the next rows into `rows`; false at the file's end.
    async fn push_next(&mut self, rows: &mut ParquetRows) -> Result<bool, Unpushed> {
        if self.pieces.is_empty() {
            let Some(batch) = self.batches.next().await.transpose()? else { return Ok(false) };
            let nanos = match &mut self.nanos {
                Some(nanos) => nanos.next().await.transpose()?,
                None => None,
            };
            self.pieces = cut(rows, batch, nanos)?;
        }
        push(rows, &mut self.pieces)?;
        Ok(true)
    }
}

/// As [`Stream`], of a file that is in memory.
struct Whole {
    batches: ParquetRecordBatchReader,
    nanos: Option<ParquetRecordBatchReader>,
    pieces: VecDeque<Piece>,
}

impl Whole {
    /// As [`Stream::push_next`].
    fn push_next(&mut self, rows: &mut ParquetRows) -> Result<bool, Unpushed> {
        let of_arrow = |error| Unpushed::Content(ParquetError::from(error));
        if self.pieces.is_empty() {
            let Some(batch) = self.batches.next().transpose().map_err(of_arrow)? else { return Ok(false) };
            let nanos = self.nanos.as_mut().and_then(Iterator::next).transpose().map_err(of_arrow)?;
            self.pieces = cut(rows, batch, nanos)?;
        }
        push(rows, &mut self.pieces)?;
        Ok(true)
    }
}

/// Why a batch is not among the rows.
enum Unpushed {
    Content(ParquetError),
    Failed(pulse_core::Error),
}

impl From<ParquetError> for Unpushed {
    fn from(error: ParquetError) -> Self {
        Self::Content(error)
    }
}

fn cut(rows: &ParquetRows, batch: RecordBatch, nanos: Option<RecordBatch>) -> Result<VecDeque<Piece>, Unpushed> {
    let most = rows.rows().options().max_line_bytes;
    match nanos {
        None => Ok(pieces(batch, most)),
        Some(nanos) => {
            let batches = exact(batch, &nanos).map_err(Unpushed::Failed)?;
            Ok(batches.into_iter().flat_map(|batch| pieces(batch, most)).collect())
        }
    }
}

/// The first of the pieces.
fn push(rows: &mut ParquetRows, pieces: &mut VecDeque<Piece>) -> Result<(), Unpushed> {
    let Some(piece) = pieces.pop_front() else { return Ok(()) };
    let most = rows.rows().options().max_line_bytes;
    if piece.rows.num_rows() == 1 && piece.bytes > u64::try_from(most).unwrap_or(u64::MAX) {
        let reason =
            format!("the row has texts of {} bytes, and {most} are allowed: raise `max_line_bytes`", piece.bytes);
        rows.skip(1, &reason, b"");
        return Ok(());
    }
    rows.push(&piece.rows).map_err(Unpushed::Failed)
}

pub(super) fn read_whole(content: Bytes, rows: &mut ParquetRows, surveyed: Rows) -> Result<Vec<RecordBatch>> {
    let mut surveyed = Some(surveyed);
    let mut batches = Vec::new();
    let mut reader = match opened_whole(content.clone(), rows) {
        Ok(reader) => reader,
        Err(Unread::Content(reason)) => return Ok(rows.break_off(&reason)?.into_iter().collect()),
        Err(Unread::Store(error)) => return Ok(rows.break_off(&unreadable_content(&error))?.into_iter().collect()),
    };
    loop {
        match pushed_whole(&mut reader, rows) {
            Ok(true) => {}
            Ok(false) => {
                batches.extend(rows.end()?);
                break;
            }
            Err(Unpushed::Content(error)) => {
                batches.extend(rows.break_off(&unreadable_content(&error))?);
                break;
            }
            Err(Unpushed::Failed(error)) => return Err(error),
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
    if let Ok(mut reader) = opened_whole(content, &mut rows) {
        loop {
            match pushed_whole(&mut reader, &mut rows) {
                Ok(true) => rows.take()?,
                Ok(false) | Err(Unpushed::Content(_)) => break,
                Err(Unpushed::Failed(error)) => return Err(error),
            };
        }
    }
    Ok(rows.take_occurrences().unwrap_or_default())
}

/// A file half-way read; without `batches` at its end.
struct ParquetFile {
    batches: Option<Stream>,
    rows: ParquetRows,
    metrics: ReadMetrics,
    location: Path,
    again: Again,
}

impl ParquetFile {
    async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(batches) = &mut self.batches {
            let before = self.rows.rows().rejected();
            let batch = match pushed(batches, &mut self.rows).await {
                Ok(false) => {
                    self.batches = None;
                    return self.rows.end();
                }
                Ok(true) => {
                    if self.rows.rows().needs_occurrences() {
                        self.rows.set_occurrences(self.again.occurrences().await?);
                    }
                    self.rows.take()?
                }
                Err(Unpushed::Failed(error)) => return Err(error),
                Err(Unpushed::Content(error)) if is_store_error(&error) => {
                    return Err(unreadable(&self.location, error));
                }
                Err(Unpushed::Content(error)) => {
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
    unreadable_because(&error.to_string())
}

fn unreadable_because(reason: &str) -> String {
    format!("not readable as Parquet: {reason}")
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
#[derive(Clone)]
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
        async move { Ok(Arc::new(footer::load(self, size, options).await?)) }.boxed()
    }
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}
