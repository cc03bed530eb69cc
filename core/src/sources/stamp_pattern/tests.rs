use proptest::prelude::*;

use super::*;

fn text(pattern: &str) -> TextPattern {
    match StampPattern::parse(pattern, &ColumnType::Timestamp).unwrap() {
        StampPattern::Text(pattern) => pattern,
        StampPattern::Epoch(_) => panic!("{pattern}"),
    }
}

/// Such as `2020-10-26 04:01:02.500000000 +5400 1`.
fn shown(parts: StampParts) -> String {
    let StampParts { year, month, day, hour, minute, second, nanos, weekday, offset } = parts;
    let offset = offset.map(|offset| format!(" {offset:+}")).unwrap_or_default();
    let weekday = weekday.map(|weekday| format!(" day {weekday}")).unwrap_or_default();
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{nanos:09}{offset}{weekday}")
}

#[test]
fn a_text_is_read_by_its_pattern() {
    for (pattern, value, expected) in [
        ("dd/MM/yyyy HH:mm:ss", "03/04/2020 05:06:07", "2020-04-03 05:06:07.000000000"),
        ("MM/dd/yyyy", "03/04/2020", "2020-03-04 00:00:00.000000000"),
        ("d.M.yy", "3.4.20", "2020-04-03 00:00:00.000000000"),
        ("d.M.yy", "31.12.99", "2099-12-31 00:00:00.000000000"),
        ("yyyyMMdd", "20201026", "2020-10-26 00:00:00.000000000"),
        ("yyyyMMddHHmmssSSS", "20201026040102345", "2020-10-26 04:01:02.345000000"),
        ("yyyy-MM-dd'T'HH:mm:ss.SSSSSS", "2020-10-26T04:01:02.5", "2020-10-26 04:01:02.500000000"),
        ("yyyy-MM-dd HH:mm:ss.SSSSSSSSS", "2020-10-26 04:01:02.123456789", "2020-10-26 04:01:02.123456789"),
        ("yyyy-MM-dd'T'HH:mm:ssXXX", "2020-10-26T04:01:02+05:30", "2020-10-26 04:01:02.000000000 +19800"),
        ("yyyy-MM-dd'T'HH:mm:ssXXX", "2020-10-26T04:01:02Z", "2020-10-26 04:01:02.000000000 +0"),
        ("yyyy-MM-dd HH:mm:ssX", "2020-10-26 04:01:02-05", "2020-10-26 04:01:02.000000000 -18000"),
        ("yyyy-MM-dd HH:mm:ssX", "2020-10-26 04:01:02-0530", "2020-10-26 04:01:02.000000000 -19800"),
        ("yyyy-MM-dd HH:mm:ss Z", "2020-10-26 04:01:02 +0100", "2020-10-26 04:01:02.000000000 +3600"),
        ("MMM d, yyyy h:mm a", "Oct 6, 2020 12:05 AM", "2020-10-06 00:05:00.000000000"),
        ("MMM d, yyyy h:mm a", "oct 16, 2020 12:05 pm", "2020-10-16 12:05:00.000000000"),
        ("MMMM d yyyy hh:mm:ss a", "May 16 2020 11:05:09 PM", "2020-05-16 23:05:09.000000000"),
        ("EEE, dd MMM yyyy HH:mm:ss", "Mon, 26 Oct 2020 04:01:02", "2020-10-26 04:01:02.000000000 day 0"),
        ("EEEE dd.MM.yyyy", "sunday 25.10.2020", "2020-10-25 00:00:00.000000000 day 6"),
        ("yyyy'年'M月d'日' 'o''clock' HH", "2020年1月2日 o'clock 03", "2020-01-02 03:00:00.000000000"),
        ("y-M-d", "987-1-2", "0987-01-02 00:00:00.000000000"),
    ] {
        assert_eq!(text(pattern).read(value.as_bytes()).map(shown), Some(expected.to_owned()), "{pattern}: {value}");
    }
}

