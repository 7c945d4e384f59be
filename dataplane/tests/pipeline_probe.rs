//! What a probe tells of packets in the pipelines: those that match and no others, each with what becomes
//! of it, within the budget, and nothing at all while it is off.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

mod common;

use common::*;
use dpdk::cycles_hz;
use getvpn_dataplane::probe::{Budget, Decision, Event, Heading, Outgoing, Point, ProbeFilter, ProbeSpec};
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{DropReason, LocalAction, LocalRule, Mode, PolicyState, Selector, SpiTest};

const SPI: u32 = 0x0001_0001;

fn plain(mode: Mode) -> PolicyState {
    state(&[params(SPI, Transform::Aes128Gcm, mode)])
}

fn watching(state: &PolicyState, filter: ProbeFilter) -> Member {
    let mut member = Member::new(state, 1500);
    start(&mut member, filter);
    member
}

fn start(member: &mut Member, filter: ProbeFilter) {
    member.probe.start(&ProbeSpec { filter, snaplen: 9000, budget: Budget::default() });
}

fn host(text: &str) -> ProbeFilter {
    ProbeFilter { host: Some(text.parse().unwrap()), ..ProbeFilter::default() }
}

#[test]
fn a_packet_is_followed_from_the_lan_to_the_wan_and_back() {
    for mode in [Mode::Tunnel, Mode::Transport] {
        let state = plain(mode);
        let mut a = watching(&state, host("10.0.0.2"));
        let mut b = watching(&state, ProbeFilter::default());
        let frame = udp4(&payload(900));
        let sealed = a.lan_in(std::slice::from_ref(&frame)).wan;
        let out = told(&mut a);
        assert_eq!(points(&out), [Point::Arrived(Decision::Protect), Point::Sent(Outgoing::Encrypted)]);
        assert!(out.iter().all(|event| event.packet == out[0].packet && event.packet > 0));
        assert!(out.iter().all(|event| (event.worker, event.link, event.heading) == (0, 0, Heading::Out)));
        assert!(out[0].octets == frame && out[1].octets == sealed[0], "the frames as they were");
        assert_eq!((out[0].facts.rule, out[0].facts.spi), (1, SPI));
        assert_eq!((out[1].facts.spi, out[1].facts.sequence, out[1].facts.iv), (SPI, 1, 7 << 48 | 1));

        assert_eq!(b.wan_in(&sealed).lan, std::slice::from_ref(&frame));
        let back = told(&mut b);
        assert_eq!(points(&back), [Point::Arrived(Decision::KnownSpi), Point::Sent(Outgoing::Decrypted)]);
        assert!(back[0].octets == sealed[0] && back[1].octets == frame, "the frames as they were");
        assert_eq!((back[0].facts.spi, back[0].facts.sequence), (SPI, 1));
        assert_eq!(back[0].packet, back[1].packet);
        assert_eq!(b.probe.counts().skipped, 0);
    }
}

