//! GROUPKEY-PUSH: messages of any content, encrypted and signed as the key server would.

use getvpn_gdoi::crypto::{AES_BLOCK_LEN, AesCbc, SeededRandom, SignatureScheme};
use getvpn_gdoi::push::{self, Ack};
use getvpn_gdoi::wire::{Body, Compat, CookiePair, ExchangeType, Flags, Header, PayloadType, split_datagram};

use crate::Input;
use crate::exchange::Chain;
use crate::group::{SIGNING, check_keys, check_policy, keys, policy};

/// A member that has the group's Rekey SA. The first octet says in which layout, and how much of the rest
/// is right: nothing (it is the datagram), the encryption, or the signature as well.
pub fn to_member(mut input: Input<'_>) {
    let choice = input.octet();
    let compat = if choice & 1 == 0 { Compat::Standard } else { Compat::Reference };
    let last = u32::from(choice & 8);
    let datagram = match choice & 6 {
        0 => input.rest().to_vec(),
        2 => encrypted(&Chain::fuzzed(input.rest())),
        _ => signed(&Chain::fuzzed(input.rest()), compat),
    };
    let (policy, keys) = (policy(), keys());
    let (kek, (_, kek_keys)) = (policy.kek.unwrap(), keys.kek.unwrap());
    if split_datagram(&datagram).is_err() {
        assert!(push::peek(&datagram).is_none());
    }
    match push::open(&kek, &kek_keys, last, &datagram, compat) {
        Ok(opened) => {
            assert!(choice & 4 != 0, "a forged PUSH");
            assert_eq!(push::peek(&datagram), Some(kek.spi));
            assert!(opened.rekey.kek == kek.spi && opened.rekey.sequence > last);
            assert!(opened.rekey.deletions.len() <= 2048);
            check_policy(&opened.rekey.policy);
            check_keys(&opened.rekey.keys, &opened.rekey.policy);
            assert!(push::open(&kek, &kek_keys, opened.rekey.sequence, &datagram, compat).is_err());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(ack) = Ack::parse(&datagram) {
        let request = getvpn_gdoi::group::AckRequest::KekSha256;
        assert!(ack.verify(kek.spi, &kek_keys, request).is_err(), "a forged acknowledgement");
    }
}

fn header(chain: &Chain) -> Header {
    let cookies = CookiePair::from(policy().kek.unwrap().spi.0);
    Header::new(cookies, chain.first, ExchangeType::GroupkeyPush, Flags::ENCRYPTED, 0)
}

/// A PUSH with these payloads, encrypted under the group's Rekey SA.
#[must_use]
pub fn encrypted(chain: &Chain) -> Vec<u8> {
    let (_, keys) = keys().kek.unwrap();
    let mut text = chain.octets.clone();
    text.resize(text.len().next_multiple_of(AES_BLOCK_LEN), 0);
    AesCbc::new(&keys.cipher).unwrap().encrypt(&keys.iv, &mut text).unwrap();
    header(chain).datagram(&text).unwrap()
}

/// The same with the right SIG behind them, where they are payloads at all.
#[must_use]
pub fn signed(chain: &Chain, compat: Compat) -> Vec<u8> {
    let Ok(body) = Body::decode(chain.first, ExchangeType::GroupkeyPush, &chain.octets, compat) else {
        return encrypted(chain);
    };
    let mut octets = body.octets().to_vec();
    let first = match body.payloads().last() {
        // The last payload's generic header now names another behind it.
        Some(last) => {
            octets[last.range.start] = PayloadType::Signature.number();
            chain.first
        }
        None => PayloadType::Signature,
    };
    let len = octets.len() + 4 + SIGNING.kind().signature_len();
    let unsigned = Chain { first, octets };
    let signed_header = header(&unsigned).with_body_len(len).unwrap();
    let message = [b"rekey", &signed_header.encode()[..], &unsigned.octets].concat();
    let scheme = SignatureScheme::EcdsaP256Sha256;
    let signature = SIGNING.sign(scheme, &message, &mut SeededRandom::new(0)).unwrap();
    let none = Chain { first: PayloadType::None, octets: Vec::new() };
    let sig = none.behind(PayloadType::Signature, &signature);
    encrypted(&Chain { first, octets: [unsigned.octets, sig.octets].concat() })
}
