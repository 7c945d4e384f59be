//! WAN to LAN: ESP is looked up, checked against replay, opened a burst at a time, unwrapped and sent
//! on; cleartext passes only where policy lets it. Runs on a worker; never blocks or allocates.

use std::ptr;

use arrayvec::ArrayVec;
use dpdk::{BURST, Burst, Mbuf};

use crate::context::{Arrived, Context};
use crate::egress::{Egress, Outgoing};
use crate::packet::{Fragment, Parsed, esp, parse, protocol};
use crate::policy::{Action, Enforce, WithoutSa};
use crate::punt::Punted;
use crate::reassembly::Fragments;
use crate::replay::Replay;
use crate::sa::Sa;
use crate::snapshot::TableEntry;
use crate::transform::{OpenJob, open_burst};
use crate::unwrap::unwrap;
use crate::verdict::DropReason;

/// The inbound pipeline of one receive queue.
#[derive(Debug)]
pub struct Inbound {
    fragments: Fragments,
}

type Lane = ArrayVec<Arrived, BURST>;

/// A packet is on its way under an SA, or has a reason why not.
type Fate<'s> = Result<&'s Sa, DropReason>;

impl Inbound {
    /// A pipeline that holds at most the fragments which `fragments` bounds.
    #[must_use]
    pub fn new(fragments: Fragments) -> Self {
        Inbound { fragments }
    }

    /// Takes a burst from the WAN to its verdicts.
    pub fn process(&mut self, burst: &mut Burst, cx: &mut Context<'_>, lan: &mut Egress) {
        let mut secured = Lane::new();
        let mut clear = Lane::new();
        for mbuf in burst.drain(..) {
            self.sort(mbuf, cx, lan, &mut secured, &mut clear);
        }
        if !clear.is_empty() {
            admit_clear(&mut clear, cx, lan);
        }
        if !secured.is_empty() {
            open(&mut secured, cx, lan);
        }
    }

    /// Fragments that have waited too long are dropped.
    pub fn expire(&mut self, cx: &mut Context<'_>) {
        self.fragments.expire(cx);
    }

    /// Drops everything that is held, for a stop.
    pub fn drain(&mut self, cx: &mut Context<'_>) {
        self.fragments.drain(cx);
    }

    #[inline]
    fn sort(
        &mut self,
        mbuf: Mbuf,
        cx: &mut Context<'_>,
        lan: &mut Egress,
        secured: &mut Lane,
        clear: &mut Lane,
    ) {
        let Some(mbuf) = cx.contiguous(mbuf, 1) else { return };
        let headers = match parse(mbuf.data()) {
            Parsed::Ip(headers) => headers,
            Parsed::NotIp => return lan.bypass(mbuf, 1, cx),
            Parsed::Malformed(reason) => return cx.drop(mbuf, reason),
        };
        if headers.protocol != protocol::ESP {
            return clear.push(Arrived { mbuf, headers, frames: 1 });
        }
        if headers.fragment == Fragment::None {
            return secured.push(Arrived { mbuf, headers, frames: 1 });
        }
        if let Some(datagram) = self.fragments.push(mbuf, &headers, cx) {
            secured.push(datagram);
        }
    }
}

/// Cleartext passes unless policy says that it must have been encrypted.
#[inline(never)]
fn admit_clear(lane: &mut Lane, cx: &mut Context<'_>, lan: &mut Egress) {
    let policy = &cx.snapshot.policy;
    let mut rules = [0; BURST];
    policy.classify(lane.iter().map(Arrived::subject), &mut rules);
    for (packet, rule) in lane.drain(..).zip(&rules) {
        match policy.action(*rule) {
            Action::Bypass => lan.bypass(packet.mbuf, packet.frames, cx),
            Action::Drop => cx.drop_frames(packet.mbuf, DropReason::Policy, packet.frames),
            Action::Protect(p) => {
                let failed_open = p.without_sa == WithoutSa::Bypass && p.sa.is_none();
                if p.enforce != Enforce::Both || failed_open {
                    lan.bypass(packet.mbuf, packet.frames, cx);
                } else {
                    cx.drop_frames(packet.mbuf, DropReason::Cleartext, packet.frames);
                }
            }
        }
    }
}

#[inline(never)]
fn open(lane: &mut Lane, cx: &mut Context<'_>, lan: &mut Egress) {
    let snapshot = cx.snapshot;
    // All before any is used, so that the processor overlaps the cache misses.
    let mut entries = ArrayVec::<Option<&TableEntry>, BURST>::new();
    for packet in &*lane {
        entries.push(snapshot.sas.get(packet.spi()));
    }
    let mut fates = ArrayVec::<Fate<'_>, BURST>::new();
    for (packet, entry) in lane.iter().zip(&entries) {
        fates.push(packet.admit(*entry, cx.worker));
    }
    decipher(lane, &mut fates, cx.worker);
    commit(lane, &mut fates, cx.worker);
    let mut strangers = Lane::new();
    for (mut packet, fate) in lane.drain(..).zip(&fates) {
        match fate.and_then(|sa| packet.unwrap(sa, cx.worker)) {
            Ok(()) => lan.push(packet.mbuf, Outgoing::Decrypted, packet.frames, cx),
            Err(DropReason::UnknownSpi) => strangers.push(packet),
            Err(reason) => cx.drop_frames(packet.mbuf, reason, packet.frames),
        }
    }
    if !strangers.is_empty() {
        turn_away(&mut strangers, cx, lan);
    }
}

