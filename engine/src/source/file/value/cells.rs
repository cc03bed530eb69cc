//! Values whose type the file's format knows.

use super::kind::whole;
use super::{ColumnBuilder, Fault, Kind, Number};
use crate::source::file::cell::Cell;
use crate::source::file::number::{decimal_to_double, decimal_to_float};

/// From here on, neighbouring doubles are whole numbers that lie apart by more than one.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl ColumnBuilder {
    /// Takes a value whose type the file's format knows.
    pub(in super::super) fn push_cell(&mut self, cell: &Cell<'_>) -> Result<(), Fault> {
        match (&mut self.kind, cell) {
            (_, Cell::Null) => self.push_null(),
            (Kind::Nested, Cell::Json(text)) => {
                self.push_nested(|node, trouble| node.push_json(text.as_bytes(), trouble))
            }
            (Kind::Nested, Cell::Nested(..)) => self.push_nested(|node, trouble| node.push_cell(cell, trouble)),
            (Kind::Nested, _) => Err(Fault::WrongType),
            (Kind::Json, Cell::Json(text)) => {
                self.keep_text(text.as_bytes());
                Ok(())
            }
            (_, Cell::Text(text)) => self.push_text(text.as_bytes()),
            (_, Cell::Number(digits)) => self.push_json_number(digits.as_bytes()),
            (Kind::Boolean, Cell::Boolean(value)) => {
                self.keep_boolean(*value);
                Ok(())
            }
            (_, Cell::Decimal(text)) => self.push_written_decimal(text),
            (_, Cell::Int(value)) => self.push_whole(i128::from(*value)),
            (_, Cell::Uint(value)) => self.push_whole(i128::from(*value)),
            (_, Cell::Double(value)) => self.push_real(*value),
            (Kind::Binary, Cell::Bytes(bytes)) => {
                self.keep_text(bytes);
                Ok(())
            }
            (Kind::Date(_), Cell::Date(value)) => self.push_date(*value),
            (Kind::Timestamp(stamps), Cell::WallClock(micros, nanos)) => {
                let instant = stamps.wall_clock(*micros, *nanos)?;
                self.keep_timestamp(instant);
                Ok(())
            }
            (Kind::Timestamp(stamps), Cell::Instant(micros, nanos)) => {
                let instant = stamps.instant(*micros, *nanos)?;
                self.keep_timestamp(instant);
                Ok(())
            }
            _ => Err(Fault::WrongType),
        }
    }

    fn push_json_number(&mut self, digits: &[u8]) -> Result<(), Fault> {
        match &self.nulls {
            Some(_) if self.means_null(digits) => self.push_null(),
            Some(_) | None => self.push_digits(digits),
        }
    }

    /// A decimal of a format that has them: a type with other digits must give its own back.
    fn push_written_decimal(&mut self, text: &str) -> Result<(), Fault> {
        match &self.kind {
            Kind::Text => self.keep_text(text.as_bytes()),
            Kind::Double => self.keep_double(decimal_to_double(text.as_bytes(), self.rounds)?),
            Kind::Float => self.keep_double(f64::from(decimal_to_float(text.as_bytes(), self.rounds)?)),
            _ => return self.push_digits(text.as_bytes()),
        }
        Ok(())
    }

    fn push_whole(&mut self, value: i128) -> Result<(), Fault> {
        match &self.kind {
            Kind::Bigint | Kind::Narrow { .. } => self.push_bigint(i64::try_from(value).map_err(|_| Fault::TooBig)?),
            Kind::Double => {
                let double = value as f64;
                if double as i128 != value && !self.rounds {
                    return Err(Fault::Inexact);
                }
                self.keep_double(double);
                Ok(())
            }
            Kind::Float => {
                let float = value as f32;
                if float as i128 != value && !self.rounds {
                    return Err(Fault::Inexact);
                }
                self.keep_double(f64::from(float));
                Ok(())
            }
            Kind::Decimal { .. } => self.push_decimal(Number::of(value)),
            Kind::Date(_) | Kind::Timestamp(_) => self.push_digits(value.to_string().as_bytes()),
            Kind::Text | Kind::Json | Kind::Binary | Kind::Boolean | Kind::Nested => Err(Fault::WrongType),
        }
    }

    fn push_real(&mut self, value: f64) -> Result<(), Fault> {
        match &mut self.kind {
            Kind::Bigint | Kind::Narrow { .. } | Kind::Double | Kind::Float | Kind::Decimal { .. }
                if !value.is_finite() =>
            {
                Err(Fault::NotFinite)
            }
            Kind::Bigint | Kind::Narrow { .. } => self.push_bigint(whole(value)?),
            Kind::Double => {
                self.keep_double(value);
                Ok(())
            }
            Kind::Float => {
                let float = value as f32;
                if !float.is_finite() {
                    return Err(Fault::TooBig);
                }
                if f64::from(float) != value && !self.rounds {
                    return Err(Fault::Inexact);
                }
                self.keep_double(f64::from(float));
                Ok(())
            }
            // From here on, doubles are whole numbers with more digits than the shortest ones.
            Kind::Decimal { .. } if value.abs() >= EXACT => self.push_digits(format!("{value:.0}").as_bytes()),
            // The shortest digits that mean this double and no other.
            Kind::Decimal { .. } => self.push_digits(format!("{value:e}").as_bytes()),
            Kind::Timestamp(stamps) => {
                let instant = stamps.double(value)?;
                self.keep_timestamp(instant);
                Ok(())
            }
            Kind::Text | Kind::Json | Kind::Binary | Kind::Boolean | Kind::Date(_) | Kind::Nested => {
                Err(Fault::WrongType)
            }
        }
    }
}
