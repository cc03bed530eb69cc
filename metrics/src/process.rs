//! What the kernel knows of this process.

use std::fs;

/// `USER_HZ`, in which Linux counts a process's time towards user space on every architecture that is in use.
const TICKS_PER_SECOND: f64 = 100.0;

/// Figures of one look. What the kernel does not say is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) cpu_seconds: Option<f64>,
    /// Since 1970 in UTC.
    pub(crate) start_seconds: Option<f64>,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) threads: Option<u64>,
    pub(crate) open_fds: Option<u64>,
    /// `None` without a limit.
    pub(crate) max_fds: Option<u64>,
}

impl Figures {
    /// Reads `/proc` once.
    pub(crate) fn read() -> Self {
        // One of them is the folder that is being listed.
        let open = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1));
        Self {
            open_fds: open.and_then(|count| u64::try_from(count).ok()),
            ..Self::of(|path| fs::read_to_string(path).ok())
        }
    }

    fn of(read: impl Fn(&str) -> Option<String>) -> Self {
        let status = read("/proc/self/status").unwrap_or_default();
        let stat = read("/proc/self/stat").unwrap_or_default();
        let ticks = |place| field(&stat, place).map(|ticks| ticks / TICKS_PER_SECOND);
        let boot = read("/proc/stat").and_then(|text| number_after(&text, "btime"));
        Self {
            // As proc(5) counts the fields: utime, stime and starttime.
            cpu_seconds: ticks(14).zip(ticks(15)).map(|(user, system)| user + system),
            start_seconds: ticks(22).zip(boot.map(|seconds| seconds as f64)).map(|(since, boot)| boot + since),
            resident_bytes: number_after(&status, "VmRSS:").and_then(|kib| kib.checked_mul(1 << 10)),
            threads: number_after(&status, "Threads:"),
            open_fds: None,
            // The soft limit comes first; `unlimited` is no number.
            max_fds: read("/proc/self/limits").and_then(|text| number_after(&text, "Max open files")),
        }
    }
}

/// The number that follows on the line which begins with `word`.
fn number_after(text: &str, word: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(word))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// A field of `/proc/self/stat`, counted from 1. The second one is a name in parentheses, which may hold blanks and parentheses.
fn field(stat: &str, place: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(place.checked_sub(3)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(path: &str) -> Option<String> {
        let text = match path {
            "/proc/self/status" => "Name:\tpulse\nVmHWM:\t    9000 kB\nVmRSS:\t    2048 kB\nThreads:\t17\n",
            // The name is `a) b (c`.
            "/proc/self/stat" => "7 (a) b (c) S 1 7 7 0 -1 4194304 1 2 3 4 250 150 0 0 20 0 17 0 1000 99 88",
            "/proc/stat" => "cpu  1 2 3\nbtime 1700000000\nprocesses 5\n",
            "/proc/self/limits" => {
                "Limit Soft Hard Units\nMax processes 7 8 p\nMax open files            1024   524288   files\n"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }

    #[test]
    fn figures_are_in_seconds_and_bytes() {
        let figures = Figures::of(kernel);
        let expected = Figures {
            cpu_seconds: Some(4.0),
            start_seconds: Some(1_700_000_010.0),
            resident_bytes: Some(2 << 20),
            threads: Some(17),
            open_fds: None,
            max_fds: Some(1024),
        };
        assert_eq!(figures, expected);
        assert_eq!(Figures::of(|_| None), Figures::default());
        assert_eq!(Figures::of(|_| Some("Max open files unlimited unlimited files".to_owned())), Figures::default());
    }

    #[test]
    fn this_process_has_all_of_them() {
        let before = Figures::read();
        let files: Vec<_> = (0..5).map(|_| fs::File::open("/proc/self/status").unwrap()).collect();
        let figures = Figures::read();
        // Other tests of this process open files, too.
        assert!(figures.open_fds.unwrap() >= 5 && before.open_fds.is_some(), "{before:?} {figures:?}");
        assert!(figures.resident_bytes.unwrap() > 1 << 20 && figures.threads.unwrap() >= 1);
        assert!(figures.cpu_seconds.unwrap() < 3600.0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - figures.start_seconds.unwrap();
        assert!((-5.0..3600.0).contains(&age), "{age}");
        drop(files);
    }
}
