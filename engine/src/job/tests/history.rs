//! Histories against models that compute them from all inputs: late, corrected, deleted and repeated rows, in any order.

use std::fmt::Write as _;

use super::*;

/// A row of the query: key, day and value; the value [`GONE`] deletes the key.
type Row = (Option<i64>, i64, Option<i64>);

const GONE: Option<i64> = Some(3);
const QUERY: &str = "select k, d, v from bronze.lines";

fn scd2(rest: &str) -> String {
    format!("[sink.scd2]\nkeys = [\"k\"]\neffective = \"d\"\ndeleted = \"v = 3\"\n{rest}")
}

fn cut_jobs() -> Vec<JobText> {
    let head = "grain = [\"k\", \"valid_from\"]\n";
    vec![
        ("bronze.lines", BRONZE.to_owned(), "select k, d, v, source_file, line from raw.lines"),
        ("silver.whole", format!("{head}{}", scd2("")), QUERY),
        ("silver.grown", format!("{head}{}{}", by("[\"k\"]"), scd2("")), QUERY),
        ("silver.parted", format!("{head}partition_by = [\"is_current\"]\n{}{}", by("[\"k\"]"), scd2("")), QUERY),
        ("silver.direct", format!("{head}{}", scd2("")), "select k, d, v from raw.lines"),
        // Not proven to keep keys together, so it is read whole.
        (
            "silver.moved",
            format!("{head}{}{}", by("[\"d\"]"), scd2("")),
            "select k, d, v from bronze.lines",
        ),
        (
            "silver.stamped",
            format!("{head}{}{}", by("[\"k\"]"), scd2("compare = [\"v\"]\n")),
            "select k, d, v, source_file as _file, line as _line from bronze.lines",
        ),
        (
            "silver.known",
            "grain = [\"k\", \"valid_from\", \"recorded_from\"]\n[sink.bitemporal]\nkeys = [\"k\"]\neffective = \"d\"\n\
             deleted = \"v = 3\"\n"
                .to_owned(),
            QUERY,
        ),
    ]
}

