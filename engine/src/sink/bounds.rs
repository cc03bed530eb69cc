//! Minima and maxima in the log, by which any reader skips files: they must enclose every value.
//!
//! delta-rs writes decimals as doubles, cuts stamps to milliseconds, and knows neither NaN nor infinity. Here decimals get their own digits, and the greatest stamp
//! is one millisecond later where digits may have been cut off. JSON has no NaN and no infinity: in their place stands the number that is farthest from
//! zero. Readers that skip files by bounds find no row of a file where one bound is missing (deltalake), so that none is left out.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, Decimal128Type, DecimalType, Float32Type, Float64Type, Schema, TimeUnit};
use chrono::{Datelike as _, NaiveDateTime, TimeDelta};
use serde_json::value::RawValue;

const MIN: &str = "minValues";
const MAX: &str = "maxValues";
/// Stamps of a table end with this year.
const LAST_YEAR: i32 = 9999;

/// What is known of the rows of one file, by column.
#[derive(Debug, Default)]
pub(super) struct Bounds(BTreeMap<String, Seen>);

#[derive(Debug, Clone, Copy)]
enum Seen {
    Decimals(i128, i128),
    /// Values that no bound in JSON encloses.
    Unbounded(Unbounded),
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Unbounded {
    below: bool,
    /// Also of NaN, which is greater than all numbers.
    above: bool,
    /// The greatest number of the type.
    farthest: f64,
}

impl Unbounded {
    fn of(values: impl Iterator<Item = f64>, farthest: f64) -> Option<Seen> {
        let mut seen = Self { below: false, above: false, farthest };
        for value in values.filter(|value| !value.is_finite()) {
            seen.above |= value.is_nan() || value > 0.0;
            seen.below |= value < 0.0;
        }
        (seen.above || seen.below).then_some(Seen::Unbounded(seen))
    }

    /// In place of the bound that the rows without these values have.
    fn bound(self, side: &str, value: Option<&RawValue>) -> Option<f64> {
        let is_missing = value.is_none_or(|value| value.get() == "null");
        match side {
            MIN => (self.below || is_missing).then_some(-self.farthest),
            _ => (self.above || is_missing).then_some(self.farthest),
        }
    }
}

impl Bounds {
    pub(super) fn add(&mut self, batch: &RecordBatch) {
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let seen = match field.data_type() {
                DataType::Decimal128(..) => {
                    let column = column.as_primitive::<Decimal128Type>();
                    min(column).zip(max(column)).map(|(least, greatest)| Seen::Decimals(least, greatest))
                }
                DataType::Float64 => Unbounded::of(column.as_primitive::<Float64Type>().iter().flatten(), f64::MAX),
                DataType::Float32 => {
                    let values = column.as_primitive::<Float32Type>().iter().flatten();
                    Unbounded::of(values.map(f64::from), f64::from(f32::MAX))
                }
                _ => None,
            };
            let Some(seen) = seen else { continue };
            let known = self.0.entry(field.name().clone()).or_insert(seen);
            match (known, seen) {
                (Seen::Decimals(least, greatest), Seen::Decimals(low, high)) => {
                    (*least, *greatest) = ((*least).min(low), (*greatest).max(high));
                }
                (Seen::Unbounded(known), Seen::Unbounded(seen)) => {
                    known.below |= seen.below;
                    known.above |= seen.above;
                }
                _ => {}
            }
        }
    }

    /// The statistics of a file of these rows, or of some of them.
    pub(super) fn correct(&self, statistics: &str, schema: &Schema) -> String {
        if !schema.fields().iter().any(|field| may_be_wrong(field.data_type())) {
            return statistics.to_owned();
        }
        self.corrected(statistics, schema).unwrap_or_else(|_| statistics.to_owned())
    }

    fn corrected(&self, statistics: &str, schema: &Schema) -> serde_json::Result<String> {
        let mut parts: BTreeMap<String, Box<RawValue>> = serde_json::from_str(statistics)?;
        for side in [MIN, MAX] {
            let Some(part) = parts.get_mut(side) else { continue };
            let values: BTreeMap<String, Box<RawValue>> = serde_json::from_str(part.get())?;
            let mut bounds = BTreeMap::new();
            for (name, seen) in &self.0 {
                if let Seen::Unbounded(seen) = seen
                    && let Some(bound) = seen.bound(side, values.get(name).map(AsRef::as_ref))
                {
                    bounds.insert(name.clone(), serde_json::value::to_raw_value(&bound)?);
                }
            }
            for (name, value) in values {
                if bounds.contains_key(&name) {
                    continue;
                }
                let data_type = schema.field_with_name(&name).map(|field| field.data_type());
                let bound = match data_type {
                    Ok(data_type) => self.bound(side, &name, value, data_type)?,
                    Err(_) => Some(value),
                };
                bounds.extend(bound.map(|bound| (name, bound)));
            }
            *part = RawValue::from_string(serde_json::to_string(&bounds)?)?;
        }
        serde_json::to_string(&parts)
    }

