//! What a configuration means, and that what is wrong is told with its place and its remedy.

mod bad;
mod registration;

use super::*;
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{Direction, Mode, Prefix, ReplayPolicy, Selector};
use getvpn_gdoi::ike::Credentials;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// The smallest that a member can start with. Line 1 is `[workers]`.
const BASE: &str = r#"[workers]
cores = [1]
[[link]]
name = "site"
lan = "net_pcap0"
wan = "net_pcap1"
[[group]]
name = "finance"
[[group.sa]]
spi = 0x00010001
transform = "aes-128-gcm"
key = "000102030405060708090a0b0c0d0e0f10111213"
selectors = [{ src = "10.0.0.0/8", dst = "10.0.0.0/8" }]
"#;

fn machine() -> Machine {
    Machine { cpus: vec![0, 1, 2, 3] }
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("gm.toml"), text, &machine())
}

fn prefix(address: &str, length: u8) -> Prefix {
    Prefix::new(address.parse().unwrap(), length).unwrap()
}

#[test]
fn what_is_not_said_has_its_default() {
    let config = parse(BASE).unwrap();
    assert_eq!(config.eal_args, [""; 0]);
    let workers = Workers {
        cores: vec![1],
        idle: Idle::Spin,
        buffers: 16_384,
        tx_wait_us: 100,
        link_wait: Duration::from_secs(9),
    };
    assert_eq!(config.workers, workers);
    assert_eq!(config.parking, ParkingLimits { packets: 1024, octets: 2 << 20, age: Duration::from_secs(1) });
    assert_eq!(config.links[0].mtu, 1500);
    let control = Control {
        socket: "/run/getvpn/gm.sock".into(),
        permissions: Permissions::default(),
        state: "gm.state".into(),
        listen: "0.0.0.0:848".parse().unwrap(),
        multicast_interface: None,
        invalid_spi_per_s: 100,
    };
    assert_eq!(config.control, control);
    assert!(config.local.is_empty());
    let group = &config.groups[0];
    assert_eq!((group.id, group.without_sa, group.enforce), (None, WithoutSa::Drop, Enforce::Both));
    assert!(group.registration.is_none());
    let ManualSa { params, lifetime } = &group.sas[0];
    assert_eq!(*lifetime, None);
    assert_eq!((params.spi, params.group, params.transform), (0x0001_0001, 0, Transform::Aes128Gcm));
    assert_eq!((params.mode, params.direction), (Mode::Tunnel, Direction::Both));
    assert_eq!((params.replay, params.sid, params.sid_bits), (ReplayPolicy::None, 0, 16));
    assert_eq!(params.selectors, [Selector::between(prefix("10.0.0.0", 8), prefix("10.0.0.0", 8))]);
    assert_eq!(**params.key, *(0..20).collect::<Vec<u8>>());
}

#[test]
fn what_may_wait_is_said_for_each_worker_and_leaves_buffers_to_what_arrives() {
    let parking = |text: &str| parse(&[BASE, text].concat()).unwrap().parking;
    let limits = parking("[parking]\npackets = 100\noctets = 20_000\nage_ms = 250\n");
    assert_eq!(limits, ParkingLimits { packets: 100, octets: 20_000, age: Duration::from_millis(250) });
    assert_eq!(parking("[parking]\npackets = 0\n"), ParkingLimits { packets: 0, ..ParkingLimits::default() });
    let few = BASE.replace("cores = [1]", "cores = [1, 2]\nbuffers = 2_000");
    assert_eq!(parse(&few).unwrap().parking.packets, 250);
}

