//! Certificates around any content that a trusted CA has really signed, so that a fuzzer gets past the
//! signature.

use std::sync::LazyLock;

use getvpn_gdoi::crypto::{SeededRandom, SignatureScheme, SigningKey};

/// The CA's certificate. Its key is one of the test keys of `getvpn-gdoi`.
pub const TRUSTED_CA: &[u8] = include_bytes!("../testdata/ca.pem");

static KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    let pem = include_bytes!("../../gdoi/src/crypto/testdata/keys/p256-pkcs8.pem");
    SigningKey::from_pem(pem).unwrap()
});

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 2;
const BIT_STRING: u8 = 3;

/// AlgorithmIdentifier of ecdsa-with-SHA256 (RFC 5758 section 3.2).
const ALGORITHM: &[u8] = &[SEQUENCE, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

/// A Certificate, or a CertificateList, in DER: `tbs` is what the CA signs, whatever it is.
#[must_use]
pub fn signed_certificate(tbs: &[u8]) -> Vec<u8> {
    let signature = KEY.sign(SignatureScheme::EcdsaP256Sha256, tbs, &mut SeededRandom::new(0)).unwrap();
    let (r, s) = signature.split_at(signature.len() / 2);
    let signature = element(SEQUENCE, &[integer(r), integer(s)].concat());
    let signature = element(BIT_STRING, &[&[0], signature.as_slice()].concat());
    element(SEQUENCE, &[tbs, ALGORITHM, &signature].concat())
}

fn integer(number: &[u8]) -> Vec<u8> {
    let significant = &number[number.iter().take_while(|&&octet| octet == 0).count()..];
    let sign: &[u8] = if significant.first().is_none_or(|&octet| octet >= 0x80) { &[0] } else { &[] };
    element(INTEGER, &[sign, significant].concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = match content.len() {
        0..=0x7f => length[7..].to_vec(),
        0x80..=0xff => [&[0x81], &length[7..]].concat(),
        0x100..=0xffff => [&[0x82], &length[6..]].concat(),
        _ => [&[0x83], &length[5..]].concat(),
    };
    [&[tag], length.as_slice(), content].concat()
}
