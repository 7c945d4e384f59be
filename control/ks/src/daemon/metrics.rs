//! What a key server shows to Prometheus: gathered by the authority's thread in one go, and made into a page by
//! the thread that serves it. Changes nothing.
//!
//! What is counted comes from the tables, so that nothing can be missing here. Labels are what the configuration
//! names, and states and reasons; members are counted and have no series, because there may be 100,000.

use super::answers;
use super::shard::Shows;
use crate::config::{Bounds, Server};
use crate::core::{Authority, Count, Fate, Group, ServerTime, SlotId};
use getvpn_gdoi::member::histogram::Histogram;
use getvpn_gdoi::server::ServerCounters;
use getvpn_metrics::Page;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// All that is shown, at one moment.
#[derive(Debug)]
pub(super) struct Figures {
    uptime: Duration,
    counters: Vec<(Count, u64)>,
    endpoints: ServerCounters,
    /// Half-open and established phase 1s.
    phase1s: (usize, usize),
    bounds: Bounds,
    certificate_expires: Option<u64>,
    /// Batches that wait for the store.
    batches: usize,
    groups: Vec<GroupFigures>,
}

/// A group.
#[derive(Debug)]
struct GroupFigures {
    name: String,
    state: &'static str,
    /// Members by state.
    members: BTreeMap<&'static str, u64>,
    removed: usize,
    unacknowledged: (usize, Duration),
    acknowledged_after: Histogram,
    /// SAs that members send with, and those that have been replaced.
    sas: (usize, usize),
    rekey_sas: usize,
    kek_left: Duration,
    sa_left: Duration,
    next_rekey: Duration,
    sender_ids_left: u32,
    version: u64,
}

impl Figures {
    /// Gathers them.
    pub(super) fn gather(
        authority: &Authority,
        shows: &Shows,
        server: &Server,
        batches: usize,
        started: Instant,
    ) -> Self {
        let now = Instant::now();
        let time = authority.time(now);
        let (endpoints, phase1s) = answers::summed(shows);
        Self {
            uptime: now.saturating_duration_since(started),
            counters: Count::ALL.iter().map(|&count| (count, authority.counters().get(count))).collect(),
            endpoints,
            phase1s,
            bounds: server.bounds,
            certificate_expires: server.certificate.as_ref().map(|certificate| certificate.expires()),
            batches,
            groups: authority.groups().map(|group| GroupFigures::of(group, time)).collect(),
        }
    }
}

impl GroupFigures {
    fn of(group: &Group, time: ServerTime) -> Self {
        let mut members: BTreeMap<_, u64> = answers::MEMBER_STATES.map(|state| (state, 0)).into();
        for member in group.members().iter() {
            *members.entry(answers::member_state(member, group.awaits(member.id))).or_default() += 1;
        }
        // What protects some traffic ends with the newest SA for it; the first such end is the group's.
        let mut newest: BTreeMap<SlotId, ServerTime> = BTreeMap::new();
        for tek in group.teks() {
            let ends = newest.entry(tek.slot).or_insert(tek.ends);
            *ends = tek.ends.max(*ends);
        }
        let replaced = group.teks().filter(|tek| tek.replaced).count();
        let kek = group.keks().last().filter(|entry| entry.fate == Fate::Open);
        Self {
            name: group.settings().name.clone(),
            state: answers::state(group),
            members,
            removed: group.barred().len(),
            unacknowledged: group.unacknowledged(time),
            acknowledged_after: group.acknowledged_after().clone(),
            sas: (group.teks().count() - replaced, replaced),
            rekey_sas: group.keks().len(),
            kek_left: kek.map_or(Duration::ZERO, |entry| entry.ends.since(time)),
            sa_left: newest.values().min().map_or(Duration::ZERO, |ends| ends.since(time)),
            next_rekey: group.next_renewal().since(time),
            sender_ids_left: group.sids().left(),
            version: group.version(),
        }
    }
}

/// Counters that are one metric with a label, by how their names begin.
const FAMILIES: [(&str, &str, &str, &str); 3] = [
    ("refused-", "registrations_refused", "reason", "Registrations refused."),
    (
        "invalid-spi-",
        "invalid_spi_by_outcome",
        "outcome",
        "INVALID-SPI notifications by what became of them.",
    ),
    ("ack-", "acknowledgements_refused", "reason", "Acknowledgements that changed nothing."),
];

/// Makes the page.
pub(super) fn page(figures: &Figures) -> Page {
    let mut page = Page::new("getvpn_ks");
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.gauge("build_info", "always 1; the version stands in the label").count(&version, 1);
    page.gauge("uptime_seconds", "since the key server's start").number(&[], figures.uptime.as_secs_f64());
    if let Some(expires) = figures.certificate_expires {
        let help = "when the key server's certificate ends, or one that it is sent with";
        page.gauge("certificate_expiry_timestamp_seconds", help).count(&[], expires);
    }
    for &(count, n) in &figures.counters {
        let name = count.name();
        let family = FAMILIES.iter().find_map(|family| Some((family, name.strip_prefix(family.0)?)));
        match family {
            Some((&(_, metric, label, help), value)) => {
                page.counter(metric, help).count(&[(label, &underscored(value))], n);
            }
            None => {
                page.counter(&underscored(name), count.meaning()).count(&[], n);
            }
        }
    }
    for (name, meaning, n) in figures.endpoints.iter() {
        page.counter(&underscored(name), meaning).count(&[], n);
    }
    for (why, n) in figures.endpoints.refused() {
        let help = "messages and phase 1s that were refused and changed nothing";
        page.counter("refused_messages", help).count(&[("reason", &underscored(why.name()))], n);
    }
    bounds(&mut page, figures);
    let help = "changes that wait for the store";
    page.gauge("store_batches_waiting", help).count(&[], figures.batches as u64);
    figures.groups.iter().for_each(|each| group(&mut page, each));
    page
}

