use std::time::{Duration, Instant};

use datafusion::arrow::util::display::array_value_to_string;
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;

use super::*;
use crate::session::{session_config, session_state};

mod every_function;

fn context() -> SessionContext {
    SessionContext::new_with_state(session_state(session_config(SessionConfig::new(), 2, 8192), Arc::default()))
}

async fn answer(sql: &str) -> std::result::Result<String, String> {
    let frame = context().sql(sql).await.map_err(|e| e.to_string())?;
    let batches = frame.collect().await.map_err(|e| e.strip_backtrace())?;
    Ok(array_value_to_string(batches[0].column(0), 0).unwrap())
}

/// A literal that no rule folds.
const ROWS: &str =
    "(select cast(value as bigint) as n, concat('ab', cast(value % 9 as varchar)) as t from generate_series(1, 8000))";

#[tokio::test]
async fn what_would_take_all_memory_is_one_error() {
    let begun = Instant::now();
    for call in [
        "repeat(t, 20000000 + n)",
        "repeat(t, 1000000 + n)",
        "lpad(t, 1000000000 + n, 'ä')",
        "rpad(t, 1000000 + n)",
        "space(cast(1000000000 + n as int))",
        "replace(repeat(t, 1000), 'b', repeat('x', 1000))",
        "replace(repeat(t, 1000), '', repeat('x', 1000))",
        "regexp_replace(repeat(t, 1000), '[a-c]', repeat('x', 1000), 'g')",
        "array_repeat(n, 1000000000 + n)",
        "array_repeat(array_repeat(n, 100), 1000000 + n)",
        "array_resize(make_array(n), 1000000000 + n, n)",
        "range(0, 1000000000 + n)",
        "generate_series(0, 1000000000 + n, 1)",
        "generate_series(timestamp '2000-01-01', timestamp '2001-01-01', interval '1 microsecond')",
        "concat(repeat(t, 8000), repeat(t, 8000))",
        "repeat(t, 8000) || repeat(t, 8000)",
        "concat_ws(repeat(t, 5000), 'a', 'b', 'c', t)",
        "array_to_string(array_repeat(n, 100), repeat(t, 1000))",
        "translate(repeat(t, 5000), 'abc', 'äöü')",
        "encode(repeat(t, 5000), 'hex')",
        "format_string('%1000000000d', n)",
        "array_length(string_to_array(repeat(t, 3000000), ''))",
        "array_length(split(repeat(t, 3000000), ''))",
        "array_length(split(repeat(t, 3000000), '[ab]'))",
        "array_length(split(repeat(t, 3000000), 'b'))",
        "to_char(to_timestamp(n), repeat('%c', 3000000))",
        "upper(repeat('ŉ', 12000000 + n))",
        "element_at(array_replace_all(array_repeat(array_repeat(n % 2, 10), 1000), array_repeat(1, 10), array_repeat(n, 3000)), 1)",
        "array_length(array_repeat(arrow_cast(arrow_cast(repeat('a', 1000), 'Binary'), 'FixedSizeBinary(1000)'), 1000000 + n))",
        "array_length(make_array(WIDE))",
        "array_length(array_repeat(named_struct('a', n, 'b', n), 5000000 + n))",
        "array_to_string(array_repeat(array_repeat(n, 300), 10), repeat(t, 100))",
        "array_to_string(array_repeat(null, 1000), ',', repeat(t, 1000))",
        "format_string('%*d', cast(1000000000 + n as int), n)",
        "format_string(repeat('%1$s', 1000), repeat(t, 1000))",
        "array_length(json_array_elements('[' || repeat('1,', 5000000 + n) || '1]'))",
        "array_length(generate_series(timestamp '2000-01-31', to_timestamp(4000000000 + n), interval '1 month -31 days'))",
    ] {
        let wide =
            ["arrow_cast(arrow_cast(repeat('b', 1000 + n - n), 'Binary'), 'FixedSizeBinary(1000)')"; 60].join(", ");
        let call = &call.replace("WIDE", &wide);
        let error = answer(&format!("select max(length(cast({call} as varchar))) from {ROWS}")).await.expect_err(call);
        assert!(error.contains("would make"), "{call}: {error}");
    }
    for (sql, part) in [
        ("levenshtein(repeat(t, 60000), repeat(t, 60000))", "`levenshtein` would compare its arguments for minutes"),
        ("regexp_like(t, '(\\w{10}){3}' || n)", "bytes or so of compiled patterns"),
        ("t ~ ('(\\w{10}){3}' || n)", "bytes or so of compiled patterns"),
    ] {
        let rows = ROWS.replace("8000", "300");
        let error = answer(&format!("select max(cast({sql} as varchar)) from {rows}")).await.expect_err(sql);
        assert!(error.contains(part), "{sql}: {error}");
    }
    for (sql, part) in [
        (
            "select approx_percentile_cont(0.5, 1000000000000) within group (order by n) from T",
            "keep 1000000000000 centroids",
        ),
        ("select approx_percentile_cont(n, 0.5, 10 * 1000000000) from T", "keep 10000000000 centroids"),
        ("select arrow_cast(null, 'FixedSizeList(2147483647, Int64)') from T", "takes 17179869176 bytes for each row"),
        (
            "select array_has_all(range(0, 100000), range(5, 99999))",
            "`array_has_all` would compare its arguments for minutes",
        ),
        ("select arrow_cast('a', 'FixedSizeBinary(2147483647)')", "takes 2147483647 bytes for each row"),
        (
            "select count(*) from generate_series(date '2000-01-31', date '2030-01-01', interval '1 month -31 days')",
            "without end",
        ),
    ] {
        let error = answer(&sql.replace('T', ROWS)).await.expect_err(sql);
        assert!(error.contains(part), "{sql}: {error}");
    }
    // Those that are folded when the query is planned, too.
    let error = answer("select length(repeat('x', 1000000000000))").await.unwrap_err();
    assert!(error.contains("`repeat` would make"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(120));
}

#[tokio::test]
async fn a_constant_in_many_rows_is_one_error() {
    let large = "repeat('a', 1000000)";
    for sql in [
        format!("select max(length(a)) from (select {large} as a, n from {ROWS}) where length(a) + n > 1"),
        format!("select count(distinct a) from (select {large} as a from {ROWS})"),
        format!("select string_agg({large}, '') from {ROWS}"),
        format!("select length(string_agg(a, ',')) from (select {large} as a, t from {ROWS}) where t <> ''"),
        format!("select count(distinct a || t) from (select {large} as a, t from {ROWS})"),
        format!("select max(length(case when n > 5 then {large} else t end)) from {ROWS}"),
        format!("select max(length(coalesce(nullif(t, 'ab1'), {large}))) from {ROWS}"),
        format!(
            "select max(a) from (select array_agg(n) over (order by n rows 1 preceding) as b, {large} as a from {ROWS})"
        ),
        format!(
            "select max(length(element_at(a, 1))) from (select make_array({large}) as a, n from {ROWS}) where element_at(a, 1) || n <> ''"
        ),
        format!("select string_agg(a, '') from (select '{}' as a from {ROWS})", "b".repeat(300_000)),
    ] {
        let error = answer(&sql).await.expect_err(&sql[..90]);
        assert!(error.contains("would make more than"), "{}: {error}", &sql[..90]);
    }
    for (sql, expected) in [
        (format!("select length({large})"), "1000000"),
        (format!("select max(length(a)) from (select {large} as a from {ROWS} limit 100)"), "1000000"),
        (format!("select count(*) from {ROWS} where t <> {large}"), "8000"),
        (format!("select max(length(a)) from (select repeat('a', 30000) as a from {ROWS})"), "30000"),
        (
            format!(
                "select max(length(a)) from (select '{text}' as a union all select 'b')",
                text = "a".repeat(40_000)
            ),
            "40000",
        ),
        (
            format!(
                "select count(*) from (select '{text}' as a union all select 'b') group by length(a) > 1 order by 1",
                text = "a".repeat(40_000)
            ),
            "1",
        ),
        (
            format!(
                "select count(distinct a) from (select '{text}' as a union all select null)",
                text = "a".repeat(40_000)
            ),
            "1",
        ),
    ] {
        assert_eq!(answer(&sql).await.as_deref(), Ok(expected), "{}", &sql[..40]);
    }
}

#[tokio::test]
async fn what_fits_is_as_ever() {
    for (sql, expected) in [
        ("select repeat('ab', 3)", "ababab"),
        ("select array_length(string_to_array(repeat('a,', 900000), ',')) > 900000", "true"),
        ("select array_length(split(repeat('abcdefghi,', 1500000), ','))", "1500001"),
        ("select to_char(timestamp '2024-01-02 00:00:00', '%Y-%m-%d')", "2024-01-02"),
        ("select repeat('ab', -3)", ""),
        ("select count(*) from (values ('ab', '^a'), ('ab', 'B$'), (null, 'x')) as v(t, p) where t ~ p", "1"),
        ("select count(*) from (values ('ab', '^a'), ('ab', 'B$'), (null, 'x')) as v(t, p) where t ~* p", "2"),
        ("select count(*) from (values ('ab', '^a'), ('ab', 'B$'), (null, 'x')) as v(t, p) where t !~ p", "1"),
        ("select count(*) from (values ('ab', '^a'), ('ab', 'B$'), (null, 'x')) as v(t, p) where t !~* p", "0"),
        ("select length(upper(repeat('x', 40000000)))", "40000000"),
        ("select levenshtein(repeat('kitten', 100), repeat('sitting', 100)) > 0", "true"),
        ("select array_to_string([[1, 2], [3]], '-')", "1-2-3"),
        ("select count(*) from generate_series(date '2000-01-31', date '2000-12-31', interval '1 month')", "12"),
        ("select approx_percentile_cont(n, 0.5, 200) from (values (1), (2), (3)) as v(n)", "2.0"),
        ("select lpad('ab', 5, 'xy')", "xyxab"),
        ("select rpad('ab', 5, 'xy')", "abxyx"),
        ("select replace('abcb', 'b', 'xyz')", "axyzcxyz"),
        ("select regexp_replace('foobarbaz', 'b(..)', 'X\\1Y', 'g')", "fooXarYXazY"),
        ("select array_repeat(1, 3)", "[1, 1, 1]"),
        ("select range(0, 6, 2)", "[0, 2, 4]"),
        ("select generate_series(3, 1, -1)", "[3, 2, 1]"),
        ("select concat('a', null, 'b', 1)", ""),
        ("select concat('a', 'b', 1)", "ab1"),
        ("select concat_ws('-', 'a', null, 'b')", "a-b"),
        ("select 'a' || 1 || 'b'", "a1b"),
        ("select 'a' || cast(null as varchar)", ""),
        ("select [1] || [2, 3]", "[1, 2, 3]"),
        ("select array_to_string([1, 2], ', ')", "1, 2"),
        ("select max(a || '-' || b) from (values ('x', 'y'), ('z', null)) t(a, b)", "x-y"),
        ("select max(length(repeat(t, 3000))) from (select 'abc' as t from generate_series(1, 8000))", "9000"),
    ] {
        assert_eq!(answer(sql).await.as_deref(), Ok(expected), "{sql}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// No function makes more than was judged.
    #[test]
    fn the_size_is_never_more_than_was_judged(
        text in "[abä]{0,9}", from in "[abä]{0,2}", to in "[xyzü]{0,5}", count in -3_i64..40,
    ) {
        use arrow::array::{ArrayRef, StringArray, Int64Array};
        use datafusion::logical_expr::ColumnarValue;
        use super::argument::Argument;
        use super::growth::Growth;

        let texts = |text: &str| ColumnarValue::Array(Arc::new(StringArray::from(vec![text])) as ArrayRef);
        let number = ColumnarValue::Array(Arc::new(Int64Array::from(vec![count])) as ArrayRef);
        let [text_of, from_of, to_of] = [&text, &from, &to].map(|one| texts(one));
        let quoted = |text: &str| format!("'{text}'");
        let cases = [
            (Growth::Repeated, vec![text_of.clone(), number.clone()], format!("repeat({}, {count})", quoted(&text))),
            (Growth::Padded, vec![text_of.clone(), number.clone(), to_of.clone()], format!("lpad({}, {count}, {})", quoted(&text), quoted(&to))),
            (Growth::Padded, vec![text_of.clone(), number], format!("rpad({}, {count})", quoted(&text))),
            (Growth::Replaced, vec![text_of.clone(), from_of.clone(), to_of.clone()], format!("replace({}, {}, {})", quoted(&text), quoted(&from), quoted(&to))),
            (Growth::Matches, vec![text_of.clone(), from_of, to_of.clone(), texts("g")], format!("regexp_replace({}, {}, {}, 'g')", quoted(&text), quoted(&from), quoted(&to))),
            (Growth::Joined, vec![text_of.clone(), to_of.clone(), to_of.clone()], format!("concat_ws({}, {}, {})", quoted(&text), quoted(&to), quoted(&to))),
            (Growth::Encoded, vec![text_of, texts("hex")], format!("encode({}, 'hex')", quoted(&text))),
        ];
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for (growth, arguments, call) in cases {
            let arguments: Vec<Argument> = arguments.iter().map(|argument| Argument::new(argument).unwrap()).collect();
            let judged = growth.bytes(&arguments, 0);
            let made = runtime.block_on(answer(&format!("select {call}"))).unwrap();
            prop_assert!(made.len() as u64 <= judged, "{} {} {}", call, made.len(), judged);
        }
    }
}
