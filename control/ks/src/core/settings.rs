//! What the operator wants of the groups, as the core needs it: already checked, nothing of files.

use getvpn_gdoi::crypto::KeyKind;
use getvpn_gdoi::group::{
    AckRequest, Direction, EspTransform, GroupAssociatedPolicy, GroupId, KekCipher, KekSignature, Mode,
    Selector,
};
use getvpn_gdoi::wire::Compat;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// A group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupSettings {
    /// Its number on the wire.
    pub id: GroupId,
    /// Its name.
    pub name: String,
    /// Bits of the IV that a sender ID takes: 8, 12 or 16.
    pub sid_bits: u8,
    /// ATD and DTD.
    pub gap: GroupAssociatedPolicy,
    /// Its Rekey SAs.
    pub kek: KekSettings,
    /// How rekeys travel.
    pub rekey: RekeySettings,
    /// Its Data-Security SAs; at least one.
    pub teks: Vec<TekSettings>,
    /// Whose layout its members read and write.
    pub compat: Compat,
}

/// The Rekey SAs of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KekSettings {
    /// Cipher of its PUSH messages.
    pub cipher: KekCipher,
    /// Signature of its PUSH messages.
    pub signature: KekSignature,
    /// The kind of key that makes those signatures.
    pub key: KeyKind,
    /// How long one lives.
    pub lifetime: Duration,
}

/// How the rekeys of a group travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RekeySettings {
    /// To each member, or to all at once.
    pub transport: Transport,
    /// The address that rekeys come from.
    pub source: SocketAddr,
    /// How often one is sent again.
    pub retransmits: u32,
    /// How long after the time before.
    pub interval: Duration,
    /// Whether members acknowledge.
    pub acknowledge: Option<AckRequest>,
    /// How many unicast rekeys are sent in a second at most.
    pub rate: u32,
}

/// Where rekeys are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// To each member's own address.
    Unicast,
    /// To a group address.
    Multicast(SocketAddr),
}

/// A Data-Security SA that the group always has one of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TekSettings {
    /// Everything about it but its life.
    pub shape: TekShape,
    /// How long one lives.
    pub lifetime: Duration,
}

/// What tells Data-Security SAs of a group apart, generation after generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TekShape {
    /// Cipher and integrity algorithm.
    pub transform: EspTransform,
    /// Tunnel or transport.
    pub mode: Mode,
    /// Who sends with it.
    pub direction: Direction,
    /// What it protects; at least one.
    pub selectors: Vec<Selector>,
}

impl GroupSettings {
    /// Whether senders need IDs of their own.
    #[must_use]
    pub fn needs_sender_ids(&self) -> bool {
        self.teks.iter().any(|tek| tek.shape.transform.is_counter_mode())
    }
}

impl std::fmt::Display for TekShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mode = match self.mode {
            Mode::Tunnel => "tunnel",
            Mode::Transport => "transport",
        };
        write!(f, "{} {mode}", self.transform)?;
        for (at, selector) in self.selectors.iter().enumerate() {
            write!(f, "{}{selector}", if at == 0 { ": " } else { "; " })?;
        }
        Ok(())
    }
}
