//! The PULL that was recorded, read from both sides.

use crate::crypto::{HashAlgorithm, KeyKind, Secret};
use crate::group::{
    Deletion, EspSpi, GroupId, KekCipher, KekKeys, KekPolicy, KekSignature, Refused, RefusedSpi, Unservable,
    from_sa_payload,
};
use crate::ike::Prf;
use crate::pull::message::Exchange;
use crate::pull::{PullClient, PullError, PullOffer, PullServer, Pulled};
use crate::push::{self, PushError};
use crate::recording::{GO, Message, REFERENCE, capture, hex};
use crate::wire::{Compat, EspTransform, GdoiProtocol, Payload, PayloadType};

const COMPAT: Compat = Compat::Reference;

fn nonce(message: &Message) -> Vec<u8> {
    match &message.read(COMPAT).find(PayloadType::Nonce).unwrap().payload {
        Payload::Nonce(nonce) => nonce.clone(),
        other => panic!("{other:?}"),
    }
}

fn recorded() -> (Vec<Message>, Exchange) {
    let capture = capture(REFERENCE);
    let prf = Prf::new(HashAlgorithm::Sha1, Secret::new(hex(&capture.phase1["skeyid_a"])));
    let exchange = Exchange { prf, message_id: capture.messages[6].header.message_id };
    (capture.messages, exchange)
}

/// The member of the recording.
fn member() -> (Vec<Message>, crate::pull::Offered, Pulled) {
    let (messages, exchange) = recorded();
    let client = PullClient { exchange, compat: COMPAT, ni: nonce(&messages[6]) };
    let [two, four] = [7, 9].map(|at: usize| (messages[at].header.next_payload, messages[at].body.clone()));
    let offered = client.policy(two.0, &two.1).unwrap();
    let pulled = offered.accept.keys(None, four.0, &four.1).unwrap();
    (messages, offered, pulled)
}

#[test]
fn every_hash_verifies_on_the_side_that_receives_it() {
    let (messages, exchange) = recorded();
    let first = |at: usize| messages[at].header.next_payload;
    let (server, group) =
        PullServer::request(exchange.prf.clone(), exchange.message_id, first(6), &messages[6].body).unwrap();
    assert_eq!(group.id(COMPAT), GroupId(1234));
    assert_eq!(group.id(Compat::Standard), GroupId(0xd204_0000));
    let offer = PullOffer {
        exchange: server.exchange.clone(),
        compat: COMPAT,
        ni: server.ni.clone(),
        nr: nonce(&messages[7]),
    };
    let (_, requested) = offer.confirmed(first(8), &messages[8].body).unwrap();
    assert_eq!(requested, None);
    // Messages 2 and 4.
    let (_, offered, pulled) = member();
    assert_eq!(offered.accept.nr, offer.nr);
    assert_eq!(pulled.sequence, Some(0));
}

#[test]
fn policy_and_keys_are_the_recorded_ones() {
    let (messages, offered, pulled) = member();
    let kek = offered.policy.kek.unwrap();
    assert_eq!(kek.spi.0, messages[10].header.cookies().octets());
    assert_eq!((kek.cipher, kek.lifetime.as_secs()), (KekCipher::Aes128Cbc, 45));
    assert_eq!(kek.signature, KekSignature::Rsa(HashAlgorithm::Sha1));
    assert_eq!(kek.source, "10.9.0.1:848".parse().unwrap());

    // An AES without a key, and 3DES: neither can be served, and each says why.
    assert!(offered.policy.teks.is_empty());
    let refused = |spi, why| Refused { spi: RefusedSpi::Esp(EspSpi(spi)), why };
    let expected = [
        refused(0x50be_54ca, Unservable::NoKeyLength),
        refused(0x17a0_eba8, Unservable::Transform(EspTransform::TripleDes)),
    ];
    assert_eq!(offered.refused, expected);

    let text = std::fs::read_to_string(crate::recording::path("gdoid-aes-rekey.keys.json")).unwrap();
    let recorded: serde_json::Value = serde_json::from_str(&text).unwrap();
    let (spi, keys) = pulled.keys.kek.unwrap();
    assert_eq!(spi, kek.spi);
    assert_eq!(keys.cipher.as_slice(), hex(&recorded["kek"][0]["key"]));
    assert_eq!(keys.iv.as_slice(), hex(&recorded["kek"][0]["iv"]));
    assert!(matches!(keys.verifying.kind(), KeyKind::Rsa { .. }));
    // Keys of what was refused are not asked for, and not counted again.
    assert_eq!((pulled.keys.teks.len(), pulled.refused.len()), (0, 0));
    assert_eq!(pulled.keys.sender_ids, None);
}

