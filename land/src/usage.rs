//! Whether a request may be sent now: the limits of a provider, and who sends which request. One object holds it for all processes that
//! land below one root; the next one is made by a request that fails if another process made it first.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use pulse_core::sources::RequestLimits;
use serde::{Deserialize, Serialize};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY_IN_HOURS: i64 = 24;
/// Longer than any request, its timeout included.
const LONGEST_CLAIM: i64 = 15 * MINUTE;

/// What was sent, and what is being asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Milliseconds since 1970 of the requests of the last minute.
    #[serde(default)]
    sent: Vec<i64>,
    /// Requests by hour since 1970, of the last day.
    #[serde(default)]
    hours: BTreeMap<i64, u32>,
    /// Requests that a process waits for, by their folder.
    #[serde(default)]
    claims: BTreeMap<String, Claim>,
    /// No request is sent before; the provider asked for it.
    #[serde(default)]
    not_before: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    by: String,
    until: i64,
}

/// Who wants to send what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claimant<'a> {
    pub(crate) process: &'a str,
    /// Folder of the request.
    pub(crate) request: &'a str,
    /// After which it has an answer or has failed.
    pub(crate) longest: TimeDelta,
}

/// What is to be done about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Send it, once this is stored.
    Send(Usage),
    /// Ask again at this time.
    Wait(DateTime<Utc>),
    /// The limit of a day is used up until then.
    DayUsed(DateTime<Utc>),
    /// Another process sends it, and has ended doing so by then.
    Claimed(DateTime<Utc>),
}

impl Usage {
    /// The turn of a request. Limits hold for any second, minute and 24 hours, whole hours counted as a whole.
    pub(crate) fn turn(&self, limits: RequestLimits, claimant: Claimant<'_>, now: DateTime<Utc>) -> Turn {
        let millis = now.timestamp_millis();
        let mut usage = self.as_of(millis);
        if let Some(claim) = usage.claims.get(claimant.request)
            && claim.by != claimant.process
        {
            return Turn::Claimed(time(claim.until));
        }
        if let Some(free) = limits.per_day.and_then(|most| usage.day_free(most, millis)) {
            return Turn::DayUsed(time(free));
        }
        let windows = [(limits.per_second, SECOND), (limits.per_minute, MINUTE)];
        let free = windows.into_iter().filter_map(|(most, window)| usage.window_free(most?, window));
        let free = free.max().unwrap_or(millis).max(usage.not_before);
        if free > millis {
            return Turn::Wait(time(free));
        }
        if limits.per_second.or(limits.per_minute).is_some() {
            usage.sent.push(millis);
        }
        *usage.hours.entry(millis.div_euclid(HOUR)).or_default() += 1;
        let until = millis.saturating_add(claimant.longest.num_milliseconds());
        usage.claims.insert(claimant.request.to_owned(), Claim { by: claimant.process.to_owned(), until });
        Turn::Send(usage)
    }

    /// With a time before which nothing is sent.
    pub(crate) fn paused(&self, until: DateTime<Utc>) -> Self {
        Self { not_before: self.not_before.max(until.timestamp_millis()), ..self.clone() }
    }

    /// Without the claims of a process that waits for no answer any more.
    pub(crate) fn released(&self, process: &str) -> Self {
        let mut usage = self.clone();
        usage.claims.retain(|_, claim| claim.by != process);
        usage
    }

    /// Without what is past, and what a clock that goes fast wrote.
    fn as_of(&self, now: i64) -> Self {
        let sent = self.sent.iter().copied().filter(|sent| (now - sent).abs() < MINUTE).collect();
        let this_hour = now.div_euclid(HOUR);
        let recent = |hour: &i64| (-1..=DAY_IN_HOURS).contains(&(this_hour - hour));
        let hours = self.hours.iter().filter(|(hour, _)| recent(hour)).map(|(hour, count)| (*hour, *count)).collect();
        let soon = |until: i64| now < until && until - now <= LONGEST_CLAIM;
        let claims = self.claims.iter().filter(|(_, claim)| soon(claim.until));
        let claims = claims.map(|(request, claim)| (request.clone(), claim.clone())).collect();
        Self { sent, hours, claims, not_before: if soon(self.not_before) { self.not_before } else { 0 } }
    }

    /// When one more may be sent within a window; `None` for now.
    fn window_free(&self, most: u32, window: i64) -> Option<i64> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut newest = self.sent.clone();
        newest.sort_unstable_by(|a, b| b.cmp(a));
        newest.get(most.saturating_sub(1)).map(|sent| sent.saturating_add(window))
    }

    /// When the limit of a day allows one more; `None` for now.
    fn day_free(&self, most: u32, now: i64) -> Option<i64> {
        let most = u64::from(most);
        let mut used: u64 = self.hours.values().map(|count| u64::from(*count)).sum();
        let mut free = None;
        for (hour, count) in &self.hours {
            if used < most {
                break;
            }
            used -= u64::from(*count);
            free = Some((hour + DAY_IN_HOURS + 1) * HOUR);
        }
        free.filter(|free| *free > now)
    }
}

/// How long so many requests take at least under the limits.
pub fn takes(limits: RequestLimits, requests: usize) -> TimeDelta {
    let requests = i64::try_from(requests).unwrap_or(i64::MAX);
    let windows = [(limits.per_second, SECOND), (limits.per_minute, MINUTE), (limits.per_day, DAY_IN_HOURS * HOUR)];
    let waits = windows.into_iter().filter_map(|(most, window)| {
        let full = requests.saturating_sub(1) / i64::from(most?).max(1);
        Some(full.saturating_mul(window))
    });
    TimeDelta::try_milliseconds(waits.max().unwrap_or(0)).unwrap_or(TimeDelta::MAX)
}

fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claimant<'a>(process: &'a str, request: &'a str) -> Claimant<'a> {
        Claimant { process, request, longest: TimeDelta::seconds(30) }
    }

    fn limits(per_second: Option<u32>, per_minute: Option<u32>, per_day: Option<u32>) -> RequestLimits {
        RequestLimits { per_second, per_minute, per_day }
    }

    /// Times at which `number` requests are sent, each as soon as it may; up to the day's limit.
    fn sent(limits: RequestLimits, number: usize, start: i64) -> Vec<i64> {
        let (mut usage, mut now, mut sent) = (Usage::default(), start, Vec::new());
        while sent.len() < number {
            match usage.turn(limits, claimant("p", &format!("r{}", sent.len())), time(now)) {
                Turn::Send(next) => {
                    usage = next;
                    sent.push(now);
                }
                Turn::Wait(until) | Turn::DayUsed(until) => {
                    assert!(until.timestamp_millis() > now);
                    now = until.timestamp_millis();
                }
                Turn::Claimed(_) => panic!("nobody else is there"),
            }
        }
        sent
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_its_limit(
            second in proptest::option::of(1_u32..4),
            minute in proptest::option::of(1_u32..8),
            day in proptest::option::of(1_u32..30),
            start in 0_i64..(3 * HOUR),
        ) {
            let times = sent(limits(second, minute, day), 70, start);
            for (limit, window) in [(second, SECOND), (minute, MINUTE), (day, DAY_IN_HOURS * HOUR)] {
                let Some(limit) = limit.map(|limit| limit as usize) else { continue };
                for pair in times.windows(limit + 1) {
                    prop_assert!(pair[limit] - pair[0] >= window, "{limit} within {window}: {pair:?}");
                }
            }
        }

        #[test]
        fn requests_are_sent_as_soon_as_the_limits_allow(second in 1_u32..4, minute in 1_u32..8) {
            let times = sent(limits(Some(second), Some(minute), None), 40, 0);
            for (index, time) in times.iter().enumerate().skip(1) {
                let after = |limit: u32, window| {
                    index.checked_sub(limit as usize).map_or(0, |earlier| times[earlier] + window)
                };
                prop_assert_eq!(*time, after(second, SECOND).max(after(minute, MINUTE)).max(times[index - 1]));
            }
        }
    }

    #[test]
    fn a_plan_says_how_long_it_takes() {
        let limits = limits(Some(1), Some(5), Some(25));
        assert_eq!(takes(limits, 0), TimeDelta::zero());
        assert_eq!(takes(limits, 5), TimeDelta::seconds(4));
        assert_eq!(takes(limits, 6), TimeDelta::minutes(1));
        assert_eq!(takes(limits, 500), TimeDelta::days(19));
        assert_eq!(takes(RequestLimits::default(), 500), TimeDelta::zero());
    }

    #[test]
    fn the_day_is_over_24_hours_after_the_end_of_the_hour() {
        let limits = limits(None, None, Some(2));
        let now = time(90 * MINUTE);
        let Turn::Send(one) = Usage::default().turn(limits, claimant("p", "a"), now) else { panic!() };
        let Turn::Send(two) = one.turn(limits, claimant("p", "b"), now) else { panic!() };
        assert_eq!(two.turn(limits, claimant("p", "c"), now), Turn::DayUsed(time(26 * HOUR)));
        assert!(matches!(two.turn(limits, claimant("p", "c"), time(26 * HOUR)), Turn::Send(_)));
    }

    #[test]
    fn what_another_process_asks_for_is_left_to_it_while_it_may_live() {
        let (limits, now) = (RequestLimits::default(), time(0));
        let Turn::Send(usage) = Usage::default().turn(limits, claimant("p", "a"), now) else { panic!() };
        assert_eq!(usage.turn(limits, claimant("q", "a"), now), Turn::Claimed(time(30_000)));
        assert!(matches!(usage.turn(limits, claimant("q", "b"), now), Turn::Send(_)));
        assert!(matches!(usage.turn(limits, claimant("p", "a"), now), Turn::Send(_)));
        assert!(matches!(usage.turn(limits, claimant("q", "a"), time(30_000)), Turn::Send(_)));
        assert_eq!(usage.released("q"), usage);
        assert!(matches!(usage.released("p").turn(limits, claimant("q", "a"), now), Turn::Send(_)));
    }

    #[test]
    fn a_fast_clock_of_another_process_does_not_stop_this_one() {
        let limits = limits(Some(1), None, Some(1));
        let Turn::Send(usage) = Usage::default().turn(limits, claimant("p", "a"), time(100 * HOUR)) else { panic!() };
        let usage = usage.paused(time(101 * HOUR));
        assert!(matches!(usage.turn(limits, claimant("q", "a"), time(0)), Turn::Send(_)));
    }

    #[test]
    fn nothing_is_sent_before_the_time_that_the_provider_named() {
        let usage = Usage::default().paused(time(5_000)).paused(time(4_000));
        assert_eq!(usage.turn(RequestLimits::default(), claimant("p", "a"), time(4_999)), Turn::Wait(time(5_000)));
        assert!(matches!(usage.turn(RequestLimits::default(), claimant("p", "a"), time(5_000)), Turn::Send(_)));
    }
}
