//! The parser against etherparse, which we did not write: packets that etherparse builds are read as
//! they were meant, and octets that the parser accepts mean the same to etherparse. Tests only.

use super::{Flow, Fragment, Headers, Parsed, Version, ethernet, parse, parse_ip, protocol};
use crate::DropReason;
use etherparse::{
    IpFragOffset, IpHeaders, IpNumber, IpSlice, Ipv4Header, Ipv4Options, Ipv6Extensions, Ipv6FlowLabel,
    Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, Ipv6RoutingExtensions, NetSlice, SlicedPacket,
};
use proptest::prelude::*;

/// A packet as it was meant, and its octets.
#[derive(Clone, Debug)]
struct Made {
    frame: Vec<u8>,
    l2_len: usize,
    ip: IpHeaders,
    protocol: u8,
    payload: Vec<u8>,
}

/// No fragment, a first one, or a later one at an offset in units of eight octets.
fn fragmentation() -> impl Strategy<Value = (u16, bool)> {
    prop_oneof![4 => Just((0, false)), 1 => Just((0, true)), 2 => (1u16..7000, any::<bool>())]
}

fn upper_layer() -> impl Strategy<Value = u8> {
    let extensions = [0, 43, 44, 51, 60];
    prop_oneof![
        prop::sample::select(vec![1u8, 6, 17, 33, 47, 50, 58, 59, 132, 135, 136]),
        any::<u8>().prop_filter("not an extension header", move |p| !extensions.contains(p)),
    ]
}

fn ipv4(addresses: [u8; 8], fragment: (u16, bool)) -> impl Strategy<Value = IpHeaders> {
    let options = (0usize..=10).prop_flat_map(|words| prop::collection::vec(any::<u8>(), words * 4));
    (options, any::<(bool, u16, u8, u8)>()).prop_map(move |(options, (df, id, ttl, tos))| {
        let [s0, s1, s2, s3, destination @ ..] = addresses;
        let mut header = Ipv4Header::new(0, ttl, IpNumber(0), [s0, s1, s2, s3], destination).unwrap();
        header.dscp = (tos >> 2).try_into().unwrap();
        header.ecn = (tos & 3).try_into().unwrap();
        header.identification = id;
        header.dont_fragment = df;
        header.fragment_offset = IpFragOffset::try_new(fragment.0).unwrap();
        header.more_fragments = fragment.1;
        header.options = Ipv4Options::try_from(options.as_slice()).unwrap();
        IpHeaders::Ipv4(header, Default::default())
    })
}

fn options_header() -> impl Strategy<Value = Ipv6RawExtHeader> {
    (0usize..6, any::<u8>())
        .prop_map(|(units, fill)| Ipv6RawExtHeader::new_raw(IpNumber(0), &vec![fill; units * 8 + 6]).unwrap())
}

fn ipv6(source: [u8; 16], destination: [u8; 16], fragment: (u16, bool)) -> impl Strategy<Value = IpHeaders> {
    let optional = || prop::option::of(options_header());
    (optional(), optional(), optional(), optional(), any::<(u8, u8, u32, bool)>()).prop_map(
        move |(hop_by_hop_options, destination_options, routing, last, (class, hops, label, atomic))| {
            let is_fragment = fragment != (0, false);
            let extensions = Ipv6Extensions {
                hop_by_hop_options,
                destination_options,
                routing: routing.map(|routing| Ipv6RoutingExtensions {
                    routing,
                    final_destination_options: last.filter(|_| fragment.0 == 0),
                }),
                fragment: (is_fragment || atomic).then(|| {
                    let offset = IpFragOffset::try_new(fragment.0).unwrap();
                    Ipv6FragmentHeader::new(IpNumber(0), offset, fragment.1, label)
                }),
                auth: None,
            };
            let header = Ipv6Header {
                traffic_class: class,
                flow_label: Ipv6FlowLabel::try_new(label & 0xf_ffff).unwrap(),
                payload_length: 0,
                next_header: IpNumber(0),
                hop_limit: hops,
                source,
                destination,
            };
            IpHeaders::Ipv6(header, extensions)
        },
    )
}

