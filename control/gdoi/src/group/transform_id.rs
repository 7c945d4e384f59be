//! ESP transforms on the wire: Transform ID, Key Length and Authentication Algorithm of an SA TEK payload
//! (RFC 6407 section 5.5.1, RFC 2407 section 4.5).
//!
//! | transform | Transform ID | Key Length | Authentication Algorithm |
//! |---|---|---|---|
//! | AES-GCM-16 (RFC 4106) | 20 | 128 or 256 | none |
//! | ChaCha20-Poly1305 (RFC 7634) | 249, private use | none: there is only one | none |
//! | AES-GMAC (RFC 4543) | 23 | 128 or 256 | none |
//! | AES-CBC (RFC 3602) | 12 | 128 or 256 | HMAC-SHA 2, HMAC-SHA2-256 5 |
//! | NULL (RFC 2410) | 11 | none | HMAC-SHA 2, HMAC-SHA2-256 5 |
//!
//! RFC 7634 gives ChaCha20-Poly1305 a number for IKEv2 only (28); IANA's registry of IPsec ESP Transform
//! Identifiers, which IKEv1 and GDOI use, ends at 23 and leaves 249 to 255 to private use. 249 is this
//! project's: both ends must be of this make, or agree on it.

use super::{EspTransform, Unservable};
use crate::wire::{self, AuthAlgorithm, Compat, IpsecAttribute};

/// The Transform ID of ChaCha20-Poly1305, of the range for private use.
pub const CHACHA20_POLY1305_ID: u8 = 249;

const CHACHA: wire::EspTransform = wire::EspTransform::Unknown(CHACHA20_POLY1305_ID);

/// Bits of the salt that counter modes have behind the key. The reference implementation counts it in Key
/// Length; no cipher has keys of such a length, so it is understood in either mode.
const SALT_BITS: u64 = 32;

/// Attributes of an SA TEK payload.
type Attributes = wire::Attributes<IpsecAttribute>;

/// The Transform ID, and `attributes` with what belongs to it.
pub(super) fn to_wire(
    transform: EspTransform,
    attributes: Attributes,
    compat: Compat,
) -> (wire::EspTransform, Attributes) {
    use EspTransform as T;
    let key_length = |attributes: Attributes, bits: u16| attributes.with(IpsecAttribute::KeyLength, bits);
    let combined = |attributes: Attributes, bits: u16| match compat {
        Compat::Standard => key_length(attributes, bits),
        Compat::Reference => key_length(attributes, bits + 32),
    };
    let auth = |attributes: Attributes, algorithm: AuthAlgorithm| {
        attributes.with(IpsecAttribute::AuthAlgorithm, algorithm)
    };
    let (sha1, sha256) = (AuthAlgorithm::HmacSha1, AuthAlgorithm::HmacSha256);
    match transform {
        T::Aes128Gcm => (wire::EspTransform::AesGcm16, combined(attributes, 128)),
        T::Aes256Gcm => (wire::EspTransform::AesGcm16, combined(attributes, 256)),
        T::ChaCha20Poly1305 => (CHACHA, attributes),
        T::Aes128Gmac => (wire::EspTransform::NullAuthAesGmac, combined(attributes, 128)),
        T::Aes256Gmac => (wire::EspTransform::NullAuthAesGmac, combined(attributes, 256)),
        T::Aes128CbcHmacSha256 => (wire::EspTransform::AesCbc, auth(key_length(attributes, 128), sha256)),
        T::Aes256CbcHmacSha256 => (wire::EspTransform::AesCbc, auth(key_length(attributes, 256), sha256)),
        T::Aes128CbcHmacSha1 => (wire::EspTransform::AesCbc, auth(key_length(attributes, 128), sha1)),
        T::Aes256CbcHmacSha1 => (wire::EspTransform::AesCbc, auth(key_length(attributes, 256), sha1)),
        T::NullHmacSha256 => (wire::EspTransform::Null, auth(attributes, sha256)),
        T::NullHmacSha1 => (wire::EspTransform::Null, auth(attributes, sha1)),
    }
}

/// The transform that an SA TEK payload asks for. Without Key Length, AES has 128 bits, its default (RFC
/// 3602 section 2.2).
pub(super) fn from_wire(
    transform: wire::EspTransform,
    attributes: &Attributes,
) -> Result<EspTransform, Unservable> {
    use EspTransform as T;
    let bits = attributes.number(IpsecAttribute::KeyLength);
    let wrong_length = || Unservable::KeyLength { transform, bits: bits.unwrap_or_default() };
    // Zero is no algorithm: as if it were not there.
    let auth = attributes
        .value::<AuthAlgorithm>(IpsecAttribute::AuthAlgorithm)
        .filter(|algorithm| algorithm.number() != 0);
    let salted = |short, long| match bits {
        None => Ok(short),
        Some(bits) if bits == 128 || bits == 128 + SALT_BITS => Ok(short),
        Some(bits) if bits == 256 || bits == 256 + SALT_BITS => Ok(long),
        Some(_) => Err(wrong_length()),
    };
    let by_auth = |sha1, sha256| match auth {
        Some(AuthAlgorithm::HmacSha1) => Ok(sha1),
        Some(AuthAlgorithm::HmacSha256) => Ok(sha256),
        Some(algorithm) => Err(Unservable::Authentication { transform, algorithm }),
        None => Err(Unservable::Unauthenticated(transform)),
    };
    let aes = [wire::EspTransform::AesGcm16, wire::EspTransform::NullAuthAesGmac, wire::EspTransform::AesCbc];
    if aes.contains(&transform) && bits == Some(0) {
        return Err(Unservable::NoKeyLength);
    }
    let found = match transform {
        wire::EspTransform::AesGcm16 => salted(T::Aes128Gcm, T::Aes256Gcm)?,
        wire::EspTransform::NullAuthAesGmac => salted(T::Aes128Gmac, T::Aes256Gmac)?,
        wire::EspTransform::Unknown(CHACHA20_POLY1305_ID) => match bits {
            None => T::ChaCha20Poly1305,
            Some(bits) if bits == 256 || bits == 256 + SALT_BITS => T::ChaCha20Poly1305,
            Some(_) => return Err(wrong_length()),
        },
        wire::EspTransform::AesCbc => match bits {
            None | Some(128) => by_auth(T::Aes128CbcHmacSha1, T::Aes128CbcHmacSha256)?,
            Some(256) => by_auth(T::Aes256CbcHmacSha1, T::Aes256CbcHmacSha256)?,
            Some(_) => return Err(wrong_length()),
        },
        wire::EspTransform::Null if bits.unwrap_or_default() == 0 => {
            by_auth(T::NullHmacSha1, T::NullHmacSha256)?
        }
        wire::EspTransform::Null => return Err(wrong_length()),
        other => return Err(Unservable::Transform(other)),
    };
    match auth {
        Some(algorithm) if found.integrity_key_len() == 0 => {
            Err(Unservable::Authentication { transform, algorithm })
        }
        _ => Ok(found),
    }
}
