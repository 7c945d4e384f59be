//! What the rest of the data plane relies on: names, lengths, key checks. Tests only.

use super::super::{Cipher, Transform, UnknownTransform};
use super::cipher;

/// DESIGN: the names of configuration files.
const NAMES: [&str; 11] = [
    "aes-128-gcm",
    "aes-256-gcm",
    "chacha20-poly1305",
    "aes-128-gmac",
    "aes-256-gmac",
    "aes-128-cbc-hmac-sha256",
    "aes-256-cbc-hmac-sha256",
    "aes-128-cbc-hmac-sha1",
    "aes-256-cbc-hmac-sha1",
    "null-hmac-sha256",
    "null-hmac-sha1",
];

#[test]
fn every_name_of_the_specification_is_a_transform_and_prints_as_itself() {
    let names: Vec<_> = Transform::ALL.iter().map(|t| t.name()).collect();
    assert_eq!(names, NAMES);
    for name in NAMES {
        assert_eq!(name.parse::<Transform>().map(|t| t.to_string()), Ok(name.to_owned()));
    }
}

#[test]
fn a_wrong_name_is_answered_with_the_right_ones() {
    assert_eq!("aes-192-gcm".parse::<Transform>(), Err(UnknownTransform));
    assert_eq!("AES-128-GCM".parse::<Transform>(), Err(UnknownTransform));
    let message = UnknownTransform.to_string();
    assert!(NAMES.iter().all(|name| message.contains(name)), "{message}");
}

#[test]
fn lengths_are_those_of_the_rfcs() {
    // name, key with salt, integrity key, IV, ICV, block, counter mode
    let expected = [
        (Transform::Aes128Gcm, 20, 0, 8, 16, 4, true),
        (Transform::Aes256Gcm, 36, 0, 8, 16, 4, true),
        (Transform::ChaCha20Poly1305, 36, 0, 8, 16, 4, true),
        (Transform::Aes128Gmac, 20, 0, 8, 16, 4, true),
        (Transform::Aes256Gmac, 36, 0, 8, 16, 4, true),
        (Transform::Aes128CbcHmacSha256, 16, 32, 16, 16, 16, false),
        (Transform::Aes256CbcHmacSha256, 32, 32, 16, 16, 16, false),
        (Transform::Aes128CbcHmacSha1, 16, 20, 16, 12, 16, false),
        (Transform::Aes256CbcHmacSha1, 32, 20, 16, 12, 16, false),
        (Transform::NullHmacSha256, 0, 32, 0, 16, 4, false),
        (Transform::NullHmacSha1, 0, 20, 0, 12, 4, false),
    ];
    let actual: Vec<_> = Transform::ALL
        .iter()
        .map(|&t| {
            (t, t.key_len(), t.integrity_key_len(), t.iv_len(), t.icv_len(), t.block(), t.is_counter_mode())
        })
        .collect();
    assert_eq!(actual, expected);
}

#[test]
fn keys_of_any_other_length_are_refused_with_the_right_lengths() {
    for &transform in Transform::ALL {
        for key in 0..70 {
            for integrity_key in 0..70 {
                let right = key == transform.key_len() && integrity_key == transform.integrity_key_len();
                let made = Cipher::new(transform, &vec![1; key], &vec![2; integrity_key]);
                assert_eq!(made.is_ok(), right, "{transform} {key} {integrity_key}");
                let Err(error) = made else { continue };
                let message = error.to_string();
                assert!(message.starts_with(transform.name()), "{message}");
                assert!(message.contains(&format!("a key of {} octets", transform.key_len())), "{message}");
            }
        }
    }
}

#[test]
fn a_cipher_prints_its_transform_and_no_key() {
    for &transform in Transform::ALL {
        let printed = format!("{:?}", cipher(transform, 1));
        assert_eq!(printed, format!("Cipher({transform})"));
    }
}
