//! Traced packets for people: a line for each packet, and one for each step of its way.

use super::text::sentence;
use super::{L, cell, plain};
use crate::esp_keys::unknown_to_wireshark;
use crate::reply::{ExportedSas, ProbePage, ProbeStarted, TracedPacket};
use comfy_table::{ColumnConstraint, Width};

/// Columns of the names of steps, with what is around them.
const NAMES: u16 = 13;

/// A packet; `number` is its place in the trace.
#[must_use]
pub fn traced_packet(packet: &TracedPacket, number: u64) -> String {
    let outcome = match &packet.drop {
        Some(reason) => format!("dropped: {reason}"),
        None => packet.outcome.clone(),
    };
    let head = format!(
        "packet {number}, {} UTC, link {}, {}, worker {}: {outcome}",
        time_of_day(packet.unix_us),
        packet.link,
        packet.direction,
        packet.worker,
    );
    let mut steps = plain();
    for step in &packet.steps {
        steps.add_row(vec![cell(&step.step, L), cell(&step.says, L)]);
    }
    for (column, padding) in steps.column_iter_mut().zip([(2, 2), (0, 0)]) {
        column.set_padding(padding);
    }
    if let Some(names) = steps.column_mut(0) {
        names.set_constraint(ColumnConstraint::Absolute(Width::Fixed(NAMES)));
    }
    let mut out = format!("{}\n", sentence(&head));
    for line in steps.lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// How it ended, and what was missed.
#[must_use]
pub fn probe_end(page: &ProbePage, shown: u64, what: &str) -> String {
    let ended = page.ended.as_deref().unwrap_or("it runs on");
    let mut said = vec![format!("{shown} {what}, {} packets matched: {ended}", page.matched)];
    if page.skipped > 0 {
        said.push(format!(
            "{} of them were skipped, wholly or in part, to keep to the workers' budget: narrow the filter",
            page.skipped
        ));
    }
    if page.not_looked_at > 0 {
        said.push(format!(
            "{} others were not looked at, to keep to the workers' budget: name a --link and a --direction",
            page.not_looked_at
        ));
    }
    if page.lost > 0 {
        said.push(format!("{} of them came faster than they were read", page.lost));
    }
    said.iter().map(|text| format!("{}\n", sentence(text))).collect()
}

/// What is said aloud when a capture begins that goes `to` a file.
#[must_use]
pub fn capture_warning(started: &ProbeStarted, to: &str) -> String {
    sentence(&format!(
        "getvpnctl: capturing for {} s at most: {to} will hold packets in the clear; keep it as secret as they are",
        started.ends_in_s
    ))
}

/// What is said aloud when keys are written `to` somewhere.
#[must_use]
pub fn export_warning(exported: &ExportedSas, to: &str) -> String {
    let mut said = sentence(&format!(
        "getvpnctl: WRITES KEYS of {} SAs to {to}. Whoever has them can read, and forge, everything that is protected \
         with these SAs, from their first packet to their last, at every member of the group; nothing is recalled when \
         the file is deleted. The member has noted that you asked.",
        exported.sas.len()
    ));
    let unknown = unknown_to_wireshark(&exported.sas);
    if !unknown.is_empty() {
        said.push('\n');
        let unknown = unknown.join(", ");
        said.push_str(&sentence(&format!(
            "getvpnctl: left out, since Wireshark cannot open them: {unknown}"
        )));
    }
    said
}

fn time_of_day(unix_us: u64) -> String {
    let (seconds, us) = (unix_us / 1_000_000 % 86_400, unix_us % 1_000_000);
    format!("{:02}:{:02}:{:02}.{us:06}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::TraceStep;

    fn step(step: &str, says: &str) -> TraceStep {
        TraceStep { step: step.into(), says: says.into() }
    }

    #[test]
    fn a_packet_is_a_line_and_its_steps_are_lines_below_it_within_100_columns() {
        let packet = TracedPacket {
            unix_us: 1_700_000_000_000_042,
            worker: 1,
            link: "site".into(),
            direction: "in".into(),
            outcome: "dropped".into(),
            drop: Some("authentication".into()),
            steps: vec![
                step("received", "on site WAN, 156 octets"),
                step("dropped", &"authentication ".repeat(20)),
            ],
        };
        let text = traced_packet(&packet, 3);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "packet 3, 22:13:20.000042 UTC, link site, in, worker 1: dropped: authentication"
        );
        assert_eq!(lines[1], "  received   on site WAN, 156 octets");
        assert!(lines[2].starts_with("  dropped    authentication"), "{text}");
        assert!(lines.len() > 4 && lines.iter().all(|line| line.len() <= 100));
        assert!(lines[3].starts_with("             authentication"));
    }

    #[test]
    fn the_end_says_what_was_missed() {
        let page = ProbePage { matched: 9, skipped: 2, not_looked_at: 3, lost: 1, ..ProbePage::default() };
        let text = probe_end(&ProbePage { ended: Some("6 packets came".into()), ..page }, 6, "packets");
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains("\n3 others were not looked at"), "{text}");
        assert!(text.starts_with("6 packets, 9 packets matched: 6 packets came\n2 of them"), "{text}");
        let whole = ProbePage { ended: Some("time is up".into()), ..ProbePage::default() };
        assert_eq!(probe_end(&whole, 0, "packets").lines().count(), 1);
    }
}
