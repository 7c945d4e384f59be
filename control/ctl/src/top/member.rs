//! The view of a member: throughput by direction, workers, drops, groups, SAs.

use super::model::{Model, Series};
use super::parts::{
    BAD, DIM, HEAD, WARN, bar, bits, block, duration, load_style, rate, scaled, spark, state_style, title,
};
use super::sample::Sample;
use getvpn_ctl::reply::{GroupStatus, SyncReply};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Sparkline, Table};

/// Columns of a sparkline in a row.
const TRAIL: u16 = 20;

pub fn draw(frame: &mut Frame<'_>, model: &Model, sample: &Sample) {
    let workers = u16::try_from(sample.runtime.workers.len()).unwrap_or(u16::MAX);
    let groups = u16::try_from(sample.status.groups.len()).unwrap_or(u16::MAX);
    let drops = u16::try_from(sample.drops.drops.len()).unwrap_or(u16::MAX).clamp(1, 8);
    let [head, traffic, cores, middle, sas] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(6),
        Constraint::Length(workers.saturating_add(3).min(11)),
        Constraint::Length(drops.max(groups.min(8)) + 3),
        Constraint::Min(4),
    ])
    .areas(frame.area());
    title(frame, head, &sample.status, model.fault.as_deref());
    let [out, inward] = Layout::horizontal([Constraint::Fill(1); 2]).areas(traffic);
    direction(frame, out, model, sample, "outbound, LAN to WAN", ["LAN", "WAN"], ("encrypted", Color::Cyan));
    direction(
        frame,
        inward,
        model,
        sample,
        "inbound, WAN to LAN",
        ["WAN", "LAN"],
        ("decrypted", Color::Green),
    );
    worker_rows(frame, cores, model, sample);
    let [left, right] = Layout::horizontal([Constraint::Max(56), Constraint::Min(40)]).areas(middle);
    drop_rows(frame, left, model, sample);
    group_rows(frame, right, sample);
    sa_rows(frame, sas, model, sample);
}

/// One direction: what the first port received and the second one sent.
fn direction(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    sample: &Sample,
    name: &str,
    [from, to]: [&str; 2],
    (verdict, colour): (&'static str, Color),
) {
    let total = |make: fn(String, String, bool) -> Series, side: &str, received| {
        let ports = sample.counters.ports.iter().filter(|port| port.side == side);
        ports
            .filter_map(|port| model.rate(&make(port.link.clone(), side.to_owned(), received)))
            .reduce(|sum, rate| sum + rate)
    };
    let block = block(name);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [text, line] = Layout::vertical([Constraint::Length(2), Constraint::Min(1)]).areas(inner);
    let row = |what: &str, packets: Option<f64>, octets: Option<f64>| {
        Line::from(vec![
            Span::styled(format!("{what:<10}"), DIM),
            Span::styled(format!("{:>7} packets/s", rate(packets)), HEAD),
            Span::raw(format!("{:>15}", bits(octets))),
        ])
    };
    let (received, sent) = (format!("{from} in"), format!("{to} out"));
    let lines = vec![
        row(&received, total(Series::Packets, from, true), total(Series::Octets, from, true)),
        row(&sent, total(Series::Packets, to, false), total(Series::Octets, to, false)),
    ];
    frame.render_widget(Paragraph::new(lines), text);
    let trail = model.trail(&Series::Counter(verdict), line.width.into());
    let sparkline =
        Sparkline::default().data(right_aligned(&trail, line.width)).style(Style::new().fg(colour));
    frame.render_widget(sparkline, line);
}

/// A trail that ends at the right edge, in whole numbers.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are positive")]
pub(super) fn right_aligned(trail: &[f64], width: u16) -> Vec<u64> {
    let missing = usize::from(width).saturating_sub(trail.len());
    std::iter::repeat_n(0, missing).chain(trail.iter().map(|n| n.ceil() as u64)).collect()
}

fn worker_rows(frame: &mut Frame<'_>, area: Rect, model: &Model, sample: &Sample) {
    let rows = sample.runtime.workers.iter().map(|worker| {
        let series = Series::Load(worker.worker);
        let share = model.rate(&series).map_or(worker.recent.load, |percent| percent / 100.0);
        let cycles = worker.recent.cycles_per_packet;
        let ns = cycles.map(|cycles| cycles * 1e9 / sample.runtime.hz.max(1) as f64);
        Row::new([
            Span::raw(format!("{} on core {}", worker.worker, worker.core)),
            Span::styled(format!("{:>5.1} % {}", share * 100.0, bar(share, 15)), load_style(share)),
            Span::raw(format!("{:>8}", rate(cycles))),
            Span::raw(format!("{:>8}", rate(ns))),
            Span::raw(
                worker.recent.burst_size.map_or_else(|| format!("{:>6}", "-"), |n| format!("{n:>6.1}")),
            ),
            Span::styled(spark(&model.trail(&series, TRAIL.into()), TRAIL.into()), load_style(share)),
        ])
    });
    let widths = [14, 23, 13, 9, 6, TRAIL];
    let head = ["worker", "  load", "cycles/packet", "ns/packet", " burst", ""];
    frame.render_widget(
        Table::new(rows, widths).header(Row::new(head).style(DIM)).block(block("workers")),
        area,
    );
}

fn drop_rows(frame: &mut Frame<'_>, area: Rect, model: &Model, sample: &Sample) {
    let mut drops: Vec<_> = sample
        .drops
        .drops
        .iter()
        .map(|drop| (drop, model.rate(&Series::Drop(drop.reason.clone()))))
        .collect();
    // What happens now stands first.
    drops.sort_by(|(a, a_rate), (b, b_rate)| {
        b_rate.unwrap_or(0.0).total_cmp(&a_rate.unwrap_or(0.0)).then(b.count.cmp(&a.count))
    });
    let rows = drops.into_iter().map(|(drop, per_s)| {
        let style = if per_s.is_some_and(|rate| rate > 0.0) { BAD } else { Style::new() };
        Row::new([
            Span::styled(drop.reason.clone(), style),
            Span::raw(format!("{:>9}", scaled(drop.count as f64))),
            Span::styled(format!("{:>8}", rate(per_s)), style),
            Span::raw(spark(&model.trail(&Series::Drop(drop.reason.clone()), 15), 15)),
        ])
    });
    let title = match model.rate(&Series::Counter("dropped")) {
        Some(rate) => format!("drops, {} /s; `getvpnctl drops` says whose", scaled(rate)),
        None => "drops".into(),
    };
    if sample.drops.drops.is_empty() {
        frame.render_widget(Paragraph::new("none").style(DIM).block(block(&title)), area);
        return;
    }
    let head = Row::new(["reason", "  packets", "      /s", ""]).style(DIM);
    frame.render_widget(Table::new(rows, [19, 9, 8, 15]).header(head).block(block(&title)), area);
}

fn group_rows(frame: &mut Frame<'_>, area: Rect, sample: &Sample) {
    let rows = sample.status.groups.iter().map(|group| {
        let (asking, recovery) = sync_of(sample, group);
        Row::new([
            Span::raw(group.name.clone()),
            Span::styled(group.state.clone(), state_style(&group.state)),
            Span::raw(format!("{:>3}", group.sas)),
            Span::styled(format!("{asking:>3}"), if asking > 0 { WARN } else { DIM }),
            Span::raw(recovery),
        ])
    });
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(13),
        Constraint::Length(3),
        Constraint::Length(4),
        Constraint::Length(8),
    ];
    let head = Row::new(["group", "state", "SAs", "asks", "p99"]).style(DIM);
    frame.render_widget(Table::new(rows, widths).header(head).block(block("sync")), area);
}

