use std::time::{Duration, Instant};

use super::model::Series;
use super::parts::{bar, bits, scaled, spark};
use super::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyEvent;
use serde_json::json;

fn from<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).expect("a reply")
}

/// A member that has counted for `s` seconds.
fn member(start: Instant, s: u64) -> Sample {
    let drops = json!({ "unknown_spi": 500 * s, "policy": 7 });
    let work = |busy: u64| {
        json!({ "seconds": 10.0, "load": 0.25, "busy_cycles": busy, "idle_cycles": 1000 * s, "busy_turns": 1,
                "idle_turns": 1, "stalls": 0, "stalled_ms": 0.0, "packets": 1, "bursts": 1, "burst_size": 23.5, "cycles_per_packet": 512.0, "stages": [] })
    };
    Sample {
        at: start + Duration::from_secs(s),
        status: from(json!({
            "role": "gm", "version": "0.1.0", "pid": 42, "uptime_s": 3661, "workers": 1,
            "links": [{ "name": "site", "lan": "a", "wan": "b", "mtu": 1500, "lan_up": true, "wan_up": false }],
            "groups": [{ "name": "finance", "id": 1, "state": "in-step", "key_server": "192.0.2.1:848", "sas": 1 }],
        })),
        counters: from(json!({
            "rx": 3_000_000 * s, "tx": 1, "decrypted": 1_000_000 * s, "encrypted": 2_000_000 * s, "bypassed": 0,
            "parked": 0, "drops": drops,
            "ports": [
                { "link": "site", "side": "LAN", "device": "a", "rx_missed": 0, "rx_errors": 0, "rx_no_buffer": 0,
                  "tx_errors": 0, "rx": 2_000_000 * s, "rx_octets": 1_000_000_000 * s, "tx": 1, "tx_octets": 1 },
                { "link": "site", "side": "WAN", "device": "b", "rx_missed": 0, "rx_errors": 0, "rx_no_buffer": 0,
                  "tx_errors": 0, "rx": 1_000_000 * s, "rx_octets": 1, "tx": 2_000_000 * s, "tx_octets": 1_250_000_000 * s },
            ],
        })),
        drops: from(json!({ "role": "gm", "since": "start", "since_s": 1.0, "drops": [
            { "reason": "policy", "count": 7000, "more": 0, "per_s": 0.0, "meaning": "", "advice": "" },
            { "reason": "unknown_spi", "count": 500 * s, "more": 0, "per_s": 0.0, "meaning": "", "advice": "" },
        ] })),
        sas: from(json!({ "sas": [
            { "spi": "0x00010001", "group": "finance", "transform": "aes-128-gcm", "direction": "both",
              "state": "active", "lifetime_left_s": 3599, "packets": 2_500 * s, "bytes": 1_000_000 * s, "errors": 3 },
        ] })),
        sync: from(json!({ "role": "gm", "groups": [] })),
        runtime: from(json!({ "hz": 2_000_000_000u64, "workers": [
            { "worker": 0, "core": 3, "recent": work(500 * s), "total": work(4000 * s) },
        ] })),
        groups: from(json!({ "groups": [] })),
    }
}

fn key_server(start: Instant, s: u64) -> Sample {
    Sample {
        status: from(json!({ "role": "ks", "version": "0.1.0", "pid": 43, "uptime_s": 60, "groups": [] })),
        counters: from(json!({
            "rx": 40 * s, "tx": 80 * s, "decrypted": 0, "encrypted": 0, "bypassed": 0, "parked": 0, "drops": {},
            "key_server": { "registrations": 12 * s, "invalid-spi": 3 },
        })),
        drops: from(json!({ "role": "ks", "since": "start", "since_s": 1.0, "drops": [
            { "reason": "pre-shared-key", "count": 9 * s, "more": 0, "per_s": 0.0, "meaning": "", "advice": "" },
        ] })),
        sync: from(
            json!({ "role": "ks", "groups": [{ "name": "finance", "id": 1, "state": "serving", "members": [
            member_of("gm1.example.net", "in-step"), member_of("gm2.example.net", "silent"),
        ] }], "invalid_spi": asks(), "limits": { "member_per_s": 1, "server_per_s": 1 } }),
        ),
        groups: from(json!({ "groups": [{
            "name": "finance", "id": 1, "state": "serving", "members": 2, "silent": 1, "sas": 1, "rekey_sas": 1,
            "transport": "unicast", "version": 1, "kek_left_s": 86000, "next_rekey_s": 3000, "sender_ids_left": 65000,
            "removed": [],
        }] })),
        ..member(start, s)
    }
}

fn member_of(name: &str, state: &str) -> serde_json::Value {
    json!({ "id": 1, "name": name, "address": "192.0.2.7:848", "state": state, "marks": true,
            "last_acknowledged": null, "missed": 2, "last_invalid_spi": null, "invalid_spi": asks() })
}

fn asks() -> serde_json::Value {
    json!({ "answered": 1500, "answered_together": 0, "unknown": 0, "ending": 0, "not_authorised": 0,
            "rate_limited": 0, "server_limited": 0, "unreachable": 0 })
}

/// What stands on a terminal of this size.
fn screen(model: &Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| draw(frame, model)).expect("a view");
    terminal.backend().to_string()
}

fn line<'a>(screen: &'a str, having: &str) -> &'a str {
    screen.lines().find(|line| line.contains(having)).unwrap_or_else(|| panic!("no {having:?} in\n{screen}"))
}

