//! What the control socket replies to `drops` and `runtime`, and the readings of earlier moments that their
//! rates are made from. Control thread; changes nothing in the data plane.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use dpdk::{cycles, cycles_hz};
use getvpn_ctl::Spi;
use getvpn_ctl::rates::Readings;
use getvpn_ctl::reply::{self, DropDetail, Drops, StageWork, Work, WorkerRuntime};
use getvpn_dataplane::counters::Tally;
use getvpn_dataplane::meter::{Runtime, Stage};
use getvpn_dataplane::offender::{Offender, Seen, Upper};
use getvpn_dataplane::{Dataplane, DropReason, LinkConfig, Origin};

/// How long "just now" is.
const RECENT: Duration = Duration::from_secs(10);
/// How often the meters are read for it.
const PACE: Duration = Duration::from_secs(1);

/// Readings of a data plane.
#[derive(Debug)]
pub struct Inspector {
    /// Of the workers.
    cores: Vec<u32>,
    drops: Readings,
    /// Of each worker, of the last ten seconds, the oldest first.
    meters: VecDeque<(Instant, Vec<Runtime>)>,
}

impl Inspector {
    /// For a data plane that starts now, worker n on the nth of `cores`.
    #[must_use]
    pub fn new(start: Instant, cores: Vec<u32>) -> Self {
        Inspector { cores, drops: Readings::new(start, DropReason::COUNT), meters: VecDeque::new() }
    }

    /// Takes readings if it is time for them.
    pub fn tick(&mut self, plane: &Dataplane, now: Instant) {
        self.drops.tick(now, || counts(plane));
        if self.meters.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= PACE) {
            self.meters.push_back((now, plane.runtime()));
            while self.meters.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= RECENT) {
                self.meters.pop_front();
            }
        }
    }

    /// The reply to `drops`.
    pub fn drops(
        &mut self,
        plane: &Dataplane,
        links: &[LinkConfig],
        all: bool,
        peek: bool,
        now: Instant,
    ) -> Drops {
        let counts = counts(plane);
        let rates = self.drops.call(now, &counts, peek);
        let (offenders, cycle) = (plane.offenders(), cycles());
        let detail = |(i, reason): (usize, &DropReason)| DropDetail {
            reason: reason.name().into(),
            count: counts[i],
            more: rates.more[i],
            per_s: rates.per_s[i],
            recent_per_s: rates.recent_per_s.get(i).copied(),
            meaning: reason.meaning().into(),
            advice: reason.advice().into(),
            last: offenders
                .iter()
                .find(|(of, ..)| of == reason)
                .map(|(_, worker, last)| offender(last, *worker, links, (cycle, cycles_hz()))),
        };
        let mut drops: Vec<_> = DropReason::ALL.iter().enumerate().map(detail).collect();
        drops.retain(|drop| all || drop.count > 0);
        drops.sort_by_key(|drop| std::cmp::Reverse(drop.count));
        Drops {
            role: "gm".into(),
            since: rates.since.into(),
            since_s: rates.since_s,
            recent_s: rates.recent_s,
            drops,
        }
    }

    /// The reply to `runtime`.
    #[must_use]
    pub fn runtime(&self, plane: &Dataplane) -> reply::Runtime {
        let hz = cycles_hz();
        let now = plane.runtime();
        let before = self.meters.front().map(|(_, meters)| &**meters).unwrap_or_default();
        let worker = |(i, total): (usize, &Runtime)| WorkerRuntime {
            worker: u32::try_from(i).unwrap_or(u32::MAX),
            core: self.cores.get(i).copied().unwrap_or_default(),
            recent: before.get(i).map(|before| work(&(total - before), hz)).unwrap_or_default(),
            total: work(total, hz),
        };
        reply::Runtime { hz, workers: now.iter().enumerate().map(worker).collect() }
    }
}

/// How much was dropped, by reason.
fn counts(plane: &Dataplane) -> Vec<u64> {
    let tallies = plane.counters();
    let sum: Tally = tallies.iter().map(|each| &each.tally).sum();
    sum.iter_drops().map(|(_, n)| n).collect()
}

