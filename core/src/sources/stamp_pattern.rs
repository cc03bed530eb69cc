//! How a text shows a date or a stamp: Spark's pattern letters, or a number since 1970.

mod read;
mod write;

use super::ColumnType;

pub use read::StampParts;

/// How a column's text is read as a date or a stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StampPattern {
    /// A number of this unit since 1970-01-01 00:00 UTC.
    Epoch(EpochUnit),
    Text(TextPattern),
}

/// What a number since 1970 counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochUnit {
    Seconds,
    Millis,
    Micros,
    Nanos,
}

/// Fields and literals, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPattern {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field(Field),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Number {
        part: Part,
        least: usize,
        most: usize,
    },
    /// Two digits: 2000 to 2099.
    ShortYear,
    Fraction {
        least: usize,
        most: usize,
    },
    MonthName {
        is_long: bool,
    },
    Weekday {
        is_long: bool,
    },
    HalfDay,
    Offset {
        form: OffsetForm,
        has_zulu: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OffsetForm {
    /// `+05` or `+0530`.
    Hours,
    /// `+0530`.
    Plain,
    /// `+05:30`.
    Colon,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Year,
    Month,
    Day,
    Hour,
    HalfDayHour,
    Minute,
    Second,
}

impl StampPattern {
    /// The pattern `text` of a column of `data_type`.
    ///
    /// # Errors
    /// What is wrong with it: a letter that is not supported, parts that are missing, there twice or that the type drops, numbers
    /// whose ends are not clear.
    pub fn parse(text: &str, data_type: &ColumnType) -> Result<Self, String> {
        if let Some(unit) = epoch_unit(text) {
            return match data_type {
                ColumnType::Timestamp => Ok(Self::Epoch(unit)),
                _ => Err(format!(
                    "`{text}` counts from an instant, and a `{data_type}` is none: declare the column as `timestamp`"
                )),
            };
        }
        let pattern = TextPattern { pieces: pieces(text)? };
        pattern.check(data_type)?;
        Ok(Self::Text(pattern))
    }
}

fn epoch_unit(text: &str) -> Option<EpochUnit> {
    match text {
        "epoch_s" => Some(EpochUnit::Seconds),
        "epoch_ms" => Some(EpochUnit::Millis),
        "epoch_us" => Some(EpochUnit::Micros),
        "epoch_ns" => Some(EpochUnit::Nanos),
        _ => None,
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            let (literal, after) = quoted(rest)?;
            add_literal(&mut pieces, &literal);
            rest = after;
        } else if first.is_ascii_alphabetic() {
            let (letters, after) = rest.split_at(rest.find(|other| other != first).unwrap_or(rest.len()));
            let follows_number = matches!(pieces.last(), Some(Piece::Field(field)) if field.is_number());
            pieces.push(Piece::Field(field(first, letters.len(), follows_number)?));
            rest = after;
        } else if "[]{}#".contains(first) {
            return Err(format!("`{first}` is reserved in a pattern: put it between quotes, `'{first}'`"));
        } else {
            let (literal, after) = rest.split_at(first.len_utf8());
            add_literal(&mut pieces, literal);
            rest = after;
        }
    }
    Ok(pieces)
}

/// The literal between quotes that `text` starts with, and what follows; two quotes stand for one.
fn quoted(text: &str) -> Result<(String, &str), String> {
    if let Some(rest) = text.strip_prefix("''") {
        return Ok(("'".to_owned(), rest));
    }
    let mut literal = String::new();
    let mut rest = text.get(1..).unwrap_or_default();
    while let Some((part, after)) = rest.split_once('\'') {
        literal.push_str(part);
        match after.strip_prefix('\'') {
            Some(after) => {
                literal.push('\'');
                rest = after;
            }
            None => return Ok((literal, after)),
        }
    }
    Err("a quote of the pattern is not closed".to_owned())
}

fn add_literal(pieces: &mut Vec<Piece>, literal: &str) {
    match pieces.last_mut() {
        Some(Piece::Literal(last)) => last.push_str(literal),
        _ => pieces.push(Piece::Literal(literal.to_owned())),
    }
}

fn field(letter: char, count: usize, follows_number: bool) -> Result<Field, String> {
    let number = |part, least, most| Ok(Field::Number { part, least, most });
    match (letter, count) {
        ('y', 1) => number(Part::Year, 1, 4),
        ('y', 2) => Ok(Field::ShortYear),
        ('y', 4) => number(Part::Year, 4, 4),
        ('M', 1 | 2) => number(Part::Month, count, 2),
        ('M', 3 | 4) => Ok(Field::MonthName { is_long: count == 4 }),
        ('d', 1 | 2) => number(Part::Day, count, 2),
        ('H', 1 | 2) => number(Part::Hour, count, 2),
        ('h', 1 | 2) => number(Part::HalfDayHour, count, 2),
        ('m', 1 | 2) => number(Part::Minute, count, 2),
        ('s', 1 | 2) => number(Part::Second, count, 2),
        // Behind digits only its full length says where it starts.
        ('S', 1..=9) => Ok(Field::Fraction { least: if follows_number { count } else { 1 }, most: count }),
        ('a', 1) => Ok(Field::HalfDay),
        ('E', 1..=4) => Ok(Field::Weekday { is_long: count == 4 }),
        ('X', 1) => Ok(Field::Offset { form: OffsetForm::Hours, has_zulu: true }),
        ('X', 2) => Ok(Field::Offset { form: OffsetForm::Plain, has_zulu: true }),
        ('X', 3) | ('Z', 5) => Ok(Field::Offset { form: OffsetForm::Colon, has_zulu: true }),
        ('x', 1) => Ok(Field::Offset { form: OffsetForm::Hours, has_zulu: false }),
        ('x', 2) | ('Z', 1..=3) => Ok(Field::Offset { form: OffsetForm::Plain, has_zulu: false }),
        ('x', 3) => Ok(Field::Offset { form: OffsetForm::Colon, has_zulu: false }),
        _ => Err(unsupported(letter, count)),
    }
}

