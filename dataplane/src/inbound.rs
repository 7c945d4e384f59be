//! WAN to LAN: ESP is looked up, checked against replay, opened a burst at a time, unwrapped and sent
//! on; cleartext passes only where policy lets it. Runs on a worker; never blocks or allocates.

use std::ptr;

use arrayvec::ArrayVec;
use dpdk::{BURST, Burst, HEADROOM, Mbuf};

use crate::context::{Arrived, Context, Lane};
use crate::egress::{Egress, Outgoing};
use crate::fragment::Fragmenter;
use crate::meter::Stage;
use crate::packet::{Fragment, Headers, Parsed, esp, icmp, parse, protocol};
use crate::parking::{Bay, Load};
use crate::plausibility::Plausibility;
use crate::policy::{Action, Enforce, WithoutSa};
use crate::probe::{Heading, Point};
use crate::punt::Punted;
use crate::reassembly::Fragments;
use crate::replay::Replay;
use crate::sa::{Mode, Sa};
use crate::snapshot::TableEntry;
use crate::transform::{OpenJob, open_burst};
use crate::unwrap::unwrap;
use crate::verdict::DropReason;

/// The inbound pipeline of one receive queue.
#[derive(Debug)]
pub struct Inbound {
    /// The LAN's MTU, in octets from the IP header on.
    mtu: usize,
    fragments: Fragments,
    fragmenter: Fragmenter,
}

/// What a burst holds, by where it goes.
struct Sorted<'s> {
    secured: Secured<'s>,
    /// ESP with an SPI that no SA has, if it is not turned away where it is found.
    strangers: Lane,
    clear: Lane,
    /// Whether it is turned away where it is found, which saves a flood a tenth of its cost. Not where policy
    /// or a probe looks at each first, or its time is taken.
    at_once: bool,
}

/// ESP whose SA there is. It is told from the rest before anything is done with it: in a flood of unknown SPIs
/// each stage that meets both would mostly find what is not for it, and guess wrong about it.
struct Secured<'s> {
    lane: Lane,
    /// The nth is of the nth packet.
    entries: ArrayVec<&'s TableEntry, BURST>,
}

impl<'s> Sorted<'s> {
    #[inline]
    fn new(cx: &Context<'_>) -> Self {
        let at_once = !(cx.snapshot.policy.has_exemptions() || cx.tap.follows() || cx.meter.is_timing());
        Sorted { secured: Secured::new(), strangers: Lane::new(), clear: Lane::new(), at_once }
    }

    /// Adds a whole ESP packet.
    #[inline(always)]
    fn push_esp(&mut self, mbuf: Mbuf, headers: Headers, frames: u16, cx: &mut Context<'s>) {
        let Some((spi, _)) = esp::header(esp_of(&mbuf, &headers)) else {
            return cx.drop_frames(mbuf, DropReason::EspTruncated, frames);
        };
        match cx.snapshot.sas.get(spi) {
            Some(entry) => self.secured.push(mbuf, headers, frames, entry),
            None if self.at_once => turn_away(mbuf, &headers, frames, spi, cx),
            None => self.strangers.push(mbuf, headers, frames),
        }
    }
}

impl<'s> Secured<'s> {
    #[inline]
    fn new() -> Self {
        Secured { lane: Lane::new(), entries: ArrayVec::new() }
    }

    #[inline(always)]
    fn push(&mut self, mbuf: Mbuf, headers: Headers, frames: u16, entry: &'s TableEntry) {
        self.lane.push(mbuf, headers, frames);
        self.entries.push(entry);
    }
}

/// How many bursts of packets whose SA has come go on before one that was received: so what waited gets
/// fewer however much arrives, and all else waits for little.
const RELEASED: usize = 2;

/// A packet is on its way under an SA, or has a reason why not.
type Fate<'s> = Result<&'s Sa, DropReason>;

impl Inbound {
    /// A pipeline to a LAN of `mtu` octets that holds at most the fragments which `fragments` bounds.
    #[must_use]
    pub fn new(mtu: u16, fragments: Fragments, fragmenter: Fragmenter) -> Self {
        Inbound { mtu: usize::from(mtu), fragments, fragmenter }
    }

