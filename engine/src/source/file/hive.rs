//! Values that the path of a file says, in folders named `column=value`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use datafusion::common::ScalarValue;
use percent_encoding::percent_decode_str;
use pulse_core::sources::{Ambiguous, Column, Feed};
use pulse_core::{Error, Result};

use super::layout::arrow_type;
use super::pattern::value;
use super::value::{ColumnBuilder, Wanted};

/// What the path of one file says of the declared columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Partitions {
    /// For each column its value, or `None` when it is read from the content.
    values: Vec<Option<ScalarValue>>,
    fault: Option<String>,
}

impl Partitions {
    /// # Errors
    /// `Invalid` when the feed's time zone does not exist, or a pattern is wrong.
    pub(super) fn of(columns: &[Column], feed: &Feed, path: &str) -> Result<Self> {
        let mut partitions = Self { values: vec![None; columns.len()], fault: None };
        if feed.partitions.is_empty() {
            return Ok(partitions);
        }
        let mut folders = Folders::of(path);
        let mut faults: Vec<String> = folders.repeated.take().into_iter().collect();
        // A number or a stamp of a path has none of the marks that a file's text has, and no row before it.
        let ambiguous = match feed.ambiguous {
            Ambiguous::ByOrder | Ambiguous::ByStrictOrder => Ambiguous::Reject,
            one => one,
        };
        let feed = Feed { ambiguous, decimal: '.', thousands: None, ..feed.clone() };
        for (column, slot) in columns.iter().zip(&mut partitions.values) {
            if !feed.has_from_path(&column.name) {
                continue;
            }
            let read = match folders.take(feed.field_name(&column.name)) {
                Ok(text) => typed(column, &feed, text.as_deref())?,
                Err(fault) => Err(fault),
            };
            let null = || ScalarValue::try_from(&arrow_type(&column.data_type)).unwrap_or(ScalarValue::Null);
            *slot = Some(read.unwrap_or_else(|fault| {
                faults.push(fault);
                null()
            }));
        }
        // What the feed's `path` spells out is known.
        let is_spelled =
            |key: &str| feed.path.split('/').any(|part| part.split_once('=').is_some_and(|(of, _)| of == key));
        if let Some((key, text)) = folders.values.iter().find(|(key, _)| !is_spelled(key)) {
            faults.push(format!("the folder `{key}={text}` is not in `partitions` of the feed"));
        }
        partitions.fault = faults.into_iter().next().map(|fault| format!("{fault}; the file is not read"));
        Ok(partitions)
    }

    pub(super) fn of_columns(&self) -> impl Iterator<Item = Option<&ScalarValue>> {
        self.values.iter().map(Option::as_ref)
    }

    /// Why no row of the file can be read.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }
}

/// Folders of one path, by the column that they name.
struct Folders<'a> {
    values: BTreeMap<Cow<'a, str>, &'a str>,
    repeated: Option<String>,
}

impl<'a> Folders<'a> {
    fn of(path: &'a str) -> Self {
        let mut folders = Self { values: BTreeMap::new(), repeated: None };
        let Some((above, _)) = path.rsplit_once('/') else { return folders };
        for (key, text) in above.split('/').filter_map(|folder| folder.split_once('=')) {
            let key = percent_decode_str(key).decode_utf8().unwrap_or(Cow::Borrowed(key));
            if folders.values.insert(key.clone(), text).is_some() {
                folders.repeated = Some(format!("two folders of the path name `{key}`"));
            }
        }
        folders
    }

    /// The text of a column, decoded; `None` is null.
    fn take(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.values.remove(key) {
            Some(text) => Ok(value(text)),
            None => {
                let is_alike = |other: &&Cow<'_, str>| other.to_lowercase() == key.to_lowercase();
                let alike = self.values.keys().find(is_alike);
                let alike = alike.map(|alike| format!(" but `{alike}=`: name it in `rename` of the feed"));
                Err(format!("the path has no folder `{key}=`{}", alike.unwrap_or_default()))
            }
        }
    }
}

