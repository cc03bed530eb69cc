//! Tables that are restored, dropped or renamed between runs: after the next run they match the current inputs.

use pulse_core::ErrorKind;

use super::*;
use crate::job::{optimize, restore};
use crate::table::Table;

/// Rows of a table and of its quarantine, by the table's version.
type Known = BTreeMap<(TableName, u64), (Vec<String>, Vec<String>)>;

impl World {
    async fn rows_now(&self, name: &TableName) -> Vec<String> {
        match self.version(name).await {
            Some(_) => self.rows(name, None).await,
            None => Vec::new(),
        }
    }

    async fn remember(&self, known: &mut Known) {
        for name in self.bench.project.jobs.keys() {
            let Some(version) = self.version(name).await else { continue };
            let rows = (self.rows(name, None).await, self.rows_now(&name.quarantine()).await);
            known.insert((name.clone(), version), rows);
        }
    }

    fn table(&self, name: &TableName) -> Table {
        self.bench.lake.table(name).unwrap()
    }

    async fn restore(&self, name: &TableName, version: u64) -> pulse_core::Result<super::super::Restored> {
        restore(&self.bench.lake, &self.bench.options.commit, name, version, self.time()).await
    }

    async fn runs_to_what_inputs_yield(&mut self) {
        let outcomes = self.run_all().await;
        assert!(outcomes.values().all(Result::is_ok), "{outcomes:?}");
        let mut fresh = self.afresh();
        fresh.run_all().await;
        assert_eq!(self.tables().await, fresh.tables().await);
        let again = self.run_all().await;
        assert!(again.values().all(|outcome| matches!(outcome, Ok(Outcome::Unchanged))), "{again:?}");
    }
}

/// After each step of the inputs: which job, which of its versions, and whether its table is optimized first.
type Turn = (Step, prop::sample::Index, prop::sample::Index, bool);

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let line = (prop::option::weighted(0.9, 0..4_i64), 0..3_i64, prop::option::weighted(0.9, 0..9_i64));
    let step = prop::collection::btree_map(0..3_u8, vec(line, 0..6), 1..3);
    vec((step, any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 2..5)
}

#[test]
fn a_restored_table_goes_on_from_its_version() {
    let (changed, rejected) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let property = |turns: Vec<Turn>| {
        block_on(async {
            let mut world = World::new(&jobs_of_every_kind());
            let mut known = Known::new();
            for (step, job, version, optimized) in &turns {
                world.write(step);
                world.runs_to_what_inputs_yield().await;
                let names: Vec<TableName> = world.bench.project.jobs.keys().cloned().collect();
                let name = job.get(&names).clone();
                if *optimized {
                    optimize(&world.bench, &name, 1 << 20, world.time()).await.unwrap();
                }
                world.remember(&mut known).await;
                let versions: Vec<u64> =
                    known.keys().filter(|(of, _)| *of == name).map(|(_, version)| *version).collect();
                let version = *version.get(&versions);
                let (rows, rejects) = known[&(name.clone(), version)].clone();
                let before = world.rows(&name, None).await;
                world.restore(&name, version).await.unwrap();
                assert_eq!(world.rows(&name, None).await, rows, "{name} version {version}");
                assert_eq!(world.rows_now(&name.quarantine()).await, rejects, "{name} version {version}");
                changed.set(changed.get() + u32::from(before != rows));
                rejected.set(rejected.get() + u32::from(!rejects.is_empty()));
                assert_eq!(world.restore(&name, version).await.unwrap().version, None);
                world.remember(&mut known).await;
                world.runs_to_what_inputs_yield().await;
                world.remember(&mut known).await;
            }
        });
    };
    check_until(cases(6), turns, property, || changed.get() > 0 && rejected.get() > 0);
}

fn three_lines(file: u8, value: i64) -> Step {
    Step::from([(file, (0..3).map(|k| (Some(k), 0, Some(value))).collect())])
}

#[test]
fn what_is_gone_cannot_be_restored() {
    block_on(async {
        let mut world = World::new(&jobs_of_every_kind());
        let name: TableName = "silver.whole".parse().unwrap();
        world.write(&three_lines(0, 1));
        world.run_all().await;
        world.write(&three_lines(1, 2));
        world.run_all().await;
        let snapshot = world.table(&name).snapshot(Some(0)).await.unwrap().unwrap();
        let path = snapshot.files[0].path.clone();
        std::fs::remove_file(world.folder.path().join("lake/silver/whole").join(&path)).unwrap();
        let refused = async |name: &str, version: u64, part: &str| {
            let error = world.restore(&name.parse().unwrap(), version).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(part), "{error}");
        };
        refused("silver.whole", 0, &path).await;
        refused("silver.whole", 7, "its newest is 1").await;
        refused("silver.none", 0, "does not exist").await;
        refused("silver.sums__quarantine", 0, "is restored with its table").await;
        assert_eq!(world.version(&name).await, Some(1));
    });
}

