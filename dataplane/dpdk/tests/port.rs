//! Ports over virtual devices: rings in memory, capture files, and the device that has nothing.

#![allow(clippy::unwrap_used)] // in helpers, too

use std::fs;
use std::sync::Arc;

use dpdk::testing::{self, RingPort, VirtualDevice};
use dpdk::{Burst, Mbuf, Mempool, Port, PortConfig, PortError, RxQueue, TxQueue};

fn config(queues: u16) -> PortConfig {
    testing::eal();
    PortConfig {
        rx_queues: queues,
        tx_queues: queues,
        rx_descriptors: 256,
        tx_descriptors: 256,
        mtu: 1_500,
        rss: true,
        promiscuous: true,
        pool: Mempool::new("port", 511, 0, 2_048, None).unwrap(),
    }
}

fn open(name: &str, config: &PortConfig) -> Port {
    Port::configure(&Port::by_name(name).unwrap(), config).unwrap().start().unwrap()
}

fn open_ring(queues: u16, depth: u32) -> (RingPort, Port, Arc<Mempool>) {
    let config = config(queues);
    let wire = RingPort::new(queues, depth).unwrap();
    let port = open(wire.name(), &config);
    (wire, port, config.pool)
}

fn queues(port: &Port) -> (RxQueue, TxQueue) {
    (port.rx_queue(0).unwrap(), port.tx_queue(0).unwrap())
}

/// `n` packets that say which they are.
fn numbered(pool: &Mempool, n: u8) -> Burst {
    (0..n).map(|n| Mbuf::copy_from(pool, &[n; 60]).unwrap()).collect()
}

fn numbers(burst: &Burst) -> Vec<u8> {
    burst.iter().map(|mbuf| mbuf.data()[0]).collect()
}

#[test]
fn what_is_on_the_wire_is_received_in_order() {
    let (wire, port, pool) = open_ring(1, 64);
    let (mut rx, _tx) = queues(&port);
    let mut burst = Burst::new();
    assert_eq!(rx.burst(&mut burst), 0);
    assert_eq!(wire.inject(0, &mut numbered(&pool, 20)), 20);
    assert_eq!(wire.inject(0, &mut numbered(&pool, 20)), 20);
    assert_eq!(rx.burst(&mut burst), 32, "as many as there is room for");
    assert_eq!(rx.burst(&mut burst), 0, "a full burst stays as it is");
    burst.drain(2..).for_each(drop);
    assert_eq!(rx.burst(&mut burst), 8);
    assert_eq!(numbers(&burst), [0, 1, 12, 13, 14, 15, 16, 17, 18, 19]);
}

