//! Public keys: from and to SubjectPublicKeyInfo, and what they verify.

use super::{
    KeyError, KeyKind, RSA_MAX_BITS, RSA_MIN_BITS, SignatureError, SignatureScheme, check_digest, raw_room,
};
use crate::crypto::HashAlgorithm;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use ring::signature as ring_signature;
use rsa::pkcs1::RsaPublicKeyRef;
use rsa::{BoxedUint, Pkcs1v15Sign};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use std::fmt;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{AnyRef, Decode};
use x509_cert::spki::SubjectPublicKeyInfoRef;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// A SubjectPublicKeyInfo of RSA with 4096 bits has 550 octets; anything much longer is refused unread.
const MAX_SPKI_LEN: usize = 1024;

/// The shortest RSA modulus to accept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RsaMinimum {
    /// 2048 bits.
    #[default]
    Bits2048,
    /// 1024 bits: for what old peers sign with, and only where a configuration asks for it.
    Bits1024,
}

/// A public key that is well-formed, of an accepted size and, if ECDSA, on its curve.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    spki: Vec<u8>,
    key: PublicKey,
}

#[derive(Clone, PartialEq, Eq)]
enum PublicKey {
    Rsa {
        bits: u16,
        /// Big-endian, without zeros in front.
        modulus: Vec<u8>,
        /// Big-endian, without zeros in front.
        exponent: Vec<u8>,
    },
    /// The point as SEC 1 writes it, uncompressed.
    EcdsaP256(Vec<u8>),
    EcdsaP384(Vec<u8>),
}

impl VerifyingKey {
    /// Reads a DER SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), which must be all of `spki`.
    ///
    /// # Errors
    /// It is malformed, of another algorithm, shorter than `minimum`, longer than 4096 bits, or not on its
    /// curve.
    pub fn from_spki_der(spki: &[u8], minimum: RsaMinimum) -> Result<Self, KeyError> {
        const WHAT: &str = "SubjectPublicKeyInfo";
        if spki.len() > MAX_SPKI_LEN {
            return Err(KeyError::Malformed(WHAT));
        }
        let info = SubjectPublicKeyInfoRef::from_der(spki).map_err(|_| KeyError::Malformed(WHAT))?;
        let octets = info.subject_public_key.as_bytes().ok_or(KeyError::Malformed(WHAT))?;
        let key = match info.algorithm.oid {
            RSA_ENCRYPTION => {
                // RFC 3279 section 2.3.1: the parameters are NULL.
                if info.algorithm.parameters != Some(AnyRef::NULL) {
                    return Err(KeyError::Malformed(WHAT));
                }
                rsa_key(octets, minimum)?
            }
            EC_PUBLIC_KEY => match info.algorithm.parameters_oid() {
                Ok(SECP256R1) => p256_key(octets)?,
                Ok(SECP384R1) => p384_key(octets)?,
                _ => return Err(KeyError::Algorithm),
            },
            _ => return Err(KeyError::Algorithm),
        };
        Ok(Self { spki: spki.to_vec(), key })
    }

    /// The DER SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// What the key is.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        match self.key {
            PublicKey::Rsa { bits, .. } => KeyKind::Rsa { bits },
            PublicKey::EcdsaP256(_) => KeyKind::EcdsaP256,
            PublicKey::EcdsaP384(_) => KeyKind::EcdsaP384,
        }
    }

    /// Verifies `signature` over `message`, which the scheme hashes unless it is one
    /// that signs what was hashed already.
    ///
    /// # Errors
    /// The key is not of the scheme's kind, or the signature is not this key's over this message.
    pub fn verify(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        match (&self.key, scheme) {
            (PublicKey::Rsa { bits, modulus, exponent }, SignatureScheme::RsaPkcs1(hash)) => {
                // ring verifies short moduli only with some of the hash functions.
                if *bits < RSA_MIN_BITS {
                    return verify_prehashed(modulus, exponent, hash, message, signature);
                }
                ring_signature::RsaPublicKeyComponents { n: modulus, e: exponent }
                    .verify(ring_rsa(hash), message, signature)
                    .map_err(|_| SignatureError::Invalid)
            }
            (PublicKey::Rsa { modulus, exponent, .. }, SignatureScheme::RsaPkcs1Raw) => {
                if message.len() > raw_room(self.kind()) {
                    return Err(SignatureError::TooLong { len: message.len(), room: raw_room(self.kind()) });
                }
                rsa_verify(modulus, exponent, Pkcs1v15Sign::new_unprefixed(), message, signature)
            }
            (PublicKey::EcdsaP256(point), SignatureScheme::EcdsaP256Sha256) => {
                ring_signature::UnparsedPublicKey::new(&ring_signature::ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature)
                    .map_err(|_| SignatureError::Invalid)
            }
            (PublicKey::EcdsaP384(point), SignatureScheme::EcdsaP384Sha384) => {
                ring_signature::UnparsedPublicKey::new(&ring_signature::ECDSA_P384_SHA384_FIXED, point)
                    .verify(message, signature)
                    .map_err(|_| SignatureError::Invalid)
            }
            (PublicKey::EcdsaP256(point), SignatureScheme::EcdsaP256Digest) => {
                check_digest(message, 32)?;
                let verify = || {
                    let signature = p256::ecdsa::Signature::from_slice(signature)?;
                    p256::ecdsa::VerifyingKey::from_sec1_bytes(point)?.verify_prehash(message, &signature)
                };
                verify().map_err(|_| SignatureError::Invalid)
            }
            (PublicKey::EcdsaP384(point), SignatureScheme::EcdsaP384Digest) => {
                check_digest(message, 48)?;
                let verify = || {
                    let signature = p384::ecdsa::Signature::from_slice(signature)?;
                    p384::ecdsa::VerifyingKey::from_sec1_bytes(point)?.verify_prehash(message, &signature)
                };
                verify().map_err(|_| SignatureError::Invalid)
            }
            _ => Err(SignatureError::WrongKey { scheme, key: self.kind() }),
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.kind())
    }
}

