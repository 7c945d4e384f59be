//! The authority over the groups: their keys, members and rekeys. No I/O and no clock; time, randomness
//! and what happens are arguments, and what has to be done comes out as batches.
//!
//! Where to begin: [`Authority`] takes what happens, [`Group`] is what it happens to, [`Batch`] is what
//! follows, [`schedule`] is when.

mod access;
mod asked;
mod authority;
mod counters;
mod event;
mod group;
mod kek;
mod limit;
mod member;
mod outbox;
mod push;
pub mod record;
pub mod schedule;
pub mod settings;
mod sid;
mod tek;
#[cfg(test)]
pub(crate) mod tests;
mod time;

pub use access::{Access, NoAccess, Peer, PeerSettings, Proof, Who};
pub use asked::{Asked, LastAsk};
pub use authority::{Authority, CommandError, Limits, RekeyWhat, ReloadPlan, Settings};
pub use counters::{Count, Counters, Last};
pub use event::{AskOutcome, Event, What, Why};
pub use group::{Difference, Group, Slot, Snapshot, differences};
pub use kek::{Fate, FreshKey, Kek, KekEntry, Sequence};
pub use limit::TokenBucket;
pub use member::{Acknowledged, MISSED_REKEYS, Member, MemberId, MemberKey, Members};
pub use outbox::{Action, Batch, Change, PullRef, Refusal};
pub use push::PushMessage;
pub use schedule::{Timing, registration_allowance};
pub use settings::{GroupSettings, KekSettings, RekeySettings, TekSettings, TekShape, Transport};
pub use sid::{Exhausted, SidCounter, SidRange};
pub use tek::{SlotId, Spis, Tek, stated};
pub use time::{Checkpoint, Clock, Now, ServerTime, Uptime};
