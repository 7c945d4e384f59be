//! The data plane as the control thread sees it: started on its ports and cores, given one consistent
//! policy after the other, asked for its counters, stopped. Called by the control thread only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam::utils::CachePadded;
use dpdk::acl::AclError;
use dpdk::{Eal, JoinHandle, Mempool, Port, cycles, cycles_hz};
use thiserror::Error;

use crate::counters::{SharedTally, Tally};
use crate::exception::ExceptionPort;
use crate::explain::{ExplainError, Explained, ExplainedRule, FiveTuple};
use crate::meter::{Meter, Runtime, SharedMeter};
use crate::offender::{Board, Offender, Offenders};
use crate::parking::{Lot, ParkingLimits, ParkingUse, UseGauge};
use crate::policy::PolicyState;
use crate::ports::{self, PortsError};
use crate::probe::{self, Probe};
use crate::publish::{self, Publisher};
use crate::punt::{self, PuntReceiver};
use crate::snapshot::Snapshot;
use crate::verdict::DropReason;
use crate::worker::{Idle, LinkCounts, Signals, Worker};

/// A LAN port wired to a WAN port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// For people.
    pub name: String,
    /// The cleartext side, as DPDK names the device.
    pub lan: String,
    /// The ciphertext side, likewise.
    pub wan: String,
    /// The WAN's MTU in octets, from the IP header on.
    pub mtu: u16,
    /// A device of the kernel's for what is for this machine itself, if there is one.
    pub exception: Option<ExceptionConfig>,
}

/// The exception port of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExceptionConfig {
    /// As DPDK names the device: a TAP, mostly.
    pub device: String,
    /// Its Ethernet address; `None` for that of the WAN port.
    pub mac: Option<[u8; 6]>,
}

/// How the data plane is set up. Workers and links stay as they are until it stops.
#[derive(Clone, Debug)]
pub struct DataplaneConfig {
    /// At least one.
    pub links: Vec<LinkConfig>,
    /// What workers do when nothing arrives.
    pub idle: Idle,
    /// Buffers for ordinary frames.
    pub buffers: u32,
    /// How long a full transmit queue is tried again, in microseconds.
    pub tx_wait_us: u32,
    /// How much may wait for SAs, for each worker.
    pub parking: ParkingLimits,
    /// How long to wait at the start for the ports' links to come up.
    pub link_wait: Duration,
}

/// Messages about unknown SPIs of each worker that may wait for the control thread.
const PUNT_RING: usize = 1024;
/// How often a worker tells of the same unknown SPI, at the most.
const PUNTS_PER_SECOND: u64 = 10;

