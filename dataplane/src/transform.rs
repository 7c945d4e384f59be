//! The ESP transforms behind one burst interface: a worker gives [`open_burst`] and [`seal_burst`]
//! the packets of a burst, and each run of packets with the same [`Cipher`] goes to its transform
//! as a whole, so that a multi-buffer crypto library fits underneath. Ciphers are made on the
//! control thread; the bursts run on workers and never allocate, never panic and never set up keys.

use core::fmt;
use core::hint::black_box;
use core::ptr;
use core::str::FromStr;

mod aead;
mod cbc_hmac;
mod gmac;
mod hmac;
mod null_hmac;
#[cfg(test)]
mod tests;

use aead::Aead;
use cbc_hmac::CbcHmac;
use gmac::Gmac;
use null_hmac::NullHmac;

/// Octets of the ESP header, SPI and sequence number (RFC 4303 section 2).
pub const ESP_HEADER_LEN: usize = 8;

/// One packet to verify and decrypt in place.
#[derive(Debug)]
pub struct OpenJob<'a> {
    /// The keys of the packet's SA.
    pub cipher: &'a Cipher,
    /// From the first octet of the SPI to the last octet of the ICV.
    pub esp: &'a mut [u8],
    /// The result. When true, `esp[8 + iv_len .. len - icv_len]` holds payload, padding, pad length
    /// and next header in the clear; when false the contents of `esp` are unspecified.
    pub authentic: bool,
}

impl<'a> OpenJob<'a> {
    /// A job not done yet.
    #[inline]
    #[must_use]
    pub fn new(cipher: &'a Cipher, esp: &'a mut [u8]) -> Self {
        Self { cipher, esp, authentic: false }
    }
}

/// One packet to encrypt and authenticate in place.
#[derive(Debug)]
pub struct SealJob<'a> {
    /// The keys of the packet's SA.
    pub cipher: &'a Cipher,
    /// ESP header with SPI and sequence number set; room for the IV; payload, padding, pad length
    /// and next header in the clear; room for the ICV.
    pub esp: &'a mut [u8],
    /// The sender ID and its counter (RFC 6054); must never repeat under the same keys.
    pub iv: u64,
    /// The result. When false, `esp` was too short or not a whole number of blocks, is still in the
    /// clear, and must not be sent.
    pub sealed: bool,
}

impl<'a> SealJob<'a> {
    /// A job not done yet.
    #[inline]
    #[must_use]
    pub fn new(cipher: &'a Cipher, esp: &'a mut [u8], iv: u64) -> Self {
        Self { cipher, esp, iv, sealed: false }
    }
}

