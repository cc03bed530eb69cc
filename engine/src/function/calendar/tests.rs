//! Expected instants and dates come from the published rules of each zone.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Offset, TimeZone};
use chrono_tz::Tz;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionContext;

use super::offset::OffsetCache;
use crate::function::register_all;

fn context() -> SessionContext {
    SessionContext::new_with_state(register_all(SessionStateBuilder::new()).build())
}

async fn try_query(sql: &str) -> Result<ArrayRef, String> {
    let frame = context().sql(sql).await.map_err(|error| error.strip_backtrace())?;
    let batches = frame.collect().await.map_err(|error| error.strip_backtrace())?;
    Ok(Arc::clone(batches[0].column(0)))
}

async fn clock(date: &str, time: &str, zone: &str) -> Result<String, String> {
    let result = try_query(&format!("select wall_clock(date '{date}', '{time}', '{zone}')")).await?;
    let micros = result.as_primitive::<TimestampMicrosecondType>().value(0);
    Ok(DateTime::from_timestamp_micros(micros).unwrap().to_rfc3339())
}

#[tokio::test]
async fn the_date_is_that_of_the_place() {
    for (instant, zone, expected) in [
        ("2020-12-24T04:59:59", "America/New_York", "2020-12-23"),
        ("2020-12-24T05:00:00", "America/New_York", "2020-12-24"),
        ("2020-07-01T03:59:59.999999", "America/New_York", "2020-06-30"),
        ("2020-07-01T04:00:00", "America/New_York", "2020-07-01"),
        ("2020-07-01T00:00:00", "UTC", "2020-07-01"),
        ("2020-07-01T15:00:00", "Asia/Tokyo", "2020-07-02"),
        // Samoa left out 30 December 2011.
        ("2011-12-30T09:59:59", "Pacific/Apia", "2011-12-29"),
        ("2011-12-30T10:00:00", "Pacific/Apia", "2011-12-31"),
        ("1969-12-31T23:59:59.5", "UTC", "1969-12-31"),
    ] {
        let days = try_query(&format!("select date_in_zone(timestamp '{instant}' at time zone 'UTC', '{zone}')"))
            .await
            .unwrap();
        let days = days.as_primitive::<Date32Type>().value_as_date(0).unwrap();
        assert_eq!(days.to_string(), expected, "{instant} in {zone}");
    }
}

#[tokio::test]
async fn columns_and_nulls() {
    let instants = TimestampMicrosecondArray::from(vec![
        Some(1_608_786_000_000_000), // 2020-12-24T05:00Z
        None,
        Some(1_608_785_999_999_999),
        Some(i64::MAX), // beyond the calendar
    ])
    .with_timezone("UTC");
    let batch = RecordBatch::try_from_iter([("ts", Arc::new(instants) as ArrayRef)]).unwrap();
    let context = context();
    context.register_batch("t", batch).unwrap();
    let sql = "select date_in_zone(ts, 'America/New_York') as d from t";
    let dates = context.sql(sql).await.unwrap().collect().await.unwrap();
    let dates: Vec<_> = dates[0].column(0).as_primitive::<Date32Type>().iter().collect();
    let day = |day| (NaiveDate::from_ymd_opt(2020, 12, day).unwrap() - NaiveDate::default()).num_days() as i32;
    assert_eq!(dates, [Some(day(24)), None, Some(day(23)), None]);

    let sql =
        format!("{} from (select {} as d)", "select wall_clock(d, '09:30', 'America/New_York')", "cast(null as date)");
    assert!(try_query(&sql).await.unwrap().is_null(0));
}

/// Every look-up is also made without the cache, in row order, backwards and at random.
#[test]
fn the_cache_agrees_with_the_zone() {
    let step = 47 * 60 + 13;
    let mut state = 7_u64;
    for zone in ["America/New_York", "Europe/London", "Africa/Casablanca", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]
    {
        let zone: Tz = zone.parse().unwrap();
        let direct = |second: i64| {
            let utc = DateTime::from_timestamp(second, 0).unwrap().naive_utc();
            second + i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc())
        };
        let seconds = (0..200_000).map(|index| 631_152_000 + index * step);
        let random = (0..20_000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 32) as i64) - 2_147_483_648
        });
        let all: Vec<i64> = seconds.clone().chain(seconds.rev().step_by(3)).chain(random).collect();
        let mut cache = OffsetCache::new(zone);
        for second in all {
            let expected = direct(second) * 1_000_000 + 999_999;
            assert_eq!(cache.local(second * 1_000_000 + 999_999), Some(expected), "{second} in {zone}");
        }
    }
}

