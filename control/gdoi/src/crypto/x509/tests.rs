use super::super::{RsaMinimum, SignatureScheme, SigningKey};
use super::*;
use proptest::prelude::*;

/// The start of 2026.
const NOW: u64 = 1_767_225_600;

macro_rules! pem {
    ($name:literal) => {
        &include_bytes!(concat!("../testdata/x509/", $name, ".pem"))[..]
    };
}

macro_rules! crl {
    ($name:literal) => {
        &include_bytes!(concat!("../testdata/x509/", $name, ".crl"))[..]
    };
}

fn der(pem: &[u8]) -> Vec<u8> {
    parse_chain(pem).unwrap().remove(0)
}

fn certificate(pem: &[u8]) -> Certificate {
    Certificate::from_der(&der(pem)).unwrap()
}

fn store(crls: &[&[u8]]) -> TrustStore {
    TrustStore::new(&[pem!("root")], crls).unwrap()
}

/// Verifies certificates, the peer's own first, against the root.
fn verify(chain: &[&[u8]], crls: &[&[u8]]) -> Result<PeerCertificate, CertificateError> {
    verify_by(&store(crls), chain)
}

fn verify_by(store: &TrustStore, chain: &[&[u8]]) -> Result<PeerCertificate, CertificateError> {
    let chain: Vec<_> = chain.iter().map(|pem| der(pem)).collect();
    store.verify(&chain, NOW)
}

#[test]
fn a_chain_leads_to_the_anchor_with_every_kind_of_key() {
    for leaf in [pem!("leaf-ec"), pem!("leaf-p384"), pem!("leaf-rsa")] {
        assert_eq!(verify(&[leaf, pem!("sub")], &[]).unwrap().der(), der(leaf));
        // What is not needed does no harm, wherever it stands.
        assert!(verify(&[leaf, pem!("other-root"), pem!("sub"), pem!("root")], &[]).is_ok());
    }
    for leaf in [pem!("leaf-root"), pem!("no-usage")] {
        assert!(verify(&[leaf], &[]).is_ok());
    }
    let file = parse_chain(pem!("chain")).unwrap();
    assert!(store(&[]).verify(&file, NOW).is_ok());
}

#[test]
fn anchors_and_crls_are_read_from_pem_and_der() {
    let from_der = TrustStore::new(
        &[&include_bytes!("../testdata/x509/root.der")[..]],
        &[&include_bytes!("../testdata/x509/root.crl.der")[..], crl!("sub")],
    )
    .unwrap();
    assert!(verify_by(&from_der, &[pem!("leaf-ec"), pem!("sub")]).is_ok());
    assert_eq!(from_der.anchors()[0].subject(), "CN=Root,O=Example,C=DE");
    let bundle = [pem!("old-root"), pem!("root")].concat();
    let both = TrustStore::new(&[bundle], &[[crl!("root"), crl!("sub")].concat()]).unwrap();
    assert_eq!(both.anchors().len(), 2);
    assert_eq!(verify_by(&both, &[pem!("revoked"), pem!("sub")]), Err(CertificateError::Revoked));
}

#[test]
fn validity_is_checked_at_the_time_given() {
    let expired = CertificateError::Expired { not_after: 1_735_689_600, now: NOW };
    assert_eq!(verify(&[pem!("expired"), pem!("sub")], &[]), Err(expired));
    let future = CertificateError::NotYetValid { not_before: 3_155_760_000, now: NOW };
    assert_eq!(verify(&[pem!("future"), pem!("sub")], &[]), Err(future));

    let chain = [der(pem!("expired")), der(pem!("sub"))];
    for (now, valid) in
        [(1_704_067_199, false), (1_704_067_200, true), (1_735_689_600, true), (1_735_689_601, false)]
    {
        assert_eq!(store(&[]).verify(&chain, now).is_ok(), valid, "{now}");
    }
}

#[test]
fn a_trust_anchor_that_has_expired_carries_nothing() {
    let store = TrustStore::new(&[pem!("old-root")], &[] as &[&[u8]]).unwrap();
    let expired = CertificateError::Expired { not_after: 1_577_836_800, now: NOW };
    assert_eq!(verify_by(&store, &[pem!("below-old-root")]), Err(expired));
}

