//! The characters that tell records and fields of a CSV file apart.

use memchr::memchr;
use memchr::memmem::Finder;
use pulse_core::sources::Csv;
use pulse_core::{Error, Result};

use super::super::framing::is_blank;

#[derive(Debug)]
pub(super) struct Dialect {
    pub(super) delimiter: Delimiter,
    pub(super) quote: Option<u8>,
    /// Stands before a quote within quotes; `None` where such a quote is doubled.
    pub(super) escape: Option<u8>,
    comment: Option<Box<[u8]>>,
    /// Whether a line of blanks is one of empty fields.
    has_blank_delimiter: bool,
    /// Whether a line of blanks is the value of the only field. Where there are more, it holds nothing.
    pub(super) blanks_are_a_value: bool,
}

/// What stands between two fields. It holds no newline.
#[derive(Debug)]
pub(super) enum Delimiter {
    Byte(u8),
    /// Several bytes.
    Text(Box<Finder<'static>>),
}

impl Dialect {
    /// # Errors
    /// `Invalid` when the characters cannot be told apart.
    pub(super) fn new(csv: &Csv) -> Result<Self> {
        if let Some(misuse) = csv.text_misuses().into_iter().next() {
            return Err(Error::invalid(format!("{}: {}", misuse.message, misuse.remedy)));
        }
        let delimiter = match csv.delimiter.as_bytes() {
            [byte] => Delimiter::Byte(*byte),
            text => Delimiter::Text(Box::new(Finder::new(text).into_owned())),
        };
        Ok(Self {
            delimiter,
            quote: csv.quote.bytes().next(),
            escape: csv.escape.as_deref().and_then(|escape| escape.bytes().next()),
            comment: csv.comment.as_deref().map(|comment| comment.as_bytes().into()),
            has_blank_delimiter: csv.delimiter.starts_with(' '),
            blanks_are_a_value: false,
        })
    }

    /// Whether a line that is not within a quoted field is no record.
    #[inline]
    pub(super) fn is_passed_over(&self, line: &[u8]) -> bool {
        (is_blank(line) && (line.is_empty() || !(self.has_blank_delimiter || self.blanks_are_a_value)))
            || self.comment.as_deref().is_some_and(|comment| line.starts_with(comment))
    }

    /// Fields of a line without quotes.
    pub(super) fn split<'a>(&self, line: &'a [u8]) -> Vec<&'a [u8]> {
        let mut fields = Vec::new();
        let mut rest = line;
        while let Some(end) = self.delimiter.find(rest) {
            fields.push(rest.get(..end).unwrap_or_default());
            rest = rest.get(end + self.delimiter.len()..).unwrap_or_default();
        }
        fields.push(rest);
        fields
    }
}

impl Delimiter {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Byte(_) => 1,
            Self::Text(finder) => finder.needle().len(),
        }
    }

    fn find(&self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Byte(byte) => memchr(*byte, bytes),
            Self::Text(finder) => finder.find(bytes),
        }
    }

    pub(super) fn starts(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Byte(byte) => bytes.first() == Some(byte),
            Self::Text(finder) => bytes.starts_with(finder.needle()),
        }
    }

    /// Whether more bytes behind `bytes` could make them start with it.
    pub(super) fn may_start(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Byte(_) => bytes.is_empty(),
            Self::Text(finder) => finder.needle().starts_with(bytes),
        }
    }
}
