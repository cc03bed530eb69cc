//! Types that the texts of a column suggest.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use pulse_core::sources::{Ambiguous, ColumnType, MAX_PRECISION, StampParts, StampPattern};

use crate::source::file::stamp::{Stamps, parse_date};
use crate::source::file::value::Marks as NumberMarks;

/// Texts that often mean null. A person decides: the proposal says how often each stands in a column.
const NULLS: [&str; 11] = ["NA", "N/A", "#N/A", "n/a", "null", "NULL", "None", "-", "\\N", "nan", "NaN"];
/// The one of them that no text column holds as a value: Hive and MySQL write it for null.
const NEVER_TEXT: &str = "\\N";
/// Digits behind a plus that are a telephone number rather than an amount.
const DIALLED: usize = 6;
/// The first one that reads all values is proposed.
const DATES: [&str; 8] =
    ["yyyy/MM/dd", "dd/MM/yyyy", "MM/dd/yyyy", "dd.MM.yyyy", "d.M.yyyy", "dd-MM-yyyy", "dd-MMM-yyyy", "d/M/yyyy"];
const TIMES: [&str; 3] = [" HH:mm:ss", " HH:mm", " HH:mm:ss.SSS"];
/// Words of names that hold a time.
const TIME_WORDS: [&str; 7] = ["ts", "t", "time", "timestamp", "date", "at", "epoch"];

/// Marks of numbers in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) decimal: char,
    pub(super) thousands: Option<char>,
}

impl Marks {
    pub(super) const ALL: [Self; 4] = [
        Self { decimal: '.', thousands: None },
        Self { decimal: '.', thousands: Some(',') },
        Self { decimal: ',', thousands: None },
        Self { decimal: ',', thousands: Some('.') },
    ];

    /// The number as programs write it; `None` when the marks stand where none can be.
    fn plain(self, text: &str) -> Option<String> {
        let mut marks = NumberMarks::new(self.decimal, self.thousands);
        marks.plain(text.as_bytes()).map(|plain| String::from_utf8_lossy(plain).into_owned())
    }
}

/// What a column of texts holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guess {
    pub(super) data_type: ColumnType,
    pub(super) pattern: Option<String>,
    /// Texts of it that mean null, besides the empty one.
    pub(super) nulls: BTreeSet<String>,
    /// Texts that may mean null, and are values of this text column: `NA` is Namibia.
    pub(super) kept: BTreeSet<String>,
    pub(super) evidence: String,
}

impl Guess {
    /// A text column, where `why` it is not of the type that its values suggest.
    pub(super) fn into_text(self, why: &str) -> Self {
        let evidence = format!("{}; {why}", self.evidence);
        Self { data_type: ColumnType::String, pattern: None, nulls: BTreeSet::new(), evidence, ..self }
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self.data_type, ColumnType::Bigint | ColumnType::Double | ColumnType::Decimal { .. })
    }
}

/// Characters of a value that is shown as an example.
const EXAMPLE: usize = 40;

/// `texts` are the values of the column `name`, an empty one is null.
pub(super) fn guess(name: &str, texts: &[&str], marks: Marks) -> Guess {
    let (nulls, values): (Vec<&str>, Vec<&str>) =
        texts.iter().filter(|text| !text.is_empty()).partition(|text| NULLS.contains(text));
    let Some(first) = values.first() else {
        return plain(ColumnType::String, &nulls, format!("no value in the sample{}", counted(&nulls)));
    };
    let found = of_values(name, &values, marks);
    let (nulls, kept): (Vec<&str>, Vec<&str>) =
        nulls.into_iter().partition(|text| found.is_some() || *text == NEVER_TEXT);
    let known = values.len() + kept.len();
    let such = format!("{known} value{} such as {}", if known == 1 { "" } else { "s" }, short(first));
    let seen = match texts.len() - known - nulls.len() {
        0 if nulls.is_empty() => format!("{such}, never empty"),
        0 => format!("{such}{}", counted(&nulls)),
        empty => format!("{such}, {empty} empty{}", counted(&nulls)),
    };
    match found {
        Some((data_type, pattern, note)) => {
            let note = note.map(|note| format!("; {note}")).unwrap_or_default();
            Guess { pattern, ..plain(data_type, &nulls, format!("{seen}{note}")) }
        }
        None => text_column(&nulls, kept, seen),
    }
}

