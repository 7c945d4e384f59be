use super::{Bay, Load, Lot, ParkingLimits};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// A cycle is a millisecond.
const HZ: u64 = 1000;

fn limits(packets: u32, octets: u64, age: u64) -> ParkingLimits {
    ParkingLimits { packets, octets, age: Duration::from_millis(age) }
}

fn bay(link: u16, spi: u32) -> Bay {
    Bay { link, spi }
}

const SMALL: Load = Load { octets: 10, is_large: false };
const LARGE: Load = Load { octets: 10, is_large: true };

fn released(lot: &mut Lot<u32>, link: u16, room: usize) -> Vec<u32> {
    let mut out = Vec::new();
    lot.release(link, room, |packet| out.push(packet));
    out
}

#[test]
fn packets_leave_in_the_order_of_their_arrival_when_their_sa_comes_and_not_before() {
    let mut lot = Lot::new(&limits(8, 1000, 100), 0, HZ);
    for (spi, packet) in [(7, 1), (9, 2), (7, 3), (7, 4), (9, 5)] {
        lot.park(bay(0, spi), packet, SMALL, 0).unwrap();
    }
    lot.follow(1, |_| false);
    assert!(!lot.is_due());
    assert!(released(&mut lot, 0, 8).is_empty());
    lot.follow(2, |spi| spi == 7);
    assert!(lot.is_due());
    assert!(released(&mut lot, 1, 8).is_empty(), "they came over another link");
    assert_eq!(released(&mut lot, 0, 2), [1, 3]);
    // One that comes while they leave is behind them.
    lot.park(bay(0, 7), 6, SMALL, 0).unwrap();
    assert_eq!(released(&mut lot, 0, 8), [4, 6]);
    assert!(!lot.is_due() && !lot.holds(bay(0, 7)) && lot.holds(bay(0, 9)));
    lot.follow(3, |_| true);
    assert_eq!(released(&mut lot, 0, 8), [2, 5]);
    assert!(lot.is_empty());
}

#[test]
fn an_sa_that_goes_again_keeps_what_has_not_left() {
    let mut lot = Lot::new(&limits(8, 1000, 100), 0, HZ);
    lot.park(bay(0, 7), 1, SMALL, 0).unwrap();
    lot.follow(1, |_| true);
    lot.follow(2, |_| false);
    assert!(!lot.is_due());
    assert!(released(&mut lot, 0, 8).is_empty());
    lot.follow(2, |_| panic!("looked at twice for one publication"));
    lot.follow(3, |_| true);
    assert_eq!(released(&mut lot, 0, 8), [1]);
}

#[test]
fn room_is_bounded_in_packets_in_octets_and_in_large_buffers() {
    let mut lot = Lot::new(&limits(3, 1000, 100), 0, HZ);
    for n in 0..3 {
        lot.park(bay(0, n), n, SMALL, 0).unwrap();
    }
    assert_eq!(lot.park(bay(0, 0), 3, SMALL, 0), Err(3));
    let mut lot = Lot::new(&limits(8, 25, 100), 1, HZ);
    lot.park(bay(0, 0), 0, LARGE, 0).unwrap();
    assert_eq!(lot.park(bay(0, 0), 1, LARGE, 0), Err(1));
    lot.park(bay(0, 0), 1, SMALL, 0).unwrap();
    assert_eq!(lot.park(bay(0, 0), 2, SMALL, 0), Err(2));
    let used = lot.gauge().read();
    assert_eq!((used.packets, used.octets, used.most_packets, used.most_octets), (2, 20, 2, 20));
    lot.drain(0, 8, |_| ());
    let used = lot.gauge().read();
    assert_eq!((used.packets, used.octets, used.most_packets, used.most_octets), (0, 0, 2, 20));
    lot.park(bay(0, 0), 3, LARGE, 0).unwrap();
}

#[test]
fn a_limit_of_nothing_lets_nothing_wait() {
    for limits in [ParkingLimits::OFF, limits(0, 9, 9), limits(9, 0, 9), limits(9, 9, 0)] {
        let mut lot = Lot::new(&limits, 9, HZ);
        assert!(!lot.is_open());
        assert_eq!(lot.park(bay(0, 300), 1, SMALL, 0), Err(1));
    }
}

#[test]
fn what_has_waited_too_long_leaves_unless_its_sa_has_come() {
    let mut lot = Lot::new(&limits(8, 1000, 100), 0, HZ);
    for (at, spi, packet) in [(0, 7, 1), (50, 7, 2), (0, 9, 3), (60, 9, 4)] {
        lot.park(bay(0, spi), packet, SMALL, at).unwrap();
    }
    lot.follow(1, |spi| spi == 9);
    let old = |lot: &mut Lot<u32>, now, room| {
        let mut out = Vec::new();
        lot.expire(0, now, room, |packet| out.push(packet));
        out
    };
    assert!(old(&mut lot, 99, 8).is_empty());
    assert_eq!(old(&mut lot, 100, 8), [1]);
    assert!(old(&mut lot, 1000, 0).is_empty());
    assert_eq!(old(&mut lot, 1000, 8), [2]);
    assert_eq!(released(&mut lot, 0, 8), [3, 4]);
}

