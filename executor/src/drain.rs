//! Lets an executor leave without disturbing running work.

use std::path::Path;
use std::time::{Duration, Instant};

use ballista_executor::executor::Executor;

/// Polling interval for the remaining work.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A task that was just assigned is not running yet: this many polls in a row must find nothing.
const QUIET_LOOKS: u32 = 3;
/// Polling interval for the interruption notice, which comes two minutes ahead.
const NOTICE_EVERY: Duration = Duration::from_secs(5);
const NOTICE_TIMEOUT: Duration = Duration::from_secs(2);
/// Lifetime of a metadata token; each poll requests its own.
const TOKEN_SECONDS: &str = "60";

/// Waits, at most for `limit`, until no task runs and `folder` has no shuffle files: the scheduler has them deleted
/// when their job ends.
pub(crate) async fn drain(executor: &Executor, folder: &Path, limit: Duration) {
    let began = Instant::now();
    let mut quiet = 0;
    while began.elapsed() < limit {
        quiet = if executor.active_task_count() == 0 && is_empty(folder) { quiet + 1 } else { 0 };
        if quiet == QUIET_LOOKS {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    log::warn!(
        "{} tasks run and shuffles may still be read after {} s (`drain_timeout_s`); they are made again elsewhere",
        executor.active_task_count(),
        limit.as_secs()
    );
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// Returns when the instance metadata at `root` announces an interruption; never if `root` is empty.
pub(crate) async fn notice(root: &str) {
    let client = reqwest::Client::builder().timeout(NOTICE_TIMEOUT).no_proxy().build();
    let (false, Ok(client)) = (root.is_empty(), client) else { return std::future::pending().await };
    loop {
        match taken_away(&client, root).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => log::debug!("the instance's metadata: {error}"),
        }
        tokio::time::sleep(NOTICE_EVERY).await;
    }
}

/// 404 while there is no notice.
async fn taken_away(client: &reqwest::Client, root: &str) -> reqwest::Result<bool> {
    let root = root.trim_end_matches('/');
    let token = client
        .put(format!("{root}/latest/api/token"))
        .header("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS)
        .send()
        .await?
        .error_for_status()?
        .text()
        .await?;
    let notice = client
        .get(format!("{root}/latest/meta-data/spot/instance-action"))
        .header("X-aws-ec2-metadata-token", token)
        .send()
        .await?;
    Ok(notice.status().is_success())
}
