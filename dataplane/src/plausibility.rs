//! Tells SPIs that a key server can have given out from random ones, by a keyed hash that is part of the
//! SPI. The control thread makes the test and publishes it; workers ask it for unknown SPIs only. Knows
//! nothing of how keys are had; without keys nothing can be told.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// What can be said of an SPI that no SA has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plausibility {
    /// It bears the mark of a key server that this member has a key of.
    Plausible,
    /// There are key servers whose SPIs cannot be told from others.
    Unverifiable,
    /// No key server of this member has given it out.
    Implausible,
}

/// The test of unknown SPIs. The default is that of a member without key servers: nobody would bring the SA.
#[derive(Clone, Default)]
pub struct SpiTest {
    /// Of each key one octet of every number's mark: 64 KiB that stay in the caches in a flood, where to compute
    /// the mark of each packet's would double what a forged one costs. 255 of 256 go no further.
    marks: Arc<[Marks]>,
    others: bool,
    /// Sorted.
    fruitless: Arc<[u32]>,
}

#[derive(Clone)]
struct Marks {
    key: SpiKey,
    last_octets: Arc<Zeroizing<Vec<u8>>>,
}

impl Marks {
    #[inline(always)]
    fn has(&self, spi: u32) -> bool {
        let [a, b, _, last] = spi.to_be_bytes();
        let number = usize::from(u16::from_be_bytes([a, b]));
        self.last_octets.get(number) == Some(&last) && self.confirms(spi)
    }

    #[cold]
    fn confirms(&self, spi: u32) -> bool {
        self.key.marks(spi)
    }
}

impl SpiTest {
    /// So many keys are tried for an SPI; the SPIs of any further ones cannot be told from others.
    pub const MAX_KEYS: usize = 8;

    /// A test by `keys`; equal ones count once. `others` says whether there are also key servers that mark
    /// no SPIs. Takes about a millisecond for each key.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = SpiKey>, others: bool) -> Self {
        Self::default().renewed(keys, others)
    }

    /// The same as a new test, at no cost for keys that this one has.
    #[must_use]
    pub fn renewed(&self, keys: impl IntoIterator<Item = SpiKey>, others: bool) -> Self {
        let mut tried: Vec<SpiKey> = Vec::new();
        let mut others = others;
        for key in keys {
            if tried.contains(&key) {
                continue;
            }
            match tried.len() < Self::MAX_KEYS {
                true => tried.push(key),
                false => others = true,
            }
        }
        let known = |key: &SpiKey| self.marks.iter().find(|marks| marks.key == *key).cloned();
        SpiTest {
            marks: tried.iter().map(|key| known(key).unwrap_or_else(|| key.all_marks())).collect(),
            others,
            fruitless: Arc::clone(&self.fruitless),
        }
    }

    /// The same, and these SPIs are of no use to wait for.
    #[must_use]
    pub fn with_fruitless(self, spis: impl IntoIterator<Item = u32>) -> Self {
        let mut spis: Vec<u32> = spis.into_iter().collect();
        spis.sort_unstable();
        spis.dedup();
        SpiTest { fruitless: spis.into(), ..self }
    }

    /// SPIs that packets do not wait for, whatever they look like: the key servers were asked, and no SA came.
    #[must_use]
    pub fn fruitless(&self) -> &[u32] {
        &self.fruitless
    }

    /// Whether `spi` is one of them.
    #[must_use]
    pub fn is_fruitless(&self, spi: u32) -> bool {
        self.fruitless.binary_search(&spi).is_ok()
    }

    /// What can be said of `spi`.
    #[inline]
    #[must_use]
    pub fn of(&self, spi: u32) -> Plausibility {
        if spi < FIRST {
            Plausibility::Implausible
        } else if self.marks.iter().any(|marks| marks.has(spi)) {
            Plausibility::Plausible
        } else if self.others {
            Plausibility::Unverifiable
        } else {
            Plausibility::Implausible
        }
    }
}

impl fmt::Debug for SpiTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpiTest").field("keys", &self.marks.len()).field("others", &self.others).finish()
    }
}

