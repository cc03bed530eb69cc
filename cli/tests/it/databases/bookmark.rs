//! Tables that are read by a column that grows.

use std::os::unix::process::ExitStatusExt as _;

use super::Shop;

/// A generator of its own, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::env::var("PULSE_TEST_SEED")
            .map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
        Self(seed)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// The type of the bookmark, its declared type, and the value at a place of the line of time.
struct Line {
    sql: &'static str,
    declared: &'static str,
    /// In units of the bookmark.
    margin: u64,
    value: fn(u64) -> String,
    /// Values beside the line.
    odd: &'static [&'static str],
}

const LINES: [Line; 4] = [
    Line { sql: "int", declared: "bigint", margin: 5, value: |at| at.to_string(), odd: &["null"] },
    Line {
        sql: "timestamptz",
        declared: "timestamp",
        margin: 5,
        value: |at| format!("'2024-02-28 23:59:50+00'::timestamptz + interval '{at} seconds'"),
        odd: &["null", "'infinity'", "'-infinity'", "'2999-01-01'"],
    },
    Line {
        sql: "timestamp",
        declared: "timestamp_ntz",
        margin: 0,
        value: |at| format!("'2024-02-28 23:59:50.123456'::timestamp + interval '{at} seconds'"),
        odd: &["null"],
    },
    Line {
        sql: "date",
        declared: "date",
        margin: 2,
        value: |at| format!("'2023-12-30'::date + {at}"),
        odd: &["null", "'-infinity'"],
    },
];

fn shop(line: &Line, sink: &str) -> Shop {
    let Line { sql, declared, margin, .. } = line;
    let table = format!(
        "[databases.shop.tables.events]\ncolumns = [{{ name = \"id\", type = \"bigint\" }}, {{ name = \"v\", type = \"bigint\" }}, \
         {{ name = \"mark\", type = \"{declared}\" }}]\nrename = {{ mark = \"Changed At\" }}\nbookmark = \"Changed At\"\nmargin = {margin}\n"
    );
    let shop = Shop::new(&table);
    shop.server.sql(&format!("create table events (id bigint, v bigint, \"Changed At\" {sql})"));
    shop.scene.job(
        "bronze.events",
        &format!("grain = [\"id\"]\nmax_rejected = 1.0\n{sink}\n"),
        "select id, v, mark, source_file from raw.events",
    );
    shop
}

/// Kept and rejected rows together, by the number that each has.
fn ids(shop: &Shop) -> Vec<String> {
    let kept = "select id, v from bronze.events";
    let rejected = "select cast(split_part(split_part(_raw, '[', 2), ',', 1) as bigint), \
                    cast(split_part(split_part(_raw, '[', 2), ',', 2) as bigint) from bronze.events__quarantine";
    let has_rejects = shop.call(&["table", "list"]).ok().stdout.contains("events__quarantine");
    let sql = if has_rejects { format!("{kept} union all {rejected}") } else { kept.to_owned() };
    shop.rows(&sql)
}

/// Rows come with equal marks, without one, and late within the margin; runs die at any step and are repeated.
#[test]
fn each_row_is_read_once_whatever_its_mark_and_wherever_runs_die() {
    const STEPS: [&str; 6] = ["rows_read", "landed", "planned", "staged", "quarantine_committed", "table_committed"];
    let mut dice = Dice::new();
    let seed = dice.0;
    for line in &LINES {
        let shop = shop(line, "[sink.append]");
        let (mut now, mut id) = (10, 0);
        for round in 0..6 {
            now += dice.roll(4);
            for _ in 0..dice.roll(30) {
                id += 1;
                // Up to the margin below the greatest value that was ever there, and ties with it.
                let late = dice.roll(line.margin + 1);
                let odd = dice.roll(10) == 0;
                let mark = match odd {
                    true => line.odd[usize::try_from(dice.roll(line.odd.len() as u64)).unwrap()].to_owned(),
                    false => (line.value)(now - late),
                };
                now += if odd || late > 0 { 0 } else { dice.roll(2) };
                let insert = format!("insert into events values ({id}, {}, {mark})", dice.roll(100));
                shop.server.sql(&insert);
            }
            if dice.roll(2) == 0 {
                let step = STEPS[usize::try_from(dice.roll(STEPS.len() as u64)).unwrap()];
                let mut command = shop.command(&["run", "--all"]);
                command.env("PULSE_KILL_AT", step);
                let answer = shop.scene.start(command).wait();
                assert!(answer.status.success() || answer.status.signal().is_some(), "seed {seed}: {}", answer.stderr);
            }
            shop.run();
            let expected = shop.server.sql("copy (select id, v from events) to stdout with (format csv)");
            assert_eq!(ids(&shop), expected, "seed {seed}, {} round {round}", line.sql);
        }
        shop.run().says(&["nothing was committed"]);
    }
}

/// With the latest version of each key the table follows inserts and updates.
#[test]
fn updates_replace_rows_by_their_key() {
    let sink = "[sink.merge]\nkeys = [\"id\"]\nlatest_by = [\"mark\", \"v\"]";
    let mut dice = Dice::new();
    let seed = dice.0;
    let shop = shop(&LINES[1], sink);
    let mut now = 10;
    for round in 0..6 {
        for _ in 0..dice.roll(20) {
            now += 1;
            let (id, mark) = (dice.roll(15), (LINES[1].value)(now));
            shop.server.sql(&format!(
                "update events set v = {now}, \"Changed At\" = {mark} where id = {id}; \
                 insert into events select {id}, {now}, {mark} where not exists (select from events where id = {id})"
            ));
        }
        shop.run();
        let expected = shop.server.sql("copy (select id, v from events) to stdout with (format csv)");
        assert_eq!(shop.rows("select id, v from bronze.events"), expected, "seed {seed}, round {round}");
    }
}

/// Rows below the mark are not read again, so that a run costs what is new.
#[test]
fn only_new_rows_are_read() {
    let shop = shop(&LINES[0], "[sink.append]");
    shop.server.sql("insert into events select n, n, n from generate_series(1, 1000) n");
    shop.run();
    // A change without a new mark is not seen: it proves that these rows are not read again.
    shop.server.sql("update events set v = -1 where id = 500; insert into events values (1001, 1001, 1001)");
    shop.run();
    assert_eq!(shop.rows("select count(*), min(v), max(v) from bronze.events"), ["1001,1,1001"]);
    // Another declaration is another table: all is read.
    let sources = std::fs::read_to_string(shop.scene.project.join("sources.toml")).unwrap();
    let without = sources.replace("bookmark = \"Changed At\"\nmargin = 5\n", "");
    std::fs::write(shop.scene.project.join("sources.toml"), without).unwrap();
    shop.run();
    assert_eq!(shop.rows("select count(*), min(v), max(v) from bronze.events"), ["1001,-1,1001"]);
}