/// Why the data plane cannot start or go on.
#[derive(Debug, Error)]
pub enum DataplaneError {
    /// A port or buffer pool cannot be set up.
    #[error(transparent)]
    Ports(#[from] PortsError),
    /// DPDK cannot build the policy's ACL.
    #[error("the policy cannot be compiled: {0}")]
    Policy(#[from] AclError),
    /// A worker could not be launched.
    #[error("worker {worker} cannot be started: {reason}")]
    Launch {
        /// Its number.
        worker: usize,
        /// What DPDK said.
        reason: String,
    },
    /// No cores.
    #[error("there is no core for a worker")]
    NoWorkers,
    /// A worker has panicked; no packet crosses it any more.
    #[error("worker {worker} has panicked: {reason}")]
    Panicked {
        /// Its number.
        worker: usize,
        /// What the panic said.
        reason: String,
    },
}

/// The counters of one worker and link.
#[derive(Clone, Debug)]
pub struct LinkTally {
    /// Number of the worker.
    pub worker: usize,
    /// Number of the link.
    pub link: usize,
    /// What it counted.
    pub tally: Tally,
}

/// A running data plane. Dropping it stops the workers.
pub struct Dataplane {
    workers: Vec<Option<JoinHandle<()>>>,
    signals: Arc<Signals>,
    publisher: Publisher<Snapshot>,
    current: Arc<Snapshot>,
    /// Indexed by worker, then link.
    shared: Vec<Vec<Arc<SharedTally>>>,
    punts: PuntReceiver,
    probe: Probe,
    /// Indexed by worker.
    parking: Vec<UseGauge>,
    /// Likewise.
    boards: Vec<Arc<Board>>,
    /// Likewise.
    meters: Vec<Arc<SharedMeter>>,
    ports: Vec<Arc<Port>>,
    exceptions: Vec<ExceptionPort>,
    pool: Arc<Mempool>,
}

impl Dataplane {
    /// Sets up ports and buffers and launches one worker on each of `eal`'s worker cores, under
    /// `state`.
    ///
    /// # Errors
    /// When a port, pool, policy or worker cannot be had; nothing is left running.
    pub fn start(eal: &Eal, config: &DataplaneConfig, state: &PolicyState) -> Result<Self, DataplaneError> {
        let lcores = eal.worker_lcores();
        let count = lcores.len();
        if count == 0 {
            return Err(DataplaneError::NoWorkers);
        }
        let current = Arc::new(Snapshot::build(state, None)?);
        let (publisher, subscribers) = publish::channel(&current, count);
        let punt_interval = cycles_hz() / PUNTS_PER_SECOND;
        let (punt_senders, punts) =
            punt::channel(u16::try_from(count).unwrap_or(u16::MAX), PUNT_RING, punt_interval);
        let short = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        let (taps, probe) = probe::channel(short(count), short(config.links.len()), cycles_hz());
        let ports::Wiring { pool, large, ports, stations, exceptions } = ports::wire(config, count)?;
        let now = cycles();
        let signals = Arc::new(Signals {
            stop: AtomicBool::new(false),
            last_received: (0..count).map(|_| CachePadded::new(AtomicU64::new(now))).collect(),
            last_round: (0..count).map(|_| CachePadded::new(AtomicU64::new(now))).collect(),
            ended: (0..count).map(|_| AtomicBool::new(false)).collect(),
        });
        let mut dataplane = Dataplane {
            workers: Vec::new(),
            signals: Arc::clone(&signals),
            publisher,
            current,
            shared: Vec::new(),
            punts,
            probe,
            parking: Vec::new(),
            boards: Vec::new(),
            meters: Vec::new(),
            ports,
            exceptions,
            pool: Arc::clone(&pool),
        };
        // However many wait, half of the large buffers are for those that arrive.
        let max_large = large.count() / 2 / u32::try_from(count).unwrap_or(u32::MAX);
        let senders = punt_senders.into_iter().zip(taps);
        let parts = lcores.into_iter().zip(stations).zip(subscribers).zip(senders).enumerate();
        for (number, (((lcore, stations), snapshots), (punts, tap))) in parts {
            let counts: Vec<LinkCounts> = config.links.iter().map(|_| LinkCounts::default()).collect();
            dataplane.shared.push(counts.iter().map(|c| Arc::clone(&c.shared)).collect());
            let lot = Lot::new(&config.parking, max_large, cycles_hz());
            dataplane.parking.push(lot.gauge());
            let offenders = Offenders::new(cycles_hz());
            let meter = Meter::new(cycles(), cycles_hz(), config.idle == Idle::Spin);
            dataplane.boards.push(offenders.board());
            dataplane.meters.push(meter.shared());
            let worker = Worker {
                number,
                stations,
                counts,
                snapshots,
                punts,
                offenders,
                meter,
                lot,
                tap,
                pool: Arc::clone(&pool),
                large: Arc::clone(&large),
                signals: Arc::clone(&signals),
                idle: config.idle,
            };
            let handle = eal
                .launch(lcore, move || worker.run())
                .map_err(|e| DataplaneError::Launch { worker: number, reason: e.to_string() })?;
            dataplane.workers.push(Some(handle));
        }
        Ok(dataplane)
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Puts `state` in force, all of it at once: every worker sees it from its next burst on.
    ///
    /// # Errors
    /// When the policy cannot be compiled; what was in force stays.
    pub fn publish(&mut self, state: &PolicyState) -> Result<(), DataplaneError> {
        let next = Arc::new(Snapshot::build(state, Some(&self.current))?);
        self.publisher.publish(&next);
        self.current = next;
        Ok(())
    }

    /// What the policy in force makes of a packet.
    ///
    /// # Errors
    /// When there is no such packet.
    pub fn explain(&self, tuple: &FiveTuple) -> Result<Explained, ExplainError> {
        self.current.explain(tuple)
    }

    /// The rule of that number, which the policy in force has.
    #[must_use]
    pub fn rule(&self, number: u32) -> Option<ExplainedRule> {
        self.current.rule(number)
    }

    /// Moves frames to and from the exception ports, drops what workers no longer use, and notices workers
    /// that have ended.
    ///
    /// # Errors
    /// When a worker has panicked.
    pub fn housekeeping(&mut self) -> Result<(), DataplaneError> {
        self.exceptions.iter_mut().for_each(ExceptionPort::exchange);
        self.publisher.reap();
        for (worker, slot) in self.workers.iter_mut().enumerate() {
            let ended = self.signals.ended[worker].load(Ordering::Acquire);
            if let Some(handle) = slot.take_if(|_| ended) {
                join(worker, handle)?;
            }
        }
        Ok(())
    }

    /// The counters of every worker and link; the conservation law holds in each.
    #[must_use]
    pub fn counters(&self) -> Vec<LinkTally> {
        let per_worker = self.shared.iter().enumerate();
        per_worker
            .flat_map(|(worker, links)| {
                links.iter().enumerate().map(move |(link, shared)| LinkTally {
                    worker,
                    link,
                    tally: shared.read(),
                })
            })
            .collect()
    }

    /// Unknown SPIs, as workers report them.
    pub fn punts(&mut self) -> &mut PuntReceiver {
        &mut self.punts
    }

    /// What traces and captures.
    pub fn probe(&mut self) -> &mut Probe {
        &mut self.probe
    }

    /// How much waits for SAs, in all workers together.
    #[must_use]
    pub fn parking(&self) -> ParkingUse {
        self.parking.iter().map(UseGauge::read).sum()
    }

    /// The last packet that was dropped for each reason that has happened, with the worker that dropped it.
    #[must_use]
    pub fn offenders(&self) -> Vec<(DropReason, usize, Offender)> {
        let mut last: Vec<(DropReason, usize, Offender)> = Vec::new();
        for (worker, board) in self.boards.iter().enumerate() {
            for (reason, offender) in board.read() {
                match last.iter_mut().find(|(known, ..)| *known == reason) {
                    Some(known) if known.2.at < offender.at => *known = (reason, worker, offender),
                    Some(_) => {}
                    None => last.push((reason, worker, offender)),
                }
            }
        }
        last
    }

    /// Where the time of each worker went, as of a hundredth of a second ago.
    #[must_use]
    pub fn runtime(&self) -> Vec<Runtime> {
        self.meters.iter().map(|meter| meter.read()).collect()
    }

    /// The ports of one link after the other: LAN, WAN, and the exception port if there is one.
    #[must_use]
    pub fn ports(&self) -> &[Arc<Port>] {
        &self.ports
    }

    /// The port on this device.
    #[must_use]
    pub fn port(&self, device: &str) -> Option<&Port> {
        self.ports.iter().find(|port| port.info().name() == device).map(AsRef::as_ref)
    }

    /// Free and all buffers for ordinary frames.
    #[must_use]
    pub fn buffers(&self) -> (u32, u32) {
        (self.pool.available(), self.pool.count())
    }

    /// How long no worker has received anything.
    #[must_use]
    pub fn idle_for(&self) -> Duration {
        let last = self.signals.last_received.iter().map(|at| at.load(Ordering::Relaxed)).max();
        let idle = cycles().saturating_sub(last.unwrap_or(0));
        Duration::from_secs_f64(idle as f64 / cycles_hz() as f64)
    }

    /// The worker that has not come round for longest, and for how long. More than some hundredths of a second: it
    /// hangs, or has no core to itself.
    #[must_use]
    pub fn slowest_worker(&self) -> (usize, Duration) {
        let rounds = self.signals.last_round.iter().map(|at| at.load(Ordering::Relaxed));
        let (worker, last) = rounds.enumerate().min_by_key(|&(_, at)| at).unwrap_or((0, cycles()));
        (worker, Duration::from_secs_f64(cycles().saturating_sub(last) as f64 / cycles_hz() as f64))
    }

    /// Ends the workers, which first take what they hold to its verdicts, and returns the last counters.
    ///
    /// # Errors
    /// When a worker had panicked.
    pub fn stop(mut self) -> Result<Vec<LinkTally>, DataplaneError> {
        self.end()?;
        Ok(self.counters())
    }

    fn end(&mut self) -> Result<(), DataplaneError> {
        self.signals.stop.store(true, Ordering::Relaxed);
        let mut first = Ok(());
        for (worker, slot) in self.workers.iter_mut().enumerate() {
            if let Some(handle) = slot.take() {
                first = first.and(join(worker, handle));
            }
        }
        first
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(event = "worker_panicked", %error);
        }
    }
}

fn join(worker: usize, handle: JoinHandle<()>) -> Result<(), DataplaneError> {
    handle.join().map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        DataplaneError::Panicked { worker, reason: text.unwrap_or("no message").to_owned() }
    })
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use crate::worker::SignOff;
    use std::time::Instant;

