//! Avro's object container files, block by block.
//!
//! A row whose value is wrong costs itself. A block that is damaged costs what it holds from there on, which is one rejected row that says how many;
//! reading resumes behind the next marker of a block's end.

mod codec;
mod flat;
mod header;
mod schema;

use memchr::memmem;

use super::parquet::ParquetRows;
use super::rows::Rows;
use flat::Flat;
use header::{Front, Header, MARKER_BYTES};
use schema::Wrong;

/// Turns the bytes of one Avro file into rows.
#[derive(Debug)]
pub(super) struct AvroRows {
    rows: ParquetRows,
    flat: Flat,
    state: State,
    held: Vec<u8>,
    at: usize,
    block: Option<Block>,
    group: Group,
    broken: Option<String>,
}

#[derive(Debug)]
enum State {
    Header,
    Blocks(Header),
    /// Behind damage, before the next marker.
    Searching(Header),
    /// The rest of the file is not read.
    Done,
}

/// The content of a block, and what of it is to be read.
#[derive(Debug)]
struct Block {
    content: Vec<u8>,
    at: usize,
    rows: u64,
}

/// Rows that are known to be whole, before they are decoded together.
#[derive(Debug, Default)]
struct Group {
    bytes: Vec<u8>,
    rows: usize,
}

