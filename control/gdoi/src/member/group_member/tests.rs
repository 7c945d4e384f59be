use super::*;
use crate::crypto::SeededRandom;
use crate::group::Deletion;
use crate::ike::unprotected_notify;
use crate::member::sad::{Refusal, SadLimits, SenderUse};
use crate::member::testing::key_server::KeyServer;
use crate::member::testing::world::{LATENCY, World, member_config};
use crate::member::testing::*;
use crate::member::{MemberEvent, MemberState};

mod hints;
mod hostile;
mod key_servers;
mod random;
mod rekeys;
mod rules;

/// A round trip.
const RTT: Duration = Duration::from_millis(2);

fn count(events: &[MemberEvent], is: impl Fn(&MemberEvent) -> bool) -> usize {
    events.iter().filter(|event| is(event)).count()
}
