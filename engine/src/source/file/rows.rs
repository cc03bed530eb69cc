//! The batch under construction: kept and rejected rows of one file.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray, StringBuilder, new_null_array};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use pulse_core::sources::{ColumnType, Feed};
use pulse_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::cell::Fault;
use super::layout::Layout;
use super::listing::SourceFile;
use super::value::{ColumnBuilder, Wanted};

/// Text that makes a batch full before its rows do: 8 MiB, so that long lines do not pile up.
const BATCH_TEXT_BYTES: usize = 8 << 20;

/// Limits of reading files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadOptions {
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Bytes of the longest line, or record of several lines, that is read; a longer one is rejected.
    pub max_line_bytes: usize,
    /// Bytes of a rejected row's text that are kept.
    pub max_raw_bytes: usize,
    /// Bytes of the largest JSON document, or compressed Parquet file, that is read; a larger one is rejected.
    pub max_object_bytes: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { batch_rows: 8192, max_line_bytes: 16 << 20, max_raw_bytes: 64 << 10, max_object_bytes: 256 << 20 }
    }
}

/// A column of the output: a column of the source under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Projected {
    /// Place in the source's schema.
    pub(super) column: usize,
    pub(super) name: String,
}

/// Rows of one file, gathered until a batch is full.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) columns: Vec<ColumnBuilder>,
    origin: Vec<Option<String>>,
    projection: Vec<usize>,
    schema: SchemaRef,
    options: ReadOptions,
    /// Columns whose bytes count towards a full batch.
    text_columns: Vec<usize>,
    lines: Vec<i64>,
    rejects: Vec<Reject>,
    reject_bytes: usize,
    rejected: usize,
}

#[derive(Debug)]
struct Reject {
    row: usize,
    reason: String,
    raw: String,
}

impl Rows {
    /// Rows of `file`, of which the batches hold the columns `projection`.
    ///
    /// # Errors
    /// `Invalid` when the feed's time zone does not exist, `Internal` when the projection is not of the layout's
    /// schema.
    pub(super) fn new(
        layout: &Layout,
        feed: &Feed,
        file: &SourceFile,
        projection: &[Projected],
        options: &ReadOptions,
    ) -> Result<Self> {
        let columns = layout.columns.iter().enumerate().map(|(at, column)| {
            let wanted =
                if projection.iter().any(|wanted| wanted.column == at) { Wanted::Kept } else { Wanted::CheckedOnly };
            ColumnBuilder::new(column, feed, wanted)
        });
        let mut fields = Vec::with_capacity(projection.len());
        for wanted in projection {
            let field = layout.schema.fields().get(wanted.column).ok_or_else(|| {
                Error::internal(format!("a scan of files has no column {} (`{}`)", wanted.column, wanted.name))
            })?;
            fields.push(field.as_ref().clone().with_name(&wanted.name));
        }
        let mut origin: Vec<Option<String>> =
            layout.path_columns.iter().map(|name| file.captures.get(name).cloned()).collect();
        origin.push(Some(file.feed.clone()));
        origin.push(Some(file.path.clone()));
        Ok(Self {
            columns: columns.collect::<Result<_>>()?,
            origin,
            projection: projection.iter().map(|wanted| wanted.column).collect(),
            schema: Arc::new(Schema::new(fields)),
            options: options.clone(),
            text_columns: (0..layout.columns.len())
                .filter(|at| layout.columns.get(*at).is_some_and(|column| column.data_type == ColumnType::String))
                .collect(),
            lines: Vec::new(),
            rejects: Vec::new(),
            reject_bytes: 0,
            rejected: 0,
        })
    }

    pub(super) fn options(&self) -> &ReadOptions {
        &self.options
    }

    /// Rows rejected since the file's start.
    pub(super) fn rejected(&self) -> usize {
        self.rejected
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= self.options.batch_rows || self.reject_bytes + self.text_bytes() >= BATCH_TEXT_BYTES
    }