#[test]
fn a_full_device_takes_a_prefix_and_leaves_the_rest_in_order() {
    let (wire, port, pool) = open_ring(1, 16);
    let (_rx, mut tx) = queues(&port);
    let mut burst = numbered(&pool, 20);
    assert_eq!(tx.burst(&mut burst), 15);
    assert_eq!(numbers(&burst), [15, 16, 17, 18, 19]);
    assert_eq!(tx.burst(&mut burst), 0);
    let mut sent = Burst::new();
    assert_eq!(wire.collect(0, &mut sent), 15);
    assert_eq!(tx.burst(&mut burst), 5);
    assert_eq!((burst.len(), tx.burst(&mut burst)), (0, 0));
    assert_eq!(wire.collect(0, &mut sent), 5);
    assert_eq!(numbers(&sent), (0..20).collect::<Vec<_>>());
    assert_eq!(pool.in_use(), 20);
    sent.clear();
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn each_queue_has_one_owner() {
    let (wire, port, pool) = open_ring(2, 16);
    let mut first = port.tx_queue(0).unwrap();
    let mut second = port.tx_queue(1).unwrap();
    assert!(port.tx_queue(0).is_none() && port.tx_queue(2).is_none());
    assert!(port.rx_queue(1).is_some() && port.rx_queue(1).is_none());
    first.burst(&mut numbered(&pool, 2));
    second.burst(&mut numbered(&pool, 3));
    let mut sent = Burst::new();
    assert_eq!((wire.collect(0, &mut sent), wire.collect(1, &mut sent)), (2, 3));
}

#[test]
fn a_queue_keeps_its_port_running_and_the_wire_alive() {
    let (wire, port, pool) = open_ring(1, 16);
    let name = wire.name().to_owned();
    let (mut rx, mut tx) = queues(&port);
    wire.inject(0, &mut numbered(&pool, 3));
    drop((wire, port));
    let mut burst = Burst::new();
    assert_eq!(rx.burst(&mut burst), 3);
    assert_eq!(tx.burst(&mut burst), 3);
    assert!(Port::names().contains(&name));
    drop((rx, tx));
    assert!(!Port::names().contains(&name), "closed with its last queue");
    assert_eq!(pool.in_use(), 0, "what was on the wire is given back");
}

#[test]
fn a_port_counts_what_crosses_it() {
    let (wire, port, pool) = open_ring(1, 64);
    let (mut rx, mut tx) = queues(&port);
    wire.inject(0, &mut numbered(&pool, 7));
    let mut burst = Burst::new();
    rx.burst(&mut burst);
    tx.burst(&mut burst);
    let stats = port.stats().unwrap();
    assert_eq!((stats.rx_packets, stats.tx_packets, stats.rx_missed), (7, 7, 0));
    assert!(port.link_up());
}

#[test]
fn an_unknown_port_is_answered_with_the_names_there_are() {
    let wire = {
        testing::eal();
        RingPort::new(1, 16).unwrap()
    };
    let error = Port::by_name("net_nothing9").unwrap_err();
    assert!(error.to_string().contains("net_nothing9") && error.to_string().contains(wire.name()), "{error}");
    assert!(matches!(Port::by_name("a\0b"), Err(PortError::NotFound { .. })));
}

#[test]
fn a_port_belongs_to_one_user_at_a_time() {
    let (wire, port, _pool) = open_ring(1, 16);
    let again = Port::configure(&Port::by_name(wire.name()).unwrap(), &config(1));
    assert!(matches!(again, Err(PortError::Taken(name)) if name == wire.name()));
    let stale = port.info().clone();
    drop(port);
    assert!(matches!(Port::configure(&stale, &config(1)), Err(PortError::NotFound { .. })));
}

#[test]
fn more_queues_than_a_device_has_are_refused() {
    let config = config(3);
    let wire = RingPort::new(2, 16).unwrap();
    let info = Port::by_name(wire.name()).unwrap();
    assert_eq!(info.max_queues(), (2, 2));
    let error = Port::configure(&info, &config).unwrap_err();
    assert!(error.to_string().contains("at most 2 receive queues, not 3"), "{error}");
    let none = PortConfig { rx_queues: 0, ..config };
    assert!(matches!(Port::configure(&info, &none), Err(PortError::Queues { wanted: 0, .. })));
}

#[test]
fn a_refused_configuration_leaves_the_device_to_another_try() {
    let config = config(1);
    let wire = RingPort::new(1, 16).unwrap();
    let info = Port::by_name(wire.name()).unwrap();
    assert!(Port::configure(&info, &PortConfig { tx_queues: 9, ..config.clone() }).is_err());
    let port = Port::configure(&info, &config).unwrap().start().unwrap();
    assert_eq!((port.info().driver(), port.info().name()), ("net_ring", wire.name()));
}

#[test]
fn the_null_device_makes_packets_of_the_asked_size_and_takes_all() {
    let config = config(1);
    let device = VirtualDevice::new("net_null7", "size=96").unwrap();
    let port = open(device.name(), &config);
    let (mut rx, mut tx) = queues(&port);
    let mut burst = Burst::new();
    assert_eq!(rx.burst(&mut burst), 32);
    assert!(burst.iter().all(|mbuf| mbuf.pkt_len() == 96 && mbuf.is_contiguous()));
    assert_eq!((tx.burst(&mut burst), burst.len(), config.pool.in_use()), (32, 0, 0));
    drop((rx, tx, port));
    assert!(Port::by_name("net_null7").is_err());
}

#[test]
fn flows_are_spread_over_queues_where_the_device_can_and_queues_are_there_where_it_cannot() {
    let config = config(4);
    for (name, has_rss) in [("net_null9", true), ("", false)] {
        let wire = RingPort::new(4, 16).unwrap();
        let device = (!name.is_empty()).then(|| VirtualDevice::new(name, "").unwrap());
        let port = open(device.as_ref().map_or(wire.name(), |device| device.name()), &config);
        assert_eq!(port.info().has_rss(), has_rss);
        assert!((0..4).all(|queue| port.rx_queue(queue).is_some() && port.tx_queue(queue).is_some()));
    }
}

#[test]
fn an_empty_pool_stops_reception_and_nothing_else() {
    let config = config(1);
    let device = VirtualDevice::new("net_null8", "").unwrap();
    let port = open(device.name(), &config);
    let mut rx = port.rx_queue(0).unwrap();
    let held: Vec<Mbuf> = std::iter::from_fn(|| Mbuf::alloc(&config.pool)).collect();
    let mut burst = Burst::new();
    assert_eq!((held.len(), rx.burst(&mut burst)), (511, 0));
    drop(held);
    assert_eq!(rx.burst(&mut burst), 32);
}

/// A capture file (pcap 2.4, microseconds, Ethernet) of these frames.
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    let header: [u32; 6] = [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65_535, 1];
    header.iter().for_each(|word| file.extend_from_slice(&word.to_le_bytes()));
    for frame in frames {
        let length = u32::try_from(frame.len()).unwrap();
        [0, 0, length, length].iter().for_each(|word| file.extend_from_slice(&word.to_le_bytes()));
        file.extend_from_slice(frame);
    }
    file
}

