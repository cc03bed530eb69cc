//! `pulse submit`: hand jobs to a scheduler.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use pulse_core::name::TableName;
use pulse_core::run::{RunRecord, RunState, TriggerId};
use pulse_core::settings::Settings;
use pulse_core::{Error, ErrorKind, Result};
use pulse_engine::store::folder_url;
use pulse_scheduler::api::{FollowResponse, On, QueuesResponse, Refusal, SubmitRequest, SubmitResponse, Token};
use pulse_scheduler::ledger::Key;
use pulse_transport::{Keyring, Role, callers, keyring, leads_to_this_machine};
use reqwest::ClientBuilder;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::args::{Global, Selection, SubmitOptions};
use crate::home::home;
use crate::interrupt::interrupted;
use crate::live::Live;
use crate::runnable::{Places, Runnable};
use crate::watch::{Watched, lines, summary};
use crate::{aws, output, setup, shape};

/// From one look at a trigger to the next.
const POLL: Duration = Duration::from_millis(200);
/// From one look to the next while the scheduler does not answer.
const SLOW_POLL: Duration = Duration::from_secs(1);
/// A scheduler that does not answer for so long is not waited for any more.
const PATIENCE: Duration = Duration::from_secs(600);
/// Exit code of a process that Ctrl-C ended.
const INTERRUPTED: u8 = 130;
/// Attempts at one request.
const ATTEMPTS: u32 = 5;
/// Before the second attempt; doubles with each further one.
const BACKOFF: Duration = Duration::from_millis(100);

/// What Ctrl-C does to the runs that are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interrupt {
    Leaves,
    Cancels,
}

pub(crate) async fn submit(global: &Global, options: &SubmitOptions) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    let places = if options.cluster.is_some() { Places::OfCluster } else { Places::Known };
    let runnable = Runnable::new(global, &settings, &options.selection, places).await?;
    runnable.report();
    if runnable.is_empty() {
        return Ok(ExitCode::from(runnable.exit_code(0)));
    }
    if let Some(cluster) = &options.cluster {
        let code = aws::step(global, &settings, cluster, options, &runnable).await?;
        // A step that did all it was given did not do what could not be given to it.
        return Ok(if code == ExitCode::SUCCESS { ExitCode::from(runnable.exit_code(0)) } else { code });
    }
    let scheduler = Scheduler::new(&settings).await?;
    let key = options.key.as_deref().map(str::parse).transpose()?;
    let trigger = scheduler.submit(global, &settings, &runnable, (&options.selection, options.on.into()), key).await?;
    output::line(trigger.as_str());
    let code = match options.wait {
        true => follow(global, &scheduler, &trigger, Interrupt::Leaves).await?,
        false => 0,
    };
    Ok(ExitCode::from(runnable.exit_code(code)))
}

/// Submits and follows: what `pulse run --on cluster` does. Returns the exit code.
pub(crate) async fn run_on_cluster(
    global: &Global,
    settings: &Settings,
    runnable: &Runnable,
    selection: &Selection,
    on: On,
    key: Option<Key>,
) -> Result<u8> {
    let scheduler = Scheduler::new(settings).await?;
    let trigger = scheduler.submit(global, settings, runnable, (selection, on), key).await?;
    let code = follow(global, &scheduler, &trigger, Interrupt::Cancels).await?;
    Ok(runnable.exit_code(code))
}

/// The exit code of the trigger.
async fn follow(global: &Global, scheduler: &Scheduler, trigger: &TriggerId, interrupt: Interrupt) -> Result<u8> {
    let began = Instant::now();
    let mut shown: BTreeMap<TableName, RunState> = BTreeMap::new();
    let mut live: Option<Live> = None;
    let stop = interrupted();
    tokio::pin!(stop);
    let mut stopping = false;
    loop {
        let answer = tokio::select! {
            answer = scheduler.look(trigger) => answer?,
            () = &mut stop, if !stopping => match interrupt {
                Interrupt::Leaves => {
                    eprintln!("{trigger} goes on; `pulse runs show {trigger}` shows it, `pulse runs cancel {trigger}` stops it");
                    return Ok(INTERRUPTED);
                }
                Interrupt::Cancels => {
                    stopping = true;
                    scheduler.post::<(), ()>(&format!("runs/{trigger}/cancel"), &()).await?;
                    continue;
                }
            },
        };
        if !answer.records.is_empty() {
            let live = live.get_or_insert_with(|| Live::new(answer.records.len(), output::is_terminal()));
            for record in &answer.records {
                show(record, shown.insert(record.job.clone(), record.state), live);
            }
        }
        if let Some(exit) = answer.exit {
            drop(live);
            finish(global, answer.records, began.elapsed())?;
            return Ok(exit);
        }
    }
}

