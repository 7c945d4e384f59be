//! What a group says of its key servers: what it means, its defaults, and what is wrong with it.

use super::*;
use getvpn_gdoi::ike::Suite;
use getvpn_gdoi::wire::Compat;

/// The smallest that a registering member can start with; a group's last line is line 11.
fn base(dir: &Path) -> String {
    let psk = dir.join("gm.psk");
    fs::write(&psk, "secret\n").unwrap();
    fs::set_permissions(&psk, fs::Permissions::from_mode(0o600)).unwrap();
    let links = &BASE[..BASE.find("[[group]]").unwrap()];
    let shown = psk.display();
    format!(
        "{links}[[group]]\nname = \"finance\"\nid = 1234\nkey_servers = [\"192.0.2.1:848\", \"192.0.2.2:848\"]\n\
         psk_file = \"{shown}\"\n"
    )
}

fn registration(text: &str) -> Registration {
    parse(text).unwrap().groups.remove(0).registration.unwrap()
}

#[test]
fn what_is_not_said_has_its_default() {
    let dir = tempfile::tempdir().unwrap();
    let read = registration(&base(dir.path()));
    let servers: Vec<String> = read.key_servers.iter().map(|server| server.address.to_string()).collect();
    assert_eq!(servers, ["192.0.2.1:848", "192.0.2.2:848"]);
    assert!(read.key_servers.iter().all(|server| server.identity.is_none()));
    assert_eq!((read.identity, read.compat), (None, Compat::Standard));
    assert_eq!(read.suites, Suite::DEFAULT);
    assert_eq!(read.phase1_lifetime, Duration::from_secs(86_400));
    assert_eq!(read.dpd_interval, Some(Duration::from_secs(30)));
    let recovery = Recovery {
        tries: 3,
        first_retry: Duration::from_millis(200),
        first_backoff: Duration::from_secs(1),
        longest_backoff: Duration::from_secs(60),
        give_up: Duration::from_secs(20),
        unknown_for: Duration::from_secs(60),
        invalid_spi_per_s: 20,
    };
    assert_eq!(read.recovery, recovery);
    assert_eq!(
        read.limits,
        Limits { sas: 256, selectors: 1024, lifetime: Duration::from_secs(2_678_400), sad: 1024 }
    );
    assert_eq!(read.replay, ReplayPolicy::Sender { window: 1024, max_senders: 4096 });
}

#[test]
fn everything_can_be_said_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let text = base(dir.path())
        + "key_server_ids = [\"ks1.example.net\", \"CN=ks2,O=Example\"]\nlocal_id = \"key-id:00ff\"\n\
           phase1 = [\"aes128-sha1-modp2048\"]\nphase1_lifetime_s = 3600\ndpd_interval_s = 0\ncompat = \"reference\"\n\
           recovery = { tries = 5, first_retry_ms = 100, first_backoff_s = 2, longest_backoff_s = 9, give_up_s = 7,\n\
           unknown_for_s = 8, invalid_spi_per_s = 5 }\n\
           limits = { sas = 8, selectors = 9, lifetime_s = 7200 }\nsad_limit = 16\n\
           replay = \"sender\"\nreplay_window = 128\nreplay_senders = 7\n\
           [control]\nlisten = \"192.0.2.7:0\"\nmulticast_interface = \"192.0.2.7\"\n\
           invalid_spi_per_s = 50\n";
    let read = registration(&text);
    let ids: Vec<String> =
        read.key_servers.iter().map(|server| server.identity.as_ref().unwrap().to_string()).collect();
    assert_eq!(ids, ["ks1.example.net", "CN=ks2,O=Example"]);
    assert_eq!(read.identity.unwrap().to_string(), "key-id:00ff");
    assert_eq!(read.suites, ["aes128-sha1-modp2048".parse().unwrap()]);
    assert_eq!((read.phase1_lifetime, read.dpd_interval), (Duration::from_secs(3600), None));
    assert_eq!(read.compat, Compat::Reference);
    let recovery = Recovery {
        tries: 5,
        first_retry: Duration::from_millis(100),
        first_backoff: Duration::from_secs(2),
        longest_backoff: Duration::from_secs(9),
        give_up: Duration::from_secs(7),
        unknown_for: Duration::from_secs(8),
        invalid_spi_per_s: 5,
    };
    assert_eq!(read.recovery, recovery);
    assert_eq!(read.limits, Limits { sas: 8, selectors: 9, lifetime: Duration::from_secs(7200), sad: 16 });
    assert_eq!(read.replay, ReplayPolicy::Sender { window: 128, max_senders: 7 });
    let control = parse(&text).unwrap().control;
    assert_eq!(control.listen, "192.0.2.7:0".parse().unwrap());
    assert_eq!(control.multicast_interface, Some("192.0.2.7".parse().unwrap()));
}