/// What the lot must do, done simply.
#[derive(Default)]
struct Model {
    /// Number, time of arrival and octets of each packet.
    queues: BTreeMap<Bay, Vec<(u32, u64, u32)>>,
    /// The SPIs of these bits have SAs.
    known: u32,
}

impl Model {
    const PACKETS: u32 = 12;
    const OCTETS: u64 = 300;
    const AGE: u64 = 50;

    fn knows(&self, spi: u32) -> bool {
        self.known >> spi & 1 == 1
    }

    fn park(&mut self, bay: Bay, packet: u32, octets: u32, now: u64) -> bool {
        let held = || self.queues.values().flatten();
        let sum: u64 = held().map(|&(_, _, octets)| u64::from(octets)).sum();
        let fits = held().count() < Self::PACKETS as usize && sum + u64::from(octets) <= Self::OCTETS;
        if fits {
            self.queues.entry(bay).or_default().push((packet, now, octets));
        }
        fits
    }

    /// Takes from the front of each queue in turn as long as a packet that came at a time leaves.
    fn take(&mut self, link: u16, mut room: usize, leaves: impl Fn(bool, u64) -> bool) -> Vec<u32> {
        let (mut taken, known) = (Vec::new(), self.known);
        for (bay, queue) in self.queues.iter_mut().filter(|(bay, _)| bay.link == link) {
            let has_sa = known >> bay.spi & 1 == 1;
            while room > 0 && queue.first().is_some_and(|&(_, at, _)| leaves(has_sa, at)) {
                taken.push(queue.remove(0).0);
                room -= 1;
            }
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        taken
    }
}

#[derive(Clone, Debug)]
enum Step {
    Park { link: u16, spi: u32, octets: u32 },
    Publish(u32),
    Release { link: u16, room: usize },
    Wait(u64),
    Drain { link: u16, room: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u16..2, 0_u32..6, 0_u32..40).prop_map(|(link, spi, octets)| Step::Park { link, spi, octets }),
        2 => (0_u32..64).prop_map(Step::Publish),
        3 => (0_u16..2, 0_usize..6).prop_map(|(link, room)| Step::Release { link, room }),
        2 => (0_u64..30).prop_map(Step::Wait),
        1 => (0_u16..2, 0_usize..3).prop_map(|(link, room)| Step::Drain { link, room }),
    ]
}

proptest! {
    #[test]
    fn it_does_what_a_simple_model_does(steps in prop::collection::vec(step(), 1..300)) {
        let mut lot = Lot::new(&limits(Model::PACKETS, Model::OCTETS, Model::AGE), 0, HZ);
        let (mut model, mut version, mut now) = (Model::default(), 0, 0);
        for (packet, step) in (0..).zip(steps) {
            let mut came = Vec::new();
            let left = match step {
                // As a worker does it: what has an SA waits only behind others.
                Step::Park { link, spi, .. } if model.knows(spi) && !lot.holds(bay(link, spi)) => Vec::new(),
                Step::Park { link, spi, octets } => {
                    let parked = lot.park(bay(link, spi), packet, Load { octets, is_large: false }, now);
                    prop_assert_eq!(parked.is_ok(), model.park(bay(link, spi), packet, octets, now));
                    Vec::new()
                }
                Step::Publish(known) => {
                    version += 1;
                    model.known = known;
                    lot.follow(version, |spi| model.knows(spi));
                    Vec::new()
                }
                Step::Release { link, room } => {
                    lot.release(link, room, |packet| came.push(packet));
                    model.take(link, room, |has_sa, _| has_sa)
                }
                Step::Wait(cycles) => {
                    now += cycles;
                    lot.expire(0, now, 5, |packet| came.push(packet));
                    model.take(0, 5, |has_sa, at| !has_sa && now - at >= Model::AGE)
                }
                Step::Drain { link, room } => {
                    lot.drain(link, room, |packet| came.push(packet));
                    model.take(link, room, |_, _| true)
                }
            };
            prop_assert_eq!(came, left);
            let used = lot.gauge().read();
            let held = || model.queues.values().flatten();
            prop_assert_eq!(used.packets, held().count() as u64);
            prop_assert_eq!(used.octets, held().map(|&(_, _, octets)| u64::from(octets)).sum::<u64>());
            prop_assert_eq!(lot.is_due(), model.queues.keys().any(|bay| model.knows(bay.spi)));
        }
    }
}
