//! Replies as tables for people: aligned, within 100 columns, coloured only when standard output is a
//! terminal. Used by `getvpnctl`, and by the daemons at their end; does no I/O.

mod doctor;
mod inspect;
mod key_server;
mod key_server_sync;
mod lookup;
mod operate;
mod probe;
mod sync;
mod text;

pub use doctor::doctor;
pub use inspect::{drops, runtime};
pub use key_server::{group_list, member_changed, member_list, rekeyed, reloaded};
pub use key_server_sync::{key_server_sync, sync_reply};
pub use lookup::{policy_hit, spi_known};
pub use operate::{counters_reset, log_level};
pub use probe::{capture_warning, export_warning, probe_end, traced_packet};
pub use sync::{resync, sync};

use crate::reply::{
    Counters, PortCounters, SaDeleted, SaDetail, SaList, SelectorDetail, Status, Totals, Traffic, UnknownSpis,
};
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use text::{item, sentence};

const WIDTH: u16 = 100;
/// What claims to be narrower is not believed.
const NARROWEST: u16 = 40;

/// The reply to `status`.
#[must_use]
pub fn status(status: &Status) -> String {
    let mut out = sentence(&format!(
        "getvpn-{} {}, process {}, up {}, {}",
        status.role,
        status.version,
        status.pid,
        duration(status.uptime_s),
        plural(u64::from(status.workers), "worker"),
    ));
    out.push('\n');
    if !status.links.is_empty() {
        let mut links = table(&[("link", L), ("LAN port", L), ("", L), ("WAN port", L), ("", L), ("MTU", R)]);
        for link in &status.links {
            links.add_row(vec![
                cell(&link.name, L),
                cell(&link.lan, L),
                carrier(link.lan_up),
                cell(&link.wan, L),
                carrier(link.wan_up),
                cell(&link.mtu.to_string(), R),
            ]);
        }
        section(&mut out, &links);
    }
    let mut groups = table(&[("group", L), ("id", R), ("state", L), ("key server", L), ("SAs", R)]);
    for group in &status.groups {
        let state = match group.state.as_str() {
            good @ ("manual" | "in-step" | "serving") => coloured(good, Color::Green),
            other => coloured(other, Color::Yellow),
        };
        groups.add_row(vec![
            cell(&group.name, L),
            cell(&or_dash(group.id.map(|id| id.to_string())), R),
            state,
            cell(&or_dash(group.key_server.clone()), L),
            cell(&number(group.sas), R),
        ]);
    }
    section(&mut out, &groups);
    if status.groups.iter().any(|group| group.failed.is_some()) {
        let mut failed = table(&[("group", L), ("registration failed", R), ("why", L)]);
        for (group, last) in status.groups.iter().filter_map(|group| Some((group, group.failed.as_ref()?))) {
            let ago = format!("{} ago", duration(last.ago_s));
            failed.add_row(vec![cell(&group.name, L), cell(&ago, R), cell(&last.why, L)]);
        }
        section(&mut out, &failed);
    }
    if status.groups.iter().any(|group| group.kek.is_some()) {
        let mut keks = table(&[("group", L), ("KEK", L), ("last rekey", R), ("left", R)]);
        for (group, kek) in status.groups.iter().filter_map(|group| Some((group, group.kek.as_ref()?))) {
            keks.add_row(vec![
                cell(&group.name, L),
                cell(&kek.spi, L),
                cell(&number(kek.sequence.into()), R),
                cell(&duration(kek.lifetime_left_s), R),
            ]);
        }
        section(&mut out, &keks);
    }
    if let Some(step) = status.clock_step {
        let set = format!(
            "this machine's clock was set {} by {} {} ago",
            if step.by_ms < 0 { "back" } else { "forward" },
            ago(step.by_ms.unsigned_abs()),
            duration(step.ago_s)
        );
        out.push_str(&format!("\n{}\n", sentence(&set)));
    }
    out
}

