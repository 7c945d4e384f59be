//! What a configuration means, and that what is wrong is told with its place and its remedy.

mod bad;

use super::*;
use crate::core::{self, Transport};
use getvpn_gdoi::crypto::x509::{Certificate, PeerCertificate, parse_chain};
use getvpn_gdoi::crypto::{HashAlgorithm, KeyKind};
use getvpn_gdoi::group::{
    AckRequest, Direction, EspTransform, GroupId, KekCipher, KekSignature, Mode, Selector,
};
use getvpn_gdoi::ike::{self, Method, PeerInfo, PeerTag, Suite};
use getvpn_gdoi::wire::Compat;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;
use std::time::Duration;

/// The smallest that a key server can start with. Line 1 is `[server]`.
const BASE: &str = r#"[server]
listen = ["192.0.2.1:848"]
local_id = "ks1.example.net"
[[peer]]
address = "192.0.2.7"
psk_file = "gm1.psk"
groups = ["finance"]
[[group]]
name = "finance"
id = 1234
kek = { cipher = "aes-128-cbc", lifetime_s = 86400, signature = "ecdsa-p256" }
[[group.tek]]
transform = "aes-128-gcm"
lifetime_s = 3600
selectors = [{ src = "10.0.0.0/8", dst = "10.0.0.0/8" }]
"#;

/// What makes [`BASE`]'s server one with a certificate.
const CERTIFICATE: &str =
    "certificate = \"ks1.crt\"\nprivate_key = \"ks1.key\"\ntrust_anchors = \"ca.crt\"\ncrls = \"ca.crl\"\n";

/// A directory with the files that configurations here name.
static FILES: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8], mode| {
        fs::write(dir.path().join(name), content).unwrap();
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/testdata");
    for (name, mode) in [("ca.crt", 0o644), ("ca.crl", 0o644), ("ks1.crt", 0o644), ("ks1.key", 0o600)] {
        write(name, &fs::read(from.join(name)).unwrap(), mode);
    }
    write("gm1.psk", b"correct horse\n", 0o600);
    write("gm2.psk", b"0x00ff\n", 0o600);
    write("open.psk", b"correct horse\n", 0o644);
    dir
});

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(&FILES.path().join("ks.toml"), text)
}

fn selector(src: &str, dst: &str) -> Selector {
    let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
    Selector { src, dst, protocol: None, src_port: None, dst_port: None }
}

#[test]
fn what_is_not_said_has_its_default() {
    let config = parse(BASE).unwrap();
    let server = &config.server;
    assert_eq!(server.listen, ["192.0.2.1:848".parse().unwrap()]);
    assert_eq!(server.identity.to_string(), "ks1.example.net");
    assert!(server.certificate.is_none());
    assert_eq!(
        (server.store.to_str(), config.socket.to_str()),
        (Some("/var/lib/getvpn/ks"), Some("/run/getvpn/ks.sock"))
    );
    assert_eq!(server.suites, Suite::DEFAULT);
    assert_eq!((server.phase1_lifetime, server.dpd_interval), (Duration::from_secs(86_400), None));
    assert_eq!(server.bounds, Bounds::default());
    let [group] = &config.groups[..] else { panic!("{:?}", config.groups) };
    assert_eq!((group.id, group.name.as_str(), group.compat), (GroupId(1234), "finance", Compat::Standard));
    assert_eq!(group.sid_bits, 16);
    assert_eq!(group.gap.activation_delay, Duration::from_secs(15));
    assert_eq!(group.gap.deactivation_delay, Duration::from_secs(35), "ATD and two intervals");
    let rekey = &group.rekey;
    assert_eq!((rekey.transport, rekey.source), (Transport::Unicast, server.listen[0]));
    assert_eq!((rekey.retransmits, rekey.interval, rekey.rate), (2, Duration::from_secs(10), 2_000));
    assert_eq!(rekey.acknowledge, Some(AckRequest::KekSha256));
    let [tek] = &group.teks[..] else { panic!("{:?}", group.teks) };
    assert_eq!((tek.shape.mode, tek.shape.direction), (Mode::Tunnel, Direction::Symmetric));
    assert_eq!(config.warnings, [""; 0]);
}

