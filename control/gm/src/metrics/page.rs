//! The page of a member's metrics, family by family. What the data plane and the protocol count comes from their
//! tables, so that nothing that is counted can be missing here. No I/O; on the endpoint's thread.
//!
//! Labels are what the configuration names: links, sides, workers, groups, key servers; and reasons and states, of
//! which there are as many as the tables have. Only an SPI is not, so no more than [`SA_SERIES`] SAs have series.

use super::{Figures, SaFigures};
use crate::key_servers::GroupFigures;
use getvpn_ctl::Spi;
use getvpn_ctl::reply::{PortCounters, Status};
use getvpn_dataplane::counters::{Kind, Tally};
use getvpn_dataplane::meter::{Runtime, Stage, Timed};
use getvpn_dataplane::{DropReason, LinkTally, Origin};
use getvpn_gdoi::member::histogram::Histogram;
use getvpn_gdoi::member::recovery::RecoveryStatistics;
use getvpn_gdoi::member::sad::SaState;
use getvpn_gdoi::member::{MemberState, MemberStatus};
use getvpn_metrics::Page;
use std::time::Duration;

/// SAs that have series of their own; of more, the first ones have.
const SA_SERIES: usize = 256;

/// States of a group that has no key servers, or no way to them yet; those of the others are the protocol's.
const OTHER_STATES: [&str; 3] = ["manual", "no-sa", "no-route"];

/// Makes the page.
#[must_use]
pub fn page(figures: &Figures) -> Page {
    let mut page = Page::new("getvpn_gm");
    let Figures { status, tallies, ports, runtime, hz, buffers, parking, unknown, sas, groups } = figures;
    let (free, all) = *buffers;
    process(&mut page, status);
    traffic(&mut page, status, tallies);
    devices(&mut page, status, ports);
    for (worker, runtime) in runtime.iter().enumerate() {
        time(&mut page, &worker.to_string(), runtime, *hz);
    }
    page.gauge("buffers_free", "packet buffers that hold no frame").count(&[], free.into());
    page.gauge("buffers", "packet buffers, as configured").count(&[], all.into());
    let now = "packets that wait for the SA with their SPI";
    page.gauge("parking_packets", now).count(&[], parking.packets);
    page.gauge("parking_bytes", "octets of the packets that wait for an SA").count(&[], parking.octets);
    page.gauge("parking_limit_packets", "packets that may wait for SAs").count(&[], parking.max_packets);
    page.gauge("parking_limit_bytes", "octets that may wait for SAs").count(&[], parking.max_octets);
    let (known, evicted) = *unknown;
    page.gauge("unknown_spis", "unknown SPIs that are remembered").count(&[], known as u64);
    page.counter("unknown_spis_evicted", "unknown SPIs that were forgotten for want of room")
        .count(&[], evicted);
    states(&mut page, status);
    lives(&mut page, status, sas);
    series(&mut page, status, sas);
    for group in groups {
        let name = [("group", group.name.as_str())];
        if let Some(expires) = group.certificate_expires {
            let help =
                "when the certificate that the group is registered with ends, or one that it is sent with";
            page.gauge("certificate_expiry_timestamp_seconds", help).count(&name, expires);
        }
        if let Some(status) = &group.status {
            protocol(&mut page, &group.name, status, group);
        }
    }
    page
}

fn process(page: &mut Page, status: &Status) {
    let labels = [("version", status.version.as_str())];
    page.gauge("build_info", "always 1; the version stands in the label").count(&labels, 1);
    page.gauge("uptime_seconds", "since the member's start").count(&[], status.uptime_s);
    page.gauge("workers", "poll-mode workers").count(&[], status.workers.into());
}

fn traffic(page: &mut Page, status: &Status, tallies: &[LinkTally]) {
    for LinkTally { worker, link, tally } in tallies {
        let worker = worker.to_string();
        let link = status.links.get(*link).map_or("", |link| link.name.as_str());
        let labels = [("link", link), ("worker", worker.as_str())];
        for (counter, value) in tally.iter() {
            match counter.kind {
                Kind::Counter => page.counter(counter.metric, counter.meaning),
                Kind::Gauge => page.gauge(counter.metric, counter.meaning),
            }
            .count(&labels, value);
        }
        for (reason, frames) in tally.iter_drops() {
            let labels = [("link", link), ("worker", worker.as_str()), ("reason", reason.name())];
            let help = "frames received and dropped; getvpn_gm_drop_reason_info says what a reason means";
            page.counter("dropped_frames", help).count(&labels, frames);
        }
    }
    debug_assert!(Tally::COUNTERS.iter().all(|counter| !counter.metric.ends_with("_total")));
    for reason in DropReason::ALL {
        let labels = [("reason", reason.name()), ("meaning", reason.meaning()), ("advice", reason.advice())];
        page.gauge("drop_reason_info", "always 1; what a reason means and what to look at").count(&labels, 1);
    }
}

