//! What the authority tells people, one line each. The names are stable: operators search for them.

use super::member::MemberId;
use super::outbox::Refusal;
use super::sid::SidRange;
use getvpn_gdoi::group::{EspSpi, GroupId, KekSpi};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Why a group's members get a rekey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A lifetime comes to its end.
    Scheduled,
    /// The operator wants it.
    OnDemand,
    /// The configuration has changed.
    PolicyChange,
    /// A member has been removed.
    Removal,
    /// SAs that a removed member knows are taken back.
    Withdrawal,
    /// Sender IDs start again.
    SenderIds,
    /// The Rekey SA ended while the server was away.
    KekLost,
    /// The server has started.
    Restart,
    /// The policy changed between the second and the fourth message of a registration.
    PolicyMoved,
    /// The group is no longer served.
    GroupClosed,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Scheduled => "scheduled",
            Why::OnDemand => "on demand",
            Why::PolicyChange => "policy change",
            Why::Removal => "member removed",
            Why::Withdrawal => "old SAs withdrawn",
            Why::SenderIds => "sender IDs start again",
            Why::KekLost => "the Rekey SA ended",
            Why::Restart => "server started",
            Why::PolicyMoved => "policy moved during a registration",
            Why::GroupClosed => "group closed",
        })
    }
}

/// What became of an INVALID-SPI (rule S4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskOutcome {
    /// The member got a rekey.
    Answered,
    /// It gets one with others that asked.
    Coalesced,
    /// No SA has the SPI now.
    NoSuchSa,
    /// Its SA ends within moments.
    Ending,
    /// It is not a member of that SA's group.
    Foreign,
    /// It asks too often.
    MemberLimit,
    /// All together ask too often.
    ServerLimit,
    /// It has no Rekey SA that lives; it has to register.
    Unreachable,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The group's name; the number that a member asked for when there is no such group.
    pub group: Arc<str>,
    /// What.
    pub what: What,
}

/// What happened.
#[expect(missing_docs, reason = "what the fields are is said by their names and types")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The group is served.
    Opened { id: GroupId, members: usize },
    /// The group is served no longer.
    Closed,
    /// A Data-Security SA was made.
    TekMade { spi: EspSpi, lifetime: Duration },
    /// A Data-Security SA has ended.
    TekEnded { spi: EspSpi },
    /// A Rekey SA was made.
    KekMade { spi: KekSpi, lifetime: Duration },
    /// A Rekey SA has ended.
    KekEnded { spi: KekSpi },
    /// A rekey began.
    RekeyBegun { why: Why, members: usize },
    /// A rekey has been sent for the last time, or all have acknowledged it.
    RekeyEnded { why: Why, acknowledged: u32, missed: u32 },
    /// Members are told to register again.
    AllRegisterAgain { why: Why, members: usize },
    /// A member has registered.
    Registered { member: MemberId, name: String, address: SocketAddr, sids: SidRange, times: u32 },
    /// A registration was refused.
    Refused { peer: SocketAddr, name: String, why: Refusal },
    /// A member no longer acknowledges, and gets no more rekeys until it is heard from.
    Silent { member: MemberId, name: String },
    /// A silent member was heard from.
    HeardAgain { member: MemberId },
    /// A member has been removed.
    Removed { member: MemberId, name: String },
    /// A member asked for an SA; `again` when it did so a moment ago, with the same outcome.
    Asked { member: MemberId, spi: EspSpi, outcome: AskOutcome, again: bool },
}
