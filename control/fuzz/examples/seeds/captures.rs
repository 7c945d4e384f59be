//! The recordings in `control/gdoi/tests/captures`, in the clear.

use std::collections::HashMap;
use std::fs;

use getvpn_gdoi::crypto::{AesCbc, HashAlgorithm};
use getvpn_gdoi::wire::{Body, Compat, ExchangeType, Header, PayloadType, split_datagram};
use pcap_file::pcap::PcapReader;
use serde_json::Value;

use super::{gdoi, piece, seed};

const ETHERNET_LEN: usize = 14;
const IPV4_LEN: usize = 20;
const UDP_LEN: usize = 8;
const UDP: u8 = 17;

/// Writes the recordings' messages as bodies.
pub fn write() {
    for (name, compat) in [("gdoid-aes-rekey", Compat::Reference), ("go-modp14", Compat::Standard)] {
        for (at, (header, body)) in messages(name).into_iter().enumerate() {
            let layout = if compat == Compat::Standard { 0 } else { 0x80 };
            let choice = [header.exchange.number() | layout, header.next_payload.number()];
            seed("wire_body", &format!("{name}_{at:02}"), &[&choice[..], &body].concat());
            exchange(&format!("{name}_{at:02}"), compat, &header, &body);
        }
    }
}

/// Writes what a HASH or a SIG covers, for the targets that make those themselves.
fn exchange(name: &str, compat: Compat, header: &Header, octets: &[u8]) {
    let layout = u8::from(compat == Compat::Reference);
    let body = Body::decode(header.next_payload, header.exchange, octets, compat).unwrap();
    let has = |payload_type| body.find(payload_type).is_some();
    let behind_hash = |choice: u8| {
        let chain = body.after(&body.payloads()[0]);
        [&[choice | layout], &piece(&[&octets[..1], chain].concat())[..]].concat()
    };
    match header.exchange {
        ExchangeType::GroupkeyPull if has(PayloadType::Identification) => {
            seed("pull_ks", name, &behind_hash(0));
        }
        ExchangeType::GroupkeyPull if has(PayloadType::Sa) => seed("pull_gm", name, &behind_hash(0)),
        ExchangeType::GroupkeyPull if has(PayloadType::KeyDownload) => seed("pull_gm", name, &behind_hash(2)),
        ExchangeType::GroupkeyPush => {
            let (signature, covered) = body.payloads().split_last().unwrap();
            let mut unsigned = body.before(signature).to_vec();
            unsigned[covered.last().unwrap().range.start] = PayloadType::None.number();
            let choice = [4 | layout, header.next_payload.number()];
            seed("push_gm", name, &[&choice[..], &unsigned].concat());
        }
        _ => {}
    }
}

/// Every message's header, and its body in the clear with its padding.
fn messages(name: &str) -> Vec<(Header, Vec<u8>)> {
    let text = fs::read_to_string(gdoi(&format!("tests/captures/{name}.keys.json"))).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    let phase1 = &recorded["phase1"][0];
    let hash = if phase1["attrs"]["2"] == 2 { HashAlgorithm::Sha1 } else { HashAlgorithm::Sha256 };
    let cipher = AesCbc::new(&hex(&phase1["enc_key"])).unwrap();

    let mut messages: Vec<(Header, Vec<u8>)> = Vec::new();
    let mut phase1_iv = None;
    let mut phase2_ivs: HashMap<u32, [u8; 16]> = HashMap::new();
    for datagram in datagrams(name) {
        let (header, body) = split_datagram(&datagram).unwrap();
        let mut body = body.to_vec();
        if header.exchange == ExchangeType::GroupkeyPush {
            let keks = recorded["kek"].as_array().unwrap();
            let kek = keks.iter().find(|kek| hex(&kek["spi"]) == header.cookies().octets()).unwrap();
            let iv = hex(&kek["iv"]).try_into().unwrap();
            AesCbc::new(&hex(&kek["key"])).unwrap().decrypt(&iv, &mut body).unwrap();
        } else if header.flags.encryption {
            let last = body[body.len() - 16..].try_into().unwrap();
            let first = *phase1_iv.get_or_insert_with(|| first_iv(&messages, hash));
            let iv = if header.message_id == 0 {
                phase1_iv.as_mut().unwrap()
            } else {
                let id = header.message_id.to_be_bytes();
                phase2_ivs
                    .entry(header.message_id)
                    .or_insert_with(|| hash.digest(&[&first, &id])[..16].try_into().unwrap())
            };
            cipher.decrypt(iv, &mut body).unwrap();
            *iv = last;
        }
        messages.push((header, body));
    }
    messages
}

/// Phase 1's first IV: hash(g^xi | g^xr).
fn first_iv(messages: &[(Header, Vec<u8>)], hash: HashAlgorithm) -> [u8; 16] {
    let publics: Vec<&[u8]> = messages[2..4]
        .iter()
        .map(|(header, body)| {
            let body = Body::decode(header.next_payload, header.exchange, body, Compat::Standard).unwrap();
            body.content(body.find(PayloadType::KeyExchange).unwrap())
        })
        .collect();
    hash.digest(&publics)[..16].try_into().unwrap()
}

/// The UDP payloads of a recording of IPv4 over Ethernet.
fn datagrams(name: &str) -> Vec<Vec<u8>> {
    let file = fs::File::open(gdoi(&format!("tests/captures/{name}.pcap"))).unwrap();
    let mut reader = PcapReader::new(file).unwrap();
    let mut datagrams = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let frame = packet.unwrap().data;
        if frame[ETHERNET_LEN + 9] == UDP {
            let udp = &frame[ETHERNET_LEN + IPV4_LEN..];
            let len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
            datagrams.push(udp[UDP_LEN..len].to_vec());
        }
    }
    datagrams
}

fn hex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
