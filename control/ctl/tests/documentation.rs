//! PROTOCOL.md says what the code does.

use getvpn_ctl::server::Limits;
use getvpn_ctl::{Command, MAX_REPLY, MAX_REQUEST, VERSION};

const PAGE: &str = include_str!("../PROTOCOL.md");

#[test]
fn every_command_has_its_row_and_no_row_is_of_none() {
    let commands = PAGE.split("## Commands").nth(1).expect("the section");
    let rows: Vec<&str> =
        commands.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(rows, Command::NAMES);
}

#[test]
fn the_numbers_are_those_of_the_code() {
    let grouped = |number: usize| {
        let digits = number.to_string();
        let groups: Vec<&str> =
            digits.as_bytes().rchunks(3).rev().map(|g| str::from_utf8(g).expect("digits")).collect();
        groups.join(",")
    };
    let Limits { clients, readers, idle, write } = Limits::default();
    for text in [
        format!("protocol, version {}\n", VERSION),
        format!("{} octets long at most, a reply {},", grouped(MAX_REQUEST), grouped(MAX_REPLY)),
        format!("serves {clients} clients at a time, {readers} of them such that may only read"),
        format!("nothing for {} s, or does not read its reply for {} s", idle.as_secs(), write.as_secs()),
    ] {
        assert!(PAGE.replace('\n', " ").contains(&text.replace('\n', " ")), "{text}");
    }
}
