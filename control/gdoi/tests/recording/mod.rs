//! The recordings of `tests/captures`, read and decrypted with the keys that are recorded beside them. Shared
//! by the tests of the codec and of the exchanges; it knows only the codec and the cipher.

#![allow(dead_code, reason = "not every test that includes this uses all of it")]

use getvpn_gdoi::crypto::{AesCbc, HashAlgorithm};
use getvpn_gdoi::wire::{
    Body, Compat, ExchangeType, GdoiSa, Header, KeyDownload, Payload, PayloadType, split_datagram,
};
use pcap_file::pcap::PcapReader;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

const ETHERNET_LEN: usize = 14;
const IPV4_LEN: usize = 20;
const UDP_LEN: usize = 8;
const UDP: u8 = 17;

/// What one recorded datagram holds.
pub struct Message {
    pub header: Header,
    pub datagram: Vec<u8>,
    /// The body in the clear, with its padding.
    pub body: Vec<u8>,
}

impl Message {
    pub fn read(&self, compat: Compat) -> Body<'_> {
        let body = Body::decode(self.header.next_payload, self.header.exchange, &self.body, compat);
        body.unwrap_or_else(|error| panic!("{:?}: {error}", self.header))
    }

    pub fn types(&self, compat: Compat) -> Vec<PayloadType> {
        self.read(compat).payloads().iter().map(|located| located.payload.payload_type()).collect()
    }

    pub fn sa(&self, compat: Compat) -> GdoiSa {
        match &self.read(compat).find(PayloadType::Sa).unwrap().payload {
            Payload::GdoiSa(sa) => sa.clone(),
            other => panic!("{other:?}"),
        }
    }

    pub fn keys(&self, compat: Compat) -> KeyDownload {
        match &self.read(compat).find(PayloadType::KeyDownload).unwrap().payload {
            Payload::KeyDownload(keys) => keys.clone(),
            other => panic!("{other:?}"),
        }
    }

    pub fn seq(&self) -> u32 {
        match self.read(Compat::Reference).find(PayloadType::Sequence).unwrap().payload {
            Payload::Sequence(number) => number,
            ref other => panic!("{other:?}"),
        }
    }
}

/// A recording with the keys that its peers derived.
pub struct Capture {
    pub messages: Vec<Message>,
    pub phase1: Value,
    pub hash: HashAlgorithm,
}

pub fn hex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn last_block(octets: &[u8]) -> [u8; 16] {
    octets[octets.len() - 16..].try_into().unwrap()
}

pub fn path(name: &str) -> PathBuf {
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
pub fn capture(name: &str) -> Capture {
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

pub const REFERENCE: &str = "gdoid-aes-rekey";
pub const GO: &str = "go-modp14";

/// The recordings, each with the layout that its peers speak.
pub const RECORDINGS: [(&str, Compat); 2] = [(REFERENCE, Compat::Reference), (GO, Compat::Standard)];

/// The recorded Rekey SAs.
pub fn keks(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path(&format!("{name}.keys.json"))).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    recorded["kek"].as_array().unwrap().clone()
}
