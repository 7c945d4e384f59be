//! What stands in an ISAKMP datagram: the header and every payload of IKEv1 and GDOI, read and written.
//! Pure functions of octets: no state, no keys, no clock; nothing here panics on what arrives.
//!
//! A datagram is split by [`split_datagram`] into [`Header`] and body; the body, once in the clear, is
//! read by [`Body::decode`] and written by [`encode_chain`]. Payloads that hash or sign others need
//! their exact octets: [`Body`] gives those beside each payload.

mod attribute;
mod certificate;
mod codec;
mod cookie;
mod header;
mod identification;
mod informational;
mod keys;
mod message;
pub mod number;
mod payload;
mod policy;
mod proposal;
mod tek;
#[cfg(test)]
mod tests;

pub use attribute::{Attribute, AttributeValue, Attributes};
pub use certificate::{Certificate, CertificateRequest};
pub use codec::{Reader, Reason, WireError, Writer};
pub use cookie::{Cookie, CookiePair, Spi};
pub use header::{Flags, HEADER_LEN, Header, MAX_DATAGRAM, split_datagram};
pub use identification::{Identification, SelectorId};
pub use informational::{Delete, Notify};
pub use keys::{KeyDownload, KeyPacket, Keys};
pub use message::{Body, EncodedChain, Located, encode_chain};
pub use number::{
    AckRequest, AddressPreservation, AhTransform, AuthAlgorithm, AuthMethod, CertEncoding, Doi,
    EncapsulationMode, EspTransform, ExchangeType, GapAttribute, GdoiProtocol, IdType, IkeAttribute,
    IkeCipher, IkeGroup, IkeHash, IpsecAttribute, KdType, KekAlgorithm, KekAttribute, KekKeyAttribute,
    KekManagement, LifeType, LkhKeyAttribute, NotifyType, PayloadType, ProtocolId, SaDirection, SidAttribute,
    SigAlgorithm, SigHash, TekKeyAttribute,
};
pub use payload::Payload;
pub use policy::{Gap, GdoiSa, SaAttribute, Sak};
pub use proposal::{Proposal, Sa, Transform};
pub use tek::{Sat, Tek};

/// Whose layout is read and written where the C reference implementation departs from the RFC in a way
/// that no parser could guess.
///
/// Everything else that peers do differently (a lifetime as a basic attribute, an empty key, padding of
/// any octets) is read in either mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// The layout of RFC 6407.
    #[default]
    Standard,
    /// The layout of the C reference implementation: six octets between SPI and attributes of a SAK
    /// instead of four; IPv4 addresses of a SAT and SID_VALUE in little-endian order.
    Reference,
}
