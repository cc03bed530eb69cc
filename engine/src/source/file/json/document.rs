//! One JSON document, whose records are the items of an array, the values of an object, or the rows of arrays that are columns.

use std::ops::Range;

use pulse_core::Result;
use pulse_core::sources::{Json as JsonFormat, JsonLayout};

use super::super::cell::Cell;
use super::super::rows::Rows;
use super::super::unknown::Policy;
use super::super::value::ColumnBuilder;
use super::columns::{Columns, Set};
use super::paths::{Tree, Wanted};
use super::record::{RecordReader, cell_of};
use crate::json_text::Json;

/// A document of an eighth of the limit gets room for all of it.
const SHARE_OF_LIMIT: usize = 8;

/// Turns the bytes of one document into rows: gathers it, then reads it record by record.
#[derive(Debug)]
pub(in super::super) struct Document {
    rows: Rows,
    reader: Reader,
    /// Finds the records, and what stands beside them.
    outside: Tree,
    records: String,
    /// Columns that take the key of each record in their object.
    keyed: Vec<usize>,
    /// Columns whose values stand outside of the records, and where these are in the text.
    outer: Vec<(usize, Range<usize>)>,
    /// With their JSON pointers.
    outer_columns: Vec<(usize, String)>,
    text: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum Reader {
    Rows(RecordReader),
    Columns(Columns),
}

#[derive(Debug)]
enum State {
    Gathering,
    TooLarge,
    BrokenOff(String),
    /// Where the next record, or set of columns, or the collection's end is.
    Reading {
        at: usize,
        record: i64,
    },
    /// Within a set of columns.
    Set {
        set: Set,
        record: i64,
        /// Where the next one is.
        after: Option<usize>,
    },
    Done,
}

impl Document {
    /// # Errors
    /// `Invalid` when a JSON pointer is none.
    pub(in super::super) fn new(rows: Rows, format: &JsonFormat) -> Result<Self> {
        let JsonFormat { records, key, layout, fields, outer } = format;
        let reader = match layout {
            JsonLayout::Rows => Reader::Rows(RecordReader::new(&rows, fields)?),
            JsonLayout::Columns => Reader::Columns(Columns::new(&rows)?),
        };
        let pointers = std::iter::once(records).chain(outer.values());
        let outside =
            Tree::new(pointers.map(|field| Wanted { field, is_text: true, takes_json: false }), &[], Policy::Skip)?;
        let columns = || rows.columns.iter().enumerate();
        let place =
            |name: &String| columns().find(|(_, column)| column.name() == name).map_or(usize::MAX, |(at, _)| at);
        let keyed = columns().filter(|(_, column)| key.as_deref() == Some(column.field())).map(|(at, _)| at).collect();
        Ok(Self {
            reader,
            outside,
            records: records.clone(),
            keyed,
            outer: Vec::new(),
            outer_columns: outer.iter().map(|(name, pointer)| (place(name), pointer.clone())).collect(),
            text: Vec::new(),
            state: State::Gathering,
            rows,
        })
    }

    pub(in super::super) fn feed(&mut self, bytes: &[u8]) -> usize {
        match self.state {
            State::Gathering if self.text.len() + bytes.len() <= self.rows.options().max_object_bytes => {
                self.make_room(bytes.len());
                self.text.extend_from_slice(bytes);
            }
            State::Gathering => {
                // What is held now depends on how the bytes arrive.
                let room = self.rows.options().max_object_bytes.saturating_sub(self.text.len());
                self.text.extend_from_slice(bytes.get(..room).unwrap_or_default());
                self.text.truncate(self.rows.options().max_raw_bytes);
                self.text.shrink_to_fit();
                self.state = State::TooLarge;
            }
            State::TooLarge | State::BrokenOff(_) | State::Reading { .. } | State::Set { .. } | State::Done => {}
        }
        bytes.len()
    }

    /// A vector that doubles holds two copies for a moment, and in the end up to twice what is needed. Memory that is only set aside costs
    /// nothing.
    fn make_room(&mut self, bytes: usize) {
        let limit = self.rows.options().max_object_bytes;
        if self.text.capacity() < limit && self.text.len() + bytes > limit / SHARE_OF_LIMIT {
            self.text.reserve_exact(limit - self.text.len());
        }
    }

    pub(in super::super) fn break_off(&mut self, reason: &str) {
        self.state = State::BrokenOff(reason.to_owned());
    }

    /// Reads records until a batch is full; false when there are more.
    pub(in super::super) fn finish(&mut self) -> bool {
        loop {
            self.state = match std::mem::replace(&mut self.state, State::Done) {
                State::Gathering => self.open(),
                State::TooLarge => {
                    let limit = self.rows.options().max_object_bytes;
                    self.reject(1, &format!("the document is larger than {limit} bytes: raise `max_object_mib`"))
                }
                State::BrokenOff(reason) => self.reject(1, &reason),
                state @ (State::Reading { .. } | State::Set { .. }) if self.rows.is_full() => {
                    self.state = state;
                    return false;
                }
                State::Reading { at, record } => self.read(at, record),
                State::Set { set, record, after } => self.read_set(set, record, after),
                State::Done => return true,
            }
        }
    }

