//! The worker's end of the probe: what is in force, what of its budget is left, and the ring. Owned by one
//! worker; never waits or allocates.

use std::sync::Arc;

use crossbeam::utils::CachePadded;
use dpdk::{BURST, Burst, Mbuf};

use super::event::{Facts, Point, Telling, records};
use super::filter::Stand;
use super::{Budget, Counts, Heading, Program, WORDS};
use crate::packet::Headers;
use crate::publish::Subscriber;
use crate::ring::Producer;
use crate::sync::{AtomicU64, Ordering};
use crate::verdict::DropReason;

/// Octets of each packet that are kept while it is opened in place, for a probe of what is dropped after.
pub(super) const KEPT: usize = 128;

/// A worker's tap.
#[derive(Debug)]
pub struct Tap {
    worker: u16,
    programs: Subscriber<Program>,
    ring: Producer<WORDS>,
    counts: Arc<CachePadded<Counts>>,
    millisecond: u64,
    on: bool,
    /// Whether the packets of this burst are looked at, where the filter wants it.
    looking: bool,
    /// The only one of them that is, where there is one: the others' marks are not of their making.
    only: Option<u32>,
    version: u64,
    pub(super) program: Program,
    /// Which way the packets of this burst go.
    pub(super) heading: Heading,
    /// The number of the last packet that was marked.
    last: u32,
    /// What is left of the budget, of each way of each link.
    left: Box<[Left]>,
    /// How many of these the program is for: what each has a share of.
    shares: u32,
    /// How many bursts were looked at.
    bursts: usize,
    /// Entry n is of the nth packet that is being opened: its octets, and how many there were.
    kept: Box<[Kept; BURST]>,
}

/// What may be looked at, and told, until then.
#[derive(Clone, Copy, Debug, Default)]
struct Left {
    until: u64,
    looks: u32,
    events: u32,
    octets: u32,
}

/// How a packet began before it was opened in place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) octets: [u8; KEPT],
    pub(super) taken: u16,
    pub(super) headers: Option<Headers>,
}

impl Default for Kept {
    fn default() -> Self {
        Kept { octets: [0; KEPT], taken: 0, headers: None }
    }
}

impl Kept {
    pub(super) fn front(&self) -> &[u8] {
        self.octets.get(..usize::from(self.taken)).unwrap_or_default()
    }
}

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing: the packet was not looked at.
    None,
    /// It was looked at, and is not followed.
    PassedOver,
    /// It is followed under this number.
    Followed(u32),
    /// Its front is kept at this place.
    Kept(usize),
}

/// Numbers from here on are places of what is kept.
const KEPT_FROM: u32 = 1 << 31;

impl Tap {
    pub(super) fn new(
        worker: u16,
        links: u16,
        programs: Subscriber<Program>,
        ring: Producer<WORDS>,
        counts: Arc<CachePadded<Counts>>,
        millisecond: u64,
    ) -> Self {
        Tap {
            worker,
            programs,
            ring,
            counts,
            millisecond,
            on: false,
            looking: false,
            only: None,
            version: 0,
            program: Program::OFF,
            heading: Heading::In,
            last: 0,
            left: vec![Left::default(); 2 * usize::from(links.max(1))].into(),
            shares: 1,
            bursts: 0,
            kept: Box::new([Kept::default(); BURST]),
        }
    }

    /// A tap that is never opened.
    #[must_use]
    pub fn closed() -> Self {
        super::channel(1, 1, 1000).0.remove(0)
    }

    /// Takes note of what is in force now. To be called between bursts.
    #[inline]
    pub fn look(&mut self) {
        let (program, version) = self.programs.versioned();
        if version != self.version {
            (self.program, self.version) = (*program, version);
            self.on = self.program.id != 0;
            self.looks_away();
            self.left.fill(Left::default());
            let links = 0..u16::try_from(self.left.len() / 2).unwrap_or(u16::MAX);
            let ways = links.flat_map(|link| [Heading::In, Heading::Out].map(|heading| (link, heading)));
            let wanted = ways.filter(|&(link, heading)| self.program.filter.is_for(link, heading)).count();
            self.shares = u32::try_from(wanted).unwrap_or(u32::MAX).max(1);
        }
    }

