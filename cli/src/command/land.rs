//! `pulse land`: asks providers for what is missing.

mod order;
mod report;

use std::collections::BTreeMap;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use indicatif::{ProgressBar, ProgressStyle};
use pulse_core::sources::{Landing, Requested};
use pulse_core::{Error, Result, diagnostic};
use pulse_engine::store::{folder_url, store_path};
use pulse_land::{Ended, Event, HttpFetch, Key, LandOptions as Asking, Order, ProviderFolder, SystemClock};
use tokio::sync::watch;

use crate::args::{Global, LandAction, LandOptions, LandSelection};
use crate::interrupt::interrupted;
use crate::{output, setup};

pub(crate) async fn land(global: &Global, options: LandOptions) -> Result<ExitCode> {
    match &options.action {
        None => run(global, &options).await,
        Some(LandAction::Plan(selection)) => {
            let planned = planned(global, selection).await?;
            report::plan(&planned, global.output)
        }
        Some(LandAction::Status { selection, periods }) => {
            let planned = planned(global, selection).await?;
            report::status(&planned, *periods, global.output)
        }
    }
}

/// A landing of the project, and all it needs.
struct Chosen<'p> {
    name: &'p str,
    requested: Requested<'p>,
    folder: ProviderFolder,
    order: Order,
}

impl Chosen<'_> {
    fn asking(&self) -> Asking<'_> {
        Asking { requested: self.requested, again: false, most: None, clock: &SystemClock }
    }
}

/// What is wanted of a landing, and where it stands.
struct Planned {
    landing: String,
    requested: String,
    limits: pulse_core::sources::RequestLimits,
    plan: pulse_land::Plan,
}

async fn planned(global: &Global, selection: &LandSelection) -> Result<Vec<Planned>> {
    let project = setup::readable(global)?.project;
    let mut planned = Vec::new();
    for chosen in chosen(global, &project, selection).await? {
        let plan = chosen.asking().plan(&chosen.folder, &chosen.order).await?;
        let requested = format!("{}.{}", chosen.requested.provider_name, chosen.requested.request_name);
        planned.push(Planned {
            landing: chosen.name.to_owned(),
            requested,
            limits: chosen.requested.provider.limits,
            plan,
        });
    }
    Ok(planned)
}

async fn chosen<'p>(
    global: &Global,
    project: &'p pulse_core::project::Project,
    selection: &LandSelection,
) -> Result<Vec<Chosen<'p>>> {
    let settings = setup::settings(global)?;
    let stores = setup::stores(&settings);
    let mut all = Vec::new();
    for (name, landing) in named(&project.sources.landings, &selection.names)? {
        let Some(requested) = project.sources.requested(landing) else {
            return Err(Error::internal(format!("landing {name} asks for `{}`", landing.request)));
        };
        requested.provider.check_places(requested.provider_name)?;
        let root = folder_url(&requested.provider.root, &setup::here()?)?;
        let folder = ProviderFolder::new(stores.client(&root)?, &store_path(&root)?, requested.provider_name);
        let order = order::of(global, &settings, (name, landing), requested.request.period, selection).await?;
        all.push(Chosen { name, requested, folder, order });
    }
    Ok(all)
}

fn named<'p>(landings: &'p BTreeMap<String, Landing>, names: &[String]) -> Result<Vec<(&'p str, &'p Landing)>> {
    if landings.is_empty() {
        return Err(Error::invalid(
            "the project has no landing that is in order: declare `[providers.<name>]` and `[landings.<name>]` in sources.toml \
             (docs/guide/providers.md)",
        ));
    }
    if names.is_empty() {
        return Ok(landings.iter().map(|(name, landing)| (name.as_str(), landing)).collect());
    }
    let find = |name: &String| {
        let found = landings.get_key_value(name).map(|(name, landing)| (name.as_str(), landing));
        found.ok_or_else(|| {
            let meant = diagnostic::closest(name, landings.keys().map(String::as_str));
            let all = landings.keys().cloned().collect::<Vec<_>>().join(", ");
            let help = meant.map_or(format!("the project has {all}"), |meant| format!("did you mean `{meant}`?"));
            Error::invalid(format!("the project has no landing `{name}`: {help}"))
        })
    };
    names.iter().map(find).collect()
}

