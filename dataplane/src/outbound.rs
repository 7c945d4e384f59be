//! LAN to WAN: each packet is classified, fitted to the MTU, wrapped and sealed a burst at a time under
//! its group's newest SA. Runs on a worker; never blocks or allocates.

use std::sync::Arc;

use arrayvec::ArrayVec;
use crossbeam::queue::ArrayQueue;
use dpdk::{BURST, Burst, Mbuf, Mempool};

use crate::context::{Arrived, Context, Lane};
use crate::egress::{Egress, Outgoing};
use crate::fragment::Fragmenter;
use crate::meter::Stage;
use crate::packet::{Fragment, Headers, Parsed, Version, parse};
use crate::policy::{Action, Enforce, Protect, WithoutSa};
use crate::probe::{Heading, Point};
use crate::reassembly::Fragments;
use crate::sa::{Mode, Sa};
use crate::too_big::{TooBig, reported_mtu};
use crate::transform::{SealJob, seal_burst};
use crate::verdict::DropReason;
use crate::wrap::wrap;

/// The outbound pipeline of one receive queue.
#[derive(Debug)]
pub struct Outbound {
    /// The WAN's MTU, in octets from the IP header on.
    mtu: usize,
    /// For transport mode, which protects whole datagrams only (RFC 4303 section 3.1.1).
    fragments: Fragments,
    fragmenter: Fragmenter,
    too_big: TooBig,
    /// Identification of the next outer IPv4 header.
    id: u16,
}

/// Frames of our own for the LAN: its transmit queue belongs to the inbound pipeline, perhaps on
/// another worker.
pub type Mail = Arc<ArrayQueue<Mbuf>>;

/// Where packets go.
pub struct Exits<'a> {
    /// The WAN.
    pub wan: &'a mut Egress,
    /// Back to the LAN, for ICMP errors; what does not fit in is not sent.
    pub lan: &'a Mail,
}

/// Packets with their ESP around them, to be sealed: the nth of each list is of the nth packet.
struct Wrapped<'s> {
    mbufs: Burst,
    details: ArrayVec<Detail<'s>, BURST>,
}

struct Detail<'s> {
    course: Course<'s>,
    iv: u64,
    /// Where the ESP begins; it ends with the frame.
    esp_at: usize,
    /// Octets of the packet inside, for the SA's counters.
    octets: u32,
}

/// What becomes of a packet under an SA.
#[derive(Clone, Copy)]
struct Course<'s> {
    sa: &'s Sa,
    outgoing: Outgoing,
    frames: u16,
    /// Larger than the MTU, to be fragmented when it is sealed.
    split: bool,
}

impl Outbound {
    /// A pipeline to a WAN of `mtu` octets that holds at most the fragments which `fragments` bounds.
    #[must_use]
    pub fn new(mtu: u16, fragments: Fragments, fragmenter: Fragmenter) -> Self {
        Outbound { mtu: usize::from(mtu), fragments, fragmenter, too_big: TooBig::new(), id: 0 }
    }

    /// Takes a burst from the LAN to its verdicts.
    pub fn process(&mut self, burst: &mut Burst, cx: &mut Context<'_>, exits: &mut Exits<'_>) {
        cx.probe_begins(Heading::Out, burst);
        self.go_on(burst, cx, exits);
    }

    /// Takes a burst to its verdicts of which a probe knows.
    pub(crate) fn go_on(&mut self, burst: &mut Burst, cx: &mut Context<'_>, exits: &mut Exits<'_>) {
        let received = burst.len();
        let mut packets = Lane::new();
        for mbuf in burst.drain(..) {
            let Some(mbuf) = cx.contiguous(mbuf, 1) else { continue };
            match parse(mbuf.data()) {
                Parsed::Ip(headers) => packets.push(mbuf, headers, 1),
                Parsed::NotIp => exits.wan.bypass(mbuf, 1, cx),
                Parsed::Malformed(reason) => cx.drop(mbuf, reason),
            }
        }
        cx.meter.lap(Stage::LanParse, received);
        if packets.is_empty() {
            return;
        }
        let classified = packets.mbufs.len();
        let policy = &cx.snapshot.policy;
        let mut rules = [0; BURST];
        policy.classify(packets.subjects(), &mut rules);
        cx.meter.lap(Stage::LanPolicy, classified);
        if cx.tap.follows() {
            cx.probe_arrivals([&mut packets], Some(&rules));
        }
        let mut wrapped = Wrapped { mbufs: Burst::new(), details: ArrayVec::new() };
        for ((mbuf, headers, frames), rule) in packets.drain().zip(&rules) {
            match policy.action(*rule) {
                Action::Bypass => exits.wan.bypass(mbuf, frames, cx),
                Action::Drop => cx.drop_frames(mbuf, DropReason::Policy, frames),
                Action::Protect(protect) => {
                    self.protect(mbuf, headers, frames, protect, &mut wrapped, cx, exits);
                }
            }
        }
        cx.meter.lap(Stage::Wrap, classified);
        let packets = wrapped.mbufs.len();
        self.seal(&mut wrapped, cx, exits);
        cx.meter.lap(Stage::Seal, packets);
    }

