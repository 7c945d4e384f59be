//! Private keys: from PEM and DER, freshly generated, and what they sign.

use super::public::digest_info;
use super::{
    KeyError, KeyKind, RSA_MAX_BITS, RSA_MIN_BITS, RsaMinimum, SignatureError, SignatureScheme, VerifyingKey,
    check_digest, raw_room,
};
use crate::crypto::random::Lent;
use crate::crypto::{HashAlgorithm, Random, Secret};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::elliptic_curve::Generate;
use ring::signature as ring_signature;
use rsa::Pkcs1v15Sign;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey};
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::{self, PemObject};
use std::fmt;
use zeroize::Zeroize;

/// A private key with its public one. Wiped when dropped, not shown by `Debug`.
pub struct SigningKey {
    key: PrivateKey,
    public: VerifyingKey,
}

enum PrivateKey {
    Rsa(Box<RsaPrivate>),
    EcdsaP256(Box<p256::ecdsa::SigningKey>),
    EcdsaP384(Box<p384::ecdsa::SigningKey>),
}

struct RsaPrivate {
    key: rsa::PrivateKey,
    /// The same key for ring, which signs several times as fast but takes no key with an unusual exponent
    /// or with primes of different lengths.
    fast: Option<ring_signature::RsaKeyPair>,
}

impl SigningKey {
    /// Reads the first private key of a PEM file: `PRIVATE KEY` (PKCS#8), `RSA PRIVATE KEY` (PKCS#1) or
    /// `EC PRIVATE KEY` (SEC 1).
    ///
    /// # Errors
    /// There is none, it is encrypted or malformed, or of a kind or size that is not accepted.
    pub fn from_pem(file: &[u8]) -> Result<Self, KeyError> {
        // PKCS#8 says so in the block's label, the older forms in a header that OpenSSL puts into the block.
        let encrypted = file.windows(9).any(|word| word == b"ENCRYPTED");
        let mut found = PrivateKeyDer::from_pem_slice(file).map_err(|error| match error {
            _ if encrypted => KeyError::Encrypted,
            pem::Error::NoItemsFound => KeyError::NotFound,
            _ => KeyError::Malformed("PEM block of the private key"),
        })?;
        let key = match &found {
            PrivateKeyDer::Pkcs8(der) => Self::from_pkcs8_der(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => rsa::PrivateKey::from_pkcs1_der(der.secret_pkcs1_der())
                .map_err(|_| KeyError::Malformed("RSA PRIVATE KEY"))
                .and_then(Self::from_rsa),
            PrivateKeyDer::Sec1(der) => from_sec1(der.secret_sec1_der()),
            _ => Err(KeyError::NotFound),
        };
        found.zeroize();
        key
    }

    /// Reads a PKCS#8 PrivateKeyInfo (RFC 5958).
    ///
    /// # Errors
    /// It is malformed, or of a kind or size that is not accepted.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        if let Ok(key) = p256::ecdsa::SigningKey::from_pkcs8_der(der) {
            return Self::from_p256(key);
        }
        if let Ok(key) = p384::ecdsa::SigningKey::from_pkcs8_der(der) {
            return Self::from_p384(key);
        }
        let info =
            rsa::pkcs8::PrivateKeyInfoRef::try_from(der).map_err(|_| KeyError::Malformed("PRIVATE KEY"))?;
        if info.algorithm.oid != rsa::pkcs1::ALGORITHM_OID {
            return Err(KeyError::Algorithm);
        }
        rsa::PrivateKey::try_from(info)
            .map_err(|_| KeyError::Malformed("PRIVATE KEY"))
            .and_then(Self::from_rsa)
    }

    /// A fresh key. An RSA key of 2048 bits takes about a tenth of a second.
    ///
    /// # Errors
    /// The RSA size asked for is not from 2048 to 4096 bits.
    pub fn generate(kind: KeyKind, random: &mut dyn Random) -> Result<Self, KeyError> {
        match kind {
            KeyKind::Rsa { bits } => {
                if !(RSA_MIN_BITS..=RSA_MAX_BITS).contains(&bits) {
                    return Err(KeyError::RsaSize { bits: bits.into(), min: RSA_MIN_BITS });
                }
                rsa::PrivateKey::new(&mut Lent(random), bits.into())
                    .map_err(|_| KeyError::Malformed("generated RSA key"))
                    .and_then(Self::from_rsa)
            }
            KeyKind::EcdsaP256 => {
                Self::from_p256(p256::ecdsa::SigningKey::generate_from_rng(&mut Lent(random)))
            }
            KeyKind::EcdsaP384 => {
                Self::from_p384(p384::ecdsa::SigningKey::generate_from_rng(&mut Lent(random)))
            }
        }
    }

    /// The key as a PKCS#8 PrivateKeyInfo, to be stored.
    ///
    /// # Errors
    /// None that a key of this type is known to cause.
    pub fn to_pkcs8_der(&self) -> Result<Secret, KeyError> {
        let document = match &self.key {
            PrivateKey::Rsa(rsa) => rsa.key.to_pkcs8_der(),
            PrivateKey::EcdsaP256(key) => key.to_pkcs8_der(),
            PrivateKey::EcdsaP384(key) => key.to_pkcs8_der(),
        };
        document.map(|der| Secret::from(der.as_bytes())).map_err(|_| KeyError::Malformed("private key"))
    }

    /// The public key.
    #[must_use]
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// What the key is.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.public.kind()
    }

    /// Signs `message`, which the scheme hashes unless it is one that signs what was hashed already. The same key
    /// and message give the same signature: PKCS#1 v1.5 is deterministic, ECDSA's nonce is that of RFC 6979.
    /// `random` only blinds the computation.
    ///
    /// # Errors
    /// The key is not of the scheme's kind, or the message too long for the raw scheme.
    pub fn sign(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
        random: &mut dyn Random,
    ) -> Result<Vec<u8>, SignatureError> {
        match (&self.key, scheme) {
            (PrivateKey::Rsa(rsa), SignatureScheme::RsaPkcs1(hash)) => rsa.sign(hash, message, random),
            (PrivateKey::Rsa(rsa), SignatureScheme::RsaPkcs1Raw) => {
                let room = raw_room(self.kind());
                if message.len() > room {
                    return Err(SignatureError::TooLong { len: message.len(), room });
                }
                rsa.key
                    .sign_with_rng(&mut Lent(random), Pkcs1v15Sign::new_unprefixed(), message)
                    .map_err(|_| SignatureError::Failed)
            }
            (PrivateKey::EcdsaP256(key), SignatureScheme::EcdsaP256Sha256) => {
                let signature: p256::ecdsa::Signature =
                    key.try_sign(message).map_err(|_| SignatureError::Failed)?;
                Ok(signature.to_bytes().to_vec())
            }
            (PrivateKey::EcdsaP384(key), SignatureScheme::EcdsaP384Sha384) => {
                let signature: p384::ecdsa::Signature =
                    key.try_sign(message).map_err(|_| SignatureError::Failed)?;
                Ok(signature.to_bytes().to_vec())
            }
            (PrivateKey::EcdsaP256(key), SignatureScheme::EcdsaP256Digest) => {
                check_digest(message, 32)?;
                let signature: p256::ecdsa::Signature =
                    key.sign_prehash(message).map_err(|_| SignatureError::Failed)?;
                Ok(signature.to_bytes().to_vec())
            }
            (PrivateKey::EcdsaP384(key), SignatureScheme::EcdsaP384Digest) => {
                check_digest(message, 48)?;
                let signature: p384::ecdsa::Signature =
                    key.sign_prehash(message).map_err(|_| SignatureError::Failed)?;
                Ok(signature.to_bytes().to_vec())
            }
            _ => Err(SignatureError::WrongKey { scheme, key: self.kind() }),
        }
    }

    fn from_rsa(mut key: rsa::PrivateKey) -> Result<Self, KeyError> {
        const WHAT: &str = "RSA private key";
        key.precompute().map_err(|_| KeyError::Malformed(WHAT))?;
        let spki = key.as_public_key().to_public_key_der().map_err(|_| KeyError::Malformed(WHAT))?;
        let public = VerifyingKey::from_spki_der(spki.as_bytes(), RsaMinimum::Bits2048)?;
        let fast =
            key.to_pkcs1_der().ok().and_then(|der| ring_signature::RsaKeyPair::from_der(der.as_bytes()).ok());
        Ok(Self { key: PrivateKey::Rsa(Box::new(RsaPrivate { key, fast })), public })
    }

    fn from_p256(key: p256::ecdsa::SigningKey) -> Result<Self, KeyError> {
        let spki =
            key.verifying_key().to_public_key_der().map_err(|_| KeyError::Malformed("P-256 private key"))?;
        let public = VerifyingKey::from_spki_der(spki.as_bytes(), RsaMinimum::default())?;
        Ok(Self { key: PrivateKey::EcdsaP256(Box::new(key)), public })
    }

    fn from_p384(key: p384::ecdsa::SigningKey) -> Result<Self, KeyError> {
        let spki =
            key.verifying_key().to_public_key_der().map_err(|_| KeyError::Malformed("P-384 private key"))?;
        let public = VerifyingKey::from_spki_der(spki.as_bytes(), RsaMinimum::default())?;
        Ok(Self { key: PrivateKey::EcdsaP384(Box::new(key)), public })
    }
}

