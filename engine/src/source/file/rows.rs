//! The batch under construction: kept and rejected rows of one file.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use pulse_core::sources::{Ambiguous, Column, ColumnType, Feed, RESCUED};
use pulse_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::cell::Fault;
use super::hive::Partitions;
use super::layout::{Layout, arrow_type};
use super::listing::SourceFile;
use super::repeated::{Occurrence, Occurrences, Survey};
use super::unknown::{FileFields, Policy, sparse};
use super::value::{ColumnBuilder, Wanted};
use crate::source::projected::Projected;

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
    /// Whether a file ends with a row whose reason begins with [`NOTE`](super::NOTE), if there is something to say of its fields.
    #[serde(default)]
    pub notes: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            batch_rows: 8192,
            max_line_bytes: 16 << 20,
            max_raw_bytes: 64 << 10,
            max_object_bytes: 256 << 20,
            notes: false,
        }
    }
}

/// Rows of one file, gathered until a batch is full.
#[derive(Debug)]
pub(super) struct Rows {
    /// Columns that are read from the file's content.
    pub(super) columns: Vec<ColumnBuilder>,
    /// What its path says of the declared columns.
    partitions: Partitions,
    fault: Option<String>,
    origin: Vec<Option<String>>,
    projection: Vec<usize>,
    schema: SchemaRef,
    options: ReadOptions,
    /// Columns whose bytes count towards a full batch.
    sized_columns: Vec<usize>,
    /// Columns whose texts tell series apart.
    text_columns: Vec<usize>,
    lines: Vec<i64>,
    rejects: Vec<Reject>,
    reject_bytes: usize,
    rejected: usize,
    /// Line of the last row that was taken.
    last_line: i64,
    fields: FileFields,
    repeats: Repeats,
    /// What the file's bytes are called, to people.
    encoding: &'static str,
}

/// Stamps that the feed's clock shows twice.
#[derive(Debug, Default)]
struct Repeats {
    /// Columns whose stamps the order of rows tells apart.
    columns: Vec<usize>,
    /// Rows of this batch with such a stamp.
    unclear: Vec<Unclear>,
    /// What the order of the whole file says, once it is asked for.
    occurrences: Option<Arc<Occurrences>>,
    /// Finds that out, in a reading of its own.
    survey: Option<Survey>,
}

#[derive(Debug)]
struct Unclear {
    row: usize,
    line: i64,
    column: usize,
    later_by: i64,
    raw: String,
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
        let partitions = Partitions::of(&layout.columns, feed, &file.path)?;
        let in_file = layout.columns.iter().enumerate().filter(|(_, column)| !feed.has_from_path(&column.name));
        let columns = in_file.clone().map(|(at, column)| {
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
        let is_rescued =
            |wanted: &Projected| layout.schema.fields().get(wanted.column).is_some_and(|f| f.name() == RESCUED);
        let is_rescued_read = projection.iter().any(is_rescued);
        let columns: Vec<ColumnBuilder> = columns.collect::<Result<_>>()?;
        let types: Vec<&ColumnType> = in_file.map(|(_, column)| &column.data_type).collect();
        let by_order = columns.iter().enumerate().filter(|(_, column)| column.goes_by_order()).map(|(at, _)| at);
        let repeats = Repeats { columns: by_order.collect(), ..Repeats::default() };
        Ok(Self {
            columns,
            partitions,
            fault: file.fault.clone(),
            origin,
            projection: projection.iter().map(|wanted| wanted.column).collect(),
            schema: Arc::new(Schema::new(fields)),
            options: options.clone(),
            sized_columns: places(&types, |data_type| arrow_type(data_type).primitive_width().is_none()),
            text_columns: places(&types, |data_type| *data_type == ColumnType::String),
            lines: Vec::new(),
            rejects: Vec::new(),
            reject_bytes: 0,
            rejected: 0,
            last_line: 0,
            fields: FileFields::new(feed, file, is_rescued_read, options.notes),
            repeats,
            encoding: "UTF-8",
        })
    }

    /// Rows of `file` that are read for the order of their stamps alone.
    ///
    /// # Errors
    /// As [`Rows::new`].
    pub(super) fn surveyed(layout: &Layout, feed: &Feed, file: &SourceFile, options: &ReadOptions) -> Result<Self> {
        let seen = |column: &Column| matches!(column.data_type, ColumnType::String | ColumnType::Timestamp);
        let seen = layout.columns.iter().enumerate().filter(|(_, column)| seen(column));
        let seen: Vec<Projected> =
            seen.map(|(at, column)| Projected { column: at, name: column.name.clone() }).collect();
        let mut rows = Self::new(layout, feed, file, &seen, &ReadOptions { notes: false, ..options.clone() })?;
        rows.repeats.survey = Some(Survey::new(feed.ambiguous == Ambiguous::ByStrictOrder));
        Ok(rows)
    }

    /// Why the file cannot be read for what it is or its path says; all of it is rejected then.
    pub(super) fn misplaced(&self) -> Option<&str> {
        self.fault.as_deref().or_else(|| self.partitions.fault())
    }

    /// What the order of all rows says. `None` unless made by [`Rows::surveyed`].
    pub(super) fn take_occurrences(&mut self) -> Option<Occurrences> {
        self.repeats.survey.take().map(Survey::finish)
    }

    /// Whether the next batch has stamps whose meaning the order of the whole file decides, which is not known yet.
    pub(super) fn needs_occurrences(&self) -> bool {
        !self.repeats.unclear.is_empty() && self.repeats.occurrences.is_none()
    }

    pub(super) fn set_occurrences(&mut self, occurrences: Arc<Occurrences>) {
        self.repeats.occurrences = Some(occurrences);
    }

    /// What becomes of fields that no column is read from.
    pub(super) fn fields(&mut self) -> &mut FileFields {
        &mut self.fields
    }

    /// What a reader does with fields that no column is read from.
    pub(super) fn policy(&self) -> Policy {
        self.fields.policy()
    }

    /// Keeps the unknown fields of the row under construction.
    pub(super) fn rescue(&mut self, object: Option<String>) {
        if let Some(object) = object {
            self.fields.rescue(self.lines.len(), object);
        }
    }

    /// Notes columns that are null in all rows of the file.
    pub(super) fn miss(&mut self, absent: &[usize]) {
        for column in absent.iter().filter_map(|at| self.columns.get(*at)) {
            self.fields.miss(column.name(), column.field());
        }
    }

    /// Ends the file, with a row for its note.
    pub(super) fn end(&mut self) {
        if let Some(note) = self.fields.take_note() {
            let line = self.lines.last().copied().unwrap_or(self.last_line);
            self.reject(line, note, b"");
            self.rejected -= 1;
        }
    }

    /// Counts rows that the rejected one before stands for, and ends the file.
    pub(super) fn leave_unread(&mut self, rows: u64) {
        self.fields.leave_unread(rows);
        self.end();
    }

    pub(super) fn options(&self) -> &ReadOptions {
        &self.options
    }

    /// What the file's bytes are, for reasons.
    pub(super) fn encoding(&self) -> &'static str {
        self.encoding
    }

