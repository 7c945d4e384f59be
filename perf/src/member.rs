//! One worker's turn without its receive call: both pipelines of a member between sinks, fed with bursts
//! that were prepared before the clock started. Runs on the measured core.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use crossbeam::queue::ArrayQueue;
use dpdk::{Burst, Mempool, Port, PortConfig, Reassembler, TxQueue, cycles, cycles_hz};
use getvpn_dataplane::counters::{SharedTally, Tally};
use getvpn_dataplane::inbound::Inbound;
use getvpn_dataplane::meter::Meter;
use getvpn_dataplane::offender::Offenders;
use getvpn_dataplane::outbound::{Exits, Mail, Outbound};
use getvpn_dataplane::parking::Lot;
use getvpn_dataplane::probe::{self, Probe, Tap};
use getvpn_dataplane::punt::{self, PuntReceiver, PuntSender};
use getvpn_dataplane::{Arrived, Context, Egress, Fragmenter, Fragments, Origin, ParkingLimits, Snapshot};

use crate::workload::Side;

/// A member's worker.
pub struct Member {
    pub tally: Tally,
    pub punts: PuntReceiver,
    pool: Arc<Mempool>,
    large: Arc<Mempool>,
    inbound: Inbound,
    outbound: Outbound,
    lan: Egress,
    wan: Egress,
    mail: Mail,
    bin: Burst,
    punt_sender: PuntSender,
    lot: Lot<Arrived>,
    tap: Tap,
    pub probe: Probe,
    shared: SharedTally,
    offenders: Offenders,
    meter: Meter,
    /// Cycles that are left out of the worker's time.
    pub away: u64,
}

/// Where mbufs come from and go to.
pub struct Buffers {
    pub frames: Arc<Mempool>,
    large: Arc<Mempool>,
    sinks_taken: usize,
}

impl Buffers {
    /// Pools like those of a member: of that room, with that cache.
    pub fn new() -> Result<Buffers> {
        Ok(Buffers {
            frames: Mempool::new("frames", 4095, 256, 2048, None)?,
            large: Mempool::new("large", 31, 0, Mempool::MAX_DATA_ROOM, None)?,
            sinks_taken: 0,
        })
    }

    /// The way into a sink of its own.
    pub fn sink(&mut self) -> Result<TxQueue> {
        let name = &format!("net_null{}", self.sinks_taken);
        self.sinks_taken += 1;
        let config = PortConfig {
            rx_queues: 1,
            tx_queues: 1,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            mtu: 1500,
            rss: false,
            promiscuous: true,
            pool: Arc::clone(&self.frames),
        };
        let port = Port::configure(&Port::by_name(name)?, &config)?.start()?;
        port.tx_queue(0).with_context(|| format!("{name} has no transmit queue"))
    }
}

impl Member {
    /// A member whose LAN and WAN are sinks.
    pub fn new(buffers: &mut Buffers) -> Result<Member> {
        const PUNTS: usize = 4096;
        const PUNTS_A_SECOND: u64 = 10;
        let fragments = || anyhow::Ok(Fragments::new(Reassembler::new(1024, 2000, None)?));
        let (mut senders, punts) = punt::channel(1, PUNTS, cycles_hz() / PUNTS_A_SECOND);
        let (mut taps, probe) = probe::channel(1, 1, cycles_hz());
        Ok(Member {
            tally: Tally::default(),
            punts,
            inbound: Inbound::new(1500, fragments()?, Fragmenter::new()),
            outbound: Outbound::new(1500, fragments()?, Fragmenter::new()),
            lan: Egress::new(buffers.sink()?, 0),
            wan: Egress::new(buffers.sink()?, 0),
            mail: Arc::new(ArrayQueue::new(64)),
            bin: Burst::new(),
            punt_sender: senders.pop().context("a punt sender")?,
            lot: Lot::new(&ParkingLimits::default(), 16, cycles_hz()),
            tap: taps.pop().context("a tap")?,
            probe,
            shared: SharedTally::new(),
            offenders: Offenders::new(cycles_hz()),
            meter: Meter::new(cycles(), cycles_hz(), true),
            away: 0,
            pool: Arc::clone(&buffers.frames),
            large: Arc::clone(&buffers.large),
        })
    }

    pub fn pool(&self) -> &Mempool {
        &self.pool
    }

    /// What a worker does with a burst that it has received: pipeline, transmission, counters.
    #[inline(never)]
    pub fn turn(&mut self, side: Side, snapshot: &Snapshot, burst: &mut Burst) {
        self.tally.rx += burst.len() as u64;
        self.tally.rx_octets += burst.iter().map(|mbuf| mbuf.pkt_len() as u64).sum::<u64>();
        self.tap.look();
        let now = cycles();
        self.meter.begin(now, true);
        let mut cx = Context {
            worker: 0,
            link: 0,
            origin: if side == Side::Inbound { Origin::Wan } else { Origin::Lan },
            now: now - self.away,
            snapshot,
            tally: &mut self.tally,
            offenders: &mut self.offenders,
            meter: &mut self.meter,
            bin: &mut self.bin,
            punts: &mut self.punt_sender,
            lot: &mut self.lot,
            tap: &mut self.tap,
            pool: &self.pool,
            large: &self.large,
        };
        match side {
            Side::Inbound => {
                self.inbound.process(burst, &mut cx, &mut self.lan);
                self.lan.flush(&mut cx);
            }
            Side::Outbound => {
                self.outbound.process(burst, &mut cx, &mut Exits { wan: &mut self.wan, lan: &self.mail });
                self.wan.flush(&mut cx);
            }
        }
        dpdk::free_burst(&mut self.bin);
        self.shared.publish(&self.tally);
    }

    /// A figure counts only if every packet went the whole way.
    pub fn check(&self) {
        let through = self.tally.decrypted + self.tally.encrypted;
        assert_eq!(self.tally.rx, through, "packets were not opened or sealed: {:?}", self.tally);
    }
}
