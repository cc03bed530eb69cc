//! How often each caller may call.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
/// Callers that are remembered; beyond, those that have not called for a minute are forgotten.
const MOST_CALLERS: usize = 4096;
/// A host has at least this part of an IPv6 address to itself, so it counts as one caller.
const NETWORK: u128 = !0 << 64;

/// An address, with and without a proven right apart: a stranger on an address uses up nothing of its others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Who {
    address: IpAddr,
    is_known: bool,
}

impl Who {
    pub(super) fn new(address: IpAddr, is_known: bool) -> Self {
        let address = match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & NETWORK)),
            v4 @ IpAddr::V4(_) => v4,
        };
        Self { address, is_known }
    }
}

/// A token bucket per caller, of a minute's calls.
#[derive(Debug)]
pub(super) struct Rates {
    per_minute: f64,
    callers: Mutex<HashMap<Who, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Rates {
    pub(super) fn new(per_minute: u32) -> Self {
        Self { per_minute: f64::from(per_minute), callers: Mutex::default() }
    }

    /// Whether a call at `now` is within the limit; then it counts.
    pub(super) fn admit(&self, who: Who, now: Instant) -> bool {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= MOST_CALLERS && !callers.contains_key(&who) {
            callers.retain(|_, bucket| now.saturating_duration_since(bucket.at) < MINUTE);
            // More strangers than that are one attack: they share what is left, which is nothing.
            if callers.len() >= MOST_CALLERS && !who.is_known {
                return false;
            }
        }
        let full = Bucket { left: self.per_minute, at: now };
        let bucket = callers.entry(who).or_insert(full);
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() / MINUTE.as_secs_f64() * self.per_minute;
        let left = (bucket.left + gained).min(self.per_minute);
        let is_within = left >= 1.0;
        *bucket = Bucket { left: if is_within { left - 1.0 } else { left }, at: now };
        is_within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(address: &str, is_known: bool) -> Who {
        Who::new(address.parse().unwrap(), is_known)
    }

    #[test]
    fn a_caller_has_a_minutes_calls_and_then_as_many_as_time_brings() {
        let rates = Rates::new(60);
        let start = Instant::now();
        let made = |who: Who, at: Instant| (0..1000).filter(|_| rates.admit(who, at)).count();
        let caller = who("10.0.0.1", true);
        assert_eq!(made(caller, start), 60);
        assert_eq!(made(caller, start + Duration::from_secs(10)), 10);
        assert_eq!(made(caller, start + Duration::from_millis(10_500)), 0);
        assert_eq!(made(caller, start + Duration::from_millis(11_100)), 1);
        assert_eq!(made(caller, start + Duration::from_secs(1000)), 60);
        // Nobody else pays for it.
        assert_eq!(made(who("10.0.0.2", true), start), 60);
        assert_eq!(made(who("10.0.0.1", false), start), 60);
    }

    #[test]
    fn a_host_with_many_addresses_is_one_caller() {
        let rates = Rates::new(5);
        let start = Instant::now();
        let admitted = (0..100).filter(|host| rates.admit(who(&format!("2001:db8::{host:x}"), false), start)).count();
        assert_eq!(admitted, 5);
        assert!(rates.admit(who("2001:db8:0:1::1", false), start));
        assert_eq!(who("::ffff:10.0.0.1", false), who("10.0.0.1", false));
    }

    #[test]
    fn strangers_fill_no_memory_and_keep_no_known_caller_out() {
        let rates = Rates::new(5);
        let start = Instant::now();
        for number in 0..2 * MOST_CALLERS as u32 {
            rates.admit(Who::new(IpAddr::from(number.to_be_bytes()), false), start);
        }
        assert_eq!(rates.callers.lock().unwrap().len(), MOST_CALLERS);
        assert!(!rates.admit(who("10.0.0.1", false), start));
        assert!(rates.admit(who("10.0.0.1", true), start));
        assert!(rates.admit(who("10.0.0.1", false), start + 2 * MINUTE));
    }
}
