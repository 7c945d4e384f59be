//! Anti-replay (RFC 4303 section 3.4.3): whether a sequence number may be accepted. Read before a
//! packet is opened, moved only after its ICV has verified. All workers share an SA's windows, without
//! a lock: no number is ever accepted twice and no worker waits for another.

mod senders;
mod window;

pub use senders::SenderWindows;
pub use window::Window;

use crate::verdict::DropReason;
use thiserror::Error;

/// Why a sequence number is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// Older than the window, or 0, which no sender uses.
    #[error("sequence number older than the replay window")]
    Stale,
    /// Already accepted.
    #[error("sequence number already received")]
    Duplicate,
    /// A new sender, but every window is taken.
    #[error("no replay window left for a new sender ID")]
    TableFull,
}

impl From<ReplayError> for DropReason {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Stale => Self::ReplayStale,
            ReplayError::Duplicate => Self::ReplayDuplicate,
            ReplayError::TableFull => Self::ReplaySenders,
        }
    }
}

/// Why a window, or a set of them, cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplaySizeError {
    /// Outside of what is supported.
    #[error("a replay window of {0} sequence numbers; it must be 64 to 65536")]
    Window(u32),
    /// Outside of what is supported.
    #[error("replay windows for {0} senders; it must be 1 to 65536")]
    Senders(u32),
    /// RFC 6407 section 5.3.2 offers 8, 12 and 16.
    #[error("sender IDs of {0} bits; it must be 1 to 32")]
    SidBits(u8),
    /// Windows are allocated up front, as a worker never allocates.
    #[error("replay windows of {window} sequence numbers for {senders} senders take more than 1 GiB")]
    Memory {
        /// Sequence numbers a window.
        window: u32,
        /// Windows.
        senders: u32,
    },
}

/// How an SA protects against replay.
#[derive(Debug)]
pub enum Replay {
    /// Not at all: for several senders without sender IDs (RFC 5374 section 4.2.2 has time-based
    /// protection instead, which is no matter of the data plane).
    None,
    /// One window for the only sender.
    Counter(Window),
    /// A window for each sender ID found in the IV (RFC 6054 section 3.1).
    Sender(SenderWindows),
}

impl Replay {
    /// Whether `seq`, in a packet with this `iv`, could be accepted now. Changes nothing.
    ///
    /// # Errors
    /// What stands against it.
    #[inline]
    pub fn check(&self, iv: u64, seq: u32) -> Result<(), ReplayError> {
        match self {
            Self::None => Ok(()),
            Self::Counter(window) => window.check(seq),
            Self::Sender(windows) => windows.check(windows.sid(iv), seq),
        }
    }

    /// Checks again and accepts `seq`. Only for a packet whose ICV has verified.
    ///
    /// # Errors
    /// What stands against it by now; the packet must be dropped.
    #[inline]
    pub fn commit(&self, iv: u64, seq: u32) -> Result<(), ReplayError> {
        match self {
            Self::None => Ok(()),
            Self::Counter(window) => window.commit(seq),
            Self::Sender(windows) => windows.commit(windows.sid(iv), seq),
        }
    }

    /// As [`Replay::commit`] for one packet after the other of the same SA: a quarter of the cost
    /// where a sender's numbers follow each other. As far as the shortest slice goes.
    #[inline]
    pub fn commit_burst(&self, ivs: &[u64], seqs: &[u32], out: &mut [Result<(), ReplayError>]) {
        match self {
            Self::None => out.fill(Ok(())),
            Self::Counter(window) => window.commit_burst(seqs, out),
            Self::Sender(windows) => windows.commit_burst(ivs, seqs, out),
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::{Replay, ReplayError, SenderWindows, Window};

    #[test]
    fn without_protection_everything_is_accepted_again_and_again() {
        for _ in 0..2 {
            assert_eq!(Replay::None.check(0, 0), Ok(()));
            assert_eq!(Replay::None.commit(7, 7), Ok(()));
        }
    }

    #[test]
    fn a_counter_window_does_not_look_at_the_iv() {
        let replay = Replay::Counter(Window::new(64).unwrap());
        assert_eq!(replay.commit(1 << 48, 5), Ok(()));
        assert_eq!(replay.check(2 << 48, 5), Err(ReplayError::Duplicate));
    }

    #[test]
    fn each_sender_id_of_the_iv_has_a_window_of_its_own() {
        let replay = Replay::Sender(SenderWindows::new(16, 4, 64).unwrap());
        assert_eq!(replay.commit((1 << 48) | 5, 5), Ok(()));
        assert_eq!(replay.commit((2 << 48) | 5, 5), Ok(()));
        assert_eq!(replay.commit((1 << 48) | 9, 5), Err(ReplayError::Duplicate));
    }
}
