//! One CSV record with quotes: the slow way.

/// Fields of the record that was read last, without quotes.
#[derive(Debug, Default)]
pub(super) struct Quoted {
    text: Vec<u8>,
    ends: Vec<usize>,
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
    /// A quoted field goes on behind its closing quote.
    Malformed,
}

impl Quoted {
    /// Reads the record that `bytes` start with.
    pub(super) fn parse(&mut self, bytes: &[u8], delimiter: u8) -> Record {
        self.text.clear();
        self.ends.clear();
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let length = match rest {
                [b'"', inner @ ..] => match self.quoted_field(inner) {
                    Some(length) => length + 1,
                    None => return Record::Incomplete,
                },
                _ => self.plain_field(rest, delimiter),
            };
            self.ends.push(self.text.len());
            at += length;
            match bytes.get(at..).unwrap_or_default() {
                [] => return Record::EndsWithInput,
                [b'\n', ..] => return Record::Whole(at + 1),
                [b'\r', b'\n', ..] => return Record::Whole(at + 2),
                [b'\r'] => return Record::EndsWithInput,
                [byte, ..] if *byte == delimiter => at += 1,
                _ => return Record::Malformed,
            }
        }
    }

    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// Text of a field; empty beyond the last.
    pub(super) fn field(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(at).copied().unwrap_or(start);
        self.text.get(start..end).unwrap_or_default()
    }

    /// Takes the text up to the closing quote; returns its length with the quote, `None` when there is none.
    fn quoted_field(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..)?;
            let quote = memchr::memchr(b'"', rest)?;
            self.text.extend_from_slice(rest.get(..quote)?);
            at += quote + 1;
            if bytes.get(at) != Some(&b'"') {
                return Some(at);
            }
            self.text.push(b'"');
            at += 1;
        }
    }

    fn plain_field(&mut self, bytes: &[u8], delimiter: u8) -> usize {
        let end = memchr::memchr2(delimiter, b'\n', bytes).unwrap_or(bytes.len());
        let field = bytes.get(..end).unwrap_or(bytes);
        let field = if bytes.get(end) == Some(&delimiter) { field } else { field.strip_suffix(b"\r").unwrap_or(field) };
        self.text.extend_from_slice(field);
        field.len()
    }
}
