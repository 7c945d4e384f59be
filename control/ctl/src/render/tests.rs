//! What people get to see: its text, its alignment and its width at the largest numbers.

use super::*;
use crate::Spi;
use crate::reply::{
    AskedIn, AskedSpi, GroupStatus, GroupSync, Kek, LastRegistration, LinkStatus, Parking, PerWorker,
    PolicyHit, PolicyRule, Reason, Recovery, ReplayDetail, SaSummary, SenderDetail, SpiKnown, Suppressed,
    Sync, UnknownSpi,
};
use std::collections::BTreeMap;

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

#[test]
fn numbers_and_durations_are_for_people() {
    assert_eq!(number(0), "0");
    assert_eq!(number(999), "999");
    assert_eq!(number(1000), "1,000");
    assert_eq!(number(12_345_678), "12,345,678");
    assert_eq!(duration(59), "59 s");
    assert_eq!(duration(60), "1 min 0 s");
    assert_eq!(duration(3_661), "1 h 1 min");
    assert_eq!(duration(90_000), "1 d 1 h");
    assert_eq!(ago(9_999), "9999 ms");
    assert_eq!(ago(61_000), "1 min 1 s");
}

#[test]
fn counters_show_the_drops_that_happened_with_their_advice_and_align() {
    let mut drops = BTreeMap::from([("no_sa".into(), 0), ("replay_duplicate".into(), 17)]);
    drops.insert("authentication".to_owned(), 1_234_567);
    let reply = Counters {
        total: Totals {
            rx: 20_000_000,
            rx_octets: 9_000_000_000,
            decrypted: 18_765_416,
            drops,
            ..Totals::default()
        },
        reasons: BTreeMap::from([(
            "authentication".into(),
            Reason {
                meaning: "the integrity check value is wrong".into(),
                advice: "keys differ between the members, or the packet was changed or forged".into(),
            },
        )]),
        reset_s: None,
        key_server: BTreeMap::new(),
        ports: vec![PortCounters {
            link: "site".into(),
            side: "LAN".into(),
            device: "net_pcap0".into(),
            rx_missed: 1234,
            ..PortCounters::default()
        }],
        per: None,
    };
    let text = counters(&reply);
    assert!(text.contains("received          20,000,000  9,000,000,000\n"), "{text}");
    assert!(text.contains("dropped            1,234,584\n"), "{text}");
    let authentication = text.find("authentication").expect("named");
    assert!(authentication < text.find("replay_duplicate").expect("named"), "the largest first\n{text}");
    assert!(
        text.contains("net_pcap0  site  LAN       1,234          0             0          0\n"),
        "{text}"
    );
    assert!(text.contains("keys differ between the members"), "{text}");
    assert!(!text.contains("no_sa"), "{text}");
    assert!(widest(&text) <= 100, "{text}");
}

#[test]
fn the_largest_numbers_fit_100_columns() {
    let big = 99_999_999_999_999;
    let total = Totals {
        rx: big,
        tx: big,
        decrypted: big,
        encrypted: big,
        bypassed: big,
        drops: BTreeMap::from([("a_reason_with_a_long_name".into(), big)]),
        ..Totals::default()
    };
    let per = PerWorker { link: "a-link-of-some-length".into(), worker: 127, counters: total.clone() };
    let text = counters(&Counters { total, per: Some(vec![per]), ..Counters::default() });
    assert!(widest(&text) <= 100, "{text}");

    let summary = SaSummary {
        spi: Spi(0x0001_0001),
        group: "finance-department".into(),
        transform: "aes-256-cbc-hmac-sha256".into(),
        direction: "both".into(),
        state: "receive-only".into(),
        source: "[2001:db8::1234]:848".into(),
        lifetime_left_s: Some(86_399),
        packets: big,
        bytes: big,
        errors: big,
    };
    let text = sa_list(&SaList { sas: vec![summary.clone(), summary.clone()] });
    assert!(widest(&text) <= 100, "{text}");

    let address: std::net::IpAddr = "2001:db8:1234:5678:9abc:def0:1234:5678".parse().expect("an address");
    let spi = UnknownSpi {
        spi: Spi(u32::MAX),
        link: "site".into(),
        count: u64::from(u32::MAX),
        first_seen_ms: 86_400_000,
        last_seen_ms: 9_999,
        senders: vec![address; 4],
        more_senders: true,
        destination: address,
        asked: Some("asking, 2 times asked for in finance".into()),
    };
    let reply = UnknownSpis { spis: vec![spi], capacity: 4096, evicted: big, lost: big };
    let text = unknown_spis(&reply);
    assert!(widest(&text) <= 100, "{text}");
    assert!(text.contains("  site  4,294,967,295     1 d 0 h    9999 ms  from 2001"), "{text}");
    assert_eq!(text.matches(&address.to_string()).count(), 5, "an address stays in one line\n{text}");
}

