//! The Rekey SAs of a member: the current one and the one before, each with the number of its last PUSH.
//! A PUSH is opened here; what it says is carried out elsewhere.

use super::budget::{Rate, TokenBucket};
use super::event::KekStatus;
use crate::crypto::HashAlgorithm;
use crate::group::{AckRequest, KekKeys, KekPolicy, KekSpi};
use crate::push::{self, Ack, Opened, PushError};
use crate::wire::Compat;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// The longest life of a Rekey SA that is believed; a longer one is cut.
const LONGEST_LIFE: Duration = Duration::from_secs(366 * 86_400);

/// How often a PUSH that came again is acknowledged again.
const ACK_AGAIN: Rate = Rate { burst: 4, per_second: 1 };

/// A Rekey SA that is in force.
#[derive(Debug)]
pub(super) struct Kek {
    pub(super) policy: KekPolicy,
    keys: KekKeys,
    pub(super) key_server: usize,
    sequence: u32,
    pub(super) expires: Instant,
    /// Digest of the last PUSH that was carried out, to know it when it comes again.
    last: Option<Vec<u8>>,
}

/// What a PUSH came to.
#[derive(Debug)]
pub(super) enum Pushed {
    /// It verifies. To be carried out, then acknowledged if asked for.
    Opened(Box<Opened>, usize, Option<Vec<u8>>),
    /// The last one came again: the acknowledgement may have been lost.
    Again(usize, Option<Vec<u8>>),
    /// It is of no Rekey SA here.
    Unknown,
    /// There is no budget to look at it.
    Unread,
    /// It is refused.
    Refused(PushError),
}

/// Where a Rekey SA comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct KekSource {
    pub(super) key_server: usize,
    /// The number of its last PUSH.
    pub(super) sequence: u32,
    /// What comes may have been held back, and its key server never puts off an end that way.
    pub(super) end_is_firm: bool,
}

/// What became of a Rekey SA that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    New,
    Known,
    /// Its SPI is in use with other keys.
    KeysDiffer,
}

#[derive(Debug)]
pub(super) struct Keks {
    /// The current one first.
    keks: Vec<Kek>,
    bad: TokenBucket,
    again: TokenBucket,
}

impl Keks {
    pub(super) fn new(bad: Rate, now: Instant) -> Self {
        Self { keks: Vec::new(), bad: TokenBucket::new(bad, now), again: TokenBucket::new(ACK_AGAIN, now) }
    }

    pub(super) fn current(&self) -> Option<&Kek> {
        self.keks.first()
    }

    /// The current one as [`crate::pull`] wants it.
    pub(super) fn held(&self) -> Option<(&KekPolicy, &KekKeys)> {
        self.keks.first().map(|kek| (&kek.policy, &kek.keys))
    }

    /// Whether a key server's Rekey SA is known: what it gave before is still good.
    pub(super) fn knows(&self, spi: KekSpi, key_server: usize) -> bool {
        self.keks.iter().any(|kek| kek.policy.spi == spi && kek.key_server == key_server)
    }

    pub(super) fn status(&self) -> Option<KekStatus> {
        let kek = self.keks.first()?;
        Some(KekStatus { spi: kek.policy.spi, sequence: kek.sequence, expires: kek.expires })
    }

    /// A registration or a PUSH brings a Rekey SA. A PUSH repeats the one that it came under, and a late
    /// one the one before the current one: neither replaces anything.
    pub(super) fn offer(
        &mut self,
        policy: &KekPolicy,
        keys: Option<&KekKeys>,
        source: KekSource,
        now: Instant,
    ) -> Option<Offer> {
        let KekSource { key_server, sequence, end_is_firm } = source;
        let expires = now + policy.lifetime.min(LONGEST_LIFE);
        if let Some(known) = self.keks.iter_mut().find(|kek| kek.policy.spi == policy.spi) {
            if keys.is_some_and(|keys| *keys != known.keys) {
                return Some(Offer::KeysDiffer);
            }
            known.expires = if end_is_firm { known.expires.min(expires) } else { expires };
            known.sequence = known.sequence.max(sequence);
            known.policy.acknowledge = policy.acknowledge;
            return Some(Offer::Known);
        }
        let keys = keys?.clone();
        let kek = Kek { policy: policy.clone(), keys, key_server, sequence, expires, last: None };
        // Those of another key server have had their time: it may be the reason for this one.
        self.keks.retain(|kek| kek.key_server == key_server);
        self.keks.insert(0, kek);
        self.keks.truncate(2);
        Some(Offer::New)
    }

