//! A stamp written by a pattern, as Java and Spark write it.

use std::fmt::Write as _;

use super::read::{MONTHS, SHORT_NAME, StampParts, WEEKDAYS};
use super::{Field, OffsetForm, Part, Piece, TextPattern, pieces};

impl TextPattern {
    /// A pattern to write by, which need not say all parts of a stamp.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn to_write(text: &str) -> Result<Self, String> {
        Ok(Self { pieces: pieces(text)? })
    }

    /// Appends the stamp to `out`. Its weekday and offset must be known if the pattern says them.
    pub fn write(&self, parts: &StampParts, out: &mut String) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Field(field) => field.write(parts, out),
            }
        }
    }
}

impl Field {
    fn write(self, parts: &StampParts, out: &mut String) {
        match self {
            Field::Number { part, least, .. } => {
                let number = match part {
                    Part::Year => i64::from(parts.year),
                    Part::Month => parts.month.into(),
                    Part::Day => parts.day.into(),
                    Part::Hour => parts.hour.into(),
                    Part::HalfDayHour => ((parts.hour + 11) % 12 + 1).into(),
                    Part::Minute => parts.minute.into(),
                    Part::Second => parts.second.into(),
                };
                push(out, format_args!("{number:0least$}"));
            }
            Field::ShortYear => push(out, format_args!("{:02}", parts.year.rem_euclid(100))),
            Field::Fraction { most, .. } => {
                let digits = format!("{:09}", parts.nanos);
                out.push_str(digits.get(..most).unwrap_or(&digits));
            }
            Field::MonthName { is_long } => push_name(out, &MONTHS, parts.month.saturating_sub(1), is_long),
            Field::Weekday { is_long } => push_name(out, &WEEKDAYS, parts.weekday.unwrap_or_default(), is_long),
            Field::HalfDay => out.push_str(if parts.hour < 12 { "AM" } else { "PM" }),
            Field::Offset { form, has_zulu } => push_offset(out, parts.offset.unwrap_or_default(), form, has_zulu),
        }
    }
}

/// A `String` takes all that is written.
fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn push_name(out: &mut String, names: &[&str], at: u32, is_long: bool) {
    let name = usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or_default();
    out.push_str(if is_long { name } else { name.get(..SHORT_NAME).unwrap_or(name) });
}

fn push_offset(out: &mut String, seconds: i32, form: OffsetForm, has_zulu: bool) {
    if seconds == 0 && has_zulu {
        return out.push('Z');
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
    match form {
        OffsetForm::Hours if minutes == 0 => push(out, format_args!("{sign}{hours:02}")),
        OffsetForm::Hours | OffsetForm::Plain => push(out, format_args!("{sign}{hours:02}{minutes:02}")),
        OffsetForm::Colon => push(out, format_args!("{sign}{hours:02}:{minutes:02}")),
    }
}