#[test]
fn a_certificate_without_a_path_is_refused() {
    for leaf in [pem!("self-signed"), pem!("leaf-ec"), pem!("below-old-root")] {
        let read = certificate(leaf);
        let unknown = CertificateError::UnknownIssuer { subject: read.subject(), issuer: read.issuer() };
        assert_eq!(verify(&[leaf], &[]), Err(unknown));
    }
    // An anchor that has the name of the issuer, but not its key.
    let other = TrustStore::new(&[pem!("other-root")], &[] as &[&[u8]]).unwrap();
    assert_eq!(verify_by(&other, &[pem!("leaf-root")]), Err(CertificateError::BadSignature));
    assert_eq!(verify(&[], &[]), Err(CertificateError::NoCertificate));
}

#[test]
fn a_leaf_that_must_not_sign_is_refused() {
    let needed = "digitalSignature or nonRepudiation";
    let subject = certificate(pem!("wrong-usage")).subject();
    let refused = CertificateError::KeyUsage { subject, needed };
    assert_eq!(verify(&[pem!("wrong-usage"), pem!("sub")], &[]), Err(refused));
    assert_eq!(verify(&[pem!("wrong-purpose"), pem!("sub")], &[]), Err(CertificateError::ExtendedKeyUsage));
    assert_eq!(verify(&[pem!("critical"), pem!("sub")], &[]), Err(CertificateError::CriticalExtension));
    assert_eq!(verify(&[pem!("sha1")], &[]), Err(CertificateError::SignatureAlgorithm));
    assert_eq!(verify(&[pem!("sub")], &[]), Err(CertificateError::CaAsPeer));
    let small = verify(&[pem!("small"), pem!("sub")], &[]).unwrap_err();
    let error = KeyError::RsaSize { bits: 1024, min: 2048 };
    assert_eq!(small, CertificateError::Key { subject: "CN=small,O=Example,C=DE".into(), error });
}

#[test]
fn an_issuer_that_must_not_issue_is_refused() {
    assert_eq!(verify(&[pem!("below-not-ca"), pem!("not-ca")], &[]), Err(CertificateError::NotCa));
    let refused = |name: &str, needed| {
        Err(CertificateError::KeyUsage { subject: format!("CN={name},O=Example,C=DE"), needed })
    };
    assert_eq!(
        verify(&[pem!("below-no-cert-sign"), pem!("no-cert-sign")], &[]),
        refused("no-cert-sign", "keyCertSign")
    );
    assert!(verify(&[pem!("below-no-crl-sign"), pem!("no-crl-sign")], &[]).is_ok());
    let no_crl_sign = verify(&[pem!("below-no-crl-sign"), pem!("no-crl-sign")], &[crl!("no-crl-sign")]);
    assert!(matches!(no_crl_sign, Err(CertificateError::KeyUsage { needed: "cRLSign", .. })));
    assert_eq!(
        verify(&[pem!("below-short"), pem!("under-short"), pem!("short")], &[]),
        Err(CertificateError::PathLength)
    );
    assert_eq!(verify(&[pem!("below-named"), pem!("named")], &[]), Err(CertificateError::NameConstraints));
}

#[test]
fn a_revoked_certificate_is_refused_once_its_issuer_says_so() {
    let leaf = [pem!("revoked"), pem!("sub")];
    assert!(verify(&leaf, &[]).is_ok());
    assert!(verify(&leaf, &[crl!("root")]).is_ok());
    assert_eq!(verify(&leaf, &[crl!("sub")]), Err(CertificateError::Revoked));
    assert!(verify(&[pem!("leaf-ec"), pem!("sub")], &[crl!("sub"), crl!("root")]).is_ok());
    let below = [pem!("below-revoked-sub"), pem!("revoked-sub")];
    assert_eq!(verify(&below, &[crl!("sub"), crl!("root")]), Err(CertificateError::Revoked));
}

