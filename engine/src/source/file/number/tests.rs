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

#[test]
fn a_decimal_is_a_whole_number_at_its_scale() {
    for (text, scale, round, expected) in [
        ("12.34", 2, false, Ok(1234)),
        ("-12.3", 2, false, Ok(-1230)),
        ("12.340", 2, false, Ok(1234)),
        ("1234e-2", 2, false, Ok(1234)),
        ("1.2e3", 0, false, Ok(1200)),
        ("12.345", 2, false, Err(Fault::Inexact)),
        ("12.345", 2, true, Ok(1235)),
        ("-12.345", 2, true, Ok(-1235)),
        ("12.3449999999999999999999999999999999999999999999", 2, true, Ok(1234)),
        ("12.3450000000000000000000000000000000000000000001", 2, true, Ok(1235)),
        ("12.34000000000000000000000000000000000000000000", 2, false, Ok(1234)),
        ("12.34000000000000000000000000000000000000000001", 2, false, Err(Fault::Inexact)),
        ("0.0049", 2, true, Ok(0)),
        ("1e-50", 2, false, Err(Fault::Inexact)),
        ("1e-50", 2, true, Ok(0)),
        ("99999999999999999999999999999999999999", 0, false, Ok(10_i128.pow(38) - 1)),
        ("9999999999999999999999999999999999999.9", 1, false, Ok(10_i128.pow(38) - 1)),
        ("1e50", 0, false, Err(Fault::TooBig)),
        ("0e50", 0, false, Ok(0)),
        ("1606500000123456789", -3, false, Err(Fault::Inexact)),
        ("1606500000123456000", -3, false, Ok(1_606_500_000_123_456)),
    ] {
        let number = Number::parse(text.as_bytes()).unwrap();
        assert_eq!(number.at_scale(scale, round), expected, "{text}");
    }
}

#[test]
fn a_double_is_what_it_is_in_binary() {
    for (value, scale, round, expected) in [
        (0.5, 1, false, Ok(5)),
        (-0.5, 1, false, Ok(-5)),
        (0.1, 1, false, Err(Fault::Inexact)),
        (0.1, 1, true, Ok(1)),
        (1_606_500_000.0, 6, false, Ok(1_606_500_000_000_000)),
        (1_606_500_000.125, 6, false, Ok(1_606_500_000_125_000)),
        (1_606_500_000.123, 6, false, Err(Fault::Inexact)),
        (1_606_500_000.123, 6, true, Ok(1_606_500_000_123_000)),
        (1.606_500_000_123_456e18, -3, false, Ok(1_606_500_000_123_456)),
        (1e300, 0, false, Err(Fault::TooBig)),
        (5e-324, 6, false, Err(Fault::Inexact)),
        (5e-324, 6, true, Ok(0)),
        (-0.0, 6, false, Ok(0)),
        (f64::NAN, 6, true, Err(Fault::NotFinite)),
        (f64::INFINITY, 6, true, Err(Fault::NotFinite)),
    ] {
        assert_eq!(double_at_scale(value, scale, round), expected, "{value}");
    }
}

#[test]
fn large_numbers_must_be_held() {
    for (text, held) in [
        ("9007199254740992", true),
        ("9007199254740993", false),
        ("-9007199254740993", false),
        ("9007199254740993.0", false),
        ("9007199254740993.5", false),
        ("9.007199254740993e15", false),
        ("18446744073709551615", false),
        ("18446744073709551616", true),
        // What JavaScript writes for 2^66, and what it is.
        ("73786976294838210000", false),
        ("7.378697629483821e19", true),
        ("73786976294838210000.0", true),
        ("73786976294838206464", true),
        ("73786976294838206465", false),
        ("1e300", true),
        ("1.7976931348623157e308", true),
        ("6.02214076e23", true),
        ("0.1", true),
        ("3.14159265358979323846264338327950288", true),
        ("5e-324", true),
    ] {
        assert_eq!(parse_double(text.as_bytes(), false).is_ok(), held, "{text}");
        assert_eq!(parse_double(text.as_bytes(), true), Ok(text.parse::<f64>().unwrap()), "{text}");
    }
    assert_eq!(parse_float(b"16777217", false), Err(Fault::Inexact));
    // As DuckDB writes a float.
    assert_eq!(parse_float(b"163233350000000.0", false), Ok(163_233_350_000_000.0));
    assert_eq!(parse_float(b"163233350000001.0", false), Err(Fault::Inexact));
    assert_eq!(parse_float(b"16777216", false), Ok(16_777_216.0));
    assert_eq!(parse_float(b"0.1", false), Ok(0.1));
    assert_eq!(parse_float(b"1e39", false), Err(Fault::NotFinite));
    assert_eq!(parse_double(b"1e309", true), Err(Fault::NotFinite));
    assert_eq!(parse_double(b"-0.0", false).map(f64::to_bits), Ok((-0.0_f64).to_bits()));
}

