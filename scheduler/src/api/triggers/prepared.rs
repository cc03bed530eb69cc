//! What a driver needs to drive a trigger: from a request, or from the ledger.

use std::collections::BTreeMap;

use chrono::Utc;
use pulse_core::decide::Asked;
use pulse_core::graph::Graph;
use pulse_core::name::TableName;
use pulse_core::queue::QueueName;
use pulse_core::run::{NotRunJobs, RunError, RunState, TriggerId};
use pulse_core::trigger::{RunLimits, TriggerExit};
use pulse_core::{Error, ErrorKind, Result};
use pulse_engine::table::Lake;

use super::super::SubmitRequest;
use super::{Api, asked};
use crate::alerts::Alerts;
use crate::driver::{DriveOptions, Placement};
use crate::ledger::{LeaseKeeper, Origin, RunStore, SubmissionRecord};
/// What becomes of a trigger whose turn it is.
pub(super) enum Taken {
    Here(Box<Prepared>),
    /// When the suspect that is driven has ended.
    Later(QueueName),
    Elsewhere,
}

/// All that a driver needs.
pub(super) struct Prepared {
    pub(super) placement: Placement,
    pub(super) graph: Graph,
    pub(super) not_run: NotRunJobs,
    pub(super) asked: Asked,
    pub(super) options: DriveOptions,
    /// Of jobs that set limits themselves.
    pub(super) limits: BTreeMap<TableName, RunLimits>,
    pub(super) alerts: Alerts,
    pub(super) queue: QueueName,
}

impl Api {
    /// Where a trigger waits that another process took in: `default` if its submission cannot be read, or names a queue that is gone.
    pub(super) async fn queue_of(&self, id: &TriggerId, ledger: &RunStore) -> QueueName {
        if !self.queues.has_several() {
            return QueueName::default();
        }
        match ledger.submission(id).await {
            Ok(Some(of)) if self.queues.check(&of.request.queue).is_ok() => of.request.queue,
            Ok(Some(of)) => {
                log::warn!("trigger {id} waits in the queue `default`: there is no `{}` any more", of.request.queue);
                QueueName::default()
            }
            Ok(None) | Err(_) => QueueName::default(),
        }
    }

    /// What a driver of the trigger needs, if it is driven here.
    pub(super) async fn take_up_one(&self, id: &TriggerId, ledger: &RunStore) -> Result<Taken> {
        if ledger.is_driven(id, Utc::now(), self.settings.lease()).await? {
            return Ok(Taken::Elsewhere);
        }
        // A mark without a submission: its maker has not come that far, or never will.
        let Some(submission) = ledger.submission(id).await? else { return Ok(Taken::Elsewhere) };
        if submission.trigger != *id {
            let error = Error::invalid(format!("{id} holds the submission of another trigger"));
            return self.refuse(id, ledger, &error).await.map(|()| Taken::Elsewhere);
        }
        if let Err(error) = ledger.check_seal(&submission) {
            return self.refuse(id, ledger, &error).await.map(|()| Taken::Elsewhere);
        }
        // A machine that is lost takes many drivers with it, and none is to blame: only a second death makes a suspect.
        let is_suspect = ledger.deaths(id).await? > 1;
        // One after the other, so that the next death says which of them it is.
        if is_suspect && !self.lock().suspects.is_empty() {
            return Ok(Taken::Later(submission.request.queue));
        }
        let SubmissionRecord { request, limits, .. } = submission;
        let prepared = async {
            self.allowed.check_url(&request.lake)?;
            let lake = self.places.lake(&request.lake).await?;
            self.prepare(request, &lake).await
        };
        match prepared.await {
            Ok((_, prepared)) => {
                if is_suspect {
                    self.lock().suspects.insert(id.clone());
                }
                let options = DriveOptions::new(&limits.within(&self.settings));
                Ok(Taken::Here(Box::new(Prepared { options, ..prepared })))
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => Err(error),
            Err(error) => self.refuse(id, ledger, &error).await.map(|()| Taken::Elsewhere),
        }
    }

    /// Fails a trigger that was accepted once and that this build cannot drive, so that it is not tried forever.
    pub(super) async fn refuse(&self, id: &TriggerId, ledger: &RunStore, error: &Error) -> Result<()> {
        let options = self.settings.lease();
        let Some(lease) = LeaseKeeper::claim(ledger, id, Origin::Submitted, options).await? else { return Ok(()) };
        log::error!("trigger {id}: {error}");
        let now = Utc::now();
        for mut record in ledger.records(id).await?.into_iter().filter(|record| !record.state.is_final()) {
            record.state = RunState::Failed;
            record.ended = Some(now.timestamp_millis());
            record.error = Some(RunError::from(error));
            let Some(epoch) = lease.epoch().await else { return Ok(()) };
            ledger.put(&record, epoch).await?;
        }
        match lease.epoch().await {
            Some(epoch) => ledger.end(id, epoch, TriggerExit::RunFailed.code(), now).await,
            None => Ok(()),
        }
    }

    /// Reads the project on a thread of its own: a large one takes its time, and meanwhile others are answered.
    pub(super) async fn prepare(&self, request: SubmitRequest, lake: &Lake) -> Result<(SubmitRequest, Prepared)> {
        self.allowed.check_lake(lake)?;
        let allowed = self.allowed.clone();
        let reading = move || {
            let (project, graph) = asked(&request)?;
            allowed.check_sources(&project, graph.order())?;
            Ok::<_, Error>((request, project, graph))
        };
        let read = match self.work.handle() {
            Some(work) => work.spawn_blocking(reading),
            None => tokio::task::spawn_blocking(reading),
        };
        let (request, project, graph) =
            read.await.map_err(|e| Error::internal("a project is read to its end").with_source(e))??;
        let alerts = Alerts::of(&project);
        let limits = project.run_limits(graph.order());
        let placement = self.places.placement(project, lake, request.on)?;
        let options = DriveOptions::new(&self.settings);
        let not_run = request.not_run.clone();
        let queue = request.queue.clone();
        let asked = request.asked;
        let prepared = Prepared { placement, graph, not_run, asked, options, limits, alerts, queue };
        Ok((request, prepared))
    }
}