/// The example of the design, with the files that it names.
#[test]
fn the_example_of_the_design_is_read_in_full() {
    let text = r#"
[server]
listen = ["192.0.2.1:848"]
local_id = "ks1.example.net"    # or an address; certificate, private_key, trust_anchors for certificates
certificate = "ks1.crt"
private_key = "ks1.key"
trust_anchors = "ca.crt"
store = "/var/lib/getvpn/ks"    # embedded database: keys, SPIs, SEQ and SID counters, members
phase1 = ["aes256-sha256-ecp256", "aes128-sha256-modp2048"]   # the weak suites of old peers work only when named here

[control]
socket = "/run/getvpn/ks.sock"

[[peer]]                        # who may authenticate, and for which groups
address = "192.0.2.7"           # main mode finds a pre-shared key by address (a prefix is allowed)
psk_file = "gm1.psk"
groups = ["finance"]

[[peer]]
subject = "CN=gm2.example.net"  # with certificates, by subject or subjectAltName
groups = ["finance"]

[[group]]
name = "finance"
id = 1234                       # four octets, big-endian, on the wire
sid_bits = 16
activation_delay_s = 15         # ATD
deactivation_delay_s = 30       # DTD
kek = { cipher = "aes-128-cbc", lifetime_s = 86400, signature = "ecdsa-p256" }    # or rsa-2048-sha256
rekey = { transport = "unicast", retransmits = 2, interval_s = 10, acknowledge = true }
                                # or transport = "multicast", address = "239.10.1.1:848"

[[group.tek]]
transform = "aes-128-gcm"
lifetime_s = 3600
mode = "tunnel"
selectors = [{ src = "10.0.0.0/8", dst = "10.0.0.0/8" }]
"#;
    let file = FILES.path().join("design.toml");
    fs::write(&file, text).unwrap();
    let config = Config::load(&file).unwrap();
    let suites: Vec<String> = config.server.suites.iter().map(Suite::to_string).collect();
    assert_eq!(suites, ["aes256-sha256-ecp256", "aes128-sha256-modp2048"]);
    let late = config.warnings.iter().find(|warning| warning.contains("group.deactivation_delay_s"));
    assert!(late.is_some_and(|warning| warning.contains("35 or more is safe")), "{:?}", config.warnings);
    assert_eq!(config.server.certificate.as_ref().unwrap().chain().len(), 1);
    assert_eq!(config.peers.iter().count(), 2);
    let kek = &config.groups[0].kek;
    assert_eq!((kek.cipher, kek.signature), (KekCipher::Aes128Cbc, KekSignature::EcdsaP256));
    assert_eq!((kek.key, kek.lifetime), (KeyKind::EcdsaP256, Duration::from_secs(86_400)));
    let tek = &config.groups[0].teks[0];
    assert_eq!((tek.shape.transform, tek.lifetime), (EspTransform::Aes128Gcm, Duration::from_secs(3600)));
    assert_eq!(tek.shape.selectors, [selector("10.0.0.0/8", "10.0.0.0/8")]);
}

#[test]
fn everything_can_be_said_otherwise() {
    let text = BASE
        .replace(
            "[[peer]]",
            "store = \"store\"\nphase1_lifetime_s = 3600\ndpd_interval_s = 20\n\
             bounds = { half_open = 10, phase1s = 20, members = 30, registrations_per_s = 40, \
             member_invalid_spi_per_s = 5, invalid_spi_per_s = 60 }\n[[peer]]",
        )
        .replace("listen = [\"192.0.2.1:848\"]", "listen = [\"192.0.2.1:848\", \"[2001:db8::1]:8480\"]")
        .replace(
            "[[group.tek]]",
            "sid_bits = 8\nactivation_delay_s = 1\ndeactivation_delay_s = 2\ncompat = \"reference\"\n\
             rekey = { transport = \"multicast\", address = \"[ff3e::1]:848\", retransmits = 3, interval_s = 1, \
             acknowledge = false }\n[[group.tek]]",
        )
        .replace("\"aes-128-cbc\", lifetime_s = 86400, signature = \"ecdsa-p256\"", "\"aes-192-cbc\", lifetime_s = 500, signature = \"rsa-3072-sha384\"")
        .replace("aes-128-gcm", "null-hmac-sha1")
        .replace(
            "selectors = [{ src = \"10.0.0.0/8\", dst = \"10.0.0.0/8\" }]",
            "mode = \"transport\"\ndirection = \"receiver-only\"\nselectors = [{ src = \"10.0.0.0/8\", dst = \"0.0.0.0/0\", \
             protocol = \"tcp\", dst_port = 443 }, { src = \"2001:db8::/32\", dst = \"ff00::/8\" }]",
        );
    let config = parse(&text).unwrap();
    assert_eq!(config.server.store, FILES.path().join("store"));
    assert_eq!(config.server.phase1_lifetime, Duration::from_secs(3600));
    assert_eq!(config.server.dpd_interval, Some(Duration::from_secs(20)));
    let bounds = Bounds {
        half_open: 10,
        phase1s: 20,
        members: 30,
        registrations_per_s: 40,
        member_invalid_spi_per_s: 5,
        invalid_spi_per_s: 60,
    };
    assert_eq!(config.server.bounds, bounds);
    let group = &config.groups[0];
    assert_eq!((group.sid_bits, group.compat), (8, Compat::Reference));
    assert_eq!(group.gap.deactivation_delay, Duration::from_secs(2));
    let rekey = &group.rekey;
    assert_eq!(rekey.transport, Transport::Multicast("[ff3e::1]:848".parse().unwrap()));
    assert_eq!(rekey.source, config.server.listen[1], "of the group address's family");
    assert_eq!((rekey.retransmits, rekey.interval, rekey.acknowledge), (3, Duration::from_secs(1), None));
    let kek = &group.kek;
    assert_eq!((kek.cipher, kek.key), (KekCipher::Aes192Cbc, KeyKind::Rsa { bits: 3072 }));
    assert_eq!(kek.signature, KekSignature::Rsa(HashAlgorithm::Sha384));
    let shape = &group.teks[0].shape;
    assert_eq!((shape.transform, shape.mode), (EspTransform::NullHmacSha1, Mode::Transport));
    assert_eq!(shape.direction, Direction::ReceiverOnly);
    let https = Selector { protocol: Some(6), dst_port: Some(443), ..selector("10.0.0.0/8", "0.0.0.0/0") };
    assert_eq!(shape.selectors, [https, selector("2001:db8::/32", "ff00::/8")]);
}

