//! How the members of a key server stand: its reply to `sync`.

use super::AcknowledgedRekey;
use super::Sync;
use crate::Spi;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The reply to `sync`, by who gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role")]
pub enum SyncReply {
    /// By a group member.
    #[serde(rename = "gm")]
    Member(Sync),
    /// By a key server.
    #[serde(rename = "ks")]
    KeyServer(KeyServerSync),
}

/// A key server's reply to `sync`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyServerSync {
    /// The groups, by number.
    pub groups: Vec<ServedGroup>,
    /// The INVALID-SPI of all together, also of peers that are no members, since the server's start.
    pub invalid_spi: AskCounts,
    /// How many are answered.
    pub limits: AskLimits,
}

/// How many INVALID-SPI a key server answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskLimits {
    /// In a second, for one member in one group.
    pub member_per_s: u32,
    /// In a second, for all together.
    pub server_per_s: u32,
}

/// A group and how its members stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedGroup {
    /// Its name in the configuration.
    pub name: String,
    /// Its number on the wire.
    pub id: u32,
    /// As in `group list`.
    pub state: String,
    /// Its members, in the order in which they first registered.
    pub members: Vec<MemberSync>,
}

/// How one member stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberSync {
    /// Its number, by which it can be removed.
    pub id: u32,
    /// Who it is: its identity, or the name in its certificate.
    pub name: String,
    /// Where its rekeys go.
    pub address: SocketAddr,
    /// `in-step`; `behind`: it has not acknowledged the last rekey; `silent`.
    pub state: String,
    /// Whether it tells this server's SPIs by their mark; not known of one that has not registered since the
    /// server's start.
    pub marks: Option<bool>,
    /// The last rekey that it acknowledged.
    pub last_acknowledged: Option<AcknowledgedRekey>,
    /// Rekeys in a row that it did not acknowledge.
    pub missed: u8,
    /// The last SPI that it asked for.
    pub last_invalid_spi: Option<AskedBy>,
    /// What became of all that it asked for since the server's start. An SPI that none of its groups has
    /// counts in each of them.
    pub invalid_spi: AskCounts,
}

/// An INVALID-SPI of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedBy {
    /// The SPI.
    pub spi: Spi,
    /// When, in seconds since 1970.
    pub unix_s: u64,
    /// `answered`, `answered-together`, `unknown`, `ending`, `not-authorised`, `rate-limited`,
    /// `server-limited` or `unreachable`; not known of one from before the server's start.
    pub outcome: Option<String>,
}

/// INVALID-SPI by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskCounts {
    /// Answered with a rekey.
    pub answered: u64,
    /// Answered by a multicast rekey that answered others as well.
    pub answered_together: u64,
    /// No live SA has the SPI.
    pub unknown: u64,
    /// The SA ends within moments.
    pub ending: u64,
    /// The SA is of a group that the peer is not in.
    pub not_authorised: u64,
    /// Beyond what one member may send.
    pub rate_limited: u64,
    /// Beyond what all members may send.
    pub server_limited: u64,
    /// The member has no Rekey SA that lives, and has to register.
    pub unreachable: u64,
}

impl AskCounts {
    /// Each with its name for people.
    #[must_use]
    pub fn by_name(&self) -> [(&'static str, u64); 8] {
        [
            ("answered", self.answered),
            ("answered together", self.answered_together),
            ("unknown", self.unknown),
            ("ending", self.ending),
            ("not authorised", self.not_authorised),
            ("rate-limited", self.rate_limited),
            ("limited by all together", self.server_limited),
            ("unreachable", self.unreachable),
        ]
    }
}
