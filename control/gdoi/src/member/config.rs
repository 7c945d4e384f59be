//! What a member of a group is told.

use super::budget::{Rate, SharedBudget};
use super::recovery::RecoveryConfig;
use super::registration::RegistrationConfig;
use super::sad::SadLimits;
use crate::group::GroupId;
use crate::ike::{DpdTiming, InitiatorConfig, Timing};
use crate::wire::Compat;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A key server of the group.
#[derive(Clone, Debug)]
pub struct KeyServerConfig {
    /// Where it listens.
    pub address: SocketAddr,
    /// How phase 1 with it is made.
    pub phase1: Arc<InitiatorConfig>,
}

/// One group of a member.
#[derive(Clone, Debug)]
pub struct MemberConfig {
    /// Its number.
    pub group: GroupId,
    /// Its key servers, the preferred one first; one at least.
    pub key_servers: Vec<KeyServerConfig>,
    /// The address that the member registers from, by which key servers know its acknowledgements.
    pub address: IpAddr,
    /// Sender IDs that it needs: one for each worker.
    pub sender_ids: u16,
    /// What the key servers insist on.
    pub compat: Compat,
    /// What it accepts of SAs.
    pub limits: SadLimits,
    /// How it asks for what it lacks.
    pub recovery: RecoveryConfig,
    /// When it registers.
    pub registration: RegistrationConfig,
    /// How it sees that a key server is gone.
    pub dpd: DpdTiming,
    /// How long it waits for an answer in a registration before it sends again; twice as long each time, up to 2 s.
    pub retransmit: Duration,
    /// PUSH messages that fail after their signature was looked at. Beyond that none is looked at: only
    /// another member can make them. Default 64 at once, 100 a second.
    pub bad_pushes: Rate,
    /// What all groups of the member may ask for together.
    pub budget: SharedBudget,
}

impl MemberConfig {
    /// The default of [`MemberConfig::bad_pushes`].
    pub const BAD_PUSHES: Rate = Rate { burst: 64, per_second: 100 };

    /// The default of [`MemberConfig::retransmit`].
    pub const RETRANSMIT: Duration = Timing::FIRST_RETRANSMIT;

    /// A configuration whose limits are all the defaults.
    #[must_use]
    pub fn new(
        group: GroupId,
        key_servers: Vec<KeyServerConfig>,
        address: IpAddr,
        sender_ids: u16,
        budget: SharedBudget,
    ) -> Self {
        Self {
            group,
            key_servers,
            address,
            sender_ids,
            compat: Compat::default(),
            limits: SadLimits::default(),
            recovery: RecoveryConfig::default(),
            registration: RegistrationConfig::default(),
            dpd: DpdTiming::default(),
            retransmit: Self::RETRANSMIT,
            bad_pushes: Self::BAD_PUSHES,
            budget,
        }
    }
}
