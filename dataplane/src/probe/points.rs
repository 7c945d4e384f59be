//! The points of a pipeline where the probe looks at packets. Each is behind a branch of its caller, which
//! is never taken while nothing is looked for.

use dpdk::{BURST, Burst, Mbuf};

use super::Heading;
use super::event::{Decision, Facts, Point};
use super::filter::Stand;
use super::tap::Mark;
use crate::context::{Context, Lane};
use crate::egress::Outgoing;
use crate::packet::{Fragment, Headers, Parsed, esp, parse, protocol};
use crate::policy::{Action, Enforce, WithoutSa};
use crate::snapshot::Snapshot;
use crate::verdict::DropReason;

impl Context<'_> {
    /// What follows has waited, and goes that way.
    #[inline]
    pub(crate) fn probe_turns(&mut self, heading: Heading) {
        if self.tap.is_on() {
            self.tap.turn(heading, self.link);
        }
    }

    /// Packets have arrived that go that way.
    #[inline]
    pub(crate) fn probe_begins(&mut self, heading: Heading, burst: &mut Burst) {
        if self.tap.is_on() {
            // What was followed until it had to wait is followed to its end.
            let whatever_it_costs = heading == Heading::In && self.lot.is_due();
            self.tap.begin(heading, self.link, self.now, whatever_it_costs, burst);
        }
    }

    /// A datagram has been put together whose first fragment may be followed, although this burst is not
    /// looked at.
    #[inline]
    pub(crate) fn probe_rejoins(&mut self, mbuf: &Mbuf) {
        if self.tap.is_on()
            && !self.tap.follows()
            && let Mark::Followed(number) = self.tap.mark_of(mbuf)
        {
            self.tap.looks_back(number);
        }
    }

    /// Looks at packets that have arrived, in turn at those of each lane; the nth of `rules` is the rule of the
    /// nth packet, where policy was asked.
    #[cold]
    #[inline(never)]
    pub(crate) fn probe_arrivals<const LANES: usize>(
        &mut self,
        mut lanes: [&mut Lane; LANES],
        rules: Option<&[u32; BURST]>,
    ) {
        let counts = lanes.each_ref().map(|lane| lane.mbufs.len());
        let begin = self.tap.begins_at(counts.iter().sum(), self.link, self.now);
        let longest = counts.into_iter().max().unwrap_or(0);
        for n in 0..longest {
            for (lane, count) in lanes.iter_mut().zip(counts) {
                self.probe_arrival(lane, n, begin % count.max(1), rules);
            }
        }
    }

    /// Looks at the nth packet of a lane from `begin` on.
    #[inline(always)]
    fn probe_arrival(&mut self, lane: &mut Lane, n: usize, begin: usize, rules: Option<&[u32; BURST]>) {
        let count = lane.mbufs.len();
        if n >= count {
            return;
        }
        let place = if begin + n < count { begin + n } else { begin + n - count };
        let (mbuf, headers) = (&mut lane.mbufs[place], &lane.headers[place]);
        let mark = if self.tap.program.filter.has_ends(headers, mbuf.data()) {
            let rule = rules.and_then(|rules| rules.get(place)).copied();
            self.probe_looks(mbuf, headers, lane.frames[place], rule)
        } else {
            Mark::PassedOver
        };
        self.tap.mark(mbuf, mark);
    }

    /// Looks at a packet between the ends that are looked for.
    #[inline(never)]
    fn probe_looks(&mut self, mbuf: &Mbuf, headers: &Headers, frames: u16, rule: Option<u32>) -> Mark {
        let (wanted, heading) = (self.tap.program.filter.spi, self.tap.heading);
        let frame = mbuf.data();
        if wanted.is_some_and(|wanted| spi_of(frame, headers, heading, rule, self.snapshot) != wanted) {
            return Mark::PassedOver;
        }
        let Some(number) = self.tap.admit(frame.len(), self.link, self.now) else { return Mark::PassedOver };
        let (facts, decision) = facts_of(frame, headers, heading, rule, self.snapshot);
        let (length, point) = (mbuf.pkt_len(), Point::Arrived(decision));
        self.tap.tell(self.link, number, frames, self.now, point, facts, length, frame);
        Mark::Followed(number)
    }

    /// A packet waits from now on, which is told if there is a `point`. It must not be taken for what was in its
    /// buffer before.
    #[inline]
    pub(crate) fn probe_waits(&mut self, mbuf: &mut Mbuf, point: Option<Point>) {
        if self.tap.is_on() {
            if !self.tap.follows() {
                self.tap.mark(mbuf, Mark::PassedOver);
            } else if let Some(point) = point {
                self.probe_notes(mbuf, point);
            }
        }
    }

    /// A packet waits, or goes on.
    #[cold]
    #[inline(never)]
    fn probe_notes(&mut self, mbuf: &Mbuf, point: Point) {
        if let Mark::Followed(number) = self.tap.mark_of(mbuf)
            && self.tap.may_add(self.link, self.now)
        {
            self.tap.tell(self.link, number, 0, self.now, point, Facts::default(), mbuf.pkt_len(), &[]);
        }
    }

    /// A packet goes to the exception port.
    #[cold]
    #[inline(never)]
    pub(crate) fn probe_diverts(&mut self, mbuf: &Mbuf) {
        let frame = mbuf.data();
        self.probe_tells(frame, headers_of(frame), mbuf.pkt_len(), Point::Diverted, 1);
    }

    /// Packets that have waited go on; those that came before anything was looked for are looked at now.
    #[cold]
    #[inline(never)]
    pub(crate) fn probe_releases(&mut self, lane: &mut Lane) {
        for place in 0..lane.mbufs.len() {
            if matches!(self.tap.mark_of(&lane.mbufs[place]), Mark::None | Mark::Kept(_)) {
                self.probe_arrival(lane, place, 0, None);
            }
            self.probe_notes(&lane.mbufs[place], Point::Released);
        }
    }

    /// Packets are about to be opened in place: a probe of drops keeps how they began.
    #[cold]
    #[inline(never)]
    pub(crate) fn probe_keeps(&mut self, lane: &mut Lane) {
        for (place, (mbuf, headers)) in lane.mbufs.iter_mut().zip(&lane.headers).enumerate() {
            self.tap.keep(place, mbuf.data(), headers);
            self.tap.mark(mbuf, Mark::Kept(place));
        }
    }

    /// A packet is dropped for a reason that is looked for.
    #[cold]
    #[inline(never)]
    pub(crate) fn probe_drops(&mut self, mbuf: &Mbuf, reason: DropReason, frames: u16) {
        let (length, point) = (mbuf.pkt_len(), Point::Dropped(reason));
        let mark = if self.tap.program.filter.stand == Stand::Drops {
            self.tap.pays(1, self.link, self.now);
            // Wherever it comes from, this is where it is looked at.
            Mark::None
        } else {
            self.tap.mark_of(mbuf)
        };
        match mark {
            Mark::PassedOver => {}
            // Paid for when it was admitted, as its departure would be.
            Mark::Followed(number) => {
                self.tap.tell(self.link, number, frames, self.now, point, Facts::default(), length, &[]);
            }
            Mark::Kept(place) => {
                if let Some(kept) = self.tap.kept(place) {
                    self.probe_tells(kept.front(), kept.headers, length, point, frames);
                }
            }
            Mark::None => {
                self.probe_tells(mbuf.data(), headers_of(mbuf.data()), length, point, frames);
            }
        }
    }

    /// Frames are handed to the port that they leave by.
    #[cold]
    #[inline(never)]
    pub(crate) fn probe_sends<'n>(
        &mut self,
        frames: &Burst,
        notes: impl Iterator<Item = (Outgoing, u16)> + 'n,
    ) {
        for (mbuf, (outgoing, frames)) in frames.iter().zip(notes) {
            let mark = self.tap.mark_of(mbuf);
            if mark == Mark::PassedOver {
                continue;
            }
            let (length, frame) = (mbuf.pkt_len(), mbuf.data());
            let point = Point::Sent(outgoing);
            match mark {
                Mark::PassedOver | Mark::Kept(_) => {}
                Mark::Followed(number) => {
                    // The first was paid for when it was admitted.
                    if outgoing != Outgoing::Fragment || self.tap.may_add(self.link, self.now) {
                        let facts =
                            headers_of(frame).map(|headers| facts_in(frame, &headers)).unwrap_or_default();
                        self.tap.tell(self.link, number, frames, self.now, point, facts, length, frame);
                    }
                }
                Mark::None => self.probe_tells(frame, headers_of(frame), length, point, frames),
            }
        }
    }

    /// Tells of a packet that was not looked at when it arrived, if it is looked for; its way and link are.
    fn probe_tells(
        &mut self,
        frame: &[u8],
        headers: Option<Headers>,
        length: usize,
        point: Point,
        frames: u16,
    ) {
        let (filter, heading) = (&self.tap.program.filter, self.tap.heading);
        let facts = match &headers {
            Some(headers) if !filter.has_ends(headers, frame) => return,
            Some(headers) => facts_of(frame, headers, heading, None, self.snapshot).0,
            None if !filter.takes_other_than_ip() => return,
            None => Facts::default(),
        };
        if filter.spi.is_none_or(|wanted| facts.spi == wanted)
            && self.tap.admit(frame.len(), self.link, self.now).is_some()
        {
            self.tap.tell(self.link, 0, frames, self.now, point, facts, length, frame);
        }
    }
}