/// What changed since the last look.
fn show(record: &RunRecord, before: Option<RunState>, live: &mut Live) {
    let is_running = |state| matches!(state, RunState::Planning | RunState::Running | RunState::Committing);
    if before == Some(record.state) {
        return;
    }
    if is_running(record.state) && !before.is_some_and(is_running) {
        live.started(&record.job);
    }
    if is_running(record.state) {
        live.state(&record.job, record.state);
    }
    if record.state.is_final() {
        live.ended(&record.job, true);
        lines(record, &record.warnings, None, None).iter().for_each(|line| live.say(line));
    }
}

fn finish(global: &Global, mut records: Vec<RunRecord>, elapsed: Duration) -> Result<()> {
    records.sort_by_key(|record| record.ended);
    let watched = Watched { records, elapsed };
    eprint!("{}", summary(&watched));
    let runs: Vec<shape::Run> = watched.records.iter().map(shape::Run::from).collect();
    output::jsons(&runs, global.output)
}

/// A scheduler's API.
pub(super) struct Scheduler {
    base: String,
    /// Its address in messages.
    at: String,
    client: reqwest::Client,
    /// What to say of a listener that does not prove to be this scheduler; none where its host's certificate says who it is.
    stranger: Option<&'static str>,
}

/// A listener without the token of `api_token_source`.
const WITHOUT_TOKEN: &str = "what listens there does not know this token, so nothing was sent to it: `api_token_source` must lead to the same one as \
                             the scheduler's; if the scheduler shows a certificate of its own, set `api_authority`";
/// A listener of another account.
const WITHOUT_ACCOUNT: &str = "what listens there is no scheduler of this account, so nothing was sent to it: start one as this account with \
                               `pulse serve scheduler`; if the scheduler asks for a token, `api_token_source` must lead to the same one";

impl Scheduler {
    pub(super) async fn new(settings: &Settings) -> Result<Self> {
        let client = reqwest::Client::builder().timeout(settings.store_timeout()).no_proxy();
        let token = setup::api_token(settings).await?;
        let is_local = leads_to_this_machine(&settings.scheduler_host, settings.api_port);
        let (base, client, stranger) = if setup::asks_for_certificates(settings) {
            let (base, client) = with_certificate(settings, &keyring(settings, Role::Client)?, client).await?;
            (base, client, None)
        } else if is_local && settings.api_authority.is_empty() {
            let ring = callers(token.as_ref().map(Token::reveal), Role::Client)?;
            let (base, client) = with_certificate(settings, &ring, client).await?;
            (base, client, Some(if token.is_some() { WITHOUT_TOKEN } else { WITHOUT_ACCOUNT }))
        } else {
            let (base, client) = with_token(settings, token, client)?;
            (base, client, None)
        };
        let client = client.build().map_err(|e| Error::internal("no HTTP client").with_source(e))?;
        let at = base.replacen(Role::Scheduler.host(), &settings.scheduler_host, 1);
        Ok(Self { base, at, client, stranger })
    }

    /// One look, after a while; through any outage of the scheduler that is not too long.
    async fn look(&self, trigger: &TriggerId) -> Result<FollowResponse> {
        let began = Instant::now();
        let mut wait = POLL;
        loop {
            tokio::time::sleep(wait).await;
            match self.answer(self.client.get(format!("{}/runs/{trigger}", self.base))).await {
                Err(error) if error.kind() == ErrorKind::Unavailable && began.elapsed() < PATIENCE => {
                    if wait == POLL {
                        eprintln!("{error}; waiting for it, {trigger} goes on when it is back");
                    }
                    wait = SLOW_POLL;
                }
                answer => return answer,
            }
        }
    }

    async fn submit(
        &self,
        global: &Global,
        settings: &Settings,
        runnable: &Runnable,
        (selection, on): (&Selection, On),
        key: Option<Key>,
    ) -> Result<TriggerId> {
        let here = setup::here()?;
        let home = home(global)?;
        let mut variables = home.places()?;
        // The scheduler stands in another folder. A path stays one, because a URL would give `%` in the rest of a root another meaning.
        for value in variables.values_mut().filter(|value| !value.contains("://")) {
            *value = absolute(value, &here)?;
        }
        // None are all.
        let jobs = if selection.all { Vec::new() } else { runnable.graph.order().to_vec() };
        let key = match key {
            Some(key) => key,
            None => Uuid::new_v4().to_string().parse()?,
        };
        let request = SubmitRequest {
            key,
            files: runnable.files(home.files()?)?,
            variables,
            lake: folder_url(&home.lake, &here)?.to_string(),
            jobs,
            not_run: runnable.not_run.clone(),
            asked: setup::asked(selection)?,
            on,
            queue: settings.queue.parse()?,
        };
        let answer: SubmitResponse = self.post("runs", &request).await?;
        Ok(answer.trigger)
    }

    /// What runs and waits, by queue.
    pub(super) async fn queues(&self) -> Result<QueuesResponse> {
        self.answer(self.client.get(format!("{}/queues", self.base))).await
    }

