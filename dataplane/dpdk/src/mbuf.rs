//! Packets in DPDK's buffers. Used by workers: all that is done per packet is inline Rust on the mbuf's
//! fields, with calls into C only where a buffer is taken, given back or copied across segments.

mod chain;

use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::slice;

use arrayvec::ArrayVec;
use dpdk_sys as sys;

use crate::mempool::Mempool;

/// How many packets a worker handles at a time.
pub const BURST: usize = 32;

/// Up to [`BURST`] packets, in order.
pub type Burst = ArrayVec<Mbuf, BURST>;

/// Octets that a new mbuf, or one that a device filled, has in front of its data. Devices with headers
/// of their own leave less.
#[allow(clippy::cast_possible_truncation)]
pub const HEADROOM: u16 = sys::RTE_PKTMBUF_HEADROOM as u16;

/// One packet: a chain of one or more segments, of which the first is what most methods work on. It has
/// one owner and its buffers have no other reference, so its octets may be borrowed mutably. Dropped, it
/// goes back to its pool.
#[repr(transparent)]
pub struct Mbuf(NonNull<sys::rte_mbuf>);

// SAFETY: the packet is this value's alone, and any thread may give it back to its pool.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// An empty packet with [`HEADROOM`] octets in front; `None` when the pool is exhausted.
    #[inline]
    #[must_use]
    pub fn alloc(pool: &Mempool) -> Option<Mbuf> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: the pool is alive and makes packet mbufs; raw has room for the one asked for.
        let result = unsafe { sys::shim_mbuf_alloc_bulk(pool.as_ptr(), &raw mut raw, 1) };
        if result == 0 { NonNull::new(raw).map(Mbuf) } else { None }
    }

    /// Appends `n` empty packets, or as many as there is room for, to `burst`, in one call; how many: all
    /// of them, or 0 when the pool has not that many left.
    #[inline]
    pub fn alloc_burst<const N: usize>(pool: &Mempool, burst: &mut ArrayVec<Mbuf, N>, n: usize) -> usize {
        let n = n.min(burst.remaining_capacity());
        let Ok(count) = u32::try_from(n) else { return 0 };
        let spare = spare_room(burst);
        // SAFETY: the pool is alive; spare has room for n pointers, which Mbuf is.
        if unsafe { sys::shim_mbuf_alloc_bulk(pool.as_ptr(), spare, count) } != 0 {
            return 0;
        }
        // SAFETY: the n places behind the old length were filled by the call, and n fits.
        unsafe { burst.set_len(burst.len() + n) };
        n
    }

    /// A packet with these octets; `None` when the pool is exhausted or its buffers are too small.
    #[must_use]
    pub fn copy_from(pool: &Mempool, octets: &[u8]) -> Option<Mbuf> {
        let mut mbuf = Mbuf::alloc(pool)?;
        mbuf.append(octets.len())?.copy_from_slice(octets);
        Some(mbuf)
    }

    /// The octets of the first segment, which is the whole packet when [`Mbuf::is_contiguous`].
    #[inline]
    #[must_use]
    pub fn data(&self) -> &[u8] {
        // SAFETY: data_len octets from the data pointer lie in the segment's buffer, which is alive, was
        // zeroed or written, and is borrowed with self.
        unsafe { slice::from_raw_parts(self.data_ptr(), self.data_len()) }
    }

    /// The octets of the first segment, to change.
    #[inline]
    #[must_use]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for data(); the buffer has no other reference, so the borrow of self is exclusive.
        unsafe { slice::from_raw_parts_mut(self.data_ptr(), self.data_len()) }
    }

    /// Octets of data in the first segment.
    #[inline]
    #[must_use]
    pub fn data_len(&self) -> usize {
        usize::from(self.get::<u16, { offset(sys::SHIM_MBUF_DATA_LEN) }>())
    }

    /// Octets of data in the whole packet.
    #[inline]
    #[must_use]
    pub fn pkt_len(&self) -> usize {
        self.get::<u32, { offset(sys::SHIM_MBUF_PKT_LEN) }>() as usize
    }

    /// How many segments it has, at least one.
    #[inline]
    #[must_use]
    pub fn segments(&self) -> usize {
        usize::from(self.get::<u16, { offset(sys::SHIM_MBUF_NB_SEGS) }>())
    }

    /// Whether the whole packet lies in one segment.
    #[inline]
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        self.segments() == 1
    }

    /// Octets of the first segment's buffer: headroom, data and tailroom.
    #[inline]
    #[must_use]
    pub fn buf_len(&self) -> usize {
        usize::from(self.get::<u16, { offset(sys::SHIM_MBUF_BUF_LEN) }>())
    }

    /// Free octets in front of the data.
    #[inline]
    #[must_use]
    pub fn headroom(&self) -> usize {
        usize::from(self.data_off())
    }

    /// Free octets behind the data of the first segment.
    #[inline]
    #[must_use]
    pub fn tailroom(&self) -> usize {
        self.buf_len().saturating_sub(self.headroom() + self.data_len())
    }

    /// The port that received it; meaningless in a packet made here.
    #[inline]
    #[must_use]
    pub fn port(&self) -> u16 {
        self.get::<u16, { offset(sys::SHIM_MBUF_PORT) }>()
    }

    /// Grows the packet at its front and gives the new octets, whose contents are arbitrary; `None`, and
    /// nothing changed, when the headroom is less than `n`.
    #[inline]
    #[must_use]
    pub fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        if n > self.headroom() {
            return None;
        }
        // Fits: n is at most the data offset, a u16.
        #[allow(clippy::cast_possible_truncation)]
        let grow = n as u16;
        self.set_data_off(self.data_off() - grow);
        self.set_data_len(self.raw_data_len() + grow);
        self.set_pkt_len(self.raw_pkt_len() + u32::from(grow));
        self.data_mut().get_mut(..n)
    }

    /// Grows the packet at its end and gives the new octets, whose contents are arbitrary; `None`, and
    /// nothing changed, when the last segment's tailroom is less than `n`.
    #[inline]
    #[must_use]
    pub fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        if !self.is_contiguous() {
            return self.append_to_chain(n);
        }
        if n > self.tailroom() {
            return None;
        }
        // Fits: n is at most the buffer's length, a u16.
        #[allow(clippy::cast_possible_truncation)]
        let grow = n as u16;
        let at = self.data_len();
        self.set_data_len(self.raw_data_len() + grow);
        self.set_pkt_len(self.raw_pkt_len() + u32::from(grow));
        self.data_mut().get_mut(at..)
    }

    /// Cuts `n` octets off the front; `false`, and nothing changed, when the first segment has fewer.
    #[inline]
    #[must_use]
    pub fn trim_front(&mut self, n: usize) -> bool {
        if n > self.data_len() {
            return false;
        }
        // Fits: n is at most the data length, a u16.
        #[allow(clippy::cast_possible_truncation)]
        let cut = n as u16;
        self.set_data_off(self.data_off() + cut);
        self.set_data_len(self.raw_data_len() - cut);
        self.set_pkt_len(self.raw_pkt_len() - u32::from(cut));
        true
    }

    /// Cuts `n` octets off the end; `false`, and nothing changed, when the last segment has fewer.
    #[inline]
    #[must_use]
    pub fn trim_back(&mut self, n: usize) -> bool {
        if !self.is_contiguous() {
            return self.trim_chain(n);
        }
        if n > self.data_len() {
            return false;
        }
        // Fits: n is at most the data length, a u16.
        #[allow(clippy::cast_possible_truncation)]
        let cut = n as u16;
        self.set_data_len(self.raw_data_len() - cut);
        self.set_pkt_len(self.raw_pkt_len() - u32::from(cut));
        true
    }

    /// Cuts a packet in one segment down to `length` octets from octet `from` on; `false`, and nothing
    /// changed, when it has not that many or more segments.
    #[inline]
    #[must_use]
    pub fn keep(&mut self, from: usize, length: usize) -> bool {
        let fits = from.checked_add(length).is_some_and(|end| end <= self.data_len());
        let (Ok(from), Ok(length), true) = (u16::try_from(from), u16::try_from(length), fits) else {
            return false;
        };
        if !self.is_contiguous() {
            return false;
        }
        self.set_data_off(self.data_off() + from);
        self.set_data_len(length);
        self.set_pkt_len(u32::from(length));
        true
    }

    /// Tells fragmentation and reassembly how long the headers before the IP header, and the IP headers,
    /// are, in octets. Values beyond 127 and 511 are cut to that.
    #[inline]
    pub fn set_header_lengths(&mut self, l2_len: u16, l3_len: u16) {
        const L2_MAX: u64 = (1 << sys::SHIM_MBUF_L2_LEN_BITS) - 1;
        const L3_MAX: u64 = (1 << sys::SHIM_MBUF_L3_LEN_BITS) - 1;
        let lengths =
            u64::from(l2_len).min(L2_MAX) | u64::from(l3_len).min(L3_MAX) << sys::SHIM_MBUF_L2_LEN_BITS;
        self.set::<u64, { offset(sys::SHIM_MBUF_TX_OFFLOAD) }>(lengths);
    }

    /// The mark that was set last. Until one is set it is arbitrary: a device leaves the hash by which it
    /// chose the queue in its place.
    #[inline]
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.get::<u64, { offset(sys::SHIM_MBUF_HASH) }>()
    }

    /// Writes a word beside the packet, which goes with it wherever it goes. Packets made from this one
    /// elsewhere do not have it.
    #[inline]
    pub fn set_mark(&mut self, mark: u64) {
        self.set::<u64, { offset(sys::SHIM_MBUF_HASH) }>(mark);
    }

    /// Starts to load the mbuf's first cache line, for a packet that is handled a little later.
    #[inline]
    pub fn prefetch(&self) {
        prefetch(self.0.as_ptr().cast());
    }

    /// Starts to load the first cache line of the packet's data. Reads the mbuf.
    #[inline]
    pub fn prefetch_data(&self) {
        prefetch(self.data_ptr());
    }

    /// The mbuf, which the caller now has to free or hand on.
    #[inline]
    pub(crate) fn into_raw(self) -> *mut sys::rte_mbuf {
        ManuallyDrop::new(self).0.as_ptr()
    }

    /// Takes a packet from DPDK.
    ///
    /// # Safety
    /// `raw` must be a whole packet that nothing else refers to, with direct buffers and reference counts
    /// of one.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: NonNull<sys::rte_mbuf>) -> Mbuf {
        Mbuf(raw)
    }

    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut sys::rte_mbuf {
        self.0.as_ptr()
    }

    /// Where the data of the first segment begins.
    #[inline]
    fn data_ptr(&self) -> *mut u8 {
        let buffer = self.get::<*mut u8, { offset(sys::SHIM_MBUF_BUF_ADDR) }>();
        // SAFETY: data_off is at most buf_len, of the buffer at buf_addr.
        unsafe { buffer.add(self.headroom()) }
    }

    #[inline]
    fn data_off(&self) -> u16 {
        self.get::<u16, { offset(sys::SHIM_MBUF_DATA_OFF) }>()
    }

    #[inline]
    fn set_data_off(&mut self, value: u16) {
        self.set::<u16, { offset(sys::SHIM_MBUF_DATA_OFF) }>(value);
    }

    #[inline]
    fn raw_data_len(&self) -> u16 {
        self.get::<u16, { offset(sys::SHIM_MBUF_DATA_LEN) }>()
    }

    #[inline]
    fn set_data_len(&mut self, value: u16) {
        self.set::<u16, { offset(sys::SHIM_MBUF_DATA_LEN) }>(value);
    }

    #[inline]
    fn raw_pkt_len(&self) -> u32 {
        self.get::<u32, { offset(sys::SHIM_MBUF_PKT_LEN) }>()
    }

    #[inline]
    fn set_pkt_len(&mut self, value: u32) {
        self.set::<u32, { offset(sys::SHIM_MBUF_PKT_LEN) }>(value);
    }

    /// The field of type T at octet AT of the mbuf. Only for the offsets and types of `wrapper.h`.
    #[inline]
    pub(crate) fn get<T: Copy, const AT: usize>(&self) -> T {
        // SAFETY: a live mbuf has a field of this type at this offset (offsetof), properly aligned.
        unsafe { self.0.as_ptr().byte_add(AT).cast::<T>().read() }
    }

    /// Writes the field of type T at octet AT of the mbuf.
    #[inline]
    pub(crate) fn set<T: Copy, const AT: usize>(&mut self, value: T) {
        // SAFETY: as for get(); the mbuf is this value's alone.
        unsafe { self.0.as_ptr().byte_add(AT).cast::<T>().write(value) }
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the packet is this value's alone and not used after.
        unsafe { sys::shim_mbuf_free(self.0.as_ptr()) }
    }
}

