//! What crosses in the clear, what must not, and the steps of a migration.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

mod common;

use common::*;
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{
    DropReason, Enforce, ExplainError, Explained, FiveTuple, LocalAction, LocalRule, Mode, Outcome,
    PolicyState, Selector, WithoutSa,
};
use std::net::{IpAddr, Ipv4Addr};

fn protected() -> PolicyState {
    state(&[params(0x1001, Transform::Aes128Gcm, Mode::Tunnel)])
}

fn no_sa(without_sa: WithoutSa) -> PolicyState {
    let mut group = group();
    group.without_sa = without_sa;
    PolicyState { groups: vec![group], ..Default::default() }
}

fn arp() -> Vec<u8> {
    let mut frame = [[0xff; 6], MAC_A].concat();
    frame.extend([0x08, 0x06]);
    frame.extend([0; 46]);
    frame
}

fn outside() -> Vec<u8> {
    udp4_between("192.0.2.1".parse().unwrap(), "198.51.100.2".parse().unwrap(), 1, 2)
}

#[test]
fn what_is_not_ip_or_not_protected_crosses_unchanged_both_ways() {
    let mut m = Member::new(&protected(), 1500);
    let mut lldp = arp();
    lldp[12..14].copy_from_slice(&[0x88, 0xcc]);
    let frames = [arp(), lldp, outside()];
    assert_eq!(m.lan_in(&frames).wan, frames);
    assert_eq!(m.wan_in(&frames).lan, frames);
    assert_eq!(m.tally.bypassed, 6);
}

#[test]
fn cleartext_from_the_wan_that_should_be_encrypted_is_dropped_under_both_only() {
    for (enforce, passes) in
        [(Enforce::Both, false), (Enforce::InboundOptional, true), (Enforce::ReceiveOnly, true)]
    {
        let mut s = protected();
        s.groups[0].enforce = enforce;
        let mut m = Member::new(&s, 1500);
        assert_eq!(m.wan_in(&[udp4(b"clear"), udp6(b"clear")]).lan.len(), if passes { 2 } else { 0 });
        assert_eq!(m.drops(DropReason::Cleartext), if passes { 0 } else { 2 });
    }
}

#[test]
fn receive_only_sends_in_the_clear_and_the_other_steps_encrypt() {
    for (enforce, encrypted) in [(Enforce::Both, 1), (Enforce::InboundOptional, 1), (Enforce::ReceiveOnly, 0)]
    {
        let mut s = protected();
        s.groups[0].enforce = enforce;
        let mut m = Member::new(&s, 1500);
        assert_eq!(m.lan_in(&[udp4(b"x")]).wan.len(), 1);
        assert_eq!((m.tally.encrypted, m.tally.bypassed), (encrypted, 1 - encrypted));
        // What is encrypted is accepted at every step.
        let sealed = Member::new(&protected(), 1500).lan_in(&[udp4(b"y")]).wan;
        assert_eq!(m.wan_in(&sealed).lan, [udp4(b"y")]);
    }
}

#[test]
fn without_an_sa_a_group_fails_closed_or_open_as_configured() {
    let mut closed = Member::new(&no_sa(WithoutSa::Drop), 1500);
    assert_eq!(closed.lan_in(&[udp4(b"x")]), Out::default());
    assert_eq!(closed.wan_in(&[udp4(b"x")]), Out::default());
    assert_eq!((closed.drops(DropReason::NoSa), closed.drops(DropReason::Cleartext)), (1, 1));

    let mut open = Member::new(&no_sa(WithoutSa::Bypass), 1500);
    assert_eq!(open.lan_in(&[udp4(b"x")]).wan, [udp4(b"x")]);
    assert_eq!(open.wan_in(&[udp4(b"x")]).lan, [udp4(b"x")]);
}

#[test]
fn local_rules_come_first_and_in_order() {
    let ssh = |action| LocalRule {
        selector: Selector { protocol: Some(17), dst_port: (22, 22), ..selectors()[0] },
        action,
    };
    let to_port = |port| udp4_between(v4(1).into(), v4(2).into(), 9, port);
    let mut s = protected();
    s.local = vec![ssh(LocalAction::Bypass), ssh(LocalAction::Drop)];
    let mut m = Member::new(&s, 1500);
    assert_eq!(m.lan_in(&[to_port(22)]).wan, [to_port(22)]);
    assert_eq!(m.lan_in(&[to_port(23)]).wan.len(), 1);
    assert_eq!((m.tally.bypassed, m.tally.encrypted), (1, 1));
    s.local.reverse();
    m.publish(&s);
    assert_eq!(m.lan_in(&[to_port(22)]), Out::default());
    assert_eq!(m.wan_in(&[to_port(22)]), Out::default());
    assert_eq!(m.drops(DropReason::Policy), 2);
}