    /// Takes a burst from the WAN to its verdicts.
    pub fn process(&mut self, burst: &mut Burst, cx: &mut Context<'_>, lan: &mut Egress) {
        cx.probe_begins(Heading::In, burst);
        self.go_on(burst, cx, lan);
    }

    /// Takes a burst to its verdicts of which a probe knows.
    pub(crate) fn go_on(&mut self, burst: &mut Burst, cx: &mut Context<'_>, lan: &mut Egress) {
        let behind = cx.lot.is_due();
        if behind {
            self.resume(cx, lan);
        }
        let received = burst.len();
        let mut sorted = Sorted::new(cx);
        for mbuf in burst.drain(..) {
            self.sort(mbuf, cx, lan, &mut sorted);
        }
        cx.meter.lap(Stage::WanParse, received);
        let Sorted { secured, strangers, clear, .. } = &mut sorted;
        if cx.tap.follows() {
            cx.probe_arrivals([&mut secured.lane, strangers, clear], None);
        }
        if !clear.is_empty() {
            let packets = clear.mbufs.len();
            admit_clear(clear, cx, lan);
            cx.meter.lap(Stage::WanPolicy, packets);
        }
        if behind {
            hold_back(secured, cx);
        }
        self.finish(secured, strangers, cx, lan);
    }

    /// ESP goes its way.
    #[inline(always)]
    fn finish(
        &mut self,
        secured: &mut Secured<'_>,
        strangers: &mut Lane,
        cx: &mut Context<'_>,
        lan: &mut Egress,
    ) {
        if cx.tap.keeps() {
            cx.probe_keeps(&mut secured.lane);
        }
        if !secured.lane.is_empty() {
            self.open(secured, cx, lan);
        }
        if !strangers.is_empty() {
            let packets = strangers.mbufs.len();
            self.turn_away_all(strangers, cx, lan);
            cx.meter.lap(Stage::Strangers, packets);
        }
    }

    /// Fragments and parked packets that have waited too long are dropped.
    pub fn expire(&mut self, cx: &mut Context<'_>) {
        cx.probe_turns(Heading::In);
        self.fragments.expire(cx);
        if !cx.lot.is_empty() {
            let (link, now) = (cx.link, cx.now);
            clear_out(cx, DropReason::ParkingTimeout, |cx, lane| {
                cx.lot.expire(link, now, BURST, |arrived| lane.admit(arrived));
            });
        }
    }

    /// Drops everything that is held, for a stop.
    pub fn drain(&mut self, cx: &mut Context<'_>) {
        cx.probe_turns(Heading::In);
        self.fragments.drain(cx);
        let link = cx.link;
        clear_out(cx, DropReason::Shutdown, |cx, lane| {
            cx.lot.drain(link, BURST, |arrived| lane.admit(arrived));
        });
    }

    /// Packets whose SA has come go the way of all others, before any that came after them.
    #[cold]
    #[inline(never)]
    fn resume(&mut self, cx: &mut Context<'_>, lan: &mut Egress) {
        for _ in 0..RELEASED {
            let mut lane = Lane::new();
            cx.lot.release(cx.link, BURST, |arrived| lane.admit(arrived));
            if lane.is_empty() {
                return;
            }
            if cx.tap.follows() {
                cx.probe_releases(&mut lane);
            }
            for (mbuf, headers) in lane.iter() {
                cx.punts.forget(bay_of(mbuf, headers, cx.link).spi);
            }
            let frames = lane.frames.iter().copied().map(u64::from).sum::<u64>();
            cx.tally.parked -= frames;
            cx.tally.released += frames;
            let mut sorted = Sorted::new(cx);
            for (mbuf, headers, frames) in lane.drain() {
                sorted.push_esp(mbuf, *headers, frames, cx);
            }
            self.finish(&mut sorted.secured, &mut sorted.strangers, cx, lan);
        }
    }

