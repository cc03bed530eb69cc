use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::rows::ReadOptions;
use super::support::{Row, columns, kept, read, read_with, rejected};

fn fixed(options: &Value) -> Value {
    let mut format = json!({ "fields": [
        { "name": "x", "start": 1, "width": 4 },
        { "name": "z", "start": 11, "width": 3 },
        { "name": "y", "start": 6, "width": 5 },
    ] });
    format.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    json!({ "fixed_width": format })
}

fn xyz(options: &Value, bytes: &[u8]) -> Vec<Row> {
    let source = columns(&["x bigint", "y string", "z double"], &fixed(options));
    let whole = read(&source, bytes);
    for piece in [1, 3, 10] {
        assert_eq!(read_with(&source, bytes, &ReadOptions::default(), piece), whole, "pieces of {piece}");
    }
    whole
}

#[test]
fn fields_lie_at_their_places() {
    let text = "\u{feff}   1 ab cd2.5\r\n12  |\u{e9}\u{1d11e}\u{20ac}  .5 and more\n\n    \n     a b  \t1 \n";
    assert_eq!(
        xyz(&json!({}), text.as_bytes()),
        [kept(1, "1|ab cd|2.5"), kept(2, "12|\u{e9}\u{1d11e}\u{20ac}|0.5"), kept(5, "|a b|1.0"),]
    );
}

#[test]
fn lines_that_are_not_rows() {
    for (line, reason) in [
        ("   1 ab cd2.", "the line has 12 characters, and `z` ends at 13"),
        ("   1", "the line has 4 characters, and `z` ends at 13"),
        ("   1 ab cd2.x", "`z` is not a number: `2.x`"),
        ("  1x ab cd2.5", "`x` is not a number: `1x`"),
        ("   1 a\0 cd2.5", "the line holds a NUL byte"),
    ] {
        let text = format!("   1 ab cd2.5\n{line}\n   2 xx   3.5\n");
        let expected = [kept(1, "1|ab cd|2.5"), rejected(2, reason, line), kept(3, "2|xx|3.5")];
        assert_eq!(xyz(&json!({}), text.as_bytes()), expected, "{line}");
    }
    assert_eq!(xyz(&json!({}), b"   1 a\xff cd2.5"), [rejected(1, "the line is not UTF-8", "   1 a\u{fffd} cd2.5")]);
}

#[test]
fn a_ragged_line_is_read_as_if_blanks_followed() {
    let text = "   1 ab cd2.\n   1 ab\n   1\nx\n";
    assert_eq!(
        xyz(&json!({ "ragged": "null" }), text.as_bytes()),
        [kept(1, "1|ab cd|2.0"), kept(2, "1|ab|"), kept(3, "1||"), rejected(4, "`x` is not a number: `x`", "x"),]
    );
}

#[test]
fn lines_that_are_no_records() {
    let options = json!({ "skip_lines": 2, "comment": "*", "encoding": "latin-1" });
    let text = b"title\xff\nx    y    z  \n* note\n   1 \xe9b cd2.5\n";
    assert_eq!(xyz(&options, text), [kept(4, "1|\u{e9}b cd|2.5")]);
    let source = columns(&["x bigint", "y string", "z double"], &fixed(&json!({ "skip_lines": 1 })));
    let options = ReadOptions { max_line_bytes: 20, ..ReadOptions::default() };
    let long = "x".repeat(50);
    let text = format!("{long}\n   1 ab cd2.5\n{long}\n   2 xx   3.5\n");
    for piece in [1, 7, usize::MAX] {
        assert_eq!(
            read_with(&source, text.as_bytes(), &options, piece),
            [kept(2, "1|ab cd|2.5"), rejected(3, "the line is longer than 20 bytes", &long[..20]), kept(4, "2|xx|3.5"),]
        );
    }
}

proptest! {
    /// Against slices of the characters.
    #[test]
    fn characters_count_and_not_bytes(
        lines in prop::collection::vec("[ a-z\u{e9}\u{20ac}\u{1d11e}]{0,12}", 0..8),
        fields in prop::collection::vec((1_usize..10, 1_usize..6), 2),
        ragged: bool,
        piece in 1_usize..30,
    ) {
        let ends: Vec<usize> = fields.iter().map(|(start, width)| start - 1 + width).collect();
        let field = |at: usize| json!({ "name": (["x", "y"][at]), "start": fields[at].0, "width": fields[at].1 });
        let format = json!({ "fixed_width": { "fields": [field(0), field(1)], "ragged": if ragged { "null" } else { "reject" } } });
        let expected: Vec<Option<String>> = lines.iter().filter(|line| !line.trim().is_empty()).map(|line| {
            let characters: Vec<char> = line.chars().collect();
            let value = |at: usize| {
                let text: String = characters.iter().skip(fields[at].0 - 1).take(fields[at].1).collect();
                text.trim_matches(' ').to_owned()
            };
            let is_whole = characters.len() >= ends[0].max(ends[1]);
            (is_whole || ragged).then(|| format!("{}|{}", value(0), value(1)))
        }).collect();
        let source = columns(&["x string", "y string"], &format);
        let text = lines.join("\n");
        let found = read_with(&source, text.as_bytes(), &ReadOptions::default(), piece);
        prop_assert_eq!(found.into_iter().map(|row| row.content.ok()).collect::<Vec<_>>(), expected);
    }
}
