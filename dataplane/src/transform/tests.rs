//! The transforms against vectors and properties that we did not make up. Tests only.

mod aead_vectors;
mod cbc_vectors;
mod esp_vectors;
mod hmac_vectors;
mod interface;
mod properties;
mod wycheproof_vectors;

use super::{Cipher, OpenJob, SealJob, Transform, open_burst, seal_burst};

/// Octets from hexadecimal; blanks are skipped.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).expect("a hexadecimal digit"))
        .collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    assert!(rest.is_empty(), "half an octet in {text}");
    pairs.iter().map(|[high, low]| u8::try_from(high << 4 | low).expect("an octet")).collect()
}

/// Exactly `N` octets from hexadecimal.
fn hex_array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().expect("the right number of octets")
}

/// Keys that are different for different `seed`.
fn cipher(transform: Transform, seed: u8) -> Cipher {
    let octets = |len: usize, salt: u8| -> Vec<u8> {
        (0..len).map(|i| seed ^ salt ^ u8::try_from(i).expect("a short key")).collect()
    };
    Cipher::new(transform, &octets(transform.key_len(), 0x55), &octets(transform.integrity_key_len(), 0xaa))
        .expect("keys of the right lengths")
}

/// A packet ready to be sealed: header, room for the IV, `plaintext`, room for the ICV.
fn packet(transform: Transform, plaintext: &[u8]) -> Vec<u8> {
    let mut esp = vec![0x00, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00, 0x03];
    esp.resize(8 + transform.iv_len(), 0xee);
    esp.extend_from_slice(plaintext);
    esp.resize(esp.len() + transform.icv_len(), 0xdd);
    esp
}

/// Where the plaintext is in a packet.
fn text(transform: Transform, esp: &[u8]) -> &[u8] {
    &esp[8 + transform.iv_len()..esp.len() - transform.icv_len()]
}

fn open(cipher: &Cipher, esp: &mut [u8]) -> bool {
    let mut jobs = [OpenJob::new(cipher, esp)];
    open_burst(&mut jobs);
    jobs[0].authentic
}

fn seal(cipher: &Cipher, esp: &mut [u8], iv: u64) -> bool {
    let mut jobs = [SealJob::new(cipher, esp, iv)];
    seal_burst(&mut jobs);
    jobs[0].sealed
}
