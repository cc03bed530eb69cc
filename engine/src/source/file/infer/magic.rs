//! Files that a proposal cannot be made for, by what they begin with.

use memchr::memmem;

use super::super::compression::Compression;

/// Where the bytes are, which bytes, what the file is, and what to do with it.
const KNOWN: [(usize, &[u8], &str, &str); 12] = [
    (0, b"ORC", "an ORC file", AS_PARQUET),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a file of an older Excel or Word", AS_CSV),
    (0, b"%PDF-", "a PDF", "get its numbers as CSV from where it comes from"),
    (0, b"SQLite format 3\0", "a database of SQLite", AS_PARQUET),
    (0, b"ARROW1", "an Arrow IPC (Feather) file", AS_PARQUET),
    (0, b"FEA1", "a Feather file", AS_PARQUET),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", AS_PARQUET),
    (0, b"PARE", "an encrypted Parquet file", "write it without encryption"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (257, b"ustar", "a tar archive", UNPACK),
    (0, b"\x80\x02}q", "a pickle of Python", AS_PARQUET),
];

const AS_PARQUET: &str = "convert it to Parquet, such as by pandas or DuckDB";
const AS_CSV: &str = "save its sheet as CSV";
const UNPACK: &str = "unpack it";

/// Compressed files, whose names must say so.
const COMPRESSED: [(&[u8], Compression, &str); 6] = [
    (b"\x1f\x8b", Compression::Gzip, ".gz"),
    (b"\x28\xb5\x2f\xfd", Compression::Zstd, ".zst"),
    (b"BZh", Compression::Bzip2, ".bz2"),
    (b"\xfd7zXZ\0", Compression::Xz, ".xz"),
    (b"\xff\x06\0\0sNaPpY", Compression::Snappy, ".snappy"),
    (ZIP, Compression::Zip, ".zip"),
];

const ZIP: &[u8] = b"PK\x03\x04";

/// Why a file of these bytes is not looked at.
pub(super) fn other_format(path: &str, bytes: &[u8]) -> Option<String> {
    if bytes.starts_with(ZIP) {
        let has = |name: &str| memmem::find(bytes, name.as_bytes()).is_some();
        if has("xl/") && has("[Content_Types].xml") {
            return Some(not_read("an Excel workbook", AS_CSV));
        }
    }
    if bytes.starts_with(b"Obj\x01") {
        return Some(
            "it is an Avro file: declare `format = { avro = {} }`, and columns by the names in its first bytes"
                .to_owned(),
        );
    }
    let compressed = COMPRESSED.iter().find(|(magic, ..)| bytes.starts_with(magic));
    if let Some((_, compression, ending)) = compressed
        && Compression::of(path) != *compression
    {
        return Some(format!("it is compressed, and its name does not say so: let the name end with `{ending}`"));
    }
    let is_there =
        |(at, magic, ..): &&(usize, &[u8], &str, &str)| bytes.get(*at..).is_some_and(|b| b.starts_with(magic));
    KNOWN.iter().find(is_there).map(|(_, _, what, remedy)| not_read(what, remedy))
}

/// As [`other_format`], of a file's text.
pub(super) fn other_text(text: &str) -> Option<String> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let begins = |start: &str| text.get(..start.len()).is_some_and(|front| front.eq_ignore_ascii_case(start));
    if begins("<!doctype html") || begins("<html") {
        return Some(not_read("a page of HTML", "a server may have sent it instead of the file"));
    }
    // Some vendors write `<TICKER>,<DATE>` as a header.
    if begins("<?xml") || (begins("<") && (text.contains("</") || text.contains("/>"))) {
        return Some(not_read("XML", "convert it to JSON lines or CSV"));
    }
    None
}

fn not_read(what: &str, remedy: &str) -> String {
    format!("it is {what}, a format that is not read: {remedy}")
}
