//! Every reply at its widest: each text far too long, each number large. The replies are examples as JSON, so that a
//! new field is found out by its absence here and not by an operator's terminal.

use super::*;
use crate::Command;
use crate::reply::{Check, Doctor, ExportedSas, ProbePage, ProbeStarted};
use serde::de::DeserializeOwned;
use serde_json::Value;

const SUMMARY: &str = r#""spi":"0x1","group":"g","transform":"t","direction":"both","state":"active","source":"s",
    "lifetime_left_s":1,"packets":1,"bytes":1,"errors":1"#;
const SELECTOR: &str = r#"{"src":"s","dst":"d","protocol":17,"src_port":"p","dst_port":"p"}"#;
const TOTALS: &str = r#""rx":1,"rx_octets":1,"tx":1,"tx_octets":1,"decrypted":1,"encrypted":1,"bypassed":1,"parked":1,
    "released":1,"fragments":1,"icmp":1,"punts":1,"punts_suppressed":1,"implausible":1,"punts_lost":1,"drops":{"r":1}"#;
const ASKED: &str = r#"{"spi":"0x1","why":"w","tries":1,"missing_ms":1.5,"ago_s":1,"outcome":"o"}"#;
const COUNTS: &str = r#"{"answered":1,"answered_together":1,"unknown":1,"ending":1,"not_authorised":1,"rate_limited":1,
    "server_limited":1,"unreachable":1}"#;

