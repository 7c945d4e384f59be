//! Chance, drawn from the seed. Each part of a run has dice of its own, so that what one part draws does
//! not change what happens to the others.

use getvpn_gdoi::crypto::{Random, SeededRandom};
use std::time::Duration;

/// A source of chance.
#[derive(Debug)]
pub(crate) struct Dice(SeededRandom);

/// The generator for one part of a run.
pub(crate) fn stream(seed: u64, part: u64) -> SeededRandom {
    // Neighbouring seeds and parts must not meet: the finaliser of SplitMix64 spreads them.
    let mut mixed = seed.wrapping_add(part.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    SeededRandom::new(mixed ^ (mixed >> 31))
}

impl Dice {
    pub(crate) fn new(seed: u64, part: u64) -> Self {
        Self(stream(seed, part))
    }

    fn draw(&mut self) -> u64 {
        let mut octets = [0; 8];
        self.0.fill(&mut octets);
        u64::from_le_bytes(octets)
    }

    /// From 0 to 1, 1 excluded.
    fn unit(&mut self) -> f64 {
        // 53 bits are what a double holds exactly.
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.draw() % bound).unwrap_or(0)
    }

    pub(crate) fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())]
    }

    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + most.saturating_sub(least).mul_f64(self.unit())
    }

    /// Between events that come independently of each other, so often on average.
    pub(crate) fn interval(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.unit()).ln())
    }

    /// Each scale is as likely as the next: seconds as hours.
    pub(crate) fn spread(&mut self, least: Duration, most: Duration) -> Duration {
        let ratio = most.as_secs_f64() / least.as_secs_f64();
        least.mul_f64(ratio.powf(self.unit()))
    }
}