#[test]
fn decimals_that_a_double_gives_back() {
    for (text, held) in [
        ("123.45", true),
        ("0.100000000000000000", true),
        ("0.1000000000000000056", true),
        ("0.1000000000000000055", false),
        ("12345678901234567.89", false),
        ("0.123456789012345678", false),
        ("0.1234567890123456", true),
        ("-99999999.9999", true),
        ("0.000", true),
        ("9007199254740993", false),
    ] {
        assert_eq!(decimal_to_double(text.as_bytes(), false).is_ok(), held, "{text}");
    }
}

#[test]
fn a_decimal_prefix_is_plain() {
    for (text, scale, expected) in [
        ("12.34,5", 2, Some((1234, 5))),
        ("-12.3", 2, Some((-1230, 5))),
        ("12", 2, Some((1200, 2))),
        ("12.", 2, Some((1200, 3))),
        (".5", 2, Some((50, 2))),
        ("12.345", 2, None),
        ("1.2.3", 2, Some((120, 3))),
        ("12345678901234567", 2, None),
        ("", 2, None),
        (".", 2, None),
        ("abc", 2, None),
    ] {
        assert_eq!(decimal_prefix(text.as_bytes(), scale), expected, "{text}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// The nearest double by Rust's own parser, which is correctly rounded.
    #[test]
    fn a_double_is_the_nearest(digits in "-?[0-9]{1,20}(\\.[0-9]{0,25})?(e-?[0-9]{1,3})?") {
        let value: f64 = digits.parse().unwrap();
        if value.is_finite() {
            proptest::prop_assert_eq!(parse_double(digits.as_bytes(), true).map(f64::to_bits), Ok(value.to_bits()));
        }
    }

    /// A double that some program wrote is held, in any of the usual forms.
    #[test]
    fn what_a_program_writes_is_held(bits in proptest::prelude::any::<u64>()) {
        let value = f64::from_bits(bits);
        if value.is_finite() {
            for text in [format!("{value:e}"), format!("{value:?}"), format!("{value:.16e}"), format!("{value:.18e}")] {
                proptest::prop_assert_eq!(parse_double(text.as_bytes(), false).map(f64::to_bits), Ok(bits), "{}", text);
            }
        }
    }

    /// Whole numbers beyond 2^53, against the arithmetic of whole numbers.
    #[test]
    fn a_whole_number_is_held_exactly_or_not_at_all(number in (1_u64 << 53)..1_000_000_000_000_000_000) {
        let value = number as f64;
        let is_exact = value as u64 == number;
        proptest::prop_assert_eq!(parse_double(number.to_string().as_bytes(), false), if is_exact { Ok(value) } else { Err(Fault::Inexact) });
    }

    #[test]
    fn fast_and_slow_decimals_agree(text in "-?[0-9]{0,19}(\\.[0-9]{0,12})?", scale in 0_u8..12) {
        if let Some((value, length)) = decimal_prefix(text.as_bytes(), scale) {
            let number = Number::parse(&text.as_bytes()[..length]).unwrap();
            proptest::prop_assert_eq!(number.at_scale(i32::from(scale), false), Ok(i128::from(value)));
        }
    }
}
