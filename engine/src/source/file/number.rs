//! Numbers from text, exactly.

mod real;

use super::cell::Fault;

pub(super) use real::{decimal_to_double, decimal_to_float, double_at_scale, parse_double, parse_float};

/// Digits that surely fit in an `i64`.
const SAFE_DIGITS: usize = 18;
/// Decimal digits that a `u128` surely holds.
const HELD_DIGITS: u32 = 38;
/// Exponents beyond it are as good as it.
const MAX_EXPONENT: i32 = 100_000;

/// What a text says when a whole number is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    Number(i64),
    /// A number, but not a whole one.
    Fraction,
    /// Beyond 64 bits, or infinite.
    TooBig,
    NotNumber,
}

/// The plain digits that `text` starts with, and how many bytes they take; `None` for any other form.
#[inline]
pub(super) fn whole_prefix(text: &[u8]) -> Option<(i64, usize)> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let mut value = 0_i64;
    let mut length = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        if length == SAFE_DIGITS {
            return None;
        }
        value = value * 10 + i64::from(digit);
        length += 1;
    }
    match (length, negative) {
        (0, _) => None,
        (_, true) => Some((-value, length + 1)),
        (_, false) => Some((value, length)),
    }
}

/// Reads `737`, `+737`, `737.0` and `1e3` without going through a double, which would round beyond 2^53.
pub(super) fn parse_whole(text: &[u8]) -> Whole {
    let Some(number) = Number::parse(text) else {
        return match fast_float2::parse::<f64, _>(text) {
            Ok(value) if value.is_infinite() => Whole::TooBig,
            Ok(_) | Err(_) => Whole::NotNumber,
        };
    };
    match number.at_scale(0, false).map(i64::try_from) {
        Ok(Ok(value)) => Whole::Number(value),
        Err(Fault::Inexact) => Whole::Fraction,
        Ok(Err(_)) | Err(_) => Whole::TooBig,
    }
}

/// The plain decimal of at most 18 digits that `text` starts with, times `10^scale`, and how many bytes it takes; `None` for any
/// other form.
#[inline]
pub(super) fn decimal_prefix(text: &[u8], scale: u8) -> Option<(i64, usize)> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (1, digits),
        digits => (0, digits),
    };
    let (mut value, mut count, mut point, mut length) = (0_i64, 0_usize, None, 0_usize);
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            if count == SAFE_DIGITS {
                return None;
            }
            value = value * 10 + i64::from(digit);
            count += 1;
        } else if *byte == b'.' && point.is_none() {
            point = Some(count);
        } else {
            break;
        }
        length += 1;
    }
    let behind = count - point.unwrap_or(count);
    let missing = usize::from(scale).checked_sub(behind)?;
    if count == 0 || count + missing > SAFE_DIGITS {
        return None;
    }
    let value = value * 10_i64.pow(u32::try_from(missing).ok()?);
    Some((if sign == 1 { -value } else { value }, sign + length))
}

/// `digits * 10^power`, and a little more when digits were left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    is_negative: bool,
    digits: u128,
    power: i32,
    /// Digits other than 0 follow the first 38.
    has_more: bool,
}

impl Number {
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (is_negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let (mantissa, power) = match rest.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => {
                let (mantissa, exponent) = rest.split_at_checked(at)?;
                (mantissa, parse_exponent(exponent.get(1..)?)?)
            }
            None => (rest, 0),
        };
        let mut number = Self { is_negative, digits: 0, power, has_more: false };
        let (mut seen, mut after_point, mut held) = (false, false, 0);
        for byte in mantissa {
            match byte {
                b'.' if !after_point => after_point = true,
                b'0'..=b'9' => {
                    seen = true;
                    held += u32::from(number.digits != 0 || *byte != b'0');
                    if held > HELD_DIGITS {
                        number.has_more |= *byte != b'0';
                        number.power = number.power.saturating_add(i32::from(!after_point));
                    } else {
                        number.digits = number.digits * 10 + u128::from(byte - b'0');
                        number.power = number.power.saturating_sub(i32::from(after_point));
                    }
                }
                _ => return None,
            }
        }
        seen.then_some(number)
    }

    pub(super) fn of(value: i128) -> Self {
        Self { is_negative: value < 0, digits: value.unsigned_abs(), power: 0, has_more: false }
    }

    /// The number times `10^scale`, as a whole number.
    ///
    /// # Errors
    /// `Inexact` when it is none and must not be rounded, `TooBig` when it has more than 38 digits.
    pub(super) fn at_scale(self, scale: i32, round: bool) -> Result<i128, Fault> {
        if self.digits == 0 {
            return Ok(0);
        }
        let power = self.power.saturating_add(scale);
        let unit = 10_u128.checked_pow(power.unsigned_abs());
        let size = match (unit, power >= 0) {
            (Some(unit), true) if !self.has_more => self.digits.checked_mul(unit).ok_or(Fault::TooBig)?,
            (Some(_), true) if power == 0 => return Err(Fault::Inexact),
            (Some(_) | None, true) => return Err(Fault::TooBig),
            (Some(unit), false) => {
                let (whole, rest) = (self.digits / unit, self.digits % unit);
                match rest == 0 && !self.has_more {
                    true => whole,
                    false if round => whole + u128::from(rest >= unit - rest),
                    false => return Err(Fault::Inexact),
                }
            }
            (None, false) if round => 0,
            (None, false) => return Err(Fault::Inexact),
        };
        let size = i128::try_from(size).map_err(|_| Fault::TooBig)?;
        Ok(if self.is_negative { -size } else { size })
    }
}

fn parse_exponent(text: &[u8]) -> Option<i32> {
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |sum, digit| (sum * 10 + i32::from(digit - b'0')).min(MAX_EXPONENT));
    Some(if text.starts_with(b"-") { -value } else { value })
}

#[cfg(test)]
mod tests;
