//! The mark that a key server of this make puts into its SPIs, by which its members tell them from random
//! ones. Peers of other makes see ordinary SPIs.

use super::EspSpi;
use crate::crypto::{Random, Secret};
use siphasher::sip::SipHasher24;
use zeroize::Zeroizing;

/// SPIs below are reserved (RFC 4303 section 2.1).
const FIRST: u32 = 256;

/// The key of the marks of one group's SPIs.
///
/// ```text
///  31                16 15                 0
/// +--------------------+--------------------+
/// |       number       |        mark        |
/// +--------------------+--------------------+
/// ```
///
/// The mark is the low 16 bits of SipHash-2-4, under this key, of the number's two octets in network byte
/// order. It proves nothing, since every member has the key: it only makes guessing expensive.
#[derive(Clone, Debug, PartialEq)]
pub struct SpiKey(Secret);

impl Eq for SpiKey {}

impl SpiKey {
    /// Octets of the key: k0 and k1 of SipHash in little-endian order.
    pub const LEN: usize = 16;

    /// The key of these octets; `None` unless there are [`SpiKey::LEN`].
    #[must_use]
    pub fn new(octets: &[u8]) -> Option<Self> {
        (octets.len() == Self::LEN).then(|| Self(octets.into()))
    }

    /// A new one.
    #[must_use]
    pub fn draw(random: &mut dyn Random) -> Self {
        Self(Secret::random(Self::LEN, random))
    }

    /// The key's octets.
    #[must_use]
    pub fn octets(&self) -> Zeroizing<[u8; Self::LEN]> {
        // There are as many: `new` and `draw` make no others.
        self.0.to_array().unwrap_or_default()
    }

    /// The SPI of a number; `None` when it would be one of the reserved, which only that of number 0 can be.
    #[must_use]
    pub fn spi(&self, number: u16) -> Option<EspSpi> {
        let spi = u32::from(number) << 16 | u32::from(self.mark(number));
        (spi >= FIRST).then_some(EspSpi(spi))
    }

    /// Whether this key has marked `spi`.
    #[must_use]
    pub fn marks(&self, spi: EspSpi) -> bool {
        let [a, b, ..] = spi.0.to_be_bytes();
        self.spi(u16::from_be_bytes([a, b])) == Some(spi)
    }

    fn mark(&self, number: u16) -> u16 {
        let hash = SipHasher24::new_with_key(&self.octets()).hash(&number.to_be_bytes());
        let [.., a, b] = hash.to_be_bytes();
        u16::from_be_bytes([a, b])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SeededRandom;

    #[test]
    fn the_mark_is_that_of_the_authors_of_the_hash() {
        // The third vector that comes with the reference implementation: two octets, 00 01, under the key
        // 00 01 .. 0f; its hash begins with 5a 4f in little-endian order.
        let octets: Vec<u8> = (0..16).collect();
        assert_eq!(SpiKey::new(&octets).unwrap().spi(1), Some(EspSpi(0x0001_4f5a)));
        assert_eq!(SpiKey::new(&octets[1..]), None);
    }

    #[test]
    fn a_key_marks_one_spi_of_each_number_and_no_reserved_one() {
        let key = SpiKey::draw(&mut SeededRandom::new(7));
        for number in 1..=u16::MAX {
            let spi = key.spi(number).unwrap();
            assert!(spi.0 >= FIRST && key.marks(spi) && !key.marks(EspSpi(spi.0 ^ 1)));
        }
        assert!((0..FIRST).all(|spi| !key.marks(EspSpi(spi))));
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", SpiKey::new(&[0x41; 16]).unwrap()), "SpiKey(Secret(16 octets))");
    }
}