    /// Tries again what may have been a moment's trouble: all requests here may come twice.
    async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T> {
        let mut attempt = 1;
        loop {
            match self.answer(self.client.post(format!("{}/{path}", self.base)).json(body)).await {
                Err(error) if error.kind() == ErrorKind::Unavailable && attempt < ATTEMPTS => {
                    tokio::time::sleep(BACKOFF * 2u32.pow(attempt - 1)).await;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    async fn answer<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T> {
        let response = request.send().await.map_err(|e| match self.stranger {
            Some(what) if has_failed_to_prove(&e) => {
                // How its certificate is wrong says nothing of what to do.
                log::debug!("{}: {e:?}", self.at);
                Error::invalid(format!("{}: {what}", self.at))
            }
            _ => Error::unavailable(format!(
                "no scheduler answers at {}; start one with `pulse serve scheduler`, or set scheduler_host and api_port",
                self.at
            ))
            .with_source(e.without_url()),
        })?;
        let broken =
            |e: reqwest::Error| Error::unavailable(format!("the scheduler at {} broke off", self.at)).with_source(e);
        if response.status().is_success() {
            return response.json().await.map_err(broken);
        }
        let status = response.status();
        let refusal = response.json::<Refusal>().await.unwrap_or_else(|_| Refusal {
            kind: ErrorKind::Unavailable,
            message: format!("the scheduler at {} answered {status}", self.at),
        });
        Err(Error::new(refusal.kind, refusal.message.trim_start_matches("error: ")))
    }
}

/// Whether a handshake of TLS failed, and not the connection.
fn has_failed_to_prove(error: &(dyn std::error::Error + 'static)) -> bool {
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    // Without its bounds of threads, as the others have none.
    let inner = inner.is_some_and(|inner| has_failed_to_prove(inner));
    error.is::<rustls::Error>() || inner || error.source().is_some_and(has_failed_to_prove)
}

fn with_token(settings: &Settings, token: Option<Token>, client: ClientBuilder) -> Result<(String, ClientBuilder)> {
    let (host, port) = (settings.scheduler_host.as_str(), settings.api_port);
    let client = match token {
        Some(token) => {
            not_in_the_clear(settings)?;
            client.default_headers(bearer(&token)?)
        }
        None => client,
    };
    let (scheme, client) = match settings.api_authority.as_str() {
        "" => ("http", client),
        "system" => ("https", client),
        path => ("https", client.add_root_certificate(authority(path)?).tls_built_in_root_certs(false)),
    };
    Ok((format!("{scheme}://{host}:{port}"), client))
}

/// Shows a certificate of role client, and accepts the scheduler's alone, whatever its host is called.
async fn with_certificate(
    settings: &Settings,
    ring: &Keyring,
    client: ClientBuilder,
) -> Result<(String, ClientBuilder)> {
    let (host, port) = (settings.scheduler_host.as_str(), settings.api_port);
    let unusable =
        |e: reqwest::Error| Error::invalid("`cluster_certificates`: a certificate cannot be used").with_source(e);
    let keys = ring.keys();
    let identity = reqwest::Identity::from_pem(keys.pem().as_bytes()).map_err(unusable)?;
    let authorities = reqwest::Certificate::from_pem_bundle(keys.trusted().as_bytes()).map_err(unusable)?;
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|e| {
            Error::unavailable(format!("the scheduler's host `{host}` is not known; check `scheduler_host`"))
                .with_source(e)
        })?
        .collect();
    let name = Role::Scheduler.host();
    let client = client.identity(identity).tls_built_in_root_certs(false).resolve_to_addrs(name, &addresses);
    let client = authorities.into_iter().fold(client, ClientBuilder::add_root_certificate);
    Ok((format!("https://{name}:{port}"), client))
}

/// # Errors
/// `Invalid` when the token would pass where others can read it.
fn not_in_the_clear(settings: &Settings) -> Result<()> {
    let host = settings.scheduler_host.as_str();
    if !settings.api_authority.is_empty() || settings.insecure_api_token_in_the_clear == "true" {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the token would be sent to {host} over plain HTTP, where the network reads it: let the scheduler speak TLS \
         (`api_certificate`) and set `api_authority` here; or set `insecure_api_token_in_the_clear = \"true\"`"
    )))
}

fn absolute(path: &str, here: &Path) -> Result<String> {
    let absolute = folder_url(path, here)?.to_file_path();
    let text = absolute.ok().and_then(|path| path.to_str().map(str::to_owned));
    text.ok_or_else(|| Error::invalid(format!("`{path}` has no path in UTF-8")))
}

fn authority(path: &str) -> Result<reqwest::Certificate> {
    let unusable =
        |error: String| Error::invalid(format!("`api_authority` {path}: {error}; give a PEM file, or `system`"));
    let text = std::fs::read(path).map_err(|e| unusable(e.to_string()))?;
    reqwest::Certificate::from_pem(&text).map_err(|e| unusable(e.to_string()))
}

fn bearer(token: &Token) -> Result<HeaderMap> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
        .map_err(|e| Error::internal("a token is printable").with_source(e))?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
}
