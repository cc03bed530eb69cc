//! Every type from columns of Parquet.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Decimal128Array, Decimal256Array, DictionaryArray, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int8Array, Int32Array, Int64Array, ListArray, MapBuilder, StringArray, StringBuilder, StructArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int32Type, i256};
use datafusion::parquet::basic::Type;
use datafusion::parquet::data_type::{Int96, Int96Type};
use datafusion::parquet::file::writer::SerializedFileWriter;
use datafusion::parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::absent::read_parquet;
use super::files::parquet_bytes;
use super::types::source;

fn values(column: &Value, feed: &Value, bytes: Vec<u8>) -> Vec<Result<String, String>> {
    let rows = read_parquet(&source(column, feed, &json!({ "parquet": {} })), bytes);
    let value = |row: super::support::Row| match row.content {
        Ok(value) => Ok(value.strip_suffix('|').unwrap_or(&value).to_owned()),
        Err((reason, _)) => Err(reason),
    };
    rows.into_iter().map(value).collect()
}

fn check(column: &Value, feed: &Value, array: ArrayRef, expected: &[&str]) {
    let what = format!("{column} {feed} {:?}", array.data_type());
    let found = values(column, feed, parquet_bytes(vec![("x", array)]));
    assert_eq!(found.len(), expected.len(), "{what}: {found:?}");
    for (found, expected) in found.iter().zip(expected) {
        match (found, expected.strip_prefix('!')) {
            (Ok(found), None) => assert_eq!(found, expected, "{what}"),
            (Err(reason), Some(says)) => assert!(reason.contains(says), "{what}: {reason}"),
            (found, _) => panic!("{what}: {found:?} instead of {expected}"),
        }
    }
}

fn decimals(values: Vec<i128>, precision: u8, scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, scale).unwrap())
}