fn rsa_key(octets: &[u8], minimum: RsaMinimum) -> Result<PublicKey, KeyError> {
    let key = RsaPublicKeyRef::from_der(octets).map_err(|_| KeyError::Malformed("RSAPublicKey"))?;
    let (modulus, exponent) = (key.modulus.as_bytes(), key.public_exponent.as_bytes());
    let leading = modulus.first().map_or(0, |octet| octet.leading_zeros() as usize);
    let bits = modulus.len() * 8 - leading;
    let min = match minimum {
        RsaMinimum::Bits2048 => RSA_MIN_BITS,
        RsaMinimum::Bits1024 => 1024,
    };
    let accepted = u16::try_from(bits).ok().filter(|bits| (min..=RSA_MAX_BITS).contains(bits));
    let bits = accepted.ok_or(KeyError::RsaSize { bits, min })?;
    if modulus.last().is_none_or(|octet| octet % 2 == 0) {
        return Err(KeyError::Malformed("RSA modulus"));
    }
    let odd = exponent.last().is_some_and(|octet| octet % 2 == 1);
    if !odd || exponent.len() > 4 || exponent == [1] {
        return Err(KeyError::RsaExponent);
    }
    Ok(PublicKey::Rsa { bits, modulus: modulus.to_vec(), exponent: exponent.to_vec() })
}

fn p256_key(octets: &[u8]) -> Result<PublicKey, KeyError> {
    uncompressed(octets)?;
    p256::PublicKey::from_sec1_bytes(octets).map_err(|_| KeyError::NotOnCurve)?;
    Ok(PublicKey::EcdsaP256(octets.to_vec()))
}

fn p384_key(octets: &[u8]) -> Result<PublicKey, KeyError> {
    uncompressed(octets)?;
    p384::PublicKey::from_sec1_bytes(octets).map_err(|_| KeyError::NotOnCurve)?;
    Ok(PublicKey::EcdsaP384(octets.to_vec()))
}

/// RFC 5480 section 2.2: uncompressed points must be read; nobody sends the others.
fn uncompressed(octets: &[u8]) -> Result<(), KeyError> {
    if octets.first() == Some(&4) { Ok(()) } else { Err(KeyError::NotOnCurve) }
}

fn ring_rsa(hash: HashAlgorithm) -> &'static ring_signature::RsaParameters {
    match hash {
        HashAlgorithm::Sha1 => &ring_signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
        HashAlgorithm::Sha256 => &ring_signature::RSA_PKCS1_2048_8192_SHA256,
        HashAlgorithm::Sha384 => &ring_signature::RSA_PKCS1_2048_8192_SHA384,
        HashAlgorithm::Sha512 => &ring_signature::RSA_PKCS1_2048_8192_SHA512,
    }
}

fn verify_prehashed(
    modulus: &[u8],
    exponent: &[u8],
    hash: HashAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    rsa_verify(modulus, exponent, digest_info(hash), &hash.digest(&[message]), signature)
}

/// PKCS#1 v1.5 with the DigestInfo of this hash function.
pub(super) fn digest_info(hash: HashAlgorithm) -> Pkcs1v15Sign {
    match hash {
        HashAlgorithm::Sha1 => Pkcs1v15Sign::new::<Sha1>(),
        HashAlgorithm::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
        HashAlgorithm::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
        HashAlgorithm::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
    }
}

fn rsa_verify(
    modulus: &[u8],
    exponent: &[u8],
    padding: Pkcs1v15Sign,
    hashed: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let modulus = BoxedUint::from_be_slice_vartime(modulus);
    let exponent = BoxedUint::from_be_slice_vartime(exponent);
    let key = rsa::PublicKey::new(modulus, exponent).map_err(|_| SignatureError::Invalid)?;
    key.verify(padding, hashed, signature).map_err(|_| SignatureError::Invalid)
}