/// An example needs no more than its beginning.
fn short(text: &str) -> String {
    match text.chars().count() > EXAMPLE {
        true => format!("{}..", text.chars().take(EXAMPLE).collect::<String>()),
        false => text.to_owned(),
    }
}

fn text_column(nulls: &[&str], kept: Vec<&str>, seen: String) -> Guess {
    let kept: BTreeSet<String> = kept.into_iter().map(str::to_owned).collect();
    let note = kept.first().map(|text| format!("; `{text}` is text here, and null with `nulls = [\"{text}\"]`"));
    Guess { kept, ..plain(ColumnType::String, nulls, format!("{seen}{}", note.unwrap_or_default())) }
}

/// ``, or `, null: 3 NA, 1 -`.
fn counted(nulls: &[&str]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    nulls.iter().for_each(|text| *counts.entry(text).or_default() += 1);
    let counts: Vec<String> = counts.into_iter().map(|(text, count)| format!("{count} {text}")).collect();
    if counts.is_empty() { String::new() } else { format!(", null: {}", counts.join(", ")) }
}

/// Names the columns whose marks are not clear: `1.000` and `1,234` are about one or a thousand, and no other column of the file decides.
pub(super) fn name_unclear_marks(guesses: &mut [Guess], values: &[Vec<String>], marks: Marks) {
    let [point, point_and_commas, comma, comma_and_points] = Marks::ALL;
    let (rival, mark, note) = match marks {
        _ if marks == point => {
            (comma_and_points, '.', "a point between thousands: `decimal = \",\"` and `thousands = \".\"`")
        }
        _ if marks == comma_and_points => (point, '.', "a decimal point: leave out `decimal` and `thousands`"),
        _ if marks == point_and_commas => (comma, ',', "a decimal comma: `decimal = \",\"` without `thousands`"),
        _ => (point_and_commas, ',', "a comma between thousands: `thousands = \",\"` without `decimal`"),
    };
    let reads = |marks: Marks, column: &[String]| {
        let mut known = column.iter().filter(|text| !text.is_empty() && !NULLS.contains(&text.as_str())).peekable();
        known.peek().is_some() && known.all(|text| number(text, marks).is_some())
    };
    if values.iter().any(|column| reads(marks, column) != reads(rival, column)) {
        return;
    }
    for (guess, column) in guesses.iter_mut().zip(values).filter(|(guess, _)| guess.is_number()) {
        if let Some(text) = column.iter().find(|text| text.contains(mark)) {
            guess.evidence = format!("{}; AMBIGUOUS: `{text}` may have {note}", guess.evidence);
        }
    }
}

fn plain(data_type: ColumnType, nulls: &[&str], evidence: String) -> Guess {
    let nulls = nulls.iter().map(|text| (*text).to_owned()).collect();
    Guess { data_type, pattern: None, nulls, kept: BTreeSet::new(), evidence }
}

type Found = (ColumnType, Option<String>, Option<String>);

/// `None` for plain text.
fn of_values(name: &str, values: &[&str], marks: Marks) -> Option<Found> {
    let all = |holds: &dyn Fn(&str) -> bool| values.iter().all(|value| holds(value));
    if all(&|value| value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false")) {
        return Some((ColumnType::Boolean, None, None));
    }
    if all(&|value| is_iso_date(value)) {
        return Some((ColumnType::Date, None, None));
    }
    if all(&is_iso_stamp) {
        return Some((ColumnType::Timestamp, None, None));
    }
    let numbers: Option<Vec<String>> = values.iter().map(|value| number(value, marks)).collect();
    if let Some(numbers) = numbers {
        return Some(of_numbers(name, &numbers));
    }
    of_patterns(values)
}

