//! Zip files with one member. What they hold is said at their end, so that they are held as a whole.

use flate2::{Decompress, FlushDecompress, Status};

use super::{Codec, OUTPUT_BYTES};

const END_OF_DIRECTORY: &[u8] = b"PK\x05\x06";
const END_OF_DIRECTORY_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";
const DIRECTORY_ENTRY: &[u8] = b"PK\x01\x02";
const LOCAL_ENTRY: &[u8] = b"PK\x03\x04";
const END_BYTES: usize = 22;
const LOCATOR_BYTES: usize = 20;
/// Stands in a field of 4 bytes for a value that an extra field of 8 bytes holds.
const LARGE: u64 = 0xFFFF_FFFF;
/// Names of members that a reason lists.
const SHOWN_NAMES: usize = 5;

pub(super) struct Zip {
    file: Vec<u8>,
    max_bytes: usize,
    member: Option<Member>,
}

/// The member half-way read.
struct Member {
    /// `None` when it is stored as it is.
    inflater: Option<Decompress>,
    at: usize,
    end: usize,
    checksum: crc32fast::Hasher,
    length: u64,
    entry: Entry,
}

/// What the directory says of a member.
#[derive(Debug, Clone)]
struct Entry {
    name: String,
    flags: u64,
    method: u64,
    checksum: u64,
    compressed: u64,
    length: u64,
    offset: u64,
}

impl Zip {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { file: Vec::new(), max_bytes, member: None }
    }
}

impl Codec for Zip {
    fn push(&mut self, bytes: &[u8], _out: &mut Vec<u8>) -> Result<usize, String> {
        if self.file.len() + bytes.len() > self.max_bytes {
            return Err(format!("the zip file is larger than {} bytes: raise `max_object_mib`", self.max_bytes));
        }
        self.file.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<bool, String> {
        let member = match &mut self.member {
            Some(member) => member,
            None => self.member.insert(Member::open(&self.file)?),
        };
        member.read(&self.file, out)
    }
}

impl Member {
    fn open(file: &[u8]) -> Result<Self, String> {
        let entries = directory(file)?;
        // What macOS adds of a file's appearance is no member to people.
        let is_file = |entry: &&Entry| !entry.name.ends_with('/') && !entry.name.starts_with("__MACOSX/");
        let members: Vec<&Entry> = entries.iter().filter(is_file).collect();
        let entry = match members.as_slice() {
            [entry] => (*entry).clone(),
            [] => return Err("the zip file has no member".to_owned()),
            several => {
                let names = several.iter().take(SHOWN_NAMES).map(|entry| format!("`{}`", entry.name));
                let names = names.collect::<Vec<_>>().join(", ");
                let more = if several.len() > SHOWN_NAMES { ", .." } else { "" };
                return Err(format!(
                    "the zip file has {} members, and only a file with one is read: {names}{more}",
                    several.len()
                ));
            }
        };
        if entry.flags & 1 != 0 {
            return Err(format!("`{}` in the zip file is encrypted", entry.name));
        }
        let inflater = match entry.method {
            0 => None,
            8 => Some(Decompress::new(false)),
            method => {
                return Err(format!(
                    "`{}` in the zip file is compressed by the method {method}, and only 0 (stored) and 8 (deflate) are read",
                    entry.name
                ));
            }
        };
        let (at, end) = entry.place(file).ok_or("the zip file is damaged: its directory names no member's place")?;
        Ok(Self { inflater, at, end, checksum: crc32fast::Hasher::new(), length: 0, entry })
    }

