//! What a group is, apart from how it looks on the wire: the policy and keys that a key server owns and
//! its members use. Shared by both sides; no I/O, no clock.
//!
//! A lifetime is what is left of it at the moment when the value is made: it is what goes on the wire
//! (RFC 6407 sections 5.3.4 and 5.5.1), and the receiver counts it from the moment of receipt.

mod group_id;
mod kek_payload;
mod key_payload;
mod refused;
mod sa_payload;
mod selector;
mod selector_id;
mod spi_key;
mod tek_payload;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod transform;
mod transform_id;

pub use group_id::NamedGroup;
pub use kek_payload::GDOI_PORT;
pub use key_payload::{Known, from_key_download, to_key_download};
pub use refused::{CannotSend, Refused, RefusedSpi, Unservable};
pub use sa_payload::{from_sa_payload, to_sa_payload};
pub use selector::Selector;
pub use spi_key::SpiKey;
pub use transform::{EspTransform, UnknownTransform};
pub use transform_id::CHACHA20_POLY1305_ID;

use crate::crypto::{HashAlgorithm, Secret, VerifyingKey};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// The most Data-Security SAs that a member takes in one message.
pub const MAX_TEKS: usize = 1024;

/// The most selectors of one SA.
pub const MAX_SELECTORS: usize = 256;

/// The most selectors of all SAs in one message.
pub const MAX_TOTAL_SELECTORS: usize = 2048;

/// The most sender IDs that one registration brings.
pub const MAX_SENDER_IDS: usize = 256;

/// A group's number: ID_KEY_ID of four octets (RFC 6407 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u32);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An ESP SPI. 0 to 255 are reserved (RFC 4303 section 2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EspSpi(pub u32);

impl fmt::Debug for EspSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for EspSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// The SPI of a Rekey SA: the cookie pair of its PUSH messages (RFC 6407 section 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KekSpi(pub [u8; 16]);

impl fmt::Debug for KekSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for KekSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// How a packet is carried (RFC 2407 section 4.5, Encapsulation Mode).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The whole packet inside, its addresses kept on the outside (RFC 5374 section 3.1).
    Tunnel,
    /// ESP between the packet's IP header and what it carries.
    Transport,
}

/// Which way members may use an SA (RFC 6407 section 5.5.1.1, SA Direction).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Each member sends and receives with it.
    Symmetric,
    /// Members only send with it.
    SenderOnly,
    /// Members only receive with it.
    ReceiverOnly,
}

/// A Data-Security SA without its keys: what an SA TEK payload says, or several of them with one SPI,
/// one for each selector (RFC 6407 section 5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TekPolicy {
    /// Its SPI, chosen by the key server.
    pub spi: EspSpi,
    /// Cipher and integrity algorithm.
    pub transform: EspTransform,
    /// Tunnel or transport.
    pub mode: Mode,
    /// Who sends with it.
    pub direction: Direction,
    /// What it protects; at least one.
    pub selectors: Vec<Selector>,
    /// What is left of its life, in whole seconds on the wire.
    pub lifetime: Duration,
}

/// The keys of a Data-Security SA (RFC 6407 section 5.6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TekKeys {
    /// TEK_ALGORITHM_KEY: the cipher's key, with the salt behind it for counter modes (RFC 4106
    /// section 8.1, KEYMAT); empty for NULL.
    pub cipher: Secret,
    /// TEK_INTEGRITY_KEY; empty for combined modes.
    pub integrity: Secret,
}

/// How PUSH messages are encrypted (RFC 6407 section 5.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KekCipher {
    /// KEK_ALG_AES, 128 bits.
    Aes128Cbc,
    /// KEK_ALG_AES, 192 bits.
    Aes192Cbc,
    /// KEK_ALG_AES, 256 bits.
    Aes256Cbc,
}

impl KekCipher {
    /// Octets of the key.
    #[must_use]
    pub fn key_len(self) -> usize {
        match self {
            KekCipher::Aes128Cbc => 16,
            KekCipher::Aes192Cbc => 24,
            KekCipher::Aes256Cbc => 32,
        }
    }
}

