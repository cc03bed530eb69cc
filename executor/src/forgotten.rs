//! Files of plans that the scheduler does not know: those of one that died, when the next has nothing to hand out.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ballista_core::serde::protobuf::GetJobStatusParams;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use tonic::transport::Channel;

use crate::place::wipe;

/// From one look to the next. A look asks once for each plan with files here; there are as many as runs at once.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Removes them as they are found. Nothing goes while the scheduler does not answer.
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

/// Each plan has a folder of its name.
fn plans(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect()
}
