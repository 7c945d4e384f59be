//! A probe's budget for looking: it bounds how many packets are looked at, the rest is counted, and what is
//! followed until it has to wait is followed to its end, without being taken for what goes by beside it.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

mod common;

use common::*;
use dpdk::cycles_hz;
use getvpn_dataplane::probe::{Budget, Decision, Heading, Outgoing, Point, ProbeFilter, ProbeSpec};
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{DropReason, Mode, PolicyState, SpiTest};

const SPI: u32 = 0x0001_0001;

fn plain(mode: Mode) -> PolicyState {
    state(&[params(SPI, Transform::Aes128Gcm, mode)])
}

/// A member with a probe that may look at so many packets a millisecond, and tell all of them.
fn watching(state: &PolicyState, looks: u32, filter: ProbeFilter) -> Member {
    let mut member = Member::new(state, 1500);
    let budget = Budget { looks, events: u32::MAX, octets: u32::MAX };
    member.probe.start(&ProbeSpec { filter, snaplen: 64, budget });
    member
}

fn next_millisecond(member: &mut Member) {
    member.now += cycles_hz() / 1000;
}

/// So many packets as another member seals them.
fn sealed(count: usize) -> Vec<Vec<u8>> {
    Member::new(&plain(Mode::Tunnel), 1500).lan_in(&vec![udp4(b"x"); count]).wan
}

#[test]
fn no_more_packets_are_looked_at_than_the_budget_says_and_the_others_are_counted() {
    let any = ProbeFilter::default();
    let out = ProbeFilter { heading: Some(Heading::Out), ..any };
    let nobody = ProbeFilter { host: Some("10.0.0.77".parse().unwrap()), ..any };
    // Of a filter that is for one way the other needs no share.
    for (filter, looked_at, matching) in [(any, 64, true), (out, 128, true), (nobody, 64, false)] {
        let mut a = watching(&plain(Mode::Tunnel), 128, filter);
        for millisecond in 1..=3 {
            a.lan_in(&vec![udp4(b"x"); 320]);
            let counts = a.probe.counts();
            assert_eq!(counts.not_looked_at, millisecond * (320 - looked_at), "{filter:?}");
            assert_eq!(counts.matched, if matching { millisecond * looked_at } else { 0 }, "{filter:?}");
            assert_eq!(told(&mut a).len() as u64, if matching { 2 * looked_at } else { 0 }, "{filter:?}");
            assert_eq!((counts.skipped, a.tally.encrypted), (0, millisecond * 320));
            next_millisecond(&mut a);
        }
    }
    // What is of another way costs none of it, and is not missed.
    let incoming = ProbeFilter { heading: Some(Heading::In), ..any };
    let mut a = watching(&plain(Mode::Tunnel), 32, incoming);
    a.lan_in(&vec![udp4(b"x"); 320]);
    assert_eq!((told(&mut a), a.probe.counts().not_looked_at), (vec![], 0));
}

#[test]
fn of_what_is_looked_for_by_its_drop_only_drops_cost() {
    let good = sealed(1).remove(0);
    let spi_at = good.windows(4).position(|octets| octets == SPI.to_be_bytes()).unwrap();
    let mut unknown = good.clone();
    unknown[spi_at] ^= 0x40;
    let filter = ProbeFilter { drop: Some(DropReason::UnknownSpi), ..ProbeFilter::default() };
    let mut b = watching(&plain(Mode::Tunnel), 64, filter);
    b.wan_in(&vec![good.clone(); 3200]);
    b.wan_in(&[unknown.clone(), good]);
    assert_eq!(points(&told(&mut b)), [Point::Dropped(DropReason::UnknownSpi)]);
    assert_eq!(b.probe.counts().not_looked_at, 0);
    b.wan_in(&vec![unknown; 320]);
    // 31 were left of it; a burst that has begun is gone through.
    assert_eq!(told(&mut b).len(), 32);
    assert_eq!(b.probe.counts().not_looked_at, 320 - 32);

    // Of this one it is known only after it was opened in place, so each that is opened costs.
    let filter = ProbeFilter { drop: Some(DropReason::Authentication), ..ProbeFilter::default() };
    let mut forged = sealed(1).remove(0);
    *forged.last_mut().unwrap() ^= 1;
    let mut b = watching(&plain(Mode::Tunnel), 64, filter);
    b.wan_in(&vec![forged.clone(); 320]);
    let events = told(&mut b);
    assert!(events.iter().all(|event| forged.starts_with(&event.octets) && event.octets.len() == 64));
    assert_eq!((events.len(), b.probe.counts().not_looked_at), (64, 320 - 64));
    assert_eq!(b.drops(DropReason::Authentication), 320);
}

