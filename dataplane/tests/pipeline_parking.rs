//! Packets with an unknown SPI wait for their SA, come out in order when it comes, and have a reason of their
//! own when it does not. What cannot become an SA does not wait.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

mod common;

use std::time::Duration;

use common::*;
use dpdk::cycles_hz;
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{
    DropReason, Mode, ParkingLimits, PolicyState, ReplayPolicy, SaParams, SpiKey, SpiTest,
};

const SPI: u32 = 0x0001_0001;
const OTHER: u32 = 0x0002_0002;

fn sa(spi: u32) -> SaParams {
    params(spi, Transform::Aes128Gcm, Mode::Tunnel)
}

/// Decisions with these SAs, where any other SPI may become one.
fn asking(sas: &[SaParams]) -> PolicyState {
    PolicyState { spi_test: SpiTest::new([], true), ..state(sas) }
}

fn numbered(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|n| udp4(&n.to_be_bytes())).collect()
}

fn sealed(params: &SaParams, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    Member::new(&state(std::slice::from_ref(params)), 1500).lan_in(frames).wan
}

#[test]
fn packets_wait_for_their_sa_and_come_out_in_order_through_replay_and_counters() {
    let mut windowed = sa(SPI);
    windowed.replay = ReplayPolicy::Counter { window: 256 };
    let frames = numbered(150);
    let mut wan = sealed(&windowed, &frames);
    wan.insert(40, wan[30].clone());
    let mut b = Member::new(&asking(&[]), 1500);
    assert_eq!(b.wan_in(&wan), Out::default());
    assert_eq!((b.tally.parked, b.tally.dropped(), b.tally.punts), (151, 0, 1));
    let installed = asking(&[windowed]);
    b.publish(&installed);
    let mut lan = Vec::new();
    while b.tally.parked > 0 {
        lan.extend(b.wan_in(&[]).lan);
    }
    assert_eq!(lan, frames);
    assert_eq!((b.tally.released, b.tally.decrypted, b.drops(DropReason::ReplayDuplicate)), (151, 150, 1));
    let opened = installed.sas[0].sa.opened();
    assert_eq!((opened.packets, opened.errors), (150, 1));
    assert_eq!(b.buffers_in_use(), 0);
}

#[test]
fn an_sa_that_is_missing_again_is_told_again_at_once() {
    let wan = sealed(&sa(SPI), &numbered(30));
    let mut b = Member::new(&asking(&[]), 1500);
    for chunk in wan.chunks(10) {
        b.wan_in(chunk);
        assert_eq!(b.punts.drain().count(), 1);
        b.publish(&asking(&[sa(SPI)]));
        assert_eq!(b.wan_in(&[]).lan.len(), 10);
        b.publish(&asking(&[]));
    }
}

#[test]
fn later_packets_of_the_same_spi_stay_behind_and_others_do_not_wait() {
    let frames = numbered(400);
    let wan = sealed(&sa(SPI), &frames);
    let others: Vec<_> = (1000..1200_u32).map(|n| udp4(&n.to_be_bytes())).collect();
    let mut b = Member::new(&asking(&[sa(OTHER)]), 1500);
    b.wan_in(&wan[..200]);
    b.publish(&asking(&[sa(SPI), sa(OTHER)]));
    let other_wan = sealed(&sa(OTHER), &others);
    let mut order = Vec::new();
    let mut good = 0;
    for (mine, theirs) in wan[200..].chunks(16).zip(other_wan.chunks(16)) {
        let mixed: Vec<_> = mine.iter().zip(theirs).flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
        let out = b.wan_in(&mixed).lan;
        good += out.iter().filter(|f| !frames.contains(f)).count();
        order.extend(out.into_iter().filter(|f| frames.contains(f)));
        assert_eq!(good, (b.tally.rx as usize - 200) / 2, "what needs not wait does not");
    }
    while b.tally.parked > 0 {
        order.extend(b.wan_in(&[]).lan);
    }
    assert!(order == frames);
}

#[test]
fn packets_whose_sa_does_not_come_are_dropped_with_their_own_reason() {
    let limits = ParkingLimits { packets: 64, age: Duration::from_millis(500), ..Default::default() };
    let mut b = Member::with_parking(&asking(&[]), 1500, limits);
    let wan = sealed(&sa(SPI), &numbered(70));
    b.wan_in(&wan);
    assert_eq!((b.tally.parked, b.drops(DropReason::ParkingFull)), (64, 6));
    b.now += cycles_hz() / 2 - 1;
    b.expire();
    assert_eq!(b.tally.parked, 64);
    b.now += 1;
    b.expire();
    assert_eq!((b.tally.parked, b.drops(DropReason::ParkingTimeout)), (0, 64));
    assert_eq!(b.buffers_in_use(), 0);
    // There is room again.
    b.wan_in(&wan[..10]);
    assert_eq!(b.tally.parked, 10);
    b.drain();
    assert_eq!((b.tally.parked, b.drops(DropReason::Shutdown), b.buffers_in_use()), (0, 10, 0));
}

