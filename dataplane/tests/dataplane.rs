//! The data plane with its workers running: ports, queues, publishing, counters and the end. One test
//! at a time, since there is one set of worker cores.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

mod common;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::*;
use dpdk::testing::{RingPort, eal};
use dpdk::{Burst, Mbuf, Mempool, Port};
use getvpn_dataplane::counters::Tally;
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{
    Dataplane, DataplaneConfig, DataplaneError, DropReason, ExceptionConfig, Idle, LinkConfig, Mode,
    ParkingLimits, PolicyState, Sa,
};

static CORES: Mutex<()> = Mutex::new(());

/// The cores, for one test alone, with EAL started.
fn cores() -> MutexGuard<'static, ()> {
    eal();
    CORES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config(lan: &RingPort, wan: &RingPort) -> DataplaneConfig {
    DataplaneConfig {
        links: vec![LinkConfig {
            name: "site".into(),
            lan: lan.name().into(),
            wan: wan.name().into(),
            mtu: 1500,
            exception: None,
        }],
        idle: Idle::Sleep,
        buffers: 4096,
        tx_wait_us: 0,
        parking: ParkingLimits::default(),
        link_wait: Duration::ZERO,
    }
}

/// Puts frames on a wire and takes as many off another, or fails after a while.
fn cross(pool: &Mempool, frames: &[Vec<u8>], from: &RingPort, to: &RingPort, queues: u16) -> Vec<Vec<u8>> {
    let mut arrived = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    for (i, chunk) in frames.chunks(dpdk::BURST).enumerate() {
        let mut burst: Burst = chunk.iter().map(|f| Mbuf::copy_from(pool, f).unwrap()).collect();
        while !burst.is_empty() {
            from.inject(i as u16 % queues, &mut burst);
            assert!(Instant::now() < deadline, "the worker does not receive");
        }
    }
    while arrived.len() < frames.len() {
        assert!(Instant::now() < deadline, "{} of {} came", arrived.len(), frames.len());
        for queue in 0..queues {
            let mut burst = Burst::new();
            to.collect(queue, &mut burst);
            arrived.extend(burst.iter().map(|mbuf| mbuf.data().to_vec()));
        }
        std::thread::yield_now();
    }
    arrived
}

fn total(dataplane: &Dataplane) -> Tally {
    let tallies = dataplane.counters();
    assert!(tallies.iter().all(|t| t.tally.received() == t.tally.accounted()));
    tallies.iter().map(|t| &t.tally).sum()
}

fn started(state: &PolicyState, queues: u16) -> (Dataplane, RingPort, RingPort) {
    let (lan, wan) = (RingPort::new(queues, 1024).unwrap(), RingPort::new(queues, 1024).unwrap());
    let dataplane = Dataplane::start(eal(), &config(&lan, &wan), state).unwrap();
    (dataplane, lan, wan)
}

fn for_workers(spi: u32) -> PolicyState {
    let sa = Sa::new(&params(spi, Transform::Aes128Gcm, Mode::Tunnel), eal().worker_lcores().len()).unwrap();
    PolicyState { groups: vec![group()], sas: vec![sa.into()], ..Default::default() }
}

#[test]
fn workers_seal_and_open_with_one_queue_shared_out_and_with_a_queue_each() {
    let _alone = cores();
    let workers = eal().worker_lcores().len() as u16;
    let pool = Mempool::new("wire", 2047, 0, 2048, None).unwrap();
    for queues in [1, workers] {
        let (dataplane, lan, wan) = started(&for_workers(0x1001), queues);
        let frames: Vec<_> = (0..500u32).map(|i| udp4(&i.to_be_bytes())).collect();
        let mut sealed = cross(&pool, &frames, &lan, &wan, queues);
        let sids: std::collections::HashSet<_> = sealed.iter().map(|f| f[42..44].to_vec()).collect();
        assert_eq!(sids.len(), usize::from(queues), "each worker seals with its own sender ID");
        let ivs: std::collections::HashSet<_> = sealed.iter().map(|f| f[42..50].to_vec()).collect();
        assert_eq!(ivs.len(), 500, "no IV twice");
        let mut opened = cross(&pool, &sealed, &wan, &lan, queues);
        opened.sort();
        let mut expected = frames.clone();
        expected.sort();
        assert_eq!(opened, expected);
        sealed.clear();
        let last: Tally = dataplane.stop().unwrap().iter().map(|t| &t.tally).sum();
        assert_eq!((last.rx, last.encrypted, last.decrypted), (1000, 500, 500));
        assert_eq!(last.received(), last.accounted());
    }
}

