//! Whoever had a packet dropped last is shown, for each reason: where it came from, what it was.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

mod common;

use std::net::Ipv4Addr;

use common::*;
use getvpn_dataplane::offender::{Offender, Seen, Upper};
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{DropReason, Mode, Origin, ParkingLimits, ReplayPolicy, SaParams};

const SPI: u32 = 0x0001_0001;

fn guarded() -> SaParams {
    SaParams {
        replay: ReplayPolicy::Counter { window: 64 },
        ..params(SPI, Transform::Aes128Gcm, Mode::Tunnel)
    }
}

fn last(member: &Member, reason: DropReason) -> Offender {
    let board = member.offenders.board();
    let shown = board.read().find(|(shown, _)| *shown == reason);
    shown.unwrap_or_else(|| panic!("nobody is shown for {}", reason.name())).1
}

fn upper(offender: &Offender) -> Upper {
    match offender.seen {
        Seen::Packet { upper, .. } => upper,
        other => panic!("{other:?}"),
    }
}

#[test]
fn esp_is_shown_with_its_spi_and_sequence_number() {
    let state = state(&[guarded()]);
    let mut a = Member::new(&state, 1500);
    let mut b = Member::with_parking(&state, 1500, ParkingLimits::OFF);
    let sealed = a.lan_in(&[udp4(b"one"), udp4(b"two")]).wan;
    b.wan_in(&sealed);
    let mut forged = sealed[1].clone();
    *forged.last_mut().unwrap() ^= 1;
    forged[spi_at(&sealed[1]) + 7] = 200;
    let mut stranger = sealed[1].clone();
    stranger[spi_at(&sealed[1])] = 0x77;
    b.wan_in(&[sealed[1].clone(), forged, stranger]);
    for (reason, spi, seq) in [
        (DropReason::ReplayDuplicate, SPI, 2),
        (DropReason::Authentication, SPI, 200),
        (DropReason::UnknownSpi, 0x7701_0001, 2),
    ] {
        let offender = last(&b, reason);
        assert_eq!(upper(&offender), Upper::Esp { spi, seq }, "{}", reason.name());
        assert_eq!((offender.origin, offender.link, offender.at), (Origin::Wan, 0, b.now));
        assert_eq!(usize::from(offender.octets), sealed[1].len());
    }
}

#[test]
fn cleartext_is_shown_with_its_ports_and_the_side_that_it_came_from() {
    let mut member = Member::new(&state(&[]), 1500);
    let frame = udp4_between(Ipv4Addr::new(10, 0, 0, 9), Ipv4Addr::new(10, 0, 0, 2), 4321, 53);
    member.wan_in(std::slice::from_ref(&frame));
    member.lan_in(&[frame]);
    for (reason, origin) in [(DropReason::Cleartext, Origin::Wan), (DropReason::NoSa, Origin::Lan)] {
        let offender = last(&member, reason);
        assert_eq!(offender.origin, origin);
        let Seen::Packet { source, destination, protocol, upper } = offender.seen else {
            panic!("{offender:?}")
        };
        assert_eq!(source, Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!((destination, protocol), ([10, 0, 0, 2].into(), 17));
        assert_eq!(upper, Upper::Ports(4321, 53));
    }
}

#[test]
fn fragments_that_grew_old_and_frames_that_the_port_did_not_take_are_shown_too() {
    let state = state(&[guarded()]);
    let (mut a, mut b) = (Member::new(&state, 1500), Member::new(&state, 1500));
    let sealed = a.lan_in(&[udp4(&payload(1000))]).wan.remove(0);
    b.wan_in(&cut4(&sealed, 400)[..1]);
    b.now += 3 * dpdk::cycles_hz();
    b.expire();
    assert_eq!(upper(&last(&b, DropReason::ReassemblyTimeout)), Upper::Esp { spi: SPI, seq: 1 });

    // A wire that nobody empties.
    let frames: Vec<_> = (0..600).map(|n: u16| udp4(&n.to_be_bytes())).collect();
    a.stuff(&frames);
    assert!(a.drops(DropReason::TxFull) > 0);
    let offender = last(&a, DropReason::TxFull);
    assert!(matches!(upper(&offender), Upper::Esp { spi: SPI, .. }), "{offender:?}");
    assert_eq!(offender.origin, Origin::Lan);
}

#[test]
fn the_newest_of_a_flood_is_shown_a_millisecond_late_at_the_most() {
    let mut member = Member::new(&state(&[]), 1500);
    let from = |last: u8| udp4_between(Ipv4Addr::new(10, 0, 0, last), Ipv4Addr::new(10, 0, 0, 2), 1, 2);
    let source = |member: &Member| match last(member, DropReason::NoSa).seen {
        Seen::Packet { source, .. } => source,
        other => panic!("{other:?}"),
    };
    member.lan_in(&[from(1), from(2)]);
    assert_eq!(source(&member), Ipv4Addr::new(10, 0, 0, 1));
    member.now += dpdk::cycles_hz() / 1000;
    member.lan_in(&[from(3)]);
    assert_eq!(source(&member), Ipv4Addr::new(10, 0, 0, 3));
}
