//! Octets that nobody else may see: keys, shared secrets, keying material. Wiped when dropped, never
//! printed, compared in constant time.

use super::Random;
use std::fmt;
use std::ops::Deref;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Secret octets. `Debug` shows only their number; `==` takes the same time wherever they differ.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the octets over; they are wiped when this value is dropped.
    #[must_use]
    pub fn new(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }

    /// `len` octets from `random`.
    #[must_use]
    pub fn random(len: usize, random: &mut dyn Random) -> Self {
        let mut secret = Self::new(vec![0; len]);
        random.fill(&mut secret.0);
        secret
    }

    /// The parts, one behind the other. No copy is left behind.
    #[must_use]
    pub fn concat(parts: &[&[u8]]) -> Self {
        let mut octets = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            octets.extend_from_slice(part);
        }
        Self::new(octets)
    }

    /// The first `len` octets, or `None` if there are fewer.
    #[must_use]
    pub fn first(&self, len: usize) -> Option<Self> {
        self.0.get(..len).map(Self::from)
    }

    /// The octets as an array, if there are exactly `N`.
    #[must_use]
    pub fn to_array<const N: usize>(&self) -> Option<Zeroizing<[u8; N]>> {
        self.0.as_slice().try_into().ok().map(Zeroizing::new)
    }

    /// The octets.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Secret {
    fn from(octets: &[u8]) -> Self {
        Self::new(octets.to_vec())
    }
}

impl Deref for Secret {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Secret {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self == other.as_slice()
    }
}

impl Eq for Secret {}

/// Compares a computed HASH with a received one in constant time. Only the lengths are not secret.
impl PartialEq<[u8]> for Secret {
    fn eq(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }
}

impl PartialEq<&[u8]> for Secret {
    fn eq(&self, other: &&[u8]) -> bool {
        *self == **other
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} octets)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SeededRandom;

    #[test]
    fn debug_shows_no_octet() {
        let secret = Secret::from([0xabu8, 171].as_slice());
        assert_eq!(format!("{secret:?}"), "Secret(2 octets)");
        assert_eq!(format!("{:?}", Some(&secret)), "Some(Secret(2 octets))");
    }

    #[test]
    fn equal_only_if_every_octet_and_the_length_are() {
        let secret = Secret::from([1u8, 2, 3].as_slice());
        assert_eq!(secret, Secret::concat(&[&[1], &[], &[2, 3]]));
        for other in [&[1u8, 2][..], &[1, 2, 4], &[0, 2, 3], &[1, 2, 3, 0], &[]] {
            assert!(secret != *other);
        }
    }

    #[test]
    fn parts_of_a_secret_are_there_or_none() {
        let secret = Secret::random(20, &mut SeededRandom::new(7));
        assert_eq!(secret.first(16).unwrap(), secret[..16]);
        assert!(secret.first(21).is_none());
        assert_eq!(secret.to_array::<20>().unwrap().as_slice(), &secret[..]);
        assert!(secret.to_array::<16>().is_none());
    }
}
