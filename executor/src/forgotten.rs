//! Deletes files of plans that the scheduler does not know, such as those of a scheduler that died, if its successor is
//! idle.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ballista_core::serde::protobuf::GetJobStatusParams;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use tonic::transport::Channel;

use crate::place::wipe;

/// Polling interval. Each poll asks once per plan with local files; there are as many as concurrent runs.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Deletes them as they are found. Deletes nothing while the scheduler does not answer.
pub(crate) async fn remove_forgotten(mut scheduler: SchedulerGrpcClient<Channel>, folder: &Path) -> Infallible {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        for (job, files) in plans(folder) {
            match scheduler.get_job_status(GetJobStatusParams { job_id: job.clone() }).await {
                Ok(answer) if answer.get_ref().status.is_none() => {
                    log::warn!("the scheduler does not know plan {job}: its files are removed");
                    if let Err(error) = wipe(&files) {
                        log::warn!("{error}");
                    }
                }
                Ok(_) => {}
                Err(error) => log::debug!("whether plan {job} still matters is not known: {error}"),
            }
        }
    }
}

/// Each plan has a folder with its name.
fn plans(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect()
}
