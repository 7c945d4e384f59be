//! Two recordings of other people's GDOI, read to the last octet: what is in the clear, then, with the
//! recorded keys, what is encrypted. `captures/README.md` says where they come from.

#![allow(clippy::unwrap_used, reason = "tests")]

mod recording;

use getvpn_gdoi::crypto::{HashAlgorithm, RsaMinimum, SignatureScheme, VerifyingKey};
use getvpn_gdoi::wire::{
    Body, Compat, Doi, EspTransform, ExchangeType, GdoiProtocol, GdoiSa, HEADER_LEN, IdType, KekAttribute,
    KekKeyAttribute, KeyPacket, NotifyType, Payload, PayloadType, SaAttribute, Sat, TekKeyAttribute,
    encode_chain,
};
use recording::{Capture, GO, Message, RECORDINGS, REFERENCE, capture, hex, path};
use serde_json::Value;

#[test]
fn every_message_is_the_chain_that_the_rfcs_draw() {
    use PayloadType::{
        Delete, Hash, Identification, KeyDownload, KeyExchange, Nonce, Notify, Sa, Sequence, Signature,
    };
    let mut expected = vec![
        vec![Sa],
        vec![Sa],
        vec![KeyExchange, Nonce],
        vec![KeyExchange, Nonce],
        vec![Identification, Hash, Notify],
        vec![Identification, Hash, Notify],
        vec![Hash, Nonce, Identification],
        vec![Hash, Nonce, Sa],
        vec![Hash],
        vec![Hash, Sequence, KeyDownload],
    ];
    expected.extend(vec![vec![Sequence, Sa, KeyDownload, Signature]; 8]);
    expected.push(vec![Sequence, Delete, Signature]);
    let chains = |name, compat| -> Vec<_> {
        capture(name).messages.iter().map(|message| message.types(compat)).collect()
    };
    assert_eq!(chains(REFERENCE, Compat::Reference), expected);

    expected.truncate(10);
    expected[4] = vec![Identification, Hash];
    expected[5] = vec![Identification, Hash];
    // No rekey, so no SEQ (RFC 6407 section 3.2).
    expected[9] = vec![Hash, KeyDownload];
    assert_eq!(chains(GO, Compat::Standard), expected);
}

#[test]
fn every_message_is_written_as_it_was_read() {
    for (name, compat) in RECORDINGS {
        for message in capture(name).messages {
            let body = message.read(compat);
            let payloads: Vec<_> = body.payloads().iter().map(|located| located.payload.clone()).collect();
            let chain = encode_chain(&payloads, PayloadType::None, compat).unwrap();
            assert_eq!(chain.first, message.header.next_payload);
            assert_eq!(chain.octets.as_slice(), body.octets());
            assert!(body.padding().len() < 16 && body.padding().iter().all(|&octet| octet == 0));
            assert_eq!(message.header.encode(), message.datagram[..HEADER_LEN]);
        }
    }
}

#[test]
fn phase_1_of_both_has_the_layout_of_isakmp_under_the_gdoi_doi() {
    for ((name, compat), situation) in RECORDINGS.into_iter().zip([0, 1]) {
        let capture = capture(name);
        for message in &capture.messages[..2] {
            let body = message.read(compat);
            let Payload::Sa(sa) = &body.payloads()[0].payload else { panic!("{body:?}") };
            assert_eq!((sa.doi, sa.situation), (Doi::Gdoi, situation));
            let attributes = &sa.proposals[0].transforms[0].attributes;
            let recorded = capture.phase1["attrs"].as_object().unwrap();
            assert_eq!(attributes.iter().count(), recorded.len());
            for attribute in attributes.iter() {
                let class = attribute.class.number().to_string();
                assert_eq!(Some(attribute.value.number()), recorded[&class].as_u64());
            }
        }
    }
}

#[test]
fn hashes_of_main_mode_cover_the_octets_that_the_body_gives() {
    let Capture { messages, phase1, hash } = capture(REFERENCE);
    let bodies: Vec<_> = messages[..6].iter().map(|message| message.read(Compat::Reference)).collect();
    let content = |at: usize, payload_type| bodies[at].content(bodies[at].find(payload_type).unwrap());
    let [public_i, public_r] = [2, 3].map(|at| content(at, PayloadType::KeyExchange));
    let cookies = messages[1].header.cookies();
    let (cookie_i, cookie_r) = (&cookies.initiator.0[..], &cookies.responder.0[..]);
    let sa = content(0, PayloadType::Sa);
    let skeyid = hex(&phase1["skeyid"]);

    let [id_i, id_r] = [4, 5].map(|at| content(at, PayloadType::Identification));
    let hash_i = hash.prf(&skeyid, &[public_i, public_r, cookie_i, cookie_r, sa, id_i]);
    let hash_r = hash.prf(&skeyid, &[public_r, public_i, cookie_r, cookie_i, sa, id_r]);
    assert_eq!(hash_i.as_slice(), content(4, PayloadType::Hash));
    assert_eq!(hash_r.as_slice(), content(5, PayloadType::Hash));
}

