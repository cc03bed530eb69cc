//! Numbers as people write them: `1.234,56`.

use pulse_core::sources::Feed;

/// Digits of a group.
const GROUP: usize = 3;

/// The marks of a feed's numbers.
#[derive(Debug, Clone)]
pub(in crate::source::file) struct Marks {
    decimal: u8,
    thousands: Option<String>,
    /// The last number without them.
    plain: Vec<u8>,
}

impl Marks {
    /// `None` when the feed's numbers are as programs write them.
    pub(super) fn of(feed: &Feed) -> Option<Self> {
        (!feed.has_plain_numbers()).then(|| Self::new(feed.decimal, feed.thousands))
    }

    pub(in crate::source::file) fn new(decimal: char, thousands: Option<char>) -> Self {
        Self {
            decimal: u8::try_from(decimal).unwrap_or(b'.'),
            thousands: thousands.map(String::from),
            plain: Vec::new(),
        }
    }

    /// The number with a point and without groups; `None` when its groups are not of three digits, or it has another mark.
    pub(in crate::source::file) fn plain(&mut self, text: &[u8]) -> Option<&[u8]> {
        self.plain.clear();
        let mut rest = text;
        if let Some((sign @ (b'+' | b'-'), after)) = rest.split_first() {
            self.plain.push(*sign);
            rest = after;
        }
        let mark = self.thousands.as_deref().map(str::as_bytes);
        let (mut digits, mut is_grouped) = (0, false);
        loop {
            let after_mark = mark.and_then(|mark| rest.strip_prefix(mark));
            if let Some(after) = after_mark {
                // Under other marks it is a fraction: no group that others follow begins a number with 0.
                if !is_grouped && self.plain.iter().find(|byte| byte.is_ascii_digit()) == Some(&b'0') {
                    return None;
                }
                let is_whole_group = if is_grouped { digits == GROUP } else { (1..=GROUP).contains(&digits) };
                if !is_whole_group {
                    return None;
                }
                (digits, is_grouped, rest) = (0, true, after);
                continue;
            }
            match rest.split_first() {
                Some((digit @ b'0'..=b'9', after)) => {
                    self.plain.push(*digit);
                    (digits, rest) = (digits + 1, after);
                }
                Some(_) | None => break,
            }
        }
        if is_grouped && digits != GROUP {
            return None;
        }
        if let Some((first, after)) = rest.split_first()
            && *first == self.decimal
        {
            self.plain.push(b'.');
            let length = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (fraction, after) = after.split_at_checked(length)?;
            self.plain.extend_from_slice(fraction);
            rest = after;
        }
        match rest.first() {
            None => {}
            Some(b'e' | b'E') if !is_grouped => self.plain.extend_from_slice(rest),
            Some(_) => return None,
        }
        Some(&self.plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(decimal: u8, thousands: Option<&str>) -> Marks {
        Marks { decimal, thousands: thousands.map(str::to_owned), plain: Vec::new() }
    }

    #[test]
    fn a_number_loses_its_marks() {
        for (decimal, thousands, text, expected) in [
            (b',', Some("."), "1.000", Some("1000")),
            (b',', Some("."), "1.000,50", Some("1000.50")),
            (b',', Some("."), "-12.345.678,9", Some("-12345678.9")),
            (b',', Some("."), "1000", Some("1000")),
            (b',', Some("."), "1000,5", Some("1000.5")),
            (b',', Some("."), ",5", Some(".5")),
            (b',', Some("."), "1.00", None),
            (b',', Some("."), "0,500", Some("0.500")),
            // What has a point for its decimal mark.
            (b',', Some("."), "0.500", None),
            (b',', Some("."), "-00.250", None),
            (b',', Some("."), "000.000.001", None),
            (b'.', Some("'"), "0'123", None),
            (b',', Some("."), "1.0000", None),
            (b',', Some("."), "1000.000", None),
            (b',', Some("."), "1..000", None),
            (b',', Some("."), ".000", None),
            (b',', Some("."), "1.000.", None),
            (b',', Some("."), "1.000,000.000", None),
            (b',', Some("."), "1,5,5", None),
            (b',', Some("."), "1.000e3", None),
            (b',', None, "1.5", None),
            (b',', None, "1,5e3", Some("1.5e3")),
            (b',', None, "1 000", None),
            (b'.', Some(","), "1,000", Some("1000")),
            (b'.', Some(","), "1,00", None),
            (b'.', Some(","), "1,23,456", None),
            (b'.', Some("'"), "1'234'567.8", Some("1234567.8")),
            (b',', Some("\u{202f}"), "1\u{202f}234,5", Some("1234.5")),
            (b'.', Some(","), "nan", None),
            (b'.', Some(","), "0x10", None),
        ] {
            let found = marks(decimal, thousands)
                .plain(text.as_bytes())
                .map(|plain| String::from_utf8(plain.to_vec()).unwrap());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn groups_are_where_they_belong(number in proptest::prelude::any::<i64>(), fraction in proptest::option::of("[0-9]{1,9}")) {
            let digits = number.unsigned_abs().to_string();
            let mut grouped = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if at > 0 && (digits.len() - at).is_multiple_of(3) {
                    grouped.push('.');
                }
                grouped.push(digit);
            }
            let sign = if number < 0 { "-" } else { "" };
            let (ours, plain) = match fraction {
                Some(fraction) => (format!("{sign}{grouped},{fraction}"), format!("{sign}{digits}.{fraction}")),
                None => (format!("{sign}{grouped}"), format!("{sign}{digits}")),
            };
            let mut marks = marks(b',', Some("."));
            proptest::prop_assert_eq!(marks.plain(ours.as_bytes()), Some(plain.as_bytes()));
        }
    }
}
