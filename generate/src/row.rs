//! Rows as text, written without allocation.

use chrono::{Datelike, NaiveDate};

use super::calendar::Minute;
use super::walk::{Bar, Price};

/// The feeds' lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Intraday,
    /// A stray `{` in the header, an empty first cell in every row, volumes with a decimal point.
    Broken,
    Week,
    Daily,
}

impl Layout {
    pub(super) fn header(self) -> &'static str {
        match self {
            Self::Intraday => "timestamp,open,high,low,close,volume\n",
            Self::Broken => "{,timestamp,open,high,low,close,volume\n",
            Self::Week => "datetime,open,high,low,close,volume\n",
            Self::Daily => "date,open,high,low,close,volume,Name\n",
        }
    }

    fn fields(self) -> usize {
        self.header().split(',').count()
    }
}

/// How a row is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    Plain,
    /// Nothing in the cell of this number: 0 open, 1 high, 2 low, 3 close.
    Empty(u32),
    /// A word in the cell of this number; 4 is the volume.
    Word(u32),
    /// The volume's cell is not there.
    MissingField,
    /// One more cell at the end.
    ExtraField,
    /// All four prices 0.00004 higher.
    Nudged,
    /// The high as `113.50399999999999` in place of `113.504`.
    NoisyHigh,
}

/// What stands in a number's place; none of them is a number, a null or not-a-number in any reader.
const WORDS: [&str; 3] = ["halted", "12.5USD", "see note"];

/// Stamp of a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) date: NaiveDate,
    /// `None` for a daily bar.
    pub(super) minute: Option<Minute>,
}

/// Appends one row.
pub(super) fn push_row(
    line: &mut Vec<u8>,
    (layout, symbol): (Layout, &str),
    stamp: Stamp,
    bar: &Bar,
    spelling: Spelling,
) {
    if layout == Layout::Broken {
        line.push(b',');
    }
    push_stamp(line, stamp);
    for (cell, price) in (0..).zip([bar.open, bar.high, bar.low, bar.close]) {
        line.push(b',');
        match spelling {
            Spelling::Empty(empty) if empty == cell => {}
            Spelling::Word(word) if word == cell => push_word(line, bar),
            Spelling::Nudged => push_decimals(line, price, "4"),
            Spelling::NoisyHigh if cell == 1 => push_decimals(line, price.saturating_sub(1), "9999999999"),
            _ => push_price(line, price),
        }
    }
    if spelling != Spelling::MissingField {
        line.push(b',');
        match spelling {
            Spelling::Word(4) => push_word(line, bar),
            _ => push_integer(line, bar.volume),
        }
        if layout == Layout::Broken {
            line.extend_from_slice(b".0");
        }
    }
    if layout == Layout::Daily {
        line.push(b',');
        line.extend_from_slice(symbol.as_bytes());
    }
    if spelling == Spelling::ExtraField {
        line.extend_from_slice(b",0");
    }
    line.push(b'\n');
}

/// Appends an API's error message in the first cell, and as many empty cells as make a full row.
pub(super) fn push_error_row(line: &mut Vec<u8>, layout: Layout) {
    line.extend_from_slice(
        br#""    ""Error Message"": ""Invalid API call. Please retry or visit the documentation.""""#,
    );
    line.extend(std::iter::repeat_n(b',', layout.fields() - 1));
    line.push(b'\n');
}

fn push_word(line: &mut Vec<u8>, bar: &Bar) {
    let word = WORDS[(bar.volume % WORDS.len() as u64) as usize];
    line.extend_from_slice(word.as_bytes());
}

fn push_stamp(line: &mut Vec<u8>, stamp: Stamp) {
    let year = stamp.date.year_ce().1;
    push_two_digits(line, year / 100);
    push_two_digits(line, year % 100);
    line.push(b'-');
    push_two_digits(line, stamp.date.month());
    line.push(b'-');
    push_two_digits(line, stamp.date.day());
    if let Some(minute) = stamp.minute {
        line.push(b' ');
        push_two_digits(line, minute / 60);
        line.push(b':');
        push_two_digits(line, minute % 60);
        line.extend_from_slice(b":00");
    }
}

fn push_two_digits(line: &mut Vec<u8>, number: u32) {
    line.push(digit(number / 10));
    line.push(digit(number));
}

fn digit(number: u32) -> u8 {
    b'0' + (number % 10) as u8
}

/// One to four decimals, as few as are needed.
fn push_price(line: &mut Vec<u8>, price: Price) {
    push_decimals(line, price, "");
    let decimals = line.len() - 3;
    while line.len() > decimals && line.last() == Some(&b'0') {
        line.pop();
    }
}

/// Four decimals and `more` digits.
fn push_decimals(line: &mut Vec<u8>, price: Price, more: &str) {
    push_integer(line, u64::from(price / 10_000));
    line.push(b'.');
    push_two_digits(line, price / 100 % 100);
    push_two_digits(line, price % 100);
    line.extend_from_slice(more.as_bytes());
}

fn push_integer(line: &mut Vec<u8>, number: u64) {
    let start = line.len();
    let mut rest = number;
    loop {
        line.push(digit((rest % 10) as u32));
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    line[start..].reverse();
}
