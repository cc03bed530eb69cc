//! The memory that this process may use.

/// Bytes, where the kernel says nothing.
const UNKNOWN: u64 = 4 << 30;
/// Where control groups are mounted: those of version 2, and the memory controller of version 1.
const GROUPS: &str = "/sys/fs/cgroup";
const GROUPS_OF_MEMORY: &str = "/sys/fs/cgroup/memory";

/// Bytes of memory of the machine, or of the tightest control group of this process, such as a container or a systemd service.
/// 4 GiB where the kernel reports neither.
#[must_use]
pub fn memory_bytes() -> u64 {
    memory_of(|path| std::fs::read_to_string(path).ok())
}

fn memory_of(read: impl Fn(&str) -> Option<String>) -> u64 {
    let machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1 << 10)
    });
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().filter_map(limit_files).flatten();
    // `max`, for no limit, is no number.
    let limits = limits.filter_map(|path| read(&path)?.trim().parse::<u64>().ok());
    limits.chain(machine).min().unwrap_or(UNKNOWN)
}

/// Files with the limits of a group, given by its line of `/proc/self/cgroup`, and of the groups around it.
fn limit_files(line: &str) -> Option<Vec<String>> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, group) = (parts.next()?, parts.next()?);
    let (folder, name) = match controllers {
        "" => (GROUPS, "memory.max"),
        _ if controllers.split(',').any(|one| one == "memory") => (GROUPS_OF_MEMORY, "memory.limit_in_bytes"),
        _ => return None,
    };
    let group = group.trim_end_matches('/');
    let around = group.match_indices('/').map(|(end, _)| &group[..end]);
    Some(around.chain([group]).map(|group| format!("{folder}{group}/{name}")).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn memory(files: &[(&str, &str)]) -> u64 {
        let files: HashMap<&str, &str> = files.iter().copied().collect();
        memory_of(|path| files.get(path).map(|text| (*text).to_owned()))
    }

    const MACHINE: (&str, &str) = ("/proc/meminfo", "MemTotal:       65536 kB\nMemFree:  1 kB\n");

    #[test]
    fn the_tightest_limit_counts() {
        assert_eq!(memory(&[]), UNKNOWN);
        assert_eq!(memory(&[MACHINE]), 64 << 20);
        let group = ("/proc/self/cgroup", "0::/system.slice/pulse.service\n");
        let limit = |bytes: &'static str| ("/sys/fs/cgroup/system.slice/pulse.service/memory.max", bytes);
        assert_eq!(memory(&[MACHINE, group]), 64 << 20);
        assert_eq!(memory(&[MACHINE, group, limit("max\n")]), 64 << 20);
        assert_eq!(memory(&[MACHINE, group, limit("1048576\n")]), 1 << 20);
        // A group around it is tighter.
        let around = ("/sys/fs/cgroup/system.slice/memory.max", "4096");
        assert_eq!(memory(&[MACHINE, group, limit("1048576\n"), around]), 4096);
        // A container sees its own group as the root.
        assert_eq!(memory(&[MACHINE, ("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/memory.max", "8192")]), 8192);
    }

    #[test]
    fn groups_of_the_first_version_count() {
        let group = ("/proc/self/cgroup", "9:cpu,cpuacct:/a\n4:memory:/docker/a\n0::/docker/a\n");
        let limit = ("/sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes", "16384\n");
        let none = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(memory(&[MACHINE, group, none]), 64 << 20);
        assert_eq!(memory(&[MACHINE, group, none, limit]), 16384);
    }
}
