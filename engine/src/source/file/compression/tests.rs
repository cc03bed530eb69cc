use std::io::Write;

use proptest::prelude::*;

use super::*;

/// What a file yields before it ends or breaks off, and why it breaks off.
fn read(compression: Compression, bytes: &[u8], piece: usize, max_bytes: usize) -> (Vec<u8>, Option<String>) {
    let mut decompressor = compression.decompressor(max_bytes).unwrap().unwrap();
    let mut all = Vec::new();
    let mut out = Vec::new();
    for mut piece in bytes.chunks(piece.max(1)) {
        while !piece.is_empty() {
            let pushed = decompressor.push(piece, &mut out);
            assert!(out.len() <= 9 << 20, "a step yields {} bytes", out.len());
            all.append(&mut out);
            match pushed {
                Ok(used) => piece = &piece[used..],
                Err(reason) => return (all, Some(reason)),
            }
        }
    }
    loop {
        let finished = decompressor.finish(&mut out);
        all.append(&mut out);
        match finished {
            Ok(true) => return (all, None),
            Ok(false) => {}
            Err(reason) => return (all, Some(reason)),
        }
    }
}

fn whole(compression: Compression, bytes: &[u8]) -> (Vec<u8>, Option<String>) {
    read(compression, bytes, usize::MAX, 1 << 30)
}

pub(in super::super) const ALL: [Compression; 6] =
    [Compression::Gzip, Compression::Zstd, Compression::Bzip2, Compression::Xz, Compression::Snappy, Compression::Zip];

pub(in super::super) fn compressed(compression: Compression, text: &[u8]) -> Vec<u8> {
    match compression {
        Compression::None => text.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Snappy => {
            let mut encoder = snap::write::FrameEncoder::new(Vec::new());
            encoder.write_all(text).unwrap();
            encoder.into_inner().unwrap()
        }
        Compression::Zip => zipped(&[("bars.csv", text)]),
    }
}

/// A zip file with members as they are.
fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for (name, text) in members {
        let offset = file.len() as u32;
        let checksum = crc32fast::hash(text);
        let sizes = [checksum, text.len() as u32, text.len() as u32].map(u32::to_le_bytes).concat();
        let name_length = (name.len() as u16).to_le_bytes();
        file.extend(
            [b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0", &sizes[..], &name_length, b"\0\0", name.as_bytes(), text].concat(),
        );
        directory.extend(
            [
                b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0",
                &sizes[..],
                &name_length,
                &[0; 12],
                &offset.to_le_bytes(),
                name.as_bytes(),
            ]
            .concat(),
        );
    }
    let count = (members.len() as u16).to_le_bytes();
    let place = [(directory.len() as u32).to_le_bytes(), (file.len() as u32).to_le_bytes()].concat();
    file.extend(&directory);
    file.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &place, b"\0\0"].concat());
    file
}

fn table(rows: usize) -> String {
    std::iter::once("x,y\n".to_owned()).chain((0..rows).map(|at| format!("{at},n{at}\n"))).collect()
}

#[test]
fn a_name_says_how_a_file_is_compressed() {
    for (path, compression, inner) in [
        ("a/b.csv", Compression::None, None),
        ("a/b.csv.gz", Compression::Gzip, Some("a/b.csv")),
        ("a/b.csv.zst", Compression::Zstd, Some("a/b.csv")),
        ("a/b.csv.bz2", Compression::Bzip2, Some("a/b.csv")),
        ("a/b.xz", Compression::Xz, Some("a/b")),
        ("a/b.csv.snappy", Compression::Snappy, Some("a/b.csv")),
        ("a/b.csv.zip", Compression::Zip, Some("a/b.csv")),
        ("a/b.snappy.parquet", Compression::None, None),
    ] {
        assert_eq!((Compression::of(path), Compression::inner_name(path)), (compression, inner), "{path}");
    }
}

