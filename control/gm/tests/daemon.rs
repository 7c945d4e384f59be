//! The member as its users start it: exit status, messages, control socket, and that no IV comes twice
//! across real processes. Capture files are its ports.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use getvpn_ctl::client::ClientError;
use getvpn_ctl::{Command, FaultCode, Spi};
use serde_json::Value;
use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

const COUNTERS: Command = Command::Counters { per: false };

fn number(reply: &Value, key: &str) -> u64 {
    reply[key].as_u64().unwrap_or_else(|| panic!("{key} in {reply}"))
}

#[test]
fn check_says_ok_or_what_is_wrong_and_where() {
    let site = Site::with_sa(0, "");
    let good = site.run(&["--check"]);
    assert_eq!((good.status.code(), text(&good.stdout)), (Some(0), "OK\n"));
    assert!(!site.path("gm.state").exists(), "a check changes nothing");

    site.configure("[[group]]\nnmae = \"finance\"\n");
    let bad = site.run(&["--check"]);
    assert_eq!(bad.status.code(), Some(2));
    let said = format!(
        "getvpn-gm: {}:14:1: group.nmae: there is no key `nmae` in group; did you mean `name`?\n",
        site.path("gm.toml").display()
    );
    assert_eq!(text(&bad.stderr), said);
    assert_eq!(site.run(&[]).status.code(), Some(2), "nor does it start");
}