/// The reply to `counters`.
#[must_use]
pub fn counters(counters: &Counters) -> String {
    let total = &counters.total;
    let mut out = String::new();
    if let Some(s) = counters.reset_s {
        out.push_str(&format!("since a reset {} ago\n", duration(s)));
    }
    if !counters.key_server.is_empty() {
        let mut events = table(&[("", L), ("number", R), ("meaning", L)]);
        for (name, n) in [("received", total.rx), ("sent", total.tx)] {
            events.add_row(vec![cell(name, L), cell(&number(n), R), cell("Datagrams.", L)]);
        }
        for (name, &n) in counters.key_server.iter().filter(|&(_, &n)| n > 0) {
            let meaning = counters.reasons.get(name).map_or("", |reason| &reason.meaning);
            events.add_row(vec![cell(name, L), cell(&number(n), R), cell(meaning, L)]);
        }
        for (name, &n) in total.drops.iter().filter(|&(_, &n)| n > 0) {
            events.add_row(vec![
                coloured(name, Color::Yellow),
                cell(&number(n), R),
                cell("Messages and phase 1s refused for this.", L),
            ]);
        }
        section(&mut out, &events);
        return out;
    }
    let mut traffic = table(&[("", L), ("packets", R), ("octets", R)]);
    let own = total.to_exception + total.from_exception > 0;
    let all = [
        ("received", total.rx, Some(total.rx_octets)),
        ("sent", total.tx, Some(total.tx_octets)),
        ("decrypted", total.decrypted, None),
        ("encrypted", total.encrypted, None),
        ("bypassed", total.bypassed, None),
        ("for this machine", total.to_exception, None),
        ("of this machine", total.from_exception, None),
        ("parked now", total.parked, None),
        ("released", total.released, None),
        ("dropped", total.drops.values().sum(), None),
        ("extra fragments", total.fragments, None),
        ("ICMP errors sent", total.icmp, None),
    ];
    for (name, packets, octets) in all.into_iter().filter(|(name, ..)| own || !name.ends_with("this machine"))
    {
        let octets = octets.map(number).unwrap_or_default();
        traffic.add_row(vec![cell(name, L), cell(&number(packets), R), cell(&octets, R)]);
    }
    section(&mut out, &traffic);

    let lossy = |p: &&PortCounters| p.rx_missed + p.rx_errors + p.rx_no_buffer + p.tx_errors > 0;
    if counters.ports.iter().any(|port| lossy(&port)) {
        let mut ports = table(&[
            ("port", L),
            ("link", L),
            ("side", L),
            ("rx missed", R),
            ("rx errors", R),
            ("rx no buffer", R),
            ("tx errors", R),
        ]);
        for port in counters.ports.iter().filter(lossy) {
            let mut row = vec![cell(&port.device, L), cell(&port.link, L), cell(&port.side, L)];
            row.extend([port.rx_missed, port.rx_errors, port.rx_no_buffer, port.tx_errors].map(errors));
            ports.add_row(row);
        }
        section(&mut out, &ports);
    }

    let mut drops: Vec<_> = total.drops.iter().filter(|&(_, &n)| n > 0).collect();
    drops.sort_by_key(|&(name, &n)| (std::cmp::Reverse(n), name));
    if !drops.is_empty() {
        let mut reasons = table(&[("dropped for", L), ("packets", R), ("meaning; what to look at", L)]);
        for (name, &n) in drops {
            let text = counters.reasons.get(name).map(|r| format!("{}; {}", r.meaning, r.advice));
            reasons.add_row(vec![
                coloured(name, Color::Yellow),
                cell(&number(n), R),
                cell(&text.unwrap_or_default(), L),
            ]);
        }
        section(&mut out, &reasons);
    }

    if let Some(per) = &counters.per {
        let mut workers = table(&[
            ("link", L),
            ("worker", R),
            ("received", R),
            ("sent", R),
            ("decrypted", R),
            ("encrypted", R),
            ("bypassed", R),
            ("parked", R),
            ("dropped", R),
        ]);
        for each in per {
            let Totals { rx, tx, decrypted, encrypted, bypassed, parked, ref drops, .. } = each.counters;
            let mut row = vec![cell(&each.link, L), cell(&each.worker.to_string(), R)];
            let dropped = drops.values().sum();
            row.extend(
                [rx, tx, decrypted, encrypted, bypassed, parked, dropped].map(|n| cell(&number(n), R)),
            );
            workers.add_row(row);
        }
        section(&mut out, &workers);
    }
    out
}

