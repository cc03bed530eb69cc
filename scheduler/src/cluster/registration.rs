//! Judges what executors say before Ballista takes it: Ballista expects that nothing is missing, and panics otherwise.

use ballista_core::serde::protobuf::executor_resource::Resource;
use ballista_core::serde::protobuf::{ExecutorRegistration, HeartBeatParams, TaskStatus};

/// The build and a unique text (`pulse_engine::cluster::executor_id`) have fewer characters.
const ID_BYTES: usize = 256;
/// As the DNS limits names.
const HOST_BYTES: usize = 253;
/// As the setting `vcores` is limited.
const MOST_SLOTS: u32 = 1024;

/// # Errors
/// What is missing, or cannot be; nothing of what the caller wrote is repeated.
pub(super) fn judge_registration(executor: Option<&ExecutorRegistration>) -> Result<(), &'static str> {
    let executor = executor.ok_or("a registration is missing")?;
    let is_port = |port: u32| u16::try_from(port).is_ok();
    if !is_id(&executor.id) {
        return Err("the executor's id is empty, too long, or has characters that no id has");
    }
    if !executor.host.as_deref().is_some_and(is_host) {
        return Err("the executor's host is missing or is none");
    }
    if !is_port(executor.port) || !is_port(executor.grpc_port) {
        return Err("a port is larger than 65535");
    }
    if executor.os_info.is_none() {
        return Err("the executor's operating system is missing");
    }
    let specification = executor.specification.as_ref().ok_or("the executor's specification is missing")?;
    let slots = specification.resources.iter().filter_map(|resource| {
        let Resource::Vcores(slots) = resource.resource?;
        Some(slots)
    });
    match slots.max() {
        Some(slots) if slots > MOST_SLOTS => Err("the executor claims more than 1024 slots"),
        _ => Ok(()),
    }
}

/// # Errors
/// As [`judge_registration`], which each heartbeat carries, for the case that the scheduler was started again.
pub(super) fn judge_heartbeat(beat: &HeartBeatParams) -> Result<(), &'static str> {
    judge_registration(beat.metadata.as_ref())?;
    match beat.metadata.as_ref().is_some_and(|executor| executor.id == beat.executor_id) {
        true => Ok(()),
        false => Err("the heartbeat carries the registration of another executor"),
    }
}

/// `tasks` is how many the stage of a report has, if it runs.
///
/// # Errors
/// What is missing, or cannot be.
pub(super) fn judge_report(report: &TaskStatus, tasks: Option<usize>) -> Result<(), &'static str> {
    if report.status.is_none() {
        return Err("the report of a task says nothing of its state");
    }
    let number = usize::try_from(report.task_id).unwrap_or(usize::MAX);
    match tasks {
        Some(tasks) if number >= tasks => Err("the report is of a task that its stage does not have"),
        _ => Ok(()),
    }
}

fn is_id(id: &str) -> bool {
    (1..=ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A name or an address, as it stands in a URL.
fn is_host(host: &str) -> bool {
    let is_of_one = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]%".contains(&byte);
    (1..=HOST_BYTES).contains(&host.len()) && host.bytes().all(is_of_one)
}

#[cfg(test)]
mod tests {
    use ballista_core::serde::protobuf::{
        ExecutorOperatingSystemSpecification, ExecutorResource, ExecutorSpecification, RunningTask, task_status,
    };

    use super::*;

    fn slots(number: u32) -> ExecutorSpecification {
        ExecutorSpecification { resources: vec![ExecutorResource { resource: Some(Resource::Vcores(number)) }] }
    }

    fn whole() -> ExecutorRegistration {
        ExecutorRegistration {
            id: "build.x".to_owned(),
            host: Some("127.0.0.1".to_owned()),
            port: 50051,
            grpc_port: 50052,
            specification: Some(slots(4)),
            os_info: Some(ExecutorOperatingSystemSpecification::default()),
            ..ExecutorRegistration::default()
        }
    }

    #[test]
    fn what_is_whole_is_taken() {
        let more = [
            ExecutorRegistration { host: Some("[::1]".to_owned()), ..whole() },
            ExecutorRegistration { host: Some("node-1.internal".to_owned()), ..whole() },
            ExecutorRegistration { specification: Some(slots(1024)), ..whole() },
            ExecutorRegistration { specification: Some(ExecutorSpecification::default()), ..whole() },
        ];
        for executor in more.into_iter().chain([whole()]) {
            assert_eq!(judge_registration(Some(&executor)), Ok(()), "{executor:?}");
        }
    }

    #[test]
    fn what_is_missing_or_cannot_be_is_refused() {
        let text = |text: &str| Some(text.to_owned());
        let wrong = [
            ExecutorRegistration { id: String::new(), ..whole() },
            ExecutorRegistration { id: "a\nb".to_owned(), ..whole() },
            ExecutorRegistration { id: "x".repeat(ID_BYTES + 1), ..whole() },
            ExecutorRegistration { host: None, ..whole() },
            ExecutorRegistration { host: text(""), ..whole() },
            ExecutorRegistration { host: text("a/b?c"), ..whole() },
            ExecutorRegistration { host: text("user@host"), ..whole() },
            ExecutorRegistration { host: text(&"h".repeat(HOST_BYTES + 1)), ..whole() },
            ExecutorRegistration { port: 65536, ..whole() },
            ExecutorRegistration { grpc_port: u32::MAX, ..whole() },
            ExecutorRegistration { specification: None, ..whole() },
            ExecutorRegistration { specification: Some(slots(1025)), ..whole() },
            ExecutorRegistration { os_info: None, ..whole() },
        ];
        assert!(judge_registration(None).is_err());
        for executor in wrong {
            assert!(judge_registration(Some(&executor)).is_err(), "{executor:?}");
        }
    }

    #[test]
    fn a_heartbeat_speaks_for_its_own_executor() {
        let beat =
            |id: &str, metadata| HeartBeatParams { executor_id: id.to_owned(), metadata, ..HeartBeatParams::default() };
        assert_eq!(judge_heartbeat(&beat("build.x", Some(whole()))), Ok(()));
        assert!(judge_heartbeat(&beat("build.y", Some(whole()))).is_err());
        assert!(judge_heartbeat(&beat("build.x", None)).is_err());
        let without = ExecutorRegistration { specification: None, ..whole() };
        assert!(judge_heartbeat(&beat("build.x", Some(without))).is_err());
    }

    #[test]
    fn a_report_is_of_a_task_that_there_is() {
        let running = Some(task_status::Status::Running(RunningTask::default()));
        let report = |task_id, status| TaskStatus { task_id, status, ..TaskStatus::default() };
        assert_eq!(judge_report(&report(3, running.clone()), Some(4)), Ok(()));
        assert_eq!(judge_report(&report(9, running.clone()), None), Ok(()));
        assert!(judge_report(&report(4, running), Some(4)).is_err());
        assert!(judge_report(&report(0, None), None).is_err());
    }
}
