//! WAN to LAN: ESP is looked up, checked against replay, opened a burst at a time, unwrapped and sent
//! on; cleartext passes only where policy lets it. Runs on a worker; never blocks or allocates.

use arrayvec::ArrayVec;
use dpdk::{BURST, Burst, Mbuf};

use crate::context::{Arrived, Context};
use crate::egress::{Egress, Outgoing};
use crate::packet::{Fragment, Parsed, esp, parse, protocol};
use crate::policy::{Action, Enforce, WithoutSa};
use crate::punt::Punted;
use crate::reassembly::Fragments;
use crate::replay::ReplayError;
use crate::sa::Sa;
use crate::snapshot::TableEntry;
use crate::transform::{OpenJob, open_burst};
use crate::unwrap;
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
    let spis: ArrayVec<u32, BURST> = lane.iter().map(Arrived::spi).collect();
    let mut entries = [None; BURST];
    snapshot.sas.get_burst(&spis, &mut entries);

    let mut fates = ArrayVec::<Fate<'_>, BURST>::new();
    for (packet, entry) in lane.iter().zip(&entries) {
        fates.push(packet.admit(*entry, cx.worker));
    }
    let authentic = decipher(lane, &fates);
    let mut authentic = authentic.iter();
    let mut strangers = Lane::new();
    for (mut packet, fate) in lane.drain(..).zip(&fates) {
        let accepted = match *fate {
            Ok(sa) => packet.accept(sa, authentic.next().is_some_and(|is| *is), cx.worker),
            Err(reason) => Err(reason),
        };
        match accepted {
            Ok(()) => lan.push(packet.mbuf, Outgoing::Decrypted, packet.frames, cx),
            Err(DropReason::UnknownSpi) => strangers.push(packet),
            Err(reason) => cx.drop_frames(packet.mbuf, reason, packet.frames),
        }
    }
    if !strangers.is_empty() {
        turn_away(&mut strangers, cx, lan);
    }
}

/// Opens the packets that are on their way; says of each of these whether it is authentic.
#[inline]
fn decipher(lane: &mut Lane, fates: &[Fate<'_>]) -> ArrayVec<bool, BURST> {
    let mut jobs = ArrayVec::<OpenJob<'_>, BURST>::new();
    for (packet, fate) in lane.iter_mut().zip(fates) {
        if let Ok(sa) = fate {
            jobs.push(OpenJob::new(&sa.cipher, packet.esp_mut()));
        }
    }
    open_burst(&mut jobs);
    jobs.iter().map(|job| job.authentic).collect()
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

    /// Everything that can be refused before the cryptography.
    #[inline]
    fn admit<'s>(&self, entry: Option<&'s TableEntry>, worker: usize) -> Fate<'s> {
        let (_, seq) = esp::header(self.esp()).ok_or(DropReason::EspTruncated)?;
        let entry = entry.ok_or(DropReason::UnknownSpi)?;
        let sa = &*entry.sa;
        let admitted = if entry.receives { self.check(sa, seq) } else { Err(DropReason::SaDirection) };
        if admitted.is_err() {
            sa.opened.add_errors(worker, 1);
        }
        admitted.map(|()| sa)
    }

    #[inline]
    fn check(&self, sa: &Sa, seq: u32) -> Result<(), DropReason> {
        let esp = self.esp();
        if !sa.is_esp_len(esp.len()) {
            return Err(DropReason::EspTruncated);
        }
        sa.replay.check(iv(esp), seq).map_err(reason)
    }

    /// What follows the cryptography: only an authentic packet moves the replay state, and only one
    /// that policy allows goes on.
    #[inline]
    fn accept(&mut self, sa: &Sa, authentic: bool, worker: usize) -> Result<(), DropReason> {
        let accepted = if authentic {
            let esp = self.esp();
            let seq = esp::header(esp).map_or(0, |(_, seq)| seq);
            sa.replay
                .commit(iv(esp), seq)
                .map_err(reason)
                .and_then(|()| unwrap::unwrap(&mut self.mbuf, &self.headers, sa))
        } else {
            Err(DropReason::Authentication)
        };
        match accepted {
            Ok(octets) => sa.opened.add(worker, 1, octets as u64),
            Err(_) => sa.opened.add_errors(worker, 1),
        }
        accepted.map(|_| ())
    }
}

/// The first eight octets of the IV, where counter modes have sender ID and counter (RFC 6054).
#[inline]
fn iv(esp: &[u8]) -> u64 {
    esp.get(esp::HEADER..).and_then(|iv| iv.first_chunk()).map_or(0, |iv| u64::from_be_bytes(*iv))
}

#[inline]
fn reason(error: ReplayError) -> DropReason {
    match error {
        ReplayError::Stale => DropReason::ReplayStale,
        ReplayError::Duplicate => DropReason::ReplayDuplicate,
        ReplayError::TableFull => DropReason::ReplaySenders,
    }
}
