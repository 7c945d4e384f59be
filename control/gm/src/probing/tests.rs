use super::frames::{self, Wanted};
use super::path::{Outcome, Path, Paths};
use super::{Around, Clock, says};
use crate::keys::Keys;
use crate::sad::{Entry, Sad};
use getvpn_ctl::FaultCode;
use getvpn_ctl::probe::{Filter, Side, Stage};
use getvpn_dataplane::packet::{Fragment, Version};
use getvpn_dataplane::probe::{Decision, Event, Facts, Heading, IpFacts, Outgoing, Point};
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{
    Direction, DropReason, Enforce, Group, LinkConfig, Mode, ReplayPolicy, Sa, SaParams, WithoutSa,
};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

fn links() -> Vec<LinkConfig> {
    ["site", "other"]
        .map(|name| LinkConfig {
            name: name.into(),
            lan: "lan0".into(),
            wan: "wan0".into(),
            mtu: 1500,
            exception: None,
        })
        .into()
}

fn event(packet: u32, heading: Heading, point: Point) -> Event {
    let mut octets = vec![0; 14];
    octets
        .extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 7, 0, 8, 0, 8, 0, 0]);
    let ip =
        IpFacts { version: Version::V4, protocol: 17, fragment: Fragment::None, ip_at: 14, upper_at: 34 };
    Event {
        probe: 1,
        worker: 2,
        link: 1,
        heading,
        packet,
        frames: 1,
        at: 100,
        point,
        facts: Facts { ip: Some(ip), ..Facts::default() },
        length: 42,
        octets,
    }
}

fn esp(packet: u32, heading: Heading, point: Point) -> Event {
    let mut event = event(packet, heading, point);
    event.facts.ip = event.facts.ip.map(|ip| IpFacts { protocol: 50, ..ip });
    (event.facts.spi, event.facts.sequence, event.facts.iv) = (0x0001_0001, 5, 7 << 48 | 6);
    event
}

const CLOCK: Clock = Clock { cycles: 1100, hz: 1000, unix_ns: 5_000_000_000 };

fn sad(replay: ReplayPolicy) -> Sad {
    let group = Group {
        name: "finance".into(),
        without_sa: WithoutSa::Drop,
        enforce: Enforce::Both,
        selectors: Vec::new(),
    };
    let mut sad = Sad::new(Vec::new(), vec![group]);
    let params = SaParams {
        spi: 0x0001_0001,
        group: 0,
        transform: Transform::Aes128Gcm,
        key: Zeroizing::new(vec![1; 20]),
        integrity_key: Zeroizing::default(),
        mode: Mode::Tunnel,
        direction: Direction::In,
        replay,
        sid: 0,
        sid_bits: 16,
        first_counter: 1,
        reserved: 1,
        selectors: Vec::new(),
    };
    sad.install(Entry::manual(Sa::new(&params, 1).unwrap(), Keys::of(&params), 16, Instant::now(), None));
    sad
}

fn said(events: Vec<Event>) -> Vec<String> {
    let (sad, links) = (sad(ReplayPolicy::Counter { window: 64 }), links());
    let around = Around { sad: &sad, links: &links };
    let packet = says::packet(&Path { events }, &|_| None, &around, &CLOCK);
    assert_eq!((packet.link.as_str(), packet.worker, packet.unix_us), ("other", 2, 4_000_000));
    packet.steps.iter().map(|step| format!("{}: {}", step.step, step.says)).collect()
}

#[test]
fn a_filter_is_read_and_every_wrong_word_is_named() {
    let read = |filter: &Filter| super::filter::read(filter, &links());
    let good = Filter {
        src: Some("10.1.2.3/8".into()),
        dst: Some("10.0.0.1".into()),
        drop: Some("too_big".into()),
        link: Some("other".into()),
        ..Filter::default()
    };
    let filter = read(&good).unwrap();
    assert_eq!(filter.src.unwrap().to_string(), "10.0.0.0/8");
    assert_eq!(filter.dst.unwrap().to_string(), "10.0.0.1/32");
    assert_eq!((filter.drop, filter.link), (Some(DropReason::TooBig), Some(1)));
    let some = |text: &str| Some(text.to_owned());
    for (filter, word) in [
        (Filter { src: some("10.0.0"), ..Filter::default() }, "src \"10.0.0\""),
        (Filter { src: some("10.0.0.0/33"), ..Filter::default() }, "0 to 32"),
        (Filter { dst: some("fd00::/x"), ..Filter::default() }, "0 to 128"),
        (Filter { src: some("::1"), dst: some("10.0.0.1"), ..Filter::default() }, "no packet has both"),
        (Filter { drop: some("bad"), ..Filter::default() }, "replay_stale"),
        (Filter { link: some("bad"), ..Filter::default() }, "there are: site, other"),
    ] {
        let fault = read(&filter).unwrap_err();
        assert_eq!(fault.code, FaultCode::InvalidArgument);
        assert!(fault.message.contains(word), "{}", fault.message);
    }
}

