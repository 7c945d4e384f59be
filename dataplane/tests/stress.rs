//! Traffic as fast as the workers take it while the control thread publishes a thousand times a second: SAs
//! come and go all the time, some of them while their packets are on the way. Not one packet may be lost,
//! doubled, out of order within its SA, or other than it was sealed; what is forged stays out.
//!
//! Takes three seconds, or as many as `GETVPN_STRESS_SECONDS` says.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use dpdk::testing::{RingPort, eal};
use dpdk::{Burst, Mbuf, Mempool};
use getvpn_dataplane::counters::Tally;
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{
    Dataplane, DataplaneConfig, DropReason, Idle, Installed, LinkConfig, Mode, ParkingLimits, PolicyState,
    Sa, SpiKey, SpiTest,
};

/// SAs that carry the traffic.
const CARRIERS: usize = 16;
/// SAs that carry nothing; each publish puts a hundred others of them in force.
const OTHERS: usize = 400;
/// Different packets of each SA, sent over and over.
const PACKETS: usize = 64;
/// Packets of each SA that are on the way at most: all together fit into one receive queue and one lot.
const ON_THE_WAY: u64 = 40;

const PUBLISH_EVERY: Duration = Duration::from_millis(1);

#[test]
fn no_packet_is_lost_or_opened_wrongly_while_sas_come_and_go_a_thousand_times_a_second() {
    let seconds = std::env::var("GETVPN_STRESS_SECONDS").map_or(3, |text| text.parse().unwrap());
    let key = SpiKey::new(b"sixteen octets!!");
    let carriers: Vec<Carrier> =
        (0..CARRIERS).map(|n| Carrier::new(key.spi(100 + n as u16).unwrap())).collect();
    let churn = Churn::new(&key, &carriers);
    let workers = eal().worker_lcores().len() as u16;
    let (lan, wan) = (RingPort::new(workers, 1024).unwrap(), RingPort::new(workers, 1024).unwrap());
    let config = DataplaneConfig {
        links: vec![LinkConfig {
            name: "site".into(),
            lan: lan.name().into(),
            wan: wan.name().into(),
            mtu: 1500,
            exception: None,
        }],
        idle: Idle::Sleep,
        buffers: 8191,
        tx_wait_us: 0,
        // However little of the machine this test gets, no packet may grow too old.
        parking: ParkingLimits { age: Duration::from_secs(60), ..ParkingLimits::default() },
        link_wait: Duration::ZERO,
    };
    let mut dataplane = Dataplane::start(eal(), &config, &churn.state(0)).unwrap();
    let pool = Mempool::new("wire", 4095, 0, 2048, None).unwrap();
    let mut traffic = Traffic { carriers, key, pool, lan, wan, queues: workers, forged: 0, random: 1 };

    let feeding = AtomicBool::new(true);
    let mut publishes = 0_u64;
    let traffic = thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            while feeding.load(Ordering::Relaxed) {
                traffic.feed();
                traffic.collect();
            }
            traffic
        });
        let (begun, length) = (Instant::now(), Duration::from_secs(seconds));
        while begun.elapsed() < length && !feeder.is_finished() {
            publishes += 1;
            dataplane.publish(&churn.state(publishes)).unwrap();
            dataplane.housekeeping().unwrap();
            dataplane.punts().drain().for_each(drop);
            for each in dataplane.counters() {
                assert_eq!(each.tally.received(), each.tally.accounted(), "{:?}", each.tally);
            }
            thread::sleep(PUBLISH_EVERY.saturating_mul(publishes as u32).saturating_sub(begun.elapsed()));
        }
        feeding.store(false, Ordering::Relaxed);
        let mut traffic = feeder.join().unwrap();
        // All SAs are there in the end, so everything comes out.
        dataplane.publish(&churn.all()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while traffic.on_the_way() > 0 && Instant::now() < deadline {
            traffic.collect();
            thread::yield_now();
        }
        traffic
    });

    let used = dataplane.parking();
    let tally: Tally = dataplane.stop().unwrap().iter().map(|each| &each.tally).sum();
    let (sent, lost) = (traffic.sent(), traffic.on_the_way());
    println!(
        "{sent} packets and {} forged ones in {seconds} s, {publishes} publishes; {} waited for their SA, {} at a time",
        traffic.forged, tally.released, used.most_packets
    );
    assert_eq!(lost, 0, "{tally:?}");
    assert_eq!((tally.decrypted, tally.parked), (sent, 0));
    assert_eq!((tally.dropped(), tally.drops(DropReason::UnknownSpi)), (traffic.forged, traffic.forged));
    assert!(tally.released > 0 && publishes > 50 * seconds && sent > 1000 * seconds);
    assert_eq!(traffic.pool.in_use(), 0, "buffers are lost");
}

/// An SA with its packets, sealed and as they must come out.
struct Carrier {
    sa: Arc<Sa>,
    plain: Vec<Vec<u8>>,
    sealed: Vec<Vec<u8>>,
    sent: u64,
    came: u64,
}

