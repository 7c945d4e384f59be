//! Reassembly, with an exact account of every fragment, whatever is pushed.

#![allow(clippy::unwrap_used)] // in helpers, too

use std::sync::Arc;

use arrayvec::ArrayVec;
use dpdk::{
    MAX_FRAGMENTS, Mbuf, Mempool, Reassembler, Reassembly, cycles_hz, fragment_ipv4, fragment_ipv6, testing,
};
use proptest::prelude::*;

const L2: u16 = 18;
const ETHERNET: [u8; 18] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0, 7, 0x08, 0];

fn pool() -> Arc<Mempool> {
    testing::eal();
    Mempool::new("reassembly", 255, 0, 2_048, None).unwrap()
}

fn table(datagrams: u32) -> Reassembler {
    testing::eal();
    Reassembler::new(datagrams, 1_000, None).unwrap()
}

fn counting(length: usize) -> impl Iterator<Item = u8> {
    (0..=250).cycle().take(length)
}

/// A frame with an IPv4 fragment of the datagram `id`: `length` octets of data at `offset`.
fn v4(pool: &Mempool, id: u16, offset: usize, length: usize, more: bool) -> Mbuf {
    let mut frame = ETHERNET.to_vec();
    frame.extend([0x45, 0]);
    frame.extend(u16::try_from(20 + length).unwrap().to_be_bytes());
    frame.extend(id.to_be_bytes());
    frame.extend((u16::try_from(offset / 8).unwrap() | u16::from(more) << 13).to_be_bytes());
    frame.extend([64, 50, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(counting(offset + length).skip(offset));
    Mbuf::copy_from(pool, &frame).unwrap()
}

/// The same of an IPv6 one, behind a hop-by-hop header if `hop`.
fn v6(pool: &Mempool, id: u32, offset: usize, length: usize, more: bool, hop: bool) -> Mbuf {
    let mut frame = ETHERNET.to_vec();
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(u16::try_from(usize::from(hop) * 8 + 8 + length).unwrap().to_be_bytes());
    frame.extend([if hop { 0 } else { 44 }, 64]);
    frame.extend([0x20; 16]);
    frame.extend([0xfd; 16]);
    if hop {
        frame.extend([44, 0, 1, 4, 0, 0, 0, 0]);
    }
    frame.extend([50, 0]);
    frame.extend((u16::try_from(offset).unwrap() | u16::from(more)).to_be_bytes());
    frame.extend(id.to_be_bytes());
    frame.extend(counting(offset + length).skip(offset));
    Mbuf::copy_from(pool, &frame).unwrap()
}

fn contents(mbuf: &Mbuf) -> Vec<u8> {
    let mut octets = Vec::new();
    mbuf.read_to(&mut octets);
    octets
}

/// Pushes what has to be held, or to complete a datagram, and checks the account on the way.
struct Account {
    table: Reassembler,
    pool: Arc<Mempool>,
    pushed: u64,
    done: u64,
    dead: u64,
}

impl Account {
    fn new(datagrams: u32) -> Account {
        Account { table: table(datagrams), pool: pool(), pushed: 0, done: 0, dead: 0 }
    }

    fn push(&mut self, frame: Mbuf, now: u64) -> Option<Mbuf> {
        let is_v4 = frame.data()[usize::from(L2)] >> 4 == 4;
        self.pushed += 1;
        let result =
            if is_v4 { self.table.push_v4(frame, L2, now) } else { self.table.push_v6(frame, L2, now) };
        let datagram = match result {
            Reassembly::Done(datagram) => Some(datagram),
            Reassembly::Held => None,
            Reassembly::Refused(_) => panic!("refused"),
        };
        self.done += datagram.as_ref().map_or(0, |datagram| datagram.segments() as u64);
        self.check(datagram.as_ref().map_or(0, Mbuf::segments));
        datagram
    }

    fn check(&mut self, in_hand: usize) {
        self.dead += self.table.take_dead();
        assert_eq!(self.pushed, self.done + self.table.held() + self.dead);
        assert_eq!(u64::from(self.pool.in_use()), self.table.held() + in_hand as u64);
    }
}

#[test]
fn ipv4_fragments_in_any_order_become_the_datagram_with_a_right_header() {
    let mut account = Account::new(16);
    let pool = account.pool.clone();
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
        let mut whole = None;
        for part in order {
            assert!(whole.is_none());
            // The last fragment is short enough to have been padded to Ethernet's least length.
            let (offset, length, more) = [(0, 1_480, true), (1_480, 1_480, true), (2_960, 5, false)][part];
            let mut frame = v4(&pool, 7, offset, length, more);
            if length == 5 {
                frame.append(21).unwrap().fill(0xee);
            }
            whole = account.push(frame, 0);
        }
        let octets = contents(&whole.unwrap());
        let (l2, ip) = octets.split_at(usize::from(L2));
        assert_eq!(l2, ETHERNET);
        assert_eq!(ip[..10], [0x45, 0, 0x0b, 0xa9, 0, 7, 0, 0, 64, 50], "2,985 octets, no fragment");
        assert_eq!(ip[20..], counting(2_965).collect::<Vec<_>>());
        let sum: u32 = ip[..20].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "RFC 1071");
    }
    assert_eq!((account.table.held(), account.dead), (0, 0));
}