/// Opens the packets that are on their way, in place.
#[inline]
fn decipher(lane: &mut Lane, fates: &mut [Fate<'_>], worker: usize) {
    let mut jobs = ArrayVec::<OpenJob<'_>, BURST>::new();
    for (packet, fate) in lane.iter_mut().zip(&*fates) {
        if let Ok(sa) = fate {
            jobs.push(OpenJob::new(&sa.cipher, packet.esp_mut()));
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
    let mut begin = 0;
    for run in fates.chunk_by_mut(same_sa) {
        let packets = &lane[begin..begin + run.len()];
        begin += run.len();
        let Some(Ok(sa)) = run.first().copied() else { continue };
        if matches!(sa.replay, Replay::None) {
            continue;
        }
        let (mut ivs, mut seqs) = (ArrayVec::<u64, BURST>::new(), ArrayVec::<u32, BURST>::new());
        for packet in packets {
            let (iv, seq) = packet.iv_and_seq();
            ivs.push(iv);
            seqs.push(seq);
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

/// Packets with an SPI that no SA has: told to the control thread, which may ask the key server for it.
/// A local rule may exempt ESP that is not the group's, such as a host's own tunnel.
#[inline(never)]
fn turn_away(lane: &mut Lane, cx: &mut Context<'_>, lan: &mut Egress) {
    let policy = &cx.snapshot.policy;
    let mut rules = [0; BURST];
    if policy.has_exemptions() {
        policy.classify(lane.iter().map(Arrived::subject), &mut rules);
    }
    for (packet, rule) in lane.drain(..).zip(&rules) {
        if policy.exempts(*rule) {
            lan.bypass(packet.mbuf, packet.frames, cx);
            continue;
        }
        match cx.punts.unknown_spi(packet.spi(), cx.link, cx.now, || packet.addresses()) {
            Punted::Sent => cx.tally.punts += 1,
            Punted::Suppressed => cx.tally.punts_suppressed += 1,
            Punted::Lost => cx.tally.punts_lost += 1,
        }
        cx.drop_frames(packet.mbuf, DropReason::UnknownSpi, packet.frames);
    }
}

impl Arrived {
    /// The packet's ESP, from its header to its ICV, Ethernet padding left out.
    #[inline]
    fn esp(&self) -> &[u8] {
        self.mbuf.data().get(self.headers.upper_at()..self.headers.end()).unwrap_or_default()
    }

    #[inline]
    fn esp_mut(&mut self) -> &mut [u8] {
        self.mbuf.data_mut().get_mut(self.headers.upper_at()..self.headers.end()).unwrap_or_default()
    }

    #[inline]
    fn spi(&self) -> u32 {
        // 0 is reserved and never in the table; what is too short for an SPI is refused on admission.
        esp::header(self.esp()).map_or(0, |(spi, _)| spi)
    }

    /// The first eight octets of the IV, where counter modes have sender ID and counter (RFC 6054), and
    /// the sequence number.
    #[inline]
    fn iv_and_seq(&self) -> (u64, u32) {
        let esp = self.esp();
        let iv =
            esp.get(esp::HEADER..).and_then(|iv| iv.first_chunk()).map_or(0, |iv| u64::from_be_bytes(*iv));
        (iv, esp::header(esp).map_or(0, |(_, seq)| seq))
    }

    /// Everything that can be refused before the cryptography.
    #[inline]
    fn admit<'s>(&self, entry: Option<&'s TableEntry>, worker: usize) -> Fate<'s> {
        if self.esp().len() < esp::HEADER {
            return Err(DropReason::EspTruncated);
        }
        let entry = entry.ok_or(DropReason::UnknownSpi)?;
        let sa = &*entry.sa;
        let admitted = if entry.receives { self.check(sa) } else { Err(DropReason::SaDirection) };
        admitted.map_or_else(|reason| Err(sa.refuse(reason, worker)), |()| Ok(sa))
    }

    #[inline]
    fn check(&self, sa: &Sa) -> Result<(), DropReason> {
        if !sa.is_esp_len(self.esp().len()) {
            return Err(DropReason::EspTruncated);
        }
        if matches!(sa.replay, Replay::None) {
            return Ok(());
        }
        let (iv, seq) = self.iv_and_seq();
        sa.replay.check(iv, seq).map_err(DropReason::from)
    }

    /// Takes out what was sealed, if policy allows it.
    #[inline]
    fn unwrap(&mut self, sa: &Sa, worker: usize) -> Result<(), DropReason> {
        let octets = unwrap(&mut self.mbuf, &self.headers, sa).map_err(|reason| sa.refuse(reason, worker))?;
        sa.opened.add(worker, 1, octets as u64);
        Ok(())
    }
}
