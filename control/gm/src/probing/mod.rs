//! Traces and captures at the control thread: one at a time, turned on in the data plane, its events put
//! together packet by packet, and handed out page by page to whoever reads. It ends when it has enough,
//! when its time is up, or when it is not read any more. Control thread; time is passed in.

mod filter;
mod frames;
mod path;
mod says;

use getvpn_ctl::probe::{Bounds, Filter, MAX_TRACE_SECONDS, MAX_TRACED, Side, Stage};
use getvpn_ctl::reply::{CapturedFrame, ProbePage, ProbePort, ProbeStarted, TracedPacket};

use getvpn_ctl::{Fault, FaultCode, Peer};
use getvpn_dataplane::probe::{Budget, Event, ProbeCounts, ProbeFilter, ProbeSpec};
use getvpn_dataplane::{Dataplane, ExplainedRule, LinkConfig};
use path::{Path, Paths};
use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tracing::info;

use crate::sad::Sad;
use frames::Wanted;

/// A probe that is not read for so long ends; what it has met is kept for as long again.
const LEASE: Duration = Duration::from_secs(2);
/// Octets of a frame that a trace needs: its headers.
const TRACE_SNAPLEN: u16 = 200;
/// Octets of frames in a page, so that the control thread is not held up by writing it.
const PAGE_OCTETS: usize = 256 * 1024;
/// Packets in a page.
const PAGE_PACKETS: usize = 1000;
/// Octets of frames, and packets, that wait to be read.
const WAITING_OCTETS: usize = 16 * 1024 * 1024;
const WAITING_PACKETS: usize = 20_000;

/// What the replies are made with.
pub struct Around<'a> {
    /// The SAs and the names of their groups.
    pub sad: &'a Sad,
    /// The links.
    pub links: &'a [LinkConfig],
}

/// Finds the rule of a number.
type Rules<'a> = &'a dyn Fn(u32) -> Option<ExplainedRule>;

/// The probe of a member, if there is one.
#[derive(Debug, Default)]
pub struct Probing {
    /// The number of the last one.
    last: u32,
    session: Option<Session>,
}

#[derive(Debug)]
enum Kind {
    Trace { count: u64 },
    Capture { wanted: Wanted, bounds: Bounds },
}

#[derive(Debug)]
struct Session {
    number: u32,
    kind: Kind,
    owner: Peer,
    started: Instant,
    until: Instant,
    read: Instant,
    paths: Paths,
    packets: VecDeque<TracedPacket>,
    frames: VecDeque<CapturedFrame>,
    /// Octets in `frames`.
    waiting: usize,
    /// Packets or frames that were handed over to be read, and octets of the latter.
    found: u64,
    octets: u64,
    lost: u64,
    counts: ProbeCounts,
    /// Why it is over.
    ended: Option<String>,
}

impl Probing {
    /// Begins a trace for `owner`.
    ///
    /// # Errors
    /// When an argument is wrong, or another probe is on.
    pub fn trace(
        &mut self,
        plane: &mut Dataplane,
        links: &[LinkConfig],
        owner: Peer,
        (filter, count, timeout_s): (&Filter, u32, u32),
        now: Instant,
    ) -> Result<ProbeStarted, Fault> {
        within("count", u64::from(count), u64::from(MAX_TRACED))?;
        within("timeout_s", u64::from(timeout_s), u64::from(MAX_TRACE_SECONDS))?;
        let kind = Kind::Trace { count: count.into() };
        self.begin(plane, links, owner, kind, filter, TRACE_SNAPLEN, timeout_s, now)
    }

    /// Begins a capture for `owner`.
    ///
    /// # Errors
    /// When an argument is wrong, or another probe is on.
    pub fn capture(
        &mut self,
        plane: &mut Dataplane,
        links: &[LinkConfig],
        owner: Peer,
        (filter, side, stage, bounds): (&Filter, Side, Stage, Bounds),
        now: Instant,
    ) -> Result<ProbeStarted, Fault> {
        within("bounds.packets", bounds.packets.into(), Bounds::MAX_PACKETS.into())?;
        within("bounds.octets", bounds.octets, Bounds::MAX_OCTETS)?;
        within("bounds.seconds", bounds.seconds.into(), Bounds::MAX_SECONDS.into())?;
        within("bounds.snaplen", bounds.snaplen.into(), Bounds::MAX_SNAPLEN.into())?;
        let kind = Kind::Capture { wanted: Wanted { side, stage }, bounds };
        let snaplen = u16::try_from(bounds.snaplen).unwrap_or(u16::MAX);
        self.begin(plane, links, owner, kind, filter, snaplen, bounds.seconds, now)
    }

