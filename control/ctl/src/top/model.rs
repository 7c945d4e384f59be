//! What `getvpnctl top` knows: the last two samples, and how each rate went over the last minutes. Does no
//! I/O and reads no clock.

use std::collections::{BTreeMap, VecDeque};

use super::sample::Sample;

/// Rates that are kept of each series, one a second.
const KEPT: usize = 240;

/// What the view shows.
#[derive(Debug, Default)]
pub struct Model {
    last: Option<Sample>,
    before: Option<Sample>,
    series: BTreeMap<Series, VecDeque<f64>>,
    /// Why the last sample could not be had.
    pub fault: Option<String>,
}

/// A rate that is followed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Series {
    /// A counter by name, a second: at a member of `counters`, at a key server of `key_server`, too.
    Counter(&'static str),
    /// Packets a second of a port: link, side, and whether they are received.
    Packets(String, String, bool),
    /// Octets a second, likewise.
    Octets(String, String, bool),
    /// Load of a worker, in percent.
    Load(u32),
    /// Packets dropped or messages refused a second, by reason.
    Drop(String),
    /// Packets a second of an SA.
    SaPackets(u32),
    /// Octets a second of an SA.
    SaOctets(u32),
}

impl Model {
    /// Takes what a daemon answered, or why it did not.
    pub fn take(&mut self, sample: Result<Sample, String>) {
        let sample = match sample {
            Ok(sample) => sample,
            Err(fault) => return self.fault = Some(fault),
        };
        self.fault = None;
        // A daemon that was restarted begins at nothing.
        let same = |last: &Sample| last.status.pid == sample.status.pid;
        self.before = self.last.take().filter(same);
        if self.before.is_none() {
            self.series.clear();
        }
        if let Some(before) = &self.before {
            let seconds = sample.at.saturating_duration_since(before.at).as_secs_f64();
            for (series, rate) in rates(before, &sample, seconds) {
                let kept = self.series.entry(series).or_default();
                kept.push_back(rate);
                if kept.len() > KEPT {
                    kept.pop_front();
                }
            }
            let known: Vec<_> = sample.sas.sas.iter().map(|sa| sa.spi.0).collect();
            self.series.retain(|series, _| match series {
                Series::SaPackets(spi) | Series::SaOctets(spi) => known.contains(spi),
                _ => true,
            });
        }
        self.last = Some(sample);
    }

    /// The last sample.
    pub fn sample(&self) -> Option<&Sample> {
        self.last.as_ref()
    }

    /// What a series came to last; `None` until there are two samples.
    pub fn rate(&self, series: &Series) -> Option<f64> {
        self.series.get(series).and_then(|kept| kept.back()).copied()
    }

    /// The last `n` of a series, the oldest first.
    pub fn trail(&self, series: &Series, n: usize) -> Vec<f64> {
        let kept = self.series.get(series).map(|kept| kept.iter().copied()).into_iter().flatten();
        let kept: Vec<_> = kept.collect();
        kept[kept.len().saturating_sub(n)..].to_vec()
    }
}

/// All rates between two samples.
fn rates(before: &Sample, now: &Sample, seconds: f64) -> Vec<(Series, f64)> {
    let per_s = |late: u64, early: u64| {
        // Smaller than before: it was reset in between.
        let more = late.checked_sub(early).unwrap_or(late);
        if seconds > 0.0 { more as f64 / seconds } else { 0.0 }
    };
    let (late, early) = (&now.counters.total, &before.counters.total);
    let mut rates = vec![
        (Series::Counter("rx"), per_s(late.rx, early.rx)),
        (Series::Counter("tx"), per_s(late.tx, early.tx)),
        (Series::Counter("encrypted"), per_s(late.encrypted, early.encrypted)),
        (Series::Counter("decrypted"), per_s(late.decrypted, early.decrypted)),
        (Series::Counter("bypassed"), per_s(late.bypassed, early.bypassed)),
        (Series::Counter("dropped"), per_s(late.drops.values().sum(), early.drops.values().sum())),
    ];
    for name in KEY_SERVER {
        let count = |sample: &Sample| sample.counters.key_server.get(*name).copied().unwrap_or_default();
        rates.push((Series::Counter(name), per_s(count(now), count(before))));
    }
    for port in &now.counters.ports {
        let same =
            |other: &&getvpn_ctl::reply::PortCounters| other.link == port.link && other.side == port.side;
        let Some(earlier) = before.counters.ports.iter().find(same) else { continue };
        for (received, packets, octets) in [
            (true, (port.rx, earlier.rx), (port.rx_octets, earlier.rx_octets)),
            (false, (port.tx, earlier.tx), (port.tx_octets, earlier.tx_octets)),
        ] {
            let (link, side) = (port.link.clone(), port.side.clone());
            rates.push((Series::Packets(link.clone(), side.clone(), received), per_s(packets.0, packets.1)));
            rates.push((Series::Octets(link, side, received), per_s(octets.0, octets.1)));
        }
    }
    for (worker, earlier) in now.runtime.workers.iter().zip(&before.runtime.workers) {
        let busy = worker.total.busy_cycles.saturating_sub(earlier.total.busy_cycles) as f64;
        let idle = worker.total.idle_cycles.saturating_sub(earlier.total.idle_cycles) as f64;
        let load = if busy + idle > 0.0 { 100.0 * busy / (busy + idle) } else { 0.0 };
        rates.push((Series::Load(worker.worker), load));
    }
    for drop in &now.drops.drops {
        let earlier = before.drops.drops.iter().find(|other| other.reason == drop.reason);
        let rate = per_s(drop.count, earlier.map_or(0, |other| other.count));
        rates.push((Series::Drop(drop.reason.clone()), rate));
    }
    for sa in &now.sas.sas {
        let Some(earlier) = before.sas.sas.iter().find(|other| other.spi == sa.spi) else { continue };
        rates.push((Series::SaPackets(sa.spi.0), per_s(sa.packets, earlier.packets)));
        rates.push((Series::SaOctets(sa.spi.0), per_s(sa.bytes, earlier.bytes)));
    }
    rates
}

/// What is followed of a key server, as `counters` names it.
pub const KEY_SERVER: &[&str] = &[
    "registrations",
    "pulls-requested",
    "rekeys",
    "pushes-sent",
    "acknowledgements",
    "missed-rekeys",
    "invalid-spi",
];