/// The example of the design, with keys in place of their descriptions and files that exist.
#[test]
fn the_example_of_the_design_is_read_in_full() {
    let dir = tempfile::tempdir().unwrap();
    let psk = dir.path().join("gm.psk");
    fs::write(&psk, "secret").unwrap();
    fs::set_permissions(&psk, fs::Permissions::from_mode(0o600)).unwrap();
    let text = r#"
[eal]
args = ["--no-huge", "--no-pci",
        "--vdev=net_pcap0,rx_pcap=lan-in.pcap,tx_pcap=lan-out.pcap",
        "--vdev=net_pcap1,rx_pcap=wan-in.pcap,tx_pcap=wan-out.pcap"]

[workers]
cores = [1]                     # one poll-mode worker a core; the daemon derives EAL's core list from this
idle = "spin"                   # or "sleep": back off when no packets come, for shared cores, tests and demos

[[link]]                        # a LAN port wired to a WAN port; names as DPDK names devices (vdev or PCI address)
name = "site"
lan = "net_pcap0"
wan = "net_pcap1"
mtu = 1500

[control]
socket = "/run/getvpn/gm.sock"

[[group]]
name = "finance"
id = 1234
without_sa = "drop"             # or "bypass"
enforce = "both"                # or "inbound-optional", "receive-only": the steps of a migration
key_servers = ["192.0.2.1:848"] # tried in order
local_id = "gm1.example.net"
psk_file = "gm.psk"             # or certificate, private_key, trust_anchors

[[group.sa]]                    # manual SA: no key server needed
spi = 0x00010001
transform = "aes-128-cbc-hmac-sha1"
key = "000102030405060708090a0b0c0d0e0f"
integrity_key = "00:01:02:03:04:05:06:07 08:09:0a:0b:0c:0d:0e:0f:10:11:12:13"
mode = "tunnel"                 # tunnel, with the inner addresses kept outside, or transport
direction = "both"              # in, out, both
replay = "none"                 # "counter", "sender" (a window per SID), with replay_window = 1024
sid = 0                         # first sender ID, with sid_bits = 16: worker n uses sid + n
selectors = [{ src = "10.0.0.0/8", dst = "10.0.0.0/8" }]   # also protocol, src_port, dst_port
"#;
    let file = dir.path().join("gm.toml");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let config = Config::load(&file, &machine()).unwrap();
    assert_eq!(config.eal_args.len(), 4);
    let group = &config.groups[0];
    assert_eq!(group.id, Some(1234));
    let registration = group.registration.as_ref().unwrap();
    let server = KeyServer { address: "192.0.2.1:848".parse().unwrap(), identity: None };
    assert_eq!(registration.key_servers, [server]);
    assert_eq!(registration.identity, Some("gm1.example.net".parse().unwrap()));
    let Credentials::Psk(key) = &registration.credentials else { panic!("no pre-shared key") };
    assert_eq!(*key, b"secret"[..]);
    assert_eq!(group.sas[0].params.integrity_key.len(), 20);
    assert_eq!(config.control.state, dir.path().join("gm.state"));
}

#[test]
fn selectors_take_names_numbers_ranges_and_single_addresses() {
    let text = BASE.replace(
        "selectors = [{ src = \"10.0.0.0/8\", dst = \"10.0.0.0/8\" }]",
        r#"selectors = [
            { src = "10.1.2.3", dst = "0.0.0.0/0", protocol = "udp", src_port = 53, dst_port = "1024-65535" },
            { src = "2001:db8::/32", dst = "::/0", protocol = 58 },
            { src = "2001:db8::1", dst = "ff00::/8", protocol = "tcp", dst_port = "80" },
        ]"#,
    );
    let config = parse(&text).unwrap();
    let selectors = &config.groups[0].sas[0].params.selectors;
    assert_eq!(selectors[0].src, prefix("10.1.2.3", 32));
    assert_eq!((selectors[0].protocol, selectors[0].src_port), (Some(17), (53, 53)));
    assert_eq!(selectors[0].dst_port, (1024, 65535));
    assert_eq!((selectors[1].protocol, selectors[1].dst), (Some(58), prefix("::", 0)));
    assert_eq!((selectors[2].src, selectors[2].dst_port), (prefix("2001:db8::1", 128), (80, 80)));
}

#[test]
fn local_rules_keep_their_order() {
    let text = format!(
        "{BASE}[[policy]]\naction = \"bypass\"\nsrc = \"0.0.0.0/0\"\ndst = \"0.0.0.0/0\"\nprotocol = \"ospf\"\n\
         [[policy]]\naction = \"drop\"\nsrc = \"::/0\"\ndst = \"::/0\"\n"
    );
    let rules = parse(&text).unwrap().local;
    assert_eq!((rules[0].action, rules[0].selector.protocol), (LocalAction::Bypass, Some(89)));
    assert_eq!((rules[1].action, rules[1].selector.src), (LocalAction::Drop, prefix("::", 0)));
}

