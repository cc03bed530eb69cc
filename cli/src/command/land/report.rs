//! What `pulse land` prints.

use std::process::ExitCode;

use chrono::{TimeDelta, Utc};
use pulse_core::Result;
use pulse_land::{Ended, Landed, Period, Standing, Wanted, takes};

use super::{Chosen, Planned, ending};
use crate::args::Output;
use crate::{output, shape};

pub(super) fn plan(planned: &[Planned], format: Output) -> Result<ExitCode> {
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for one in planned {
        let missing = one.plan.missing().count();
        let takes = takes(one.limits, missing);
        rows.push(vec![
            one.landing.clone(),
            one.requested.clone(),
            output::count(missing as u64),
            output::count(one.plan.requests.len() as u64),
            length(takes),
        ]);
        values.push(shape::LandPlan {
            landing: one.landing.clone(),
            request: one.requested.clone(),
            missing,
            wanted: one.plan.requests.len(),
            takes_s: takes.num_seconds(),
        });
    }
    let head = ["landing", "request", "missing", "of", "takes at least"];
    output::listing((&head, &["landing", "request", "missing", "wanted", "takes_s"]), &rows, &values, format)?;
    Ok(ExitCode::SUCCESS)
}

/// `2 h 5 min`
fn length(time: TimeDelta) -> String {
    let (days, hours, minutes) = (time.num_days(), time.num_hours() % 24, time.num_minutes() % 60);
    match (days, time.num_hours(), time.num_minutes()) {
        (1.., ..) => format!("{days} d {hours} h"),
        (_, 1.., _) => format!("{hours} h {minutes} min"),
        (_, _, 1..) => format!("{minutes} min"),
        _ => format!("{} s", time.num_seconds()),
    }
}

pub(super) fn status(planned: &[Planned], periods: bool, format: Output) -> Result<ExitCode> {
    match periods {
        true => status_of_periods(planned, format)?,
        false => status_of_symbols(planned, format)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a period is over and its data have not landed.
fn is_late(wanted: &Wanted, standing: Standing) -> bool {
    standing == Standing::Missing && wanted.period.end().is_none_or(|end| end <= Utc::now())
}

fn status_of_symbols(planned: &[Planned], format: Output) -> Result<()> {
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for one in planned {
        let mut symbols: Vec<Option<&String>> = Vec::new();
        for (wanted, _) in &one.plan.requests {
            if !symbols.contains(&wanted.symbol.as_ref()) {
                symbols.push(wanted.symbol.as_ref());
            }
        }
        for symbol in symbols {
            let of = || one.plan.requests.iter().filter(|(wanted, _)| wanted.symbol.as_ref() == symbol);
            let count =
                |test: &dyn Fn(&Wanted, Standing) -> bool| of().filter(|(wanted, at)| test(wanted, *at)).count();
            let newest = of().filter(|(_, at)| at.has_data()).map(|(wanted, _)| wanted.period).max();
            let value = shape::LandStatus {
                landing: one.landing.clone(),
                symbol: symbol.cloned(),
                wanted: of().count(),
                landed: count(&|_, at| at.has_data()),
                late: count(&is_late),
                absent: count(&|_, at| at == Standing::Absent),
                newest: newest.filter(|period| *period != Period::All).map(|period| period.to_string()),
            };
            rows.push(vec![
                value.landing.clone(),
                value.symbol.clone().unwrap_or_default(),
                output::count(value.wanted as u64),
                output::count(value.landed as u64),
                output::count(value.late as u64),
                output::count(value.absent as u64),
                value.newest.clone().unwrap_or_default(),
            ]);
            values.push(value);
        }
    }
    let head = ["landing", "symbol", "wanted", "landed", "late", "not there", "newest"];
    let keys = ["landing", "symbol", "wanted", "landed", "late", "absent", "newest"];
    output::listing((&head, &keys), &rows, &values, format)
}

fn status_of_periods(planned: &[Planned], format: Output) -> Result<()> {
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for one in planned {
        for (wanted, standing) in &one.plan.requests {
            let state = match standing {
                Standing::Final => "final",
                Standing::Open | Standing::Due => "landed",
                Standing::Absent => "absent",
                Standing::Missing if is_late(wanted, *standing) => "late",
                Standing::Missing => "awaited",
            };
            let value = shape::LandPeriod {
                landing: one.landing.clone(),
                symbol: wanted.symbol.clone(),
                period: wanted.period.to_string(),
                state,
            };
            rows.push(vec![
                value.landing.clone(),
                value.symbol.clone().unwrap_or_default(),
                value.period.clone(),
                state.to_owned(),
            ]);
            values.push(value);
        }
    }
    let keys = ["landing", "symbol", "period", "state"];
    output::listing((&keys, &keys), &rows, &values, format)
}

/// Prints what was landed, and the errors that ended a landing. The exit code is that of the first one.
pub(super) fn landed(results: &[(&Chosen<'_>, Landed)], format: Output) -> Result<ExitCode> {
    let mut values = Vec::new();
    for (chosen, landed) in results {
        let (ended, until) = ending(&landed.ended);
        eprintln!("{}: {}", chosen.name, sentence(landed));
        values.push(shape::Landed {
            landing: chosen.name.to_owned(),
            request: format!("{}.{}", chosen.requested.provider_name, chosen.requested.request_name),
            data: landed.data,
            bytes: landed.bytes,
            without_data: landed.without_data,
            left: landed.left,
            ended,
            until: until.map(shape::stamp),
        });
    }
    output::values(
        &["landing", "request", "data", "bytes", "without_data", "left", "ended", "until"],
        &values,
        format,
    )?;
    let errors = results.iter().filter_map(|(_, landed)| match &landed.ended {
        Ended::Stopped(error) => Some(error),
        Ended::Complete | Ended::DayUsed(_) | Ended::Interrupted => None,
    });
    let is_interrupted = results.iter().any(|(_, landed)| matches!(landed.ended, Ended::Interrupted));
    Ok(match output::errors(errors) {
        Some(code) => code,
        None if is_interrupted => ExitCode::from(130),
        None => ExitCode::SUCCESS,
    })
}

fn sentence(landed: &Landed) -> String {
    let mut text = format!("{} landed ({})", output::plural(landed.data as u64, "answer"), output::size(landed.bytes));
    if landed.without_data > 0 {
        text.push_str(&format!(", {} without data", output::count(landed.without_data as u64)));
    }
    if landed.left > 0 {
        text.push_str(&format!(", {} left", output::plural(landed.left as u64, "request")));
    }
    match &landed.ended {
        Ended::Complete | Ended::Stopped(_) => {}
        Ended::DayUsed(until) => {
            text.push_str(&format!("; the limit of a day is used up until {}", until.format("%Y-%m-%d %H:%M UTC")));
        }
        Ended::Interrupted => text.push_str("; interrupted"),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_has_two_units() {
        for (seconds, text) in [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7500, "2 h 5 min"), (90_000, "1 d 1 h")] {
            assert_eq!(length(TimeDelta::seconds(seconds)), text);
        }
    }

    #[test]
    fn an_end_says_what_is_left() {
        let ended = Ended::DayUsed("2024-01-02T03:00:00Z".parse().unwrap());
        let landed = Landed { data: 2, bytes: 10, without_data: 1, left: 7, ended };
        let expected = "2 answers landed (10 B), 1 without data, 7 requests left; the limit of a day is used up until 2024-01-02 03:00 UTC";
        assert_eq!(sentence(&landed), expected);
    }
}
