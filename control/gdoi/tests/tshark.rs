//! Messages that this code writes, as tshark reads them. They are in the clear, for tshark to see all of
//! them, and have no SAT: tshark 4.0 reads its source ID length as two octets (RFC 6407: one). It also
//! takes the classes of KEK and SID attributes for those of other lists, so only their values are compared.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use getvpn_gdoi::wire::{
    Attributes, AuthMethod, Compat, CookiePair, Delete, Doi, ExchangeType, Flags, Gap, GapAttribute, GdoiSa,
    Header, IdType, Identification, IkeAttribute, IkeCipher, IkeGroup, IkeHash, KekAlgorithm, KekAttribute,
    KekKeyAttribute, KeyDownload, KeyPacket, Keys, LifeType, Notify, NotifyType, Payload, PayloadType,
    Proposal, ProtocolId, Sa, SaAttribute, Sak, SelectorId, SidAttribute, SigAlgorithm, Spi, TekKeyAttribute,
    Transform, encode_chain,
};
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};

fn cookies() -> CookiePair {
    (*b"\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x01").into()
}

fn message(exchange: ExchangeType, payloads: &[Payload]) -> Vec<u8> {
    let chain = encode_chain(payloads, PayloadType::None, Compat::Standard).unwrap();
    Header::new(cookies(), chain.first, exchange, Flags::NONE, 0x0102_0304).datagram(&chain.octets).unwrap()
}

