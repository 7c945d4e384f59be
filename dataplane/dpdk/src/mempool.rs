//! Pools of packet buffers. Made and dropped by control threads; workers allocate from them. A pool's
//! memory outlives each of its mbufs, whoever drops what first.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dpdk_sys as sys;

use crate::eal::{Guard, NotInitialised};
use crate::errno::Errno;
use crate::mbuf::HEADROOM;

/// A pool of equal packet buffers. Shared by reference: any thread may allocate from it, lcores through
/// their own cache. When the last handle is dropped, its memory is freed as soon as all its mbufs are
/// back.
#[derive(Debug)]
pub struct Mempool {
    raw: NonNull<sys::rte_mempool>,
    count: u32,
    data_room: u16,
    guard: Arc<Guard>,
}

// SAFETY: DPDK's default mempools take any number of getting and putting threads at once; all else in
// here is plain data, and freeing (Drop) goes through the guard's lock.
unsafe impl Send for Mempool {}
// SAFETY: as above.
unsafe impl Sync for Mempool {}

/// Why a pool could not be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MempoolError {
    /// EAL is not running.
    #[error(transparent)]
    NotInitialised(#[from] NotInitialised),
    /// `data_room` and the headroom together exceed what an mbuf can describe.
    #[error("a packet buffer holds at most {max} octets of data, not {0}", max = Mempool::MAX_DATA_ROOM)]
    DataRoom(u16),
    /// DPDK refused: not enough memory, or an invalid count.
    #[error(
        "no memory for {count} packet buffers of {octets} octets: {errno}; \
         reserve more hugepages, raise EAL's -m, or configure fewer buffers"
    )]
    Refused {
        /// Buffers asked for.
        count: u32,
        /// Octets each takes, its header included.
        octets: usize,
        /// DPDK's reason.
        errno: Errno,
    },
}

impl Mempool {
    /// The largest `data_room`, in octets.
    pub const MAX_DATA_ROOM: u16 = u16::MAX - HEADROOM;

    /// Makes a pool of `count` buffers (best a power of two less one), each with room for `data_room`
    /// octets of packet data behind [`HEADROOM`] octets of headroom. `cache` (0 to 512, at most
    /// two thirds of `count`) is how many each lcore keeps to itself; it is cut to what DPDK allows.
    /// `socket` is the NUMA node of the memory, `None` for any. The name shows in DPDK's own tools only;
    /// it is cut to 16 octets and made unique.
    ///
    /// The octets of a buffer that was never written are zero, later those of an earlier packet.
    ///
    /// # Errors
    /// See [`MempoolError`].
    pub fn new(
        name: &str,
        count: u32,
        cache: u32,
        data_room: u16,
        socket: Option<u32>,
    ) -> Result<Arc<Mempool>, MempoolError> {
        let guard = Guard::current()?;
        // A chance to free earlier pools whose mbufs have come back since.
        guard.sweep();

        let room = data_room.checked_add(HEADROOM).ok_or(MempoolError::DataRoom(data_room))?;
        let socket = socket.and_then(|socket| i32::try_from(socket).ok()).unwrap_or(ANY_SOCKET);
        let refused = |errno| MempoolError::Refused { count, octets: usize::from(room) + MBUF_SIZE, errno };
        let name = unique_name(name);
        let cache = cache.min(MAX_CACHE).min(count / 3 * 2);
        let control = guard.control();
        // SAFETY: name is NUL-terminated and copied by DPDK.
        let raw = unsafe { sys::rte_pktmbuf_pool_create(name.as_ptr(), count, cache, 0, room, socket) };
        drop(control);
        let raw = NonNull::new(raw).ok_or_else(|| refused(Errno::last()))?;
        Ok(Arc::new(Mempool { raw, count, data_room, guard }))
    }

    /// How many buffers it has in all.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Octets of packet data that a buffer holds behind the headroom.
    #[must_use]
    pub fn data_room(&self) -> u16 {
        self.data_room
    }

    /// How many buffers are free, those in lcores' caches included. Exact while nobody allocates or
    /// frees. Walks the caches: for control threads.
    #[must_use]
    pub fn available(&self) -> u32 {
        // SAFETY: the pool is alive; counting only reads.
        unsafe { sys::rte_mempool_avail_count(self.raw.as_ptr()) }
    }

    /// How many buffers are out: owned by somebody, in a device's ring, or in flight. As exact as
    /// [`Mempool::available`].
    #[must_use]
    pub fn in_use(&self) -> u32 {
        self.count.saturating_sub(self.available())
    }

    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut sys::rte_mempool {
        self.raw.as_ptr()
    }
}

impl Drop for Mempool {
    fn drop(&mut self) {
        self.guard.retire(RetiredPool { raw: self.raw, count: self.count });
    }
}

/// A pool that nobody can allocate from any more.
#[derive(Debug)]
pub(crate) struct RetiredPool {
    raw: NonNull<sys::rte_mempool>,
    count: u32,
}

// SAFETY: as for Mempool; the pool is this value's own.
unsafe impl Send for RetiredPool {}

impl RetiredPool {
    /// Frees the pool if all its mbufs are back; whether it did. The caller makes sure that no other
    /// thread is within an operation on a per-lcore cache, and forgets the pool after `true`.
    pub(crate) fn free_if_whole(&mut self) -> bool {
        // SAFETY: the pool has not been freed; counting only reads.
        let whole = unsafe { sys::rte_mempool_avail_count(self.raw.as_ptr()) } == self.count;
        if whole {
            // SAFETY: no handle is left to allocate from it, no mbuf of it exists, and by the caller's
            // promise every put has completed.
            unsafe { sys::rte_mempool_free(self.raw.as_ptr()) };
        }
        whole
    }
}

/// DPDK's `SOCKET_ID_ANY`.
const ANY_SOCKET: i32 = -1;
/// DPDK's `RTE_MEMPOOL_CACHE_MAX_SIZE`.
const MAX_CACHE: u32 = 512;
/// Octets of an mbuf's header, which stands before its buffer.
const MBUF_SIZE: usize = size_of::<sys::rte_mbuf>();

/// A name that no other object of DPDK has, short enough for all that DPDK adds to it.
pub(crate) fn unique_name(name: &str) -> CString {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let short: String = name.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    let unique = format!("{short}_{:x}", NEXT.fetch_add(1, Ordering::Relaxed));
    CString::new(unique).unwrap_or_default()
}
