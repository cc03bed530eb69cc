//! Segments of bookmarks of files, beside a table's log: Parquet files with a row for each file. `pulse_core::decide` says
//! which there are and what they mean.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::basic::{Compression, Encoding, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::WriterProperties;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use pulse_core::decide::{Fold, Marks, Segment, Stored, meant, named_segment, segments};
use pulse_core::{Error, Result};
use uuid::Uuid;

use super::{Snapshot, Table};
use crate::error::from_store;

/// Other programs pass over names that begin so.
pub(super) const FOLDER: &str = "_pulse_files";

/// As `source/path`, without `raw.`.
const FILE: &str = "file";
const MARK: &str = "mark";

impl Table {
    /// All bookmarks that the log of a version has, each by its id: those in segments too.
    ///
    /// # Errors
    /// `Data` for a segment that is gone or damaged, `Unavailable` when the store does not answer.
    pub async fn bookmarks(&self, snapshot: &Snapshot) -> Result<HashMap<String, i64>> {
        let mut marks = Vec::new();
        for segment in segments(&snapshot.transactions) {
            marks.push(self.read_segment(segment).await?);
        }
        Ok(meant(snapshot.transactions.clone(), marks))
    }

    /// The `txn` actions that store these numbers behind a version, and the path of the segment that was written for them.
    pub(super) async fn store_marks(
        &self,
        read: Option<&Snapshot>,
        numbers: Vec<(String, i64)>,
    ) -> Result<(Vec<(String, i64)>, Option<Path>)> {
        let nothing = HashMap::new();
        let mut fold = Fold::new(read.map_or(&nothing, |snapshot| &snapshot.transactions), numbers);
        while let Some(segment) = fold.wants() {
            fold.take(self.read_segment(segment).await?);
        }
        let number = i64::try_from(Uuid::new_v4().as_u128() >> 65).unwrap_or_default();
        let Stored { numbers, segment } = fold.end(number);
        let Some(marks) = segment else { return Ok((numbers, None)) };
        let doing = self.doing("write the bookmarks of");
        let bytes = written(&marks).map_err(|e| Error::internal(doing.clone()).with_source(e))?;
        let path = path_of(number);
        self.store().put(&path, bytes.into()).await.map_err(|e| from_store(&doing, &e))?;
        Ok((numbers, Some(path)))
    }

    /// Deletes a segment that no entry of the log names; what cannot be deleted now is left to vacuum.
    pub(super) async fn discard_segment(&self, path: &Path) {
        if let Err(error) = self.store().delete(path).await {
            log::warn!("bookmarks {path} of table {}: {error}", self.name());
        }
    }

    async fn read_segment(&self, segment: Segment) -> Result<Marks> {
        let path = path_of(segment.number);
        let doing = self.doing("read the bookmarks of");
        let damaged = |why: &dyn std::fmt::Display| {
            Error::data(format!(
                "{doing}: `{path}` {why}; restore it from a backup, or drop the table and run its job again"
            ))
        };
        let got = match self.store().get(&path).await {
            Err(object_store::Error::NotFound { .. }) => return Err(damaged(&"is gone")),
            other => other.map_err(|e| from_store(&doing, &e))?,
        };
        let bytes = got.bytes().await.map_err(|e| from_store(&doing, &e))?;
        read(bytes).map_err(|e| damaged(&format_args!("is damaged ({e})")))
    }
}

/// The path of the segment that a `txn` action names.
pub(super) fn segment_path(id: &str, number: i64) -> Option<String> {
    named_segment(id, number).map(|segment| path_of(segment.number).to_string())
}

fn path_of(number: i64) -> Path {
    Path::from_iter([FOLDER.to_owned(), format!("{number:016x}.parquet")])
}

fn written(marks: &Marks) -> std::result::Result<Vec<u8>, ParquetError> {
    let files: ArrayRef = Arc::new(StringArray::from_iter_values(marks.keys()));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(marks.values().copied()));
    let batch = RecordBatch::try_from_iter([(FILE, files), (MARK, numbers)])?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        // Paths in their order share most of their letters.
        .set_column_encoding(FILE.into(), Encoding::DELTA_BYTE_ARRAY)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.into_inner()
}

fn read(bytes: Bytes) -> std::result::Result<Marks, ParquetError> {
    let mut marks = Marks::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
        let batch = batch?;
        let files = batch.column_by_name(FILE).and_then(|column| column.as_string_opt::<i32>());
        let numbers = batch.column_by_name(MARK).and_then(|column| column.as_primitive_opt::<Int64Type>());
        let (Some(files), Some(numbers)) = (files, numbers) else {
            return Err(ParquetError::General("it has other columns".to_owned()));
        };
        for (file, number) in files.iter().zip(numbers) {
            let (Some(file), Some(number)) = (file, number) else {
                return Err(ParquetError::General("it has nulls".to_owned()));
            };
            marks.insert(file.to_owned(), number);
        }
    }
    Ok(marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_read_as_it_was_written() {
        let marks: Marks = (0..3_000)
            .map(|n| (format!("bars/2024-{:02}/a b=\u{e9}%{n}.csv", n % 12), (i64::MAX / 3).wrapping_mul(n)))
            .collect();
        let bytes = written(&marks).unwrap();
        assert!(bytes.len() < 60_000, "{} bytes", bytes.len());
        assert_eq!(read(bytes.into()).unwrap(), marks);
    }

    #[test]
    fn what_is_cut_off_or_something_else_is_an_error() {
        let marks: Marks = (0..200).map(|n| (format!("s/{n}"), n)).collect();
        let bytes = written(&marks).unwrap();
        for end in [0, 4, bytes.len() / 2, bytes.len() - 1] {
            read(Bytes::copy_from_slice(&bytes[..end])).unwrap_err();
        }
        let other: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let batch = RecordBatch::try_from_iter([("x", other)]).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        assert!(read(writer.into_inner().unwrap().into()).unwrap_err().to_string().contains("other columns"));
    }
}
