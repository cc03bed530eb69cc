//! One JSON document, whose records are the items of an array or the values of an object.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::super::rows::Rows;
use super::record::read_record;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Turns the bytes of one document into rows: gathers it, then reads it record by record.
#[derive(Debug)]
pub(in super::super) struct Document {
    rows: Rows,
    records: String,
    key: Option<String>,
    text: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    Gathering,
    TooLarge,
    BrokenOff(String),
    /// Where the next record or the collection's end is.
    Reading {
        at: usize,
        record: i64,
    },
    Done,
}

impl Document {
    /// `records` is the JSON pointer of the records; with `key`, that field of each is its key in their object.
    pub(in super::super) fn new(rows: Rows, records: &str, key: Option<&str>) -> Self {
        Self {
            rows,
            records: records.to_owned(),
            key: key.map(str::to_owned),
            text: Vec::new(),
            state: State::Gathering,
        }
    }

    pub(in super::super) fn feed(&mut self, bytes: &[u8]) -> usize {
        match self.state {
            State::Gathering if self.text.len() + bytes.len() <= self.rows.options().max_object_bytes => {
                self.text.extend_from_slice(bytes);
            }
            State::Gathering => {
                self.text.truncate(self.rows.options().max_raw_bytes);
                self.text.shrink_to_fit();
                self.state = State::TooLarge;
            }
            State::TooLarge | State::BrokenOff(_) | State::Reading { .. } | State::Done => {}
        }
        bytes.len()
    }

    pub(in super::super) fn break_off(&mut self, reason: &str) {
        self.state = State::BrokenOff(reason.to_owned());
    }

    /// Reads records until a batch is full; false when there are more.
    pub(in super::super) fn finish(&mut self) -> bool {
        loop {
            match &self.state {
                State::Gathering => self.state = self.open(),
                State::TooLarge => {
                    let limit = self.rows.options().max_object_bytes;
                    let reason = format!("the document is larger than {limit} bytes: raise `max_object_mib`");
                    self.state = self.reject(1, &reason);
                }
                State::BrokenOff(reason) => {
                    let reason = reason.clone();
                    self.state = self.reject(1, &reason);
                }
                State::Reading { .. } if self.rows.is_full() => return false,
                State::Reading { at, record } => self.state = self.read(*at, *record),
                State::Done => return true,
            }
        }
    }

    pub(in super::super) fn rows(&mut self) -> &mut Rows {
        &mut self.rows
    }

    fn open(&mut self) -> State {
        if self.text.starts_with(BOM) {
            self.text.drain(..BOM.len());
        }
        if self.text.iter().all(u8::is_ascii_whitespace) {
            return State::Done;
        }
        let checked = match std::str::from_utf8(&self.text) {
            Ok(text) => serde_json::from_str::<IgnoredAny>(text),
            Err(error) => {
                return self.reject(1, &format!("the document is not UTF-8 from byte {}", error.valid_up_to()));
            }
        };
        if let Err(error) = checked {
            return self.reject(error.line() as i64, &format!("not JSON: {error}"));
        }
        let json = Json(&self.text);
        match find(json, &self.records) {
            Some(at) if matches!(json.byte(at), Some(b'[' | b'{')) => State::Reading { at: at + 1, record: 1 },
            Some(_) => {
                self.reject(1, &format!("what stands at `{}` is neither an array nor an object", self.records.clone()))
            }
            None => self.reject(1, &format!("the document has nothing at `{}`", self.records.clone())),
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
        let key = self.key.as_deref().and_then(|field| name.map(|name| (field, name)));
        let text = self.text.get(start..end).unwrap_or_default();
        read_record(&mut self.rows, record, text, key);
        State::Reading { at: end.max(at + 1), record: record + 1 }
    }
}

/// Where the value at a JSON pointer starts.
fn find(json: Json<'_>, pointer: &str) -> Option<usize> {
    let mut at = json.skip_blank(0, b"");
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        at = match json.byte(at)? {
            b'{' => find_item(json, at + 1, |_, name| name == Some(token.as_str()))?,
            b'[' => find_item(json, at + 1, |place, _| token.parse() == Ok(place))?,
            _ => return None,
        };
    }
    Some(at)
}

fn find_item(json: Json<'_>, mut at: usize, is_wanted: impl Fn(usize, Option<&str>) -> bool) -> Option<usize> {
    for place in 0.. {
        at = json.skip_blank(at, b",");
        if matches!(json.byte(at)?, b']' | b'}') {
            return None;
        }
        let (name, start) = match json.member(at) {
            Some((name, start)) => (Some(name), start),
            None => (None, at),
        };
        if is_wanted(place, name.as_deref()) {
            return Some(start);
        }
        at = json.skip_value(start);
    }
    None
}

/// A text that is known to be JSON.
#[derive(Clone, Copy)]
struct Json<'a>(&'a [u8]);

impl<'a> Json<'a> {
    fn byte(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn skip_blank(self, mut at: usize, also: &[u8]) -> usize {
        while self.byte(at).is_some_and(|byte| byte.is_ascii_whitespace() || also.contains(&byte)) {
            at += 1;
        }
        at
    }

    /// The name of the member that starts here, and where its value does; `None` for an item of an array.
    fn member(self, at: usize) -> Option<(Cow<'a, str>, usize)> {
        if self.byte(at)? != b'"' {
            return None;
        }
        let end = self.skip_value(at);
        let colon = self.skip_blank(end, b"");
        if self.byte(colon)? != b':' {
            return None;
        }
        let name = self.0.get(at..end)?;
        let name = serde_json::from_slice::<String>(name).map(Cow::Owned).ok()?;
        Some((name, self.skip_blank(colon + 1, b"")))
    }

    /// The end of the value that starts here.
    fn skip_value(self, start: usize) -> usize {
        let mut depth = 0_usize;
        let mut at = start;
        while let Some(byte) = self.byte(at) {
            match byte {
                b'"' => at = self.skip_string(at + 1),
                b'{' | b'[' => {
                    depth += 1;
                    at += 1;
                }
                b'}' | b']' if depth == 0 => return at,
                b'}' | b']' => {
                    depth -= 1;
                    at += 1;
                }
                b',' | b':' if depth == 0 => return at,
                byte if depth == 0 && byte.is_ascii_whitespace() => return at,
                _ => {
                    at += 1;
                    continue;
                }
            }
            if depth == 0 {
                return at;
            }
        }
        at
    }

    fn skip_string(self, mut at: usize) -> usize {
        while let Some(byte) = self.byte(at) {
            at += match byte {
                b'"' => return at + 1,
                b'\\' => 2,
                _ => 1,
            };
        }
        at
    }
}
