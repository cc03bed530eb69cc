//! Leases decide which driver runs a trigger: a chain of epochs, each created once and renewed only by its owner.
//!
//! The store can create an object only if it does not exist, but has no compare-and-swap. So a contender creates the
//! *next* epoch's object, which only one can, and an owner overwrites only its own. A renewal counts only if its answer
//! arrived before the old lease expired; after that the owner must create the next epoch like any contender.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Identifies one attempt to drive a trigger; never reused.
pub type DriverId = String;

/// One epoch of a trigger's lease, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// From 1.
    pub epoch: u64,
    pub owner: DriverId,
    /// Milliseconds since 1970 in UTC, by the owner's clock.
    pub expires: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseOptions {
    pub length: TimeDelta,
    /// Maximum clock difference between two drivers.
    pub clock_margin: TimeDelta,
}

/// What a contending driver may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Create this epoch; the driver that succeeds owns the trigger.
    Make(Lease),
    /// Our earlier attempt created it, but its answer was lost.
    Ours(Lease),
    /// Another driver holds the lease.
    Held,
}

/// Decides based on the newest stored epoch.
pub fn claim(newest: Option<&Lease>, owner: &DriverId, now: DateTime<Utc>, options: LeaseOptions) -> Claim {
    match newest {
        Some(lease) if lease.owner == *owner && now.timestamp_millis() < lease.expires => Claim::Ours(lease.clone()),
        Some(lease) if !is_over(lease, now, options) => Claim::Held,
        newest => Claim::Make(Lease {
            epoch: newest.map_or(0, |lease| lease.epoch) + 1,
            owner: owner.clone(),
            expires: (now + options.length).timestamp_millis(),
        }),
    }
}

/// Whether the lease has expired, even if the owner's clock is off by the margin.
pub fn is_over(lease: &Lease, now: DateTime<Utc>, options: LeaseOptions) -> bool {
    now.timestamp_millis() > lease.expires.saturating_add(options.clock_margin.num_milliseconds())
}

/// An epoch held by its owner.
#[derive(Debug, Clone)]
pub struct Holding {
    lease: Lease,
    options: LeaseOptions,
    lost: bool,
}

/// The owner's next request to the store; the answer is a [`LeaseEvent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseAction {
    Nothing,
    /// Check whether the next epoch exists; if not, overwrite the own epoch with this.
    Renew(Lease),
    /// The own epoch expired: create the next one.
    Make(Lease),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseEvent {
    /// It was overwritten or created.
    Stored(Lease),
    /// The next epoch exists, with this content.
    Superseded(Lease),
}

impl Holding {
    /// Starts holding a lease that was just created.
    pub fn new(lease: Lease, options: LeaseOptions) -> Self {
        Self { lease, options, lost: false }
    }

    /// The action due at `now`. Poll this about every sixth of the lease's length.
    pub fn due(&self, now: DateTime<Utc>) -> LeaseAction {
        if self.lost {
            return LeaseAction::Nothing;
        }
        let left = TimeDelta::milliseconds(self.lease.expires.saturating_sub(now.timestamp_millis()));
        let next = |epoch| Lease {
            epoch,
            owner: self.lease.owner.clone(),
            expires: (now + self.options.length).timestamp_millis(),
        };
        if left <= TimeDelta::zero() {
            LeaseAction::Make(next(self.lease.epoch + 1))
        } else if left < self.options.length * 2 / 3 {
            LeaseAction::Renew(next(self.lease.epoch))
        } else {
            LeaseAction::Nothing
        }
    }

    /// Applies the store's answer, which arrived at `now`. A missing or ambiguous answer is no event.
    pub fn apply(&mut self, event: LeaseEvent, now: DateTime<Utc>) {
        match event {
            LeaseEvent::Stored(lease) if lease.epoch > self.lease.epoch => self.lease = lease,
            // A late answer proves nothing: another driver may have seen the old lease expired and taken over.
            LeaseEvent::Stored(lease) if self.holds(now) => self.lease = lease,
            LeaseEvent::Stored(_) => {}
            // Created by our earlier attempt, whose answer was lost.
            LeaseEvent::Superseded(lease) if lease.owner == self.lease.owner => self.lease = lease,
            LeaseEvent::Superseded(_) => self.lost = true,
        }
    }

