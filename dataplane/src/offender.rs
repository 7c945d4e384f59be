//! The last packet that each worker dropped for each reason: whom an operator looks for first. A worker
//! looks at one packet a millisecond for each reason at the most, so that a flood pays nothing for it, and
//! shows what it saw by plain stores; the control thread reads it whole.

#[cfg(all(test, not(feature = "loom")))]
mod tests;

use std::array;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crossbeam::utils::CachePadded;

use crate::context::Origin;
use crate::counters::seqlock::SeqLock;
use crate::packet::{Fragment, Parsed, esp, ethernet, parse, protocol};
use crate::verdict::DropReason;
use crate::words::{address, address_words, halves};

/// How many times a second a worker looks at a packet that it drops, for each reason.
const LOOKS: u64 = 1000;

/// A packet that was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offender {
    /// When, in cycles of the time-stamp counter.
    pub at: u64,
    /// Index of the link that it came over.
    pub link: u16,
    /// The side that it came from.
    pub origin: Origin,
    /// Octets of the frame as it was when it was dropped, 65,535 at the most.
    pub octets: u16,
    /// Whose it was.
    pub seen: Seen,
}

/// What can be told of a dropped frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Shorter than an Ethernet header.
    Stub,
    /// No IP packet, or too little of one to have addresses.
    Frame {
        /// Who sent it.
        source: [u8; 6],
        /// To whom.
        destination: [u8; 6],
        /// What it says that it carries.
        ethertype: u16,
    },
    /// An IP packet.
    Packet {
        /// Source address.
        source: IpAddr,
        /// Destination address.
        destination: IpAddr,
        /// Upper-layer protocol.
        protocol: u8,
        /// What stands behind the IP header.
        upper: Upper,
    },
}

/// What tells packets between the same addresses apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upper {
    /// Of another protocol, a later fragment, or malformed.
    Other,
    /// Source and destination port.
    Ports(u16, u16),
    /// Of ESP.
    Esp {
        /// The SPI.
        spi: u32,
        /// The sequence number.
        seq: u32,
    },
}

/// The worker's end.
#[derive(Debug)]
pub struct Offenders {
    /// By reason, when a packet is looked at next, in cycles.
    due: [u64; DropReason::COUNT],
    interval: u64,
    board: Arc<Board>,
}

/// What one worker saw last, by reason. Written by that worker, read by the control thread.
#[derive(Debug)]
pub struct Board([CachePadded<SeqLock<WORDS, 0>>; DropReason::COUNT]);

impl Offenders {
    /// For a worker that has dropped nothing; `hertz` cycles are a second.
    #[must_use]
    pub fn new(hertz: u64) -> Self {
        let board = Board(array::from_fn(|_| CachePadded::new(SeqLock::new())));
        Offenders { due: [0; DropReason::COUNT], interval: hertz / LOOKS, board: Arc::new(board) }
    }

    /// What others see of it.
    #[must_use]
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    /// Whether it is time to look at a packet that is dropped for `reason`.
    #[inline]
    pub(crate) fn is_due(&self, reason: DropReason, now: u64) -> bool {
        now >= self.due[reason as usize]
    }

    /// Shows a packet that is dropped for `reason`.
    #[cold]
    #[inline(never)]
    pub(crate) fn show(&mut self, reason: DropReason, offender: &Offender) {
        self.due[reason as usize] = offender.at + self.interval;
        self.board.0[reason as usize].write(&offender.to_words(), None);
    }
}

impl Board {
    /// The last packet of each reason that has happened.
    pub fn read(&self) -> impl Iterator<Item = (DropReason, Offender)> {
        let cells = DropReason::ALL.iter().zip(&self.0);
        cells.filter_map(|(reason, cell)| Some((*reason, Offender::from_words(&cell.read().0)?)))
    }
}

impl Seen {
    /// What the octets of a frame say. A packet that cannot be parsed has addresses where they would be.
    #[must_use]
    pub fn of(frame: &[u8]) -> Seen {
        match parse(frame) {
            Parsed::Ip(headers) => {
                let upper = frame.get(headers.upper_at()..).unwrap_or_default();
                let upper = match headers.protocol {
                    _ if headers.fragment == Fragment::Later => Upper::Other,
                    protocol::ESP => {
                        esp::header(upper).map_or(Upper::Other, |(spi, seq)| Upper::Esp { spi, seq })
                    }
                    protocol if protocol::has_ports(protocol) => {
                        let (source, destination) = headers.ports(frame);
                        Upper::Ports(source, destination)
                    }
                    _ => Upper::Other,
                };
                let (source, destination) = (headers.source(frame), headers.destination(frame));
                Seen::Packet { source, destination, protocol: headers.protocol, upper }
            }
            Parsed::NotIp | Parsed::Malformed(_) => Self::glimpse(frame),
        }
    }

