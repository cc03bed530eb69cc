//! What the API shows of its triggers: queues, and numbers for a scrape.

use pulse_core::queue::{QueueName, QueueOptions};

use super::super::{QueueReport, QueuesResponse};
use super::{Api, as_size};
use crate::metrics::Scene;

impl Api {
    /// What waits and runs, by queue.
    pub(in crate::api) fn queues(&self) -> QueuesResponse {
        let (runs, known) = (self.permits.states(), self.lock());
        let mut triggers = known.queue.states();
        let suspicious = |name: &QueueName| known.suspicious.values().filter(|(queue, _)| queue == name).count();
        let report = |(name, options): (&QueueName, &QueueOptions)| {
            let of = triggers.remove(name);
            QueueReport {
                name: name.clone(),
                weight: options.weight.get(),
                priority: options.priority,
                runs_limit: options.runs,
                runs: runs.get(name).map_or(0, |state| state.holders),
                triggers: of.as_ref().map_or(0, |state| state.holders),
                waiting: of.as_ref().map_or(0, |state| state.waiting) + suspicious(name),
                oldest: of.and_then(|state| state.oldest),
            }
        };
        QueuesResponse {
            queues: self.queues.iter().map(report).collect(),
            runs_limit: as_size(self.settings.scheduler_runs),
            triggers_limit: as_size(self.settings.driven_triggers),
        }
    }

    /// What a scrape finds.
    pub(in crate::api) async fn scene(&self) -> Scene {
        let load = self.places.load().await;
        let running = self.permits.states().values().map(|state| state.holders).sum();
        let known = self.lock();
        let (driven, waiting) = (known.queue.driven(), known.queue.waiting() + known.suspicious.len());
        Scene { driven, waiting, running, executors: self.places.executors(), load }
    }
}
