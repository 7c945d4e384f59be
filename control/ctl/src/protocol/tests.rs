use super::*;

pub(crate) fn all_commands() -> Vec<Command> {
    vec![
        Command::Status {},
        Command::Counters { per: false },
        Command::Counters { per: true },
        Command::Drops { all: true, peek: false },
        Command::Runtime {},
        Command::SaList {},
        Command::SaShow { spi: Spi(0x0001_0001) },
        Command::SaDelete { spi: Spi(256) },
        Command::SaExport { spis: Vec::new() },
        Command::SaExport { spis: vec![Spi(256), Spi(257)] },
        Command::Policy {
            src: "10.0.0.1".parse().unwrap(),
            dst: "10.0.0.2".parse().unwrap(),
            protocol: 17,
            src_port: 0,
            dst_port: 53,
        },
        Command::Spi { spi: Spi(0x0001_0001) },
        Command::UnknownSpi {},
        Command::Trace { filter: Filter::default(), count: 1, timeout_s: 10 },
        Command::Capture {
            filter: Filter {
                src: Some("10.0.0.0/8".into()),
                dst: Some("10.0.0.1".into()),
                host: Some("fd00::1".parse().unwrap()),
                spi: Some(Spi(0x0001_0001)),
                direction: Some(crate::probe::Direction::Out),
                drop: Some("too_big".into()),
                link: Some("site".into()),
            },
            side: Side::Wan,
            stage: Stage::Before,
            bounds: Bounds { packets: 5, ..Bounds::default() },
        },
        Command::ProbeRead { probe: 1 },
        Command::ProbeStop { probe: 1 },
        Command::Sync {},
        Command::Resync { group: "finance".into() },
        Command::GroupList {},
        Command::MemberList { group: "finance".into() },
        Command::MemberRemove { group: "finance".into(), id: 7 },
        Command::MemberReadmit { group: "finance".into(), name: "gm1".into() },
        Command::Rekey { group: "finance".into(), kek: false },
        Command::Rekey { group: "finance".into(), kek: true },
        Command::Doctor {},
        Command::LogLevel { level: None, for_s: None },
        Command::LogLevel { level: Some("debug".into()), for_s: Some(60) },
        Command::ResetCounters {},
        Command::Reload { dry_run: true },
    ]
}

#[test]
fn every_command_is_read_as_it_was_written() {
    for command in all_commands() {
        let line = command.encode();
        assert!(line.ends_with('\n'));
        assert_eq!(Command::decode(line.trim_end().as_bytes()), Ok(command));
    }
}

#[test]
fn the_list_of_names_is_the_list_of_commands() {
    let mut written: Vec<String> = all_commands()
        .iter()
        .map(|c| serde_json::to_value(c).unwrap()["command"].as_str().unwrap().to_owned())
        .collect();
    written.dedup();
    assert_eq!(written, Command::NAMES);
    let mut named: Vec<_> = all_commands().iter().map(Command::name).collect();
    named.dedup();
    assert_eq!(named, Command::NAMES);
}

#[test]
fn a_request_looks_as_documented() {
    assert_eq!(
        Command::SaShow { spi: Spi(0x0001_0001) }.encode(),
        "{\"version\":1,\"command\":\"sa show\",\"spi\":\"0x00010001\"}\n"
    );
    assert_eq!(Command::Counters { per: false }.encode(), "{\"version\":1,\"command\":\"counters\"}\n");
}

#[test]
fn a_bad_request_gets_the_code_that_fits() {
    for (line, code, text) in [
        ("", FaultCode::Malformed, "EOF"),
        ("[]", FaultCode::Malformed, "map"),
        ("{\"command\":\"status\"}", FaultCode::Malformed, "`version` is missing"),
        ("{\"version\":1}", FaultCode::Malformed, "`command` is missing"),
        ("{\"version\":1,\"command\":7}", FaultCode::Malformed, "not a string"),
        ("{\"version\":2,\"command\":\"status\"}", FaultCode::UnsupportedVersion, "speaks version 1"),
        ("{\"version\":\"1\",\"command\":\"status\"}", FaultCode::UnsupportedVersion, "version"),
        ("{\"version\":1,\"command\":\"reboot\"}", FaultCode::UnknownCommand, "sa list"),
        ("{\"version\":1,\"command\":\"sa show\"}", FaultCode::InvalidArgument, "missing field `spi`"),
        ("{\"version\":1,\"command\":\"sa show\",\"spi\":\"x\"}", FaultCode::InvalidArgument, "an SPI"),
        ("{\"version\":1,\"command\":\"counters\",\"pre\":true}", FaultCode::InvalidArgument, "`pre`"),
        ("{\"version\":1,\"command\":\"status\",\"x\":1}", FaultCode::InvalidArgument, "`x`"),
    ] {
        let fault = Command::decode(line.as_bytes()).unwrap_err();
        assert_eq!(fault.code, code, "{line}");
        assert!(fault.message.contains(text), "{line}: {}", fault.message);
    }
    assert_eq!(Command::decode(b"\xff\xfe").unwrap_err().code, FaultCode::Malformed);
}

#[test]
fn a_reply_comes_out_octet_for_octet_as_it_went_in() {
    let raw = RawValue::from_string("{\"b\": 1,  \"a\":18446744073709551615}".into()).unwrap();
    let line = encode_answer(&Ok(raw.clone()));
    assert_eq!(decode_answer(&line).unwrap().unwrap().get(), raw.get());
}

#[test]
fn a_fault_comes_through_and_an_unknown_kind_of_fault_too() {
    let fault = Fault::new(FaultCode::NotFound, "there is no SA 0x00000999");
    let line = encode_answer(&Err(fault.clone()));
    assert_eq!(
        line,
        "{\"version\":1,\"ok\":false,\"error\":{\"code\":\"not-found\",\
         \"message\":\"there is no SA 0x00000999\"}}\n"
    );
    assert_eq!(decode_answer(&line).unwrap().unwrap_err(), fault);
    let newer = "{\"version\":1,\"ok\":false,\"error\":{\"code\":\"tired\",\"message\":\"m\"}}";
    assert_eq!(decode_answer(newer).unwrap().unwrap_err().code, FaultCode::Other);
}

#[test]
fn what_is_no_answer_is_told_as_such() {
    for line in ["", "{}", "{\"version\":9,\"ok\":true,\"reply\":1}", "{\"version\":1,\"ok\":true}"] {
        assert!(decode_answer(line).is_err(), "{line}");
    }
}
