//! What the key server's endpoint tells its owner, and what it wants sent.

use crate::group::{EspSpi, NamedGroup};
use crate::ike::PeerInfo;
use crate::wire::{CookiePair, NotifyType};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// From which of our addresses: the one that the peer wrote to.
    pub local: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// The UDP payload.
    pub datagram: Vec<u8>,
}

/// A registration in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PullId {
    /// The phase 1 that protects it.
    pub phase1: CookiePair,
    /// The message ID of its exchange.
    pub message_id: u32,
}

/// Who is at the other end of an established phase 1.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The phase 1.
    pub phase1: CookiePair,
    /// Which of our addresses it wrote to.
    pub local: SocketAddr,
    /// Address, identity, and how that was proven.
    pub info: Arc<PeerInfo>,
}

/// Something that the owner decides or wants to know. All of it is authenticated, but for
/// [`ServerEvent::Ack`], [`ServerEvent::Hint`] and [`ServerEvent::Refused`].
#[derive(Clone, Debug)]
pub enum ServerEvent {
    /// A phase 1 was established.
    Established(Peer),
    /// Message 1 of a registration: answer with [`Server::offer`] or [`Server::refuse_pull`]. It may be a
    /// replay within the same phase 1, so nothing is to be kept of it (RFC 6407 section 3.2).
    ///
    /// [`Server::offer`]: super::Server::offer
    /// [`Server::refuse_pull`]: super::Server::refuse_pull
    PullRequested {
        /// Which.
        pull: PullId,
        /// By whom.
        peer: Peer,
        /// For which group.
        group: NamedGroup,
    },
    /// Message 3 of a registration: the member is live and takes the policy that was offered. Answer with
    /// [`Server::keys`], once what it gives away is committed.
    ///
    /// [`Server::keys`]: super::Server::keys
    PullConfirmed {
        /// Which.
        pull: PullId,
        /// By whom.
        peer: Peer,
        /// How many sender IDs it asks for, if it does (RFC 6407 section 5.4.2).
        sender_ids_wanted: Option<u16>,
    },
    /// A registration went no further, or its phase 1 ended. Not told once the keys were sent.
    PullAbandoned(PullId),
    /// A member got packets with an SPI that it has no SA for (rule S4).
    InvalidSpi {
        /// Which member.
        peer: Peer,
        /// Which SPI.
        spi: EspSpi,
    },
    /// A phase 1 has ended.
    Ended {
        /// Whose.
        peer: Peer,
        /// Why.
        why: EndReason,
    },
    /// An acknowledgement of a PUSH (RFC 8263). Not yet authenticated: the owner has the keys.
    Ack {
        /// Where it came from.
        from: SocketAddr,
        /// The whole message.
        datagram: Vec<u8>,
    },
    /// A member that has or makes a phase 1, or somebody in its name, says in the clear that something is
    /// wrong. It changes nothing; for the log, limited in number.
    Hint {
        /// Where it came from, or who is named there as the source.
        from: SocketAddr,
        /// What it says.
        notify: NotifyType,
    },
    /// A message or a phase 1 was refused; for the log, limited in number.
    Refused {
        /// Where it came from, or who is named there as the source.
        from: SocketAddr,
        /// What is wrong, for people.
        why: String,
    },
}

/// Why a phase 1 has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its lifetime.
    Expired,
    /// The peer deleted it.
    Deleted,
    /// The peer answers no questions (RFC 3706).
    Dead,
    /// The peer has set up a newer one.
    Replaced,
    /// There was no room for it.
    Evicted,
    /// The server has deleted it.
    Closed,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EndReason::Expired => "its lifetime is over",
            EndReason::Deleted => "the member deleted it",
            EndReason::Dead => "the member does not answer",
            EndReason::Replaced => "the member has set up a newer one",
            EndReason::Evicted => "there was no room for it",
            EndReason::Closed => "the key server deleted it",
        })
    }
}
