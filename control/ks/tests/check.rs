//! The program itself: what `--check` says, and by which exit status.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const GOOD: &str = r#"[server]
listen = "127.0.0.1:848"
local_id = "ks1.example.net"
[[peer]]
address = "127.0.0.0/8"
psk_file = "psk"
groups = ["finance"]
[[group]]
name = "finance"
id = 1234
kek = { cipher = "aes-128-cbc", lifetime_s = 86400, signature = "rsa-2048-sha1" }
[[group.tek]]
transform = "aes-128-gcm"
lifetime_s = 3600
selectors = [{ src = "10.0.0.0/8", dst = "10.0.0.0/8" }]
"#;

fn check(dir: &Path, text: &str) -> Output {
    fs::write(dir.join("psk"), "correct horse\n").unwrap();
    fs::set_permissions(dir.join("psk"), fs::Permissions::from_mode(0o600)).unwrap();
    let file = dir.join("ks.toml");
    fs::write(&file, text).unwrap();
    let program = env!("CARGO_BIN_EXE_getvpn-ks");
    Command::new(program).arg("--config").arg(file).arg("--check").output().unwrap()
}

#[test]
fn a_good_configuration_is_ok_and_what_is_weak_in_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let output = check(dir.path(), GOOD);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"OK\n"[..]));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("getvpn-ks: warning: ") && said.contains("ks.toml:11:65: group.kek.signature:"),
        "{said}"
    );
}

#[test]
fn a_bad_one_is_told_in_one_line_and_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let output = check(dir.path(), &GOOD.replace("aes-128-gcm", "rot13"));
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("ks.toml:13:13: group.tek.transform: expected \"aes-128-gcm\","), "{said}");
    assert_eq!(said.lines().count(), 1);
}
