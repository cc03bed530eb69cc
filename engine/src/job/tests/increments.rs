//! Random jobs that read by changes: for any query, sink and `by`, the incremental table equals one computed from all
//! rows.

use super::*;

/// A query, its columns, and those that identify its rows.
struct Template {
    query: &'static str,
    columns: &'static [&'static str],
    grain: &'static [&'static str],
}

const LINE: &[&str] = &["source_file", "line"];

const TEMPLATES: &[Template] = &[
    Template {
        query: "select k, d, v, source_file, line from bronze.e where coalesce(v, 1) > 0",
        columns: &["k", "d", "v", "source_file", "line"],
        grain: LINE,
    },
    Template { query: "select k, d, v from bronze.e", columns: &["k", "d", "v"], grain: &["k", "d"] },
    Template {
        query: "select k, count(*) as n, sum(v) as v from bronze.e group by k",
        columns: &["k", "n", "v"],
        grain: &["k"],
    },
    Template {
        query: "select k, d, min(v) as v from bronze.e group by k, d having count(*) < 3",
        columns: &["k", "d", "v"],
        grain: &["k", "d"],
    },
    Template { query: "select distinct k, d from bronze.e", columns: &["k", "d"], grain: &["k", "d"] },
    Template {
        query: "select k, d, source_file, line, \
                row_number() over (partition by k order by v, source_file, line) as v from bronze.e",
        columns: &["k", "d", "source_file", "line", "v"],
        grain: LINE,
    },
    Template {
        query: "select k, d, source_file, line, sum(v) over (partition by k, d) as v from bronze.e",
        columns: &["k", "d", "source_file", "line", "v"],
        grain: LINE,
    },
    Template {
        query: "select k, source_file, line, row_number() over (order by v, source_file, line) as v from bronze.e",
        columns: &["k", "source_file", "line", "v"],
        grain: LINE,
    },
    Template {
        query: "select e.k, e.source_file, e.line, x.v from bronze.e e \
                left join (select k, count(*) as v from bronze.d group by k) x on x.k = e.k",
        columns: &["k", "source_file", "line", "v"],
        grain: LINE,
    },
    Template {
        query: "select e.k, d.d, e.source_file as f, e.line as l, d.source_file as g, d.line as m \
                from bronze.e e join bronze.d d on d.k = e.k",
        columns: &["k", "d", "f", "l", "g", "m"],
        grain: &["f", "l", "g", "m"],
    },
    Template {
        query: "select coalesce(e.k, d.k) as k, e.source_file as f, e.line as l, d.source_file as g, d.line as m \
                from bronze.e e full join bronze.d d on d.k = e.k and d.d = e.d",
        columns: &["k", "f", "l", "g", "m"],
        grain: &["f", "l", "g", "m"],
    },
    Template {
        query: "select e.k, e.d, e.source_file, e.line from bronze.e e left anti join bronze.d d on d.k = e.k",
        columns: &["k", "d", "source_file", "line"],
        grain: LINE,
    },
    Template {
        query: "select d.k, d.d, d.source_file, d.line from bronze.e e right semi join bronze.d d on d.k = e.k",
        columns: &["k", "d", "source_file", "line"],
        grain: LINE,
    },
    Template {
        query: "select e.k, e.d, e.source_file, e.line from bronze.e e where e.k not in (select k from bronze.d where k > 1)",
        columns: &["k", "d", "source_file", "line"],
        grain: LINE,
    },
    Template {
        query: "select k, d, v, source_file, line, 1 as s from bronze.e \
                union all select k, d, v, source_file, line, 2 as s from bronze.d",
        columns: &["k", "d", "v", "source_file", "line", "s"],
        grain: &["s", "source_file", "line"],
    },
    Template {
        query: "select k, d from bronze.e except select k, d from bronze.d where d > date '2024-01-01'",
        columns: &["k", "d"],
        grain: &["k", "d"],
    },
    Template {
        query: "select k, d, v, source_file, line from bronze.e order by v, source_file, line limit 4",
        columns: &["k", "d", "v", "source_file", "line"],
        grain: LINE,
    },
];

const NAMES: [&str; 6] = ["silver.a", "silver.b", "silver.c", "silver.f", "silver.g", "silver.h"];

/// Indices into the lists above and below, modulo their length.
type Choice = (usize, usize, usize, usize);

const BY: [&[&str]; 5] = [&[], &["k"], &["d"], &["k", "d"], &["source_file", "line"]];

fn listed(columns: &[&str]) -> String {
    format!("{columns:?}")
}

