//! Volume-weighted average price.

use super::chain::Chain;

/// Turnover over volume since the first row.
#[derive(Debug, Default)]
pub(super) struct VolumeWeightedPrice {
    turnover: CompensatedSum,
    volume: CompensatedSum,
}

impl Chain<2> for VolumeWeightedPrice {
    fn accepts([price, volume]: &[f64; 2]) -> bool {
        price.is_finite() && volume.is_finite() && *volume >= 0.0 && (price * volume).is_finite()
    }

    fn push(&mut self, [price, volume]: [f64; 2]) -> f64 {
        // No volume yet: 0 / 0, which is no value.
        self.turnover.add(price * volume) / self.volume.add(volume)
    }
}

/// A running sum whose error does not grow with its length (Kahan 1965).
#[derive(Debug, Default)]
struct CompensatedSum {
    sum: f64,
    excess: f64,
}

impl CompensatedSum {
    fn add(&mut self, value: f64) -> f64 {
        let value = value - self.excess;
        let sum = self.sum + value;
        self.excess = (sum - self.sum) - value;
        self.sum = sum;
        sum
    }
}
