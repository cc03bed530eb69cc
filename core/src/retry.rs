//! Retry policy: which failures are retried, how often, and after which delay.

use chrono::TimeDelta;

use crate::error::ErrorKind;

/// Maximum backoff: after a longer outage, recovery is noticed soon.
pub const LONGEST_BACKOFF: TimeDelta = TimeDelta::minutes(5);

/// Whether a retry may succeed.
///
/// `Exhausted` is not retried: the same plan would hit the same limit after the same time. The message names the limit
/// to raise.
pub fn is_retryable(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Unavailable | ErrorKind::Conflict => true,
        ErrorKind::Invalid | ErrorKind::Data | ErrorKind::Exhausted | ErrorKind::Cancelled | ErrorKind::Internal => {
            false
        }
    }
}

/// Attempts of a run and the delays between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// At most, the first one included.
    pub attempts: u32,
    /// Delay before the second attempt; doubles with each further one.
    pub backoff: TimeDelta,
}

impl RetryPolicy {
    /// The delay after the failure of `attempt` (from 1); `None` if there is no further attempt.
    ///
    /// Between half and all of the backoff, depending on `seed`, so that simultaneous failures are not retried
    /// simultaneously.
    pub fn wait(&self, kind: ErrorKind, attempt: u32, seed: u64) -> Option<TimeDelta> {
        if !is_retryable(kind) || attempt >= self.attempts {
            return None;
        }
        let doubled = 1_i32 << attempt.saturating_sub(1).min(20);
        let whole = self.backoff.checked_mul(doubled).unwrap_or(LONGEST_BACKOFF).min(LONGEST_BACKOFF);
        let half = whole.num_milliseconds() / 2;
        let spread = u64::try_from(half).unwrap_or_default().saturating_add(1);
        let jitter = i64::try_from(mixed(seed ^ mixed(u64::from(attempt))) % spread).unwrap_or_default();
        Some(whole - TimeDelta::milliseconds(jitter))
    }
}

/// Derives a seed for one named item.
pub fn seed_of(seed: u64, name: &str) -> u64 {
    name.bytes().fold(seed, |seed, byte| mixed(seed ^ u64::from(byte)))
}

/// SplitMix64's finalizer, which maps similar seeds to unrelated ones.
fn mixed(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ (seed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(attempts: u32) -> RetryPolicy {
        RetryPolicy { attempts, backoff: TimeDelta::seconds(3) }
    }

    #[test]
    fn only_what_may_end_better_is_tried_again_and_only_so_often() {
        for kind in [ErrorKind::Unavailable, ErrorKind::Conflict] {
            assert!(policy(2).wait(kind, 1, 0).is_some(), "{kind:?}");
            assert_eq!(policy(2).wait(kind, 2, 0), None, "{kind:?}");
        }
        use ErrorKind::{Cancelled, Data, Exhausted, Internal, Invalid};
        for kind in [Cancelled, Data, Exhausted, Internal, Invalid] {
            assert_eq!(policy(9).wait(kind, 1, 0), None, "{kind:?}");
        }
    }

    #[test]
    fn what_failed_together_comes_back_apart() {
        let waits: std::collections::BTreeSet<_> = ["silver.a", "silver.b", "silver.c"]
            .map(|job| policy(2).wait(ErrorKind::Unavailable, 1, seed_of(7, job)))
            .into();
        assert_eq!(waits.len(), 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn waits_double_lie_in_the_upper_half_and_have_an_end(attempt in 1_u32..100, seed: u64) {
            let wait = policy(101).wait(ErrorKind::Conflict, attempt, seed).unwrap();
            let whole = TimeDelta::seconds(3 << attempt.saturating_sub(1).min(20)).min(TimeDelta::minutes(5));
            prop_assert!(wait <= whole && wait >= whole / 2, "{wait}");
            prop_assert_eq!(policy(101).wait(ErrorKind::Conflict, attempt, seed), Some(wait));
        }
    }
}