#[test]
fn only_what_matches_is_told() {
    let frames = [
        udp4(b"x"),
        udp6(b"x"),
        udp4_between([10, 9, 0, 1].into(), [10, 0, 0, 2].into(), 1, 2),
        udp4_between([192, 0, 2, 1].into(), [10, 0, 0, 2].into(), 1, 2),
    ];
    let any = ProbeFilter::default();
    for (filter, wanted) in [
        (any, vec![0, 1, 2, 3]),
        (host("10.0.0.1"), vec![0]),
        (host("10.0.0.2"), vec![0, 2, 3]),
        (host("fd00::1"), vec![1]),
        (host("10.0.0.3"), vec![]),
        (ProbeFilter { src: Some(prefix("10.0.0.0/8")), ..any }, vec![0, 2]),
        (ProbeFilter { src: Some(prefix("10.9.0.0/16")), dst: Some(prefix("10.0.0.2/32")), ..any }, vec![2]),
        (ProbeFilter { dst: Some(prefix("10.0.0.1/32")), ..any }, vec![]),
        (ProbeFilter { src: Some(prefix("0.0.0.0/0")), ..any }, vec![0, 2, 3]),
        (ProbeFilter { dst: Some(prefix("::/0")), ..any }, vec![1]),
        // The last one is for no SA.
        (ProbeFilter { spi: Some(SPI), ..any }, vec![0, 1, 2]),
        (ProbeFilter { spi: Some(SPI + 1), ..any }, vec![]),
        (ProbeFilter { heading: Some(Heading::Out), ..any }, vec![0, 1, 2, 3]),
        (ProbeFilter { heading: Some(Heading::In), ..any }, vec![]),
        (ProbeFilter { link: Some(0), ..any }, vec![0, 1, 2, 3]),
        (ProbeFilter { link: Some(1), ..any }, vec![]),
    ] {
        let mut a = watching(&plain(Mode::Tunnel), filter);
        a.lan_in(&frames);
        let events = told(&mut a);
        let arrived = events.iter().filter(|event| matches!(event.point, Point::Arrived(_)));
        let found: Vec<_> = arrived.map(|e| frames.iter().position(|f| *f == e.octets).unwrap()).collect();
        assert_eq!(found, wanted, "{filter:?}");
        assert_eq!(events.len(), 2 * wanted.len(), "{filter:?}");
        assert_eq!(a.probe.counts().matched, wanted.len() as u64);
        assert_eq!(a.tally.tx, 4);
    }
}

#[test]
fn off_again_it_tells_nothing_and_a_new_one_knows_nothing_of_the_packets_of_the_old() {
    let mut a = Member::new(&plain(Mode::Tunnel), 1500);
    a.lan_in(&[udp4(b"x")]);
    assert_eq!(told(&mut a), []);
    start(&mut a, ProbeFilter::default());
    a.lan_in(&[udp4(b"x")]);
    a.probe.stop();
    assert!(!a.probe.is_on());
    assert_eq!(told(&mut a).len(), 2, "what was told by then can be had");
    a.lan_in(&[udp4(b"x")]);
    assert_eq!(told(&mut a), []);
    start(&mut a, host("10.0.0.3"));
    // As many as there are buffers, so that each has been followed before.
    a.lan_in(&vec![udp4(b"x"); 2000]);
    assert_eq!((told(&mut a), a.probe.counts().matched), (vec![], 0));
}

#[test]
fn a_forged_packet_is_told_as_it_came_whatever_came_with_it() {
    let state = plain(Mode::Tunnel);
    let sealed = Member::new(&state, 1500).lan_in(&[udp4(b"one")]).wan.remove(0);
    let spi_at = sealed.windows(4).position(|octets| octets == SPI.to_be_bytes()).unwrap();
    let (mut forged, mut unknown) = (sealed.clone(), sealed);
    *forged.last_mut().unwrap() ^= 1;
    unknown[spi_at] ^= 0x40;
    let by_reason = ProbeFilter { drop: Some(DropReason::Authentication), ..ProbeFilter::default() };
    for filter in [by_reason, ProbeFilter { spi: Some(SPI), ..ProbeFilter::default() }] {
        let mut b = watching(&state, filter);
        b.wan_in(&[&unknown, &forged, &unknown].map(Clone::clone));
        let events = told(&mut b);
        let last = events.last().unwrap();
        assert_eq!(
            (last.point, last.facts.spi),
            (Point::Dropped(DropReason::Authentication), if filter.drop.is_some() { SPI } else { 0 })
        );
        let first = &events[0];
        // Of one that is opened in place a beginning is kept.
        assert!(!first.octets.is_empty() && forged.starts_with(&first.octets), "{first:?}");
        assert_eq!(b.probe.counts().matched, 1);
    }
}

