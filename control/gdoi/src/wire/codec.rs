//! The bounded reader and the writer that every payload is made of. The reader never goes past the field
//! that it was given; the writer notices a length that does not fit its field. Neither panics.

use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

use super::number::{NotifyType, PayloadType};

/// Octets of the generic payload header (RFC 2408 section 3.2).
pub(super) const GENERIC_HEADER_LEN: usize = 4;

/// Why octets are not a message, or a message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{what}, octet {offset}: {reason}")]
pub struct WireError {
    /// The payload or field that was being read or written, in the RFC's words.
    pub what: &'static str,
    /// Where, in octets from the start of what was passed in (or written so far).
    pub offset: usize,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// The field ends behind the end of what holds it.
    #[error("{needed} octets are needed and {left} are left")]
    Truncated {
        /// Octets that the field takes.
        needed: usize,
        /// Octets that are there.
        left: usize,
    },
    /// A length field disagrees with what it measures.
    #[error("the length {0} is wrong")]
    Length(usize),
    /// Octets follow where the field should have ended.
    #[error("{0} octets too many")]
    Trailing(usize),
    /// A count field disagrees with what is there.
    #[error("{counted} are announced and {found} found")]
    Count {
        /// What the count field says.
        counted: usize,
        /// What follows.
        found: usize,
    },
    /// More elements than this code reads.
    #[error("more than {0}")]
    TooMany(usize),
    /// What is to be written does not fit its length field.
    #[error("{0} does not fit its field")]
    TooLong(usize),
    /// What must be there is not.
    #[error("it is missing")]
    Missing,
    /// What may be there once is there twice.
    #[error("it is there twice")]
    Duplicate,
    /// A field that must be zero is not.
    #[error("the reserved field is {0}")]
    Reserved(u32),
    /// A payload of this type may not stand here.
    #[error("payload type {0} does not belong here")]
    PayloadType(PayloadType),
    /// A domain of interpretation that is not the one expected.
    #[error("the DOI is {0}")]
    Doi(u32),
    /// A situation with labels, which this code does not read.
    #[error("the situation is {0:#x}")]
    Situation(u32),
    /// An ISAKMP version other than 1.0 to 1.15.
    #[error("the version is {}.{}", .0 >> 4, .0 & 15)]
    Version(u8),
    /// Header flags that no RFC defines.
    #[error("the flags are {0:#04x}")]
    Flags(u8),
}

impl WireError {
    /// The notification that tells a peer of it (RFC 2408 section 5).
    #[must_use]
    pub const fn notify(&self) -> NotifyType {
        match self.reason {
            Reason::Doi(_) => NotifyType::DoiNotSupported,
            Reason::Situation(_) => NotifyType::SituationNotSupported,
            Reason::Version(_) => NotifyType::InvalidMajorVersion,
            Reason::Flags(_) => NotifyType::InvalidFlags,
            Reason::PayloadType(_) => NotifyType::InvalidPayloadType,
            Reason::Length(_) => NotifyType::UnequalPayloadLengths,
            _ => NotifyType::PayloadMalformed,
        }
    }
}

