//! Jobs as steps of EMR: `pulse submit --wait` on the primary node, with EMR's log.

use std::time::Duration;

use aws_sdk_emr::error::ProvideErrorMetadata as _;
use aws_sdk_emr::types::{ActionOnFailure, HadoopJarStepConfig, Step, StepConfig, StepState};
use pulse_core::{Error, Result};

use super::cluster::Clusters;
use super::spec::StepSpec;
use super::state::{ended, state_of};
use crate::error::from_sdk;

const LOOK_FIRST: Duration = Duration::from_millis(500);
const LOOK_LAST: Duration = Duration::from_secs(10);
/// EMR's limit for the total length of a step's arguments.
const ARGUMENTS_LIMIT: usize = 10_240;

/// A step to add.
#[derive(Debug, Clone)]
pub struct StepRequest<'a> {
    pub name: String,
    pub spec: &'a StepSpec,
    /// The project's URL and the arguments of pulse.
    pub arguments: Vec<String>,
}

#[derive(Debug)]
pub enum StepOutcome {
    Completed,
    /// The reason, and the location of its log.
    Failed(Error),
    Cancelled(Error),
}

/// Steps of one cluster.
#[derive(Debug, Clone)]
pub struct Steps {
    clusters: Clusters,
    cluster: String,
}

impl Steps {
    pub fn new(clusters: Clusters, cluster: String) -> Self {
        Self { clusters, cluster }
    }

    /// Adds a step and returns its id.
    ///
    /// # Errors
    /// `Unavailable` when the cluster is ending or has ended, `Invalid` when it is unknown or the step is too long.
    pub async fn add(&self, request: StepRequest<'_>) -> Result<String> {
        let arguments: Vec<String> = request.spec.prefix.iter().cloned().chain(request.arguments).collect();
        let length: usize = arguments.iter().map(String::len).sum();
        if length > ARGUMENTS_LIMIT {
            return Err(Error::invalid(format!(
                "the arguments of a step may have {ARGUMENTS_LIMIT} characters, these have {length}: name fewer jobs, or --all"
            )));
        }
        self.refuse_ended().await?;
        let jar = HadoopJarStepConfig::builder().jar(&request.spec.jar).set_args(Some(arguments)).build();
        let step = StepConfig::builder()
            .name(request.name)
            .action_on_failure(ActionOnFailure::Continue)
            .hadoop_jar_step(jar)
            .build();
        let sent = self.clusters.client.add_job_flow_steps().job_flow_id(&self.cluster).steps(step).send().await;
        match sent {
            Ok(answer) => answer.step_ids.and_then(|ids| ids.into_iter().next()).ok_or_else(|| {
                Error::unavailable(format!(
                    "cluster {}: EMR told no step; look with `pulse cluster status`",
                    self.cluster
                ))
            }),
            Err(e) => {
                // It may have begun to terminate since the check.
                if e.code() == Some("ValidationException") {
                    self.refuse_ended().await?;
                }
                let doing = format!("add a step to cluster {}", self.cluster);
                Err(from_sdk(&doing, "elasticmapreduce:AddJobFlowSteps", e))
            }
        }
    }

    async fn refuse_ended(&self) -> Result<()> {
        let cluster = self.clusters.describe(&self.cluster).await?;
        match state_of(&cluster).starts_with("TERMINAT") {
            true => Err(ended(&self.cluster, &cluster)),
            false => Ok(()),
        }
    }

    /// Waits for a step to end. `tell` is called with each new state. Dropping the future stops only the waiting.
    ///
    /// # Errors
    /// By kind, when the call to EMR fails.
    pub async fn follow(&self, step: &str, tell: impl Fn(&str)) -> Result<StepOutcome> {
        let mut told = String::new();
        let mut look = LOOK_FIRST;
        loop {
            let found = self.describe(step).await?;
            let state = found.status().and_then(|status| status.state());
            let name = state.map_or("", StepState::as_str);
            if name != told {
                tell(name);
                name.clone_into(&mut told);
            }
            match state {
                Some(StepState::Completed) => return Ok(StepOutcome::Completed),
                Some(StepState::Failed | StepState::Interrupted) => {
                    return Ok(StepOutcome::Failed(Error::data(self.why(step, &found, "failed").await)));
                }
                Some(StepState::Cancelled) => {
                    return Ok(StepOutcome::Cancelled(Error::cancelled(self.why(step, &found, "was cancelled").await)));
                }
                _ => {}
            }
            tokio::time::sleep(look).await;
            look = (look * 3 / 2).min(LOOK_LAST);
        }
    }

    async fn describe(&self, step: &str) -> Result<Step> {
        let request = self.clusters.client.describe_step().cluster_id(&self.cluster).step_id(step);
        let doing = format!("look at step {step} of cluster {}", self.cluster);
        let answer = request.send().await.map_err(|e| from_sdk(&doing, "elasticmapreduce:DescribeStep", e))?;
        answer.step.ok_or_else(|| Error::unavailable(format!("{doing}: EMR told nothing; try again")))
    }

    /// EMR's reason, and the location of the log.
    async fn why(&self, step: &str, found: &Step, what: &str) -> String {
        let status = found.status();
        let failure = status.and_then(|status| status.failure_details());
        let reason = failure
            .and_then(|failure| failure.message().or(failure.reason()))
            .or_else(|| status.and_then(|status| status.state_change_reason()).and_then(|reason| reason.message()));
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        let log = match failure.and_then(|failure| failure.log_file()) {
            Some(file) => file.to_owned(),
            None => match self.clusters.describe(&self.cluster).await {
                Ok(cluster) => match cluster.log_uri() {
                    Some(uri) => format!("{}/{}/steps/{step}/stderr.gz", uri.trim_end_matches('/'), self.cluster),
                    None => String::new(),
                },
                Err(_) => String::new(),
            },
        };
        let log =
            if log.is_empty() { String::new() } else { format!("; its log is {log}, a few minutes after its end") };
        format!("step {step} of cluster {} {what}{reason}{log}; `pulse runs list` tells of its runs", self.cluster)
    }
}
