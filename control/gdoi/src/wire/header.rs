//! The ISAKMP header (RFC 2408 section 3.1). It is read and written apart from the body, since what is
//! hashed and what is sent can differ in flags and length.

use super::codec::{Reader, Reason, WireError};
use super::cookie::{Cookie, CookiePair};
use super::number::{ExchangeType, PayloadType};

/// Octets of the header.
pub const HEADER_LEN: usize = 28;

/// Octets of the longest datagram that UDP over IPv4 carries.
pub const MAX_DATAGRAM: usize = 65_507;

/// Major version 1 in the upper, minor version 0 in the lower four bits.
const VERSION: u8 = 0x10;

const FLAG_ENCRYPTION: u8 = 1;
const FLAG_COMMIT: u8 = 2;
const FLAG_AUTH_ONLY: u8 = 4;

/// The ISAKMP header.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +---------------------------------------------------------------+
/// !                       Initiator Cookie, 8 octets              !
/// +---------------------------------------------------------------+
/// !                       Responder Cookie, 8 octets              !
/// +---------------+-------+-------+---------------+---------------+
/// ! Next Payload  ! MjVer ! MnVer ! Exchange Type !     Flags     !
/// +---------------+-------+-------+---------------+---------------+
/// !                          Message ID                           !
/// +---------------------------------------------------------------+
/// !                            Length                             !
/// +---------------------------------------------------------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The initiator's cookie.
    pub initiator_cookie: Cookie,
    /// The responder's cookie, zero in an initiator's first message.
    pub responder_cookie: Cookie,
    /// The type of the first payload.
    pub next_payload: PayloadType,
    /// Major version 1 in the upper, any minor version in the lower four bits.
    pub version: u8,
    /// The exchange.
    pub exchange: ExchangeType,
    /// The flags.
    pub flags: Flags,
    /// Zero in phase 1.
    pub message_id: u32,
    /// Octets of the message, with this header and with padding.
    pub length: u32,
}

/// The header's flags (RFC 2408 section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// E: what follows the header is encrypted.
    pub encryption: bool,
    /// C: the sender asks to wait for its CONNECTED notification.
    pub commit: bool,
    /// A: an informational message that is authenticated and not encrypted.
    pub auth_only: bool,
}

impl Flags {
    /// No flag.
    pub const NONE: Self = Self { encryption: false, commit: false, auth_only: false };
    /// E alone.
    pub const ENCRYPTED: Self = Self { encryption: true, commit: false, auth_only: false };

    fn octet(self) -> u8 {
        let flag = |set, bit| if set { bit } else { 0 };
        flag(self.encryption, FLAG_ENCRYPTION)
            | flag(self.commit, FLAG_COMMIT)
            | flag(self.auth_only, FLAG_AUTH_ONLY)
    }
}

impl Header {
    /// A header of this version with a length of zero, to be set by [`Header::datagram`] or
    /// [`Header::with_body_len`].
    #[must_use]
    pub const fn new(
        cookies: CookiePair,
        next_payload: PayloadType,
        exchange: ExchangeType,
        flags: Flags,
        message_id: u32,
    ) -> Self {
        Self {
            initiator_cookie: cookies.initiator,
            responder_cookie: cookies.responder,
            next_payload,
            version: VERSION,
            exchange,
            flags,
            message_id,
            length: 0,
        }
    }

    /// Both cookies.
    #[must_use]
    pub const fn cookies(&self) -> CookiePair {
        CookiePair { initiator: self.initiator_cookie, responder: self.responder_cookie }
    }

    /// This header with the length of a message whose body has `len` octets. The header that a PUSH's
    /// signature covers counts the body before it is padded.
    ///
    /// # Errors
    /// The message would be longer than [`MAX_DATAGRAM`].
    pub fn with_body_len(self, len: usize) -> Result<Self, WireError> {
        let too_long = WireError { what: "Length", offset: 24, reason: Reason::TooLong(len) };
        let length = len.checked_add(HEADER_LEN).filter(|&length| length <= MAX_DATAGRAM).ok_or(too_long)?;
        Ok(Self { length: u32::try_from(length).map_err(|_| too_long)?, ..self })
    }

    /// The message that this header makes with `body`, its length set.
    ///
    /// # Errors
    /// The message would be longer than [`MAX_DATAGRAM`].
    pub fn datagram(self, body: &[u8]) -> Result<Vec<u8>, WireError> {
        let mut datagram = Vec::with_capacity(HEADER_LEN + body.len());
        datagram.extend_from_slice(&self.with_body_len(body.len())?.encode());
        datagram.extend_from_slice(body);
        Ok(datagram)
    }

    /// The octets of this header, with the length that it has.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut octets = [0; HEADER_LEN];
        octets[0..16].copy_from_slice(&self.cookies().octets());
        octets[16] = self.next_payload.number();
        octets[17] = self.version;
        octets[18] = self.exchange.number();
        octets[19] = self.flags.octet();
        octets[20..24].copy_from_slice(&self.message_id.to_be_bytes());
        octets[24..28].copy_from_slice(&self.length.to_be_bytes());
        octets
    }

    /// Reads the header at the start of a message.
    ///
    /// # Errors
    /// It is cut short; its major version is not 1; a flag is set that no RFC defines; its length is less
    /// than its own or more than [`MAX_DATAGRAM`].
    pub fn decode(octets: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(octets, "ISAKMP header");
        let cookies = CookiePair::from(reader.array()?);
        let next_payload = reader.u8()?.into();
        let version = reader.u8()?;
        if version & 0xf0 != VERSION {
            return Err(reader.error(Reason::Version(version)));
        }
        let exchange = reader.u8()?.into();
        let octet = reader.u8()?;
        let flags = Flags {
            encryption: octet & FLAG_ENCRYPTION != 0,
            commit: octet & FLAG_COMMIT != 0,
            auth_only: octet & FLAG_AUTH_ONLY != 0,
        };
        if flags.octet() != octet {
            return Err(reader.error(Reason::Flags(octet)));
        }
        let message_id = reader.u32()?;
        let length = reader.u32()?;
        match usize::try_from(length) {
            Ok(HEADER_LEN..=MAX_DATAGRAM) => {}
            _ => return Err(reader.error(Reason::Length(usize::try_from(length).unwrap_or(usize::MAX)))),
        }
        let header = Self::new(cookies, next_payload, exchange, flags, message_id);
        Ok(Self { version, length, ..header })
    }
}

/// Splits a datagram into its header and its body, which may be encrypted.
///
/// # Errors
/// The header is not one, or its length is not the datagram's.
pub fn split_datagram(datagram: &[u8]) -> Result<(Header, &[u8]), WireError> {
    let header = Header::decode(datagram)?;
    if usize::try_from(header.length) != Ok(datagram.len()) {
        let reason = Reason::Length(usize::try_from(header.length).unwrap_or(usize::MAX));
        return Err(WireError { what: "ISAKMP header", offset: 24, reason });
    }
    Ok((header, datagram.get(HEADER_LEN..).unwrap_or_default()))
}