    pub(super) fn set_encoding(&mut self, encoding: &'static str) {
        self.encoding = encoding;
    }

    /// Rows rejected since the file's start.
    pub(super) fn rejected(&self) -> usize {
        self.rejected
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= self.options.batch_rows
            || self.reject_bytes + self.fields.bytes() + self.text_bytes() >= BATCH_TEXT_BYTES
    }

    fn text_bytes(&self) -> usize {
        let sized = self.sized_columns.iter().filter_map(|at| self.columns.get(*at));
        sized.map(ColumnBuilder::bytes).sum()
    }

    /// Nulls of the row under construction in columns that the file does not have.
    #[inline]
    pub(super) fn leave_null(&mut self, absent: &[usize]) {
        for at in absent {
            if let Some(column) = self.columns.get_mut(*at) {
                column.keep_null();
            }
        }
    }

    /// Ends a row whose values were pushed into every column.
    #[inline]
    pub(super) fn keep<R: AsRef<[u8]>>(&mut self, line: i64, raw: impl FnOnce() -> R) {
        if !self.repeats.columns.is_empty() {
            self.look_at_stamps(line, raw);
        }
        self.lines.push(line);
    }

    #[inline]
    fn look_at_stamps<R: AsRef<[u8]>>(&mut self, line: i64, raw: impl FnOnce() -> R) {
        let row = self.lines.len();
        let columns = &mut self.columns;
        if let Some(survey) = &mut self.repeats.survey {
            let series = series(columns, &self.text_columns, row);
            for at in &self.repeats.columns {
                let Some(column) = columns.get_mut(*at) else { continue };
                let repeat = column.take_repeat();
                if let Some(instant) = column.instant(row) {
                    survey.add((line, *at), series, instant, repeat);
                }
            }
            return;
        }
        let mut repeats =
            self.repeats.columns.iter().filter_map(|at| Some((*at, columns.get_mut(*at)?.take_repeat()?)));
        if let Some(first) = repeats.next() {
            let raw = cut(raw().as_ref(), self.options.max_raw_bytes);
            let all = std::iter::once(first).chain(repeats);
            for (column, later_by) in all {
                self.reject_bytes += raw.len();
                self.repeats.unclear.push(Unclear { row, line, column, later_by, raw: raw.clone() });
            }
        }
    }