#[test]
fn an_sa_is_shown_with_its_selectors_and_senders() {
    let text = sa_detail(&SaDetail {
        summary: SaSummary {
            spi: Spi(0x0001_0001),
            group: "finance".into(),
            transform: "aes-128-gcm".into(),
            direction: "both".into(),
            state: "active".into(),
            source: "configuration".into(),
            lifetime_left_s: None,
            packets: 3,
            bytes: 300,
            errors: 1,
        },
        age_s: 75,
        mode: "tunnel".into(),
        replay: ReplayDetail { mode: "sender".into(), window: Some(1024), senders: Some(64) },
        sid_bits: 16,
        senders: vec![SenderDetail { sid: 5, worker: 0, next: 4, reserved: 8_388_609 }],
        selectors: vec![SelectorDetail {
            src: "10.0.0.0/8".into(),
            dst: "10.0.0.0/8".into(),
            protocol: Some(17),
            src_port: None,
            dst_port: Some("53".into()),
        }],
        inbound: Traffic { packets: 0, bytes: 0, errors: 1 },
        outbound: Traffic { packets: 3, bytes: 300, errors: 0 },
    });
    for part in [
        "SA                 0x00010001",
        "lifetime           not limited",
        "replay protection  sender, window 1024, up to 64 senders",
        "installed 1 min 15 s ago from the configuration",
        "10.0.0.0/8  10.0.0.0/8   17        any to 53",
        "8,388,609",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    assert!(widest(&text) <= 100, "{text}");
}

#[test]
fn status_names_links_and_groups() {
    let text = status(&Status {
        role: "gm".into(),
        version: "0.1.0".into(),
        pid: 7,
        uptime_s: 3,
        workers: 1,
        links: vec![LinkStatus {
            name: "site".into(),
            lan: "net_pcap0".into(),
            wan: "net_pcap1".into(),
            lan_up: true,
            wan_up: false,
            mtu: 1500,
        }],
        groups: vec![GroupStatus {
            name: "finance".into(),
            id: None,
            state: "manual".into(),
            key_server: None,
            kek: None,
            failed: None,
            sas: 2,
        }],
        clock_step: None,
    });
    assert_eq!(
        text,
        "getvpn-gm 0.1.0, process 7, up 3 s, 1 worker\n\
         \n\
         link  LAN port       WAN port          MTU\n\
         site  net_pcap0  up  net_pcap1  down  1500\n\
         \n\
         group    id  state   key server  SAs\n\
         finance   -  manual  -             2\n"
    );
}

#[test]
fn without_a_terminal_there_is_no_colour() {
    let text = sa_list(&SaList::default())
        + &counters(&Counters::default())
        + &unknown_spis(&UnknownSpis { evicted: 1, ..UnknownSpis::default() });
    assert!(!text.contains('\x1b'), "{text:?}");
    assert!(text.contains("no SAs") && text.contains("no packet came with an unknown SPI"), "{text}");
}

#[test]
fn a_registered_group_is_shown_with_its_kek() {
    let kek = Kek { spi: "00112233445566778899aabbccddeeff".into(), sequence: 7, lifetime_left_s: 86_399 };
    let text = status(&Status {
        role: "gm".into(),
        version: "0.1.0".into(),
        pid: 7,
        uptime_s: 3,
        workers: 1,
        links: Vec::new(),
        groups: vec![GroupStatus {
            name: "finance-department".into(),
            id: Some(u32::MAX),
            state: "re-registering".into(),
            key_server: Some("192.0.2.100:848".into()),
            kek: Some(kek),
            failed: Some(LastRegistration { ago_s: 61, why: "192.0.2.99:848: no answer in time".into() }),
            sas: 2,
        }],
        clock_step: None,
    });
    assert!(text.contains("00112233445566778899aabbccddeeff           7  23 h 59 min"), "{text}");
    assert!(text.contains("1 min 1 s ago  192.0.2.99:848: no answer in time"), "{text}");
    assert!(widest(&text) <= 100, "{text}");
}

#[test]
fn sync_says_what_is_asked_for_and_how_it_went() {
    let asked = |outcome: &str| AskedSpi {
        spi: Spi(0x1234_5678),
        why: "packets".into(),
        tries: 2,
        missing_ms: 4.25,
        ago_s: 61,
        outcome: outcome.into(),
    };
    let group = GroupSync {
        name: "finance".into(),
        id: 1234,
        state: "asking".into(),
        key_server: "192.0.2.1:848".into(),
        phase1: true,
        registered: Some(LastRegistration { ago_s: 61, why: "the member has no SAs yet".into() }),
        failed: None,
        retry_in_ms: None,
        kek: Some(Kek {
            spi: "00112233445566778899aabbccddeeff".into(),
            sequence: 7,
            lifetime_left_s: 86_399,
        }),
        asking: vec![asked("asking")],
        asked: vec![asked("unknown"), asked("recovered")],
        pending: 0,
        remembered: 1,
        recovery: Recovery {
            recovered: 12,
            p50_ms: Some(1.875),
            p99_ms: Some(3.0),
            max_ms: Some(12_000.0),
            suppressed: Suppressed { already_asked: 1_000_000, remembered: 2, no_budget: 3 },
            ..Recovery::default()
        },
        counters: BTreeMap::from([("registrations".into(), 3), ("bad_pushes".into(), 0)]),
    };
    let parking = Parking { packets: 3, most_octets: 4_500, max_packets: 2_048, ..Parking::default() };
    let text = sync(&Sync { groups: vec![group], parking });
    for part in [
        "group          finance, id 1234\n",
        "key server     192.0.2.1:848, phase 1 established\n",
        "registered     1 min 1 s ago: the member has no SAs yet\n",
        "failed         -\n",
        "last rekey 7, 23 h 59 min left\n",
        "p50 1.9 ms, p99 3.0 ms, at most 12.0 s\n",
        "1,000,000 were asked for already",
        "counted        3 registrations\n",
        "0x12345678  packets            2       4.2 ms  1 min 1 s ago  asking\n",
        "now                              3       0\n",
        "at most so far                   0   4,500\n",
        "limit                        2,048       0\n",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    assert!(
        text.find("recovered\n").expect("there") < text.find("unknown\n").expect("there"),
        "newest first"
    );
    assert!(widest(&text) <= 100, "{text}");
    assert_eq!(sync(&Sync::default()), "no group has key servers");
}

#[test]
fn a_policy_hit_and_an_spi_are_shown_with_what_to_do_and_fit() {
    let v6 = "2001:db8:1111:2222:3333:4444:5555:6666";
    let selector = SelectorDetail {
        src: format!("{v6}/128"),
        dst: "fd00:aaaa:bbbb:cccc:dddd:eeee:ffff:1/128".into(),
        protocol: Some(17),
        src_port: Some("10000-65535".into()),
        dst_port: Some("53".into()),
    };
    let hit = PolicyHit {
        src: v6.parse().unwrap(),
        dst: "fd00:aaaa:bbbb:cccc:dddd:eeee:ffff:1".parse().unwrap(),
        protocol: 17,
        src_port: 65_535,
        dst_port: 53,
        rule: Some(PolicyRule { number: 4_000_000_000, group: Some("finance".into()), selector }),
        to_wan: "dropped".into(),
        from_wan_in_the_clear: "dropped".into(),
        spi: None,
        says: "group finance has no SA to send it with and drops it, as `no_sa`: see `sa list` and `sync`"
            .into(),
    };
    let text = policy_hit(&hit);
    assert!(widest(&text) <= 100, "{text}");
    for word in ["as `no_sa`", "of group finance", "10000-65535", "from the WAN in the clear"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let asked = AskedSpi {
        spi: Spi(0x1001),
        why: "keys-without-policy".into(),
        tries: 20,
        missing_ms: 12_345_678.9,
        ago_s: 12_345,
        outcome: "unknown".into(),
    };
    let known = SpiKnown {
        spi: Spi(0x1001),
        sa: None,
        unknown: None,
        mark: "not-marked".into(),
        asked: vec![AskedIn { group: "finance".into(), asked }],
        says: "0x00001001 has no SA, and the key server of group finance does not know it".into(),
    };
    let text = spi_known(&known);
    assert!(widest(&text) <= 100, "{text}");
    assert!(text.contains("keys-without-policy") && text.contains("not-marked"), "{text}");
    let json = serde_json::to_string(&known).unwrap();
    assert_eq!(serde_json::from_str::<SpiKnown>(&json).unwrap(), known);
}