fn made() -> impl Strategy<Value = Made> {
    let ip = (any::<bool>(), any::<([u8; 16], [u8; 16])>(), fragmentation()).prop_flat_map(
        |(is_v4, (source, destination), fragment)| {
            let [a, b, c, d, e, f, g, h, ..] = source;
            if is_v4 {
                ipv4([a, b, c, d, e, f, g, h], fragment).boxed()
            } else {
                ipv6(source, destination, fragment).boxed()
            }
        },
    );
    let tags =
        prop::collection::vec((prop::sample::select(vec![0x8100u16, 0x88a8, 0x9100]), any::<u16>()), 0..=2);
    let payload = (1usize..20).prop_flat_map(|units| prop::collection::vec(any::<u8>(), units * 8));
    (any::<[u8; 12]>(), tags, ip, upper_layer(), payload, prop::collection::vec(any::<u8>(), 0..50)).prop_map(
        |(addresses, tags, mut ip, protocol, payload, padding)| {
            let mut frame = addresses.to_vec();
            for (tpid, tci) in &tags {
                frame.extend([tpid.to_be_bytes(), tci.to_be_bytes()].concat());
            }
            ip.set_next_headers(IpNumber(protocol));
            ip.set_payload_len(payload.len()).unwrap();
            if let IpHeaders::Ipv4(header, _) = &mut ip {
                header.header_checksum = header.calc_header_checksum();
            }
            let ethertype = if matches!(ip, IpHeaders::Ipv4(..)) { ethernet::IPV4 } else { ethernet::IPV6 };
            frame.extend(ethertype.to_be_bytes());
            let l2_len = frame.len();
            ip.write(&mut frame).unwrap();
            frame.extend(&payload);
            frame.extend(padding);
            Made { frame, l2_len, ip, protocol, payload }
        },
    )
}

fn headers(frame: &[u8]) -> Headers {
    match parse(frame) {
        Parsed::Ip(headers) => headers,
        other => panic!("{other:?}"),
    }
}

fn expected_fragment(offset: IpFragOffset, more: bool) -> Fragment {
    match (offset.value(), more) {
        (0, false) => Fragment::None,
        (0, true) => Fragment::First,
        _ => Fragment::Later,
    }
}

/// What must hold of any accepted octets, whatever they are.
fn assert_offsets_lie_inside(octets: &[u8], headers: &Headers) {
    let l2_len = usize::from(headers.l2_len);
    let ip = l2_len..headers.upper_at();
    assert!(matches!(l2_len, 0 | 14 | 18 | 22));
    assert!(headers.end() <= octets.len());
    assert!(headers.upper_at() <= headers.end());
    assert_eq!(headers.upper_at() + headers.payload_len(), headers.end());
    for at in [headers.protocol_at, headers.transport_next_at] {
        assert!(ip.contains(&usize::from(at)), "{at} {ip:?}");
    }
    assert_eq!(octets[usize::from(headers.protocol_at)], headers.protocol);
    assert!((l2_len + 20..=headers.upper_at()).contains(&usize::from(headers.transport_insert_at)));
    assert!(headers.fragment_at == 0 || ip.contains(&usize::from(headers.fragment_at)));
    // The packet alone reads as it does in its frame.
    let alone = parse_ip(&octets[l2_len..headers.end()]).unwrap();
    assert_eq!((alone.ip_len, alone.total_len), (headers.ip_len, headers.total_len));
    let packet = &octets[l2_len..headers.end()];
    assert_eq!((alone.flow(packet), alone.fragment), (headers.flow(octets), headers.fragment));
    assert_eq!(alone.protocol_at + headers.l2_len, headers.protocol_at);
    assert_eq!(alone.transport_insert_at + headers.l2_len, headers.transport_insert_at);
}

/// What etherparse reads from the packet that the parser found.
fn assert_means_the_same_to_etherparse(octets: &[u8], headers: &Headers) {
    if headers.protocol == protocol::AH {
        return; // etherparse looks behind AH; IPsec does not (RFC 4301 section 4.4.1.1).
    }
    if headers.fragment == Fragment::Later && matches!(headers.protocol, 0 | 43 | 44 | 60) {
        return; // etherparse takes the middle of a datagram for more extension headers.
    }
    let packet = &octets[usize::from(headers.l2_len)..headers.end()];
    let theirs = IpSlice::from_slice(packet).unwrap();
    assert_eq!(theirs.payload_ip_number().0, headers.protocol);
    assert_eq!(theirs.payload().payload.len(), headers.payload_len());
    assert_eq!(theirs.payload().fragmented, headers.fragment != Fragment::None);
    assert_eq!(theirs.source_addr(), headers.source(octets));
    assert_eq!(theirs.destination_addr(), headers.destination(octets));
    let dont_fragment = match &theirs {
        IpSlice::Ipv4(ip) => ip.header().dont_fragment(),
        IpSlice::Ipv6(_) => true,
    };
    assert_eq!(dont_fragment, headers.dont_fragment);
}

