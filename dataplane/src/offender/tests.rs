use super::*;
use etherparse::PacketBuilder;
use proptest::prelude::*;

fn udp(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let builder = builder.ipv4(source, destination, 64).udp(4000, 53);
    let mut frame = Vec::new();
    builder.write(&mut frame, &[0; 20]).expect("room");
    frame
}

fn offender(at: u64, frame: &[u8]) -> Offender {
    Offender { at, link: 3, origin: Origin::Wan, octets: 60, seen: Seen::of(frame) }
}

fn packet(seen: Seen) -> (IpAddr, IpAddr, u8, Upper) {
    match seen {
        Seen::Packet { source, destination, protocol, upper } => (source, destination, protocol, upper),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_packet_is_told_by_its_addresses_and_ports() {
    let (source, destination, protocol, upper) = packet(Seen::of(&udp([10, 1, 0, 1], [10, 2, 0, 1])));
    assert_eq!((source, destination), ("10.1.0.1".parse().unwrap(), "10.2.0.1".parse().unwrap()));
    assert_eq!((protocol, upper), (17, Upper::Ports(4000, 53)));
}

#[test]
fn esp_is_told_by_spi_and_sequence_number() {
    let mut frame = udp([10, 1, 0, 1], [10, 2, 0, 1]);
    frame[14 + 9] = protocol::ESP;
    frame[24..26].fill(0);
    let checksum = crate::packet::checksum::of(&[&frame[14..34]]);
    frame[24..26].copy_from_slice(&checksum);
    frame[34..42].copy_from_slice(&[0, 1, 0, 2, 0, 0, 0, 9]);
    let (.., upper) = packet(Seen::of(&frame));
    assert_eq!(upper, Upper::Esp { spi: 0x0001_0002, seq: 9 });
}

#[test]
fn a_malformed_packet_still_has_its_addresses() {
    let mut frame = udp([10, 1, 0, 1], [10, 2, 0, 1]);
    frame[24] ^= 0xff; // the checksum
    assert!(matches!(parse(&frame), Parsed::Malformed(DropReason::Ipv4Header)));
    let (source, destination, protocol, upper) = packet(Seen::of(&frame));
    assert_eq!((source, destination), ("10.1.0.1".parse().unwrap(), "10.2.0.1".parse().unwrap()));
    assert_eq!((protocol, upper), (17, Upper::Other));
}

#[test]
fn a_frame_without_a_packet_has_the_addresses_of_its_link() {
    let frame = udp([10, 1, 0, 1], [10, 2, 0, 1]);
    let expected = Seen::Frame {
        source: [2, 0, 0, 0, 0, 1],
        destination: [2, 0, 0, 0, 0, 2],
        ethertype: ethernet::IPV4,
    };
    assert_eq!(Seen::of(&frame[..30]), expected);
    assert_eq!(Seen::of(&frame[..13]), Seen::Stub);
}

#[test]
fn the_last_packet_of_a_reason_is_shown_and_one_an_interval_looked_at() {
    let mut offenders = Offenders::new(1_000_000);
    let board = offenders.board();
    assert_eq!(board.read().count(), 0);
    let first = offender(5000, &udp([10, 1, 0, 1], [10, 2, 0, 1]));
    assert!(offenders.is_due(DropReason::Policy, first.at));
    offenders.show(DropReason::Policy, &first);
    assert!(!offenders.is_due(DropReason::Policy, first.at + 999));
    assert!(offenders.is_due(DropReason::NoSa, first.at + 999), "other reasons are told apart");
    assert!(offenders.is_due(DropReason::Policy, first.at + 1000));
    let second = offender(6000, &udp([10, 1, 0, 7], [10, 2, 0, 1]));
    offenders.show(DropReason::Policy, &second);
    assert_eq!(board.read().collect::<Vec<_>>(), [(DropReason::Policy, second)]);
}

proptest! {
    #[test]
    fn whatever_the_octets_are_it_is_read_as_it_was_shown(
        frame in prop::collection::vec(any::<u8>(), 0..80), cut in 0usize..80, at in 1u64.., link: u16, octets: u16,
        from_lan: bool,
    ) {
        let origin = if from_lan { Origin::Lan } else { Origin::Wan };
        let mut valid = udp([10, 1, 0, 1], [10, 2, 0, 1]);
        valid.truncate(cut);
        for frame in [frame, valid] {
            let offender = Offender { at, link, origin, octets, seen: Seen::of(&frame) };
            prop_assert_eq!(Offender::from_words(&offender.to_words()), Some(offender));
        }
    }
}
