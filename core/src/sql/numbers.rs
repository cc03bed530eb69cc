//! Numbers that a query names and that would become others: what has a point, or is larger than a whole number of 64 bits, is a double.

use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

/// # Errors
/// Where a number stands whose digits a double does not hold, and what to write.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<(), (Span, String)> {
    for token in tokens {
        if let Token::Number(text, _) = &token.token
            && let Some(other) = other(text)
        {
            let message = format!(
                "`{text}` has more digits than a number of a query, and would be {other}: write a text and its type, such as \
                 `cast('{text}' as decimal(38,10))`, or fewer digits"
            );
            return Err((token.span, message));
        }
    }
    Ok(())
}

/// The number that a text becomes, where that is another one.
fn other(text: &str) -> Option<String> {
    if text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok() {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    // The shortest digits that mean this double and no other.
    let shortest = format!("{value:e}");
    (value.is_finite() && digits(text)? != digits(&shortest)?).then_some(shortest)
}

/// Digits without zeros at both ends, and the power of ten of the last one.
fn digits(text: &str) -> Option<(String, i64)> {
    let (number, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all = format!("{whole}{fraction}");
    let kept = all.trim_end_matches('0');
    let dropped = i64::try_from(all.len() - kept.len()).ok()?;
    let power = power.parse::<i64>().ok()? - i64::try_from(fraction.len()).ok()? + dropped;
    let kept = kept.trim_start_matches('0');
    Some(if kept.is_empty() { (String::new(), 0) } else { (kept.to_owned(), power) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_double_does_not_hold_is_another_number() {
        for text in [
            "1",
            "0.1",
            "1.50",
            ".5",
            "5.",
            "1e300",
            "1E-7",
            "0.0",
            "00.10",
            "9223372036854775807",
            "18446744073709551615",
        ] {
            assert_eq!(other(text), None, "{text}");
        }
        for (text, number) in [
            ("123456789012345678.01", "1.2345678901234568e17"),
            ("9007199254740993.0", "9.007199254740992e15"),
            ("4999.000000000000000001", "4.999e3"),
            ("18446744073709551617", "1.8446744073709552e19"),
            ("3.14159265358979323846", "3.141592653589793e0"),
        ] {
            assert_eq!(other(text).as_deref(), Some(number));
        }
    }

    proptest! {
        /// Doubles tell numbers of fifteen digits apart.
        #[test]
        fn fifteen_digits_are_always_held(digits in 1_i64..1_000_000_000_000_000, places in 0_usize..30) {
            let padded = format!("{digits:0>width$}", width = places + 1);
            let (whole, fraction) = padded.split_at(padded.len() - places);
            prop_assert_eq!(other(&format!("{whole}.{fraction}")), None);
        }

        /// As the shortest text of a double.
        #[test]
        fn what_a_double_prints_is_held(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
            prop_assert_eq!(other(&format!("{:e}", value.abs())), None);
            prop_assert_eq!(other(&value.abs().to_string()), None);
        }
    }
}
