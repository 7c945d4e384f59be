//! One payload of any type.

use super::Compat;
use super::certificate::{Certificate, CertificateRequest};
use super::codec::{Reader, Reason, WireError, Writer};
use super::identification::Identification;
use super::informational::{Delete, Notify};
use super::keys::KeyDownload;
use super::number::{ExchangeType, PayloadType};
use super::policy::{Gap, GdoiSa};
use super::proposal::Sa;

/// Octets of a nonce (RFC 2409 section 5; RFC 6407 section 5.8 sends no more than 128).
const NONCE_LEN: std::ops::RangeInclusive<usize> = 8..=256;

/// One payload. Those that are nothing but octets hold them without the generic header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// SA of phase 1 (RFC 2408 section 3.4).
    Sa(Sa),
    /// SA of GROUPKEY-PULL and GROUPKEY-PUSH (RFC 6407 section 5.2).
    GdoiSa(GdoiSa),
    /// Key Exchange: the public value of the Diffie-Hellman group (RFC 2408 section 3.7).
    KeyExchange(Vec<u8>),
    /// Identification.
    Identification(Identification),
    /// Certificate.
    Certificate(Certificate),
    /// Certificate Request.
    CertificateRequest(CertificateRequest),
    /// Hash (RFC 2408 section 3.11).
    Hash(Vec<u8>),
    /// Signature (RFC 2408 section 3.12).
    Signature(Vec<u8>),
    /// Nonce: 8 to 256 octets (RFC 2408 section 3.13).
    Nonce(Vec<u8>),
    /// Notification.
    Notify(Notify),
    /// Delete.
    Delete(Delete),
    /// Vendor ID (RFC 2408 section 3.16).
    VendorId(Vec<u8>),
    /// Group Associated Policy by itself, as a member sends it (RFC 6407 section 5.4).
    Gap(Gap),
    /// Key Download.
    KeyDownload(KeyDownload),
    /// Sequence Number: four octets (RFC 6407 section 5.7).
    Sequence(u32),
    /// A type that this code does not read, without the generic header.
    Unknown(PayloadType, Vec<u8>),
}

impl Payload {
    /// The payload's type.
    #[must_use]
    pub const fn payload_type(&self) -> PayloadType {
        match self {
            Self::Sa(_) | Self::GdoiSa(_) => PayloadType::Sa,
            Self::KeyExchange(_) => PayloadType::KeyExchange,
            Self::Identification(_) => PayloadType::Identification,
            Self::Certificate(_) => PayloadType::Certificate,
            Self::CertificateRequest(_) => PayloadType::CertificateRequest,
            Self::Hash(_) => PayloadType::Hash,
            Self::Signature(_) => PayloadType::Signature,
            Self::Nonce(_) => PayloadType::Nonce,
            Self::Notify(_) => PayloadType::Notify,
            Self::Delete(_) => PayloadType::Delete,
            Self::VendorId(_) => PayloadType::VendorId,
            Self::Gap(_) => PayloadType::Gap,
            Self::KeyDownload(_) => PayloadType::KeyDownload,
            Self::Sequence(_) => PayloadType::Sequence,
            Self::Unknown(payload_type, _) => *payload_type,
        }
    }

    /// Reads a payload's content, which starts behind its generic header. The exchange decides which
    /// layout an SA payload has.
    ///
    /// # Errors
    /// The content is not of this type.
    pub fn decode(
        payload_type: PayloadType,
        exchange: ExchangeType,
        content: &[u8],
        compat: Compat,
    ) -> Result<Self, WireError> {
        Self::read(payload_type, exchange, &mut Reader::new(content, what(payload_type)), compat)
    }

    /// Reads a payload's content from `reader`, all of it.
    pub(super) fn read(
        payload_type: PayloadType,
        exchange: ExchangeType,
        reader: &mut Reader<'_>,
        compat: Compat,
    ) -> Result<Self, WireError> {
        let payload = match payload_type {
            PayloadType::Sa => match exchange {
                ExchangeType::GroupkeyPull | ExchangeType::GroupkeyPush => {
                    Self::GdoiSa(GdoiSa::read(reader, compat)?)
                }
                _ => Self::Sa(Sa::read(reader)?),
            },
            PayloadType::KeyExchange => Self::KeyExchange(reader.rest().to_vec()),
            PayloadType::Identification => Self::Identification(Identification::read(reader)?),
            PayloadType::Certificate => Self::Certificate(Certificate::read(reader)?),
            PayloadType::CertificateRequest => Self::CertificateRequest(CertificateRequest::read(reader)?),
            PayloadType::Hash => Self::Hash(reader.rest().to_vec()),
            PayloadType::Signature => Self::Signature(reader.rest().to_vec()),
            PayloadType::Nonce => {
                if !NONCE_LEN.contains(&reader.left()) {
                    return Err(reader.error(Reason::Length(reader.left())));
                }
                Self::Nonce(reader.rest().to_vec())
            }
            PayloadType::Notify => Self::Notify(Notify::read(reader)?),
            PayloadType::Delete => Self::Delete(Delete::read(reader)?),
            PayloadType::VendorId => Self::VendorId(reader.rest().to_vec()),
            PayloadType::Gap => Self::Gap(Gap::read(reader)?),
            PayloadType::KeyDownload => Self::KeyDownload(KeyDownload::read(reader, compat)?),
            PayloadType::Sequence => Self::Sequence(reader.u32()?),
            other => Self::Unknown(other, reader.rest().to_vec()),
        };
        reader.finish()?;
        Ok(payload)
    }

    /// Writes the content, without the generic header.
    pub(super) fn write(&self, writer: &mut Writer, compat: Compat) {
        match self {
            Self::Sa(sa) => sa.write(writer),
            Self::GdoiSa(sa) => sa.write(writer, compat),
            Self::Identification(id) => id.write(writer),
            Self::Certificate(certificate) => certificate.write(writer),
            Self::CertificateRequest(request) => request.write(writer),
            Self::Notify(notify) => notify.write(writer),
            Self::Delete(delete) => delete.write(writer),
            Self::Gap(gap) => gap.write(writer),
            Self::KeyDownload(keys) => keys.write(writer, compat),
            Self::Sequence(number) => writer.u32(*number),
            Self::Nonce(octets) => {
                if !NONCE_LEN.contains(&octets.len()) {
                    writer.fail("Nonce payload", Reason::Length(octets.len()));
                }
                writer.put(octets);
            }
            Self::KeyExchange(octets)
            | Self::Hash(octets)
            | Self::Signature(octets)
            | Self::VendorId(octets)
            | Self::Unknown(_, octets) => writer.put(octets),
        }
    }
}

/// What a payload is called in errors.
pub(super) const fn what(payload_type: PayloadType) -> &'static str {
    match payload_type {
        PayloadType::Sa => "SA payload",
        PayloadType::KeyExchange => "Key Exchange payload",
        PayloadType::Identification => "Identification payload",
        PayloadType::Certificate => "Certificate payload",
        PayloadType::CertificateRequest => "Certificate Request payload",
        PayloadType::Hash => "Hash payload",
        PayloadType::Signature => "Signature payload",
        PayloadType::Nonce => "Nonce payload",
        PayloadType::Notify => "Notification payload",
        PayloadType::Delete => "Delete payload",
        PayloadType::VendorId => "Vendor ID payload",
        PayloadType::Gap => "Group Associated Policy payload",
        PayloadType::KeyDownload => "Key Download payload",
        PayloadType::Sequence => "Sequence Number payload",
        _ => "payload",
    }
}