    #[inline]
    fn sort<'s>(&mut self, mbuf: Mbuf, cx: &mut Context<'s>, lan: &mut Egress, sorted: &mut Sorted<'s>) {
        let Some(mut mbuf) = cx.contiguous(mbuf, 1) else { return };
        let headers = match parse(mbuf.data()) {
            Parsed::Ip(headers) => headers,
            Parsed::NotIp => return lan.bypass(mbuf, 1, cx),
            Parsed::Malformed(reason) => return cx.drop(mbuf, reason),
        };
        if headers.protocol != protocol::ESP {
            return sorted.clear.push(mbuf, headers, 1);
        }
        if headers.fragment == Fragment::None {
            return sorted.push_esp(mbuf, headers, 1, cx);
        }
        cx.probe_waits(&mut mbuf, None);
        if let Some(whole) = self.fragments.push(mbuf, &headers, cx) {
            sorted.push_esp(whole.mbuf, whole.headers, whole.frames, cx);
        }
    }

    #[inline(never)]
    fn open(&mut self, Secured { lane, entries }: &mut Secured<'_>, cx: &mut Context<'_>, lan: &mut Egress) {
        let mut fates = ArrayVec::<Fate<'_>, BURST>::new();
        for ((mbuf, headers), entry) in lane.iter().zip(&*entries) {
            fates.push(admit(esp_of(mbuf, headers), entry, cx.worker));
        }
        let packets = lane.mbufs.len();
        cx.meter.lap(Stage::Admit, packets);
        decipher(lane, &mut fates, cx.worker);
        cx.meter.lap(Stage::Open, packets);
        commit(lane, &mut fates, cx.worker);
        cx.meter.lap(Stage::Replay, packets);
        for ((mut mbuf, headers, frames), fate) in lane.drain().zip(&fates) {
            match fate.and_then(|sa| take_out(&mut mbuf, headers, sa, cx.worker)) {
                Ok(()) if frames > 1 && fate.is_ok_and(|sa| sa.mode() == Mode::Transport) => {
                    // Its sender put it together to seal it (RFC 4303 section 3.1.1).
                    let opened = Outgoing::Decrypted;
                    self.fragmenter.send_reassembled(mbuf, opened, frames, self.mtu, cx, lan);
                }
                Ok(()) => lan.push(mbuf, Outgoing::Decrypted, frames, cx),
                Err(reason) => cx.drop_frames(mbuf, reason, frames),
            }
        }
        cx.meter.lap(Stage::Unwrap, packets);
    }

    /// Packets with an SPI that no SA has are turned away, unless a local rule exempts ESP that is not the
    /// group's, such as a host's own tunnel.
    #[inline(never)]
    fn turn_away_all(&mut self, lane: &mut Lane, cx: &mut Context<'_>, lan: &mut Egress) {
        let policy = &cx.snapshot.policy;
        let mut rules = [0; BURST];
        if policy.has_exemptions() {
            policy.classify(lane.subjects(), &mut rules);
        }
        for ((mbuf, headers, frames), rule) in lane.drain().zip(&rules) {
            if policy.exempts(*rule) {
                match frames {
                    1 => lan.bypass(mbuf, frames, cx),
                    _ => {
                        self.fragmenter.send_reassembled(mbuf, Outgoing::Bypassed, frames, self.mtu, cx, lan)
                    }
                }
                continue;
            }
            let spi = bay_of(&mbuf, headers, cx.link).spi;
            turn_away(mbuf, headers, frames, spi, cx);
        }
    }
}

/// A packet with an SPI that no SA has: told to the control thread, which may ask the key server for it.
#[inline(always)]
fn turn_away(mbuf: Mbuf, headers: &Headers, frames: u16, spi: u32, cx: &mut Context<'_>) {
    let plausibility = cx.snapshot.spi_test.of(spi);
    let addresses = || (headers.source(mbuf.data()), headers.destination(mbuf.data()));
    let punted = cx.punts.unknown_spi(spi, plausibility, cx.link, cx.now, addresses);
    match punted {
        Punted::Sent => cx.tally.punts += 1,
        Punted::Told | Punted::Suppressed => cx.tally.punts_suppressed += 1,
        Punted::Lost => cx.tally.punts_lost += 1,
    }
    let may_wait = match plausibility {
        Plausibility::Plausible => true,
        // Only when the control thread knows of it.
        Plausibility::Unverifiable => matches!(punted, Punted::Sent | Punted::Told),
        Plausibility::Implausible => {
            cx.tally.implausible += u64::from(frames);
            false
        }
    };
    if !may_wait || !cx.lot.is_open() || cx.snapshot.spi_test.is_fruitless(spi) {
        return cx.drop_frames(mbuf, DropReason::UnknownSpi, frames);
    }
    if let Err(mbuf) = park(Bay { link: cx.link, spi }, mbuf, headers, frames, cx) {
        cx.drop_frames(mbuf, DropReason::ParkingFull, frames);
    }
}