/// SPIs below are reserved (RFC 4303 section 2.1).
const FIRST: u32 = 256;

/// The key of a key server's marks.
///
/// ```text
///  31                16 15                 0
/// +--------------------+--------------------+
/// |       number       |        mark        |
/// +--------------------+--------------------+
/// ```
///
/// The mark is the low 16 bits of SipHash-2-4, under the key, of the number's two octets in network byte
/// order. Half and half: under one key there are 65,536 SPIs, which last a group with four SAs an hour for
/// almost two years, and one in 65,536 random SPIs bears a right mark, 227 a second of a 10 Gbit/s flood of
/// the smallest frames. With four bits more for the number that would be 3,600, more than workers let wait.
///
/// The key has 16 octets, k0 and k1 of SipHash in little-endian order. Under the key 00 01 .. 0f the number
/// 1 has the mark 0x4f5a.
#[derive(Clone, PartialEq, Eq)]
pub struct SpiKey(Zeroizing<[u64; 2]>);

impl SpiKey {
    /// The key of these octets.
    #[must_use]
    pub fn new(octets: &[u8; 16]) -> Self {
        let (mut k0, mut k1) = ([0; 8], [0; 8]);
        k0.copy_from_slice(&octets[..8]);
        k1.copy_from_slice(&octets[8..]);
        SpiKey(Zeroizing::new([u64::from_le_bytes(k0), u64::from_le_bytes(k1)]))
    }

    /// The SPI of a number; `None` when it would be one of the reserved, which only that of number 0 can be.
    #[must_use]
    pub fn spi(&self, number: u16) -> Option<u32> {
        let spi = u32::from(number) << 16 | u32::from(self.mark(number));
        Some(spi).filter(|&spi| spi >= FIRST)
    }

    /// Whether this key has marked `spi`.
    #[must_use]
    pub fn marks(&self, spi: u32) -> bool {
        let [a, b, c, d] = spi.to_be_bytes();
        self.mark(u16::from_be_bytes([a, b])) == u16::from_be_bytes([c, d]) && spi >= FIRST
    }

    fn all_marks(&self) -> Marks {
        let last_octet = |number| self.mark(number).to_be_bytes()[1];
        let last_octets = (0..=u16::MAX).map(last_octet).collect();
        Marks { key: self.clone(), last_octets: Arc::new(Zeroizing::new(last_octets)) }
    }

    fn mark(&self, number: u16) -> u16 {
        let [.., a, b] = sip_2_4(*self.0, number.to_be_bytes()).to_be_bytes();
        u16::from_be_bytes([a, b])
    }
}

impl fmt::Debug for SpiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpiKey")
    }
}

