//! Packets of several segments, as jumbo frames and reassembled datagrams come: read, cut, made
//! contiguous. Used by workers on the few packets that are so; never on the common path.

use std::iter;
use std::ptr::NonNull;
use std::slice;

use dpdk_sys as sys;

use super::{Mbuf, offset};
use crate::mempool::Mempool;

impl Mbuf {
    /// The octets of each segment, in order.
    pub fn segment_data(&self) -> impl Iterator<Item = &[u8]> {
        let mut next = Some(self.0);
        iter::from_fn(move || {
            let segment = Segment(next?);
            next = segment.next();
            // SAFETY: the segment belongs to this packet, whose borrow outlives the slice.
            Some(unsafe { slice::from_raw_parts(segment.data_ptr(), segment.data_len()) })
        })
    }

    /// Copies the octets from `at` on, as many as `out` holds; `false` when the packet ends before that,
    /// and `out` is then arbitrary.
    #[must_use]
    pub fn copy_out(&self, at: usize, out: &mut [u8]) -> bool {
        let mut skip = at;
        let mut out = out;
        for segment in self.segment_data() {
            let from = skip.min(segment.len());
            skip -= from;
            let n = out.len().min(segment.len() - from);
            let (now, later) = out.split_at_mut(n);
            now.copy_from_slice(&segment[from..from + n]);
            out = later;
        }
        out.is_empty() && skip == 0
    }

    /// Appends the whole packet to `out`.
    pub fn read_to(&self, out: &mut Vec<u8>) {
        self.segment_data().for_each(|segment| out.extend_from_slice(segment));
    }

    /// The same packet in one segment: moved together within its first one where that has the room,
    /// otherwise copied to an mbuf of `large`. A packet that is contiguous already comes back untouched.
    ///
    /// # Errors
    /// The packet, unchanged, when it fits neither, or `large` is exhausted.
    pub fn to_contiguous(self, large: &Mempool) -> Result<Mbuf, Mbuf> {
        if self.is_contiguous() {
            return Ok(self);
        }
        // SAFETY: the packet is this value's alone; its other segments are freed when they are copied.
        if unsafe { sys::shim_mbuf_linearize(self.as_ptr()) } == 0 {
            return Ok(self);
        }
        let length = self.pkt_len();
        let Some(mut whole) = Mbuf::alloc(large) else { return Err(self) };
        let copied = whole.append(length).is_some_and(|room| self.copy_out(0, room));
        if !copied {
            return Err(self);
        }
        whole.set::<u16, { offset(sys::SHIM_MBUF_PORT) }>(self.port());
        whole.set_mark(self.mark());
        whole.set::<u64, { offset(sys::SHIM_MBUF_TX_OFFLOAD) }>(
            self.get::<u64, { offset(sys::SHIM_MBUF_TX_OFFLOAD) }>(),
        );
        Ok(whole)
    }

    /// Appends another packet's segments to this one.
    ///
    /// # Errors
    /// `tail`, and nothing changed, when the chain would be longer than an mbuf can say.
    pub fn chain(&mut self, tail: Mbuf) -> Result<(), Mbuf> {
        if self.pkt_len() + tail.pkt_len() > u32::MAX as usize {
            return Err(tail);
        }
        // SAFETY: both packets are owned here; tail's segments become this packet's if it succeeds.
        if unsafe { sys::shim_mbuf_chain(self.as_ptr(), tail.as_ptr()) } != 0 {
            return Err(tail);
        }
        // Owned through this packet from now on.
        let _ = tail.into_raw();
        Ok(())
    }

    /// The packet-type word of each segment, in order.
    pub(crate) fn segment_tags(&self) -> impl Iterator<Item = u32> {
        let mut next = Some(self.0);
        iter::from_fn(move || {
            let segment = Segment(next?);
            next = segment.next();
            Some(segment.get::<u32, { offset(sys::SHIM_MBUF_PACKET_TYPE) }>())
        })
    }

    #[cold]
    pub(super) fn append_to_chain(&mut self, n: usize) -> Option<&mut [u8]> {
        let last = self.last_segment();
        let room = last.buf_len().saturating_sub(last.data_off() + last.data_len());
        let grow = u16::try_from(n).ok().filter(|_| n <= room)?;
        let at = last.data_len();
        last.set_data_len(last.raw_data_len() + grow);
        self.set_pkt_len(self.raw_pkt_len() + u32::from(grow));
        // SAFETY: the n octets behind the segment's old data lie in its buffer, which is alive, was
        // zeroed or written, and has no other reference; borrowed exclusively with self.
        Some(unsafe { slice::from_raw_parts_mut(last.data_ptr().add(at), n) })
    }

    #[cold]
    pub(super) fn trim_chain(&mut self, n: usize) -> bool {
        let last = self.last_segment();
        let Some(cut) = u16::try_from(n).ok().filter(|_| n <= last.data_len()) else { return false };
        last.set_data_len(last.raw_data_len() - cut);
        self.set_pkt_len(self.raw_pkt_len() - u32::from(cut));
        true
    }

    fn last_segment(&mut self) -> Segment {
        let mut last = Segment(self.0);
        while let Some(next) = last.next() {
            last = Segment(next);
        }
        last
    }
}

/// One segment of a packet that is alive and borrowed by whoever holds this. Never freed through it.
struct Segment(NonNull<sys::rte_mbuf>);

impl Segment {
    fn next(&self) -> Option<NonNull<sys::rte_mbuf>> {
        NonNull::new(self.get::<*mut sys::rte_mbuf, { offset(sys::SHIM_MBUF_NEXT) }>())
    }

    fn data_ptr(&self) -> *mut u8 {
        let buffer = self.get::<*mut u8, { offset(sys::SHIM_MBUF_BUF_ADDR) }>();
        // SAFETY: data_off is at most buf_len, of the buffer at buf_addr.
        unsafe { buffer.add(self.data_off()) }
    }

    fn data_off(&self) -> usize {
        usize::from(self.get::<u16, { offset(sys::SHIM_MBUF_DATA_OFF) }>())
    }

    fn buf_len(&self) -> usize {
        usize::from(self.get::<u16, { offset(sys::SHIM_MBUF_BUF_LEN) }>())
    }

    fn data_len(&self) -> usize {
        usize::from(self.raw_data_len())
    }

    fn raw_data_len(&self) -> u16 {
        self.get::<u16, { offset(sys::SHIM_MBUF_DATA_LEN) }>()
    }

    /// Only for the holder of an exclusive borrow of the packet.
    fn set_data_len(&self, value: u16) {
        // SAFETY: a live mbuf has a u16 at this offset; the packet is borrowed exclusively.
        unsafe { self.0.as_ptr().byte_add(offset(sys::SHIM_MBUF_DATA_LEN)).cast::<u16>().write(value) }
    }

    /// The field of type T at octet AT. Only for the offsets and types of `wrapper.h`.
    fn get<T: Copy, const AT: usize>(&self) -> T {
        // SAFETY: a live mbuf has a field of this type at this offset (offsetof), properly aligned.
        unsafe { self.0.as_ptr().byte_add(AT).cast::<T>().read() }
    }
}
