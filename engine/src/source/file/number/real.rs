//! Floating-point numbers: the nearest to a text, and whether that holds it.
//!
//! A double holds every number of at most 15 digits in the sense that its digits come back. Beyond 2^53 it does not even hold every
//! whole number, so that from there on digits alone must be the value. Texts with a point or an exponent are how programs write doubles: their digits
//! must come back.

use fast_float2::FastFloat;

use crate::source::file::cell::Fault;

/// Every whole number up to it is a double.
const DOUBLE_HOLDS: f64 = 9_007_199_254_740_992.0;
/// Every whole number up to it is a float.
const FLOAT_HOLDS: f32 = 16_777_216.0;

/// A type of floating-point numbers.
trait Real: FastFloat + Copy + std::fmt::Display + std::fmt::LowerExp {
    fn is_number(self) -> bool;
    /// Whether whole numbers of this size may be between two values.
    fn is_large(self) -> bool;
}

impl Real for f64 {
    fn is_number(self) -> bool {
        self.is_finite()
    }

    fn is_large(self) -> bool {
        self.abs() >= DOUBLE_HOLDS
    }
}

impl Real for f32 {
    fn is_number(self) -> bool {
        self.is_finite()
    }

    fn is_large(self) -> bool {
        self.abs() >= FLOAT_HOLDS
    }
}

/// # Errors
/// `NotNumber`, `NotFinite`, or `Inexact` when a large number is between two doubles and must not be rounded.
pub(in super::super) fn parse_double(text: &[u8], round: bool) -> Result<f64, Fault> {
    parse(text, |value: f64| !value.is_large(), round)
}

/// # Errors
/// As [`parse_double`].
pub(in super::super) fn parse_float(text: &[u8], round: bool) -> Result<f32, Fault> {
    parse(text, |value: f32| !value.is_large(), round)
}

/// The double of a decimal whose digits it gives back.
///
/// # Errors
/// `Inexact` when it does not and must not be rounded.
pub(in super::super) fn decimal_to_double(text: &[u8], round: bool) -> Result<f64, Fault> {
    parse(text, |_: f64| false, round)
}

/// # Errors
/// As [`decimal_to_double`].
pub(in super::super) fn decimal_to_float(text: &[u8], round: bool) -> Result<f32, Fault> {
    parse(text, |_: f32| false, round)
}

fn parse<R: Real>(text: &[u8], surely_holds: impl Fn(R) -> bool, round: bool) -> Result<R, Fault> {
    let value: R = fast_float2::parse(text).map_err(|_| Fault::NotNumber)?;
    if !value.is_number() {
        return Err(Fault::NotFinite);
    }
    if round || surely_holds(value) || gives_back(value, text) { Ok(value) } else { Err(Fault::Inexact) }
}

/// Whether a text of digits alone is the value, and any other is the value as written with as many digits.
#[cold]
fn gives_back<R: Real>(value: R, text: &[u8]) -> bool {
    let Some(wanted) = digits(text) else { return false };
    let is_of_digits = !text.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    let written = match is_of_digits {
        true => format!("{value:.0}"),
        false => format!("{value:.0$e}", wanted.0.len().saturating_sub(1)),
    };
    digits(written.as_bytes()).is_some_and(|found| found == wanted)
}

/// The digits of a number without zeros at either end, and the power of ten of the last one.
fn digits(text: &[u8]) -> Option<(Vec<u8>, i64)> {
    let text = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    let at = text.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(text.len());
    let (mantissa, exponent) = text.split_at_checked(at)?;
    let mut power: i64 = match exponent.get(1..) {
        Some(exponent) => std::str::from_utf8(exponent).ok()?.trim_start_matches('+').parse().ok()?,
        None => 0,
    };
    let mut found: Vec<u8> = Vec::new();
    let mut after_point = false;
    for byte in mantissa {
        if *byte == b'.' {
            after_point = true;
        } else {
            power -= i64::from(after_point);
            found.push(*byte);
        }
    }
    while found.last() == Some(&b'0') {
        found.pop();
        power += 1;
    }
    let zeros = found.iter().take_while(|digit| **digit == b'0').count();
    found.drain(..zeros);
    Some(if found.is_empty() { (found, 0) } else { (found, power) })
}

/// A double times `10^scale`, as a whole number.
///
/// # Errors
/// `Inexact` when it is none and must not be rounded, `NotFinite`, `TooBig` beyond 38 digits.
pub(in super::super) fn double_at_scale(value: f64, scale: i32, round: bool) -> Result<i128, Fault> {
    const MANTISSA_BITS: i32 = 52;
    if !value.is_finite() {
        return Err(Fault::NotFinite);
    }
    let bits = value.abs().to_bits();
    let (exponent, fraction) = (bits >> MANTISSA_BITS, bits & ((1 << MANTISSA_BITS) - 1));
    let exponent = i32::try_from(exponent).map_err(|_| Fault::TooBig)?;
    let (mut mantissa, mut power) = match exponent {
        0 => (i128::from(fraction), -1074),
        exponent => (i128::from(fraction | (1 << MANTISSA_BITS)), exponent - 1023 - MANTISSA_BITS),
    };
    if mantissa == 0 {
        return Ok(0);
    }
    let zeros = mantissa.trailing_zeros();
    mantissa >>= zeros;
    power += i32::try_from(zeros).map_err(|_| Fault::TooBig)?;
    let sign = if value < 0.0 { -1 } else { 1 };
    if power >= 0 {
        let shift = u32::try_from(power).map_err(|_| Fault::TooBig)?;
        if shift > mantissa.leading_zeros().saturating_sub(1) {
            return Err(Fault::TooBig);
        }
        return super::Number::of(sign * (mantissa << shift)).at_scale(scale, round);
    }
    // `mantissa / 2^n` is `mantissa * 5^n / 10^n`.
    let places = power.unsigned_abs();
    match 5_i128.checked_pow(places).and_then(|fives| mantissa.checked_mul(fives)) {
        Some(digits) => super::Number { power, ..super::Number::of(sign * digits) }.at_scale(scale, round),
        // More digits than a number keeps: none of our scales ends that far behind the point.
        None if round => Ok((value * 10_f64.powi(scale)).round() as i128),
        None => Err(Fault::Inexact),
    }
}