fn text(value: Option<i64>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

fn date(day: i64) -> String {
    format!("2024-01-0{}", day + 1)
}

/// The contract: versions in the order of time, equal consecutive ones are one, deletes close. `None` if two different
/// rows of a key begin at the same time.
fn history(rows: &[Row]) -> Option<Vec<String>> {
    let mut times: BTreeMap<Option<i64>, BTreeMap<i64, BTreeSet<Option<i64>>>> = BTreeMap::new();
    for (k, d, v) in rows {
        times.entry(*k).or_default().entry(*d).or_default().insert(*v);
    }
    let mut lines = Vec::new();
    for (k, days) in times {
        let mut events: Vec<(i64, Option<i64>)> = Vec::new();
        for (day, values) in days {
            let [value] = values.into_iter().collect::<Vec<_>>()[..] else { return None };
            if events.last().is_none_or(|(_, before)| *before != value) {
                events.push((day, value));
            }
        }
        for (place, (day, value)) in events.iter().enumerate().filter(|(_, (_, value))| *value != GONE) {
            let end = events.get(place + 1).map(|(day, _)| date(*day));
            let (open, end) = (end.is_none(), end.unwrap_or("-".to_owned()));
            lines.push(format!("{} {} {} {} {end} {open}", text(k), date(*day), text(*value), date(*day)));
        }
    }
    lines.sort();
    Some(lines)
}

fn rows_of(files: &Step) -> Vec<Row> {
    files.values().flatten().copied().collect()
}

/// A model of a table that remembers: rows with their recording times.
#[derive(Default)]
struct Memory {
    rows: Vec<(String, String, Option<String>)>,
}

impl Memory {
    fn see(&mut self, content: &[String], time: &str) {
        for (row, _, until) in self.rows.iter_mut().filter(|(_, _, until)| until.is_none()) {
            if !content.contains(row) {
                *until = Some(time.to_owned());
            }
        }
        for row in content {
            if !self.rows.iter().any(|(known, _, until)| known == row && until.is_none()) {
                self.rows.push((row.clone(), time.to_owned(), None));
            }
        }
    }

    fn lines(&self, is_current: bool) -> Vec<String> {
        let line = |(row, from, until): &(String, String, Option<String>)| {
            let mut line = format!("{row} {from} {}", until.as_deref().unwrap_or("-"));
            if is_current {
                write!(line, " {}", until.is_none()).unwrap();
            }
            line
        };
        let mut lines: Vec<String> = self.rows.iter().map(line).collect();
        lines.sort();
        lines
    }

    fn as_of(&self, time: &str) -> Vec<String> {
        let known = |(_, from, until): &&(String, String, Option<String>)| {
            from.as_str() <= time && until.as_ref().is_none_or(|until| until.as_str() > time)
        };
        let mut rows: Vec<String> = self.rows.iter().filter(known).map(|(row, ..)| row.clone()).collect();
        rows.sort();
        rows
    }
}

fn stamp(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn rows_of_versions() -> impl Strategy<Value = Vec<Step>> {
    let line = (prop::option::weighted(0.9, 0..3_i64), 0..8_i64, prop::option::weighted(0.9, 0..4_i64));
    vec(prop::collection::btree_map(0..3_u8, vec(line, 0..5), 1..3), 1..4)
}

/// Checks the outcome and the rows of a run of `name`.
async fn expect_rows(
    world: &World,
    name: &str,
    outcome: &pulse_core::Result<Outcome>,
    wanted: Option<&Vec<String>>,
    before: Option<u64>,
) {
    let name: TableName = name.parse().unwrap();
    match (outcome, wanted) {
        (Ok(_), Some(wanted)) => assert_eq!(&world.rows(&name, None).await, wanted, "{name}"),
        (Err(error), None) => {
            assert_eq!(error.kind(), pulse_core::ErrorKind::Data, "{error}");
            let says = error.to_string();
            assert!(says.contains("begin at the same time: k = ") && says.contains("(k) ha"), "{says}");
            assert_eq!(world.version(&name).await, before, "{name}");
        }
        (outcome, wanted) => panic!("{name}: {outcome:?}, and the model has {wanted:?}"),
    }
}

#[test]
fn a_history_is_cut_from_all_rows_however_they_came() {
    let (cut, refused) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let property = |steps: Vec<Step>| {
        block_on(async {
            let mut world = World::new(&cut_jobs());
            let mut files = Step::new();
            let mut known = Memory::default();
            let mut as_of = Vec::new();
            for step in &steps {
                world.write(step);
                files.extend(step.clone());
                let wanted = history(&rows_of(&files));
                let mut before = BTreeMap::new();
                for name in world.bench.project.jobs.keys() {
                    before.insert(name.to_string(), world.version(name).await);
                }
                let order = Graph::new(&world.bench.project).unwrap().order().to_vec();
                let place = order.iter().position(|name| name.to_string() == "silver.known").unwrap();
                let time = stamp(world.time() + Duration::from_secs(place as u64 + 1));
                let outcomes = world.run_all().await;
                for (name, _, _) in cut_jobs().iter().filter(|job| !["bronze.lines", "silver.known"].contains(&job.0)) {
                    let outcome = &outcomes[&name.parse::<TableName>().unwrap()];
                    expect_rows(&world, name, outcome, wanted.as_ref(), before[*name]).await;
                }
                if let Some(wanted) = &wanted {
                    cut.set(cut.get() + 1);
                    known.see(wanted, &time);
                    as_of.push((time, wanted.clone()));
                } else {
                    refused.set(refused.get() + 1);
                }
                let outcome = &outcomes[&"silver.known".parse::<TableName>().unwrap()];
                let lines = wanted.map(|_| known.lines(false));
                expect_rows(&world, "silver.known", outcome, lines.as_ref(), before["silver.known"]).await;
                let again = world.run_all().await;
                assert!(
                    again.values().all(|outcome| matches!(outcome, Ok(Outcome::Unchanged)) || lines.is_none()),
                    "{again:?}"
                );
            }
            for (time, wanted) in as_of {
                assert_eq!(known.as_of(&time), wanted);
            }
        });
    };
    check_until(cases(6), rows_of_versions, property, || cut.get() > 3 && refused.get() > 0);
}

const SEEN: &str = "grain = [\"k\", \"valid_from\"]\n[sink.scd2]\nkeys = [\"k\"]\neffective = \"observed\"\n";

fn seen_jobs() -> Vec<JobText> {
    let small = expect("v is small", "check = \"coalesce(v, 0) < 5\"", "quarantine");
    vec![
        ("bronze.lines", BRONZE.to_owned(), "select k, d, v, source_file, line from raw.lines"),
        ("silver.direct", format!("{SEEN}deleted = \"v = 3\"\n"), "select k, d, v from raw.lines"),
        (
            "silver.seen",
            format!("{SEEN}compare = [\"v\"]\n{small}"),
            "select k, max(d) as d, sum(v) as v from bronze.lines group by k",
        ),
    ]
}

/// One row per key; `None` if the rows of a key differ.
fn content(rows: &[Row]) -> Option<Vec<String>> {
    let mut keys: BTreeMap<Option<i64>, BTreeSet<(i64, Option<i64>)>> = BTreeMap::new();
    for (k, d, v) in rows.iter().filter(|(_, _, v)| *v != GONE) {
        keys.entry(*k).or_default().insert((*d, *v));
    }
    let row = |(k, values): (Option<i64>, BTreeSet<(i64, Option<i64>)>)| {
        let [(d, v)] = values.into_iter().collect::<Vec<_>>()[..] else { return None };
        Some(format!("{} {} {}", text(k), date(d), text(v)))
    };
    keys.into_iter().map(row).collect()
}

/// Day and value.
type Sum = (i64, Option<i64>);

/// Per key, with the times at which it was first and last seen.
type SumSeen = (Option<i64>, Sum, String, Option<String>);

/// By key: the latest day and the sum; first the keys with a small sum, then the others.
fn sums(rows: &[Row]) -> [BTreeMap<Option<i64>, Sum>; 2] {
    let mut keys: BTreeMap<Option<i64>, Sum> = BTreeMap::new();
    for (k, d, v) in rows {
        let (latest, sum) = keys.entry(*k).or_insert((*d, None));
        *latest = (*latest).max(*d);
        *sum = v.map_or(*sum, |v| Some(sum.unwrap_or_default() + v));
    }
    let (small, large) = keys.into_iter().partition(|(_, (_, sum))| sum.unwrap_or_default() < 5);
    [small, large]
}

#[test]
fn what_an_extract_held_stays_known() {
    let (seen, refused) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let line = (prop::option::weighted(0.9, 0..5_i64), 0..2_i64, prop::option::weighted(0.9, 0..4_i64));
    let steps = vec(prop::collection::btree_map(0..2_u8, vec(line, 0..4), 1..3), 1..6);
    let property = |steps: Vec<Step>| {
        block_on(async {
            let mut world = World::new(&seen_jobs());
            let mut files = Step::new();
            let mut direct = Memory::default();
            // The open row's value decides for each key; its day is that of the run that saw the value first.
            let mut summed: Vec<SumSeen> = Vec::new();
            for step in &steps {
                world.write(step);
                files.extend(step.clone());
                let order = Graph::new(&world.bench.project).unwrap().order().to_vec();
                let started = world.time();
                let time = |name: &str| {
                    let place = order.iter().position(|job| job.to_string() == name).unwrap();
                    stamp(started + Duration::from_secs(place as u64 + 1))
                };
                let outcomes = world.run_all().await;
                let outcome = |name: &str| &outcomes[&name.parse::<TableName>().unwrap()];
                match (outcome("silver.direct"), content(&rows_of(&files))) {
                    (Ok(_), Some(content)) => {
                        seen.set(seen.get() + 1);
                        direct.see(&content, &time("silver.direct"));
                    }
                    (Err(error), None) => {
                        refused.set(refused.get() + 1);
                        assert!(error.to_string().contains("several rows that differ: k = "), "{error}");
                    }
                    other => panic!("{other:?}"),
                }
                if world.version(&"silver.direct".parse().unwrap()).await.is_some() {
                    assert_eq!(world.rows(&"silver.direct".parse().unwrap(), None).await, direct.lines(true));
                }
                let [small, large] = sums(&rows_of(&files));
                let run = outcome("silver.seen");
                if small.is_empty() && !large.is_empty() {
                    assert!(run.as_ref().is_err_and(|error| error.to_string().contains("rejected")), "{run:?}");
                    return;
                }
                assert!(run.is_ok(), "{run:?}");
                let now = time("silver.seen");
                for (k, (_, sum), _, until) in summed.iter_mut().filter(|row| row.3.is_none()) {
                    if small.get(k).is_none_or(|(_, now)| now != sum) {
                        *until = Some(now.clone());
                    }
                }
                for (k, value) in &small {
                    if !summed.iter().any(|row| row.0 == *k && row.3.is_none()) {
                        summed.push((*k, *value, now.clone(), None));
                    }
                }
                let line = |(k, (d, sum), from, until): &SumSeen| {
                    let end = until.as_deref().unwrap_or("-");
                    format!("{} {} {} {from} {end} {}", text(*k), date(*d), text(*sum), until.is_none())
                };
                let mut wanted: Vec<String> = summed.iter().map(line).collect();
                wanted.sort();
                let tables = world.tables().await;
                let rows = |name: &str| tables.get(&name.parse::<TableName>().unwrap()).cloned().unwrap_or_default();
                assert_eq!(rows("silver.seen"), wanted);
                let quarantined: Vec<String> = rows("silver.seen__quarantine");
                assert_eq!(quarantined.len(), large.len(), "{quarantined:?} of {large:?}");
                let again = world.run_all().await;
                assert!(again.values().all(|outcome| !matches!(outcome, Ok(Outcome::Committed { .. }))), "{again:?}");
            }
        });
    };
    check_until(cases(8), || steps.clone(), property, || seen.get() > 5 && refused.get() > 0);
}

/// The outcome of the only job besides `bronze.lines`.
async fn run_one(world: &mut World, asked: &Asked) -> pulse_core::Result<Outcome> {
    world.run_all_as(asked).await.remove(&"silver.one".parse().unwrap()).unwrap()
}

fn one(manifest: &str, query: &'static str) -> Vec<JobText> {
    let bronze = ("bronze.lines", BRONZE.to_owned(), "select k, d, v, source_file, line from raw.lines");
    vec![bronze, ("silver.one", manifest.to_owned(), query)]
}

#[test]
fn a_history_that_was_seen_is_lost_only_when_that_is_allowed() {
    block_on(async {
        let name: TableName = "silver.one".parse().unwrap();
        let mut world = World::new(&one(SEEN, QUERY));
        for v in [1, 2] {
            world.write(&Step::from([(0, vec![(Some(1), 0, Some(v))])]));
            run_one(&mut world, &Asked::default()).await.unwrap();
        }
        let rows = world.rows(&name, None).await;
        assert_eq!(rows.len(), 2);
        let refused = |outcome: pulse_core::Result<Outcome>| {
            let error = outcome.unwrap_err();
            assert!(
                error.to_string().contains("in 2 rows cannot be computed again")
                    && error.to_string().contains("--allow-loss"),
                "{error}"
            );
        };
        refused(run_one(&mut world, &Asked { rebuild: true, ..Asked::default() }).await);
        let other = "grain = [\"k\", \"v\"]\n[sink.overwrite]\n";
        let query = "select k, d, v, to_timestamp_micros(k) as valid_from, to_timestamp_micros(k) as valid_to, true as is_current \
                     from bronze.lines";
        for jobs in [one(SEEN, "select k, d, v, 1 as n from bronze.lines"), one(other, query)] {
            let mut edited = world.edited(&jobs);
            refused(run_one(&mut edited, &Asked::default()).await);
        }
        assert_eq!(world.rows(&name, None).await, rows);
        let mut edited = world.edited(&one(other, query));
        run_one(&mut edited, &Asked { allow_loss: true, ..Asked::default() }).await.unwrap();
        let rows = edited.rows(&name, None).await;
        assert!(rows.len() == 1 && rows[0].starts_with("1 2024-01-01 2 1970"), "{rows:?}");
        // Now there is nothing to lose.
        let mut back = world.edited(&one(SEEN, QUERY));
        back.runs += 1000;
        run_one(&mut back, &Asked::default()).await.unwrap();
        assert_eq!(back.rows(&name, None).await.len(), 1);
    });
}

/// A run whose clock goes back must not write a version that ends before it begins.
#[test]
fn times_of_a_history_only_grow() {
    block_on(async {
        let mut world = World::new(&one(SEEN, QUERY));
        world.write(&Step::from([(0, vec![(Some(1), 0, Some(1))])]));
        world.runs = 100;
        run_one(&mut world, &Asked::default()).await.unwrap();
        let again = run_one(&mut world, &Asked::default()).await;
        assert!(matches!(again, Ok(Outcome::Unchanged)), "{again:?}");
        world.write(&Step::from([(0, vec![(Some(1), 0, Some(2))])]));
        world.runs = 10;
        let error = run_one(&mut world, &Asked::default()).await.unwrap_err();
        assert!(error.kind() == pulse_core::ErrorKind::Conflict && error.to_string().contains("only grow"), "{error}");
        world.runs = 200;
        assert!(matches!(run_one(&mut world, &Asked::default()).await, Ok(Outcome::Committed { .. })));
    });
}

#[test]
fn keys_of_files_that_are_gone_are_closed_only_when_that_is_allowed() {
    block_on(async {
        let mut world = World::new(&one(SEEN, "select k, d, v from raw.lines"));
        let line = |k, v| vec![(Some(k), 0, Some(v))];
        world.write(&Step::from([(0, line(1, 1)), (1, line(2, 1))]));
        run_one(&mut world, &Asked::default()).await.unwrap();
        std::fs::remove_file(world.folder.path().join("raw/1.csv")).unwrap();
        world.write(&Step::from([(0, line(1, 2))]));
        let error = run_one(&mut world, &Asked::default()).await.unwrap_err();
        assert!(
            error.to_string().contains("1 file that it was made from") && error.to_string().contains("raw.lines/1.csv"),
            "{error}"
        );
        let mut one = world.edited(&one(SEEN, "select k, d, v from raw.lines"));
        run_one(&mut one, &Asked { allow_loss: true, ..Asked::default() }).await.unwrap();
        let open: Vec<String> = one.rows(&"silver.one".parse().unwrap(), None).await;
        assert_eq!(open.iter().filter(|row| row.ends_with("true")).count(), 1, "{open:?}");
        assert!(matches!(run_one(&mut one, &Asked::default()).await, Ok(Outcome::Unchanged)));
    });
}

/// Checks apply to rows of the query, including those that begin no version.
#[test]
fn a_check_sees_rows_that_are_left_out() {
    let head = "grain = [\"k\", \"valid_from\"]\n";
    let sink = "[sink.scd2]\nkeys = [\"k\"]\ncompare = [\"v\"]\neffective = \"d\"\n";
    let early = |on_fail: &str| expect("early", "check = \"d < date '2024-01-03'\"", on_fail);
    block_on(async {
        for (on_fail, rows) in [("fail", None), ("drop", Some("1 2024-01-01 1 2024-01-01 - true"))] {
            let mut world = World::new(&one(&format!("{head}{sink}{}", early(on_fail)), QUERY));
            // The third row equals the version before it.
            world.write(&Step::from([(0, vec![(Some(1), 0, Some(1)), (Some(1), 1, Some(1)), (Some(1), 4, Some(1))])]));
            let outcome = run_one(&mut world, &Asked::default()).await.unwrap();
            match rows {
                None => assert!(matches!(outcome, Outcome::ExpectationFailed { .. }), "{outcome:?}"),
                Some(row) => assert_eq!(world.rows(&"silver.one".parse().unwrap(), None).await, [row]),
            }
        }
    });
}

#[test]
fn what_does_not_fit_the_query_is_an_error() {
    let head = "grain = [\"k\", \"valid_from\"]\n";
    for (sink, query, part) in [
        (
            "scd2]\nkeys = [\"x\"]\neffective = \"d\"",
            QUERY,
            "`keys` names the column `x`, which the query does not yield",
        ),
        ("scd2]\nkeys = [\"k\"]\neffective = \"x\"", QUERY, "names the column `x`, which the query does not yield"),
        (
            "scd2]\nkeys = [\"k\"]\neffective = \"v\"",
            QUERY,
            "`effective` is `v`, which is Int64 and not a date or a timestamp",
        ),
        ("scd2]\nkeys = [\"k\"]\neffective = \"d\"\ncompare = [\"x\"]", QUERY, "names the column `x`"),
        ("scd2]\nkeys = [\"k\"]\neffective = \"d\"\ndeleted = \"x = 1\"", QUERY, "`deleted`: "),
        ("scd2]\nkeys = [\"k\"]\neffective = \"d\"\ndeleted = \"v\"", QUERY, "it is Int64 and not a condition"),
        (
            "scd2]\nkeys = [\"k\"]\neffective = \"d\"\ndeleted = \"random() < 1\"",
            QUERY,
            "has another value in each run",
        ),
        (
            "scd2]\nkeys = [\"k\"]\neffective = \"d\"",
            "select k, d, v as valid_to from bronze.lines",
            "the query yields `valid_to`, which the sink adds",
        ),
        (
            "scd2]\nkeys = [\"k\"]\neffective = \"observed\"\ncompare = [\"_v\"]",
            "select k, d, v as _v from bronze.lines",
            "`compare` names `_v`, which is not written",
        ),
    ] {
        let mut world = World::new(&one(&format!("{head}[sink.{sink}\n"), query));
        world.write(&Step::from([(0, vec![(Some(1), 0, Some(1))])]));
        let error = block_on(async { run_one(&mut world, &Asked::default()).await }).unwrap_err();
        assert!(error.kind() == pulse_core::ErrorKind::Invalid && error.to_string().contains(part), "{error}");
    }
    block_on(async {
        let sink = "[sink.scd2]\nkeys = [\"k\"]\neffective = \"d\"\n";
        let query = "select k, nullif(d, date '2024-01-02') as d, v from bronze.lines";
        let mut world = World::new(&one(&format!("{head}{sink}"), query));
        world.write(&Step::from([(0, vec![(Some(1), 0, Some(1)), (Some(1), 1, Some(2)), (Some(2), 1, Some(2))])]));
        let error = run_one(&mut world, &Asked::default()).await.unwrap_err();
        assert!(error.to_string().contains("`d` is null in 2 rows"), "{error}");
    });
}