    /// Fragments that have waited too long are dropped.
    pub fn expire(&mut self, cx: &mut Context<'_>) {
        cx.probe_turns(Heading::Out);
        self.fragments.expire(cx);
    }

    /// Drops everything that is held, for a stop.
    pub fn drain(&mut self, cx: &mut Context<'_>) {
        cx.probe_turns(Heading::Out);
        self.fragments.drain(cx);
    }

    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "a packet comes apart, so that its parts need not move")]
    fn protect<'s>(
        &mut self,
        mbuf: Mbuf,
        headers: &Headers,
        frames: u16,
        protect: &'s Protect,
        wrapped: &mut Wrapped<'s>,
        cx: &mut Context<'s>,
        exits: &mut Exits<'_>,
    ) {
        let sa = match (protect.enforce, &protect.sa, protect.without_sa) {
            (Enforce::ReceiveOnly, _, _) | (_, None, WithoutSa::Bypass) => {
                return exits.wan.bypass(mbuf, frames, cx);
            }
            (_, None, WithoutSa::Drop) => return cx.drop_frames(mbuf, DropReason::NoSa, frames),
            (_, Some(sa), _) => &**sa,
        };
        if sa.mode() == Mode::Transport && headers.fragment != Fragment::None {
            return self.reassemble(mbuf, headers, wrapped, cx, exits);
        }
        let header = usize::from(headers.transport_insert_at - headers.l2_len);
        let max_packet = sa.max_packet(self.mtu, headers.version, header);
        let course = Course { sa, outgoing: Outgoing::Encrypted, frames, split: false };
        if headers.total_len as usize <= max_packet {
            self.enqueue(mbuf, headers, course, wrapped, cx, exits);
        } else {
            self.fit(mbuf, headers, course, max_packet, wrapped, cx, exits);
        }
    }

    /// Wraps the packet and lines it up for sealing.
    #[inline]
    fn enqueue<'s>(
        &mut self,
        mut mbuf: Mbuf,
        headers: &Headers,
        course: Course<'s>,
        wrapped: &mut Wrapped<'s>,
        cx: &mut Context<'_>,
        exits: &mut Exits<'_>,
    ) {
        let Course { sa, frames, .. } = course;
        if wrapped.mbufs.is_full() {
            self.seal(wrapped, cx, exits);
        }
        let Some(number) = sa.senders[cx.worker].take(1).next() else {
            sa.sealed.add_errors(cx.worker, 1);
            return cx.drop_frames(mbuf, DropReason::Iv, frames);
        };
        self.id = self.id.wrapping_add(1);
        let esp_at = match wrap(&mut mbuf, headers, sa, number.seq, self.id) {
            Some(esp_at) => esp_at,
            None => match wrap_elsewhere(&mut mbuf, headers, sa, number.seq, self.id, cx.large) {
                Ok(esp_at) => esp_at,
                Err(reason) => {
                    sa.sealed.add_errors(cx.worker, 1);
                    return cx.drop_frames(mbuf, reason, frames);
                }
            },
        };
        wrapped.mbufs.push(mbuf);
        wrapped.details.push(Detail { course, iv: number.iv, esp_at, octets: headers.total_len });
    }

    /// A packet too big for the MTU once sealed: fragments before encryption where that may be, after
    /// it where it must, an ICMP error otherwise (RFC 4301 section 8).
    #[cold]
    #[expect(clippy::too_many_arguments, reason = "as for protect")]
    fn fit<'s>(
        &mut self,
        mut mbuf: Mbuf,
        headers: &Headers,
        mut course: Course<'s>,
        max_packet: usize,
        wrapped: &mut Wrapped<'s>,
        cx: &mut Context<'_>,
        exits: &mut Exits<'_>,
    ) {
        let reported = reported_mtu(max_packet, headers.version);
        match (headers.version, course.sa.mode()) {
            (Version::V4, Mode::Tunnel) if !headers.dont_fragment => {
                self.split_before_sealing(mbuf, headers, course, max_packet, wrapped, cx, exits);
            }
            (_, Mode::Transport) if course.frames > 1 => {
                // It came in fragments, so its sender has done what an ICMP error would ask for.
                headers.clear_dont_fragment(mbuf.data_mut());
                course.split = true;
                self.enqueue(mbuf, headers, course, wrapped, cx, exits);
            }
            (Version::V4, Mode::Transport) if !headers.dont_fragment => {
                course.split = true;
                self.enqueue(mbuf, headers, course, wrapped, cx, exits);
            }
            (Version::V6, _) if headers.total_len as usize <= reported => {
                course.split = true;
                self.enqueue(mbuf, headers, course, wrapped, cx, exits);
            }
            _ => {
                if let Some(error) = self.too_big.answer(&mbuf, headers, reported, cx) {
                    // A full box means that the LAN is not keeping up: one more ICMP error would not help.
                    drop(exits.lan.push(error));
                }
                cx.drop_frames(mbuf, DropReason::TooBig, course.frames);
            }
        }
    }

    /// The pieces go on as packets of their own; the first stands for the frames received.
    #[expect(clippy::too_many_arguments, reason = "as for protect")]
    fn split_before_sealing<'s>(
        &mut self,
        mbuf: Mbuf,
        headers: &Headers,
        course: Course<'s>,
        max_packet: usize,
        wrapped: &mut Wrapped<'s>,
        cx: &mut Context<'_>,
        exits: &mut Exits<'_>,
    ) {
        let pieces = match self.fragmenter.split(mbuf, headers, max_packet, cx) {
            Ok(pieces) => pieces,
            Err((mbuf, reason)) => return cx.drop_frames(mbuf, reason, course.frames),
        };
        let mut next = course;
        for mbuf in pieces {
            let course =
                std::mem::replace(&mut next, Course { outgoing: Outgoing::Fragment, frames: 0, ..course });
            match parse(mbuf.data()) {
                Parsed::Ip(headers) => self.enqueue(mbuf, &headers, course, wrapped, cx, exits),
                Parsed::Malformed(reason) => cx.drop_frames(mbuf, reason, course.frames),
                Parsed::NotIp => cx.drop_frames(mbuf, DropReason::SealFailed, course.frames),
            }
        }
    }

    /// Transport mode protects whole datagrams: a fragment waits for the others, and the datagram is
    /// classified anew, by its ports.
    #[cold]
    fn reassemble<'s>(
        &mut self,
        mut mbuf: Mbuf,
        headers: &Headers,
        wrapped: &mut Wrapped<'s>,
        cx: &mut Context<'s>,
        exits: &mut Exits<'_>,
    ) {
        cx.probe_waits(&mut mbuf, Some(Point::Held));
        let Some(whole) = self.fragments.push(mbuf, headers, cx) else { return };
        cx.probe_rejoins(&whole.mbuf);
        match cx.snapshot.policy.action_of(whole.subject()) {
            Action::Protect(protect) if whole.headers.fragment == Fragment::None => {
                self.protect(whole.mbuf, &whole.headers, whole.frames, protect, wrapped, cx, exits);
            }
            Action::Bypass => {
                let Arrived { mbuf, frames, .. } = whole;
                self.fragmenter.send_reassembled(mbuf, Outgoing::Bypassed, frames, self.mtu, cx, exits.wan);
            }
            Action::Drop => cx.drop_frames(whole.mbuf, DropReason::Policy, whole.frames),
            Action::Protect(_) => cx.drop_frames(whole.mbuf, DropReason::TransportFragment, whole.frames),
        }
    }

    /// Seals the packets, and hands them to the WAN in order.
    #[inline(never)]
    fn seal(&mut self, wrapped: &mut Wrapped<'_>, cx: &mut Context<'_>, exits: &mut Exits<'_>) {
        let sealed = encipher(wrapped);
        for ((mbuf, detail), sealed) in wrapped.mbufs.drain(..).zip(&wrapped.details).zip(&sealed) {
            let Course { sa, outgoing, frames, split } = detail.course;
            if !sealed {
                sa.sealed.add_errors(cx.worker, 1);
                cx.drop_frames(mbuf, DropReason::SealFailed, frames);
                continue;
            }
            sa.sealed.add(cx.worker, 1, u64::from(detail.octets));
            if split {
                self.fragmenter.send(mbuf, outgoing, frames, self.mtu, cx, exits.wan);
            } else {
                exits.wan.push(mbuf, outgoing, frames, cx);
            }
        }
        wrapped.details.clear();
    }
}

/// Seals the packets; says of each whether that was done.
#[inline]
fn encipher(wrapped: &mut Wrapped<'_>) -> ArrayVec<bool, BURST> {
    let mut jobs = ArrayVec::<SealJob<'_>, BURST>::new();
    for (mbuf, detail) in wrapped.mbufs.iter_mut().zip(&wrapped.details) {
        let esp = mbuf.data_mut().get_mut(detail.esp_at..).unwrap_or_default();
        jobs.push(SealJob::new(&detail.course.sa.cipher, esp, detail.iv));
    }
    seal_burst(&mut jobs);
    jobs.iter().map(|job| job.sealed).collect()
}

/// Wraps a packet whose own buffer has no room in a larger one.
#[cold]
fn wrap_elsewhere(
    mbuf: &mut Mbuf,
    headers: &Headers,
    sa: &Sa,
    seq: u32,
    id: u16,
    large: &Mempool,
) -> Result<usize, DropReason> {
    let mark = mbuf.mark();
    *mbuf = Mbuf::copy_from(large, mbuf.data()).ok_or(DropReason::NoBuffers)?;
    mbuf.set_mark(mark);
    wrap(mbuf, headers, sa, seq, id).ok_or(DropReason::FrameTooLong)
}