/// A number as programs write it. Digits behind a leading zero are a code, such as that of an article.
fn number(text: &str, marks: Marks) -> Option<String> {
    let plain = marks.plain(text)?;
    let digits = plain.strip_prefix(['-', '+']).unwrap_or(&plain);
    let is_code = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    let is_dialled =
        plain.starts_with('+') && digits.len() >= DIALLED && digits.bytes().all(|digit| digit.is_ascii_digit());
    let starts = digits.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.');
    (starts && !is_code && !is_dialled && plain.parse::<f64>().is_ok_and(f64::is_finite)).then_some(plain)
}

fn of_numbers(name: &str, numbers: &[String]) -> Found {
    let whole: Option<Vec<i64>> = numbers.iter().map(|number| number.parse().ok()).collect();
    let Some(whole) = whole else {
        if let Some(precision) = digits_beyond_bigint(numbers) {
            let note = "digits beyond a bigint".to_owned();
            return (ColumnType::Decimal { precision, scale: 0 }, None, Some(note));
        }
        let digits = |number: &String| number.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let most = numbers.iter().map(digits).max().unwrap_or_default();
        let note = (1..=6).contains(&most).then(|| format!("decimal(18,{most}) keeps amounts of money digit by digit"));
        return (ColumnType::Double, None, note);
    };
    if is_of_time(name) {
        let is_day = |value: &i64| {
            NaiveDate::parse_from_str(&value.to_string(), "%Y%m%d").is_ok() && (19_000_101..=21_001_231).contains(value)
        };
        if whole.iter().all(is_day) {
            return (ColumnType::Date, Some("yyyyMMdd".to_owned()), None);
        }
        // From 2000 to 2100.
        let units = [("epoch_s", 1), ("epoch_ms", 1_000), ("epoch_us", 1_000_000), ("epoch_ns", 1_000_000_000)];
        for (unit, a_second) in units {
            if whole.iter().all(|value| (946_684_800..4_102_444_800).contains(&(value / a_second))) {
                return (ColumnType::Timestamp, Some(unit.to_owned()), None);
            }
        }
    }
    (ColumnType::Bigint, None, None)
}

/// Digits of the decimal that holds these whole numbers, if some of them exceed a `bigint`. Returns `None` if one is not whole, or if no decimal
/// holds them all.
fn digits_beyond_bigint(numbers: &[String]) -> Option<u8> {
    let digits = |number: &String| {
        let digits = number.trim_start_matches(['-', '+']);
        digits.bytes().all(|digit| digit.is_ascii_digit()).then_some(digits.len())
    };
    let most = numbers.iter().map(digits).collect::<Option<Vec<_>>>()?.into_iter().max()?;
    u8::try_from(most.max(20)).ok().filter(|digits| *digits <= MAX_PRECISION)
}

fn is_of_time(name: &str) -> bool {
    let lower = name.to_lowercase();
    lower.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|word| TIME_WORDS.contains(&word))
        || lower.contains("time")
        || lower.contains("date")
}

fn of_patterns(values: &[&str]) -> Option<Found> {
    let stamps = DATES.iter().flat_map(|date| TIMES.iter().map(move |time| format!("{date}{time}")));
    let dates = DATES.iter().map(|date| ((*date).to_owned(), ColumnType::Date));
    let mut fitting = dates.chain(stamps.map(|stamp| (stamp, ColumnType::Timestamp))).filter(|(pattern, data_type)| {
        matches!(StampPattern::parse(pattern, data_type), Ok(StampPattern::Text(pattern))
            if values.iter().all(|value| pattern.read(value.as_bytes()).is_some_and(is_a_day)))
    });
    let (pattern, data_type) = fitting.next()?;
    let month_and_day = |pattern: &str| pattern.starts_with("dd/MM") || pattern.starts_with("MM/dd");
    let other = fitting.find(|(other, _)| month_and_day(&pattern) && month_and_day(other));
    let note = other.map(|(other, _)| format!("AMBIGUOUS: `{other}` reads all of them, too"));
    Some((data_type, Some(pattern), note))
}