#[test]
fn hashes_of_pull_cover_the_octets_that_the_body_gives() {
    let Capture { messages, phase1, hash } = capture(REFERENCE);
    let bodies: Vec<_> = messages[6..10].iter().map(|message| message.read(Compat::Reference)).collect();
    let key = hex(&phase1["skeyid_a"]);
    let id = messages[6].header.message_id.to_be_bytes();
    let nonce = |at: usize| bodies[at].content(bodies[at].find(PayloadType::Nonce).unwrap());
    let (nonce_i, nonce_r) = (nonce(0), nonce(1));
    for (body, nonces) in bodies.iter().zip([&[][..], &[nonce_i], &[nonce_i, nonce_r], &[nonce_i, nonce_r]]) {
        let received = body.find(PayloadType::Hash).unwrap();
        let computed = hash.prf(&key, &[&id, &nonces.concat(), body.after(received)]);
        assert_eq!(computed.as_slice(), body.content(received));
    }
}

#[test]
fn signatures_of_push_cover_the_header_without_padding_and_what_precedes_them() {
    let Capture { messages, .. } = capture(REFERENCE);
    let KeyPacket::Kek(kek) = &messages[9].keys(Compat::Reference).packets[0] else { panic!() };
    let public = kek.attributes.octets(KekKeyAttribute::SigKey).unwrap();
    let public = VerifyingKey::from_spki_der(public, RsaMinimum::Bits1024).unwrap();
    for message in &messages[10..] {
        let body = message.read(Compat::Reference);
        let signature = body.find(PayloadType::Signature).unwrap();
        let header = message.header.with_body_len(body.octets().len()).unwrap();
        assert_ne!(header.length, message.header.length);
        let digest = HashAlgorithm::Sha1.digest(&[b"rekey", &header.encode(), body.before(signature)]);
        public.verify(SignatureScheme::RsaPkcs1Raw, &digest, body.content(signature)).unwrap();
    }
}

#[test]
fn policy_and_keys_of_the_reference_implementation() {
    let Capture { messages, .. } = capture(REFERENCE);
    let registration = messages[7].sa(Compat::Reference);
    let sak = registration.sak().unwrap();
    assert_eq!(sak.spi, messages[10].header.cookies());
    assert_eq!(sak.attributes.number(KekAttribute::KeyLifetime), Some(45));
    assert_eq!(sak.source.data, [10, 9, 0, 1]);

    let seq: Vec<_> = messages[9..].iter().map(Message::seq).collect();
    assert_eq!(seq, (0..10).collect::<Vec<_>>());

    let spis = |sa: &GdoiSa| -> Vec<_> {
        let esp = |sat: &Sat| match sat {
            Sat::Esp(tek) => {
                let ids = (tek.source.data.clone(), tek.destination.data.clone());
                (tek.spi, tek.transform, ids)
            }
            other => panic!("{other:?}"),
        };
        sa.sats().map(esp).collect()
    };
    let first = || (vec![10, 9, 0, 2], vec![239, 1, 1, 1]);
    let second = || (vec![10, 9, 0, 3], vec![239, 1, 1, 2]);
    let mut expected =
        vec![(0x50be_54ca, EspTransform::AesCbc, first()), (0x17a0_eba8, EspTransform::TripleDes, second())];
    assert_eq!(spis(&registration), expected);
    // The first PUSH repeats them and adds two.
    expected.push((0x88da_a87b, EspTransform::AesCbc, first()));
    expected.push((0x72cd_6874, EspTransform::TripleDes, second()));
    assert_eq!(spis(&messages[10].sa(Compat::Reference)), expected);

    // Every SA but the rollover's is keyed by a KD with the same SPIs in the same order.
    for (policy, keys) in [(7, 9), (10, 10), (11, 11), (12, 12), (13, 13), (15, 15), (16, 16), (17, 17)] {
        let packets = messages[keys].keys(Compat::Reference).packets;
        let keyed: Vec<_> = packets[1..].iter().map(|packet| packet.spi().as_u32().unwrap()).collect();
        let sa = messages[policy].sa(Compat::Reference);
        assert_eq!(keyed, spis(&sa).into_iter().map(|(spi, ..)| spi).collect::<Vec<_>>());
        assert_eq!(packets[0].spi().as_cookies(), Some(sa.sak().unwrap().spi));
    }
    let body = messages[18].read(Compat::Reference);
    let Payload::Delete(delete) = &body.payloads()[1].payload else { panic!("{body:?}") };
    assert_eq!(delete.protocol, GdoiProtocol::Esp.number());
    assert_eq!(delete.spis.len(), 16);
    assert_eq!(delete.spis[0].as_u32(), Some(0x50be_54ca));
}

