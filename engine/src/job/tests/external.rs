//! Random histories of an external table: a table computed from its changes equals one computed from all of its rows.

use async_trait::async_trait;
use datafusion::execution::SessionState;
use datafusion::physical_plan::ExecutionPlan;
use pulse_core::run::Place;

use super::*;
use crate::codec::tests::there_and_back;
use crate::execute::{Execute, Progress};
use crate::source::delta::foreign::{Foreign, Row};
use crate::table::Mapping;

/// Operations of another engine on its table.
#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Cells>),
    Overwrite(Vec<Cells>),
    RemoveFile(usize),
    DeleteRows(usize, BTreeSet<u64>, bool),
    Compact,
    Widen,
    AddColumn(Vec<Cells>),
    /// `k` and `v` swap names.
    Swap,
    /// `v` is dropped and recreated.
    ReplaceColumn,
    Recreate(Vec<Cells>),
}

/// Values of `k` and `v`.
type Cells = (Option<i64>, Option<i64>);

fn jobs() -> Vec<JobText> {
    let changed = |by: &str| format!("[source.\"external.t\"]\nread = \"changed\"\n{by}");
    vec![
        (
            "silver.sums",
            format!("grain = [\"k\"]\n{}[sink.merge]\nkeys = [\"k\"]\n", changed("by = [\"k\"]\n")),
            "select k, count(*) as n, sum(v) as v from external.t group by k",
        ),
        (
            "silver.rows",
            format!("grain = [\"id\"]\n{}[sink.merge]\nkeys = [\"id\"]\n", changed("by = [\"id\"]\n")),
            "select id, k, v from external.t",
        ),
        (
            "silver.appended",
            format!("grain = [\"id\"]\n{}[sink.append]\n", changed("")),
            "select id, k, v from external.t where v > 1",
        ),
        (
            "silver.whole",
            "grain = [\"v\"]\n[sink.overwrite]\n".to_owned(),
            "select v, count(*) as n from external.t group by v",
        ),
    ]
}

/// Serializes plans, as for executors.
struct ThroughBytes(InProcess);

#[async_trait]
impl Execute for ThroughBytes {
    fn place(&self) -> Place {
        self.0.place()
    }

    async fn execute(
        &self,
        name: &str,
        state: &SessionState,
        plan: Arc<dyn ExecutionPlan>,
        progress: Progress<'_>,
    ) -> pulse_core::Result<Vec<Vec<arrow::array::RecordBatch>>> {
        self.0.execute(name, state, there_and_back(&plan), progress).await
    }
}

/// Assigns ids of one sequence to the rows of all tables.
struct Engine {
    table: Foreign,
    mapping: Mapping,
    ids: i64,
}

impl Engine {
    fn numbered(&mut self, cells: &[Cells]) -> Vec<Row> {
        let row = |(k, v): &Cells| {
            self.ids += 1;
            let named = [("k", *k), ("v", *v), ("id", Some(self.ids))];
            named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
        };
        cells.iter().map(row).collect()
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append(cells) => {
                let rows = self.numbered(cells);
                self.table.append(&rows);
            }
            Step::Overwrite(cells) => {
                let rows = self.numbered(cells);
                self.table.overwrite(&rows);
            }
            Step::RemoveFile(at) => self.table.remove_file(*at),
            Step::DeleteRows(at, rows, inline) => self.table.delete_rows(*at, rows, *inline),
            Step::Compact => self.table.compact(),
            Step::Widen => self.table.widen("v"),
            Step::AddColumn(cells) => {
                self.table.add_column();
                let rows = self.numbered(cells);
                self.table.append(&rows);
            }
            Step::Swap | Step::ReplaceColumn if self.mapping == Mapping::None => {}
            Step::Swap => {
                // A narrower type would be refused.
                self.table.widen("v");
                for (old, new) in [("k", "x"), ("v", "k"), ("x", "v")] {
                    self.table.rename(old, new);
                }
            }
            Step::ReplaceColumn => self.table.replace_column("v"),
            Step::Recreate(cells) => {
                self.table.recreate();
                let rows = self.numbered(cells);
                self.table.append(&rows);
            }
        }
    }

    /// Rows as in the table `silver.rows`.
    fn shown(&self) -> Vec<String> {
        let cell = |row: &Row, name: &str| row.get(name).map_or("-".to_owned(), i64::to_string);
        let shown = |row: &Row| ["id", "k", "v"].map(|name| cell(row, name)).join(" ");
        let mut rows: Vec<String> = self.table.rows().iter().map(shown).collect();
        rows.sort();
        rows
    }
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let cells = || vec((prop::option::weighted(0.8, 0..4_i64), prop::option::weighted(0.8, 0..5_i64)), 1..9);
    let rows = prop::collection::btree_set(0..9_u64, 1..5);
    let step = prop_oneof![
        4 => cells().prop_map(Step::Append),
        1 => cells().prop_map(Step::Overwrite),
        2 => (0..5_usize).prop_map(Step::RemoveFile),
        6 => (0..5_usize, rows, any::<bool>()).prop_map(|(at, rows, inline)| Step::DeleteRows(at, rows, inline)),
        1 => Just(Step::Compact),
        1 => Just(Step::Widen),
        1 => cells().prop_map(Step::AddColumn),
        1 => Just(Step::Swap),
        1 => Just(Step::ReplaceColumn),
        1 => cells().prop_map(Step::Recreate),
    ];
    vec(vec(step, 1..4), 2..5)
}

