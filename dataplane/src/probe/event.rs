//! What a worker tells of a packet at one point of its way, and how that lies on the ring: a record of
//! words, and where the frame needs more room, further records behind it.

use super::{Heading, WORDS};
use crate::egress::Outgoing;
use crate::packet::{Fragment, Headers, Version};
use crate::verdict::DropReason;

/// Where on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// It came from a port, and its headers are known.
    Arrived(Decision),
    /// It waits for an SA.
    Parked,
    /// It waits for the other fragments of its datagram.
    Held,
    /// Its SA has come.
    Released,
    /// It goes to the port that it leaves by, as `decrypted`, `encrypted`, `bypassed`.
    Sent(Outgoing),
    /// It is dropped.
    Dropped(DropReason),
    /// It is for this machine itself, and goes to its exception port.
    Diverted,
}

/// What policy, or the SPI table, says of a packet that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet.
    None,
    /// No rule is for it.
    NoRule,
    /// A `[[policy]]` exempts it.
    Exempt,
    /// A `[[policy]]` drops it.
    Drop,
    /// A group is for it, and has an SA.
    Protect,
    /// A group is for it, has no SA and fails closed.
    NoSaClosed,
    /// A group is for it, has no SA and fails open.
    NoSaOpen,
    /// A group is for it that only receives.
    ReceiveOnly,
    /// It is in the clear where a group takes only what is encrypted.
    MustBeEncrypted,
    /// It is in the clear, and its group takes that too.
    MayBeClear,
    /// ESP with the SPI of an SA.
    KnownSpi,
    /// ESP with an SPI that no SA has.
    UnknownSpi,
}

/// What is known of a frame. Offsets count from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The headers, if it is IP.
    pub ip: Option<IpFacts>,
    /// The rule of the policy that it hits, from 1; 0 for none.
    pub rule: u32,
    /// The SPI that it carries, or of the SA that it is to be sealed with; 0 for none.
    pub spi: u32,
    /// The sequence number in its ESP header.
    pub sequence: u32,
    /// The first eight octets of its IV.
    pub iv: u64,
}

/// Where the headers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpFacts {
    /// Which IP.
    pub version: Version,
    /// The upper-layer protocol.
    pub protocol: u8,
    /// Which part of a datagram.
    pub fragment: Fragment,
    /// The IP header.
    pub ip_at: u16,
    /// The upper-layer header.
    pub upper_at: u16,
}

impl From<&Headers> for IpFacts {
    fn from(headers: &Headers) -> Self {
        IpFacts {
            version: headers.version,
            protocol: headers.protocol,
            fragment: headers.fragment,
            ip_at: headers.l2_len,
            upper_at: u16::try_from(headers.upper_at()).unwrap_or(u16::MAX),
        }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which probe it is for.
    pub probe: u16,
    /// Index of the worker.
    pub worker: u16,
    /// Index of the link.
    pub link: u16,
    /// Which way the packet goes.
    pub heading: Heading,
    /// Tells the packets of a worker apart; 0 when nothing before or after is told of this one.
    pub packet: u32,
    /// Received frames that it stands for.
    pub frames: u16,
    /// When its burst was received, in cycles of the time-stamp counter.
    pub at: u64,
    /// Where on its way.
    pub point: Point,
    /// What is known of it.
    pub facts: Facts,
    /// Octets of the frame as it was there.
    pub length: u32,
    /// Those of them that were taken, from the first on.
    pub octets: Vec<u8>,
}

/// An event on its way to the ring, its frame where it lies.
pub(super) struct Telling<'f> {
    pub(super) probe: u16,
    pub(super) link: u16,
    pub(super) heading: Heading,
    pub(super) packet: u32,
    pub(super) frames: u16,
    pub(super) at: u64,
    pub(super) point: Point,
    pub(super) facts: Facts,
    pub(super) length: u32,
    pub(super) octets: &'f [u8],
}

pub(super) type Record = [u64; WORDS];

/// Words in front of the octets in the first record, and in further ones.
const FRONT: usize = 7;
const FRONT_MORE: usize = 1;
/// Octets in the first record, and in further ones.
const FIRST: usize = (WORDS - FRONT) * 8;
const MORE: usize = (WORDS - FRONT_MORE) * 8;
/// The first octet of a further record.
const CONTINUED: u8 = 0xff;

/// How many records an event with so many octets takes.
pub(super) fn records(octets: usize) -> usize {
    1 + octets.saturating_sub(FIRST).div_ceil(MORE)
}