fn devices(page: &mut Page, status: &Status, ports: &[PortCounters]) {
    for link in &status.links {
        for (side, device, up) in [("LAN", &link.lan, link.lan_up), ("WAN", &link.wan, link.wan_up)] {
            let labels = [("link", link.name.as_str()), ("side", side), ("device", device)];
            page.gauge("port_up", "whether the port has a carrier").truth(&labels, up);
        }
        let labels = [("link", link.name.as_str())];
        let help = "largest IP packet on the WAN";
        page.gauge("link_mtu_bytes", help).count(&labels, link.mtu.into());
    }
    for port in ports {
        // Taken apart, so that what is added there is not forgotten here.
        let PortCounters {
            link,
            side,
            device,
            rx_missed,
            rx_errors,
            rx_no_buffer,
            tx_errors,
            rx,
            rx_octets,
            tx,
            tx_octets,
        } = port;
        let labels = [("link", link.as_str()), ("side", side.as_str()), ("device", device.as_str())];
        for (name, n, help) in [
            ("port_rx_frames", rx, "frames that the device says it received"),
            ("port_rx_bytes", rx_octets, "octets of those frames"),
            ("port_tx_frames", tx, "frames that the device says it sent"),
            ("port_tx_bytes", tx_octets, "octets of those frames"),
            (
                "port_rx_missed_frames",
                rx_missed,
                "frames that came while the receive queues were full: the workers are too slow",
            ),
            ("port_rx_error_frames", rx_errors, "frames received in error"),
            ("port_rx_without_buffer", rx_no_buffer, "times that no buffer was left to receive into"),
            ("port_tx_error_frames", tx_errors, "frames that the device could not send"),
        ] {
            page.counter(name, help).count(&labels, *n);
        }
    }
}

/// Where a worker's time goes.
fn time(page: &mut Page, worker: &str, runtime: &Runtime, hz: u64) {
    let Runtime { at: _, busy, idle, busy_turns, idle_turns, stalls, stalled, bursts, packets, stages } =
        runtime;
    let name = [("worker", worker)];
    let seconds = |cycles: u64| cycles as f64 / hz.max(1) as f64;
    for (metric, cycles, help) in [
        ("worker_busy_seconds", busy, "time of turns that found something to do"),
        ("worker_idle_seconds", idle, "time of turns that found nothing, and of the sleep behind them"),
        (
            "worker_stalled_seconds",
            stalled,
            "time of turns of more than a millisecond: the core was taken away, or a port took nothing",
        ),
    ] {
        page.counter(metric, help).number(&name, seconds(*cycles));
    }
    for (metric, n, help) in [
        ("worker_busy_turns", busy_turns, "turns that found something to do"),
        ("worker_idle_turns", idle_turns, "turns that found nothing"),
        ("worker_stalls", stalls, "turns of more than a millisecond"),
        ("worker_bursts", bursts, "bursts received"),
        ("worker_burst_frames", packets, "frames in those bursts"),
    ] {
        page.counter(metric, help).count(&name, *n);
    }
    for (stage, Timed { cycles, bursts: _, packets }) in Stage::ALL.iter().zip(stages) {
        let from = match stage.origin() {
            Origin::Lan => "LAN",
            Origin::Wan => "WAN",
        };
        let labels = [("worker", worker), ("from", from), ("stage", stage.name())];
        let help = "time of a stage of the packet path, in the few turns that are timed";
        page.counter("timed_stage_seconds", help).number(&labels, seconds(*cycles));
        page.counter("timed_stage_frames", "frames that a stage had in those turns").count(&labels, *packets);
    }
}

/// How each group stands: 1 at its state, 0 at all the others, so that no series ends when the state changes.
fn states(page: &mut Page, status: &Status) {
    for group in &status.groups {
        let all = MemberState::ALL.iter().map(|state| state.name()).chain(OTHER_STATES);
        for state in all {
            let labels = [("group", group.name.as_str()), ("state", state)];
            page.gauge("group_state", "1 at the state that the group is in")
                .truth(&labels, group.state == state);
        }
        let name = [("group", group.name.as_str())];
        let in_step = [MemberState::InStep.name(), OTHER_STATES[0]].contains(&group.state.as_str());
        let help =
            "whether the group has what its key server has, as far as it knows, or lives by its manual SAs";
        page.gauge("group_in_step", help).truth(&name, in_step);
        if let Some(key_server) = &group.key_server {
            let labels = [("group", group.name.as_str()), ("key_server", key_server)];
            page.gauge(
                "group_key_server_info",
                "always 1; the key server that the group is, or wants to be, with",
            )
            .count(&labels, 1);
        }
    }
}