fn underscored(name: &str) -> String {
    name.replace('-', "_")
}

/// What others can make grow, beside how far it may.
fn bounds(page: &mut Page, figures: &Figures) {
    let (half_open, established) = figures.phase1s;
    page.gauge("phase1s_half_open", "phase 1s that are being set up").count(&[], half_open as u64);
    page.gauge("phase1s", "phase 1s that are established").count(&[], established as u64);
    let Bounds {
        half_open,
        phase1s,
        members,
        registrations_per_s,
        member_invalid_spi_per_s,
        invalid_spi_per_s,
    } = figures.bounds;
    for (bound, limit) in [
        ("half_open", half_open),
        ("phase1s", phase1s),
        ("members", members),
        ("registrations_per_second", registrations_per_s),
        ("member_invalid_spi_per_second", member_invalid_spi_per_s),
        ("invalid_spi_per_second", invalid_spi_per_s),
    ] {
        page.gauge("bound", "what [server] bounds allows").count(&[("bound", bound)], limit.into());
    }
}

fn group(page: &mut Page, figures: &GroupFigures) {
    let name = figures.name.as_str();
    let group = [("group", name)];
    for state in answers::GROUP_STATES {
        let labels = [("group", name), ("state", state)];
        page.gauge("group_state", "1 at the state that the group is in")
            .truth(&labels, state == figures.state);
    }
    for (state, n) in &figures.members {
        let labels = [("group", name), ("state", *state)];
        page.gauge("members", "members of the group").count(&labels, *n);
    }
    let help = "members that the operator has removed and that may not register";
    page.gauge("removed_members", help).count(&group, figures.removed as u64);
    let (waiting, lag) = figures.unacknowledged;
    let help = "members that have been sent a rekey and have not acknowledged it yet";
    page.gauge("unacknowledged_members", help).count(&group, waiting as u64);
    let help = "for how long the first of those members has not acknowledged; 0 without one";
    page.gauge("acknowledgement_lag_seconds", help).number(&group, lag.as_secs_f64());
    let times = &figures.acknowledged_after;
    let buckets = times.between().map(|(bound, n)| (bound.map_or(f64::INFINITY, |b| b.as_secs_f64()), n));
    let help = "from the first time that a rekey was sent to a member to its acknowledgement";
    page.histogram("acknowledgement_seconds", help).histogram(
        &group,
        times.sum().as_secs_f64(),
        buckets.collect(),
    );
    let (current, replaced) = figures.sas;
    for (state, n) in [("active", current), ("replaced", replaced)] {
        let labels = [("group", name), ("state", state)];
        page.gauge("sas", "live Data-Security SAs").count(&labels, n as u64);
    }
    page.gauge("rekey_sas", "live Rekey SAs").count(&group, figures.rekey_sas as u64);
    let seconds = |page: &mut Page, name: &str, help: &str, left: Duration| {
        page.gauge(name, help).number(&group, left.as_secs_f64());
    };
    let help = "how long the Rekey SA that members are told of lives on; 0 without one";
    seconds(page, "kek_lifetime_left_seconds", help, figures.kek_left);
    let help = "how long all that the group protects has an SA without a further rekey";
    seconds(page, "sa_lifetime_left_seconds", help, figures.sa_left);
    seconds(page, "next_rekey_seconds", "until the next scheduled rekey", figures.next_rekey);
    let help = "sender IDs that have not been handed out";
    page.gauge("sender_ids_left", help).count(&group, figures.sender_ids_left.into());
    let help = "changes of what members are told";
    page.counter("policy_changes", help).count(&group, figures.version);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_counted_is_shown_under_a_name_of_its_own() {
        let counters: Vec<_> = Count::ALL.iter().enumerate().map(|(i, &count)| (count, i as u64)).collect();
        let figures = Figures {
            uptime: Duration::from_millis(1_500),
            counters: counters.clone(),
            endpoints: ServerCounters::default(),
            phase1s: (1, 2),
            bounds: Bounds::default(),
            certificate_expires: Some(1_900_000_000),
            batches: 0,
            groups: Vec::new(),
        };
        let page = page(&figures);
        let names: Vec<String> = page.names().collect();
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len(), "{names:?}");
        let text = page.into_text();
        for (count, n) in counters {
            let shown = |line: &&str| line.contains("_total") && line.ends_with(&format!(" {n}"));
            assert!(text.lines().any(|line| shown(&line)), "{count:?}");
        }
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines.contains(&"getvpn_ks_registrations_refused_total{reason=\"unknown_peer\"} 2"),
            "{text}"
        );
        assert!(lines.contains(&"getvpn_ks_certificate_expiry_timestamp_seconds 1900000000"));
    }
}