impl Telling<'_> {
    /// Gives each of its records to `push`.
    pub(super) fn write(&self, mut push: impl FnMut(&Record)) {
        let mut record = [0; WORDS];
        let [kind, detail] = self.point.code();
        let [l0, l1] = self.link.to_be_bytes();
        let [f0, f1] = self.frames.to_be_bytes();
        let (version, protocol, fragment, ip_at, upper_at) = match &self.facts.ip {
            None => (0, 0, 0, 0, 0),
            Some(ip) => {
                let version = if ip.version == Version::V4 { 4 } else { 6 };
                let fragment = match ip.fragment {
                    Fragment::None => 0,
                    Fragment::First => 1,
                    Fragment::Later => 2,
                };
                (version, ip.protocol, fragment, ip.ip_at, ip.upper_at)
            }
        };
        let small = [kind, detail, u8::from(self.heading == Heading::Out), version, l0, l1, f0, f1];
        record[0] = u64::from_be_bytes(small);
        let [i0, i1] = self.probe.to_be_bytes();
        let [n0, n1, n2, n3] = self.packet.to_be_bytes();
        record[1] = u64::from_be_bytes([n0, n1, n2, n3, i0, i1, protocol, fragment]);
        record[2] = self.at;
        record[3] = u64::from(self.facts.rule) << 32 | u64::from(self.facts.spi);
        record[4] = u64::from(self.facts.sequence) << 32 | u64::from(self.length);
        record[5] = self.facts.iv;
        let taken = self.octets.len() as u64;
        record[6] = u64::from(ip_at) << 48 | u64::from(upper_at) << 32 | taken & 0xffff_ffff;
        let (first, rest) = self.octets.split_at(self.octets.len().min(FIRST));
        pack(first, &mut record[FRONT..]);
        push(&record);
        for chunk in rest.chunks(MORE) {
            record[0] = u64::from(CONTINUED) << 56;
            pack(chunk, &mut record[FRONT_MORE..]);
            push(&record);
        }
    }
}

fn pack(octets: &[u8], words: &mut [u64]) {
    let (whole, rest) = octets.as_chunks::<8>();
    let mut words = words.iter_mut();
    // In this order: the other would take a word for octets that are not there.
    for (octets, word) in whole.iter().zip(words.by_ref()) {
        *word = u64::from_be_bytes(*octets);
    }
    if let (Some(word), false) = (words.next(), rest.is_empty()) {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        *word = u64::from_be_bytes(last);
    }
}

/// Puts the records of a worker together again.
#[derive(Debug, Default)]
pub(super) struct Reader {
    event: Option<(Event, usize)>,
}

impl Reader {
    /// Takes the next record; returns the event that is complete with it.
    pub(super) fn take(&mut self, worker: u16, record: &Record) -> Option<Event> {
        let (mut event, taken) = match first_octet(record) {
            CONTINUED => {
                let (mut event, taken) = self.event.take()?;
                unpack(&record[FRONT_MORE..], taken, &mut event.octets);
                (event, taken)
            }
            _ => read_first(worker, record)?,
        };
        if event.octets.len() < taken {
            self.event = Some((event, taken));
            return None;
        }
        event.octets.truncate(taken);
        Some(event)
    }
}

fn first_octet(record: &Record) -> u8 {
    record[0].to_be_bytes()[0]
}

#[expect(clippy::cast_possible_truncation, reason = "that is how the words are cut")]
fn read_first(worker: u16, record: &Record) -> Option<(Event, usize)> {
    let [kind, detail, heading, version, l0, l1, f0, f1] = record[0].to_be_bytes();
    let [n0, n1, n2, n3, i0, i1, protocol, fragment] = record[1].to_be_bytes();
    let version = match version {
        4 => Some(Version::V4),
        6 => Some(Version::V6),
        _ => None,
    };
    let ip = version.map(|version| IpFacts {
        version,
        protocol,
        fragment: match fragment {
            0 => Fragment::None,
            1 => Fragment::First,
            _ => Fragment::Later,
        },
        ip_at: (record[6] >> 48) as u16,
        upper_at: (record[6] >> 32) as u16,
    });
    let taken = record[6] as u32 as usize;
    let mut event = Event {
        probe: u16::from_be_bytes([i0, i1]),
        worker,
        link: u16::from_be_bytes([l0, l1]),
        heading: if heading == 0 { Heading::In } else { Heading::Out },
        packet: u32::from_be_bytes([n0, n1, n2, n3]),
        frames: u16::from_be_bytes([f0, f1]),
        at: record[2],
        point: Point::from_code([kind, detail])?,
        facts: Facts {
            ip,
            rule: (record[3] >> 32) as u32,
            spi: record[3] as u32,
            sequence: (record[4] >> 32) as u32,
            iv: record[5],
        },
        length: record[4] as u32,
        octets: Vec::with_capacity(taken.min(usize::from(u16::MAX))),
    };
    unpack(&record[FRONT..], taken, &mut event.octets);
    Some((event, taken))
}

