//! Certificates, CRLs and keys of `getvpn-gdoi`'s tests; requests and configurations as they are documented.

use std::fs;

use getvpn_ctl::{Command, Spi};
use getvpn_gdoi::crypto::SigningKey;
use getvpn_gdoi::crypto::x509::{Certificate, parse_chain};

use super::{gdoi, piece, seed};

/// Writes the seeds of the targets that read files and lines.
pub fn write() {
    certificates();
    requests();
    seed("config_reader", "every_kind", CONFIGURATION.as_bytes());
    seed("config_ks", "every_key", KEY_SERVER.as_bytes());
}

fn certificates() {
    for name in ["root", "named", "leaf-p384", "leaf-rsa", "no-usage", "critical", "wrong-usage"] {
        let pem = fs::read(gdoi(&format!("src/crypto/testdata/x509/{name}.pem"))).unwrap();
        let der = parse_chain(&pem).unwrap().remove(0);
        let spki = Certificate::from_der(&der).unwrap().public_key().spki_der().to_vec();
        seed("x509", &format!("certificate_{name}"), &[&[0], der.as_slice()].concat());
        seed("x509", &format!("anchor_{name}"), &[&[5], der.as_slice()].concat());
        seed("x509", &format!("forged_{name}"), &[&[9], piece(&der).as_slice()].concat());
        seed("x509", &format!("signed_{name}"), &[&[10], piece(tbs(&der)).as_slice()].concat());
        seed("x509", &format!("spki_{name}"), &[&[4], piece(&spki).as_slice(), &[1; 64]].concat());
    }
    let pem = fs::read(gdoi("src/crypto/testdata/x509/leaf-root.pem")).unwrap();
    seed("x509", "pem_leaf-root", &[&[1], pem.as_slice()].concat());
    for name in ["sub.crl", "no-crl-sign.crl", "root.crl.der"] {
        let crl = fs::read(gdoi(&format!("src/crypto/testdata/x509/{name}"))).unwrap();
        seed("x509", &format!("crl_{name}"), &[&[6], crl.as_slice()].concat());
        if name.ends_with(".der") {
            seed("x509", "signed_crl", &[&[7], tbs(&crl)].concat());
        }
    }
    for name in ["p256-sec1", "p384-pkcs8", "rsa-pkcs1", "rsa-pkcs8", "rsa-pkcs1-encrypted", "ed25519"] {
        let pem = fs::read(gdoi(&format!("src/crypto/testdata/keys/{name}.pem"))).unwrap();
        seed("x509", &format!("key_{name}"), &[&[2], pem.as_slice()].concat());
        if let Ok(key) = SigningKey::from_pem(&pem) {
            seed("x509", &format!("pkcs8_{name}"), &[&[3], &key.to_pkcs8_der().unwrap()[..]].concat());
        }
    }
    for (at, name) in ["CN=gm2.example.net,O=Example", "gm2.example.net", "gm@example.net", "2001:db8::1"]
        .into_iter()
        .enumerate()
    {
        seed("x509", &format!("name_{at}"), &[&[8], name.as_bytes()].concat());
    }
}

/// The signed part of a Certificate or CertificateList whose length is written in two octets.
fn tbs(der: &[u8]) -> &[u8] {
    let inner = &der[4..];
    let len = match inner[1] {
        0x82 => 4 + usize::from(u16::from_be_bytes([inner[2], inner[3]])),
        0x81 => 3 + usize::from(inner[2]),
        short => 2 + usize::from(short),
    };
    &inner[..len]
}

fn requests() {
    let spi = Spi(0x0001_0001);
    for (name, command) in [
        ("status", Command::Status {}),
        ("counters", Command::Counters { per: true }),
        ("sa_list", Command::SaList {}),
        ("sa_show", Command::SaShow { spi }),
        ("sa_delete", Command::SaDelete { spi }),
        ("unknown_spi", Command::UnknownSpi {}),
    ] {
        seed("ctl_request", name, command.encode().trim_end().as_bytes());
    }
}

const CONFIGURATION: &str = r#"
a = ["x", 7, 0xff, true, 1.5, 2026-01-01, { src = "10.0.0.0/8" }]
src = "10.0.0.0/8"
dst = "10.0.0.0/8"
protocol = "tcp"

[[group]]
a = "drop"
b = """
\u00e4"""
[[group.sa]]
src = "2001:db8::/32"
dst = "2001:db8::/32"
protocol = 17
"#;

const KEY_SERVER: &str = r#"
[server]
listen = ["192.0.2.1:848"]
local_id = "ks1.example.net"
phase1 = ["aes256-sha256-ecp256"]
[[peer]]
address = "192.0.2.0/24"
psk_file = "gm.psk"
groups = ["finance"]
[[group]]
name = "finance"
id = 1234
sid_bits = 16
kek = { cipher = "aes-128-cbc", lifetime_s = 86400, signature = "ecdsa-p256" }
[[group.tek]]
transform = "aes-128-gcm"
lifetime_s = 3600
selectors = [{ src = "10.0.0.0/8", dst = "10.0.0.0/8" }]
"#;
