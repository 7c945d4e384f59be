use super::*;
use crate::packet::{Parsed, parse};
use etherparse::{
    IcmpEchoHeader, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, NetSlice, PacketBuilder,
    SlicedPacket, TransportSlice, VlanId, icmpv4, icmpv6,
};
use std::net::Ipv6Addr;

const LAN_HOST: [u8; 6] = [2, 0, 0, 0, 0, 0x11];
const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 0x22];
const V6_SOURCE: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const V6_DESTINATION: [u8; 16] = [0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

fn ipv4_udp(tags: usize, payload: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    let payload = vec![0x5a; payload];
    let start = PacketBuilder::ethernet2(LAN_HOST, ROUTER);
    let (source, destination) = ([10, 1, 0, 1], [10, 2, 0, 2]);
    let id = |n| VlanId::try_new(n).unwrap();
    match tags {
        0 => start.ipv4(source, destination, 61).udp(1000, 2000).write(&mut frame, &payload),
        1 => {
            start.single_vlan(id(7)).ipv4(source, destination, 61).udp(1000, 2000).write(&mut frame, &payload)
        }
        _ => start
            .double_vlan(id(7), id(8))
            .ipv4(source, destination, 61)
            .udp(1000, 2000)
            .write(&mut frame, &payload),
    }
    .unwrap();
    frame
}

fn ipv6_udp(payload: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(LAN_HOST, ROUTER)
        .single_vlan(VlanId::try_new(7).unwrap())
        .ipv6(V6_SOURCE, V6_DESTINATION, 61)
        .udp(1000, 2000)
        .write(&mut frame, &vec![0x5a; payload])
        .unwrap();
    frame
}

fn headers(frame: &[u8]) -> Headers {
    match parse(frame) {
        Parsed::Ip(headers) => headers,
        other => panic!("{other:?}"),
    }
}

#[test]
fn fragmentation_needed_is_what_etherparse_reads_as_such() {
    for (tags, payload, quoted) in [(0, 0, 28), (1, 520, 548), (2, 521, 548), (1, 1472, 548)] {
        let frame = ipv4_udp(tags, payload);
        let mut out = [0xff; MAX_FRAME];
        let len = ipv4_fragmentation_needed(&frame, &headers(&frame), 1420, &mut out).unwrap();
        let reply = &out[..len];
        assert!(len <= 14 + tags * 4 + 576);
        assert_eq!((&reply[..6], &reply[6..12]), (&LAN_HOST[..], &ROUTER[..]));
        assert_eq!(reply[12..14 + tags * 4], frame[12..14 + tags * 4]);
        assert_eq!(headers(reply).end(), len);

        let sliced = SlicedPacket::from_ethernet(reply).unwrap();
        let Some(NetSlice::Ipv4(ip)) = sliced.net else { panic!() };
        let ip = ip.header().to_header();
        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
        assert_eq!((ip.source, ip.destination), ([10, 2, 0, 2], [10, 1, 0, 1]));
        let Some(TransportSlice::Icmpv4(icmp)) = sliced.transport else { panic!() };
        let expected = icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1420 };
        assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(expected.clone()));
        let with_checksum =
            Icmpv4Header::with_checksum(Icmpv4Type::DestinationUnreachable(expected), icmp.payload());
        assert_eq!(icmp.checksum(), with_checksum.checksum);
        let l2_len = 14 + tags * 4;
        assert_eq!(icmp.payload(), &frame[l2_len..l2_len + quoted]);
    }
}

#[test]
fn packet_too_big_is_what_etherparse_reads_as_such() {
    for (payload, quoted) in [(0, 48), (1184, 1232), (1185, 1232), (8000, 1232)] {
        let frame = ipv6_udp(payload);
        let mut out = [0xff; MAX_FRAME];
        let len = ipv6_packet_too_big(&frame, &headers(&frame), 1400, &mut out).unwrap();
        let reply = &out[..len];
        assert!(len <= 18 + 1280);
        assert_eq!((&reply[..6], &reply[6..12]), (&LAN_HOST[..], &ROUTER[..]));
        assert_eq!(reply[12..18], frame[12..18]);

        let sliced = SlicedPacket::from_ethernet(reply).unwrap();
        let Some(NetSlice::Ipv6(ip)) = sliced.net else { panic!() };
        assert_eq!(ip.header().source_addr(), Ipv6Addr::from(V6_DESTINATION));
        assert_eq!(ip.header().destination_addr(), Ipv6Addr::from(V6_SOURCE));
        let Some(TransportSlice::Icmpv6(icmp)) = sliced.transport else { panic!() };
        assert_eq!(icmp.icmp_type(), Icmpv6Type::PacketTooBig { mtu: 1400 });
        assert!(icmp.is_checksum_valid(V6_DESTINATION, V6_SOURCE));
        assert_eq!(icmp.payload(), &frame[18..18 + quoted]);
    }
}