#[test]
fn a_text_of_another_form_is_not_read() {
    for (pattern, value) in [
        ("dd/MM/yyyy", "3/04/2020"),
        ("dd/MM/yyyy", "03-04-2020"),
        ("dd/MM/yyyy", "03/04/20"),
        ("dd/MM/yyyy", "03/04/20201"),
        ("dd/MM/yyyy", "03/04/2020 "),
        ("dd/MM/yyyy", ""),
        ("dd/MM/yyyy", "-3/04/2020"),
        ("d/M/yyyy", "003/4/2020"),
        ("yyyyMMdd", "2020102"),
        ("yyyyMMddHHmmssSSS", "2020102604010234"),
        ("yyyy-MM-dd HH:mm:ss", "2020-10-26 24:00:00"),
        ("yyyy-MM-dd HH:mm:ss", "2020-10-26 23:60:00"),
        ("yyyy-MM-dd HH:mm:ss", "2020-10-26 23:00:60"),
        ("yyyy-MM-dd hh:mm a", "2020-10-26 13:00 PM"),
        ("yyyy-MM-dd hh:mm a", "2020-10-26 00:00 AM"),
        ("yyyy-MM-dd hh:mm a", "2020-10-26 01:00 XM"),
        ("yyyy-MM-dd HH:mm:ss.SSS", "2020-10-26 01:00:00.1234"),
        ("yyyy-MM-dd HH:mm:ss.SSS", "2020-10-26 01:00:00."),
        ("yyyy-MM-dd HH:mm:ssxxx", "2020-10-26 01:00:00Z"),
        ("yyyy-MM-dd HH:mm:ssXXX", "2020-10-26 01:00:00+0100"),
        ("yyyy-MM-dd HH:mm:ssXXX", "2020-10-26 01:00:00+19:00"),
        ("yyyy-MM-dd HH:mm:ssXXX", "2020-10-26 01:00:00+01:60"),
        ("d MMM yyyy", "1 Okt 2020"),
        ("d MMM yyyy", "1 October 2020"),
        ("0yyyy-MM-dd", "0000-10-26"),
        ("yyyy-MM-dd", "0000-10-26"),
    ] {
        assert_eq!(text(pattern).read(value.as_bytes()), None, "{pattern}: {value}");
    }
}

#[test]
fn a_pattern_that_cannot_be_right_is_refused() {
    for (pattern, says) in [
        ("", "does not say the year"),
        ("yyyy", "does not say the month"),
        ("HH:mm", "does not say the year"),
        ("YYYY-MM-dd", "`Y` of the pattern is not supported as `YYYY`: a year is `yyyy`"),
        ("yyyy-MM-DD", "`D` of the pattern is not supported as `DD`: a day is `dd`"),
        ("yyyy-mm-dd", "does not say the month"),
        ("yyyyy-MM-dd", "`y` of the pattern is not supported as `yyyyy`"),
        ("yyyy-MM-ddTHH:mm", "between quotes, `'T'`"),
        ("yyyy-MM-dd HH:mm z", "names of zones"),
        ("yyyy-MM-dd HH:mm VV", "names of zones"),
        ("yyyy-MM-dd[ HH:mm]", "`[` is reserved"),
        ("yyyy-MM-dd'T", "not closed"),
        ("yyyy-MM-dd hh:mm", "the hour of half a day and not the half of the day"),
        ("yyyy-MM-dd HH:mm a", "the half of the day and not the hour of half a day"),
        ("yyyy-MM-dd mm", "the minute and not the hour"),
        ("yyyy-MM-dd HH ss", "the second and not the minute"),
        ("yyyy-MM-dd HH:mm SSS", "the fraction and not the second"),
        ("yyyy-MM-dd dd", "says the day twice"),
        ("yyyy-MM-MMM-dd", "says the month twice"),
        ("yyyy-MM-dd HH hh a", "as `H` and as `h`"),
        ("yyyyMd", "where the month ends is not clear"),
        ("yMMdd", "where the year ends is not clear"),
        ("d'1'MMyyyy", "where the day ends is not clear"),
        ("yyyy-MM-dd SSSSSSSSSS", "`S` of the pattern is not supported"),
    ] {
        let error = StampPattern::parse(pattern, &ColumnType::Timestamp).unwrap_err();
        assert!(error.contains(says), "{pattern}: {error}");
    }
}

