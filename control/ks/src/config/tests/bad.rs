//! One row for each thing that can be wrong: where it is told, and in which words.

use super::{BASE, CERTIFICATE, parse};

/// What to replace in [`BASE`] (an empty text: what to add at its end) with what; where the error is,
/// its key, and a part of what it says.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

const SERVER: &str = "[server]\nlisten = [\"192.0.2.1:848\"]\nlocal_id = \"ks1.example.net\"\n";
const PEER: &str = "[[peer]]\naddress = \"192.0.2.7\"\npsk_file = \"gm1.psk\"\ngroups = [\"finance\"]\n";
const KEK: &str = "kek = { cipher = \"aes-128-cbc\", lifetime_s = 86400, signature = \"ecdsa-p256\" }\n";
const TEK: &str = "[[group.tek]]\ntransform = \"aes-128-gcm\"\nlifetime_s = 3600\nselectors = [{ src = \"10.0.0.0/8\", dst = \"10.0.0.0/8\" }]\n";
const SELECTORS: &str = "selectors = [{ src = \"10.0.0.0/8\", dst = \"10.0.0.0/8\" }]";

#[rustfmt::skip]
const TABLE: &[Row] = &[
    // TOML itself, and unknown keys with the one that was meant.
    ("id = 1234", "id = 1234\nid = 5", "11:1", "", "duplicate key"),
    ("[server]", "[sever]", "1:2", "sever", "did you mean `server`?"),
    ("listen =", "listn =", "2:1", "server.listn", "did you mean `listen`?"),
    ("address =", "adress =", "5:1", "peer.adress", "did you mean `address`?"),
    ("cipher =", "chipher =", "11:9", "group.kek.chipher", "did you mean `cipher`?"),
    ("lifetime_s = 3600", "lifetime = 3600", "14:1", "group.tek.lifetime", "did you mean `lifetime_s`?"),
    ("dst =", "dest =", "15:36", "group.tek.selectors.dest", "did you mean `dst`?"),
    ("[[group.tek]]", "rekey = { retransmit = 2 }\n[[group.tek]]", "12:11", "group.rekey.retransmit", "did you mean `retransmits`?"),
    ("[[peer]]", "bounds = { halfopen = 2 }\n[[peer]]", "4:12", "server.bounds.halfopen", "did you mean `half_open`?"),
    ("", "[control]\nsokcet = \"x\"\n", "17:1", "control.sokcet", "did you mean `socket`?"),
    ("", "[eal]\nargs = []\n", "16:2", "eal", "known here: server, control, metrics, peer, group"),

    // Missing.
    (SERVER, "", "1:1", "server", "missing; give [server] with listen and local_id"),
    ("listen = [\"192.0.2.1:848\"]\n", "", "1:1", "server.listen", "missing; give where to take datagrams"),
    ("local_id = \"ks1.example.net\"\n", "", "1:1", "server.local_id", "missing; give who this key server is"),
    (PEER, "", "1:1", "peer", "at least one [[peer]] with address or subject"),
    ("address = \"192.0.2.7\"\n", "", "4:1", "peer.address", "missing; give address = \"192.0.2.7\" for a pre-shared key, or subject"),
    ("psk_file = \"gm1.psk\"\n", "", "4:1", "peer.psk_file", "missing; give the file of the key shared with this peer, here or in [server]"),
    ("groups = [\"finance\"]\n", "", "4:1", "peer.groups", "missing; give the groups that this peer may join"),
    ("name = \"finance\"\n", "", "8:1", "group.name", "missing"),
    ("id = 1234\n", "", "8:1", "group.id", "missing; give the group's number"),
    (KEK, "", "8:1", "group.kek", "missing; give kek = { cipher"),
    ("cipher = \"aes-128-cbc\", ", "", "11:7", "group.kek.cipher", "missing"),
    ("lifetime_s = 86400, ", "", "11:7", "group.kek.lifetime_s", "missing"),
    (", signature = \"ecdsa-p256\"", "", "11:7", "group.kek.signature", "missing; give what signs rekeys"),
    (TEK, "", "8:1", "group.tek", "at least one [[group.tek]]"),
    ("transform = \"aes-128-gcm\"\n", "", "12:1", "group.tek.transform", "missing"),
    ("lifetime_s = 3600\n", "", "12:1", "group.tek.lifetime_s", "missing"),
    (SELECTORS, "", "12:1", "group.tek.selectors", "missing"),

    // The server.
    ("[\"192.0.2.1:848\"]", "[]", "2:10", "server.listen", "empty; name at least one"),
    ("[\"192.0.2.1:848\"]", "848", "2:10", "server.listen", "expected an address with its port, such as \"192.0.2.1:848\", found an integer"),
    ("[\"192.0.2.1:848\"]", "\"192.0.2.1\"", "2:10", "server.listen", "\"192.0.2.1\" is no address with a port"),
    ("[\"192.0.2.1:848\"]", "[\"192.0.2.1:848\", \"192.0.2.1:848\"]", "2:28", "server.listen", "named twice"),
    ("[\"192.0.2.1:848\"]", "[\"192.0.2.1:848\", \"0.0.0.0:848\"]", "2:28", "server.listen", "0.0.0.0:848 is every address; name each one"),
    ("[\"192.0.2.1:848\"]", "\"[::]:848\"", "2:10", "server.listen", "[::]:848 is every address; name each one"),
    ("[\"192.0.2.1:848\"]", "[\"239.0.0.1:848\"]", "2:11", "server.listen", "239.0.0.1:848 is a multicast address"),
    ("\"ks1.example.net\"", "\"192.0.2.1:848\"", "3:12", "server.local_id", "is no identity; write an address, a domain name"),
    ("[[peer]]", "psk_file = \"open.psk\"\n[[peer]]", "4:12", "server.psk_file", "open.psk holds keys and others may use it (mode 0644); do `chmod 600 "),
    ("[[peer]]", "trust_anchors = \"ca.crt\"\n[[peer]]", "4:17", "server.trust_anchors", "has no effect without certificate"),
    ("[[peer]]", "phase1 = [\"des-md5-modp768\"]\n[[peer]]", "4:11", "server.phase1", "`des-md5-modp768` is not a phase 1 suite; one is written CIPHER-HASH-GROUP"),
    ("[[peer]]", "phase1_lifetime_s = 10\n[[peer]]", "4:21", "server.phase1_lifetime_s", "from 60 to 4294967295, found 10"),
    ("[[peer]]", "dpd_interval_s = -1\n[[peer]]", "4:18", "server.dpd_interval_s", "expected an interval, 0 for never, in seconds from 0 to 86400, found -1"),
    ("[[peer]]", "bounds = { half_open = 0 }\n[[peer]]", "4:24", "server.bounds.half_open", "from 1 to 10000000, found 0"),
    ("[[peer]]", "bounds = { member_invalid_spi_per_s = 9, invalid_spi_per_s = 8 }\n[[peer]]", "4:39", "server.bounds.member_invalid_spi_per_s", "one member may ask 9 times a second and all together 8 times"),
    ("[[peer]]", "bounds = 7\n[[peer]]", "4:10", "server.bounds", "expected a table"),

    // Peers.
    ("\"192.0.2.7\"", "\"192.0.2.7/24\"", "5:11", "peer.address", "192.0.2.7/24 has bits set behind its /24; the prefix would be 192.0.2.0/24"),
    ("\"192.0.2.7\"", "\"gm1.example.net\"", "5:11", "peer.address", "\"gm1.example.net\" is no IP address; expected an address or a prefix"),
    ("\"192.0.2.7\"", "\"::ffff:192.0.2.7\"", "5:11", "peer.address", "is IPv4 in IPv6; write 192.0.2.7"),
    ("\"192.0.2.7\"", "\"239.0.0.1\"", "5:11", "peer.address", "is multicast"),
    ("\"gm1.psk\"", "\"open.psk\"", "6:12", "peer.psk_file", "do `chmod 600 "),
    ("\"gm1.psk\"", "\"gone.psk\"", "6:12", "peer.psk_file", "there is no file "),
    ("address = \"192.0.2.7\"", "address = \"192.0.2.7\"\nsubject = \"CN=a\"", "6:11", "peer.subject", "address is given too"),
    ("address = \"192.0.2.7\"", "subject = \"CN=a\"", "5:11", "peer.subject", "this key server has no certificate"),
    ("address = \"192.0.2.7\"", "subject = \"key-id:00\"", "5:11", "peer.subject", "no certificate holds a key ID"),
    ("[\"finance\"]", "[\"finanse\"]", "7:11", "peer.groups", "expected \"finance\", found \"finanse\"; did you mean \"finance\"?"),
    ("[\"finance\"]", "[\"finance\", \"finance\"]", "7:22", "peer.groups", "named twice"),
    ("[\"finance\"]", "[]", "7:10", "peer.groups", "empty; name at least one group"),
    ("[[group]]", "[[peer]]\naddress = \"192.0.2.7/32\"\npsk_file = \"gm1.psk\"\ngroups = [\"finance\"]\n[[group]]", "9:11", "peer.address", "a peer at 192.0.2.7/32 already, in line 5"),

    // Groups.
    ("id = 1234", "id = 4294967296", "10:6", "group.id", "found 4294967296"),
    ("id = 1234", "id = 1234\nsid_bits = 10", "11:12", "group.sid_bits", "expected the bits of a sender ID (RFC 6054 section 3): 8, 12, 16, found 10"),
    ("id = 1234", "id = 1234\ncompat = \"referense\"", "11:10", "group.compat", "did you mean \"reference\"?"),
    ("id = 1234", "id = 1234\nactivation_delay_s = 65536", "11:22", "group.activation_delay_s", "expected a delay in seconds from 0 to 65535, found 65536"),
    ("id = 1234", "id = 1234\nactivation_delay_s = 20\ndeactivation_delay_s = 19", "12:24", "group.deactivation_delay_s", "drop the old SA after 19 s, while others send with it for 20 s"),
    ("", "[[group]]\nname = \"finance\"\n", "17:8", "group.name", "a group \"finance\" already, in line 9"),
    ("", "[[group]]\nname = \"sales\"\nid = 1234\n", "18:6", "group.id", "a group with ID 1234 already, in line 10"),

    // Rekeys.
    ("aes-128-cbc", "aes-128-gcm", "11:18", "group.kek.cipher", "expected \"aes-128-cbc\", \"aes-192-cbc\" or \"aes-256-cbc\""),
    ("ecdsa-p256", "rsa-1024-sha256", "11:65", "group.kek.signature", "found \"rsa-1024-sha256\"; did you mean \"rsa-"),
    ("lifetime_s = 86400", "lifetime_s = 0", "11:46", "group.kek.lifetime_s", "from 1 to"),
    ("[[group.tek]]", "rekey = { transport = \"broadcast\" }\n[[group.tek]]", "12:23", "group.rekey.transport", "expected \"unicast\" or \"multicast\""),
    ("[[group.tek]]", "rekey = { transport = \"multicast\" }\n[[group.tek]]", "12:9", "group.rekey.address", "missing; give the group address"),
    ("[[group.tek]]", "rekey = { address = \"239.10.1.1:848\" }\n[[group.tek]]", "12:21", "group.rekey.address", "has no effect without transport = \"multicast\""),
    ("[[group.tek]]", "rekey = { transport = \"multicast\", address = \"192.0.2.9:848\" }\n[[group.tek]]", "12:46", "group.rekey.address", "192.0.2.9:848 is no multicast address with a port; use one such as \"239.10.1.1:848\""),
    ("[[group.tek]]", "rekey = { transport = \"multicast\", address = \"239.10.1.1:0\" }\n[[group.tek]]", "12:46", "group.rekey.address", "no multicast address with a port"),
    ("[[group.tek]]", "rekey = { transport = \"multicast\", address = \"[ff3e::1]:848\" }\n[[group.tek]]", "12:46", "group.rekey.address", "listens on no address of that family"),
    ("[[group.tek]]", "rekey = { transport = \"multicast\", address = \"239.10.1.1:848\", rate_per_s = 5 }\n[[group.tek]]", "12:77", "group.rekey.rate_per_s", "has no effect with transport = \"multicast\""),
    ("[[group.tek]]", "rekey = { acknowledge = \"yes\" }\n[[group.tek]]", "12:25", "group.rekey.acknowledge", "expected true or false, found a string"),
    ("[[group.tek]]", "rekey = { retransmits = 11 }\n[[group.tek]]", "12:25", "group.rekey.retransmits", "from 0 to 10, found 11"),
    ("[[group.tek]]", "rekey = { interval_s = 0 }\n[[group.tek]]", "12:24", "group.rekey.interval_s", "an interval in seconds from 1 to 3600, found 0"),

    // SAs, and that each outlives its own rekey: 4/3 x (2 x 2 x 10 + 15 + 1) = 74.7 s.
    ("aes-128-gcm", "aes-129-gcm", "13:13", "group.tek.transform", "did you mean \"aes-128-gcm\"?"),
    ("lifetime_s = 3600", "lifetime_s = 74", "14:14", "group.tek.lifetime_s", "74 s is too short: with 2 retransmits, interval_s = 10 and activation_delay_s = 15, the last member can use its successor only after that; give 75 or more"),
    ("lifetime_s = 86400", "lifetime_s = 74", "11:46", "group.kek.lifetime_s", "give 75 or more"),
    ("lifetime_s = 3600", "lifetime_s = 3600\nmode = \"tunel\"", "15:8", "group.tek.mode", "did you mean \"tunnel\"?"),
    ("lifetime_s = 3600", "lifetime_s = 3600\ndirection = \"both\"", "15:13", "group.tek.direction", "expected \"symmetric\", \"sender-only\" or \"receiver-only\""),
    (SELECTORS, "selectors = []", "15:13", "group.tek.selectors", "empty; give at least one"),
    ("src = \"10.0.0.0/8\"", "src = \"10.0.0.1/8\"", "15:22", "group.tek.selectors.src", "bits set behind its /8"),
    ("dst = \"10.0.0.0/8\"", "dst = \"::/0\"", "15:42", "group.tek.selectors.dst", "different families"),
    ("dst = \"10.0.0.0/8\"", "dst = \"10.0.0.0/8\", protocol = 0", "15:67", "group.tek.selectors.protocol", "0 means any protocol in GDOI"),
    ("dst = \"10.0.0.0/8\"", "dst = \"10.0.0.0/8\", protocol = 6, dst_port = 0", "15:81", "group.tek.selectors.dst_port", "0 means any port in GDOI"),
    ("dst = \"10.0.0.0/8\"", "dst = \"10.0.0.0/8\", protocol = 6, src_port = \"1-9\"", "15:81", "group.tek.selectors.src_port", "GDOI knows single ports only"),
    (SELECTORS, "selectors = [{ src = \"::/0\", dst = \"::/0\" }, { src = \"::/0\", dst = \"::/0\" }]", "15:46", "group.tek.selectors", "named twice"),
    ("", TEK, "16:1", "group.tek", "the one in line 12 is for the same packets in the same way"),
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
fn the_shortest_lifetime_that_is_named_is_taken() {
    assert!(parse(&BASE.replace("lifetime_s = 3600", "lifetime_s = 75")).is_ok());
    assert!(parse(&BASE.replace("lifetime_s = 86400", "lifetime_s = 75")).is_ok());
}

#[test]
fn a_policy_fits_a_datagram_or_is_refused() {
    let with = |selectors: usize| {
        let all: Vec<String> = (0..selectors)
            .map(|n| format!("{{ src = \"10.{}.{}.0/24\", dst = \"::/0\" }}", n / 256, n % 256))
            .collect();
        let text = BASE
            .replace(SELECTORS, &format!("selectors = [{}]", all.join(", ").replace("::/0", "10.0.0.0/8")));
        parse(&text)
    };
    assert!(with(240).is_ok());
    let error = with(260).unwrap_err();
    assert_eq!((error.at, error.key.as_str()), (Some((8, 1)), "group"));
    assert!(error.problem.starts_with("1 SAs with 260 selectors do not fit a datagram"), "{error}");
}

#[test]
fn what_depends_on_a_certificate_is_checked_with_it() {
    let base = BASE.replace("[[peer]]\n", &format!("{CERTIFICATE}[[peer]]\n"));
    assert!(parse(&base).is_ok());
    let by_subject = base.replace("address = \"192.0.2.7\"\npsk_file = \"gm1.psk\"", "subject = \"CN=gm1\"");
    assert!(parse(&by_subject).is_ok());
    let twice =
        by_subject.replace("[[group]]", "[[peer]]\nsubject = \"cn=GM1\"\ngroups = [\"finance\"]\n[[group]]");
    for (text, said) in [
        (
            base.replace("\"ks1.example.net\"", "\"ks2.example.net\""),
            ":3:12: server.local_id: the certificate is not for ks2.example.net",
        ),
        (
            by_subject.replace("groups = [", "psk_file = \"gm1.psk\"\ngroups = ["),
            ":10:12: peer.psk_file: has no effect with subject",
        ),
        (twice, ":12:11: peer.subject: there is a peer CN=GM1 already, in line 9"),
    ] {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}
