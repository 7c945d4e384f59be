//! Where a worker's time goes: how much of it is work, and how many cycles each stage takes. Whether a turn
//! found something is always told, from the clock that every turn reads anyway; the stages are timed in
//! one turn of many, so that the rest pay a predictable branch a burst. Written by one worker, for itself,
//! and shown to the control thread a hundred times a second.

#[cfg(all(test, not(feature = "loom")))]
mod tests;

use std::array;
use std::ops::Sub;
use std::sync::Arc;

use crossbeam::utils::CachePadded;
use dpdk::cycles;

use crate::context::Origin;
use crate::counters::seqlock::SeqLock;

/// Declares [`Stage`] with each stage's name, the side that its packets come from, and what it does.
macro_rules! stages {
    ($($variant:ident, $origin:ident, $name:literal, $meaning:literal;)*) => {
        /// A stage of the packet path.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Stage {
            $(#[doc = $meaning] $variant,)*
        }

        impl Stage {
            /// Every stage, in the order in which packets meet them.
            pub const ALL: &'static [Stage] = &[$(Stage::$variant,)*];

            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name used in replies.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Stage::$variant => $name,)* }
            }

            /// The side that its packets come from.
            #[must_use]
            pub const fn origin(self) -> Origin {
                match self { $(Stage::$variant => Origin::$origin,)* }
            }

            /// What is done there, in one line.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Stage::$variant => $meaning,)* }
            }
        }
    };
}

stages! {
    WanReceive, Wan, "receive", "taking a burst from the port, and polling those that had none";
    WanParse, Wan, "parse", "headers found, and the SA by its SPI; fragments put together";
    WanPolicy, Wan, "policy", "cleartext that may come in told from what may not";
    Admit, Wan, "admit", "what can be refused before the cryptography: direction, length, a first look at the replay window";
    Open, Wan, "open", "integrity and decryption";
    Replay, Wan, "replay", "the replay windows moved on by what was authentic";
    Unwrap, Wan, "unwrap", "ESP taken off, selectors checked";
    Strangers, Wan, "unknown", "packets without an SA told to the control thread, parked or dropped";
    WanTransmit, Wan, "transmit", "the LAN port has taken the burst";
    LanReceive, Lan, "receive", "taking a burst from the port, and polling those that had none";
    LanParse, Lan, "parse", "headers found";
    LanPolicy, Lan, "policy", "rule and SA found";
    Wrap, Lan, "wrap", "fitted to the MTU, numbered, ESP put around";
    Seal, Lan, "seal", "encryption and integrity";
    LanTransmit, Lan, "transmit", "the WAN port has taken the burst";
}

/// How many times a second the stages are timed, for one turn.
const SAMPLES: u64 = 4000;

/// What a worker's turns came to. Plain numbers that only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runtime {
    /// When this was, in cycles of the time-stamp counter.
    pub at: u64,
    /// Cycles of turns that found something to do.
    pub busy: u64,
    /// Cycles of turns that did not, and of the sleep behind them.
    pub idle: u64,
    /// Turns that found something to do.
    pub busy_turns: u64,
    /// Turns that did not.
    pub idle_turns: u64,
    /// Turns of more than a millisecond: the core was taken away, or a port took nothing.
    pub stalls: u64,
    /// Cycles of those turns.
    pub stalled: u64,
    /// Bursts received.
    pub bursts: u64,
    /// Packets in them.
    pub packets: u64,
    /// By stage, of the turns that were timed.
    pub stages: [Timed; Stage::COUNT],
}

/// What a stage took, in the turns that were timed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timed {
    /// Cycles.
    pub cycles: u64,
    /// Bursts.
    pub bursts: u64,
    /// Packets in them.
    pub packets: u64,
}

impl Sub<&Runtime> for &Runtime {
    type Output = Runtime;

    /// What happened since `earlier`; the time is that of the later one.
    fn sub(self, earlier: &Runtime) -> Runtime {
        Runtime {
            at: self.at,
            busy: self.busy.saturating_sub(earlier.busy),
            idle: self.idle.saturating_sub(earlier.idle),
            busy_turns: self.busy_turns.saturating_sub(earlier.busy_turns),
            idle_turns: self.idle_turns.saturating_sub(earlier.idle_turns),
            stalls: self.stalls.saturating_sub(earlier.stalls),
            stalled: self.stalled.saturating_sub(earlier.stalled),
            bursts: self.bursts.saturating_sub(earlier.bursts),
            packets: self.packets.saturating_sub(earlier.packets),
            stages: array::from_fn(|i| {
                let (late, early) = (self.stages[i], earlier.stages[i]);
                Timed {
                    cycles: late.cycles.saturating_sub(early.cycles),
                    bursts: late.bursts.saturating_sub(early.bursts),
                    packets: late.packets.saturating_sub(early.packets),
                }
            }),
        }
    }
}

