//! Tells EMR that the cluster works. EMR ends clusters that it takes for idle, and of work it sees only YARN's, HDFS's, its
//! own steps' and the age of one file.

use std::fs::OpenOptions;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Well within the minute in which EMR looks.
const TOUCH_EVERY: Duration = Duration::from_secs(10);
/// The file's folder appears when EMR has set the machine up, after our own start.
const SET_UP: Duration = Duration::from_secs(15 * 60);

/// Touches a file now and again, for ever. `was_busy` tells whether there was work since it was last asked.
pub async fn touch_while_busy(file: PathBuf, was_busy: impl Fn() -> bool) {
    let began = Instant::now();
    loop {
        if was_busy() {
            match touch(&file) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound && began.elapsed() < SET_UP => {
                    log::info!("{} cannot be there yet: {error}", file.display());
                }
                // A metric filter counts these lines.
                Err(error) => log::error!(
                    "heartbeat failed: {} (`busy_file`): {error}; EMR will take this cluster for idle and end it",
                    file.display()
                ),
            }
        }
        tokio::time::sleep(TOUCH_EVERY).await;
    }
}

fn touch(file: &Path) -> Result<(), Error> {
    let file = OpenOptions::new().create(true).append(true).open(file)?;
    file.set_modified(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_file_grows_young_only_while_there_is_work() {
        let folder = std::env::temp_dir().join(format!("pulse-busy-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("isbusy");
        let past = SystemTime::now() - Duration::from_secs(3600);
        OpenOptions::new().create(true).append(true).open(&file).unwrap().set_modified(past).unwrap();
        let age = || file.metadata().unwrap().modified().unwrap().elapsed().unwrap();
        let look =
            |busy: bool| tokio::time::timeout(Duration::from_millis(100), touch_while_busy(file.clone(), move || busy));
        assert!(look(false).await.is_err());
        assert!(age() > Duration::from_secs(3000));
        assert!(look(true).await.is_err());
        assert!(age() < Duration::from_secs(60));
        std::fs::remove_dir_all(&folder).unwrap();
        // Without its folder it goes on looking.
        assert!(look(true).await.is_err());
        assert!(!file.exists());
    }
}
