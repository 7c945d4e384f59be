//! What protects phase 1: cipher, hash and group, as one name. Which of them are offered and accepted is
//! the configuration's choice; nothing is negotiated that no suite names.

use crate::crypto::{DhGroup, HashAlgorithm};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The cipher of phase 1: AES in CBC mode (RFC 3602).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cipher {
    /// A key of 128 bits.
    Aes128,
    /// A key of 192 bits.
    Aes192,
    /// A key of 256 bits.
    Aes256,
}

impl Cipher {
    /// All of them, the shortest key first.
    pub const ALL: [Self; 3] = [Self::Aes128, Self::Aes192, Self::Aes256];

    /// Octets of the key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    /// Bits of the key: the Key Length attribute.
    #[must_use]
    pub const fn key_bits(self) -> u16 {
        match self {
            Self::Aes128 => 128,
            Self::Aes192 => 192,
            Self::Aes256 => 256,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Aes128 => "aes128",
            Self::Aes192 => "aes192",
            Self::Aes256 => "aes256",
        }
    }
}

/// A phase 1 suite, written as `aes256-sha256-ecp256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Suite {
    /// Encrypts the messages from the fifth on.
    pub cipher: Cipher,
    /// Makes the prf (HMAC) and the first IV.
    pub hash: HashAlgorithm,
    /// For the key exchange.
    pub group: DhGroup,
}

impl Suite {
    /// What is offered and accepted where a configuration names nothing, in order of preference.
    pub const DEFAULT: [Self; 4] = [
        Self { cipher: Cipher::Aes256, hash: HashAlgorithm::Sha384, group: DhGroup::Ecp384 },
        Self { cipher: Cipher::Aes256, hash: HashAlgorithm::Sha256, group: DhGroup::Ecp256 },
        Self { cipher: Cipher::Aes128, hash: HashAlgorithm::Sha256, group: DhGroup::Ecp256 },
        Self { cipher: Cipher::Aes128, hash: HashAlgorithm::Sha256, group: DhGroup::Modp2048 },
    ];

    /// Whether it should be used only where a configuration names it: its group is too small.
    #[must_use]
    pub const fn is_weak(self) -> bool {
        self.group.is_weak()
    }
}

/// A word that names no suite.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not a phase 1 suite; one is written CIPHER-HASH-GROUP, of aes128 aes192 aes256, \
     sha1 sha256 sha384 sha512, modp1024 modp1536 modp2048 modp3072 modp4096 ecp256 ecp384"
)]
pub struct UnknownSuite(pub String);

impl FromStr for Suite {
    type Err = UnknownSuite;

    fn from_str(text: &str) -> Result<Self, UnknownSuite> {
        let parse = || {
            let mut words = text.split('-');
            let (cipher, hash, group) = (words.next()?, words.next()?, words.next()?);
            if words.next().is_some() {
                return None;
            }
            Some(Self {
                cipher: Cipher::ALL.into_iter().find(|known| known.name() == cipher)?,
                hash: HashAlgorithm::ALL.into_iter().find(|known| hash_name(*known) == hash)?,
                group: DhGroup::ALL.into_iter().find(|known| group_name(*known) == group)?,
            })
        };
        parse().ok_or_else(|| UnknownSuite(text.to_owned()))
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.cipher.name(), hash_name(self.hash), group_name(self.group))
    }
}

const fn hash_name(hash: HashAlgorithm) -> &'static str {
    match hash {
        HashAlgorithm::Sha1 => "sha1",
        HashAlgorithm::Sha256 => "sha256",
        HashAlgorithm::Sha384 => "sha384",
        HashAlgorithm::Sha512 => "sha512",
    }
}

const fn group_name(group: DhGroup) -> &'static str {
    match group {
        DhGroup::Modp1024 => "modp1024",
        DhGroup::Modp1536 => "modp1536",
        DhGroup::Modp2048 => "modp2048",
        DhGroup::Modp3072 => "modp3072",
        DhGroup::Modp4096 => "modp4096",
        DhGroup::Ecp256 => "ecp256",
        DhGroup::Ecp384 => "ecp384",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_is_read_back_as_it_is_written() {
        for cipher in Cipher::ALL {
            for hash in HashAlgorithm::ALL {
                for group in DhGroup::ALL {
                    let suite = Suite { cipher, hash, group };
                    assert_eq!(suite.to_string().parse(), Ok(suite));
                }
            }
        }
        assert_eq!(Suite::DEFAULT[1].to_string(), "aes256-sha256-ecp256");
    }

    #[test]
    fn what_names_no_suite_is_refused_with_the_words_that_do() {
        for text in [
            "",
            "aes256",
            "aes256-sha256",
            "aes256-sha256-ecp256-x",
            "3des-md5-modp768",
            "AES256-sha1-ecp256",
        ] {
            let error = text.parse::<Suite>().unwrap_err();
            assert!(error.to_string().contains("aes128"), "{error}");
        }
    }

    #[test]
    fn only_small_groups_are_weak_and_no_default_is() {
        assert!("aes256-sha256-modp1024".parse::<Suite>().unwrap().is_weak());
        assert!("aes256-sha256-modp1536".parse::<Suite>().unwrap().is_weak());
        assert!(!Suite::DEFAULT.into_iter().any(Suite::is_weak));
    }
}
