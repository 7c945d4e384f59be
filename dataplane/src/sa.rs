//! An IPsec security association as the data plane holds it: keys, replay state, one sender ID for
//! each worker. Made by the control thread, used by all workers through [`Arc`]; what changes in it
//! is atomic and says who writes it.

use std::fmt;
use std::sync::Arc;

use crossbeam::utils::CachePadded;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::counters::{SaCounters, SaTotals};
use crate::packet::{Version, esp, ipv4, ipv6};
use crate::replay::{Replay, ReplaySizeError, SenderWindows, Window};
use crate::selector::{Selector, SelectorSet};
use crate::sender::{Sender, SenderError};
use crate::transform::{Cipher, KeyError, Transform};
use crate::verdict::DropReason;

/// How a packet is carried (RFC 4301 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The whole packet inside, its addresses kept on the outside (RFC 5374 section 3.1).
    Tunnel,
    /// ESP between the packet's IP header and what it carries.
    Transport,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Tunnel => "tunnel",
            Mode::Transport => "transport",
        })
    }
}

/// Which way an SA may be used. A group's SAs serve both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// WAN to LAN only.
    In,
    /// LAN to WAN only.
    Out,
    /// Both.
    Both,
}

impl Direction {
    /// Whether packets from the WAN may use it.
    #[must_use]
    pub fn receives(self) -> bool {
        self != Direction::Out
    }

    /// Whether packets to the WAN may use it.
    #[must_use]
    pub fn sends(self) -> bool {
        self != Direction::In
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::In => "in",
            Direction::Out => "out",
            Direction::Both => "both",
        })
    }
}

/// Which replays are recognised. Window sizes are in packets, 64 to 65,536.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayPolicy {
    /// None.
    None,
    /// One window (RFC 4303 section 3.4.3), for an SA with one sender.
    Counter {
        /// Packets it spans.
        window: u32,
    },
    /// A window for each sender ID found in the IV (RFC 6054 section 4).
    Sender {
        /// Packets each spans.
        window: u32,
        /// How many sender IDs are followed at the most.
        max_senders: u32,
    },
}

/// What an SA is made from.
#[derive(Clone)]
pub struct SaParams {
    /// Security Parameters Index; 0 to 255 are reserved (RFC 4303 section 2.1).
    pub spi: u32,
    /// Index of its group in [`crate::PolicyState::groups`].
    pub group: usize,
    /// Cipher and integrity algorithm.
    pub transform: Transform,
    /// Cipher key, with the salt behind it for the counter modes.
    pub key: Zeroizing<Vec<u8>>,
    /// HMAC key; empty for combined modes.
    pub integrity_key: Zeroizing<Vec<u8>>,
    /// Tunnel or transport.
    pub mode: Mode,
    /// In, out or both.
    pub direction: Direction,
    /// Replay protection when receiving.
    pub replay: ReplayPolicy,
    /// Sender ID of worker 0; worker n seals with `sid + n`, unless [`Sa::with_sender_ids`] says otherwise.
    pub sid: u32,
    /// Bits of the IV that the sender ID takes: 8, 12 or 16 (RFC 6054 section 3). Without a counter mode
    /// also 32: the IV only has to differ between senders then, and nobody reads it.
    pub sid_bits: u8,
    /// The first counter each worker may use; 1 for a new key.
    pub first_counter: u64,
    /// The first counter that no worker may use yet, because its reservation is not durable;
    /// `u64::MAX` where the key server sees to it that no sender ID comes back.
    pub reserved: u64,
    /// The packets it protects.
    pub selectors: Vec<Selector>,
}

