//! A poll-mode worker: receives a burst, runs it through its pipeline to the end, sends, counts, and
//! starts over. Runs alone on its core; never blocks, allocates or makes a system call (but for the
//! sleep of [`Idle::Sleep`] when nothing arrives).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam::utils::CachePadded;
use dpdk::{Burst, Mempool, RxQueue, cycles, cycles_hz};

use crate::context::{Arrived, Context, Origin};
use crate::counters::{SharedTally, Tally};
use crate::egress::{Egress, Outgoing};
use crate::exception::Diverter;
use crate::inbound::Inbound;
use crate::meter::{Meter, Stage};
use crate::offender::Offenders;
use crate::outbound::{Exits, Mail, Outbound};
use crate::parking::Lot;
use crate::probe::{Heading, Tap};
use crate::publish::Subscriber;
use crate::punt::PuntSender;
use crate::snapshot::Snapshot;

/// What a worker does when nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Polls on: a core of its own.
    Spin,
    /// Sleeps for up to a millisecond: for shared cores, tests and demos.
    Sleep,
}

/// Between the control thread and all workers.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Written by the control thread.
    pub(crate) stop: AtomicBool,
    /// Entry n is written by worker n: when it last received something, in cycles.
    pub(crate) last_received: Box<[CachePadded<AtomicU64>]>,
    /// Entry n is written by worker n, a hundred times a second: when it last came round, in cycles.
    pub(crate) last_round: Box<[CachePadded<AtomicU64>]>,
    /// Entry n is set when worker n has ended, told to or not.
    pub(crate) ended: Box<[AtomicBool]>,
}

/// Says that a worker has ended when it goes out of scope, by a panic too.
pub(crate) struct SignOff<'a>(pub(crate) &'a AtomicBool);

impl Drop for SignOff<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// One core's share of the links.
pub(crate) struct Worker {
    pub(crate) number: usize,
    pub(crate) stations: Vec<Station>,
    /// Indexed by link.
    pub(crate) counts: Vec<LinkCounts>,
    pub(crate) snapshots: Subscriber<Snapshot>,
    pub(crate) punts: PuntSender,
    pub(crate) offenders: Offenders,
    pub(crate) meter: Meter,
    pub(crate) lot: Lot<Arrived>,
    pub(crate) tap: Tap,
    pub(crate) pool: Arc<Mempool>,
    pub(crate) large: Arc<Mempool>,
    pub(crate) signals: Arc<Signals>,
    pub(crate) idle: Idle,
}

/// A receive queue and the way its frames take.
pub(crate) struct Station {
    pub(crate) link: u16,
    pub(crate) rx: RxQueue,
    pub(crate) way: Way,
}

pub(crate) enum Way {
    /// WAN to LAN, and what other pipelines have for the LAN.
    Inbound { pipeline: Inbound, lan: Egress, mail: Mail, host: Option<Diverter> },
    /// LAN to WAN, and what this machine itself has for the WAN.
    Outbound { pipeline: Outbound, wan: Egress, lan: Mail, own: Option<Mail> },
}

/// A worker's counters of a link.
#[derive(Default)]
pub(crate) struct LinkCounts {
    pub(crate) tally: Tally,
    /// Written by this worker, read by the control thread.
    pub(crate) shared: Arc<SharedTally>,
}

/// How often held fragments are looked at, in times a second.
const EXPIRY_RATE: u64 = 100;

impl Worker {
    /// Works until told to stop, then ends what is still held.
    pub(crate) fn run(mut self) {
        let signals = Arc::clone(&self.signals);
        let _sign_off = SignOff(&signals.ended[self.number]);
        let mut rest = Rest::new(self.idle);
        let mut burst = Burst::new();
        let mut bin = Burst::new();
        let expiry_interval = cycles_hz() / EXPIRY_RATE;
        let mut next_expiry = cycles() + expiry_interval;
        let mut busy = false;
        while !self.signals.stop.load(Ordering::Relaxed) {
            let now = cycles();
            self.meter.begin(now, busy);
            let received = self.turn(now, &mut burst, &mut bin);
            if now >= next_expiry {
                next_expiry = now + expiry_interval;
                signals.last_round[self.number].store(now, Ordering::Relaxed);
                self.each_station(now, &mut bin, |station, cx| station.way.expire(cx));
                self.meter.publish();
            }
            busy = received > 0 || self.lot.is_due();
            rest.after(busy);
        }
        self.finish(&mut burst, &mut bin);
    }

    /// One burst from every receive queue; returns how many frames there were.
    fn turn(&mut self, now: u64, burst: &mut Burst, bin: &mut Burst) -> usize {
        let mut total = 0;
        self.each_station(now, bin, |station, cx| {
            let received = station.rx.burst(burst);
            if received == 0 && !station.way.has_mail() && !cx.lot.is_due() {
                return false;
            }
            if received > 0 {
                cx.meter.received(cx.origin, received);
            }
            total += received;
            cx.tally.rx += received as u64;
            cx.tally.rx_octets += burst.iter().map(|m| m.pkt_len() as u64).sum::<u64>();
            station.way.process(burst, cx);
            true
        });
        if total > 0 {
            self.signals.last_received[self.number].store(now, Ordering::Relaxed);
        }
        total
    }

