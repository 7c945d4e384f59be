//! One row for each thing that can be wrong: where it is told, and in which words.

use super::{BASE, parse};

/// What to replace in [`BASE`] (an empty text: what to add at its end) with what; where the error is,
/// its key, and a part of what it says.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

const KEY: &str = "\"000102030405060708090a0b0c0d0e0f10111213\"";
const SELECTORS: &str = "selectors = [{ src = \"10.0.0.0/8\", dst = \"10.0.0.0/8\" }]";
const SECOND: &str = "[[group]]\nname = \"b\"\n[[group.sa]]\nspi = 0x00010001\ntransform = \"aes-128-gcm\"\nkey = \
     \"ff0102030405060708090a0b0c0d0e0f10111213\"\nselectors = [{ src = \"::/0\", dst = \"::/0\" }]\n";

#[rustfmt::skip]
const TABLE: &[Row] = &[
    // TOML itself.
    ("cores = [1]", "cores = [1", "3:1", "", "no TOML"),
    ("cores = [1]", "cores = ", "2:9", "", "no TOML"),
    ("name = \"site\"", "name = \"site", "4:13", "", "no TOML"),
    ("cores = [1]", "cores = [1]\ncores = [2]", "3:1", "", "duplicate key"),
    ("spi = 0x00010001", "spi = 0xgg", "10:9", "", "no TOML"),

    // Unknown keys, with the one that was meant.
    ("[workers]", "[worker]", "1:2", "worker", "did you mean `workers`?"),
    ("cores =", "core =", "2:1", "workers.core", "did you mean `cores`?"),
    ("lan =", "len =", "5:1", "link.len", "did you mean `lan`?"),
    ("transform =", "tranform =", "11:1", "group.sa.tranform", "did you mean `transform`?"),
    ("src =", "source =", "13:16", "group.sa.selectors.source", "did you mean `src`?"),
    ("", "[eal]\nargz = []\n", "15:1", "eal.argz", "did you mean `args`?"),
    ("", "[control]\nsokcet = \"x\"\n", "15:1", "control.sokcet", "did you mean `socket`?"),
    ("", "[server]\nlisten = []\n", "14:2", "server", "known here: eal, workers, link, parking"),
    ("", "[[policy]]\naktion = \"drop\"\n", "15:1", "policy.aktion", "did you mean `action`?"),
    ("name = \"finance\"", "name = \"finance\"\nwithout-sa = \"drop\"", "9:1", "group.without-sa", "did you mean `without_sa`?"),

    // Missing keys.
    ("[workers]\ncores = [1]\n", "", "1:1", "workers", "missing; give [workers] with cores"),
    ("cores = [1]\n", "", "1:1", "workers.cores", "missing; give the CPU of each worker"),
    ("[[link]]\nname = \"site\"\nlan = \"net_pcap0\"\nwan = \"net_pcap1\"\n", "", "1:1", "link", "at least one [[link]]"),
    ("wan = \"net_pcap1\"\n", "", "3:1", "link.wan", "missing; give a device as DPDK names it"),
    ("name = \"site\"\n", "", "3:1", "link.name", "missing; give the link's name"),
    ("name = \"finance\"\n", "", "7:1", "group.name", "missing"),
    ("spi = 0x00010001\n", "", "9:1", "group.sa.spi", "missing; give the SPI"),
    ("transform = \"aes-128-gcm\"\n", "", "9:1", "group.sa.transform", "missing; give a transform"),
    ("key = \"000102030405060708090a0b0c0d0e0f10111213\"\n", "", "9:1", "group.sa.key", "missing; give 20 octets in hex: the key of 16, then the salt of 4"),
    (SELECTORS, "", "9:1", "group.sa.selectors", "missing"),
    (", dst = \"10.0.0.0/8\"", "", "13:14", "group.sa.selectors.dst", "missing; give a prefix such as"),
    ("", "[[policy]]\nsrc = \"::/0\"\ndst = \"::/0\"\n", "14:1", "policy.action", "missing; give action = \"bypass\" or \"drop\""),
    ("", "[[group]]\nname = \"empty\"\n", "14:1", "group", "add [[group.sa]] or key_servers"),

    // The exception port.
    ("name = \"site\"", "name = \"site\"\nexception = \"net_pcap0\"", "5:13", "link.exception", "a port on device \"net_pcap0\""),
    ("name = \"site\"", "name = \"site\"\nexception_mac = \"02:00:00:00:00:07\"", "5:17", "link.exception_mac", "no exception port"),
    ("name = \"site\"", "name = \"site\"\nexception = \"net_tap0\"\nexception_mac = \"03:00:00:00:00:07\"", "6:17", "link.exception_mac", "of one station"),
    ("name = \"site\"", "name = \"site\"\nexception = \"net_tap0\"\nexception_mac = \"2:0:0:0:0:7\"", "6:17", "link.exception_mac", "of one station"),

    // Wrong types.
    ("cores = [1]", "cores = 1", "2:9", "workers.cores", "expected an array [...], found an integer"),
    ("cores = [1]", "cores = [\"1\"]", "2:10", "workers.cores", "expected a CPU number, found a string"),
    ("[workers]\ncores = [1]", "workers = 3", "1:11", "workers", "expected a table"),
    ("name = \"site\"", "name = 7", "4:8", "link.name", "expected a name, found an integer"),
    ("name = \"site\"", "name = \"\"", "4:8", "link.name", "found an empty string"),
    ("[[link]]", "[link]", "3:1", "link", "write [[link]] instead of [link]"),
    ("[[group.sa]]", "[group.sa]", "9:1", "group.sa", "write [[group.sa]] instead of [group.sa]"),
    ("spi = 0x00010001", "spi = \"0x00010001\"", "10:7", "group.sa.spi", "expected an SPI, found a string"),
    (KEY, "1234", "12:7", "group.sa.key", "expected hex digits in quotes, found an integer"),
    (SELECTORS, "selectors = \"any\"", "13:13", "group.sa.selectors", "expected an array [...], found a string"),
    (SELECTORS, "selectors = [\"any\"]", "13:14", "group.sa.selectors", "expected a table { key = value, ... }"),
    ("", "[eal]\nargs = \"--no-huge\"\n", "15:8", "eal.args", "expected an array"),
    ("", "policy = 1.5\n", "14:1", "group.sa.policy", "known in group.sa: spi, transform, key"),

    // Workers.
    ("cores = [1]", "cores = []", "2:9", "workers.cores", "empty; name at least one CPU of 0-3"),
    ("cores = [1]", "cores = [1, 2, 1]", "2:16", "workers.cores", "CPU 1 is named twice"),
    ("cores = [1]", "cores = [1, 9]", "2:13", "workers.cores", "may not use CPU 9; it may use 0-3"),
    ("cores = [1]", "cores = [-1]", "2:10", "workers.cores", "expected a CPU number from 0 to 4294967295, found -1"),
    ("cores = [1]", "cores = [1]\nidle = \"slep\"", "3:8", "workers.idle", "expected \"spin\" or \"sleep\", found \"slep\"; did you mean \"sleep\"?"),
    ("cores = [1]", "cores = [1]\nbuffers = 10", "3:11", "workers.buffers", "from 1024 to 16777216, found 10"),
    ("cores = [1]", "cores = [1]\nlink_wait_ms = 600_001", "3:16", "workers.link_wait_ms", "found 600_001"),
    ("cores = [1]", "cores = [1]\ntx_wait_us = 2_000_000", "3:14", "workers.tx_wait_us", "found 2_000_000"),

    // Parking.
    ("", "[parking]\npackts = 1\n", "15:1", "parking.packts", "did you mean `packets`?"),
    ("", "[parking]\npackets = -1\n", "15:11", "parking.packets", "expected a number of packets from 0 to 65536, found -1"),
    ("", "[parking]\npackets = 8193\n", "15:11", "parking.packets", "8193 packets in all workers together, which is more than half of the 16384 buffers"),
    ("", "[parking]\noctets = \"2 MiB\"\n", "15:10", "parking.octets", "expected a number of octets, found a string"),
    ("", "[parking]\nage_ms = 100_000\n", "15:10", "parking.age_ms", "expected a time in milliseconds from 0 to 60000, found 100_000"),

    // EAL, links and control.
    ("", "[eal]\nargs = [\"--no-huge\",\n \"--lcores=0-3\"]\n", "16:2", "eal.args", "--lcores is derived from [workers] cores"),
    ("", "[eal]\nargs = [\"--help\"]\n", "15:9", "eal.args", "--help would end the member before it starts"),
    ("", "[eal]\nargs = [\"-l\", \"0-3\"]\n", "15:9", "eal.args", "-l is derived from [workers] cores"),
    ("net_pcap1", "net_pcap0", "6:7", "link.wan", "there is a port on device \"net_pcap0\" already, in line 5; use another or remove one"),
    ("[[group]]", "[[link]]\nname = \"site\"\nlan = \"a\"\nwan = \"b\"\n[[group]]", "8:8", "link.name", "a link \"site\" already, in line 4"),
    ("[[group]]", "[[link]]\nname = \"two\"\nlan = \"net_pcap1\"\nwan = \"b\"\n[[group]]", "9:7", "link.lan", "already, in line 6"),
    ("wan = \"net_pcap1\"", "wan = \"net_pcap1\"\nmtu = 90000", "7:7", "link.mtu", "expected an MTU in octets from 576 to 9216, found 90000"),
    ("", "[control]\nsocket = 7\n", "15:10", "control.socket", "expected a path"),

    // Groups.
    ("[[group.sa]]", "without_sa = \"pass\"\n[[group.sa]]", "9:14", "group.without_sa", "expected \"drop\" or \"bypass\", found \"pass\""),
    ("[[group.sa]]", "enforce = \"receive_only\"\n[[group.sa]]", "9:11", "group.enforce", "did you mean \"receive-only\"?"),
    ("[[group.sa]]", "id = 4294967296\n[[group.sa]]", "9:6", "group.id", "found 4294967296"),
    ("[[group.sa]]", "psk_file = \"x\"\n[[group.sa]]", "9:12", "group.psk_file", "has no effect without key_servers"),
    ("[[group.sa]]", "key_servers = []\n[[group.sa]]", "9:15", "group.key_servers", "empty; name at least one"),
    ("[[group.sa]]", "key_servers = [\"ks.example.net\"]\n[[group.sa]]", "9:16", "group.key_servers", "is no address with a port; write \"192.0.2.1:848\""),
    ("[[group.sa]]", "key_servers = [\"192.0.2.1:848\", \"192.0.2.1:848\"]\n[[group.sa]]", "9:33", "group.key_servers", "named twice"),
    ("[[group.sa]]", "key_servers = [\"192.0.2.1:848\"]\n[[group.sa]]", "7:1", "group.psk_file", "missing; give psk_file, or certificate"),
    ("[[group.sa]]", "key_servers = [\"192.0.2.1:848\"]\nprivate_key = \"x\"\n[[group.sa]]", "10:15", "group.private_key", "has no effect without certificate"),
    ("[[group.sa]]", "key_servers = [\"192.0.2.1:848\"]\npsk_file = \"x\"\ncertificate = \"y\"\n[[group.sa]]", "11:15", "group.certificate", "not both"),
    ("", "[[group]]\nname = \"finance\"\n", "15:8", "group.name", "a group \"finance\" already, in line 8"),

    // SAs.
    ("0x00010001", "255", "10:7", "group.sa.spi", "SPI 255 is reserved (RFC 4303 section 2.1); use 256 (0x00000100) or more"),
    ("0x00010001", "0", "10:7", "group.sa.spi", "SPI 0 is reserved"),
    ("0x00010001", "0x100000000", "10:7", "group.sa.spi", "expected an SPI from 0 to 4294967295, found 0x100000000"),
    ("", SECOND, "17:7", "group.sa.spi", "an SA with SPI 0x00010001 already, in line 10"),
    ("aes-128-gcm", "aes-129-gcm", "11:13", "group.sa.transform", "did you mean \"aes-128-gcm\"?"),
    (KEY, "\"000102030405060708090a0b0c0d0e0f\"", "12:7", "group.sa.key", "16 octets; aes-128-gcm takes 20 octets: the key of 16, then the salt of 4"),
    (KEY, "\"000102030405060708090a0b0c0d0e0f1011121\"", "12:7", "group.sa.key", "an odd number of hex digits, 39; aes-128-gcm takes 20 octets"),
    (KEY, "\"000102030405060708090a0b0c0d0e0fx0111213\"", "12:40", "group.sa.key", "no hex digit"),
    (KEY, "\"000102030405060708090a0b0c0d0e0f1:0111213\"", "12:41", "group.sa.key", "an octet ends here after one hex digit"),
    (KEY, "\"hex: 00\"", "12:8", "group.sa.key", "no hex digit; use 0-9 and a-f"),
    ("aes-128-gcm", "aes-256-gcm", "12:7", "group.sa.key", "20 octets; aes-256-gcm takes 36 octets: the key of 32, then the salt of 4"),
    ("aes-128-gcm", "null-hmac-sha256", "12:7", "group.sa.key", "20 octets; null-hmac-sha256 takes 0 octets"),
    ("", "integrity_key = \"00\"\n", "14:17", "group.sa.integrity_key", "aes-128-gcm authenticates by itself and takes no integrity key"),
    ("aes-128-gcm\"\nkey = \"000102030405060708090a0b0c0d0e0f10111213\"", "aes-128-cbc-hmac-sha256\"\nkey = \"000102030405060708090a0b0c0d0e0f\"", "9:1", "group.sa.integrity_key", "missing; give 32 octets in hex"),
    ("", "mode = \"tunel\"\n", "14:8", "group.sa.mode", "did you mean \"tunnel\"?"),
    ("", "direction = \"outbound\"\n", "14:13", "group.sa.direction", "expected \"in\", \"out\" or \"both\""),
    ("", "replay = \"window\"\n", "14:10", "group.sa.replay", "expected \"none\", \"counter\" or \"sender\""),
    ("", "replay = \"counter\"\nreplay_window = 63\n", "15:17", "group.sa.replay_window", "from 64 to 65536, found 63"),
    ("", "replay_window = 128\n", "14:17", "group.sa.replay_window", "has no effect without replay"),
    ("", "replay = \"counter\"\nreplay_senders = 2\n", "15:18", "group.sa.replay_senders", "has no effect without replay = \"sender\""),
    ("", "sid = 65536\n", "14:7", "group.sa.sid", "from 0 to 65535, found 65536"),
    ("", "sid_bits = 10\n", "14:12", "group.sa.sid_bits", "8, 12, 16, found 10"),
    ("", "sid = 256\nsid_bits = 8\n", "14:7", "group.sa.sid", "from 0 to 255, found 256"),
    ("", "lifetime_s = 0\n", "14:14", "group.sa.lifetime_s", "from 1 to"),
    (SELECTORS, "selectors = []", "13:13", "group.sa.selectors", "empty; give at least one"),

    // Selectors.
    ("src = \"10.0.0.0/8\"", "src = \"10.0.0.1/8\"", "13:22", "group.sa.selectors.src", "10.0.0.1/8 has bits set behind its /8; the prefix would be 10.0.0.0/8"),
    ("src = \"10.0.0.0/8\"", "src = \"10.0.0.0/33\"", "13:32", "group.sa.selectors.src", "\"33\" is no prefix length; expected a number from 0 to 32"),
    ("src = \"10.0.0.0/8\"", "src = \"10.0.0/8\"", "13:22", "group.sa.selectors.src", "\"10.0.0\" is no IP address"),
    ("src = \"10.0.0.0/8\"", "src = \"10.0.0.0/+8\"", "13:32", "group.sa.selectors.src", "is no prefix length"),
    ("src = \"10.0.0.0/8\"", "src = \"any\"", "13:22", "group.sa.selectors.src", "\"any\" is no IP address; expected a prefix such as"),
    ("src = \"10.0.0.0/8\"", "src = \"2001:db8::/32\"", "13:45", "group.sa.selectors.dst", "different families"),
    ("dst = \"10.0.0.0/8\"", "dst = \"10.0.0.0/8\", protocol = \"tpc\"", "13:67", "group.sa.selectors.protocol", "did you mean \"tcp\"?"),
    ("dst = \"10.0.0.0/8\"", "dst = \"10.0.0.0/8\", protocol = 256", "13:67", "group.sa.selectors.protocol", "from 0 to 255, found 256"),
    ("dst = \"10.0.0.0/8\"", "dst = \"10.0.0.0/8\", dst_port = 80", "13:67", "group.sa.selectors.dst_port", "a port needs a protocol"),
    ("dst = \"10.0.0.0/8\"", "dst = \"10.0.0.0/8\", protocol = \"icmp\", dst_port = 80", "13:86", "group.sa.selectors.dst_port", "protocol 1 has no ports"),
    ("dst = \"10.0.0.0/8\"", "dst = \"10.0.0.0/8\", protocol = 17, src_port = 65536", "13:82", "group.sa.selectors.src_port", "from 0 to 65535, found 65536"),
    ("dst = \"10.0.0.0/8\"", "dst = \"10.0.0.0/8\", protocol = 17, src_port = \"20-10\"", "13:82", "group.sa.selectors.src_port", "the range ends before it starts; write \"10-20\""),
    ("dst = \"10.0.0.0/8\"", "dst = \"10.0.0.0/8\", protocol = 17, src_port = \"dns\"", "13:82", "group.sa.selectors.src_port", "\"dns\" is no port"),
];

