//! Any octets as what a peer or a file gives: certificates, chains, CRLs, keys, names. Nothing panics, and
//! only what the CA has signed is believed.

#![no_main]

use std::str;

use getvpn_control_fuzz::{Input, TRUSTED_CA, signed_certificate};
use getvpn_gdoi::crypto::x509::{Certificate, Identity, MAX_CERTIFICATE_LEN, TrustStore, parse_chain};
use getvpn_gdoi::crypto::{RsaMinimum, SignatureScheme, SigningKey, VerifyingKey};
use libfuzzer_sys::fuzz_target;

/// The start of 2026.
const NOW: u64 = 1_767_225_600;
const NO_CRL: &[&[u8]] = &[];

fuzz_target!(|octets: &[u8]| {
    let mut input = Input::new(octets);
    match input.octet() {
        0 => read(input.rest()),
        1 => drop(parse_chain(input.rest())),
        2 => drop(SigningKey::from_pem(input.rest())),
        3 => drop(SigningKey::from_pkcs8_der(input.rest())),
        4 => verify_with(input.piece(), input.rest()),
        5 => drop(TrustStore::new(&[input.rest()], NO_CRL)),
        6 => drop(TrustStore::new(&[TRUSTED_CA], &[input.rest()])),
        7 => drop(TrustStore::new(&[TRUSTED_CA], &[signed_certificate(input.rest())])),
        8 => drop(str::from_utf8(input.rest()).map(str::parse::<Identity>)),
        9 => forged(&input.pieces().collect::<Vec<_>>()),
        _ => signed(input.piece(), &input.pieces().collect::<Vec<_>>()),
    }
});

/// Everything that is asked of a certificate.
fn read(der: &[u8]) {
    let Ok(certificate) = Certificate::from_der(der) else { return };
    assert!(der.len() <= MAX_CERTIFICATE_LEN && certificate.der() == der);
    assert!(certificate.matches_subject_der(certificate.subject_der()));
    let days = certificate.days_until_expiry(NOW);
    assert_eq!(days < 0, certificate.not_after() < NOW);
    for name in certificate.alternative_names() {
        assert!(certificate.matches_identity(name));
    }
    if let Ok(subject) = certificate.subject().parse::<Identity>() {
        let _ = certificate.matches_identity(&subject);
    }
}

fn verify_with(spki: &[u8], signature: &[u8]) {
    let Ok(key) = VerifyingKey::from_spki_der(spki, RsaMinimum::Bits1024) else { return };
    assert_eq!(key.spki_der(), spki);
    for scheme in
        [SignatureScheme::RsaPkcs1Raw, SignatureScheme::EcdsaP256Sha256, SignatureScheme::EcdsaP384Sha384]
    {
        let _ = key.verify(scheme, b"message", signature);
    }
}

/// A chain that no CA has signed, unless the fuzzer repeats the CA itself, which is no peer.
fn forged(chain: &[&[u8]]) {
    let trust = TrustStore::new(&[TRUSTED_CA], NO_CRL).unwrap();
    assert!(trust.verify(chain, NOW).is_err());
}

/// The first certificate, or all, signed by the CA: whether it is believed is for its extensions to say.
fn signed(first: &[u8], others: &[&[u8]]) {
    let trust = TrustStore::new(&[TRUSTED_CA], NO_CRL).unwrap();
    let own = signed_certificate(first);
    let chain: Vec<_> =
        [own.clone()].into_iter().chain(others.iter().map(|tbs| signed_certificate(tbs))).collect();
    if let Ok(peer) = trust.verify(&chain, NOW) {
        assert!(peer.not_before() <= NOW && NOW <= peer.not_after());
        read(&own);
    }
}