/// An IPv4 packet with a UDP datagram between two ports 848. tshark does not check the checksums.
fn packet(datagram: &[u8]) -> Vec<u8> {
    let udp_len = u16::try_from(8 + datagram.len()).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend((20 + udp_len).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    packet.extend([848u16, 848, udp_len, 0].iter().flat_map(|field| field.to_be_bytes()));
    packet.extend(datagram);
    packet
}

/// The lines in which tshark describes one message; `None` if there is no tshark, which is only right
/// outside of CI.
fn tshark(datagram: &[u8]) -> Option<Vec<String>> {
    let header = PcapHeader { datalink: DataLink::RAW, ..PcapHeader::default() };
    let mut capture = PcapWriter::with_header(Vec::new(), header).unwrap();
    let packet = packet(datagram);
    let len = u32::try_from(packet.len()).unwrap();
    capture.write_packet(&PcapPacket::new(Duration::ZERO, len, &packet)).unwrap();

    let mut command = Command::new("tshark");
    command.args(["-n", "-r", "-", "-d", "udp.port==848,isakmp", "-V"]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(mut child) = child else {
        assert!(std::env::var_os("CI").is_none(), "tshark is not installed");
        eprintln!("tshark is not installed: skipped");
        return None;
    };
    child.stdin.take().unwrap().write_all(&capture.into_writer()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim().to_owned()).collect())
}

/// Checks that tshark reads the message without complaint and says the expected lines in this order.
#[track_caller]
fn check(datagram: &[u8], expected: &[&str]) {
    let Some(said) = tshark(datagram) else { return };
    assert!(!said.iter().any(|line| line.contains("Malformed")), "{said:#?}");
    let mut rest = said.iter();
    for line in expected {
        assert!(rest.any(|said| said == line), "{line} is missing or out of order: {said:#?}");
    }
}

fn phase1() -> Vec<u8> {
    let transform = |number, cipher, key_length: u16| Transform {
        number,
        id: Transform::KEY_IKE,
        attributes: Attributes::new()
            .with(IkeAttribute::Encryption, cipher)
            .with(IkeAttribute::KeyLength, key_length)
            .with(IkeAttribute::Hash, IkeHash::Sha256)
            .with(IkeAttribute::AuthMethod, AuthMethod::Ecdsa256)
            .with(IkeAttribute::Group, IkeGroup::Ecp256)
            .with(IkeAttribute::LifeType, LifeType::Seconds)
            .with_u32(IkeAttribute::LifeDuration, 86_400),
    };
    let proposal = Proposal {
        number: 1,
        protocol: ProtocolId::Isakmp,
        spi: Spi::default(),
        transforms: vec![transform(1, IkeCipher::AesCbc, 256), transform(2, IkeCipher::AesCbc, 128)],
    };
    message(
        ExchangeType::IdentityProtection,
        &[
            Payload::Sa(Sa { doi: Doi::Ipsec, situation: 1, proposals: vec![proposal] }),
            Payload::KeyExchange(vec![4; 64]),
            Payload::Nonce(vec![5; 16]),
            Payload::Identification(Identification::new(IdType::Ipv4Addr, [192, 0, 2, 1])),
            Payload::Hash(vec![6; 32]),
            Payload::VendorId(vec![7; 16]),
        ],
    )
}

fn push() -> Vec<u8> {
    let selector = |data: [u8; 4]| SelectorId { id_type: IdType::Ipv4Addr, port: 848, data: data.to_vec() };
    let sak = Sak {
        protocol: 17,
        source: selector([192, 0, 2, 1]),
        destination: selector([239, 10, 1, 1]),
        spi: cookies(),
        pop_algorithm: 0,
        pop_key_length: 0,
        attributes: Attributes::new()
            .with(KekAttribute::Algorithm, KekAlgorithm::Aes)
            .with(KekAttribute::KeyLength, 128u16)
            .with_u32(KekAttribute::KeyLifetime, 86_400)
            .with(KekAttribute::SigAlgorithm, SigAlgorithm::Ecdsa256),
    };
    let gap = Gap {
        attributes: Attributes::new()
            .with(GapAttribute::ActivationTimeDelay, 15u16)
            .with(GapAttribute::DeactivationTimeDelay, 30u16),
    };
    let kek = KeyPacket::Kek(Keys {
        spi: cookies().into(),
        attributes: Attributes::new().with_octets(KekKeyAttribute::AlgorithmKey, &[9u8; 32][..]),
    });
    let tek = KeyPacket::Tek(Keys {
        spi: 0x0001_0001.into(),
        attributes: Attributes::new().with_octets(TekKeyAttribute::AlgorithmKey, &[10u8; 20][..]),
    });
    let sid = KeyPacket::Sid(Keys {
        spi: Spi::default(),
        attributes: Attributes::new()
            .with(SidAttribute::NumberOfSidBits, 16u16)
            .with_octets(SidAttribute::SidValue, &[0u8, 1][..]),
    });
    message(
        ExchangeType::GroupkeyPush,
        &[
            Payload::Sequence(42),
            Payload::GdoiSa(GdoiSa {
                situation: 0,
                attributes: vec![SaAttribute::Sak(sak), SaAttribute::Gap(gap)],
            }),
            Payload::KeyDownload(KeyDownload { packets: vec![kek, tek, sid] }),
            Payload::Signature(vec![11; 64]),
        ],
    )
}

fn informational() -> Vec<u8> {
    message(
        ExchangeType::Informational,
        &[
            Payload::Hash(vec![6; 32]),
            Payload::Notify(Notify {
                doi: Doi::Ipsec,
                protocol: ProtocolId::Esp.number(),
                notify_type: NotifyType::InvalidSpi,
                spi: 0x0001_0001.into(),
                data: vec![],
            }),
            Payload::Delete(Delete {
                doi: Doi::Ipsec,
                protocol: ProtocolId::Esp.number(),
                spis: vec![1.into(), 2.into()],
            }),
        ],
    )
}

#[test]
fn tshark_reads_phase_1() {
    check(
        &phase1(),
        &[
            "Initiator SPI: 1122334455667788",
            "Responder SPI: 99aabbccddeeff01",
            "Exchange type: Identity Protection (Main Mode) (2)",
            "Flags: 0x00",
            "Message ID: 0x01020304",
            "Length: 284",
            "Payload: Security Association (1)",
            "Domain of interpretation: IPSEC (1)",
            "Payload: Proposal (2) # 1",
            "Protocol ID: ISAKMP (1)",
            "Proposal transforms: 2",
            "Payload: Transform (3) # 1",
            "Transform ID: KEY_IKE (1)",
            "Encryption Algorithm: AES-CBC (7)",
            "Key Length: 256",
            "HASH Algorithm: SHA2-256 (4)",
            "Authentication Method: ECDSA with SHA-256 on the P-256 curve (9)",
            "Group Description: 256-bit random ECP group (19)",
            "Life Type: Seconds (1)",
            "Life Duration: 86400",
            "Payload: Transform (3) # 2",
            "Key Length: 128",
            "Payload: Key Exchange (4)",
            "Payload length: 68",
            "Nonce DATA: 05050505050505050505050505050505",
            "ID type: IPV4_ADDR (1)",
            "ID_IPV4_ADDR: 192.0.2.1",
            "Hash DATA: 0606060606060606060606060606060606060606060606060606060606060606",
            "Vendor ID: 07070707070707070707070707070707",
        ],
    );
}

#[test]
fn tshark_reads_a_push() {
    check(
        &push(),
        &[
            "Exchange type: New Group Mode (33)",
            "Sequence Number: 42",
            "Payload: Security Association (1)",
            "Domain of interpretation: GDOI (2)",
            "Situation: 00000000",
            "SA Attribute Next Payload: 000f",
            "Protocol ID: UDP (17)",
            "SRC ID Type: IPV4_ADDR (1)",
            "SRC ID Port: 848",
            "SRC ID Data: c0000201",
            "DST ID Type: IPV4_ADDR (1)",
            "DST ID Data: ef0a0101",
            "SPI: 112233445566778899aabbccddeeff01",
            "Value: 0003",
            "Value: 0080",
            "Value: 00015180",
            "Value: 0004",
            "Payload: Key Download (17)",
            "Number of Key Packets: 3",
            "Type: KEK (2)",
            "Length: 57",
            "SPI: 112233445566778899aabbccddeeff01",
            "Value: 0909090909090909090909090909090909090909090909090909090909090909",
            "Type: TEK (1)",
            "SPI: 00010001",
            "Key download Tek Attribute (t=1,l=20): TEK_ALGORITHM_KEY",
            "Value: 0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
            "Type: SID (4)",
            "SPI Size: 0",
            "Value: 0010",
            "Value: 0001",
            "Payload: Signature (9)",
            "Payload length: 68",
        ],
    );
}

#[test]
fn tshark_reads_an_informational_message() {
    check(
        &informational(),
        &[
            "Exchange type: Informational (5)",
            "Payload: Notification (11)",
            "Protocol ID: IPSEC_ESP (3)",
            "SPI Size: 4",
            "Notify Message Type: INVALID-SPI (11)",
            "SPI: 00010001",
            "Payload: Delete (12)",
            "Number of SPIs: 2",
            "Delete SPI: 00000001",
            "Delete SPI: 00000002",
        ],
    );
}
