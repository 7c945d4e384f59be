//! What is sealed by one member is opened by another, octet for octet; what must not pass does not, and
//! says why.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

mod common;

use common::*;
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{Direction, DropReason, Installed, Mode, PolicyState, ReplayPolicy, Sa};

const SPI: u32 = 0x0001_0001;

fn pair(state: &PolicyState) -> (Member, Member) {
    (Member::new(state, 1500), Member::new(state, 1500))
}

#[test]
fn every_transform_and_mode_returns_frames_octet_for_octet() {
    for &transform in Transform::ALL {
        for mode in [Mode::Tunnel, Mode::Transport] {
            let state = state(&[params(SPI, transform, mode)]);
            let (mut a, mut b) = pair(&state);
            for size in [0, 1, 2, 3, 15, 16, 17, 63, 64, 500, 1300] {
                let payload: Vec<u8> = (0..size).map(|i: usize| i as u8).collect();
                let plain = [udp4(&payload), udp6(&payload)];
                let frames: Vec<_> =
                    plain.iter().flat_map(|f| [f.clone(), tagged(f, &[5]), tagged(f, &[100, 5])]).collect();
                let sealed = a.lan_in(&frames).wan;
                assert_eq!(sealed.len(), frames.len(), "{transform} {mode} {size}");
                for (sealed, plain) in sealed.iter().zip(&frames) {
                    assert!(size < 16 || !contains(sealed, &payload) || !encrypts(transform));
                    assert_eq!(sealed[..12], plain[..12]);
                }
                assert_eq!(b.wan_in(&sealed).lan, frames, "{transform} {mode} {size}");
            }
            assert_eq!(a.tally.encrypted, b.tally.decrypted);
            assert_eq!((a.buffers_in_use(), b.buffers_in_use()), (0, 0));
        }
    }
}

fn encrypts(transform: Transform) -> bool {
    !transform.name().contains("gmac") && !transform.name().contains("null")
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len().max(1)).any(|w| w == needle)
}

#[test]
fn the_outer_header_keeps_addresses_dscp_ecn_df_and_ttl_and_no_options() {
    let state = state(&[params(SPI, Transform::Aes128Gcm, Mode::Tunnel)]);
    let (mut a, mut b) = pair(&state);
    let frame = with_ipv4(&udp4(b"hello"), |ip| {
        ip[1] = 0xb9; // EF, ECT(1)
        ip[6] = 0x40;
        ip[8] = 33;
    });
    let sealed = a.lan_in(std::slice::from_ref(&frame)).wan.remove(0);
    let ip = &sealed[14..34];
    assert_eq!((ip[0], ip[1], ip[6], ip[8], ip[9]), (0x45, 0xb9, 0x40, 33, 50));
    assert_eq!(addresses(&sealed), addresses(&frame));
    assert_eq!(b.wan_in(&[sealed]).lan, [frame]);
}

#[test]
fn congestion_on_the_way_reaches_the_inner_packet_or_drops_it() {
    let state = state(&[params(SPI, Transform::Aes128Gcm, Mode::Tunnel)]);
    let (mut a, mut b) = pair(&state);
    let capable = with_ipv4(&udp4(b"ect"), |ip| ip[1] = 2);
    let incapable = udp4(b"not-ect");
    let sealed = a.lan_in(&[capable.clone(), incapable]).wan;
    let marked: Vec<_> = sealed.iter().map(|f| with_ipv4(f, |ip| ip[1] |= 3)).collect();
    let out = b.wan_in(&marked).lan;
    assert_eq!(out, [with_ipv4(&capable, |ip| ip[1] = 3)]);
    assert_eq!(b.drops(DropReason::Ecn), 1);
}

#[test]
fn a_replayed_packet_is_dropped_and_named_and_a_forged_one_moves_no_window() {
    for replay in [ReplayPolicy::Counter { window: 64 }, ReplayPolicy::Sender { window: 64, max_senders: 4 }]
    {
        let mut p = params(SPI, Transform::Aes256Gcm, Mode::Tunnel);
        p.replay = replay;
        let state = state(&[p]);
        let (mut a, mut b) = pair(&state);
        let frames: Vec<_> = (0..200).map(|i: u32| udp4(&i.to_be_bytes())).collect();
        let sealed = a.lan_in(&frames).wan;

        // A forgery far ahead would push the window on if it were believed.
        let mut forged = sealed[0].clone();
        forged[spi_at(&sealed[0]) + 4..][..4].copy_from_slice(&0x00ff_ffffu32.to_be_bytes());
        assert_eq!(b.wan_in(&[forged]), Out::default());
        assert_eq!(b.drops(DropReason::Authentication), 1);

        assert_eq!(b.wan_in(&sealed[..100]).lan, frames[..100]);
        assert_eq!(b.wan_in(&sealed[99..100]), Out::default());
        assert_eq!(b.drops(DropReason::ReplayDuplicate), 1);
        assert_eq!(b.wan_in(&sealed[..1]), Out::default());
        assert_eq!(b.drops(DropReason::ReplayStale), 1);
        // Twice in one burst: both pass the first check, one the second.
        let twice = [sealed[150].clone(), sealed[150].clone()];
        assert_eq!(b.wan_in(&twice).lan, [frames[150].clone()]);
        assert_eq!(b.drops(DropReason::ReplayDuplicate), 2);
    }
}