    fn glimpse(frame: &[u8]) -> Seen {
        let Some((ends, ethertype, payload)) = frame.split_first_chunk::<12>().and_then(|(ends, rest)| {
            let untagged = ethernet::untag(frame).map(|behind| (behind.ethertype, behind.payload));
            // Of tags that nothing follows, the first is all there is.
            let first = rest.first_chunk::<2>().map(|octets| (u16::from_be_bytes(*octets), &frame[..0]));
            let (ethertype, payload) = untagged.or(first)?;
            Some((ends, ethertype, payload))
        }) else {
            return Seen::Stub;
        };
        let addresses: Option<(IpAddr, IpAddr, u8)> = match ethertype {
            ethernet::IPV4 => payload.first_chunk::<20>().map(|header| {
                let [a, b] = [12, 16].map(|at| Ipv4Addr::from(octets::<4>(header, at)));
                (a.into(), b.into(), header[9])
            }),
            ethernet::IPV6 => payload.first_chunk::<40>().map(|header| {
                let [a, b] = [8, 24].map(|at| Ipv6Addr::from(octets::<16>(header, at)));
                (a.into(), b.into(), header[6])
            }),
            _ => None,
        };
        match addresses {
            Some((source, destination, protocol)) => {
                Seen::Packet { source, destination, protocol, upper: Upper::Other }
            }
            None => Seen::Frame { source: octets(ends, 6), destination: octets(ends, 0), ethertype },
        }
    }
}

fn octets<const N: usize>(header: &[u8], at: usize) -> [u8; N] {
    header.get(at..).and_then(|octets| octets.first_chunk()).copied().unwrap_or([0; N])
}

/// Words of an offender in its cell: time, the small fields, ports or SPI, two addresses.
const WORDS: usize = 7;

impl Offender {
    fn to_words(self) -> [u64; WORDS] {
        let small = |what: u8, protocol: u8| {
            let ([l0, l1], [o0, o1]) = (self.link.to_be_bytes(), self.octets.to_be_bytes());
            u64::from_be_bytes([l0, l1, o0, o1, u8::from(self.origin == Origin::Wan), what, protocol, 0])
        };
        let mac = |[a, b, c, d, e, f]: [u8; 6]| [0, u64::from_be_bytes([0, 0, a, b, c, d, e, f])];
        let (small, upper, [s0, s1], [d0, d1]) = match self.seen {
            Seen::Stub => (small(0, 0), 0, [0; 2], [0; 2]),
            Seen::Frame { source, destination, ethertype } => {
                (small(1, 0), u64::from(ethertype), mac(source), mac(destination))
            }
            Seen::Packet { source, destination, protocol, upper } => {
                let (kind, upper) = match upper {
                    Upper::Other => (0, 0),
                    Upper::Ports(source, destination) => {
                        (1, u64::from(source) << 16 | u64::from(destination))
                    }
                    Upper::Esp { spi, seq } => (2, u64::from(spi) << 32 | u64::from(seq)),
                };
                let ((source, is_v4), (destination, _)) = (address_words(source), address_words(destination));
                let what = 2 | u8::from(is_v4) << 2 | kind << 4;
                (small(what, protocol), upper, source, destination)
            }
        };
        [self.at, small, upper, s0, s1, d0, d1]
    }

    /// `None` where nothing was ever shown.
    #[expect(clippy::cast_possible_truncation, reason = "as they were put together")]
    fn from_words(&[at, small, upper, s0, s1, d0, d1]: &[u64; WORDS]) -> Option<Self> {
        if at == 0 {
            return None;
        }
        let [l0, l1, o0, o1, from_wan, what, protocol, _] = small.to_be_bytes();
        let mac = |word: u64| octets::<6>(&word.to_be_bytes(), 2);
        let is_v4 = what & 4 != 0;
        let seen = match what & 3 {
            0 => Seen::Stub,
            1 => Seen::Frame { source: mac(s1), destination: mac(d1), ethertype: upper as u16 },
            _ => Seen::Packet {
                source: address([s0, s1], is_v4),
                destination: address([d0, d1], is_v4),
                protocol,
                upper: match (what >> 4, halves(upper)) {
                    (0, _) => Upper::Other,
                    (1, [_, ports]) => Upper::Ports((ports >> 16) as u16, ports as u16),
                    (_, [spi, seq]) => Upper::Esp { spi, seq },
                },
            },
        };
        let origin = if from_wan == 0 { Origin::Lan } else { Origin::Wan };
        let (link, octets) = (u16::from_be_bytes([l0, l1]), u16::from_be_bytes([o0, o1]));
        Some(Offender { at, link, origin, octets, seen })
    }
}
