//! Whole numbers from text, exactly.

/// Digits that surely fit in an `i64`.
const SAFE_DIGITS: usize = 18;
/// Decimal digits that a `u128` surely holds.
const HELD_DIGITS: u32 = 38;

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
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let Some(decimal) = Decimal::parse(rest) else {
        return match fast_float2::parse::<f64, _>(text) {
            Ok(value) if value.is_nan() => Whole::NotNumber,
            Ok(value) if value.abs() < 1e18 => Whole::Fraction,
            Ok(_) => Whole::TooBig,
            Err(_) => Whole::NotNumber,
        };
    };
    decimal.whole(negative)
}

/// `digits * 10^power`.
struct Decimal {
    digits: u128,
    power: i32,
}

impl Decimal {
    fn parse(text: &[u8]) -> Option<Self> {
        let (mantissa, power) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => {
                let (mantissa, exponent) = text.split_at_checked(at)?;
                (mantissa, parse_exponent(exponent.get(1..)?)?)
            }
            None => (text, 0),
        };
        let mut decimal = Self { digits: 0, power };
        let (mut seen, mut after_point, mut held) = (0, false, 0);
        for byte in mantissa {
            match byte {
                b'.' if !after_point => after_point = true,
                b'0'..=b'9' => {
                    seen += 1;
                    held += u32::from(decimal.digits != 0 || *byte != b'0');
                    if held > HELD_DIGITS {
                        return None;
                    }
                    decimal.digits = decimal.digits * 10 + u128::from(byte - b'0');
                    decimal.power -= i32::from(after_point);
                }
                _ => return None,
            }
        }
        (seen > 0).then_some(decimal)
    }

    fn whole(mut self, negative: bool) -> Whole {
        if self.digits == 0 {
            return Whole::Number(0);
        }
        while self.power < 0 {
            if !self.digits.is_multiple_of(10) {
                return Whole::Fraction;
            }
            self.digits /= 10;
            self.power += 1;
        }
        while self.power > 0 {
            if self.digits > u128::from(u64::MAX) {
                return Whole::TooBig;
            }
            self.digits *= 10;
            self.power -= 1;
        }
        match i128::try_from(self.digits).map(|value| i64::try_from(if negative { -value } else { value })) {
            Ok(Ok(value)) => Whole::Number(value),
            _ => Whole::TooBig,
        }
    }
}

fn parse_exponent(text: &[u8]) -> Option<i32> {
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    if !(1..=4).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0'));
    Some(if text.starts_with(b"-") { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_in_all_spellings() {
        for (text, expected) in [
            ("737", Whole::Number(737)),
            ("+737", Whole::Number(737)),
            ("-737", Whole::Number(-737)),
            ("737.0", Whole::Number(737)),
            ("737.", Whole::Number(737)),
            ("1e3", Whole::Number(1000)),
            ("1.5E3", Whole::Number(1500)),
            ("12000e-3", Whole::Number(12)),
            ("0e9999", Whole::Number(0)),
            ("0.000", Whole::Number(0)),
            ("9223372036854775807", Whole::Number(i64::MAX)),
            ("-9223372036854775808", Whole::Number(i64::MIN)),
            ("9007199254740993.0", Whole::Number(9_007_199_254_740_993)),
            ("9223372036854775808", Whole::TooBig),
            ("1e19", Whole::TooBig),
            ("1e999", Whole::TooBig),
            ("99999999999999999999999999999999999999", Whole::TooBig),
            ("inf", Whole::TooBig),
            ("1.5", Whole::Fraction),
            ("1e-3", Whole::Fraction),
            ("1e-99999", Whole::Fraction),
            ("1e99999", Whole::TooBig),
            ("nan", Whole::NotNumber),
            ("", Whole::NotNumber),
            (".", Whole::NotNumber),
            ("-", Whole::NotNumber),
            ("1.2.3", Whole::NotNumber),
            ("1e", Whole::NotNumber),
            ("0x10", Whole::NotNumber),
            ("1,000", Whole::NotNumber),
            ("12a", Whole::NotNumber),
        ] {
            assert_eq!(parse_whole(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_prefix_is_plain_digits() {
        for (text, expected) in [
            ("737,1", Some((737, 3))),
            ("-5", Some((-5, 2))),
            ("7.0", Some((7, 1))),
            ("999999999999999999", Some((999_999_999_999_999_999, 18))),
            ("9999999999999999999", None),
            ("", None),
            ("-", None),
            ("abc", None),
        ] {
            assert_eq!(whole_prefix(text.as_bytes()), expected, "{text}");
        }
    }
}
