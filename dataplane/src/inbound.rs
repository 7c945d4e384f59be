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
            admit_clear(clear, cx, lan);
        }
        if !secured.is_empty() {
            open(secured, cx, lan);
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
fn admit_clear(lane: Lane, cx: &mut Context<'_>, lan: &mut Egress) {
    let policy = &cx.snapshot.policy;
    let mut rules = [0; BURST];
    policy.classify(lane.iter().map(|p| &p.headers), &mut rules);
    for (packet, rule) in lane.into_iter().zip(rules) {
        match policy.action(rule) {
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

/// On its way, or why not.
type Fate = Result<(), DropReason>;

/// Takes ESP through its stages, each on the whole burst: admission, cipher, replay, unwrapping.
fn open(mut lane: Lane, cx: &mut Context<'_>, lan: &mut Egress) {
    let snapshot = cx.snapshot;
    let spis: ArrayVec<u32, BURST> = lane.iter().map(Arrived::spi).collect();
    let mut entries = [None; BURST];
    snapshot.sas.get_burst(&spis, &mut entries);
    let mut fates: ArrayVec<Fate, BURST> =
        lane.iter().zip(entries).map(|(packet, entry)| packet.admit(entry)).collect();
    decipher(&mut lane, &entries, &mut fates);
    commit(&lane, &entries, &mut fates);
    for ((mut packet, entry), fate) in lane.into_iter().zip(entries).zip(fates) {
        let Some(entry) = entry else {
            packet.refuse(fate.err().unwrap_or(DropReason::UnknownSpi), cx, lan);
            continue;
        };
        match fate.and_then(|()| unwrap(&mut packet.mbuf, &packet.headers, &entry.sa)) {
            Ok(octets) => {
                entry.sa.opened.add(cx.worker, 1, octets as u64);
                lan.push(packet.mbuf, Outgoing::Decrypted, packet.frames, cx);
            }
            Err(reason) => {
                entry.sa.opened.add_errors(cx.worker, 1);
                cx.drop_frames(packet.mbuf, reason, packet.frames);
            }
        }
    }
}

/// Opens the packets that are on their way, in place.
fn decipher(lane: &mut Lane, entries: &[Option<&TableEntry>], fates: &mut [Fate]) {
    let mut jobs: ArrayVec<OpenJob<'_>, BURST> = lane
        .iter_mut()
        .zip(entries)
        .zip(fates.iter())
        .filter_map(|((packet, entry), fate)| {
            fate.ok()?;
            Some(OpenJob::new(&(*entry)?.sa.cipher, packet.esp_mut()))
        })
        .collect();
    open_burst(&mut jobs);
    for (fate, job) in fates.iter_mut().filter(|fate| fate.is_ok()).zip(&jobs) {
        if !job.authentic {
            *fate = Err(DropReason::Authentication);
        }
    }
}

/// Moves the replay windows, by what is authentic only, a run of packets of one SA at a time.
fn commit(lane: &Lane, entries: &[Option<&TableEntry>], fates: &mut [Fate]) {
    let mut begin = 0;
    for run in entries[..lane.len()].chunk_by(same_sa) {
        let range = begin..begin + run.len();
        begin = range.end;
        let Some(entry) = run[0] else { continue };
        if matches!(entry.sa.replay, Replay::None) {
            continue;
        }
        let (mut ivs, mut seqs) = (ArrayVec::<u64, BURST>::new(), ArrayVec::<u32, BURST>::new());
        for (packet, _) in lane[range.clone()].iter().zip(&fates[range.clone()]).filter(|(_, f)| f.is_ok()) {
            let (iv, seq) = packet.iv_and_seq();
            ivs.push(iv);
            seqs.push(seq);
        }
        let mut committed = [Ok(()); BURST];
        entry.sa.replay.commit_burst(&ivs, &seqs, &mut committed[..seqs.len()]);
        for (fate, outcome) in fates[range].iter_mut().filter(|fate| fate.is_ok()).zip(committed) {
            *fate = outcome.map_err(DropReason::from);
        }
    }
}

fn same_sa(a: &Option<&TableEntry>, b: &Option<&TableEntry>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if ptr::eq(*a, *b))
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
    fn admit(&self, entry: Option<&TableEntry>) -> Fate {
        let esp = self.esp();
        if esp.len() < esp::HEADER {
            return Err(DropReason::EspTruncated);
        }
        let entry = entry.ok_or(DropReason::UnknownSpi)?;
        if !entry.receives {
            return Err(DropReason::SaDirection);
        }
        let (sa, transform) = (&entry.sa, entry.sa.transform());
        let plaintext = esp.len().checked_sub(sa.esp_front() + transform.icv_len());
        if plaintext.is_none_or(|n| n < esp::TRAILER || n % transform.block() != 0) {
            return Err(DropReason::EspTruncated);
        }
        let (iv, seq) = self.iv_and_seq();
        sa.replay.check(iv, seq).map_err(DropReason::from)
    }

    /// Ends a packet that belongs to no SA.
    #[cold]
    fn refuse(self, reason: DropReason, cx: &mut Context<'_>, lan: &mut Egress) {
        match reason {
            DropReason::UnknownSpi => self.unknown_spi(cx, lan),
            _ => cx.drop_frames(self.mbuf, reason, self.frames),
        }
    }

    /// An SPI that no SA has: told to the control thread, which may ask the key server for it. A
    /// local rule may exempt ESP that is not the group's, such as a host's own tunnel.
    fn unknown_spi(self, cx: &mut Context<'_>, lan: &mut Egress) {
        if cx.snapshot.policy.is_exempt(&self.headers) {
            return lan.bypass(self.mbuf, self.frames, cx);
        }
        let addresses = || (self.headers.source(), self.headers.destination());
        match cx.punts.unknown_spi(self.spi(), cx.link, cx.now, addresses) {
            Punted::Sent => cx.tally.punts += 1,
            Punted::Suppressed => cx.tally.punts_suppressed += 1,
            Punted::Lost => cx.tally.punts_lost += 1,
        }
        cx.drop_frames(self.mbuf, DropReason::UnknownSpi, self.frames);
    }
}
