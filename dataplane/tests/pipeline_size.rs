//! Packets that do not fit: fragments before and after encryption, ICMP errors, reassembly, chains of
//! segments and jumbo frames.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use common::*;
use etherparse::{Icmpv4Type, Icmpv6Type, SlicedPacket, TransportSlice};
use getvpn_dataplane::packet::{Fragment, parse_ip};
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{DropReason, Mode, PolicyState};

fn with(mode: Mode) -> PolicyState {
    state(&[params(0x1001, Transform::Aes128Gcm, mode)])
}

/// What a host would make of IPv4 fragments.
fn put_together(fragments: &[Vec<u8>]) -> Vec<u8> {
    let mut parts = BTreeMap::new();
    let mut header = None;
    for frame in fragments {
        let ip = &frame[14..];
        let offset = usize::from(u16::from_be_bytes([ip[6], ip[7]]) & 0x1fff) * 8;
        parts.insert(offset, ip[20..].to_vec());
        if offset == 0 {
            header = Some(frame[..34].to_vec());
        }
    }
    let mut whole = header.expect("a first fragment");
    for (offset, part) in parts {
        assert_eq!(offset, whole.len() - 34, "no hole and no overlap");
        whole.extend(part);
    }
    let total = (whole.len() - 14) as u16;
    with_ipv4(&whole, |ip| {
        ip[2..4].copy_from_slice(&total.to_be_bytes());
        ip[6..8].fill(0);
    })
}

#[test]
fn every_size_up_to_the_limit_goes_whole_and_one_more_octet_does_not() {
    for mode in [Mode::Tunnel, Mode::Transport] {
        for &transform in Transform::ALL {
            let state = state(&[params(0x1001, transform, mode)]);
            let mut a = Member::new(&state, 1400);
            let mut largest = 0;
            for size in 1250..1400 {
                let out = a.lan_in(&[dont_fragment(&udp4(&payload(size)))]);
                if out.wan.is_empty() {
                    break;
                }
                assert!(out.wan[0].len() <= 1414);
                largest = size;
            }
            assert!(largest > 1280, "{transform} {mode}");
            let icmp = a.lan_in(&[dont_fragment(&udp4(&payload(largest + 1)))]).lan.remove(0);
            let mtu = next_hop_mtu(&icmp);
            assert_eq!(usize::from(mtu), 28 + largest, "{transform} {mode}: what it says is what fits");
        }
    }
}

