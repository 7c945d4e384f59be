//! The network: what becomes of a datagram between two nodes, and which of them cannot reach each other.

use crate::dice::Dice;
use crate::scenario::{LONGEST_DELAY, Weather};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Datagrams that may be replayed.
const REMEMBERED: usize = 256;

/// Where a datagram comes from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    KeyServer,
    Member(usize),
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub from: Node,
    pub to: Node,
    pub octets: Arc<[u8]>,
}

#[derive(Debug)]
pub(crate) struct Network {
    weather: Weather,
    dice: Dice,
    /// Who is on the one side; all others are on the other.
    partitions: BTreeMap<u64, BTreeSet<Node>>,
    next: u64,
    arrived: VecDeque<Datagram>,
    pub figures: NetworkFigures,
}

/// What the network has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NetworkFigures {
    pub sent: u64,
    pub lost: u64,
    pub repeated: u64,
    pub cut: u64,
    pub stragglers: u64,
    pub replays: u64,
}

impl Network {
    pub(crate) fn new(weather: Weather, dice: Dice) -> Self {
        let (partitions, arrived) = (BTreeMap::new(), VecDeque::new());
        Self { weather, dice, partitions, next: 0, arrived, figures: NetworkFigures::default() }
    }

    /// After how long copies of a datagram arrive.
    pub(crate) fn copies(&mut self, from: Node, to: Node) -> Vec<Duration> {
        self.figures.sent += 1;
        if !self.connects(from, to) {
            self.figures.cut += 1;
            return Vec::new();
        }
        let mut copies = Vec::new();
        for again in [false, true] {
            if again && !self.dice.chance(self.weather.duplicate) {
                break;
            }
            self.figures.repeated += u64::from(again);
            if self.dice.chance(self.weather.loss) {
                self.figures.lost += 1;
                continue;
            }
            copies.push(if self.dice.chance(self.weather.straggler) {
                self.figures.stragglers += 1;
                self.dice.spread(self.weather.delay, LONGEST_DELAY)
            } else {
                self.weather.delay + self.dice.between(Duration::ZERO, self.weather.jitter)
            });
        }
        copies
    }

    pub(crate) fn connects(&self, from: Node, to: Node) -> bool {
        self.partitions.values().all(|side| side.contains(&from) == side.contains(&to))
    }

    /// Cuts these off from all others.
    pub(crate) fn cut(&mut self, side: BTreeSet<Node>) -> u64 {
        self.next += 1;
        self.partitions.insert(self.next, side);
        self.next
    }

    pub(crate) fn heal(&mut self, partition: u64) {
        self.partitions.remove(&partition);
    }

    pub(crate) fn heal_all(&mut self) {
        self.partitions.clear();
    }

    /// A datagram has arrived. Sometimes an old one comes again with it.
    pub(crate) fn arrived(&mut self, datagram: Datagram) -> Option<(Duration, Datagram)> {
        if self.weather.replay == 0.0 {
            return None;
        }
        let replayed = self.dice.chance(self.weather.replay) && !self.arrived.is_empty();
        let replay = replayed.then(|| {
            self.figures.replays += 1;
            let old = self.arrived[self.dice.below(self.arrived.len())].clone();
            (self.dice.spread(Duration::from_secs(1), Duration::from_secs(86_400)), old)
        });
        // Now and then, so that what is remembered spans hours.
        if self.arrived.len() < REMEMBERED || self.dice.chance(0.02) {
            if self.arrived.len() >= REMEMBERED {
                self.arrived.pop_front();
            }
            self.arrived.push_back(datagram);
        }
        replay
    }
}