    /// Appends a part of the member to `out`; true when that was the last.
    fn read(&mut self, file: &[u8], out: &mut Vec<u8>) -> Result<bool, String> {
        let rest = file.get(self.at..self.end).unwrap_or_default();
        let before = out.len();
        let is_done = match &mut self.inflater {
            None => {
                let part = rest.get(..OUTPUT_BYTES).unwrap_or(rest);
                out.extend_from_slice(part);
                self.at += part.len();
                self.at >= self.end
            }
            Some(inflater) => {
                let read = inflater.total_in();
                out.reserve(OUTPUT_BYTES);
                let status = inflater.decompress_vec(rest, out, FlushDecompress::None);
                let read = inflater.total_in() - read;
                self.at += usize::try_from(read).map_err(|error| error.to_string())?;
                match status {
                    Ok(Status::StreamEnd) => true,
                    Ok(Status::Ok | Status::BufError) if read > 0 || out.len() > before => false,
                    Ok(Status::Ok | Status::BufError) => return Err("the member of the zip file ends early".to_owned()),
                    Err(error) => return Err(format!("the member of the zip file is damaged: {error}")),
                }
            }
        };
        let part = out.get(before..).unwrap_or_default();
        self.checksum.update(part);
        self.length += part.len() as u64;
        let is_right =
            || u64::from(self.checksum.clone().finalize()) == self.entry.checksum && self.length == self.entry.length;
        if is_done && !is_right() {
            return Err("the member of the zip file is damaged: its checksum or length is wrong".to_owned());
        }
        Ok(is_done)
    }
}

impl Entry {
    /// Reads the entry at the front of `bytes`, and returns its length.
    fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        bytes.starts_with(DIRECTORY_ENTRY).then_some(())?;
        let length_of = |at| number(bytes, at, 2).and_then(|length| usize::try_from(length).ok());
        let (name, extra, comment) = (length_of(28)?, length_of(30)?, length_of(32)?);
        let mut entry = Self {
            name: String::from_utf8_lossy(bytes.get(46..46 + name)?).into_owned(),
            flags: number(bytes, 8, 2)?,
            method: number(bytes, 10, 2)?,
            checksum: number(bytes, 16, 4)?,
            compressed: number(bytes, 20, 4)?,
            length: number(bytes, 24, 4)?,
            offset: number(bytes, 42, 4)?,
        };
        entry.take_large(bytes.get(46 + name..46 + name + extra)?);
        Some((entry, 46 + name + extra + comment))
    }

    /// Takes numbers that do not fit in 4 bytes from the extra field for them.
    fn take_large(&mut self, extra: &[u8]) {
        let mut at = 0;
        while let (Some(id), Some(length)) = (number(extra, at, 2), number(extra, at + 2, 2)) {
            at += 4;
            if id == 1 {
                for value in [&mut self.length, &mut self.compressed, &mut self.offset] {
                    if let (true, Some(large)) = (*value == LARGE, number(extra, at, 8)) {
                        *value = large;
                        at += 8;
                    }
                }
                return;
            }
            at = at.saturating_add(usize::try_from(length).unwrap_or_default());
        }
    }

    /// Where the member's bytes are.
    fn place(&self, file: &[u8]) -> Option<(usize, usize)> {
        let offset = usize::try_from(self.offset).ok()?;
        let local = file.get(offset..).filter(|local| local.starts_with(LOCAL_ENTRY))?;
        let (name, extra) = (number(local, 26, 2)?, number(local, 28, 2)?);
        let start = offset.checked_add(usize::try_from(30 + name + extra).ok()?)?;
        let end = start.checked_add(usize::try_from(self.compressed).ok()?)?;
        (end <= file.len()).then_some((start, end))
    }
}

fn directory(file: &[u8]) -> Result<Vec<Entry>, String> {
    let missing = || "the zip file ends early or is damaged: it has no directory".to_owned();
    let (count, offset) = directory_place(file).ok_or_else(missing)?;
    let mut entries = Vec::new();
    let mut at = usize::try_from(offset).map_err(|_| missing())?;
    for _ in 0..count {
        let (entry, length) = file.get(at..).and_then(Entry::read).ok_or_else(missing)?;
        entries.push(entry);
        at += length;
    }
    Ok(entries)
}

/// How many entries the directory has, and where it begins.
fn directory_place(file: &[u8]) -> Option<(u64, u64)> {
    let first = file.len().saturating_sub(END_BYTES + usize::from(u16::MAX));
    let last = file.len().checked_sub(END_BYTES)?;
    let is_end = |at: &usize| {
        file.get(*at..).is_some_and(|bytes| bytes.starts_with(END_OF_DIRECTORY))
            && number(file, at + 20, 2) == u64::try_from(file.len() - at - END_BYTES).ok()
    };
    let end = (first..=last).rev().find(is_end)?;
    let (count, offset) = (number(file, end + 10, 2)?, number(file, end + 16, 4)?);
    if count != 0xFFFF && offset != LARGE {
        return Some((count, offset));
    }
    let locator = end.checked_sub(LOCATOR_BYTES)?;
    if !file.get(locator..)?.starts_with(LOCATOR_64) {
        return Some((count, offset));
    }
    let end = usize::try_from(number(file, locator + 8, 8)?).ok()?;
    file.get(end..)?.starts_with(END_OF_DIRECTORY_64).then_some(())?;
    Some((number(file, end.checked_add(32)?, 8)?, number(file, end.checked_add(48)?, 8)?))
}

/// A number of `length` bytes, the lowest first.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
}