    /// `None` where there is none that holds.
    fn bound(
        &self,
        side: &str,
        name: &str,
        value: Box<RawValue>,
        data_type: &DataType,
    ) -> serde_json::Result<Option<Box<RawValue>>> {
        match data_type {
            DataType::Decimal128(precision, scale) => {
                let Some(Seen::Decimals(least, greatest)) = self.0.get(name) else { return Ok(None) };
                let bound = if side == MIN { least } else { greatest };
                RawValue::from_string(Decimal128Type::format_decimal(*bound, *precision, *scale)).map(Some)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) if side == MAX => {
                let text: String = serde_json::from_str(value.get())?;
                match raised(&text) {
                    Some(raised) => serde_json::value::to_raw_value(&raised).map(Some),
                    None => Ok(None),
                }
            }
            data_type if may_be_wrong(data_type) && data_type.is_nested() => Ok(None),
            _ => Ok(Some(value)),
        }
    }
}

fn may_be_wrong(data_type: &DataType) -> bool {
    match data_type {
        DataType::Decimal128(..) | DataType::Float32 | DataType::Float64 | DataType::Timestamp(..) => true,
        DataType::List(item) | DataType::Map(item, _) => may_be_wrong(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| may_be_wrong(field.data_type())),
        _ => false,
    }
}

