//! Why a row is rejected, in a sentence for a person.

use std::borrow::Cow;

use super::{ColumnBuilder, Fault, Kind};

/// Characters of a wrong value that its reason repeats.
const SHOWN_CHARACTERS: usize = 80;

impl ColumnBuilder {
    /// What is wrong with `value`.
    #[cold]
    pub(in super::super) fn reason(&self, fault: Fault, value: &str) -> String {
        match fault {
            Fault::Inside => format!("`{}{}`{}", self.place(), self.trouble.path, self.trouble.complaint),
            _ => format!("`{}`{}", self.place(), self.complaint(fault, value)),
        }
    }

    /// As [`Self::reason`], without what the author of a contract can do about it.
    #[cold]
    pub(in super::super) fn misfit(&self, fault: Fault, value: &str) -> String {
        match fault {
            Fault::Inexact => format!("`{}`{}", self.place(), self.inexact(&shown(value)).0),
            _ => self.reason(fault, value),
        }
    }

    /// The field, or the column where it takes the whole record.
    fn place(&self) -> &str {
        if self.field.is_empty() { &self.name } else { &self.field }
    }

    /// The reason behind the name of the field.
    #[cold]
    pub(super) fn complaint(&self, fault: Fault, value: &str) -> String {
        let value = shown(value);
        match (fault, &self.kind) {
            (Fault::Empty, _) if value.is_empty() => " is empty".to_owned(),
            (Fault::Empty, _) => format!(" is empty: `{value}` means null"),
            (Fault::NotNumber, _) => format!(" is not a number: `{value}`"),
            (Fault::NotFinite, _) => format!(" is not a finite number: `{value}`"),
            (Fault::NotWhole, _) => format!(" is not a whole number: `{value}`"),
            (Fault::TooBig, Kind::Narrow { bits }) => format!(" does not fit in {bits} bits: `{value}`"),
            (Fault::TooBig, Kind::Float) => format!(" does not fit in a float: `{value}`"),
            (Fault::TooBig, Kind::Decimal { .. }) => format!(" does not fit in {}: `{value}`", self.data_type),
            (Fault::TooBig, _) => format!(" does not fit in 64 bits: `{value}`"),
            (Fault::Inexact, _) => {
                let (what, remedy) = self.inexact(&value);
                format!("{what}: {remedy}")
            }
            (Fault::NotBoolean, _) => format!(" is not true or false: `{value}`"),
            (Fault::NotBase64, _) => format!(" is not base64: `{value}`"),
            (Fault::NotJson, _) => format!(" is not JSON: `{value}`"),
            (Fault::NotDate, _) => {
                format!(" is not a date ({}): `{value}`", self.pattern.as_deref().unwrap_or("YYYY-MM-DD"))
            }
            (Fault::NotStamp, _) => {
                format!(" is not a timestamp ({}): `{value}`", self.pattern.as_deref().unwrap_or("YYYY-MM-DD HH:MM:SS"))
            }
            (Fault::Gap, Kind::Timestamp(stamps)) => {
                format!(": {value} does not exist in {}", stamps.stamps().zone_name())
            }
            (Fault::Gap, _) => format!(": {value} does not exist"),
            (Fault::Repeated, Kind::Timestamp(stamps)) => {
                format!(": {value} occurs twice in {}", stamps.stamps().zone_name())
            }
            (Fault::Repeated, _) => format!(": {value} occurs twice"),
            (Fault::OutOfRange, _) => format!(" is outside the years 1 to 9999: `{value}`"),
            (Fault::Twice, _) => format!(" is there twice: `{value}`"),
            (Fault::WrongType | Fault::Inside, _) => format!(" is not {}: `{value}`", self.expected()),
        }
    }

    /// What is wrong, and what can be done about it.
    fn inexact(&self, value: &str) -> (String, &'static str) {
        let data_type = &self.data_type;
        match &self.kind {
            Kind::Date(_) => (format!(" is a date with a time: `{value}`"), "declare it as `timestamp_ntz`"),
            Kind::Timestamp(_) => {
                (format!(" is finer than a microsecond: `{value}`"), "`round = true` on the column rounds it")
            }
            Kind::Decimal { .. } => (
                format!(" has more digits than {data_type}: `{value}`"),
                "declare more, or `round = true` on the column",
            ),
            _ => (
                format!(" is between two values of {data_type}: `{value}`"),
                "declare a `decimal`, or `round = true` on the column",
            ),
        }
    }

    fn expected(&self) -> Cow<'static, str> {
        Cow::Borrowed(match &self.kind {
            Kind::Text => "a text",
            Kind::Json => "a text of JSON",
            Kind::Binary => "bytes",
            Kind::Boolean => "true or false",
            Kind::Bigint | Kind::Narrow { .. } => "a whole number",
            Kind::Double | Kind::Float | Kind::Decimal { .. } => "a number",
            Kind::Date(_) => "a date",
            Kind::Timestamp(_) if self.data_type == pulse_core::sources::ColumnType::TimestampNtz => {
                "a timestamp without an offset"
            }
            Kind::Timestamp(_) => "a timestamp",
            Kind::Nested => return Cow::Owned(format!("a value of type {}", self.data_type)),
        })
    }
}

pub(super) fn shown(value: &str) -> Cow<'_, str> {
    match value.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => Cow::Owned(format!("{}...", value.get(..end).unwrap_or(value))),
        None => Cow::Borrowed(value),
    }
}
