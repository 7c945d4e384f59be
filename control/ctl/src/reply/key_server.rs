//! What only a key server replies with.

use crate::Spi;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The reply to `group list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupList {
    /// The groups, by number.
    pub groups: Vec<GroupDetail>,
}

/// A group as its key server has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDetail {
    /// Its name in the configuration.
    pub name: String,
    /// Its number on the wire.
    pub id: u32,
    /// `serving`; `starting`: its first Rekey SA is being made; `registering-again`: its members have been
    /// told to; `closing`.
    pub state: String,
    /// Members.
    pub members: u64,
    /// Members that do not acknowledge any longer and get no rekeys until they are heard from.
    pub silent: u64,
    /// Live Data-Security SAs.
    pub sas: u64,
    /// Live Rekey SAs.
    pub rekey_sas: u64,
    /// `unicast`, or the group address.
    pub transport: String,
    /// Counts every change of what members are told, since the server's start.
    pub version: u64,
    /// Seconds that are left of the Rekey SA.
    pub kek_left_s: Option<u64>,
    /// Seconds until the next scheduled rekey.
    pub next_rekey_s: Option<u64>,
    /// Sender IDs that have not been handed out.
    pub sender_ids_left: u32,
    /// Members that the operator has removed, and that may not register.
    pub removed: Vec<String>,
}

/// The reply to `member list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberList {
    /// The group.
    pub group: String,
    /// Its members, in the order in which they first registered.
    pub members: Vec<MemberDetail>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberDetail {
    /// Its number, by which it can be removed.
    pub id: u32,
    /// Who it is: its identity, or the name in its certificate.
    pub name: String,
    /// Where its rekeys go.
    pub address: SocketAddr,
    /// `in-step`; `behind`: it has not acknowledged the last rekey; `silent`.
    pub state: String,
    /// Its last registration, in seconds since 1970.
    pub registered_unix_s: u64,
    /// How often it has registered.
    pub registrations: u32,
    /// The sender IDs that it got then: the first, and how many.
    pub sids: SidRun,
    /// The Rekey SA that it is known to have.
    pub kek: String,
    /// The last rekey that it acknowledged.
    pub last_acknowledged: Option<AcknowledgedRekey>,
    /// Rekeys in a row that it did not acknowledge.
    pub missed: u8,
    /// The last SPI that it asked for.
    pub last_invalid_spi: Option<LastAsked>,
}

/// Sender IDs in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SidRun {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// A rekey that a member has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcknowledgedRekey {
    /// Its SEQ.
    pub sequence: u32,
    /// When, in seconds since 1970.
    pub unix_s: u64,
}

/// An SPI that a member has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastAsked {
    /// The SPI.
    pub spi: Spi,
    /// When, in seconds since 1970.
    pub unix_s: u64,
}

/// The reply to `rekey`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rekeyed {
    /// The group.
    pub group: String,
    /// Its members, silent ones included.
    pub members: u64,
}

/// The reply to `member remove` and `member readmit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberChanged {
    /// The group.
    pub group: String,
    /// Who the member is.
    pub name: String,
    /// Whether it is out now, or may register again.
    pub removed: bool,
}

/// The reply to `reload`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Whether this only shows what would change.
    pub dry_run: bool,
    /// What changes, a line each.
    pub changes: Vec<String>,
    /// What takes effect only at the next start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_restart: Vec<String>,
    /// What is weak or without effect in the configuration.
    pub warnings: Vec<String>,
}
