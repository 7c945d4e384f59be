//! What a member knows besides its data plane: its groups, its SAs, the unknown SPIs. Control thread;
//! time is passed in.

use crate::answers;
use crate::config::{Config, GroupConfig};
use crate::key_servers::KeyServers;
use crate::manual;
use crate::sad::Sad;
use crate::unknown::UnknownSpis;
use dpdk::Port;
use getvpn_ctl::Spi;
use getvpn_ctl::reply::{self, GroupStatus, LinkStatus, PortCounters, Status};
use getvpn_dataplane::punt::Punt;
use getvpn_dataplane::{Dataplane, LinkConfig};
use std::time::Instant;
use tracing::{debug, info};

/// A member's state.
#[derive(Debug)]
pub struct Member {
    started: Instant,
    workers: usize,
    links: Vec<LinkConfig>,
    groups: Vec<KnownGroup>,
    sad: Sad,
    unknown: UnknownSpis,
}

#[derive(Debug)]
struct KnownGroup {
    name: String,
    id: Option<u32>,
}

impl Member {
    /// A member without SAs.
    #[must_use]
    pub fn new(config: &Config, groups: &[GroupConfig], now: Instant) -> Self {
        let known = groups.iter().map(|group| KnownGroup { name: group.name.clone(), id: group.id });
        Self {
            started: now,
            workers: config.workers.cores.len(),
            links: config.links.clone(),
            groups: known.collect(),
            sad: manual::sad(config.local.clone(), groups),
            unknown: UnknownSpis::default(),
        }
    }

    /// Its SAs.
    #[must_use]
    pub fn sad(&self) -> &Sad {
        &self.sad
    }

    /// Its SAs, to change them; the data plane knows of it once the policy state is published.
    pub fn sad_mut(&mut self) -> &mut Sad {
        &mut self.sad
    }

    /// Its links.
    #[must_use]
    pub fn links(&self) -> &[LinkConfig] {
        &self.links
    }

    /// Takes note of unknown SPIs and tells the groups whose they may be. An SPI that has an SA by now is
    /// not unknown.
    pub fn record_punts(
        &mut self,
        punts: impl Iterator<Item = Punt>,
        key_servers: &mut KeyServers,
        now: Instant,
    ) {
        for punt in punts {
            if self.sad.contains(punt.spi) {
                continue;
            }
            key_servers.unknown_spi(now, punt.spi, punt.count, [punt.source, punt.destination]);
            if self.unknown.record(&punt, now) {
                let (spi, source) = (Spi(punt.spi), punt.source);
                debug!(event = "unknown_spi", %spi, %source, "packets with unknown SPI {spi} from {source}");
            }
        }
    }

    /// Forgets unknown SPIs that have an SA now.
    pub fn forget_known(&mut self) {
        for entry in self.sad.entries() {
            self.unknown.forget(entry.sa.spi());
        }
    }

    /// Takes out SAs whose life has ended, and returns their SPIs.
    pub fn expire(&mut self, now: Instant) -> Vec<u32> {
        if self.sad.next_expiry().is_none_or(|at| now < at) {
            return Vec::new();
        }
        let expired = self.sad.expire(now);
        for entry in &expired {
            let spi = Spi(entry.sa.spi());
            let group = self.sad.group_name(&entry.sa);
            info!(event = "sa_expired", %spi, group, "SA {spi} of group {group} has expired");
        }
        expired.iter().map(|entry| entry.sa.spi()).collect()
    }

    /// The reply to `status`.
    #[must_use]
    pub fn status(&self, plane: &Dataplane, key_servers: &KeyServers, now: Instant) -> Status {
        let up = |device| plane.port(device).is_some_and(Port::link_up);
        let links = self.links.iter().map(|link| LinkStatus {
            name: link.name.clone(),
            lan: link.lan.clone(),
            wan: link.wan.clone(),
            mtu: link.mtu,
            lan_up: up(&link.lan),
            wan_up: up(&link.wan),
        });
        let groups = self.groups.iter().enumerate().map(|(i, group)| {
            let (sas, standing) = (self.sad.count(i), key_servers.standing(i, now));
            let manual = if sas == 0 { "no-sa" } else { "manual" };
            GroupStatus {
                name: group.name.clone(),
                id: group.id,
                state: standing.as_ref().map_or(manual, |standing| standing.state).into(),
                key_server: standing.as_ref().map(|standing| standing.key_server.clone()),
                kek: standing.as_ref().and_then(|standing| standing.kek.clone()),
                failed: standing.and_then(|standing| standing.failed),
                sas: sas as u64,
            }
        });
        Status {
            role: "gm".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_s: now.saturating_duration_since(self.started).as_secs(),
            workers: u32::try_from(self.workers).unwrap_or(u32::MAX),
            links: links.collect(),
            groups: groups.collect(),
            clock_step: None,
        }
    }

    /// What the devices say that they lost.
    #[must_use]
    pub fn ports(&self, plane: &Dataplane) -> Vec<PortCounters> {
        let sides = self.links.iter().flat_map(|link| {
            let own = link.exception.as_ref().map(|own| (link, "exception", &own.device));
            [(link, "LAN", &link.lan), (link, "WAN", &link.wan)].into_iter().chain(own)
        });
        sides
            .filter_map(|(link, side, device)| {
                let stats = plane.port(device)?.stats().unwrap_or_default();
                Some(PortCounters {
                    link: link.name.clone(),
                    side: side.into(),
                    device: device.clone(),
                    rx_missed: stats.rx_missed,
                    rx_errors: stats.rx_errors,
                    rx_no_buffer: stats.rx_no_buffer,
                    tx_errors: stats.tx_errors,
                    rx: stats.rx_packets,
                    rx_octets: stats.rx_octets,
                    tx: stats.tx_packets,
                    tx_octets: stats.tx_octets,
                })
            })
            .collect()
    }

    /// How many unknown SPIs are remembered, and how many were forgotten for want of room.
    #[must_use]
    pub fn unknown_figures(&self) -> (usize, u64) {
        (self.unknown.iter().count(), self.unknown.evicted())
    }

    /// The reply to `unknown-spi`; `lost` is how many punts the workers could not send.
    #[must_use]
    pub fn unknown_spis(&self, key_servers: &KeyServers, lost: u64, now: Instant) -> reply::UnknownSpis {
        answers::unknown_spis(&self.unknown, &key_servers.asked(now), &self.links, lost, now)
    }
}