    /// Gives stamps that occur twice the meaning that the file's order says, and rejects rows of which it says nothing.
    fn clear_up(&mut self) {
        let occurrences = self.repeats.occurrences.clone().unwrap_or_default();
        for Unclear { row, line, column: at, later_by, raw } in std::mem::take(&mut self.repeats.unclear) {
            let Some(column) = self.columns.get_mut(at) else { continue };
            match occurrences.of(line, at) {
                Some(Occurrence::First) => {}
                Some(Occurrence::Second) => column.move_instant(row, later_by),
                None => {
                    // A second stamp of a rejected row.
                    let Some(instant) = column.instant(row) else { continue };
                    let reason = column.unclear(instant);
                    self.columns.iter_mut().for_each(|column| column.make_null(row));
                    self.fields.forget(row);
                    self.rejects.push(Reject { row, reason, raw });
                    self.rejected += 1;
                }
            }
        }
        self.rejects.sort_by_key(|reject| reject.row);
    }

    /// Drops the values that were pushed for the row under construction.
    pub(super) fn undo(&mut self) {
        let row = self.lines.len();
        for column in &mut self.columns {
            column.truncate(row);
            column.take_repeat();
        }
        self.fields.truncate(row);
    }

    /// Ends a row that is not what the source declares; values that were pushed for it are dropped.
    #[cold]
    pub(super) fn reject(&mut self, line: i64, reason: impl Into<String>, raw: &[u8]) {
        self.undo();
        let row = self.lines.len();
        self.columns.iter_mut().for_each(ColumnBuilder::keep_null);
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
        if !self.repeats.unclear.is_empty() {
            self.clear_up();
        }
        let lines = std::mem::replace(&mut self.lines, Vec::with_capacity(rows));
        let rejects = std::mem::take(&mut self.rejects);
        self.reject_bytes = 0;
        let mut arrays: Vec<Option<ArrayRef>> = Vec::with_capacity(self.schema.fields().len());
        let mut in_file = self.columns.iter_mut();
        for value in self.partitions.of_columns() {
            match value {
                Some(value) => arrays.push(Some(repeated_value(value, rows)?)),
                None => arrays.push(in_file.next().map(ColumnBuilder::finish).transpose()?.flatten()),
            }
        }
        let declared = arrays.len();
        self.last_line = lines.last().copied().unwrap_or(self.last_line);
        let [line_at, reason_at, raw_at, rescued_at] = [0, 1, 2, 3].map(|offset| declared + self.origin.len() + offset);
        let wants = |at: usize| self.projection.contains(&at);
        for (at, value) in self.origin.iter().enumerate() {
            arrays.push(wants(declared + at).then(|| repeated(value.as_deref(), rows)));
        }
        arrays.push(wants(line_at).then(|| Arc::new(Int64Array::from(lines)) as ArrayRef));
        let reasons = rejects.iter().map(|reject| (reject.row, reject.reason.as_str()));
        arrays.push(wants(reason_at).then(|| sparse(reasons, rows)));
        let raws = rejects.iter().map(|reject| (reject.row, reject.raw.as_str()));
        arrays.push(wants(raw_at).then(|| sparse(raws, rows)));
        arrays.push(wants(rescued_at).then(|| self.fields.finish(rows)));
        let columns = self.projection.iter().filter_map(|at| arrays.get(*at).cloned().flatten()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map(Some)
            .map_err(|error| Error::internal("columns of a file's rows have one length").with_source(error))
    }
}

/// Columns of the types that `is_meant`.
fn places(types: &[&ColumnType], is_meant: impl Fn(&ColumnType) -> bool) -> Vec<usize> {
    types.iter().enumerate().filter(|(_, data_type)| is_meant(data_type)).map(|(at, _)| at).collect()
}

/// Stands for the texts of a row: rows that agree in them are in one series.
fn series(columns: &[ColumnBuilder], texts: &[usize], row: usize) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    for column in texts.iter().filter_map(|at| columns.get(*at)) {
        column.text(row).hash(&mut hasher);
    }
    hasher.finish()
}

fn repeated_value(value: &ScalarValue, rows: usize) -> Result<ArrayRef> {
    let array = value.to_array_of_size(rows);
    array.map_err(|error| Error::internal("a value of a path has no array").with_source(error))
}

fn repeated(value: Option<&str>, rows: usize) -> ArrayRef {
    match value {
        Some(value) => Arc::new(StringArray::new_repeated(value, rows)),
        None => new_null_array(&DataType::Utf8, rows),
    }
}

/// The first `limit` bytes as text, with replacement characters for what is not UTF-8.
pub(super) fn cut(raw: &[u8], limit: usize) -> String {
    let mut text = String::from_utf8_lossy(raw.get(..limit).unwrap_or(raw)).into_owned();
    text.truncate(text.floor_char_boundary(limit));
    text
}