/// Follows the PUSHes as a member does, through the rollover to the deletion.
#[test]
fn every_push_opens_and_the_rekey_sa_is_followed() {
    let (messages, offered, pulled) = member();
    let mut kek: KekPolicy = offered.policy.kek.unwrap();
    let mut keys: KekKeys = pulled.keys.kek.unwrap().1;
    let mut last = pulled.sequence.unwrap();
    let first_kek = kek.spi;
    let mut deletions = Vec::new();
    for (message, number) in messages[10..].iter().zip(1..) {
        let datagram = &message.datagram;
        assert_eq!(push::peek(datagram), Some(kek.spi));
        let opened = push::open(&kek, &keys, last, datagram, COMPAT).unwrap();
        let rekey = opened.rekey;
        assert_eq!((rekey.kek, rekey.sequence), (kek.spi, number));
        // Again, and from before: both refused.
        let replay = push::open(&kek, &keys, rekey.sequence, datagram, COMPAT);
        assert_eq!(replay, Err(PushError::Replay { received: number, last: number }));
        // In the RFC's own layout neither the SAK nor the signature can be read.
        assert!(push::open(&kek, &keys, last, datagram, Compat::Standard).is_err());
        last = rekey.sequence;
        if let (Some(new), Some((spi, new_keys))) = (rekey.policy.kek, rekey.keys.kek) {
            assert_eq!(new.spi, spi);
            assert_eq!(new.spi == kek.spi, number != 5, "the rollover is PUSH 5");
            (kek, keys) = (new, new_keys);
        }
        deletions.extend(rekey.deletions);
        for refused in opened.refused {
            let known = matches!(
                refused.why,
                Unservable::NoKeyLength | Unservable::Transform(EspTransform::TripleDes)
            );
            assert!(known, "{refused}");
        }
    }
    assert_eq!(last, 9);
    assert_ne!(kek.spi, first_kek);
    let recorded = crate::recording::keks(REFERENCE);
    assert_eq!(keys.cipher.as_slice(), hex(&recorded[1]["key"]));
    assert_eq!((deletions.len(), deletions[0]), (16, Deletion::Tek(EspSpi(0x50be_54ca))));
}

#[test]
fn a_recorded_push_with_a_flipped_bit_is_refused() {
    let (messages, offered, pulled) = member();
    let (kek, keys) = (offered.policy.kek.unwrap(), pulled.keys.kek.unwrap().1);
    let datagram = &messages[11].datagram;
    for bit in 0..datagram.len() * 8 {
        let mut flipped = datagram.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(push::open(&kek, &keys, 0, &flipped, COMPAT).is_err(), "bit {bit}");
    }
}

#[test]
fn the_recorded_pull_is_not_that_of_another_message_id() {
    let (messages, exchange) = recorded();
    let one = &messages[6];
    let other = PullServer::request(exchange.prf, 1, one.header.next_payload, &one.body);
    assert_eq!(other.unwrap_err(), PullError::Hash(1));
}

/// RFC 8052's TEKs of the Go peer.
#[test]
fn teks_of_iec_61850_are_refused_by_name() {
    let (policy, refused) = from_sa_payload(&capture(GO).messages[7].sa(Compat::Standard));
    assert_eq!((policy.teks.len(), policy.kek, refused.len()), (0, None, 2));
    for refused in refused {
        assert!(matches!(refused.spi, RefusedSpi::Other(GdoiProtocol::Iec61850, Some(_))));
        assert_eq!(refused.why, Unservable::Protocol(GdoiProtocol::Iec61850));
    }
}