    /// Opens a PUSH: its number is looked at before its signature, and only so many bad signatures.
    pub(super) fn open(&mut self, datagram: &[u8], member: IpAddr, compat: Compat, now: Instant) -> Pushed {
        let Some(spi) = push::peek(datagram) else { return Pushed::Unknown };
        let Some(kek) = self.keks.iter_mut().find(|kek| kek.policy.spi == spi && kek.expires > now) else {
            return Pushed::Unknown;
        };
        if !self.bad.has(now) {
            return Pushed::Unread;
        }
        match push::open(&kek.policy, &kek.keys, kek.sequence, datagram, compat) {
            Ok(opened) => {
                kek.sequence = opened.rekey.sequence;
                kek.last = Some(digest(datagram));
                let ack = kek.acknowledgement(member);
                Pushed::Opened(Box::new(opened), kek.key_server, ack)
            }
            Err(PushError::Replay { received, last }) => {
                let is_last = received == last && kek.last.as_ref() == Some(&digest(datagram));
                if is_last && self.again.take(now) {
                    return Pushed::Again(kek.key_server, kek.acknowledgement(member));
                }
                Pushed::Refused(PushError::Replay { received, last })
            }
            Err(error) => {
                // What costs little is not counted, or who knows no more than the cookies could use the budget
                // up, and keep real ones from being read. To get as far as the signature takes the KEK.
                if let PushError::Signature(_) = error {
                    self.bad.take(now);
                }
                Pushed::Refused(error)
            }
        }
    }

    /// The key server has deleted its Rekey SA: the current one, with all before it.
    pub(super) fn delete(&mut self, key_server: usize) -> Option<KekSpi> {
        let deleted = self.keks.iter().find(|kek| kek.key_server == key_server)?.policy.spi;
        self.keks.retain(|kek| kek.key_server != key_server);
        Some(deleted)
    }

    /// Takes out those whose life has ended. True when the current one was among them.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let current = self.keks.first().map(|kek| kek.policy.spi);
        self.keks.retain(|kek| kek.expires > now);
        current.is_some() && self.keks.first().map(|kek| kek.policy.spi) != current
    }

    /// Where their PUSH messages go to, other than to each member.
    pub(super) fn multicast_groups(&self) -> Vec<SocketAddr> {
        let destinations = self.keks.iter().map(|kek| kek.policy.destination);
        let mut groups: Vec<_> = destinations.filter(|to| to.ip().is_multicast()).collect();
        groups.dedup();
        groups
    }

    /// Whether a Rekey SA is in force, whoever gave it.
    pub(super) fn has(&self, spi: KekSpi) -> bool {
        self.keks.iter().any(|kek| kek.policy.spi == spi)
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.keks.iter().map(|kek| kek.expires).min()
    }
}

impl Kek {
    /// The acknowledgement of its last PUSH, if its policy asks for one (RFC 8263 section 4).
    fn acknowledgement(&self, member: IpAddr) -> Option<Vec<u8>> {
        let request: AckRequest = self.policy.acknowledge?;
        let ack = Ack { kek: self.policy.spi, sequence: self.sequence, member };
        ack.build(&self.keys, request).ok()
    }
}

fn digest(datagram: &[u8]) -> Vec<u8> {
    HashAlgorithm::Sha256.digest(&[datagram])
}