impl RsaPrivate {
    fn sign(
        &self,
        hash: HashAlgorithm,
        message: &[u8],
        random: &mut dyn Random,
    ) -> Result<Vec<u8>, SignatureError> {
        let encoding = match hash {
            HashAlgorithm::Sha1 => None,
            HashAlgorithm::Sha256 => Some(&ring_signature::RSA_PKCS1_SHA256),
            HashAlgorithm::Sha384 => Some(&ring_signature::RSA_PKCS1_SHA384),
            HashAlgorithm::Sha512 => Some(&ring_signature::RSA_PKCS1_SHA512),
        };
        if let (Some(fast), Some(encoding)) = (&self.fast, encoding) {
            let mut signature = vec![0; fast.public().modulus_len()];
            // ring wants a generator for paddings that are random. This one is not.
            fast.sign(encoding, &ring::rand::SystemRandom::new(), message, &mut signature)
                .map_err(|_| SignatureError::Failed)?;
            return Ok(signature);
        }
        self.key
            .sign_with_rng(&mut Lent(random), digest_info(hash), &hash.digest(&[message]))
            .map_err(|_| SignatureError::Failed)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kind())
    }
}

fn from_sec1(der: &[u8]) -> Result<SigningKey, KeyError> {
    if let Ok(key) = p256::SecretKey::from_sec1_der(der) {
        return SigningKey::from_p256(key.into());
    }
    match p384::SecretKey::from_sec1_der(der) {
        Ok(key) => SigningKey::from_p384(key.into()),
        Err(_) => Err(KeyError::Malformed("EC PRIVATE KEY, which must be of P-256 or P-384,")),
    }
}
