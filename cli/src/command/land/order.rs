//! What a landing wants: symbols and periods.

use std::collections::BTreeSet;

use chrono::{Datelike as _, NaiveDate, Utc, Weekday};
use datafusion::arrow::array::{AsArray as _, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use futures::TryStreamExt as _;
use pulse_core::name::TableName;
use pulse_core::settings::Settings;
use pulse_core::sources::{Landing, RequestPeriod, wrong_symbol};
use pulse_core::{Error, Result, diagnostic};
use pulse_engine::error::from_datafusion;
use pulse_engine::job::ask;
use pulse_land::{Order, Period, Wanted, periods};

use crate::args::{Global, LandSelection};
use crate::home::home;
use crate::setup;

pub(super) async fn of(
    global: &Global,
    settings: &Settings,
    (name, landing): (&str, &Landing),
    period: RequestPeriod,
    selection: &LandSelection,
) -> Result<Order> {
    let symbols = symbols(global, (name, landing), &selection.symbols)?;
    let Some(days) = days(name, landing, period, selection)? else {
        return Ok(Order { symbols, periods: vec![Period::All] });
    };
    let calendar = match &landing.calendar {
        Some(column) => calendar(global, settings, name, column).await?,
        None => None,
    };
    let is_open = |day: NaiveDate| match &calendar {
        Some(calendar) => calendar.contains(&day),
        None => !matches!(day.weekday(), Weekday::Sat | Weekday::Sun),
    };
    Ok(Order { symbols, periods: periods(period, days, &is_open) })
}

/// `IBM 2024-01-02`.
pub(super) fn shown(wanted: &Wanted) -> String {
    match (&wanted.symbol, wanted.period) {
        (Some(symbol), Period::All) => symbol.clone(),
        (Some(symbol), period) => format!("{symbol} {period}"),
        (None, period) => period.to_string(),
    }
}

fn symbols(global: &Global, (name, landing): (&str, &Landing), some: &[String]) -> Result<Vec<Option<String>>> {
    let mut all = landing.symbols.clone();
    if let Some(file) = &landing.symbols_file {
        for symbol in listed(global, name, file)? {
            if !all.contains(&symbol) {
                all.push(symbol);
            }
        }
    }
    if let Some(unknown) = some.iter().find(|symbol| !all.contains(symbol)) {
        let meant = diagnostic::closest(unknown, all.iter().map(String::as_str));
        let help =
            meant.map_or("it lists its symbols in sources.toml".to_owned(), |meant| format!("did you mean `{meant}`?"));
        return Err(Error::invalid(format!("landing {name} has no symbol `{unknown}`: {help}")));
    }
    all.retain(|symbol| some.is_empty() || some.contains(symbol));
    Ok(if all.is_empty() { vec![None] } else { all.into_iter().map(Some).collect() })
}

fn listed(global: &Global, name: &str, file: &str) -> Result<Vec<String>> {
    let path = home(global)?.folder().join(file);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Error::invalid(format!("landing {name}: `symbols_file` {} cannot be read", path.display())).with_source(error)
    })?;
    let mut symbols = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let symbol = line.trim();
        if symbol.is_empty() || symbol.starts_with('#') {
            continue;
        }
        if let Some(why) = wrong_symbol(symbol) {
            return Err(Error::invalid(format!("{}:{}: `{}` {why}", path.display(), index + 1, symbol.escape_debug())));
        }
        symbols.push(symbol.to_owned());
    }
    match symbols.is_empty() {
        true => Err(Error::invalid(format!("landing {name}: {} names no symbol", path.display()))),
        false => Ok(symbols),
    }
}

fn days(
    name: &str,
    landing: &Landing,
    period: RequestPeriod,
    selection: &LandSelection,
) -> Result<Option<(NaiveDate, NaiveDate)>> {
    if period == RequestPeriod::All {
        return match (selection.from, selection.to) {
            (None, None) => Ok(None),
            _ if selection.names.is_empty() => Ok(None),
            _ => Err(Error::invalid(format!(
                "landing {name} asks for everything that the provider has: leave --from and --to out"
            ))),
        };
    }
    let day = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
    let today = Utc::now().date_naive();
    let start = selection.from.or_else(|| day(&landing.start));
    let start = start.ok_or_else(|| Error::internal(format!("landing {name} has no start")))?;
    let end = selection.to.or_else(|| day(&landing.end)).unwrap_or(today).min(today);
    match selection.from.is_some() && selection.to.is_some_and(|to| to < start) {
        true => Err(Error::invalid("--to is before --from: both days are part of the range")),
        false => Ok(Some((start, end))),
    }
}

/// Days of a column of the lake; none while the lake has no such table.
async fn calendar(
    global: &Global,
    settings: &Settings,
    name: &str,
    place: &str,
) -> Result<Option<BTreeSet<NaiveDate>>> {
    let Some((table, column)) = place.rsplit_once('.') else {
        return Err(Error::internal(format!("the calendar of landing {name} is `{place}`")));
    };
    let because = |error: Error| {
        Error::new(error.kind(), format!("landing {name}: the calendar `{place}` cannot be read")).with_source(error)
    };
    let lake = setup::lake(global, settings).await?;
    let table: TableName = table.parse()?;
    if !lake.table(&table)?.exists().await? {
        log::warn!("landing {name}: the lake has no table {table} yet: days from Monday to Friday count as open");
        return Ok(None);
    }
    let bench = setup::workbench_of(home(global)?.parsed()?.project, global, settings).await?;
    let sql = format!("select distinct cast({column} as date) as day from {table} where {column} is not null");
    let batches = ask(&bench, &sql).await.map_err(because)?.stream(&sql).await.map_err(because)?;
    let batches: Vec<RecordBatch> = batches.try_collect().await.map_err(|e| because(from_datafusion("query", e)))?;
    let mut days = BTreeSet::new();
    for batch in batches {
        let texts = cast(batch.column(0), &DataType::Utf8);
        let texts = texts.map_err(|e| because(Error::invalid("they are no dates").with_source(e)))?;
        days.extend(texts.as_string::<i32>().iter().flatten().filter_map(|day| day.parse::<NaiveDate>().ok()));
    }
    Ok(Some(days))
}