    #[test]
    fn a_worker_that_panics_is_noticed_and_named() {
        let eal = dpdk::testing::eal();
        let lcore = eal.worker_lcores()[0];
        let current = Arc::new(Snapshot::build(&PolicyState::default(), None).unwrap());
        let (publisher, _) = publish::channel(&current, 1);
        let signals = Arc::new(Signals {
            stop: AtomicBool::new(false),
            last_received: Box::default(),
            last_round: Box::default(),
            ended: Box::new([AtomicBool::new(false)]),
        });
        let theirs = Arc::clone(&signals);
        let worker = eal
            .launch(lcore, move || {
                let _sign_off = SignOff(&theirs.ended[0]);
                panic!("a fault in a worker")
            })
            .unwrap();
        let mut dataplane = Dataplane {
            workers: vec![Some(worker)],
            signals,
            publisher,
            current,
            shared: Vec::new(),
            punts: punt::channel(1, 1, 1).1,
            probe: probe::channel(1, 1, 1000).1,
            parking: Vec::new(),
            boards: Vec::new(),
            meters: Vec::new(),
            ports: Vec::new(),
            exceptions: Vec::new(),
            pool: Mempool::new("panic", 63, 0, 2048, None).unwrap(),
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        let error = loop {
            match dataplane.housekeeping() {
                Err(error) => break error,
                Ok(()) => assert!(Instant::now() < deadline, "not noticed"),
            }
        };
        assert_eq!(error.to_string(), "worker 0 has panicked: a fault in a worker");
        assert!(dataplane.stop().is_ok(), "told once");
    }
}
