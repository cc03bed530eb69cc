//! `pulse run-due` and `pulse schedule`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use datafusion::arrow::array::{AsArray as _, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use futures::TryStreamExt as _;
use pulse_core::decide::{Asked, RunPlan};
use pulse_core::name::TableName;
use pulse_core::project::{Project, RUN_DATE};
use pulse_core::retry::seed_of;
use pulse_core::run::TriggerId;
use pulse_core::schedule::{Due, Remembered, Schedule, Sessions, Timetable, due};
use pulse_core::settings::Settings;
use pulse_core::{Error, Result, diagnostic};
use pulse_engine::error::from_datafusion;
use pulse_engine::job::{ask, check_roots, pin};
use pulse_scheduler::alerts::Alerts;
use pulse_scheduler::api::On;
use pulse_scheduler::ledger::RunStore;

use super::run::{drive_as, print_records};
use super::submit::run_on_cluster;
use crate::args::{Global, ScheduleAction, Selection, Where};
use crate::home::home;
use crate::interrupt::interrupted;
use crate::runnable::{Places, Runnable};
use crate::watch::summary;
use crate::{output, setup, shape};

/// A schedule of the project, and what the ledger keeps of it.
struct Known {
    name: String,
    schedule: Schedule,
    table: Timetable,
    remembered: Option<Remembered>,
}