    /// Takes what the queues still hold to its verdicts, then ends what waits for more.
    fn finish(&mut self, burst: &mut Burst, bin: &mut Burst) {
        // A source that never runs dry must not keep the member from stopping, and neither must a port
        // that takes nothing more: each turn may wait for that.
        const LAST_TURNS: usize = 64;
        let deadline = cycles() + cycles_hz();
        for _ in 0..LAST_TURNS {
            let now = cycles();
            if now >= deadline || self.turn(now, burst, bin) == 0 && !self.lot.is_due() {
                break;
            }
        }
        self.each_station(cycles(), bin, |station, cx| {
            station.way.drain(cx);
            true
        });
        self.meter.publish();
    }

    /// Does something at every station, under one snapshot for all, and shows what was counted where
    /// `act` says that it did something. What waits for an SA is looked at when the snapshot is a new one.
    #[inline]
    fn each_station(
        &mut self,
        now: u64,
        bin: &mut Burst,
        mut act: impl FnMut(&mut Station, &mut Context<'_>) -> bool,
    ) {
        self.tap.look();
        let (snapshot, version) = self.snapshots.versioned();
        self.lot.follow(version, |spi| snapshot.knows(spi));
        for station in &mut self.stations {
            let counts = &mut self.counts[usize::from(station.link)];
            let mut cx = Context {
                worker: self.number,
                link: station.link,
                origin: station.way.origin(),
                now,
                snapshot,
                tally: &mut counts.tally,
                bin,
                offenders: &mut self.offenders,
                meter: &mut self.meter,
                punts: &mut self.punts,
                lot: &mut self.lot,
                tap: &mut self.tap,
                pool: &self.pool,
                large: &self.large,
            };
            if act(station, &mut cx) {
                dpdk::free_burst(bin);
                counts.shared.publish(&counts.tally);
            }
        }
    }
}

impl Way {
    #[inline]
    fn origin(&self) -> Origin {
        match self {
            Way::Inbound { .. } => Origin::Wan,
            Way::Outbound { .. } => Origin::Lan,
        }
    }

    #[inline]
    fn has_mail(&self) -> bool {
        match self {
            Way::Inbound { mail, .. } | Way::Outbound { own: Some(mail), .. } => !mail.is_empty(),
            Way::Outbound { own: None, .. } => false,
        }
    }

    #[inline]
    fn process(&mut self, burst: &mut Burst, cx: &mut Context<'_>) {
        let received = burst.len();
        match self {
            Way::Inbound { pipeline, lan, mail, host } => {
                cx.probe_begins(Heading::In, burst);
                while let Some(frame) = mail.pop() {
                    lan.push(frame, Outgoing::Icmp, 0, cx);
                }
                if let Some(host) = host {
                    host.divert(burst, cx);
                }
                pipeline.go_on(burst, cx, lan);
                lan.flush(cx);
                cx.meter.lap(Stage::WanTransmit, received);
            }
            Way::Outbound { pipeline, wan, lan, own } => {
                cx.probe_begins(Heading::Out, burst);
                while let Some(mut frame) = own.as_ref().and_then(|own| own.pop()) {
                    frame.set_mark(0);
                    wan.push(frame, Outgoing::Own, 0, cx);
                }
                pipeline.go_on(burst, cx, &mut Exits { wan, lan });
                wan.flush(cx);
                cx.meter.lap(Stage::LanTransmit, received);
            }
        }
    }

    /// Says whether there was anything to look at.
    fn expire(&mut self, cx: &mut Context<'_>) -> bool {
        let holding = cx.tally.parked > 0;
        match self {
            Way::Inbound { pipeline, .. } => pipeline.expire(cx),
            Way::Outbound { pipeline, .. } => pipeline.expire(cx),
        }
        holding
    }

    fn drain(&mut self, cx: &mut Context<'_>) {
        match self {
            Way::Inbound { pipeline, .. } => pipeline.drain(cx),
            Way::Outbound { pipeline, .. } => pipeline.drain(cx),
        }
    }
}

/// What happens between turns.
struct Rest {
    idle: Idle,
    empty_turns: u32,
}

impl Rest {
    /// Turns without a frame before the first sleep: a gap between bursts costs no latency.
    const PATIENCE: u32 = 256;
    const SHORTEST: Duration = Duration::from_micros(50);
    const LONGEST: Duration = Duration::from_millis(1);

    fn new(idle: Idle) -> Self {
        Rest { idle, empty_turns: 0 }
    }

    #[inline]
    fn after(&mut self, busy: bool) {
        if busy {
            self.empty_turns = 0;
        } else if self.idle == Idle::Sleep {
            self.empty_turns = self.empty_turns.saturating_add(1);
            if self.empty_turns > Self::PATIENCE {
                let doublings = (self.empty_turns - Self::PATIENCE).min(8);
                std::thread::sleep((Self::SHORTEST * (1 << doublings)).min(Self::LONGEST));
            }
        }
    }
}