#[test]
fn a_run_that_read_the_version_before_a_restoration_does_not_commit() {
    block_on(async {
        let mut world = World::new(&jobs_of_every_kind());
        let name: TableName = "bronze.lines".parse().unwrap();
        world.write(&three_lines(0, 1));
        world.run_all().await;
        world.write(&three_lines(1, 2));
        world.run_all().await;
        world.write(&three_lines(2, 3));
        let job = world.bench.project.job(&name).unwrap();
        let entering = |state| {
            if state == pulse_core::run::RunState::Committing {
                tokio::task::block_in_place(|| {
                    tokio::runtime::Handle::current().block_on(world.restore(&name, 0)).unwrap()
                });
            }
            Ok(())
        };
        let options = RunOptions {
            run_id: "late",
            asked: &Asked::default(),
            now: world.time(),
            begun: None,
            progress: &|_| (),
            entering: &entering,
        };
        let error = run(&world.bench, job, options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        world.runs_to_what_inputs_yield().await;
    });
}

#[test]
fn a_dropped_table_is_built_again_and_its_readers_notice() {
    let turns = || vec((steps(0..9, 0..4, 6), any::<prop::sample::Index>(), any::<bool>()), 1..3);
    check(cases(6), turns(), |turns| {
        block_on(async {
            let mut world = World::new(&jobs_of_every_kind());
            for (steps, job, quarantine) in &turns {
                for step in steps {
                    world.write(step);
                    world.runs_to_what_inputs_yield().await;
                }
                let names: Vec<TableName> = world.bench.project.jobs.keys().cloned().collect();
                let name = job.get(&names).clone();
                let mut dropped = vec![name.clone()];
                dropped.extend(quarantine.then(|| name.quarantine()));
                for name in dropped {
                    let table = world.table(&name);
                    table.mark_dropped(&world.bench.options.commit, world.time()).await.unwrap();
                    if table.dropped().await.unwrap().is_some() {
                        table.delete_dropped().await.unwrap();
                    }
                    assert!(!table.url().to_file_path().unwrap().exists());
                }
                world.runs_to_what_inputs_yield().await;
            }
        });
    });
}

#[test]
fn a_drop_that_is_cut_off_leaves_no_table_and_is_gone_on_with() {
    block_on(async {
        let mut world = World::new(&jobs_of_every_kind());
        let name: TableName = "silver.sums".parse().unwrap();
        let commits = async |world: &mut World| {
            for value in 0..5 {
                world.write(&three_lines(value, 1));
                let outcomes = world.run_all().await;
                assert!(outcomes.values().all(Result::is_ok), "{outcomes:?}");
            }
        };
        commits(&mut world).await;
        let mut cut = 0;
        loop {
            let table = world.table(&name);
            table.mark_dropped(&world.bench.options.commit, world.time()).await.unwrap();
            let version = table.dropped().await.unwrap().unwrap();
            table.checkpoint_of_drop(version).await.unwrap();
            let files: Vec<_> = table.deletions(version).await.unwrap().into_iter().flatten().collect();
            for file in files.iter().take(cut) {
                table.delete(std::slice::from_ref(file)).await.unwrap();
                assert!(table.snapshot(None).await.unwrap().is_none(), "after {}", file.path);
            }
            let is_whole = cut >= files.len();
            assert_eq!(table.dropped().await.unwrap().is_none(), is_whole);
            if !is_whole {
                let outcomes = world.run_all().await;
                let refused = outcomes[&name].as_ref().unwrap_err().to_string();
                assert!(refused.contains("pulse table drop silver.sums"), "{refused}");
                table.delete_dropped().await.unwrap();
            }
            world.runs_to_what_inputs_yield().await;
            if is_whole {
                break;
            }
            cut += 1;
        }
        assert!(cut > 4);
    });
}

#[test]
fn a_run_does_not_commit_to_a_table_that_is_being_dropped() {
    block_on(async {
        let mut world = World::new(&jobs_of_every_kind());
        let name: TableName = "bronze.lines".parse().unwrap();
        world.write(&three_lines(0, 1));
        world.run_all().await;
        world.write(&three_lines(1, 2));
        let table = world.table(&name);
        let entering = |state| {
            if state == pulse_core::run::RunState::Committing {
                let marked = table.mark_dropped(&world.bench.options.commit, world.time());
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(marked)).unwrap();
            }
            Ok(())
        };
        let options = RunOptions {
            run_id: "late",
            asked: &Asked::default(),
            now: world.time(),
            begun: None,
            progress: &|_| (),
            entering: &entering,
        };
        let error = run(&world.bench, world.bench.project.job(&name).unwrap(), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(table.snapshot(None).await.unwrap().is_none());
    });
}

#[test]
fn a_renamed_table_goes_on_under_its_new_name() {
    let renamed = |jobs: Vec<JobText>| -> Vec<JobText> {
        let name = |name| if name == "silver.sums" { "gold.totals" } else { name };
        let text = |text: String| text.replace("silver.sums", "gold.totals");
        let query = |query: &'static str| -> &'static str { text(query.to_owned()).leak() };
        jobs.into_iter().map(|(job, manifest, sql)| (name(job), text(manifest), query(sql))).collect()
    };
    block_on(async {
        let mut world = World::new(&jobs_of_every_kind());
        world.write(&three_lines(0, 9));
        world.write(&three_lines(1, 1));
        world.runs_to_what_inputs_yield().await;
        let (from, to): (TableName, TableName) = ("silver.sums".parse().unwrap(), "gold.totals".parse().unwrap());
        let rows = (world.rows(&from, None).await, world.rows_now(&from.quarantine()).await);
        assert!(!rows.1.is_empty());
        let lake = &world.bench.lake;
        let refused = async |from: &TableName, to: &TableName, part: &str| {
            let error = lake.rename(from, to).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(part), "{error}");
        };
        refused(&to, &from, "does not exist").await;
        refused(&from, &"silver.rows".parse().unwrap(), "exists").await;
        refused(&from.quarantine(), &to, "by the name of its table").await;
        assert!(lake.rename(&from, &to).await.unwrap().quarantine);
        assert_eq!(lake.rename(&from, &to).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!((world.rows(&to, None).await, world.rows_now(&to.quarantine()).await), rows);
        // As if a process died after the quarantine was moved.
        let folder = |name: &TableName| world.folder.path().join("lake").join(name.path());
        std::fs::rename(folder(&to), folder(&from)).unwrap();
        assert!(lake.rename(&from, &to).await.unwrap().quarantine);
        assert_eq!((world.rows(&to, None).await, world.rows_now(&to.quarantine()).await), rows);

        let mut edited = world.edited(&renamed(jobs_of_every_kind()));
        let outcomes = edited.run_all().await;
        assert!(outcomes.values().all(Result::is_ok), "{outcomes:?}");
        assert_eq!(edited.modes[&to], Mode::Unchanged);
        let tables = edited.tables().await;
        let edited = World { folder: world.folder, ..edited };
        let mut fresh = edited.afresh();
        fresh.run_all().await;
        assert_eq!(tables, fresh.tables().await);
    });
}

#[test]
fn runs_optimize_what_has_many_small_files() {
    block_on(async {
        let mut jobs = jobs_of_every_kind();
        jobs.push((
            "bronze.days",
            "grain = [\"source_file\", \"line\"]\npartition_by = [\"d\"]\n[sink.append]\n".to_owned(),
            "select k, d, v, source_file, line from raw.lines",
        ));
        let mut world = World::new(&jobs);
        world.bench.options.optimize_files = 3;
        let files = async |world: &World, name: &str, day: Option<&str>| {
            let snapshot = world.table(&name.parse().unwrap()).snapshot(None).await.unwrap().unwrap();
            let of_day = |file: &&crate::table::DataFile| {
                day.is_none_or(|day| file.partition_values["d"].as_deref() == Some(day))
            };
            snapshot.files.iter().filter(of_day).count()
        };
        for (file, day) in [(0, 0), (1, 0), (2, 1)] {
            world.write(&Step::from([(file, vec![(Some(1), day, Some(1))])]));
            world.runs_to_what_inputs_yield().await;
        }
        // Three files of the whole table, and two of the largest day.
        assert_eq!(files(&world, "bronze.lines", None).await, 1);
        assert_eq!(files(&world, "bronze.days", Some("2024-01-01")).await, 2);
        world.write(&Step::from([(3, vec![(Some(1), 0, Some(1))])]));
        world.runs_to_what_inputs_yield().await;
        assert_eq!(files(&world, "bronze.days", Some("2024-01-01")).await, 1);
        assert_eq!(files(&world, "bronze.days", Some("2024-01-02")).await, 1);
        let name = "bronze.days".parse().unwrap();
        assert_eq!(world.table(&name).history(1).await.unwrap()[0].details["pulse.mode"], "optimize");
    });
}

#[test]
fn the_reason_of_an_optimization_is_a_note_of_the_run() {
    block_on(async {
        let mut world = World::new(&jobs_of_every_kind());
        world.bench.options.optimize_files = 2;
        let name: TableName = "bronze.lines".parse().unwrap();
        let mut notes = Vec::new();
        for file in 0..2 {
            world.write(&three_lines(file, 1));
            world.runs += 1;
            let id = format!("run-{}", world.runs);
            let options = RunOptions {
                run_id: &id,
                asked: &Asked::default(),
                now: world.time(),
                begun: None,
                progress: &|_| (),
                entering: &|_| Ok(()),
            };
            notes.push(run(&world.bench, world.bench.project.job(&name).unwrap(), options).await.unwrap().notes);
        }
        let note = "optimized, as it had 2 small files (optimize_files = 2): 2 files became 1, version 2";
        assert_eq!(notes, [vec![], vec![note.to_owned()]]);
    });
}

#[test]
fn optimized_or_not_runs_yield_the_same() {
    check(cases(4), (steps(0..9, 0..4, 6), 1..4_usize), |(steps, limit)| {
        block_on(async {
            let mut world = World::new(&jobs_of_every_kind());
            world.bench.options.optimize_files = limit;
            for step in &steps {
                world.write(step);
                world.runs_to_what_inputs_yield().await;
            }
        });
    });
}