/// An example of each reply, with the text that it becomes at its widest. `sync` has two.
fn all() -> Vec<(&'static str, String)> {
    let detail = format!(
        r#"{{{SUMMARY},"age_s":1,"mode":"m","replay":{{"mode":"m","window":1,"senders":1}},"sid_bits":16,
        "senders":[{{"sid":1,"worker":1,"next":1,"reserved":1}}],"selectors":[{SELECTOR}],
        "inbound":{{"packets":1,"bytes":1,"errors":1}},"outbound":{{"packets":1,"bytes":1,"errors":1}}}}"#
    );
    let unknown = r#"{"spi":"0x1","link":"l","count":1,"first_seen_ms":1,"last_seen_ms":1,"senders":["10.0.0.1"],
        "more_senders":true,"destination":"10.0.0.1","asked":"a"}"#;
    let kek = r#"{"spi":"s","sequence":1,"lifetime_left_s":1}"#;
    let last = r#"{"ago_s":1,"why":"w"}"#;
    let work = r#"{"seconds":1.5,"load":0.5,"busy_cycles":1,"idle_cycles":1,"busy_turns":1,"idle_turns":1,"stalls":1,
        "stalled_ms":1.5,"packets":1,"bursts":1,"burst_size":1.5,"cycles_per_packet":1.5,"stages":[{"direction":"d",
        "stage":"s","meaning":"m","packets":1,"bursts":1,"cycles":1,"burst_size":1.5,"cycles_per_packet":1.5}]}"#;
    let changed = r#"{"group":"g","name":"n","removed":true}"#;
    vec![
        (
            "status",
            widest(
                &format!(
                    r#"{{"role":"r","version":"v","pid":1,"uptime_s":1,"workers":1,
                    "links":[{{"name":"n","lan":"l","wan":"w","mtu":1500,"lan_up":true,"wan_up":false}}],
                    "groups":[{{"name":"n","id":1,"state":"s","key_server":"k","kek":{kek},"failed":{last},"sas":1}}],
                    "clock_step":{{"ago_s":1,"by_ms":-1,"steps":1}}}}"#
                ),
                status,
            ),
        ),
        (
            "counters",
            widest(
                &format!(
                    r#"{{{TOTALS},"reset_s":1,"reasons":{{"r":{{"meaning":"m","advice":"a"}}}},
                    "ports":[{{"link":"l","side":"s","device":"d","rx_missed":1,"rx_errors":1,"rx_no_buffer":1,
                    "tx_errors":1}}],"per":[{{"link":"l","worker":1,{TOTALS}}}]}}"#
                ),
                counters,
            ),
        ),
        (
            "counters",
            widest(
                &format!(
                    r#"{{{TOTALS},"reasons":{{"c":{{"meaning":"m","advice":"a"}}}},"ports":[],"key_server":{{"c":1}}}}"#
                ),
                counters,
            ),
        ),
        (
            "drops",
            widest(
                r#"{"role":"gm","since":"s","since_s":1.5,"recent_s":1.5,"drops":[{"reason":"r","count":1,"more":1,
                "per_s":1.5,"recent_per_s":1.5,"meaning":"m","advice":"a","last":{"ago_ms":1,"link":"l","from":"f",
                "direction":"d","worker":1,"octets":1,"src":"10.0.0.1","dst":"10.0.0.1","protocol":50,"src_port":1,
                "dst_port":1,"spi":"0x1","sequence":1,"src_mac":"s","dst_mac":"d","ethertype":"e",
                "peer":"10.0.0.1:848"}}]}"#,
                drops,
            ),
        ),
        (
            "runtime",
            widest(
                &format!(r#"{{"hz":1,"workers":[{{"worker":1,"core":1,"recent":{work},"total":{work}}}]}}"#),
                runtime,
            ),
        ),
        ("sa list", widest(&format!(r#"{{"sas":[{{{SUMMARY}}}]}}"#), sa_list)),
        ("sa show", widest(&detail, sa_detail)),
        ("sa delete", widest(r#"{"deleted":"0x1","group":"g"}"#, sa_deleted)),
        (
            "policy",
            widest(
                &format!(
                    r#"{{"src":"10.0.0.1","dst":"10.0.0.1","protocol":6,"src_port":1,"dst_port":1,
                    "rule":{{"number":1,"group":"g","selector":{SELECTOR}}},"to_wan":"w",
                    "from_wan_in_the_clear":"f","spi":"0x1","says":"s"}}"#
                ),
                policy_hit,
            ),
        ),
        (
            "spi",
            widest(
                &format!(
                    r#"{{"spi":"0x1","sa":{detail},"unknown":{unknown},"mark":"m","says":"s","asked":[{{"group":"g",
                    "spi":"0x1","why":"w","tries":1,"missing_ms":1.5,"ago_s":1,"outcome":"o"}}]}}"#
                ),
                spi_known,
            ),
        ),
        (
            "unknown-spi",
            widest(&format!(r#"{{"spis":[{unknown}],"capacity":1,"evicted":1,"lost":1}}"#), unknown_spis),
        ),
        ("trace", widest(PROBE, |page: &ProbePage| traced_packet(&page.packets[0], 1))),
        (
            "capture",
            widest(STARTED, |started: &ProbeStarted| {
                format!("{}\n", capture_warning(started, &"x".repeat(200)))
            }),
        ),
        ("probe read", widest(PROBE, |page: &ProbePage| probe_end(page, u64::MAX, "packets"))),
        ("probe stop", widest(PROBE, |page: &ProbePage| probe_end(page, u64::MAX, "frames"))),
        (
            "sa export",
            widest(
                r#"{"sas":[{"spi":"0x1","group":"g","transform":"t","key":"00","integrity_key":"00"}]}"#,
                |exported: &ExportedSas| format!("{}\n", export_warning(exported, &"x".repeat(200))),
            ),
        ),
        (
            "sync",
            widest(
                &format!(
                    r#"{{"role":"gm","groups":[{{"name":"n","id":1,"state":"s","key_server":"k","phase1":true,
                    "registered":{last},"failed":{last},"retry_in_ms":1,"kek":{kek},"asking":[{ASKED}],"asked":[{ASKED}],
                    "pending":1,"remembered":1,"recovery":{{"recovered":1,"unknown":1,"refused":1,"abandoned":1,
                    "invalid_spi_sent":1,"registrations":1,"p50_ms":1.5,"p99_ms":1.5,"max_ms":1.5,
                    "suppressed":{{"already_asked":1,"remembered":1,"no_budget":1}}}},"counters":{{"c":1}}}}],
                    "parking":{{"packets":1,"octets":1,"most_packets":1,"most_octets":1,"max_packets":1,"max_octets":1,
                    "max_age_ms":1}}}}"#
                ),
                sync_reply,
            ),
        ),
        (
            "sync",
            widest(
                &format!(
                    r#"{{"role":"ks","groups":[{{"name":"n","id":1,"state":"s","members":[{{"id":1,"name":"n",
                    "address":"10.0.0.1:848","state":"s","marks":true,"last_acknowledged":{{"sequence":1,"unix_s":1}},
                    "missed":1,"last_invalid_spi":{{"spi":"0x1","unix_s":1,"outcome":"o"}},"invalid_spi":{COUNTS}}}]}}],
                    "invalid_spi":{COUNTS},"limits":{{"member_per_s":1,"server_per_s":1}}}}"#
                ),
                sync_reply,
            ),
        ),
        ("resync", widest(r#"{"group":"g","key_server":"k"}"#, resync)),
        (
            "group list",
            widest(
                r#"{"groups":[{"name":"n","id":1,"state":"s","members":1,"silent":1,"sas":1,"rekey_sas":1,
                "transport":"t","version":1,"kek_left_s":1,"next_rekey_s":1,"sender_ids_left":1,"removed":["r"]}]}"#,
                group_list,
            ),
        ),
        (
            "member list",
            widest(
                r#"{"group":"g","members":[{"id":1,"name":"n","address":"10.0.0.1:848","state":"s",
                "registered_unix_s":1,"registrations":1,"sids":{"first":1,"count":2},"kek":"k",
                "last_acknowledged":{"sequence":1,"unix_s":1},"missed":1,
                "last_invalid_spi":{"spi":"0x1","unix_s":1}}]}"#,
                member_list,
            ),
        ),
        ("member list", widest(r#"{"group":"g","members":[]}"#, member_list)),
        ("member remove", widest(changed, member_changed)),
        ("member readmit", widest(&changed.replace("true", "false"), member_changed)),
        ("rekey", widest(r#"{"group":"g","members":1}"#, rekeyed)),
        (
            "doctor",
            widest(r#"{"checks":[{"name":"n","state":"s","says":"s","fix":"f"}]}"#, |reply: &Doctor| {
                let red = reply.checks.iter().map(|check| Check { state: "red".into(), ..check.clone() });
                doctor(&Doctor { checks: red.collect() })
            }),
        ),
        ("log level", widest(r#"{"level":"l","at_start":"s","reverts_in_s":1}"#, log_level)),
        ("reset counters", widest(r#"{"counted_s":1}"#, counters_reset)),
        (
            "reload",
            widest(r#"{"dry_run":true,"changes":["c"],"needs_restart":["r"],"warnings":["w"]}"#, reloaded),
        ),
    ]
}

const STARTED: &str = r#"{"probe":1,"ends_in_s":1,"read_within_ms":1,"ports":[]}"#;

const PROBE: &str = r#"{"probe":1,"packets":[{"unix_us":1,"worker":1,"link":"l","direction":"in","outcome":"o","drop":"d",
    "steps":[{"step":"s","says":"s"},{"step":"s","says":"s"}]}],"frames":[],"running":true,"ended":"e","matched":1,
    "skipped":1,"not_looked_at":1,"lost":1}"#;

#[test]
fn every_reply_fits_100_columns_whatever_is_in_it() {
    for (command, text) in all() {
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(widest <= 100, "{command}: {widest} columns\n{text}");
        assert!(text.contains('\n'), "{command}: nothing long is in it\n{text}");
    }
}

#[test]
fn every_reply_is_tried() {
    let tried: Vec<_> = all().into_iter().map(|(command, _)| command).collect();
    for name in Command::NAMES {
        assert!(tried.contains(&name), "an example of the reply to {name:?} is missing");
    }
}

/// The text of a reply at its widest.
fn widest<T: DeserializeOwned>(json: &str, render: fn(&T) -> String) -> String {
    let mut reply: Value = serde_json::from_str(json).expect("an example is JSON");
    let fits = |value: &Value| serde_json::from_value::<T>(value.clone()).is_ok();
    assert!(fits(&reply), "no example of the reply: {:?}", serde_json::from_value::<T>(reply).err());
    for place in leaves(&reply, String::new()) {
        for wide in wider(reply.pointer(&place)) {
            let narrow = std::mem::replace(reply.pointer_mut(&place).expect("it is there"), wide);
            if fits(&reply) {
                break;
            }
            *reply.pointer_mut(&place).expect("it is there") = narrow;
        }
    }
    render(&serde_json::from_value(reply).expect("it was tried"))
}

/// The places of all strings and numbers.
fn leaves(value: &Value, place: String) -> Vec<String> {
    match value {
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(i, item)| leaves(item, format!("{place}/{i}"))).collect()
        }
        Value::Object(fields) => {
            fields.iter().flat_map(|(key, field)| leaves(field, format!("{place}/{key}"))).collect()
        }
        Value::String(_) | Value::Number(_) => vec![place],
        Value::Null | Value::Bool(_) => Vec::new(),
    }
}

/// What may take the place of a value, the widest first.
fn wider(value: Option<&Value>) -> Vec<Value> {
    match value {
        Some(Value::String(_)) => [
            "a name that goes on and on ".repeat(4) + &"without-a-space".repeat(8),
            "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535".into(),
            "2001:db8:1234:5678:9abc:def0:1234:5678".into(),
            "0xffffffff".into(),
        ]
        .map(Value::from)
        .into(),
        Some(Value::Number(_)) => {
            [99_999_999_999_999_u64, u32::MAX.into(), u16::MAX.into(), u8::MAX.into()].map(Value::from).into()
        }
        _ => Vec::new(),
    }
}