#[test]
fn every_transform_cipher_and_signature_has_a_name() {
    for transform in EspTransform::ALL {
        let config = parse(&BASE.replace("aes-128-gcm", transform.name())).unwrap();
        assert_eq!(config.groups[0].teks[0].shape.transform, transform);
    }
    for (bits, cipher) in
        [(128, KekCipher::Aes128Cbc), (192, KekCipher::Aes192Cbc), (256, KekCipher::Aes256Cbc)]
    {
        let config = parse(&BASE.replace("aes-128-cbc", &format!("aes-{bits}-cbc"))).unwrap();
        assert_eq!(config.groups[0].kek.cipher, cipher);
    }
    for bits in [2048, 3072, 4096] {
        for (name, hash) in [
            ("sha256", HashAlgorithm::Sha256),
            ("sha384", HashAlgorithm::Sha384),
            ("sha512", HashAlgorithm::Sha512),
        ] {
            let config = parse(&BASE.replace("ecdsa-p256", &format!("rsa-{bits}-{name}"))).unwrap();
            let kek = config.groups[0].kek;
            assert_eq!((kek.key, kek.signature), (KeyKind::Rsa { bits }, KekSignature::Rsa(hash)));
            assert!(config.warnings.is_empty());
        }
    }
    let config = parse(&BASE.replace("ecdsa-p256", "ecdsa-p384")).unwrap();
    assert_eq!(config.groups[0].kek.signature, KekSignature::EcdsaP384);
}

#[test]
fn a_peer_is_found_by_the_longest_prefix_that_holds_its_address() {
    let peers = BASE.replace(
        "[[group]]",
        "[[peer]]\naddress = \"192.0.2.0/24\"\npsk_file = \"gm2.psk\"\ngroups = [\"finance\"]\n\
         [[peer]]\naddress = \"::/0\"\npsk_file = \"gm2.psk\"\ngroups = [\"finance\"]\n[[group]]",
    );
    let config = parse(&peers).unwrap();
    let at = |address: &str| match config.peers.at(address.parse().unwrap()).map(|peer| &peer.who) {
        Some(Who::Address { prefix, key }) => Some((prefix.to_string(), key.to_vec())),
        Some(Who::Subject(name)) => panic!("{name} has no address"),
        None => None,
    };
    assert_eq!(at("192.0.2.7"), Some(("192.0.2.7/32".into(), b"correct horse".to_vec())));
    assert_eq!(at("192.0.2.8"), Some(("192.0.2.0/24".into(), vec![0, 0xff])));
    assert_eq!(at("192.0.3.7"), None);
    assert_eq!(at("2001:db8::1"), Some(("::/0".into(), vec![0, 0xff])));
}

#[test]
fn peers_without_a_key_of_their_own_have_the_servers() {
    let text =
        BASE.replace("psk_file = \"gm1.psk\"\n", "").replace("[[peer]]", "psk_file = \"gm2.psk\"\n[[peer]]");
    let config = parse(&text).unwrap();
    let peer = config.peers.at("192.0.2.7".parse().unwrap()).unwrap();
    assert!(matches!(&peer.who, Who::Address { key, .. } if *key == [0, 0xff][..]));
}

/// A configuration with a certificate and peers of these names besides the one at 192.0.2.7.
fn with_subjects(subjects: &[&str]) -> Config {
    let peer = |name: &&str| format!("[[peer]]\nsubject = \"{name}\"\ngroups = [\"finance\"]\n");
    let peers: String = subjects.iter().map(peer).collect();
    let text = BASE.replace("[[peer]]\n", &format!("{CERTIFICATE}[[peer]]\n"));
    parse(&text.replace("[[group]]", &format!("{peers}[[group]]"))).unwrap()
}