#[test]
fn the_first_group_that_matches_protects() {
    let mut second = group();
    second.selectors = vec![Selector::between(prefix("10.0.0.0/16"), prefix("10.0.0.0/16"))];
    let mut of_second = params(0x2002, Transform::Aes128Gcm, Mode::Tunnel);
    (of_second.group, of_second.selectors) = (1, second.selectors.clone());
    let mut s = state(&[params(0x1001, Transform::Aes128Gcm, Mode::Tunnel), of_second]);
    s.groups.push(second);
    let mut m = Member::new(&s, 1500);
    assert_eq!(m.lan_in(&[udp4(b"x")]).wan[0][34..38], 0x1001u32.to_be_bytes());
    // The other way round, the narrower one is found first.
    s.groups.swap(0, 1);
    for i in &mut s.sas {
        let mut p = params(i.sa.spi(), i.sa.transform(), i.sa.mode());
        (p.group, p.selectors) = (1 - i.sa.group(), i.sa.selectors().to_vec());
        i.sa = getvpn_dataplane::Sa::new(&p, 1).unwrap();
    }
    m.publish(&s);
    assert_eq!(m.lan_in(&[udp4(b"x")]).wan[0][34..38], 0x2002u32.to_be_bytes());
}

/// An exception by port cannot be told of a later fragment, so that is protected with the rest.
#[test]
fn later_fragments_never_leak_through_an_exception_that_names_ports() {
    let mut s = protected();
    let selector = Selector { protocol: Some(17), dst_port: (5000, 5000), ..selectors()[0] };
    s.local = vec![LocalRule { selector, action: LocalAction::Bypass }];
    let mut m = Member::new(&s, 1500);
    let later = with_ipv4(&udp4(b"01234567"), |ip| ip[6..8].copy_from_slice(&[0x20, 0x10]));
    assert_eq!(m.lan_in(&[udp4(b"whole")]).wan, [udp4(b"whole")]);
    assert_eq!(m.lan_in(std::slice::from_ref(&later)).wan.len(), 1);
    assert_eq!((m.tally.bypassed, m.tally.encrypted), (1, 1));
    assert_eq!(m.wan_in(&[later]), Out::default());
    assert_eq!(m.drops(DropReason::Cleartext), 1);
}

/// A group that protects one port also protects the later fragments of what may be that port.
#[test]
fn later_fragments_are_protected_by_a_group_that_names_ports() {
    let mut s = protected();
    let narrow = Selector { protocol: Some(17), dst_port: (5000, 5000), ..selectors()[0] };
    s.groups[0].selectors = vec![narrow];
    let mut p = params(0x1001, Transform::Aes128Gcm, Mode::Tunnel);
    p.selectors = vec![narrow];
    s.sas = vec![getvpn_dataplane::Sa::new(&p, 1).unwrap().into()];
    let (mut a, mut b) = (Member::new(&s, 1500), Member::new(&s, 1500));
    let later = with_ipv4(&udp4(b"01234567"), |ip| ip[6..8].copy_from_slice(&[0x20, 0x10]));
    let other_port = udp4_between(v4(1).into(), v4(2).into(), 9, 5001);
    let sealed = a.lan_in(&[udp4(b"x"), later.clone(), other_port.clone()]).wan;
    assert_eq!((a.tally.encrypted, a.tally.bypassed), (2, 1));
    assert_eq!(sealed[0], other_port, "what is not sealed leaves first within a burst");
    assert_eq!(b.wan_in(&sealed).lan, [other_port, udp4(b"x"), later]);
}

#[test]
fn a_local_rule_can_exempt_esp_that_is_not_the_groups() {
    let mut s = protected();
    let foreign = raw4(50, &[0xaa; 64]);
    let mut m = Member::new(&s, 1500);
    assert_eq!(m.wan_in(std::slice::from_ref(&foreign)), Out::default());
    assert_eq!(m.drops(DropReason::UnknownSpi), 1);
    let selector = Selector { protocol: Some(50), ..selectors()[0] };
    s.local = vec![LocalRule { selector, action: LocalAction::Bypass }];
    m.publish(&s);
    assert_eq!(m.wan_in(std::slice::from_ref(&foreign)).lan, [foreign]);
    // Whose the ESP is stands in the first fragment only, so they are put together, and cut up again.
    let large = raw4(50, &[0xaa; 2960]);
    let came = cut4(&with_ipv4(&large, |ip| ip[6] = 0), 1480);
    assert_eq!(m.wan_in(&came).lan, came);
    assert_eq!((m.tally.bypassed, m.tally.fragments, m.buffers_in_use()), (3, 1, 0));
}