/// The reply to `sa list`.
#[must_use]
pub fn sa_list(list: &SaList) -> String {
    if list.sas.is_empty() {
        return "no SAs".into();
    }
    let mut sas = table(&[
        ("SPI", L),
        ("group", L),
        ("transform", L),
        ("dir", L),
        ("state", L),
        ("from", L),
        ("left", R),
        ("packets", R),
        ("octets", R),
        ("errors", R),
    ]);
    for sa in &list.sas {
        sas.add_row(vec![
            cell(&sa.spi.to_string(), L),
            cell(&sa.group, L),
            cell(&sa.transform, L),
            cell(&sa.direction, L),
            state(&sa.state),
            cell(&sa.source, L),
            cell(&or_dash(sa.lifetime_left_s.map(duration)), R),
            cell(&number(sa.packets), R),
            cell(&number(sa.bytes), R),
            errors(sa.errors),
        ]);
    }
    let mut out = String::new();
    section(&mut out, &sas);
    out
}

/// The reply to `sa show`.
#[must_use]
pub fn sa_detail(sa: &SaDetail) -> String {
    let summary = &sa.summary;
    let replay = match (sa.replay.window, sa.replay.senders) {
        (Some(window), Some(senders)) => {
            format!("{}, window {window}, up to {}", sa.replay.mode, plural(senders.into(), "sender"))
        }
        (Some(window), None) => format!("{}, window {window}", sa.replay.mode),
        _ => sa.replay.mode.clone(),
    };
    let life = match summary.lifetime_left_s {
        Some(left) => format!("{} left", duration(left)),
        None => "not limited".into(),
    };
    let from = match summary.source.as_str() {
        manual @ "configuration" => format!("the {manual}"),
        address => format!("key server {address}"),
    };
    let mut facts = table(&[("SA", L), (&summary.spi.to_string(), L)]);
    for (name, value) in [
        ("group", summary.group.clone()),
        ("state", format!("{}, installed {} ago from {from}", summary.state, duration(sa.age_s))),
        ("lifetime", life),
        ("transform", summary.transform.clone()),
        ("mode", sa.mode.clone()),
        ("direction", summary.direction.clone()),
        ("replay protection", replay),
        ("sender ID", format!("{} bits of the IV", sa.sid_bits)),
    ] {
        facts.add_row(vec![cell(name, L), cell(&value, L)]);
    }
    let mut out = String::new();
    section(&mut out, &facts);

    let mut traffic = table(&[("", L), ("packets", R), ("octets", R), ("errors", R)]);
    for (name, Traffic { packets, bytes, errors: wrong }) in
        [("inbound", sa.inbound), ("outbound", sa.outbound)]
    {
        traffic.add_row(vec![
            cell(name, L),
            cell(&number(packets), R),
            cell(&number(bytes), R),
            errors(wrong),
        ]);
    }
    section(&mut out, &traffic);

    section(&mut out, &selectors(&sa.selectors));

    if !sa.senders.is_empty() {
        let mut senders = table(&[("worker", R), ("SID", R), ("next counter", R), ("reserved up to", R)]);
        for sender in &sa.senders {
            senders.add_row(vec![
                cell(&sender.worker.to_string(), R),
                cell(&sender.sid.to_string(), R),
                cell(&number(sender.next), R),
                cell(&number(sender.reserved), R),
            ]);
        }
        section(&mut out, &senders);
    }
    out
}

fn selectors(all: &[SelectorDetail]) -> Table {
    let mut selectors = table(&[("source", L), ("destination", L), ("protocol", L), ("ports", L)]);
    for selector in all {
        selectors.add_row(vec![
            cell(&selector.src, L),
            cell(&selector.dst, L),
            cell(&selector.protocol.map_or_else(|| "any".into(), |p| p.to_string()), L),
            cell(&ports(selector), L),
        ]);
    }
    selectors
}

