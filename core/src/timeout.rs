//! Time limit of a run: the configured one, or one derived from earlier runs.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// A run may take this many times as long as the longest recent one.
pub const TIMES_LONGEST: i32 = 5;
/// Number of recent successful runs considered.
pub const RUNS_LOOKED_AT: usize = 5;
/// Minimum time limit: a full recomputation takes longer than the small runs before it.
pub const SHORTEST_TIMEOUT: TimeDelta = TimeDelta::hours(6);

/// Durations of a job's last successful runs; one small object of the ledger.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JobHistory {
    /// Seconds of each committed run, newest last.
    #[serde(default)]
    pub seconds: Vec<f64>,
}

impl JobHistory {
    /// Keeps as many entries as [`run_timeout`] uses.
    pub fn push(&mut self, seconds: f64) {
        self.seconds.push(seconds);
        let surplus = self.seconds.len().saturating_sub(RUNS_LOOKED_AT);
        self.seconds.drain(..surplus);
    }

    fn longest(&self) -> TimeDelta {
        let longest = self.seconds.iter().copied().fold(0.0_f64, f64::max);
        // Saturates: a tampered history yields a long timeout instead of a panic.
        #[allow(clippy::cast_possible_truncation, reason = "milliseconds of a run")]
        let millis = (longest * 1000.0) as i64;
        TimeDelta::try_milliseconds(millis).unwrap_or(TimeDelta::MAX)
    }
}

/// `asked`, or five times the longest of the last five successful runs, but at least [`SHORTEST_TIMEOUT`] and at most
/// `longest`, after which the run's own shuffle files would be deleted.
pub fn run_timeout(asked: Option<TimeDelta>, history: &JobHistory, longest: TimeDelta) -> TimeDelta {
    asked.unwrap_or_else(|| {
        let usual = history.longest().checked_mul(TIMES_LONGEST).unwrap_or(longest);
        usual.max(SHORTEST_TIMEOUT).min(longest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: &[f64]) -> TimeDelta {
        let mut history = JobHistory::default();
        seconds.iter().for_each(|seconds| history.push(*seconds));
        run_timeout(None, &history, TimeDelta::hours(24))
    }

    #[test]
    fn a_job_may_take_five_times_the_longest_of_its_last_five_runs() {
        assert_eq!(after(&[]), TimeDelta::hours(6));
        assert_eq!(after(&[3600.0]), TimeDelta::hours(6));
        assert_eq!(after(&[7200.0, 60.0]), TimeDelta::hours(10));
        // The long one is the sixth from the end.
        assert_eq!(after(&[7200.0, 60.0, 60.0, 60.0, 60.0, 60.0]), TimeDelta::hours(6));
        assert_eq!(after(&[36_000.0]), TimeDelta::hours(24));
        assert_eq!(after(&[f64::MAX]), TimeDelta::hours(24));
    }

    #[test]
    fn what_was_asked_for_is_taken() {
        let history = JobHistory { seconds: vec![7200.0] };
        assert_eq!(run_timeout(Some(TimeDelta::seconds(1)), &history, TimeDelta::hours(24)), TimeDelta::seconds(1));
    }
}