fn lives(page: &mut Page, status: &Status, sas: &[SaFigures]) {
    for (index, group) in status.groups.iter().enumerate() {
        let name = [("group", group.name.as_str())];
        let of = || sas.iter().filter(|sa| sa.group == index);
        for state in [SaState::Waiting, SaState::Active, SaState::ReceiveOnly, SaState::Retiring] {
            let labels = [("group", group.name.as_str()), ("state", state.name())];
            let n = of().filter(|sa| sa.state == state).count();
            page.gauge("sas", "SAs in force").count(&labels, n as u64);
        }
        let seconds = |left: Option<Duration>| left.map_or(f64::INFINITY, |left| left.as_secs_f64());
        let sends = of().filter(|sa| sa.sends || sa.state == SaState::Waiting);
        let longest = sends.map(|sa| seconds(sa.left)).fold(0.0, f64::max);
        let help = "how long the group can go on sending with the SAs that it has; 0 without one, +Inf without an end";
        page.gauge("group_sa_lifetime_left_seconds", help).number(&name, longest);
    }
}

fn series(page: &mut Page, status: &Status, sas: &[SaFigures]) {
    for sa in sas.iter().take(SA_SERIES) {
        let group = status.groups.get(sa.group).map_or("", |group| group.name.as_str());
        let spi = Spi(sa.spi).to_string();
        for (direction, totals) in [("in", sa.opened), ("out", sa.sealed)] {
            let labels = [("group", group), ("spi", spi.as_str()), ("direction", direction)];
            page.counter("sa_packets", "packets opened (in) or sealed (out) with the SA")
                .count(&labels, totals.packets);
            page.counter("sa_bytes", "octets of those packets, without what ESP adds")
                .count(&labels, totals.octets);
            page.counter("sa_errors", "packets that the SA refused").count(&labels, totals.errors);
        }
    }
    let without = sas.len().saturating_sub(SA_SERIES);
    let help = "SAs that have no getvpn_gm_sa_... series, because there are too many";
    page.gauge("sas_without_series", help).count(&[], without as u64);
}

fn protocol(page: &mut Page, name: &str, status: &MemberStatus, figures: &GroupFigures) {
    let group = [("group", name)];
    page.gauge("phase1_up", "whether a phase 1 with the key server is established")
        .truth(&group, status.phase1);
    if let Some(kek) = &status.kek {
        let left = figures.kek_left.unwrap_or_default();
        page.gauge("kek_lifetime_left_seconds", "how long the Rekey SA lives on")
            .number(&group, left.as_secs_f64());
        page.gauge("kek_sequence", "number of the last rekey under the Rekey SA")
            .count(&group, kek.sequence.into());
    }
    if let Some(ago) = figures.registered_ago {
        page.gauge("registration_age_seconds", "since the last registration that was completed")
            .number(&group, ago.as_secs_f64());
    }
    page.gauge("asking_spis", "SPIs that the key server is asked for")
        .count(&group, status.asking.len() as u64);
    page.gauge("pending_policies", "policies that came without keys").count(&group, status.pending as u64);
    let help = "SPIs that are not asked for at present, because the key server does not know them";
    page.gauge("remembered_spis", help).count(&group, status.remembered as u64);
    for (counter, meaning, n) in status.counters.iter() {
        page.counter(counter, meaning).count(&group, n);
    }
    recovery(page, name, &status.recovery);
}

fn recovery(page: &mut Page, group: &str, statistics: &RecoveryStatistics) {
    let RecoveryStatistics {
        times,
        asked,
        registrations,
        recovered,
        unknown,
        refused,
        abandoned,
        already_asked,
        remembered,
        no_budget,
    } = statistics;
    let help = "INVALID-SPI notifications sent";
    page.counter("invalid_spi_sent", help).count(&[("group", group)], *asked);
    let help = "registrations that asking in vain has led to";
    page.counter("recovery_registrations", help).count(&[("group", group)], *registrations);
    for (outcome, n) in
        [("recovered", recovered), ("unknown", unknown), ("refused", refused), ("abandoned", abandoned)]
    {
        let help = "SPIs that the key server was asked for, by how that ended";
        page.counter("recoveries", help).count(&[("group", group), ("outcome", outcome)], *n);
    }
    for (reason, n) in
        [("already_asked", already_asked), ("remembered", remembered), ("rate_limited", no_budget)]
    {
        let help = "reports of an unknown SPI that led to nothing";
        page.counter("unknown_spi_suppressed", help).count(&[("group", group), ("reason", reason)], *n);
    }
    let help = "from the first packet, or from when it was known to be missing, to the SA";
    page.histogram("recovery_seconds", help).histogram(
        &[("group", group)],
        times.sum().as_secs_f64(),
        buckets(times),
    );
}

fn buckets(times: &Histogram) -> Vec<(f64, u64)> {
    times.between().map(|(bound, n)| (bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64()), n)).collect()
}
