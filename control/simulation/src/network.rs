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

/// On which side of each partition a node is: a bit for each. Who has the same bits reaches each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(u64);

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
    /// Who is where: the key server, then the members.
    places: Vec<Place>,
    partitions: BTreeMap<u64, Place>,
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
    pub(crate) fn new(weather: Weather, members: usize, dice: Dice) -> Self {
        Self {
            weather,
            dice,
            places: vec![Place::default(); 1 + members],
            partitions: BTreeMap::new(),
            next: 0,
            arrived: VecDeque::new(),
            figures: NetworkFigures::default(),
        }
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
        self.place(from) == self.place(to)
    }

    pub(crate) fn place(&self, node: Node) -> Place {
        self.places[index(node)]
    }

    /// Cuts these off from all others. `None` when there are as many partitions as there can be.
    pub(crate) fn cut(&mut self, side: &BTreeSet<Node>) -> Option<u64> {
        let used = self.partitions.values().fold(0, |used, &Place(bit)| used | bit);
        let bit = 1_u64.checked_shl(used.trailing_ones())?;
        for &node in side {
            self.places[index(node)].0 |= bit;
        }
        self.next += 1;
        self.partitions.insert(self.next, Place(bit));
        Some(self.next)
    }

    pub(crate) fn heal(&mut self, partition: u64) {
        if let Some(Place(bit)) = self.partitions.remove(&partition) {
            self.places.iter_mut().for_each(|place| place.0 &= !bit);
        }
    }

    pub(crate) fn heal_all(&mut self) {
        self.partitions.clear();
        self.places.fill(Place::default());
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

fn index(node: Node) -> usize {
    match node {
        Node::KeyServer => 0,
        Node::Member(number) => 1 + number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Options, Scenario};

    #[test]
    fn nodes_reach_each_other_that_are_on_the_same_side_of_every_partition() {
        let mut dice = Dice::new(1, 1);
        let weather = Scenario::of(&Options::new(1, 3, 1.0), &mut dice).weather;
        let mut network = Network::new(weather, 3, dice);
        let [ks, a, b, c] = [Node::KeyServer, Node::Member(0), Node::Member(1), Node::Member(2)];
        let first = network.cut(&BTreeSet::from([a, b])).unwrap();
        let second = network.cut(&BTreeSet::from([b, c])).unwrap();
        let reach =
            |network: &Network| [(ks, a), (a, b), (ks, c), (b, c)].map(|(x, y)| network.connects(x, y));
        assert_eq!(reach(&network), [false, false, false, false]);
        network.heal(first);
        assert_eq!(reach(&network), [true, false, false, true]);
        // Its bit is free again, and changes nothing for the other.
        network.cut(&BTreeSet::from([ks])).unwrap();
        assert_eq!(reach(&network), [false, false, false, true]);
        network.heal(first);
        network.heal(second);
        assert_eq!(reach(&network), [false, true, false, true]);
        network.heal_all();
        assert_eq!(reach(&network), [true; 4]);
        let cut = |network: &mut Network| network.cut(&BTreeSet::from([a])).is_some();
        assert!((0..64).all(|_| cut(&mut network)) && !cut(&mut network));
    }
}
