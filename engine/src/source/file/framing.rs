//! Bytes as they arrive to whole lines and records, holding no more than one of them.

use memchr::{memchr, memrchr};

use super::rows::Rows;

/// Whether more bytes may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    MayGoOn,
    Ends,
}

/// A reader of records that lie one behind the other.
pub(super) trait Records {
    /// Reads whole records off the front of `bytes` until one is incomplete or a batch is full; returns the bytes used. With
    /// `Input::Ends` nothing is incomplete. Never leaves more than `limit` bytes unread, unless the batch is full.
    fn read(&mut self, bytes: &[u8], input: Input) -> usize;

    fn rows(&self) -> &Rows;

    fn rows_mut(&mut self) -> &mut Rows;

    /// Line at which the next record starts.
    fn line(&self) -> i64;

    fn is_full(&self) -> bool {
        self.rows().is_full()
    }

    /// Bytes of the longest record.
    fn limit(&self) -> usize {
        self.rows().options().max_line_bytes
    }
}

/// A reader of records and the record that the last bytes began.
#[derive(Debug)]
pub(super) struct Framed<R> {
    records: R,
    framer: Framer,
    broken_off: Option<(String, Vec<u8>)>,
}

impl<R: Records> Framed<R> {
    pub(super) fn new(records: R) -> Self {
        Self { records, framer: Framer::default(), broken_off: None }
    }

    /// Reads until all bytes are used or a batch is full; returns how many were used.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> usize {
        self.framer.feed(&mut self.records, bytes)
    }

    /// Says that the bytes end where they should not: the line that they end in is rejected.
    pub(super) fn break_off(&mut self, reason: &str) {
        self.broken_off = Some((reason.to_owned(), self.framer.take_last_line()));
    }

    /// Reads what is left after the last byte; false when a batch is full and there is more.
    pub(super) fn finish(&mut self) -> bool {
        if !self.framer.finish(&mut self.records) {
            return false;
        }
        if let Some((reason, line)) = self.broken_off.take() {
            let at = self.records.line();
            self.records.rows_mut().reject(at, reason, &line);
        }
        true
    }

    pub(super) fn rows(&mut self) -> &mut Rows {
        self.records.rows_mut()
    }

    pub(super) fn records(&mut self) -> &mut R {
        &mut self.records
    }
}

/// Holds the record that the last bytes began, until the rest of it arrives.
#[derive(Debug, Default)]
struct Framer {
    held: Vec<u8>,
    at: usize,
    /// Whether the held bytes may contain a whole record.
    ready: bool,
    seen_newline: bool,
    /// Length below which reading the held bytes again does not pay: a record over many lines is looked at each time it
    /// has doubled, not at each line.
    retry_length: usize,
}

impl Framer {
    /// Passes bytes on until all are used or a batch is full; returns how many were used.
    fn feed(&mut self, records: &mut impl Records, bytes: &[u8]) -> usize {
        let mut used = 0;
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            if self.held.is_empty() {
                used += records.read(rest, Input::MayGoOn);
                if !records.is_full() {
                    self.hold(bytes.get(used..).unwrap_or_default());
                    used = bytes.len();
                }
                return used;
            }
            if self.ready {
                self.at += records.read(self.held.get(self.at..).unwrap_or_default(), Input::MayGoOn);
                if records.is_full() {
                    return used;
                }
                self.settle();
            } else if rest.is_empty() {
                return used;
            } else {
                used += self.grow(rest, records.limit());
            }
        }
    }

    /// Passes on what is held as the last bytes; false when a batch is full and there is more.
    fn finish(&mut self, records: &mut impl Records) -> bool {
        self.at += records.read(self.held.get(self.at..).unwrap_or_default(), Input::Ends);
        self.at >= self.held.len()
    }

    /// Takes what stands behind the last newline.
    fn take_last_line(&mut self) -> Vec<u8> {
        let start = memrchr(b'\n', &self.held).map_or(0, |at| at + 1);
        self.held.split_off(start.max(self.at))
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        self.settle();
    }

    /// The held bytes from here on are one incomplete record.
    fn settle(&mut self) {
        self.held.drain(..self.at);
        self.at = 0;
        self.ready = false;
        self.seen_newline = false;
        self.retry_length = if memchr(b'\n', &self.held).is_some() { 2 * self.held.len() } else { 0 };
    }

    fn grow(&mut self, bytes: &[u8], limit: usize) -> usize {
        let newline = memchr(b'\n', bytes);
        let line = newline.map_or(bytes.len(), |at| at + 1);
        let wanted = line.max(self.retry_length.saturating_sub(self.held.len()));
        let room = (limit + 1).saturating_sub(self.held.len()).max(1);
        let length = wanted.min(room).min(bytes.len());
        self.held.extend_from_slice(bytes.get(..length).unwrap_or_default());
        self.seen_newline |= newline.is_some_and(|at| at < length);
        self.ready = self.held.len() > limit || (self.seen_newline && self.held.len() >= self.retry_length);
        length
    }
}