pub(crate) async fn schedule(global: &Global, action: ScheduleAction) -> Result<ExitCode> {
    match action {
        ScheduleAction::List => {
            let settings = setup::settings(global)?;
            let ledger = RunStore::new(&setup::lake(global, &settings).await?)?;
            let mut all = Vec::new();
            for (name, schedule) in schedules(global)? {
                all.push(known(global, &settings, &ledger, name, schedule).await?);
            }
            list(global, &all)?;
        }
        ScheduleAction::Next { name, count } => next(global, &name, count).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs what is due, once or until the process is asked to stop.
pub(crate) async fn run_due(global: &Global, on: Where, every: Option<u64>) -> Result<ExitCode> {
    let Some(every) = every.map(Duration::from_secs) else {
        let ran = run_due_now(global, on).await?;
        if ran.is_none() {
            eprintln!("nothing is due");
        }
        return Ok(ExitCode::from(ran.unwrap_or_default()));
    };
    // Fails at the start if the project is invalid. Later looks report mistakes and go on.
    let count = output::plural(schedules(global)?.len() as u64, "schedule");
    eprintln!("looking at {count} every {} s, until Ctrl-C or SIGTERM", every.as_secs());
    // A run that goes on is cancelled by the same signal, and ends before this does.
    let mut stopped = tokio::spawn(interrupted());
    loop {
        // Files of the project may have changed.
        if let Err(error) = run_due_now(&Global { home: OnceLock::new(), ..global.clone() }, on).await {
            output::error(&error);
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = &mut stopped => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// Runs every schedule's due times, each of them once: the trigger's id is made of the schedule and the time, so that a second
/// process finds the first one's lease or end. The worst exit code; `None` when nothing is due.
async fn run_due_now(global: &Global, on: Where) -> Result<Option<u8>> {
    let settings = setup::settings(global)?;
    let ledger = RunStore::new(&setup::lake(global, &settings).await?)?;
    let (mut code, mut ran) = (0, false);
    for (name, schedule) in schedules(global)? {
        let known = match known(global, &settings, &ledger, name, schedule).await {
            Ok(known) => known,
            // The times of another one do not depend on it.
            Err(error) => {
                output::error(&error);
                code = code.max(output::exit_code(&error));
                ran = true;
                continue;
            }
        };
        let found = due(&known.schedule, &known.table, known.remembered.as_ref(), Utc::now());
        if known.remembered.as_ref() != Some(&found.remembered) {
            ledger.put_schedule(&known.name, &found.remembered).await?;
        }
        ran |= !found.times.is_empty();
        code = code.max(run_times(global, &ledger, &known, found, on).await?);
    }
    let parsed = home(global)?.parsed()?;
    // Also those with a mistake: they are late because of it.
    let jobs: Vec<TableName> = parsed.upstream.keys().cloned().collect();
    Alerts::of(&parsed.project).send_late(&ledger, &jobs, Utc::now()).await;
    Ok(ran.then_some(code))
}

/// The worst exit code.
async fn run_times(global: &Global, ledger: &RunStore, known: &Known, found: Due, on: Where) -> Result<u8> {
    let Due { times, mut remembered } = found;
    let mut worst = 0;
    for time in times {
        eprintln!("{}: due at {}", known.name, known.table.local(time));
        let is_sure = remembered.failed();
        let Some(code) = run_time(global, ledger, known, time, on, is_sure).await? else {
            eprintln!("{}: another process runs it", known.name);
            return Ok(worst);
        };
        worst = worst.max(code);
        remembered = remembered.with_last(time, code != 0);
        ledger.put_schedule(&known.name, &remembered).await?;
    }
    Ok(worst)
}

/// The exit code of the jobs at one time of a schedule; `None` while another process runs them. `is_sure`: also if nothing has changed.
async fn run_time(
    global: &Global,
    ledger: &RunStore,
    known: &Known,
    time: DateTime<Utc>,
    on: Where,
    is_sure: bool,
) -> Result<Option<u8>> {
    let Known { name, schedule, table, .. } = known;
    let global = &at_day(global, table.day(time));
    let settings = setup::settings(global)?;
    let selection = selection(schedule);
    let runnable = Runnable::new(global, &settings, &selection, Places::Known).await?;
    runnable.report();
    if schedule.only_changed && !is_sure && !is_changed(global, &settings, &runnable).await? {
        eprintln!("{name}: nothing has changed");
        return Ok(Some(0));
    }
    if on == Where::Cluster && !runnable.is_empty() {
        let key = format!("schedule-{name}-{}", time.format("%Y%m%dT%H%M%S")).parse()?;
        let code = run_on_cluster(global, &settings, &runnable, &selection, On::Cluster, Some(key)).await?;
        return Ok(Some(code));
    }
    let trigger = trigger_of(name, time);
    if let Some(code) = ledger.exit(&trigger).await? {
        return Ok(Some(code));
    }
    let bench = setup::workbench_of(runnable.project(), global, &settings).await?;
    check_roots(&bench.project, runnable.graph.order())?;
    let asked = setup::asked(&selection)?;
    let alerts = Alerts::of(&bench.project);
    let Some((exit, watched)) = drive_as(trigger.clone(), bench, &settings, runnable.planned(), asked).await? else {
        return Ok(None);
    };
    if let Some(watched) = watched {
        eprint!("{}", summary(&watched));
        print_records(global, &watched)?;
    }
    alerts.send_after(ledger, &trigger).await;
    eprintln!("details: pulse runs show {trigger}");
    Ok(Some(runnable.exit_code(exit.code())))
}

/// Whether one of the jobs would change its table. One that cannot be asked says why when it runs.
async fn is_changed(global: &Global, settings: &Settings, runnable: &Runnable) -> Result<bool> {
    let bench = setup::workbench_of(runnable.project(), global, settings).await?;
    for name in runnable.graph.order() {
        let pinned = pin(&bench, bench.project.job(name)?, &Asked::default(), Utc::now()).await;
        if !pinned.is_ok_and(|pinned| matches!(pinned.plan, RunPlan::Nothing)) {
            return Ok(true);
        }
    }
    // Jobs that cannot run are recorded.
    Ok(!runnable.planned().not_run.is_empty())
}

/// The same for the same schedule and time in every process.
fn trigger_of(name: &str, time: DateTime<Utc>) -> TriggerId {
    let [a, b, c, d, ..] = seed_of(0, name).to_be_bytes();
    TriggerId::new(time, u32::from_be_bytes([a, b, c, d]))
}

/// The options with the day of a schedule's time as `$run_date`, unless the command line names another one.
fn at_day(global: &Global, day: chrono::NaiveDate) -> Global {
    let names_day = |pair: &String| pair.split_once('=').is_some_and(|(name, _)| name.trim() == RUN_DATE);
    let mut variables = global.variables.clone();
    if !variables.iter().any(names_day) {
        variables.push(format!("{RUN_DATE}={day}"));
    }
    // Read again, with this day.
    Global { variables, home: OnceLock::new(), ..global.clone() }
}

fn selection(schedule: &Schedule) -> Selection {
    Selection {
        jobs: schedule.jobs.clone(),
        all: schedule.jobs.is_empty(),
        from: None,
        to: None,
        rebuild: false,
        allow_loss: false,
    }
}

/// A mistake in a job does not hide the schedules of the others.
fn schedules(global: &Global) -> Result<BTreeMap<String, Schedule>> {
    let project: Project = home(global)?.parsed()?.project;
    match project.settings.schedule.is_empty() {
        false => Ok(project.settings.schedule),
        true => Err(Error::invalid(
            "the project has no schedule: add one to project.toml, such as `[schedule.nightly]` with `cron = \"30 2 * * *\"`",
        )),
    }
}

async fn timetable(global: &Global, settings: &Settings, name: &str, schedule: &Schedule) -> Result<Timetable> {
    let stamps = match &schedule.sessions {
        Some(sessions) => stamps(global, settings, name, sessions).await?,
        None => Vec::new(),
    };
    Timetable::new(schedule, stamps).map_err(|wrong| Error::invalid(format!("schedule {name}: {}", wrong.message)))
}

/// What a table holds, as it is now.
async fn stamps(global: &Global, settings: &Settings, name: &str, from: &Sessions) -> Result<Vec<DateTime<Utc>>> {
    let Sessions { table, column, .. } = from;
    let because = |error: Error| {
        let message = format!(
            "schedule {name}: the times of {table}.{column} cannot be read; the job that writes them runs first"
        );
        Error::new(error.kind(), message).with_source(error)
    };
    let bench = setup::workbench_of(home(global)?.parsed()?.project, global, settings).await?;
    let sql = format!("select cast({column} as timestamp) from {table} where {column} is not null");
    let batches = ask(&bench, &sql).await.map_err(because)?.stream(&sql).await.map_err(because)?;
    let batches: Vec<RecordBatch> = batches.try_collect().await.map_err(|e| because(from_datafusion("query", e)))?;
    let mut stamps = Vec::new();
    for batch in batches {
        let micros = cast(batch.column(0), &DataType::Timestamp(TimeUnit::Microsecond, None));
        let micros = micros.map_err(|e| because(Error::invalid("they are no stamps").with_source(e)))?;
        let values = micros.as_primitive::<TimestampMicrosecondType>().values();
        stamps.extend(values.iter().filter_map(|micros| DateTime::from_timestamp_micros(*micros)));
    }
    Ok(stamps)
}

async fn known(
    global: &Global,
    settings: &Settings,
    ledger: &RunStore,
    name: String,
    schedule: Schedule,
) -> Result<Known> {
    let table = timetable(global, settings, &name, &schedule).await?;
    let remembered = ledger.schedule(&name).await?;
    Ok(Known { name, schedule, table, remembered })
}

fn list(global: &Global, all: &[Known]) -> Result<()> {
    let now = Utc::now();
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for Known { name, schedule, table, remembered } in all {
        let next = table.next(now).filter(|_| schedule.enabled);
        let last = remembered.as_ref().and_then(Remembered::last);
        let local =
            |time: Option<DateTime<Utc>>, none: &str| time.map_or_else(|| none.to_owned(), |time| table.local(time));
        let jobs = if schedule.jobs.is_empty() { "all".to_owned() } else { schedule.jobs.join(" ") };
        rows.push(vec![name.clone(), schedule.times(), jobs, local(next, "paused"), local(last, "never")]);
        values.push(shape::Schedule {
            schedule: name.clone(),
            cron: schedule.cron.clone(),
            sessions: schedule.sessions.as_ref().map(ToString::to_string),
            time_zone: schedule.time_zone.clone(),
            jobs: schedule.jobs.clone(),
            enabled: schedule.enabled,
            next: next.map(shape::stamp),
            last: last.map(shape::stamp),
        });
    }
    let keys = ["schedule", "cron", "sessions", "time_zone", "jobs", "enabled", "next", "last"];
    output::listing((&["schedule", "times", "jobs", "next", "last"], &keys), &rows, &values, global.output)
}

async fn next(global: &Global, name: &str, count: usize) -> Result<()> {
    let schedules = schedules(global)?;
    let Some(schedule) = schedules.get(name) else {
        let help = match diagnostic::closest(name, schedules.keys().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "`pulse schedule list` shows all".to_owned(),
        };
        return Err(Error::invalid(format!("there is no schedule `{name}`: {help}")));
    };
    let settings = setup::settings(global)?;
    let table = timetable(global, &settings, name, schedule).await?;
    let times = std::iter::successors(table.next(Utc::now()), |time| table.next(*time)).take(count);
    let times: Vec<DateTime<Utc>> = times.collect();
    let rows: Vec<Vec<String>> = times.iter().map(|time| vec![table.local(*time), shape::stamp(*time)]).collect();
    let values: Vec<shape::ScheduledTime> = times
        .iter()
        .map(|time| shape::ScheduledTime { local: table.local(*time), time: shape::stamp(*time) })
        .collect();
    output::listing((&["local", "utc"], &["local", "time"]), &rows, &values, global.output)
}
