//! What a key server knows of one member of one group. Authority thread. At most 2 KiB each, and as
//! many as the group may have members.

use super::asked::Asked;
use super::limit::TokenBucket;
use super::sid::SidRange;
use super::time::ServerTime;
use getvpn_gdoi::group::KekSpi;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Rekeys without an acknowledgement after which a member gets no more of them.
pub const MISSED_REKEYS: u8 = 3;

/// The longest name of a member in octets; a longer one is refused.
const LONGEST_NAME: usize = 512;

/// A member's number in its group; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemberId(pub u32);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// By what a member is known again when it registers anew.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MemberKey {
    /// A pre-shared key is found by address, and several may say who they are behind one.
    PreShared {
        /// Its address.
        address: IpAddr,
        /// The identity that it gave in phase 1.
        identity: String,
    },
    /// The subject of a certificate, wherever it comes from.
    Certificate {
        /// The distinguished name.
        subject: String,
    },
}

impl MemberKey {
    /// Whether the key is short enough to be kept.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        let (MemberKey::PreShared { identity: name, .. } | MemberKey::Certificate { subject: name }) = self;
        name.len() <= LONGEST_NAME
    }
}

impl fmt::Display for MemberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MemberKey::PreShared { address, identity } if *identity == address.to_string() => address.fmt(f),
            MemberKey::PreShared { address, identity } => write!(f, "{identity} ({address})"),
            MemberKey::Certificate { subject } => f.write_str(subject),
        }
    }
}

/// One member of one group.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its number.
    pub id: MemberId,
    /// By what it is known.
    pub key: MemberKey,
    /// Where its rekeys go.
    pub address: SocketAddr,
    /// The address of this server that it registered with, where its rekeys come from.
    pub local: SocketAddr,
    /// By the wall clock, since 1970: its last registration.
    pub registered_unix: Duration,
    /// How often it has registered.
    pub registrations: u32,
    /// The sender IDs of its last registration.
    pub sids: SidRange,
    /// The oldest Rekey SA that it may still be listening to: the one that it is known to have.
    pub kek: KekSpi,
    /// The line of that Rekey SA.
    pub line: u32,
    /// Its last acknowledgement.
    pub acknowledged: Option<Acknowledged>,
    /// What it asked for by INVALID-SPI.
    pub asked: Asked,
    /// Whether its last registration brought it the key that the marks of SPIs are made with. Not known of one
    /// from before the server's start.
    pub marks: Option<bool>,
    /// Rekeys in a row that it did not acknowledge.
    pub missed: u8,
    /// The last rekey that was sent to it, by its number within this run of the server.
    pub last_push: u64,
    /// How often it may ask.
    pub asks: TokenBucket,
    /// When it registered or was heard from last.
    pub heard: ServerTime,
}

/// A rekey that a member has said it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The Rekey SA that it came under.
    pub kek: [u8; 16],
    /// Its SEQ.
    pub sequence: u32,
    /// When, by the wall clock.
    pub unix: Duration,
}

impl Member {
    /// Whether it gets no more rekeys of its own until it is heard from.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.missed >= MISSED_REKEYS
    }
}

/// The members of one group.
#[derive(Debug, Default)]
pub struct Members {
    /// Boxed, because a tree has room for nearly twice as many as are in it.
    by_id: BTreeMap<MemberId, Box<Member>>,
    by_key: HashMap<MemberKey, MemberId>,
    by_address: HashMap<SocketAddr, MemberId>,
    next: u32,
}

impl Members {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// All, in the order in which they first registered.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_id.values().map(|member| &**member)
    }

    /// All, to be changed; neither key nor address may be.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.by_id.values_mut().map(|member| &mut **member)
    }

    /// One by its number.
    #[must_use]
    pub fn get(&self, id: MemberId) -> Option<&Member> {
        self.by_id.get(&id).map(|member| &**member)
    }

    /// One by its number, to be changed; neither key nor address may be.
    pub fn get_mut(&mut self, id: MemberId) -> Option<&mut Member> {
        self.by_id.get_mut(&id).map(|member| &mut **member)
    }

    /// The number of the one that is known by `key`.
    #[must_use]
    pub fn find(&self, key: &MemberKey) -> Option<MemberId> {
        self.by_key.get(key).copied()
    }

    /// The number of the one whose rekeys go to `address`.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Option<MemberId> {
        self.by_address.get(&address).copied()
    }

    /// The number that the next new member gets.
    #[must_use]
    pub fn next_id(&self) -> MemberId {
        MemberId(self.next)
    }

    /// Takes one in, in the place of what was known of it before.
    pub fn insert(&mut self, member: Member) {
        self.remove(member.id);
        self.next = self.next.max(member.id.0.saturating_add(1));
        self.by_key.insert(member.key.clone(), member.id);
        self.by_address.insert(member.address, member.id);
        self.by_id.insert(member.id, Box::new(member));
    }

    /// Numbers below `next` are taken, also by members that are gone.
    pub fn restore_next(&mut self, next: u32) {
        self.next = self.next.max(next);
    }

    /// Forgets one.
    pub fn remove(&mut self, id: MemberId) -> Option<Member> {
        let member = *self.by_id.remove(&id)?;
        self.by_key.remove(&member.key);
        // Another one may have come from the same address since.
        if self.by_address.get(&member.address) == Some(&id) {
            self.by_address.remove(&member.address);
        }
        Some(member)
    }

    /// The member that makes room for a new one: the silent one that has not been heard from for longest.
    #[must_use]
    pub fn longest_silent(&self) -> Option<MemberId> {
        let silent = self.by_id.values().filter(|member| member.is_silent());
        silent.min_by_key(|member| member.heard).map(|member| member.id)
    }
}