/// Files by Python's bz2, lzma and zipfile, by DuckDB and by Spark 4.
#[test]
fn files_of_other_programs() {
    for (compression, bytes) in [
        (Compression::Bzip2, &include_bytes!("tests/python.bz2")[..]),
        (Compression::Bzip2, include_bytes!("tests/spark.bz2")),
        (Compression::Xz, include_bytes!("tests/python.xz")),
        (Compression::Zstd, include_bytes!("tests/duckdb.zst")),
        (Compression::Snappy, include_bytes!("tests/spark.snappy")),
        (Compression::Zip, include_bytes!("tests/python.zip")),
        (Compression::Zip, include_bytes!("tests/python_64.zip")),
        (Compression::Zip, include_bytes!("tests/python_stream.zip")),
    ] {
        for piece in [1, 100, usize::MAX] {
            let (text, broken) = read(compression, bytes, piece, 1 << 20);
            assert_eq!((String::from_utf8(text).unwrap(), broken), (table(200), None), "{compression:?}");
        }
    }
}

#[test]
fn streams_one_behind_the_other_are_one_file() {
    let (first, second) = (table(3000), table(5));
    for compression in ALL {
        let both = [compressed(compression, first.as_bytes()), compressed(compression, second.as_bytes())].concat();
        let (text, broken) = whole(compression, &both);
        if compression == Compression::Zip {
            assert!(broken.unwrap().starts_with("the zip file"));
        } else {
            assert_eq!(
                (String::from_utf8(text).unwrap(), broken),
                (format!("{first}{second}"), None),
                "{compression:?}"
            );
        }
        let (text, reason) = whole(compression, b"");
        assert!(text.is_empty() && reason.is_some() == (compression != Compression::Snappy), "{compression:?}");
    }
}

#[test]
fn a_zip_file_has_one_member() {
    for (members, reason) in [
        (vec![], "the zip file has no member"),
        (vec!["folder/"], "the zip file has no member"),
        (vec!["a.csv", "b.csv"], "the zip file has 2 members, and only a file with one is read: `a.csv`, `b.csv`"),
        (
            vec!["a", "b", "c", "d", "e", "f"],
            "the zip file has 6 members, and only a file with one is read: `a`, `b`, `c`, `d`, `e`, ..",
        ),
    ] {
        let members: Vec<(&str, &[u8])> = members.into_iter().map(|name| (name, &b"x"[..])).collect();
        assert_eq!(whole(Compression::Zip, &zipped(&members)), (Vec::new(), Some(reason.to_owned())));
    }
    let with_folders = zipped(&[("a/", b""), ("a/x.csv", b"text"), ("__MACOSX/a/._x.csv", b"icon")]);
    assert_eq!(whole(Compression::Zip, &with_folders), (b"text".to_vec(), None));
    let two = include_bytes!("tests/python_two.zip");
    let (text, reason) = whole(Compression::Zip, two);
    assert!(text.is_empty() && reason.unwrap().ends_with("`a.csv`, `b.csv`"));
}

#[test]
fn a_zip_file_says_what_is_wrong_with_its_member() {
    let right = zipped(&[("x.csv", b"text")]);
    let entry = right.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    for (at, value, reason) in [
        (entry + 8, 1, "`x.csv` in the zip file is encrypted"),
        (
            entry + 10,
            14,
            "`x.csv` in the zip file is compressed by the method 14, and only 0 (stored) and 8 (deflate) are read",
        ),
        (entry + 16, right[entry + 16] ^ 1, "the member of the zip file is damaged: its checksum or length is wrong"),
        (entry + 42, 1, "the zip file is damaged: its directory names no member's place"),
        (entry, b'X', "the zip file ends early or is damaged: it has no directory"),
    ] {
        let mut wrong = right.clone();
        wrong[at] = value;
        assert_eq!(whole(Compression::Zip, &wrong).1.as_deref(), Some(reason));
    }
    let (text, reason) = read(Compression::Zip, &right, 3, right.len() - 1);
    assert!(text.is_empty());
    assert_eq!(
        reason.unwrap(),
        format!("the zip file is larger than {} bytes: raise `max_object_mib`", right.len() - 1)
    );
}

/// A few kilobytes that stand for 24 MB are never held: see the limit in `read`.
#[test]
fn a_small_file_that_stands_for_a_large_one_comes_in_parts() {
    let large = vec![b'a'; 24 << 20];
    for compression in [Compression::Zstd, Compression::Bzip2, Compression::Xz] {
        let bytes = compressed(compression, &large);
        assert!(bytes.len() < 10_000, "{compression:?}: {} bytes", bytes.len());
        let (text, broken) = whole(compression, &bytes);
        assert!(text == large && broken.is_none(), "{compression:?}");
    }
}

