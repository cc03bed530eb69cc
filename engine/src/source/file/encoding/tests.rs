use proptest::prelude::*;

use super::*;

fn decoded(declared: Encoding, bytes: &[u8], piece: usize) -> Result<Vec<u8>, String> {
    let mut transcoder = Transcoder::new(declared);
    let mut text = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        transcoder.push(piece, &mut text).map_err(|unknown| unknown.reason)?;
    }
    transcoder.finish(&mut text).map_err(|unknown| unknown.reason)?;
    Ok(text)
}

/// The text of bytes that are all characters.
fn text(declared: Encoding, bytes: &[u8]) -> String {
    String::from_utf8(decoded(declared, bytes, usize::MAX).unwrap()).unwrap()
}

#[test]
fn a_byte_order_mark_decides() {
    let marked = [
        (&b"\xEF\xBB\xBFa\xC3\xA9"[..], "a\u{e9}"),
        (b"\xFF\xFEa\0\xE9\0", "a\u{e9}"),
        (b"\xFE\xFF\0a\0\xE9", "a\u{e9}"),
        (b"\xEF\xBB\xBF", ""),
        (b"\xFF\xFE", ""),
    ];
    let all = [
        Encoding::Utf8,
        Encoding::Utf16,
        Encoding::Utf16Le,
        Encoding::Utf16Be,
        Encoding::Windows1252,
        Encoding::Latin1,
    ];
    for (bytes, expected) in marked {
        for declared in all {
            assert_eq!(text(declared, bytes), expected, "{declared:?}");
        }
    }
    assert_eq!(text(Encoding::Utf16Le, b"a\0"), "a");
    assert_eq!(text(Encoding::Utf16Be, b"\0a"), "a");
    assert_eq!(decoded(Encoding::Utf8, b"\xEF\xBB", 1).unwrap(), b"\xEF\xBB");
}

#[test]
fn a_second_mark_is_text() {
    assert_eq!(text(Encoding::Utf8, b"\xEF\xBB\xBF\xEF\xBB\xBFa"), "\u{feff}a");
    assert_eq!(text(Encoding::Utf16, b"\xFF\xFE\xFF\xFEa\0"), "\u{feff}a");
}

#[test]
fn utf_16_without_a_mark_is_unknown() {
    for bytes in [&b"a\0b\0"[..], b"\0a", b"a"] {
        let reason = decoded(Encoding::Utf16, bytes, 1).unwrap_err();
        assert_eq!(reason, "the file does not begin with a byte order mark of UTF-16: say `utf-16le` or `utf-16be`");
    }
    assert_eq!(text(Encoding::Utf16, b""), "");
}

/// As `bytes.decode("cp1252")` of Python has them, and the five bytes that it refuses.
#[test]
fn windows_1252_is_not_latin_1() {
    let upper: Vec<u8> = (0x80..=0xFF).collect();
    let python = "\u{20ac}?\u{201a}\u{192}\u{201e}\u{2026}\u{2020}\u{2021}\u{2c6}\u{2030}\u{160}\u{2039}\u{152}?\u{17d}??\u{2018}\u{2019}\
                  \u{201c}\u{201d}\u{2022}\u{2013}\u{2014}\u{2dc}\u{2122}\u{161}\u{203a}\u{153}?\u{17e}\u{178}";
    let found = decoded(Encoding::Windows1252, &upper, 7).unwrap();
    let shown = String::from_utf8_lossy(&found).replace('\u{fffd}', "?");
    let (first, rest) = shown.split_at(python.len());
    assert_eq!(first, python);
    assert!(rest.chars().eq('\u{a0}'..='\u{ff}'));
    assert!(text(Encoding::Latin1, &upper).chars().eq('\u{80}'..='\u{ff}'));
}

#[test]
fn what_is_no_character_is_no_utf8() {
    for (declared, bytes, shown) in [
        (Encoding::Utf16Le, &b"a\0\x00\xD8b\0"[..], "a?b"),
        (Encoding::Utf16Le, b"a\0\x00\xDCb\0", "a?b"),
        (Encoding::Utf16Le, b"\x00\xD8\x00\xD8\x00\xDC", "?\u{10000}"),
        (Encoding::Utf16Be, b"\xD8\x00\xDC\x00", "\u{10000}"),
        (Encoding::Utf16Be, b"\0a\xD8\x00", "a?"),
        (Encoding::Utf16Be, b"\0a\0", "a?"),
        (Encoding::Windows1252, b"a\x81b", "a?b"),
    ] {
        for piece in [1, 2, 3, 100] {
            let found = decoded(declared, bytes, piece).unwrap();
            assert_eq!(
                String::from_utf8_lossy(&found).replace('\u{fffd}', "?"),
                shown,
                "{bytes:?} in pieces of {piece}"
            );
            assert_eq!(std::str::from_utf8(&found).is_err(), shown.contains('?'));
        }
    }
}

proptest! {
    #[test]
    fn text_survives_however_it_arrives(content in "\\PC{0,40}", mark: bool, piece in 1_usize..9) {
        let units = || mark.then_some(0xFEFF).into_iter().chain(content.encode_utf16());
        let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
        for (declared, bytes) in [(Encoding::Utf16Le, &little), (Encoding::Utf16Be, &big)] {
            prop_assert_eq!(decoded(declared, bytes, piece).unwrap(), content.as_bytes());
        }
        if mark {
            prop_assert_eq!(decoded(Encoding::Utf16, &little, piece).unwrap(), content.as_bytes());
            prop_assert_eq!(decoded(Encoding::Utf8, &big, piece).unwrap(), content.as_bytes());
        }
    }

    #[test]
    fn how_bytes_arrive_changes_nothing(bytes in prop::collection::vec(any::<u8>(), 0..60), piece in 1_usize..9, at in 0_usize..6) {
        let declared = [Encoding::Utf8, Encoding::Utf16, Encoding::Utf16Le, Encoding::Utf16Be, Encoding::Windows1252, Encoding::Latin1][at];
        prop_assert_eq!(decoded(declared, &bytes, piece), decoded(declared, &bytes, usize::MAX));
    }
}
