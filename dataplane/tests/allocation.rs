//! A worker never allocates: every way that a packet can take runs under a counting allocator. What DPDK
//! does in C is not counted; `perf/no-syscalls` shows that it asks the kernel for nothing either.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

mod common;

use common::*;
use getvpn_dataplane::probe::{Budget, ProbeFilter, ProbeSpec};
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{
    DropReason, LocalAction, LocalRule, Mode, PolicyState, ReplayPolicy, Selector, SpiTest,
};

/// Bursts on each way.
const BURSTS: usize = 64;

/// Somebody captures everything: what a worker does then is more than what it does otherwise.
fn member(state: &PolicyState) -> Member {
    let mut member = Member::new(state, 1500);
    let budget = Budget { looks: u32::MAX, events: 1 << 20, octets: u32::MAX };
    member.probe.start(&ProbeSpec { filter: ProbeFilter::default(), snaplen: u16::MAX, budget });
    member.watch = |work| {
        let seen = allocation_counter::measure(work);
        assert_eq!((seen.count_total, seen.bytes_total), (0, 0), "a worker has allocated");
    };
    member
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocation_counter::measure(|| drop(std::hint::black_box(vec![0_u8; 9]))).bytes_total, 9);
}

#[test]
fn every_transform_seals_and_opens_without_allocating() {
    for &transform in Transform::ALL {
        for mode in [Mode::Tunnel, Mode::Transport] {
            for replay in [ReplayPolicy::None, ReplayPolicy::Counter { window: 64 }] {
                let mut params = params(0x1001, transform, mode);
                params.replay = replay;
                let state = state(&[params]);
                let (mut a, mut b) = (member(&state), member(&state));
                let sizes = (0..BURSTS).map(|n| n * 20);
                let frames: Vec<_> = sizes.flat_map(|n| [udp4(&payload(n)), udp6(&payload(n))]).collect();
                let sealed = a.lan_in(&frames).wan;
                assert_eq!(b.wan_in(&sealed).lan, frames);
                b.wan_in(&sealed);
                let again = if replay == ReplayPolicy::None { frames.len() as u64 } else { 0 };
                assert_eq!(b.tally.decrypted, frames.len() as u64 + again);
            }
        }
    }
}

#[test]
fn windows_of_many_senders_move_without_allocating() {
    let with_sid = |sid| {
        let mut params = params(0x1001, Transform::Aes128Gcm, Mode::Tunnel);
        params.sid = sid;
        params.replay = ReplayPolicy::Sender { window: 128, max_senders: 8 };
        state(&[params])
    };
    let mut b = member(&with_sid(0));
    for sid in 0..10 {
        let sealed = member(&with_sid(sid)).lan_in(&vec![udp4(b"x"); 100]).wan;
        b.wan_in(&sealed);
    }
    assert_eq!((b.tally.decrypted, b.drops(DropReason::ReplaySenders)), (800, 200));
}

#[test]
fn what_is_refused_is_dropped_without_allocating() {
    let everything = Selector::between(prefix("0.0.0.0/0"), prefix("192.0.2.0/24"));
    let mut state = state(&[params(0x1001, Transform::Aes128Gcm, Mode::Tunnel)]);
    state.local.push(LocalRule { selector: everything, action: LocalAction::Bypass });
    let mut a = member(&state);
    let sealed = a.lan_in(&[udp4(b"payload")]).wan.remove(0);
    for n in 0..BURSTS * dpdk::BURST {
        let mut frame = sealed.clone();
        match n % 4 {
            // Another SPI each time, as in a flood.
            0 => frame[spi_at(&sealed)..][..4].copy_from_slice(&(0x8000_0000 | n as u32).to_be_bytes()),
            // Not authentic.
            1 => *frame.last_mut().unwrap() ^= 1,
            // Cleartext that should be encrypted.
            2 => frame = udp4(b"cleartext"),
            // Cut off anywhere.
            _ => frame.truncate(n / 4 % frame.len()),
        }
        a.wan_in(&[frame]);
    }
    for reason in [DropReason::UnknownSpi, DropReason::Authentication, DropReason::Cleartext] {
        assert_eq!(a.drops(reason), (BURSTS * dpdk::BURST / 4) as u64);
    }
}

#[test]
fn packets_wait_and_go_on_without_allocating() {
    const SAS: u32 = 8;
    let all: Vec<_> = (0..SAS).map(|n| params(0x1001 + n, Transform::Aes128Gcm, Mode::Tunnel)).collect();
    let asking = |sas: &[_]| PolicyState { spi_test: SpiTest::new([], true), ..state(sas) };
    let sealed: Vec<_> = all
        .iter()
        .flat_map(|sa| member(&state(std::slice::from_ref(sa))).lan_in(&vec![udp4(b"x"); 40]).wan)
        .collect();
    let mut b = member(&asking(&[]));
    for round in 0..SAS as usize {
        b.wan_in(&sealed);
        b.publish(&asking(&all[round..]));
        for _ in 0..BURSTS {
            b.wan_in(&[]);
        }
        b.publish(&asking(&[]));
        b.now += dpdk::cycles_hz() * 2;
        b.expire();
        assert_eq!(b.tally.parked, 0);
    }
    for reason in [DropReason::ParkingFull, DropReason::ParkingTimeout] {
        assert!(b.drops(reason) > 0, "{reason:?}");
    }
    assert!(b.tally.released > 0 && b.tally.decrypted == b.tally.released, "{:?}", b.tally);
    assert!(b.probe.counts().matched > 0);
}

#[test]
fn fragments_chains_and_icmp_errors_cost_no_allocation() {
    for mode in [Mode::Tunnel, Mode::Transport] {
        let state = state(&[params(0x1001, Transform::Aes128Gcm, mode)]);
        let (mut a, mut b) = (member(&state), member(&state));
        (a.segment, b.segment) = (700, 500);
        let mut answered = 0;
        for n in 0..BURSTS {
            // One that is answered, one that is fragmented before or after encryption, one that comes in
            // fragments, and one whose ESP does.
            let identified = |ip: &mut [u8]| ip[4..6].copy_from_slice(&(n as u16).to_be_bytes());
            let big = with_ipv4(&udp4(&payload(1472)), identified);
            let fits = with_ipv4(&udp4(&payload(1000)), identified);
            let mut frames = vec![dont_fragment(&big), udp6(&payload(1452)), big.clone(), fits];
            frames.extend(cut4(&big, 800));
            let out = a.lan_in(&frames);
            answered += out.lan.len();
            let pieces: Vec<_> = out.wan.iter().flat_map(|frame| cut4(frame, 600)).collect();
            b.wan_in(&pieces);
        }
        assert!(answered > 0 && a.tally.fragments > 0 && a.tally.encrypted > 0, "{:?}", a.tally);
        assert!(b.tally.decrypted > 0, "{:?}", b.tally);
    }
}
