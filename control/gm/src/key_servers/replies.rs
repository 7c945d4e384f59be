//! How the groups stand with their key servers, for the control socket. Control thread; changes nothing.

use super::tell::{cause_name, end_name};
use super::{Group, KeyServers};
use getvpn_ctl::Spi;
use getvpn_ctl::reply::{AskedIn, AskedSpi, GroupSync, Kek, LastRegistration, Recovery, Suppressed, Sync};
use getvpn_gdoi::ike::Credentials;
use getvpn_gdoi::member::recovery::{Asking, Ended, RecoveryStatistics};
use getvpn_gdoi::member::{KekStatus, MemberCounters, MemberState, MemberStatus};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// What `status` says of a group that has key servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// As in `sync`.
    pub state: &'static str,
    /// The key server that it is, or wants to be, registered with.
    pub key_server: String,
    /// The Rekey SA.
    pub kek: Option<Kek>,
    /// Why the last registration failed, unless one has succeeded since.
    pub failed: Option<LastRegistration>,
}

/// What metrics show of a group that has key servers.
#[derive(Clone, Debug)]
pub struct GroupFigures {
    /// Its name.
    pub name: String,
    /// How it stands; not known while this machine has no way to a key server.
    pub status: Option<MemberStatus>,
    /// How long its Rekey SA lives on.
    pub kek_left: Option<Duration>,
    /// Since the last registration.
    pub registered_ago: Option<Duration>,
    /// When the certificate that it registers with ends, in seconds since 1970.
    pub certificate_expires: Option<u64>,
}

impl KeyServers {
    /// What metrics show.
    #[must_use]
    pub fn figures(&self, now: Instant) -> Vec<GroupFigures> {
        let of = |group: &Group| {
            let status = group.member.as_ref().map(|member| member.status(now));
            let kek = status.as_ref().and_then(|status| status.kek);
            let registered = status.as_ref().and_then(|status| status.registered);
            GroupFigures {
                name: group.name.clone(),
                kek_left: kek.map(|kek| kek.expires.saturating_duration_since(now)),
                registered_ago: registered.map(|(at, _)| now.saturating_duration_since(at)),
                certificate_expires: match &group.registration.credentials {
                    Credentials::Certificate(certificate) => Some(certificate.expires()),
                    Credentials::Psk(_) => None,
                },
                status,
            }
        };
        self.groups.iter().map(of).collect()
    }

    /// The reply to `sync`, without what the data plane has to say.
    #[must_use]
    pub fn sync(&self, now: Instant) -> Sync {
        Sync { groups: self.groups.iter().map(|group| group.sync(now)).collect(), ..Sync::default() }
    }

    /// How a group stands, if it has key servers.
    #[must_use]
    pub fn standing(&self, index: usize, now: Instant) -> Option<Standing> {
        let group = self.groups.iter().find(|group| group.maker.group == index)?;
        let status = group.member.as_ref().map(|member| member.status(now));
        Some(Standing {
            state: group.state(status.as_ref()),
            key_server: group.key_server(status.as_ref()),
            kek: status.as_ref().and_then(|status| status.kek).map(|status| kek(&status, now)),
            failed: status.as_ref().and_then(|status| still_failed(status, now)),
        })
    }

    /// How asking for one SPI goes, or went last, in each group that asked.
    #[must_use]
    pub fn asked_for(&self, spi: Spi, now: Instant) -> Vec<AskedIn> {
        let of = |group: &Group| {
            let status = group.member.as_ref()?.status(now);
            let ended = status.asked.iter().rev().map(|each| ended(each, now));
            let mut all = status.asking.iter().map(|each| asking(each, now)).chain(ended);
            let asked = all.find(|asked| asked.spi == spi)?;
            Some(AskedIn { group: group.name.clone(), asked })
        };
        self.groups.iter().filter_map(of).collect()
    }

    /// How the unknown SPIs that were asked for stand.
    #[must_use]
    pub fn asked(&self, now: Instant) -> HashMap<u32, String> {
        let mut asked = HashMap::new();
        for group in &self.groups {
            let Some(status) = group.member.as_ref().map(|member| member.status(now)) else { continue };
            let all = status
                .asked
                .iter()
                .map(|each| ended(each, now))
                .chain(status.asking.iter().map(|a| asking(a, now)));
            for AskedSpi { spi, tries, outcome, .. } in all {
                asked.insert(spi.0, format!("{outcome}, {tries} times asked for in {}", group.name));
            }
        }
        asked
    }
}

