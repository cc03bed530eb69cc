//! A geometric random walk of one symbol.

use super::calendar::{FIRST, Minute, Session};
use super::random::RandomStream;

/// Prices are counted in units of 0.0001.
pub(super) type Price = u32;

pub(super) const UNITS_PER_CENT: Price = 100;
const LOWEST: f64 = 1.0;
const HIGHEST: f64 = 5_000.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) open: Price,
    pub(super) high: Price,
    pub(super) low: Price,
    pub(super) close: Price,
    /// Shares.
    pub(super) volume: u64,
}

impl Bar {
    pub(super) fn flat(price: Price, volume: u64) -> Self {
        Self { open: price, high: price, low: price, close: price, volume }
    }
}

/// Which neighbour of a bar comes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Files with the newest bar first: the walk goes from closes to opens.
    IntoThePast,
    IntoTheFuture,
}

/// How much a bar moves and trades.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Standard deviation of the relative change.
    pub(super) volatility: f64,
    /// Factor on the symbol's mean volume of a minute.
    pub(super) activity: f64,
}

#[derive(Debug)]
pub(super) struct Walk {
    random: RandomStream,
    direction: Direction,
    /// Where the last bar ended, in the walk's direction.
    price: f64,
    /// The symbol's mean volume of a minute.
    volume: f64,
}

impl Walk {
    /// `symbol` decides where prices and volumes begin and is the same in all feeds; `random` moves them.
    pub(super) fn new(mut symbol: RandomStream, random: RandomStream, direction: Direction) -> Self {
        // Doublings spread prices and volumes evenly over magnitudes: 8 to 512 and 400 to 51,200 shares a minute.
        let doublings = symbol.below(6);
        let price = 8.0 * f64::from(1_u32 << doublings) * (1.0 + symbol.uniform());
        let doublings = symbol.below(7);
        let volume = 400.0 * f64::from(1_u32 << doublings) * (1.0 + symbol.uniform());
        Self { random, direction, price, volume }
    }

    pub(super) fn step(&mut self, pace: Pace) -> Bar {
        let near = self.price;
        self.price = (near * (1.0 + pace.volatility * self.random.bell())).clamp(LOWEST, HIGHEST);
        // Half of all bars show prices between the cents, as adjusted prices do.
        let tick = if self.random.below(2) == 0 { 1 } else { UNITS_PER_CENT };
        let (near, far) = (rounded(near, UNITS_PER_CENT), rounded(self.price, tick));
        let wick = 0.6 * pace.volatility * self.price;
        let above = rounded(wick * self.random.bell().abs(), tick);
        let below = rounded(wick * self.random.bell().abs(), tick);
        let (open, close) = match self.direction {
            Direction::IntoThePast => (far, near),
            Direction::IntoTheFuture => (near, far),
        };
        let spread = self.random.bell();
        let volume = self.volume * pace.activity * (0.2 + 0.8 * spread * spread);
        Bar {
            open,
            close,
            high: open.max(close) + above,
            low: open.min(close).saturating_sub(below).max(UNITS_PER_CENT),
            volume: 1 + volume as u64,
        }
    }

    /// The night between two sessions.
    pub(super) fn skip_night(&mut self) {
        self.price = (self.price * (1.0 + 0.008 * self.random.bell())).clamp(LOWEST, HIGHEST);
    }

    /// A price to quote while nothing trades.
    pub(super) fn quote(&self) -> Price {
        rounded(self.price, UNITS_PER_CENT)
    }

    /// Whether there is a bar in a minute outside the session.
    pub(super) fn trades(&mut self, probability: f64) -> bool {
        self.random.chance(probability)
    }
}

/// Trading is busiest at both ends of a session and calmest around noon.
pub(super) fn smile(session: &Session, minute: Minute) -> Pace {
    let half = f64::from(session.last - FIRST) / 2.0;
    let place = f64::from(minute - FIRST) / half - 1.0;
    let smile = 0.5 + 1.5 * place * place;
    Pace { volatility: 0.000_5 * smile.sqrt(), activity: smile }
}

/// `price` in units of 0.0001, on a multiple of `tick`. Prices are at most [`HIGHEST`], which fits.
fn rounded(price: f64, tick: Price) -> Price {
    (price * 10_000.0 / f64::from(tick) + 0.5) as Price * tick
}
