use super::*;
use crate::packet::{Flow, Fragment, Key4, Key6, Version};

fn ethernet(ethertypes: &[u16], packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
    for (i, ethertype) in ethertypes.iter().enumerate() {
        frame.extend(ethertype.to_be_bytes());
        if i + 1 < ethertypes.len() {
            frame.extend([0x20, 0x64]);
        }
    }
    frame.extend(packet);
    frame
}

fn parsed(frame: &[u8]) -> Headers {
    match parse(frame) {
        Parsed::Ip(headers) => headers,
        other => panic!("{other:?}"),
    }
}

/// The header that Wikipedia's article on the IPv4 header checksum works through, and its UDP.
fn ipv4_udp() -> Vec<u8> {
    let mut packet = vec![
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0,
        0xa8, 0x00, 0xc7, 0x00, 0x35, 0xe9, 0x7c, 0x00, 0x5f, 0x27, 0x9f,
    ];
    packet.resize(0x73, 0xaa);
    packet
}

/// ESP behind a destination options header, from 2001:db8::1 to 2001:db8::2.
fn ipv6_esp() -> Vec<u8> {
    let mut packet = vec![0x6b, 0x81, 0x23, 0x45, 0, 32, 60, 64];
    packet.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    packet.extend([50, 0, 1, 4, 0, 0, 0, 0]); // PadN
    packet.extend([0, 1, 0, 1, 0, 0, 0, 7]);
    packet.extend([0xee; 16]);
    packet
}

#[test]
fn an_untagged_ipv4_udp_frame_with_padding() {
    let mut frame = ethernet(&[0x0800], &ipv4_udp());
    frame.extend([0; 9]);
    let expected = Headers {
        l2_len: 14,
        version: Version::V4,
        ip_len: 20,
        total_len: 0x73,
        protocol: 17,
        protocol_at: 23,
        transport_insert_at: 34,
        transport_next_at: 23,
        fragment_at: 0,
        fragment: Fragment::None,
        dont_fragment: true,
    };
    assert_eq!(parsed(&frame), expected);
    assert_eq!((expected.upper_at(), expected.end(), expected.payload_len()), (34, 14 + 0x73, 0x5f));
    let flow = Flow::V4(Key4 {
        protocol: 17,
        pad: [0; 3],
        src: [192, 168, 0, 1],
        dst: [192, 168, 0, 199],
        src_port: [0x00, 0x35],
        dst_port: [0xe9, 0x7c],
    });
    assert_eq!(expected.flow(&frame), flow);
    assert_eq!(expected.source(&frame).to_string(), "192.168.0.1");
    assert_eq!(flow.ports(), (53, 59772));
}

#[test]
fn a_double_tagged_ipv6_esp_frame_behind_destination_options() {
    let frame = ethernet(&[0x88a8, 0x8100, 0x86dd], &ipv6_esp());
    let headers = parsed(&frame);
    let address = |last| [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    let expected = Headers {
        l2_len: 22,
        version: Version::V6,
        ip_len: 48,
        total_len: 72,
        protocol: 50,
        protocol_at: 22 + 40,
        transport_insert_at: 22 + 40,
        transport_next_at: 22 + 6,
        fragment_at: 0,
        fragment: Fragment::None,
        dont_fragment: true,
    };
    assert_eq!(headers, expected);
    let flow = Flow::V6(Key6 {
        protocol: 50,
        pad: [0; 3],
        src: address(1),
        dst: address(2),
        src_port: [0; 2],
        dst_port: [0; 2],
    });
    assert_eq!(headers.flow(&frame), flow);
    assert_eq!(crate::packet::esp::header(&frame[headers.upper_at()..]), Some((0x0001_0001, 7)));
    assert_eq!(headers.ecn(&frame), 0);
}

#[test]
fn what_is_not_ip_is_said_to_be_so() {
    for ethertypes in [
        &[0x0806][..],
        &[0x88cc],
        &[0x8100, 0x0806],
        &[0x88a8, 0x8100, 0x88cc],
        &[0x8847],
        &[0x8864],
        &[0x0026],
    ] {
        assert_eq!(parse(&ethernet(ethertypes, &[0x45; 46])), Parsed::NotIp, "{ethertypes:04x?}");
    }
    // ... however many tags it has.
    assert_eq!(parse(&ethernet(&[0x8100, 0x8100, 0x8100, 0x0806], &[0; 46])), Parsed::NotIp);
}

#[test]
fn a_third_tag_does_not_hide_ip_from_policy() {
    for ethertype in [0x0800, 0x86dd] {
        for tags in 3..40 {
            let mut ethertypes = vec![0x8100; tags];
            ethertypes.push(ethertype);
            let frame = ethernet(&ethertypes, &ipv4_udp());
            assert_eq!(parse(&frame), Parsed::Malformed(DropReason::VlanTags));
        }
    }
}

#[test]
fn a_frame_that_ends_inside_its_ethernet_header_or_tags_is_truncated() {
    let frame = ethernet(&[0x8100, 0x9100, 0x0800], &ipv4_udp());
    for len in 0..22 {
        assert_eq!(parse(&frame[..len]), Parsed::Malformed(DropReason::FrameTruncated), "{len}");
    }
    assert_eq!(parsed(&frame).l2_len, 22);
}

#[test]
fn an_inner_packet_is_told_by_its_version() {
    assert_eq!(parse_ip(&ipv4_udp()).map(|h| (h.version, h.l2_len)), Ok((Version::V4, 0)));
    assert_eq!(parse_ip(&ipv6_esp()).map(|h| (h.version, h.l2_len)), Ok((Version::V6, 0)));
    assert_eq!(parse_ip(&[]), Err(DropReason::FrameTruncated));
    assert_eq!(parse_ip(&[0x50; 60]), Err(DropReason::Ipv4Header));
}

#[test]
fn the_ethertype_and_the_version_must_agree() {
    assert_eq!(parse(&ethernet(&[0x86dd], &ipv4_udp())), Parsed::Malformed(DropReason::Ipv6Header));
    assert_eq!(parse(&ethernet(&[0x0800], &ipv6_esp())), Parsed::Malformed(DropReason::Ipv4Header));
}

#[test]
fn ecn_and_length_are_changed_where_the_headers_say() {
    let frame = ethernet(&[0x8100, 0x0800], &ipv4_udp());
    let headers = parsed(&frame);
    let mut changed = frame.clone();
    headers.set_ecn(&mut changed, 3);
    assert_eq!(headers.ecn(&changed), 3);
    assert_eq!(parsed(&changed), headers);
    assert!(headers.set_next(&mut changed, headers.transport_next_at, 50, 0x71));
    let after = parsed(&changed);
    assert_eq!((after.protocol, after.total_len), (50, 0x71));
    assert!(!headers.set_next(&mut changed, headers.transport_next_at, 50, 65_536));

    let frame = ethernet(&[0x86dd], &ipv6_esp());
    let headers = parsed(&frame);
    let mut changed = frame.clone();
    headers.set_ecn(&mut changed, 1);
    assert_eq!(headers.ecn(&changed), 1);
    assert_eq!(parsed(&changed), headers);
    // The ESP header goes out again: what followed it is named where ESP was.
    assert!(headers.set_next(&mut changed, headers.protocol_at, 17, 64));
    let after = parsed(&changed);
    assert_eq!((after.protocol, after.total_len, after.ip_len), (17, 64, 48));
    assert!(!headers.set_next(&mut changed, headers.protocol_at, 17, 39));
    assert!(!headers.set_next(&mut changed, headers.protocol_at, 17, 65_576));
}
