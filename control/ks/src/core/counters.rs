//! What the authority counts, each with its name and meaning in one table.

use getvpn_gdoi::group::EspSpi;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

macro_rules! counts {
    ($($variant:ident, $name:literal, $meaning:literal;)*) => {
        /// Something that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Count {
            $(#[doc = $meaning] $variant,)*
        }

        impl Count {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Count] = &[$(Count::$variant,)*];

            /// Its name in replies.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Count::$variant => $name,)* }
            }

            /// What it counts.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Count::$variant => $meaning,)* }
            }
        }
    };
}

counts! {
    Registrations, "registrations", "Registrations that were keyed.";
    RefusedUnknownGroup, "refused-unknown-group", "Registrations refused: there is no such group.";
    RefusedUnknownPeer, "refused-unknown-peer", "Registrations refused: no peer that is configured is this one.";
    RefusedNotItsGroup, "refused-not-its-group", "Registrations refused: the peer may not be in the group.";
    RefusedRemoved, "refused-removed", "Registrations refused: the operator has removed the member.";
    RefusedNameTooLong, "refused-name-too-long", "Registrations refused: the member's name is too long.";
    RefusedTooManySenderIds, "refused-too-many-sender-ids", "Registrations refused: too many sender IDs wanted.";
    RefusedSenderIdsUsedUp, "refused-sender-ids-used-up", "Registrations refused: sender IDs ran out meanwhile.";
    RefusedGroupFull, "refused-group-full", "Registrations refused: the group is full.";
    RefusedBusy, "refused-busy", "Registrations refused: too many are under way.";
    RefusedOfferEnded, "refused-offer-ended", "Registrations refused: what was offered has ended.";
    UnknownPull, "unknown-pull", "Third messages of registrations that are not under way.";
    SnapshotsMoved, "snapshots-moved", "Registrations whose policy changed meanwhile, and were rekeyed at once.";
    Rekeys, "rekeys", "Rekeys begun.";
    PushesMade, "pushes-made", "GROUPKEY-PUSH messages made, each with a signature and a SEQ of its own.";
    PushesSent, "pushes-sent", "GROUPKEY-PUSH datagrams sent.";
    Acknowledgements, "acknowledgements", "Rekeys acknowledged.";
    AckUnknown, "ack-unknown", "Acknowledgements of a rekey or from a member that is not known.";
    AckMalformed, "ack-malformed", "Acknowledgements that are none.";
    AckForged, "ack-forged", "Acknowledgements whose HASH is wrong.";
    AckStale, "ack-stale", "Acknowledgements that say nothing new.";
    MissedRekeys, "missed-rekeys", "Rekeys that a member did not acknowledge.";
    AskedAnswered, "invalid-spi-answered", "INVALID-SPI that were answered with a rekey.";
    AskedCoalesced, "invalid-spi-coalesced", "INVALID-SPI that one rekey answered together.";
    AskedNoSuchSa, "invalid-spi-no-such-sa", "INVALID-SPI for which there is no live SA.";
    AskedEnding, "invalid-spi-ending", "INVALID-SPI for an SA that ends within moments.";
    AskedForeign, "invalid-spi-foreign", "INVALID-SPI for an SA of a group that the peer is not in.";
    AskedMemberLimit, "invalid-spi-member-limit", "INVALID-SPI beyond what one member may send.";
    AskedServerLimit, "invalid-spi-server-limit", "INVALID-SPI beyond what all members may send.";
    AskedUnreachable, "invalid-spi-unreachable", "INVALID-SPI from a member that has to register again.";
}

impl Count {
    /// Whether it counts what came to nothing.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        !matches!(
            self,
            Count::Registrations
                | Count::SnapshotsMoved
                | Count::Rekeys
                | Count::PushesMade
                | Count::PushesSent
                | Count::Acknowledgements
                | Count::MissedRekeys
                | Count::AskedAnswered
                | Count::AskedCoalesced
        )
    }
}

/// Who had something counted, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// Where the message came from.
    pub from: SocketAddr,
    /// The SPI that it was about.
    pub spi: Option<EspSpi>,
    /// When.
    pub at: Instant,
}

/// The counters, all since the server's start.
#[derive(Clone, Debug)]
pub struct Counters {
    counts: [u64; Count::ALL.len()],
    last: [Option<Last>; Count::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self { counts: [0; Count::ALL.len()], last: [None; Count::ALL.len()] }
    }
}

impl Counters {
    /// Counts one.
    pub fn add(&mut self, count: Count) {
        self.counts[count as usize] += 1;
    }

    /// Counts one that `last` had counted.
    pub fn add_of(&mut self, count: Count, last: Last) {
        self.add(count);
        self.last[count as usize] = Some(last);
    }

    /// Whose the last was, where that is known.
    #[must_use]
    pub fn last(&self, count: Count) -> Option<Last> {
        self.last[count as usize]
    }

    /// How many there were.
    #[must_use]
    pub fn get(&self, count: Count) -> u64 {
        self.counts[count as usize]
    }

    /// All by name.
    #[must_use]
    pub fn by_name(&self) -> BTreeMap<&'static str, u64> {
        Count::ALL.iter().map(|&count| (count.name(), self.get(count))).collect()
    }
}