fn is_a_day(parts: StampParts) -> bool {
    NaiveDate::from_ymd_opt(parts.year, parts.month, parts.day).is_some()
}

fn is_iso_date(text: &str) -> bool {
    text.as_bytes().try_into().ok().and_then(parse_date).is_some()
}

fn is_iso_stamp(text: &str) -> bool {
    Stamps::new(chrono_tz::UTC, Ambiguous::default()).parse(text.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, texts: &[&str]) -> String {
        let guess = guess(name, texts, Marks::ALL[0]);
        format!("{} {}", guess.data_type, guess.pattern.unwrap_or_default()).trim().to_owned()
    }

    #[test]
    fn types_by_what_all_values_are() {
        for (name, texts, wanted) in [
            ("v", &["1", "-20", ""][..], "bigint"),
            ("v", &["1", "2.5", "1e3"], "double"),
            ("v", &["007", "123"], "string"),
            ("v", &["true", "False"], "boolean"),
            ("v", &["2024-01-31"], "date"),
            ("v", &["2024-01-31", "2024-13-01"], "string"),
            ("v", &["2024-01-31 10:00:00", "2024-01-31T10:00:00Z"], "timestamp"),
            // Finer than the type holds.
            ("v", &["2024-01-31 10:00:00.123456789"], "string"),
            ("v", &["2024-01-31 10:00"], "timestamp"),
            ("trade_date", &["20240131"], "date yyyyMMdd"),
            ("qty", &["20240131"], "bigint"),
            ("ts", &["1700000000000"], "timestamp epoch_ms"),
            ("trade_time", &["1700000000"], "timestamp epoch_s"),
            ("v", &["31/01/2024"], "date dd/MM/yyyy"),
            ("v", &["01/31/2024 10:00"], "timestamp MM/dd/yyyy HH:mm"),
            ("v", &["12.5", "NA", "-"], "double"),
            ("v", &["9223372036854775807", "-9223372036854775808"], "bigint"),
            ("v", &["9223372036854775808", "1"], "decimal(20,0)"),
            ("v", &["123456789012345678901234"], "decimal(24,0)"),
            ("v", &["9223372036854775808", "1.5"], "double"),
            ("v", &["AAPL", "NA"], "string"),
            ("v", &["+4917012345", "+4930123"], "string"),
            ("v", &["+5", "-3"], "bigint"),
            ("v", &["", ""], "string"),
            ("v", &["nan", "inf"], "string"),
        ] {
            assert_eq!(shown(name, texts), wanted, "{name} {texts:?}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_said() {
        let guess = |texts: &[&str]| super::guess("v", texts, Marks::ALL[0]);
        assert!(guess(&["01/02/2024"]).evidence.contains("AMBIGUOUS: `MM/dd/yyyy`"));
        assert!(!guess(&["13/02/2024"]).evidence.contains("AMBIGUOUS"));
        assert_eq!(guess(&["1", "NA", "", "-"]).nulls, BTreeSet::from(["-".to_owned(), "NA".to_owned()]));
        // In a column of texts it is one.
        assert_eq!(guess(&["a", "NA", "\\N"]).nulls, BTreeSet::from(["\\N".to_owned()]));
        assert_eq!(
            guess(&["a", "NA", "", "n/a", "NA"]).evidence,
            "4 values such as a, 1 empty; `NA` is text here, and null with `nulls = [\"NA\"]`"
        );
        assert_eq!(guess(&["-", "-"]).evidence, "no value in the sample, null: 2 -");
    }

    #[test]
    fn marks_of_numbers_stand_between_three_digits() {
        let number = |text: &str, place: usize| number(text, Marks::ALL[place]);
        assert_eq!(number("1.234,5", 3).unwrap(), "1234.5");
        assert_eq!(number("1,234,567", 1).unwrap(), "1234567");
        assert_eq!(number("-1,5", 2).unwrap(), "-1.5");
        assert!(
            number("0.500", 3).is_none()
                && number("1.23", 3).is_none()
                && number("1,23", 1).is_none()
                && number("1,234", 0).is_none()
        );
    }
}
