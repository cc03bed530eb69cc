//! Locates parts of a text that is known to be valid JSON.

use std::borrow::Cow;
use std::ops::Range;

/// A text that is known to be valid JSON.
#[derive(Clone, Copy)]
pub(crate) struct Json<'a>(pub(crate) &'a [u8]);

impl<'a> Json<'a> {
    pub(crate) fn byte(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    pub(crate) fn skip_blank(self, mut at: usize, also: &[u8]) -> usize {
        while self.byte(at).is_some_and(|byte| byte.is_ascii_whitespace() || also.contains(&byte)) {
            at += 1;
        }
        at
    }

    /// The name of the member that starts here and the position of its value; `None` for an array item. The name is
    /// `None` if it is not valid Unicode.
    pub(crate) fn member(self, at: usize) -> Option<(Option<Cow<'a, str>>, usize)> {
        if self.byte(at)? != b'"' {
            return None;
        }
        let end = self.skip_value(at);
        let colon = self.skip_blank(end, b"");
        if self.byte(colon)? != b':' {
            return None;
        }
        Some((self.string(at), self.skip_blank(colon + 1, b"")))
    }

    /// The string that starts here; `None` if it has an unpaired surrogate, and so is not Unicode.
    pub(crate) fn string(self, at: usize) -> Option<Cow<'a, str>> {
        let text = self.0.get(at..self.skip_value(at))?;
        match text {
            [b'"', plain @ .., b'"'] if !plain.contains(&b'\\') => std::str::from_utf8(plain).map(Cow::Borrowed).ok(),
            _ => serde_json::from_slice::<String>(text).map(Cow::Owned).ok(),
        }
    }

    /// The remaining items of an array, from after its bracket.
    pub(crate) fn items(self, mut at: usize) -> impl Iterator<Item = Range<usize>> {
        std::iter::from_fn(move || {
            let start = self.skip_blank(at, b",");
            if matches!(self.byte(start), None | Some(b']' | b'}')) {
                return None;
            }
            // Always advances, even on invalid text.
            at = self.skip_value(start).max(start + 1);
            Some(start..at)
        })
    }

    /// The remaining members of an object, from after its brace: names and values. A name that is not Unicode is
    /// `None`.
    pub(crate) fn members(self, mut at: usize) -> impl Iterator<Item = (Option<Cow<'a, str>>, Range<usize>)> {
        std::iter::from_fn(move || {
            let start = self.skip_blank(at, b",");
            let (name, value) = self.member(start)?;
            at = self.skip_value(value).max(value + 1);
            Some((name, value..at))
        })
    }

    /// The end of the value that starts here.
    pub(crate) fn skip_value(self, start: usize) -> usize {
        let mut depth = 0_usize;
        let mut at = start;
        while let Some(byte) = self.byte(at) {
            match byte {
                b'"' => at = self.skip_string(at + 1),
                b'{' | b'[' => {
                    depth += 1;
                    at += 1;
                }
                b'}' | b']' if depth == 0 => return at,
                b'}' | b']' => {
                    depth -= 1;
                    at += 1;
                }
                b',' | b':' if depth == 0 => return at,
                byte if depth == 0 && byte.is_ascii_whitespace() => return at,
                _ => {
                    at += 1;
                    continue;
                }
            }
            if depth == 0 {
                return at;
            }
        }
        at
    }

    fn skip_string(self, mut at: usize) -> usize {
        while let Some(byte) = self.byte(at) {
            at += match byte {
                b'"' => return at + 1,
                b'\\' => 2,
                _ => 1,
            };
        }
        at
    }
}
