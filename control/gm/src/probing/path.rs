//! The events of a probe put together packet by packet: the way of each, as far as it is known.

use getvpn_dataplane::DropReason;
use getvpn_dataplane::probe::{Event, Outgoing, Point};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What is told of one packet, in order; at least one event.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) events: Vec<Event>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Left(Outgoing),
    Dropped(DropReason),
    /// It waits, or nobody knows.
    Open,
}

impl Path {
    pub(super) fn first(&self) -> Option<&Event> {
        self.events.first()
    }

    /// The last word on it: a port may refuse what it was given.
    pub(super) fn outcome(&self) -> Outcome {
        let word = self.events.iter().rev().find_map(|event| match event.point {
            Point::Dropped(reason) => Some(Outcome::Dropped(reason)),
            Point::Sent(leaving) if leaving != Outgoing::Fragment => Some(Outcome::Left(leaving)),
            Point::Diverted => Some(Outcome::Left(Outgoing::Own)),
            _ => None,
        });
        word.unwrap_or(Outcome::Open)
    }
}

/// Packets on their way.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// By worker and number.
    open: HashMap<(u16, u32), Open>,
    /// Told once, and of no other event; since when.
    alone: Vec<(Instant, Path)>,
}

#[derive(Debug)]
struct Open {
    path: Path,
    since: Instant,
    last: Instant,
}

/// Further fragments come in the same turn of the worker: nothing comes after so long.
const SETTLED: Duration = Duration::from_millis(3);
/// No packet waits for longer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Packets on their way at the most.
const OPEN: usize = 20_000;
/// Events of a packet at the most.
const EVENTS: usize = 100;

impl Paths {
    pub(super) fn add(&mut self, event: Event, now: Instant) {
        if event.packet == 0 {
            return self.alone.push((now, Path { events: vec![event] }));
        }
        let key = (event.worker, event.packet);
        if let Some(open) = self.open.get_mut(&key) {
            open.last = now;
            if open.path.events.len() < EVENTS {
                open.path.events.push(event);
            }
        } else if self.open.len() < OPEN && matches!(event.point, Point::Arrived(_)) {
            self.open.insert(key, Open { path: Path { events: vec![event] }, since: now, last: now });
        }
    }

    /// Takes out those that nothing more will be told of, in the order in which they arrived.
    pub(super) fn complete(&mut self, now: Instant) -> Vec<Path> {
        let over = |_: &(u16, u32), open: &mut Open| {
            let settled = now.saturating_duration_since(open.last) >= SETTLED;
            settled && open.path.outcome() != Outcome::Open
                || now.saturating_duration_since(open.since) >= PATIENCE
        };
        let mut done: Vec<Path> = self.open.extract_if(over).map(|(_, open)| open.path).collect();
        // No sooner than the others of their burst, which would be left behind.
        let settled = |(since, _): &mut (Instant, Path)| now.saturating_duration_since(*since) >= SETTLED;
        done.extend(self.alone.extract_if(.., settled).map(|(_, path)| path));
        in_order(done)
    }

    /// Takes out all of them.
    pub(super) fn drain(&mut self) -> Vec<Path> {
        let open = self.open.drain().map(|(_, open)| open.path);
        in_order(open.chain(self.alone.drain(..).map(|(_, path)| path)).collect())
    }
}

fn in_order(mut paths: Vec<Path>) -> Vec<Path> {
    paths.sort_by_key(|path| path.first().map(|event| (event.at, event.worker, event.packet)));
    paths
}