#[test]
fn of_two_crls_of_an_issuer_the_newer_counts() {
    let leaf = [pem!("revoked"), pem!("sub")];
    assert!(verify(&leaf, &[crl!("sub-older")]).is_ok());
    for crls in [[crl!("sub-older"), crl!("sub")], [crl!("sub"), crl!("sub-older")]] {
        assert_eq!(verify(&leaf, &crls), Err(CertificateError::Revoked));
    }
}

#[test]
fn a_crl_that_is_stale_or_forged_makes_the_certificate_refused() {
    let stale = CertificateError::CrlExpired { next_update: 1_735_689_600, now: NOW };
    assert_eq!(verify(&[pem!("leaf-ec"), pem!("sub")], &[crl!("sub-stale")]), Err(stale));
    let forged = verify(&[pem!("leaf-root")], &[crl!("root-forged")]);
    assert_eq!(forged, Err(CertificateError::BadSignature));
}

#[test]
fn a_store_names_what_it_cannot_use() {
    let made = |anchor: &[u8], crl: &[u8]| TrustStore::new(&[anchor], &[crl]).unwrap_err();
    assert_eq!(made(pem!("leaf-ec"), crl!("root")), CertificateError::NotCa);
    assert_eq!(made(b"", crl!("root")), CertificateError::NoCertificate);
    assert_eq!(made(pem!("root"), b""), CertificateError::NoCrl);
    assert_eq!(made(pem!("root"), b"\x30\x00"), CertificateError::Malformed("CRL"));
    assert_eq!(made(b"\x30\x00", crl!("root")), CertificateError::Malformed("certificate"));
    let no_sign = made(pem!("no-cert-sign"), crl!("root"));
    assert!(matches!(no_sign, CertificateError::KeyUsage { needed: "keyCertSign", .. }));
    let no_crl_sign = made(pem!("no-crl-sign"), crl!("no-crl-sign"));
    assert!(matches!(no_crl_sign, CertificateError::KeyUsage { needed: "cRLSign", .. }));
}

#[test]
fn a_chain_is_bounded_in_number_and_length() {
    let many = vec![der(pem!("leaf-root")); MAX_CHAIN_LEN + 1];
    assert_eq!(store(&[]).verify(&many, NOW), Err(CertificateError::TooMany(MAX_CHAIN_LEN + 1)));
    assert!(store(&[]).verify(&many[1..], NOW).is_ok());
    let file = pem!("leaf-root").repeat(MAX_CHAIN_LEN + 1);
    assert_eq!(parse_chain(&file), Err(CertificateError::TooMany(MAX_CHAIN_LEN + 1)));
    let long = vec![0x30; MAX_CERTIFICATE_LEN + 1];
    assert_eq!(
        store(&[]).verify(std::slice::from_ref(&long), NOW),
        Err(CertificateError::TooLong(MAX_CERTIFICATE_LEN + 1))
    );
}

#[test]
fn a_certificate_tells_what_it_holds() {
    let leaf = certificate(pem!("leaf-ec"));
    assert_eq!(leaf.subject(), "CN=gm2.example.net,OU=Members,O=Example,C=DE");
    assert_eq!(leaf.issuer(), "CN=Sub,O=Example,C=DE");
    assert_eq!((leaf.not_before(), leaf.not_after()), (1_704_067_200, 3_281_990_400));
    assert!(!leaf.serial().is_empty());
    assert!(leaf.matches_subject_der(leaf.subject_der()));
    assert!(!leaf.matches_subject_der(certificate(pem!("sub")).subject_der()));
    let names: Vec<_> = leaf.alternative_names().iter().map(ToString::to_string).collect();
    let expected = ["gm2.example.net", "*.wild.example.net", "Gm2@example.net", "192.0.2.7", "2001:db8::7"];
    assert_eq!(names, expected);
}