    #[expect(clippy::too_many_arguments, reason = "a probe is all of this")]
    fn begin(
        &mut self,
        plane: &mut Dataplane,
        links: &[LinkConfig],
        owner: Peer,
        kind: Kind,
        filter: &Filter,
        snaplen: u16,
        seconds: u32,
        now: Instant,
    ) -> Result<ProbeStarted, Fault> {
        let filter: ProbeFilter = filter::read(filter, links)?;
        if let Some(other) = self.session.as_ref().filter(|session| session.ended.is_none()) {
            return Err(Fault::new(FaultCode::Busy, other.describe(now)));
        }
        self.last = self.last.wrapping_add(1);
        plane.probe().start(&ProbeSpec { filter, snaplen, budget: Budget::default() });
        let what = kind.name();
        info!(event = "probe_started", probe = self.last, what, %owner, "{what} {} begun by {owner}", self.last);
        self.session = Some(Session {
            number: self.last,
            kind,
            owner,
            started: now,
            until: now + Duration::from_secs(seconds.into()),
            read: now,
            paths: Paths::default(),
            packets: VecDeque::new(),
            frames: VecDeque::new(),
            waiting: 0,
            found: 0,
            octets: 0,
            lost: 0,
            counts: ProbeCounts::default(),
            ended: None,
        });
        let ports = links.iter().flat_map(|link| [(link, "lan", &link.lan), (link, "wan", &link.wan)]);
        Ok(ProbeStarted {
            probe: self.last,
            ends_in_s: seconds,
            read_within_ms: u32::try_from(LEASE.as_millis()).unwrap_or(u32::MAX),
            ports: ports
                .map(|(link, side, device)| ProbePort {
                    link: link.name.clone(),
                    side: side.into(),
                    device: device.clone(),
                })
                .collect(),
        })
    }

    /// Takes what the workers have told, and ends what is over.
    pub fn tick(&mut self, plane: &mut Dataplane, around: &Around<'_>, now: Instant) {
        let Some(session) = &mut self.session else { return };
        if session.ended.is_some() {
            if now.saturating_duration_since(session.read) >= LEASE {
                self.session = None;
            }
            return;
        }
        let clock = Clock::now();
        plane.probe().take(|event| session.paths.add(event, now));
        session.counts = plane.probe().counts();
        let done = session.paths.complete(now);
        session.found(done, &|number| plane.rule(number), around, &clock);
        let over = if session.has_enough() {
            session.enough()
        } else if now >= session.until {
            "time is up".to_owned()
        } else if now.saturating_duration_since(session.read) >= LEASE {
            "nobody reads it any more".to_owned()
        } else {
            return;
        };
        session.end(over, plane, around, now);
    }

    /// What has come since the last time; `stop` ends it.
    ///
    /// # Errors
    /// When there is no such probe.
    pub fn read(
        &mut self,
        plane: &mut Dataplane,
        around: &Around<'_>,
        peer: Peer,
        (probe, stop): (u32, bool),
        now: Instant,
    ) -> Result<ProbePage, Fault> {
        let Some(session) = self.session.as_mut().filter(|session| session.number == probe) else {
            let text =
                format!("there is no probe {probe}: it was not read in time, or the member began anew");
            return Err(Fault::new(FaultCode::NotFound, text));
        };
        // What was begun by root may hold what others must not see.
        if peer.uid != session.owner.uid && peer.uid != 0 {
            let text = format!("probe {probe} is of {}", session.owner);
            return Err(Fault::new(FaultCode::Forbidden, text));
        }
        session.read = now;
        if stop && session.ended.is_none() {
            session.end("stopped".into(), plane, around, now);
        }
        Ok(session.page())
    }
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Kind::Trace { .. } => "trace",
            Kind::Capture { .. } => "capture",
        }
    }
}

impl Session {
    fn describe(&self, now: Instant) -> String {
        format!(
            "{} {} of {} is on since {} s and ends within {} s; there is one probe at a time",
            self.kind.name(),
            self.number,
            self.owner,
            now.saturating_duration_since(self.started).as_secs(),
            self.until.saturating_duration_since(now).as_secs() + 1,
        )
    }

