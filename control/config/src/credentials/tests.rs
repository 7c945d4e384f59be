//! Credentials as files: what is taken, and where what is wrong is told. The certificates were made by
//! OpenSSL.

use super::*;
use crate::Document;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A directory with all that `section` may name: certificates of a CA, a key server and a member.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    for (name, mode) in [
        ("ca.crt", 0o644),
        ("ca.crl", 0o644),
        ("ks1.crt", 0o644),
        ("gm1.crt", 0o644),
        ("ks1.key", 0o600),
        ("gm1.key", 0o600),
    ] {
        let to = dir.path().join(name);
        fs::write(&to, fs::read(from.join(name)).unwrap()).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(mode)).unwrap();
    }
    let psk = dir.path().join("psk");
    fs::write(&psk, "correct horse\n").unwrap();
    fs::set_permissions(&psk, fs::Permissions::from_mode(0o600)).unwrap();
    dir
}

fn with<T>(
    dir: &Path,
    text: &str,
    what: impl Fn(&Section<'_>, &Path) -> Result<T, ConfigError>,
) -> Result<T, String> {
    let file = dir.join("a.toml");
    let document = Document::parse(&file, text).unwrap();
    let told = what(&document.root(), document.base());
    told.map_err(|e| e.to_string().replace(&format!("{}/", dir.display()), ""))
}

const ALL: &str =
    "certificate = \"ks1.crt\"\nprivate_key = \"ks1.key\"\ntrust_anchors = \"ca.crt\"\ncrls = [\"ca.crl\"]\n";

#[test]
fn a_pre_shared_key_or_a_certificate_is_read() {
    let dir = directory();
    let read = |text: &str| with(dir.path(), text, super::read);
    match read("psk_file = \"psk\"") {
        Ok(Credentials::Psk(key)) => assert_eq!(key, b"correct horse"[..]),
        other => panic!("{other:?}"),
    }
    match read(ALL) {
        Ok(Credentials::Certificate(credentials)) => {
            assert_eq!(credentials.chain().len(), 1);
            assert_eq!(credentials.trust().anchors()[0].subject(), "CN=Test CA,O=Example");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_wrong_with_credentials_is_told_at_the_file_that_it_is_in() {
    let dir = directory();
    fs::write(dir.path().join("text"), "not a certificate").unwrap();
    fs::copy(dir.path().join("ks1.key"), dir.path().join("open.key")).unwrap();
    fs::set_permissions(dir.path().join("open.key"), fs::Permissions::from_mode(0o640)).unwrap();
    for (what, with_what, said) in [
        ("", "", "a.toml:1:1: psk_file: missing; give psk_file, or certificate"),
        ("", "psk_file = \"psk\"\ncrls = \"ca.crl\"", "a.toml:2:8: crls: psk_file is given too"),
        ("", "crls = \"ca.crl\"", "a.toml:1:8: crls: has no effect without certificate"),
        ("", "certificate = \"ks1.crt\"", "a.toml:1:1: private_key: missing"),
        ("trust_anchors = \"ca.crt\"\n", "", "a.toml:1:1: trust_anchors: missing"),
        ("\"ca.crt\"", "[]", "a.toml:3:17: trust_anchors: empty"),
        ("\"ca.crt\"", "[\"ca.crt\", \"gone\"]", "a.toml:3:28: trust_anchors: there is no file gone"),
        ("\"ca.crt\"", "\"ks1.crt\"", "a.toml:3:17: trust_anchors: ks1.crt: an issuer on the path is no CA"),
        ("\"ca.crl\"", "\"ca.crl\", \"ca.crt\"", "a.toml:4:19: crls: ca.crt: no CRL found"),
        ("\"ks1.crt\"", "\"text\"", "a.toml:1:15: certificate: text: no certificate found"),
        ("\"ks1.key\"", "\"ca.crl\"", "a.toml:2:15: private_key: ca.crl holds keys and others may use it"),
        ("\"ks1.key\"", "\"psk\"", "a.toml:2:15: private_key: psk: no private key found"),
        (
            "\"ks1.key\"",
            "\"open.key\"",
            "a.toml:2:15: private_key: open.key holds keys and others may use it (mode 0640); do `chmod 600 open.key`",
        ),
        (
            "\"ks1.key\"",
            "\"gm1.key\"",
            "a.toml:2:15: private_key: gm1.key: the private key is not the one of the certificate",
        ),
    ] {
        let text = if what.is_empty() { with_what.to_owned() } else { ALL.replacen(what, with_what, 1) };
        assert_ne!(text, ALL);
        let error = with(dir.path(), &text, super::read).map(|_| ()).expect_err(with_what);
        assert!(error.starts_with(said), "{with_what}:\n  expected {said}\n  got      {error}");
    }
}

#[test]
fn a_certificate_holds_the_identity_that_is_used_with_it() {
    let dir = directory();
    let identity = |id: &str| {
        with(dir.path(), &format!("{ALL}{id}"), |section, base| {
            let certificate = certificate(section, base)?;
            local_identity(section, certificate.as_deref())
        })
        .map(|identity| identity.unwrap().to_string())
    };
    for (id, is) in [
        ("", "CN=ks1.example.net,O=Example"),
        ("local_id = \"CN=ks1.example.net, O=Example\"", "CN=ks1.example.net,O=Example"),
        ("local_id = \"KS1.example.net\"", "KS1.example.net"),
        ("local_id = \"192.0.2.1\"", "192.0.2.1"),
    ] {
        assert_eq!(identity(id).as_deref(), Ok(is), "{id}");
    }
    for id in ["CN=ks1.example.net", "ks2.example.net", "192.0.2.2", "a@ks1.example.net", "key-id:00"] {
        let error = identity(&format!("local_id = {id:?}")).expect_err(id);
        let said = format!(
            "a.toml:5:12: local_id: the certificate is not for {id}; it is for \
             CN=ks1.example.net,O=Example or ks1.example.net or 192.0.2.1"
        );
        assert_eq!(error, said);
    }
    // With a pre-shared key there is no other witness.
    let with_key = |text: &str| with(dir.path(), text, |section, _| local_identity(section, None)).unwrap();
    assert!(with_key("").is_none());
    assert_eq!(with_key("local_id = \"key-id:00\"").unwrap().to_string(), "key-id:00");
}
