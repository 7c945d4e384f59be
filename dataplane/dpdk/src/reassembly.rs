//! Putting IP fragments together again: DPDK's fragment table, with the checks it lacks and an account
//! of every fragment. One worker owns it; its size and the age of what it holds are bounded.

mod headers;

use std::ptr::NonNull;
use std::sync::Arc;

use dpdk_sys as sys;

use crate::eal::{Guard, NotInitialised};
use crate::errno::Errno;
use crate::fragment::checksum_header;
use crate::lcore::cycles_hz;
use crate::mbuf::{Mbuf, offset};
use headers::{Fragment4, Fragment6, finish_v6};

/// Most fragments that a datagram can come in; with more it is lost. Set when DPDK is built.
pub const MAX_FRAGMENTS: usize = sys::RTE_LIBRTE_IP_FRAG_MAX_FRAG as usize;

/// A table of incomplete datagrams. At every moment, of the fragments it accepted,
/// pushed = those in completed datagrams + [`Reassembler::held`] + [`Reassembler::dead`].
///
/// A fragment dies, and the others of its datagram with it, when there are more than [`MAX_FRAGMENTS`],
/// when they overlap or repeat so that they do not tile the datagram exactly, when the datagram would be
/// longer than 65,535 octets, or when its first fragment is older than the table's limit. A fragment of a
/// new datagram dies when the table is full.
#[derive(Debug)]
pub struct Reassembler {
    table: NonNull<sys::rte_ip_frag_tbl>,
    /// Empty between any two calls.
    death_row: Box<sys::rte_ip_frag_death_row>,
    held: u64,
    dead: u64,
    /// Keeps the table's memory.
    _guard: Arc<Guard>,
}

// SAFETY: the table has one owner, and is not tied to a thread.
unsafe impl Send for Reassembler {}

/// What became of a fragment.
#[derive(Debug)]
pub enum Reassembly {
    /// It was the last one missing: the whole frame, in as many segments as there were fragments. The IP
    /// header (with checksum) is that of an unfragmented datagram; an IPv6 fragment header is gone.
    Done(Mbuf),
    /// The table has it, or has let it die: see [`Reassembler::take_dead`].
    Held,
    /// Not taken: it is no fragment, its headers are invalid, it says to be longer than it is, or it lies
    /// in several segments.
    Refused(Mbuf),
}

/// Why a table could not be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReassemblerError {
    /// EAL is not running.
    #[error(transparent)]
    NotInitialised(#[from] NotInitialised),
    /// DPDK refused.
    #[error("no memory to reassemble {datagrams} datagrams at a time: {errno}")]
    Refused {
        /// How many were asked for.
        datagrams: u32,
        /// DPDK's reason.
        errno: Errno,
    },
}

impl Reassembler {
    /// Entries that share a hash value.
    const ASSOCIATIVITY: u32 = 16;

    /// A table for up to `max_datagrams` (at least 1) incomplete datagrams, each of which may take
    /// `max_age_ms` milliseconds to complete, in memory of NUMA node `socket`.
    ///
    /// # Errors
    /// See [`ReassemblerError`].
    pub fn new(
        max_datagrams: u32,
        max_age_ms: u32,
        socket: Option<u32>,
    ) -> Result<Reassembler, ReassemblerError> {
        let guard = Guard::current()?;
        let max_cycles = u64::from(max_age_ms) * (cycles_hz() / 1_000);
        let socket = socket.and_then(|socket| i32::try_from(socket).ok()).unwrap_or(-1);
        let datagrams = max_datagrams.max(1);
        let control = guard.control();
        // SAFETY: allocates; invalid sizes are refused.
        let table = unsafe {
            sys::rte_ip_frag_table_create(
                datagrams.div_ceil(Self::ASSOCIATIVITY),
                Self::ASSOCIATIVITY,
                datagrams,
                max_cycles,
                socket,
            )
        };
        drop(control);
        // The library says no reason: it is lack of memory.
        let table = NonNull::new(table).ok_or(ReassemblerError::Refused { datagrams, errno: Errno(12) })?;
        Ok(Reassembler { table, death_row: Box::default(), held: 0, dead: 0, _guard: guard })
    }

    /// Takes a frame that holds an IPv4 fragment behind `l2_len` octets; `now` in [`crate::cycles`].
    ///
    /// Fragments belong together by addresses, protocol and identification (RFC 791 section 3.2).
    #[must_use]
    pub fn push_v4(&mut self, mut frame: Mbuf, l2_len: u16, now: u64) -> Reassembly {
        let Some(mut fragment) = Fragment4::parse(&frame, l2_len) else { return Reassembly::Refused(frame) };
        frame.set_header_lengths(l2_len, fragment.header_len);
        // The library's key lacks the protocol: it is compared when the datagram is whole.
        frame.set::<u32, TAG>(u32::from(fragment.protocol));
        self.held += 1;
        // SAFETY: the table is this value's; the frame is one whole segment that holds what the header
        // says, and goes to the library, with the lengths set that it cuts by. The header is a copy, read
        // during the call. The death row is empty and holds more than a call can add.
        let done = unsafe {
            sys::rte_ipv4_frag_reassemble_packet(
                self.table.as_ptr(),
                &raw mut *self.death_row,
                frame.into_raw(),
                now,
                &raw mut fragment.header,
            )
        };
        let Some(mut datagram) = self.take(done) else { return Reassembly::Held };

        let (l2, header_len) = (usize::from(l2_len), headers::ipv4_header_len(&datagram, l2_len));
        let same_protocol = datagram.segment_tags().all(|tag| tag == u32::from(fragment.protocol));
        let length = u16::try_from(datagram.pkt_len() - l2);
        let header = datagram.data_mut().get_mut(l2..l2 + header_len);
        match (same_protocol, length, header) {
            (true, Ok(length), Some(header)) => {
                header[2..4].copy_from_slice(&length.to_be_bytes());
                // Neither offset nor more fragments.
                header[6] &= 0x40;
                header[7] = 0;
                checksum_header(header);
                Reassembly::Done(datagram)
            }
            _ => self.bury(datagram),
        }
    }

