//! The frames of a packet as a capture has them: as it came, with a comment when it was dropped, and as
//! it left.

use super::Clock;
use super::path::{Outcome, Path};
use getvpn_ctl::probe::{Side, Stage};
use getvpn_ctl::reply::CapturedFrame;
use getvpn_dataplane::probe::{Event, Heading, Outgoing, Point};
use std::fmt::Write;

/// Which frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) side: Side,
    pub(super) stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    Lan,
    Wan,
}

impl Wanted {
    fn takes(&self, port: Port, sent: bool) -> bool {
        let side = match self.side {
            Side::Lan => port == Port::Lan,
            Side::Wan => port == Port::Wan,
            Side::Both => true,
        };
        let stage = match self.stage {
            Stage::Before => !sent,
            Stage::After => sent,
            Stage::Both => true,
        };
        side && stage
    }
}

/// The frames, each with the number of its octets that were taken.
pub(super) fn of(path: &Path, wanted: &Wanted, clock: &Clock) -> Vec<(CapturedFrame, usize)> {
    let mut frames = Vec::new();
    let mut add = |event: &Event, port: Port, sent: bool, comment: Option<String>| {
        if wanted.takes(port, sent) {
            let frame = CapturedFrame {
                unix_ns: clock.unix_ns(event),
                port: 2 * u32::from(event.link) + u32::from(port == Port::Wan),
                sent,
                length: event.length,
                octets: digits(&event.octets),
                comment,
            };
            frames.push((frame, event.octets.len()));
        }
    };
    for event in &path.events {
        let (from, to) = match event.heading {
            Heading::In => (Port::Wan, Port::Lan),
            Heading::Out => (Port::Lan, Port::Wan),
        };
        match event.point {
            Point::Arrived(_) => add(event, from, false, comment(path, event)),
            // Told only now, so it crosses as it came.
            Point::Sent(Outgoing::Bypassed) if event.packet == 0 => {
                add(event, from, false, None);
                add(event, to, true, None);
            }
            Point::Sent(Outgoing::Icmp) => {
                add(event, Port::Lan, true, Some("an ICMP error of the member's own".into()));
            }
            Point::Diverted => {
                add(event, from, false, Some("for this machine itself, to its exception port".into()));
            }
            Point::Sent(Outgoing::Own) => {
                add(event, Port::Wan, true, Some("of this machine itself, from its exception port".into()));
            }
            Point::Sent(_) => add(event, to, true, None),
            // A packet whose beginning was told is in the capture already.
            Point::Dropped(_) if event.packet == 0 => add(event, from, false, comment(path, event)),
            Point::Dropped(_) | Point::Parked | Point::Held | Point::Released => {}
        }
    }
    frames
}

/// What is said of a packet that did not go through.
fn comment(path: &Path, event: &Event) -> Option<String> {
    let reassembled = (event.frames > 1).then(|| format!("put together from {} fragments", event.frames));
    let became = match path.outcome() {
        Outcome::Dropped(reason) => {
            Some(format!("dropped: {}: {}; {}", reason.name(), reason.meaning(), reason.advice()))
        }
        Outcome::Open => Some("it waited for more when the capture last saw it".to_owned()),
        Outcome::Left(_) => None,
    };
    match (reassembled, became) {
        (Some(a), Some(b)) => Some(format!("{a}; {b}")),
        (a, b) => a.or(b),
    }
}

fn digits(octets: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * octets.len());
    for octet in octets {
        let _ = write!(digits, "{octet:02x}");
    }
    digits
}
