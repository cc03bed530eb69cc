//! Values that PySpark 4.3.0 gives, in the zone UTC and with ANSI on.

mod examples;

use crate::checked::tests::{answer, answers};

#[tokio::test]
async fn functions_have_the_values_of_spark() {
    for (sql, value) in [
        ("select concat('a', null)", "NULL"),
        ("select concat(array[1, 2], array[3])", "[1, 2, 3]"),
        ("select concat_ws('-', 'a', null, 'b')", "a-b"),
        ("select concat_ws(',', array['a', 'b'])", "a,b"),
        ("select reverse('abc')", "cba"),
        ("select reverse(array[2, 1, 4])", "[4, 1, 2]"),
        ("select substring('hello', -3, 2)", "ll"),
        ("select substring('hello', 0, 2)", "he"),
        ("select substring('hello', -10, 7)", "he"),
        ("select substr('Spark SQL', -3)", "SQL"),
        ("select substring('Spark SQL' from -3)", "SQL"),
        ("select substring(s, 2, 3) from (values ('hello')) t(s)", "ell"),
        ("select position('bar', 'foobarbar')", "4"),
        ("select position('l' in 'hello')", "3"),
        ("select strpos('hello', 'l')", "3"),
        ("select array_prepend(array[1, 2], 0)", "[0, 1, 2]"),
        ("select array_append(cast(null as array<int>), 2) is null", "true"),
        ("select array_append(array[1], 2)", "[1, 2]"),
        ("select array_remove(array[1, 2, 1], 1)", "[2]"),
        ("select array_sort(array[3, null, 1])", "[1, 3, ]"),
        ("select array_position(array[1, 2, 3], 5)", "0"),
        ("select array_position(array[1, 2, 3], 2)", "2"),
        ("select array_contains(array[1, null, 3], 2)", "NULL"),
        ("select array_contains(array[1, 3], 3)", "true"),
        ("select size(array[1, 2])", "2"),
        ("select size(cast(null as array<int>))", "NULL"),
        ("select element_at(array[1, 2, 3], -1)", "3"),
        ("select element_at(map(['a', 'b'], [1, 2]), 'b')", "2"),
        ("select element_at(map(['a'], [1]), 'z')", "NULL"),
        ("select try_element_at(array[1, 2], 5)", "NULL"),
        ("select left('hello', -1)", ""),
        ("select right('hello', n) from (values (cast(-1 as bigint))) t(n)", ""),
        ("select left('hello', 2)", "he"),
        ("select initcap('hello-world foo_bar')", "Hello-world Foo_bar"),
        ("select initcap('HELLO wORLD')", "Hello World"),
        ("select regexp_replace('a1b2', '[0-9]', '')", "ab"),
        ("select regexp_replace('100-200', '(\\d+)', 'num')", "num-num"),
        ("select log(2, 8)", "3"),
        ("select extract(year from date '2024-01-01')", "2024"),
        ("select array_agg(x) from (values (1), (null), (2)) t(x)", "[1, 2]"),
    ] {
        assert_eq!(answer(sql).await, Ok(value.to_owned()), "{sql}");
    }
    assert_eq!(
        answers("select element_at(l, i) from (values ([1, 2], 1), ([3], -1)) t(l, i)").await,
        Ok(vec!["1".to_owned(), "3".to_owned()])
    );
}

/// Where two values of one type are meant, the author says which.
#[tokio::test]
async fn calls_that_mean_two_things_or_nothing_are_errors_with_a_remedy() {
    for (sql, why) in [
        ("select log(8)", "write `ln(x)` or `log10(x)`"),
        ("select from_unixtime(0)", "to_timestamp_seconds"),
        ("select extract(second from timestamp '2024-01-01 00:00:01.5')", "date_part('microsecond', ts)"),
        ("select date_part('dow', date '2024-01-01')", "isodow"),
        ("select date_bin(interval '1 day', timestamp '2024-01-01' at time zone 'America/New_York')", "date_in_zone"),
        ("select a[1] from (values ([1, 2])) t(a)", "element_at(list, i)"),
        ("select regexp_replace('100-200', '(\\\\d+)', 'num')", "write one backslash"),
        ("select xxhash64('Spark', array[123], 2)", "xxhash64(cast(x as string))"),
        ("select element_at(array[1], 0)", "the index 0"),
        ("select mod(7, n) from (values (0)) t(n)", "ivide by zero"),
        ("select pmod(7, n) from (values (0)) t(n)", "ivide by zero"),
        ("select element_at(array[1], 2)", "try_element_at"),
    ] {
        let found = answer(sql).await;
        assert!(found.as_ref().is_err_and(|error| error.contains(why)), "{sql}: {found:?}");
    }
    assert!(
        answer("select date_bin(interval '1 hour', timestamp '2024-01-01' at time zone 'America/New_York')")
            .await
            .is_ok()
    );
    assert!(answer("select date_bin(interval '1 day', timestamp '2024-01-01')").await.is_ok());
    assert_eq!(answer("select regexp_like('a\\b', '[\\\\]')").await, Ok("true".to_owned()));
}
