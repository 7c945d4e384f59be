//! The replies to `drops` and `runtime`.

use super::{L, R, ago, cell, coloured, duration, item, number, or_dash, plural, section, sentence, table};
use crate::reply::{DropDetail, Drops, Offender, Runtime, Work};
use comfy_table::{Cell, Color};

/// The reply to `drops`.
#[must_use]
pub fn drops(drops: &Drops) -> String {
    let what = if drops.role == "ks" { "refused" } else { "dropped" };
    if drops.drops.is_empty() {
        return format!("nothing was {what}\n");
    }
    let what_for = format!("{what} for");
    let mut heads = vec![(what_for.as_str(), L), ("number", R), ("new", R), ("new/s", R)];
    heads.extend(drops.recent_s.map(|_| ("now/s", R)));
    let mut out = String::new();
    for each in &drops.drops {
        let mut heads = table(&heads);
        let mut row = vec![
            coloured(&each.reason, if each.more > 0 { Color::Red } else { Color::Yellow }),
            cell(&number(each.count), R),
            cell(&number(each.more), R),
            cell(&rate(each.per_s), R),
        ];
        row.extend(drops.recent_s.map(|_| cell(&or_dash(each.recent_per_s.map(rate)), R)));
        heads.add_row(row);
        widen(&mut heads);
        let mut block = String::new();
        section(&mut block, &heads);
        // One head for all: the columns are as wide in each.
        let block =
            if out.is_empty() { block.as_str() } else { block.split_once('\n').map_or("", |(_, row)| row) };
        out.push_str(block);
        details(&mut out, each, &drops.role);
    }
    let since = if drops.since == "start" { "the start" } else { "the last call" };
    out.push_str(&format!("\nnew: since {since}, {} ago", span(drops.since_s)));
    if let Some(seconds) = drops.recent_s {
        out.push_str(&format!("; now: the last {}", span(seconds)));
    }
    out.push('\n');
    out
}

/// Columns of the same width whatever is in them.
fn widen(table: &mut comfy_table::Table) {
    use comfy_table::{ColumnConstraint, Width};
    for (column, width) in table.column_iter_mut().zip([28, 18, 14, 14, 14]) {
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
    }
}

fn details(out: &mut String, drop: &DropDetail, role: &str) {
    let last = match &drop.last {
        Some(last) => format!("last {}", offender(last)),
        None if drop.count == 0 => String::new(),
        None if role == "ks" => "whose the last was is not kept here".into(),
        None => "whose the last was is not known".into(),
    };
    for text in [&drop.meaning, &drop.advice, &last].into_iter().filter(|text| !text.is_empty()) {
        out.push_str(&format!("{}\n", item(text)));
    }
}

/// What was dropped last, in one sentence.
pub(crate) fn offender(last: &Offender) -> String {
    let mut parts = Vec::new();
    match (last.spi, last.protocol) {
        (Some(spi), _) => {
            let sequence = last.sequence.map(|seq| format!(", sequence number {seq}")).unwrap_or_default();
            parts.push(format!("ESP, SPI {spi}{sequence},"));
        }
        (None, Some(protocol)) => parts.push(protocol_name(protocol)),
        (None, None) => {}
    }
    if let Some(ethertype) = &last.ethertype {
        parts.push(format!("EtherType {ethertype}"));
    }
    if let (Some(src), Some(dst)) = (end(last.src, last.src_port), end(last.dst, last.dst_port)) {
        parts.push(format!("from {src} to {dst},"));
    }
    if let (Some(src), Some(dst)) = (&last.src_mac, &last.dst_mac) {
        parts.push(format!("from {src} to {dst},"));
    }
    if let Some(peer) = last.peer {
        parts.push(format!("from {peer}"));
    }
    if let Some(octets) = last.octets {
        parts.push(format!("{octets} octets,"));
    }
    if let (Some(link), Some(from)) = (&last.link, &last.from) {
        parts.push(format!("link {link} from the {from}"));
    }
    let what = parts.join(" ");
    format!("{} ago: {}", ago(last.ago_ms), what.trim_end_matches(','))
}

fn end(address: Option<std::net::IpAddr>, port: Option<u16>) -> Option<String> {
    Some(match (address?, port) {
        (address, None) => address.to_string(),
        (address, Some(port)) => std::net::SocketAddr::new(address, port).to_string(),
    })
}