/// `None` if the parts cannot be combined.
fn job(name: &'static str, choice: Choice) -> Option<JobText> {
    let template = &TEMPLATES[choice.0 % TEMPLATES.len()];
    let has = |columns: &[&str]| columns.iter().all(|column| template.columns.contains(column));
    let by = BY[choice.1 % BY.len()];
    let keys: &[&str] = [template.grain, &["k"], &["d"], &["k", "d"], template.grain, template.grain][choice.2 % 6];
    let sink = match choice.2 % 6 {
        0 | 1 => format!("[sink.merge]\nkeys = {}\n", listed(keys)),
        2..4 => format!("[sink.overwrite_partitions]\nby = {}\n", listed(keys)),
        _ => "[sink.append]\n".to_owned(),
    };
    let appends = sink.contains("append");
    let is_partitioned_whole =
        sink.contains("partitions") && template.columns.iter().all(|column| keys.contains(column));
    if !has(keys) || is_partitioned_whole || (appends && !by.is_empty()) {
        return None;
    }
    let expectation = match choice.3 % 4 {
        0 if has(&["v"]) => expect("v is small", "check = \"coalesce(v, 0) < 4\"", "quarantine"),
        1 if has(&["v"]) => expect("v is small", "check = \"coalesce(v, 0) < 4\"", "drop"),
        2 if sink.contains("keys") => {
            let first = template.columns.iter().map(|column| format!("{column} desc")).collect::<Vec<_>>();
            let unique = format!("unique = {{ columns = {}, keep_first_by = {first:?} }}", listed(keys));
            expect("once", &unique, "drop")
        }
        _ => String::new(),
    };
    let order = if keys.iter().all(|key| template.grain.contains(key)) { template.grain } else { keys };
    let mut manifest = format!("grain = {}\norder = {}\nmax_rejected = 1.0\n", listed(template.grain), listed(order));
    for source in ["bronze.e", "bronze.d"].into_iter().filter(|source| template.query.contains(source)) {
        manifest.push_str(&format!("[source.\"{source}\"]\nread = \"changed\"\n"));
        if !by.is_empty() {
            manifest.push_str(&format!("by = {}\n", listed(by)));
        }
    }
    Some((name, manifest + &sink + &expectation, template.query))
}

/// A key that rows of two groups, or of two runs, may have.
fn colliding(name: &'static str, by: &str) -> JobText {
    let source = format!("[source.\"bronze.e\"]\nread = \"changed\"\n{by}");
    let manifest = format!("grain = [\"k\", \"v\"]\n{source}[sink.merge]\nkeys = [\"k\", \"v\"]\n");
    (name, manifest, "select k, v, d from bronze.e")
}

fn bronze(name: &'static str, query: &'static str) -> JobText {
    (name, BRONZE.to_owned(), query)
}

/// How often the jobs ran in each mode.
type Modes = BTreeMap<&'static str, u32>;

/// Runs the jobs after each step, and in an empty lake: either both fail or both yield the same.
async fn compare(jobs: &[JobText], steps: &[Step], modes: &std::cell::RefCell<Modes>) {
    let mut world = World::new(jobs);
    for step in steps {
        world.write(step);
        let outcomes = world.run_all().await;
        let mut fresh = world.afresh();
        let expected = fresh.run_all().await;
        let (tables, all) = (world.tables().await, fresh.tables().await);
        for (name, outcome) in &outcomes {
            let text = jobs.iter().find(|job| job.0 == name.to_string()).unwrap();
            match (outcome, &expected[name]) {
                (Ok(_), Ok(_)) => {
                    for name in [name, &name.quarantine()] {
                        assert_eq!(tables.get(name), all.get(name), "{name} {text:?}");
                    }
                }
                (Err(error), Err(_)) => assert_eq!(error.kind(), pulse_core::ErrorKind::Data, "{text:?}: {error}"),
                (grown, fresh) => panic!("{name} {text:?}: {grown:?}, and of all rows {fresh:?}"),
            }
            let mode = match (world.modes.get(name), outcome) {
                (Some(Mode::Incremental), _) => "incremental",
                (Some(Mode::Full { reason }), _) if reason.contains("did not change") => "not proven",
                (_, Err(_)) => "failed",
                _ => "other",
            };
            *modes.borrow_mut().entry(mode).or_default() += u32::from(name.layer() == "silver");
        }
    }
}

fn seen(modes: &std::cell::RefCell<Modes>, mode: &str) -> u32 {
    modes.borrow().get(mode).copied().unwrap_or_default()
}

#[test]
fn increments_are_what_all_rows_yield() {
    let modes = std::cell::RefCell::<Modes>::default();
    let choice = (0..100_usize, 0..100_usize, 0..100_usize, 0..100_usize);
    let histories = || (vec(choice.clone(), NAMES.len()), steps(0..5, 0..4, 5));
    let property = |(choices, steps): (Vec<Choice>, Vec<Step>)| {
        let mut jobs = vec![
            bronze("bronze.e", "select k, d, v, source_file, line from raw.lines where source_file <> '2.csv'"),
            bronze("bronze.d", "select k, d, v, source_file, line from raw.lines where source_file <> '0.csv'"),
        ];
        jobs.extend(NAMES.into_iter().zip(&choices).filter_map(|(name, choice)| job(name, *choice)));
        block_on(compare(&jobs, &steps, &modes));
    };
    let covered = || ["incremental", "not proven"].iter().all(|mode| seen(&modes, mode) > 9);
    check_until(cases(12), histories, property, covered);
}

#[test]
fn a_key_of_two_runs_or_of_two_groups_is_an_error() {
    let modes = std::cell::RefCell::<Modes>::default();
    let line = (prop::option::weighted(0.9, 0..3_i64), 0..3_i64, prop::option::weighted(0.9, 0..4_i64));
    // Each step adds a file.
    let files = vec(vec(line, 1..4), 2..4);
    let jobs = [
        bronze("bronze.e", "select k, d, v, source_file, line from raw.lines"),
        colliding("silver.x", ""),
        colliding("silver.y", "by = [\"d\"]\n"),
    ];
    let property = |files: Vec<Vec<Line>>| {
        let steps: Vec<Step> = (0..).zip(files).map(|file| Step::from([file])).collect();
        block_on(compare(&jobs, &steps, &modes));
    };
    let covered = || ["incremental", "failed"].iter().all(|mode| seen(&modes, mode) > 4);
    check_until(cases(16), || files.clone(), property, covered);
}