#[test]
fn the_change_itself_is_met_to_the_microsecond() {
    // New York, 2021-03-14 07:00Z: from -5 h to -4 h.
    let change = 1_615_705_200_000_000;
    let hours = |hours: i64| hours * 3_600_000_000;
    for first in [change - 1, change, change - hours(200), change + hours(200)] {
        let mut cache = OffsetCache::new(chrono_tz::America::New_York);
        cache.local(first);
        assert_eq!(cache.local(change - 1), Some(change - 1 - hours(5)), "after {first}");
        assert_eq!(cache.local(change), Some(change - hours(4)), "after {first}");
    }
}

#[tokio::test]
async fn wall_clocks() {
    for (date, time, zone, expected) in [
        ("2020-12-24", "09:30", "America/New_York", "2020-12-24T14:30:00+00:00"),
        ("2020-07-01", "09:30", "America/New_York", "2020-07-01T13:30:00+00:00"),
        ("2020-12-24", "13:00", "America/New_York", "2020-12-24T18:00:00+00:00"),
        // Shown twice: the first one, still in summer time.
        ("2020-11-01", "01:30", "America/New_York", "2020-11-01T05:30:00+00:00"),
        ("2020-12-24", "00:00", "Asia/Tokyo", "2020-12-23T15:00:00+00:00"),
    ] {
        assert_eq!(clock(date, time, zone).await.as_deref(), Ok(expected), "{date} {time} {zone}");
    }
}

#[tokio::test]
async fn a_time_that_the_clocks_jump_over_is_an_error() {
    let error = clock("2021-03-14", "02:30", "America/New_York").await.unwrap_err();
    let expected = "wall_clock: 02:30 does not exist on 2021-03-14 in America/New_York, the clocks jump over it";
    assert!(error.contains(expected), "{error}");
}

#[tokio::test]
async fn half_past_nine_exists_every_day_and_gives_the_date_back() {
    let sql = "select count(*) from (select d, date_in_zone(wall_clock(d, '09:30', 'America/New_York'), \
               'America/New_York') as back from (select unnest(generate_series(date '1998-01-01', date '2026-12-31', \
               interval '1 day'))::date as d)) where d = back";
    let days = (NaiveDate::from_ymd_opt(2027, 1, 1).unwrap() - NaiveDate::from_ymd_opt(1998, 1, 1).unwrap()).num_days();
    let count = try_query(sql).await.unwrap();
    assert_eq!(count.as_primitive::<datafusion::arrow::datatypes::Int64Type>().value(0), days);
}

#[tokio::test]
async fn wrong_arguments_are_refused_when_planned() {
    for (sql, expected) in [
        ("select date_in_zone(timestamp '2020-01-01' at time zone 'UTC', 'New York')", "'New York' is not a time zone"),
        ("select date_in_zone(timestamp '2020-01-01T00:00:00', 'UTC')", "`ts` has no time zone"),
        ("select date_in_zone(1, 'UTC')", "`ts` must be a timestamp with time zone, found Int64"),
        ("select date_in_zone(timestamp '2020-01-01' at time zone 'UTC')", "found 1 arguments"),
        (
            "select date_in_zone(timestamp '2020-01-01' at time zone 'UTC', z) from (values ('UTC')) t(z)",
            "must be a literal",
        ),
        ("select wall_clock(date '2020-01-01', '9:30', 'UTC')", "'9:30' is not a time of day: write HH:MM"),
        ("select wall_clock(date '2020-01-01', '24:30', 'UTC')", "'24:30' is not a time of day: write HH:MM"),
        ("select wall_clock('soon', '09:30', 'UTC')", "`date` must be a date, found Utf8"),
    ] {
        let planned = context().sql(sql).await.map(|_| ()).map_err(|error| error.strip_backtrace());
        let error = planned.expect_err(sql);
        assert!(error.contains(expected), "{sql}: {error}");
    }
}
