//! What a member tells its owner: events, one line of the log each, and its status.

use super::recovery::{Asking, Ended, RecoveryStatistics};
use super::registration::Reason;
use super::sad::{Left, RefusedSa, SenderIdsError};
use crate::group::{EspSpi, KekSpi, Refused};
use crate::ike::IkeError;
use crate::pull::PullError;
use crate::push::PushError;
use crate::wire::NotifyType;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Something to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum MemberEvent {
    /// The SAs are not what they were: make the data plane like [`sas`](super::GroupMember::sas), all at
    /// once.
    SasChanged,
    /// [`spi_key`](super::GroupMember::spi_key) is another one, or gone.
    SpiKeyChanged,
    /// A phase 1 is established.
    Phase1 {
        /// With whom.
        key_server: SocketAddr,
    },
    /// A phase 1 is lost, and why.
    Phase1Lost {
        /// With whom.
        key_server: SocketAddr,
        /// Why.
        why: Phase1Loss,
    },
    /// A phase 1 that was to follow another one, or that INVALID-SPI needs, could not be made.
    Phase1Failed {
        /// With whom.
        key_server: SocketAddr,
        /// Why.
        why: IkeError,
    },
    /// A registration is complete.
    Registered {
        /// With whom.
        key_server: SocketAddr,
        /// Why it was made.
        reason: Reason,
        /// How long it took.
        took: Duration,
        /// SAs that are new.
        installed: usize,
        /// SAs that were there.
        refreshed: usize,
        /// Sender IDs that came.
        sender_ids: usize,
    },
    /// A registration has failed.
    RegistrationFailed {
        /// With whom.
        key_server: SocketAddr,
        /// Why it was made.
        reason: Reason,
        /// Why it failed.
        why: RegistrationError,
        /// When the next one begins.
        next: Option<Instant>,
    },
    /// A PUSH was carried out.
    Rekeyed {
        /// Its number.
        sequence: u32,
        /// SAs that are new.
        installed: usize,
        /// SAs that were there.
        refreshed: usize,
        /// SAs that it deleted.
        deleted: usize,
    },
    /// There is a new Rekey SA.
    KekInstalled(KekSpi),
    /// The key server has deleted the Rekey SA.
    KekDeleted(KekSpi),
    /// A Rekey SA came whose SPI is in use with other keys, and is not used.
    KekRefused(KekSpi),
    /// An SA is refused.
    SaRefused(RefusedSa),
    /// Something else that the key server sent is not used.
    PartRefused(Refused),
    /// Sender IDs are refused.
    SenderIdsRefused(SenderIdsError),
    /// SPIs that keys came for without a policy, and policies without keys: the key server is asked.
    Mismatch {
        /// Keys without policy.
        unmatched: Vec<EspSpi>,
        /// Policies without keys.
        unkeyed: Vec<EspSpi>,
    },
    /// A PUSH under a known Rekey SA is refused. Not told more than once a second.
    PushRefused(PushError),
    /// Asking for an SPI has ended.
    SpiEnded(Ended),
    /// An SA has left.
    SaLeft(EspSpi, Left),
}

/// Why a phase 1 is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase1Loss {
    /// Its life ended.
    Expired,
    /// The key server answers no question.
    Dead,
    /// The key server deleted it.
    Deleted,
}

impl fmt::Display for Phase1Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "its life ended",
            Self::Dead => "the key server does not answer",
            Self::Deleted => "the key server deleted it",
        })
    }
}

/// Why a registration failed.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum RegistrationError {
    /// Phase 1 failed.
    #[error("phase 1: {0}")]
    Phase1(#[from] IkeError),
    /// A message could not be made.
    #[error("GROUPKEY-PULL: {0}")]
    Pull(#[from] PullError),
    /// The key server said no.
    #[error("the key server refuses: {0}")]
    Refused(NotifyType),
    /// It took too long.
    #[error("no answer in time")]
    Timeout,
}

/// How a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// Registers for the first time.
    Registering,
    /// Has what the key server has, as far as it knows.
    InStep,
    /// Asks for an SPI.
    Asking,
    /// Registers again.
    ReRegistering,
    /// No key server answers; it tries them again and again, with pauses.
    BackingOff,
    /// Was stopped.
    Stopped,
}

impl MemberState {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Registering, Self::InStep, Self::Asking, Self::ReRegistering, Self::BackingOff, Self::Stopped];

    /// For replies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Registering => "registering",
            Self::InStep => "in-step",
            Self::Asking => "asking",
            Self::ReRegistering => "re-registering",
            Self::BackingOff => "backing-off",
            Self::Stopped => "stopped",
        }
    }
}

/// Declares [`MemberCounters`] with each one's name and meaning, so that none can be forgotten where they are shown.
macro_rules! member_counters {
    ($($field:ident, $name:literal, $meaning:literal;)*) => {
        /// What was counted.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct MemberCounters {
            $(#[doc = $meaning] pub $field: u64,)*
        }

        impl MemberCounters {
            /// Each with its name in replies and what it counts.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$(($name, $meaning, self.$field),)*].into_iter()
            }
        }
    };
}

member_counters! {
    registrations, "registrations", "Registrations that were completed.";
    failed_registrations, "failed_registrations", "Registrations that failed.";
    pushes, "rekeys", "PUSH messages that were carried out.";
    replayed_pushes, "replayed_rekeys", "PUSH messages that came again or late.";
    bad_pushes, "bad_rekeys", "PUSH messages that were malformed, or signed by somebody else.";
    unread_pushes, "unread_rekeys", "PUSH messages that nobody looked at, because too many bad ones had come.";
    unknown_kek, "rekeys_of_unknown_kek", "PUSH messages under a Rekey SA that this member does not have.";
    acknowledgements, "acknowledgements", "Acknowledgements sent.";
    stray, "stray_datagrams", "Datagrams that were not understood, or belong to nothing.";
    hints, "hints_in_the_clear", "Notifications in the clear.";
    phase1, "phase_1_established", "Phase 1s that were established.";
    refused_phase1, "phase_1_refused_messages", "Messages of phase 1s that were refused, while the right one could still come.";
    failed_phase1, "phase_1_failed", "Phase 1s that could not be made.";
}

/// The Rekey SA, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KekStatus {
    /// Its SPI.
    pub spi: KekSpi,
    /// The number of the last PUSH.
    pub sequence: u32,
    /// When it ends.
    pub expires: Instant,
}

/// How a group stands, with all that is known.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberStatus {
    /// In one word.
    pub state: MemberState,
    /// The key server that it is, or wants to be, registered with.
    pub key_server: SocketAddr,
    /// Whether a phase 1 with it is established.
    pub phase1: bool,
    /// When the last registration was completed, and why it was made.
    pub registered: Option<(Instant, Reason)>,
    /// When the last registration failed, with which key server, and why.
    pub last_failure: Option<(Instant, SocketAddr, RegistrationError)>,
    /// When the member tries again, if it pauses.
    pub backs_off_until: Option<Instant>,
    /// The Rekey SA.
    pub kek: Option<KekStatus>,
    /// SPIs that it asks for.
    pub asking: Vec<Asking>,
    /// The last SPIs that it asked for, the newest last.
    pub asked: Vec<Ended>,
    /// SPIs that are not asked for at present, because the key server does not know them.
    pub remembered: usize,
    /// Policies without keys.
    pub pending: usize,
    /// How asking went so far.
    pub recovery: RecoveryStatistics,
    /// What was counted.
    pub counters: MemberCounters,
}