    /// Takes a frame that holds an IPv6 fragment behind `l2_len` octets; `now` in [`crate::cycles`].
    ///
    /// Fragments belong together by addresses and identification (RFC 8200 section 4.5). A packet with a
    /// fragment header that is whole nonetheless (RFC 6946) is refused: it needs no reassembly.
    #[must_use]
    pub fn push_v6(&mut self, mut frame: Mbuf, l2_len: u16, now: u64) -> Reassembly {
        let Some(mut fragment) = Fragment6::parse(&frame, l2_len) else { return Reassembly::Refused(frame) };
        frame.set_header_lengths(l2_len, fragment.headers_len);
        // The library overwrites what names the next header, in the wrong place when there are other
        // extension headers: kept to set it right.
        frame.set::<u32, TAG>(fragment.tag());
        self.held += 1;
        // SAFETY: as for IPv4; the fragment header is a copy, too.
        let done = unsafe {
            sys::rte_ipv6_frag_reassemble_packet(
                self.table.as_ptr(),
                &raw mut *self.death_row,
                frame.into_raw(),
                now,
                &raw mut fragment.header,
                &raw mut fragment.extension,
            )
        };
        let Some(mut datagram) = self.take(done) else { return Reassembly::Held };
        if finish_v6(&mut datagram, l2_len) { Reassembly::Done(datagram) } else { self.bury(datagram) }
    }

    /// Lets datagrams die that have become too old by `now`; a bounded number of them at a time. `last_look` is
    /// given each of their fragments before it is freed.
    pub fn expire(&mut self, now: u64, last_look: impl FnMut(&Mbuf)) {
        // SAFETY: the table is this value's; the library stops when the death row, empty now, is full.
        unsafe {
            sys::rte_ip_frag_table_del_expired_entries(self.table.as_ptr(), &raw mut *self.death_row, now);
        }
        self.free_dead(last_look);
    }

    /// How many fragments wait in the table.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held
    }

    /// How many fragments have died since [`Reassembler::take_dead`] was called.
    #[must_use]
    pub fn dead(&self) -> u64 {
        self.dead
    }

    /// How many fragments have died since this was called last.
    pub fn take_dead(&mut self) -> u64 {
        std::mem::take(&mut self.dead)
    }

    /// Accounts for what a push has brought: a datagram, and the dead.
    fn take(&mut self, done: *mut sys::rte_mbuf) -> Option<Mbuf> {
        self.free_dead(|_| {});
        let done = NonNull::new(done)?;
        // SAFETY: the library gives the whole datagram away; its segments are frames that were pushed.
        let mut datagram = unsafe { Mbuf::from_raw(done) };
        // Each fragment was pushed in one segment.
        self.held -= datagram.segments() as u64;
        // The library asks for a checksum by the device, which not every one computes.
        let flags = datagram.get::<u64, { offset(sys::SHIM_MBUF_OL_FLAGS) }>();
        datagram.set::<u64, { offset(sys::SHIM_MBUF_OL_FLAGS) }>(flags & !sys::SHIM_TX_IP_CHECKSUM);
        datagram.set_header_lengths(0, 0);
        Some(datagram)
    }

    /// Lets a datagram die that the library found complete.
    fn bury(&mut self, datagram: Mbuf) -> Reassembly {
        self.dead += datagram.segments() as u64;
        Reassembly::Held
    }

    /// Frees the fragments on the death row. Some are chained already, when the library found only then
    /// that they do not fit together.
    fn free_dead(&mut self, mut last_look: impl FnMut(&Mbuf)) {
        let count = self.death_row.cnt as usize;
        for &raw in &self.death_row.row[..count] {
            // SAFETY: the library gives away what is on the death row, each a whole packet.
            let Some(dead) = NonNull::new(raw).map(|raw| unsafe { Mbuf::from_raw(raw) }) else { continue };
            last_look(&dead);
            self.held -= dead.segments() as u64;
            self.dead += dead.segments() as u64;
        }
        self.death_row.cnt = 0;
    }
}

impl Drop for Reassembler {
    fn drop(&mut self) {
        // SAFETY: the table is this value's; the fragments it holds are freed with it.
        unsafe { sys::rte_ip_frag_table_destroy(self.table.as_ptr()) };
    }
}

/// A word of the mbuf that the library does not touch, for what is needed when a datagram is whole.
const TAG: usize = offset(sys::SHIM_MBUF_PACKET_TYPE);
