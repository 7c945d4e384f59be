//! DPDK's error numbers as a type. Used on control paths only.

use std::ffi::CStr;
use std::fmt;

/// An error number of DPDK or of the operating system; displays as text and number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// `rte_errno` of this thread: why the call that just failed did.
    pub(crate) fn last() -> Errno {
        // SAFETY: reads a thread-local integer.
        Errno(unsafe { dpdk_sys::shim_errno() })
    }

    /// The result of a call that returns `-errno`.
    pub(crate) fn check(result: i32) -> Result<u32, Errno> {
        u32::try_from(result).map_err(|_| Errno(result.wrapping_neg()))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: rte_strerror returns a NUL-terminated string that stays valid until this thread calls
        // it again; it is copied here.
        let text = unsafe { CStr::from_ptr(dpdk_sys::rte_strerror(self.0)) }.to_string_lossy();
        write!(f, "{text} (errno {})", self.0)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Errno {}
