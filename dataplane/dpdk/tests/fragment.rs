//! Splitting packets, checked by putting the octets together again by hand, as the RFCs say.

#![allow(clippy::unwrap_used)] // in helpers, too

use std::sync::Arc;

use arrayvec::ArrayVec;
use dpdk::{FragmentError, HEADROOM, Mbuf, Mempool, fragment_ipv4, fragment_ipv6, testing};
use proptest::prelude::*;

type Fragments = ArrayVec<Mbuf, 64>;

fn pool(count: u32, data_room: u16) -> Arc<Mempool> {
    testing::eal();
    Mempool::new("fragment", count, 0, data_room, None).unwrap()
}

fn counting(length: usize) -> impl Iterator<Item = u8> {
    (0..=250).cycle().take(length)
}

/// An IPv4 packet of `data` octets with these options, which are a multiple of 4 octets.
fn ipv4(options: &[u8], data: usize) -> Vec<u8> {
    let header_len = 20 + options.len();
    let total = u16::try_from(header_len + data).unwrap();
    let mut packet = vec![0x40 | u8::try_from(header_len / 4).unwrap(), 0x28];
    packet.extend(total.to_be_bytes());
    packet.extend([0xab, 0xcd, 0, 0, 63, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend(options);
    packet.extend(counting(data));
    packet
}

/// An IPv6 packet with these extension headers, the first of which is of kind `first`.
fn ipv6(first: u8, extensions: &[u8], data: usize) -> Vec<u8> {
    let payload = u16::try_from(extensions.len() + data).unwrap();
    let mut packet = vec![0x6b, 0x81, 0x23, 0x45];
    packet.extend(payload.to_be_bytes());
    packet.extend([first, 60]);
    packet.extend([0x20; 16]);
    packet.extend([0xfd; 16]);
    packet.extend(extensions);
    packet.extend(counting(data));
    packet
}

/// The packet in segments of at most `room` octets.
fn segmented(pool: &Mempool, octets: &[u8], first: usize) -> Mbuf {
    let room = usize::from(pool.data_room());
    let mut mbuf = Mbuf::copy_from(pool, &octets[..first.min(room).min(octets.len())]).unwrap();
    for part in octets[mbuf.pkt_len()..].chunks(room) {
        mbuf.chain(Mbuf::copy_from(pool, part).unwrap()).unwrap();
    }
    mbuf
}

fn u16_at(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

/// RFC 1071: the ones' complement sum over a header with its checksum is all ones.
fn checksum_holds(header: &[u8]) -> bool {
    let sum = (0..header.len()).step_by(2).fold(0u32, |sum, at| sum + u32::from(u16_at(header, at)));
    (sum & 0xffff) + (sum >> 16) == 0xffff
}

/// The data that IPv4 fragments carry, put where they say, and whether the last one ends it.
fn data_of_ipv4(fragments: &[Mbuf], mtu: usize) -> (Vec<u8>, bool) {
    let (mut data, mut ends) = (Vec::new(), false);
    for fragment in fragments {
        let octets = fragment.data();
        let header_len = usize::from(octets[0] & 0xf) * 4;
        assert!(fragment.is_contiguous() && octets.len() <= mtu);
        assert_eq!(fragment.headroom(), usize::from(HEADROOM));
        assert_eq!(usize::from(u16_at(octets, 2)), octets.len());
        assert!(checksum_holds(&octets[..header_len]));
        assert_eq!(octets[1..2], [0x28]);
        assert_eq!((u16_at(octets, 4), octets[8], octets[9]), (0xabcd, 63, 17));
        assert_eq!(octets[12..20], [10, 0, 0, 1, 10, 0, 0, 2]);
        let place = u16_at(octets, 6);
        assert_eq!(usize::from(place & 0x1fff) * 8, data.len());
        data.extend(&octets[header_len..]);
        ends = place & 0x2000 == 0;
    }
    (data, ends)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn ipv4_fragments_carry_the_packet_within_the_mtu(data in 1..9_000usize, mtu in 300..1_600u16, first in 20..2_000usize) {
        let pool = pool(255, 2_048);
        let packet = ipv4(&[], data);
        let mut out = Fragments::new();
        let count = fragment_ipv4(&segmented(&pool, &packet, first), mtu, &pool, &mut out).unwrap();
        prop_assert_eq!(count, data.div_ceil((usize::from(mtu) - 20) / 8 * 8));
        prop_assert_eq!(count, out.len());
        prop_assert_eq!(data_of_ipv4(&out, mtu.into()), (packet[20..].to_vec(), true));
        drop(out);
        prop_assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn ipv6_fragments_carry_the_packet_within_the_mtu(data in 1..9_000usize, mtu in 300..1_600u16, hop in any::<bool>(), first in 48..2_000usize) {
        let pool = pool(255, 2_048);
        // A hop-by-hop header that is padding only, then UDP.
        let extension = [17, 0, 1, 4, 0, 0, 0, 0];
        let (packet, at, next_at) =
            if hop { (ipv6(0, &extension, data), 48, 40) } else { (ipv6(17, &[], data), 40, 6) };
        let mut out = Fragments::new();
        let packet_in = segmented(&pool, &packet, first);
        fragment_ipv6(&packet_in, at, next_at, 0xdead_beef, mtu, &pool, &mut out).unwrap();
        let mut carried = Vec::new();
        let mut more = 1;
        for fragment in &out {
            let octets = fragment.data();
            prop_assert!(fragment.is_contiguous() && octets.len() <= usize::from(mtu));
            prop_assert_eq!(fragment.headroom(), usize::from(HEADROOM));
            prop_assert_eq!(usize::from(u16_at(octets, 4)) + 40, octets.len());
            let mut headers = octets[..at].to_vec();
            prop_assert_eq!(headers[next_at], 44);
            headers[next_at] = 17;
            headers[4..6].copy_from_slice(&packet[4..6]);
            prop_assert_eq!(&headers, &packet[..at]);
            prop_assert_eq!(&octets[at..at + 2], [17, 0]);
            prop_assert_eq!(&octets[at + 4..at + 8], [0xde, 0xad, 0xbe, 0xef]);
            let place = u16_at(octets, at + 2);
            prop_assert_eq!(usize::from(place & !7), carried.len());
            more = place & 7;
            carried.extend(&octets[at + 8..]);
        }
        prop_assert_eq!((carried, more), (packet[at..].to_vec(), 0));
        drop((out, packet_in));
        prop_assert_eq!(pool.in_use(), 0);
    }
}

#[test]
fn a_fragment_is_split_on_at_its_place_and_stays_a_fragment() {
    let pool = pool(63, 2_048);
    let mut packet = ipv4(&[], 1_200);
    packet[6..8].copy_from_slice(&(0x2000u16 | 185).to_be_bytes());
    let mut out = Fragments::new();
    fragment_ipv4(&segmented(&pool, &packet, 2_048), 620, &pool, &mut out).unwrap();
    let places: Vec<_> = out.iter().map(|fragment| u16_at(fragment.data(), 6)).collect();
    assert_eq!(places, [0x2000 | 185, 0x2000 | 260]);
}

#[test]
fn only_options_for_every_fragment_are_in_every_fragment() {
    let pool = pool(63, 2_048);
    // Record route (7) is for the first fragment only, the loose source route (131) for all.
    let options = [7, 7, 4, 0, 0, 0, 0, 131, 7, 4, 10, 9, 9, 9, 0, 0];
    let packet = ipv4(&options, 1_000);
    let mut out = Fragments::new();
    fragment_ipv4(&segmented(&pool, &packet, 2_048), 576, &pool, &mut out).unwrap();
    assert_eq!(out.len(), 2);
    assert_eq!(out[0].data()[20..36], options);
    assert_eq!(out[1].data()[0], 0x47);
    assert_eq!(out[1].data()[20..28], [131, 7, 4, 10, 9, 9, 9, 0]);
    assert_eq!(data_of_ipv4(&out, 576), (packet[36..].to_vec(), true));
}

#[test]
fn what_cannot_be_split_is_refused_and_the_list_stays_as_it_was() {
    let (pool, small) = (pool(63, 2_048), pool(63, 512));
    let good = ipv4(&[], 1_400);
    let changed = |at: usize, value: u8| {
        let mut packet = good.clone();
        packet[at] = value;
        Mbuf::copy_from(&pool, &packet).unwrap()
    };
    let mut out = Fragments::new();
    out.push(Mbuf::copy_from(&pool, b"first").unwrap());
    let mut split = |packet: &Mbuf, mtu, pool| {
        let result = fragment_ipv4(packet, mtu, pool, &mut out);
        assert_eq!((out.len(), out[0].data()), (1, &b"first"[..]));
        result.unwrap_err()
    };
    assert_eq!(split(&changed(6, 0x40), 576, &pool), FragmentError::DontFragment);
    for (at, value) in [(0, 0x44), (0, 0x65), (2, 0), (3, 0)] {
        assert_eq!(split(&changed(at, value), 576, &pool), FragmentError::Malformed, "{at} {value}");
    }
    let mut beyond = changed(6, 0x1f);
    beyond.data_mut()[7] = 0xff;
    assert_eq!(split(&beyond, 576, &pool), FragmentError::Malformed);
    let good = Mbuf::copy_from(&pool, &good).unwrap();
    assert_eq!(split(&good, 67, &pool), FragmentError::Mtu);
    assert_eq!(split(&good, 576, &small), FragmentError::Mtu);
    assert_eq!(split(&Mbuf::copy_from(&pool, &[0x45; 19]).unwrap(), 576, &pool), FragmentError::Malformed);
    assert_eq!(split(&Mbuf::alloc(&pool).unwrap(), 576, &pool), FragmentError::Malformed);

    let mut two = ArrayVec::<Mbuf, 2>::new();
    assert_eq!(fragment_ipv4(&good, 576, &pool, &mut two), Err(FragmentError::TooMany));
    let held: Vec<Mbuf> = std::iter::from_fn(|| Mbuf::alloc(&small)).collect();
    assert_eq!(fragment_ipv4(&good, 500, &small, &mut Fragments::new()), Err(FragmentError::NoBuffer));
    let last = held.len() - 2;
    drop(held.into_iter().skip(last));
}

#[test]
fn ipv6_packets_that_cannot_be_split_are_refused() {
    let pool = pool(31, 2_048);
    let octets = ipv6(17, &[], 1_400);
    let good = Mbuf::copy_from(&pool, &octets).unwrap();
    let mut out = Fragments::new();
    let mut split = |packet: &Mbuf, at, next_at, mtu| {
        let error = fragment_ipv6(packet, at, next_at, 1, mtu, &pool, &mut out).unwrap_err();
        assert!(out.is_empty());
        error
    };
    assert_eq!(split(&good, 39, 6, 1_280), FragmentError::Malformed);
    assert_eq!(split(&good, 40, 40, 1_280), FragmentError::Malformed);
    assert_eq!(split(&good, 1_500, 6, 1_280), FragmentError::Malformed);
    assert_eq!(split(&good, 40, 6, 55), FragmentError::Mtu);
    assert_eq!(split(&good, 40, 6, 2_049), FragmentError::Mtu);
    assert_eq!(split(&Mbuf::copy_from(&pool, &octets[1..]).unwrap(), 40, 6, 1_280), FragmentError::Malformed);
    let held: Vec<Mbuf> = std::iter::from_fn(|| Mbuf::alloc(&pool)).skip(1).collect();
    assert_eq!(split(&good, 40, 6, 1_280), FragmentError::NoBuffer);
    drop(held);
    assert_eq!(pool.in_use(), 1, "a half-made list is given back");
}
