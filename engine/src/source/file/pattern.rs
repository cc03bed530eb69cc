//! Paths of a feed's files: `intraday/intraday_1min_{symbol}.csv`.

use std::collections::BTreeMap;
use std::fmt;

use pulse_core::{Error, Result};

/// A path below a source's root in which `{name}` and `*` stand for a part of one segment.
///
/// A placeholder takes as much of its segment as it can, at least one character, and does not match a segment's
/// leading dot: such files are hidden. `<pattern>.gz` matches too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    text: String,
    segments: Vec<Vec<Token>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(String),
    Placeholder(String),
    Star,
}

impl Pattern {
    /// # Errors
    /// `Invalid` when a brace is not closed, a name is not `[A-Za-z_][A-Za-z0-9_]*` or occurs twice, two placeholders touch, or a
    /// segment is empty.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| Error::invalid(format!("path `{text}`: {what}"));
        let mut segments = Vec::new();
        for segment in text.split('/') {
            if segment.is_empty() || segment == "." || segment == ".." {
                return Err(wrong("write it relative to the source's root, without empty, `.` or `..` segments"));
            }
            segments.push(parse_segment(segment).map_err(wrong)?);
        }
        let pattern = Self { text: text.to_owned(), segments };
        let names = pattern.clone().into_names();
        for (at, name) in names.iter().enumerate() {
            if names.iter().take(at).any(|other| other == name) {
                return Err(wrong("a placeholder occurs twice"));
            }
        }
        Ok(pattern)
    }

    pub(super) fn into_names(self) -> Vec<String> {
        let tokens = self.segments.into_iter().flatten();
        tokens
            .filter_map(|token| match token {
                Token::Placeholder(name) => Some(name),
                Token::Literal(_) | Token::Star => None,
            })
            .collect()
    }

    /// The folder that every matching path lies in; empty for the root.
    pub(super) fn folder(&self) -> String {
        let folders = self.segments.get(..self.segments.len().saturating_sub(1)).unwrap_or_default();
        let literal = folders.iter().map_while(|tokens| match tokens.as_slice() {
            [Token::Literal(text)] => Some(text.as_str()),
            _ => None,
        });
        literal.collect::<Vec<_>>().join("/")
    }

    /// Characters that a path must have at fixed places: the more, the more particular the pattern.
    pub(super) fn literal_characters(&self) -> usize {
        let tokens = self.segments.iter().flatten();
        tokens
            .map(|token| match token {
                Token::Literal(text) => text.chars().count(),
                Token::Placeholder(_) | Token::Star => 0,
            })
            .sum()
    }

    /// Values of the placeholders, percent-decoded, when `path` matches.
    pub(super) fn captures(&self, path: &str) -> Option<BTreeMap<String, String>> {
        match path.strip_suffix(".gz") {
            Some(inner) if !self.text.ends_with(".gz") => self.matches(inner).or_else(|| self.matches(path)),
            _ => self.matches(path),
        }
    }

    fn matches(&self, path: &str) -> Option<BTreeMap<String, String>> {
        let segments: Vec<&str> = path.split('/').collect();
        if segments.len() != self.segments.len() {
            return None;
        }
        let mut captures = BTreeMap::new();
        for (tokens, segment) in self.segments.iter().zip(segments) {
            if !match_segment(tokens, segment, &mut captures) {
                return None;
            }
        }
        Some(captures)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse_segment(segment: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut rest = segment;
    while let Some(at) = rest.find(['{', '}', '*']) {
        let (literal, special) = rest.split_at(at);
        if !literal.is_empty() {
            tokens.push(Token::Literal(literal.to_owned()));
        }
        let (token, after) = parse_special(special)?;
        if matches!(tokens.last(), Some(Token::Placeholder(_) | Token::Star)) {
            return Err("put some text between two placeholders");
        }
        tokens.push(token);
        rest = after;
    }
    if !rest.is_empty() {
        tokens.push(Token::Literal(rest.to_owned()));
    }
    Ok(tokens)
}

fn parse_special(text: &str) -> Result<(Token, &str), &'static str> {
    if let Some(after) = text.strip_prefix('*') {
        return Ok((Token::Star, after));
    }
    let inner = text.strip_prefix('{').ok_or("`}` has no `{` before it")?;
    let (name, after) = inner.split_once('}').ok_or("`{` is not closed")?;
    let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err("name a placeholder with letters, digits and `_`, a letter first");
    }
    Ok((Token::Placeholder(name.to_owned()), after))
}

