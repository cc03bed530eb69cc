//! Data that cannot be recomputed is not lost unless requested: rows of deleted files, and earlier contents of inputs
//! that a table remembers.

use chrono::{DateTime, Utc};

use super::gone::Gone;
use super::{AllInputs, Asked, Bookmarks, RunPlan};
use crate::interval_set::IntervalSet;
use crate::{Error, Result};

/// # Errors
/// `Data` when data would be lost without permission.
pub(super) fn rebuild(
    reason: String,
    inputs: AllInputs,
    intervals: IntervalSet,
    gone: &Gone,
    known: &Bookmarks,
    asked: &Asked,
) -> Result<RunPlan> {
    if !asked.allow_loss {
        gone.refuse_failing()?;
        if let Some(kept) = gone.kept() {
            return Err(Error::data(format!(
                "{reason}: the table is computed from all inputs, and {kept}; put them back, or give --allow-loss to lose \
                 their rows; with `on_missing = \"remove\"`, rows of files that are gone are always lost"
            )));
        }
        if known.recorded().is_some() && known.rows != Some(0) {
            let rows = known.rows.map_or_else(String::new, |rows| format!(" in {rows} rows"));
            return Err(Error::data(format!(
                "{reason}: all rows are computed from what the inputs hold now, and the history that the table keeps of earlier \
                 contents{rows} cannot be computed again; undo the change, or give --allow-loss to begin the history now"
            )));
        }
    }
    Ok(RunPlan::Rebuild { reason, inputs, intervals, lost: gone.files() })
}