impl fmt::Debug for Mbuf {
    /// Lengths only: the data may be somebody's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf")
            .field("pkt_len", &self.pkt_len())
            .field("segments", &self.segments())
            .finish_non_exhaustive()
    }
}

/// Gives all packets of a burst back to their pools, in one call.
#[inline]
pub fn free_burst<const N: usize>(burst: &mut ArrayVec<Mbuf, N>) {
    let Ok(count) = u32::try_from(burst.len()) else { return burst.clear() };
    // SAFETY: the burst is emptied without dropping its packets, which the call takes over; they are
    // count pointers, which Mbuf is.
    unsafe {
        burst.set_len(0);
        sys::shim_mbuf_free_bulk(burst.as_mut_ptr().cast(), count);
    }
}

/// The place behind the packets of a burst, as DPDK writes to it.
#[inline]
pub(crate) fn spare_room<const N: usize>(burst: &mut ArrayVec<Mbuf, N>) -> *mut *mut sys::rte_mbuf {
    let length = burst.len();
    // SAFETY: the length is at most the capacity, so the place is in or just behind the array.
    unsafe { burst.as_mut_ptr().add(length).cast() }
}

pub(crate) const fn offset(constant: sys::shim_mbuf_offset) -> usize {
    constant as usize
}

#[inline]
fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; no address faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