/// Reads one field after the other and stops at the end of what it was given. Debug shows none of it, since
/// some of it is keys.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    octets: &'a [u8],
    offset: usize,
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader of `octets`, which are called `what` in errors.
    #[must_use]
    pub const fn new(octets: &'a [u8], what: &'static str) -> Self {
        Self { octets, offset: 0, what }
    }

    /// Octets that are left.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.octets.len()
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Where the next octet lies in what the outermost reader was given.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// An error at this place.
    #[must_use]
    pub const fn error(&self, reason: Reason) -> WireError {
        WireError { what: self.what, offset: self.offset, reason }
    }

    /// The next `count` octets.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let Some((taken, rest)) = self.octets.split_at_checked(count) else {
            return Err(self.error(Reason::Truncated { needed: count, left: self.octets.len() }));
        };
        self.octets = rest;
        self.offset += count;
        Ok(taken)
    }

    /// The next `N` octets.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let Some((taken, rest)) = self.octets.split_first_chunk::<N>() else {
            return Err(self.error(Reason::Truncated { needed: N, left: self.octets.len() }));
        };
        self.octets = rest;
        self.offset += N;
        Ok(*taken)
    }

    /// The next octet.
    ///
    /// # Errors
    /// None is left.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[octet]| octet)
    }

    /// The next two octets, big-endian.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next four octets, big-endian.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let taken = self.octets;
        self.octets = &[];
        self.offset += taken.len();
        taken
    }

    /// A reader of the next `count` octets, which are called `what`.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn part(&mut self, count: usize, what: &'static str) -> Result<Self, WireError> {
        let offset = self.offset;
        Ok(Self { octets: self.take(count)?, offset, what })
    }

    /// A reader of all that is left, which is called `what`.
    pub fn remainder(&mut self, what: &'static str) -> Self {
        let offset = self.offset;
        Self { octets: self.rest(), offset, what }
    }

    /// The end: nothing may be left.
    ///
    /// # Errors
    /// Octets are left.
    pub fn finish(self) -> Result<(), WireError> {
        if self.is_empty() { Ok(()) } else { Err(self.error(Reason::Trailing(self.left()))) }
    }

    /// A generic payload header (RFC 2408 section 3.2) and what it measures: the next payload's type, and
    /// a reader of this payload's content, which is called `what`.
    ///
    /// ```text
    ///  0                   1                   2                   3
    ///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    /// +---------------+---------------+-------------------------------+
    /// ! Next Payload  !   RESERVED    !         Payload Length        !
    /// +---------------+---------------+-------------------------------+
    /// ```
    ///
    /// # Errors
    /// The header or the content is cut short, or RESERVED is not zero.
    pub(super) fn payload(&mut self, what: &'static str) -> Result<(PayloadType, Self), WireError> {
        let mut header = Self { what, ..*self };
        let next = PayloadType::from(header.u8()?);
        let reserved = header.u8()?;
        if reserved != 0 {
            return Err(header.error(Reason::Reserved(reserved.into())));
        }
        let length = usize::from(header.u16()?);
        let Some(content) = length.checked_sub(GENERIC_HEADER_LEN) else {
            return Err(header.error(Reason::Length(length)));
        };
        let content = header.part(content, what)?;
        *self = Self { what: self.what, ..header };
        Ok((next, content))
    }
}

/// Writes one field after the other. What it wrote is zeroised, also when it grows, and not shown by Debug,
/// since some of it is keys. A length that does not fit is remembered, and [`Writer::finish`] reports it.
#[derive(Default)]
pub struct Writer {
    octets: Zeroizing<Vec<u8>>,
    failure: Option<WireError>,
}

impl Writer {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Octets written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.octets.len()
    }

    /// Whether nothing is written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Writes octets.
    pub fn put(&mut self, octets: &[u8]) {
        let len = self.octets.len();
        if self.octets.capacity() - len < octets.len() {
            // Not Vec's own growth: that would leave a copy of keys behind in freed memory.
            let capacity = (len + octets.len()).max(2 * len).max(256);
            let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
            larger.extend_from_slice(&self.octets);
            self.octets = larger;
        }
        self.octets.extend_from_slice(octets);
    }

    /// Writes one octet.
    pub fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    /// Writes two octets, big-endian.
    pub fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    /// Writes four octets, big-endian.
    pub fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// Writes a length or count in one octet.
    pub fn count_u8(&mut self, count: usize, what: &'static str) {
        match u8::try_from(count) {
            Ok(count) => self.u8(count),
            Err(_) => self.fail(what, Reason::TooLong(count)),
        }
    }

    /// Writes a length or count in two octets.
    pub fn count_u16(&mut self, count: usize, what: &'static str) {
        match u16::try_from(count) {
            Ok(count) => self.u16(count),
            Err(_) => self.fail(what, Reason::TooLong(count)),
        }
    }

    /// Remembers that this cannot be written; the first such reason is the one that is reported.
    pub fn fail(&mut self, what: &'static str, reason: Reason) {
        let offset = self.octets.len();
        self.failure.get_or_insert(WireError { what, offset, reason });
    }

    /// Writes a generic payload header and what `content` writes behind it.
    pub(super) fn payload(&mut self, next: PayloadType, what: &'static str, content: impl FnOnce(&mut Self)) {
        let start = self.len();
        self.u8(next.number());
        self.u8(0);
        self.measured(start, what, content);
    }

    /// Writes a two-octet length and what `content` writes behind it; the length counts from `start`.
    pub(super) fn measured(&mut self, start: usize, what: &'static str, content: impl FnOnce(&mut Self)) {
        let at = self.len();
        self.u16(0);
        content(self);
        let length = self.len() - start;
        match (u16::try_from(length), self.octets.get_mut(at..at + 2)) {
            (Ok(length), Some(field)) => field.copy_from_slice(&length.to_be_bytes()),
            _ => self.fail(what, Reason::TooLong(length)),
        }
    }

    /// What was written.
    ///
    /// # Errors
    /// Something did not fit its field.
    pub fn finish(self) -> Result<Zeroizing<Vec<u8>>, WireError> {
        match self.failure {
            None => Ok(self.octets),
            Some(failure) => Err(failure),
        }
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({}, octet {}, {} left)", self.what, self.offset, self.left())
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writer({} octets, {:?})", self.len(), self.failure)
    }
}
