//! `pulse queue`: what runs and what waits on a scheduler.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use pulse_core::Result;
use pulse_scheduler::api::{QueueReport, QueuesResponse};

use super::submit::Scheduler;
use crate::args::Global;
use crate::{output, setup, shape};

pub(crate) async fn queue(global: &Global) -> Result<ExitCode> {
    let answer = Scheduler::new(&setup::settings(global)?).await?.queues().await?;
    let values: Vec<shape::Queue> = answer.queues.iter().map(shape::Queue::from).collect();
    let now = Utc::now();
    let rows: Vec<_> = answer.queues.iter().map(|queue| row(queue, &answer, now)).collect();
    let head = ["queue", "weight", "priority", "runs", "triggers", "waiting", "oldest waits"];
    let keys =
        ["name", "weight", "priority", "runs_limit", "runs", "triggers", "waiting", "oldest", "oldest_submitted"];
    output::listing((&head, &keys), &rows, &values, global.output)?;
    Ok(ExitCode::SUCCESS)
}

fn row(queue: &QueueReport, all: &QueuesResponse, now: DateTime<Utc>) -> Vec<String> {
    let waits = queue.oldest.as_ref().map(|oldest| format!("{} s", (now - oldest.time()).num_seconds().max(0)));
    vec![
        queue.name.to_string(),
        queue.weight.to_string(),
        queue.priority.to_string(),
        format!("{} of {}", queue.runs, queue.runs_limit.unwrap_or(all.runs_limit).min(all.runs_limit)),
        format!("{} of {}", queue.triggers, all.triggers_limit),
        queue.waiting.to_string(),
        waits.unwrap_or_default(),
    ]
}
