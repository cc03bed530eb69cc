//! One JSON record a line.

use memchr::memchr;
use pulse_core::Result;
use pulse_core::sources::JsonLines;

use super::super::framing::{Front, Input, Records, is_blank};
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

    fn read_line(&mut self, line: &[u8]) {
        if !is_blank(line) {
            self.reader.read(&mut self.rows, self.line, line, &[]);
        }
        self.line += 1;
    }

    fn long_line(&mut self, line: &[u8]) {
        let reason = format!("the line is longer than {} bytes", self.limit());
        // Of a long line only this much is surely there: the rest depends on how its bytes arrive.
        let line = line.get(..self.limit()).unwrap_or(line);
        self.rows.reject(self.line, reason, line);
        self.line += 1;
    }
}

impl Records for LineRecords {
    fn read(&mut self, bytes: &[u8], input: Input) -> usize {
        let mut at = 0;
        if self.in_long_line {
            match memchr(b'\n', bytes) {
                Some(end) => at = end + 1,
                None => return bytes.len(),
            }
            self.in_long_line = false;
        }
        while !self.rows.is_full() && at < bytes.len() {
            let rest = bytes.get(at..).unwrap_or_default();
            at += match Front::of(rest, input, self.limit()) {
                Front::Line(line, taken) => {
                    self.read_line(line);
                    taken
                }
                Front::LongLine(taken) => {
                    self.long_line(rest);
                    taken
                }
                Front::LongLineGoesOn => {
                    self.long_line(rest);
                    self.in_long_line = true;
                    rest.len()
                }
                Front::Incomplete => break,
            };
        }
        at
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