#[test]
fn a_wrong_command_line_exits_2() {
    let site = Site::with_sa(0, "");
    for arguments in [
        &["--until-idle", "0"][..],
        &["--until-idle", "soon"],
        &["--log-format", "xml"],
        &["--log-level", "info,=="],
        &["--", "--lcores=0-3"],
        &["--", "-l", "0"],
    ] {
        let output = site.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn until_idle_ends_cleanly_and_the_summary_is_what_counters_replies() {
    let site = Site::with_sa(40, "");
    let summary = site.path("summary.json");
    let output = site.run(&["--until-idle", "0.2", "--summary", summary.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("encrypted"), "{}", text(&output.stdout));
    let json = fs::read_to_string(&summary).unwrap();
    let reply: getvpn_ctl::reply::Counters = serde_json::from_str(&json).unwrap();
    assert_eq!((reply.total.rx, reply.total.encrypted, reply.total.tx), (40, 40, 40));
    assert_eq!(reply.total.drops.values().sum::<u64>(), 0);
    assert_eq!(serde_json::to_string(&reply).unwrap() + "\n", json);
    assert!(!site.path("gm.sock").exists());
    assert_eq!(site.sealed_ivs(), (1..=40).collect::<Vec<u64>>());
}

#[test]
fn nothing_of_eal_stays_behind_with_its_telemetry_or_without() {
    let site = Site::with_sa(0, "");
    let config = fs::read_to_string(site.path("gm.toml")).unwrap();
    for with in ["\"--no-telemetry\", ", ""] {
        fs::write(site.path("gm.toml"), config.replace("\"--no-telemetry\", ", with)).unwrap();
        let output = site.run(&["--until-idle", "0.1"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let left: Vec<_> = fs::read_dir(site.path("dpdk")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn the_control_socket_shows_the_member_and_takes_an_sa_away() {
    let site = Site::with_sa(10, "lifetime_s = 86400\nreplay = \"sender\"\n");
    let member = site.start(&[]);
    let status = member.ask(&Command::Status {}).unwrap();
    assert_eq!((&status["role"], &status["groups"][0]["name"]), (&"gm".into(), &"finance".into()));
    assert_eq!((&status["groups"][0]["id"], &status["groups"][0]["sas"]), (&7.into(), &1.into()));

    member.wait(&COUNTERS, |reply| number(reply, "encrypted") == 10);
    let per = member.ask(&Command::Counters { per: true }).unwrap();
    assert_eq!((&per["per"][0]["link"], &per["per"][0]["worker"]), (&"site".into(), &0.into()));

    let list = member.ask(&Command::SaList {}).unwrap();
    let sa = &list["sas"][0];
    for (key, value) in
        [("spi", "0x00010001"), ("group", "finance"), ("transform", "aes-128-gcm"), ("state", "active")]
    {
        assert_eq!(sa[key], value);
    }
    assert_eq!((number(sa, "packets"), number(sa, "bytes"), number(sa, "errors")), (10, 600, 0));
    assert!((86_000..=86_400).contains(&number(sa, "lifetime_left_s")));

    let detail = member.ask(&Command::SaShow { spi: Spi(SPI) }).unwrap();
    assert_eq!(number(&detail["senders"][0], "next"), 11);
    assert!(number(&detail["senders"][0], "reserved") > 1_000_000);
    assert_eq!(detail["selectors"][0]["src"], "10.0.0.0/8");
    assert!(!detail.to_string().contains(&KEY[..16]), "no key in a reply");

    let deleted = member.ask(&Command::SaDelete { spi: Spi(SPI) }).unwrap();
    assert_eq!(deleted["deleted"], "0x00010001");
    for command in [Command::SaShow { spi: Spi(SPI) }, Command::SaDelete { spi: Spi(SPI) }] {
        let Err(ClientError::Refused(fault)) = member.ask(&command) else { panic!("{command:?}") };
        assert_eq!(fault.code, FaultCode::NotFound);
    }
    assert_eq!(member.ask(&Command::Status {}).unwrap()["groups"][0]["state"], "no-sa");
    assert_eq!(member.ask(&Command::UnknownSpi {}).unwrap()["spis"], Value::Array(vec![]));
    member.signal("TERM");
    let output = member.end();
    assert_eq!(output.status.code(), Some(0), "{}", site.log());
    assert!(site.log().contains("sa_deleted") && !site.log().contains(&KEY[..16]), "{}", site.log());
}

#[test]
fn unknown_spis_are_counted_and_shown_with_who_sends_them() {
    let site = Site::with_sa(0, "");
    site.wan_receives(&[0x999, 0x999, 0x999, 0x1234_5678]);
    let member = site.start(&[]);
    let reply = member.wait(&Command::UnknownSpi {}, |reply| reply["spis"].as_array().unwrap().len() == 2);
    let spis = reply["spis"].as_array().unwrap();
    assert_eq!((&spis[0]["spi"], &spis[0]["senders"][0]), (&"0x12345678".into(), &"10.2.0.4".into()));
    assert_eq!((&spis[1]["spi"], &spis[1]["link"]), (&"0x00000999".into(), &"site".into()));
    assert_eq!(spis[1]["destination"], "10.1.0.1");
    let counters = member.ask(&COUNTERS).unwrap();
    assert_eq!(counters["drops"]["unknown_spi"], 4);
    assert!(counters["reasons"]["unknown_spi"]["advice"].is_string());
}

#[test]
fn an_expired_sa_leaves_and_is_logged_once() {
    let site = Site::with_sa(0, "lifetime_s = 1\n");
    let member = site.start(&["--log-format", "json"]);
    member.wait(&Command::SaList {}, |reply| reply["sas"] == Value::Array(vec![]));
    member.signal("INT");
    assert_eq!(member.end().status.code(), Some(0));
    let lines: Vec<Value> = site.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let expired: Vec<_> = lines.iter().filter(|line| line["event"] == "sa_expired").collect();
    assert_eq!(expired.len(), 1, "{}", site.log());
    assert_eq!((&expired[0]["spi"], &expired[0]["group"]), (&"0x00010001".into(), &"finance".into()));
}

#[test]
fn no_iv_comes_twice_across_clean_stops_and_kill_9() {
    let site = Site::with_sa(25, "");
    let mut seen = HashSet::new();
    let mut all = 0;
    for clean in [true, true, false, false, true, true] {
        let member = site.start(&[]);
        member.wait(&COUNTERS, |reply| number(reply, "encrypted") == 25);
        if clean {
            member.signal("TERM");
            assert_eq!(member.end().status.code(), Some(0));
            // Only a clean end writes the capture out in full.
            let ivs = site.sealed_ivs();
            all += ivs.len();
            seen.extend(ivs);
        } else {
            let sender = member.ask(&Command::SaShow { spi: Spi(SPI) }).unwrap();
            let next = number(&sender["senders"][0], "next");
            all += 25;
            seen.extend(next - 25..next);
            member.signal("KILL");
            member.end();
        }
    }
    assert_eq!((all, seen.len()), (150, 150));
}

#[test]
fn a_second_member_on_the_same_socket_or_state_is_refused() {
    let site = Site::with_sa(0, "");
    let member = site.start(&[]);
    let output = site.run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("another daemon answers on it"), "{}", text(&output.stderr));

    let config = fs::read_to_string(site.path("gm.toml")).unwrap();
    let elsewhere = config.replace("socket = \"gm.sock\"", "socket = \"other.sock\"");
    fs::write(site.path("gm.toml"), elsewhere).unwrap();
    let output = site.run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("another getvpn-gm is using it"), "{}", text(&output.stderr));
    assert!(member.ask(&Command::Status {}).is_ok(), "the first one is not disturbed");
}

#[test]
fn a_damaged_state_file_keeps_the_member_from_starting() {
    let site = Site::with_sa(5, "");
    assert_eq!(site.run(&["--until-idle", "0.1"]).status.code(), Some(0));
    let file = site.path("gm.state/counters.json");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace("\"0\":6", "\"0\":1")).unwrap();
    let output = site.run(&["--until-idle", "0.1"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(
        said.contains("its checksum is wrong") && said.contains("give every manual SA a new key"),
        "{said}"
    );
    fs::write(&file, good).unwrap();
    assert_eq!(site.run(&["--until-idle", "0.1"]).status.code(), Some(0));
    assert_eq!(site.sealed_ivs(), (6..=10).collect::<Vec<u64>>());
}

#[test]
fn what_dpdk_cannot_do_is_told_with_a_remedy_and_exits_2() {
    let site = Site::with_sa(0, "");
    let config = fs::read_to_string(site.path("gm.toml")).unwrap();
    for (what, with, said) in [
        ("wan = \"net_pcap1\"", "wan = \"net_pcap7\"", "net_pcap7"),
        ("--vdev=net_pcap1", "--vdev=net_nonesuch1", "net_nonesuch1"),
        ("\"--no-telemetry\"", "\"--no-such-option\"", "no-such-option"),
    ] {
        fs::write(site.path("gm.toml"), config.replace(what, with)).unwrap();
        let output = site.run(&["--until-idle", "0.1"]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{with}: {stderr}");
        assert!(stderr.contains("getvpn-gm: ") && stderr.contains(said), "{with}: {stderr}");
    }
}

#[test]
fn stalled_and_flooding_clients_hold_up_nobody() {
    let site = Site::with_sa(5, "");
    let member = site.start(&[]);
    let stalled: Vec<_> = (0..64)
        .map(|_| {
            let mut stream = UnixStream::connect(site.path("gm.sock")).unwrap();
            let _ = stream.write_all(b"{\"version\":1,\"comm");
            stream
        })
        .collect();
    // Requests whose replies nobody reads.
    let mut flood = UnixStream::connect(site.path("gm.sock")).unwrap();
    flood.set_write_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
    let _ = flood.write_all(COUNTERS.encode().repeat(20_000).as_bytes());
    for _ in 0..50 {
        assert_eq!(number(&member.ask(&COUNTERS).unwrap(), "encrypted"), 5);
    }
    drop((stalled, flood));
    member.signal("TERM");
    assert_eq!(member.end().status.code(), Some(0));
}

#[test]
fn a_member_whose_key_server_cannot_be_reached_starts_and_lets_through_what_policy_allows() {
    for (without_sa, counter) in [("drop", "drops"), ("bypass", "bypassed")] {
        let group = format!(
            "listen = \"127.0.0.1:0\"\n[[group]]\nname = \"far\"\nid = 7\nwithout_sa = \"{without_sa}\"\n\
             key_servers = [\"127.0.0.1:9\"]\npsk_file = \"gm.psk\"\n"
        );
        let site = Site::new(10, &group);
        let psk = site.path("gm.psk");
        fs::write(&psk, "secret\n").unwrap();
        fs::set_permissions(&psk, fs::Permissions::from_mode(0o600)).unwrap();
        let member = site.start(&[]);
        let counters = member.wait(&COUNTERS, |reply| number(reply, "rx") == 10);
        let found = if counter == "drops" { &counters["drops"]["no_sa"] } else { &counters[counter] };
        assert_eq!(*found, 10, "{counters}");
        let status = member.ask(&Command::Status {}).unwrap();
        assert_eq!(status["groups"][0]["state"], "registering", "{status}");
        assert_eq!(status["groups"][0]["key_server"], "127.0.0.1:9");
        let sync = member.ask(&Command::Sync {}).unwrap();
        assert_eq!((&sync["groups"][0]["id"], &sync["groups"][0]["phase1"]), (&7.into(), &false.into()));
        assert_eq!(member.ask(&Command::Resync { group: "far".into() }).unwrap()["group"], "far");
        assert!(member.ask(&Command::Resync { group: "near".into() }).is_err());
        assert!(!site.path("gm.state").exists(), "nothing is reserved for key servers' SAs");
        member.signal("TERM");
        assert_eq!(member.end().status.code(), Some(0), "{}", site.log());
    }
}
