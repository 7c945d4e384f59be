//! The reader as its users see it: documents, files and what is told about them. What a daemon's keys
//! mean is tested with the daemon.

use super::*;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What `read` says of the text of `a.toml` in a directory `base`.
fn with<T>(base: &Path, text: &str, read: impl Fn(&Section<'_>, &Path) -> T) -> T {
    let file = base.join("a.toml");
    let document = Document::parse(&file, text).unwrap();
    read(&document.root(), document.base())
}

fn write(base: &Path, name: &str, content: impl AsRef<[u8]>, mode: u32) {
    fs::write(base.join(name), content).unwrap();
    fs::set_permissions(base.join(name), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_secret_that_others_may_use_is_refused_by_whatever_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    for (mode, fine) in
        [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o602, false), (0o610, false)]
    {
        let name = format!("{mode:o}.psk");
        write(base, &name, "secret\n", mode);
        let shown = base.join(&name).display().to_string();
        let said =
            format!("{shown} holds keys and others may use it (mode {mode:04o}); do `chmod 600 {shown}`");
        let expected = if fine { Ok(()) } else { Err(said) };
        with(base, &format!("k = {name:?}"), |root, base| {
            let value = root.get("k").unwrap();
            let read = files::read_secret(&value, base, 64);
            assert_eq!(read.map(|_| ()).map_err(|e| e.problem), expected);
            assert_eq!(psk::read(&value, base).map(|_| ()).map_err(|e| e.problem), expected);
        });
    }
}

#[test]
fn a_pre_shared_key_is_read_from_its_file_and_what_is_wrong_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    write(base, "good", "correct horse\n", 0o600);
    write(base, "hex", "0x00ff\n", 0o600);
    write(base, "newline", "\n", 0o600);
    write(base, "nothing", "", 0o600);
    write(base, "long", [b'a'; 257], 0o600);
    write(base, "huge", [b'a'; 100_000], 0o600);
    let read = |name: &str| {
        with(base, &format!("k = {name:?}"), |root, base| psk::read(&root.get("k").unwrap(), base))
    };
    assert_eq!(read("good").unwrap(), b"correct horse"[..]);
    assert_eq!(read("hex").unwrap(), [0, 0xff][..]);
    for (name, said) in [
        ("none", "there is no file "),
        ("newline", "newline holds no key, only a newline"),
        ("nothing", "nothing is empty"),
        ("long", "long holds a key of 257 octets; at most 256 are possible"),
        ("huge", "huge is longer than 516 octets"),
    ] {
        let error = read(name).unwrap_err();
        assert!(error.problem.contains(said), "{error}");
        assert_eq!((error.at, error.key.as_str()), (Some((1, 5)), "k"));
    }
}

#[test]
fn an_address_alone_is_a_prefix_of_all_its_bits() {
    let prefix = |text: &str| {
        with(Path::new(""), text, |root, _| selector::prefix(&root.get("p").unwrap(), "a prefix"))
    };
    for (text, shown) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("2001:DB8::/33", "2001:db8::/33"),
        ("::1", "::1/128"),
    ] {
        assert_eq!(prefix(&format!("p = {text:?}")).unwrap().to_string(), shown);
    }
    for (text, column, said) in [
        ("10.0.0.1/8", 5, "10.0.0.1/8 has bits set behind its /8; the prefix would be 10.0.0.0/8"),
        ("10.0.0.0/33", 15, "\"33\" is no prefix length; expected a number from 0 to 32"),
        ("::/129", 9, "\"129\" is no prefix length; expected a number from 0 to 128"),
        ("::/+1", 9, "\"+1\" is no prefix length; expected a number from 0 to 128"),
        ("10.0.0.0/", 15, "\"\" is no prefix length; expected a number from 0 to 32"),
        ("/8", 5, "\"\" is no IP address; expected a prefix"),
    ] {
        let error = prefix(&format!("p = {text:?}")).unwrap_err();
        assert_eq!((error.at, error.problem.as_str()), (Some((1, column)), said));
    }
}

#[test]
fn what_is_said_twice_is_told_with_the_line_of_the_first_time() {
    with(Path::new("dir"), "a = 1\nb = 2\nc = 1\n", |root, base| {
        assert_eq!(base, Path::new("dir"));
        let mut seen = Unique::default();
        for key in ["a", "b"] {
            let value = root.get(key).unwrap();
            seen.claim(&value, value.integer::<u8>(0..=9, "a digit").unwrap(), "a digit").unwrap();
        }
        let error = seen.claim(&root.get("c").unwrap(), 1, "a 1").unwrap_err();
        assert_eq!(
            error.to_string(),
            "dir/a.toml:3:5: c: there is a 1 already, in line 1; use another or remove one"
        );
    });
}

proptest! {
    #[test]
    fn a_prefix_that_is_read_is_shown_as_one_that_reads_the_same(
        address in any::<std::net::IpAddr>(),
        length in 0..=128_u8,
    ) {
        let read = |text: String| {
            with(Path::new(""), &format!("p = \"{text}\""), |root, _| {
                selector::prefix(&root.get("p").unwrap(), "a prefix")
            })
        };
        if let Ok(prefix) = read(format!("{address}/{length}")) {
            prop_assert_eq!((prefix.addr(), prefix.prefix_len()), (address, length));
            prop_assert_eq!(read(prefix.to_string()).unwrap(), prefix);
        }
    }
}

#[test]
fn metrics_are_off_without_their_section_and_on_the_loopback_with_it() {
    let read = |text: &str| {
        let mut warnings = Vec::new();
        let document = Document::parse(Path::new("/x/a.toml"), text).unwrap();
        let read = metrics::read(&document.root(), 9848, &mut warnings);
        (read.map_err(|e| e.to_string()), warnings)
    };
    let at = |address: &str| Ok(Some(address.parse().unwrap()));
    assert_eq!(read(""), (Ok(None), vec![]));
    assert_eq!(read("[metrics]"), (at("127.0.0.1:9848"), vec![]));
    assert_eq!(read("[metrics]\nlisten = \"\""), (Ok(None), vec![]));
    assert_eq!(read("[metrics]\nlisten = \"[::1]:1\""), (at("[::1]:1"), vec![]));
    let (address, warnings) = read("[metrics]\nlisten = \"0.0.0.0:9848\"");
    assert_eq!(address, at("0.0.0.0:9848"));
    assert!(
        warnings[0]
            .starts_with("/x/a.toml:2:10: metrics.listen: metrics are served at 0.0.0.0:9848 to whoever")
    );
    for (text, error) in [
        (
            "listen = 9848",
            "2:10: metrics.listen: expected an address with its port, or \"\" to serve no metrics, found",
        ),
        ("listen = \"localhost:9848\"", "2:10: metrics.listen: \"localhost:9848\" is no address with a port"),
        ("listen = \"239.1.1.1:9848\"", "2:10: metrics.listen: a multicast address"),
        ("port = 9848", "2:1: metrics.port: there is no key `port` in metrics"),
    ] {
        let (result, _) = read(&format!("[metrics]\n{text}"));
        let said = result.unwrap_err();
        assert!(said.contains(error), "{said}");
    }
}
