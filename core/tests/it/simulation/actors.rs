//! What goes on beside the drivers: leases are kept, triggers are looked for, clients submit.

use chrono::{DateTime, TimeDelta, Utc};
use pulse_core::lease::{Lease, LeaseAction, LeaseEvent, is_over};

use super::Pending;
use super::drive::{LEASE, Shared};
use super::store::{Answer, Op, TriggerNo};

/// Keeps the lease of a drive.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) shared: usize,
    state: KeeperState,
}

#[derive(Debug)]
enum KeeperState {
    Resting,
    Looking(Lease),
    Renewing(Lease),
    Marking(Lease),
    Making(Lease),
    Rereading,
}

impl Keeper {
    pub(super) fn new(shared: usize) -> Self {
        Self { shared, state: KeeperState::Resting }
    }

    pub(super) fn first(now: DateTime<Utc>) -> Pending {
        Pending::Sleep { until: now + LEASE.length / 6 }
    }

    pub(super) fn step(&mut self, answer: Answer, shared: &mut Shared, now: DateTime<Utc>) -> Pending {
        let trigger = shared.trigger;
        let Some(holding) = &mut shared.holding else { return Self::first(now) };
        match (std::mem::replace(&mut self.state, KeeperState::Resting), answer) {
            (KeeperState::Resting, _) => match holding.due(now) {
                LeaseAction::Nothing if holding.is_lost() => return Pending::End,
                LeaseAction::Nothing => {}
                LeaseAction::Renew(lease) => {
                    let op = Op::ReadLease(trigger, lease.epoch + 1);
                    self.state = KeeperState::Looking(lease);
                    return Pending::Op(op);
                }
                LeaseAction::Make(lease) => {
                    let op = Op::PutOpen(trigger, lease.epoch);
                    self.state = KeeperState::Marking(lease);
                    return Pending::Op(op);
                }
            },
            (KeeperState::Marking(lease), Answer::Done) => {
                self.state = KeeperState::Making(lease.clone());
                return Pending::Op(Op::MakeLease(trigger, lease));
            }
            (KeeperState::Looking(lease), Answer::Lease(None)) => {
                self.state = KeeperState::Renewing(lease.clone());
                return Pending::Op(Op::PutLease(trigger, lease));
            }
            (KeeperState::Looking(_) | KeeperState::Rereading, Answer::Lease(Some(next))) => {
                holding.apply(LeaseEvent::Superseded(next), now);
            }
            (KeeperState::Renewing(lease) | KeeperState::Making(lease), Answer::Done) => {
                holding.apply(LeaseEvent::Stored(lease), now);
            }
            (KeeperState::Making(_), Answer::Exists) => {
                self.state = KeeperState::Rereading;
                return Pending::Op(Op::NewestLease(trigger));
            }
            // Tried again at the next look.
            _ => {}
        }
        Self::first(now)
    }
}

/// Looks for triggers that nobody drives.
#[derive(Debug)]
pub(super) struct Poller {
    state: PollerState,
}

#[derive(Debug)]
enum PollerState {
    Resting,
    Listing,
    Looking(TriggerNo, Vec<TriggerNo>),
    Reading(TriggerNo, Vec<TriggerNo>),
}

impl Poller {
    pub(super) fn new() -> Self {
        Self { state: PollerState::Resting }
    }

    pub(super) fn first(now: DateTime<Utc>) -> Pending {
        Pending::Sleep { until: now + LEASE.length / 2 }
    }

    /// `driven` says what this process drives; the second value is a trigger to take up.
    pub(super) fn step(
        &mut self,
        answer: Answer,
        driven: impl Fn(TriggerNo) -> bool,
        now: DateTime<Utc>,
    ) -> (Pending, Option<TriggerNo>) {
        match (std::mem::replace(&mut self.state, PollerState::Resting), answer) {
            (PollerState::Resting, _) => {
                self.state = PollerState::Listing;
                (Pending::Op(Op::ListOpen), None)
            }
            (PollerState::Listing, Answer::Open(mut open)) => {
                open.retain(|trigger| !driven(*trigger));
                (self.look(open, now), None)
            }
            (PollerState::Looking(trigger, rest), Answer::Lease(newest)) => {
                if newest.is_some_and(|lease| !is_over(&lease, now, LEASE)) {
                    return (self.look(rest, now), None);
                }
                self.state = PollerState::Reading(trigger, rest);
                (Pending::Op(Op::ReadTrigger(trigger)), None)
            }
            (PollerState::Reading(trigger, rest), Answer::Flag(submitted)) => {
                (self.look(rest, now), submitted.then_some(trigger))
            }
            _ => (Self::first(now), None),
        }
    }

    fn look(&mut self, mut open: Vec<TriggerNo>, now: DateTime<Utc>) -> Pending {
        let Some(trigger) = open.pop() else { return Self::first(now) };
        self.state = PollerState::Looking(trigger, open);
        Pending::Op(Op::NewestLease(trigger))
    }
}

/// Somebody who submits with a key, again and again until there is an answer.
#[derive(Debug)]
pub(super) struct Client {
    key: usize,
    state: ClientState,
}

#[derive(Debug)]
enum ClientState {
    Begin,
    Key(TriggerNo),
    Known,
    Looking(TriggerNo),
    Marking(TriggerNo),
    Making(TriggerNo),
}

impl Client {
    pub(super) fn new(key: usize) -> Self {
        Self { key, state: ClientState::Begin }
    }

    pub(super) fn key(&self) -> usize {
        self.key
    }

    /// No answer came; the next try begins anew.
    pub(super) fn again(&mut self, now: DateTime<Utc>) -> Pending {
        self.state = ClientState::Begin;
        Pending::Sleep { until: now + TimeDelta::milliseconds(100) }
    }

    /// `fresh` is an id that nobody has; the second value is the trigger that was submitted.
    pub(super) fn step(
        &mut self,
        answer: Answer,
        fresh: TriggerNo,
        now: DateTime<Utc>,
    ) -> (Pending, Option<TriggerNo>) {
        let (state, op) = match (std::mem::replace(&mut self.state, ClientState::Begin), answer) {
            (ClientState::Begin, _) => (ClientState::Key(fresh), Op::MakeKey(self.key, fresh)),
            (ClientState::Key(trigger), Answer::Done) => (ClientState::Looking(trigger), Op::ReadTrigger(trigger)),
            (ClientState::Key(_), Answer::Exists) => (ClientState::Known, Op::ReadKey(self.key)),
            (ClientState::Known, Answer::Key(Some(trigger))) => {
                (ClientState::Looking(trigger), Op::ReadTrigger(trigger))
            }
            (ClientState::Looking(trigger), Answer::Flag(true)) => return (Pending::End, Some(trigger)),
            (ClientState::Looking(trigger), Answer::Flag(false)) => {
                (ClientState::Marking(trigger), Op::PutOpen(trigger, 0))
            }
            (ClientState::Marking(trigger), Answer::Done) => (ClientState::Making(trigger), Op::MakeTrigger(trigger)),
            (ClientState::Making(trigger), Answer::Done | Answer::Exists) => return (Pending::End, Some(trigger)),
            _ => return (self.again(now), None),
        };
        self.state = state;
        (Pending::Op(op), None)
    }
}