    fn text_bytes(&self) -> usize {
        let texts = self.text_columns.iter().filter_map(|at| self.columns.get(*at));
        texts.map(ColumnBuilder::text_bytes).sum()
    }

    /// Ends a row whose values were pushed into every column.
    #[inline]
    pub(super) fn keep(&mut self, line: i64) {
        self.lines.push(line);
    }

    /// Ends a row that is not what the source declares; values that were pushed for it are dropped.
    #[cold]
    pub(super) fn reject(&mut self, line: i64, reason: impl Into<String>, raw: &[u8]) {
        let row = self.lines.len();
        for column in &mut self.columns {
            column.truncate(row);
            column.keep_null();
        }
        let (reason, raw) = (reason.into(), cut(raw, self.options.max_raw_bytes));
        self.reject_bytes += reason.len() + raw.len();
        self.rejects.push(Reject { row, reason, raw });
        self.rejected += 1;
        self.lines.push(line);
    }

    /// Like `reject`, for a value that does not fit its column.
    #[cold]
    pub(super) fn reject_value(&mut self, line: i64, column: usize, fault: Fault, value: &str, raw: &[u8]) {
        let reason = self.columns.get(column).map(|column| column.reason(fault, value)).unwrap_or_default();
        self.reject(line, reason, raw);
    }

    /// The rows gathered since the last call; `None` when there are none.
    ///
    /// # Errors
    /// `Internal` when the columns do not have equally many rows.
    pub(super) fn take(&mut self) -> Result<Option<RecordBatch>> {
        let rows = self.lines.len();
        if rows == 0 {
            return Ok(None);
        }
        let lines = std::mem::replace(&mut self.lines, Vec::with_capacity(rows));
        let rejects = std::mem::take(&mut self.rejects);
        self.reject_bytes = 0;
        let mut arrays: Vec<Option<ArrayRef>> = Vec::with_capacity(self.schema.fields().len());
        for column in &mut self.columns {
            arrays.push(column.finish()?);
        }
        let declared = arrays.len();
        let [line_at, reason_at, raw_at] = [0, 1, 2].map(|offset| declared + self.origin.len() + offset);
        let wants = |at: usize| self.projection.contains(&at);
        for (at, value) in self.origin.iter().enumerate() {
            arrays.push(wants(declared + at).then(|| repeated(value.as_deref(), rows)));
        }
        arrays.push(wants(line_at).then(|| Arc::new(Int64Array::from(lines)) as ArrayRef));
        arrays.push(wants(reason_at).then(|| sparse(&rejects, rows, |reject| &reject.reason)));
        arrays.push(wants(raw_at).then(|| sparse(&rejects, rows, |reject| &reject.raw)));
        let columns = self.projection.iter().filter_map(|at| arrays.get(*at).cloned().flatten()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map(Some)
            .map_err(|error| Error::internal("columns of a file's rows have one length").with_source(error))
    }
}

fn repeated(value: Option<&str>, rows: usize) -> ArrayRef {
    match value {
        Some(value) => Arc::new(StringArray::new_repeated(value, rows)),
        None => new_null_array(&DataType::Utf8, rows),
    }
}

fn sparse(rejects: &[Reject], rows: usize, text: impl Fn(&Reject) -> &String) -> ArrayRef {
    if rejects.is_empty() {
        return new_null_array(&DataType::Utf8, rows);
    }
    let mut builder = StringBuilder::with_capacity(rows, 0);
    for reject in rejects {
        builder.append_nulls(reject.row - builder_len(&builder));
        builder.append_value(text(reject));
    }
    builder.append_nulls(rows - builder_len(&builder));
    Arc::new(builder.finish())
}

fn builder_len(builder: &StringBuilder) -> usize {
    arrow::array::ArrayBuilder::len(builder)
}

/// The first `limit` bytes as text, with replacement characters for what is not UTF-8.
pub(super) fn cut(raw: &[u8], limit: usize) -> String {
    let mut text = String::from_utf8_lossy(raw.get(..limit).unwrap_or(raw)).into_owned();
    text.truncate(text.floor_char_boundary(limit));
    text
}
