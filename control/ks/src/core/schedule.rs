//! When what has to happen so that no member is ever without a live SA: the formulas.
//!
//! A rekey is sent `1 + retransmits` times, `interval` apart, and unicast to `members` members it takes
//! `pacing = members / rate` to send it once to all. The last member that it can reach has it after
//!
//! ```text
//! reach = retransmits x max(interval, pacing) + pacing
//! ```
//!
//! A retransmission is the same datagram, so it states the lifetimes of the first. In order that no
//! member keeps an SA for longer than its life, a rekey states what is left less `reach`: a member's
//! copy ends between `reach` (and less than a second, because the wire has whole seconds) before the SA
//! and the SA's own end. A registration likewise states what is left less the time that it may take. A
//! successor must be in use everywhere by the earliest of these ends: it takes `reach` until the last
//! one has it and ATD until that one sends with it. And a member that has heard of no successor a minute
//! before its copy ends registers again, as members commonly do; if the rekey came later than that, all of
//! them would, every time. So a successor is made
//!
//! ```text
//! registration = min(10 s, lifetime / 10)
//! lead = reach + max(reach, registration) + max(ATD, min(60 s, lifetime / 4)) + 1 s
//! ```
//!
//! before the end of an SA, but never in the first quarter of its life.

use super::settings::{GroupSettings, Transport};
use std::time::Duration;

/// The wire has whole seconds.
const ROUNDING: Duration = Duration::from_secs(1);

/// The longest that a registration may take from its second to its fourth message.
const REGISTRATION: Duration = Duration::from_secs(10);

/// Members register again so long before their SAs end, of a short life at most a quarter.
const REGISTERS_AGAIN: Duration = Duration::from_secs(60);

/// Registrations a second that a server is trusted with when a whole group registers again.
const REGISTRATIONS_A_SECOND: u32 = 200;

/// The figures of one group at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long after a rekey began its last copy is sent.
    pub reach: Duration,
    activation: Duration,
    members: u32,
}

impl Timing {
    /// The figures of a group with so many members.
    #[must_use]
    pub fn new(settings: &GroupSettings, members: usize) -> Self {
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        let rekey = &settings.rekey;
        let pacing = match rekey.transport {
            Transport::Unicast => Duration::from_secs(1) * members / rekey.rate.max(1),
            Transport::Multicast(_) => Duration::ZERO,
        };
        let reach = rekey.interval.max(pacing) * rekey.retransmits + pacing;
        Self { reach, activation: settings.gap.activation_delay, members }
    }

    /// How long before the end of an SA its successor is made.
    #[must_use]
    pub fn lead(&self, lifetime: Duration) -> Duration {
        let registers_again = REGISTERS_AGAIN.min(lifetime / 4);
        let wanted = self.wanted_lead(lifetime) + registers_again.saturating_sub(self.activation);
        wanted.min(lifetime * 3 / 4)
    }

    /// The shortest lifetime that leaves no member without an SA.
    #[must_use]
    pub fn least_lifetime(&self) -> Duration {
        let by_rekey = (self.reach * 2 + self.activation + ROUNDING) * 4 / 3;
        // 3/4 less the tenth that a registration takes off.
        let by_registration = (self.reach + self.activation + ROUNDING) * 20 / 13;
        by_rekey.max(by_registration)
    }

    /// The least that leaves no member without an SA.
    fn wanted_lead(&self, lifetime: Duration) -> Duration {
        let allowance = self.reach.max(registration_allowance(lifetime));
        self.reach + allowance + self.activation + ROUNDING
    }

    /// What a rekey takes off the lifetimes that it states, for its last copy.
    #[must_use]
    pub fn rekey_allowance(&self, lifetime: Duration) -> Duration {
        self.reach.min(lifetime / 4)
    }

    /// What is left of a replaced SA's life at most, so that all have its successor first: FIELD.md's
    /// formula for a policy change.
    #[must_use]
    pub fn retirement(&self, lifetime: Duration) -> Duration {
        let usual = (lifetime / 20).min(Duration::from_secs(3600)).max(Duration::from_secs(90));
        usual.max(self.wanted_lead(lifetime))
    }

    /// The same where it must be as short as can be: a member has been removed that knows the SA.
    #[must_use]
    pub fn quick_retirement(&self, lifetime: Duration) -> Duration {
        self.wanted_lead(lifetime)
    }

    /// How long it takes at most until all members have registered again after having been told to.
    #[must_use]
    pub fn registering_again(&self) -> Duration {
        self.reach + Duration::from_secs(2) + Duration::from_secs(1) * self.members / REGISTRATIONS_A_SECOND
    }
}

/// What a registration takes off the lifetimes that it states: the member counts them from its fourth
/// message, they are stated in the second.
#[must_use]
pub fn registration_allowance(lifetime: Duration) -> Duration {
    REGISTRATION.min(lifetime / 10)
}
