//! Computes the history of each key from all of its rows.

use arrow::datatypes::DataType;
use pulse_core::manifest::{IS_CURRENT, VALID_FROM, VALID_TO};
use pulse_core::{Error, Result};

use super::{GONE, HAS_TIME, IS_VERSION, ONE_VERSION, OUT, Rows, SINCE, Window, any, differ, list, own_check, quoted};
use crate::job::query::JobQuery;
use crate::sink::FailAction;

const ADDED: [&str; 3] = [VALID_FROM, VALID_TO, IS_CURRENT];

/// One row per version: rows in the order of `effective`, without those that equal their predecessor. A row that
/// deletes its key ends the previous version.
pub(super) async fn cut(rows: Rows<'_>) -> Result<JobQuery> {
    refuse(&rows)?;
    rows.refuse_added(&ADDED)?;
    let compared = rows.compared()?;
    let sql = statement(&rows, &compared)?;
    let mut query = rows.query.clone();
    query.plan = rows.planned(&sql, vec![("of_query", query.plan)]).await?;
    query.columns.extend(ADDED.map(str::to_owned));
    let counted = [HAS_TIME, ONE_VERSION].map(|column| own_check(column, FailAction::Count));
    query.checks.extend(counted.into_iter().chain([own_check(IS_VERSION, FailAction::Drop)]));
    Ok(query)
}

fn refuse(rows: &Rows<'_>) -> Result<()> {
    for key in &rows.history.keys {
        rows.data_type(key)?;
    }
    let effective = &rows.history.effective;
    match rows.data_type(effective)? {
        DataType::Date32 | DataType::Timestamp(_, _) => Ok(()),
        other => Err(Error::invalid(format!(
            "{}: `effective` is `{effective}`, which is {other} and not a date or a timestamp: cast it in the query",
            rows.job.manifest_path()
        ))),
    }
}

fn statement(rows: &Rows<'_>, compared: &[String]) -> Result<String> {
    let window = Window::new(&rows.history.keys, &[SINCE, GONE], compared, &rows.columns);
    let earlier = |column: &str, place: usize| {
        window.over(&format!("lag({})", quoted(column))) + &format!(" as __before_{place}")
    };
    let befores: String = compared.iter().enumerate().map(|(n, column)| format!(", {}", earlier(column, n))).collect();
    let differs = compared.iter().enumerate().map(|(n, column)| differ(&quoted(column), &format!("__before_{n}")));
    let differs = any(differs.collect());
    let all: Vec<String> = rows.columns.iter().chain(&rows.beside).cloned().collect();
    let (all, out, gone, since) = (list(&all), quoted(OUT), quoted(GONE), quoted(SINCE));
    let (is_out, deleted) = (rows.is_out(), rows.deleted()?);
    let effective = quoted(&rows.history.effective);
    let number = window.over("row_number()");
    let (since_before, gone_before) = (window.over(&format!("lag({since})")), window.over(&format!("lag({gone})")));
    let next = window.over(&format!("lead({ONE_VERSION})"));
    // Not `lead(..) ignore nulls`: plan serialization loses `ignore nulls`.
    let until = window.with("__new").over(&format!("lead({since})"));
    let (gone_differs, since_differs) = (differ(&gone, "__gone_before"), differ(&since, "__since_before"));
    Ok(format!(
        "with judged as (select {all}, {is_out} as {out}, {deleted} as {gone}, {effective} as {since} from of_query), \
         compared as (select *, {number} as __number, {since_before} as __since_before, {gone_before} as __gone_before{befores} \
         from judged), \
         events as (select *, __number = 1 or {gone_differs} or (not {gone} and {differs}) as __new \
         from compared), \
         checked as (select *, {out} or {since} is not null as {HAS_TIME}, \
         {out} or __number = 1 or not __new or {since_differs} as {ONE_VERSION} from events), \
         closed as (select *, {until} as __until, coalesce({next}, true) as __next from checked) \
         select {all}, case when not {out} then {since} end as {VALID_FROM}, case when not {out} then __until end as {VALID_TO}, \
         case when not {out} then __until is null end as {IS_CURRENT}, {HAS_TIME}, {ONE_VERSION}, \
         {out} or (__new and not {gone}) or not {HAS_TIME} or not {ONE_VERSION} or not __next as {IS_VERSION} from closed"
    ))
}