#[test]
fn kek_of_each_kd_is_the_recorded_one_iv_first() {
    let text = std::fs::read_to_string(path("gdoid-aes-rekey.keys.json")).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    let Capture { messages, .. } = capture(REFERENCE);
    // Message 14 is the rollover: its SAK names the new SPI, its KD the old one with the new key.
    let rollover = &messages[14];
    let (sa, kd) = (rollover.sa(Compat::Reference), rollover.keys(Compat::Reference));
    assert_eq!(sa.sak().unwrap().spi, messages[15].header.cookies());
    assert_eq!(kd.packets[0].spi().as_cookies(), Some(rollover.header.cookies()));
    assert_eq!((sa.attributes.len(), kd.packets.len()), (1, 1));

    for (at, kek) in [(9, 0), (10, 0), (13, 0), (14, 1), (15, 1), (17, 1)] {
        let KeyPacket::Kek(keys) = &messages[at].keys(Compat::Reference).packets[0] else { panic!() };
        let expected = [hex(&recorded["kek"][kek]["iv"]), hex(&recorded["kek"][kek]["key"])].concat();
        assert_eq!(keys.attributes.octets(KekKeyAttribute::AlgorithmKey), Some(expected.as_slice()));
    }
}

#[test]
fn initial_contact_of_the_reference_implementation() {
    let Capture { messages, .. } = capture(REFERENCE);
    for message in &messages[4..6] {
        let body = message.read(Compat::Reference);
        let Payload::Notify(notify) = &body.payloads()[2].payload else { panic!("{body:?}") };
        assert_eq!((notify.doi, notify.notify_type), (Doi::Ipsec, NotifyType::InitialContact));
        assert_eq!(notify.spi.as_cookies(), Some(message.header.cookies()));
    }
}

#[test]
fn tek_of_iec_61850_is_kept_and_keyed() {
    let Capture { messages, .. } = capture(GO);
    let body = messages[6].read(Compat::Standard);
    let Payload::Identification(group) = &body.payloads()[2].payload else { panic!("{body:?}") };
    assert_eq!((group.id_type, group.data.as_slice()), (IdType::KeyId, &1234u32.to_be_bytes()[..]));

    let sa = messages[7].sa(Compat::Standard);
    let teks: Vec<_> = sa
        .attributes
        .iter()
        .map(|attribute| match attribute {
            SaAttribute::Sat(Sat::Unknown(GdoiProtocol::Iec61850, content)) => content,
            other => panic!("{other:?}"),
        })
        .collect();
    let packets = messages[9].keys(Compat::Standard).packets;
    assert_eq!((teks.len(), packets.len()), (2, 2));
    for (tek, packet) in teks.into_iter().zip(packets) {
        // OID Length, OID, OID-Specific Payload Length (zero here), SPI (RFC 8052 section 2.2).
        let spi = &tek[usize::from(tek[0]) + 3..][..4];
        let KeyPacket::Tek(keys) = packet else { panic!("{packet:?}") };
        assert_eq!(keys.spi.octets(), spi);
        assert_eq!(keys.attributes.octets(TekKeyAttribute::AlgorithmKey).map(<[u8]>::len), Some(20));
    }
}

#[test]
fn the_reference_layout_is_read_only_where_it_is_asked_for() {
    for message in capture(REFERENCE).messages {
        let (next, exchange) = (message.header.next_payload, message.header.exchange);
        let read = Body::decode(next, exchange, &message.body, Compat::Standard);
        let has_sak = message.types(Compat::Reference).contains(&PayloadType::Sa)
            && exchange != ExchangeType::IdentityProtection;
        // Two zero octets more before the attributes leave an attribute that is cut short.
        assert_eq!(read.is_err(), has_sak, "{:?}", message.header);
    }
}
