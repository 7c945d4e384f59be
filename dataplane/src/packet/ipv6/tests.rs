use super::*;
use crate::packet::parse_ip;
use etherparse::{Ipv6Header, Ipv6HeaderSlice};
use proptest::prelude::*;

/// An IPv6 packet whose first header is `next` and whose payload is all that follows.
fn packet(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; HEADER];
    packet[0] = 0x60;
    packet[4..6].copy_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
    packet[6] = next;
    packet[7] = 64;
    packet[8] = 0xfd;
    packet[24] = 0xfd;
    packet.extend(payload);
    packet
}

fn option_header(next: u8) -> [u8; 8] {
    [next, 0, 1, 4, 0, 0, 0, 0]
}

fn fragment_header(next: u8, offset: u16, more: bool) -> [u8; 8] {
    let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
    [next, 0, high, low, 0, 0, 0, 9]
}

#[test]
fn a_jumbogram_is_malformed() {
    // Payload length 0, hop-by-hop options with the jumbo payload option (RFC 2675 section 2).
    let mut packet = packet(0, &[17, 0, 0xc2, 4, 0, 1, 0, 0]);
    packet[4..6].fill(0);
    assert_eq!(parse_ip(&packet), Err(DropReason::Ipv6Header));
}

#[test]
fn a_packet_without_payload_is_a_packet() {
    let headers = parse_ip(&packet(59, &[])).unwrap();
    assert_eq!((headers.protocol, headers.payload_len()), (59, 0));
    assert_eq!(parse_ip(&packet(17, &[0; 3])), Err(DropReason::FrameTruncated));
}

#[test]
fn a_payload_length_beyond_the_frame_is_malformed() {
    let packet = packet(58, &[0; 20]);
    assert_eq!(parse_ip(&packet[..59]), Err(DropReason::IpLength));
    assert_eq!(parse_ip(&packet[..39]), Err(DropReason::FrameTruncated));
}

#[test]
fn eight_extension_headers_are_followed_and_not_nine() {
    let chain = |headers: usize| {
        let mut payload = Vec::new();
        for i in 0..headers {
            payload.extend(option_header(if i + 1 < headers { 60 } else { 17 }));
        }
        payload.extend([0x12, 0x34, 0x56, 0x78, 0, 8, 0, 0]);
        let packet = packet(60, &payload);
        parse_ip(&packet).map(|h| (h.ip_len, h.flow(&packet).ports()))
    };
    assert_eq!(chain(8), Ok((104, (0x1234, 0x5678))));
    assert_eq!(chain(9), Err(DropReason::Ipv6Header));
}

#[test]
fn hop_by_hop_options_come_first_or_not_at_all() {
    let payload = [option_header(0), option_header(59)].concat();
    assert!(parse_ip(&packet(0, &payload[8..])).is_ok());
    assert_eq!(parse_ip(&packet(60, &payload)), Err(DropReason::Ipv6Header));
}

#[test]
fn a_chain_that_runs_past_the_packet_is_malformed() {
    let mut payload = option_header(59).to_vec();
    for len in 0..8 {
        assert_eq!(parse_ip(&packet(60, &payload[..len])), Err(DropReason::Ipv6Header));
    }
    payload[1] = 1;
    assert_eq!(parse_ip(&packet(60, &payload)), Err(DropReason::Ipv6Header));
    payload.extend([0; 8]);
    assert_eq!(parse_ip(&packet(60, &payload)).map(|h| h.ip_len), Ok(56));
}

#[test]
fn esp_ah_and_mobility_end_the_chain_as_ipsec_has_it() {
    for next in [50, 51, 135] {
        let payload = [&option_header(next)[..], &[17; 24]].concat();
        let headers = parse_ip(&packet(60, &payload)).unwrap();
        assert_eq!((headers.protocol, headers.ip_len, headers.protocol_at), (next, 48, 40));
    }
}

#[test]
fn transport_mode_goes_between_routing_and_final_destination_options() {
    let chain = [option_header(60), option_header(43), option_header(44), fragment_header(60, 0, false)];
    let payload = [&chain.concat()[..], &option_header(17), &[0; 8]].concat();
    let headers = parse_ip(&packet(0, &payload)).unwrap();
    assert_eq!((headers.transport_insert_at, headers.transport_next_at), (72, 64));
    assert_eq!((headers.protocol, headers.protocol_at, headers.ip_len), (17, 72, 80));
    assert_eq!(headers.fragment_at, 64);
}

