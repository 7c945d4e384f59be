//! What people get to see: its text, its alignment and its width at the largest numbers.

use super::*;
use crate::Spi;
use crate::reply::{
    GroupStatus, LinkStatus, PerWorker, Reason, ReplayDetail, SaSummary, SenderDetail, UnknownSpi,
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
        state: "active".into(),
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
            lifetime_left_s: None,
            packets: 3,
            bytes: 300,
            errors: 1,
        },
        source: "configuration".into(),
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
            sas: 2,
        }],
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