fn protocol_name(protocol: u8) -> String {
    match protocol {
        1 => "ICMP".into(),
        6 => "TCP".into(),
        17 => "UDP".into(),
        50 => "ESP".into(),
        58 => "ICMPv6".into(),
        132 => "SCTP".into(),
        other => format!("protocol {other}"),
    }
}

/// The reply to `runtime`.
#[must_use]
pub fn runtime(runtime: &Runtime) -> String {
    let mut out = String::new();
    let mut workers = table(&[
        ("worker", R),
        ("core", R),
        ("load", R),
        ("packets/s", R),
        ("cycles/packet", R),
        ("ns/packet", R),
        ("burst", R),
        ("over", L),
    ]);
    for each in &runtime.workers {
        for (work, over) in [(&each.recent, "the last"), (&each.total, "all")] {
            let (worker, core) = match over {
                "all" => (String::new(), String::new()),
                _ => (each.worker.to_string(), each.core.to_string()),
            };
            let per_s = if work.seconds > 0.0 { work.packets as f64 / work.seconds } else { 0.0 };
            workers.add_row(vec![
                cell(&worker, R),
                cell(&core, R),
                load(work.load),
                cell(&rate(per_s), R),
                cell(&or_dash(work.cycles_per_packet.map(one)), R),
                cell(&or_dash(work.cycles_per_packet.map(|c| one(c * 1e9 / runtime.hz.max(1) as f64))), R),
                cell(&or_dash(work.burst_size.map(one)), R),
                cell(&format!("{over} {}", span(work.seconds)), L),
            ]);
        }
    }
    section(&mut out, &workers);
    for each in &runtime.workers {
        let Work { stalls, stalled_ms, seconds, .. } = each.recent;
        if stalls > 0 {
            let text = format!(
                "worker {} stood still {} for more than a millisecond in the last {}, {stalled_ms:.0} ms in all: another \
                 process or interrupts on its core, the hypervisor, or a port that takes nothing",
                each.worker,
                plural(stalls, "time"),
                span(seconds)
            );
            out.push_str(&format!("\n{}\n", sentence(&text)));
        }
    }
    for each in &runtime.workers {
        let recent = each.recent.stages.iter().any(|stage| stage.packets > 0);
        let (work, over) = if recent { (&each.recent, "the last") } else { (&each.total, "all") };
        if work.stages.iter().any(|stage| stage.packets > 0) {
            out.push_str(&format!(
                "\nworker {}, timed turns of {over} {}:\n",
                each.worker,
                span(work.seconds)
            ));
            section(&mut out, &stages(work));
        }
    }
    out
}

fn stages(work: &Work) -> comfy_table::Table {
    let mut stages = table(&[
        ("direction", L),
        ("stage", L),
        ("cycles/packet", R),
        ("burst", R),
        ("packets", R),
        ("what is done", L),
    ]);
    for stage in work.stages.iter().filter(|stage| stage.packets > 0) {
        stages.add_row(vec![
            cell(&stage.direction, L),
            cell(&stage.stage, L),
            cell(&or_dash(stage.cycles_per_packet.map(one)), R),
            cell(&or_dash(stage.burst_size.map(one)), R),
            cell(&number(stage.packets), R),
            cell(&stage.meaning, L),
        ]);
    }
    stages
}

fn load(load: f64) -> Cell {
    let cell = cell(&format!("{:.1} %", load * 100.0), R);
    match load {
        0.95.. => cell.fg(Color::Red),
        0.8.. => cell.fg(Color::Yellow),
        _ => cell,
    }
}

fn one(n: f64) -> String {
    format!("{n:.1}")
}

/// A rate: with a decimal where it is small.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are small and positive")]
pub(crate) fn rate(n: f64) -> String {
    match n {
        0.0 => "0".into(),
        ..0.01 => "<0.01".into(),
        ..1.0 => format!("{n:.2}"),
        ..100.0 => format!("{n:.1}"),
        _ => number(n.round() as u64),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a daemon's life")]
fn span(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.1} s") } else { duration(seconds as u64) }
}

#[cfg(test)]
mod tests;