/// The frames of a capture file.
fn frames(file: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &file[24..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        frames.push(rest[16..16 + length].to_vec());
        rest = &rest[16 + length..];
    }
    frames
}

#[test]
fn capture_files_are_read_and_written_octet_for_octet_jumbo_frames_in_segments() {
    let config = config(1);
    let directory = std::env::temp_dir().join(format!("dpdk-port-test-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let (from, to) = (directory.join("in.pcap"), directory.join("out.pcap"));
    let sent: Vec<Vec<u8>> =
        [60, 1_514, 9_000, 61].iter().map(|&n| (0..=250).cycle().take(n).collect()).collect();
    fs::write(&from, pcap(&sent)).unwrap();

    let arguments = format!("rx_pcap={},tx_pcap={}", from.display(), to.display());
    let device = VirtualDevice::new("net_pcap7", &arguments).unwrap();
    let port = open(device.name(), &config);
    let (mut rx, mut tx) = queues(&port);
    let mut burst = Burst::new();
    assert_eq!(rx.burst(&mut burst), 4);
    let segments: Vec<usize> = burst.iter().map(Mbuf::segments).collect();
    assert_eq!(segments, [1, 1, 5, 1]);
    assert_eq!(burst.iter().map(Mbuf::pkt_len).collect::<Vec<_>>(), [60, 1_514, 9_000, 61]);
    assert_eq!(tx.burst(&mut burst), 4);
    assert_eq!(config.pool.in_use(), 0);
    drop((rx, tx, port, device));

    assert_eq!(frames(&fs::read(&to).unwrap()), sent);
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_device_that_cannot_be_made_says_so() {
    testing::eal();
    assert!(VirtualDevice::new("net_pcap8", "rx_pcap=/nonexistent/in.pcap").is_err());
    assert!(VirtualDevice::new("net_nodriver0", "").is_err());
}
