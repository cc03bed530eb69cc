//! Identifies the build of this process. Only the same build is guaranteed to understand a serialized plan and to hash
//! rows identically.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

/// Size of a 64-bit ELF header, and of an entry of its program headers.
const HEADER: usize = 64;
const ENTRY: usize = 56;
/// Type of a program header with notes, and type of the linker's build-id note.
const NOTES: u32 = 4;
const BUILD_ID: u32 = 3;
/// Notes have some hundred bytes; larger segments are ignored.
const MOST_NOTES: usize = 1 << 16;

/// The build id of the running binary in hex; the crate's version if it has none.
#[must_use]
pub fn build() -> String {
    let id = File::open("/proc/self/exe").ok().and_then(|mut file| build_id(&mut file));
    id.unwrap_or_else(|| concat!("v", env!("CARGO_PKG_VERSION")).replace('.', "_"))
}

fn build_id(file: &mut File) -> Option<String> {
    let header = read(file, 0, HEADER)?;
    if header.get(..5)? != [0x7f, b'E', b'L', b'F', 2] {
        return None;
    }
    let table = u64_at(&header, 32)?;
    let entries = u64::from(u16::from_le_bytes(header.get(56..58)?.try_into().ok()?));
    (0..entries).find_map(|index| {
        let entry = read(file, table + index * ENTRY as u64, ENTRY)?;
        if u32_at(&entry, 0)? != NOTES {
            return None;
        }
        let size = usize::try_from(u64_at(&entry, 32)?).ok()?.min(MOST_NOTES);
        in_notes(&read(file, u64_at(&entry, 8)?, size)?)
    })
}

/// Parses consecutive notes: sizes of name and content, type, name, content, each padded to four bytes.
fn in_notes(mut notes: &[u8]) -> Option<String> {
    loop {
        let (name, content, kind) = (u32_at(notes, 0)? as usize, u32_at(notes, 4)? as usize, u32_at(notes, 8)?);
        let begin = 12 + name.next_multiple_of(4);
        if kind == BUILD_ID && notes.get(12..15)? == b"GNU" {
            return Some(notes.get(begin..begin + content)?.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        notes = notes.get(begin + content.next_multiple_of(4)..)?;
    }
}

fn read(file: &mut File, at: u64, bytes: usize) -> Option<Vec<u8>> {
    let mut buffer = vec![0; bytes];
    file.seek(SeekFrom::Start(at)).ok()?;
    file.read_exact(&mut buffer).ok()?;
    Some(buffer)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_is_found_behind_others() {
        let other = [4_u32.to_le_bytes(), 5_u32.to_le_bytes(), 1_u32.to_le_bytes()].concat();
        let ours = [4_u32.to_le_bytes(), 2_u32.to_le_bytes(), 3_u32.to_le_bytes()].concat();
        let notes = [other, b"GNU\0".to_vec(), vec![9; 8], ours, b"GNU\0".to_vec(), vec![0xab, 0x01, 0, 0]].concat();
        assert_eq!(in_notes(&notes).as_deref(), Some("ab01"));
        assert_eq!(in_notes(&notes[..40]), None);
    }

    #[test]
    fn a_build_is_one_word_and_stays() {
        assert_eq!(build(), build());
        assert!(!build().is_empty() && build().chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{}", build());
    }
}