#[test]
fn an_atomic_fragment_is_none() {
    let payload = [&fragment_header(17, 0, false)[..], &[0, 1, 0, 2, 0, 8, 0, 0]].concat();
    let packet = packet(44, &payload);
    let headers = parse_ip(&packet).unwrap();
    assert_eq!((headers.fragment, headers.flow(&packet).ports()), (Fragment::None, (1, 2)));
}

#[test]
fn a_later_fragment_ends_its_headers_at_the_fragment_header() {
    for next in [0, 17, 43, 44, 60] {
        let payload = [&option_header(44)[..], &fragment_header(next, 5, true), &[60; 16]].concat();
        let packet = packet(60, &payload);
        let headers = parse_ip(&packet).unwrap();
        assert_eq!((headers.fragment, headers.protocol), (Fragment::Later, next));
        assert_eq!((headers.ip_len, headers.fragment_at, headers.protocol_at), (56, 48, 48));
        assert_eq!(headers.flow(&packet).ports(), (0, 0));
    }
}

#[test]
fn a_first_fragment_carries_the_whole_chain_and_the_ports() {
    let parse = |upper: &[u8]| {
        let packet = packet(44, &[&fragment_header(60, 0, true)[..], &option_header(6), upper].concat());
        parse_ip(&packet).map(|h| h.flow(&packet).ports())
    };
    assert_eq!(parse(&[0, 80, 0, 81, 0, 0, 0, 0]), Ok((80, 81)));
    assert_eq!(parse(&[]), Err(DropReason::FrameTruncated));
    let cut = [&fragment_header(60, 0, true)[..], &[6, 1, 1, 4, 0, 0, 0, 0]].concat();
    assert_eq!(parse_ip(&packet(44, &cut)), Err(DropReason::Ipv6Header));
}

#[test]
fn fragments_end_at_65535_at_the_latest_and_come_in_units_of_eight() {
    let fragment = |offset, more, len| {
        parse_ip(&packet(44, &[&fragment_header(59, offset, more)[..], &vec![0; len]].concat()))
            .map(|h| h.fragment)
    };
    assert_eq!(fragment(8191, false, 7), Ok(Fragment::Later));
    assert_eq!(fragment(8191, false, 8), Err(DropReason::ReassemblyFailed));
    assert_eq!(fragment(1, true, 7), Err(DropReason::ReassemblyFailed));
    assert_eq!(fragment(1, false, 0), Err(DropReason::ReassemblyFailed));
    assert_eq!(fragment(0, true, 8), Ok(Fragment::First));
    // Headers in front of the Fragment header are part of the datagram's payload.
    let behind_options = [&option_header(44)[..], &fragment_header(59, 8191, false), &[0; 7]].concat();
    assert_eq!(parse_ip(&packet(60, &behind_options)), Err(DropReason::ReassemblyFailed));
}

#[test]
fn two_fragment_headers_are_malformed() {
    let payload = [fragment_header(44, 0, false), fragment_header(59, 0, false)].concat();
    assert_eq!(parse_ip(&packet(44, &payload)), Err(DropReason::Ipv6Header));
}

proptest! {
    #[test]
    fn an_outer_header_is_the_inner_one_but_for_what_a_tunnel_changes(
        mut inner: [u8; 40], payload_len: u16, new_ecn in 0u8..4,
    ) {
        inner[0] = 0x60 | inner[0] & 0xf;
        let mut outer = [0xff; 40];
        write_outer(&mut outer, &inner, payload_len);
        let theirs = Ipv6HeaderSlice::from_slice(&outer).unwrap().to_header();
        let expected = Ipv6Header {
            payload_length: payload_len,
            next_header: etherparse::IpNumber(50),
            ..Ipv6HeaderSlice::from_slice(&inner).unwrap().to_header()
        };
        prop_assert_eq!(&theirs, &expected);
        prop_assert_eq!(ecn(&outer), theirs.ecn().value());

        set_ecn(&mut outer, new_ecn);
        let theirs = Ipv6HeaderSlice::from_slice(&outer).unwrap().to_header();
        prop_assert_eq!(theirs.ecn().value(), new_ecn);
        prop_assert_eq!(theirs.dscp(), expected.dscp());
        prop_assert_eq!(theirs.flow_label, expected.flow_label);
    }
}