/// Lets a packet wait.
#[inline(never)]
fn park(bay: Bay, mut mbuf: Mbuf, headers: &Headers, frames: u16, cx: &mut Context<'_>) -> Result<(), Mbuf> {
    cx.probe_waits(&mut mbuf, Some(Point::Parked));
    let load = Load {
        octets: u32::try_from(mbuf.pkt_len()).unwrap_or(u32::MAX),
        is_large: mbuf.buf_len() > usize::from(cx.pool.data_room()) + usize::from(HEADROOM),
    };
    let arrived = Arrived { mbuf, headers: *headers, frames };
    cx.lot.park(bay, arrived, load, cx.now).map_err(|arrived| arrived.mbuf)?;
    cx.tally.parked += u64::from(frames);
    Ok(())
}

/// While packets that have waited are on their way out, others of the same SPI wait behind them, as long as
/// there is room.
#[cold]
#[inline(never)]
fn hold_back(secured: &mut Secured<'_>, cx: &mut Context<'_>) {
    let mut others = Secured::new();
    for ((mbuf, headers, frames), entry) in secured.lane.drain().zip(&secured.entries) {
        let bay = bay_of(&mbuf, headers, cx.link);
        let parked = if cx.lot.holds(bay) { park(bay, mbuf, headers, frames, cx) } else { Err(mbuf) };
        if let Err(mbuf) = parked {
            others.push(mbuf, *headers, frames, entry);
        }
    }
    *secured = others;
}

/// Drops what `take` takes out of the lot, a burst at a time, until that is nothing.
fn clear_out(cx: &mut Context<'_>, reason: DropReason, take: impl Fn(&mut Context<'_>, &mut Lane)) {
    loop {
        let mut lane = Lane::new();
        take(cx, &mut lane);
        if lane.is_empty() {
            return;
        }
        for (mbuf, _, frames) in lane.drain() {
            cx.tally.parked -= u64::from(frames);
            cx.drop_frames(mbuf, reason, frames);
        }
    }
}

/// Where a packet that came over `link` waits.
fn bay_of(mbuf: &Mbuf, headers: &Headers, link: u16) -> Bay {
    Bay { link, spi: esp::header(esp_of(mbuf, headers)).map_or(0, |(spi, _)| spi) }
}

/// Cleartext passes unless policy says that it must have been encrypted.
#[inline(never)]
fn admit_clear(lane: &mut Lane, cx: &mut Context<'_>, lan: &mut Egress) {
    let policy = &cx.snapshot.policy;
    let mut rules = [0; BURST];
    policy.classify(lane.subjects(), &mut rules);
    for ((mbuf, headers, frames), rule) in lane.drain().zip(&rules) {
        match policy.action(*rule) {
            Action::Bypass => lan.bypass(mbuf, frames, cx),
            Action::Drop => cx.drop_frames(mbuf, DropReason::Policy, frames),
            Action::Protect(p) => {
                let failed_open = p.without_sa == WithoutSa::Bypass && p.sa.is_none();
                if p.enforce != Enforce::Both || failed_open {
                    lan.bypass(mbuf, frames, cx);
                } else {
                    let path_mtu = icmp::is_esp_too_big(mbuf.data(), headers);
                    let reason = if path_mtu { DropReason::PathMtu } else { DropReason::Cleartext };
                    cx.drop_frames(mbuf, reason, frames);
                }
            }
        }
    }
}