#[test]
fn a_window_for_each_sender_and_a_lifetime_are_read() {
    let text = format!(
        "{BASE}replay = \"sender\"\nreplay_window = 128\nreplay_senders = 9\nlifetime_s = 60\nsid = 65535\n"
    );
    let config = parse(&text).unwrap();
    let sa = &config.groups[0].sas[0];
    assert_eq!(sa.params.replay, ReplayPolicy::Sender { window: 128, max_senders: 9 });
    assert_eq!((sa.lifetime, sa.params.sid), (Some(Duration::from_secs(60)), 65535));
}

#[test]
fn every_transform_takes_keys_of_its_length_and_no_other() {
    for &transform in Transform::ALL {
        for (key, integrity) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let hex = |octets: usize| "a5".repeat(octets);
            let text = BASE
                .replace("aes-128-gcm", transform.name())
                .replace("000102030405060708090a0b0c0d0e0f10111213", &hex(transform.key_len() + key))
                + &format!("integrity_key = \"{}\"\n", hex(transform.integrity_key_len() + integrity));
            assert_eq!(parse(&text).is_ok(), key + integrity == 0, "{} {key} {integrity}", transform.name());
        }
    }
}

#[test]
fn two_sas_may_share_a_key_when_no_iv_can_meet() {
    let second = BASE[BASE.find("[[group.sa]]").unwrap()..].replace("0x00010001", "0x00010002");
    assert!(parse(&format!("{BASE}{second}")).is_err());
    assert!(parse(&format!("{BASE}{second}sid = 1\n")).is_ok());
    assert!(parse(&format!("{BASE}{second}direction = \"in\"\n")).is_ok());
}

#[test]
fn a_file_with_keys_that_others_may_use_is_warned_about() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gm.toml");
    fs::write(&file, BASE).unwrap();
    for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o644, false), (0o602, false)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let shown = file.display();
        let said =
            format!("{shown} holds keys and others may use it (mode {mode:04o}); do `chmod 600 {shown}`");
        let config = Config::load(&file, &machine()).unwrap();
        assert_eq!(config.warnings, if fine { vec![] } else { vec![said] }, "{mode:o}");
    }
    // Without keys there is nothing to protect.
    let registered = BASE[..BASE.find("[[group]]").unwrap()].to_owned();
    fs::write(&file, registered).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Config::load(&file, &machine()).unwrap().warnings.is_empty());
}

