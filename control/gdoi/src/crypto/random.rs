//! Where random octets come from: the operating system in a daemon, a seed in a test. The caller
//! chooses; nothing in this crate draws randomness on its own.

use chacha20::ChaCha20Rng;
use rand_core::{Infallible, Rng, SeedableRng, TryCryptoRng, TryRng};
use std::fmt;

/// A source of unpredictable octets.
pub trait Random {
    /// Fills all of `out`.
    fn fill(&mut self, out: &mut [u8]);
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// # Panics
    /// If the operating system has no randomness to give. There is no safe way to go on.
    fn fill(&mut self, out: &mut [u8]) {
        getrandom::fill(out).expect("the operating system gives random octets");
    }
}

/// ChaCha20's key stream under a key made of a seed: the same seed gives the same octets, so a run can
/// be repeated. For tests and simulations only: who knows the seed knows every key.
pub struct SeededRandom(ChaCha20Rng);

impl SeededRandom {
    /// The generator of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self(ChaCha20Rng::from_seed(key))
    }
}

impl Random for SeededRandom {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}

impl fmt::Debug for SeededRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeededRandom")
    }
}

/// Lends a [`Random`] to the crates that want their own trait.
pub(super) struct Lent<'a>(pub(super) &'a mut dyn Random);

impl TryRng for Lent<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut octets = [0; 4];
        self.0.fill(&mut octets);
        Ok(u32::from_le_bytes(octets))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut octets = [0; 8];
        self.0.fill(&mut octets);
        Ok(u64::from_le_bytes(octets))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Lent<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8439 section 2.3.2's block function, with key, counter and nonce 0 (its appendix A.1, test
    /// vector 1).
    #[test]
    fn seed_0_is_the_key_stream_of_rfc_8439_appendix_a1() {
        let mut out = [0; 16];
        SeededRandom::new(0).fill(&mut out);
        let expected =
            [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90, 0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28];
        assert_eq!(out, expected);
    }

    #[test]
    fn a_seed_repeats_itself_and_no_other() {
        let draw = |seed| {
            let mut out = [0; 40];
            SeededRandom::new(seed).fill(&mut out);
            out
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn the_system_fills_all_of_it_and_never_twice_alike() {
        let (mut first, mut second) = ([0; 64], [0; 64]);
        SystemRandom.fill(&mut first);
        SystemRandom.fill(&mut second);
        assert_ne!(first, second);
        assert_ne!(first[32..], [0; 32]);
    }
}
