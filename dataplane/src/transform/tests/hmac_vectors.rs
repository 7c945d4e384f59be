//! HMAC vectors: RFC 2202 section 3 (SHA-1), RFC 4231 section 4 (SHA-256) and RFC 4868 section
//! 2.7.2 (HMAC-SHA-256-128, with keys of the length that IPsec uses). Tests only.

use super::super::hmac::{Hash, Hmac};
use super::hex;

const LONG_KEY: &[u8] = b"Test Using Larger Than Block-Size Key - Hash Key First";
const LONG_KEY_AND_DATA_SHA1: &[u8] =
    b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data";
const LONG_KEY_AND_DATA_SHA256: &[u8] = b"This is a test using a larger than block-size key and a \
larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.";

/// Name, hash, key, data, and their HMAC, whole or truncated.
type Vector = (&'static str, Hash, Vec<u8>, Vec<u8>, &'static str);

fn vectors() -> Vec<Vector> {
    let counted: Vec<u8> = (1..=25).collect();
    let counted_32: Vec<u8> = (1..=32).collect();
    let want = b"what do ya want for nothing?".to_vec();
    let hi = b"Hi There".to_vec();
    let truncation = b"Test With Truncation".to_vec();
    let (sha1, sha256) = (Hash::Sha1, Hash::Sha256);
    vec![
        ("2202-1", sha1, vec![0x0b; 20], hi.clone(), "b617318655057264e28bc0b6fb378c8ef146be00"),
        ("2202-2", sha1, b"Jefe".to_vec(), want.clone(), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        ("2202-3", sha1, vec![0xaa; 20], vec![0xdd; 50], "125d7342b9ac11cd91a39af48aa17b4f63f175d3"),
        ("2202-4", sha1, counted.clone(), vec![0xcd; 50], "4c9007f4026250c6bc8414f9bf50c86c2d7235da"),
        ("2202-5", sha1, vec![0x0c; 20], truncation.clone(), "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04"),
        ("2202-5, 96 bits", sha1, vec![0x0c; 20], truncation.clone(), "4c1a03424b55e07fe7f27be1"),
        ("2202-6", sha1, vec![0xaa; 80], LONG_KEY.to_vec(), "aa4ae5e15272d00e95705637ce8a3b55ed402112"),
        (
            "2202-7",
            sha1,
            vec![0xaa; 80],
            LONG_KEY_AND_DATA_SHA1.to_vec(),
            "e8e99d0f45237d786d6bbaa7965c7808bbff1a91",
        ),
        (
            "4231-1",
            sha256,
            vec![0x0b; 20],
            hi.clone(),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            "4231-2",
            sha256,
            b"Jefe".to_vec(),
            want.clone(),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            "4231-3",
            sha256,
            vec![0xaa; 20],
            vec![0xdd; 50],
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        ),
        (
            "4231-4",
            sha256,
            counted,
            vec![0xcd; 50],
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        ),
        ("4231-5, 128 bits", sha256, vec![0x0c; 20], truncation, "a3b6167473100ee06e0c796c2955552b"),
        (
            "4231-6",
            sha256,
            vec![0xaa; 131],
            LONG_KEY.to_vec(),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            "4231-7",
            sha256,
            vec![0xaa; 131],
            LONG_KEY_AND_DATA_SHA256.to_vec(),
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ),
        ("4868 AUTH256-1", sha256, vec![0x0b; 32], hi, "198a607eb44bfbc69903a0f1cf2bbdc5"),
        ("4868 AUTH256-2", sha256, b"Jefe".repeat(8), want, "167f928588c5cc2eef8e3093caa0e87c"),
        ("4868 AUTH256-3", sha256, vec![0xaa; 32], vec![0xdd; 50], "cdcb1220d1ecccea91e53aba3092f962"),
        ("4868 AUTH256-4", sha256, counted_32, vec![0xcd; 50], "372efcf9b40b35c2115b1346903d2ef4"),
    ]
}

#[test]
fn hmac_agrees_with_the_rfcs() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 19);
    for (name, hash, key, data, icv) in vectors {
        let icv = hex(icv);
        let hmac = Hmac::truncated(hash, icv.len(), &key).expect("an ICV length");
        let mut computed = vec![0; icv.len()];
        assert!(hmac.sign(&data, &mut computed), "{name}");
        assert_eq!(computed, icv, "{name}");
        assert!(hmac.verify(&data, &icv), "{name}");
    }
}

#[test]
fn an_icv_of_another_length_is_wrong_even_when_it_is_a_prefix() {
    let hmac = Hmac::new(Hash::Sha256, &[0x0b; 20]).expect("a key");
    let whole = hex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    for len in 0..=whole.len() {
        assert_eq!(hmac.verify(b"Hi There", &whole[..len]), len == 16, "{len}");
        assert_eq!(hmac.sign(b"Hi There", &mut vec![0; len]), len == 16, "{len}");
    }
}

#[test]
fn an_icv_of_no_octets_or_of_more_than_the_hash_has_is_refused() {
    for (hash, longest) in [(Hash::Sha1, 20), (Hash::Sha256, 32)] {
        for len in 0..=64 {
            let possible = (1..=longest).contains(&len);
            assert_eq!(Hmac::truncated(hash, len, b"key").is_some(), possible);
        }
    }
}