fn has(line: &str, parts: &[&str]) {
    let mut rest = line;
    for part in parts {
        rest = rest.split_once(part).unwrap_or_else(|| panic!("no {part:?} where it should be in {line}")).1;
    }
}

#[test]
fn a_member_is_shown_with_the_rates_between_two_samples() {
    let start = Instant::now();
    let mut model = Model::default();
    model.take(Ok(member(start, 0)));
    let first = screen(&model, 100, 30);
    has(line(&first, "LAN in"), &["- packets/s", "-"]);
    for s in 1..=3 {
        model.take(Ok(member(start, s)));
    }
    let screen = screen(&model, 100, 30);
    has(
        line(&screen, "getvpn-gm 0.1.0"),
        &["process 42", "up 1 h 1 min", "site: LAN up WAN down", "q quits"],
    );
    has(line(&screen, "LAN in"), &["2.00 M packets/s", "8.00 Gbit/s", "WAN in", "1.00 M packets/s"]);
    has(line(&screen, "WAN out"), &["2.00 M packets/s", "10.0 Gbit/s", "LAN out"]);
    has(line(&screen, "0 on core 3"), &[" 80.0 %", "████████████░░░", "512", "256", "23.5", "███"]);
    has(line(&screen, "unknown_spi"), &["1.50 k", "500", "███"]);
    has(line(&screen, "drops,"), &["500 /s"]);
    has(line(&screen, "policy"), &["7.00 k", "0"]);
    assert!(screen.find("unknown_spi") < screen.find("policy"), "what happens now stands first\n{screen}");
    has(line(&screen, "in-step"), &["finance", "in-step", "1"]);
    has(line(&screen, "0x00010001"), &["active", "59 min 59 s", "2.50 k", "8.00 Mbit/s", "3", "███"]);
    assert!(screen.lines().any(|line| line.contains('█') && !line.contains("core")), "a sparkline\n{screen}");
}

#[test]
fn a_key_server_is_shown_with_its_groups_members_and_what_is_asked_of_it() {
    let start = Instant::now();
    let mut model = Model::default();
    (1..=3).for_each(|s| model.take(Ok(key_server(start, s))));
    let screen = screen(&model, 100, 32);
    has(line(&screen, "40 a second"), &["80 a second"]);
    has(line(&screen, "registrations"), &["36", "12", "██"]);
    has(line(&screen, "acknowledgements"), &["0", "0"]);
    has(line(&screen, "pre-shared-key"), &["27", "9.0"]);
    has(line(&screen, "serving"), &["finance", "2", "1", "50 min 0 s", "23 h 53 min", "65000"]);
    has(line(&screen, "gm2.example.net"), &["192.0.2.7:848", "silent", "2", "1.50 k"]);
    assert!(
        screen.find("gm2.example.net") < screen.find("gm1.example.net"),
        "whoever needs looking at is first"
    );
}

#[test]
fn a_daemon_that_does_not_answer_is_said_and_one_that_was_restarted_begins_anew() {
    let start = Instant::now();
    let mut model = Model::default();
    (1..=3).for_each(|s| model.take(Ok(member(start, s))));
    model.take(Err("gm.sock: nothing answers".into()));
    let shown = screen(&model, 160, 30);
    has(line(&shown, "getvpn-gm"), &["no answer: gm.sock: nothing answers"]);
    has(line(&shown, "0x00010001"), &["2.50 k"]);
    let mut restarted = member(start, 4);
    restarted.status.pid = 43;
    model.take(Ok(restarted));
    assert_eq!(model.rate(&Series::Counter("rx")), None);
    has(line(&screen(&model, 160, 30), "getvpn-gm"), &["process 43", "q quits"]);
}

#[test]
fn it_draws_on_a_terminal_of_any_size() {
    let start = Instant::now();
    for make in [member, key_server] {
        let mut model = Model::default();
        (1..=300).for_each(|s| model.take(Ok(make(start, s))));
        for (width, height) in [(1, 1), (20, 5), (80, 24), (300, 100)] {
            screen(&model, width, height);
        }
    }
}

#[test]
fn q_escape_and_control_c_end_it_and_nothing_else_does() {
    let key = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
    for (event, ends) in [
        (key(KeyCode::Char('q'), KeyModifiers::NONE), true),
        (key(KeyCode::Esc, KeyModifiers::NONE), true),
        (key(KeyCode::Char('c'), KeyModifiers::CONTROL), true),
        (key(KeyCode::Char('c'), KeyModifiers::NONE), false),
        (Event::Resize(80, 24), false),
    ] {
        assert_eq!(wants_to_end(&event), ends, "{event:?}");
    }
}

#[test]
fn numbers_keep_within_their_columns() {
    for (n, text) in [
        (0.0, "0"),
        (0.25, "0.2"),
        (9.0, "9.0"),
        (42.0, "42"),
        (999.4, "999"),
        (999.6, "1.00 k"),
        (12_345.0, "12.3 k"),
        (123_456.0, "123 k"),
        (14_880_952.0, "14.9 M"),
        (1e15, "1000 T"),
    ] {
        assert_eq!(scaled(n), text);
    }
    assert_eq!(
        (bits(Some(1.25e9)), bits(Some(1.0)), bits(None)),
        ("10.0 Gbit/s".into(), "8.0 bit/s".into(), "-".into())
    );
    assert_eq!((bar(0.5, 4), bar(7.0, 2)), ("██░░".into(), "██".into()));
    assert_eq!(spark(&[0.0, 1.0, 4.0, 8.0], 6), "   ▁▄█");
    assert_eq!(spark(&[1.0, 2.0, 3.0], 2), "▆█");
}