/// The inner error is the reason why the column cannot have this value.
fn typed(column: &Column, feed: &Feed, text: Option<&str>) -> Result<Result<ScalarValue, String>> {
    let mut builder = ColumnBuilder::new(column, feed, Wanted::Kept)?;
    let pushed = match text {
        Some(text) => builder.push_text(text.as_bytes()),
        None => builder.push_null(),
    };
    if let Err(fault) = pushed {
        return Ok(Err(format!("the path's {}", builder.reason(fault, text.unwrap_or_default()))));
    }
    let array = builder.finish()?.ok_or_else(|| Error::internal("a column that is kept has values"))?;
    let value = ScalarValue::try_from_array(&array, 0);
    value.map(Ok).map_err(|error| Error::internal("a column of one row has a value").with_source(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(options: &str, path: &str) -> Result<Vec<String>, String> {
        let text = format!(
            "path = \"a/kind=*/*\"\nformat = {{ parquet = {{}} }}\npartitions = [\"day\", \"n\", \"s\", \"t\"]\n{options}"
        );
        let feed: Feed = toml::from_str(&text).unwrap();
        let column = |name: &str, data_type: &str| {
            serde_json::from_value(serde_json::json!({ "name": name, "type": data_type })).unwrap()
        };
        let columns = [("x", "double"), ("day", "date"), ("n", "tinyint"), ("s", "string"), ("t", "timestamp")];
        let columns = columns.map(|(name, data_type)| column(name, data_type));
        let partitions = Partitions::of(&columns, &feed, path).unwrap();
        let shown = |value: Option<&ScalarValue>| value.map_or("-".to_owned(), ToString::to_string);
        let values: Vec<String> = partitions.of_columns().map(shown).collect();
        partitions.fault().map_or(Ok(values), |fault| Err(fault.to_owned()))
    }

    #[test]
    fn folders_say_values_of_declared_types() {
        let zone = "time_zone = \"America/New_York\"";
        for (options, path, expected) in [
            (
                "",
                "a/day=2026-01-02/n=01/s=x%2Fy z/t=2026-01-02 10%3A00%3A00/f",
                ["2026-01-02", "1", "x/y z", "1767348000000000"],
            ),
            // In any order; nulls.
            ("", "a/t=__HIVE_DEFAULT_PARTITION__/s=__HIVE_DEFAULT_PARTITION__/n=/day=/f", ["NULL"; 4]),
            ("nulls = [\"none\"]", "a/t=none/s=none/n=-5/day=none/f", ["NULL", "-5", "NULL", "NULL"]),
            ("pattern = { day = \"yyyyMMdd\" }", "a/t=/s=a=b/n=0/day=20260102/f", ["2026-01-02", "0", "a=b", "NULL"]),
            (zone, "a/day=/n=/s=+/t=2026-07-01 00:00:00/f", ["NULL", "NULL", "+", "1782878400000000"]),
            ("decimal = \",\"\nthousands = \".\"", "a/day=/n=7/s=/t=/f", ["NULL", "7", "NULL", "NULL"]),
            (
                "rename = { day = \"The Day\" }",
                "a/The%20Day=2026-01-02/n=/s=/t=/f",
                ["2026-01-02", "NULL", "NULL", "NULL"],
            ),
        ] {
            let shown = said(options, path).unwrap();
            // A timestamp is shown with its zone behind a comma.
            let plain: Vec<&str> = shown.iter().map(|text| text.split(',').next().unwrap_or_default()).collect();
            assert_eq!(plain, [&["-"], expected.as_slice()].concat(), "{options} {path}");
        }
    }

    #[test]
    fn a_path_that_says_too_little_or_too_much_is_a_fault() {
        for (path, expected) in [
            ("a/day=2026-01-02/n=1/s=x/f", "the path has no folder `t=`"),
            ("a/Day=2026-01-02/n=1/s=x/t=/f", "the path has no folder `day=` but `Day=`: name it in `rename`"),
            ("a/day=2026-02-30/n=1/s=x/t=/f", "the path's `day` is not a date (YYYY-MM-DD): `2026-02-30`"),
            ("a/day=/n=128/s=x/t=/f", "the path's `n` does not fit in 8 bits: `128`"),
            ("a/day=/n=1.5/s=x/t=/f", "the path's `n` is not a whole number: `1.5`"),
            ("a/day=/n=/s=x/t=/n=/f", "two folders of the path name `n`"),
            ("a/day=/n=/s=x/t=/hour=3/f", "the folder `hour=3` is not in `partitions`"),
            ("a/hour=3/day=/n=/s=x/t=/x", "the folder `hour=3` is not in `partitions`"),
            ("n=1", "the path has no folder `day=`"),
        ] {
            let fault = said("", path).unwrap_err();
            assert!(fault.starts_with(expected), "{path}: {fault}");
        }
        let spelled = "a/env=x/day=/n=/s=x/t=/f";
        assert!(said("", spelled).is_err());
        assert!(said("", "a/kind=x/day=/n=/s=x/t=/f").is_ok());
        let twice = said("time_zone = \"America/New_York\"", "a/day=/n=/s=/t=2026-11-01 01:30:00/f").unwrap_err();
        assert!(twice.contains("occurs twice in America/New_York"), "{twice}");
    }
}