#[test]
fn a_packet_is_complete_when_its_end_is_told_and_nothing_follows() {
    let (start, mut paths) = (Instant::now(), Paths::default());
    let later = |ms| start + Duration::from_millis(ms);
    paths.add(event(1, Heading::Out, Point::Arrived(Decision::Protect)), start);
    paths.add(event(2, Heading::In, Point::Arrived(Decision::UnknownSpi)), start);
    paths.add(event(2, Heading::In, Point::Parked), start);
    paths.add(event(0, Heading::In, Point::Dropped(DropReason::Ipv4Header)), start);
    // Of a packet whose beginning nobody knows.
    paths.add(event(9, Heading::In, Point::Sent(Outgoing::Decrypted)), start);
    assert!(paths.complete(start).is_empty());
    assert_eq!(paths.complete(later(3)).len(), 1, "what is told once is complete with its burst");
    paths.add(event(1, Heading::Out, Point::Sent(Outgoing::Encrypted)), later(5));
    assert!(paths.complete(later(6)).is_empty(), "fragments may follow");
    paths.add(event(1, Heading::Out, Point::Sent(Outgoing::Fragment)), later(6));
    let done = paths.complete(later(9));
    assert_eq!((done.len(), done[0].events.len()), (1, 3));
    assert_eq!(done[0].outcome(), Outcome::Left(Outgoing::Encrypted));
    assert!(paths.complete(later(2000)).is_empty());
    let waited = paths.complete(later(4000));
    assert_eq!((waited.len(), waited[0].outcome()), (1, Outcome::Open));
    assert!(paths.drain().is_empty());
}

#[test]
fn the_way_in_is_told_as_far_as_the_packet_came() {
    let arrived = || esp(1, Heading::In, Point::Arrived(Decision::KnownSpi));
    let whole = said(vec![arrived(), event(1, Heading::In, Point::Sent(Outgoing::Decrypted))]);
    assert_eq!(
        whole,
        [
            "received: on other WAN (wan0), 42 octets",
            "parsed: IPv4 10.0.0.1 > 10.0.0.2 ESP, 28 octets",
            "sa: SA 0x00010001 of group finance, aes-128-gcm, tunnel mode, sequence number 5, sender ID 7, counter 6",
            "replay: window ok",
            "opened: authentic",
            "inside: IPv4 10.0.0.1 > 10.0.0.2 UDP 7 > 8, 28 octets",
            "selectors: those of the SA: ok",
            "sent: on other LAN (lan0), 42 octets",
        ]
    );
    for (reason, steps, last) in [
        (DropReason::UnknownSpi, 3, "sa"),
        (DropReason::ReplayDuplicate, 4, "replay: refused"),
        (DropReason::Authentication, 5, "opened: authentication failed"),
        (DropReason::Selectors, 5, "opened: authentic"),
    ] {
        let dropped = said(vec![arrived(), event(1, Heading::In, Point::Dropped(reason))]);
        assert_eq!(dropped.len(), steps + 1, "{dropped:?}");
        assert!(dropped[steps - 1].starts_with(last), "{dropped:?}");
        let told =
            format!("dropped: {} \u{2013} {} \u{2013} {}", reason.name(), reason.meaning(), reason.advice());
        assert_eq!(dropped[steps], told);
        // The same when nothing but the drop was told.
        assert_eq!(said(vec![esp(0, Heading::In, Point::Dropped(reason))]), dropped);
    }
    let waiting = said(vec![arrived(), esp(1, Heading::In, Point::Parked)]);
    assert!(waiting.contains(&"waited: for its SA".to_owned()), "{waiting:?}");
    assert!(waiting.last().unwrap().starts_with("waiting: "), "{waiting:?}");
}