/// The next millisecond, of a stamp whose digits below it may have been cut off; `None` for a text that is none.
fn raised(text: &str) -> Option<String> {
    let (clock, zone) = text.strip_suffix('Z').map_or((text, ""), |clock| (clock, "Z"));
    if !clock.contains('.') {
        return Some(text.to_owned());
    }
    let format = if clock.contains('T') { "%Y-%m-%dT%H:%M:%S%.3f" } else { "%Y-%m-%d %H:%M:%S%.3f" };
    let read_as = format.replace("%.3f", "%.f");
    let stamp = NaiveDateTime::parse_from_str(clock, &read_as).ok()?.checked_add_signed(TimeDelta::milliseconds(1))?;
    if stamp.year() > LAST_YEAR {
        // Readers know no later stamp, and columns hold none.
        let between = if clock.contains('T') { "T" } else { " " };
        return Some(format!("{LAST_YEAR}-12-31{between}23:59:59.999999{zone}"));
    }
    Some(format!("{}{zone}", stamp.format(format)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, Decimal128Array, Float32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    };
    use object_store::memory::InMemory;
    use proptest::prelude::*;

    use super::super::writer::FileWriter;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    /// The texts of `name` among the minima and maxima of a file of these columns.
    fn bounds(columns: Vec<(&str, ArrayRef)>, name: &str) -> [Option<String>; 2] {
        let batch = super::RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        );
        let batch = batch.unwrap();
        let adds = block_on(async {
            let store = Arc::new(InMemory::new());
            let mut writer = FileWriter::new("memory:///t", store, &batch.schema(), &[], &[], 1 << 20).unwrap();
            for row in 0..batch.num_rows() {
                writer.write(&batch.slice(row, 1)).await.unwrap();
            }
            writer.finish().await.unwrap()
        });
        type Parts = std::collections::BTreeMap<String, Box<super::RawValue>>;
        let parts: Parts = serde_json::from_str(adds[0].stats.as_deref().unwrap()).unwrap();
        [super::MIN, super::MAX].map(|side| {
            let values: Parts = serde_json::from_str(parts[side].get()).unwrap();
            values.get(name).map(|value| value.get().trim_matches('"').to_owned())
        })
    }

    fn number(text: &str, scale: usize) -> i128 {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        assert_eq!(part.len(), scale, "{text}");
        format!("{whole}{part}").parse().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn decimals_have_their_own_digits(
            (precision, scale) in (1_u8..=38).prop_flat_map(|precision| (Just(precision), 0..=precision)),
            values in prop::collection::vec(any::<i128>(), 1..6),
        ) {
            let limit = 10_i128.pow(u32::from(precision));
            let values: Vec<i128> = values.into_iter().map(|value| value % limit).collect();
            let scale_of_type = i8::try_from(scale).unwrap();
            let array = Decimal128Array::from(values.clone()).with_precision_and_scale(precision, scale_of_type).unwrap();
            let found = bounds(vec![("x", Arc::new(array))], "x").map(|text| number(&text.unwrap(), scale.into()));
            prop_assert_eq!(Some(&found[0]), values.iter().min());
            prop_assert_eq!(Some(&found[1]), values.iter().max());
        }

        #[test]
        fn stamps_lie_between_their_bounds(
            values in prop::collection::vec(-62_135_596_800_000_000_i64..253_402_300_000_000_000, 1..6),
            is_utc in any::<bool>(),
            finest in prop::sample::select(vec![1_i64, 1000, 1_000_000]),
        ) {
            let values: Vec<i64> = values.into_iter().map(|value| value.div_euclid(finest) * finest).collect();
            let array = TimestampMicrosecondArray::from(values.clone());
            let array = if is_utc { array.with_timezone("UTC") } else { array };
            let [low, high] = bounds(vec![("x", Arc::new(array))], "x").map(|text| {
                let text = text.unwrap().replace('T', " ").replace('Z', "");
                chrono::NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f").unwrap().and_utc().timestamp_micros()
            });
            for value in values {
                prop_assert!((low..=high).contains(&value), "{} {} {}", low, value, high);
            }
        }

        /// Texts and whole numbers are exact, or longer.
        #[test]
        fn texts_and_whole_numbers_lie_between_their_bounds(
            texts in prop::collection::vec("[a-z\u{e9}\u{10ffff}]{0,90}", 1..4),
            numbers in prop::collection::vec(any::<i64>(), 4),
        ) {
            let columns = || -> Vec<(&str, ArrayRef)> {
                let numbers = Int64Array::from(numbers[..texts.len()].to_vec());
                vec![("s", Arc::new(StringArray::from(texts.clone()))), ("n", Arc::new(numbers))]
            };
            let text = |text: Option<String>| text.map(|text| serde_json::from_str::<String>(&format!("\"{text}\"")).unwrap());
            let [low, high] = bounds(columns(), "s").map(text);
            for value in &texts {
                prop_assert!(low.as_ref().is_none_or(|low| low <= value), "{:?} {}", low, value);
                prop_assert!(high.as_ref().is_none_or(|high| high >= value), "{:?} {}", high, value);
            }
            let [low, high] = bounds(columns(), "n").map(|text| text.unwrap().parse::<i64>().unwrap());
            prop_assert_eq!(Some(&low), numbers[..texts.len()].iter().min());
            prop_assert_eq!(Some(&high), numbers[..texts.len()].iter().max());
        }
    }

    #[test]
    fn bounds_enclose_what_json_cannot_say() {
        let of = |values: &[Option<f64>]| {
            let bounds = bounds(vec![("x", Arc::new(Float64Array::from(values.to_vec())) as ArrayRef)], "x");
            bounds.map(|text| text.unwrap().parse::<f64>().unwrap())
        };
        let (nan, infinity, most) = (f64::NAN, f64::INFINITY, f64::MAX);
        assert_eq!(of(&[Some(0.1), None, Some(2.5)]), [0.1, 2.5]);
        assert_eq!(of(&[Some(1.5), Some(nan), Some(3.5)]), [1.5, most]);
        assert_eq!(of(&[Some(-nan), None]), [-most, most]);
        assert_eq!(of(&[Some(infinity), Some(2.0)]), [2.0, most]);
        assert_eq!(of(&[Some(-infinity), Some(2.0)]), [-most, 2.0]);
        assert_eq!(of(&[Some(-infinity), Some(nan)]), [-most, most]);
        let [low, high] = of(&[Some(0.0), Some(-0.0)]);
        assert!(low <= -0.0 && high >= 0.0);
        let floats = Float32Array::from(vec![1.0, f32::NAN]);
        let [low, high] =
            bounds(vec![("x", Arc::new(floats) as ArrayRef)], "x").map(|text| text.unwrap().parse::<f32>().unwrap());
        assert_eq!((low, high), (1.0, f32::MAX));
    }

    #[test]
    fn the_last_stamp_has_a_bound_that_readers_know() {
        let last = 253_402_300_799_999_999;
        for (array, zone) in [
            (TimestampMicrosecondArray::from(vec![last, 0]), ""),
            (TimestampMicrosecondArray::from(vec![last, 0]).with_timezone("UTC"), "Z"),
        ] {
            let [_, high] = bounds(vec![("x", Arc::new(array) as ArrayRef)], "x").map(Option::unwrap);
            assert_eq!(high.replace(' ', "T"), format!("9999-12-31T23:59:59.999999{zone}"));
        }
    }

    #[test]
    fn decimals_that_are_all_null_have_no_bounds() {
        let array = Decimal128Array::from(vec![None, None]).with_precision_and_scale(5, 2).unwrap();
        assert_eq!(bounds(vec![("x", Arc::new(array) as ArrayRef)], "x"), [None, None]);
    }
}