    /// Whether anything is looked for.
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// Whether the packets of this burst are followed from where they arrive.
    #[inline(always)]
    pub(crate) fn follows(&self) -> bool {
        self.looking && self.program.filter.stand == Stand::Arrivals
    }

    /// Whether it is kept how they begin, before they are opened in place.
    #[inline(always)]
    pub(crate) fn keeps(&self) -> bool {
        self.looking && self.program.filter.stand == Stand::Openings
    }

    /// Whether those of them are looked at that are dropped for this reason.
    #[inline(always)]
    pub(crate) fn sees_drops(&self, reason: DropReason) -> bool {
        self.looking && self.program.filter.drop.is_none_or(|wanted| wanted == reason)
    }

    /// What follows has waited, and is looked at.
    pub(super) fn turn(&mut self, heading: Heading, link: u16) {
        (self.heading, self.only) = (heading, None);
        self.looking = self.program.filter.is_for(link, heading);
    }

    /// Whether packets that have arrived are looked at: as long as the budget lasts, or `whatever_it_costs`.
    /// Their marks are of what was in their buffers before; clearing them is the larger part of what it would
    /// cost to let packets go by, so they stay where nothing is looked at.
    #[inline(never)]
    pub(super) fn begin(
        &mut self,
        heading: Heading,
        link: u16,
        now: u64,
        whatever_it_costs: bool,
        burst: &mut Burst,
    ) {
        self.turn(heading, link);
        if !self.looking {
            return;
        }
        let at_drops = self.program.filter.stand == Stand::Drops;
        let affords = self.pays(if at_drops { 0 } else { burst.len() }, link, now);
        if !affords && !whatever_it_costs {
            add(&self.counts.not_looked_at, burst.len() as u64);
            self.looks_away();
        } else if !at_drops {
            burst.iter_mut().for_each(|mbuf| self.mark(mbuf, Mark::None));
        }
    }

    /// Nothing of this burst is looked at any more.
    fn looks_away(&mut self) {
        (self.looking, self.only) = (false, None);
    }

    /// Looks again in a burst that is not looked at: a packet has turned up that is followed under this number.
    pub(super) fn looks_back(&mut self, number: u32) {
        (self.looking, self.only) = (true, Some(number));
    }

    /// Takes packets from the budget for looking, and says whether anything was left of it. A burst is looked at as
    /// a whole or not at all, so there may be too many of them.
    pub(super) fn pays(&mut self, packets: usize, link: u16, now: u64) -> bool {
        let packets = u32::try_from(packets).unwrap_or(u32::MAX);
        self.left(link, now).is_some_and(|left| {
            let before = left.looks;
            left.looks = before.saturating_sub(packets);
            before > 0
        })
    }

    #[inline]
    pub(super) fn mark_of(&self, mbuf: &Mbuf) -> Mark {
        let mark = mbuf.mark();
        if mark >> 32 != self.front() {
            return if self.only.is_some() { Mark::PassedOver } else { Mark::None };
        }
        #[expect(clippy::cast_possible_truncation, reason = "the other half was looked at")]
        match mark as u32 {
            0 => Mark::PassedOver,
            number if self.only.is_some_and(|only| only != number) => Mark::PassedOver,
            number if number >= KEPT_FROM => Mark::Kept((number - KEPT_FROM) as usize),
            number => Mark::Followed(number),
        }
    }

    #[inline]
    pub(super) fn mark(&self, mbuf: &mut Mbuf, mark: Mark) {
        let number = match mark {
            Mark::None => return mbuf.set_mark(0),
            Mark::PassedOver => 0,
            Mark::Followed(number) => number,
            Mark::Kept(place) => KEPT_FROM + u32::try_from(place).unwrap_or(0),
        };
        mbuf.set_mark(self.front() << 32 | u64::from(number));
    }