#[test]
fn decisions_are_those_of_the_policy() {
    let rule = |net: &str, action| LocalRule {
        selector: Selector::between(prefix("10.0.0.0/8"), prefix(net)),
        action,
    };
    let mut state = plain(Mode::Tunnel);
    state.local = vec![rule("10.0.0.7/32", LocalAction::Bypass), rule("10.0.0.8/32", LocalAction::Drop)];
    let to = |dst: [u8; 4]| udp4_between([10, 0, 0, 1].into(), dst.into(), 1, 2);
    let frames = [to([10, 0, 0, 7]), to([10, 0, 0, 8]), to([10, 0, 0, 9]), to([192, 0, 2, 1])];
    let (bypassed, dropped) = (Point::Sent(Outgoing::Bypassed), Point::Dropped(DropReason::Policy));
    let mut a = watching(&state, ProbeFilter::default());
    a.lan_in(&frames);
    let of = |events: &[Event], rule: u32| {
        let first =
            events.iter().find(|e| matches!(e.point, Point::Arrived(_)) && e.facts.rule == rule).unwrap();
        points(&events.iter().filter(|e| e.packet == first.packet).cloned().collect::<Vec<_>>())
    };
    let out = told(&mut a);
    assert_eq!(of(&out, 1), [Point::Arrived(Decision::Exempt), bypassed]);
    assert_eq!(of(&out, 2), [Point::Arrived(Decision::Drop), dropped]);
    assert_eq!(of(&out, 3), [Point::Arrived(Decision::Protect), Point::Sent(Outgoing::Encrypted)]);
    assert_eq!(of(&out, 0), [Point::Arrived(Decision::NoRule), bypassed]);
    a.wan_in(&frames);
    let back = told(&mut a);
    assert_eq!(of(&back, 1), [Point::Arrived(Decision::Exempt), bypassed]);
    let cleartext = Point::Dropped(DropReason::Cleartext);
    assert_eq!(of(&back, 3), [Point::Arrived(Decision::MustBeEncrypted), cleartext]);
}

#[test]
fn what_is_dropped_for_a_reason_is_told_as_it_came_although_it_was_opened_in_place() {
    for mode in [Mode::Tunnel, Mode::Transport] {
        let state = plain(mode);
        let sealed = Member::new(&state, 1500).lan_in(&[udp4(&payload(500)), udp4(b"short")]).wan;
        let mut forged = sealed[0].clone();
        *forged.last_mut().unwrap() ^= 1;
        // Its SA is for other addresses.
        let mut elsewhere = params(SPI, Transform::Aes128Gcm, mode);
        elsewhere.selectors = vec![Selector::between(prefix("10.1.0.0/16"), prefix("10.1.0.0/16"))];
        for (state, frame, reason) in [
            (&state, &forged, DropReason::Authentication),
            (&common::state(&[elsewhere]), &sealed[0], DropReason::Selectors),
        ] {
            let drop = |reason| ProbeFilter { drop: Some(reason), ..host("10.0.0.1") };
            let mut b = watching(state, drop(reason));
            b.wan_in(&[sealed[1].clone(), frame.clone()]);
            let events = told(&mut b);
            let last = events.last().unwrap();
            assert_eq!(last.point, Point::Dropped(reason));
            assert_eq!((last.octets.as_slice(), last.length as usize), (&frame[..128], frame.len()));
            assert_eq!((last.facts.spi, last.facts.sequence, last.facts.ip.unwrap().protocol), (SPI, 1, 50));
            assert_eq!(events.len() as u64, b.drops(reason));
            start(&mut b, drop(DropReason::Policy));
            b.wan_in(std::slice::from_ref(frame));
            assert_eq!(told(&mut b), []);
        }
    }
}