/// Appends the octets of words, until there are `until`.
fn unpack(words: &[u64], until: usize, octets: &mut Vec<u8>) {
    for word in words {
        let missing = until.saturating_sub(octets.len());
        octets.extend(word.to_be_bytes().into_iter().take(missing));
    }
}

const DECISIONS: [Decision; 12] = [
    Decision::None,
    Decision::NoRule,
    Decision::Exempt,
    Decision::Drop,
    Decision::Protect,
    Decision::NoSaClosed,
    Decision::NoSaOpen,
    Decision::ReceiveOnly,
    Decision::MustBeEncrypted,
    Decision::MayBeClear,
    Decision::KnownSpi,
    Decision::UnknownSpi,
];

const OUTGOING: [Outgoing; 6] = [
    Outgoing::Decrypted,
    Outgoing::Encrypted,
    Outgoing::Bypassed,
    Outgoing::Fragment,
    Outgoing::Icmp,
    Outgoing::Own,
];

impl Point {
    fn code(self) -> [u8; 2] {
        match self {
            Point::Arrived(decision) => [0, decision as u8],
            Point::Parked => [1, 0],
            Point::Held => [2, 0],
            Point::Released => [3, 0],
            Point::Sent(leaving) => [4, leaving as u8],
            Point::Dropped(reason) => [5, reason as u8],
            Point::Diverted => [6, 0],
        }
    }

    fn from_code([kind, detail]: [u8; 2]) -> Option<Point> {
        let detail = usize::from(detail);
        Some(match kind {
            0 => Point::Arrived(*DECISIONS.get(detail)?),
            1 => Point::Parked,
            2 => Point::Held,
            3 => Point::Released,
            4 => Point::Sent(*OUTGOING.get(detail)?),
            5 => Point::Dropped(*DropReason::ALL.get(detail)?),
            6 => Point::Diverted,
            _ => return None,
        })
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn points() -> Vec<Point> {
        let arrived = DECISIONS.map(Point::Arrived);
        let sent = OUTGOING.map(Point::Sent);
        let dropped = DropReason::ALL.iter().map(|reason| Point::Dropped(*reason));
        [&arrived[..], &sent, &[Point::Parked, Point::Held, Point::Released]]
            .concat()
            .into_iter()
            .chain(dropped)
            .collect()
    }

    proptest! {
        #[test]
        fn an_event_comes_through_as_it_was_told(
            octets in prop::collection::vec(any::<u8>(), 0..2000),
            point in prop::sample::select(points()),
            (rule, spi, sequence, iv) in any::<(u32, u32, u32, u64)>(),
            ip in prop::option::of(any::<(u8, bool, u16)>()),
            out in any::<bool>(),
        ) {
            let ip = ip.map(|(protocol, v4, upper_at)| IpFacts {
                version: if v4 { Version::V4 } else { Version::V6 },
                protocol,
                fragment: Fragment::First,
                ip_at: 14,
                upper_at,
            });
            let facts = Facts { ip, rule, spi, sequence, iv };
            let heading = if out { Heading::Out } else { Heading::In };
            let telling = Telling {
                probe: 3, link: 2, heading, packet: 77, frames: 5, at: u64::MAX - 1, point, facts,
                length: 70_000, octets: &octets,
            };
            let mut written = Vec::new();
            telling.write(|record| written.push(*record));
            prop_assert_eq!(written.len(), records(octets.len()));
            let mut reader = Reader::default();
            let (last, others) = written.split_last().unwrap();
            for record in others {
                prop_assert!(reader.take(9, record).is_none());
            }
            let event = Event {
                probe: 3, worker: 9, link: 2, heading, packet: 77, frames: 5, at: u64::MAX - 1, point, facts,
                length: 70_000, octets: octets.clone(),
            };
            prop_assert_eq!(reader.take(9, last), Some(event));
        }
    }

    #[test]
    fn a_record_is_never_taken_for_the_rest_of_another_event() {
        assert!(Reader::default().take(0, &[u64::MAX; WORDS]).is_none());
        assert!(points().iter().all(|point| point.code()[0] != CONTINUED));
        assert!(points().iter().all(|point| Point::from_code(point.code()) == Some(*point)));
    }
}
