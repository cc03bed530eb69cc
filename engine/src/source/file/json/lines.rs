//! One JSON record a line.

use pulse_core::Result;
use pulse_core::sources::JsonLines;

use super::super::framing::{Input, Lines, Records, is_blank, read_lines};
use super::super::rows::Rows;
use super::record::RecordReader;

/// Turns the bytes of one file of JSON lines into rows.
#[derive(Debug)]
pub(in super::super) struct LineRecords {
    rows: Rows,
    reader: RecordReader,
    line: i64,
    in_long_line: bool,
}

impl LineRecords {
    /// # Errors
    /// `Invalid` when a field begins with `/` and is no JSON pointer.
    pub(in super::super) fn new(rows: Rows, format: &JsonLines) -> Result<Self> {
        let reader = RecordReader::new(&rows, &format.fields)?;
        Ok(Self { rows, reader, line: 1, in_long_line: false })
    }

    /// See [`RecordReader::note_fields`].
    pub(in super::super) fn note_fields(&mut self) {
        let absent = self.reader.note_fields(&mut self.rows);
        self.rows.miss(&absent);
    }
}

impl Records for LineRecords {
    fn read(&mut self, bytes: &[u8], input: Input) -> usize {
        read_lines(self, bytes, input)
    }

    fn rows(&self) -> &Rows {
        &self.rows
    }

    fn rows_mut(&mut self) -> &mut Rows {
        &mut self.rows
    }

    fn line(&self) -> i64 {
        self.line
    }
}

impl Lines for LineRecords {
    fn take_line(&mut self, line: &[u8]) {
        if !is_blank(line) {
            self.reader.read(&mut self.rows, self.line, line, &[]);
        }
        self.line += 1;
    }

    fn take_long_line(&mut self, reason: String, line: &[u8]) {
        self.rows.reject(self.line, reason, line);
        self.line += 1;
    }

    fn in_long_line(&mut self) -> &mut bool {
        &mut self.in_long_line
    }
}
