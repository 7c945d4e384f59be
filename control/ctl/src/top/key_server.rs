//! The view of a key server: what is asked of it, its groups, their members, what it refuses.

use super::member::right_aligned;
use super::model::{KEY_SERVER, Model, Series};
use super::parts::{BAD, DIM, HEAD, WARN, block, duration, rate, scaled, spark, state_style, title};
use super::sample::Sample;
use getvpn_ctl::reply::SyncReply;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Sparkline, Table};

/// Columns of a row of [`requests`], and what is between them and around; the rest is a sparkline's.
const COLUMNS: [u16; 3] = [16, 8, 8];
const BETWEEN: u16 = 3 + 2;

pub fn draw(frame: &mut Frame<'_>, model: &Model, sample: &Sample) {
    let groups = u16::try_from(sample.groups.groups.len()).unwrap_or(u16::MAX).clamp(1, 8);
    let asked = u16::try_from(KEY_SERVER.len()).unwrap_or(u16::MAX);
    let [head, traffic, middle, group_area, members] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(5),
        Constraint::Length(asked + 3),
        Constraint::Length(groups + 3),
        Constraint::Min(4),
    ])
    .areas(frame.area());
    title(frame, head, &sample.status, model.fault.as_deref());
    let [received, sent] = Layout::horizontal([Constraint::Fill(1); 2]).areas(traffic);
    datagrams(frame, received, model, "datagrams received", ("rx", Color::Green));
    datagrams(frame, sent, model, "datagrams sent", ("tx", Color::Cyan));
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(middle);
    requests(frame, left, model, sample);
    refusals(frame, right, model, sample);
    group_rows(frame, group_area, sample);
    member_rows(frame, members, sample);
}

fn datagrams(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    name: &str,
    (counter, colour): (&'static str, Color),
) {
    let series = Series::Counter(counter);
    let block = block(name);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [text, line] = Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(inner);
    frame.render_widget(Line::styled(format!("{} a second", rate(model.rate(&series))), HEAD), text);
    let trail = model.trail(&series, line.width.into());
    let sparkline =
        Sparkline::default().data(right_aligned(&trail, line.width)).style(Style::new().fg(colour));
    frame.render_widget(sparkline, line);
}

fn requests(frame: &mut Frame<'_>, area: Rect, model: &Model, sample: &Sample) {
    let [name_width, count_width, rate_width] = COLUMNS;
    let trail = area.width.saturating_sub(COLUMNS.iter().sum::<u16>() + BETWEEN);
    let rows = KEY_SERVER.iter().map(|&name| {
        let series = Series::Counter(name);
        let count = sample.counters.key_server.get(name).copied().unwrap_or_default();
        Row::new([
            Span::raw(name),
            Span::raw(format!("{:>8}", scaled(count as f64))),
            Span::raw(format!("{:>8}", rate(model.rate(&series)))),
            Span::raw(spark(&model.trail(&series, trail.into()), trail.into())),
        ])
    });
    let head = Row::new(["", "  number", "      /s", ""]).style(DIM);
    frame.render_widget(
        Table::new(rows, [name_width, count_width, rate_width, trail])
            .header(head)
            .block(block("requests and rekeys")),
        area,
    );
}

fn refusals(frame: &mut Frame<'_>, area: Rect, model: &Model, sample: &Sample) {
    if sample.drops.drops.is_empty() {
        frame.render_widget(Paragraph::new("none").style(DIM).block(block("refused")), area);
        return;
    }
    let rows = sample.drops.drops.iter().map(|drop| {
        let per_s = model.rate(&Series::Drop(drop.reason.clone()));
        let style = if per_s.is_some_and(|rate| rate > 0.0) { BAD } else { Style::new() };
        Row::new([
            Span::styled(drop.reason.clone(), style),
            Span::raw(format!("{:>8}", scaled(drop.count as f64))),
            Span::styled(format!("{:>7}", rate(per_s)), style),
        ])
    });
    let head = Row::new(["reason", "  number", "     /s"]).style(DIM);
    let widths = [Constraint::Fill(1), Constraint::Length(8), Constraint::Length(7)];
    frame.render_widget(Table::new(rows, widths).header(head).block(block("refused")), area);
}

fn group_rows(frame: &mut Frame<'_>, area: Rect, sample: &Sample) {
    let left = |s: Option<u64>| s.map_or_else(|| "-".into(), duration);
    let rows = sample.groups.groups.iter().map(|group| {
        Row::new([
            Span::raw(group.name.clone()),
            Span::styled(group.state.clone(), state_style(&group.state)),
            Span::raw(format!("{:>7}", group.members)),
            Span::styled(format!("{:>6}", group.silent), if group.silent > 0 { WARN } else { DIM }),
            Span::raw(format!("{:>4}", group.sas)),
            Span::raw(format!("{:>12}", left(group.next_rekey_s))),
            Span::raw(format!("{:>12}", left(group.kek_left_s))),
            Span::raw(format!("{:>7}", group.sender_ids_left)),
        ])
    });
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(17),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(4),
        Constraint::Length(12),
        Constraint::Length(12),
        Constraint::Length(9),
    ];
    let head = ["group", "state", "members", "silent", " SAs", "  next rekey", "    KEK left", "SIDs left"];
    frame.render_widget(
        Table::new(rows, widths).header(Row::new(head).style(DIM)).block(block("groups")),
        area,
    );
}

fn member_rows(frame: &mut Frame<'_>, area: Rect, sample: &Sample) {
    let SyncReply::KeyServer(sync) = &sample.sync else { return };
    let mut members: Vec<_> = sync
        .groups
        .iter()
        .flat_map(|group| group.members.iter().map(move |member| (&group.name, member)))
        .collect();
    // Whoever needs looking at stands first: there may be more than fit.
    members.sort_by_key(|(_, member)| match member.state.as_str() {
        "silent" => 0,
        "behind" => 1,
        _ => 2,
    });
    let rows = members.iter().map(|(group, member)| {
        let asked: u64 = member.invalid_spi.by_name().iter().map(|(_, n)| n).sum();
        Row::new([
            Span::raw((*group).clone()),
            Span::raw(member.name.clone()),
            Span::raw(member.address.to_string()),
            Span::styled(member.state.clone(), state_style(&member.state)),
            Span::styled(format!("{:>6}", member.missed), if member.missed > 0 { WARN } else { DIM }),
            Span::raw(format!("{:>11}", scaled(asked as f64))),
        ])
    });
    let widths = [
        Constraint::Length(14),
        Constraint::Fill(1),
        Constraint::Length(22),
        Constraint::Length(8),
        Constraint::Length(6),
        Constraint::Length(11),
    ];
    let head = Row::new(["group", "member", "address", "state", "missed", "INVALID-SPI"]).style(DIM);
    let title = format!("members, {}", members.len());
    frame.render_widget(Table::new(rows, widths).header(head).block(block(&title)), area);
}
