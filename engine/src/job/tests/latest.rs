//! `latest_by`, and `keep_first_by` of a table that is overwritten, against a model: the greatest of the current rows of each key, in
//! whatever order they arrived.

use super::*;

/// k, d, v, file and line number (as text); smaller sorts first.
type Row = (Option<i64>, i64, Option<i64>, u8, usize);

fn rows_of(files: &Step) -> Vec<Row> {
    let rows = |(file, lines): (&u8, &Vec<Line>)| {
        // Line 1 is the header.
        lines.iter().enumerate().map(|(at, (k, d, v))| (*k, *d, *v, *file, at + 2)).collect::<Vec<_>>()
    };
    files.iter().flat_map(rows).collect()
}

/// Job name, `latest_by`, its comparison of two rows, and whether the query yields columns that distinguish lines.
type Order = (&'static str, &'static str, fn(&Row, &Row) -> std::cmp::Ordering, bool);

const ORDERS: [Order; 6] = [
    // `None` is less than `Some`, as a null is less than all values.
    ("silver.day", "[\"d\", \"v\"]", |a, b| (a.1, a.2).cmp(&(b.1, b.2)), false),
    ("silver.first", "[\"d desc\", \"v\", \"source_file\", \"line\"]", first, true),
    ("silver.value", "[\"v\", \"source_file desc\", \"line desc\"]", value, true),
    ("silver.tied", "[\"v\"]", |a, b| a.2.cmp(&b.2), true),
    // `keep_first_by`.
    ("silver.once", "[\"d desc\"]", |a, b| a.1.cmp(&b.1), true),
    ("silver.one", "[\"d\", \"source_file desc\", \"line\"]", earliest, true),
];

fn first(a: &Row, b: &Row) -> std::cmp::Ordering {
    b.1.cmp(&a.1).then((a.2, a.3, a.4).cmp(&(b.2, b.3, b.4)))
}

fn earliest(a: &Row, b: &Row) -> std::cmp::Ordering {
    b.1.cmp(&a.1).then((a.3, b.4).cmp(&(b.3, a.4)))
}

fn value(a: &Row, b: &Row) -> std::cmp::Ordering {
    a.2.cmp(&b.2).then((b.3, b.4).cmp(&(a.3, a.4)))
}

/// Rows of the table, or the number of keys with ties. Rows with v above 3 are removed first.
fn model(rows: &[Row], order: &Order, lines: bool) -> Result<Vec<String>, usize> {
    let good: Vec<&Row> = rows.iter().filter(|row| row.2.unwrap_or(0) < 4).collect();
    let keys: BTreeSet<_> = good.iter().map(|row| row.0).collect();
    let (mut table, mut tied) = (Vec::new(), 0);
    for key in keys {
        let mut rows: Vec<&&Row> = good.iter().filter(|row| row.0 == key).collect();
        rows.sort_by(|a, b| (order.2)(b, a));
        let shown: BTreeSet<String> =
            rows.iter().filter(|row| (order.2)(row, rows[0]).is_eq()).map(|row| text(row, lines)).collect();
        tied += usize::from(shown.len() > 1);
        table.extend(shown);
    }
    table.sort();
    if tied == 0 { Ok(table) } else { Err(tied) }
}

fn text(row: &Row, lines: bool) -> String {
    let cell = |value: Option<i64>| value.map_or("-".to_owned(), |value| value.to_string());
    let place = if lines { format!(" {}.csv {}", row.3, row.4) } else { String::new() };
    format!("{} 2024-01-0{} {}{place}", cell(row.0), row.1 + 1, cell(row.2))
}