/// Everything that can be refused before the cryptography.
#[inline(always)]
fn admit<'s>(esp: &[u8], entry: &'s TableEntry, worker: usize) -> Fate<'s> {
    let sa = &*entry.sa;
    let admitted = if !entry.receives {
        Err(DropReason::SaDirection)
    } else if !sa.is_esp_len(esp.len()) {
        Err(DropReason::EspTruncated)
    } else if matches!(sa.replay, Replay::None) {
        Ok(())
    } else {
        sa.replay.check(iv(esp), sequence(esp)).map_err(DropReason::from)
    };
    admitted.map_or_else(|reason| Err(sa.refuse(reason, worker)), |()| Ok(sa))
}

/// Opens the packets that are on their way, in place.
#[inline]
fn decipher(lane: &mut Lane, fates: &mut [Fate<'_>], worker: usize) {
    let mut jobs = ArrayVec::<OpenJob<'_>, BURST>::new();
    for ((mbuf, headers), fate) in lane.mbufs.iter_mut().zip(&lane.headers).zip(&*fates) {
        if let Ok(sa) = fate {
            let esp = mbuf.data_mut().get_mut(headers.upper_at()..headers.end()).unwrap_or_default();
            jobs.push(OpenJob::new(&sa.cipher, esp));
        }
    }
    open_burst(&mut jobs);
    let mut jobs = jobs.iter();
    for fate in fates {
        if let Ok(sa) = *fate
            && !jobs.next().is_some_and(|job| job.authentic)
        {
            *fate = Err(sa.refuse(DropReason::Authentication, worker));
        }
    }
}

/// Moves the replay windows, by what is authentic only, a run of packets of one SA at a time: a window
/// takes a burst at half the cost of its packets one by one.
#[inline]
fn commit(lane: &Lane, fates: &mut [Fate<'_>], worker: usize) {
    let mut packets = lane.iter();
    for run in fates.chunk_by_mut(same_sa) {
        let packets = packets.by_ref().take(run.len());
        let Some(Ok(sa)) = run.first().copied() else {
            packets.for_each(drop);
            continue;
        };
        if matches!(sa.replay, Replay::None) {
            packets.for_each(drop);
            continue;
        }
        let (mut ivs, mut seqs) = (ArrayVec::<u64, BURST>::new(), ArrayVec::<u32, BURST>::new());
        for (mbuf, headers) in packets {
            let esp = esp_of(mbuf, headers);
            ivs.push(iv(esp));
            seqs.push(sequence(esp));
        }
        let mut outcomes = [Ok(()); BURST];
        sa.replay.commit_burst(&ivs, &seqs, &mut outcomes[..run.len()]);
        for (fate, outcome) in run.iter_mut().zip(outcomes) {
            if let Err(error) = outcome {
                *fate = Err(sa.refuse(error.into(), worker));
            }
        }
    }
}

fn same_sa(a: &Fate<'_>, b: &Fate<'_>) -> bool {
    matches!((a, b), (Ok(a), Ok(b)) if ptr::eq(*a, *b))
}

/// The packet's ESP, from its header to its ICV, Ethernet padding left out.
#[inline(always)]
fn esp_of<'p>(mbuf: &'p Mbuf, headers: &Headers) -> &'p [u8] {
    mbuf.data().get(headers.upper_at()..headers.end()).unwrap_or_default()
}

/// The sequence number; there is one in each packet whose SA was found.
#[inline]
fn sequence(esp: &[u8]) -> u32 {
    esp::header(esp).map_or(0, |(_, sequence)| sequence)
}

/// The first eight octets of the IV, where counter modes have sender ID and counter (RFC 6054).
#[inline]
fn iv(esp: &[u8]) -> u64 {
    esp.get(esp::HEADER..).and_then(|iv| iv.first_chunk()).map_or(0, |iv| u64::from_be_bytes(*iv))
}

/// Takes out what was sealed, if policy allows it.
#[inline(always)]
fn take_out(mbuf: &mut Mbuf, headers: &Headers, sa: &Sa, worker: usize) -> Result<(), DropReason> {
    let octets = unwrap(mbuf, headers, sa).map_err(|reason| match reason {
        // To be discarded without indicating an error (RFC 4303 section 2.6).
        DropReason::Dummy => reason,
        _ => sa.refuse(reason, worker),
    })?;
    sa.opened.add(worker, 1, octets as u64);
    Ok(())
}