/// `now` is what the time-stamp counter says, and how many cycles a second has.
fn offender(last: &Offender, worker: usize, links: &[LinkConfig], (now, hz): (u64, u64)) -> reply::Offender {
    let ago_ms = u128::from(now.saturating_sub(last.at)) * 1000 / u128::from(hz.max(1));
    let (from, direction) = match last.origin {
        Origin::Lan => ("LAN", "outbound"),
        Origin::Wan => ("WAN", "inbound"),
    };
    let common = reply::Offender {
        ago_ms: u64::try_from(ago_ms).unwrap_or(u64::MAX),
        link: links.get(usize::from(last.link)).map(|link| link.name.clone()),
        from: Some(from.into()),
        direction: Some(direction.into()),
        worker: u32::try_from(worker).ok(),
        octets: Some(last.octets.into()),
        ..reply::Offender::default()
    };
    match last.seen {
        Seen::Stub => common,
        Seen::Frame { source, destination, ethertype } => reply::Offender {
            src_mac: Some(mac(source)),
            dst_mac: Some(mac(destination)),
            ethertype: Some(format!("{ethertype:#06x}")),
            ..common
        },
        Seen::Packet { source, destination, protocol, upper } => {
            let (ports, esp) = match upper {
                Upper::Other => (None, None),
                Upper::Ports(src, dst) => (Some((src, dst)), None),
                Upper::Esp { spi, seq } => (None, Some((spi, seq))),
            };
            reply::Offender {
                src: Some(source),
                dst: Some(destination),
                protocol: Some(protocol),
                src_port: ports.map(|(src, _)| src),
                dst_port: ports.map(|(_, dst)| dst),
                spi: esp.map(|(spi, _)| Spi(spi)),
                sequence: esp.map(|(_, seq)| seq),
                ..common
            }
        }
    }
}

fn mac(octets: [u8; 6]) -> String {
    octets.map(|octet| format!("{octet:02x}")).join(":")
}

fn work(runtime: &Runtime, hz: u64) -> Work {
    let cycles = runtime.busy + runtime.idle;
    let stage = |(stage, timed): (&Stage, &getvpn_dataplane::meter::Timed)| StageWork {
        direction: if stage.origin() == Origin::Wan { "inbound" } else { "outbound" }.into(),
        stage: stage.name().into(),
        meaning: stage.meaning().into(),
        packets: timed.packets,
        bursts: timed.bursts,
        cycles: timed.cycles,
        burst_size: ratio(timed.packets, timed.bursts),
        cycles_per_packet: ratio(timed.cycles, timed.packets),
    };
    Work {
        seconds: ratio(cycles, hz).unwrap_or_default(),
        load: ratio(runtime.busy, cycles).unwrap_or_default(),
        busy_cycles: runtime.busy,
        idle_cycles: runtime.idle,
        busy_turns: runtime.busy_turns,
        idle_turns: runtime.idle_turns,
        stalls: runtime.stalls,
        stalled_ms: 1000.0 * ratio(runtime.stalled, hz).unwrap_or_default(),
        packets: runtime.packets,
        bursts: runtime.bursts,
        burst_size: ratio(runtime.packets, runtime.bursts),
        cycles_per_packet: ratio(runtime.busy, runtime.packets),
        stages: Stage::ALL.iter().zip(&runtime.stages).map(stage).collect(),
    }
}

fn ratio(of: u64, to: u64) -> Option<f64> {
    (to > 0).then(|| of as f64 / to as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use getvpn_dataplane::meter::Timed;

    fn links() -> Vec<LinkConfig> {
        vec![LinkConfig { name: "site".into(), lan: "a".into(), wan: "b".into(), mtu: 1500, exception: None }]
    }

    #[test]
    fn esp_is_named_by_spi_and_sequence_number_and_a_stub_by_nothing() {
        let seen = Seen::Packet {
            source: [10, 1, 0, 1].into(),
            destination: [10, 2, 0, 1].into(),
            protocol: 50,
            upper: Upper::Esp { spi: 0x0001_0001, seq: 7 },
        };
        let esp = Offender { at: 1000, link: 0, origin: Origin::Wan, octets: 118, seen };
        let shown = offender(&esp, 2, &links(), (7_000, 2_000));
        assert_eq!((shown.spi, shown.sequence, shown.src_port), (Some(Spi(0x0001_0001)), Some(7), None));
        assert_eq!((shown.link.as_deref(), shown.direction.as_deref()), (Some("site"), Some("inbound")));
        assert_eq!(shown.ago_ms, 3_000);
        let stub = offender(&Offender { seen: Seen::Stub, ..esp }, 0, &links(), (0, 2_000));
        assert_eq!((stub.src, stub.protocol, stub.src_mac, stub.ago_ms), (None, None, None, 0));
    }

    #[test]
    fn figures_a_packet_are_left_out_where_there_was_none() {
        let mut runtime = Runtime { idle: 900, ..Runtime::default() };
        let nothing = work(&runtime, 1000);
        assert_eq!((nothing.cycles_per_packet, nothing.burst_size, nothing.load), (None, None, 0.0));
        runtime.busy = 300;
        (runtime.packets, runtime.bursts) = (6, 2);
        runtime.stages[Stage::Seal as usize] = Timed { cycles: 50, bursts: 1, packets: 5 };
        let some = work(&runtime, 1000);
        assert_eq!((some.seconds, some.load, some.cycles_per_packet), (1.2, 0.25, Some(50.0)));
        let seal = some.stages.iter().find(|stage| stage.stage == "seal").expect("the stage");
        assert_eq!((seal.cycles_per_packet, seal.burst_size), (Some(10.0), Some(5.0)));
        assert_eq!(seal.direction, "outbound");
    }
}