#[test]
fn each_error_is_told_with_its_line_column_key_and_remedy() {
    let mut wrong = Vec::new();
    for &(what, with, at, key, said) in TABLE {
        let text = if what.is_empty() { format!("{BASE}{with}") } else { BASE.replacen(what, with, 1) };
        assert_ne!(text, BASE, "{what:?} is not in the base");
        match parse(&text) {
            Ok(_) => wrong.push(format!("{with:?} was taken")),
            Err(error) => {
                let (line, column) = error.at.unwrap_or_default();
                let told = format!("{line}:{column}");
                let full = error.to_string();
                if told != at || error.key != key || !error.problem.contains(said) || full.contains('\n') {
                    wrong.push(format!("{with:?}:\n  expected {at} {key}: {said}\n  got      {full}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), TABLE.len(), wrong.join("\n"));
}

#[test]
fn what_depends_on_the_number_of_workers_is_checked_with_it() {
    let two = BASE.replace("cores = [1]", "cores = [1, 2]");
    for (with, at, said) in [
        (
            "sid = 65535\n",
            "14:7",
            "2 workers would use sender IDs 65535 to 65536, and 16 bits end at 65535; use a sid of at most 65534",
        ),
        (
            "replay = \"counter\"\n",
            "14:10",
            "the 2 workers of this member are 2 senders; use replay = \"sender\" or one worker core",
        ),
    ] {
        let error = parse(&format!("{two}{with}")).unwrap_err();
        let (line, column) = error.at.unwrap();
        assert_eq!(format!("{line}:{column}"), at);
        assert!(error.problem.contains(said), "{error}");
        assert!(parse(&format!("{BASE}{with}")).is_ok());
    }
    assert!(parse(&format!("{two}replay = \"counter\"\ndirection = \"in\"\n")).is_ok());
    let cbc = BASE
        .replace("aes-128-gcm", "aes-128-cbc-hmac-sha1")
        .replace("10111213\"", &format!("\"\nintegrity_key = \"{}\"", "5a".repeat(20)));
    assert!(parse(&cbc).is_ok());
    let error = parse(&format!("{cbc}replay = \"sender\"\n")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("gm.toml:15:10: group.sa.replay: aes-128-cbc-hmac-sha1 carries no sender ID"),
        "{error}"
    );
}
