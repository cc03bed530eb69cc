//! Patterns of Spark. The files are what PySpark 4.3.0 says in the zone UTC, of random stamps: `format.tsv` has `date_format` (microseconds,
//! pattern, text), `parse.tsv` has `try_to_timestamp` (text, pattern, microseconds or nothing).

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::TimestampNanosecondType;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::checked::tests::answer;
use crate::session::{session_config, session_state};

const FORMAT: &str = include_str!("tests/format.tsv");
const PARSE: &str = include_str!("tests/parse.tsv");

fn lines(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    text.lines().map(|line| {
        let mut parts = line.split('\t');
        (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap_or_default())
    })
}

fn context() -> SessionContext {
    SessionContext::new_with_state(session_state(session_config(SessionConfig::new(), 2, 8192), Default::default()))
}

async fn column(columns: Vec<(&str, ArrayRef)>, expression: &str) -> Result<ArrayRef, String> {
    let context = context();
    context.register_batch("t", RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    let frame = context.sql(&format!("select {expression} as r from t")).await.map_err(|e| e.to_string())?;
    let batches = frame.collect().await.map_err(|e| e.to_string())?;
    let schema = batches[0].schema();
    Ok(arrow::compute::concat_batches(&schema, &batches).unwrap().column(0).clone())
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// With the pattern in a column, and as a constant.
#[tokio::test]
async fn stamps_are_written_as_spark_writes_them() {
    let rows: Vec<(i64, &str, &str)> =
        lines(FORMAT).map(|(at, pattern, text)| (at.parse().unwrap(), pattern, text)).collect();
    assert!(rows.len() > 200);
    let stamps = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.0)).with_timezone("UTC");
    let patterns = StringArray::from_iter_values(rows.iter().map(|row| row.1));
    let columns =
        vec![("ts", std::sync::Arc::new(stamps) as ArrayRef), ("p", std::sync::Arc::new(patterns) as ArrayRef)];
    let found = column(columns, "date_format(ts, p)").await.unwrap();
    for (row, found) in rows.iter().zip(found.as_string::<i32>().iter()) {
        assert_eq!(found, Some(row.2), "{} {}", row.0, row.1);
    }
    for (at, pattern, text) in rows.iter().step_by(11) {
        let stamp = TimestampMicrosecondArray::from_iter_values([*at]);
        let found = column(
            vec![("ts", std::sync::Arc::new(stamp) as ArrayRef)],
            &format!("date_format(ts, {})", quoted(pattern)),
        )
        .await;
        assert_eq!(found.unwrap().as_string::<i32>().value(0), *text, "{at} {pattern}");
    }
}

#[tokio::test]
async fn texts_are_read_as_spark_reads_them() {
    let mut count = (0, 0);
    for (text, pattern, micros) in lines(PARSE) {
        let texts = || vec![("s", std::sync::Arc::new(StringArray::from(vec![text])) as ArrayRef)];
        let found = column(texts(), &format!("to_timestamp(s, {})", quoted(pattern))).await;
        match micros.parse::<i64>() {
            // The type of `to_timestamp` has nanoseconds, from 1677 to 2262.
            Ok(micros) if micros.checked_mul(1000).is_none() => assert!(found.is_err(), "{text} {pattern}: {found:?}"),
            Ok(micros) => {
                let found = found.unwrap_or_else(|error| panic!("{text} {pattern}: {error}"));
                let found = found.as_primitive::<TimestampNanosecondType>().value(0);
                assert_eq!(found, micros * 1000, "{text} {pattern}");
                count.0 += 1;
            }
            Err(_) => {
                assert!(
                    found.as_ref().is_err_and(|error| error.contains("is not a stamp of the pattern")),
                    "{text} {pattern}: {found:?}"
                );
                count.1 += 1;
            }
        }
    }
    assert!(count.0 > 100 && count.1 > 20, "{count:?}");
}

#[tokio::test]
async fn a_pattern_of_the_other_language_is_an_error_that_names_its_function() {
    for (sql, why) in [
        ("select date_format(timestamp '2024-01-01', '%Y-%m')", "write `to_char`"),
        ("select to_char(timestamp '2024-01-01', 'yyyy-MM')", "write `date_format`"),
        ("select to_timestamp_seconds('2024', 'yyyy')", "write `to_timestamp`"),
        ("select to_unixtime('2024-01-01', 'yyyy-MM-dd')", "write `to_timestamp`"),
        ("select to_timestamp('2024-01-01', 'YYYY-MM-dd')", "a year is `yyyy`"),
        ("select to_timestamp('2024-01', 'yyyy-MM')", "does not say the day"),
        ("select date_format(date '2024-01-01', 'YYYY')", "a year is `yyyy`"),
        ("select to_timestamp('2024-01-01', 'yyyy-MM-dd', '%Y')", "has both"),
    ] {
        let found = answer(sql).await;
        assert!(found.as_ref().is_err_and(|error| error.contains(why)), "{sql}: {found:?}");
        // As `check` sees it, without a row.
        let planned = context().sql(&format!("{sql} from (values (1)) t(a) where false")).await;
        assert!(planned.is_err() || why == "has both", "{sql}");
    }
}

#[tokio::test]
async fn dates_zones_and_nulls() {
    for (sql, value) in [
        ("select date_format(date '2024-03-05', 'yyyy-MM-dd HH')", "2024-03-05 00"),
        ("select date_format('2016-04-08', 'y')", "2016"),
        (
            "select date_format(timestamp '2024-07-01 02:30:00' at time zone 'America/New_York', 'yyyy-MM-dd HH:mm xxx')",
            "2024-07-01 02:30 -04:00",
        ),
        ("select date_format(null, 'yyyy')", "NULL"),
        ("select date_format(date '2024-03-05', null)", "NULL"),
        ("select to_char(date '2024-03-05', '%Y')", "2024"),
        ("select to_timestamp('05/03/2024 10:00:00', '%d/%m/%Y %H:%M:%S') is null", "false"),
        ("select to_date('05/03/2024', 'dd/MM/yyyy')", "2024-03-05"),
        ("select to_date(s, 'dd/MM/yyyy') from (values ('05/03/2024')) t(s)", "2024-03-05"),
        ("select to_date(null, 'dd/MM/yyyy')", "NULL"),
        ("select to_date('2024-03-05')", "2024-03-05"),
    ] {
        assert_eq!(answer(sql).await, Ok(value.to_owned()), "{sql}");
    }
}