#[test]
fn ipv6_fragments_become_the_datagram_without_the_fragment_header() {
    let mut account = Account::new(16);
    let pool = account.pool.clone();
    for hop in [false, true] {
        assert!(account.push(v6(&pool, 9, 1_232, 100, false, hop), 0).is_none());
        let whole = account.push(v6(&pool, 9, 0, 1_232, true, hop), 0).unwrap();
        let octets = contents(&whole);
        let (l2, ip) = octets.split_at(usize::from(L2));
        assert_eq!(l2, ETHERNET);
        let extensions: &[u8] = if hop { &[50, 0, 1, 4, 0, 0, 0, 0] } else { &[] };
        assert_eq!(usize::from(u16::from_be_bytes([ip[4], ip[5]])), extensions.len() + 1_332);
        assert_eq!(ip[6], if hop { 0 } else { 50 });
        assert_eq!(ip[8..40], [[0x20; 16], [0xfd; 16]].concat());
        assert_eq!(&ip[40..40 + extensions.len()], extensions);
        assert_eq!(ip[40 + extensions.len()..], counting(1_332).collect::<Vec<_>>());
    }
}

#[test]
fn datagrams_are_told_apart_by_identification_and_protocol() {
    let mut account = Account::new(16);
    let pool = account.pool.clone();
    assert!(account.push(v4(&pool, 1, 0, 800, true), 0).is_none());
    assert!(account.push(v4(&pool, 2, 800, 100, false), 0).is_none());
    assert!(account.push(v6(&pool, 1, 800, 100, false, false), 0).is_none());
    assert_eq!(account.table.held(), 3);
    assert_eq!(account.push(v4(&pool, 1, 800, 50, false), 0).unwrap().pkt_len(), 18 + 20 + 850);

    let mut other = v4(&pool, 2, 0, 800, true);
    other.data_mut()[18 + 9] = 17;
    assert!(account.push(other, 0).is_none(), "UDP does not complete ESP");
    assert_eq!(account.dead, 2);
}

#[test]
fn a_repeated_fragment_never_yields_a_datagram_of_other_octets() {
    let mut account = Account::new(16);
    let pool = account.pool.clone();
    // First and last: the datagram dies at once.
    account.push(v4(&pool, 1, 0, 800, true), 0);
    assert!(account.push(v4(&pool, 1, 0, 800, true), 0).is_none());
    assert_eq!((account.table.held(), account.dead), (0, 2));
    // In between: when it would have been complete.
    for (offset, more) in [(0, true), (800, true), (800, true), (1_600, false)] {
        assert!(account.push(v4(&pool, 2, offset, 800, more), 0).is_none());
    }
    assert_eq!((account.table.held(), account.dead), (0, 6));
}

#[test]
fn overlapping_fragments_are_never_put_together() {
    let mut account = Account::new(16);
    let pool = account.pool.clone();
    for (offset, length, more) in [(0, 800, true), (400, 800, true), (1_600, 400, false)] {
        assert!(account.push(v4(&pool, 1, offset, length, more), 0).is_none());
        assert!(account.push(v6(&pool, 1, offset, length, more, false), 0).is_none());
    }
    assert_eq!((account.table.held(), account.dead), (0, 6), "the lengths add up, the places do not");
}

