//! Calls of every function with arguments that make it grow, in a process whose memory is limited.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{
    ArrayRef, BinaryArray, Int64Array, ListArray, NullArray, StringArray, StructArray, UInt32Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalMonthDayNano};
use datafusion::common::{Result, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF};

use super::super::growth::Growth;
use super::context;

/// Functions whose results are no larger than their arguments, or of a fixed size, read one by one.
const NEVER_GROW: &str = "
    __decimal_of_double __exact_microseconds __one_nan abs acos acosh add_months array_add array_any_value array_avg
    array_compact array_contains array_dims array_distance array_distinct array_element array_except array_has
      array_intersect array_length array_max array_min array_ndims array_normalize array_pop_back
    array_pop_front array_position array_positions array_product array_remove array_remove_all array_remove_n array_reverse
    array_scale array_slice array_sort array_subtract array_sum arrow_cast arrow_field arrow_metadata arrow_try_cast
    arrow_typeof ascii asin asinh atan atan2 atanh bin bit_count bit_get bit_length bitmap_bit_position
    bitmap_bucket_number bitmap_count bitwise_not bounded_constant bounded_text_concat btrim cardinality cast_to_type cbrt
    ceil ceiling char character_length checked_add checked_multiply checked_subtract chr coalesce contains cos cosh
    cosine_distance cot crc32 csc current_date current_time date_add date_bin date_diff date_in_zone date_part date_sub
    date_trunc day dayofmonth dayofweek dayofyear decode degrees digest div divide_integers element_at elt empty ends_with
    endswith exp expm1 factorial file_row_index find_in_set flatten floor from_unixtime from_utc_timestamp gcd get_field
    get_json_object greatest hour hypot if ilike inner_product input_file_name is_valid_utf8 isnan iszero json_array_length
    last_day lcm least left like ln log log10 log2 ltrim luhn_check make_date make_dt_interval make_interval make_time
    map_entries map_extract map_keys map_values md5 minute mod month monthname nanvl negative next_day now nullif nvl nvl2
    octet_length parse_url pi pmod power quarter radians random reverse right rint round rtrim sec second sha1 sha2 sha224
    sha256 sha384 sha512 shiftleft shiftright shiftrightunsigned shuffle sign signum sin sinh size slice soundex spark_cast
    spark_position split_part sqrt starts_with startswith strpos substr_index substring tan tanh time_trunc to_date to_hex
    to_local_time to_time to_timestamp to_timestamp_micros to_timestamp_millis to_timestamp_nanos to_timestamp_seconds
    to_unixtime to_utc_timestamp trunc try_cast_to_type try_element_at try_parse_url try_url_decode unbase64 unhex
    union_extract union_tag unix_date unix_micros unix_millis unix_seconds url_decode uuid version wall_clock weekday
    weekofyear width_bucket with_metadata xxhash64 year
";

/// By name, without aliases.
fn functions() -> Vec<Arc<ScalarUDF>> {
    let state = context().state();
    let mut all: Vec<Arc<ScalarUDF>> = state.scalar_functions().values().cloned().collect();
    all.sort_by(|a, b| a.name().cmp(b.name()));
    all.dedup_by(|a, b| a.name() == b.name());
    all
}

#[test]
fn every_function_is_judged_or_known_not_to_grow() {
    let known: Vec<&str> = NEVER_GROW.split_whitespace().collect();
    let all = functions();
    let names = all.iter().map(|function| function.name());
    let unread: Vec<&str> = names.clone().filter(|name| Growth::of(name).is_some() == known.contains(name)).collect();
    assert!(unread.is_empty(), "read whether the results of these can be larger than their arguments: {unread:?}");
    let gone: Vec<_> = known.iter().filter(|known| !names.clone().any(|name| name == **known)).collect();
    assert!(gone.is_empty(), "there are no such functions: {gone:?}");
}

const CASES: &str = "PULSE_TEST_CALLS";

/// The process ends if an allocation fails, and its last line says where.
#[test]
fn no_function_takes_more_than_was_judged() {
    if let Ok(cases) = std::env::var(CASES) {
        let (seed, each) = cases.split_once(' ').unwrap();
        return call_all(seed.parse().unwrap(), each.parse().unwrap());
    }
    let name = format!("{}::no_function_takes_more_than_was_judged", module_path!().split_once("::").unwrap().1);
    let seed = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    // 6 GiB of addresses, stacks and the binary included.
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 6291456 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CASES, format!("{seed} 2"))
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let tail: Vec<&str> = said.lines().rev().take(5).collect();
    assert!(output.status.success() && printed.contains("1 passed"), "{tail:#?}\n{printed}");
}