#[test]
fn numbers_of_parquet_are_held_exactly_or_rejected() {
    let plain = json!({});
    let of = |data_type: &str| json!({ "type": data_type });
    let rounded = |data_type: &str| json!({ "type": data_type, "round": true });
    let longs = || -> ArrayRef { Arc::new(Int64Array::from(vec![7, 300, (1 << 53) + 1])) };
    check(&of("bigint"), &plain, longs(), &["7", "300", "9007199254740993"]);
    check(&of("tinyint"), &plain, longs(), &["7", "!8 bits", "!8 bits"]);
    check(&of("double"), &plain, longs(), &["7.0", "300.0", "!between two values of double: `9007199254740993`"]);
    check(&rounded("double"), &plain, longs(), &["7.0", "300.0", "9007199254740992.0"]);
    check(&of("float"), &plain, longs(), &["7.0", "300.0", "!between two values of float"]);
    check(&of("decimal(20,2)"), &plain, longs(), &["7.00", "300.00", "9007199254740993.00"]);
    check(&of("decimal(4,2)"), &plain, longs(), &["7.00", "!does not fit in decimal(4,2): `300`", "!does not fit"]);
    check(&of("string"), &plain, longs(), &["!not a text", "!not a text", "!not a text"]);

    let unsigned = || -> ArrayRef { Arc::new(UInt64Array::from(vec![1, u64::MAX])) };
    check(&of("bigint"), &plain, unsigned(), &["1", "!64 bits: `18446744073709551615`"]);
    check(&of("double"), &plain, unsigned(), &["1.0", "!between two values of double"]);
    check(&of("decimal(20,0)"), &plain, unsigned(), &["1", "18446744073709551615"]);

    let money = || decimals(vec![12_345, -5, 1_234_567_890_123_456_789], 20, 2);
    check(&of("decimal(20,2)"), &plain, money(), &["123.45", "-0.05", "12345678901234567.89"]);
    check(
        &of("decimal(38,18)"),
        &plain,
        money(),
        &["123.450000000000000000", "-0.050000000000000000", "12345678901234567.890000000000000000"],
    );
    check(&of("decimal(20,1)"), &plain, money(), &["!more digits", "!more digits", "!more digits"]);
    check(&rounded("decimal(20,1)"), &plain, money(), &["123.5", "-0.1", "12345678901234567.9"]);
    check(
        &of("double"),
        &plain,
        money(),
        &["123.45", "-0.05", "!between two values of double: `12345678901234567.89`"],
    );
    let days = Arc::new(arrow::array::Date32Array::from(vec![
        0,
        -719_162,
        2_932_896,
        -719_163,
        2_932_897,
        i32::MAX,
        i32::MIN,
    ]));
    let outside = "!outside the years 1 to 9999";
    check(&of("date"), &plain, days, &["1970-01-01", "0001-01-01", "9999-12-31", outside, outside, outside, outside]);
    check(&of("bigint"), &plain, decimals(vec![500, 550], 5, 2), &["5", "!not a whole number"]);
    check(&of("decimal(38,18)"), &plain, decimals(vec![10_i128.pow(17)], 38, 18), &["0.100000000000000000"]);
    check(&of("double"), &plain, decimals(vec![10_i128.pow(17)], 38, 18), &["0.1"]);
    let wide = Decimal256Array::from(vec![i256::from_i128(i128::MAX), i256::from_i128(25)])
        .with_precision_and_scale(76, 1)
        .unwrap();
    check(&of("decimal(38,1)"), &plain, Arc::new(wide), &["!does not fit", "2.5"]);

    let doubles = || -> ArrayRef { Arc::new(Float64Array::from(vec![0.1, 1.5, -0.0, f64::NAN, f64::INFINITY, 1e300])) };
    check(&of("double"), &plain, doubles(), &["0.1", "1.5", "-0.0", "!not a finite", "!not a finite", "1e300"]);
    check(
        &of("float"),
        &plain,
        doubles(),
        &["!between two values of float", "1.5", "-0.0", "!not a finite", "!not a finite", "!does not fit in a float"],
    );
    check(
        &of("decimal(10,2)"),
        &plain,
        doubles(),
        &["0.10", "1.50", "0.00", "!not a finite", "!not a finite", "!does not fit"],
    );
    check(
        &of("bigint"),
        &plain,
        doubles(),
        &["!not a whole", "!not a whole", "0", "!not a finite", "!not a finite", "!64 bits"],
    );
    check(&of("double"), &plain, Arc::new(Float32Array::from(vec![1.5, 0.1])), &["1.5", "0.10000000149011612"]);
    check(&of("float"), &plain, Arc::new(Float32Array::from(vec![1.5, 0.1])), &["1.5", "0.1"]);
    check(&of("smallint"), &plain, Arc::new(Int8Array::from(vec![-128])), &["-128"]);
    let dictionary: DictionaryArray<Int32Type> = vec![Some("1.5"), None, Some("1.5")].into_iter().collect();
    check(&of("decimal(3,1)"), &plain, Arc::new(dictionary), &["1.5", "", "1.5"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// The model is the whole number that a double is. Smaller ones, and those with a fraction, are their shortest digits.
    #[test]
    fn doubles_of_parquet_are_the_decimals_that_they_mean(whole in prop::collection::vec((any::<i64>(), 0_u32..60), 1..20)) {
        let numbers: Vec<f64> = whole.iter().map(|(digits, shift)| *digits as f64 * 2_f64.powi(*shift as i32)).collect();
        let array: ArrayRef = Arc::new(Float64Array::from(numbers.clone()));
        let column = json!({ "type": "decimal(38,0)" });
        let found = values(&column, &json!({}), parquet_bytes(vec![("x", array)]));
        let limit = 10_i128.pow(38);
        for (found, number) in found.iter().zip(numbers) {
            let exact = number as i128;
            match found {
                Ok(found) => prop_assert_eq!(found, &exact.to_string()),
                Err(_) => prop_assert!(exact.abs() >= limit),
            }
        }
        let fractions: ArrayRef = Arc::new(Float64Array::from(vec![0.1, -2.675, 1e-5, 4_503_599_627_370_495.5]));
        check(&json!({ "type": "decimal(30,5)" }), &json!({}), fractions, &["0.10000", "-2.67500", "0.00001", "4503599627370495.50000"]);
    }
}

#[test]
fn stamps_texts_and_bytes_of_parquet() {
    let plain = json!({});
    let of = |data_type: &str| json!({ "type": data_type });
    let rounded = |data_type: &str| json!({ "type": data_type, "round": true });
    let nanos = || -> ArrayRef {
        Arc::new(TimestampNanosecondArray::from(vec![1_606_500_000_123_456_000, 1_606_500_000_123_456_789, -1]))
    };
    check(
        &of("timestamp"),
        &plain,
        nanos(),
        &["2020-11-27T18:00:00.123456Z", "!finer than a microsecond: `2020-11-27 18:00:00.123456789`", "!finer"],
    );
    check(
        &rounded("timestamp"),
        &plain,
        nanos(),
        &["2020-11-27T18:00:00.123456Z", "2020-11-27T18:00:00.123457Z", "1970-01-01T00:00:00Z"],
    );
    check(
        &of("timestamp_ntz"),
        &json!({ "time_zone": "Asia/Tokyo" }),
        nanos(),
        &["2020-11-27T18:00:00.123456", "!finer", "!finer"],
    );
    check(
        &of("timestamp"),
        &json!({ "time_zone": "Asia/Tokyo" }),
        Arc::new(TimestampMillisecondArray::from(vec![0])),
        &["1969-12-31T15:00:00Z"],
    );
    let instants = Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC"));
    check(&of("timestamp_ntz"), &plain, instants.clone(), &["!is not a timestamp without an offset"]);
    check(&of("timestamp"), &json!({ "time_zone": "Asia/Tokyo" }), instants, &["1970-01-01T00:00:00.000001Z"]);
    let epoch = |unit: &str| json!({ "pattern": { "x": unit } });
    let longs = || -> ArrayRef { Arc::new(Int64Array::from(vec![1_606_500_000_123])) };
    check(&of("timestamp"), &epoch("epoch_ms"), longs(), &["2020-11-27T18:00:00.123Z"]);
    check(&of("timestamp"), &epoch("epoch_ns"), longs(), &["!finer than a microsecond"]);
    check(&of("timestamp"), &plain, longs(), &["!is not a timestamp"]);
    check(
        &of("timestamp"),
        &epoch("epoch_s"),
        Arc::new(Float64Array::from(vec![1_606_500_000.5, 1_606_500_000.1])),
        &["2020-11-27T18:00:00.500Z", "!finer"],
    );
    check(
        &of("date"),
        &epoch("yyyyMMdd"),
        Arc::new(Int32Array::from(vec![20_200_403, 20_200_431])),
        &["2020-04-03", "!not a date (yyyyMMdd)"],
    );
    check(&of("date"), &epoch("dd/MM/yyyy"), Arc::new(StringArray::from(vec!["03/04/2020"])), &["2020-04-03"]);
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..], b""]));
    check(&of("binary"), &plain, bytes.clone(), &["00ff", ""]);
    check(&of("string"), &plain, bytes, &["!is not a text: `2 bytes`", "!is not a text"]);
    let fixed = FixedSizeBinaryArray::try_from_iter([[1_u8, 2], [3, 4]].into_iter()).unwrap();
    check(&of("binary"), &plain, Arc::new(fixed), &["0102", "0304"]);
    check(&of("json"), &plain, Arc::new(StringArray::from(vec![r#"{"a":1}"#, "{"])), &[r#"{"a":1}"#, "!not JSON"]);
    check(&of("double"), &json!({ "nulls": ["NA"] }), Arc::new(StringArray::from(vec!["NA", "1"])), &["", "1.0"]);
}

#[test]
fn nested_columns_of_parquet() {
    let fields: Fields = vec![
        Field::new("px", DataType::Decimal128(12, 3), true),
        Field::new("qty", DataType::Int64, true),
        Field::new("more", DataType::Utf8, true),
    ]
    .into();
    let legs = StructArray::new(
        fields.clone(),
        vec![
            decimals(vec![1_500, 2_250, 1_505], 12, 3),
            Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])),
            Arc::new(StringArray::from(vec!["a", "b", "c"])),
        ],
        None,
    );
    let item = Arc::new(Field::new("item", DataType::Struct(fields), true));
    let lists: ArrayRef = Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([2, 0, 1]), Arc::new(legs), None));
    let plain = json!({});
    check(
        &json!({ "type": "array<struct<px:decimal(10,2),qty:int>>" }),
        &plain,
        lists.clone(),
        &["[{px: 1.50, qty: 1}, {px: 2.25, qty: }]", "[]", "!`x[0].px` has more digits than decimal(10,2): `1.505`"],
    );
    check(&json!({ "type": "map<string,int>" }), &plain, lists.clone(), &["!`x` is not an object: `an array`"; 3]);
    check(&json!({ "type": "string" }), &plain, lists.clone(), &["!`x` is not a text: `an array`"; 3]);
    check(
        &json!({ "type": "array<struct<gone:int>>" }),
        &plain,
        lists.clone(),
        &["[{gone: }, {gone: }]", "[]", "[{gone: }]"],
    );
    check(
        &json!({ "type": "array<struct<PX:double>>" }),
        &plain,
        lists,
        &["!`x[0]` has no field `PX` but `px`", "[]", "!but `px`"],
    );
    let mut map = MapBuilder::new(None, StringBuilder::new(), arrow::array::Int32Builder::new());
    map.keys().append_value("a");
    map.values().append_value(1);
    map.append(true).unwrap();
    map.append(false).unwrap();
    check(&json!({ "type": "map<string,tinyint>" }), &plain, Arc::new(map.finish()), &["{a: 1}", ""]);
}