#[test]
fn files_that_a_group_names_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    let write = |name: &str, content: &str, mode| {
        fs::write(base.join(name), content).unwrap();
        fs::set_permissions(base.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    write("open.psk", "secret", 0o644);
    write("good.psk", "secret", 0o600);
    write("empty.psk", "", 0o600);
    let made = |name: &str| {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/testdata");
        fs::read_to_string(from.join(name)).unwrap()
    };
    write("gm.crt", &made("gm1.crt"), 0o644);
    write("gm.key", &made("gm1.key"), 0o600);
    write("ca.crt", &made("ca.crt"), 0o644);
    let group = "[[group]]\nname = \"g\"\nid = 7\nkey_servers = [\"192.0.2.1:848\"]\n";
    let links = &BASE[..BASE.find("[[group]]").unwrap()];
    let load = |credentials: &str| {
        let file = base.join("gm.toml");
        fs::write(&file, format!("{links}{group}{credentials}\n")).unwrap();
        Config::load(&file, &machine()).map_err(|e| e.to_string())
    };
    for (credentials, at, said) in [
        ("psk_file = \"none.psk\"", ":11:12: group.psk_file: ", "there is no file"),
        ("psk_file = \"open.psk\"", ":11:12: group.psk_file: ", "do `chmod 600 "),
        ("psk_file = \"empty.psk\"", ":11:12: group.psk_file: ", "is empty"),
        ("psk_file = \".\"", ":11:12: group.psk_file: ", "is no regular file"),
        (
            "certificate = \"gm.crt\"\nprivate_key = \"gm.crt\"\ntrust_anchors = \"ca.crt\"",
            ":12:15: group.private_key: ",
            "do `chmod 600 ",
        ),
        (
            "certificate = \"gm.crt\"\nprivate_key = \"gm.key\"\ntrust_anchors = [\"ca.crt\", \"no.crt\"]",
            ":13:28: group.trust_anchors: ",
            "there is no file",
        ),
    ] {
        let error = load(credentials).unwrap_err();
        assert!(error.contains(at) && error.contains(said), "{credentials}: {error}");
    }
    assert!(load("psk_file = \"good.psk\"").is_ok());
    let all = load("certificate = \"gm.crt\"\nprivate_key = \"gm.key\"\ntrust_anchors = \"ca.crt\"").unwrap();
    let registration = all.groups[0].registration.as_ref().unwrap();
    assert!(matches!(&registration.credentials, Credentials::Certificate(own) if own.chain().len() == 1));
    assert_eq!(registration.identity, Some("CN=gm1.example.net,O=Example".parse().unwrap()));
}

#[test]
fn a_missing_or_unreadable_configuration_is_told_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gm.toml");
    let error = Config::load(&file, &machine()).unwrap_err().to_string();
    assert_eq!(error, format!("{}: no such file; name the configuration with --config", file.display()));
    let error = Config::load(dir.path(), &machine()).unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
    fs::write(&file, b"[workers]\ncores = [\"\xff\"]\n").unwrap();
    let error = Config::load(&file, &machine()).unwrap_err().to_string();
    assert_eq!(error, format!("{}:2:11: not UTF-8; save the file in that encoding", file.display()));
}

#[test]
fn eal_options_about_cores_are_the_daemons() {
    for argument in ["-l", "-l0-3", "--lcores=0", "--lcores", "--main-lcore=1", "-c3", "-s1"] {
        assert!(refuse_eal_argument(argument).is_some(), "{argument}");
    }
    for argument in ["--log-level=8", "--no-huge", "-n4", "-m", "512", "--vdev=net_null0", "--socket-mem=1"] {
        assert!(refuse_eal_argument(argument).is_none(), "{argument}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic(
        at in 0..BASE.len(),
        length in 0..20_usize,
        insert in "[\\PC\n]{0,12}",
    ) {
        let end = (at + length).min(BASE.len());
        let text = format!("{}{insert}{}", &BASE[..at], &BASE[end..]);
        if let Err(error) = parse(&text) {
            let (line, column) = error.at.expect("a place");
            prop_assert!(line <= text.matches('\n').count() + 1 && column <= text.len() + 1, "{}", error);
        }
    }

    #[test]
    fn no_error_shows_a_part_of_a_key(key in "[0-9a-f]{0,60}", bad in "[g-z]?", integer in any::<bool>()) {
        let value = if integer { "7777777".to_owned() } else { format!("\"{key}{bad}\"") };
        let text = BASE.replace("\"000102030405060708090a0b0c0d0e0f10111213\"", &value);
        if let Err(error) = parse(&text) {
            let said = error.to_string();
            prop_assert!(!said.contains("7777777"), "{}", said);
            for window in key.as_bytes().windows(6) {
                prop_assert!(!said.contains(std::str::from_utf8(window).unwrap()), "{}", said);
            }
        }
    }
}

#[test]
fn thousands_of_sas_are_read_at_once() {
    let sa = |n: u32| {
        format!(
            "[[group.sa]]\nspi = {}\ntransform = \"aes-128-gcm\"\nkey = \"{n:040x}\"\n\
             selectors = [{{ src = \"10.0.0.0/8\", dst = \"10.0.0.0/8\" }}]\n",
            70_000 + n
        )
    };
    let text: String = std::iter::once(BASE.to_owned()).chain((0..5_000).map(sa)).collect();
    let start = std::time::Instant::now();
    assert_eq!(parse(&text).unwrap().groups[0].sas.len(), 5_001);
    assert!(start.elapsed().as_secs() < 3, "{:?}", start.elapsed());
    let twice = parse(&format!("{text}{}", sa(4_999))).unwrap_err();
    assert!(twice.problem.contains("already, in line 25010"), "{twice}");
}