#[test]
fn each_error_is_told_with_its_line_column_key_and_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let base = base(dir.path());
    let mut wrong = Vec::new();
    for (what, with, at, key, said) in [
        (
            "id = 1234\n",
            "",
            "7:1",
            "group.id",
            "missing; give the group's number, by which its key servers know it",
        ),
        (
            "\"192.0.2.2:848\"",
            "\"[2001:db8::1]:848\"",
            "10:33",
            "group.key_servers",
            "cannot be reached from 0.0.0.0:848; set [control] listen = \"[::]:848\"",
        ),
        (
            "",
            "key_server_ids = [\"ks1\"]\n",
            "12:18",
            "group.key_server_ids",
            "1 of 2 key servers; give one for each, in order",
        ),
        (
            "",
            "key_server_ids = [\"ks1\", \"192.0.2.2:848\"]\n",
            "12:26",
            "group.key_server_ids",
            "is no identity; write an address",
        ),
        ("", "local_id = \"gm 1\"\n", "12:12", "group.local_id", "is no identity"),
        ("", "phase1 = [\"aes128-sha1\"]\n", "12:11", "group.phase1", "`aes128-sha1` is not a phase 1 suite"),
        ("", "phase1_lifetime_s = 1\n", "12:21", "group.phase1_lifetime_s", "from 60 to"),
        (
            "",
            "compat = true\n",
            "12:10",
            "group.compat",
            "expected \"reference\" or \"none\", found a boolean",
        ),
        ("", "crls = \"x\"\n", "12:8", "group.crls", "use a pre-shared key or a certificate, not both"),
        ("", "recovery = 3\n", "12:12", "group.recovery", "expected a table"),
        ("", "recovery = { trys = 3 }\n", "12:14", "group.recovery.trys", "did you mean `tries`?"),
        ("", "recovery = { give_up_s = 0 }\n", "12:26", "group.recovery.give_up_s", "from 1 to 300, found 0"),
        ("", "recovery = { tries = 0 }\n", "12:22", "group.recovery.tries", "from 1 to 20, found 0"),
        (
            "",
            "recovery = { first_retry_ms = 1 }\n",
            "12:31",
            "group.recovery.first_retry_ms",
            "from 10 to 60000, found 1",
        ),
        (
            "",
            "recovery = { first_backoff_s = 9, longest_backoff_s = 8 }\n",
            "12:55",
            "group.recovery.longest_backoff_s",
            "less than first_backoff_s, which is 9",
        ),
        ("", "limits = { sas = 0 }\n", "12:18", "group.limits.sas", "from 1 to 4096, found 0"),
        ("", "limits = { lifetimes = 0 }\n", "12:12", "group.limits.lifetimes", "did you mean `lifetime_s`?"),
        ("", "sad_limit = 511\n", "12:13", "group.sad_limit", "give 512 or more, or lower limits.sas"),
        (
            "",
            "replay = \"none\"\nreplay_window = 64\n",
            "13:17",
            "group.replay_window",
            "has no effect without replay",
        ),
        ("", "[control]\nlisten = \"0.0.0.0\"\n", "13:10", "control.listen", "is no address with a port"),
        ("", "[control]\nlisten = \"239.0.0.1:848\"\n", "13:10", "control.listen", "a multicast address"),
        (
            "",
            "[control]\nmulticast_interface = \"eth0\"\n",
            "13:23",
            "control.multicast_interface",
            "\"eth0\" is none; expected an address of an interface",
        ),
    ] {
        let text = if what.is_empty() { format!("{base}{with}") } else { base.replacen(what, with, 1) };
        assert_ne!(text, base, "{what:?} is not in the base");
        match parse(&text) {
            Ok(_) => wrong.push(format!("{with:?} was taken")),
            Err(error) => {
                let (line, column) = error.at.unwrap_or_default();
                if format!("{line}:{column}") != at || error.key != key || !error.problem.contains(said) {
                    wrong.push(format!("{with:?}:\n  expected {at} {key}: {said}\n  got      {error}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_key_about_key_servers_is_taken_without_them() {
    for key in super::super::registration::KEYS {
        let text = BASE.replacen("[[group.sa]]", &format!("{key} = \"x\"\n[[group.sa]]"), 1);
        let error = parse(&text).unwrap_err();
        assert_eq!(error.key, format!("group.{key}"));
        assert!(error.problem.contains("has no effect without key_servers"), "{error}");
    }
}

#[test]
fn a_socket_for_both_families_reaches_both() {
    let dir = tempfile::tempdir().unwrap();
    let text =
        base(dir.path()).replace("192.0.2.2:848", "[2001:db8::1]:848") + "[control]\nlisten = \"[::]:848\"\n";
    assert_eq!(registration(&text).key_servers.len(), 2);
    let error = parse(&text.replace("[::]:848", "[2001:db8::7]:848")).unwrap_err();
    assert!(error.problem.contains("192.0.2.1:848 cannot be reached from [2001:db8::7]:848"), "{error}");
}

#[test]
fn a_counter_window_needs_one_worker_and_weak_suites_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let text = base(dir.path()) + "replay = \"counter\"\nphase1 = [\"aes128-sha1-modp1024\"]\n";
    let config = parse(&text).unwrap();
    assert_eq!(
        config.groups[0].registration.as_ref().unwrap().replay,
        ReplayPolicy::Counter { window: 1024 }
    );
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].contains("gm.toml:13:11: group.phase1: aes128-sha1-modp1024 is weak"));
    let error = parse(&text.replace("cores = [1]", "cores = [1, 2]")).unwrap_err();
    assert!(error.problem.contains("the 2 workers of this member are 2 senders"), "{error}");
}

#[test]
fn more_sas_in_a_policy_make_room_for_two_generations() {
    let dir = tempfile::tempdir().unwrap();
    let read = registration(&(base(dir.path()) + "limits = { sas = 1000 }\n"));
    assert_eq!((read.limits.sas, read.limits.sad), (1000, 2000));
    let read = registration(&(base(dir.path()) + "recovery = { first_backoff_s = 100 }\n"));
    assert_eq!(read.recovery.longest_backoff, Duration::from_secs(100));
}