/// Why an SA cannot be made.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SaError {
    /// SPI 0 to 255.
    #[error("SPI {0:#010x} is reserved (RFC 4303 section 2.1): use 0x00000100 or above")]
    ReservedSpi(u32),
    /// A key has the wrong length.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A worker's sender ID does not fit.
    #[error(transparent)]
    Sender(#[from] SenderError),
    /// A sender ID width that RFC 6054 does not have.
    #[error("a sender ID has 8, 12 or 16 bits (RFC 6054 section 3), not {0}")]
    SenderIdBits(u8),
    /// A replay window or their number out of range.
    #[error(transparent)]
    Replay(#[from] ReplaySizeError),
    /// Per-sender replay protection without a sender in the IV.
    #[error("{0} carries no sender ID in its IV, so replay protection per sender is impossible")]
    NoSenderInIv(Transform),
}

/// An IPsec SA.
pub struct Sa {
    shape: Shape,
    spi: u32,
    group: usize,
    transform: Transform,
    mode: Mode,
    direction: Direction,
    replay_policy: ReplayPolicy,
    selectors: Box<[Selector]>,
    pub(crate) cipher: Cipher,
    pub(crate) inner: SelectorSet,
    /// Written by every worker, lock-free.
    pub(crate) replay: Replay,
    /// Entry n is written by worker n; its limit by the control thread.
    pub(crate) senders: Box<[CachePadded<Sender>]>,
    /// Written by each worker in its own place.
    pub(crate) opened: SaCounters,
    /// Likewise.
    pub(crate) sealed: SaCounters,
}

impl Sa {
    /// Makes an SA for a data plane with `workers` workers.
    ///
    /// # Errors
    /// When the parameters contradict each other or the RFCs; see [`SaError`].
    pub fn new(params: &SaParams, workers: usize) -> Result<Arc<Sa>, SaError> {
        let sid_of = |worker: usize| params.sid.saturating_add(u32::try_from(worker).unwrap_or(u32::MAX));
        Self::with_sender_ids(params, &(0..workers).map(sid_of).collect::<Vec<_>>())
    }

    /// Makes an SA for a data plane with as many workers as there are sender IDs, one for each.
    ///
    /// # Errors
    /// When the parameters contradict each other or the RFCs; see [`SaError`].
    pub fn with_sender_ids(params: &SaParams, sids: &[u32]) -> Result<Arc<Sa>, SaError> {
        let workers = sids.len();
        if params.spi < 256 {
            return Err(SaError::ReservedSpi(params.spi));
        }
        match params.sid_bits {
            8 | 12 | 16 => {}
            32 if !params.transform.is_counter_mode() => {}
            bits => return Err(SaError::SenderIdBits(bits)),
        }
        let cipher = Cipher::new(params.transform, &params.key, &params.integrity_key)?;
        // A receiver without a window cannot mistake a wrapped number for a replay
        // (RFC 4303 section 3.3.3).
        let seq_may_wrap = params.replay == ReplayPolicy::None;
        Ok(Arc::new(Sa {
            shape: Shape::of(params.transform),
            spi: params.spi,
            group: params.group,
            transform: params.transform,
            mode: params.mode,
            direction: params.direction,
            replay_policy: params.replay,
            selectors: params.selectors.clone().into(),
            cipher,
            inner: SelectorSet::new(&params.selectors),
            replay: replay(params)?,
            senders: sids
                .iter()
                .map(|&sid| {
                    let (first, limit) = (params.first_counter, params.reserved);
                    Sender::new(sid, params.sid_bits, first, limit, seq_may_wrap).map(CachePadded::new)
                })
                .collect::<Result<_, _>>()?,
            opened: SaCounters::new(workers),
            sealed: SaCounters::new(workers),
        }))
    }

    /// Security Parameters Index.
    #[must_use]
    pub fn spi(&self) -> u32 {
        self.spi
    }

    /// Index of its group.
    #[must_use]
    pub fn group(&self) -> usize {
        self.group
    }

    /// Cipher and integrity algorithm.
    #[must_use]
    pub fn transform(&self) -> Transform {
        self.transform
    }

    /// Tunnel or transport.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// In, out or both.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Replay protection when receiving.
    #[must_use]
    pub fn replay_policy(&self) -> ReplayPolicy {
        self.replay_policy
    }

    /// The packets it protects.
    #[must_use]
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// What all workers opened under it, added up.
    #[must_use]
    pub fn opened(&self) -> SaTotals {
        self.opened.totals()
    }

    /// What all workers sealed under it, added up.
    #[must_use]
    pub fn sealed(&self) -> SaTotals {
        self.sealed.totals()
    }

    /// The senders, one for each worker: for durable reservations and for noticing exhaustion.
    pub fn senders(&self) -> impl ExactSizeIterator<Item = &Sender> {
        self.senders.iter().map(|s| &**s)
    }

    /// Counts a packet from the WAN that this SA refuses; returns the reason.
    #[cold]
    pub(crate) fn refuse(&self, reason: DropReason, worker: usize) -> DropReason {
        self.opened.add_errors(worker, 1);
        reason
    }

    /// Octets from the ESP header to the payload: header and IV.
    #[inline]
    pub(crate) fn esp_front(&self) -> usize {
        usize::from(self.shape.front)
    }

    /// Octets of the ICV.
    #[inline]
    pub(crate) fn icv_len(&self) -> usize {
        usize::from(self.shape.icv)
    }

    /// Octets of padding, pad length and next header behind `payload` octets.
    #[inline]
    pub(crate) fn trailer_len(&self, payload: usize) -> usize {
        esp::pad_len(payload, usize::from(self.shape.block)) + esp::TRAILER
    }

    /// Length of the ESP around `payload` octets, from its header to its ICV.
    #[inline]
    pub(crate) fn esp_len(&self, payload: usize) -> usize {
        self.esp_front() + payload + self.trailer_len(payload) + self.icv_len()
    }

    /// Whether an ESP packet, from its header to its ICV, can have that length.
    #[inline]
    pub(crate) fn is_esp_len(&self, len: usize) -> bool {
        let partial_block = usize::from(self.shape.block) - 1;
        len.checked_sub(self.esp_front() + self.icv_len())
            .is_some_and(|plaintext| plaintext >= esp::TRAILER && plaintext & partial_block == 0)
    }

    /// The largest payload whose ESP fits into `room` octets.
    #[inline]
    fn max_payload(&self, room: usize) -> usize {
        let plaintext = room.saturating_sub(self.esp_front() + self.icv_len());
        let partial_block = usize::from(self.shape.block) - 1;
        (plaintext & !partial_block).saturating_sub(esp::TRAILER)
    }

    /// The largest packet, in octets from its IP header on, that still fits `mtu` when sealed.
    /// `header` is what transport mode leaves in front of the ESP.
    #[inline]
    pub(crate) fn max_packet(&self, mtu: usize, version: Version, header: usize) -> usize {
        match (self.mode, version) {
            (Mode::Tunnel, Version::V4) => self.max_payload(mtu.saturating_sub(ipv4::HEADER)),
            (Mode::Tunnel, Version::V6) => self.max_payload(mtu.saturating_sub(ipv6::HEADER)),
            (Mode::Transport, _) => header + self.max_payload(mtu.saturating_sub(header)),
        }
    }
}

/// The lengths of a transform, which workers need for every packet.
#[derive(Clone, Copy)]
struct Shape {
    /// Octets of ESP header and IV.
    front: u8,
    /// Octets of the ICV.
    icv: u8,
    /// What the octets between IV and ICV are a multiple of: a power of two.
    block: u8,
}

impl Shape {
    /// Every length is far below 256.
    #[expect(clippy::cast_possible_truncation)]
    fn of(transform: Transform) -> Shape {
        Shape {
            front: (esp::HEADER + transform.iv_len()) as u8,
            icv: transform.icv_len() as u8,
            block: transform.block() as u8,
        }
    }
}

impl fmt::Debug for Sa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sa({:#010x}, {}, {}, {})", self.spi, self.transform, self.mode, self.direction)
    }
}

fn replay(params: &SaParams) -> Result<Replay, SaError> {
    Ok(match params.replay {
        ReplayPolicy::None => Replay::None,
        ReplayPolicy::Counter { window } => Replay::Counter(Window::new(window)?),
        ReplayPolicy::Sender { window, max_senders } => {
            if !params.transform.is_counter_mode() {
                return Err(SaError::NoSenderInIv(params.transform));
            }
            Replay::Sender(SenderWindows::new(params.sid_bits, max_senders, window)?)
        }
    })
}
