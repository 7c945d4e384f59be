use super::{Bay, Load, Lot, ParkingLimits};
use crate::publish::{self, Subscriber};
use loom::thread;
use std::sync::Arc;

const SPI: u32 = 300;
const BAY: Bay = Bay { link: 0, spi: SPI };

/// A worker in its turns: it takes what may leave the lot, then a packet, as `inbound` does.
struct Worker {
    /// Whether the SA is in force.
    snapshots: Subscriber<bool>,
    lot: Lot<u32>,
    /// What has gone on, in order.
    out: Vec<u32>,
}

impl Worker {
    fn new(snapshots: Subscriber<bool>) -> Self {
        Worker {
            snapshots,
            lot: Lot::new(&ParkingLimits { packets: 8, ..Default::default() }, 0, 1),
            out: Vec::new(),
        }
    }

    fn turn(&mut self, packet: Option<u32>) {
        let (&known, version) = self.snapshots.versioned();
        self.lot.follow(version, |_| known);
        let behind = self.lot.is_due();
        if behind {
            self.lot.release(0, 1, |packet| self.out.push(packet));
        }
        let Some(packet) = packet else { return };
        if known && !(behind && self.lot.holds(BAY)) {
            self.out.push(packet);
        } else {
            self.lot.park(BAY, packet, Load::default(), 0).expect("room");
        }
    }
}

#[test]
fn loom_no_packet_is_forgotten_when_its_sa_comes_while_it_is_parked() {
    loom::model(|| {
        let (mut publisher, mut subscribers) = publish::channel(&Arc::new(false), 1);
        let mut worker = Worker::new(subscribers.pop().expect("one"));
        let working = thread::spawn(move || {
            (1..=3).for_each(|packet| worker.turn(Some(packet)));
            worker
        });
        publisher.publish(&Arc::new(true));
        let mut worker = working.join().expect("the worker");
        (0..3).for_each(|_| worker.turn(None));
        assert_eq!(worker.out, [1, 2, 3]);
        assert!(worker.lot.is_empty());
    });
}

#[test]
fn loom_an_sa_that_goes_and_comes_again_takes_all_packets_in_order() {
    loom::model(|| {
        let (mut publisher, mut subscribers) = publish::channel(&Arc::new(true), 1);
        let mut worker = Worker::new(subscribers.pop().expect("one"));
        let working = thread::spawn(move || {
            (1..=3).for_each(|packet| worker.turn(Some(packet)));
            worker
        });
        publisher.publish(&Arc::new(false));
        publisher.publish(&Arc::new(true));
        publisher.reap();
        let mut worker = working.join().expect("the worker");
        (0..3).for_each(|_| worker.turn(None));
        assert_eq!(worker.out, [1, 2, 3]);
        assert!(worker.lot.is_empty());
    });
}

/// The control thread reads the use of a lot while the worker changes it: each number is one that was.
#[test]
fn loom_the_use_that_is_shown_settles_at_what_is_true() {
    loom::model(|| {
        let mut lot = Lot::new(&ParkingLimits { packets: 4, ..Default::default() }, 0, 1);
        let gauge = lot.gauge();
        let working = thread::spawn(move || {
            lot.park(BAY, 1, Load { octets: 10, is_large: false }, 0).expect("room");
            lot.drain(0, 1, |_| ());
            lot
        });
        let seen = gauge.read();
        assert!(seen.packets <= 1 && seen.most_packets <= 1 && (seen.octets == 0 || seen.octets == 10));
        drop(working.join().expect("the worker"));
        let last = gauge.read();
        assert_eq!((last.packets, last.octets, last.most_packets, last.most_octets), (0, 0, 1, 10));
    });
}