fn headers_of(frame: &[u8]) -> Option<Headers> {
    match parse(frame) {
        Parsed::Ip(headers) => Some(headers),
        Parsed::NotIp | Parsed::Malformed(_) => None,
    }
}

/// What the packet itself says.
fn facts_in(frame: &[u8], headers: &Headers) -> Facts {
    let mut facts = Facts { ip: Some(headers.into()), ..Facts::default() };
    if headers.protocol == protocol::ESP && headers.fragment != Fragment::Later {
        let esp = frame.get(headers.upper_at()..).unwrap_or_default();
        (facts.spi, facts.sequence) = esp::header(esp).unwrap_or_default();
        let iv = esp.get(esp::HEADER..).and_then(<[u8]>::first_chunk);
        facts.iv = iv.map_or(0, |iv| u64::from_be_bytes(*iv));
    }
    facts
}

/// The SPI of the SA that a packet is to leave with, or the one that it came with; 0 for none.
fn spi_of(frame: &[u8], headers: &Headers, heading: Heading, rule: Option<u32>, snapshot: &Snapshot) -> u32 {
    match (heading, rule) {
        (Heading::Out, Some(rule)) if spi_for(snapshot.policy.action(rule)) != 0 => {
            spi_for(snapshot.policy.action(rule))
        }
        _ => facts_in(frame, headers).spi,
    }
}