    fn has_enough(&self) -> bool {
        match &self.kind {
            Kind::Trace { count } => self.found >= *count,
            Kind::Capture { bounds, .. } => {
                self.found >= u64::from(bounds.packets) || self.octets >= bounds.octets
            }
        }
    }

    fn enough(&self) -> String {
        match &self.kind {
            Kind::Trace { count } => format!("{count} were asked for"),
            Kind::Capture { bounds, .. } if self.found >= u64::from(bounds.packets) => {
                format!("{} frames were asked for", bounds.packets)
            }
            Kind::Capture { bounds, .. } => format!("{} octets were asked for", bounds.octets),
        }
    }

    /// Hands over packets to be read.
    fn found(&mut self, paths: Vec<Path>, rules: Rules<'_>, around: &Around<'_>, clock: &Clock) {
        for path in paths {
            if self.has_enough() {
                return;
            }
            match &self.kind {
                Kind::Trace { .. } => {
                    self.found += 1;
                    if self.packets.len() >= WAITING_PACKETS {
                        self.lost += 1;
                    } else {
                        self.packets.push_back(says::packet(&path, rules, around, clock));
                    }
                }
                Kind::Capture { wanted, .. } => {
                    for (frame, octets) in frames::of(&path, wanted, clock) {
                        if self.has_enough() {
                            return;
                        }
                        self.found += 1;
                        self.octets += octets as u64;
                        if self.waiting + octets > WAITING_OCTETS {
                            self.lost += 1;
                        } else {
                            self.waiting += octets;
                            self.frames.push_back(frame);
                        }
                    }
                }
            }
        }
    }

    fn end(&mut self, why: String, plane: &mut Dataplane, around: &Around<'_>, now: Instant) {
        plane.probe().stop();
        plane.probe().take(|event| self.paths.add(event, now));
        self.counts = plane.probe().counts();
        let rest = self.paths.drain();
        self.found(rest, &|number| plane.rule(number), around, &Clock::now());
        let (what, number, counts) = (self.kind.name(), self.number, self.counts);
        info!(
            event = "probe_ended",
            probe = number,
            what,
            why,
            matched = counts.matched,
            skipped = counts.skipped,
            not_looked_at = counts.not_looked_at,
            "{what} {number} of {} is over: {why}",
            self.owner
        );
        self.ended = Some(why);
    }

    fn page(&mut self) -> ProbePage {
        let mut page = ProbePage {
            probe: self.number,
            packets: self.packets.drain(..self.packets.len().min(PAGE_PACKETS)).collect(),
            matched: self.counts.matched,
            skipped: self.counts.skipped,
            not_looked_at: self.counts.not_looked_at,
            lost: self.lost,
            ..ProbePage::default()
        };
        let mut octets = 0;
        while octets < PAGE_OCTETS
            && let Some(frame) = self.frames.pop_front()
        {
            octets += frame.octets.len() / 2;
            page.frames.push(frame);
        }
        self.waiting = self.waiting.saturating_sub(octets);
        page.running = self.ended.is_none() || !self.packets.is_empty() || !self.frames.is_empty();
        page.ended = self.ended.clone().filter(|_| !page.running);
        page
    }
}

/// An argument that may be 1 to `most`.
fn within(name: &str, value: u64, most: u64) -> Result<(), Fault> {
    match value {
        0 => Err(Fault::new(FaultCode::InvalidArgument, format!("{name} is 0: at least 1"))),
        _ if value > most => {
            Err(Fault::new(FaultCode::InvalidArgument, format!("{name} is {value}: at most {most}")))
        }
        _ => Ok(()),
    }
}

/// What the time-stamp counter and the clock say at the same moment.
#[derive(Clone, Copy, Debug)]
struct Clock {
    cycles: u64,
    hz: u64,
    unix_ns: u64,
}

impl Clock {
    fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock {
            cycles: dpdk::cycles(),
            hz: dpdk::cycles_hz().max(1),
            unix_ns: u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// When an event was, which is past.
    fn unix_ns(&self, event: &Event) -> u64 {
        let ago = u128::from(self.cycles.saturating_sub(event.at)) * 1_000_000_000 / u128::from(self.hz);
        self.unix_ns.saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