impl Carrier {
    fn new(spi: u32) -> Carrier {
        let params = params(spi, Transform::Aes128Gcm, Mode::Tunnel);
        let payload = |n: u32| [&spi.to_be_bytes()[..], &n.to_be_bytes(), &payload(n as usize * 4)].concat();
        let plain: Vec<_> = (0..PACKETS as u32).map(|n| udp4(&payload(n))).collect();
        let sealed = Member::new(&state(std::slice::from_ref(&params)), 1500).lan_in(&plain).wan;
        let sa = Sa::new(&params, eal().worker_lcores().len()).unwrap();
        Carrier { sa, plain, sealed, sent: 0, came: 0 }
    }
}

/// What is published one after the other.
struct Churn {
    carriers: Vec<Arc<Sa>>,
    others: Vec<Arc<Sa>>,
    test: SpiTest,
}

impl Churn {
    fn new(key: &SpiKey, carriers: &[Carrier]) -> Churn {
        let make = |n: usize| {
            let params = params(key.spi(1000 + n as u16).unwrap(), Transform::Aes128Gcm, Mode::Tunnel);
            Sa::new(&params, 1).unwrap()
        };
        Churn {
            carriers: carriers.iter().map(|carrier| Arc::clone(&carrier.sa)).collect(),
            others: (0..OTHERS).map(make).collect(),
            test: SpiTest::new([key.clone()], false),
        }
    }

    /// The nth state: two carriers are missing, for three and for seven publishes.
    fn state(&self, n: u64) -> PolicyState {
        let missing = [n / 3, n / 7 + 5].map(|m| m as usize % CARRIERS);
        let others = (0..OTHERS / 4).map(|i| &self.others[(n as usize * 37 + i) % OTHERS]);
        let present = self.carriers.iter().enumerate().filter(|(i, _)| !missing.contains(i));
        self.of(others.chain(present.map(|(_, sa)| sa)))
    }

    fn all(&self) -> PolicyState {
        self.of(self.carriers.iter())
    }

    fn of<'a>(&self, sas: impl Iterator<Item = &'a Arc<Sa>>) -> PolicyState {
        let sas = sas.map(|sa| Installed::from(Arc::clone(sa))).collect();
        PolicyState { groups: vec![group()], sas, spi_test: self.test.clone(), ..Default::default() }
    }
}

struct Traffic {
    carriers: Vec<Carrier>,
    key: SpiKey,
    pool: Arc<Mempool>,
    lan: RingPort,
    wan: RingPort,
    queues: u16,
    forged: u64,
    random: u32,
}

impl Traffic {
    /// A few more packets of each SA, always over the same queue, and a forged one among them.
    fn feed(&mut self) {
        for n in 0..self.carriers.len() {
            let carrier = &mut self.carriers[n];
            let room = ON_THE_WAY.saturating_sub(carrier.sent - carrier.came).min(8);
            let next = (carrier.sent..).map(|n| n as usize % PACKETS).take(room as usize);
            let mut burst: Burst =
                next.map(|n| Mbuf::copy_from(&self.pool, &carrier.sealed[n]).unwrap()).collect();
            carrier.sent += burst.len() as u64;
            if room > 0 {
                let forged = self.forge(n);
                burst.push(Mbuf::copy_from(&self.pool, &forged).unwrap());
                self.forged += 1;
            }
            while !burst.is_empty() {
                if self.wan.inject(n as u16 % self.queues, &mut burst) == 0 {
                    thread::yield_now();
                }
            }
        }
    }

    /// A packet with an SPI that nobody has given out.
    fn forge(&mut self, n: usize) -> Vec<u8> {
        let mut frame = self.carriers[n].sealed[0].clone();
        let at = spi_at(&frame);
        loop {
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if self.random >= 256 && !self.key.marks(self.random) {
                frame[at..at + 4].copy_from_slice(&self.random.to_be_bytes());
                return frame;
            }
        }
    }

    /// What comes out is the next packet of its SA.
    fn collect(&mut self) {
        for queue in 0..self.queues {
            let mut burst = Burst::new();
            while self.lan.collect(queue, &mut burst) > 0 {
                for mbuf in burst.drain(..) {
                    let spi = mbuf.data()[42..46].try_into().map(u32::from_be_bytes).unwrap();
                    let carrier = self.carriers.iter_mut().find(|carrier| carrier.sa.spi() == spi).unwrap();
                    let expected = &carrier.plain[carrier.came as usize % PACKETS];
                    assert!(mbuf.data() == expected, "packet {} of SA {spi:#010x}", carrier.came);
                    carrier.came += 1;
                }
            }
        }
    }

    fn sent(&self) -> u64 {
        self.carriers.iter().map(|carrier| carrier.sent).sum()
    }

    fn on_the_way(&self) -> u64 {
        self.carriers.iter().map(|carrier| carrier.sent - carrier.came).sum()
    }
}