#[test]
fn multicast_is_sealed_and_opened_as_unicast_is() {
    let s = protected();
    let (mut a, mut b) = (Member::new(&s, 1500), Member::new(&s, 1500));
    let frame = udp4_between(v4(1).into(), "239.1.2.3".parse().unwrap(), 5353, 5353);
    let sealed = a.lan_in(std::slice::from_ref(&frame)).wan;
    assert_eq!(addresses(&sealed[0]), addresses(&frame));
    assert_eq!(b.wan_in(&sealed).lan, [frame]);
}

#[test]
fn what_explain_says_of_a_packet_is_what_becomes_of_it() {
    let mut s = protected();
    let port = |port: u16| Selector { protocol: Some(17), dst_port: (port, port), ..selectors()[0] };
    s.local = vec![
        LocalRule { selector: port(53), action: LocalAction::Bypass },
        LocalRule { selector: port(69), action: LocalAction::Drop },
    ];
    let mut m = Member::new(&s, 1500);
    let (ours, theirs, elsewhere) =
        (Ipv4Addr::from(v4(1)), Ipv4Addr::from(v4(2)), Ipv4Addr::new(192, 0, 2, 1));
    let outside = Explained { rule: None, outcome: Outcome::Bypass };
    for (dst, dst_port, rule, group) in [
        (theirs, 53, Some(1), None),
        (theirs, 69, Some(2), None),
        (theirs, 5000, Some(3), Some(0)),
        (elsewhere, 5000, None, None),
    ] {
        let tuple =
            FiveTuple { src: IpAddr::V4(ours), dst: IpAddr::V4(dst), protocol: 17, src_port: 4000, dst_port };
        let said = m.snapshot.explain(&tuple).unwrap();
        assert_eq!(said.rule.map(|rule| (rule.number, rule.group)), rule.map(|number| (number, group)));
        let frame = udp4_between(ours, dst, 4000, dst_port);
        let sent = m.lan_in(std::slice::from_ref(&frame)).wan;
        match said.outcome {
            Outcome::Bypass => assert_eq!(sent, [frame]),
            Outcome::Drop => assert!(sent.is_empty()),
            Outcome::Protect { spi, .. } => {
                assert_eq!(spi, Some(0x1001));
                assert_eq!(sent[0][34..38], 0x1001_u32.to_be_bytes());
            }
        }
        assert_eq!(said == outside, dst == elsewhere);
    }
    let v6 = FiveTuple {
        src: IpAddr::V6(v6(1).into()),
        dst: IpAddr::V6(v6(2).into()),
        protocol: 6,
        src_port: 1,
        dst_port: 2,
    };
    assert!(matches!(m.snapshot.explain(&v6).unwrap().outcome, Outcome::Protect { spi: Some(0x1001), .. }));
    assert_eq!(m.snapshot.explain(&FiveTuple { protocol: 44, ..v6 }), Err(ExplainError::Protocol(44)));
    let mixed = FiveTuple { src: ours.into(), ..v6 };
    assert_eq!(m.snapshot.explain(&mixed), Err(ExplainError::Families(mixed.src, mixed.dst)));
}

#[test]
fn a_router_that_says_that_esp_did_not_fit_is_told_from_other_cleartext() {
    let v4 = |kind, code, protocol| {
        let mut quoted = [0; 28];
        (quoted[0], quoted[9]) = (0x45, protocol);
        raw4(1, &[&[kind, code, 0, 0, 0, 0, 5, 0x50][..], &quoted].concat())
    };
    let v6 = |kind, next| {
        let mut quoted = [0; 48];
        (quoted[0], quoted[6]) = (0x60, next);
        let message = [&[kind, 0, 0, 0, 0, 0, 5, 0x50][..], &quoted].concat();
        let mut frame = udp6(&message[..message.len() - 8]);
        frame[20] = 58;
        frame.truncate(54);
        frame.extend(message);
        frame
    };
    for (frame, reason) in [
        (v4(3, 4, 50), DropReason::PathMtu),
        (v4(3, 4, 6), DropReason::Cleartext),
        (v4(3, 3, 50), DropReason::Cleartext),
        (raw4(1, &[3, 4, 0, 0]), DropReason::Cleartext),
        (v6(2, 50), DropReason::PathMtu),
        (v6(1, 50), DropReason::Cleartext),
        (v6(2, 17), DropReason::Cleartext),
    ] {
        let mut m = Member::new(&protected(), 1500);
        m.wan_in(std::slice::from_ref(&frame));
        assert_eq!(m.drops(reason), 1, "{frame:02x?} {:?}", m.tally);
    }
}
