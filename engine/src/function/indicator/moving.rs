//! Averages with infinite memory and what is built from them.

use super::chain::Chain;

/// `average += factor * (value - average)`, seeded with the mean of the first `length` values.
#[derive(Debug)]
pub(super) struct MovingAverage {
    length: usize,
    factor: f64,
    seen: usize,
    average: f64,
}

impl MovingAverage {
    pub(super) fn exponential(length: usize) -> Self {
        Self { length, factor: 2.0 / (length as f64 + 1.0), seen: 0, average: 0.0 }
    }

    fn wilder(length: usize) -> Self {
        Self { length, factor: 1.0 / length as f64, seen: 0, average: 0.0 }
    }

    fn next(&mut self, value: f64) -> f64 {
        if self.seen >= self.length {
            self.average += self.factor * (value - self.average);
            return self.average;
        }
        // The seed grows as a running mean, which a flat series leaves exactly flat; sum / n would not.
        self.seen += 1;
        self.average += (value - self.average) / self.seen as f64;
        if self.seen < self.length { f64::NAN } else { self.average }
    }
}

impl Chain<1> for MovingAverage {
    fn push(&mut self, [value]: [f64; 1]) -> f64 {
        self.next(value)
    }
}

/// Average gain in percent of average movement, after Wilder.
#[derive(Debug)]
pub(super) struct RelativeStrength {
    previous: Option<f64>,
    gain: MovingAverage,
    loss: MovingAverage,
}

impl RelativeStrength {
    pub(super) fn new(length: usize) -> Self {
        Self { previous: None, gain: MovingAverage::wilder(length), loss: MovingAverage::wilder(length) }
    }
}

impl Chain<1> for RelativeStrength {
    fn push(&mut self, [value]: [f64; 1]) -> f64 {
        let Some(previous) = self.previous.replace(value) else {
            return f64::NAN;
        };
        let change = value - previous;
        let gain = self.gain.next(change.max(0.0));
        let loss = self.loss.next((-change).max(0.0));
        let movement = gain + loss;
        if movement == 0.0 { 0.0 } else { 100.0 * (gain / movement) }
    }
}

/// Fast less slow exponential average, each seeded from the first values of the series.
#[derive(Debug)]
pub(super) struct Macd {
    fast: MovingAverage,
    slow: MovingAverage,
}

impl Macd {
    pub(super) fn new(fast: usize, slow: usize) -> Self {
        Self { fast: MovingAverage::exponential(fast), slow: MovingAverage::exponential(slow) }
    }

    fn next(&mut self, value: f64) -> f64 {
        self.fast.next(value) - self.slow.next(value)
    }
}

impl Chain<1> for Macd {
    fn push(&mut self, [value]: [f64; 1]) -> f64 {
        self.next(value)
    }
}

/// Exponential average of [`Macd`].
#[derive(Debug)]
pub(super) struct MacdSignal {
    macd: Macd,
    signal: MovingAverage,
}

impl MacdSignal {
    pub(super) fn new(macd: Macd, signal: usize) -> Self {
        Self { macd, signal: MovingAverage::exponential(signal) }
    }

    /// Line and signal.
    fn next(&mut self, value: f64) -> (f64, f64) {
        let macd = self.macd.next(value);
        let signal = if macd.is_finite() { self.signal.next(macd) } else { f64::NAN };
        (macd, signal)
    }
}

impl Chain<1> for MacdSignal {
    fn push(&mut self, [value]: [f64; 1]) -> f64 {
        self.next(value).1
    }
}

/// [`Macd`] less its signal.
#[derive(Debug)]
pub(super) struct MacdHistogram(MacdSignal);

impl MacdHistogram {
    pub(super) fn new(macd: Macd, signal: usize) -> Self {
        Self(MacdSignal::new(macd, signal))
    }
}

impl Chain<1> for MacdHistogram {
    fn push(&mut self, [value]: [f64; 1]) -> f64 {
        let (macd, signal) = self.0.next(value);
        macd - signal
    }
}
