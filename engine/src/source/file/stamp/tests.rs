use super::*;

fn new_york() -> Stamps {
    Stamps::new(chrono_tz::America::New_York, Ambiguous::Earlier)
}

fn utc(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
}

#[test]
fn wall_clock_becomes_utc() {
    for (text, expected) in [
        ("2020-12-21 20:00:00", "2020-12-22T01:00:00Z"),
        ("2020-10-26 04:01:00", "2020-10-26T08:01:00Z"),
        ("2020-10-26T04:01:00", "2020-10-26T08:01:00Z"),
        ("2020-10-26 04:01", "2020-10-26T08:01:00Z"),
        ("2020-10-26 04:01:02.5", "2020-10-26T08:01:02.5Z"),
        ("2020-10-26 04:01:02.123456", "2020-10-26T08:01:02.123456Z"),
        ("2020-10-26 04:01:02.123456000", "2020-10-26T08:01:02.123456Z"),
        ("2020-10-26T04:01:00Z", "2020-10-26T04:01:00Z"),
        ("2020-10-26 04:01:00+05:30", "2020-10-25T22:31:00Z"),
        ("2020-10-26 04:01:00 -0500", "2020-10-26T09:01:00Z"),
        ("2020-10-26T04:01-05", "2020-10-26T09:01:00Z"),
        ("1900-01-01 00:00:00", "1900-01-01T05:00:00Z"),
        ("9999-12-31 00:00:00", "9999-12-31T05:00:00Z"),
    ] {
        assert_eq!(new_york().parse(text.as_bytes()), Ok(utc(expected)), "{text}");
    }
}

#[test]
fn a_clock_that_changes_is_followed() {
    let mut stamps = new_york();
    for (text, expected) in [
        ("2021-03-14 01:59:59", Ok(utc("2021-03-14T06:59:59Z"))),
        ("2021-03-14 02:00:00", Err(StampError::Gap)),
        ("2021-03-14 02:59:59", Err(StampError::Gap)),
        ("2021-03-14 03:00:00", Ok(utc("2021-03-14T07:00:00Z"))),
        ("2020-11-01 00:59:59", Ok(utc("2020-11-01T04:59:59Z"))),
        ("2020-11-01 01:30:00", Ok(utc("2020-11-01T05:30:00Z"))),
        ("2020-11-01 02:00:00", Ok(utc("2020-11-01T07:00:00Z"))),
    ] {
        assert_eq!(stamps.parse(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn what_is_not_a_stamp_is_refused() {
    for text in [
        "",
        "2020",
        "2020-10-26",
        "2020-13-01 00:00:00",
        "2020-02-30 00:00:00",
        "0000-01-01 00:00:00",
        "2020-10-26 24:00:00",
        "2020-10-26 23:60:00",
        "2020-10-26 23:00:60",
        "2020-10-26 2:00:00",
        "2020-10-26x02:00:00",
        "2020-10-26 02:00:00.",
        "2020-10-26 02:00:00 ",
        "2020-10-26 02:00:00+99:00",
        "10/26/2020 02:00:00",
        "2020-10-26 02:00:00 UTC",
        "20201026T020000",
        "2020-10-26 02-00-00",
    ] {
        assert_eq!(new_york().parse(text.as_bytes()), Err(StampError::Malformed), "{text}");
    }
}

#[test]
fn every_hour_of_many_days_agrees_with_chrono() {
    for zone in [chrono_tz::America::New_York, chrono_tz::Australia::Lord_Howe, chrono_tz::Asia::Tehran] {
        let mut stamps = Stamps::new(zone, Ambiguous::Earlier);
        let first = NaiveDate::from_ymd_opt(2015, 1, 1).unwrap().and_hms_opt(0, 0, 0).unwrap();
        for half_hour in 0..48 * 800 {
            let wall = first + chrono::TimeDelta::minutes(30 * half_hour);
            let expected = match zone.from_local_datetime(&wall) {
                MappedLocalTime::None => Err(StampError::Gap),
                mapped => Ok(mapped.earliest().unwrap().timestamp_micros()),
            };
            assert_eq!(stamps.parse(wall.format("%Y-%m-%d %H:%M:%S").to_string().as_bytes()), expected, "{wall}");
        }
    }
}

#[test]
fn a_stamp_finer_than_a_microsecond_is_rounded_only_when_asked() {
    for (text, rounded) in [
        ("2020-10-26T04:01:02.1234561Z", "2020-10-26T04:01:02.123456Z"),
        ("2020-10-26T04:01:02.123456499Z", "2020-10-26T04:01:02.123456Z"),
        ("2020-10-26T04:01:02.1234565Z", "2020-10-26T04:01:02.123457Z"),
        ("2020-10-25 23:59:59.9999999", "2020-10-26T04:00:00Z"),
    ] {
        assert_eq!(new_york().parse(text.as_bytes()), Err(StampError::Inexact), "{text}");
        assert_eq!(new_york().rounded().parse(text.as_bytes()), Ok(utc(rounded)), "{text}");
    }
}

#[test]
fn a_wall_clock_takes_no_offset() {
    let mut stamps = Stamps::of_no_zone();
    assert_eq!(stamps.parse(b"2020-11-01 01:30:00"), Ok(utc("2020-11-01T01:30:00Z")));
    for text in ["2020-11-01 01:30:00Z", "2020-11-01 01:30:00+00:00"] {
        assert_eq!(stamps.parse(text.as_bytes()), Err(StampError::Malformed));
    }
}

#[test]
fn a_shift_stays_within_the_years_of_tables() {
    assert_eq!(Stamps::shifted(utc("2020-01-01T00:01:00Z"), 60), Ok(utc("2020-01-01T00:00:00Z")));
    assert_eq!(Stamps::shifted(utc("0001-01-01T00:00:00Z"), 60), Err(StampError::OutOfRange));
    assert_eq!(Stamps::shifted(utc("9999-12-31T23:59:59Z"), 0), Ok(utc("9999-12-31T23:59:59Z")));
    assert_eq!(Stamps::shifted(utc("9999-12-31T23:59:59Z") + MICROS, 0), Err(StampError::OutOfRange));
}