fn spi_for(action: &Action) -> u32 {
    match action {
        Action::Protect(protect) if protect.enforce != Enforce::ReceiveOnly => {
            protect.sa.as_ref().map_or(0, |sa| sa.spi())
        }
        _ => 0,
    }
}

/// What is known of a packet as it came, and what is decided of it.
fn facts_of(
    frame: &[u8],
    headers: &Headers,
    heading: Heading,
    rule: Option<u32>,
    snapshot: &Snapshot,
) -> (Facts, Decision) {
    let mut facts = facts_in(frame, headers);
    let is_esp = headers.protocol == protocol::ESP;
    if heading == Heading::In && is_esp {
        let known = snapshot.knows(facts.spi);
        return (facts, if known { Decision::KnownSpi } else { Decision::UnknownSpi });
    }
    let rule = rule.unwrap_or_else(|| snapshot.policy.rule_of((headers, frame)));
    facts.rule = rule;
    let action = snapshot.policy.action(rule);
    let decision = match (action, heading) {
        (Action::Bypass, _) if snapshot.policy.exempts(rule) => Decision::Exempt,
        (Action::Bypass, _) => Decision::NoRule,
        (Action::Drop, _) => Decision::Drop,
        (Action::Protect(protect), Heading::Out) => {
            match (protect.enforce, &protect.sa, protect.without_sa) {
                (Enforce::ReceiveOnly, ..) => Decision::ReceiveOnly,
                (_, Some(_), _) => Decision::Protect,
                (_, None, WithoutSa::Drop) => Decision::NoSaClosed,
                (_, None, WithoutSa::Bypass) => Decision::NoSaOpen,
            }
        }
        (Action::Protect(protect), Heading::In) => {
            let failed_open = protect.without_sa == WithoutSa::Bypass && protect.sa.is_none();
            if protect.enforce != Enforce::Both || failed_open {
                Decision::MayBeClear
            } else {
                Decision::MustBeEncrypted
            }
        }
    };
    if heading == Heading::Out && spi_for(action) != 0 {
        (facts.spi, facts.sequence, facts.iv) = (spi_for(action), 0, 0);
    }
    (facts, decision)
}