/// Runs the jobs after some steps each, and compares with a run in an empty lake.
async fn compare(mapping: Mapping, partitioned: bool, steps: &[Vec<Step>], incremental: &std::cell::Cell<u32>) {
    compare_table(mapping, partitioned, |table| table, steps, incremental).await;
}

async fn compare_table(
    mapping: Mapping,
    partitioned: bool,
    prepared: impl FnOnce(Foreign) -> Foreign,
    steps: &[Vec<Step>],
    incremental: &std::cell::Cell<u32>,
) {
    let mut world = World::new(&jobs());
    world.bench.execute = Arc::new(ThroughBytes(InProcess { slots: 2 }));
    let table = prepared(Foreign::new(world.folder.path().join("raw/t"), mapping, partitioned));
    let mut engine = Engine { table, mapping, ids: 0 };
    engine.take(&Step::Append(vec![(Some(1), Some(2)), (Some(2), None), (None, Some(3)), (Some(1), Some(0))]));
    for steps in steps {
        steps.iter().for_each(|step| engine.take(step));
        let outcomes = world.run_all().await;
        assert!(outcomes.values().all(Result::is_ok), "{outcomes:?}");
        let changes = outcomes.keys().filter(|name| world.modes.get(*name) == Some(&Mode::Incremental));
        incremental.set(incremental.get() + u32::try_from(changes.count()).unwrap());
        let tables = world.tables().await;
        let rows = tables.get(&"silver.rows".parse().unwrap()).cloned().unwrap_or_default();
        assert_eq!(rows, engine.shown(), "{mapping:?} {partitioned}");
        let mut fresh = world.afresh();
        fresh.run_all().await;
        assert_eq!(tables, fresh.tables().await, "{mapping:?} {partitioned}");
        let again = world.run_all().await;
        assert!(again.values().all(|outcome| matches!(outcome, Ok(Outcome::Unchanged))), "{again:?}");
    }
}

#[test]
fn changes_of_a_table_of_others_yield_what_all_of_its_rows_do() {
    let incremental = std::cell::Cell::new(0);
    let mapping = prop_oneof![Just(Mapping::None), Just(Mapping::Name), Just(Mapping::Id)];
    let histories = || (mapping.clone(), any::<bool>(), steps());
    let property = |(mapping, partitioned, steps): (Mapping, bool, Vec<Vec<Step>>)| {
        block_on(compare(mapping, partitioned, &steps, &incremental));
    };
    check_until(cases(10), histories, property, || incremental.get() > 9);
}

/// Decision 0043: comparing the files of two versions yields the same as a change feed.
#[test]
fn a_change_feed_says_nothing_that_the_log_does_not() {
    let incremental = std::cell::Cell::new(0);
    let histories = || (prop_oneof![Just(Mapping::None), Just(Mapping::Name)], any::<bool>(), steps());
    let property = |(mapping, partitioned, steps): (Mapping, bool, Vec<Vec<Step>>)| {
        block_on(compare_table(mapping, partitioned, Foreign::with_change_feed, &steps, &incremental));
    };
    check_until(cases(5), histories, property, || incremental.get() > 4);
}

#[test]
fn a_partition_whose_rows_are_all_deleted_bounds_nothing() {
    let of_null = |at| Step::DeleteRows(at, BTreeSet::from([0]), false);
    let steps = [vec![of_null(0)], vec![Step::AddColumn(vec![(None, None), (Some(0), None)]), of_null(3)]];
    for mapping in [Mapping::None, Mapping::Name] {
        block_on(compare(mapping, true, &steps, &std::cell::Cell::new(0)));
    }
}

#[tokio::test]
async fn a_table_of_others_that_is_not_there_or_is_empty_is_named() {
    let mut world = World::new(&jobs());
    let place = world.folder.path().join("raw/t");
    let error = |outcomes: &BTreeMap<TableName, pulse_core::Result<Outcome>>| {
        outcomes.values().next().unwrap().as_ref().unwrap_err().to_string()
    };
    let missing = error(&world.run_all().await);
    assert!(missing.contains("external.t") && missing.contains("`--var raw`"), "{missing}");
    std::fs::create_dir_all(place.join("metadata")).unwrap();
    std::fs::write(place.join("metadata/v1.metadata.json"), "{}").unwrap();
    let iceberg = error(&world.run_all().await);
    assert!(iceberg.contains("Iceberg"), "{iceberg}");

    let mut table = Foreign::new(place, Mapping::None, false);
    let asked = Asked::default();
    let warnings = async |world: &World| {
        let job = world.bench.project.job(&"silver.rows".parse().unwrap()).unwrap();
        super::super::pin(&world.bench, job, &asked, now()).await.unwrap().warnings()
    };
    let empty = warnings(&world).await;
    assert!(
        empty.len() == 1 && empty[0].contains("external.t: version 0") && empty[0].contains("no files"),
        "{empty:?}"
    );
    table.append(&[[("id".to_owned(), 1)].into()]);
    assert_eq!(warnings(&world).await, Vec::<String>::new());
}