#[test]
fn a_publish_takes_effect_while_traffic_runs_and_nothing_is_lost() {
    let _alone = cores();
    let pool = Mempool::new("wire", 2047, 0, 2048, None).unwrap();
    let (mut dataplane, lan, wan) = started(&for_workers(0x1001), 1);
    let frames: Vec<_> = (0..300u32).map(|i| udp4(&i.to_be_bytes())).collect();
    for round in 0..20u32 {
        let old = for_workers(0x1001 + round);
        let mut both = old.clone();
        both.sas.extend(for_workers(0x1002 + round).sas);
        dataplane.publish(&both).unwrap();
        dataplane.housekeeping().unwrap();
        let sealed = cross(&pool, &frames, &lan, &wan, 1);
        // A worker may finish the burst that it had begun, no more.
        let newest = sealed.iter().filter(|f| f[34..38] == (0x1002 + round).to_be_bytes()).count();
        assert!(newest >= frames.len() - 32, "{newest}");
        assert_eq!(cross(&pool, &sealed, &wan, &lan, 1).len(), frames.len());
    }
    let tally = total(&dataplane);
    assert_eq!((tally.encrypted, tally.decrypted, tally.dropped()), (6000, 6000, 0));
    assert!(dataplane.idle_for() < Duration::from_secs(10));
}

#[test]
fn a_full_egress_port_drops_with_its_reason_and_loses_no_buffer() {
    let _alone = cores();
    let pool = Mempool::new("wire", 2047, 0, 2048, None).unwrap();
    let lan = RingPort::new(1, 1024).unwrap();
    let wan = RingPort::new(1, 64).unwrap();
    let dataplane = Dataplane::start(eal(), &config(&lan, &wan), &for_workers(0x1001)).unwrap();
    let frames: Vec<_> = (0..300u32).map(|i| udp4(&i.to_be_bytes())).collect();
    for chunk in frames.chunks(dpdk::BURST) {
        let mut burst: Burst = chunk.iter().map(|f| Mbuf::copy_from(&pool, f).unwrap()).collect();
        lan.inject(0, &mut burst);
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while total(&dataplane).rx < 300 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    let tally = total(&dataplane);
    assert_eq!(tally.encrypted, 63, "what a ring of 64 holds");
    assert_eq!(tally.drops(DropReason::TxFull), 237);
    drop(dataplane);
    drop(wan);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_port_that_takes_nothing_more_does_not_keep_the_member_from_stopping() {
    let _alone = cores();
    let pool = Mempool::new("wire", 2047, 0, 2048, None).unwrap();
    let (lan, wan) = (RingPort::new(1, 1024).unwrap(), RingPort::new(1, 64).unwrap());
    let patient = DataplaneConfig { tx_wait_us: 500_000, ..config(&lan, &wan) };
    let dataplane = Dataplane::start(eal(), &patient, &for_workers(0x1001)).unwrap();
    for i in 0..30u32 {
        let mut burst: Burst =
            (0..32).map(|_| Mbuf::copy_from(&pool, &udp4(&i.to_be_bytes())).unwrap()).collect();
        lan.inject(0, &mut burst);
    }
    let asked = Instant::now();
    let last: Tally = dataplane.stop().unwrap().iter().map(|t| &t.tally).sum();
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    assert_eq!(last.received(), last.accounted());
    assert!(last.drops(DropReason::TxFull) > 0);
}

#[test]
fn a_port_that_is_not_there_is_named_and_nothing_is_left_running() {
    let _alone = cores();
    let lan = RingPort::new(1, 64).unwrap();
    let mut config = config(&lan, &lan);
    config.links[0].wan = "net_none9".into();
    let error = Dataplane::start(eal(), &config, &for_workers(0x1001)).err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, DataplaneError::Ports(_)), "{text}");
    assert!(text.contains("net_none9") && text.contains("site") && text.contains("WAN"), "{text}");
    let wan = RingPort::new(1, 64).unwrap();
    config.links[0].wan = wan.name().into();
    Dataplane::start(eal(), &config, &for_workers(0x1001)).unwrap().stop().unwrap();
}