/// A file with one column of INT96, as Spark writes it.
fn int96_file(stamps: &[(i64, i64)]) -> Vec<u8> {
    const JULIAN_1970: i64 = 2_440_588;
    let schema = Arc::new(parse_message_type("message m { optional int96 x; }").unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let values: Vec<Int96> = stamps
        .iter()
        .map(|(day, nanos)| {
            let mut value = Int96::new();
            let nanos = u64::try_from(*nanos).unwrap();
            value.set_data(nanos as u32, (nanos >> 32) as u32, u32::try_from(day + JULIAN_1970).unwrap());
            value
        })
        .collect();
    let levels = vec![1; values.len()];
    column.typed::<Int96Type>().write_batch(&values, Some(&levels), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    assert_eq!(writer.schema_descr().column(0).physical_type(), Type::INT96);
    writer.into_inner().unwrap()
}

/// Inside of a list no text can stand for such a stamp, and the row is rejected.
#[test]
fn int96_stamps_in_lists_are_exact_or_rejected() {
    let schema =
        parse_message_type("message m { optional group x (LIST) { repeated group list { optional int96 element; } } }");
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema.unwrap()), Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let value = |nanos: u32| {
        let mut value = Int96::new();
        value.set_data(nanos, 0, 2_440_588);
        value
    };
    let stamps = [value(1000), value(2000), value(3000), value(4001)];
    column.typed::<Int96Type>().write_batch(&stamps, Some(&[3, 3, 3, 3]), Some(&[0, 1, 0, 1])).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    let found = values(&json!({ "type": "array<timestamp_ntz>" }), &json!({}), writer.into_inner().unwrap());
    assert_eq!(found[0].as_deref(), Ok("[1970-01-01T00:00:00.000001, 1970-01-01T00:00:00.000002]"));
    assert!(found[1].as_ref().unwrap_err().contains("with a stamp finer than a microsecond"), "{found:?}");
    assert_eq!(found.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Beyond the years that nanoseconds reach, too; against chrono.
    #[test]
    fn int96_stamps_are_exact_or_rejected(
        stamps in prop::collection::vec((-719_162_i64..2_932_896, 0_i64..86_400_000_000_000, any::<bool>()), 1..20),
    ) {
        let stamps: Vec<(i64, i64)> =
            stamps.into_iter().map(|(day, nanos, whole)| (day, if whole { nanos / 1000 * 1000 } else { nanos })).collect();
        let found = values(&json!({ "type": "timestamp_ntz" }), &json!({}), int96_file(&stamps));
        prop_assert_eq!(found.len(), stamps.len());
        for (found, (day, nanos)) in found.into_iter().zip(stamps) {
            let wall = chrono::DateTime::from_timestamp(day * 86_400 + nanos / 1_000_000_000, u32::try_from(nanos % 1_000_000_000).unwrap());
            let wall = wall.unwrap().naive_utc();
            match found {
                Ok(found) => {
                    prop_assert_eq!(nanos % 1000, 0);
                    prop_assert_eq!(found.parse::<chrono::NaiveDateTime>().unwrap(), wall);
                }
                Err(reason) => {
                    prop_assert!(nanos % 1000 != 0 && reason.contains("finer than a microsecond"), "{}", reason);
                    prop_assert!(reason.contains(&wall.format("%F %T%.9f").to_string()), "{}", reason);
                }
            }
        }
    }
}