#[test]
fn snappy_blocks_say_how_long_they_are() {
    let block = |length: u32, parts: &[&[u8]]| {
        let mut bytes = length.to_be_bytes().to_vec();
        for part in parts {
            let part = snap::raw::Encoder::new().compress_vec(part).unwrap();
            bytes.extend((part.len() as u32).to_be_bytes());
            bytes.extend(part);
        }
        bytes
    };
    let two = [block(4, &[b"ab", b"cd"]), block(0, &[]), block(1, &[b"e"])].concat();
    assert_eq!(whole(Compression::Snappy, &two), (b"abcde".to_vec(), None));
    for (bytes, text) in [
        (block(3, &[b"ab", b"cd"]), &b"ab"[..]),
        (block(5, &[b"ab", b"cd"]), b"abcd"),
        (block(u32::MAX - 1, &[b"ab"]), b""),
        (b"plain text that is not compressed".to_vec(), b""),
        ([STREAM, b"\x02\x01\x00\x00x"].concat(), b""),
        ([STREAM, b"\x80\x01\x00\x00y"].concat(), b""),
        ([STREAM, b"\xfe\x01\x00\x00y"].concat(), b""),
        ([STREAM, b"\x01\x06\x00\x00abcdxy"].concat(), b""),
    ] {
        let (found, broken) = read(Compression::Snappy, &bytes, 1, 1 << 20);
        assert_eq!((&found[..], broken.is_some()), (text, true), "{bytes:?}");
    }
    let padded = [STREAM, b"\xfe\x02\x00\x00\x00\x00"].concat();
    assert_eq!(whole(Compression::Snappy, &padded), (Vec::new(), None));
}

const STREAM: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// A changed byte is found, or changes nothing of the text: a stamp, a name or a hint of the container.
#[test]
fn no_changed_byte_changes_the_text() {
    let text = table(12);
    for compression in ALL {
        let right = compressed(compression, text.as_bytes());
        // Two of them take long to begin.
        let all: Vec<u8> = match compression {
            Compression::Bzip2 | Compression::Xz => (0..8).map(|bit| 1 << bit).collect(),
            _ => (1..=255).collect(),
        };
        for place in 0..right.len() {
            for bits in &all {
                let mut bytes = right.clone();
                bytes[place] ^= bits;
                let (found, broken) = whole(compression, &bytes);
                assert!(broken.is_some() || found == text.as_bytes(), "{compression:?} {bits} at {place}: {found:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_that_ends_early_keeps_what_came_before(
        rows in 0_usize..8_000,
        cut in any::<prop::sample::Index>(),
        piece in 1_usize..20_000,
    ) {
        let text = table(rows);
        for compression in ALL {
            let bytes = compressed(compression, text.as_bytes());
            let (found, broken) = read(compression, &bytes, piece, 1 << 30);
            prop_assert!(found == text.as_bytes() && broken.is_none());
            let end = cut.index(bytes.len());
            let (found, broken) = read(compression, &bytes[..end], piece, 1 << 30);
            prop_assert!(text.as_bytes().starts_with(&found), "{:?}", compression);
            let is_complete = end == 0 || (compression == Compression::Snappy && end == STREAM.len());
            // A stream of snappy may end behind each of its chunks.
            if compression != Compression::Snappy {
                prop_assert_eq!(broken.is_none(), is_complete, "{:?} {:?}", compression, broken);
            }
        }
    }

    #[test]
    fn damage_is_found_and_how_bytes_arrive_changes_nothing(
        rows in 1_usize..3_000,
        place in any::<prop::sample::Index>(),
        bits in 1_u8..,
        piece in 1_usize..20_000,
    ) {
        let text = table(rows);
        for compression in ALL {
            let mut bytes = compressed(compression, text.as_bytes());
            let place = place.index(bytes.len());
            bytes[place] ^= bits;
            let (found, broken) = whole(compression, &bytes);
            prop_assert_eq!(&read(compression, &bytes, piece, 1 << 30), &(found.clone(), broken.clone()));
            // Names, stamps and hints of the containers are not part of any checksum, and change nothing.
            if broken.is_none() {
                prop_assert!(found == text.as_bytes(), "{:?} at {}", compression, place);
            }
        }
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1_usize..300) {
        for compression in ALL {
            prop_assert_eq!(read(compression, &bytes, piece, 1 << 20), read(compression, &bytes, usize::MAX, 1 << 20));
        }
    }
}
