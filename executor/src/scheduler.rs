//! The scheduler that this executor registered with: heartbeats, reports of ended tasks, and the secret by which it is known again.

use std::error::Error as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ballista_core::serde::protobuf::executor_status::Status as State;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    ExecutorRegistration, ExecutorStatus, ExecutorStoppedParams, HeartBeatParams, RegisterExecutorParams, TaskStatus,
    UpdateTaskStatusParams,
};
use pulse_engine::cluster::SCHEDULER_KEY;
use tokio::sync::mpsc;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Heartbeats in a row that fail until the scheduler counts as lost.
const FAILED_BEATS: u32 = 5;
/// From one attempt to send a report to the next.
const AGAIN: Duration = Duration::from_millis(200);

pub(crate) struct Scheduler {
    client: SchedulerGrpcClient<Channel>,
    registration: ExecutorRegistration,
    state: Mutex<State>,
    /// Made at each start of a scheduler, and sent with each of its tasks.
    key: Mutex<String>,
}

impl Scheduler {
    pub(crate) fn new(client: SchedulerGrpcClient<Channel>, registration: ExecutorRegistration) -> Self {
        Self { client, registration, state: Mutex::new(State::Active(String::new())), key: Mutex::default() }
    }

    pub(crate) fn executor_id(&self) -> &str {
        &self.registration.id
    }

    pub(crate) fn client(&self) -> SchedulerGrpcClient<Channel> {
        self.client.clone()
    }

    /// # Errors
    /// What the scheduler answers, or that it does not.
    pub(crate) async fn register(&self) -> Result<(), Status> {
        let metadata = Some(self.registration.clone());
        let answer = self.client().register_executor(RegisterExecutorParams { metadata }).await?;
        self.note(answer.metadata());
        match answer.get_ref().success {
            true => Ok(()),
            false => Err(Status::failed_precondition("the scheduler does not take this executor")),
        }
    }

    /// # Errors
    /// When the scheduler does not take it.
    pub(crate) async fn beat(&self) -> Result<(), Status> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let beat = HeartBeatParams {
            executor_id: self.executor_id().to_owned(),
            metrics: Vec::new(),
            status: Some(ExecutorStatus { status: Some(state) }),
            metadata: Some(self.registration.clone()),
        };
        // A scheduler that was started again takes an executor in by its heartbeat.
        self.note(self.client().heart_beat_from_executor(beat).await?.metadata());
        Ok(())
    }

    /// Ends when the scheduler is lost.
    pub(crate) async fn beats(&self, every: Duration) {
        let mut failed = 0;
        loop {
            match self.beat().await {
                Ok(()) => failed = 0,
                Err(error) => {
                    failed += 1;
                    log::warn!("heartbeat {failed} of {FAILED_BEATS} in a row is not taken: {error}");
                    if failed == FAILED_BEATS {
                        return;
                    }
                }
            }
            tokio::time::sleep(every).await;
        }
    }

    /// No new tasks from now on.
    pub(crate) fn leave(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Terminating(String::new());
    }

    /// # Errors
    /// When the scheduler does not take it.
    pub(crate) async fn stopped(&self) -> Result<(), Status> {
        let executor_id = self.executor_id().to_owned();
        let stopped = ExecutorStoppedParams { executor_id, reason: "it was asked to stop".to_owned() };
        self.client().executor_stopped(stopped).await.map(drop)
    }

    /// Whether `key` is the scheduler's own. One that was started since the last heartbeat has another, so it is asked.
    pub(crate) async fn is_known_by(&self, key: &str) -> bool {
        self.has(key) || (self.beat().await.is_ok() && self.has(key))
    }

    fn has(&self, key: &str) -> bool {
        let known = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        !known.is_empty() && known.len() == key.len() && differences(known.as_bytes(), key.as_bytes()) == 0
    }

    pub(crate) fn note(&self, metadata: &MetadataMap) {
        if let Some(key) = metadata.get(SCHEDULER_KEY).and_then(|key| key.to_str().ok()) {
            key.clone_into(&mut self.key.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Sends what comes until it is answered, whatever happens to connections; the scheduler counts each once.
    pub(crate) async fn reports(&self, mut ended: mpsc::UnboundedReceiver<TaskStatus>) {
        while let Some(first) = ended.recv().await {
            let mut task_status = vec![first];
            while let Ok(more) = ended.try_recv() {
                task_status.push(more);
            }
            self.report(UpdateTaskStatusParams { executor_id: self.executor_id().to_owned(), task_status }).await;
        }
    }

    async fn report(&self, report: UpdateTaskStatusParams) {
        loop {
            match self.client().update_task_status(report.clone()).await {
                Ok(_) => return,
                Err(error) if is_unanswered(&error) || error.code() == Code::Cancelled => {
                    log::warn!("the scheduler did not answer a report of ended tasks, which is sent again: {error}");
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => {
                    log::error!("the scheduler does not take a report of ended tasks: {error}");
                    return;
                }
            }
        }
    }
}

/// In the same time for every key.
fn differences(a: &[u8], b: &[u8]) -> u8 {
    a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b))
}

/// What a scheduler answers has no source: there the status itself is what went wrong.
pub(crate) fn is_unanswered(status: &Status) -> bool {
    status.source().is_some()
}

#[cfg(test)]
mod tests;