/// How many SPIs a group asks for, and how long recovery took.
fn sync_of(sample: &Sample, group: &GroupStatus) -> (usize, String) {
    let SyncReply::Member(sync) = &sample.sync else { return (0, String::new()) };
    let Some(group) = sync.groups.iter().find(|each| each.name == group.name) else { return (0, "-".into()) };
    (group.asking.len(), group.recovery.p99_ms.map_or_else(|| "-".into(), |ms| format!("{ms:.1} ms")))
}

fn sa_rows(frame: &mut Frame<'_>, area: Rect, model: &Model, sample: &Sample) {
    let mut sas: Vec<_> = sample.sas.sas.iter().collect();
    // The busiest first: there may be more than fit.
    let packets = |spi: u32| model.rate(&Series::SaPackets(spi)).unwrap_or(0.0);
    sas.sort_by(|a, b| packets(b.spi.0).total_cmp(&packets(a.spi.0)));
    let rows = sas.into_iter().map(|sa| {
        let series = Series::SaPackets(sa.spi.0);
        Row::new([
            Span::raw(sa.spi.to_string()),
            Span::raw(sa.group.clone()),
            Span::styled(sa.state.clone(), state_style(&sa.state)),
            Span::raw(format!("{:>12}", sa.lifetime_left_s.map_or_else(|| "-".into(), duration))),
            Span::raw(format!("{:>9}", rate(model.rate(&series)))),
            Span::raw(format!("{:>13}", bits(model.rate(&Series::SaOctets(sa.spi.0))))),
            Span::styled(format!("{:>7}", scaled(sa.errors as f64)), if sa.errors > 0 { WARN } else { DIM }),
            Span::raw(spark(&model.trail(&series, TRAIL.into()), TRAIL.into())),
        ])
    });
    let widths = [
        Constraint::Length(10),
        Constraint::Fill(1),
        Constraint::Length(12),
        Constraint::Length(12),
        Constraint::Length(9),
        Constraint::Length(13),
        Constraint::Length(7),
        Constraint::Length(TRAIL),
    ];
    let head =
        Row::new(["SPI", "group", "state", "        left", "packets/s", "      payload", " errors", ""])
            .style(DIM);
    let title = format!("SAs, {}", sample.sas.sas.len());
    frame.render_widget(Table::new(rows, widths).header(head).block(block(&title)), area);
}
