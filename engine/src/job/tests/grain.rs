//! Random inputs through every kind of sink, for jobs whose grain nothing else enforces.

use super::*;

/// One grain per sink, and per way in which the sink may check it; k, or k and d. There are no other expectations.
fn jobs_with_a_grain() -> Vec<(JobText, usize)> {
    let job =
        |name, columns, rest: &str, sink: &str, query| ((name, format!("grain = {columns}\n{rest}{sink}\n"), query), 0);
    let wide =
        |name, rest: &str, query| ((name, format!("grain = [\"k\", \"d\"]\n{rest}[sink.overwrite]\n"), query), 1);
    let (k, query, added) =
        ("[\"k\"]", "select k, d, v from bronze.lines", "[source.\"bronze.lines\"]\nread = \"changed\"\n");
    vec![
        job("silver.appended", k, added, "[sink.append]", query),
        job("silver.whole", k, "", "[sink.overwrite]", query),
        job("silver.days", k, &by("[\"d\"]"), "[sink.overwrite_partitions]\nby = [\"d\"]", query),
        job("silver.merged", k, &by("[\"d\"]"), "[sink.merge]\nkeys = [\"d\"]", query),
        job("silver.keyed", k, &by("[\"k\"]"), "[sink.merge]\nkeys = [\"k\"]", query),
        job(
            "silver.hidden",
            k,
            "order = [\"_f\", \"k\"]\n",
            "[sink.overwrite]",
            "select k, v, source_file as _f from bronze.lines",
        ),
        job("silver.apart", k, "order = [\"v\", \"d\"]\n", "[sink.overwrite]", query),
        wide("silver.ordered", "", query),
        wide("silver.between", "order = [\"k\", \"v\", \"d\"]\n", query),
        wide("silver.windowed", "", "select k, d, sum(v) over (partition by k order by d) as v from bronze.lines"),
        wide("silver.warned", "[[expect]]\nname = \"n\"\nunique = { columns = [\"k\"] }\non_fail = \"warn\"\n", query),
    ]
}

/// Whether rows of the current files are equal in k, and in k and d.
fn repeated(files: &Step) -> [bool; 2] {
    let lines = || files.values().flatten();
    let keys: BTreeSet<_> = lines().map(|line| line.0).collect();
    let pairs: BTreeSet<_> = lines().map(|line| (line.0, line.1)).collect();
    [keys.len() < lines().count(), pairs.len() < lines().count()]
}

#[test]
fn a_violated_grain_is_refused_and_nothing_else_is() {
    let seen = std::cell::RefCell::new(BTreeMap::<(TableName, bool), u32>::new());
    let property = |steps: Vec<Step>| {
        block_on(async {
            let jobs = jobs_with_a_grain();
            let bronze = ("bronze.lines", BRONZE.to_owned(), "select k, d, v, source_file, line from raw.lines");
            let texts: Vec<JobText> = std::iter::once(bronze).chain(jobs.iter().map(|(job, _)| job.clone())).collect();
            let mut world = World::new(&texts);
            let mut files = Step::new();
            for step in &steps {
                world.write(step);
                files.extend(step.clone());
                let outcomes = world.run_all().await;
                for ((name, ..), grain) in &jobs {
                    let name: TableName = name.parse().unwrap();
                    let violated = repeated(&files)[*grain];
                    *seen.borrow_mut().entry((name.clone(), violated)).or_default() += 1;
                    match &outcomes[&name] {
                        Err(error) => {
                            assert_eq!(error.kind(), pulse_core::ErrorKind::Data, "{error}");
                            assert!(
                                violated && error.message().contains("the grain (k"),
                                "{name} of {files:?}: {error}"
                            );
                        }
                        Ok(outcome) => assert!(!violated, "{name} of {files:?}: {outcome:?}"),
                    }
                }
            }
        });
    };
    check_until(cases(12), || steps(0..7, 0..12, 4), property, || seen.borrow().len() == 22);
}
