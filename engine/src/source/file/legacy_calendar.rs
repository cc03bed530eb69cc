//! Dates and stamps of Spark's legacy calendar, which is Julian before 1582-10-15 and has other offsets of time zones before 1900.
//!
//! Which instant such a value means depends on the time zone of the session that wrote it. So it is not converted: its row is rejected.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};

const VERSION: &str = "org.apache.spark.version";
const LEGACY_STAMPS: &str = "org.apache.spark.legacyDateTime";
const LEGACY_INT96: &str = "org.apache.spark.legacyINT96";

/// 1582-10-15 in days since 1970.
const GREGORIAN: i32 = -141_427;
/// 1900-01-01T00:00:00Z in seconds since 1970.
const SAME_OFFSETS: i64 = -2_208_988_800;

/// Which values of a file are in the legacy calendar.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Legacy {
    dates: bool,
    int96: bool,
    /// Columns that are INT96, or have such parts.
    int96_columns: Vec<String>,
    format: &'static str,
}

impl Legacy {
    /// What a file of this format says; `entry` is what its metadata has under a key.
    pub(super) fn of<'a>(format: &'static str, entry: impl Fn(&str) -> Option<&'a str>) -> Self {
        let is_before = |release| entry(VERSION).and_then(release_of).is_some_and(|version| version < release);
        Self {
            dates: entry(LEGACY_STAMPS).is_some() || is_before((3, 0)),
            int96: entry(LEGACY_INT96).is_some() || is_before((3, 1)),
            int96_columns: Vec::new(),
            format,
        }
    }

    pub(super) fn with_int96(self, columns: impl Iterator<Item = String>) -> Self {
        Self { int96_columns: columns.collect(), ..self }
    }

    /// Why a row cannot be trusted.
    #[inline]
    pub(super) fn fault(&self, batch: &RecordBatch, row: usize) -> Option<String> {
        if !self.dates && !self.int96 { None } else { self.first_fault(batch, row) }
    }

    #[inline(never)]
    fn first_fault(&self, batch: &RecordBatch, row: usize) -> Option<String> {
        let schema = batch.schema_ref();
        schema.fields().iter().zip(batch.columns()).find_map(|(field, column)| {
            let is_int96 = self.int96_columns.contains(field.name());
            let stamps = if is_int96 { self.int96 } else { self.dates };
            let what = Looked { dates: self.dates, stamps, is_int96 }.old(column, row)?;
            let mode = if is_int96 && what == Old::Stamp { "int96RebaseModeInWrite" } else { "datetimeRebaseModeInWrite" };
            let (what, name, format) = (what.words(), field.name(), self.format);
            Some(format!(
                "`{name}` has {what}, and the file is written in Spark's legacy calendar, in which it may mean several: write the \
                 file with spark.sql.{format}.{mode}=CORRECTED"
            ))
        })
    }
}

/// The first two numbers of a version.
fn release_of(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim().split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Old {
    Date,
    Stamp,
}

impl Old {
    fn words(self) -> &'static str {
        match self {
            Self::Date => "a date before 1582-10-15",
            Self::Stamp => "a timestamp before 1900-01-01T00:00:00Z",
        }
    }
}

/// What is looked for in a column.
#[derive(Clone, Copy)]
struct Looked {
    dates: bool,
    stamps: bool,
    is_int96: bool,
}

impl Looked {
    fn old(self, array: &ArrayRef, row: usize) -> Option<Old> {
        if array.is_null(row) {
            return None;
        }
        let any = |items: &ArrayRef| (0..items.len()).find_map(|item| self.old(items, item));
        match array.data_type() {
            DataType::Date32 => {
                (self.dates && array.as_primitive::<Date32Type>().value(row) < GREGORIAN).then_some(Old::Date)
            }
            // Clocks without a zone were never converted.
            DataType::Timestamp(unit, zone) => {
                let is_looked_at = self.stamps && (zone.is_some() || self.is_int96);
                (is_looked_at && seconds(array, *unit, row) < SAME_OFFSETS).then_some(Old::Stamp)
            }
            DataType::List(_) => any(&array.as_list::<i32>().value(row)),
            DataType::LargeList(_) => any(&array.as_list::<i64>().value(row)),
            DataType::FixedSizeList(..) => any(&array.as_fixed_size_list().value(row)),
            DataType::Map(..) => array.as_map().value(row).columns().iter().find_map(any),
            DataType::Struct(_) => array.as_struct().columns().iter().find_map(|column| self.old(column, row)),
            _ => None,
        }
    }
}

/// Whole seconds since 1970, of the second that the stamp is in.
fn seconds(array: &ArrayRef, unit: TimeUnit, row: usize) -> i64 {
    match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value(row),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row).div_euclid(1000),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row).div_euclid(1_000_000),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Spark decides (`DataSourceUtils.datetimeRebaseSpec` and `int96RebaseSpec`).
    #[test]
    fn which_files_are_legacy() {
        for (entries, dates, int96) in [
            (&[][..], false, false),
            (&[(VERSION, "3.5.1")], false, false),
            (&[(VERSION, "3.5.1"), (LEGACY_STAMPS, "")], true, false),
            (&[(VERSION, "4.0.0"), (LEGACY_INT96, "")], false, true),
            (&[(VERSION, "3.0.3")], false, true),
            (&[(VERSION, "3.1.0")], false, false),
            (&[(VERSION, "3.10.0")], false, false),
            (&[(VERSION, "10.0.0")], false, false),
            (&[(VERSION, "2.4.8-amzn-2")], true, true),
            (&[(VERSION, "unknown")], false, false),
        ] {
            let of = |key: &str| entries.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
            let legacy = Legacy::of("parquet", of);
            assert_eq!((legacy.dates, legacy.int96), (dates, int96), "{entries:?}");
        }
    }

    #[test]
    fn the_limits_are_these_days() {
        let day =
            |text: &str| text.parse::<chrono::NaiveDate>().unwrap().signed_duration_since(chrono::NaiveDate::default());
        assert_eq!(day("1582-10-15").num_days(), i64::from(GREGORIAN));
        assert_eq!(day("1900-01-01").num_seconds(), SAME_OFFSETS);
    }
}
