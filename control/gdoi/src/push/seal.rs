//! What the SIG of a PUSH covers, and its encryption: the same for who makes it and who reads it.

use crate::crypto::{HashAlgorithm, SignatureScheme};
use crate::group::{KekPolicy, KekSignature};
use crate::wire::{Compat, Header};

/// What stands before the header in what is signed, so that the signature serves for nothing else (RFC 6407
/// section 4).
const PREFIX: &[u8] = b"rekey";

/// What is signed, and by which scheme.
///
/// The RFC hashes "the entire GROUPKEY-PUSH message (excepting the SIG payload octets) before it has been
/// encrypted". `header` therefore has the E flag, which its section 4.2 demands, and the length that the
/// message has before padding, since padding comes with encryption. The reference implementation does the
/// same.
pub(super) fn signed(
    kek: &KekPolicy,
    header: Header,
    before_signature: &[u8],
    compat: Compat,
) -> (SignatureScheme, Vec<u8>) {
    let header = header.encode();
    let message = [PREFIX, &header, before_signature];
    match (kek.signature, compat) {
        (KekSignature::Rsa(hash), Compat::Standard) => (SignatureScheme::RsaPkcs1(hash), message.concat()),
        (KekSignature::Rsa(hash), Compat::Reference) => {
            (SignatureScheme::RsaPkcs1Raw, digest(hash, &message))
        }
        (KekSignature::EcdsaP256, _) => (SignatureScheme::EcdsaP256Sha256, message.concat()),
        (KekSignature::EcdsaP384, _) => (SignatureScheme::EcdsaP384Sha384, message.concat()),
    }
}

fn digest(hash: HashAlgorithm, message: &[&[u8]]) -> Vec<u8> {
    hash.digest(message)
}