const TOTALS: usize = 9;
const STAGES: usize = 3 * Stage::COUNT;

/// The worker's end.
#[derive(Debug)]
pub struct Meter {
    sum: Runtime,
    /// When the turn under way began.
    began: u64,
    /// Whether the stages of this turn are timed.
    timing: bool,
    /// When the last stage ended.
    last: u64,
    /// When the next turn is to be timed.
    next: u64,
    interval: u64,
    /// Whether turns that find nothing follow each other without a sleep.
    spins: bool,
    /// Cycles of a turn that is too long.
    long: u64,
    shared: Arc<SharedMeter>,
}

/// A worker's [`Runtime`] as others see it.
#[derive(Debug)]
pub struct SharedMeter(CachePadded<SeqLock<TOTALS, STAGES>>);

impl Meter {
    /// For a worker that begins at `now` and sleeps when nothing comes, unless it `spins`; `hertz` cycles are a
    /// second.
    #[must_use]
    pub fn new(now: u64, hertz: u64, spins: bool) -> Self {
        let shared = Arc::new(SharedMeter(CachePadded::new(SeqLock::new())));
        let (sum, interval) = (Runtime::default(), hertz / SAMPLES);
        let long = hertz / 1000;
        Meter { sum, began: now, timing: false, last: now, next: now, interval, spins, long, shared }
    }

    /// What others see of it.
    #[must_use]
    pub fn shared(&self) -> Arc<SharedMeter> {
        Arc::clone(&self.shared)
    }

    /// A turn begins at `now`, and the one before it has ended, which `was_busy` or not.
    #[inline]
    pub fn begin(&mut self, now: u64, was_busy: bool) {
        let took = now.saturating_sub(self.began);
        if was_busy {
            self.sum.busy += took;
            self.sum.busy_turns += 1;
        } else {
            self.sum.idle += took;
            self.sum.idle_turns += 1;
        }
        if took > self.long && (was_busy || self.spins) {
            self.sum.stalls += 1;
            self.sum.stalled += took;
        }
        (self.began, self.last) = (now, now);
        self.timing = now >= self.next;
    }

    /// Whether this turn's stages are timed.
    #[inline(always)]
    pub(crate) fn is_timing(&self) -> bool {
        self.timing
    }

    /// A burst has been received.
    #[inline]
    pub(crate) fn received(&mut self, origin: Origin, packets: usize) {
        self.sum.bursts += 1;
        self.sum.packets += packets as u64;
        self.lap(if origin == Origin::Wan { Stage::WanReceive } else { Stage::LanReceive }, packets);
    }

    /// A stage has ended for a burst of so many packets.
    #[inline(always)]
    pub(crate) fn lap(&mut self, stage: Stage, packets: usize) {
        if self.timing {
            self.record(stage, packets);
        }
    }

    #[cold]
    #[inline(never)]
    fn record(&mut self, stage: Stage, packets: usize) {
        let now = cycles();
        let timed = &mut self.sum.stages[stage as usize];
        timed.cycles += now.saturating_sub(self.last);
        timed.bursts += 1;
        timed.packets += packets as u64;
        self.last = now;
        self.next = self.began + self.interval;
    }

    /// Shows what has come together to the readers.
    pub(crate) fn publish(&self) {
        let Runtime { at: _, busy, idle, busy_turns, idle_turns, stalls, stalled, bursts, packets, stages } =
            &self.sum;
        let totals =
            [self.began, *busy, *idle, *busy_turns, *idle_turns, *stalls, *stalled, *bursts, *packets];
        let stages = array::from_fn(|i| {
            let Timed { cycles, bursts, packets } = stages[i / 3];
            [cycles, bursts, packets][i % 3]
        });
        self.shared.0.write(&totals, Some(&stages));
    }
}

impl SharedMeter {
    /// What was shown last, whole.
    #[must_use]
    pub fn read(&self) -> Runtime {
        let ([at, busy, idle, busy_turns, idle_turns, stalls, stalled, bursts, packets], words) =
            self.0.read();
        let stages = array::from_fn(|i| Timed {
            cycles: words[3 * i],
            bursts: words[3 * i + 1],
            packets: words[3 * i + 2],
        });
        Runtime { at, busy, idle, busy_turns, idle_turns, stalls, stalled, bursts, packets, stages }
    }
}
