//! Rows of a JSON document that holds an array for each column.

use pulse_core::Result;

use super::super::cell::Cell;
use super::super::rows::Rows;
use super::super::unknown::Policy;
use super::paths::{Tree, Wanted};
use super::record::{cell_of, parse_reason, push_row};
use crate::json_text::Json;

/// Finds the arrays of columns in objects.
#[derive(Debug)]
pub(super) struct Columns {
    tree: Tree,
}

/// Arrays of one object, of one length, and how far they are read.
#[derive(Debug)]
pub(super) struct Set {
    columns: Vec<Place>,
    left: usize,
}

#[derive(Debug)]
struct Place {
    field: String,
    takes_json: bool,
    /// Where the next item is in the document, or the comma before it; `None` if there is no array.
    at: Option<usize>,
}

impl Columns {
    /// # Errors
    /// `Invalid` when a field begins with `/` and is no JSON pointer.
    pub(super) fn new(rows: &Rows) -> Result<Self> {
        let wanted =
            rows.columns.iter().map(|column| Wanted { field: column.field(), is_text: true, takes_json: false });
        // There is no record whose fields could be kept.
        let policy = if rows.policy() == Policy::Rescue { Policy::Skip } else { rows.policy() };
        Ok(Self { tree: Tree::new(wanted, &[], policy)? })
    }

    /// As [`RecordReader::note_fields`](super::record::RecordReader::note_fields).
    pub(super) fn note_fields(&mut self, rows: &mut Rows) -> Vec<usize> {
        rows.fields().ignore(self.tree.take_unknown());
        self.tree.absent()
    }

    /// The arrays of the object `text`, which is at `start` of the document.
    ///
    /// # Errors
    /// Why its rows cannot be read.
    pub(super) fn open(&mut self, rows: &Rows, text: &[u8], start: usize) -> Result<Set, String> {
        let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
        let values = self.tree.read(text).map_err(|error| parse_reason("object", &error))?;
        if let Some(reason) = values.wrong {
            return Err(reason);
        }
        let mut columns = Vec::with_capacity(values.cells.len());
        let mut lengths: Vec<(&str, usize)> = Vec::new();
        for (cell, column) in values.cells.iter().zip(&rows.columns) {
            let mut at = None;
            if let Cell::Text(part) = cell {
                if !part.starts_with('[') {
                    return Err(format!("`{}` is not an array", column.field()));
                }
                lengths.push((column.field(), Json(part.as_bytes()).items(1).count()));
                at = part.as_ptr().addr().checked_sub(text.as_ptr().addr()).map(|offset| start + offset + 1);
            }
            columns.push(Place { field: column.field().to_owned(), takes_json: column.takes_json(), at });
        }
        let Some((_, left)) = lengths.first().copied() else {
            return Err("the object has none of the declared fields".to_owned());
        };
        if lengths.iter().any(|(_, length)| *length != left) {
            let lengths: Vec<String> = lengths.iter().map(|(field, length)| format!("`{field}` {length}")).collect();
            return Err(format!("the columns are not of one length: {} items", lengths.join(", ")));
        }
        Ok(Set { columns, left })
    }
}

impl Set {
    /// Reads the next row; false when there is none. `given` are values of columns that have no array.
    pub(super) fn read_row<'a>(
        &mut self,
        rows: &mut Rows,
        record: i64,
        text: &'a [u8],
        given: &[(usize, Cell<'a>)],
    ) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let json = Json(text);
        let mut items = Vec::with_capacity(self.columns.len());
        for column in &mut self.columns {
            let item = column.at.map(|at| {
                let start = json.skip_blank(at, b",");
                start..json.skip_value(start)
            });
            column.at = item.as_ref().map(|item| item.end);
            items.push(item.and_then(|item| std::str::from_utf8(text.get(item)?).ok()));
        }
        let mut cells: Vec<Cell<'_>> = Vec::with_capacity(items.len());
        for (column, item) in self.columns.iter().zip(&items) {
            cells.push(match item {
                None | Some("null") => Cell::Null,
                Some(item) => cell_of(item.as_bytes(), column.takes_json),
            });
        }
        for (at, value) in given {
            if let Some(cell) = cells.get_mut(*at).filter(|cell| matches!(cell, Cell::Null)) {
                *cell = value.clone();
            }
        }
        push_row(rows, record, &cells, || self.row_text(&items));
        true
    }

    /// The row as an object.
    fn row_text(&self, items: &[Option<&str>]) -> String {
        let members = self.columns.iter().zip(items).filter_map(|(column, item)| {
            Some(format!("{}:{}", serde_json::Value::from(column.field.as_str()), (*item)?))
        });
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}
