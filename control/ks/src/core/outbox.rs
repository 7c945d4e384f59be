//! What the authority wants done: a batch of changes to be made durable, and then, only then, actions.
//! The owner cannot get at the actions without the changes that they rest on.

use super::counters::Counters;
use super::event::Event;
use super::push::PushMessage;
use super::record::{Key, Record};
use getvpn_gdoi::crypto::KeyKind;
use getvpn_gdoi::group::{EspSpi, GroupId, GroupKeys, GroupPolicy, KekSpi};
use getvpn_gdoi::server::PullId;
use getvpn_gdoi::wire::Compat;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use super::member::MemberId;

/// A registration under way, by the owner's numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PullRef {
    /// Which of the owner's endpoints it is at.
    pub shard: u16,
    /// Which of that endpoint's.
    pub pull: PullId,
}

/// What has to be done, in this order: the changes in one transaction, then the actions.
#[derive(Debug, Default)]
#[must_use]
pub struct Batch {
    /// To be made durable together.
    pub changes: Vec<Change>,
    /// To be carried out once they are. None may be if they cannot be made durable.
    pub actions: Vec<Action>,
}

impl Batch {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.actions.is_empty()
    }
}

/// A change of the store: absolute, so that making it twice is making it once.
#[derive(Debug)]
pub struct Change {
    /// What changes.
    pub key: Key,
    /// What it is then; gone when `None`.
    pub record: Option<Record>,
}

/// Something to be carried out.
#[derive(Debug)]
pub enum Action {
    /// Message 2 of a registration.
    Offer {
        /// Which.
        pull: PullRef,
        /// What it offers.
        policy: GroupPolicy,
        /// In which layout.
        compat: Compat,
    },
    /// Message 4 of a registration.
    Keys {
        /// Which.
        pull: PullRef,
        /// What message 2 offered.
        policy: GroupPolicy,
        /// The keys of exactly that.
        keys: GroupKeys,
        /// The last SEQ of its Rekey SA.
        sequence: u32,
    },
    /// An authenticated refusal instead of message 2 or 4.
    Refuse {
        /// Which.
        pull: PullRef,
        /// Why.
        why: Refusal,
    },
    /// A GROUPKEY-PUSH.
    Send {
        /// From this address of the server.
        from: SocketAddr,
        /// To a member or to a group of them.
        to: SocketAddr,
        /// The message, the same for all that it goes to.
        push: Arc<PushMessage>,
    },
    /// Ends the phase 1 with a peer that is no member any longer.
    Disconnect {
        /// Its address.
        address: SocketAddr,
    },
    /// Makes a signing key, which may take a second, and hands it in.
    MakeSigningKey {
        /// For which group.
        group: GroupId,
        /// Of which kind.
        kind: KeyKind,
    },
    /// Something that people want to know.
    Log(Event),
}

/// Why a registration is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such group.
    #[error("there is no such group")]
    UnknownGroup,
    /// No entry of the configuration is about the peer.
    #[error("no [[peer]] of the configuration is this peer")]
    UnknownPeer,
    /// The peer may not be in the group.
    #[error("the peer's groups do not include this one")]
    NotItsGroup,
    /// The operator has removed it.
    #[error("the operator has removed it from the group")]
    Removed,
    /// Its name is longer than can be kept.
    #[error("its name is too long")]
    NameTooLong,
    /// It asks for more sender IDs than one member gets.
    #[error("it asks for more sender IDs than one member gets")]
    TooManySenderIds,
    /// There are not enough sender IDs left of those that go with what it was offered; there are anew if
    /// it registers again.
    #[error("the sender IDs that go with what it was offered are used up")]
    SenderIdsUsedUp,
    /// The group has as many members as it may, and none of them is silent.
    #[error("the group is full")]
    GroupFull,
    /// Too many registrations are waiting.
    #[error("too many registrations are under way")]
    Busy,
    /// What it was offered is gone; it may register again.
    #[error("what it was offered has ended")]
    OfferEnded,
}

/// Gathers what a call to the authority causes.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub touched: BTreeSet<Key>,
    /// What no action rests on: made durable with the next change that something does, or in a while.
    pub later: BTreeSet<Key>,
    pub actions: Vec<Action>,
    /// Peers that are members no longer.
    pub disconnect: Vec<SocketAddr>,
    pub counters: Counters,
}

impl Outbox {
    pub fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub fn log(&mut self, event: Event) {
        self.actions.push(Action::Log(event));
    }

    pub fn touch_group(&mut self, group: GroupId) {
        self.touched.insert(Key::Group(group.0));
    }

    pub fn touch_tek(&mut self, group: GroupId, spi: EspSpi) {
        self.touched.insert(Key::Tek(group.0, spi.0));
    }

    pub fn touch_kek(&mut self, group: GroupId, spi: KekSpi) {
        self.touched.insert(Key::Kek(group.0, spi.0));
    }

    /// What a member has said, or not.
    pub fn note_member(&mut self, group: GroupId, member: MemberId) {
        self.later.insert(Key::Member(group.0, member.0));
    }

    pub fn touch_member(&mut self, group: GroupId, member: MemberId) {
        self.touched.insert(Key::Member(group.0, member.0));
    }
}
