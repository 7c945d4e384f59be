use super::*;
use crate::packet::parse_ip;
use etherparse::{Ipv4Header, Ipv4HeaderSlice};
use proptest::prelude::*;

/// An IPv4 packet, its checksum right, that a test then damages.
fn packet(ihl: u8, total_len: u16, fragment: u16, protocol: u8) -> Vec<u8> {
    let mut packet = vec![0; usize::from(total_len).max(60)];
    packet[0] = 0x40 | ihl;
    packet[2..4].copy_from_slice(&total_len.to_be_bytes());
    packet[6..8].copy_from_slice(&fragment.to_be_bytes());
    packet[8..10].copy_from_slice(&[64, protocol]);
    packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    let sum = checksum::of(&[&packet[..usize::from(ihl) * 4]]);
    packet[10..12].copy_from_slice(&sum);
    packet
}

#[test]
fn a_total_length_below_the_header_is_malformed() {
    assert_eq!(parse_ip(&packet(5, 19, 0, 50)), Err(DropReason::Ipv4Header));
    assert_eq!(parse_ip(&packet(6, 23, 0, 50)), Err(DropReason::Ipv4Header));
    assert_eq!(parse_ip(&packet(6, 24, 0, 50)).map(|h| h.payload_len()), Ok(0));
}

#[test]
fn a_total_length_beyond_the_frame_is_malformed() {
    let packet = packet(5, 100, 0, 50);
    assert_eq!(parse_ip(&packet[..99]), Err(DropReason::IpLength));
    assert!(parse_ip(&packet).is_ok());
}

#[test]
fn every_header_length_from_20_to_60_is_read_and_none_below() {
    for ihl in 0..=4 {
        let mut packet = packet(5, 60, 0, 50);
        packet[0] = 0x40 | ihl;
        assert_eq!(parse_ip(&packet), Err(DropReason::Ipv4Header));
    }
    for ihl in 5u8..=15 {
        let packet = packet(ihl, 60, 0, 50);
        let headers = parse_ip(&packet).unwrap();
        assert_eq!(headers.ip_len, u16::from(ihl) * 4);
        assert_eq!(headers.transport_insert_at, headers.ip_len);
        assert!(parse_ip(&packet[..usize::from(headers.ip_len) - 1]).is_err());
    }
}

#[test]
fn a_packet_too_short_for_its_ports_is_malformed_also_as_a_first_fragment() {
    for protocol in [6, 17, 33, 132, 136] {
        assert_eq!(parse_ip(&packet(5, 23, 0, protocol)), Err(DropReason::FrameTruncated));
        assert!(parse_ip(&packet(5, 24, 0, protocol)).is_ok());
        assert_eq!(parse_ip(&packet(15, 60, 0x2000, protocol)), Err(DropReason::ReassemblyFailed));
        // The last fragment may be short, and carries no ports.
        let last = packet(5, 21, 1, protocol);
        assert_eq!(parse_ip(&last).map(|h| h.flow(&last).ports()), Ok((0, 0)));
    }
    assert!(parse_ip(&packet(5, 20, 0, 50)).is_ok());
}

#[test]
fn fragments_end_at_65535_at_the_latest_and_come_in_units_of_eight() {
    // 8191 * 8 = 65528: the last unit begins there, and the header counts too.
    assert_eq!(parse_ip(&packet(5, 28, 8191, 17)), Err(DropReason::ReassemblyFailed));
    assert_eq!(parse_ip(&packet(5, 31, 8188, 17)).map(|h| h.fragment), Ok(Fragment::Later));
    assert_eq!(parse_ip(&packet(5, 32, 8188, 17)), Err(DropReason::ReassemblyFailed));
    assert_eq!(parse_ip(&packet(5, 27, 0x2000, 17)), Err(DropReason::ReassemblyFailed));
    assert_eq!(parse_ip(&packet(5, 20, 8, 17)), Err(DropReason::ReassemblyFailed));
    assert_eq!(parse_ip(&packet(5, 28, 0x2000, 17)).map(|h| h.fragment), Ok(Fragment::First));
    assert_eq!(parse_ip(&packet(5, 28, 0x2001, 17)).map(|h| h.fragment), Ok(Fragment::Later));
}

#[test]
fn the_reserved_flag_is_not_fragmentation() {
    let headers = parse_ip(&packet(5, 28, 0x8000, 17)).unwrap();
    assert_eq!((headers.fragment, headers.dont_fragment), (Fragment::None, false));
    assert!(parse_ip(&packet(5, 28, 0x4000, 17)).unwrap().dont_fragment);
}

proptest! {
    #[test]
    fn an_outer_header_is_the_inner_one_but_for_what_a_tunnel_changes(
        inner: [u8; 20], total_len in 20u16.., id: u16,
    ) {
        let mut outer = [0xff; 20];
        write_outer(&mut outer, &inner, total_len, id);
        let theirs = Ipv4HeaderSlice::from_slice(&outer).unwrap().to_header();
        prop_assert_eq!(theirs.header_checksum, theirs.calc_header_checksum());
        prop_assert!(checksum::verifies(&outer));
        let mut expected = Ipv4Header::new(total_len - 20, inner[8], etherparse::IpNumber(50),
            inner[12..16].try_into().unwrap(), inner[16..20].try_into().unwrap()).unwrap();
        expected.dscp = (inner[1] >> 2).try_into().unwrap();
        expected.ecn = (inner[1] & 3).try_into().unwrap();
        expected.identification = id;
        expected.dont_fragment = inner[6] & 0x40 != 0;
        expected.header_checksum = theirs.header_checksum;
        prop_assert_eq!(theirs, expected);
    }

    #[test]
    fn changes_in_place_leave_the_checksum_that_etherparse_computes(
        inner: [u8; 20], total_len in 20u16.., new_len in 20u16.., new_protocol: u8, new_ecn in 0u8..4,
    ) {
        let mut header = [0; 20];
        write_outer(&mut header, &inner, total_len, 7);
        set_total_len(&mut header, new_len);
        set_protocol(&mut header, new_protocol);
        set_ecn(&mut header, new_ecn);
        let theirs = Ipv4HeaderSlice::from_slice(&header).unwrap().to_header();
        prop_assert_eq!(theirs.header_checksum, theirs.calc_header_checksum());
        prop_assert_eq!(theirs.total_len, new_len);
        prop_assert_eq!(theirs.protocol.0, new_protocol);
        prop_assert_eq!(theirs.ecn.value(), new_ecn);
        prop_assert_eq!(ecn(&header), new_ecn);
        prop_assert_eq!(theirs.dscp.value(), inner[1] >> 2);
    }
}
