//! Values of rows that were pushed already: looked at again, moved or made null.

use super::{ColumnBuilder, Kind, Values};
use crate::source::file::cell::Fault;
use crate::source::file::data::Data;

impl ColumnBuilder {
    /// Microseconds from the value that was pushed last to the other instant that its stamp may mean.
    #[inline]
    pub(in super::super) fn take_repeat(&mut self) -> Option<i64> {
        match &mut self.kind {
            Kind::Timestamp(stamps) => stamps.take_repeat(),
            _ => None,
        }
    }

    /// Why a stamp that was read as `instant` is rejected when order does not say what it means.
    #[cold]
    pub(in super::super) fn unclear(&self, instant: i64) -> String {
        let Kind::Timestamp(stamps) = &self.kind else { return String::new() };
        let shown = stamps.shown(instant);
        let why = "and the order of the file's rows does not say which is meant: see `ambiguous` of its feed";
        format!("{}, {why}", self.reason(Fault::Repeated, &shown))
    }

    /// The value of a row, if it is a timestamp and kept.
    pub(in super::super) fn instant(&self, row: usize) -> Option<i64> {
        match self.values.as_ref()? {
            Values { data: Data::Timestamp(data), valid } => {
                data.get(row).copied().filter(|_| valid.get(row) != Some(&false))
            }
            _ => None,
        }
    }

    /// The text of a row, if it is one and kept; nothing when it is null.
    pub(in super::super) fn text(&self, row: usize) -> Option<&[u8]> {
        match self.values.as_ref()? {
            Values { data: Data::Text { ends, bytes }, .. } => {
                let (start, end) = (*ends.get(row)?, *ends.get(row + 1)?);
                bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
            }
            _ => None,
        }
    }

    /// Moves the instant of a row.
    pub(in super::super) fn move_instant(&mut self, row: usize, micros: i64) {
        if let Some(Values { data: Data::Timestamp(data), .. }) = &mut self.values
            && let Some(instant) = data.get_mut(row)
        {
            *instant += micros;
        }
    }

    /// Makes the value of a row null.
    pub(in super::super) fn make_null(&mut self, row: usize) {
        let Some(values) = &mut self.values else { return };
        if let Data::Nested(node) = &mut values.data {
            return node.make_null(row);
        }
        values.valid.resize(values.data.len(), true);
        if let Some(valid) = values.valid.get_mut(row) {
            *valid = false;
        }
    }
}