impl Group {
    fn state(&self, status: Option<&MemberStatus>) -> &'static str {
        match status {
            Some(status) => status.state.name(),
            None if self.no_route_told => "no-route",
            // It is about to.
            None => MemberState::Registering.name(),
        }
    }

    fn key_server(&self, status: Option<&MemberStatus>) -> String {
        let first = self.registration.key_servers.first().map(|server| server.address);
        let address = status.map(|status| status.key_server).or(first);
        address.map(|address| address.to_string()).unwrap_or_default()
    }

    fn sync(&self, now: Instant) -> GroupSync {
        let status = self.member.as_ref().map(|member| member.status(now));
        let key_server = self.key_server(status.as_ref());
        let (name, id) = (self.name.clone(), self.id);
        let Some(status) = status else {
            return GroupSync {
                name,
                id,
                state: self.state(None).into(),
                key_server,
                phase1: false,
                registered: None,
                failed: None,
                retry_in_ms: Some(ms(self.retry_at.saturating_duration_since(now))),
                kek: None,
                asking: Vec::new(),
                asked: Vec::new(),
                pending: 0,
                remembered: 0,
                recovery: Recovery::default(),
                counters: BTreeMap::new(),
            };
        };
        let ago = |at: Instant| now.saturating_duration_since(at).as_secs();
        let registered = status.registered.map(|(at, why)| (at, why.to_string()));
        let failed = status.last_failure.map(|(at, key_server, why)| (at, format!("{key_server}: {why}")));
        let last = |(at, why): (Instant, String)| LastRegistration { ago_s: ago(at), why };
        GroupSync {
            name,
            id,
            state: status.state.name().into(),
            key_server,
            phase1: status.phase1,
            registered: registered.map(last),
            failed: failed.map(last),
            retry_in_ms: status.backs_off_until.map(|at| ms(at.saturating_duration_since(now))),
            kek: status.kek.map(|status| kek(&status, now)),
            asking: status.asking.iter().map(|a| asking(a, now)).collect(),
            asked: status.asked.iter().map(|each| ended(each, now)).collect(),
            pending: status.pending as u64,
            remembered: status.remembered as u64,
            recovery: recovery(&status.recovery),
            counters: counters(&status.counters),
        }
    }
}

/// The last registration, if it failed.
fn still_failed(status: &MemberStatus, now: Instant) -> Option<LastRegistration> {
    let (at, key_server, why) = status.last_failure.as_ref()?;
    let over = status.registered.is_some_and(|(registered, _)| registered >= *at);
    let ago_s = now.saturating_duration_since(*at).as_secs();
    (!over).then(|| LastRegistration { ago_s, why: format!("{key_server}: {why}") })
}

fn kek(status: &KekStatus, now: Instant) -> Kek {
    Kek {
        spi: status.spi.to_string(),
        sequence: status.sequence,
        lifetime_left_s: status.expires.saturating_duration_since(now).as_secs(),
    }
}

fn asking(asking: &Asking, now: Instant) -> AskedSpi {
    AskedSpi {
        spi: Spi(asking.spi.0),
        why: cause_name(asking.cause).into(),
        tries: asking.tries,
        missing_ms: precise_ms(now.saturating_duration_since(asking.since)),
        ago_s: now.saturating_duration_since(asking.since).as_secs(),
        outcome: if asking.awaits_registration { "registering" } else { "asking" }.into(),
    }
}

fn ended(ended: &Ended, now: Instant) -> AskedSpi {
    AskedSpi {
        spi: Spi(ended.spi.0),
        why: cause_name(ended.cause).into(),
        tries: ended.tries,
        missing_ms: precise_ms(ended.after),
        ago_s: now.saturating_duration_since(ended.since).as_secs(),
        outcome: end_name(ended.end).into(),
    }
}

fn recovery(statistics: &RecoveryStatistics) -> Recovery {
    let times = &statistics.times;
    Recovery {
        recovered: statistics.recovered,
        unknown: statistics.unknown,
        refused: statistics.refused,
        abandoned: statistics.abandoned,
        invalid_spi_sent: statistics.asked,
        registrations: statistics.registrations,
        p50_ms: times.percentile(50).map(precise_ms),
        p99_ms: times.percentile(99).map(precise_ms),
        max_ms: (times.count() > 0).then(|| precise_ms(times.max())),
        suppressed: Suppressed {
            already_asked: statistics.already_asked,
            remembered: statistics.remembered,
            no_budget: statistics.no_budget,
        },
    }
}

fn counters(counters: &MemberCounters) -> BTreeMap<String, u64> {
    counters.iter().map(|(name, _, n)| (name.to_owned(), n)).collect()
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn precise_ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
