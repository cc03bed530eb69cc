//! Interprets EMR's description of a cluster's state.

use aws_sdk_emr::types::{Cluster, ClusterState, ClusterStateChangeReasonCode};
use pulse_core::Error;

pub(super) fn state_of(cluster: &Cluster) -> String {
    cluster.status().and_then(|status| status.state()).map_or("", ClusterState::as_str).to_owned()
}

/// EMR has no specific code for this, only a general one with EC2's text.
pub(super) fn lacks_machines(cluster: &Cluster) -> bool {
    let reason = cluster.status().and_then(|status| status.state_change_reason());
    let is_general = matches!(
        reason.and_then(|reason| reason.code()),
        Some(
            ClusterStateChangeReasonCode::ValidationError
                | ClusterStateChangeReasonCode::InstanceFailure
                | ClusterStateChangeReasonCode::InternalError
        )
    );
    let message = reason.and_then(|reason| reason.message()).unwrap_or_default().to_lowercase();
    is_general && ["capacity", "availability zone", "spot price"].iter().any(|words| message.contains(words))
}

/// The error for a cluster that no longer accepts work: the reason, and where its logs are.
pub(super) fn ended(id: &str, cluster: &Cluster) -> Error {
    let reason = cluster.status().and_then(|status| status.state_change_reason());
    let code = reason.and_then(|reason| reason.code()).map_or("no code", |code| code.as_str());
    let message = reason.and_then(|reason| reason.message()).unwrap_or("EMR gives no reason");
    let logs = cluster
        .log_uri()
        .map_or_else(String::new, |uri| format!("; its logs are below {}/{id}/", uri.trim_end_matches('/')));
    let remedy = match code {
        "BOOTSTRAP_FAILURE" => {
            "node/*/bootstrap-actions there says which step of the installation failed: a checksum that \
             differs, or a bucket that is out of reach"
        }
        _ => "start another one with `pulse cluster up`",
    };
    Error::unavailable(format!(
        "cluster {id} is {}: {message} ({code}){logs}; {remedy}",
        state_of(cluster).to_lowercase()
    ))
}