/// SipHash-2-4 (Aumasson and Bernstein, 2012) of two octets, which are one block with their length.
fn sip_2_4([k0, k1]: [u64; 2], message: [u8; 2]) -> u64 {
    let block = (message.len() as u64) << 56 | u64::from(u16::from_le_bytes(message));
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    v[3] ^= block;
    (0..2).for_each(|_| sip_round(&mut v));
    v[0] ^= block;
    v[2] ^= 0xff;
    (0..4).for_each(|_| sip_round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn sip_round([a, b, c, d]: &mut [u64; 4]) {
    *a = a.wrapping_add(*b);
    *b = b.rotate_left(13) ^ *a;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*d);
    *d = d.rotate_left(16) ^ *c;
    *a = a.wrapping_add(*d);
    *d = d.rotate_left(21) ^ *a;
    *c = c.wrapping_add(*b);
    *b = b.rotate_left(17) ^ *c;
    *c = c.rotate_left(32);
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::{Plausibility, SpiKey, SpiTest, sip_2_4};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn key(seed: u8) -> SpiKey {
        SpiKey::new(&[seed; 16])
    }

    #[test]
    fn the_hash_is_that_of_its_authors() {
        // The third vector that comes with the reference implementation: two octets, 00 01.
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        assert_eq!(
            sip_2_4(key, [0, 1]),
            u64::from_le_bytes([0x5a, 0x4f, 0xa9, 0xd9, 0x09, 0x80, 0x6c, 0x0d])
        );
        assert_eq!(
            SpiKey::new(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]).spi(1),
            Some(0x0001_4f5a)
        );
    }

    proptest! {
        #[test]
        #[expect(deprecated, reason = "std's SipHash-2-4 under a chosen key")]
        fn the_hash_is_that_of_the_standard_library(k0: u64, k1: u64, message: [u8; 2]) {
            use std::hash::Hasher;
            let mut theirs = std::hash::SipHasher::new_with_keys(k0, k1);
            theirs.write(&message);
            prop_assert_eq!(sip_2_4([k0, k1], message), theirs.finish());
        }
    }

    #[test]
    fn a_key_marks_one_spi_of_each_number_and_no_reserved_one() {
        let key = key(7);
        let marked: Vec<u32> = (0..=u16::MAX).filter_map(|number| key.spi(number)).collect();
        assert!(marked.len() >= 65_535);
        for &spi in &marked {
            assert!(spi >= 256 && key.marks(spi));
            assert!(!key.marks(spi ^ 1) && !key.marks(spi ^ 0x8000));
        }
        assert!((0..256).all(|spi| !key.marks(spi)));
    }

    #[test]
    fn of_a_million_random_spis_some_fifteen_look_right() {
        let key = key(42);
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 32) as u32
        };
        let right = (0..1_000_000).filter(|_| key.marks(next())).count();
        assert!((3..40).contains(&right), "{right}");
    }

    #[test]
    fn an_spi_is_plausible_under_any_key_and_else_what_the_other_key_servers_make_it() {
        let (a, b) = (key(1), key(2));
        let (spi, theirs) = (a.spi(1234).unwrap(), b.spi(1234).unwrap());
        let all = SpiTest::new([a.clone()], false);
        for spi in (0..=u16::MAX).filter_map(|number| a.spi(number)) {
            assert_eq!(all.of(spi), Plausibility::Plausible);
            assert_eq!(all.of(spi ^ 2), Plausibility::Implausible);
        }
        let test = SpiTest::new([a.clone(), a.clone()], false);
        assert_eq!((test.of(spi), test.of(theirs)), (Plausibility::Plausible, Plausibility::Implausible));
        let test = SpiTest::new([a.clone(), b], false);
        assert_eq!((test.of(spi), test.of(theirs)), (Plausibility::Plausible, Plausibility::Plausible));
        let test = SpiTest::new([a], true);
        assert_eq!((test.of(spi), test.of(theirs)), (Plausibility::Plausible, Plausibility::Unverifiable));
        assert_eq!(test.of(255), Plausibility::Implausible);
        assert_eq!(SpiTest::default().of(spi), Plausibility::Implausible);
        assert_eq!(format!("{test:?}"), "SpiTest { keys: 1, others: true }");
    }

    #[test]
    fn what_is_fruitless_stays_so_when_keys_are_renewed() {
        let test = SpiTest::new([key(1)], false).with_fruitless([9, 3, 3, 700]);
        let renewed = test.renewed([key(2)], false);
        assert_eq!(renewed.fruitless(), [3, 9, 700]);
        assert!(renewed.is_fruitless(9) && !renewed.is_fruitless(4));
        assert!(renewed.with_fruitless([]).fruitless().is_empty());
    }

    #[test]
    fn the_work_for_an_spi_is_bounded_and_what_is_not_looked_at_may_be_anything() {
        let keys: Vec<SpiKey> = (0..10).map(|n| key(n * 16)).collect();
        let test = SpiTest::new(keys.clone(), false);
        assert_eq!(test.marks.len(), SpiTest::MAX_KEYS);
        let renewed = test.renewed(keys[1..3].iter().cloned(), false);
        assert_eq!(renewed.marks.len(), 2);
        assert!(Arc::ptr_eq(&renewed.marks[0].last_octets, &test.marks[1].last_octets), "computed again");
        assert_eq!(test.of(keys[0].spi(9).unwrap()), Plausibility::Plausible);
        assert_eq!(test.of(keys[9].spi(9).unwrap()), Plausibility::Unverifiable);
    }
}