#[test]
fn a_datagram_of_more_fragments_than_the_library_holds_dies() {
    let mut account = Account::new(16);
    let pool = account.pool.clone();
    let mut whole = None;
    for part in 0..MAX_FRAGMENTS {
        whole = account.push(v4(&pool, 1, part * 80, 80, part + 1 < MAX_FRAGMENTS), 0);
    }
    assert_eq!(whole.unwrap().segments(), MAX_FRAGMENTS);
    for part in 0..=MAX_FRAGMENTS {
        assert!(account.push(v4(&pool, 2, part * 80, 80, part < MAX_FRAGMENTS), 0).is_none());
    }
    // The library notices with the last but one, which has no place left; the last starts afresh.
    assert_eq!((account.table.held(), account.dead), (1, MAX_FRAGMENTS as u64));
}

#[test]
fn what_is_too_old_dies() {
    let mut account = Account::new(16);
    let pool = account.pool.clone();
    let second = cycles_hz();
    account.push(v4(&pool, 1, 0, 800, true), 0);
    account.push(v6(&pool, 1, 0, 800, true, false), second / 2);
    account.table.expire(second / 1_000 * 1_000, |_| {});
    assert_eq!(account.table.held(), 2, "a second is not more than a second");
    account.table.expire(second + 1, |_| {});
    account.check(0);
    assert_eq!((account.table.held(), account.dead), (1, 1));
    // Without being told: when its next fragment comes.
    assert!(account.push(v6(&pool, 1, 800, 100, false, false), 2 * second).is_none());
    assert_eq!((account.table.held(), account.dead), (1, 2));
}

#[test]
fn a_full_table_takes_no_new_datagram_until_one_is_too_old() {
    let mut account = Account::new(16);
    let pool = account.pool.clone();
    let second = cycles_hz();
    for id in 0..16 {
        account.push(v4(&pool, id, 0, 80, true), 0);
    }
    assert_eq!(account.table.held(), 16);
    account.push(v4(&pool, 99, 0, 80, true), 1);
    assert_eq!((account.table.held(), account.dead), (16, 1));
    assert!(account.push(v4(&pool, 3, 80, 8, false), 2).is_some(), "those that are in can complete");
    account.push(v4(&pool, 98, 0, 80, true), 3);
    assert_eq!((account.table.held(), account.dead), (16, 1));
    account.push(v4(&pool, 97, 0, 80, true), 2 * second);
    assert_eq!((account.table.held(), account.dead), (16, 2), "the oldest gave way");
}