#[test]
fn the_key_of_a_certificate_verifies_what_its_private_key_signs() {
    let own = SigningKey::from_pem(include_bytes!("../testdata/keys/p256-pkcs8.pem")).unwrap();
    let leaf = certificate(pem!("leaf-ec"));
    assert_eq!(leaf.public_key(), own.verifying_key());
    let scheme = SignatureScheme::EcdsaP256Sha256;
    let signature = own.sign(scheme, b"HASH_I", &mut super::super::SeededRandom::new(1)).unwrap();
    assert_eq!(leaf.public_key().verify(scheme, b"HASH_I", &signature), Ok(()));
    assert_ne!(certificate(pem!("leaf-p384")).public_key(), own.verifying_key());
    let again = super::super::VerifyingKey::from_spki_der(leaf.public_key().spki_der(), RsaMinimum::Bits2048);
    assert_eq!(again.as_ref(), Ok(leaf.public_key()));
}

#[test]
fn days_until_expiry_count_down_and_on() {
    let leaf = certificate(pem!("expired"));
    let end = leaf.not_after();
    for (now, days) in
        [(end - 2 * 86_400, 2), (end - 86_399, 0), (end, 0), (end + 1, -1), (end + 86_400, -2), (0, 20_089)]
    {
        assert_eq!(leaf.days_until_expiry(now), days, "{now}");
    }
}

#[test]
fn a_certificate_has_the_identities_that_it_was_given_and_no_others() {
    let leaf = certificate(pem!("leaf-ec"));
    for identity in [
        "CN=gm2.example.net",
        "cn=GM2.example.net",
        "O=Example, CN=gm2.example.net",
        "CN=gm2.example.net,OU=Members,O=Example,C=DE",
        "gm2.example.net",
        "GM2.EXAMPLE.NET.",
        "Gm2@example.NET",
        "192.0.2.7",
        "2001:db8:0::7",
    ] {
        let parsed: Identity = identity.parse().unwrap();
        assert!(leaf.matches_identity(&parsed), "{identity}");
    }
    for identity in [
        "CN=gm3.example.net",
        "CN=gm2.example",
        "CN=gm2.example.net,CN=gm2.example.net",
        "OU=gm2.example.net",
        "CN=gm2.example.net,O=Other",
        "example.net",
        "gm.wild.example.net",
        "gm2@example.net",
        "192.0.2.8",
        "2001:db8::8",
    ] {
        let parsed: Identity = identity.parse().unwrap();
        assert!(!leaf.matches_identity(&parsed), "{identity}");
    }
}

#[test]
fn what_is_no_identity_is_refused_with_the_forms_that_are() {
    for text in [
        "",
        " ",
        "=",
        "CN",
        "a b",
        "*.example.net",
        "@example.net",
        "gm2@",
        "a..b",
        "CN=",
        "X=1",
        "under,score",
    ] {
        let parsed = text.parse::<Identity>();
        if matches!(text, "CN") {
            assert!(matches!(parsed, Ok(Identity::Dns(_))));
        } else {
            assert_eq!(parsed, Err(IdentityError::of(text)), "{text}");
        }
    }
    let text = "*.example.net".parse::<Identity>().unwrap_err().to_string();
    assert!(text.starts_with("\"*.example.net\" is no identity: write a subject (CN="));
}

proptest! {
    /// Whatever a peer makes of a good chain's octets: no panic, and never accepted with other content.
    #[test]
    fn a_damaged_chain_is_refused_and_nothing_worse(
        which in 0usize..2, index in any::<prop::sample::Index>(), flip in 1u8..=255,
    ) {
        let mut chain = [der(pem!("leaf-ec")), der(pem!("sub"))];
        let octets = &mut chain[which];
        let index = index.index(octets.len());
        octets[index] ^= flip;
        prop_assert!(store(&[]).verify(&chain, NOW).is_err());
    }

    #[test]
    fn any_octets_are_read_without_a_panic(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Certificate::from_der(&octets);
        let _ = parse_chain(&octets);
        let _ = SigningKey::from_pem(&octets);
        let _ = SigningKey::from_pkcs8_der(&octets);
        prop_assert!(store(&[]).verify(&[octets], NOW).is_err());
    }

    #[test]
    fn any_text_is_an_identity_or_none(text in ".{0,80}") {
        if let Ok(identity) = text.parse::<Identity>() {
            prop_assert_eq!(identity.to_string().parse::<Identity>(), Ok(identity));
        }
    }
}
