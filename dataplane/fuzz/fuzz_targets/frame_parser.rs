//! Any octets as a frame: the parser never panics, what it accepts lies inside them, and what is then
//! written into the packet or about it is a packet again.

#![no_main]

use getvpn_dataplane::packet::{Fragment, Headers, Parsed, Version, checksum, icmp, parse, parse_ip};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    check(frame);
    if let Some(mended) = with_ipv4_checksum(frame) {
        check(&mended);
    }
});

fn check(frame: &[u8]) {
    if let Parsed::Ip(headers) = parse(frame) {
        check_offsets(frame, &headers);
        check_changes(frame, &headers);
        check_errors(frame, &headers);
    }
    if let Ok(headers) = parse_ip(frame) {
        check_offsets(frame, &headers);
    }
}

fn check_offsets(octets: &[u8], headers: &Headers) {
    let l2_len = usize::from(headers.l2_len);
    let ip = l2_len..headers.upper_at();
    assert!(usize::from(headers.ip_len) <= headers.total_len as usize);
    assert!(headers.end() <= octets.len());
    assert!(ip.contains(&usize::from(headers.protocol_at)));
    assert!(ip.contains(&usize::from(headers.transport_next_at)));
    assert!((l2_len + 20..=headers.upper_at()).contains(&usize::from(headers.transport_insert_at)));
    assert_eq!(octets[usize::from(headers.protocol_at)], headers.protocol);

    let packet = &octets[l2_len..headers.end()];
    let inner = parse_ip(packet).unwrap();
    assert_eq!((inner.ip_len, inner.total_len), (headers.ip_len, headers.total_len));
    assert_eq!(inner.flow(packet), headers.flow(octets));
    assert_eq!((inner.fragment, inner.protocol), (headers.fragment, headers.protocol));
}

fn check_changes(frame: &[u8], headers: &Headers) {
    let mut changed = frame.to_vec();
    headers.set_ecn(&mut changed, 3);
    assert_eq!(headers.ecn(&changed), 3);
    assert_eq!(parse(&changed), Parsed::Ip(*headers));

    let len = headers.total_len as usize - headers.payload_len() / 2;
    let esp_at = usize::from(headers.transport_next_at);
    assert!(headers.set_next(&mut changed, headers.transport_next_at, 50, len));
    assert_eq!(changed[esp_at], 50);
    if headers.fragment == Fragment::None {
        let Parsed::Ip(after) = parse(&changed) else { panic!("no longer IP") };
        assert_eq!((after.protocol, after.total_len as usize), (50, len));
        assert_eq!(after.upper_at(), usize::from(headers.transport_insert_at));
    }
}

fn check_errors(frame: &[u8], headers: &Headers) {
    let _ = icmp::may_answer(frame, headers);
    let mut out = [0; icmp::MAX_FRAME];
    let len = match headers.version {
        Version::V4 => icmp::ipv4_fragmentation_needed(frame, headers, 1400, &mut out),
        Version::V6 => icmp::ipv6_packet_too_big(frame, headers, 1400, &mut out),
    };
    let error = &out[..len.unwrap()];
    let Parsed::Ip(parsed) = parse(error) else { panic!("not IP") };
    assert_eq!(parsed.end(), error.len());
    assert_eq!(parsed.source(error), headers.destination(frame));
    assert_eq!(parsed.destination(error), headers.source(frame));
    assert!(!icmp::may_answer(error, &parsed));
}

/// A right checksum, which random octets have not, so that the fuzzer gets past it.
fn with_ipv4_checksum(frame: &[u8]) -> Option<Vec<u8>> {
    let at = match *frame.get(12..14)? {
        [0x08, 0x00] => 14,
        [0x81, 0x00] => 18,
        _ => 22,
    };
    let len = usize::from(frame.get(at)? & 0xf) * 4;
    let mut mended = frame.to_vec();
    let header = mended.get_mut(at..at + len.max(20))?;
    header[10..12].fill(0);
    let sum = checksum::of(&[header]);
    header[10..12].copy_from_slice(&sum);
    Some(mended)
}
