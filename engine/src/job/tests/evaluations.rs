//! Runs with more intervals than one plan evaluates.

use chrono::NaiveDate;

use super::*;

const START: NaiveDate = NaiveDate::from_ymd_opt(2022, 8, 1).unwrap();

const APPEND: &str = "[sink.append]\n";

/// One row per day, however many rows the day has: the query is not grouped by its unit.
fn days(key: &str, more: &str) -> (String, &'static str) {
    let manifest = format!("grain = [\"{key}\"]\ninterval = \"day\"\nstart = \"{START}\"\n{more}");
    let query = "select cast($interval_start as date) as day, \
                 div(date_part('epoch', $interval_start)::bigint, 86400) % 410 as turn, count(d) as n \
                 from bronze.lines where d >= cast($interval_start as date) and d < cast($interval_end as date)";
    (manifest, query)
}

fn world(key: &str, more: &str) -> World {
    let (manifest, query) = days(key, more);
    let bronze = ("bronze.lines", BRONZE.to_owned(), "select k, d, v, source_file, line from raw.lines");
    let world = World::new(&[bronze, ("silver.days", manifest, query)]);
    let lines = "k,d,v\n1,2022-08-05,\n2,2022-08-05,\n3,2023-11-13,\n4,2023-11-14,\n";
    std::fs::write(world.folder.path().join("raw/0.csv"), lines).unwrap();
    world
}

#[test]
fn a_first_run_and_a_rebuild_compute_all_of_them() {
    block_on(async {
        let mut world = world("day", APPEND);
        let outcomes = world.run_all().await;
        assert!(outcomes.values().all(Result::is_ok), "{outcomes:?}");
        let name = "silver.days".parse::<TableName>().unwrap();
        let first = world.rows(&name, None).await;
        let ends = now().date_naive();
        let count = |day: NaiveDate| match day.to_string().as_str() {
            "2022-08-05" => 2,
            "2023-11-13" => 1,
            _ => 0,
        };
        let day_number = |day: NaiveDate| (day - NaiveDate::from_ymd_opt(1970, 1, 1).unwrap()).num_days();
        let wanted: Vec<String> = START
            .iter_days()
            .take_while(|day| *day < ends)
            .map(|day| format!("{day} {} {}", day_number(day) % 410, count(day)))
            .collect();
        assert!(wanted.len() > 401, "{}", wanted.len());
        assert_eq!(first, wanted);
        let outcomes = world.run_all_as(&Asked { rebuild: true, ..Asked::default() }).await;
        assert!(outcomes.values().all(Result::is_ok), "{outcomes:?}");
        assert_eq!(world.rows(&name, None).await, wanted);
    });
}

#[test]
fn rows_of_two_parts_are_checked_together() {
    let unique =
        |on_fail: &str, more: &str| expect("once", &format!("unique = {{ columns = [\"turn\"]{more} }}"), on_fail);
    let dropped = unique("drop", ", keep_first_by = [\"day\"]");
    for (key, more, wanted) in [
        ("turn", APPEND.to_owned(), "grain"),
        ("day", format!("{APPEND}{}", unique("fail", "")), "\"once\" failed"),
        (
            "turn",
            format!("order = [\"turn\", \"day\"]\n[sink.merge]\nkeys = [\"turn\"]\n{dropped}"),
            "400 is the limit",
        ),
    ] {
        block_on(async {
            let mut world = world(key, &more);
            let outcome = world.run_all().await.remove(&"silver.days".parse::<TableName>().unwrap()).unwrap();
            let message = match outcome {
                Ok(Outcome::ExpectationFailed { message }) => message,
                Err(error) => error.to_string(),
                Ok(other) => panic!("{key} {more}: {other:?}"),
            };
            assert!(message.contains(wanted), "{key} {more}: {message}");
        });
    }
}
