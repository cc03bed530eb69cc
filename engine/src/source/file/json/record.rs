//! One JSON record as one row.

use std::borrow::Cow;
use std::fmt;

use pulse_core::Result;
use serde::de::{DeserializeSeed, Deserializer, Visitor};

use super::super::cell::Cell;
use super::super::json_value::cell_for;
use super::super::rows::Rows;
use super::paths::{Tree, Wanted};

/// Reads records that are all of one contract.
#[derive(Debug)]
pub(super) struct RecordReader {
    tree: Tree,
}

impl RecordReader {
    /// `fields` are the names of an array's items.
    ///
    /// # Errors
    /// `Invalid` when a field begins with `/` and is no JSON pointer.
    pub(super) fn new(rows: &Rows, fields: &[String]) -> Result<Self> {
        let wanted = rows.columns.iter().map(|column| {
            let field = column.field();
            // A string takes a whole record as its text; other columns take it as they take any object.
            Wanted { field, is_text: field.is_empty() && column.takes_text(), takes_json: column.takes_json() }
        });
        Ok(Self { tree: Tree::new(wanted, fields, rows.policy())? })
    }

    /// Reads `text` as one record and ends a row. `given` are values of columns that the record itself does not hold.
    pub(super) fn read<'a>(&mut self, rows: &mut Rows, line: i64, text: &'a [u8], given: &[(usize, Cell<'a>)]) {
        let values = match std::str::from_utf8(text) {
            Ok(text) => self.tree.read(text),
            Err(_) => {
                return rows.reject(line, format!("not a JSON {}: it is not UTF-8", self.tree.record_word()), text);
            }
        };
        let values = match values {
            Ok(values) => values,
            Err(error) => return rows.reject(line, self.reason(&error), text),
        };
        if let Some(reason) = values.wrong {
            return rows.reject(line, reason, text);
        }
        if !values.any {
            return rows.reject(line, format!("the {} has none of the declared fields", self.tree.record_word()), text);
        }
        let mut cells = values.cells;
        for (at, value) in given {
            if let Some(cell) = cells.get_mut(*at).filter(|cell| matches!(cell, Cell::Null)) {
                *cell = value.clone();
            }
        }
        rows.rescue(values.rescued);
        push_row(rows, line, &cells, || text);
    }

    /// Notes fields that the file's records had and no column is read from; returns the columns for which no record had a field.
    pub(super) fn note_fields(&mut self, rows: &mut Rows) -> Vec<usize> {
        rows.fields().ignore(self.tree.take_unknown());
        self.tree.absent()
    }
}

impl RecordReader {
    fn reason(&self, error: &serde_json::Error) -> String {
        let reason = parse_reason(self.tree.record_word(), error);
        match reason.contains(": trailing characters") {
            true => format!("{reason}: if records follow each other without newlines, set `joined = true`"),
            false => reason,
        }
    }
}

/// Ends a row of one value for each column.
pub(super) fn push_row<R: AsRef<[u8]>>(rows: &mut Rows, line: i64, cells: &[Cell<'_>], raw: impl Fn() -> R) {
    for (at, cell) in cells.iter().enumerate() {
        if let Some(Err(fault)) = rows.columns.get_mut(at).map(|column| column.push_cell(cell)) {
            return rows.reject_value(line, at, fault, &cell.shown(), raw().as_ref());
        }
    }
    rows.keep(line, raw);
}

/// A value on its own, whose text is known to be JSON, as a column of JSON text takes it or another one.
pub(super) fn cell_of(text: &[u8], takes_json: bool) -> Cell<'_> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    // Only a string with half of a surrogate pair is JSON and no value.
    cell_for(text, takes_json).unwrap_or(Cell::Other("a string that is not Unicode"))
}

pub(super) fn parse_reason(record: &str, error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    match error.column() {
        0 => format!("not a JSON {record}: {what}"),
        column => format!("not a JSON {record}: {what} at column {column}"),
    }
}

/// The name of a field.
pub(super) struct Name<'de>(pub(super) Cow<'de, str>);
pub(super) struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Name<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameSeed {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Name(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }
}
