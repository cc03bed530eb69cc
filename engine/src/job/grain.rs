//! Checks the grain: no two rows of the table as it would be committed are equal in it, for any sink. Checks only rows
//! that the run wrote, and only if nothing else has proven them distinct.

use pulse_core::manifest::Sink;
use pulse_core::project::Job;
use pulse_core::run::ExpectationOutcome;
use pulse_core::{Error, Result};

use super::Workbench;
use super::check::Written;
use super::distinct::{are_distinct, name_their_file};
use super::query::JobQuery;
use super::repeats::Groups;
use super::replace::overlapping;
use crate::source::delta::DeltaScan;

/// Number of keys that an error shows.
const EXAMPLES: usize = 3;

/// # Errors
/// `Data` when rows are equal in the grain, with the first keys and their number.
pub(super) async fn check(
    bench: &Workbench,
    job: &Job,
    query: &JobQuery,
    written: &Written<'_>,
    outcomes: &[ExpectationOutcome],
) -> Result<()> {
    let grain = &job.manifest.grain;
    let seen = seen(job, query, written, outcomes);
    let suspects = suspects(seen.among_new, grain, written.scan);
    if !suspects.files().is_empty() {
        let groups = Groups::repeated(format!("{}: rows that agree in the grain", job.name), &suspects, grain)?;
        refuse(bench, job, &groups, "in several rows that this run would write").await?;
    }
    let kept = match seen.beside_kept {
        true => Vec::new(),
        false => overlapping(written.kept.files(), written.scan, grain),
    };
    if !kept.is_empty() && !written.scan.files().is_empty() {
        let name = format!("{}: rows whose grain is in the table already", job.name);
        let groups = Groups::met_again(name, written.scan, &written.kept.with_files(kept), grain)?;
        refuse(bench, job, &groups, "in a row that this run would write and in one that stays in the table").await?;
    }
    Ok(())
}

/// Among which rows the new rows of a run are known to be distinct in the grain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    among_new: Among,
    /// Also distinct from the rows that remain in the table.
    beside_kept: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Among {
    All,
    /// Among the rows of one file, but not those of different files.
    Files,
    Unknown,
}

fn seen(job: &Job, query: &JobQuery, written: &Written<'_>, outcomes: &[ExpectationOutcome]) -> Seen {
    let manifest = &job.manifest;
    // A check that found no repeats has compared new rows with remaining ones, too; one that removed repeats has not.
    let holds = |place: usize| outcomes.get(place).is_some_and(|outcome| outcome.failed == 0);
    let checked = manifest.stricter_than_grain().any(|(place, check)| !check.removes_rows() && holds(place));
    let taken_out = manifest.stricter_than_grain().any(|(_, check)| check.removes_rows());
    let staged = written.staged;
    let looked = sink_looked(job) && !staged.total.grain_in_doubt;
    let among_new = match () {
        () if checked || taken_out || are_distinct(&query.plan, &manifest.grain) => Among::All,
        () if looked && staged.grain_gathered => Among::All,
        () if looked => Among::Files,
        () => Among::Unknown,
    };
    // Rows of a file that is read again are replaced.
    let of_other_files = || {
        matches!(manifest.sink, Sink::Append {})
            && !job.query.files().is_empty()
            && name_their_file(&query.plan, &manifest.grain)
    };
    let replaced = !written.keys_may_meet && !manifest.keeps_rows_beside(&manifest.grain);
    Seen { among_new, beside_kept: checked || replaced || of_other_files() }
}

/// Whether the sink looked for adjacent rows with equal grain.
fn sink_looked(job: &Job) -> bool {
    job.manifest.orders_by(&job.manifest.grain) && job.manifest.stricter_than_grain().next().is_none()
}

/// Files that may have rows with equal grain.
fn suspects(among: Among, grain: &[String], scan: &DeltaScan) -> DeltaScan {
    let files = match among {
        Among::All => Vec::new(),
        Among::Files => match scan.sharing_leading_values() {
            Some((leading, files)) if grain.iter().any(|column| column == leading) => files,
            _ => scan.files().to_vec(),
        },
        Among::Unknown => scan.files().to_vec(),
    };
    scan.with_files(files)
}

async fn refuse(bench: &Workbench, job: &Job, groups: &Groups, place: &str) -> Result<()> {
    let count = groups.count(bench).await?;
    if count == 0 {
        return Ok(());
    }
    let manifest = &job.manifest;
    let columns = manifest.grain.join(", ");
    let examples = groups.examples(bench, EXAMPLES).await?.join("; ");
    let keys = if count == 1 { "1 key is".to_owned() } else { format!("{count} keys are") };
    let remedy = match manifest.sink {
        Sink::Merge { .. } => "`latest_by = [..]` in `[sink.merge]`",
        Sink::Append {}
        | Sink::Overwrite {}
        | Sink::OverwritePartitions { .. }
        | Sink::Scd2(_)
        | Sink::Bitemporal(_) => "`unique = { columns = [..], keep_first_by = [..] }` and `on_fail = \"drop\"`",
    };
    let such = if count > EXAMPLES as u64 { "such as " } else { "" };
    Err(Error::data(format!(
        "{}: the grain ({columns}) identifies a row, and {keys} {place}: {such}{examples}; let the query yield one row a key, \
         say which one stays with {remedy}, or name further columns in `grain`; the table stays as it was",
        job.manifest_path()
    )))
}
