//! Expectations on the whole table: they check it as it would be committed, against the pinned versions.

use super::*;

const QUERY: &str = "select k, d, v from bronze.lines";

fn bronze() -> JobText {
    ("bronze.lines", BRONZE.to_owned(), "select k, d, v, source_file, line from raw.lines")
}

/// Files of lines with one date each: that of [`now`], an older one, or null.
type Dates = BTreeMap<u8, Vec<u8>>;

fn write(world: &World, files: &Dates) {
    for (file, lines) in files {
        let date = |day: &u8| ["2023-11-14", "2023-10-01", ""][usize::from(*day)];
        let row = |(line, day): (usize, &u8)| format!("{},{},1\n", usize::from(*file) * 100 + line, date(day));
        let rows: String = lines.iter().enumerate().map(row).collect();
        std::fs::write(world.folder.path().join(format!("raw/{file}.csv")), format!("k,d,v\n{rows}")).unwrap();
    }
}

#[test]
fn a_table_is_fresh_by_all_of_its_rows() {
    let fresh = expect("fresh", "fresh = { column = \"d\", hours = 48 }", "fail");
    let job = |name, source: &str, sink: &str| (name, format!("grain = [\"k\"]\n{source}{sink}\n{fresh}"), QUERY);
    let jobs = vec![
        bronze(),
        job("silver.appended", "[source.\"bronze.lines\"]\nread = \"changed\"\n", "[sink.append]"),
        job("silver.whole", "", "[sink.overwrite]"),
        job("silver.days", &by("[\"d\"]"), "[sink.overwrite_partitions]\nby = [\"d\"]"),
        job("silver.keyed", &by("[\"k\"]"), "[sink.merge]\nkeys = [\"k\"]"),
    ];
    let seen = std::cell::RefCell::new(BTreeSet::new());
    let steps = vec(prop::collection::btree_map(0..3_u8, vec(0..3_u8, 0..4), 1..3), 1..5);
    let property = |steps: Vec<Dates>| {
        block_on(async {
            let mut world = World::new(&jobs);
            let mut files = Dates::new();
            for step in &steps {
                write(&world, step);
                files.extend(step.clone());
                let is_fresh = files.values().flatten().any(|day| *day == 0);
                let outcomes = world.run_all().await;
                for (name, outcome) in outcomes.into_iter().filter(|(name, _)| name.layer() == "silver") {
                    match outcome {
                        Err(error) => panic!("{name} of {files:?}: {error}"),
                        Ok(Outcome::ExpectationFailed { .. }) => assert!(!is_fresh, "{name} of {files:?}"),
                        Ok(_) => assert!(is_fresh, "{name} of {files:?}"),
                    }
                    seen.borrow_mut().insert((name, is_fresh));
                }
            }
        });
    };
    check_until(cases(12), || steps.clone(), property, || seen.borrow().len() == 8);
}

/// Between pinning and checks, the other table gets a version that would give another result.
#[test]
fn references_are_looked_for_in_the_pinned_version() {
    let known =
        ("silver.known", "grain = [\"k\"]\n[sink.overwrite]\n".to_owned(), "select distinct k from bronze.lines");
    let refers = expect("known", "refers = { column = \"k\", to = \"silver.known.k\" }", "fail");
    for query in [QUERY, "select l.k, l.d, l.v from bronze.lines l left join silver.known n on n.k = l.k"] {
        let referring = ("silver.referring", format!("grain = [\"k\"]\n[sink.overwrite]\n{refers}"), query);
        block_on(async {
            let mut world = World::new(&[bronze(), known.clone(), referring]);
            let job = |name: &str| world.bench.project.job(&name.parse().unwrap()).unwrap().clone();
            let (lines, known, referring) = (job("bronze.lines"), job("silver.known"), job("silver.referring"));
            world.write(&Step::from([(0, vec![(Some(1), 0, None)])]));
            let outcomes = world.run_all().await;
            assert!(outcomes.values().all(Result::is_ok), "{outcomes:?}");
            world.write(&Step::from([(1, vec![(Some(2), 0, None)])]));
            let asked = Asked::default();
            let options = |run_id| RunOptions {
                run_id,
                asked: &asked,
                now: now(),
                begun: None,
                progress: &|_| (),
                entering: &|_| Ok(()),
            };
            run(&world.bench, &lines, options("more lines")).await.unwrap();
            let overtake = |state| {
                if state == pulse_core::run::RunState::Running {
                    let other = run(&world.bench, &known, options("more is known"));
                    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(other))?;
                }
                Ok(())
            };
            // On a runtime thread that may block.
            let referred = RunOptions { entering: &overtake, ..options("referring") };
            let report = tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(run(&world.bench, &referring, referred))
            });
            let report = report.unwrap();
            assert!(matches!(report.outcome, Outcome::ExpectationFailed { .. }), "{query}: {:?}", report.outcome);
            let pinned = report.inputs.iter().find(|input| input.source == "silver.known").unwrap();
            assert_eq!(pinned.version, Some(0), "{query}");
            let report = run(&world.bench, &referring, options("again")).await.unwrap();
            assert!(matches!(report.outcome, Outcome::Committed { .. }), "{query}: {:?}", report.outcome);
        });
    }
}