#[test]
fn the_budget_bounds_what_is_told_and_the_rest_is_counted() {
    let mut a = Member::new(&plain(Mode::Tunnel), 1500);
    // Half of it is for the other way.
    let budget = Budget { events: 40, octets: 65_536, ..Budget::default() };
    a.probe.start(&ProbeSpec { filter: ProbeFilter::default(), snaplen: 64, budget });
    a.lan_in(&vec![udp4(b"x"); 320]);
    assert_eq!(told(&mut a).len(), 20, "ten packets, each with what became of it");
    assert_eq!((a.probe.counts().matched, a.probe.counts().skipped), (320, 310));
    a.now += cycles_hz() / 1000;
    a.lan_in(&vec![udp4(b"x"); 32]);
    let next = told(&mut a);
    assert_eq!(next.len(), 20, "a millisecond later there is a new budget");
    assert!(
        next.iter().all(|event| event.octets.len() <= 64 && event.length > 64 || event.octets.len() < 64)
    );
    let budget = Budget { events: 1000, octets: 1000, ..Budget::default() };
    a.probe.start(&ProbeSpec { filter: ProbeFilter::default(), snaplen: 100, budget });
    a.now += cycles_hz() / 1000;
    a.lan_in(&vec![udp4(&payload(400)); 32]);
    assert_eq!(told(&mut a).len(), 4, "two packets of a hundred octets, and as much when they leave");
    // Nobody takes anything: the ring fills up, and no packet is lost for it.
    let budget = Budget { events: u32::MAX, octets: u32::MAX, ..Budget::default() };
    a.probe.start(&ProbeSpec { filter: ProbeFilter::default(), snaplen: 1500, budget });
    a.lan_in(&vec![udp4(&payload(1000)); 640]);
    let counts = a.probe.counts();
    assert!(counts.matched == 640 && counts.skipped > 0, "{counts:?}");
    assert!(told(&mut a).len() as u64 >= 2 * (640 - counts.skipped));
    assert_eq!(a.tally.encrypted, 320 + 32 + 32 + 640);
}

#[test]
fn what_is_rare_beside_much_else_has_its_turn() {
    let state = plain(Mode::Tunnel);
    let good = Member::new(&state, 1500).lan_in(&[udp4(b"x")]).wan.remove(0);
    let mut b = Member::new(&state, 1500);
    let budget = Budget { events: 16, octets: 65_536, ..Budget::default() };
    b.probe.start(&ProbeSpec { filter: ProbeFilter::default(), snaplen: 1500, budget });
    let mut burst = vec![good; 30];
    burst.push(udp4(b"in the clear"));
    let (mut found_clear, mut found_last) = (0, 0);
    for n in 0..64_u8 {
        burst[29] = with_ipv4(&burst[0], |ip| ip[1] = n << 2);
        // The other way is busy too, and comes first.
        b.lan_in(&vec![udp4(b"x"); 32]);
        b.wan_in(&burst);
        b.now += cycles_hz() / 1000;
        let arrived = told(&mut b).into_iter().filter(|e| e.heading == Heading::In && e.octets.len() > 40);
        let arrived: Vec<_> = arrived.filter(|event| matches!(event.point, Point::Arrived(_))).collect();
        found_clear += arrived.iter().filter(|event| event.octets == burst[30]).count();
        found_last += arrived.iter().filter(|event| event.octets == burst[29]).count();
        assert!(arrived.len() <= 4, "half of the budget, and each packet costs two");
    }
    assert!(found_clear == 64 && found_last > 0, "{found_clear} {found_last}");
}

