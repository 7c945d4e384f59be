//! The cryptography that ISAKMP, IKEv1 and GDOI name: hashes, ciphers, key exchange, signatures and
//! certificates. Computes only; it sends nothing and asks no one for the time.

mod cipher;
mod dh;
mod hash;
mod random;
mod secret;
mod signature;
#[cfg(test)]
mod testing;
pub mod x509;

pub use cipher::{AES_BLOCK_LEN, AesCbc, CipherError};
pub use dh::{DhError, DhGroup, DhPrivate};
pub use hash::{HashAlgorithm, MAX_DIGEST_LEN};
pub use random::{Random, SeededRandom, SystemRandom};
pub use secret::Secret;
pub use signature::{
    KeyError, KeyKind, RsaMinimum, SignatureError, SignatureScheme, SigningKey, VerifyingKey,
};