/// At once: the process may end with the next call.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn call_all(seed: u64, each: usize) {
    let mut random = Random { state: seed | 1, is_sketch: false };
    for function in functions() {
        let mut done = 0;
        for _ in 0..each * 200 {
            if done == each {
                break;
            }
            let (rows, count) = (random.one_of(&[1, 100, 8192]), random.below(5));
            // Few functions take them: small ones of the same types tell.
            let mut sketch = Random { is_sketch: true, ..random };
            let values = (0..count).map(|_| argument(&mut sketch, 1).1).collect();
            if coerced(&function, values, 1).is_err() {
                random = Random { is_sketch: false, ..sketch };
                continue;
            }
            let (kinds, values): (Vec<_>, Vec<_>) = (0..count).map(|_| argument(&mut random, rows)).unzip();
            let Ok(call) = coerced(&function, values, rows) else { continue };
            done += 1;
            say(&format!("seed {seed}: {}({}) of {rows} rows", function.name(), kinds.join(", ")));
            let begun = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| function.invoke_with_args(call)));
            if begun.elapsed().as_secs() >= 5 {
                say(&format!("slow: {:?}", begun.elapsed()));
            }
            if outcome.is_err() {
                say("panics");
            }
        }
    }
}

fn coerced(function: &ScalarUDF, values: Vec<ColumnarValue>, rows: usize) -> Result<ScalarFunctionArgs> {
    let fields: Vec<FieldRef> = values.iter().map(|value| Arc::new(Field::new("f", value.data_type(), true))).collect();
    let fields = fields_with_udf(&fields, function)?;
    let args = values
        .into_iter()
        .zip(&fields)
        .map(|(value, field)| value.cast_to(field.data_type(), None))
        .collect::<Result<Vec<_>>>()?;
    let scalars: Vec<Option<&ScalarValue>> = args
        .iter()
        .map(|value| match value {
            ColumnarValue::Scalar(scalar) => Some(scalar),
            ColumnarValue::Array(_) => None,
        })
        .collect();
    let return_field =
        function.return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &scalars })?;
    let config_options = Arc::new(ConfigOptions::default());
    Ok(ScalarFunctionArgs { args, arg_fields: fields, number_rows: rows, return_field, config_options })
}

