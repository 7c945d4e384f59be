//! AES-CBC vectors: RFC 3602 section 4, cases 1 to 4, and NIST SP 800-38A sections F.2.1 and F.2.5;
//! and encryption side by side against the library's own, one message at a time. Tests only.

use aes::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeEncrypt, BlockSizeUser, InnerIvInit, KeyInit,
    consts::U16,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::cbc_hmac::{Block, LANES, Lanes, decrypt};
use super::hex;

const NIST_PLAINTEXT: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51
    30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";

/// Source, key, IV, plaintext, ciphertext.
const VECTORS: &[[&str; 5]] = &[
    [
        "RFC 3602 case 1",
        "06a9214036b8a15b512e03d534120006",
        "3dafba429d9eb430b422da802c9fac41",
        "53696e676c6520626c6f636b206d7367",
        "e353779c1079aeb82708942dbe77181a",
    ],
    [
        "RFC 3602 case 2",
        "c286696d887c9aa0611bbb3e2025a45a",
        "562e17996d093d28ddb3ba695a2e6f58",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1",
    ],
    [
        "RFC 3602 case 3",
        "6c3ea0477630ce21a2ce334aa746c2cd",
        "c782dc4c098c66cbd9cd27d825682c81",
        "5468697320697320612034382d62797465206d657373616765202865786163746c
         7920332041455320626c6f636b7329",
        "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5
         021c19216bad525c8579695d83ba2684",
    ],
    [
        "RFC 3602 case 4",
        "56e47a38c5598974bc46903dba290349",
        "8ce82eefbea0da3c44699ed7db51b7d9",
        "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf
         c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf",
        "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e
         35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55",
    ],
    [
        "NIST SP 800-38A F.2.1",
        "2b7e151628aed2a6abf7158809cf4f3c",
        "000102030405060708090a0b0c0d0e0f",
        NIST_PLAINTEXT,
        "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2
         73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
    ],
    [
        "NIST SP 800-38A F.2.5",
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        "000102030405060708090a0b0c0d0e0f",
        NIST_PLAINTEXT,
        "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d
         39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
    ],
];

fn blocks(octets: &[u8]) -> Vec<Block> {
    let (blocks, rest) = octets.as_chunks::<16>();
    assert!(rest.is_empty());
    blocks.iter().map(|block| Block::from(*block)).collect()
}

fn check<C>([source, key, iv, plaintext, ciphertext]: [&str; 5])
where
    C: KeyInit + BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>,
{
    let aes = C::new_from_slice(&hex(key)).expect("a key");
    let iv = blocks(&hex(iv))[0];
    let mut text = blocks(&hex(plaintext));
    let mut lanes = Lanes::new();
    assert!(lanes.push(&iv, &mut text));
    lanes.encrypt(&aes);
    assert_eq!(text, blocks(&hex(ciphertext)), "{source}");
    decrypt(&aes, &iv, &mut text);
    assert_eq!(text, blocks(&hex(plaintext)), "{source}");
}

#[test]
fn aes_cbc_agrees_with_rfc_3602_and_nist() {
    assert_eq!(VECTORS.len(), 6);
    for vector in VECTORS {
        match vector[1].len() {
            32 => check::<aes::Aes128>(*vector),
            _ => check::<aes::Aes256>(*vector),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn messages_encrypted_side_by_side_are_those_encrypted_alone(
        key in any::<[u8; 32]>(),
        messages in vec((any::<[u8; 16]>(), vec(any::<[u8; 16]>(), 0..80)), 0..=LANES),
    ) {
        let aes = aes::Aes256::new(&key.into());
        let mut messages: Vec<(Block, Vec<Block>)> = messages
            .into_iter()
            .map(|(iv, text)| (iv.into(), text.into_iter().map(Block::from).collect()))
            .collect();
        let alone: Vec<Vec<Block>> = messages
            .iter()
            .map(|(iv, text)| {
                let mut text = text.clone();
                cbc::Encryptor::inner_iv_init(&aes, iv).encrypt_blocks(&mut text);
                text
            })
            .collect();
        let mut lanes = Lanes::new();
        for (iv, text) in &mut messages {
            prop_assert!(lanes.push(iv, text));
        }
        lanes.encrypt(&aes);
        let together: Vec<Vec<Block>> = messages.into_iter().map(|(_, text)| text).collect();
        prop_assert_eq!(together, alone);
    }
}
