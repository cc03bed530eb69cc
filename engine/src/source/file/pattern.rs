//! Paths of a feed's files: `intraday/intraday_1min_{symbol}.csv`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::percent_decode_str;
use pulse_core::sources::Feed;
use pulse_core::{Error, Result};
use regex::Regex;

use super::compression::Compression;

/// Hive and Spark name the folder of rows whose partition column is null so.
const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// What Spark and others write beside data: names, and beginnings of names.
const MARKERS: [&str; 7] =
    ["_SUCCESS", "_spark_metadata", "_temporary", "_metadata", "_common_metadata", "_delta_log", "_change_data"];
const MARKER_PREFIXES: [&str; 2] = ["_started_", "_committed_"];

/// A path below a source's root in which `{name}` and `*` stand for a part of one segment.
///
/// Both take as much of their segment as they can: a placeholder at least one character, `*` also none. Neither matches a
/// segment's leading dot, because such files are hidden, nor the names of [`MARKERS`]. A path matches too when `.gz` or another
/// ending of a compressed file follows the pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    text: String,
    segments: Vec<Vec<Token>>,
    /// Whether folders named `column=value` may lie before the last segment.
    takes_partitions: bool,
    expression: Regex,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(String),
    Placeholder(String),
    Star,
}

impl Pattern {
    /// Where the files of a feed lie.
    ///
    /// # Errors
    /// As [`Pattern::parse`].
    pub(super) fn of(feed: &Feed) -> Result<Self> {
        let pattern = Self::parse(&feed.path)?;
        if feed.partitions.is_empty() {
            return Ok(pattern);
        }
        Ok(Self { expression: expression(&pattern.segments, PARTITION_FOLDERS)?, takes_partitions: true, ..pattern })
    }

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
        let names = names(&segments);
        for (at, name) in names.iter().enumerate() {
            if names.iter().take(at).any(|other| other == name) {
                return Err(wrong("a placeholder occurs twice"));
            }
        }
        let expression = expression(&segments, "")?;
        Ok(Self { text: text.to_owned(), expression, segments, takes_partitions: false })
    }

    pub(super) fn names(&self) -> Vec<&str> {
        names(&self.segments)
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

    /// Values of the placeholders, percent-decoded, when `path` matches; without those that stand for null.
    pub(super) fn captures(&self, path: &str) -> Option<BTreeMap<String, String>> {
        match Compression::inner_name(path) {
            Some(inner) if Compression::of(&self.text) == Compression::None => {
                self.matches(inner).or_else(|| self.matches(path))
            }
            _ => self.matches(path),
        }
    }

    fn matches(&self, path: &str) -> Option<BTreeMap<String, String>> {
        let captures = self.expression.captures(path).filter(|_| !self.hides(path))?;
        let values = self.names().into_iter().filter_map(|name| Some((name, captures.name(name)?.as_str())));
        Some(values.filter_map(|(name, text)| Some((name.to_owned(), value(text)?))).collect())
    }

    /// Whether a segment is hidden or no data, and the pattern does not spell out how it begins.
    fn hides(&self, path: &str) -> bool {
        let hides =
            |(tokens, text): (&Vec<Token>, &str)| is_hidden(text) && !matches!(tokens.first(), Some(Token::Literal(_)));
        let mut parts: Vec<&str> = path.split('/').collect();
        if self.takes_partitions {
            let between = self.segments.len().saturating_sub(1)..parts.len().saturating_sub(1);
            if parts.drain(between).any(is_hidden) {
                return true;
            }
        }
        self.segments.iter().zip(parts).any(hides)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn is_hidden(segment: &str) -> bool {
    let is_marker = || MARKER_PREFIXES.iter().any(|prefix| segment.starts_with(prefix)) || MARKERS.contains(&segment);
    segment.starts_with('.') || (segment.starts_with('_') && is_marker())
}

fn names(segments: &[Vec<Token>]) -> Vec<&str> {
    let tokens = segments.iter().flatten();
    tokens
        .filter_map(|token| match token {
            Token::Placeholder(name) => Some(name.as_str()),
            Token::Literal(_) | Token::Star => None,
        })
        .collect()
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

/// Folders that Hive and Spark name by a column and its value.
const PARTITION_FOLDERS: &str = "(?:[^/=]+=[^/]*/)*";

/// The pattern as a regular expression of the whole path, with a group for each placeholder; `before_last` stands before its last
/// segment.
fn expression(segments: &[Vec<Token>], before_last: &str) -> Result<Regex> {
    let segment = |tokens: &Vec<Token>| tokens.iter().map(piece).collect::<String>();
    let mut texts: Vec<String> = segments.iter().map(segment).collect();
    if let Some(last) = texts.last_mut() {
        last.insert_str(0, before_last);
    }
    let text = texts.join("/");
    Regex::new(&format!("^{text}$")).map_err(|e| Error::invalid("a path is too long for a pattern").with_source(e))
}

fn piece(token: &Token) -> String {
    match token {
        Token::Literal(text) => regex::escape(text),
        Token::Placeholder(name) => format!("(?<{name}>[^/]+)"),
        Token::Star => "[^/]*".to_owned(),
    }
}

/// `BRK%2FB` to `BRK/B`; a text that is not percent-encoded UTF-8 stays as it is. `None` is the null of Hive and Spark.
pub(super) fn value(text: &str) -> Option<String> {
    let decoded = || percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), Cow::into_owned);
    (text != HIVE_NULL).then(decoded)
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
            ("a/i_{symbol}.csv", "a/i_AAPL.csv.zst", Some(vec![("symbol", "AAPL")])),
            ("a/i_{symbol}.csv", "a/i_AAPL.csv.lz4", None),
            ("a/{symbol}.zip", "a/AAPL.zip", Some(vec![("symbol", "AAPL")])),
            ("a/{symbol}.zip", "a/AAPL.zip.gz", None),
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
            ("*.csv", ".csv", None),
            ("p*.csv", "p.csv", Some(vec![])),
            ("p*.csv", "p/.csv", None),
            ("a/x*/p.csv", "a/x/p.csv", Some(vec![])),
            ("a/*x/p.csv", "a/.x/p.csv", None),
            ("p*_{n}.csv", "p_1.csv", Some(vec![("n", "1")])),
            ("a+(b)/{n}[1].csv", "a+(b)/x[1].csv", Some(vec![("n", "x")])),
            ("a.csv", "abcsv", None),
            ("d={d}/x.csv", "d=__HIVE_DEFAULT_PARTITION__/x.csv", Some(vec![])),
            ("d={d}/x.csv", "d=__HIVE_DEFAULT_PARTITION__2/x.csv", Some(vec![("d", "__HIVE_DEFAULT_PARTITION__2")])),
            ("plain.csv", "plain.csv", Some(vec![])),
        ] {
            let expected = expected.map(|pairs: Vec<(&str, &str)>| {
                pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
            });
            assert_eq!(captured(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn folders_of_partitions_lie_before_the_last_segment() {
        for (pattern, path, matches) in [
            ("a/*.csv", "a/x.csv", true),
            ("a/*.csv", "a/day=1/x.csv", true),
            ("a/*.csv", "a/day=1/venue=a=b/x.csv.gz", true),
            ("a/*.csv", "a/day=/x.csv", true),
            ("*.csv", "day=1/x.csv", true),
            ("a/day=*/*.csv", "a/day=1/venue=2/x.csv", true),
            ("a/*.csv", "a/other/x.csv", false),
            ("a/*.csv", "a/day=1/other/x.csv", false),
            ("a/*.csv", "a/.spark-staging-1/day=1/x.csv", false),
            ("a/*.csv", "a/_temporary/0/day=1/x.csv", false),
            ("a/*.csv", "a/.day=1/x.csv", false),
            ("a/*.csv", "a/day=1/.x.csv", false),
            ("a/*.csv", "a/=1/x.csv", false),
            ("a/*", "a/day=1/_SUCCESS", false),
        ] {
            let feed = serde_json::json!({ "path": pattern, "format": { "csv": {} }, "partitions": ["day"] });
            let feed: Feed = serde_json::from_value(feed).unwrap();
            let found = Pattern::of(&feed).unwrap().captures(path);
            assert_eq!(found.is_some(), matches, "{pattern} {path}");
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