#[test]
fn replay_windows_are_per_sender_and_bounded_in_number() {
    let sa = |sid: u32, max_senders: u32| {
        let mut p = params(SPI, Transform::Aes128Gcm, Mode::Tunnel);
        (p.sid, p.replay) = (sid, ReplayPolicy::Sender { window: 64, max_senders });
        state(&[p])
    };
    let frames = [udp4(b"x")];
    let sealed: Vec<_> =
        (0..3).map(|sid| Member::new(&sa(sid, 2), 1500).lan_in(&frames).wan.remove(0)).collect();
    let mut b = Member::new(&sa(9, 2), 1500);
    // All three bear sequence number 1; the first two are different senders.
    assert_eq!(b.wan_in(&sealed[..2]).lan.len(), 2);
    assert_eq!(b.wan_in(&sealed[..2]).lan.len(), 0);
    assert_eq!(b.drops(DropReason::ReplayDuplicate), 2);
    assert_eq!(b.wan_in(&sealed[2..]).lan.len(), 0);
    assert_eq!(b.drops(DropReason::ReplaySenders), 1);
}

#[test]
fn an_unknown_spi_is_counted_and_reported_once_in_an_interval() {
    let sealed = Member::new(&state(&[params(0x9999, Transform::Aes128Gcm, Mode::Tunnel)]), 1500)
        .lan_in(&vec![udp4(b"lost"); 50])
        .wan;
    let mut b = Member::new(&state(&[params(SPI, Transform::Aes128Gcm, Mode::Tunnel)]), 1500);
    assert_eq!(b.wan_in(&sealed), Out::default());
    assert_eq!(b.drops(DropReason::UnknownSpi), 50);
    let told: Vec<_> = b.punts.drain().collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].spi, 0x9999);
    assert_eq!((told[0].source, told[0].destination), addresses(&sealed[0]));
}

#[test]
fn an_sa_that_may_not_receive_refuses_with_its_own_reason() {
    let mut p = params(SPI, Transform::Aes128Gcm, Mode::Tunnel);
    let sealed = Member::new(&state(&[p.clone()]), 1500).lan_in(&[udp4(b"x")]).wan;
    p.direction = Direction::Out;
    let mut b = Member::new(&state(&[p]), 1500);
    assert_eq!(b.wan_in(&sealed), Out::default());
    assert_eq!(b.drops(DropReason::SaDirection), 1);
}

#[test]
fn truncated_and_misaligned_esp_is_refused_before_the_cipher() {
    let state = state(&[params(SPI, Transform::Aes128CbcHmacSha256, Mode::Tunnel)]);
    let (mut a, mut b) = pair(&state);
    let sealed = a.lan_in(&[udp4(b"0123456789")]).wan.remove(0);
    let payload = sealed[34..].to_vec();
    for len in 4..payload.len() {
        let cut = raw4(50, &payload[..len]);
        assert_eq!(b.wan_in(&[cut]), Out::default(), "{len}");
    }
    assert_eq!(
        b.drops(DropReason::EspTruncated) + b.drops(DropReason::Authentication),
        payload.len() as u64 - 4
    );
    assert!(b.drops(DropReason::EspTruncated) > b.drops(DropReason::Authentication));
    assert_eq!(b.wan_in(&[sealed]).lan.len(), 1);
}