fn next_hop_mtu(frame: &[u8]) -> u16 {
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(TransportSlice::Icmpv4(icmp)) = sliced.transport else { panic!("{sliced:?}") };
    match icmp.icmp_type() {
        Icmpv4Type::DestinationUnreachable(
            etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu },
        ) => next_hop_mtu,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_packet_that_must_not_be_fragmented_is_answered_towards_its_sender() {
    let mut a = Member::new(&with(Mode::Tunnel), 1500);
    let big4 = dont_fragment(&udp4(&payload(1472)));
    let big6 = udp6(&payload(1452));
    let out = a.lan_in(&[big4.clone(), big6.clone()]);
    assert!(out.wan.is_empty());
    assert_eq!((a.drops(DropReason::TooBig), a.tally.rx), (2, 2));
    let [icmp4, icmp6] = out.lan.try_into().unwrap();
    assert_eq!((&icmp4[..6], &icmp4[6..12]), (&big4[6..12], &big4[..6]));
    let (from, to) = addresses(&big4);
    assert_eq!(addresses(&icmp4), (to, from));
    // 1500 - 20 (outer) - 8 (ESP) - 8 (IV) - 16 (ICV) = 1448, less the two-octet trailer.
    assert_eq!(next_hop_mtu(&icmp4), 1446);

    let (from, to) = addresses(&big6);
    assert_eq!(addresses(&icmp6), (to, from));
    let sliced = SlicedPacket::from_ethernet(&icmp6).unwrap();
    let Some(TransportSlice::Icmpv6(icmp)) = sliced.transport else { panic!("{sliced:?}") };
    assert_eq!(icmp.icmp_type(), Icmpv6Type::PacketTooBig { mtu: 1426 });
    assert!(icmp.is_checksum_valid(v6(2), v6(1)));
}

#[test]
fn icmp_errors_are_limited_in_rate() {
    let mut a = Member::new(&with(Mode::Tunnel), 1500);
    let flood = vec![dont_fragment(&udp4(&payload(1472))); 500];
    assert_eq!(a.lan_in(&flood).lan.len(), 100);
    assert_eq!(a.drops(DropReason::TooBig), 500);
    a.now += dpdk::cycles_hz() / 100;
    assert_eq!(a.lan_in(&flood).lan.len(), 10);
}

#[test]
fn a_packet_that_may_be_fragmented_is_before_encryption_and_opens_piece_by_piece() {
    let s = with(Mode::Tunnel);
    let (mut a, mut b) = (Member::new(&s, 1500), Member::new(&s, 1500));
    for size in [1472, 2000, 4000, 8000] {
        let big = with_ipv4(&udp4(&payload(size)), |ip| ip[4..6].copy_from_slice(&[0x12, 0x34]));
        let before = a.tally.encrypted;
        let sealed = a.lan_in(std::slice::from_ref(&big)).wan;
        assert!(sealed.len() >= 2 && sealed.iter().all(|f| f.len() <= 1514));
        assert!(sealed.iter().all(|f| parse_ip(&f[14..]).unwrap().fragment == Fragment::None));
        assert_eq!(a.tally.encrypted - before, 1, "one received packet, one verdict");
        let opened = b.wan_in(&sealed).lan;
        assert_eq!(put_together(&opened), big);
    }
    assert_eq!(a.buffers_in_use(), 0);
}

#[test]
fn fragmented_esp_from_the_wan_is_reassembled_in_any_order() {
    let s = with(Mode::Tunnel);
    let (mut a, mut b) = (Member::new(&s, 1500), Member::new(&s, 1500));
    let plain = udp4(&payload(1000));
    let sealed = a.lan_in(std::slice::from_ref(&plain)).wan.remove(0);
    for reverse in [false, true] {
        let mut fragments = cut4(&with_ipv4(&sealed, |ip| ip[4] ^= u8::from(reverse)), 400);
        if reverse {
            fragments.reverse();
        }
        assert_eq!(b.wan_in(&fragments[..2]), Out::default());
        assert_eq!(b.tally.parked, 2);
        assert_eq!(b.wan_in(&fragments[2..]).lan, std::slice::from_ref(&plain));
        assert_eq!(b.tally.parked, 0);
    }
    assert_eq!(b.tally.decrypted, 6, "counted in frames received");
}

#[test]
fn fragments_that_stay_incomplete_are_dropped_after_a_while() {
    let s = with(Mode::Tunnel);
    let (mut a, mut b) = (Member::new(&s, 1500), Member::new(&s, 1500));
    let sealed = a.lan_in(&[udp4(&payload(1000))]).wan.remove(0);
    b.wan_in(&cut4(&sealed, 400)[..2]);
    b.expire();
    assert_eq!(b.tally.parked, 2);
    b.now += 3 * dpdk::cycles_hz();
    b.expire();
    assert_eq!((b.tally.parked, b.drops(DropReason::ReassemblyTimeout)), (0, 2));
    assert_eq!(b.buffers_in_use(), 0);
}

#[test]
fn a_flood_of_first_fragments_is_bounded_and_accounted_for() {
    let mut b = Member::new(&with(Mode::Tunnel), 1500);
    let flood: Vec<_> = (0..500u16)
        .map(|id| {
            with_ipv4(&raw4(50, &payload(64)), |ip| {
                ip[4..6].copy_from_slice(&id.to_be_bytes());
                ip[6] = 0x20;
            })
        })
        .collect();
    b.wan_in(&flood);
    assert!(b.tally.parked <= 64, "{}", b.tally.parked);
    assert_eq!(b.tally.parked + b.tally.dropped(), 500);
    b.now += 3 * dpdk::cycles_hz();
    b.expire();
    assert_eq!(b.buffers_in_use(), 0);
}

#[test]
fn transport_mode_reassembles_what_the_lan_fragmented() {
    let s = with(Mode::Transport);
    let (mut a, mut b) = (Member::new(&s, 1500), Member::new(&s, 1500));
    let whole = udp4(&payload(1000));
    let sealed = a.lan_in(&cut4(&whole, 400)).wan;
    assert_eq!(sealed.len(), 1);
    assert!(b.wan_in(&sealed).lan == [whole]);
    assert_eq!(a.tally.encrypted, 3);
}

#[test]
fn transport_mode_fragments_behind_the_encryption_when_it_may() {
    let s = with(Mode::Transport);
    let (mut a, mut b) = (Member::new(&s, 1500), Member::new(&s, 1500));
    let big = udp4(&payload(1472));
    let sealed = a.lan_in(std::slice::from_ref(&big)).wan;
    assert_eq!(sealed.len(), 2);
    assert!(sealed.iter().all(|f| f.len() <= 1514));
    assert_eq!(b.wan_in(&sealed).lan, [big]);
    assert_eq!((a.tally.encrypted, a.tally.fragments), (1, 1));
}

#[test]
fn ipv6_keeps_its_minimum_mtu_over_a_small_link() {
    for mode in [Mode::Tunnel, Mode::Transport] {
        let s = with(mode);
        let (mut a, mut b) = (Member::new(&s, 1280), Member::new(&s, 1280));
        let frame = udp6(&payload(1280 - 48));
        let sealed = a.lan_in(std::slice::from_ref(&frame)).wan;
        assert_eq!(sealed.len(), 2, "{mode}");
        assert!(sealed.iter().all(|f| f.len() <= 1294));
        assert_eq!(b.wan_in(&sealed).lan, [frame]);
        let out = a.lan_in(&[udp6(&payload(1281 - 48))]);
        assert_eq!((out.wan.len(), out.lan.len()), (0, 1));
    }
}

#[test]
fn chains_of_segments_are_sealed_and_opened_like_any_other_frame() {
    let s = with(Mode::Tunnel);
    let (mut a, mut b) = (Member::new(&s, 9000), Member::new(&s, 9000));
    for (size, segment) in [(100, 20), (1400, 300), (3000, 2000), (8900, 1999)] {
        (a.segment, b.segment) = (segment, segment);
        let frame = udp4(&payload(size));
        let sealed = a.lan_in(std::slice::from_ref(&frame)).wan;
        assert_eq!(b.wan_in(&sealed).lan, [frame], "{size} in segments of {segment}");
    }
    assert_eq!((a.buffers_in_use(), b.buffers_in_use()), (0, 0));
}

#[test]
fn ethernet_padding_is_not_encrypted() {
    let s = with(Mode::Tunnel);
    let (mut a, mut b) = (Member::new(&s, 1500), Member::new(&s, 1500));
    let frame = udp4(b"");
    let padded = [&frame[..], &[0; 18]].concat();
    let mut sealed = a.lan_in(&[padded]).wan;
    sealed[0].extend([0; 30]);
    assert_eq!(b.wan_in(&sealed).lan, [frame]);
}

/// Transport mode seals a datagram as a whole though its sender had to send it in fragments. No frame on
/// the way, and none on the other LAN, is larger than those that came; DF on a fragment (which some hosts
/// set) cannot mean the datagram.
#[test]
fn a_datagram_in_fragments_goes_through_transport_mode_whatever_its_size() {
    let s = with(Mode::Transport);
    let (mut a, mut b) = (Member::new(&s, 1500), Member::new(&s, 1500));
    for (id, size) in [1473, 2952, 4000, 8000].into_iter().enumerate() {
        for df in [0, 0x40] {
            let whole = with_ipv4(&udp4(&payload(size)), |ip| ip[4..6].copy_from_slice(&[df, id as u8]));
            let cut = cut4(&whole, 1480).iter().map(|f| with_ipv4(f, |ip| ip[6] |= df)).collect::<Vec<_>>();
            let opened = through(&mut a, &mut b, &cut);
            assert_eq!(put_together(&opened), whole);
        }
        let whole = udp6(&payload(size));
        let opened = through(&mut a, &mut b, &cut6(&whole, 1448, id as u32));
        assert_eq!(put_together6(&opened), whole);
    }
    assert_eq!((a.tally.dropped(), a.tally.icmp, b.tally.dropped()), (0, 0, 0));
    assert_eq!((a.buffers_in_use(), b.buffers_in_use()), (0, 0));
}

fn through(a: &mut Member, b: &mut Member, fragments: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let sealed = a.lan_in(fragments);
    assert_eq!(sealed.lan.len(), 0, "no ICMP error");
    assert!(sealed.wan.iter().all(|f| f.len() <= 1514));
    let opened = b.wan_in(&sealed.wan).lan;
    assert!(opened.len() > 1 && opened.iter().all(|f| f.len() <= 1514));
    opened
}

/// Cuts the IPv6 packet of a frame into fragments whose payloads have at most `size` octets.
fn cut6(frame: &[u8], size: usize, id: u32) -> Vec<Vec<u8>> {
    let parts: Vec<_> = frame[54..].chunks(size).collect();
    let make = |(i, part): (usize, &&[u8])| {
        let place = (i * size) as u16 | u16::from(i + 1 < parts.len());
        let header = [&[frame[20], 0][..], &place.to_be_bytes(), &id.to_be_bytes()].concat();
        let mut fragment = [&frame[..54], &header, part].concat();
        fragment[18..20].copy_from_slice(&((8 + part.len()) as u16).to_be_bytes());
        fragment[20] = 44;
        fragment
    };
    parts.iter().enumerate().map(make).collect()
}

/// What a host would make of them.
fn put_together6(fragments: &[Vec<u8>]) -> Vec<u8> {
    let place = |f: &[u8]| u16::from_be_bytes([f[56], f[57]]) & !7;
    let parts: BTreeMap<_, _> = fragments.iter().map(|f| (place(f), f)).collect();
    let first = parts[&0];
    let mut whole = first[..54].to_vec();
    whole[20] = first[54];
    for (offset, part) in parts {
        assert_eq!((part[20], &part[58..62]), (44, &first[58..62]), "fragments of one datagram");
        assert_eq!(usize::from(offset), whole.len() - 54, "no hole and no overlap");
        whole.extend(&part[62..]);
    }
    let length = ((whole.len() - 54) as u16).to_be_bytes();
    whole[18..20].copy_from_slice(&length);
    whole
}
