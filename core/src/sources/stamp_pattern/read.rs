//! A text read by a pattern.

use super::{Field, OffsetForm, Part, Piece, TextPattern};

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
pub(super) const SHORT_NAME: usize = 3;

/// What a text says. Whether the calendar has such a day is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StampParts {
    pub year: i32,
    /// From 1.
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    pub nanos: u32,
    /// Days from Monday.
    pub weekday: Option<u32>,
    /// Seconds east of Greenwich.
    pub offset: Option<i32>,
}

impl TextPattern {
    /// What the whole of `text` says; `None` when it is not of the pattern.
    pub fn read(&self, text: &[u8]) -> Option<StampParts> {
        let mut parts = StampParts::default();
        let mut afternoon = None;
        let mut rest = text;
        for piece in &self.pieces {
            rest = match piece {
                Piece::Literal(literal) => rest.strip_prefix(literal.as_bytes())?,
                Piece::Field(Field::HalfDay) => {
                    let (half, after) = rest.split_at_checked(2)?;
                    afternoon = match half {
                        [b'a' | b'A', b'm' | b'M'] => Some(false),
                        [b'p' | b'P', b'm' | b'M'] => Some(true),
                        _ => return None,
                    };
                    after
                }
                Piece::Field(field) => field.read(rest, &mut parts)?,
            };
        }
        if let Some(is_afternoon) = afternoon {
            if !(1..=12).contains(&parts.hour) {
                return None;
            }
            parts.hour = parts.hour % 12 + if is_afternoon { 12 } else { 0 };
        }
        let is_clock = parts.hour < 24 && parts.minute < 60 && parts.second < 60;
        (rest.is_empty() && is_clock && parts.year >= 1).then_some(parts)
    }
}

impl Field {
    fn read<'a>(self, text: &'a [u8], parts: &mut StampParts) -> Option<&'a [u8]> {
        match self {
            Field::Number { part, least, most } => {
                let (number, _, rest) = digits(text, least, most)?;
                match part {
                    Part::Year => parts.year = i32::try_from(number).ok()?,
                    Part::Month => parts.month = number,
                    Part::Day => parts.day = number,
                    Part::Hour | Part::HalfDayHour => parts.hour = number,
                    Part::Minute => parts.minute = number,
                    Part::Second => parts.second = number,
                }
                Some(rest)
            }
            Field::ShortYear => {
                let (number, _, rest) = digits(text, 2, 2)?;
                parts.year = 2000 + i32::try_from(number).ok()?;
                Some(rest)
            }
            Field::Fraction { least, most } => {
                let (number, length, rest) = digits(text, least, most)?;
                parts.nanos = number * 10_u32.pow(9 - u32::try_from(length).ok()?);
                Some(rest)
            }
            Field::MonthName { is_long } => {
                let (month, rest) = name(text, &MONTHS, is_long)?;
                parts.month = month + 1;
                Some(rest)
            }
            Field::Weekday { is_long } => {
                let (weekday, rest) = name(text, &WEEKDAYS, is_long)?;
                parts.weekday = Some(weekday);
                Some(rest)
            }
            // Read by the pattern, since it changes the hour.
            Field::HalfDay => None,
            Field::Offset { form, has_zulu } => {
                let (offset, rest) = offset(text, form, has_zulu)?;
                parts.offset = Some(offset);
                Some(rest)
            }
        }
    }
}

/// A number of as many digits as there are, how many, and what follows.
fn digits(text: &[u8], least: usize, most: usize) -> Option<(u32, usize, &[u8])> {
    let length = text.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
    if length < least {
        return None;
    }
    let (digits, rest) = text.split_at_checked(length)?;
    Some((digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')), length, rest))
}

/// Which of `names` the text starts with, in any case.
fn name<'a>(text: &'a [u8], names: &[&str], is_long: bool) -> Option<(u32, &'a [u8])> {
    (0..).zip(names).find_map(|(at, name)| {
        let name = if is_long { name } else { name.get(..SHORT_NAME)? };
        let (start, rest) = text.split_at_checked(name.len())?;
        start.eq_ignore_ascii_case(name.as_bytes()).then_some((at, rest))
    })
}

fn offset(text: &[u8], form: OffsetForm, has_zulu: bool) -> Option<(i32, &[u8])> {
    if let Some(rest) = text.strip_prefix(b"Z") {
        return has_zulu.then_some((0, rest));
    }
    let (sign, rest) = match text {
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, _, rest) = digits(rest, 2, 2)?;
    let (minutes, rest) = match form {
        OffsetForm::Hours => digits(rest, 2, 2).map_or((0, rest), |(minutes, _, rest)| (minutes, rest)),
        OffsetForm::Plain => digits(rest, 2, 2).map(|(minutes, _, rest)| (minutes, rest))?,
        OffsetForm::Colon => digits(rest.strip_prefix(b":")?, 2, 2).map(|(minutes, _, rest)| (minutes, rest))?,
    };
    let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
    (minutes < 60 && seconds <= 18 * 3600).then_some((sign * seconds, rest))
}