    /// What all marks of this probe and worker begin with; never 0 while it is on.
    #[inline]
    fn front(&self) -> u64 {
        u64::from(self.program.id) << 16 | u64::from(self.worker)
    }

    /// What is left for the packets that go this way now.
    fn left(&mut self, link: u16, now: u64) -> Option<&mut Left> {
        let shares = self.shares;
        let way = 2 * usize::from(link) + usize::from(self.heading == Heading::Out);
        let left = self.left.get_mut(way)?;
        if now >= left.until {
            let Budget { looks, events, octets } = self.program.budget;
            // A packet and what becomes of it, at the least.
            let (looks, events, octets) =
                ((looks / shares).max(1), (events / shares).max(2), octets / shares);
            *left = Left { until: now + self.millisecond, looks, events, octets };
        }
        Some(left)
    }

    /// Where to begin to look at so many packets that have come together: at the first, or where they may be
    /// too many, at another one every time, so that each has its turn.
    pub(super) fn begins_at(&mut self, packets: usize, link: u16, now: u64) -> usize {
        self.bursts = self.bursts.wrapping_add(1);
        let enough = self.left(link, now).is_some_and(|left| left.events as usize >= 2 * packets);
        if enough { 0 } else { self.bursts }
    }

    /// Counts a packet that matches, and says whether the budget allows it to be told, with what becomes of
    /// it: its number. It is paid for then.
    pub(super) fn admit(&mut self, octets: usize, link: u16, now: u64) -> Option<u32> {
        bump(&self.counts.matched);
        let taken = octets.min(usize::from(self.program.snaplen));
        // As much again for what it has become when it leaves.
        let cost = u32::try_from(taken).unwrap_or(u32::MAX).saturating_mul(2);
        let has_room = self.ring.has_room(2 * records(taken));
        let left = self.left(link, now).filter(|left| has_room && left.events >= 2 && left.octets >= cost);
        let Some(left) = left else {
            bump(&self.counts.skipped);
            return None;
        };
        (left.events, left.octets) = (left.events - 2, left.octets - cost);
        self.last = (self.last + 1) % KEPT_FROM;
        self.last = self.last.max(1);
        Some(self.last)
    }

    /// Says whether something more may be told of a packet that was admitted: a packet becomes many
    /// fragments at times.
    pub(super) fn may_add(&mut self, link: u16, now: u64) -> bool {
        let paid = self.left(link, now).and_then(|left| {
            left.events = left.events.checked_sub(1)?;
            Some(())
        });
        if paid.is_none() {
            bump(&self.counts.skipped);
        }
        paid.is_some()
    }

    /// Tells.
    #[expect(clippy::too_many_arguments, reason = "they are what there is to tell")]
    pub(super) fn tell(
        &mut self,
        link: u16,
        packet: u32,
        frames: u16,
        at: u64,
        point: Point,
        facts: Facts,
        length: usize,
        octets: &[u8],
    ) {
        let octets = octets.get(..usize::from(self.program.snaplen)).unwrap_or(octets);
        let telling = Telling {
            probe: self.program.id,
            link,
            heading: self.heading,
            packet,
            frames,
            at,
            point,
            facts,
            length: u32::try_from(length).unwrap_or(u32::MAX),
            octets,
        };
        if !self.ring.has_room(records(octets.len())) {
            return bump(&self.counts.skipped);
        }
        let ring = &mut self.ring;
        telling.write(|record| {
            ring.push(record);
        });
    }

    pub(super) fn keep(&mut self, place: usize, frame: &[u8], headers: &Headers) {
        let Some(kept) = self.kept.get_mut(place) else { return };
        let taken = frame.len().min(KEPT);
        kept.octets[..taken].copy_from_slice(&frame[..taken]);
        kept.taken = u16::try_from(taken).unwrap_or(0);
        kept.headers = Some(*headers);
    }

    pub(super) fn kept(&self, place: usize) -> Option<Kept> {
        self.kept.get(place).copied()
    }
}

fn bump(count: &AtomicU64) {
    add(count, 1);
}

/// Only its worker writes it.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}