#[test]
fn a_pattern_fits_its_type() {
    let ok = |pattern, data_type| StampPattern::parse(pattern, data_type).is_ok();
    assert!(ok("epoch_ms", &ColumnType::Timestamp));
    assert!(!ok("epoch_ms", &ColumnType::TimestampNtz) && !ok("epoch_s", &ColumnType::Date));
    assert!(!ok("epoch_m", &ColumnType::Timestamp) && !ok("EPOCH_MS", &ColumnType::Timestamp));
    assert!(ok("yyyy-MM-dd X", &ColumnType::Timestamp));
    assert!(!ok("yyyy-MM-dd X", &ColumnType::TimestampNtz) && !ok("yyyy-MM-dd X", &ColumnType::Date));
    assert!(ok("yyyy-MM-dd HH:mm", &ColumnType::Date));
}

proptest! {
    /// A stamp written by chrono is read as what it was; chrono's own letters are the oracle.
    #[test]
    fn what_chrono_writes_is_read_back(
        days in -719_000_i32..2_932_000,
        second in 0_u32..86_400,
        nanos in 0_u32..1_000_000_000,
        offset_minutes in -18 * 60_i32..=18 * 60,
        choice in 0_usize..6,
    ) {
        use chrono::{Datelike, FixedOffset, TimeZone, Timelike};
        let (ours, theirs, digits, has_offset) = [
            ("dd/MM/yyyy HH:mm:ss", "%d/%m/%Y %H:%M:%S", 0, false),
            ("yyyyMMddHHmmssSSS", "%Y%m%d%H%M%S%3f", 3, false),
            ("d-MMM-yyyy h:mm:ss.SSSSSS a", "%-d-%b-%Y %-I:%M:%S%.6f %p", 6, false),
            ("EEEE, MMMM d yyyy HH:mm:ss", "%A, %B %-d %Y %H:%M:%S", 0, false),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSSSSSSSXXX", "%Y-%m-%dT%H:%M:%S%.9f%:z", 9, true),
            ("EEE MMM dd HH:mm:ss Z yyyy", "%a %b %d %H:%M:%S %z %Y", 0, true),
        ][choice];
        let date = chrono::NaiveDate::from_epoch_days(days).unwrap();
        let wall = date.and_hms_nano_opt(second / 3600, second / 60 % 60, second % 60, nanos).unwrap();
        let stamp = FixedOffset::east_opt(offset_minutes * 60).unwrap().from_local_datetime(&wall).unwrap();
        let written = stamp.format(theirs).to_string();
        let unit = 10_u32.pow(9 - digits);
        let read = text(ours).read(written.as_bytes());
        let expected = StampParts {
            year: date.year(),
            month: date.month(),
            day: date.day(),
            hour: wall.hour(),
            minute: wall.minute(),
            second: wall.second(),
            nanos: nanos / unit * unit,
            weekday: ours.contains("EEE").then(|| date.weekday().num_days_from_monday()),
            offset: has_offset.then_some(offset_minutes * 60),
        };
        prop_assert_eq!(read, Some(expected), "{}", written);
    }

    #[test]
    fn no_pattern_and_no_text_panic(pattern in "[yMdHhmsSaEXxZ '/:.T-]{0,16}", value in "[0-9a-zA-Z:/. +-]{0,24}") {
        if let Ok(StampPattern::Text(pattern)) = StampPattern::parse(&pattern, &ColumnType::Timestamp) {
            pattern.read(value.as_bytes());
        }
    }
}
