//! `sync` and `resync` as tables and sentences.

use super::{L, R, cell, coloured, duration, number, or_dash, plural, section, sentence, table};
use crate::reply::{AskedSpi, GroupSync, LastRegistration, Parking, Resync, Suppressed, Sync};
use comfy_table::{Color, Table};

/// The reply to `sync`.
#[must_use]
pub fn sync(reply: &Sync) -> String {
    if reply.groups.is_empty() {
        return "no group has key servers".into();
    }
    let mut out = String::new();
    for group in &reply.groups {
        facts(&mut out, group);
        asked(&mut out, group);
    }
    parking(&mut out, &reply.parking);
    out
}

fn parking(out: &mut String, parking: &Parking) {
    let mut waiting = table(&[("packets that wait for SAs", L), ("packets", R), ("octets", R)]);
    for (name, packets, octets) in [
        ("now", parking.packets, parking.octets),
        ("at most so far", parking.most_packets, parking.most_octets),
        ("limit", parking.max_packets, parking.max_octets),
    ] {
        waiting.add_row(vec![cell(name, L), cell(&number(packets), R), cell(&number(octets), R)]);
    }
    section(out, &waiting);
}

/// The reply to `resync`.
#[must_use]
pub fn resync(reply: &Resync) -> String {
    sentence(&format!("group {} registers again, with {} first", reply.group, reply.key_server))
}

fn facts(out: &mut String, group: &GroupSync) {
    let mut facts = table(&[("group", L), (&format!("{}, id {}", group.name, group.id), L)]);
    let state = match group.retry_in_ms {
        Some(ms) => format!("{}, tries again in {}", group.state, milliseconds(Some(precise(ms)))),
        None => group.state.clone(),
    };
    let state = coloured(&state, if group.state == "in-step" { Color::Green } else { Color::Yellow });
    facts.add_row(vec![cell("state", L), state]);
    let phase1 = if group.phase1 { "phase 1 established" } else { "no phase 1" };
    let kek = group.kek.as_ref().map(|kek| {
        format!("{}, last rekey {}, {} left", kek.spi, kek.sequence, duration(kek.lifetime_left_s))
    });
    let recovery = &group.recovery;
    let Suppressed { already_asked, remembered, no_budget } = recovery.suppressed;
    let mut rows = vec![
        ("key server", format!("{}, {phase1}", group.key_server)),
        ("registered", last(group.registered.as_ref())),
        ("failed", last(group.failed.as_ref())),
        ("KEK", or_dash(kek)),
        (
            "missing SAs",
            format!(
                "{} recovered, {} unknown, {} refused, {} abandoned",
                number(recovery.recovered),
                number(recovery.unknown),
                number(recovery.refused),
                number(recovery.abandoned)
            ),
        ),
        (
            "recovery took",
            format!(
                "p50 {}, p99 {}, at most {}",
                milliseconds(recovery.p50_ms),
                milliseconds(recovery.p99_ms),
                milliseconds(recovery.max_ms)
            ),
        ),
        (
            "asked",
            format!(
                "{} INVALID-SPI sent, {} after them",
                number(recovery.invalid_spi_sent),
                plural(recovery.registrations, "registration")
            ),
        ),
        (
            "not asked",
            format!(
                "{} were asked for already, {} are unknown to the key server, {} were too many",
                number(already_asked),
                number(remembered),
                number(no_budget)
            ),
        ),
    ];
    let counted: Vec<String> = (group.counters.iter().filter(|&(_, &n)| n > 0))
        .map(|(name, &n)| format!("{} {}", number(n), name.replace('_', " ")))
        .collect();
    if !counted.is_empty() {
        rows.push(("counted", counted.join(", ")));
    }
    if group.pending > 0 || group.remembered > 0 {
        let (pending, remembered) = (number(group.pending), number(group.remembered));
        let kept =
            format!("{pending} policies without keys, {remembered} SPIs that the key server does not know");
        rows.push(("remembers", kept));
    }
    for (name, value) in rows {
        facts.add_row(vec![cell(name, L), cell(&value, L)]);
    }
    section(out, &facts);
}

fn asked(out: &mut String, group: &GroupSync) {
    if group.asking.is_empty() && group.asked.is_empty() {
        return;
    }
    let spis = group.asking.iter().chain(group.asked.iter().rev());
    section(out, &asked_table("SPI", spis.map(|asked| (asked.spi.to_string(), asked))));
}

/// SPIs that a key server was asked for; `named` heads the column that tells the rows apart.
pub(super) fn asked_table<'a>(named: &str, rows: impl Iterator<Item = (String, &'a AskedSpi)>) -> Table {
    let mut spis = table(&[
        (named, L),
        ("asked because", L),
        ("tries", R),
        ("missing for", R),
        ("first missed", R),
        ("outcome", L),
    ]);
    for (name, AskedSpi { spi: _, why, tries, missing_ms, ago_s, outcome }) in rows {
        spis.add_row(vec![
            cell(&name, L),
            cell(why, L),
            cell(&tries.to_string(), R),
            cell(&milliseconds(Some(*missing_ms)), R),
            cell(&format!("{} ago", duration(*ago_s)), R),
            coloured(outcome, if outcome == "recovered" { Color::Green } else { Color::Yellow }),
        ]);
    }
    spis
}

fn last(registration: Option<&LastRegistration>) -> String {
    or_dash(registration.map(|last| format!("{} ago: {}", duration(last.ago_s), last.why)))
}

fn milliseconds(ms: Option<f64>) -> String {
    match ms {
        None => "-".into(),
        Some(ms) if ms < 10_000.0 => format!("{ms:.1} ms"),
        Some(ms) => format!("{:.1} s", ms / 1000.0),
    }
}

/// Milliseconds below 2^52, which all waits are, without loss.
fn precise(ms: u64) -> f64 {
    ms as f64
}