/// Verifies and decrypts every packet in place, and says of each whether it is authentic. A packet
/// of an impossible length is not.
pub fn open_burst(jobs: &mut [OpenJob<'_>]) {
    for run in jobs.chunk_by_mut(|a, b| ptr::eq(a.cipher, b.cipher)) {
        let Some(OpenJob { cipher, .. }) = run.first() else {
            continue;
        };
        match &cipher.keys {
            Keys::Aead(keys) => open_each(run, |esp| keys.open(esp)),
            Keys::Gmac128(keys) => open_each(run, |esp| keys.open(esp)),
            Keys::Gmac256(keys) => open_each(run, |esp| keys.open(esp)),
            Keys::CbcHmac128(keys) => open_each(run, |esp| keys.open(esp)),
            Keys::CbcHmac256(keys) => open_each(run, |esp| keys.open(esp)),
            Keys::NullHmac(keys) => open_each(run, |esp| keys.open(esp)),
        }
    }
}

/// Encrypts every packet in place and writes its IV and ICV.
pub fn seal_burst(jobs: &mut [SealJob<'_>]) {
    for run in jobs.chunk_by_mut(|a, b| ptr::eq(a.cipher, b.cipher)) {
        let Some(SealJob { cipher, .. }) = run.first() else {
            continue;
        };
        match &cipher.keys {
            Keys::Aead(keys) => seal_each(run, |esp, iv| keys.seal(esp, iv)),
            Keys::Gmac128(keys) => seal_each(run, |esp, iv| keys.seal(esp, iv)),
            Keys::Gmac256(keys) => seal_each(run, |esp, iv| keys.seal(esp, iv)),
            Keys::CbcHmac128(keys) => keys.seal_run(run),
            Keys::CbcHmac256(keys) => keys.seal_run(run),
            Keys::NullHmac(keys) => seal_each(run, |esp, _| keys.seal(esp)),
        }
    }
}

#[inline(always)]
fn open_each(run: &mut [OpenJob<'_>], open: impl Fn(&mut [u8]) -> bool) {
    for job in run {
        job.authentic = open(job.esp);
    }
}

#[inline(always)]
fn seal_each(run: &mut [SealJob<'_>], seal: impl Fn(&mut [u8], u64) -> bool) {
    for job in run {
        job.sealed = seal(job.esp, job.iv);
    }
}

/// The keys of one SA, set up once and shared by all workers.
///
/// They are overwritten when it is dropped. What the crypto library copied while it expanded them
/// (stack, moved-from places) is beyond reach.
pub struct Cipher {
    transform: Transform,
    keys: Keys,
}

// One cipher lives inside its SA, so size costs nothing, and a box would cost a cache miss a packet.
#[allow(clippy::large_enum_variant)]
enum Keys {
    Aead(Aead),
    Gmac128(Gmac<aes::Aes128Enc>),
    Gmac256(Gmac<aes::Aes256Enc>),
    CbcHmac128(CbcHmac<aes::Aes128>),
    CbcHmac256(CbcHmac<aes::Aes256>),
    NullHmac(NullHmac),
}

impl Cipher {
    /// Sets up the keys of `transform`.
    ///
    /// `key` is the encryption key followed by the salt where there is one (KEYMAT of RFC 4106
    /// section 8.1, RFC 4543 section 5.1 and RFC 7634 section 2), empty for NULL. `integrity_key`
    /// is the HMAC key of the CBC and NULL transforms, empty for the others.
    ///
    /// # Errors
    /// When either is not exactly [`Transform::key_len`] or [`Transform::integrity_key_len`] octets.
    pub fn new(transform: Transform, key: &[u8], integrity_key: &[u8]) -> Result<Self, KeyError> {
        let lengths = KeyError { transform, key: key.len(), integrity_key: integrity_key.len() };
        if integrity_key.len() != transform.integrity_key_len() {
            return Err(lengths);
        }
        let hash = transform.hash();
        let keys = match transform {
            Transform::Aes128Gcm => Aead::new(&ring::aead::AES_128_GCM, key).map(Keys::Aead),
            Transform::Aes256Gcm => Aead::new(&ring::aead::AES_256_GCM, key).map(Keys::Aead),
            Transform::ChaCha20Poly1305 => Aead::new(&ring::aead::CHACHA20_POLY1305, key).map(Keys::Aead),
            Transform::Aes128Gmac => Gmac::new(key).map(Keys::Gmac128),
            Transform::Aes256Gmac => Gmac::new(key).map(Keys::Gmac256),
            Transform::Aes128CbcHmacSha256 | Transform::Aes128CbcHmacSha1 => {
                CbcHmac::new(key, hash, integrity_key).map(Keys::CbcHmac128)
            }
            Transform::Aes256CbcHmacSha256 | Transform::Aes256CbcHmacSha1 => {
                CbcHmac::new(key, hash, integrity_key).map(Keys::CbcHmac256)
            }
            Transform::NullHmacSha256 | Transform::NullHmacSha1 => {
                NullHmac::new(key, hash, integrity_key).map(Keys::NullHmac)
            }
        };
        keys.map(|keys| Self { transform, keys }).ok_or(lengths)
    }

    /// The transform that these keys are for.
    #[inline]
    #[must_use]
    pub fn transform(&self) -> Transform {
        self.transform
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cipher({})", self.transform)
    }
}

/// Keys of the wrong length for their transform. Holds lengths only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{transform} takes a key of {} octets and an integrity key of {} octets, not {key} and {integrity_key}",
    .transform.key_len(), .transform.integrity_key_len()
)]
pub struct KeyError {
    /// The transform asked for.
    pub transform: Transform,
    /// Octets of `key` given.
    pub key: usize,
    /// Octets of `integrity_key` given.
    pub integrity_key: usize,
}

/// Which algorithms protect an SA's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transform {
    /// AES-GCM with a 128-bit key and a 16-octet ICV (RFC 4106).
    Aes128Gcm,
    /// AES-GCM with a 256-bit key and a 16-octet ICV (RFC 4106).
    Aes256Gcm,
    /// ChaCha20-Poly1305 (RFC 7634).
    ChaCha20Poly1305,
    /// AES-GMAC with a 128-bit key: authenticated, not encrypted (RFC 4543).
    Aes128Gmac,
    /// AES-GMAC with a 256-bit key: authenticated, not encrypted (RFC 4543).
    Aes256Gmac,
    /// AES-CBC (RFC 3602) with a 128-bit key, and HMAC-SHA-256-128 (RFC 4868).
    Aes128CbcHmacSha256,
    /// AES-CBC (RFC 3602) with a 256-bit key, and HMAC-SHA-256-128 (RFC 4868).
    Aes256CbcHmacSha256,
    /// AES-CBC (RFC 3602) with a 128-bit key, and HMAC-SHA-1-96 (RFC 2404).
    Aes128CbcHmacSha1,
    /// AES-CBC (RFC 3602) with a 256-bit key, and HMAC-SHA-1-96 (RFC 2404).
    Aes256CbcHmacSha1,
    /// NULL encryption (RFC 2410) with HMAC-SHA-256-128 (RFC 4868).
    NullHmacSha256,
    /// NULL encryption (RFC 2410) with HMAC-SHA-1-96 (RFC 2404).
    NullHmacSha1,
}

impl Transform {
    /// Every transform.
    pub const ALL: &'static [Transform] = &[
        Transform::Aes128Gcm,
        Transform::Aes256Gcm,
        Transform::ChaCha20Poly1305,
        Transform::Aes128Gmac,
        Transform::Aes256Gmac,
        Transform::Aes128CbcHmacSha256,
        Transform::Aes256CbcHmacSha256,
        Transform::Aes128CbcHmacSha1,
        Transform::Aes256CbcHmacSha1,
        Transform::NullHmacSha256,
        Transform::NullHmacSha1,
    ];

    /// The name used in configuration files and by `getvpnctl`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Transform::Aes128Gcm => "aes-128-gcm",
            Transform::Aes256Gcm => "aes-256-gcm",
            Transform::ChaCha20Poly1305 => "chacha20-poly1305",
            Transform::Aes128Gmac => "aes-128-gmac",
            Transform::Aes256Gmac => "aes-256-gmac",
            Transform::Aes128CbcHmacSha256 => "aes-128-cbc-hmac-sha256",
            Transform::Aes256CbcHmacSha256 => "aes-256-cbc-hmac-sha256",
            Transform::Aes128CbcHmacSha1 => "aes-128-cbc-hmac-sha1",
            Transform::Aes256CbcHmacSha1 => "aes-256-cbc-hmac-sha1",
            Transform::NullHmacSha256 => "null-hmac-sha256",
            Transform::NullHmacSha1 => "null-hmac-sha1",
        }
    }

    /// Octets of the encryption key, salt included.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Transform::Aes128Gcm | Transform::Aes128Gmac => 20,
            Transform::Aes256Gcm | Transform::Aes256Gmac | Transform::ChaCha20Poly1305 => 36,
            Transform::Aes128CbcHmacSha256 | Transform::Aes128CbcHmacSha1 => 16,
            Transform::Aes256CbcHmacSha256 | Transform::Aes256CbcHmacSha1 => 32,
            Transform::NullHmacSha256 | Transform::NullHmacSha1 => 0,
        }
    }

    /// Octets of the HMAC key: the length of the hash (RFC 4868 section 2.1.1, RFC 2404 section 3);
    /// 0 for combined modes.
    #[must_use]
    pub const fn integrity_key_len(self) -> usize {
        match self.hash() {
            Some(hash) => hash.output_len(),
            None => 0,
        }
    }

    /// Octets of the IV on the wire.
    #[inline]
    #[must_use]
    pub const fn iv_len(self) -> usize {
        match self {
            Transform::Aes128CbcHmacSha256
            | Transform::Aes256CbcHmacSha256
            | Transform::Aes128CbcHmacSha1
            | Transform::Aes256CbcHmacSha1 => 16,
            Transform::NullHmacSha256 | Transform::NullHmacSha1 => 0,
            _ => 8,
        }
    }

    /// Octets of the ICV on the wire.
    #[inline]
    #[must_use]
    pub const fn icv_len(self) -> usize {
        match self.hash() {
            Some(hash) => hash.icv_len(),
            None => 16,
        }
    }

    /// What the octets between IV and ICV must be a multiple of (RFC 4303 section 2.4): the cipher's
    /// block, and at least 4.
    #[inline]
    #[must_use]
    pub const fn block(self) -> usize {
        if self.iv_len() == 16 { 16 } else { 4 }
    }

    /// Whether the IV on the wire is the sender's counter (RFC 6054), so that receivers find the
    /// sender in it.
    #[inline]
    #[must_use]
    pub const fn is_counter_mode(self) -> bool {
        self.iv_len() == 8
    }

    const fn hash(self) -> Option<hmac::Hash> {
        match self {
            Transform::Aes128CbcHmacSha256 | Transform::Aes256CbcHmacSha256 | Transform::NullHmacSha256 => {
                Some(hmac::Hash::Sha256)
            }
            Transform::Aes128CbcHmacSha1 | Transform::Aes256CbcHmacSha1 | Transform::NullHmacSha1 => {
                Some(hmac::Hash::Sha1)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Transform {
    type Err = UnknownTransform;

    fn from_str(name: &str) -> Result<Self, UnknownTransform> {
        Self::ALL.iter().copied().find(|transform| transform.name() == name).ok_or(UnknownTransform)
    }
}

/// Not the name of a transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownTransform;

impl core::error::Error for UnknownTransform {}

impl fmt::Display for UnknownTransform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a transform; there are")?;
        for (i, transform) in Transform::ALL.iter().enumerate() {
            write!(f, "{} {transform}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Overwrites a key of a library that cannot zeroise its own, in a way that is not optimised out.
fn overwrite<T>(key: &mut T, blank: T) {
    *key = blank;
    black_box(key);
}