    /// Whether effects are allowed. Check it before each effect.
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        !self.lost && now.timestamp_millis() < self.lease.expires
    }

    /// Another driver has taken over; no further effects are allowed.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    pub fn epoch(&self) -> u64 {
        self.lease.epoch
    }

    /// An expired copy of our lease; writing it releases the trigger immediately.
    pub fn released(&self, now: DateTime<Utc>) -> Lease {
        let over = now - self.options.clock_margin - TimeDelta::milliseconds(1);
        Lease { expires: over.timestamp_millis(), ..self.lease.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: LeaseOptions = LeaseOptions { length: TimeDelta::seconds(12), clock_margin: TimeDelta::seconds(2) };

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn lease(epoch: u64, owner: &str, expires: i64) -> Lease {
        Lease { epoch, owner: owner.to_owned(), expires: expires * 1000 }
    }

    #[test]
    fn an_epoch_is_taken_when_the_one_before_is_over_by_more_than_the_margin() {
        let me = "b".to_owned();
        let claim = |newest: Option<&Lease>, now| claim(newest, &me, at(now), OPTIONS);
        assert_eq!(claim(None, 0), Claim::Make(lease(1, "b", 12)));
        let held = lease(3, "a", 10);
        for now in [0, 10, 12] {
            assert_eq!(claim(Some(&held), now), Claim::Held, "{now}");
        }
        assert_eq!(claim(Some(&held), 13), Claim::Make(lease(4, "b", 25)));
        // Created, but the answer was lost.
        assert_eq!(claim(Some(&lease(3, "b", 10)), 9), Claim::Ours(lease(3, "b", 10)));
        assert_eq!(claim(Some(&lease(3, "b", 10)), 11), Claim::Held);
    }

    #[test]
    fn an_owner_renews_in_time_and_makes_a_new_epoch_when_late() {
        let mut holding = Holding::new(lease(1, "a", 12), OPTIONS);
        assert_eq!(holding.due(at(4)), LeaseAction::Nothing);
        assert_eq!(holding.due(at(5)), LeaseAction::Renew(lease(1, "a", 17)));
        holding.apply(LeaseEvent::Stored(lease(1, "a", 17)), at(6));
        assert!(holding.holds(at(16)));
        assert!(!holding.holds(at(17)));
        assert_eq!(holding.due(at(17)), LeaseAction::Make(lease(2, "a", 29)));
        holding.apply(LeaseEvent::Stored(lease(2, "a", 29)), at(18));
        assert_eq!((holding.epoch(), holding.holds(at(18))), (2, true));
    }

    #[test]
    fn a_renewal_that_is_answered_too_late_does_not_count() {
        let mut holding = Holding::new(lease(1, "a", 12), OPTIONS);
        holding.apply(LeaseEvent::Stored(lease(1, "a", 23)), at(12));
        assert!(!holding.holds(at(13)));
        assert!(!holding.is_lost());
    }

    #[test]
    fn whoever_sees_a_later_epoch_of_another_stops_for_good() {
        let mut holding = Holding::new(lease(1, "a", 12), OPTIONS);
        holding.apply(LeaseEvent::Superseded(lease(2, "b", 40)), at(5));
        assert!(holding.is_lost() && !holding.holds(at(5)));
        holding.apply(LeaseEvent::Stored(lease(1, "a", 30)), at(6));
        assert!(!holding.holds(at(6)));
        assert_eq!(holding.due(at(6)), LeaseAction::Nothing);
    }

    #[test]
    fn an_epoch_that_was_made_without_an_answer_is_found() {
        let mut holding = Holding::new(lease(1, "a", 12), OPTIONS);
        holding.apply(LeaseEvent::Superseded(lease(2, "a", 25)), at(14));
        assert_eq!((holding.epoch(), holding.holds(at(14)), holding.is_lost()), (2, true, false));
    }

    #[test]
    fn a_released_lease_is_over_for_everybody() {
        let holding = Holding::new(lease(1, "a", 12), OPTIONS);
        assert!(is_over(&holding.released(at(5)), at(5), OPTIONS));
    }
}