async fn run(global: &Global, options: &LandOptions) -> Result<ExitCode> {
    let project = setup::readable(global)?.project;
    let chosen = chosen(global, &project, &options.selection).await?;
    let mut keys: BTreeMap<&str, Option<Key>> = BTreeMap::new();
    for one in &chosen {
        let name = one.requested.provider_name;
        if !keys.contains_key(name) {
            keys.insert(name, key(&one.requested).await?);
        }
    }
    let stop = stopping();
    let mut results = Vec::new();
    for one in &chosen {
        let key = keys.get(one.requested.provider_name).and_then(Option::as_ref);
        results.push((one, run_one(one, options, key, stop.clone()).await?));
        if *stop.borrow() {
            break;
        }
    }
    report::landed(&results, global.output)
}

async fn key(requested: &Requested<'_>) -> Result<Option<Key>> {
    let name = requested.provider_name;
    let Some(place) = &requested.provider.key else { return Ok(None) };
    let text = setup::secret(&format!("the key of providers.{name}"), "key", place).await?;
    Key::new(name, &text).map(Some)
}

async fn run_one(
    chosen: &Chosen<'_>,
    options: &LandOptions,
    key: Option<&Key>,
    stop: watch::Receiver<bool>,
) -> Result<pulse_land::Landed> {
    let asking = Asking { again: options.again, most: options.most, ..chosen.asking() };
    let fetch = HttpFetch::new(chosen.requested.provider)?;
    let progress = Progress::new(chosen.name, chosen.requested.provider_name);
    let events = |event: Event<'_>| progress.take(&event);
    let landed = pulse_land::land(&asking, (&chosen.folder, key, &fetch), &chosen.order, stop, &events).await;
    progress.bar.finish_and_clear();
    landed
}

/// Becomes true at the first Ctrl-C or SIGTERM. The second one ends the process: what was sent and not answered is sent again later.
fn stopping() -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        interrupted().await;
        eprintln!("waiting for the answers of requests that were sent; Ctrl-C again ends without them");
        let _ = stop.send(true);
        interrupted().await;
        std::process::exit(130);
    });
    stopped
}

/// One line on a terminal, and words about what went wrong.
struct Progress {
    landing: String,
    provider: String,
    bar: ProgressBar,
    /// Until when the last wait that was reported lasts.
    waits: std::sync::Mutex<Option<DateTime<Utc>>>,
}

/// Shorter waits for a limit are not reported.
const REPORTED_WAIT: chrono::TimeDelta = chrono::TimeDelta::seconds(10);

impl Progress {
    fn new(landing: &str, provider: &str) -> Self {
        let bar = if output::is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{prefix:28!} {pos} of {len} requests {wide_msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_prefix(landing.to_owned());
        Self { landing: landing.to_owned(), provider: provider.to_owned(), bar, waits: std::sync::Mutex::default() }
    }

    fn words(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{}: {text}", self.landing));
    }

    fn take(&self, event: &Event<'_>) {
        match event {
            Event::Planned { missing, wanted } => {
                self.bar.set_length(*missing as u64);
                self.words(&format!(
                    "{} of {} missing",
                    output::count(*missing as u64),
                    output::plural(*wanted as u64, "request")
                ));
            }
            Event::Landed { .. } => self.bar.inc(1),
            Event::WithoutData { wanted, why } => {
                self.bar.inc(1);
                self.words(&format!("{}: no data: {why}", order::shown(wanted)));
            }
            Event::Failed { wanted, why } => self.words(&format!("{}: no whole answer: {why}", order::shown(wanted))),
            Event::Retry { wanted, why } => log::info!("{}: {}: {why}; asks again", self.landing, order::shown(wanted)),
            Event::Waiting { until } => self.waiting(*until),
        }
    }

    fn waiting(&self, until: DateTime<Utc>) {
        let Ok(mut reported) = self.waits.lock() else { return };
        if until - Utc::now() > REPORTED_WAIT && reported.is_none_or(|reported| until - reported > REPORTED_WAIT) {
            *reported = Some(until);
            let provider = &self.provider;
            self.words(&format!("waits until {} for the limits of {provider}", until.format("%H:%M:%S UTC")));
        }
    }
}

/// Words for the end of a landing.
fn ending(ended: &Ended) -> (&'static str, Option<DateTime<Utc>>) {
    match ended {
        Ended::Complete => ("complete", None),
        Ended::DayUsed(until) => ("day_used", Some(*until)),
        Ended::Interrupted => ("interrupted", None),
        Ended::Stopped(_) => ("stopped", None),
    }
}