fn assert_is_as_made(made: &Made) {
    let headers = headers(&made.frame);
    let is_v4 = matches!(made.ip, IpHeaders::Ipv4(..));
    assert_eq!(usize::from(headers.l2_len), made.l2_len);
    assert_eq!(headers.version == Version::V4, is_v4);
    assert_eq!(usize::from(headers.ip_len), made.ip.header_len());
    assert_eq!(headers.total_len as usize, made.ip.header_len() + made.payload.len());
    assert_eq!(headers.protocol, made.protocol);
    let (source, destination, fragment, insert_at) = match &made.ip {
        IpHeaders::Ipv4(ip, _) => (
            ip.source.into(),
            ip.destination.into(),
            expected_fragment(ip.fragment_offset, ip.more_fragments),
            ip.header_len(),
        ),
        IpHeaders::Ipv6(ip, extensions) => {
            let raw = |header: &Option<Ipv6RawExtHeader>| header.as_ref().map_or(0, |h| h.header_len());
            let routing = extensions.routing.as_ref().map_or(0, |r| r.routing.header_len());
            let fragment = extensions.fragment.as_ref();
            let mut insert_at = 40 + raw(&extensions.hop_by_hop_options);
            if routing != 0 || fragment.is_some() {
                insert_at += raw(&extensions.destination_options) + routing + fragment.map_or(0, |_| 8);
            }
            assert_eq!(headers.fragment_at != 0, fragment.is_some());
            (
                ip.source.into(),
                ip.destination.into(),
                fragment.map_or(Fragment::None, |f| expected_fragment(f.fragment_offset, f.more_fragments)),
                insert_at,
            )
        }
    };
    assert_eq!((headers.source(&made.frame), headers.destination(&made.frame)), (source, destination));
    assert_eq!(headers.fragment, fragment);
    assert_eq!(usize::from(headers.transport_insert_at), made.l2_len + insert_at);
    let be16 = |at: usize| u16::from_be_bytes([made.payload[at], made.payload[at + 1]]);
    let has_ports = protocol::has_ports(made.protocol) && fragment != Fragment::Later;
    let flow = headers.flow(&made.frame);
    assert_eq!(flow.ports(), if has_ports { (be16(0), be16(2)) } else { (0, 0) });
    assert!(
        matches!(flow, Flow::V4(key) if key.protocol == made.protocol && key.pad == [0; 3])
            || matches!(flow, Flow::V6(key) if key.protocol == made.protocol && key.pad == [0; 3])
    );
    assert_offsets_lie_inside(&made.frame, &headers);
    assert_means_the_same_to_etherparse(&made.frame, &headers);
}

/// The frames of a capture file (microsecond or nanosecond pcap, little-endian).
fn frames(pcap: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    let mut rest = &pcap[24..];
    while let Some((record, after)) = rest.split_first_chunk::<16>() {
        let len = u32::from_le_bytes([record[8], record[9], record[10], record[11]]);
        let (frame, after) = after.split_at(len as usize);
        frames.push(frame);
        rest = after;
    }
    frames
}

