//! One CSV record with quotes: the slow way.

use memchr::{memchr, memchr2};

use super::dialect::{Delimiter, Dialect};

/// Fields of the record that was read last, without quotes.
#[derive(Debug, Default)]
pub(super) struct Quoted {
    text: Vec<u8>,
    ends: Vec<usize>,
    /// Where the line ends that was looked at last.
    line_end: usize,
}

/// How far a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    /// It ends with a newline; its length with it.
    Whole(usize),
    /// The bytes end where the record may end.
    EndsWithInput,
    /// The bytes end within a quoted field.
    Incomplete,
    /// The bytes end within what may be a delimiter behind a quoted field.
    IncompleteDelimiter,
    /// A quoted field goes on behind its closing quote.
    Malformed,
}

impl Quoted {
    /// Reads the record that `bytes` start with.
    pub(super) fn parse(&mut self, bytes: &[u8], dialect: &Dialect) -> Record {
        self.text.clear();
        self.ends.clear();
        self.line_end = 0;
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let length = match (rest, dialect.quote) {
                ([first, inner @ ..], Some(quote)) if *first == quote => {
                    let inner = match dialect.escape {
                        None => self.doubling_field(inner, quote),
                        Some(escape) => self.escaping_field(inner, quote, escape),
                    };
                    match inner {
                        Some(length) => length + 1,
                        None => return Record::Incomplete,
                    }
                }
                _ => self.plain_field(bytes, at, &dialect.delimiter),
            };
            self.ends.push(self.text.len());
            at += length;
            match bytes.get(at..).unwrap_or_default() {
                [] => return Record::EndsWithInput,
                [b'\n', ..] => return Record::Whole(at + 1),
                [b'\r', b'\n', ..] => return Record::Whole(at + 2),
                [b'\r'] => return Record::EndsWithInput,
                rest if dialect.delimiter.starts(rest) => at += dialect.delimiter.len(),
                rest if dialect.delimiter.may_start(rest) => return Record::IncompleteDelimiter,
                _ => return Record::Malformed,
            }
        }
    }

    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// Text of a field; `None` beyond the last.
    pub(super) fn field(&self, at: usize) -> Option<&[u8]> {
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.text.get(start..*self.ends.get(at)?)
    }

    /// Takes the text up to the closing quote; returns its length with the quote, `None` when there is none.
    fn doubling_field(&mut self, bytes: &[u8], mark: u8) -> Option<usize> {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..)?;
            let quote = memchr(mark, rest)?;
            self.text.extend_from_slice(rest.get(..quote)?);
            at += quote + 1;
            if bytes.get(at) != Some(&mark) {
                return Some(at);
            }
            self.text.push(mark);
            at += 1;
        }
    }

    /// As `doubling_field`, where `escape` stands before a quote and before itself, and otherwise for itself.
    fn escaping_field(&mut self, bytes: &[u8], quote: u8, escape: u8) -> Option<usize> {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..)?;
            let length = memchr2(quote, escape, rest)?;
            self.text.extend_from_slice(rest.get(..length)?);
            at += length + 1;
            if rest.get(length) == Some(&quote) {
                return Some(at);
            }
            let next = *bytes.get(at)?;
            if next == quote || next == escape {
                self.text.push(next);
                at += 1;
            } else {
                self.text.push(escape);
            }
        }
    }

    fn plain_field(&mut self, bytes: &[u8], at: usize, delimiter: &Delimiter) -> usize {
        let rest = bytes.get(at..).unwrap_or_default();
        let (end, ends_field) = match delimiter {
            Delimiter::Byte(byte) => {
                let end = memchr2(*byte, b'\n', rest).unwrap_or(rest.len());
                (end, rest.get(end) == Some(byte))
            }
            Delimiter::Text(finder) => {
                if self.line_end <= at {
                    self.line_end = memchr(b'\n', rest).map_or(bytes.len(), |length| at + length);
                }
                let line = rest.get(..self.line_end - at).unwrap_or(rest);
                let end = finder.find(line);
                (end.unwrap_or(line.len()), end.is_some())
            }
        };
        let field = rest.get(..end).unwrap_or(rest);
        let field = if ends_field { field } else { field.strip_suffix(b"\r").unwrap_or(field) };
        self.text.extend_from_slice(field);
        field.len()
    }
}
