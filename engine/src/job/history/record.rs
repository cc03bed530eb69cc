//! Updates a table that remembers: compares new contents with the rows that hold. These are closed, and never changed
//! otherwise.

use chrono::{DateTime, Utc};
use pulse_core::Result;
use pulse_core::manifest::{IS_CURRENT, RECORDED_FROM, RECORDED_TO, Sink, VALID_FROM, VALID_TO};
use pulse_core::project::Job;

use super::{GONE, IS_NEW, OF_QUERY, ONE_ROW, OUT, Recording, Rows, Window, any, differ, list, own_check, quoted};
use crate::job::query::JobQuery;
use crate::sink::FailAction;

/// Columns with the time span in which a row is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::job) struct SystemTime {
    pub(in crate::job) from: &'static str,
    pub(in crate::job) until: &'static str,
    /// Columns that identify a row among those that hold.
    pub(in crate::job) identity: Vec<String>,
}

/// `None` for a table that does not remember.
pub(in crate::job) fn system_time(job: &Job) -> Option<SystemTime> {
    match &job.manifest.sink {
        Sink::Scd2(history) if history.is_observed() => {
            Some(SystemTime { from: VALID_FROM, until: VALID_TO, identity: history.keys.clone() })
        }
        Sink::Bitemporal(history) => {
            let identity = history.keys.iter().cloned().chain([VALID_FROM.to_owned()]).collect();
            Some(SystemTime { from: RECORDED_FROM, until: RECORDED_TO, identity })
        }
        _ => None,
    }
}

/// Rows to add: query rows that do not hold yet, and rows that no longer hold, closed. Unchanged rows do not occur.
pub(super) async fn record(rows: Rows<'_>, recording: &Recording) -> Result<JobQuery> {
    let Some(time) = system_time(rows.job) else { return Ok(rows.query) };
    for column in &time.identity {
        rows.data_type(column)?;
    }
    let is_observed = time.from == VALID_FROM;
    let added: &[&str] = if is_observed { &[VALID_FROM, VALID_TO, IS_CURRENT] } else { &[RECORDED_FROM, RECORDED_TO] };
    rows.refuse_added(added)?;
    let compared = compared(&rows, &time, is_observed)?;
    let sql = statement(&rows, &time, &compared, recording)?;
    let mut query = rows.query.clone();
    let mut tables = vec![("of_query", query.plan)];
    tables.extend(recording.current.clone().map(|current| ("of_table", current)));
    query.plan = rows.planned(&sql, tables).await?;
    query.columns.extend(added.iter().map(|column| (*column).to_owned()));
    let counted = [ONE_ROW, OF_QUERY].map(|column| own_check(column, FailAction::Count));
    query.checks.extend(counted.into_iter().chain([own_check(IS_NEW, FailAction::Drop)]));
    Ok(query)
}

/// Only written columns can be compared with earlier contents.
fn compared(rows: &Rows<'_>, time: &SystemTime, is_observed: bool) -> Result<Vec<String>> {
    let is_written = |column: &String| rows.query.columns.contains(column);
    if !is_observed {
        let columns = rows.query.columns.iter().filter(|column| !time.identity.contains(column));
        return Ok(columns.cloned().collect());
    }
    let compared = rows.compared()?;
    match (&rows.history.compare, compared.iter().find(|column| !is_written(column))) {
        (Some(_), Some(column)) => Err(pulse_core::Error::invalid(format!(
            "{}: `compare` names `{column}`, which is not written, so that the next run could not compare it: select it under a name \
             without `_`",
            rows.job.manifest_path()
        ))),
        _ => Ok(compared.into_iter().filter(is_written).collect()),
    }
}

fn statement(rows: &Rows<'_>, time: &SystemTime, compared: &[String], recording: &Recording) -> Result<String> {
    let window = Window::new(&time.identity, &["__side"], compared, &rows.columns);
    let neighbour = |function: &str, name: &str| -> String {
        let columns = compared.iter().enumerate();
        let columns = columns.map(|(n, column)| (window.over(&format!("{function}({})", quoted(column))), n));
        columns.map(|(column, n)| format!(", {column} as __{name}_{n}")).collect()
    };
    let differs = |name: &str| {
        let columns = compared.iter().enumerate();
        any(columns.map(|(n, column)| differ(&quoted(column), &format!("__{name}_{n}"))).collect())
    };
    let all: Vec<String> = rows.columns.iter().chain(&rows.beside).cloned().collect();
    let both = both(rows, time, &all, recording)?;
    let (befores, afters) = (neighbour("lag", "before"), neighbour("lead", "after"));
    let (unlike_before, unlike_after) = (differs("before"), differs("after"));
    let (side_before, side_after) = (window.over("lag(__side)"), window.over("lead(__side)"));
    let (all, out, gone) = (list(&all), quoted(OUT), quoted(GONE));
    let (from, until, now) = (quoted(time.from), quoted(time.until), stamp(recording.at));
    let current = match time.from {
        VALID_FROM => format!(", case when not {out} then __side = 1 end as {IS_CURRENT}"),
        _ => String::new(),
    };
    let other_before = differ("__side_before", "1");
    Ok(format!(
        "with both_sides as ({both}), \
         compared as (select *, {side_before} as __side_before, {side_after} as __side_after{befores}{afters} from both_sides), \
         checked as (select *, {out} or __side = 0 or {other_before} or not {unlike_before} as {ONE_ROW} \
         from compared) \
         select {all}, case when {out} then null when __side = 0 then __from else {now} end as {from}, \
         case when not {out} and __side = 0 then {now} end as {until}{current}, {ONE_ROW}, __side = 1 as {OF_QUERY}, \
         not {gone} and ({out} or __side = 0 or __side_before is null or {unlike_before} \
         or (__side_after is not null and {unlike_after})) as {IS_NEW} \
         from checked where __side = 1 or __side_after is null or {unlike_after}"
    ))
}

/// The current rows as side 0, and those of the query as side 1.
fn both(rows: &Rows<'_>, time: &SystemTime, all: &[String], recording: &Recording) -> Result<String> {
    let (out, gone, is_out) = (quoted(OUT), quoted(GONE), rows.is_out());
    // Rows left out by a cut are already out.
    let deleted = if time.from == VALID_FROM { rows.deleted()? } else { "false".to_owned() };
    let fresh = format!(
        "select {}, {is_out} or {deleted} as {out}, {deleted} and not {is_out} as {gone}, 1 as __side, \
         arrow_cast(null, 'Timestamp(Microsecond, Some(\"UTC\"))') as __from from of_query",
        list(all)
    );
    let Some(current) = &recording.current else { return Ok(fresh) };
    let known = |column: &String| current.schema().field_with_unqualified_name(column).is_ok();
    let is_check = |column: &String| rows.query.checks.iter().any(|check| check.column == *column);
    let column = |column: &String| match () {
        () if is_check(column) => format!("true as {}", quoted(column)),
        () if rows.columns.contains(column) && known(column) => quoted(column),
        () => format!("null as {}", quoted(column)),
    };
    let columns = all.iter().map(column).collect::<Vec<_>>().join(", ");
    Ok(format!(
        "{fresh} union all select {columns}, false as {out}, false as {gone}, 0 as __side, {} as __from from of_table",
        quoted(time.from)
    ))
}

fn stamp(time: DateTime<Utc>) -> String {
    format!("arrow_cast(to_timestamp_micros({}), 'Timestamp(Microsecond, Some(\"UTC\"))')", time.timestamp_micros())
}
