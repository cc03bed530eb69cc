//! Values that were found right, on their way into the column.

use super::{ColumnBuilder, Data, Fault, Kind, Node, Number, Trouble, Values};
use crate::source::file::stamp::Stamps;

const DAY_MICROS: i64 = 86_400_000_000;

impl ColumnBuilder {
    pub(super) fn push_bigint(&mut self, value: i64) -> Result<(), Fault> {
        if let Kind::Narrow { bits } = self.kind {
            let beyond = 1_i64 << (bits - 1);
            if !(-beyond..beyond).contains(&value) {
                return Err(Fault::TooBig);
            }
        }
        self.keep_bigint(value);
        Ok(())
    }

    pub(super) fn push_decimal(&mut self, number: Number) -> Result<(), Fault> {
        let Kind::Decimal { scale, below } = self.kind else { return Err(Fault::WrongType) };
        let value = number.at_scale(i32::from(scale), self.rounds)?;
        if value.abs() >= below {
            return Err(Fault::TooBig);
        }
        self.keep_decimal(value);
        Ok(())
    }

    pub(super) fn push_date(&mut self, days: i32) -> Result<(), Fault> {
        let micros = i64::from(days).checked_mul(DAY_MICROS).ok_or(Fault::OutOfRange)?;
        Stamps::shifted(micros, 0)?;
        if let Some(Values { data: Data::Date(data), .. }) = &mut self.values {
            data.push(days);
        }
        Ok(())
    }

    pub(super) fn push_nested(
        &mut self,
        push: impl FnOnce(&mut Node, &mut Trouble) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        match &mut self.values {
            Some(Values { data: Data::Nested(node), .. }) => push(node, &mut self.trouble),
            Some(_) | None => Err(Fault::WrongType),
        }
    }

    pub(super) fn keep_boolean(&mut self, value: bool) {
        if let Some(Values { data: Data::Boolean(data), .. }) = &mut self.values {
            data.push(value);
        }
    }

    #[inline]
    pub(super) fn keep_double(&mut self, value: f64) {
        if let Some(Values { data: Data::Double(data), .. }) = &mut self.values {
            data.push(value);
        }
    }

    #[inline]
    pub(super) fn keep_bigint(&mut self, value: i64) {
        if let Some(Values { data: Data::Bigint(data), .. }) = &mut self.values {
            data.push(value);
        }
    }

    #[inline]
    pub(super) fn keep_decimal(&mut self, value: i128) {
        if let Some(Values { data: Data::Decimal { values, .. }, .. }) = &mut self.values {
            values.push(value);
        }
    }

    #[inline]
    pub(super) fn keep_timestamp(&mut self, micros: i64) {
        if let Some(Values { data: Data::Timestamp(data) | Data::TimestampNtz(data), .. }) = &mut self.values {
            data.push(micros);
        }
    }

    pub(super) fn keep_text(&mut self, text: &[u8]) {
        if let Some(Values { data: Data::Text { ends, bytes } | Data::Binary { ends, bytes }, .. }) = &mut self.values {
            bytes.extend_from_slice(text);
            ends.push(bytes.len() as i32);
        }
    }
}
