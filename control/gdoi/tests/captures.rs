//! Two recordings of other people's GDOI, read to the last octet: what is in the clear, then, with the
//! recorded keys, what is encrypted. `captures/README.md` says where they come from.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use getvpn_gdoi::crypto::{AesCbc, HashAlgorithm, RsaMinimum, SignatureScheme, VerifyingKey};
use getvpn_gdoi::wire::{
    Body, Compat, Doi, EspTransform, ExchangeType, GdoiProtocol, GdoiSa, HEADER_LEN, Header, IdType,
    KekAttribute, KekKeyAttribute, KeyDownload, KeyPacket, NotifyType, Payload, PayloadType, SaAttribute,
    Sat, TekKeyAttribute, encode_chain, split_datagram,
};
use pcap_file::pcap::PcapReader;
use serde_json::Value;

const ETHERNET_LEN: usize = 14;
const IPV4_LEN: usize = 20;
const UDP_LEN: usize = 8;
const UDP: u8 = 17;

/// What one recorded datagram holds.
struct Message {
    header: Header,
    datagram: Vec<u8>,
    /// The body in the clear, with its padding.
    body: Vec<u8>,
}

impl Message {
    fn read(&self, compat: Compat) -> Body<'_> {
        let body = Body::decode(self.header.next_payload, self.header.exchange, &self.body, compat);
        body.unwrap_or_else(|error| panic!("{:?}: {error}", self.header))
    }

    fn types(&self, compat: Compat) -> Vec<PayloadType> {
        self.read(compat).payloads().iter().map(|located| located.payload.payload_type()).collect()
    }

    fn sa(&self, compat: Compat) -> GdoiSa {
        match &self.read(compat).find(PayloadType::Sa).unwrap().payload {
            Payload::GdoiSa(sa) => sa.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn keys(&self, compat: Compat) -> KeyDownload {
        match &self.read(compat).find(PayloadType::KeyDownload).unwrap().payload {
            Payload::KeyDownload(keys) => keys.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn seq(&self) -> u32 {
        match self.read(Compat::Reference).find(PayloadType::Sequence).unwrap().payload {
            Payload::Sequence(number) => number,
            ref other => panic!("{other:?}"),
        }
    }
}

/// A recording with the keys that its peers derived.
struct Capture {
    messages: Vec<Message>,
    phase1: Value,
    hash: HashAlgorithm,
}

fn hex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn last_block(octets: &[u8]) -> [u8; 16] {
    octets[octets.len() - 16..].try_into().unwrap()
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures").join(name)
}

/// The UDP payloads of a capture of IPv4 over Ethernet.
fn datagrams(name: &str) -> Vec<Vec<u8>> {
    let file = std::fs::File::open(path(name)).unwrap();
    let mut reader = PcapReader::new(file).unwrap();
    let mut datagrams = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.unwrap();
        let frame = &packet.data;
        if frame[ETHERNET_LEN + 9] == UDP {
            assert_eq!(frame[ETHERNET_LEN], 0x45, "IPv4 without options");
            let udp = &frame[ETHERNET_LEN + IPV4_LEN..];
            let len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
            datagrams.push(udp[UDP_LEN..len].to_vec());
        }
    }
    datagrams
}

/// Reads a recording and decrypts it: RFC 2409 appendix B for phase 1 and PULL, RFC 6407 section 4.2 for
/// PUSH, whose IV is the KEK's each time.
fn capture(name: &str) -> Capture {
    let text = std::fs::read_to_string(path(&format!("{name}.keys.json"))).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    let phase1 = recorded["phase1"][0].clone();
    let hash = match phase1["attrs"]["2"].as_u64().unwrap() {
        2 => HashAlgorithm::Sha1,
        4 => HashAlgorithm::Sha256,
        other => panic!("hash {other}"),
    };
    let cipher = AesCbc::new(&hex(&phase1["enc_key"])).unwrap();

    let mut messages: Vec<Message> = Vec::new();
    let mut phase1_iv = None;
    let mut phase2_ivs: HashMap<u32, [u8; 16]> = HashMap::new();
    for datagram in datagrams(&format!("{name}.pcap")) {
        let (header, body) = split_datagram(&datagram).unwrap();
        let mut body = body.to_vec();
        if header.flags.encryption {
            let last = last_block(&body);
            match header.exchange {
                ExchangeType::IdentityProtection => {
                    let iv = phase1_iv.get_or_insert_with(|| first_iv(&messages, hash));
                    cipher.decrypt(iv, &mut body).unwrap();
                    *iv = last;
                }
                ExchangeType::GroupkeyPull => {
                    let iv = phase2_ivs.entry(header.message_id).or_insert_with(|| {
                        let id = header.message_id.to_be_bytes();
                        hash.digest(&[&phase1_iv.unwrap(), &id])[..16].try_into().unwrap()
                    });
                    cipher.decrypt(iv, &mut body).unwrap();
                    *iv = last;
                }
                ExchangeType::GroupkeyPush => {
                    let spi = header.cookies().octets();
                    let keks = recorded["kek"].as_array().unwrap();
                    let kek = keks.iter().find(|kek| hex(&kek["spi"]) == spi).unwrap();
                    let iv = hex(&kek["iv"]).try_into().unwrap();
                    AesCbc::new(&hex(&kek["key"])).unwrap().decrypt(&iv, &mut body).unwrap();
                }
                other => panic!("{other}"),
            }
        }
        messages.push(Message { header, body, datagram });
    }
    Capture { messages, phase1, hash }
}

/// The first IV of phase 1: hash(g^xi | g^xr).
fn first_iv(messages: &[Message], hash: HashAlgorithm) -> [u8; 16] {
    let publics: Vec<&[u8]> = messages[2..4]
        .iter()
        .map(|message| {
            let body = message.read(Compat::Standard);
            body.content(body.find(PayloadType::KeyExchange).unwrap())
        })
        .collect();
    hash.digest(&publics)[..16].try_into().unwrap()
}

const REFERENCE: &str = "gdoid-aes-rekey";
const GO: &str = "go-modp14";

/// The recordings, each with the layout that its peers speak.
const RECORDINGS: [(&str, Compat); 2] = [(REFERENCE, Compat::Reference), (GO, Compat::Standard)];

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
