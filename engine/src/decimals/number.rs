//! Decimals of doubles.

use std::fmt;

use arrow::datatypes::{Decimal128Type, DecimalType as _, i256};

/// `digits` with the point `scale` places from the right; `scale` may be below 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    pub(super) digits: i128,
    pub(super) scale: i32,
}

impl Number {
    /// The shortest decimal that reads as the same double, as it is shown; of two, that with the even digit. `None` for what is no number.
    pub(crate) fn of(value: f64) -> Option<Self> {
        let text = serde_json::Number::from_f64(value)?.to_string();
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let (mut digits, places): (i128, _) = (format!("{whole}{fraction}").parse().ok()?, fraction.len());
        let mut scale = i32::try_from(places).ok()? - exponent.parse::<i32>().ok()?;
        while digits != 0 && digits % 10 == 0 {
            (digits, scale) = (digits / 10, scale - 1);
        }
        Some(Self { digits, scale: if digits == 0 { 0 } else { scale } })
    }

    /// The unscaled value, if the type holds it as it is.
    pub(super) fn held(self, precision: u8, scale: i8) -> Option<i128> {
        let places = u32::try_from(i32::from(scale) - self.scale).ok();
        let value = match (self.digits, places) {
            (0, _) => 0,
            (digits, places) => digits.checked_mul(10_i128.checked_pow(places?)?)?,
        };
        Decimal128Type::is_valid_decimal_precision(value, precision).then_some(value)
    }

    /// The unscaled value with halves rounded away from zero, if the type holds it.
    pub(crate) fn rounded(self, precision: u8, scale: i8) -> Option<i128> {
        match self.scale > i32::from(scale) {
            true => Some(self.to_places(i32::from(scale)).digits)
                .filter(|value| Decimal128Type::is_valid_decimal_precision(*value, precision)),
            false => self.held(precision, scale),
        }
    }

    pub(crate) fn has_more_than(self, places: i32) -> bool {
        self.scale > places
    }

    /// With so many places at most, and halves rounded away from zero.
    pub(crate) fn to_places(self, places: i32) -> Self {
        let Ok(surplus @ 1..) = u32::try_from(self.scale.saturating_sub(places)) else { return self };
        // Digits of a double are few: what is cut off is less than half where the unit is larger than all numbers.
        let digits = 10_i128.checked_pow(surplus).map_or(0, |unit| {
            let (quotient, rest) = (self.digits / unit, self.digits % unit);
            if rest.abs() >= unit - rest.abs() { quotient + self.digits.signum() } else { quotient }
        });
        Self { digits, scale: places }
    }

    pub(super) fn wide(self, scale: i8) -> Option<i256> {
        let places = u32::try_from(i32::from(scale) - self.scale).ok()?;
        i256::from_i128(self.digits).checked_mul(i256::from_i128(10).checked_pow(places)?)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}e{}", self.digits, -i64::from(self.scale))
    }
}
