//! The driver's API: hand a project in, follow its runs, stop them. JSON over HTTP; the client may leave after each call, and
//! the scheduler may be another process at the next.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `POST /runs` | [`SubmitRequest`] | [`SubmitResponse`] |
//! | `GET /runs/{trigger}` | | [`FollowResponse`] |
//! | `POST /runs/{trigger}/cancel` | | nothing |
//! | `GET /queues` | | [`QueuesResponse`] |
//! | `GET /healthz` | | number of executors |
//! | `GET /metrics` | | figures in Prometheus' text format |
//!
//! A refusal is [`Refusal`] with status 400 for what the caller can mend, 404 for an unknown trigger, 503 for what may be
//! over soon, with `Retry-After`, 500 else.

mod allowed;
mod audit;
mod auth;
mod measured;
mod queue;
mod rates;
mod serve;
mod triggers;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use pulse_core::decide::Asked;
use pulse_core::name::TableName;
use pulse_core::project::{Project, ProjectFiles};
use pulse_core::queue::QueueName;
use pulse_core::run::{NotRunJobs, RunRecord, TriggerId};
use pulse_core::{Error, ErrorKind, Result};
use pulse_engine::table::Lake;
use serde::{Deserialize, Serialize};

use audit::About;

use crate::driver::Placement;
use crate::ledger::Key;
use crate::scaler::Load;

pub use audit::{Audit, audited};
pub use auth::{Asks, Token, protect};
pub use measured::measured;
pub use serve::serve;
pub use triggers::Api;
#[cfg(test)]
pub(crate) use triggers::asked;

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
    /// The same key again is the same trigger, so that a client may ask again when no answer came.
    pub key: Key,
    pub files: ProjectFiles,
    pub variables: BTreeMap<String, String>,
    /// URL of the lake.
    pub lake: String,
    /// All when empty.
    pub jobs: Vec<TableName>,
    /// Further jobs, which the client knows cannot run: they are recorded.
    #[serde(default, skip_serializing_if = "NotRunJobs::is_empty")]
    pub not_run: NotRunJobs,
    #[serde(flatten)]
    pub asked: Asked,
    pub on: On,
    #[serde(default, skip_serializing_if = "QueueName::is_default")]
    pub queue: QueueName,
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

/// What waits and runs on a scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuesResponse {
    /// Runs at once of all queues.
    pub runs_limit: usize,
    /// Triggers at once of all queues.
    pub triggers_limit: usize,
    pub queues: Vec<QueueReport>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueReport {
    pub name: QueueName,
    pub weight: u32,
    pub priority: u8,
    pub runs_limit: Option<usize>,
    pub runs: usize,
    pub triggers: usize,
    /// Triggers that wait to be driven.
    pub waiting: usize,
    /// The first of them to be submitted.
    pub oldest: Option<TriggerId>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refusal {
    pub kind: ErrorKind,
    pub message: String,
}

/// What the composition root knows how to make.
#[async_trait]
pub trait Places: Send + Sync {
    /// # Errors
    /// `Invalid` for what is no URL of a lake, otherwise by the kind of the store's error.
    async fn lake(&self, url: &str) -> Result<Lake>;

    /// The place where runs happen.
    ///
    /// # Errors
    /// `Invalid` or `Exhausted` when a session cannot be set up.
    fn placement(&self, project: Project, lake: &Lake, on: On) -> Result<Placement>;

    fn executors(&self) -> usize;

    /// Tasks and slots of the cluster.
    async fn load(&self) -> Load;
}

impl Api {
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/runs", post(submit))
            .route("/runs/{trigger}", get(follow))
            .route("/runs/{trigger}/cancel", post(cancel))
            .route("/queues", get(queues))
            .route("/healthz", get(health))
            .route("/metrics", get(measured::scrape))
            .with_state(Arc::clone(self))
    }
}

/// Seconds after which what is over soon may be over.
const RETRY_AFTER_SECONDS: &str = "5";

type Refused = (StatusCode, HeaderMap, Json<Refusal>);
type Answer<T> = std::result::Result<Json<T>, Refused>;

async fn submit(
    State(api): State<Arc<Api>>,
    Json(request): Json<SubmitRequest>,
) -> (Extension<About>, Answer<SubmitResponse>) {
    let lake = request.lake.clone();
    let answer = api.submit(request).await;
    let about = match &answer {
        Ok(trigger) => format!("{trigger} on {lake}"),
        // What was refused may hold what should not be written anywhere.
        Err(_) => "nothing was submitted".to_owned(),
    };
    let answer = answer.map(|trigger| Json(SubmitResponse { trigger })).map_err(|error| refusal(&error));
    (Extension(About(about)), answer)
}

async fn follow(State(api): State<Arc<Api>>, Path(trigger): Path<TriggerId>) -> Answer<FollowResponse> {
    let ledger = api.ledger_of(&trigger).await.map_err(|error| refusal(&error))?.ok_or_else(|| unknown(&trigger))?;
    let answer = async {
        // First the end: what is recorded after it was looked for is not missed.
        let exit = ledger.exit(&trigger).await?;
        Ok(FollowResponse { records: ledger.records(&trigger).await?, exit })
    };
    answer.await.map(Json).map_err(|error| refusal(&error))
}

async fn cancel(State(api): State<Arc<Api>>, Path(trigger): Path<TriggerId>) -> Answer<()> {
    let ledger = api.ledger_of(&trigger).await.map_err(|error| refusal(&error))?.ok_or_else(|| unknown(&trigger))?;
    api.cancel(&trigger, &ledger).await.map(Json).map_err(|error| refusal(&error))
}

async fn queues(State(api): State<Arc<Api>>) -> Json<QueuesResponse> {
    Json(api.queues())
}

async fn health(State(api): State<Arc<Api>>) -> Json<usize> {
    Json(api.executors())
}

fn refusal(error: &Error) -> Refused {
    let status = match error.kind() {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Conflict | ErrorKind::Data | ErrorKind::Exhausted | ErrorKind::Cancelled | ErrorKind::Internal => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    let mut headers = HeaderMap::new();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    (status, headers, Json(Refusal { kind: error.kind(), message: error.render().trim_end().to_owned() }))
}

fn unknown(trigger: &TriggerId) -> Refused {
    let message = format!(
        "no lake of this scheduler knows {trigger}; `pulse --lake .. runs show {trigger}` reads any lake's ledger"
    );
    (StatusCode::NOT_FOUND, HeaderMap::new(), Json(Refusal { kind: ErrorKind::Invalid, message }))
}
