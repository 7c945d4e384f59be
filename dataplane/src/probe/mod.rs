//! The probe: a filter that workers apply to what passes, while somebody traces or captures, and the
//! events of the packets that match, on their way to the control thread. Off, it costs a branch a burst.
//!
//! A worker looks at each packet once, as soon as its headers are known, and marks those that it follows;
//! whatever becomes of a marked packet is told too. It looks at no more packets a millisecond than its
//! [`Budget`] says: what comes beyond that goes by as if the probe were off, burst by burst, and is counted.
//! What it finds it copies into a ring of its own, again at most as much as the budget says; what is beyond
//! that, or finds the ring full, is skipped and counted.
//!
//! Not seen one by one: ESP that arrives in fragments (the datagram is seen once it is whole), and
//! fragments that die with one that came later.

mod control;
mod event;
mod filter;
mod points;
mod tap;

use std::sync::Arc;

use crossbeam::utils::CachePadded;

use crate::publish::{self, Publisher};
use crate::ring::{Consumer, ring};
use crate::sync::AtomicU64;

pub use crate::egress::Outgoing;
pub use control::Probe;
pub use event::{Decision, Event, Facts, IpFacts, Point};
pub use filter::{Heading, ProbeFilter};
pub use tap::Tap;

/// Words of a record on the ring.
const WORDS: usize = 32;
/// Records that may wait for the control thread, of each worker: more than a budget of a few milliseconds.
const RECORDS: usize = 1024;

/// What a worker may do in a millisecond. Every way of every link that the filter is for has the same share of
/// it, so that none is never seen beside another that is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Packets that are looked at, but for those that have waited, which always are. Where only drops have to
    /// be, these.
    pub looks: u32,
    /// Events that are told.
    pub events: u32,
    /// Octets of frames.
    pub octets: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { looks: 2048, events: 128, octets: 131_072 }
    }
}

/// What is looked for, and how much of it is taken.
#[derive(Clone, Copy, Debug)]
pub struct ProbeSpec {
    /// Which packets.
    pub filter: ProbeFilter,
    /// Octets of each frame that are taken.
    pub snaplen: u16,
    /// Bounds what it costs.
    pub budget: Budget,
}

/// What workers have in force: a spec with its number, 0 for none.
#[derive(Clone, Copy, Debug)]
struct Program {
    id: u16,
    filter: filter::Compiled,
    snaplen: u16,
    budget: Budget,
}

impl Program {
    const OFF: Program = Program {
        id: 0,
        filter: filter::Compiled::NOTHING,
        snaplen: 0,
        budget: Budget { looks: 0, events: 0, octets: 0 },
    };
}

/// What a worker counts while a probe is on. Written by the worker, read by the control thread.
#[derive(Debug, Default)]
struct Counts {
    matched: AtomicU64,
    skipped: AtomicU64,
    not_looked_at: AtomicU64,
}

/// How much a probe has met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeCounts {
    /// Packets that matched.
    pub matched: u64,
    /// Those of them that were not told, or not all of what became of them, for the budget.
    pub skipped: u64,
    /// Packets of the links and ways of the filter that were not looked at, for the budget.
    pub not_looked_at: u64,
}

/// Makes a tap for each of `workers` workers of `links` links, and the control thread's end. `cycles_hz` is how fast the
/// clock of [`crate::Context::now`] goes.
#[must_use]
pub fn channel(workers: u16, links: u16, cycles_hz: u64) -> (Vec<Tap>, Probe) {
    let (publisher, subscribers): (Publisher<Program>, _) =
        publish::channel(&Arc::new(Program::OFF), workers.into());
    let (mut rings, mut counts) = (Vec::<Consumer<WORDS>>::new(), Vec::new());
    let taps = subscribers.into_iter().zip(0..).map(|(programs, worker)| {
        let (producer, consumer) = ring(RECORDS);
        let shared = Arc::new(CachePadded::new(Counts::default()));
        rings.push(consumer);
        counts.push(Arc::clone(&shared));
        Tap::new(worker, links, programs, producer, shared, cycles_hz / 1000)
    });
    let taps = taps.collect();
    (taps, Probe::new(publisher, rings, counts))
}
