//! What both views are made of: numbers with units, bars and sparklines of one line.

use getvpn_ctl::reply::Status;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Paragraph};

pub const HEAD: Style = Style::new().add_modifier(Modifier::BOLD);
pub const DIM: Style = Style::new().fg(Color::DarkGray);
pub const GOOD: Style = Style::new().fg(Color::Green);
pub const WARN: Style = Style::new().fg(Color::Yellow);
pub const BAD: Style = Style::new().fg(Color::Red);

/// The first line: who this is, and what is wrong with asking it.
pub fn title(frame: &mut Frame<'_>, area: Rect, status: &Status, fault: Option<&str>) {
    let mut line = vec![
        Span::styled(format!("getvpn-{} {}", status.role, status.version), HEAD),
        Span::raw(format!("  process {}  up {}", status.pid, duration(status.uptime_s))),
    ];
    for link in &status.links {
        line.push(Span::raw(format!("  {}: ", link.name)));
        for (side, up) in [("LAN", link.lan_up), ("WAN", link.wan_up)] {
            let text = format!("{side} {} ", if up { "up" } else { "down" });
            line.push(Span::styled(text, if up { GOOD } else { BAD }));
        }
    }
    match fault {
        Some(fault) => {
            line.push(Span::styled(format!("  no answer: {fault}"), BAD.add_modifier(Modifier::BOLD)))
        }
        None => line.push(Span::styled("  q quits", DIM)),
    }
    frame.render_widget(Paragraph::new(Line::from(line)), area);
}

/// A frame around a part.
pub fn block(title: &str) -> Block<'_> {
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(DIM)
        .title(Span::styled(format!(" {title} "), HEAD))
}

/// A number with a unit's prefix, four digits at most: 999, 12.3 k, 4.56 M.
pub fn scaled(n: f64) -> String {
    let mut n = n;
    for prefix in ["", " k", " M", " G", " T"] {
        if n < 999.5 || prefix == " T" {
            return match (prefix, n) {
                ("", n) if n == 0.0 || n >= 10.0 => format!("{n:.0}"),
                ("", n) => format!("{n:.1}"),
                (prefix, ..9.995) => format!("{n:.2}{prefix}"),
                (prefix, ..99.95) => format!("{n:.1}{prefix}"),
                (prefix, n) => format!("{n:.0}{prefix}"),
            };
        }
        n /= 1000.0;
    }
    String::new()
}

/// The same of a rate that may not be known yet.
pub fn rate(n: Option<f64>) -> String {
    n.map_or_else(|| "-".into(), scaled)
}

/// Octets a second as bits a second.
pub fn bits(octets: Option<f64>) -> String {
    octets.map_or_else(
        || "-".into(),
        |octets| {
            let text = scaled(octets * 8.0);
            let unit = if text.contains(' ') { "bit/s" } else { " bit/s" };
            format!("{text}{unit}")
        },
    )
}

/// A trail as one line of blocks, the newest at its right end; 0 is a space.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index below nine")]
pub fn spark(trail: &[f64], width: usize) -> String {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let trail = &trail[trail.len().saturating_sub(width)..];
    let most = trail.iter().copied().fold(0.0, f64::max);
    let blocks = trail.iter().map(|&n| match n {
        n if n <= 0.0 => BLOCKS[0],
        n => BLOCKS[((n / most * 8.0).ceil() as usize).clamp(1, 8)],
    });
    std::iter::repeat_n(' ', width - trail.len()).chain(blocks).collect()
}

/// A share of 1 as a bar.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the width")]
pub fn bar(share: f64, width: usize) -> String {
    let full = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    "█".repeat(full) + &"░".repeat(width - full)
}

/// Seconds in the two units that say most.
pub fn duration(s: u64) -> String {
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86400, s / 3600 % 24),
    }
}

/// Of a load, or a group's or a member's state.
pub fn load_style(share: f64) -> Style {
    match share {
        0.95.. => BAD,
        0.8.. => WARN,
        _ => GOOD,
    }
}

/// Of a state by its name.
pub fn state_style(state: &str) -> Style {
    match state {
        "in-step" | "manual" | "serving" | "active" => GOOD,
        "silent" | "no-sa" => BAD,
        _ => WARN,
    }
}