fn unsupported(letter: char, count: usize) -> String {
    let help = match letter {
        'y' => "write `yyyy`, `yy` (2000 to 2099) or `y`",
        'M' | 'd' | 'H' | 'h' | 'm' | 's' | 'S' | 'a' | 'E' | 'X' | 'x' | 'Z' => {
            "it is there so often that it means nothing here"
        }
        'Y' | 'u' => "a year is `yyyy`",
        'L' => "a month is `MM`",
        'D' => "a day is `dd`",
        'k' | 'K' => "an hour is `HH`, or `hh` with `a`",
        'n' | 'N' | 'A' => "a part of a second is `SSS`",
        'z' | 'V' | 'v' | 'O' => {
            "names of zones do not say which offset they mean: declare `time_zone` of the feed, or read offsets with `X`, `x` or `Z`"
        }
        'T' | 't' => "a letter that stands for itself is between quotes, `'T'`",
        _ => "there are y, M, d, H, h, m, s, S, a, E, X, x, Z, and text between quotes, `'T'`",
    };
    let letters = letter.to_string().repeat(count.min(12));
    format!("the letter `{letter}` of the pattern is not supported as `{letters}`: {help}")
}

impl Field {
    fn is_number(self) -> bool {
        matches!(self, Field::Number { .. } | Field::ShortYear | Field::Fraction { .. })
    }

    fn has_open_end(self) -> bool {
        match self {
            Field::Number { least, most, .. } | Field::Fraction { least, most } => least < most,
            Field::Offset { form, .. } => form == OffsetForm::Hours,
            Field::ShortYear | Field::MonthName { .. } | Field::Weekday { .. } | Field::HalfDay => false,
        }
    }

    /// What of a stamp it says.
    fn says(self) -> &'static str {
        match self {
            Field::Number { part: Part::Year, .. } | Field::ShortYear => "year",
            Field::Number { part: Part::Month, .. } | Field::MonthName { .. } => "month",
            Field::Number { part: Part::Day, .. } => "day",
            Field::Number { part: Part::Hour, .. } => "hour",
            Field::Number { part: Part::HalfDayHour, .. } => "hour of half a day",
            Field::Number { part: Part::Minute, .. } => "minute",
            Field::Number { part: Part::Second, .. } => "second",
            Field::Fraction { .. } => "fraction",
            Field::Weekday { .. } => "weekday",
            Field::HalfDay => "half of the day",
            Field::Offset { .. } => "offset",
        }
    }
}

impl TextPattern {
    fn check(&self, data_type: &ColumnType) -> Result<(), String> {
        let fields = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Field(field) => Some(field.says()),
            Piece::Literal(_) => None,
        });
        let says: Vec<&str> = fields.collect();
        let has = |what: &str| says.contains(&what);
        if let Some(twice) =
            says.iter().enumerate().find(|(at, what)| says.iter().take(*at).any(|other| other == *what))
        {
            return Err(format!("the pattern says the {} twice", twice.1));
        }
        if has("hour") && has("hour of half a day") {
            return Err("the pattern says the hour twice, as `H` and as `h`".to_owned());
        }
        for needed in ["year", "month", "day"] {
            if !has(needed) {
                return Err(format!("the pattern does not say the {needed}: see `y`, `M` and `d`"));
            }
        }
        for (what, needed) in [
            ("hour of half a day", "half of the day"),
            ("half of the day", "hour of half a day"),
            ("second", "minute"),
            ("fraction", "second"),
        ] {
            if has(what) && !has(needed) {
                return Err(format!("the pattern says the {what} and not the {needed}"));
            }
        }
        if has("minute") && !has("hour") && !has("hour of half a day") {
            return Err("the pattern says the minute and not the hour".to_owned());
        }
        if has("offset") && *data_type != ColumnType::Timestamp {
            return Err(format!("a `{data_type}` has no offset: declare the column as `timestamp`"));
        }
        self.check_ends()
    }

    fn check_ends(&self) -> Result<(), String> {
        for (piece, next) in self.pieces.iter().zip(self.pieces.iter().skip(1)) {
            let digits_follow = match next {
                Piece::Field(field) => field.is_number(),
                Piece::Literal(text) => text.starts_with(|first: char| first.is_ascii_digit()),
            };
            match piece {
                Piece::Field(field) if field.has_open_end() && digits_follow => {
                    return Err(format!(
                        "where the {} ends is not clear, since digits follow: double its letter so that its length is fixed",
                        field.says()
                    ));
                }
                Piece::Field(_) | Piece::Literal(_) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