#[derive(Clone, Copy)]
struct Random {
    state: u64,
    /// Sizes are 1.
    is_sketch: bool,
}

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 20).unwrap() % most
    }

    /// One of these sizes; those of all rows together are at most `all`.
    fn size(&mut self, sizes: &[usize], all: usize, rows: usize) -> usize {
        let size = self.one_of(sizes).min(all / rows);
        if self.is_sketch { size.min(1) } else { size }
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

/// An argument of 16 MiB or less, and what it is. So much is a constant, too, written once for each row: larger ones are refused before
/// they reach a function.
fn argument(random: &mut Random, rows: usize) -> (String, ColumnarValue) {
    let is_constant = random.below(3) == 0;
    let (kind, array) = match random.below(10) {
        0..=2 => text(random, rows),
        3..=5 => number(random, rows),
        6 => time(random, rows),
        7 | 8 => list(random, rows),
        _ => other(random, rows),
    };
    match is_constant {
        true => {
            // Without what the other rows hold.
            let first = arrow::compute::take(&array, &UInt32Array::from(vec![0]), None).unwrap();
            (format!("constant {kind}"), ColumnarValue::Scalar(ScalarValue::try_from_array(&first, 0).unwrap()))
        }
        false => (kind, ColumnarValue::Array(array)),
    }
}

fn text(random: &mut Random, rows: usize) -> (String, ArrayRef) {
    const SHORT: [&str; 22] = [
        "g",
        "hex",
        "",
        ",",
        "%c",
        "%1$s%1$s%1$s%1$s",
        "%*d",
        "%1000000000d",
        "(\\w{50}){50}",
        "((a{90}){90}){90}",
        "[a-z]*",
        "$[*]",
        "$.a",
        "day",
        "UTC",
        "FixedSizeBinary(2147483647)",
        "FixedSizeList(Int64, 2147483647)",
        "1 month -31 days",
        "HOST",
        "é",
        "ŉ",
        "2024-01-01",
    ];
    const PARTS: [&str; 9] = ["a", "a,", "ΐ", "%1$s", "%c", "1,", "\\1", "\"a\":1,", "ab:cd,"];
    if random.below(2) == 0 {
        let one = random.one_of(&SHORT);
        return (format!("{one:?}"), Arc::new(StringArray::from(vec![one; rows])));
    }
    let part = random.one_of(&PARTS);
    let times = random.size(&[1, 100, 1_000, 8_000, 1_000_000, 8_000_000], 1 << 20, rows);
    let (open, close) = random.one_of(&[("", ""), ("[", "1]"), ("{", "\"z\":1}")]);
    let varies = random.below(3) == 0;
    let long = part.repeat(times);
    let texts = (0..rows).map(|row| match varies {
        true => format!("{open}{long}{row}{close}"),
        false => format!("{open}{long}{close}"),
    });
    (format!("{open}{part:?} x {times}{close} {varies}"), Arc::new(StringArray::from_iter_values(texts)))
}

fn number(random: &mut Random, rows: usize) -> (String, ArrayRef) {
    let one = random.one_of(&[
        0,
        1,
        2,
        -1,
        1_000,
        8_000,
        100_000,
        2_000_000,
        i64::from(i32::MAX),
        i64::from(i32::MIN),
        1_000_000_000_000,
        i64::MAX,
        i64::MIN,
    ]);
    let whole: ArrayRef = Arc::new(Int64Array::from(vec![one; rows]));
    let kind = random.one_of(&[
        DataType::Int64,
        DataType::Int64,
        DataType::Int32,
        DataType::UInt64,
        DataType::Float64,
        DataType::Decimal128(38, 0),
    ]);
    let cast = arrow::compute::cast(&whole, &kind).unwrap();
    (format!("{one} as {kind}"), cast)
}

fn time(random: &mut Random, rows: usize) -> (String, ArrayRef) {
    let (kind, scalar) = match random.below(4) {
        0 => {
            let (months, days, nanoseconds) = random.one_of(&[(0, 0, 1_000), (1, -31, 0), (0, 1, 0), (-1, 0, 0)]);
            let step = IntervalMonthDayNano { months, days, nanoseconds };
            (format!("{step:?}"), ScalarValue::IntervalMonthDayNano(Some(step)))
        }
        1 => ("date".to_owned(), ScalarValue::Date32(Some(random.one_of(&[0, 20_000, -700_000, 2_000_000])))),
        _ => {
            let at = random.one_of(&[0, 1_700_000_000_000_000, -9_000_000_000_000_000, 200_000_000_000_000_000]);
            (format!("stamp {at}"), ScalarValue::TimestampMicrosecond(Some(at), None))
        }
    };
    (kind, scalar.to_array_of_size(rows).unwrap())
}

fn list(random: &mut Random, rows: usize) -> (String, ArrayRef) {
    let items = random.size(&[0, 1, 50, 1_000, 1_000_000], 1 << 18, rows);
    let (kind, values): (&str, ArrayRef) = match random.below(5) {
        0 => ("texts", Arc::new(StringArray::from_iter_values((0..rows * items).map(|item| item.to_string())))),
        1 => {
            let inner = Int64Array::from_iter_values((0..rows * items).map(|item| item as i64 % 7));
            ("lists", Arc::new(lists(Arc::new(inner), rows * items, 1)))
        }
        2 => ("null structs", new_null_array(&wide_struct(), (rows * items).min(20_000))),
        3 => ("nulls", new_null_array(&DataType::Utf8, rows * items)),
        _ => ("numbers", Arc::new(Int64Array::from_iter_values((0..rows * items).map(|item| item as i64 % 1000)))),
    };
    let items = values.len() / rows;
    let values = values.slice(0, items * rows);
    (format!("lists of {items} {kind}"), Arc::new(lists(values, rows, items)))
}

fn lists(values: ArrayRef, rows: usize, items: usize) -> ListArray {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    ListArray::new(field, OffsetBuffer::from_lengths(std::iter::repeat_n(items, rows)), values, None)
}

fn wide_struct() -> DataType {
    DataType::Struct((0..100).map(|at| Field::new(format!("f{at}"), DataType::Int64, true)).collect())
}

fn other(random: &mut Random, rows: usize) -> (String, ArrayRef) {
    match random.below(6) {
        0 => ("null".to_owned(), Arc::new(NullArray::new(rows))),
        1 => ("null struct".to_owned(), new_null_array(&wide_struct(), rows)),
        2 => {
            let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1); rows]));
            let fields = Fields::from(vec![Field::new("a", DataType::Int64, true)]);
            let valid = NullBuffer::new_valid(rows);
            ("struct".to_owned(), Arc::new(StructArray::new(fields, vec![values], Some(valid))))
        }
        3 => {
            let length = random.size(&[3, 8_000, 4_000_000], 4 << 20, rows);
            let bytes = vec![255_u8; length];
            (format!("{length} bytes"), Arc::new(BinaryArray::from_iter_values(std::iter::repeat_n(&bytes, rows))))
        }
        4 => {
            let entries = random.size(&[1, 100, 100_000], 1 << 18, rows);
            let mut builder = arrow::array::MapBuilder::new(
                None,
                arrow::array::StringBuilder::new(),
                arrow::array::Int64Builder::new(),
            );
            for _ in 0..rows {
                for entry in 0..entries {
                    builder.keys().append_value(entry.to_string());
                    builder.values().append_value(1);
                }
                builder.append(true).unwrap();
            }
            (format!("maps of {entries}"), Arc::new(builder.finish()))
        }
        _ => {
            ("boolean".to_owned(), arrow::compute::cast(&Int64Array::from(vec![1; rows]), &DataType::Boolean).unwrap())
        }
    }
}