/// The frame, sent to another Ethernet address.
fn sent_to(mut frame: Vec<u8>, mac: [u8; 6]) -> Vec<u8> {
    frame[..6].copy_from_slice(&mac);
    frame
}

/// A data plane with an exception port, the wires of its three ports, and the Ethernet address of that one.
fn with_exception_port() -> (Dataplane, [RingPort; 3], [u8; 6]) {
    let [lan, wan, own] = [(); 3].map(|()| RingPort::new(1, 1024).unwrap());
    let mut config = config(&lan, &wan);
    config.links[0].exception = Some(ExceptionConfig { device: own.name().into(), mac: None });
    // Rings keep theirs.
    let mac = Port::by_name(own.name()).unwrap().mac();
    let dataplane = Dataplane::start(eal(), &config, &for_workers(0x1001)).unwrap();
    (dataplane, [lan, wan, own], mac)
}

#[test]
fn what_is_for_this_machine_goes_to_its_exception_port_and_what_it_sends_to_the_wan() {
    let _alone = cores();
    let pool = Mempool::new("wire", 2047, 0, 2048, None).unwrap();
    let (mut dataplane, [lan, wan, own], mac) = with_exception_port();

    let mut arp = sent_to(udp4(b"who has"), [0xff; 6]);
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let others = udp4(b"in the clear, where it must not be");
    let ours = sent_to(udp4(b"an answer of the key server"), mac);
    let from_wan = [ours.clone(), others, arp.clone()];
    let mut burst: Burst = from_wan.iter().map(|f| Mbuf::copy_from(&pool, f).unwrap()).collect();
    wan.inject(0, &mut burst);
    let mine = udp4(b"a question to the key server, whatever policy says");
    let mut burst: Burst = [Mbuf::copy_from(&pool, &mine).unwrap()].into_iter().collect();
    own.inject(0, &mut burst);

    let take = |wire: &RingPort, to: &mut Vec<Vec<u8>>| {
        let mut burst = Burst::new();
        wire.collect(0, &mut burst);
        to.extend(burst.iter().map(|mbuf| mbuf.data().to_vec()));
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    let (mut to_lan, mut to_wan, mut to_own) = (Vec::new(), Vec::new(), Vec::new());
    while to_lan.is_empty() || to_wan.is_empty() || to_own.len() < 2 {
        assert!(Instant::now() < deadline, "{to_lan:?} {to_wan:?} {to_own:?}");
        dataplane.housekeeping().unwrap();
        take(&lan, &mut to_lan);
        take(&wan, &mut to_wan);
        take(&own, &mut to_own);
        std::thread::yield_now();
    }
    assert_eq!((to_lan, to_wan, to_own), (vec![arp.clone()], vec![mine], vec![ours, arp]));
    let tally: Tally = dataplane.stop().unwrap().iter().map(|t| &t.tally).sum();
    assert_eq!((tally.to_exception, tally.from_exception, tally.bypassed), (1, 1, 1));
    assert_eq!((tally.drops(DropReason::Cleartext), tally.rx, tally.received()), (1, 3, tally.accounted()));
}

#[test]
fn a_flood_for_this_machine_is_bounded_and_counted() {
    let _alone = cores();
    let pool = Mempool::new("wire", 2047, 0, 2048, None).unwrap();
    // Nobody empties the exception port's queue: the control thread is held up.
    let (dataplane, [_lan, wan, _own], mac) = with_exception_port();
    let frames: Vec<_> = (0..600u32).map(|i| sent_to(udp4(&i.to_be_bytes()), mac)).collect();
    for chunk in frames.chunks(dpdk::BURST) {
        let mut burst: Burst = chunk.iter().map(|f| Mbuf::copy_from(&pool, f).unwrap()).collect();
        wan.inject(0, &mut burst);
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while total(&dataplane).rx < 600 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    let tally = total(&dataplane);
    assert_eq!((tally.to_exception, tally.drops(DropReason::ExceptionFull)), (256, 344));
    drop(dataplane);
    assert_eq!(pool.in_use(), 0);
}