/// The reply to `sa delete`.
#[must_use]
pub fn sa_deleted(reply: &SaDeleted) -> String {
    sentence(&format!(
        "SA {} of group {} is deleted here; its peers still have it",
        reply.deleted, reply.group
    ))
}

/// The reply to `unknown-spi`.
#[must_use]
pub fn unknown_spis(reply: &UnknownSpis) -> String {
    let mut out = String::new();
    if reply.spis.is_empty() {
        out.push_str("no packet came with an unknown SPI\n");
    } else {
        let mut spis = table(&[
            ("SPI", L),
            ("link", L),
            ("packets", R),
            ("first, ago", R),
            ("last, ago", R),
            ("addresses", L),
        ]);
        for each in &reply.spis {
            let mut addresses: Vec<String> = each.senders.iter().map(|a| format!("from {a}")).collect();
            if each.more_senders {
                addresses.push("from others".into());
            }
            addresses.push(format!("to {}", each.destination));
            addresses.extend(each.asked.clone());
            spis.add_row(vec![
                cell(&each.spi.to_string(), L),
                cell(&each.link, L),
                cell(&number(each.count), R),
                cell(&ago(each.first_seen_ms), R),
                cell(&ago(each.last_seen_ms), R),
                cell(&addresses.join("\n"), L),
            ]);
        }
        section(&mut out, &spis);
    }
    if reply.evicted > 0 || reply.lost > 0 {
        out.push_str(&format!(
            "\nforgotten for want of room (the table holds {}): {}\nmessages lost: {}\n",
            number(reply.capacity),
            number(reply.evicted),
            number(reply.lost)
        ));
    }
    out
}

const L: CellAlignment = CellAlignment::Left;
const R: CellAlignment = CellAlignment::Right;

fn table(heads: &[(&str, CellAlignment)]) -> Table {
    let mut table = plain();
    table.set_header(heads.iter().map(|&(head, side)| cell(head, side).add_attribute(Attribute::Bold)));
    // Columns are set apart by two spaces, and the first starts at the margin.
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if i == 0 { 0 } else { 1 }, 1));
    }
    table
}

/// A table without a head, as wide as the terminal at most. A serial line may say that its terminal has no columns.
fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    let terminal = table.width().filter(|&columns| columns >= NARROWEST);
    table.set_width(terminal.unwrap_or(WIDTH).min(WIDTH));
    table
}

fn section(out: &mut String, table: &Table) {
    if !out.is_empty() {
        out.push('\n');
    }
    for line in table.lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

fn cell(text: &str, side: CellAlignment) -> Cell {
    Cell::new(text).set_alignment(side)
}

fn coloured(text: &str, colour: Color) -> Cell {
    cell(text, L).fg(colour)
}

fn state(state: &str) -> Cell {
    coloured(state, if state == "active" { Color::Green } else { Color::Yellow })
}

fn carrier(up: bool) -> Cell {
    if up { coloured("up", Color::Green) } else { coloured("down", Color::Red) }
}

fn errors(n: u64) -> Cell {
    let cell = cell(&number(n), R);
    if n > 0 { cell.fg(Color::Red) } else { cell }
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

fn plural(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn ports(selector: &SelectorDetail) -> String {
    match (&selector.src_port, &selector.dst_port) {
        (None, None) => "any".into(),
        (src, dst) => {
            let port = |p: &Option<String>| p.clone().unwrap_or_else(|| "any".into());
            format!("{} to {}", port(src), port(dst))
        }
    }
}

/// A number with its thousands set apart.
fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Seconds in the two units that say most.
fn duration(s: u64) -> String {
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86400, s / 3600 % 24),
    }
}

fn ago(ms: u64) -> String {
    if ms < 10_000 { format!("{ms} ms") } else { duration(ms / 1000) }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod widths;
