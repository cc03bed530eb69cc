//! Reproducible random numbers.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Numbers of one file and one purpose. Only exact operations of IEEE 754 are used, no `exp` or `ln`: their last bit
/// differs between platforms, and equal options must give equal bytes everywhere.
#[derive(Debug)]
pub(super) struct RandomStream(ChaCha8Rng);

/// What the numbers are for. Each purpose has its own stream, so that planting defects moves no price.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Symbol = 0,
    Prices = 1,
    Defects = 2,
}

impl RandomStream {
    /// `name` tells files apart; its first 24 bytes count.
    pub(super) fn new(seed: u64, name: &str, purpose: Purpose) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        for (place, byte) in key[8..].iter_mut().zip(name.bytes()) {
            *place = byte;
        }
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(purpose as u64);
        Self(generator)
    }

    /// In [0, 1).
    pub(super) fn uniform(&mut self) -> f64 {
        // 53 bits are a double's precision.
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// In [0, end).
    pub(super) fn below(&mut self, end: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(end)) >> 32) as u32
    }

    /// Mean 0, variance 1, nearly a bell: the sum of four uniform numbers of 16 bits.
    pub(super) fn bell(&mut self) -> f64 {
        let bits = self.0.next_u64();
        let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xffff).sum();
        // Four uniform numbers have the variance 4 / 12 together.
        (sum as f64 / 65_536.0 - 2.0) * 1.732_050_807_568_877_2
    }
}
