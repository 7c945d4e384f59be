//! What a member refuses of a key server's policy and keys, and why: for its log and its counters.

use super::{EspSpi, KekSpi};
use crate::crypto::KeyError;
use crate::wire::{
    AddressPreservation, AuthAlgorithm, EncapsulationMode, EspTransform, GapAttribute, GdoiProtocol,
    IpsecAttribute, KekAlgorithm, SaDirection, SigAlgorithm, SigHash,
};
use std::fmt;
use thiserror::Error;

/// A part of what the key server sent that is not used; everything else is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is refused.
    pub spi: RefusedSpi,
    /// Why.
    pub why: Unservable,
}

/// Names what is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusedSpi {
    /// An ESP SA, or keys for one.
    Esp(EspSpi),
    /// An SA of another protocol, with its SPI where it could be read.
    Other(GdoiProtocol, Option<EspSpi>),
    /// The Rekey SA, or keys for it.
    Kek(KekSpi),
    /// Sender IDs.
    SenderIds,
    /// An attribute of the policy for the group as a whole.
    Group,
    /// A key packet that names no SA.
    Packet,
}

/// Why a part of a policy, or a key, is not used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unservable {
    /// AH, IEC 61850 or a protocol without a name.
    #[error("its protocol is {0}, and only ESP is served")]
    Protocol(GdoiProtocol),
    /// An SPI from 0 to 255 (RFC 4303 section 2.1).
    #[error("SPIs from 0 to 255 are reserved")]
    ReservedSpi,
    /// An ESP transform that is not served.
    #[error("transform {0} is not served")]
    Transform(EspTransform),
    /// A key length that the transform does not have, or that is not served.
    #[error("{transform} with a key length of {bits} bits is not served")]
    KeyLength {
        /// The transform.
        transform: EspTransform,
        /// What Key Length says.
        bits: u64,
    },
    /// AES without a key, as the reference implementation sends it.
    #[error("key length 0: the key server sends no key for it")]
    NoKeyLength,
    /// An integrity algorithm that is not served with this transform.
    #[error("{transform} with authentication algorithm {algorithm} is not served")]
    Authentication {
        /// The transform.
        transform: EspTransform,
        /// What Authentication Algorithm says.
        algorithm: AuthAlgorithm,
    },
    /// No integrity algorithm where the transform brings none.
    #[error("{0} without an authentication algorithm would not be authenticated")]
    Unauthenticated(EspTransform),
    /// An encapsulation that is not served.
    #[error("encapsulation mode {0} is not served")]
    Mode(EncapsulationMode),
    /// Tunnel mode with other outer addresses than the packet's own.
    #[error("address preservation {0} is not served: both addresses are always kept")]
    AddressPreservation(AddressPreservation),
    /// A direction without a meaning.
    #[error("SA direction {0} is not known")]
    Direction(SaDirection),
    /// An attribute with this value is not served.
    #[error("attribute {attribute} with value {value} is not served")]
    Attribute {
        /// The attribute.
        attribute: IpsecAttribute,
        /// Its value.
        value: u64,
    },
    /// A lifetime that has ended already.
    #[error("its lifetime is 0")]
    NoLifetime,
    /// A lifetime that does not fit four octets.
    #[error("its lifetime is longer than any that four octets can say")]
    LongLifetime,
    /// A lifetime that does not say what it counts, or counts something else than seconds.
    #[error("its lifetime does not count seconds")]
    LifeType,
    /// Source and destination that no prefixes can express.
    #[error("its selectors: {0}")]
    Selector(&'static str),
    /// Two SA payloads of one SPI that say different things.
    #[error("its SPI stands there with two different {0}s")]
    Conflict(&'static str),
    /// More than a member takes.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The most that are taken.
        limit: usize,
    },
    /// A KEK cipher that is not served.
    #[error("KEK algorithm {algorithm} with {bits} bits is not served")]
    KekCipher {
        /// The cipher.
        algorithm: KekAlgorithm,
        /// Bits of its key.
        bits: u64,
    },
    /// A signature algorithm that is not served.
    #[error("signature algorithm {0} is not served")]
    Signature(SigAlgorithm),
    /// A hash for signatures that is not served.
    #[error("signature hash {0} is not served")]
    SignatureHash(SigHash),
    /// A required attribute is not there.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// PUSH messages from or to something that is not an address.
    #[error("the {0} of its PUSH messages is not an address")]
    Address(&'static str),
    /// PUSH messages in something else than UDP.
    #[error("its PUSH messages would come in IP protocol {0}")]
    KekProtocol(u8),
    /// A public key for signatures that is malformed, of the wrong kind or of a size that is not accepted.
    #[error("the key for its signatures: {0}")]
    SignatureKey(#[from] KeyError),
    /// A public key of another kind than the signatures.
    #[error("the key for its signatures does not fit them")]
    SignatureKeyKind,
    /// A key of another length than the transform's.
    #[error("{what} has {found} octets, and {wanted} are needed")]
    Key {
        /// Which key.
        what: &'static str,
        /// Octets that came.
        found: usize,
        /// Octets that are needed.
        wanted: usize,
    },
    /// More than one key packet for one SA.
    #[error("there is more than one key packet for it, and they differ")]
    DuplicateKeys,
    /// Keys of a Rekey SA of which no policy is known.
    #[error("keys without a policy")]
    NoPolicy,
    /// Keys of a logical key hierarchy.
    #[error("a logical key hierarchy is not served")]
    Lkh,
    /// A key packet of a type without a name, or with an SPI of the wrong size.
    #[error("a key packet of type {0} with an SPI of {1} octets is not understood")]
    Packet(u8, usize),
    /// A number of bits that no sender ID has (RFC 6054 section 3).
    #[error("sender IDs of {0} bits are not served")]
    SenderIdBits(u64),
    /// A sender ID that is longer than it may be, or comes twice.
    #[error("a sender ID does not fit its bits, or comes twice")]
    SenderId,
    /// Sender IDs in a PUSH, which many members get (RFC 6407 section 5.6.4).
    #[error("sender IDs in a PUSH, which other members may have got as well")]
    SharedSenderIds,
    /// An attribute for the group as a whole that this code does not know.
    #[error("group associated policy {0} is not known")]
    Gap(GapAttribute),
}

impl RefusedSpi {
    /// The SPI of a Data-Security SA, if it is one and its SPI is known.
    #[must_use]
    pub fn data_spi(self) -> Option<EspSpi> {
        match self {
            Self::Esp(spi) => Some(spi),
            Self::Other(_, spi) => spi,
            _ => None,
        }
    }
}

impl fmt::Display for RefusedSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Esp(spi) => write!(f, "SA {spi}"),
            Self::Other(protocol, Some(spi)) => write!(f, "SA {spi} of {protocol}"),
            Self::Other(protocol, None) => write!(f, "an SA of {protocol}"),
            Self::Kek(spi) => write!(f, "Rekey SA {spi}"),
            Self::SenderIds => f.write_str("sender IDs"),
            Self::Group => f.write_str("the group's policy"),
            Self::Packet => f.write_str("a key packet"),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.spi, self.why)
    }
}