/// # Errors
/// `Data` when files were deleted whose rows must stay: their keys would look deleted. `Conflict` when the table has a
/// recorded time later than `now`.
pub(super) fn observe(
    inputs: AllInputs,
    gone: &Gone,
    known: &Bookmarks,
    asked: &Asked,
    now: DateTime<Utc>,
) -> Result<RunPlan> {
    if let Some(kept) = gone.kept().filter(|_| !asked.allow_loss) {
        return Err(Error::data(format!(
            "the table is compared with all inputs, and {kept}; put them back, or give --allow-loss to close their rows"
        )));
    }
    if let Some(recorded) = known.recorded().filter(|recorded| *recorded >= now.timestamp_micros()) {
        let time = DateTime::from_timestamp_micros(recorded).unwrap_or_default();
        return Err(Error::conflict(format!(
            "the table was compared with its inputs at {}, and the clock says {}: times of a history only grow; set the clock \
             right, or run again later",
            time.to_rfc3339(),
            now.to_rfc3339()
        )));
    }
    Ok(RunPlan::Observe { inputs, lost: gone.files() })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::super::{JobRules, Observed, ObservedTable, Since, TableMark, decide};
    use super::*;
    use crate::ErrorKind;
    use crate::manifest::{History, Read, Sink};
    use crate::meaning::Meaning;

    fn time(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    /// A table whose last run at second 100 read file `a`, with 7 rows, and a source table at version 3.
    fn known() -> Bookmarks {
        let numbers = [("pulse/file/x/a", 1), ("pulse/job", 5), ("pulse/table/s.t", 3), ("pulse/table-id/s.t", 9)];
        let mut numbers: HashMap<String, i64> = numbers.map(|(id, number)| (id.to_owned(), number)).into();
        numbers.extend(Bookmarks::default().recorded_after(true, time(100)));
        Bookmarks { rows: Some(7), ..Bookmarks::new(numbers, None) }
    }

    struct Case {
        files: &'static [(&'static str, i64)],
        table_id: i64,
        since: Since,
        meaning: i64,
        asked: Asked,
        now: i64,
    }

    const SAME: Case = Case {
        files: &[("a", 1)],
        table_id: 9,
        since: Since::Nothing,
        meaning: 5,
        asked: Asked { interval: None, missing_only: false, rebuild: false, allow_loss: false },
        now: 200,
    };

    fn decided(case: &Case, remembers: bool) -> Result<RunPlan> {
        let files = case.files.iter().map(|(path, number)| ((*path).to_owned(), *number)).collect();
        let mark = TableMark { version: 3, id: Some(case.table_id) };
        let table = ObservedTable { mark, read: Read::All, by: Vec::new(), since: case.since.clone() };
        let observed = Observed {
            files: BTreeMap::from([("x".to_owned(), files)]),
            tables: BTreeMap::from([("s.t".parse().unwrap(), table)]),
            ..Observed::default()
        };
        let observing = Sink::Scd2(History {
            keys: vec!["k".to_owned()],
            compare: None,
            effective: "observed".to_owned(),
            deleted: None,
        });
        let sink = if remembers { observing } else { Sink::Overwrite {} };
        let meaning = Meaning::test(case.meaning, "");
        let job = JobRules { sink: &sink, interval: None, meaning: &meaning };
        decide(job, Some(&known()), &observed, &case.asked, time(case.now))
    }

    #[test]
    fn what_is_remembered_is_compared_and_not_computed_again() {
        assert_eq!(decided(&SAME, true).unwrap(), RunPlan::Nothing);
        let all = |plan: Result<RunPlan>| match plan.unwrap() {
            RunPlan::Observe { inputs, lost } => (inputs.files("x").to_vec(), lost),
            other => panic!("{other:?}"),
        };
        let changed = Case { files: &[("a", 2), ("b", 1)], ..SAME };
        assert_eq!(all(decided(&changed, true)), (vec!["a".to_owned(), "b".to_owned()], Vec::new()));
        for since in [Since::Unknown, Since::Changed(super::super::Reach::Anything)] {
            assert_eq!(all(decided(&Case { since, ..SAME }, true)).0, ["a"]);
        }
        // Just another content of the source.
        assert_eq!(all(decided(&Case { table_id: 8, since: Since::Unknown, ..SAME }, true)).0, ["a"]);
    }

    #[test]
    fn nothing_is_lost_that_may_not_be() {
        let refused = |case: &Case, remembers, part: &str| {
            let error = decided(case, remembers).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            let asked = Asked { allow_loss: true, ..case.asked };
            decided(&Case { asked, since: case.since.clone(), ..*case }, remembers).unwrap()
        };
        let history = "the history that the table keeps of earlier contents in 7 rows cannot be computed again";
        let edited = Case { meaning: 6, ..SAME };
        let forced = Case { asked: Asked { rebuild: true, ..Asked::default() }, ..SAME };
        for (case, remembers) in [(&edited, true), (&edited, false), (&forced, true)] {
            assert!(matches!(refused(case, remembers, history), RunPlan::Rebuild { .. }));
        }
        let gone = Case { files: &[("b", 1)], ..SAME };
        let plan = refused(&gone, true, "1 file that it was made from is gone, such as raw.x/a");
        assert!(matches!(&plan, RunPlan::Observe { lost, .. } if lost == &["x/a"]), "{plan:?}");
        // From then on, its deletion is recorded.
        let stored = known().after(&plan, &Meaning::default(), &Observed::default());
        assert!(stored.contains(&("pulse/file/x/a".to_owned(), -1)), "{stored:?}");
    }

    #[test]
    fn times_only_grow() {
        for now in [99, 100] {
            let error = decided(&Case { files: &[("a", 2)], now, ..SAME }, true).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert_eq!(decided(&Case { now, ..SAME }, true).unwrap(), RunPlan::Nothing);
        }
        assert!(decided(&Case { files: &[("a", 2)], now: 101, ..SAME }, true).is_ok());
        // A table that does not remember has no recorded time.
        let known = known();
        let (id, number) = known.recorded_after(false, time(200)).unwrap();
        let numbers = HashMap::from([(id, number)]);
        assert_eq!((number, Bookmarks::new(numbers, None).recorded()), (-1, None));
        assert_eq!(Bookmarks::default().recorded_after(false, time(200)), None);
    }
}
