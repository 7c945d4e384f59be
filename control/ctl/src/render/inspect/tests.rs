use super::*;
use crate::Spi;
use crate::reply::{StageWork, WorkerRuntime};

fn esp() -> Offender {
    Offender {
        ago_ms: 12,
        link: Some("site".into()),
        from: Some("WAN".into()),
        direction: Some("inbound".into()),
        worker: Some(0),
        octets: Some(118),
        src: Some([10, 1, 0, 7].into()),
        dst: Some([10, 2, 0, 9].into()),
        protocol: Some(50),
        spi: Some(Spi(0x0001_0002)),
        sequence: Some(4711),
        ..Offender::default()
    }
}

fn unknown_spi() -> DropDetail {
    DropDetail {
        reason: "unknown_spi".into(),
        count: 1_234_567,
        more: 42,
        per_s: 3.5,
        recent_per_s: Some(0.25),
        meaning: "no SA with this SPI".into(),
        advice: "see `getvpnctl unknown-spi`: the member is out of step, or someone sends forged ESP".into(),
        last: Some(esp()),
    }
}

#[test]
fn a_drop_is_told_with_its_rates_what_to_do_and_the_last_offender() {
    let shut = DropDetail { reason: "shutdown".into(), count: 3, ..DropDetail::default() };
    let text = drops(&Drops {
        role: "gm".into(),
        since: "last-call".into(),
        since_s: 12.0,
        recent_s: Some(10.4),
        drops: vec![unknown_spi(), shut],
    });
    assert_eq!(
        text,
        "\
dropped for                            number           new         new/s         now/s
unknown_spi                         1,234,567            42           3.5          0.25
  no SA with this SPI
  see `getvpnctl unknown-spi`: the member is out of step, or someone sends forged ESP
  last 12 ms ago: ESP, SPI 0x00010002, sequence number 4711, from 10.1.0.7 to 10.2.0.9, 118 octets,
  link site from the WAN
shutdown                                    3             0             0             -
  whose the last was is not known

new: since the last call, 12 s ago; now: the last 10 s
"
    );
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn what_the_last_one_was_is_said_as_far_as_it_is_known() {
    let udp = Offender {
        spi: None,
        sequence: None,
        protocol: Some(17),
        src_port: Some(4000),
        dst_port: Some(53),
        ..esp()
    };
    assert_eq!(
        offender(&udp),
        "12 ms ago: UDP from 10.1.0.7:4000 to 10.2.0.9:53, 118 octets, link site from the WAN"
    );
    let frame = Offender {
        ago_ms: 75_000,
        src_mac: Some("02:00:00:00:00:01".into()),
        dst_mac: Some("02:00:00:00:00:02".into()),
        ethertype: Some("0x0800".into()),
        octets: Some(20),
        link: Some("site".into()),
        from: Some("LAN".into()),
        ..Offender::default()
    };
    assert_eq!(
        offender(&frame),
        "1 min 15 s ago: EtherType 0x0800 from 02:00:00:00:00:01 to 02:00:00:00:00:02, 20 octets, link site \
         from the LAN"
    );
    let peer = Offender { ago_ms: 5, peer: Some("192.0.2.7:848".parse().unwrap()), ..Offender::default() };
    assert_eq!(offender(&peer), "5 ms ago: from 192.0.2.7:848");
}

#[test]
fn a_key_server_refuses_and_says_where_it_does_not_know_who_it_was() {
    let text = drops(&Drops {
        role: "ks".into(),
        since: "start".into(),
        since_s: 3.25,
        recent_s: None,
        drops: vec![DropDetail { reason: "ack-stale".into(), count: 1, more: 1, ..DropDetail::default() }],
    });
    assert!(text.starts_with("refused for"), "{text}");
    assert!(text.contains("whose the last was is not kept here"), "{text}");
    assert!(text.ends_with("new: since the start, 3.2 s ago\n"), "{text}");
    assert_eq!(drops(&Drops { role: "gm".into(), ..Drops::default() }), "nothing was dropped\n");
}

#[test]
fn a_worker_is_told_with_its_load_and_its_stages() {
    let stage = StageWork {
        direction: "inbound".into(),
        stage: "open".into(),
        meaning: "integrity and decryption".into(),
        packets: 3200,
        bursts: 100,
        cycles: 640_000,
        burst_size: Some(32.0),
        cycles_per_packet: Some(200.0),
    };
    let recent = Work {
        seconds: 10.0,
        load: 0.5,
        stalls: 2,
        stalled_ms: 8.6,
        packets: 1_000_000,
        bursts: 40_000,
        burst_size: Some(25.0),
        cycles_per_packet: Some(500.0),
        stages: vec![stage, StageWork { stage: "seal".into(), ..StageWork::default() }],
        ..Work::default()
    };
    let worker =
        WorkerRuntime { worker: 0, core: 3, recent, total: Work { seconds: 3700.0, ..Work::default() } };
    let text = runtime(&Runtime { hz: 2_000_000_000, workers: vec![worker] });
    assert_eq!(
        text,
        "\
worker  core    load  packets/s  cycles/packet  ns/packet  burst  over
     0     3  50.0 %    100,000          500.0      250.0   25.0  the last 10 s
               0.0 %          0              -          -      -  all 1 h 1 min

worker 0 stood still 2 times for more than a millisecond in the last 10 s, 9 ms in all: another
process or interrupts on its core, the hypervisor, or a port that takes nothing

worker 0, timed turns of the last 10 s:

direction  stage  cycles/packet  burst  packets  what is done
inbound    open           200.0   32.0    3,200  integrity and decryption
"
    );
}
