//! Summaries of the last n values.

use std::fmt::Debug;

use super::chain::{Chain, is_price};

/// A summary of consecutive values that can be joined with that of the values after them.
trait Summary: Copy + Debug + Send + 'static {
    fn of(value: f64) -> Self;

    /// `self` covers the older values.
    fn join(self, newer: Self) -> Self;
}

/// The summary of the last `length` values, at about three joins per value whatever the length.
///
/// Values are taken in blocks of `length`. A window is the end of the block before and the beginning of this one, and
/// both are summarised by joining alone: nothing is ever subtracted, so no rounding error outlives its window.
#[derive(Debug)]
struct Sliding<S> {
    length: usize,
    /// The block before, its i-th entry summing up values i and later; empty while there is none.
    endings: Vec<S>,
    /// The values of this block.
    block: Vec<S>,
    /// The summary of this block.
    beginning: Option<S>,
}

impl<S: Summary> Sliding<S> {
    fn new(length: usize) -> Self {
        Self { length, endings: Vec::new(), block: Vec::new(), beginning: None }
    }

    /// `None` for the first `length - 1` values.
    fn push(&mut self, value: f64) -> Option<S> {
        let value = S::of(value);
        let beginning = self.beginning.map_or(value, |beginning| beginning.join(value));
        self.block.push(value);
        if self.block.len() < self.length {
            self.beginning = Some(beginning);
            return self.endings.get(self.block.len()).map(|ending| ending.join(beginning));
        }
        for index in (1..self.block.len()).rev() {
            self.block[index - 1] = self.block[index - 1].join(self.block[index]);
        }
        std::mem::swap(&mut self.endings, &mut self.block);
        self.block.clear();
        self.beginning = None;
        Some(beginning)
    }
}

#[derive(Debug, Clone, Copy)]
struct Sum(f64);

impl Summary for Sum {
    fn of(value: f64) -> Self {
        Self(value)
    }

    fn join(self, newer: Self) -> Self {
        Self(self.0 + newer.0)
    }
}

#[derive(Debug)]
pub(super) struct MovingMean {
    window: Sliding<Sum>,
    length: f64,
}

impl MovingMean {
    pub(super) fn new(length: usize) -> Self {
        Self { window: Sliding::new(length), length: length as f64 }
    }
}

impl Chain<1> for MovingMean {
    fn push(&mut self, [value]: [f64; 1]) -> f64 {
        self.window.push(value).map_or(f64::NAN, |sum| sum.0 / self.length)
    }
}

/// Count, mean and sum of squared deviations from it (Chan, Golub and LeVeque 1979): exact zero for equal values.
#[derive(Debug, Clone, Copy)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Of the sample: divided by count - 1.
    fn deviation(self) -> f64 {
        (self.squares / (self.count - 1.0)).sqrt()
    }
}

impl Summary for Moments {
    fn of(value: f64) -> Self {
        Self { count: 1.0, mean: value, squares: 0.0 }
    }

    fn join(self, newer: Self) -> Self {
        let count = self.count + newer.count;
        let step = newer.mean - self.mean;
        let share = newer.count / count;
        Self {
            count,
            mean: self.mean + step * share,
            squares: self.squares + newer.squares + step * step * (self.count * share),
        }
    }
}

#[derive(Debug)]
pub(super) struct StandardScore {
    window: Sliding<Moments>,
}

impl StandardScore {
    pub(super) fn new(length: usize) -> Self {
        Self { window: Sliding::new(length) }
    }
}

impl Chain<1> for StandardScore {
    fn push(&mut self, [value]: [f64; 1]) -> f64 {
        // Equal values: 0 / 0, which is no value.
        self.window.push(value).map_or(f64::NAN, |moments| (value - moments.mean) / moments.deviation())
    }
}

#[derive(Debug)]
pub(super) struct LogReturnDeviation {
    previous: Option<f64>,
    window: Sliding<Moments>,
}

impl LogReturnDeviation {
    pub(super) fn new(length: usize) -> Self {
        Self { previous: None, window: Sliding::new(length) }
    }
}

impl Chain<1> for LogReturnDeviation {
    fn accepts([value]: &[f64; 1]) -> bool {
        is_price(*value)
    }

    fn push(&mut self, [value]: [f64; 1]) -> f64 {
        let Some(previous) = self.previous.replace(value) else {
            return f64::NAN;
        };
        self.window.push((value / previous).ln()).map_or(f64::NAN, Moments::deviation)
    }
}

/// Highest and lowest value, and the deepest fall from a peak to a later value as a ratio of the two.
#[derive(Debug, Clone, Copy)]
struct Fall {
    highest: f64,
    lowest: f64,
    ratio: f64,
}

impl Summary for Fall {
    fn of(value: f64) -> Self {
        Self { highest: value, lowest: value, ratio: 1.0 }
    }

    fn join(self, newer: Self) -> Self {
        Self {
            highest: self.highest.max(newer.highest),
            lowest: self.lowest.min(newer.lowest),
            ratio: self.ratio.min(newer.ratio).min(newer.lowest / self.highest),
        }
    }
}

#[derive(Debug)]
pub(super) struct MaximumDrawdown {
    window: Sliding<Fall>,
}

impl MaximumDrawdown {
    pub(super) fn new(length: usize) -> Self {
        Self { window: Sliding::new(length) }
    }
}

impl Chain<1> for MaximumDrawdown {
    fn accepts([value]: &[f64; 1]) -> bool {
        is_price(*value)
    }

    fn push(&mut self, [value]: [f64; 1]) -> f64 {
        self.window.push(value).map_or(f64::NAN, |fall| fall.ratio - 1.0)
    }
}

#[derive(Debug, Clone, Copy)]
struct Highest(f64);

impl Summary for Highest {
    fn of(value: f64) -> Self {
        Self(value)
    }

    fn join(self, newer: Self) -> Self {
        Self(self.0.max(newer.0))
    }
}

#[derive(Debug)]
pub(super) struct DrawdownFromPeak {
    window: Sliding<Highest>,
}

impl DrawdownFromPeak {
    pub(super) fn new(length: usize) -> Self {
        Self { window: Sliding::new(length) }
    }
}

impl Chain<1> for DrawdownFromPeak {
    fn accepts([value]: &[f64; 1]) -> bool {
        is_price(*value)
    }

    fn push(&mut self, [value]: [f64; 1]) -> f64 {
        self.window.push(value).map_or(f64::NAN, |highest| value / highest.0 - 1.0)
    }
}
