//! Bytes of a text file to UTF-8, as they arrive.

use pulse_core::sources::Encoding;

/// Stands for bytes that are no character: no UTF-8 holds it, so that the line is rejected.
const NO_CHARACTER: u8 = 0xFF;
const UTF8_MARK: &[u8] = b"\xEF\xBB\xBF";
/// Characters of the bytes 0x80 to 0x9F; the others are those of Latin-1.
const WINDOWS_1252: [Option<char>; 32] = {
    let mut table = [None; 32];
    let known = [
        (0x80, '\u{20AC}'),
        (0x82, '\u{201A}'),
        (0x83, '\u{0192}'),
        (0x84, '\u{201E}'),
        (0x85, '\u{2026}'),
        (0x86, '\u{2020}'),
        (0x87, '\u{2021}'),
        (0x88, '\u{02C6}'),
        (0x89, '\u{2030}'),
        (0x8A, '\u{0160}'),
        (0x8B, '\u{2039}'),
        (0x8C, '\u{0152}'),
        (0x8E, '\u{017D}'),
        (0x91, '\u{2018}'),
        (0x92, '\u{2019}'),
        (0x93, '\u{201C}'),
        (0x94, '\u{201D}'),
        (0x95, '\u{2022}'),
        (0x96, '\u{2013}'),
        (0x97, '\u{2014}'),
        (0x98, '\u{02DC}'),
        (0x99, '\u{2122}'),
        (0x9A, '\u{0161}'),
        (0x9B, '\u{203A}'),
        (0x9C, '\u{0153}'),
        (0x9E, '\u{017E}'),
        (0x9F, '\u{0178}'),
    ];
    let mut at = 0;
    while at < known.len() {
        table[known[at].0 - 0x80] = Some(known[at].1);
        at += 1;
    }
    table
};

/// Turns the bytes of one file into UTF-8, without its byte order mark. A byte that is no character becomes one that is no UTF-8.
#[derive(Debug)]
pub(super) struct Transcoder {
    declared: Encoding,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The first bytes, until they show whether there is a mark.
    Start(Vec<u8>),
    Utf8,
    Utf16(Utf16),
    Windows1252,
    Latin1,
    /// What the bytes are is not known.
    Unknown,
}

/// UTF-16 half-way read.
#[derive(Debug)]
struct Utf16 {
    is_big_endian: bool,
    /// First byte of a unit.
    half: Option<u8>,
    /// First unit of a pair.
    high: Option<u16>,
}

/// Why a file cannot be read, and its first bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    pub(super) reason: String,
    pub(super) start: Vec<u8>,
}

impl Transcoder {
    pub(super) fn new(declared: Encoding) -> Self {
        Self { declared, stage: Stage::Start(Vec::new()) }
    }