fn jobs(source: &str) -> Vec<JobText> {
    let mut jobs = vec![("bronze.lines", BRONZE.to_owned(), "select k, d, v, source_file, line from raw.lines")];
    let small = expect("v is small", "check = \"coalesce(v, 0) < 4\"", "quarantine");
    for (name, order, _, lines) in ORDERS {
        let from = if source.contains("raw") {
            ["select k, d, v, source_file, line from raw.lines", "select k, d, v from raw.lines"]
        } else {
            ["select k, d, v, source_file, line from bronze.lines", "select k, d, v from bronze.lines"]
        };
        let head = "grain = [\"k\"]\nmax_rejected = 1.0\n";
        let overwrites = name.starts_with("silver.on");
        let source = if overwrites || source.contains("raw") { "" } else { source };
        let sink = match overwrites {
            true => {
                let unique = format!("unique = {{ columns = [\"k\"], keep_first_by = {order} }}");
                format!("[sink.overwrite]\n{}", expect("once", &unique, "drop"))
            }
            false => format!("[sink.merge]\nkeys = [\"k\"]\nlatest_by = {order}\n"),
        };
        jobs.push((name, format!("{head}{source}{sink}{small}"), from[usize::from(!lines)]));
    }
    jobs
}

/// The steps replace files, so rows are removed, too.
fn compare(source: &str, count: u32) {
    let (incremental, ties) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let jobs = jobs(source);
    let property = |steps: Vec<Step>| {
        block_on(async {
            let mut world = World::new(&jobs);
            let mut files = Step::new();
            for step in &steps {
                world.write(step);
                files.extend(step.clone());
                let outcomes = world.run_all().await;
                for order in &ORDERS {
                    let name: TableName = order.0.parse().unwrap();
                    match (&outcomes[&name], model(&rows_of(&files), order, order.3)) {
                        (Ok(_), Ok(expected)) => {
                            assert_eq!(world.rows(&name, None).await, expected, "{name} of {files:?}")
                        }
                        (Err(error), Err(tied)) => {
                            ties.set(ties.get() + 1);
                            // An increment first compares its rows among themselves.
                            let exact = if tied == 1 { "1 key has".to_owned() } else { format!("{tied} keys have") };
                            let keys = if source.contains("changed") { "several rows that agree" } else { &exact };
                            assert!(error.message().contains(keys), "{name} of {files:?}: {error}");
                        }
                        (found, expected) => panic!("{name} of {files:?}: {found:?} instead of {expected:?}"),
                    }
                    incremental.set(incremental.get() + u32::from(world.modes.get(&name) == Some(&Mode::Incremental)));
                }
            }
        });
    };
    let covered = || ties.get() > 0 && (incremental.get() > 0 || !source.contains("changed"));
    check_until(cases(count), || steps(0..6, 0..4, 5), property, covered);
}

#[test]
fn the_latest_row_of_a_key_stays() {
    compare("[source.\"bronze.lines\"]\nread = \"changed\"\n", 8);
    compare(&by("[\"k\"]"), 8);
    compare("", 3);
    compare("raw", 4);
}

/// A superseded row is not a reject: a run of such rows and bad ones succeeds, as does a run of all rows.
#[test]
fn an_earlier_row_is_not_a_rejected_one() {
    let added = jobs("[source.\"bronze.lines\"]\nread = \"changed\"\n");
    let limited =
        added.into_iter().map(|(name, manifest, query)| (name, manifest.replace("max_rejected = 1.0\n", ""), query));
    block_on(async {
        let mut world = World::new(&limited.collect::<Vec<_>>());
        world.write(&Step::from([(0, vec![(Some(1), 2, Some(3))])]));
        world.run_all().await;
        world.write(&Step::from([(1, vec![(Some(1), 0, Some(1)), (Some(2), 0, Some(5))])]));
        let outcomes = world.run_all().await;
        let day: TableName = "silver.day".parse().unwrap();
        assert_eq!(world.modes.get(&day), Some(&Mode::Incremental), "{outcomes:?}");
        assert_eq!(world.rows(&day, None).await, ["1 2024-01-03 3"]);
        assert_eq!(world.rows(&day.quarantine(), None).await.len(), 1);
    });
}
