//! What a writer that follows the rules of a contract writes is read back, whatever the rules.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::rows::ReadOptions;
use super::support::{columns, read_with};

const NAMES: [&str; 3] = ["x", "y", "z"];

#[derive(Debug, Clone)]
struct Rules {
    delimiter: &'static str,
    quote: &'static str,
    escape: Option<&'static str>,
    header: bool,
    matching: &'static str,
    skip_lines: usize,
    comment: Option<&'static str>,
    ragged: bool,
    encoding: &'static str,
    newline: &'static str,
    mark: bool,
}

impl Rules {
    /// Makes one of the combinations that `pulse check` accepts.
    fn new(
        (delimiter, quote, escape, comment): (usize, usize, usize, usize),
        layout: (bool, usize, usize, bool),
        bytes: (usize, bool, bool),
    ) -> Self {
        let (header, matching, skip_lines, ragged) = layout;
        let (encoding, windows, mark) = bytes;
        let quote = ["\"", "'", "", "\""][quote];
        Self {
            delimiter: [",", ";", "|", "\t", "||", "~~", "\u{a6}", "\u{1}", "<>"][delimiter],
            quote,
            escape: [None, Some("\\"), Some("^")][escape].filter(|_| !quote.is_empty()),
            header,
            matching: if header { ["name", "name_ignoring_case", "position"][matching] } else { "name" },
            skip_lines,
            comment: [None, Some("#"), Some("--"), Some("//")][comment],
            ragged,
            encoding: ["utf-8", "utf-16", "utf-16le", "utf-16be", "windows-1252", "latin-1"][encoding],
            newline: if windows { "\r\n" } else { "\n" },
            mark,
        }
    }

    fn format(&self) -> Value {
        let mut csv = json!({
            "delimiter": self.delimiter, "quote": self.quote, "escape": self.escape, "header": self.header, "match": self.matching,
            "skip_lines": self.skip_lines, "comment": self.comment, "ragged": if self.ragged { "null" } else { "reject" },
            "encoding": self.encoding,
        });
        if !self.header {
            csv["fields"] = json!(NAMES);
        }
        json!({ "csv": csv })
    }

    fn field(&self, text: &str, is_first: bool) -> String {
        let starts_comment = is_first && self.comment.is_some_and(|comment| text.starts_with(comment));
        let needs_quotes = starts_comment
            || text.contains(['\n', '\r'])
            || text.contains(self.delimiter)
            // Its end could be a part of the delimiter behind it.
            || self.delimiter.chars().any(|part| text.contains(part))
            || text.starts_with(self.quote);
        if self.quote.is_empty() || !needs_quotes {
            return text.to_owned();
        }
        let quote = self.quote;
        let inner = match self.escape {
            Some(escape) => text.replace(escape, &escape.repeat(2)).replace(quote, &format!("{escape}{quote}")),
            None => text.replace(quote, &quote.repeat(2)),
        };
        format!("{quote}{inner}{quote}")
    }

    /// Without quotes no text may hold what tells fields apart, and none may look like a comment.
    fn fitting(&self, text: &str, is_first: bool) -> String {
        let in_encoding = |character: &char| match self.encoding {
            "windows-1252" => !matches!(character, '\u{1d11e}'),
            "latin-1" => u32::from(*character) < 256,
            _ => true,
        };
        let text: String = text.chars().filter(in_encoding).collect();
        if !self.quote.is_empty() {
            return text;
        }
        let text: String =
            text.chars().filter(|part| !"\r\n".contains(*part) && !self.delimiter.contains(*part)).collect();
        match self.comment {
            Some(comment) if is_first => text.trim_start_matches(&comment[..1]).to_owned(),
            _ => text,
        }
    }

    fn bytes(&self, text: &str) -> Vec<u8> {
        let units = || self.mark.then_some(0xFEFF).into_iter().chain(text.encode_utf16());
        match self.encoding {
            "utf-8" if self.mark => [b"\xEF\xBB\xBF", text.as_bytes()].concat(),
            "utf-8" => text.as_bytes().to_vec(),
            "utf-16" => std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect(),
            "utf-16le" => units().flat_map(u16::to_le_bytes).collect(),
            "utf-16be" => units().flat_map(u16::to_be_bytes).collect(),
            "windows-1252" => {
                text.chars().map(|one| if one == '\u{20ac}' { 0x80 } else { u32::from(one) as u8 }).collect()
            }
            _ => text.chars().map(|one| u32::from(one) as u8).collect(),
        }
    }
}

fn rules() -> impl Strategy<Value = Rules> {
    (
        (0_usize..9, 0_usize..4, 0_usize..3, 0_usize..4),
        (any::<bool>(), 0_usize..3, 0_usize..3, any::<bool>()),
        (0_usize..6, any::<bool>(), any::<bool>()),
    )
        .prop_map(|(characters, layout, bytes)| Rules::new(characters, layout, bytes))
}

fn text() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a",
        "b1",
        ",",
        ";",
        "|",
        "\t",
        "~",
        "<",
        ">",
        "\u{a6}",
        "\u{1}",
        "\"",
        "'",
        "\\",
        "^",
        "#",
        "--",
        "/",
        "\n",
        "\r\n",
        "\r",
        " ",
        "\u{e9}",
        "\u{20ac}",
        "\u{1d11e}",
    ]);
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_by_the_rules_is_read_back(
        rules in rules(),
        rows in prop::collection::vec((prop::collection::vec(text(), 3), 1_usize..4), 0..8),
        piece in 1_usize..100,
    ) {
        let mut file = "before,\"the table\n".repeat(rules.skip_lines);
        if rules.header {
            let names = match rules.matching {
                "name" => ["x", "y", "z"],
                "name_ignoring_case" => ["X", "y", "Z"],
                _ => ["p", "q", "r"],
            };
            file.push_str(&(names.join(rules.delimiter) + rules.newline));
        }
        let mut expected = Vec::new();
        for (texts, length) in &rows {
            let fitting = |(at, text): (usize, &String)| rules.fitting(text, at == 0);
            let mut texts: Vec<String> = texts.iter().enumerate().map(fitting).collect();
            let is_one_line = !texts.concat().contains('\n');
            let length = if rules.ragged && is_one_line { *length } else { 3 };
            texts[length..].iter_mut().for_each(String::clear);
            let fields: Vec<String> = texts.iter().take(length).enumerate().map(|(at, text)| rules.field(text, at == 0)).collect();
            let line = fields.join(rules.delimiter);
            // A line of blanks is no record, and a line is that without its carriage return.
            if line.trim_matches(' ').is_empty() {
                continue;
            }
            if let Some(comment) = rules.comment {
                file.push_str(&format!("{comment} \"{}", rules.newline));
            }
            file.push_str(&(line + rules.newline));
            expected.push(Ok(texts.join("|")));
        }
        let source = columns(&["x string", "y string", "z string"], &rules.format());
        let found = read_with(&source, &rules.bytes(&file), &ReadOptions::default(), piece);
        prop_assert_eq!(found.into_iter().map(|row| row.content).collect::<Vec<_>>(), expected);
    }
}
