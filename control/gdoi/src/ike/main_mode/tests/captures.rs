//! Phase 1 of two other implementations, recorded with keys: what is derived comes out as recorded, and our
//! responder takes what they offer.

use super::*;
use crate::crypto::AesCbc;
use crate::ike::keys::{Exchanged, first_iv, hash_i, hash_r};
use crate::ike::protection::decrypt;
use crate::wire::{Body, Compat, PayloadType, split_datagram};

/// The key that both ends of the C implementation were given.
const C_PSK: &[u8] = b"mekmitasdigoat";

struct Capture {
    messages: Vec<Vec<u8>>,
    hash: HashAlgorithm,
    encryption_key: Vec<u8>,
    exchanged: Exchanged,
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn content(message: &[u8], payload: PayloadType) -> Vec<u8> {
    let (header, body) = split_datagram(message).unwrap();
    let body = Body::decode(header.next_payload, header.exchange, body, Compat::Standard).unwrap();
    body.content(body.find(payload).unwrap()).to_vec()
}

impl Capture {
    fn read(name: &str, hash: HashAlgorithm, encryption_key: &str) -> Self {
        let text = String::from_utf8(testdata(name)).unwrap();
        let messages: Vec<_> = text.split_whitespace().map(hex).collect();
        assert_eq!(messages.len(), 6);
        let exchanged = Exchanged {
            cookies: split_datagram(&messages[1]).unwrap().0.cookies(),
            initiator_public: content(&messages[2], PayloadType::KeyExchange),
            responder_public: content(&messages[3], PayloadType::KeyExchange),
            initiator_nonce: content(&messages[2], PayloadType::Nonce),
            responder_nonce: content(&messages[3], PayloadType::Nonce),
            offer: content(&messages[0], PayloadType::Sa),
        };
        Self { messages, hash, encryption_key: hex(encryption_key), exchanged }
    }

    fn c() -> Self {
        Self::read("c-reference.hex", HashAlgorithm::Sha1, "f49bd65fb5eb18437b4f9c6cd2692943")
    }

    fn go() -> Self {
        Self::read("go.hex", HashAlgorithm::Sha256, "2f41b2ad757d22feaf99009762511abf")
    }

    /// ID and HASH payloads of messages 5 and 6, whose IV is derived and not recorded.
    fn proofs(&self) -> [(Vec<u8>, Vec<u8>); 2] {
        let cipher = AesCbc::new(&self.encryption_key).unwrap();
        let mut iv =
            first_iv(self.hash, &[&self.exchanged.initiator_public, &self.exchanged.responder_public]);
        [4, 5].map(|index| {
            let (header, body) = split_datagram(&self.messages[index]).unwrap();
            let (text, next) = decrypt(&cipher, &iv, body).unwrap();
            iv = next;
            let body = Body::decode(header.next_payload, header.exchange, &text, Compat::Standard).unwrap();
            let find = |payload| body.content(body.find(payload).unwrap()).to_vec();
            (find(PayloadType::Identification), find(PayloadType::Hash))
        })
    }
}

#[test]
fn the_c_implementations_skeyid_and_hashes_come_out_as_recorded() {
    let capture = Capture::c();
    let nonces = [capture.exchanged.initiator_nonce.as_slice(), &capture.exchanged.responder_nonce].concat();
    let skeyid = capture.hash.prf(C_PSK, &[&nonces]);
    assert_eq!(skeyid, hex("32ba804dae8e6126b88211ba543f24bc7df0901f").as_slice());
    let [(initiator, hash_of_initiator), (responder, hash_of_responder)] = capture.proofs();
    assert_eq!(hash_i(capture.hash, &skeyid, &capture.exchanged, &initiator), hash_of_initiator.as_slice());
    assert_eq!(hash_r(capture.hash, &skeyid, &capture.exchanged, &responder), hash_of_responder.as_slice());
}

#[test]
fn the_go_implementations_proofs_decrypt_under_the_derived_iv() {
    for (identity, hash) in Capture::go().proofs() {
        assert_eq!(hash.len(), 32);
        assert!(identity.len() >= 8, "{identity:?}");
    }
}

#[test]
fn what_other_implementations_offer_is_taken_and_comes_back_as_it_was() {
    for (capture, name, situation) in
        [(Capture::c(), "aes128-sha1-modp1024", 0), (Capture::go(), "aes128-sha256-modp2048", 1)]
    {
        let ks = ResponderConfig { suites: vec![suite(name)], ..ks_config() };
        let random = &mut SeededRandom::new(1);
        let first = &capture.messages[0];
        let mut mode = MainMode::respond(Arc::new(ks), gm_address(), first, Instant::now(), random).unwrap();
        let answer = content(&mode.poll_transmit().unwrap(), PayloadType::Sa);
        assert_eq!(answer, content(&capture.messages[1], PayloadType::Sa), "{name}");
        assert_eq!(answer[4..8], u32::to_be_bytes(situation));
    }
}
