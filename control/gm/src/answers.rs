//! What the control socket replies: the state of the member in the words of the protocol. Control
//! thread; changes nothing.

use crate::sad::{Entry, Sad};
use crate::unknown::{self, UnknownSpis};
use getvpn_ctl::reply::{
    Counters, Parking, PerWorker, PortCounters, Reason, ReplayDetail, SaDetail, SaList, SaSummary,
    SelectorDetail, SenderDetail, Totals, Traffic, UnknownSpi, UnknownSpis as UnknownSpisReply,
};
use getvpn_ctl::{Fault, FaultCode, Spi};
use getvpn_dataplane::counters::{SaTotals, Tally};
use getvpn_dataplane::{ANY_PORT, LinkConfig, LinkTally, ParkingLimits, ParkingUse, Ports, ReplayPolicy};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The reply to `counters`.
#[must_use]
pub fn counters(
    tallies: &[LinkTally],
    ports: Vec<PortCounters>,
    links: &[LinkConfig],
    per: bool,
) -> Counters {
    let sum: Tally = tallies.iter().map(|each| &each.tally).sum();
    let happened = sum.iter_drops().filter(|&(_, n)| n > 0).map(|(reason, _)| {
        let texts = Reason { meaning: reason.meaning().into(), advice: reason.advice().into() };
        (reason.name().to_owned(), texts)
    });
    let per = per.then(|| {
        let workers = tallies.iter().map(|each| PerWorker {
            link: link_name(links, each.link),
            worker: u32::try_from(each.worker).unwrap_or(u32::MAX),
            counters: totals(&each.tally),
        });
        workers.collect()
    });
    Counters { total: totals(&sum), reasons: happened.collect(), ports, per, ..Counters::default() }
}

fn totals(tally: &Tally) -> Totals {
    Totals {
        rx: tally.rx,
        rx_octets: tally.rx_octets,
        tx: tally.tx,
        tx_octets: tally.tx_octets,
        decrypted: tally.decrypted,
        encrypted: tally.encrypted,
        bypassed: tally.bypassed,
        to_exception: tally.to_exception,
        parked: tally.parked,
        released: tally.released,
        fragments: tally.fragments,
        icmp: tally.icmp,
        from_exception: tally.from_exception,
        punts: tally.punts,
        punts_suppressed: tally.punts_suppressed,
        implausible: tally.implausible,
        punts_lost: tally.punts_lost,
        drops: tally.iter_drops().map(|(reason, n)| (reason.name().to_owned(), n)).collect(),
    }
}

/// What waits for SAs in `workers` workers, beside the limits of each, for the reply to `sync`.
#[must_use]
pub fn parking(used: ParkingUse, limits: &ParkingLimits, workers: usize) -> Parking {
    let workers = workers as u64;
    Parking {
        packets: used.packets,
        octets: used.octets,
        most_packets: used.most_packets,
        most_octets: used.most_octets,
        max_packets: u64::from(limits.packets) * workers,
        max_octets: limits.octets * workers,
        max_age_ms: u64::try_from(limits.age.as_millis()).unwrap_or(u64::MAX),
    }
}

/// The reply to `sa list`.
#[must_use]
pub fn sa_list(sad: &Sad, now: Instant) -> SaList {
    SaList { sas: sad.entries().iter().map(|entry| summary(sad, entry, now)).collect() }
}

/// The reply to `sa show`. `limit` tells how far a worker's counters are reserved.
///
/// # Errors
/// When there is no such SA.
pub fn sa_show(
    sad: &Sad,
    spi: Spi,
    limit: impl Fn(usize) -> Option<u64>,
    now: Instant,
) -> Result<SaDetail, Fault> {
    let entry = sad.find(spi.0).ok_or_else(|| no_sa(spi))?;
    let sa = &entry.sa;
    let replay = match sa.replay_policy() {
        ReplayPolicy::None => ReplayDetail { mode: "none".into(), window: None, senders: None },
        ReplayPolicy::Counter { window } => {
            ReplayDetail { mode: "counter".into(), window: Some(window), senders: None }
        }
        ReplayPolicy::Sender { window, max_senders } => {
            ReplayDetail { mode: "sender".into(), window: Some(window), senders: Some(max_senders) }
        }
    };
    let senders = sa.senders().filter(|_| sa.direction().sends()).zip(0..);
    Ok(SaDetail {
        summary: summary(sad, entry, now),
        age_s: now.saturating_duration_since(entry.installed).as_secs(),
        mode: sa.mode().to_string(),
        replay,
        sid_bits: entry.sid_bits,
        senders: senders
            .map(|(sender, worker)| SenderDetail {
                sid: sender.sid(),
                worker,
                next: sender.next_counter(),
                reserved: limit(worker as usize).unwrap_or_else(|| sender.next_counter()),
            })
            .collect(),
        selectors: sa.selectors().iter().map(selector).collect(),
        inbound: traffic(sa.opened()),
        outbound: traffic(sa.sealed()),
    })
}

/// What is said when there is no SA.
#[must_use]
pub fn no_sa(spi: Spi) -> Fault {
    Fault::new(FaultCode::NotFound, format!("there is no SA {spi}"))
}

fn summary(sad: &Sad, entry: &Entry, now: Instant) -> SaSummary {
    let sa = &entry.sa;
    let (opened, sealed) = (sa.opened(), sa.sealed());
    SaSummary {
        spi: Spi(sa.spi()),
        group: sad.group_name(sa).into(),
        transform: sa.transform().name().into(),
        direction: sa.direction().to_string(),
        state: entry.state.name().into(),
        source: entry.source.to_string(),
        lifetime_left_s: entry.lifetime_left(now).map(|left| left.as_secs()),
        packets: opened.packets + sealed.packets,
        bytes: opened.octets + sealed.octets,
        errors: opened.errors + sealed.errors,
    }
}

fn traffic(totals: SaTotals) -> Traffic {
    Traffic { packets: totals.packets, bytes: totals.octets, errors: totals.errors }
}

pub(crate) fn selector(selector: &getvpn_dataplane::Selector) -> SelectorDetail {
    let ports = |(low, high): Ports| match (low, high) {
        ANY_PORT => None,
        _ if low == high => Some(low.to_string()),
        _ => Some(format!("{low}-{high}")),
    };
    SelectorDetail {
        src: selector.src.to_string(),
        dst: selector.dst.to_string(),
        protocol: selector.protocol,
        src_port: ports(selector.src_port),
        dst_port: ports(selector.dst_port),
    }
}

/// The reply to `unknown-spi`; `asked` is how asking for some of them stands.
#[must_use]
pub fn unknown_spis(
    table: &UnknownSpis,
    asked: &HashMap<u32, String>,
    links: &[LinkConfig],
    lost: u64,
    now: Instant,
) -> UnknownSpisReply {
    let ms = |since: Duration| u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let spis = table.iter().map(|(spi, entry)| UnknownSpi {
        spi: Spi(spi),
        link: link_name(links, entry.link.into()),
        count: entry.count,
        first_seen_ms: ms(now.saturating_duration_since(entry.first)),
        last_seen_ms: ms(now.saturating_duration_since(entry.last)),
        senders: entry.senders.clone(),
        more_senders: entry.more_senders,
        destination: entry.destination,
        asked: asked.get(&spi).cloned(),
    });
    UnknownSpisReply {
        spis: spis.collect(),
        capacity: unknown::CAPACITY as u64,
        evicted: table.evicted(),
        lost,
    }
}

fn link_name(links: &[LinkConfig], link: usize) -> String {
    links.get(link).map(|link| link.name.clone()).unwrap_or_default()
}
