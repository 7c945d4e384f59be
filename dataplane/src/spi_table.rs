//! Finds the SA of an SPI. Built by the control thread, immutable afterwards, published as a whole
//! (`publish`) and read by every worker without any synchronisation; never changed in place.
//!
//! hashbrown with one multiplication as its hash. Measured on a 2.6 GHz Sapphire Rapids, in bursts of
//! 32, ns a lookup at 10 / 1,000 / 100,000 SAs, beside a bucketed table of our own that keeps 5 keys and
//! 5 pointers in one cache line: known SPIs 1.8 / 1.9 / 3.4 (bucketed 2.2 / 2.2 / 4.1), unknown ones
//! 2.5 / 2.4 / 8.8 (3.2 / 3.6 / 7.3), known ones with the L2 cache swept 8 / 17 / 58 (9 / 20 / 48).
//! The bucketed table's gain in the last case is not worth code of our own. `dpdk-test-sad` says
//! 34 / 34 / 48 cycles on the same machine, which is 13 / 13 / 18 ns.

use hashbrown::HashMap;
use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

/// An immutable map from SPI to `V`.
#[derive(Debug)]
pub struct SpiTable<V> {
    map: HashMap<u32, V, SpiHash>,
}

impl<V> SpiTable<V> {
    /// Makes a table of `entries`. Of entries with the same SPI the last one stays.
    pub fn build(entries: impl IntoIterator<Item = (u32, V)>) -> Self {
        let entries = entries.into_iter();
        let mut map = HashMap::with_capacity_and_hasher(entries.size_hint().0, SpiHash::random());
        map.extend(entries);
        Self { map }
    }

    /// The value of `spi`.
    #[inline]
    #[must_use]
    pub fn get(&self, spi: u32) -> Option<&V> {
        self.map.get(&spi)
    }

    /// Writes the value of each of `spis` to the same place of `out`, as far as the shorter of the
    /// two goes. No lookup depends on another, so the processor overlaps their cache misses: look up
    /// a whole burst before using any of it.
    #[inline]
    pub fn get_burst<'a>(&'a self, spis: &[u32], out: &mut [Option<&'a V>]) {
        for (spi, out) in spis.iter().zip(out) {
            *out = self.map.get(spi);
        }
    }

    /// Every SPI with its value, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &V)> {
        self.map.iter().map(|(spi, value)| (*spi, value))
    }

    /// How many SPIs the table holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

/// Multiplicative hashing under a random odd multiplier, so that nobody can choose SPIs that collide.
#[derive(Clone, Copy, Debug)]
struct SpiHash {
    multiplier: u64,
}

impl SpiHash {
    fn random() -> Self {
        Self { multiplier: RandomState::new().build_hasher().finish() | 1 }
    }
}

impl BuildHasher for SpiHash {
    type Hasher = SpiHasher;

    #[inline]
    fn build_hasher(&self) -> SpiHasher {
        SpiHasher { multiplier: self.multiplier, hash: 0 }
    }
}

#[derive(Clone, Copy, Debug)]
struct SpiHasher {
    multiplier: u64,
    hash: u64,
}

impl Hasher for SpiHasher {
    /// Keys are SPIs: this only keeps the promise of the trait.
    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.write_u32(u32::from(*octet));
        }
    }

    /// hashbrown takes the position from the low bits and a tag from the top seven. Only the upper
    /// half of the product depends on every bit of the SPI, so the halves change places.
    #[inline]
    fn write_u32(&mut self, spi: u32) {
        self.hash = (self.hash ^ u64::from(spi)).wrapping_mul(self.multiplier).rotate_left(32);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::SpiTable;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn an_empty_table_finds_nothing() {
        let table = SpiTable::<u8>::build([]);
        assert!(table.is_empty());
        assert_eq!((table.get(0), table.get(1), table.get(u32::MAX)), (None, None, None));
    }

    #[test]
    fn of_entries_with_the_same_spi_the_last_one_stays() {
        let table = SpiTable::build([(256, 'a'), (257, 'b'), (256, 'c')]);
        assert_eq!((table.len(), table.get(256)), (2, Some(&'c')));
    }

    #[test]
    fn a_hundred_thousand_spis_are_all_found_and_no_other_however_they_are_spaced() {
        for shift in [0, 8, 15] {
            let table = SpiTable::build((1..=100_000_u32).map(|n| (n << shift, n)));
            assert!((1..=100_000_u32).all(|n| table.get(n << shift) == Some(&n)));
            assert!((100_001..131_000_u32).all(|n| table.get(n << shift).is_none()));
        }
    }

    proptest! {
        #[test]
        fn it_finds_what_an_ordered_map_finds_one_by_one_and_in_bursts(
            entries in prop::collection::vec((0_u32..600, any::<u16>()), 0..500),
            spread in prop_oneof![Just(1_u32), Just(1 << 16), any::<u32>().prop_map(|n| n | 1)],
        ) {
            let entries: Vec<_> =
                entries.into_iter().map(|(spi, value)| (spi.wrapping_mul(spread), value)).collect();
            let expected: BTreeMap<u32, u16> = entries.iter().copied().collect();
            let table = SpiTable::build(entries);
            prop_assert_eq!(table.iter().map(|(s, v)| (s, *v)).collect::<BTreeMap<_, _>>(), expected.clone());
            let spis: Vec<u32> = (0..700_u32).map(|spi| spi.wrapping_mul(spread)).collect();
            for burst in spis.chunks(32) {
                let mut out = [Some(&0); 32];
                table.get_burst(burst, &mut out);
                for (spi, found) in burst.iter().zip(out) {
                    prop_assert_eq!(found, expected.get(spi));
                    prop_assert_eq!(table.get(*spi), expected.get(spi));
                }
            }
        }
    }
}