#[test]
fn what_is_no_valid_fragment_comes_back() {
    let (mut table, pool) = (table(16), pool());
    let mut refused = |frame: Mbuf, is_v4: bool, l2: u16| {
        let before = contents(&frame);
        let result = if is_v4 { table.push_v4(frame, l2, 0) } else { table.push_v6(frame, l2, 0) };
        let Reassembly::Refused(frame) = result else { panic!("{result:?}") };
        assert_eq!((contents(&frame), table.held()), (before, 0));
    };
    let change = |mut frame: Mbuf, at: usize, value: u8| {
        frame.data_mut()[at] = value;
        frame
    };
    refused(v4(&pool, 1, 0, 100, false), true, L2);
    refused(v4(&pool, 1, 0, 0, true), true, L2);
    refused(v4(&pool, 1, 65_528, 8, false), true, L2);
    for (at, value) in [(18, 0x44), (18, 0x4f), (18, 0x65), (20, 0xff)] {
        let frame = change(v4(&pool, 1, 0, 16, true), at, value);
        refused(frame, true, L2);
    }
    refused(v4(&pool, 1, 0, 100, true), true, 200);
    refused(v4(&pool, 1, 0, 100, true), true, 120);
    refused(v6(&pool, 1, 0, 100, false, false), false, L2);
    refused(v6(&pool, 1, 0, 0, true, false), false, L2);
    refused(v6(&pool, 1, 65_528, 8, false, false), false, L2);
    for (at, value) in [(18, 0x45), (24, 6), (24, 0), (22, 0xff), (23, 7), (23, 0)] {
        refused(change(v6(&pool, 1, 0, 16, true, false), at, value), false, L2);
    }
    let mut segmented = v4(&pool, 1, 0, 100, true);
    segmented.chain(Mbuf::copy_from(&pool, b"more").unwrap()).unwrap();
    refused(segmented, true, L2);
    refused(Mbuf::alloc(&pool).unwrap(), true, 0);
    refused(Mbuf::alloc(&pool).unwrap(), false, 0);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_dropped_table_gives_its_fragments_back() {
    let mut account = Account::new(4);
    let pool = account.pool.clone();
    account.push(v4(&pool, 1, 0, 80, true), 0);
    account.push(v6(&pool, 1, 80, 80, true, true), 0);
    assert_eq!(pool.in_use(), 2);
    drop(account);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn what_was_split_is_put_together() {
    let mut account = Account::new(16);
    let pool = account.pool.clone();
    let source = Mempool::new("source", 15, 0, 9_100, None).unwrap();
    let mut frame = v4(&source, 5, 0, 7_000, false);
    assert!(frame.trim_front(L2.into()));
    let mut octets = contents(&frame);
    let mut out = ArrayVec::<Mbuf, 8>::new();
    assert_eq!(fragment_ipv4(&frame, 1_500, &pool, &mut out), Ok(5));
    let mut whole = None;
    for mut fragment in out {
        fragment.prepend(18).unwrap().copy_from_slice(&ETHERNET);
        whole = push_uncounted(&mut account.table, fragment, true);
    }
    let mut again = contents(&whole.unwrap());
    // The test's own packet has no checksum.
    again[18 + 10..18 + 12].fill(0);
    assert_eq!(again[18..], octets);

    let mut v6_packet = v6(&source, 5, 0, 5_000, false, true);
    assert!(v6_packet.trim_front(L2.into()));
    octets = contents(&v6_packet);
    let mut out = ArrayVec::<Mbuf, 8>::new();
    // Its own fragment header (an atomic one) is data here: the new one goes before it.
    fragment_ipv6(&v6_packet, 48, 40, 77, 1_280, &pool, &mut out).unwrap();
    let mut whole = None;
    for mut fragment in out {
        fragment.prepend(18).unwrap().copy_from_slice(&ETHERNET);
        whole = push_uncounted(&mut account.table, fragment, false);
    }
    assert_eq!(contents(&whole.unwrap())[18..], octets);
}

fn push_uncounted(table: &mut Reassembler, frame: Mbuf, is_v4: bool) -> Option<Mbuf> {
    match if is_v4 { table.push_v4(frame, L2, 0) } else { table.push_v6(frame, L2, 0) } {
        Reassembly::Done(datagram) => Some(datagram),
        Reassembly::Held => None,
        Reassembly::Refused(_) => panic!("refused"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Few datagrams, places and times, so that every kind of conflict happens.
    #[test]
    fn whatever_is_pushed_every_fragment_is_accounted_for(
        pushes in prop::collection::vec(
            (0..6u16, 0..12usize, 1..4usize, any::<bool>(), any::<bool>(), 0..1_200u64), 1..150),
    ) {
        let mut account = Account::new(4);
        let pool = account.pool.clone();
        let mut now = 0;
        for (id, place, eighths, more, is_v4, later_ms) in pushes {
            now += later_ms * cycles_hz() / 20_000;
            let more = more || place == 0;
            let (offset, length) = (place * 8, if more { eighths * 8 } else { eighths * 8 - 3 });
            let frame = if is_v4 {
                v4(&pool, id, offset, length, more)
            } else {
                v6(&pool, id.into(), offset, length, more, id % 2 == 0)
            };
            if let Some(datagram) = account.push(frame, now) {
                let data = contents(&datagram);
                let headers = 18 + if is_v4 { 20 } else { 40 + usize::from(id % 2 == 0) * 8 };
                prop_assert_eq!(&data[headers..], counting(data.len() - headers).collect::<Vec<_>>());
            }
            if later_ms % 7 == 0 {
                account.table.expire(now, |_| {});
                account.check(0);
            }
        }
    }
}