#[test]
fn with_limits_of_nothing_or_without_key_servers_no_packet_waits() {
    let wan = sealed(&sa(SPI), &numbered(40));
    let mut off = Member::with_parking(&asking(&[]), 1500, ParkingLimits::OFF);
    off.wan_in(&wan);
    assert_eq!((off.tally.parked, off.drops(DropReason::UnknownSpi)), (0, 40));
    let mut manual = Member::new(&state(&[]), 1500);
    manual.wan_in(&wan);
    assert_eq!((manual.tally.parked, manual.drops(DropReason::UnknownSpi)), (0, 40));
    assert_eq!((manual.tally.punts, manual.tally.implausible), (1, 40));
}

#[test]
fn where_spis_are_marked_only_those_with_a_right_mark_wait() {
    let key = SpiKey::new(b"sixteen octets!!");
    let marked = key.spi(7).unwrap();
    let test = PolicyState { spi_test: SpiTest::new([key], false), ..state(&[]) };
    let mut b = Member::new(&test, 1500);
    let frames = numbered(3);
    b.wan_in(&sealed(&sa(marked ^ 1), &frames));
    assert_eq!((b.tally.parked, b.tally.implausible, b.tally.punts), (0, 3, 1));
    b.wan_in(&sealed(&sa(marked), &frames));
    assert_eq!((b.tally.parked, b.tally.implausible, b.tally.punts), (3, 3, 2));
    b.publish(&asking(&[sa(marked)]));
    assert_eq!(b.wan_in(&[]).lan, frames);
}

#[test]
fn what_the_key_server_does_not_know_takes_nobodys_room() {
    let key = SpiKey::new(b"sixteen octets!!");
    let [vain, real] = [7, 8].map(|number| key.spi(number).unwrap());
    let spi_test = SpiTest::new([key], false);
    let told = PolicyState { spi_test: spi_test.clone().with_fruitless([vain, 1]), ..state(&[]) };
    let mut b = Member::new(&told, 1500);
    let frames = numbered(40);
    b.wan_in(&sealed(&sa(vain), &frames));
    assert_eq!((b.tally.parked, b.drops(DropReason::UnknownSpi)), (0, 40));
    assert_eq!(b.punts.drain().count(), 1, "it is told nevertheless");
    b.wan_in(&sealed(&sa(real), &frames));
    assert_eq!(b.tally.parked, 40);
    // After a while it may be asked for again.
    b.publish(&PolicyState { spi_test, ..state(&[]) });
    b.wan_in(&sealed(&sa(vain), &frames));
    assert_eq!(b.tally.parked, 80);
    b.drain();
    assert_eq!(b.buffers_in_use(), 0);
}

#[test]
fn a_flood_of_random_spis_leaves_room_for_a_real_one_and_the_control_thread_hears_of_it() {
    for key in [None, Some(SpiKey::new(b"sixteen octets!!"))] {
        let real = key.as_ref().map_or(SPI, |key| key.spi(1).unwrap());
        let others = key.is_none();
        let test = PolicyState { spi_test: SpiTest::new(key, others), ..state(&[]) };
        let mut b = Member::new(&test, 1500);
        let template = sealed(&sa(OTHER), &numbered(1)).remove(0);
        let mut frames = Vec::new();
        for n in 0..20_000_u32 {
            let mut forged = template.clone();
            forged[spi_at(&template)..][..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b9).to_be_bytes());
            frames.push(forged);
        }
        b.wan_in(&frames);
        assert!(b.tally.parked < 60, "{}", b.tally.parked);
        let told = b.punts.drain().count();
        assert!(told < 60, "{told}");
        let real_frames = numbered(40);
        let real_wan = sealed(&sa(real), &real_frames);
        for (chunk, packet) in frames.chunks(31).zip(&real_wan) {
            b.wan_in(&[chunk, std::slice::from_ref(packet)].concat());
        }
        assert!(b.punts.drain().any(|punt| punt.spi == real));
        b.publish(&PolicyState { spi_test: test.spi_test, ..state(&[sa(real)]) });
        let lan = b.wan_in(&[]).lan;
        // Without a key its first packet looks like all the others, and may be forgotten among them.
        assert!(real_frames.ends_with(&lan) && lan.len() >= if others { 30 } else { 40 }, "{}", lan.len());
        b.drain();
        assert_eq!(b.buffers_in_use(), 0);
    }
}

#[test]
fn reassembled_datagrams_wait_with_the_frames_that_they_stand_for_and_never_take_all_large_buffers() {
    let frames: Vec<_> = (0..20)
        .map(|n: u16| with_ipv4(&udp4(&payload(3000)), |ip| ip[4..6].copy_from_slice(&n.to_be_bytes())))
        .collect();
    let wan = Member::new(&state(&[sa(SPI)]), 9000).lan_in(&frames).wan;
    let mut b = Member::new(&asking(&[]), 9000);
    for (n, frame) in wan.iter().enumerate() {
        let identified = with_ipv4(frame, |ip| ip[4..6].copy_from_slice(&(n as u16).to_be_bytes()));
        b.wan_in(&cut4(&identified, 1200));
    }
    // Four may wait in large buffers.
    assert_eq!(b.tally.parked, 12);
    assert_eq!(b.drops(DropReason::ParkingFull), 48);
    b.publish(&asking(&[sa(SPI)]));
    assert_eq!(b.wan_in(&[]).lan, frames[..4]);
    assert_eq!((b.tally.released, b.tally.decrypted, b.buffers_in_use()), (12, 12, 0));
}