/// How PUSH messages are signed (RFC 6407 sections 5.3.6 and 5.3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KekSignature {
    /// SIG_ALG_RSA: PKCS#1 v1.5 with this hash.
    Rsa(HashAlgorithm),
    /// SIG_ALG_ECDSA-256: P-256 with SHA-256 (RFC 4754).
    EcdsaP256,
    /// SIG_ALG_ECDSA-384: P-384 with SHA-384 (RFC 4754).
    EcdsaP384,
}

/// Whether members acknowledge PUSH messages, and by which prf (RFC 8263 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AckRequest {
    /// REKEY_ACK_KEK_SHA256.
    KekSha256,
    /// REKEY_ACK_KEK_SHA512.
    KekSha512,
}

/// A Rekey SA without its keys: what an SA KEK payload says (RFC 6407 section 5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KekPolicy {
    /// The cookie pair of its PUSH messages.
    pub spi: KekSpi,
    /// Cipher.
    pub cipher: KekCipher,
    /// Signature.
    pub signature: KekSignature,
    /// What is left of its life, in whole seconds on the wire.
    pub lifetime: Duration,
    /// Where PUSH messages come from.
    pub source: SocketAddr,
    /// Where they go to: a multicast address, or unspecified (0.0.0.0 or ::) when each member gets its
    /// own copy.
    pub destination: SocketAddr,
    /// Whether members acknowledge.
    pub acknowledge: Option<AckRequest>,
}

/// The keys of a Rekey SA as members have them (RFC 6407 section 5.6.2).
#[derive(Clone, Debug, PartialEq)]
pub struct KekKeys {
    /// The IV that every PUSH starts with, where the peer sends one before the key (section 5.6.2.1).
    pub iv: [u8; 16],
    /// The cipher's key.
    pub cipher: Secret,
    /// SIG_ALGORITHM_KEY.
    pub verifying: VerifyingKey,
}

/// What holds for the group as a whole (RFC 6407 section 5.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupAssociatedPolicy {
    /// ATD: how long after receipt a new SA may be sent with.
    pub activation_delay: Duration,
    /// DTD: how long after receipt an SA that is being replaced may still be received with.
    pub deactivation_delay: Duration,
}

/// The policy of one moment: what message 2 of a registration, or a PUSH, says in its SA payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupPolicy {
    /// The Rekey SA, if the group has one.
    pub kek: Option<KekPolicy>,
    /// For the group as a whole.
    pub gap: GroupAssociatedPolicy,
    /// By what SPIs of this group are told from random ones; only in a registration, and only with a peer of
    /// the same make.
    pub spi_key: Option<SpiKey>,
    /// The Data-Security SAs, oldest first.
    pub teks: Vec<TekPolicy>,
}

/// Sender IDs for one member (RFC 6407 section 5.6.4, RFC 6054 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderIds {
    /// Bits of the IV that a sender ID takes: 8, 12 or 16.
    pub bits: u8,
    /// The values, none of which anybody else ever gets with the same keys.
    pub values: Vec<u32>,
}

/// The keys that go with a [`GroupPolicy`]: what a KD payload says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupKeys {
    /// By SPI, in the order of the payload. A receiver compares them with the policy (rules S2 and S3).
    pub teks: Vec<(EspSpi, TekKeys)>,
    /// Of the Rekey SA.
    pub kek: Option<(KekSpi, KekKeys)>,
    /// Only in a registration.
    pub sender_ids: Option<SenderIds>,
}

/// What a PUSH asks members to delete (RFC 6407 section 5.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// One Data-Security SA.
    Tek(EspSpi),
    /// All Data-Security SAs of the group (SPI 0).
    AllTeks,
    /// The Rekey SA: members register again.
    Kek,
}

/// What a PUSH message says (RFC 6407 section 4).
#[derive(Clone, Debug, PartialEq)]
pub struct Rekey {
    /// The Rekey SA that it came under.
    pub kek: KekSpi,
    /// Its number, greater than that of every earlier one under this Rekey SA.
    pub sequence: u32,
    /// What it deletes; carried out before anything is added.
    pub deletions: Vec<Deletion>,
    /// Its SA payload.
    pub policy: GroupPolicy,
    /// Its KD payload.
    pub keys: GroupKeys,
}