#[test]
fn a_packet_that_waits_is_followed_on_and_one_that_came_before_is_met_when_it_goes_on() {
    let asking = |state: PolicyState| PolicyState { spi_test: SpiTest::new([], true), ..state };
    let sealed = Member::new(&plain(Mode::Tunnel), 1500).lan_in(&[udp4(b"early"), udp4(b"late")]).wan;
    let mut b = Member::new(&asking(state(&[])), 1500);
    b.wan_in(&sealed[..1]);
    start(&mut b, ProbeFilter::default());
    b.wan_in(&sealed[1..]);
    let waiting = told(&mut b);
    assert_eq!(points(&waiting), [Point::Arrived(Decision::UnknownSpi), Point::Parked]);
    b.publish(&asking(plain(Mode::Tunnel)));
    while b.tally.parked > 0 {
        b.wan_in(&[]);
    }
    let events = told(&mut b);
    let of = |packet| points(&events.iter().filter(|e| e.packet == packet).cloned().collect::<Vec<_>>());
    assert_eq!(of(waiting[0].packet), [Point::Released, Point::Sent(Outgoing::Decrypted)]);
    let other = events.iter().find(|event| event.packet != waiting[0].packet).unwrap().packet;
    let met = [Point::Arrived(Decision::KnownSpi), Point::Released, Point::Sent(Outgoing::Decrypted)];
    assert_eq!(of(other), met);
}

#[test]
fn pieces_of_a_packet_are_told_as_its_own() {
    for mode in [Mode::Tunnel, Mode::Transport] {
        let state = plain(mode);
        let mut a = watching(&state, ProbeFilter::default());
        let out = a.lan_in(&[udp4(&payload(1472))]).wan;
        let events = told(&mut a);
        assert_eq!((events.len(), out.len()), (3, 2), "{mode}");
        assert!(events.iter().all(|event| event.packet == events[0].packet));
        assert_eq!(events[2].point, Point::Sent(Outgoing::Fragment));

        // The datagram of the transport mode is put together again before it is opened.
        let mut b = watching(&state, ProbeFilter::default());
        b.wan_in(&out);
        let back = told(&mut b);
        let arrived = back.iter().filter(|event| event.point == Point::Arrived(Decision::KnownSpi));
        let frames: Vec<_> = arrived.map(|event| event.frames).collect();
        assert_eq!(frames, if mode == Mode::Tunnel { vec![1, 1] } else { vec![2] });
        assert!(back.iter().any(|event| event.point == Point::Sent(Outgoing::Decrypted)));
    }
    // Fragments of which a datagram is made before it is sealed.
    let mut a = watching(&plain(Mode::Transport), ProbeFilter::default());
    a.lan_in(&cut4(&udp4(&payload(1200)), 800));
    let all = told(&mut a);
    assert_eq!(all.iter().filter(|event| event.point == Point::Held).count(), 2);
    let sent = all.iter().find(|event| event.point == Point::Sent(Outgoing::Encrypted)).unwrap();
    assert_eq!((sent.packet, sent.frames), (all[0].packet, 2), "it goes on as its first fragment");
}

#[test]
fn what_is_no_packet_is_told_where_no_address_is_looked_for() {
    let arp = [&[0xff; 6][..], &MAC_A, &[0x08, 0x06], &[0; 46]].concat();
    let mut broken = udp4(b"x");
    broken[14] = 0x42;
    for (filter, count) in [(ProbeFilter::default(), 2), (host("10.0.0.1"), 0)] {
        let mut a = watching(&plain(Mode::Tunnel), filter);
        a.lan_in(&[arp.clone(), broken.clone()]);
        let events = told(&mut a);
        assert_eq!(events.len(), count);
        for event in events {
            let wanted = [Point::Dropped(DropReason::Ipv4Header), Point::Sent(Outgoing::Bypassed)];
            assert!(event.packet == 0 && wanted.contains(&event.point), "{event:?}");
        }
    }
}

#[test]
fn an_icmp_error_and_what_it_is_about_are_both_told() {
    let mut a = watching(&plain(Mode::Tunnel), host("10.0.0.1"));
    let out = a.lan_in(&[dont_fragment(&udp4(&payload(1472)))]);
    assert_eq!(out.lan.len(), 1);
    let dropped = Point::Dropped(DropReason::TooBig);
    assert_eq!(points(&told(&mut a)), [Point::Arrived(Decision::Protect), dropped]);
}
