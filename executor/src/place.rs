//! An executor's ports, address and folder.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_engine::error::from_io;
use pulse_engine::scratch::Scratch;

/// Bound, so that nobody else can take the ports before the servers begin.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) flight: TcpListener,
    pub(crate) grpc: TcpListener,
}

#[derive(Debug)]
pub(crate) struct Place {
    /// The address by which others reach this process.
    pub(crate) host: IpAddr,
    pub(crate) port: u16,
    pub(crate) grpc_port: u16,
    /// Listeners of these ports, until the servers take them.
    listeners: Option<Listeners>,
    /// For shuffle files of this process only.
    folder: Scratch,
}

impl Place {
    /// # Errors
    /// `Invalid` when a port is in use or the folder cannot be created, `Unavailable` when the scheduler's name cannot
    /// be resolved.
    pub(crate) fn find(settings: &Settings) -> Result<Self> {
        let host = own_address(&settings.scheduler_host, settings.scheduler_port)?;
        // Both are bound until both are known, so that they differ.
        let flight = bind(host, settings.executor_port, "executor_port")?;
        let grpc = bind(host, settings.executor_grpc_port, "executor_grpc_port")?;
        let (port, grpc_port) = (port_of(&flight)?, port_of(&grpc)?);
        let parent = match settings.work_dir.as_str() {
            "" => std::env::temp_dir(),
            folder => PathBuf::from(folder),
        };
        let folder = Scratch::make(&parent, "pulse-shuffle-")
            .map_err(|e| from_io(&format!("make a folder in {} (`work_dir`)", parent.display()), &e))?;
        Ok(Self { host, port, grpc_port, listeners: Some(Listeners { flight, grpc }), folder })
    }

    /// None when they were taken before.
    pub(crate) fn listeners(&mut self) -> Option<Listeners> {
        self.listeners.take()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Deletes folders that no task has written to for `age`, repeatedly: covers jobs whose end the scheduler could not
    /// report.
    pub(crate) async fn remove_older(&self, age: Duration, every: Duration) -> Infallible {
        loop {
            tokio::time::sleep(every.min(age)).await;
            let Ok(jobs) = std::fs::read_dir(self.folder()) else { continue };
            for job in jobs.filter_map(std::result::Result::ok).map(|entry| entry.path()) {
                if newest(&job).and_then(|time| time.elapsed().ok()).is_some_and(|untouched| untouched > age)
                    && let Err(error) = wipe(&job)
                {
                    log::warn!("{error}");
                }
            }
        }
    }
}

/// The newest modification time at or below `path`.
fn newest(path: &Path) -> Option<SystemTime> {
    let own = std::fs::metadata(path).ok()?.modified().ok();
    let below = std::fs::read_dir(path).into_iter().flatten().filter_map(std::result::Result::ok);
    below.filter_map(|entry| newest(&entry.path())).chain(own).max()
}

/// Deletes a folder with its contents, if it exists.
pub(crate) fn wipe(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(from_io(&format!("empty the folder {} (`work_dir`)", folder.display()), &error))
        }
        _ => Ok(()),
    }
}

/// The local address used to reach the scheduler; sends no packet.
fn own_address(scheduler_host: &str, scheduler_port: u16) -> Result<IpAddr> {
    let unknown = |e: std::io::Error| {
        Error::unavailable(format!("the scheduler's host `{scheduler_host}` is not known; check `scheduler_host`"))
            .with_source(e)
    };
    let mut addresses = (scheduler_host, scheduler_port.max(1)).to_socket_addrs().map_err(unknown)?;
    let scheduler = addresses
        .find(SocketAddr::is_ipv4)
        .ok_or_else(|| Error::invalid(format!("`scheduler_host` `{scheduler_host}` has no IPv4 address")))?;
    if scheduler.ip().is_loopback() {
        return Ok(scheduler.ip());
    }
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(unknown)?;
    socket.connect(scheduler).map_err(unknown)?;
    Ok(socket.local_addr().map_err(unknown)?.ip())
}

fn bind(host: IpAddr, port: u16, setting: &str) -> Result<TcpListener> {
    TcpListener::bind((host, port))
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|e| Error::invalid(format!("port {port} (`{setting}`) cannot be used; choose another")).with_source(e))
}

fn port_of(listener: &TcpListener) -> Result<u16> {
    listener.local_addr().map(|address| address.port()).map_err(|e| from_io("look up a port", &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(work_dir: &Path) -> Settings {
        Settings {
            work_dir: work_dir.display().to_string(),
            executor_port: 0,
            executor_grpc_port: 0,
            ..Settings::default()
        }
    }

    #[test]
    fn free_ports_differ_and_stay_on_this_machine() {
        let parent = tempfile::tempdir().unwrap();
        let mut place = Place::find(&settings(parent.path())).unwrap();
        assert_ne!(place.port, place.grpc_port);
        let Listeners { flight, grpc } = place.listeners().unwrap();
        for (listener, port) in [(flight, place.port), (grpc, place.grpc_port)] {
            assert_eq!(listener.local_addr().unwrap(), SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        }
        assert_eq!(place.folder().parent(), Some(parent.path()));
    }

    #[tokio::test]
    async fn what_nobody_writes_to_goes_and_what_is_new_stays() {
        let parent = tempfile::tempdir().unwrap();
        let place = Place::find(&settings(parent.path())).unwrap();
        let (old, new) = (place.folder().join("old/1"), place.folder().join("new/1"));
        std::fs::create_dir_all(&old).unwrap();
        std::fs::create_dir_all(&new).unwrap();
        let hour = SystemTime::now() - Duration::from_secs(3600);
        for path in [old.as_path(), old.parent().unwrap()] {
            std::fs::File::open(path).unwrap().set_modified(hour).unwrap();
        }
        std::fs::File::open(new.parent().unwrap()).unwrap().set_modified(hour).unwrap();
        let cleaning = place.remove_older(Duration::from_secs(600), Duration::from_millis(5));
        assert!(tokio::time::timeout(Duration::from_millis(200), cleaning).await.is_err());
        assert!(!old.parent().unwrap().exists());
        assert!(new.exists(), "a file below was written later");
    }

    #[test]
    fn a_taken_port_is_named() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = Settings { executor_port: port_of(&held).unwrap(), ..Settings::default() };
        let error = Place::find(&taken).unwrap_err();
        assert!(error.message().contains("executor_port"), "{}", error.message());
    }
}