/// Of a dummy only the next header need be well-formed, and it is no error (RFC 4303 section 2.6). It takes
/// its sequence number like any other packet.
#[test]
fn dummy_packets_are_dropped_quietly_whatever_is_in_them() {
    for mode in [Mode::Tunnel, Mode::Transport] {
        let mut p = params(SPI, Transform::Aes128Gcm, mode);
        p.replay = ReplayPolicy::Counter { window: 64 };
        let sa = Sa::new(&p, 1).unwrap();
        let mut b = Member::new(
            &PolicyState { groups: vec![group()], sas: vec![sa.clone().into()], ..Default::default() },
            1500,
        );
        let plaintexts: [&[u8]; 5] = [
            &[1, 2, 2, 59],
            &[0x45, 0, 0, 20, 0xee, 0xee, 0, 59],
            &[0xaa, 0xbb, 0xcc, 0xdd, 9, 9, 2, 59],
            &[0xaa, 0xbb, 255, 59],
            &[0, 0, 0, 59],
        ];
        let dummies: Vec<_> = (1..).zip(plaintexts).map(|(seq, text)| esp_around(&p, seq, text)).collect();
        assert_eq!(b.wan_in(&dummies), Out::default());
        assert_eq!(b.drops(DropReason::Dummy), 5, "{mode}");
        assert_eq!(sa.opened().errors, 0);
        b.wan_in(&dummies);
        assert_eq!(b.drops(DropReason::ReplayDuplicate), 5);
        assert_eq!(sa.opened().errors, 5);
    }
}

#[test]
fn an_authentic_packet_outside_the_selectors_is_dropped() {
    let mut wide = params(SPI, Transform::Aes128Gcm, Mode::Tunnel);
    let any = common::prefix("0.0.0.0/0");
    wide.selectors = vec![getvpn_dataplane::Selector::between(any, any)];
    let mut sender = state(&[wide.clone()]);
    sender.groups[0].selectors = wide.selectors.clone();
    let mut a = Member::new(&sender, 1500);
    let outside = udp4_between("192.0.2.1".parse().unwrap(), "10.0.0.2".parse().unwrap(), 1, 2);
    let inside = udp4(b"x");
    let sealed = a.lan_in(&[outside, inside.clone()]).wan;
    let mut b = Member::new(&state(&[params(SPI, Transform::Aes128Gcm, Mode::Tunnel)]), 1500);
    assert_eq!(b.wan_in(&sealed).lan, [inside]);
    assert_eq!(b.drops(DropReason::Selectors), 1);
}

#[test]
fn sealing_stops_at_the_reservation_and_before_the_counter_or_sequence_number_wraps() {
    let frames = vec![udp4(b"x"); 40];
    let cases = [
        // Reserved up to 10: 9 packets.
        (1, 10, ReplayPolicy::None, 9),
        // The counter has 48 bits.
        ((1 << 48) - 5, u64::MAX, ReplayPolicy::None, 5),
        // The sequence number has 32, and a receiver would take a second 1 for a replay.
        ((1 << 32) - 5, u64::MAX, ReplayPolicy::Counter { window: 64 }, 5),
        ((1 << 32) - 5, u64::MAX, ReplayPolicy::None, 40),
    ];
    for (first, reserved, replay, sent) in cases {
        let mut p = params(SPI, Transform::Aes128Gcm, Mode::Tunnel);
        (p.first_counter, p.reserved, p.replay) = (first, reserved, replay);
        let mut a = Member::new(&state(&[p]), 1500);
        let sealed = a.lan_in(&frames).wan;
        assert_eq!(sealed.len(), sent);
        assert_eq!(a.drops(DropReason::Iv), 40 - sent as u64);
        let ivs: std::collections::HashSet<_> = sealed.iter().map(|f| f[42..50].to_vec()).collect();
        assert_eq!(ivs.len(), sent);
        assert!(ivs.iter().all(|iv| iv[..2] == [0, 7]), "the sender ID stands in the top 16 bits");
    }
}

#[test]
fn the_newest_sender_is_chosen_and_the_old_still_receives() {
    let old = Sa::new(&params(SPI, Transform::Aes128Gcm, Mode::Tunnel), 1).unwrap();
    let new = Sa::new(&params(SPI + 1, Transform::Aes256Gcm, Mode::Tunnel), 1).unwrap();
    let with = |sas: Vec<Installed>| PolicyState { groups: vec![group()], sas, ..Default::default() };
    let mut a = Member::new(&with(vec![old.clone().into()]), 1500);
    let mut b = Member::new(&with(vec![old.clone().into(), new.clone().into()]), 1500);
    let early = a.lan_in(&[udp4(b"1")]).wan.remove(0);
    // Not yet active for sending (ATD).
    let waiting = Installed { sa: new.clone(), receives: true, sends: false };
    a.publish(&with(vec![old.clone().into(), waiting]));
    let waiting = a.lan_in(&[udp4(b"2")]).wan.remove(0);
    a.publish(&with(vec![old.into(), new.into()]));
    let late = a.lan_in(&[udp4(b"3")]).wan.remove(0);
    let spis = [&early, &waiting, &late].map(|f| f[34..38].to_vec());
    assert_eq!(spis, [SPI, SPI, SPI + 1].map(|s| s.to_be_bytes().to_vec()));
    assert_eq!(b.wan_in(&[early, waiting, late]).lan.len(), 3);
}