#[test]
fn what_waits_beyond_the_budget_is_not_taken_for_what_was_in_its_buffer_before() {
    let asking = |state: PolicyState| PolicyState { spi_test: SpiTest::new([], true), ..state };
    let unknown = sealed(3);
    let known = params(SPI + 1, Transform::Aes128Gcm, Mode::Tunnel);
    let good = Member::new(&state(std::slice::from_ref(&known)), 1500).lan_in(&[udp4(b"x")]).wan.remove(0);
    let mut b = watching(&asking(state(std::slice::from_ref(&known))), 2, ProbeFilter::default());
    // Each buffer that there is has held a packet that was followed.
    for _ in 0..64 {
        b.wan_in(&vec![good.clone(); 32]);
        assert_eq!(told(&mut b).len(), 64);
        next_millisecond(&mut b);
    }
    // One waits that is looked at, and two more.
    b.wan_in(&unknown[..1]);
    let waiting = told(&mut b);
    assert_eq!(points(&waiting), [Point::Arrived(Decision::UnknownSpi), Point::Parked]);
    b.wan_in(&unknown[1..]);
    assert_eq!((told(&mut b), b.tally.parked), (vec![], 3));
    assert_eq!(b.probe.counts().not_looked_at, 2);
    b.publish(&asking(state(&[known, params(SPI, Transform::Aes128Gcm, Mode::Tunnel)])));
    // They go on beside others that there is no budget for.
    while b.tally.parked > 0 {
        b.wan_in(std::slice::from_ref(&good));
    }
    let events = told(&mut b);
    let of_the_first: Vec<_> = events.iter().filter(|e| e.packet == waiting[0].packet).cloned().collect();
    assert_eq!(points(&of_the_first), [Point::Released, Point::Sent(Outgoing::Decrypted)]);
    let others: Vec<_> = events.iter().filter(|e| e.packet != waiting[0].packet).cloned().collect();
    assert_eq!(points(&others), [Point::Arrived(Decision::KnownSpi), Point::Sent(Outgoing::Decrypted)]);
    assert_eq!(b.tally.decrypted, 64 * 32 + 4);
}

#[test]
fn a_datagram_whose_first_fragment_was_looked_at_is_followed_when_the_last_comes_beyond_the_budget() {
    // With what is in its buffers at first, and after each has held a packet that was followed.
    for bursts in [0, 64] {
        let mut a = watching(&plain(Mode::Transport), 2, ProbeFilter::default());
        for _ in 0..bursts {
            a.lan_in(&vec![udp4(b"x"); 32]);
            told(&mut a);
            next_millisecond(&mut a);
        }
        let pieces = cut4(&udp4(&payload(1200)), 800);
        a.lan_in(&pieces[..1]);
        let first = told(&mut a);
        assert_eq!(points(&first), [Point::Arrived(Decision::Protect), Point::Held]);
        let mut rest = vec![udp4(b"x"); 20];
        rest.insert(10, pieces[1].clone());
        a.lan_in(&rest);
        let then = told(&mut a);
        assert_eq!(points(&then), [Point::Sent(Outgoing::Encrypted)]);
        assert_eq!((then[0].packet, then[0].frames), (first[0].packet, 2));
        assert_eq!((a.probe.counts().not_looked_at, a.tally.encrypted), (21, bursts * 32 + 22));
    }
}

#[test]
fn what_is_dropped_after_it_has_waited_is_told() {
    let asking = PolicyState { spi_test: SpiTest::new([], true), ..state(&[]) };
    for (reason, stays, heading) in [
        (DropReason::ParkingTimeout, asking, Heading::In),
        (DropReason::ReassemblyTimeout, plain(Mode::Transport), Heading::Out),
    ] {
        for filter in [
            ProbeFilter { drop: Some(reason), ..ProbeFilter::default() },
            ProbeFilter { heading: Some(heading), ..ProbeFilter::default() },
        ] {
            let mut member = watching(&stays, 64, filter);
            match heading {
                Heading::In => member.wan_in(&sealed(1)),
                Heading::Out => member.lan_in(&cut4(&udp4(&payload(1200)), 800)[..1]),
            };
            member.now += 10 * cycles_hz();
            member.expire();
            let events = told(&mut member);
            let last = events.last().unwrap();
            assert_eq!((last.point, member.drops(reason)), (Point::Dropped(reason), 1));
            assert_eq!(events.len(), if filter.drop.is_some() { 1 } else { 3 });
        }
    }
}