/// A member's certificate, verified: CN=gm1.example.net,O=Example, with the name gm1.example.net and the
/// address 192.0.2.1.
fn certificate(config: &Config) -> PeerCertificate {
    let pem = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/testdata/gm1.crt")).unwrap();
    let chain = parse_chain(&pem).unwrap();
    let not_before = Certificate::from_der(&chain[0]).unwrap().not_before();
    config.server.certificate.as_ref().unwrap().trust().verify(&chain, not_before + 60).unwrap()
}

#[test]
fn a_peer_with_a_certificate_is_found_by_any_of_its_names() {
    for (subjects, found) in [
        (&["CN=gm1.example.net, O=Example"][..], Some("CN=gm1.example.net,O=Example")),
        (&["O=example,CN=GM1.example.net"], Some("O=example,CN=GM1.example.net")),
        (&["GM1.example.net"], Some("GM1.example.net")),
        (&["192.0.2.1"], Some("192.0.2.1")),
        (&["other", "192.0.2.1", "gm1.example.net"], Some("192.0.2.1")),
        (&["CN=gm1.example.net"], None),
        (&["gm2.example.net", "192.0.2.2", "gm1@example.net"], None),
    ] {
        let config = with_subjects(subjects);
        let peer = config.peers.of(&certificate(&config)).map(|peer| match &peer.who {
            Who::Subject(name) => name.clone(),
            Who::Address { prefix, .. } => panic!("{prefix} is no name"),
        });
        assert_eq!(peer, found.map(|name| name.parse().unwrap()), "{subjects:?}");
    }
}

#[test]
fn phase_1_and_the_core_are_told_the_same_of_a_peer() {
    let config = with_subjects(&["gm1.example.net"]);
    let peers: &dyn ike::Peers = &config.peers;
    let settings: Vec<_> = config.peers.settings().into_iter().map(|peer| peer.who).collect();
    let address = core::Who::Address("192.0.2.7/32".parse().unwrap());
    assert_eq!(settings, [address, core::Who::Name("gm1.example.net".into())]);

    let info = |address: &str, method| PeerInfo {
        address: address.parse().unwrap(),
        identity: "gm1.example.net".parse().unwrap(),
        method,
        subject: None,
        tag: None,
        is_getvpn: true,
        supports_dpd: true,
    };
    let own = certificate(&config);
    let with_key = |address| peers.admit(&info(address, Method::PreSharedKey), None);
    assert_eq!(with_key("192.0.2.7:848"), Some(PeerTag(0)));
    assert_eq!(with_key("192.0.2.8:848"), None);
    let with_certificate = peers.admit(&info("192.0.2.8:848", Method::EcdsaP256), Some(&own)).unwrap();
    assert_eq!(config.peers.tagged(with_certificate), config.peers.of(&own));
    // A certificate of nobody is not admitted for the address that it is used from.
    let others = with_subjects(&["gm2.example.net"]);
    let stranger = info("192.0.2.7:848", Method::EcdsaP256);
    assert_eq!(ike::Peers::admit(&others.peers, &stranger, Some(&own)), None);
    assert!(peers.pre_shared_key("192.0.2.7".parse().unwrap()).is_some());
    assert!(peers.pre_shared_key("192.0.2.8".parse().unwrap()).is_none());
}

#[test]
fn what_is_weak_or_without_effect_is_told_but_taken() {
    let text = BASE
        .replace("[[peer]]", "phase1 = [\"aes256-sha256-ecp256\", \"aes128-sha1-modp1024\"]\n[[peer]]")
        .replace("ecdsa-p256", "rsa-2048-sha1");
    let empty = "[[group]]\nname = \"empty\"\nid = 5\nkek = { cipher = \"aes-128-cbc\", lifetime_s = 86400, \
         signature = \"ecdsa-p256\" }\n[[group.tek]]\ntransform = \"aes-128-gcm\"\nlifetime_s = 3600\n\
         selectors = [{ src = \"10.0.0.0/8\", dst = \"10.0.0.0/8\" }]\n";
    let config = parse(&format!("{text}{empty}")).unwrap();
    let [suite, signature, group] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
    assert!(suite.contains("ks.toml:4:35: server.phase1: aes128-sha1-modp1024 is weak"), "{suite}");
    assert!(signature.contains("ks.toml:12:65: group.kek.signature: a signature over SHA-1"), "{signature}");
    assert!(group.contains("ks.toml: no peer may join group \"empty\""), "{group}");
    assert_eq!(config.groups[0].kek.signature, KekSignature::Rsa(HashAlgorithm::Sha1));
}

#[test]
fn a_missing_configuration_is_told_by_name() {
    let file = FILES.path().join("none.toml");
    let error = Config::load(&file).unwrap_err().to_string();
    assert_eq!(error, format!("{}: no such file; name the configuration with --config", file.display()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

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
}
