//! Fields of a file that no column is read from, and columns whose field no record of the file has.

mod json;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringBuilder, new_null_array};
use arrow::datatypes::DataType;
use pulse_core::notes::FileNote;
use pulse_core::sources::{Feed, Unknown};

use super::layout::NOTE;
use super::listing::SourceFile;

pub(super) use json::{Object, RescuedColumns};

/// Names of unknown fields that are noted of a file. A run says of no more which they are.
pub(super) const MOST_NAMES: usize = 101;
/// Names that one reason lists.
const SHOWN_FIELDS: usize = 5;

/// What a reader does with fields that no column is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Skip,
    /// Their names are noted.
    Note,
    Reject,
    Rescue,
}

/// What becomes of the fields of one file that no column is read from, and what is noted of the file.
#[derive(Debug)]
pub(super) struct FileFields {
    policy: Policy,
    note: Option<FileNote>,
    rescued: Vec<(usize, String)>,
    bytes: usize,
}

impl FileFields {
    pub(super) fn new(feed: &Feed, file: &SourceFile, is_rescued_read: bool, notes: bool) -> Self {
        let policy = match feed.unknown {
            Unknown::Reject => Policy::Reject,
            Unknown::Rescue if is_rescued_read => Policy::Rescue,
            Unknown::Ignore | Unknown::Rescue if notes => Policy::Note,
            Unknown::Ignore | Unknown::Rescue => Policy::Skip,
        };
        let (feed, path) = (file.feed.clone(), file.path.clone());
        let note = notes.then(|| FileNote { feed, file: path, ..FileNote::default() });
        Self { policy, note, rescued: Vec::new(), bytes: 0 }
    }

    pub(super) fn policy(&self) -> Policy {
        self.policy
    }

    /// Takes the fields that a file names once and no column is read from. `whole` is what names them.
    ///
    /// # Errors
    /// A reason why no record of the file is a row.
    pub(super) fn meet(&mut self, whole: &str, unread: &[&str]) -> Result<(), String> {
        match self.policy {
            Policy::Reject if !unread.is_empty() => Err(reason(whole, unread)),
            Policy::Note => {
                self.ignore(unread.iter().map(|name| (*name).to_owned()));
                Ok(())
            }
            Policy::Skip | Policy::Reject | Policy::Rescue => Ok(()),
        }
    }

    pub(super) fn ignore(&mut self, names: impl IntoIterator<Item = String>) {
        if let Some(note) = &mut self.note {
            note.ignored.extend(names.into_iter().take(MOST_NAMES));
        }
    }

    /// No record of the file has the `field` that the column is read from.
    pub(super) fn miss(&mut self, column: &str, field: &str) {
        if let Some(note) = &mut self.note {
            note.absent.push((column.to_owned(), field.to_owned()));
        }
    }

    /// Of the file nothing is noted but rows that are not read.
    pub(super) fn leave_unread(&mut self, rows: u64) {
        if let Some(note) = &mut self.note {
            (note.ignored, note.absent, note.unread) = (Vec::new(), Vec::new(), rows);
        }
    }

    /// What the file's note says, as a reason that no row has.
    pub(super) fn take_note(&mut self) -> Option<String> {
        let is_empty = |note: &FileNote| note.ignored.is_empty() && note.absent.is_empty() && note.unread == 0;
        let note = self.note.take().filter(|note| !is_empty(note))?;
        serde_json::to_string(&note).ok().map(|json| format!("{NOTE}{json}"))
    }

    /// Keeps an object of the unknown fields of a row, which is the last one so far.
    pub(super) fn rescue(&mut self, row: usize, object: String) {
        self.bytes += object.len();
        self.rescued.push((row, object));
    }

    /// Bytes of the objects that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets the objects of rows beyond the first `rows`.
    pub(super) fn truncate(&mut self, rows: usize) {
        while self.rescued.last().is_some_and(|(row, _)| *row >= rows) {
            self.rescued.pop();
        }
    }

    /// Forgets the object of a row.
    pub(super) fn forget(&mut self, row: usize) {
        self.rescued.retain(|(of, _)| *of != row);
    }

    /// The objects of the first `rows` rows.
    pub(super) fn finish(&mut self, rows: usize) -> ArrayRef {
        self.bytes = 0;
        let rescued = std::mem::take(&mut self.rescued);
        sparse(rescued.iter().map(|(row, text)| (*row, text.as_str())), rows)
    }
}

/// Why records with these fields are no rows.
#[cold]
pub(super) fn reason(whole: &str, unread: &[&str]) -> String {
    let names = unread.iter().take(SHOWN_FIELDS).map(|name| match *name {
        "" => "without a name".to_owned(),
        name => format!("`{name}`"),
    });
    let names = names.collect::<Vec<_>>().join(", ");
    let more = if unread.len() > SHOWN_FIELDS { ", .." } else { "" };
    match unread.len() {
        1 => format!("{whole} has the field {names}, which no column is read from"),
        _ => format!("{whole} has the fields {names}{more}, which no column is read from"),
    }
}

/// Texts of some of the rows, in their order; null in the others.
pub(super) fn sparse<'a>(texts: impl ExactSizeIterator<Item = (usize, &'a str)>, rows: usize) -> ArrayRef {
    if texts.len() == 0 {
        return new_null_array(&DataType::Utf8, rows);
    }
    let mut builder = StringBuilder::with_capacity(rows, 0);
    let mut next = 0;
    for (row, text) in texts {
        builder.append_nulls(row - next);
        builder.append_value(text);
        next = row + 1;
    }
    builder.append_nulls(rows - next);
    let array = builder.finish();
    debug_assert_eq!(array.len(), rows);
    Arc::new(array)
}