    /// Whether all that follows is UTF-8 as it is.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Utf8)
    }

    /// What the bytes are, in a reason.
    pub(super) fn name(&self) -> &'static str {
        match &self.stage {
            Stage::Start(_) | Stage::Unknown | Stage::Utf8 => "UTF-8",
            Stage::Utf16(_) => "UTF-16",
            Stage::Windows1252 => "Windows-1252",
            Stage::Latin1 => "Latin-1",
        }
    }

    /// Appends the text of `bytes`, as far as it is there, to `text`.
    ///
    /// # Errors
    /// When the file does not say what its bytes are.
    pub(super) fn push(&mut self, bytes: &[u8], text: &mut Vec<u8>) -> Result<(), Unknown> {
        let Stage::Start(start) = &mut self.stage else {
            self.decode(bytes, text);
            return Ok(());
        };
        let missing = UTF8_MARK.len() - start.len();
        let (first, rest) = bytes.split_at(missing.min(bytes.len()));
        start.extend_from_slice(first);
        if start.len() == UTF8_MARK.len() {
            self.begin(text)?;
            self.decode(rest, text);
        }
        Ok(())
    }

    /// Appends the text of the last bytes.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub(super) fn finish(&mut self, text: &mut Vec<u8>) -> Result<(), Unknown> {
        if matches!(&self.stage, Stage::Start(start) if !start.is_empty()) {
            self.begin(text)?;
        }
        if let Stage::Utf16(decoder) = &mut self.stage {
            decoder.finish(text);
        }
        Ok(())
    }

    fn begin(&mut self, text: &mut Vec<u8>) -> Result<(), Unknown> {
        let Stage::Start(start) = std::mem::replace(&mut self.stage, Stage::Unknown) else { return Ok(()) };
        let (stage, mark) = match (start.as_slice(), self.declared) {
            ([0xEF, 0xBB, 0xBF], _) => (Stage::Utf8, 3),
            ([0xFF, 0xFE, ..], _) => (Utf16::stage(false), 2),
            ([0xFE, 0xFF, ..], _) => (Utf16::stage(true), 2),
            (_, Encoding::Utf8) => (Stage::Utf8, 0),
            (_, Encoding::Utf16Le) => (Utf16::stage(false), 0),
            (_, Encoding::Utf16Be) => (Utf16::stage(true), 0),
            (_, Encoding::Windows1252) => (Stage::Windows1252, 0),
            (_, Encoding::Latin1) => (Stage::Latin1, 0),
            (_, Encoding::Utf16) => {
                let reason = "the file does not begin with a byte order mark of UTF-16: say `utf-16le` or `utf-16be`";
                return Err(Unknown { reason: reason.to_owned(), start });
            }
        };
        self.stage = stage;
        self.decode(start.get(mark..).unwrap_or_default(), text);
        Ok(())
    }

    fn decode(&mut self, bytes: &[u8], text: &mut Vec<u8>) {
        match &mut self.stage {
            Stage::Utf8 => text.extend_from_slice(bytes),
            Stage::Utf16(decoder) => decoder.push(bytes, text),
            Stage::Windows1252 => by_byte(bytes, text, |byte| match byte.checked_sub(0x80) {
                Some(place) => WINDOWS_1252.get(usize::from(place)).copied().unwrap_or(Some(char::from(byte))),
                None => Some(char::from(byte)),
            }),
            Stage::Latin1 => by_byte(bytes, text, |byte| Some(char::from(byte))),
            Stage::Start(_) | Stage::Unknown => {}
        }
    }
}

impl Utf16 {
    fn stage(is_big_endian: bool) -> Stage {
        Stage::Utf16(Self { is_big_endian, half: None, high: None })
    }

    fn push(&mut self, bytes: &[u8], text: &mut Vec<u8>) {
        text.reserve(bytes.len());
        let mut bytes = bytes;
        if let (Some(half), [first, rest @ ..]) = (self.half, bytes) {
            self.half = None;
            self.unit([half, *first], text);
            bytes = rest;
        }
        let (units, half) = bytes.as_chunks::<2>();
        units.iter().for_each(|unit| self.unit(*unit, text));
        if let [half] = half {
            self.half = Some(*half);
        }
    }

    #[inline]
    fn unit(&mut self, bytes: [u8; 2], text: &mut Vec<u8>) {
        let unit = if self.is_big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
        if let Some(high) = self.high.take() {
            if let Some(Ok(character)) = char::decode_utf16([high, unit]).next() {
                push(Some(character), text);
                return;
            }
            push(None, text);
        }
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => text.push(byte),
            _ if (0xD800..0xDC00).contains(&unit) => self.high = Some(unit),
            _ => push(char::from_u32(u32::from(unit)), text),
        }
    }

    fn finish(&mut self, text: &mut Vec<u8>) {
        if self.high.take().is_some() {
            push(None, text);
        }
        if self.half.take().is_some() {
            push(None, text);
        }
    }
}

/// Encodings in which each byte is a character, and the first half ASCII.
fn by_byte(bytes: &[u8], text: &mut Vec<u8>, character: impl Fn(u8) -> Option<char>) {
    text.reserve(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let ascii = rest.iter().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
        let (plain, other) = rest.split_at(ascii);
        text.extend_from_slice(plain);
        let other_length = other.iter().position(u8::is_ascii).unwrap_or(other.len());
        let (other, behind) = other.split_at(other_length);
        other.iter().for_each(|byte| push(character(*byte), text));
        rest = behind;
    }
}

fn push(character: Option<char>, text: &mut Vec<u8>) {
    match character {
        Some(character) => text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        None => text.push(NO_CHARACTER),
    }
}

#[cfg(test)]
mod tests;