/// The front of some bytes, as lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Front<'a> {
    /// A line without its end, and its length with it.
    Line(&'a [u8], usize),
    /// A line beyond the limit, and its length with its end.
    LongLine(usize),
    /// The bytes are all of one line beyond the limit, which goes on.
    LongLineGoesOn,
    /// The line goes on.
    Incomplete,
}

impl<'a> Front<'a> {
    #[inline]
    pub(super) fn of(bytes: &'a [u8], input: Input, limit: usize) -> Self {
        let (length, taken) = match memchr(b'\n', bytes) {
            Some(at) => (at, at + 1),
            None if input == Input::Ends => (bytes.len(), bytes.len()),
            None if bytes.len() > limit => return Self::LongLineGoesOn,
            None => return Self::Incomplete,
        };
        if length > limit {
            return Self::LongLine(taken);
        }
        let line = bytes.get(..length).unwrap_or(bytes);
        Self::Line(line.strip_suffix(b"\r").unwrap_or(line), taken)
    }
}

/// A reader whose records are lines.
pub(super) trait Lines: Records {
    fn take_line(&mut self, line: &[u8]);

    /// Takes what is surely there of a line beyond the limit: the rest depends on how its bytes arrive.
    fn take_long_line(&mut self, reason: String, line: &[u8]);

    /// Whether the bytes to come begin within a line that was taken as too long.
    fn in_long_line(&mut self) -> &mut bool;
}

/// As [`Records::read`], line by line.
pub(super) fn read_lines(lines: &mut impl Lines, bytes: &[u8], input: Input) -> usize {
    let mut at = 0;
    if *lines.in_long_line() {
        match memchr(b'\n', bytes) {
            Some(end) => at = end + 1,
            None => return bytes.len(),
        }
        *lines.in_long_line() = false;
    }
    let limit = lines.limit();
    while !lines.is_full() && at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        let front = Front::of(rest, input, limit);
        at += match front {
            Front::Line(line, taken) => {
                lines.take_line(line);
                taken
            }
            Front::LongLine(_) | Front::LongLineGoesOn => {
                let reason = format!("the line is longer than {limit} bytes");
                lines.take_long_line(reason, rest.get(..limit).unwrap_or(rest));
                *lines.in_long_line() = front == Front::LongLineGoesOn;
                if let Front::LongLine(taken) = front { taken } else { rest.len() }
            }
            Front::Incomplete => break,
        };
    }
    at
}

/// Whether a line holds nothing.
#[inline]
pub(super) fn is_blank(line: &[u8]) -> bool {
    match line {
        [] => true,
        [b' ', ..] => line.iter().all(|byte| *byte == b' '),
        _ => false,
    }
}

/// Why a line is no text.
pub(super) fn text_fault(text: &[u8], rows: &Rows) -> Option<String> {
    if memchr(0, text).is_some() {
        Some("the line holds a NUL byte".to_owned())
    } else if std::str::from_utf8(text).is_err() {
        Some(format!("the line is not {}", rows.encoding()))
    } else {
        None
    }
}