#[test]
fn the_way_out_is_told_with_the_rule_and_the_sa() {
    let mut arrived = event(1, Heading::Out, Point::Arrived(Decision::Protect));
    (arrived.facts.rule, arrived.facts.spi) = (3, 0x0001_0001);
    let sent = |leaving| esp(1, Heading::Out, Point::Sent(leaving));
    let whole = said(vec![arrived.clone(), sent(Outgoing::Encrypted), sent(Outgoing::Fragment)]);
    assert_eq!(whole[0], "received: on other LAN (lan0), 42 octets");
    assert_eq!(whole[2], "policy: rule 3: a [[policy]] protects it");
    assert!(
        whole[3].starts_with("sa: SA 0x00010001")
            && whole[3].ends_with("sequence number 5, sender ID 7, counter 6")
    );
    assert_eq!(whole[5], "sent: on other WAN (wan0), in 2 pieces of 42, 42 octets");
    let mut none = event(1, Heading::Out, Point::Arrived(Decision::NoSaClosed));
    none.facts.rule = 3;
    let dropped = said(vec![none, event(1, Heading::Out, Point::Dropped(DropReason::NoSa))]);
    assert!(
        dropped[2].contains("has no SA to send with") && dropped[3].starts_with("dropped: no_sa"),
        "{dropped:?}"
    );
}

#[test]
fn a_capture_has_each_frame_once_on_its_port_and_says_why_one_was_dropped() {
    let frames = |events: Vec<Event>, side, stage| {
        let found = frames::of(&Path { events }, &Wanted { side, stage }, &CLOCK);
        found.into_iter().map(|(frame, _)| (frame.port, frame.sent, frame.comment)).collect::<Vec<_>>()
    };
    let through = || {
        vec![
            esp(1, Heading::In, Point::Arrived(Decision::KnownSpi)),
            event(1, Heading::In, Point::Sent(Outgoing::Decrypted)),
        ]
    };
    let (came, left) = ((3, false, None), (2, true, None));
    assert_eq!(frames(through(), Side::Both, Stage::Both), [came.clone(), left.clone()]);
    assert_eq!(frames(through(), Side::Lan, Stage::Both), [left]);
    assert_eq!(frames(through(), Side::Both, Stage::Before), [came]);
    assert_eq!(frames(through(), Side::Wan, Stage::After), []);
    let reason = DropReason::Authentication;
    let dropped = [
        vec![
            esp(1, Heading::In, Point::Arrived(Decision::KnownSpi)),
            event(1, Heading::In, Point::Dropped(reason)),
        ],
        vec![esp(0, Heading::In, Point::Dropped(reason))],
    ];
    for events in dropped {
        let found = frames(events, Side::Both, Stage::Both);
        assert_eq!((found.len(), found[0].0, found[0].1), (1, 3, false));
        assert!(found[0].2.as_ref().unwrap().starts_with("dropped: authentication: "), "{found:?}");
    }
    // A frame that is no packet crosses as it is.
    let other =
        frames(vec![event(0, Heading::Out, Point::Sent(Outgoing::Bypassed))], Side::Both, Stage::Both);
    assert_eq!(other, [(2, false, None), (3, true, None)]);
}

#[test]
fn what_is_of_this_machine_itself_goes_to_its_exception_port_and_comes_from_there() {
    let frames = |event: Event| {
        let wanted = Wanted { side: Side::Both, stage: Stage::Both };
        let found = frames::of(&Path { events: vec![event] }, &wanted, &CLOCK);
        found.into_iter().map(|(frame, _)| (frame.port, frame.sent)).collect::<Vec<_>>()
    };
    let (to, from) = (Point::Diverted, Point::Sent(Outgoing::Own));
    assert_eq!(frames(event(0, Heading::In, to)), [(3, false)]);
    assert_eq!(frames(event(0, Heading::Out, from)), [(3, true)]);
    let said = |event: Event| {
        let (sad, links) = (sad(ReplayPolicy::None), links());
        let path = Path { events: vec![event] };
        says::packet(&path, &|_| None, &Around { sad: &sad, links: &links }, &CLOCK)
    };
    let incoming = said(event(0, Heading::In, to));
    assert_eq!((incoming.outcome.as_str(), incoming.direction.as_str()), ("own", "in"));
    let steps: Vec<_> = incoming.steps.iter().map(|s| format!("{}: {}", s.step, s.says)).collect();
    assert_eq!(
        steps,
        [
            "received: on other WAN (wan0), 42 octets",
            "parsed: IPv4 10.0.0.1 > 10.0.0.2 UDP 7 > 8, 28 octets",
            "sent: to this machine itself, by its exception port",
        ]
    );
    let outgoing = said(event(0, Heading::Out, from));
    assert_eq!((outgoing.outcome.as_str(), outgoing.steps[0].step.as_str()), ("own", "made"));
}