    pub(in super::super) fn rows(&mut self) -> &mut Rows {
        &mut self.rows
    }

    /// See [`RecordReader::note_fields`].
    pub(in super::super) fn note_fields(&mut self) {
        let mut absent = match &mut self.reader {
            Reader::Rows(reader) => reader.note_fields(&mut self.rows),
            Reader::Columns(columns) => columns.note_fields(&mut self.rows),
        };
        absent.retain(|column| !self.keyed.contains(column) && !self.outer.iter().any(|(outer, _)| outer == column));
        for (column, pointer) in &self.outer_columns {
            if let Some(place) = absent.iter().position(|absent| absent == column) {
                absent.remove(place);
                let name = self.rows.columns.get(*column).map(|column| column.name().to_owned());
                self.rows.fields().miss(&name.unwrap_or_default(), pointer);
            }
        }
        self.rows.miss(&absent);
    }

    fn open(&mut self) -> State {
        if self.text.iter().all(u8::is_ascii_whitespace) {
            return State::Done;
        }
        let values = match std::str::from_utf8(&self.text) {
            Ok(text) => self.outside.read(text),
            Err(error) => {
                let reason = format!("the document is not UTF-8 from byte {}", error.valid_up_to());
                return self.reject(1, &reason);
            }
        };
        let values = match values {
            Ok(values) => values,
            Err(error) => {
                let reason = format!("not JSON: {error}");
                return self.reject(i64::try_from(error.line()).unwrap_or(1), &reason);
            }
        };
        if let Some(reason) = values.wrong {
            return self.reject(1, &reason);
        }
        let mut places = values.cells.iter().map(|cell| range_of(&self.text, cell));
        let records = places.next().flatten();
        let outer = self.outer_columns.iter().zip(places);
        self.outer = outer.filter_map(|((column, _), range)| Some((*column, range?))).collect();
        let Some(Range { start, .. }) = records else {
            return self.reject(1, &format!("the document has nothing at `{}`", self.records));
        };
        let json = Json(&self.text);
        match (json.byte(start), &self.reader) {
            (Some(b'{'), Reader::Columns(_)) => self.open_set(start, 1, None),
            (Some(b'[' | b'{'), _) => State::Reading { at: start + 1, record: 1 },
            _ => self.reject(1, &format!("what stands at `{}` is neither an array nor an object", self.records)),
        }
    }

    fn reject(&mut self, line: i64, reason: &str) -> State {
        self.rows.reject(line, reason, &self.text);
        State::Done
    }

    fn read(&mut self, at: usize, record: i64) -> State {
        let json = Json(&self.text);
        let at = json.skip_blank(at, b",");
        if matches!(json.byte(at), None | Some(b']' | b'}')) {
            return State::Done;
        }
        let (name, start) = match json.member(at) {
            Some((name, start)) => (Some(name), start),
            None => (None, at),
        };
        let end = json.skip_value(start);
        let next = end.max(at + 1);
        let Reader::Rows(reader) = &mut self.reader else { return self.open_set(start, record, Some(next)) };
        let mut given = outer_cells(&self.rows, &self.text, &self.outer);
        if let Some(name) = name {
            let key = name.map_or(Cell::Other("a key that is not Unicode"), Cell::Text);
            given.extend(self.keyed.iter().map(|at| (*at, key.clone())));
        }
        reader.read(&mut self.rows, record, self.text.get(start..end).unwrap_or_default(), &given);
        State::Reading { at: next, record: record + 1 }
    }

    /// A set of columns that starts here.
    fn open_set(&mut self, start: usize, record: i64, after: Option<usize>) -> State {
        let end = Json(&self.text).skip_value(start);
        let text = self.text.get(start..end).unwrap_or_default();
        let Reader::Columns(columns) = &mut self.reader else { return State::Done };
        match columns.open(&self.rows, text, start) {
            Ok(set) => State::Set { set, record, after },
            Err(reason) => {
                self.rows.reject(record, reason, text);
                next_set(after, record + 1)
            }
        }
    }

    fn read_set(&mut self, mut set: Set, record: i64, after: Option<usize>) -> State {
        let given = outer_cells(&self.rows, &self.text, &self.outer);
        if !set.read_row(&mut self.rows, record, &self.text, &given) {
            return next_set(after, record);
        }
        State::Set { set, record: record + 1, after }
    }
}

fn next_set(after: Option<usize>, record: i64) -> State {
    after.map_or(State::Done, |at| State::Reading { at, record })
}

fn outer_cells<'a>(rows: &Rows, text: &'a [u8], outer: &[(usize, Range<usize>)]) -> Vec<(usize, Cell<'a>)> {
    let cell = |(column, range): &(usize, Range<usize>)| {
        let takes_json = rows.columns.get(*column).is_some_and(ColumnBuilder::takes_json);
        (*column, cell_of(text.get(range.clone()).unwrap_or_default(), takes_json))
    };
    outer.iter().map(cell).collect()
}

/// Where in `text` the JSON text of a cell is.
fn range_of(text: &[u8], cell: &Cell<'_>) -> Option<Range<usize>> {
    let Cell::Text(part) = cell else { return None };
    let start = part.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    (start + part.len() <= text.len()).then_some(start..start + part.len())
}