#[test]
fn a_buffer_too_small_or_the_other_version_gives_none() {
    let frame = ipv4_udp(2, 1000);
    let v4 = headers(&frame);
    let mut out = [0; MAX_FRAME];
    let len = ipv4_fragmentation_needed(&frame, &v4, 1400, &mut out).unwrap();
    for short in 0..len {
        assert_eq!(ipv4_fragmentation_needed(&frame, &v4, 1400, &mut out[..short]), None);
    }
    assert_eq!(ipv6_packet_too_big(&frame, &v4, 1400, &mut out), None);
    let frame = ipv6_udp(1000);
    let v6 = headers(&frame);
    assert_eq!(ipv4_fragmentation_needed(&frame, &v6, 1400, &mut out), None);
    let len = ipv6_packet_too_big(&frame, &v6, 1400, &mut out).unwrap();
    for short in 0..len {
        assert_eq!(ipv6_packet_too_big(&frame, &v6, 1400, &mut out[..short]), None);
    }
}

/// Sets octets and mends the IPv4 checksum.
fn with(mut frame: Vec<u8>, changes: &[(usize, u8)]) -> Vec<u8> {
    for (at, value) in changes {
        frame[*at] = *value;
    }
    if frame[12] == 0x08 {
        frame[24..26].fill(0);
        let sum = checksum::of(&[&frame[14..34]]);
        frame[24..26].copy_from_slice(&sum);
    }
    frame
}

fn may(frame: &[u8]) -> bool {
    may_answer(frame, &headers(frame))
}

#[test]
fn an_ordinary_packet_may_be_answered() {
    for tags in 0..=2 {
        assert!(may(&ipv4_udp(tags, 100)));
    }
    assert!(may(&ipv6_udp(100)));
    // A first fragment too.
    assert!(may(&with(ipv4_udp(0, 100 - 4), &[(20, 0x20)])));
}

#[test]
fn later_fragments_groups_and_addresses_of_no_one_host_are_not_answered() {
    let frame = || ipv4_udp(0, 100);
    assert!(!may(&with(frame(), &[(21, 1)])), "later fragment");
    assert!(!may(&with(frame(), &[(0, 0x01)])), "group MAC address");
    assert!(!may(&with(frame(), &[(0, 0xff)])), "broadcast MAC address");
    for (first, what) in
        [(0, "zero"), (127, "loopback"), (224, "multicast"), (240, "class E"), (255, "broadcast")]
    {
        assert!(!may(&with(frame(), &[(26, first)])), "from {what}");
        assert!(!may(&with(frame(), &[(30, first)])), "to {what}");
    }
    let source_at = 18 + 8;
    for at in [source_at, source_at + 16] {
        let multicast = with(ipv6_udp(100), &[(at, 0xff)]);
        assert!(!may(&multicast));
        for last in [0, 1] {
            let mut frame = ipv6_udp(100);
            frame[at..at + 16].fill(0);
            frame[at + 15] = last;
            assert!(!may(&frame));
        }
    }
}

#[test]
fn icmp_errors_are_not_answered_and_other_icmp_is() {
    for kind in 0..=255u8 {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(LAN_HOST, ROUTER)
            .ipv4([10, 1, 0, 1], [10, 2, 0, 2], 61)
            .icmpv4_raw(kind, 0, [0; 4])
            .write(&mut frame, &[0; 64])
            .unwrap();
        assert_eq!(may(&frame), ![3, 4, 5, 11, 12].contains(&kind), "ICMP type {kind}");

        let mut frame = Vec::new();
        PacketBuilder::ethernet2(LAN_HOST, ROUTER)
            .ipv6(V6_SOURCE, V6_DESTINATION, 61)
            .icmpv6_raw(kind, 0, [0; 4])
            .write(&mut frame, &[0; 64])
            .unwrap();
        assert_eq!(may(&frame), kind >= 128 && kind != 137, "ICMPv6 type {kind}");
    }
    let echo = Icmpv6Type::EchoRequest(IcmpEchoHeader { id: 1, seq: 1 });
    assert_eq!(Icmpv6Header::new(echo).icmp_type.type_u8(), icmpv6::TYPE_ECHO_REQUEST);
}

#[test]
fn an_icmp_message_without_a_type_is_not_answered() {
    let mut frame = ipv4_udp(0, 30);
    frame = with(frame, &[(16, 0), (17, 20), (23, 1)]);
    assert_eq!(headers(&frame).payload_len(), 0);
    assert!(!may(&frame));
}

#[test]
fn our_own_errors_are_not_answered() {
    let mut out = [0; MAX_FRAME];
    let frame = ipv4_udp(0, 1000);
    let len = ipv4_fragmentation_needed(&frame, &headers(&frame), 1400, &mut out).unwrap();
    assert!(!may(&out[..len]));
    let frame = ipv6_udp(1000);
    let len = ipv6_packet_too_big(&frame, &headers(&frame), 1400, &mut out).unwrap();
    assert!(!may(&out[..len]));
}
