//! The driver's API: hand a project in, follow its runs, stop them. JSON over HTTP; the client may leave after each call.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `POST /runs` | [`SubmitRequest`] | [`SubmitResponse`] |
//! | `GET /runs/{trigger}` | | [`FollowResponse`] |
//! | `POST /runs/{trigger}/cancel` | | nothing |
//! | `GET /healthz` | | number of executors |
//!
//! A refusal is [`Refusal`] with status 400 for what the caller can mend, 404 for an unknown trigger, 500 else.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::Utc;
use pulse_core::graph::Graph;
use pulse_core::interval::Interval;
use pulse_core::name::TableName;
use pulse_core::project::{Project, ProjectFiles};
use pulse_core::run::{RunRecord, TriggerId};
use pulse_core::{Error, ErrorKind, Result};
use pulse_engine::table::Lake;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::driver::{Placement, Submission, drive};
use crate::ledger::RunStore;

/// Where the runs of a submission are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// By bytes to read: `local_limit_mib` decides.
    Auto,
    /// In the driver's process.
    Local,
    /// On executors.
    Cluster,
}

/// A project as it lies on the client's disk, and what of it to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubmitRequest {
    pub files: ProjectFiles,
    pub variables: BTreeMap<String, String>,
    /// URL of the lake.
    pub lake: String,
    /// All when empty.
    pub jobs: Vec<TableName>,
    pub interval: Option<Interval>,
    pub on: On,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubmitResponse {
    pub trigger: TriggerId,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FollowResponse {
    pub records: Vec<RunRecord>,
    /// The exit code that the trigger ended with; none while it runs.
    pub exit: Option<u8>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refusal {
    pub kind: ErrorKind,
    pub message: String,
}

/// Makes the place where runs happen, from a project, a lake's URL and a wish. The composition root knows how.
pub type MakePlacement = Arc<dyn Fn(Project, &str, On) -> Result<(Placement, Lake)> + Send + Sync>;

/// What the API needs to start triggers.
pub struct Api {
    pub make: MakePlacement,
    pub executors: Arc<dyn Fn() -> usize + Send + Sync>,
    pub concurrent_runs: NonZeroUsize,
    pub run_timeout: Duration,
    triggers: Mutex<HashMap<TriggerId, Known>>,
}

/// A trigger that this process drives or drove.
struct Known {
    ledger: RunStore,
    cancel: Option<oneshot::Sender<()>>,
    exit: Option<u8>,
}

impl Api {
    pub fn new(
        make: MakePlacement,
        executors: Arc<dyn Fn() -> usize + Send + Sync>,
        concurrent_runs: NonZeroUsize,
        run_timeout: Duration,
    ) -> Arc<Self> {
        Arc::new(Self { make, executors, concurrent_runs, run_timeout, triggers: Mutex::default() })
    }

    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/runs", post(submit))
            .route("/runs/{trigger}", get(follow))
            .route("/runs/{trigger}/cancel", post(cancel))
            .route("/healthz", get(health))
            .with_state(Arc::clone(self))
    }

    /// Starts a trigger; it runs on when whoever asked is gone.
    fn start(self: &Arc<Self>, request: SubmitRequest) -> Result<TriggerId> {
        let project = Project::parse(&request.files)?.with_variables(&request.variables)?;
        let graph = Graph::new(&project)?;
        let graph = if request.jobs.is_empty() { graph } else { graph.select(&request.jobs)? };
        let (placement, lake) = (self.make)(project, &request.lake, request.on)?;
        let ledger = RunStore::new(&lake)?;
        let trigger = TriggerId::new(Utc::now(), rand::random());
        let submission = Submission {
            trigger: trigger.clone(),
            graph,
            interval: request.interval,
            concurrent_runs: self.concurrent_runs,
            run_timeout: self.run_timeout,
        };
        let (cancel, cancelled) = oneshot::channel();
        self.known().insert(trigger.clone(), Known { ledger, cancel: Some(cancel), exit: None });
        let (api, id) = (Arc::clone(self), trigger.clone());
        tokio::spawn(async move {
            let (notices, _) = tokio::sync::mpsc::unbounded_channel();
            let stop = async {
                // A sender that is dropped asks for nothing.
                if cancelled.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let exit = match drive(placement, submission, notices, stop).await {
                Ok(exit) => exit.code(),
                Err(error) => {
                    log::error!("trigger {id}: {error}");
                    1
                }
            };
            if let Some(known) = api.known().get_mut(&id) {
                known.exit = Some(exit);
            }
        });
        Ok(trigger)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<TriggerId, Known>> {
        self.triggers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Answer<T> = std::result::Result<Json<T>, (StatusCode, Json<Refusal>)>;

async fn submit(State(api): State<Arc<Api>>, Json(request): Json<SubmitRequest>) -> Answer<SubmitResponse> {
    api.start(request).map(|trigger| Json(SubmitResponse { trigger })).map_err(|error| refusal(&error))
}

async fn follow(State(api): State<Arc<Api>>, Path(trigger): Path<TriggerId>) -> Answer<FollowResponse> {
    let known = api.known().get(&trigger).map(|known| (known.ledger.clone(), known.exit));
    let Some((ledger, exit)) = known else { return Err(unknown(&trigger)) };
    let records = ledger.list(Some(&trigger)).await.map_err(|error| refusal(&error))?;
    Ok(Json(FollowResponse { records, exit }))
}

async fn cancel(State(api): State<Arc<Api>>, Path(trigger): Path<TriggerId>) -> Answer<()> {
    let mut known = api.known();
    let Some(known) = known.get_mut(&trigger) else { return Err(unknown(&trigger)) };
    if let Some(cancel) = known.cancel.take() {
        // It may have ended in this moment.
        let _ = cancel.send(());
    }
    Ok(Json(()))
}

async fn health(State(api): State<Arc<Api>>) -> Json<usize> {
    Json((api.executors)())
}

fn refusal(error: &Error) -> (StatusCode, Json<Refusal>) {
    let status = match error.kind() {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, Json(Refusal { kind: error.kind(), message: error.render().trim_end().to_owned() }))
}

fn unknown(trigger: &TriggerId) -> (StatusCode, Json<Refusal>) {
    let message = format!("this scheduler does not drive {trigger}; `pulse runs show {trigger}` reads the ledger");
    (StatusCode::NOT_FOUND, Json(Refusal { kind: ErrorKind::Invalid, message }))
}