#[test]
fn frames_of_real_stacks_mean_the_same_to_etherparse() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/capture/lan.pcap");
    let pcap = std::fs::read(path).unwrap();
    let (mut ip, mut others) = (0, 0);
    for frame in frames(&pcap) {
        match parse(frame) {
            Parsed::Ip(headers) => {
                assert_offsets_lie_inside(frame, &headers);
                assert_means_the_same_to_etherparse(frame, &headers);
                ip += 1;
            }
            Parsed::NotIp => {
                let net = SlicedPacket::from_ethernet(frame).unwrap().net;
                assert!(!net.is_some_and(|net| net.is_ip()));
                others += 1;
            }
            Parsed::Malformed(reason) => panic!("{reason:?}: {frame:02x?}"),
        }
    }
    assert!(ip > 1000 && others > 0, "{ip} {others}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn a_packet_that_etherparse_builds_is_read_as_it_was_meant(made in made()) {
        assert_is_as_made(&made);
    }

    #[test]
    fn a_frame_that_etherparse_slices_has_the_same_headers(made in made()) {
        // Upper layers shorter than their own headers are errors to etherparse, not to the parser.
        if let Ok(sliced) = SlicedPacket::from_ethernet(&made.frame) {
            let headers = headers(&made.frame);
            prop_assert_eq!(sliced.link_exts.len() * 4 + 14, usize::from(headers.l2_len));
            let payload = match sliced.net.unwrap() {
                NetSlice::Ipv4(ip) => ip.payload().payload.len(),
                NetSlice::Ipv6(ip) => ip.payload().payload.len(),
                NetSlice::Arp(_) => unreachable!(),
            };
            prop_assert_eq!(payload, headers.payload_len());
        }
    }

    #[test]
    fn a_packet_cut_short_anywhere_is_never_accepted(made in made(), cut: prop::sample::Index) {
        let end = made.l2_len + made.ip.header_len() + made.payload.len();
        let cut = cut.index(end);
        prop_assert!(matches!(parse(&made.frame[..cut]), Parsed::Malformed(_)));
    }

    #[test]
    fn damaged_packets_are_refused_or_mean_the_same_to_etherparse(
        made in made(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut frame = made.frame;
        for (at, value) in damage {
            // Half of the damage goes to the headers.
            let range = if value & 1 == 0 { frame.len() } else { frame.len().min(80) };
            frame[at.index(range)] = value;
        }
        if let Some(ip) = frame.get_mut(made.l2_len..).filter(|ip| ip.first().is_some_and(|o| o >> 4 == 4)) {
            let len = usize::from(ip[0] & 15) * 4;
            if (20..=ip.len()).contains(&len) {
                ip[10..12].fill(0);
                let sum = super::checksum::of(&[&ip[..len]]);
                ip[10..12].copy_from_slice(&sum);
            }
        }
        if let Parsed::Ip(headers) = parse(&frame) {
            assert_offsets_lie_inside(&frame, &headers);
            assert_means_the_same_to_etherparse(&frame, &headers);
        }
    }

    #[test]
    fn no_octets_whatever_make_the_parser_panic_or_point_outside(
        mut frame in prop::collection::vec(any::<u8>(), 0..200),
        ethertypes in prop::collection::vec(prop::sample::select(vec![0x0800u16, 0x86dd, 0x8100, 0x88a8]), 0..4),
        first: u8,
    ) {
        for (i, ethertype) in ethertypes.iter().enumerate() {
            let at = 12 + i * 4;
            if let Some(octets) = frame.get_mut(at..at + 2) {
                octets.copy_from_slice(&ethertype.to_be_bytes());
            }
        }
        if let (Some(octet), true) = (frame.get_mut(14), first & 1 == 0) {
            *octet = if first & 2 == 0 { 0x45 } else { 0x60 };
        }
        if let Parsed::Ip(headers) = parse(&frame) {
            assert_offsets_lie_inside(&frame, &headers);
        }
        if let Ok(headers) = parse_ip(&frame) {
            assert_offsets_lie_inside(&frame, &headers);
        }
    }

    #[test]
    fn any_single_change_to_an_ipv4_header_is_noticed(made in made(), at: prop::sample::Index, flip in 1u8..) {
        if matches!(made.ip, IpHeaders::Ipv4(..)) {
            let mut frame = made.frame;
            frame[made.l2_len + at.index(made.ip.header_len())] ^= flip;
            let parsed = parse(&frame);
            prop_assert!(matches!(parsed, Parsed::Malformed(DropReason::Ipv4Header | DropReason::FrameTruncated)), "{:?}", parsed);
        }
    }

    #[test]
    fn three_tags_or_more_in_front_of_ip_are_refused(made in made(), more in 1usize..5) {
        let mut frame = made.frame[..12].to_vec();
        let tags = (made.l2_len - ethernet::HEADER) / ethernet::TAG;
        frame.extend([0x81, 0x00, 0x00, 0x01].repeat(3 - tags + more - 1));
        frame.extend(&made.frame[12..]);
        prop_assert_eq!(parse(&frame), Parsed::Malformed(DropReason::VlanTags));
    }
}