fn match_segment(tokens: &[Token], text: &str, captures: &mut BTreeMap<String, String>) -> bool {
    let is_hidden = text.starts_with('.') && !matches!(tokens.first(), Some(Token::Literal(_)));
    !is_hidden && match_tokens(tokens, text, captures)
}

fn match_tokens(tokens: &[Token], text: &str, captures: &mut BTreeMap<String, String>) -> bool {
    match tokens {
        [] => text.is_empty(),
        [Token::Literal(literal), rest @ ..] => {
            text.strip_prefix(literal.as_str()).is_some_and(|text| match_tokens(rest, text, captures))
        }
        [Token::Star, rest @ ..] => splits(text).any(|(_, after)| match_tokens(rest, after, captures)),
        [Token::Placeholder(name), rest @ ..] => {
            let taken = splits(text).find(|(_, after)| match_tokens(rest, after, captures));
            match taken {
                Some((value, _)) => {
                    captures.insert(name.clone(), percent_decoded(value));
                    true
                }
                None => false,
            }
        }
    }
}

/// All ways to take at least one character off the front, the longest first.
fn splits(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8()).rev();
    ends.filter_map(|end| text.split_at_checked(end))
}

/// `BRK%2FB` to `BRK/B`; a text that is not percent-encoded UTF-8 stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let [first, rest @ ..] = bytes {
        match (first, rest) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                decoded.push(hex(*high) << 4 | hex(*low));
                bytes = after;
            }
            _ => {
                decoded.push(*first);
                bytes = rest;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
        Pattern::parse(pattern).unwrap().captures(path).map(|captures| captures.into_iter().collect())
    }

    #[test]
    fn placeholders_take_parts_of_a_segment() {
        for (pattern, path, expected) in [
            ("a/i_{symbol}.csv", "a/i_AAPL.csv", Some(vec![("symbol", "AAPL")])),
            ("a/i_{symbol}.csv", "a/i_BRK-B.csv", Some(vec![("symbol", "BRK-B")])),
            ("a/i_{symbol}.csv", "a/i_BRK B.csv", Some(vec![("symbol", "BRK B")])),
            ("a/i_{symbol}.csv", "a/i_BRK%2FB.csv", Some(vec![("symbol", "BRK/B")])),
            ("a/i_{symbol}.csv", "a/i_100%_x%zz.csv", Some(vec![("symbol", "100%_x%zz")])),
            ("a/i_{symbol}.csv", "a/i_%ff.csv", Some(vec![("symbol", "%ff")])),
            ("a/i_{symbol}.csv", "a/i_%C3%A9.csv", Some(vec![("symbol", "é")])),
            ("a/i_{symbol}.csv", "a/i_AAPL.csv.gz", Some(vec![("symbol", "AAPL")])),
            ("a/{symbol}", "a/AAPL.gz", Some(vec![("symbol", "AAPL")])),
            ("a/{symbol}.gz", "a/AAPL.gz", Some(vec![("symbol", "AAPL")])),
            ("a/i_{symbol}.csv", "a/i_.csv", None),
            ("a/i_{symbol}.csv", "b/i_AAPL.csv", None),
            ("a/i_{symbol}.csv", "a/b/i_AAPL.csv", None),
            ("a/i_{symbol}.csv", "a/i_AAPL.csv.bak", None),
            ("a/{symbol}_1min.csv", "a/AAPL_15min.csv", None),
            ("a/{symbol}_*.csv", "a/A_B_C.csv", Some(vec![("symbol", "A_B")])),
            ("{date}/{symbol}.csv", "2020-01-02/A.csv", Some(vec![("date", "2020-01-02"), ("symbol", "A")])),
            ("{symbol}.csv", "._A.csv", None),
            ("*.csv", "A.csv", Some(vec![])),
            ("plain.csv", "plain.csv", Some(vec![])),
        ] {
            let expected = expected.map(|pairs: Vec<(&str, &str)>| {
                pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
            });
            assert_eq!(captured(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn the_folder_is_what_need_not_be_searched() {
        for (pattern, expected) in [
            ("a/b/i_{symbol}.csv", "a/b"),
            ("a/{date}/b/x.csv", "a"),
            ("{symbol}.csv", ""),
            ("a/x.csv", "a"),
            ("a/x_*/b/c.csv", "a"),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().folder(), expected, "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for pattern in
            ["", "/a.csv", "a//b.csv", "../a.csv", "{a", "a}", "{}", "{1a}", "{a}{b}", "{a}*", "{a}/{a}", "**/a"]
        {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