impl AvroRows {
    pub(super) fn new(rows: Rows) -> Self {
        Self {
            flat: Flat::new(&rows),
            rows: ParquetRows::new(rows),
            state: State::Header,
            held: Vec::new(),
            at: 0,
            block: None,
            group: Group::default(),
            broken: None,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> usize {
        self.advance();
        if self.rows.rows().is_full() {
            return 0;
        }
        self.held.drain(..self.at);
        self.at = 0;
        if !matches!(self.state, State::Done) {
            self.held.extend_from_slice(bytes);
        }
        self.advance();
        bytes.len()
    }

    pub(super) fn break_off(&mut self, reason: &str) {
        self.broken.get_or_insert_with(|| reason.to_owned());
    }

    /// Reads what is left; false when a batch is full and there is more.
    pub(super) fn finish(&mut self) -> bool {
        loop {
            self.advance();
            if self.rows.rows().is_full() {
                return false;
            }
            if !self.end() {
                return true;
            }
        }
    }

    pub(super) fn rows(&mut self) -> &mut Rows {
        self.rows.rows_mut()
    }

    /// What the file ends with, of which no more comes; true when there is more to read behind it.
    fn end(&mut self) -> bool {
        let rest = self.held.get(self.at..).unwrap_or_default();
        let reason = match &self.state {
            _ if rest.is_empty() => None,
            State::Header => Some((1, "the file ends within its header".to_owned())),
            State::Blocks(header) => Some(match header.front(rest, self.limit()) {
                Front::Incomplete(rows) if rows > 0 => (rows, format!("the file ends within a block of {rows} rows")),
                _ => (1, "the file ends within a block".to_owned()),
            }),
            State::Searching(_) | State::Done => None,
        };
        if let Some((rows, reason)) = reason {
            let reason = self.broken.take().map_or(reason.clone(), |broken| format!("{broken}: {reason}"));
            self.reject(rows, &reason, &[]);
            // A block whose length is damaged may hide others.
            self.search();
            self.at += 1;
            return !matches!(self.state, State::Done);
        }
        self.at = self.held.len();
        self.decode_group();
        if let Some(reason) = self.broken.take() {
            self.rows.skip(1, &reason, &[]);
        }
        false
    }

    fn limit(&self) -> usize {
        self.rows.rows().options().max_object_bytes
    }

    /// Reads until bytes are missing or a batch is full.
    fn advance(&mut self) {
        while !self.rows.rows().is_full() {
            if self.block.is_some() {
                self.read_block();
                continue;
            }
            let rest = self.held.get(self.at..).unwrap_or_default();
            match &self.state {
                State::Header => match self.read_header() {
                    Ok(Some((header, length))) => {
                        self.at += length;
                        self.state = State::Blocks(header);
                    }
                    Ok(None) => return,
                    Err(reason) => {
                        self.rows.skip(1, &format!("not readable as Avro: {reason}"), &[]);
                        self.state = State::Done;
                    }
                },
                State::Blocks(_) if rest.is_empty() => return,
                State::Blocks(header) => match header.front(rest, self.limit()) {
                    Front::Block(content, rows, length) => {
                        self.at += length;
                        self.block = Some(Block { content, at: 0, rows });
                    }
                    Front::Damaged(reason, rows) => {
                        self.reject(rows.max(1), &reason, &[]);
                        self.search();
                    }
                    Front::Incomplete(_) => return,
                },
                State::Searching(header) => match memmem::find(rest, &header.marker) {
                    Some(found) => {
                        self.at += found + MARKER_BYTES;
                        self.state = match std::mem::replace(&mut self.state, State::Done) {
                            State::Searching(header) => State::Blocks(header),
                            other => other,
                        };
                    }
                    None => {
                        self.at += rest.len().saturating_sub(MARKER_BYTES - 1);
                        return;
                    }
                },
                State::Done => {
                    self.at = self.held.len();
                    return;
                }
            }
        }
    }

    fn search(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Done) {
            State::Blocks(header) => State::Searching(header),
            other => other,
        };
        if matches!(self.state, State::Header) {
            self.state = State::Done;
        }
    }

    fn reject(&mut self, rows: u64, reason: &str, raw: &[u8]) {
        self.decode_group();
        self.rows.skip(rows, reason, raw);
    }

    fn read_block(&mut self) {
        let (State::Blocks(header), Some(mut block)) = (&self.state, self.block.take()) else { return };
        let wanted = self.rows.rows().options().batch_rows.max(1);
        let mut wrong = None;
        while block.rows > 0 && self.group.rows < wanted && wrong.is_none() {
            let rest = block.content.get(block.at..).unwrap_or_default();
            match header.schema.row_length(rest) {
                Ok((length, None)) => {
                    self.group.bytes.extend_from_slice(rest.get(..length).unwrap_or(rest));
                    self.group.rows += 1;
                    block.at += length;
                    block.rows -= 1;
                }
                Ok((length, Some(Wrong::Value(reason) | Wrong::Place(reason)))) => {
                    let raw = hex(rest.get(..length).unwrap_or(rest), self.rows.rows().options().max_raw_bytes);
                    wrong = Some((1, reason.to_owned(), raw));
                    block.at += length;
                    block.rows -= 1;
                }
                Err(Wrong::Value(reason) | Wrong::Place(reason)) => {
                    let rows = block.rows;
                    wrong = Some((
                        rows,
                        format!("a block is damaged, of which {rows} rows are not read: {reason}"),
                        String::new(),
                    ));
                    block.rows = 0;
                    block.at = block.content.len();
                }
            }
        }
        let left = block.content.len() - block.at;
        if block.rows == 0 && left > 0 && wrong.is_none() {
            wrong = Some((1, format!("a block is damaged: {left} bytes are left behind its last row"), String::new()));
        } else if block.rows > 0 || left > 0 {
            self.block = Some(block);
        }
        if let Some((rows, reason, raw)) = wrong {
            self.reject(rows, &reason, raw.as_bytes());
        } else if self.group.rows >= wanted {
            self.decode_group();
        }
    }

    fn decode_group(&mut self) {
        let Group { bytes, rows } = std::mem::take(&mut self.group);
        let (State::Blocks(header) | State::Searching(header)) = &self.state else { return };
        if rows == 0 {
            return;
        }
        if header.decode(&bytes, rows).and_then(|batch| self.flat.push(&mut self.rows, &batch)).is_ok() {
            return;
        }
        // One of them is wrong: each alone.
        let mut rest = bytes.as_slice();
        for _ in 0..rows {
            let Ok((length, _)) = header.schema.row_length(rest) else { return };
            let (row, after) = rest.split_at(length.min(rest.len()));
            rest = after;
            if let Err(reason) = header.decode(row, 1).and_then(|batch| self.flat.push(&mut self.rows, &batch)) {
                let raw = hex(row, self.rows.rows().options().max_raw_bytes);
                self.rows.skip(1, &format!("not readable as Avro: {reason}"), raw.as_bytes());
            }
        }
    }

    /// The header and its length, once it is there.
    fn read_header(&mut self) -> Result<Option<(Header, usize)>, String> {
        let bytes = self.held.get(self.at..).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(None);
        }
        // What lies beyond is there or not, as the bytes arrive.
        let limit = self.rows.rows().options().max_line_bytes;
        let Some((header, length)) = Header::parse(bytes.get(..limit).unwrap_or(bytes))? else {
            return if bytes.len() > limit {
                Err(format!("its header is longer than {limit} bytes"))
            } else {
                Ok(None)
            };
        };
        self.rows.set_legacy(header.legacy.clone());
        let empty = header.decode(&[], 0)?;
        self.rows.meet(self.flat.of(&empty)?.schema_ref(), &self.flat.entered())?;
        Ok(Some((header, length)))
    }
}

/// At most `limit` characters.
fn hex(bytes: &[u8], limit: usize) -> String {
    bytes
        .iter()
        .take(limit / 2)
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}