/// Why a policy or keys cannot be sent: what a key server's configuration must not let happen.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CannotSend {
    /// The message cannot be written.
    #[error(transparent)]
    Wire(#[from] crate::wire::WireError),
    /// Less than one second is left of it: the caller leaves it out.
    #[error("less than a second is left of {0}")]
    Expired(RefusedSpi),
    /// A lifetime that four octets cannot say.
    #[error("the lifetime of {0} is too long for four octets")]
    Lifetime(RefusedSpi),
    /// A reserved SPI.
    #[error("{0} is a reserved SPI")]
    ReservedSpi(EspSpi),
    /// An SA for no packets at all.
    #[error("SA {0} has no selectors")]
    NoSelectors(EspSpi),
    /// A source of one family with a destination of the other.
    #[error("SA {0} has a selector of mixed address families")]
    MixedFamilies(EspSpi),
    /// ATD or DTD of more than 65,535 seconds.
    #[error("the {0} is longer than 65535 seconds")]
    Delay(&'static str),
    /// Keys that are not of the length that their transform has.
    #[error("the {what} of {of} has {found} octets, and {wanted} are needed")]
    Key {
        /// Which key.
        what: &'static str,
        /// Of what.
        of: RefusedSpi,
        /// Octets that there are.
        found: usize,
        /// Octets that are needed.
        wanted: usize,
    },
    /// Sender IDs that do not fit their bits, or more than a member takes.
    #[error(
        "sender IDs of {bits} bits, {count} of them: 8, 12 or 16 bits and at most {} are sent",
        super::MAX_SENDER_IDS
    )]
    SenderIds {
        /// Their bits.
        bits: u8,
        /// How many.
        count: usize,
    },
    /// More SAs, selectors or deletions than a member takes.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The most that are sent.
        limit: usize,
    },
}
