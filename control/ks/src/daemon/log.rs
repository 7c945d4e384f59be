//! The authority's events as log lines, with stable names.

use crate::core::{AskOutcome, Event, What};
use tracing::{debug, info, warn};

/// Writes the line of an event.
pub(super) fn event(event: &Event) {
    let group = &*event.group;
    match &event.what {
        What::Opened { id, members } => {
            info!(event = "group_opened", group, %id, members, "group {group} ({id}) is served, {members} members");
        }
        What::Closed => info!(event = "group_closed", group, "group {group} is served no longer"),
        What::TekMade { spi, lifetime } => {
            let lifetime = lifetime.as_secs();
            info!(event = "sa_made", group, %spi, lifetime, "group {group}: SA {spi} for {lifetime} s");
        }
        What::TekEnded { spi } => info!(event = "sa_ended", group, %spi, "group {group}: SA {spi} has ended"),
        What::KekMade { spi, lifetime } => {
            let lifetime = lifetime.as_secs();
            info!(event = "kek_made", group, %spi, lifetime, "group {group}: Rekey SA {spi} for {lifetime} s");
        }
        What::KekEnded { spi } => {
            info!(event = "kek_ended", group, %spi, "group {group}: Rekey SA {spi} has ended");
        }
        What::RekeyBegun { why, members } => {
            info!(event = "rekey_begun", group, %why, members, "group {group}: rekey to {members} members: {why}");
        }
        What::RekeyEnded { why, acknowledged, missed } => info!(
            event = "rekey_ended",
            group,
            %why,
            acknowledged,
            missed,
            "group {group}: rekey ended ({why}): {acknowledged} acknowledged, {missed} did not"
        ),
        What::AllRegisterAgain { why, members } => warn!(
            event = "all_register_again",
            group,
            %why,
            members,
            "group {group}: all {members} members are told to register again: {why}"
        ),
        What::Registered { member, name, address, sids, times } => info!(
            event = "member_registered",
            group,
            %member,
            name,
            %address,
            first_sid = sids.first,
            sids = sids.count,
            times,
            "group {group}: {name} at {address} has registered (member {member}, time {times})"
        ),
        What::Refused { peer, name, why } => warn!(
            event = "registration_refused",
            group,
            %peer,
            name,
            reason = %why,
            "group {group}: registration of {name} at {peer} is refused: {why}"
        ),
        What::Silent { member, name } => warn!(
            event = "member_silent",
            group,
            %member,
            name,
            "group {group}: {name} (member {member}) has not acknowledged three rekeys; \
             it gets no more until it is heard from"
        ),
        What::HeardAgain { member } => {
            info!(event = "member_heard_again", group, %member, "group {group}: member {member} is heard again");
        }
        What::Removed { member, name } => {
            warn!(event = "member_removed", group, %member, name, "group {group}: {name} (member {member}) is removed");
        }
        What::Asked { member, spi, outcome: AskOutcome::Answered, again: false } => info!(
            event = "invalid_spi_answered",
            group,
            %member,
            %spi,
            "group {group}: member {member} has no SA {spi} and gets a rekey"
        ),
        What::Asked { member, spi, outcome, .. } => debug!(
            event = "invalid_spi",
            group,
            %member,
            %spi,
            ?outcome,
            "group {group}: member {member} has no SA {spi}: {outcome:?}"
        ),
    }
}
