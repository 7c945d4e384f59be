//! The authority over the groups: their keys, members and rekeys. No I/O and no clock; time, randomness
//! and what happens are arguments, and what has to be done comes out as batches.

mod access;
mod kek;
mod limit;
mod member;
pub mod schedule;
pub mod settings;
mod sid;
mod tek;
mod time;

pub use access::{Access, NoAccess, Peer, PeerSettings, Proof, Who};
pub use kek::{Fate, Kek, KekEntry, Sequence};
pub use limit::TokenBucket;
pub use member::{Acknowledged, MISSED_REKEYS, Member, MemberId, MemberKey, Members};
pub use schedule::{Timing, registration_allowance};
pub use settings::{GroupSettings, KekSettings, RekeySettings, TekSettings, TekShape, Transport};
pub use sid::{Exhausted, SidCounter, SidRange};
pub use tek::{SlotId, Spis, Tek, stated};
pub use time::{Checkpoint, Clock, Now, ServerTime, Uptime};
