//! The ESP transforms that a group's SAs can have, by name. What they look like on the wire is told
//! where SA TEK payloads are made and read.

use std::fmt;
use std::str::FromStr;

/// Cipher and integrity algorithm of an SA, with the key's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EspTransform {
    /// AES-GCM with a 16-octet ICV, 128 bits (RFC 4106).
    Aes128Gcm,
    /// The same, 256 bits.
    Aes256Gcm,
    /// ChaCha20-Poly1305 (RFC 7634).
    ChaCha20Poly1305,
    /// AES-GMAC, 128 bits: integrity only (RFC 4543).
    Aes128Gmac,
    /// The same, 256 bits.
    Aes256Gmac,
    /// AES-CBC 128 (RFC 3602) with HMAC-SHA2-256-128 (RFC 4868).
    Aes128CbcHmacSha256,
    /// The same, 256 bits.
    Aes256CbcHmacSha256,
    /// AES-CBC 128 with HMAC-SHA1-96 (RFC 2404).
    Aes128CbcHmacSha1,
    /// The same, 256 bits.
    Aes256CbcHmacSha1,
    /// NULL (RFC 2410) with HMAC-SHA2-256-128.
    NullHmacSha256,
    /// NULL with HMAC-SHA1-96.
    NullHmacSha1,
}

/// A name that no transform has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no transform {0:?}")]
pub struct UnknownTransform(pub String);

impl EspTransform {
    /// All of them.
    pub const ALL: [EspTransform; 11] = [
        EspTransform::Aes128Gcm,
        EspTransform::Aes256Gcm,
        EspTransform::ChaCha20Poly1305,
        EspTransform::Aes128Gmac,
        EspTransform::Aes256Gmac,
        EspTransform::Aes128CbcHmacSha256,
        EspTransform::Aes256CbcHmacSha256,
        EspTransform::Aes128CbcHmacSha1,
        EspTransform::Aes256CbcHmacSha1,
        EspTransform::NullHmacSha256,
        EspTransform::NullHmacSha1,
    ];

    /// Its name in configurations and replies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            EspTransform::Aes128Gcm => "aes-128-gcm",
            EspTransform::Aes256Gcm => "aes-256-gcm",
            EspTransform::ChaCha20Poly1305 => "chacha20-poly1305",
            EspTransform::Aes128Gmac => "aes-128-gmac",
            EspTransform::Aes256Gmac => "aes-256-gmac",
            EspTransform::Aes128CbcHmacSha256 => "aes-128-cbc-hmac-sha256",
            EspTransform::Aes256CbcHmacSha256 => "aes-256-cbc-hmac-sha256",
            EspTransform::Aes128CbcHmacSha1 => "aes-128-cbc-hmac-sha1",
            EspTransform::Aes256CbcHmacSha1 => "aes-256-cbc-hmac-sha1",
            EspTransform::NullHmacSha256 => "null-hmac-sha256",
            EspTransform::NullHmacSha1 => "null-hmac-sha1",
        }
    }

    /// Octets of the cipher's key, with the salt of a counter mode.
    #[must_use]
    pub fn key_len(self) -> usize {
        match self {
            EspTransform::Aes128Gcm | EspTransform::Aes128Gmac => 20,
            EspTransform::Aes256Gcm | EspTransform::Aes256Gmac | EspTransform::ChaCha20Poly1305 => 36,
            EspTransform::Aes128CbcHmacSha256 | EspTransform::Aes128CbcHmacSha1 => 16,
            EspTransform::Aes256CbcHmacSha256 | EspTransform::Aes256CbcHmacSha1 => 32,
            EspTransform::NullHmacSha256 | EspTransform::NullHmacSha1 => 0,
        }
    }

    /// Octets of the integrity algorithm's own key; 0 for combined modes.
    #[must_use]
    pub fn integrity_key_len(self) -> usize {
        match self {
            EspTransform::Aes128CbcHmacSha256
            | EspTransform::Aes256CbcHmacSha256
            | EspTransform::NullHmacSha256 => 32,
            EspTransform::Aes128CbcHmacSha1
            | EspTransform::Aes256CbcHmacSha1
            | EspTransform::NullHmacSha1 => 20,
            _ => 0,
        }
    }

    /// Whether an IV must never come twice under a key, so that each sender needs an ID of its own
    /// (RFC 6054).
    #[must_use]
    pub fn is_counter_mode(self) -> bool {
        matches!(
            self,
            EspTransform::Aes128Gcm
                | EspTransform::Aes256Gcm
                | EspTransform::ChaCha20Poly1305
                | EspTransform::Aes128Gmac
                | EspTransform::Aes256Gmac
        )
    }
}

impl fmt::Display for EspTransform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EspTransform {
    type Err = UnknownTransform;

    fn from_str(name: &str) -> Result<Self, UnknownTransform> {
        let found = Self::ALL.into_iter().find(|transform| transform.name() == name);
        found.ok_or_else(|| UnknownTransform(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::EspTransform;

    #[test]
    fn every_transform_is_found_by_its_name() {
        for transform in EspTransform::ALL {
            assert_eq!(transform.name().parse(), Ok(transform));
        }
        assert!("rot13".parse::<EspTransform>().is_err());
    }
}
