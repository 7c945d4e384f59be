//! What happened in a group, one line of the log each, with a stable event name. Control thread.

use super::Group;
use getvpn_gdoi::member::MemberEvent;
use getvpn_gdoi::member::recovery::{Cause, End, Ended};
use getvpn_gdoi::member::sad::Left;
use getvpn_gdoi::push::PushError;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tracing::{debug, info, warn};

impl Group {
    /// Logs an event.
    pub(super) fn tell(&mut self, event: MemberEvent, now: Instant) {
        let name = &self.name;
        match event {
            MemberEvent::SasChanged | MemberEvent::SpiKeyChanged => {}
            MemberEvent::Phase1 { key_server } => {
                debug!(event = "phase1", group = %name, %key_server, "group {name}: phase 1 with {key_server} is established");
            }
            MemberEvent::Phase1Lost { key_server, why } => {
                info!(event = "phase1_lost", group = %name, %key_server, %why,
                    "group {name}: phase 1 with {key_server} is lost: {why}");
            }
            MemberEvent::Phase1Failed { key_server, why } => {
                warn!(event = "phase1_failed", group = %name, %key_server, %why,
                    "group {name}: no phase 1 with {key_server}: {why}; its SAs live on");
            }
            MemberEvent::Registered { key_server, reason, took, installed, refreshed, sender_ids } => {
                let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                if let Some(before) = self.last_key_server.replace(key_server).filter(|&k| k != key_server) {
                    warn!(event = "failover", group = %name, %key_server, %before,
                        "group {name} has moved from key server {before} to {key_server}");
                }
                self.last_failure = None;
                info!(event = "registered", group = %name, %key_server, %reason, sas = installed + refreshed,
                    installed, refreshed, sender_ids, took_ms,
                    "group {name} registered with {key_server} in {took_ms} ms because {reason}: {installed} SAs \
                     installed, {refreshed} refreshed, {sender_ids} sender IDs");
                let workers = self.maker.workers;
                if sender_ids > 0 && sender_ids < workers {
                    warn!(event = "sender_ids_missing", group = %name, sender_ids, workers,
                        "group {name}: {key_server} gave {sender_ids} sender IDs for {workers} workers; the others \
                         cannot seal in counter modes");
                }
            }
            MemberEvent::RegistrationFailed { key_server, reason, why, next } => {
                let why = why.to_string();
                let next_ms = next.map(|at| at.saturating_duration_since(now).as_millis());
                let next_ms = next_ms.map_or(0, |ms| u64::try_from(ms).unwrap_or(u64::MAX));
                let failure = (key_server, why.clone());
                // The same again is the same episode.
                if self.last_failure.replace(failure.clone()).is_some_and(|last| last == failure) {
                    debug!(event = "registration_failed", group = %name, %key_server, %reason, %why, next_ms,
                        "group {name} could not register with {key_server} again: {why}");
                } else {
                    warn!(event = "registration_failed", group = %name, %key_server, %reason, %why, next_ms,
                        "group {name} could not register with {key_server}: {why}; the next try is in {next_ms} ms");
                }
            }
            MemberEvent::Rekeyed { sequence, installed, refreshed, deleted } => {
                info!(event = "rekeyed", group = %name, seq = sequence, added = installed, refreshed, deleted,
                    "group {name}: rekey {sequence} added {installed} SAs, refreshed {refreshed} and deleted {deleted}");
            }
            MemberEvent::KekInstalled(kek) => {
                info!(event = "kek_installed", group = %name, %kek, "group {name} has the KEK {kek}");
            }
            MemberEvent::KekDeleted(kek) => {
                info!(event = "kek_deleted", group = %name, %kek, "group {name}: the key server deleted the KEK {kek}");
            }
            MemberEvent::KekRefused(kek) => {
                warn!(event = "policy_refused", group = %name, %kek,
                    "group {name}: the KEK {kek} is refused: its SPI is in use with other keys");
            }
            MemberEvent::SaRefused(refused) => {
                warn!(event = "policy_refused", group = %name, spi = %refused.spi, why = %refused.why,
                    "group {name}: {refused}");
            }
            MemberEvent::PartRefused(refused) => {
                warn!(event = "policy_refused", group = %name, what = ?refused.spi, why = %refused.why,
                    "group {name}: a part of the policy is refused: {:?}: {}", refused.spi, refused.why);
            }
            MemberEvent::SenderIdsRefused(why) => {
                warn!(event = "policy_refused", group = %name, %why, "group {name}: sender IDs are refused: {why}");
            }
            MemberEvent::Mismatch { unmatched, unkeyed } => {
                info!(event = "mismatch", group = %name, ?unmatched, ?unkeyed,
                    "group {name}: policy and keys do not match: keys without policy {unmatched:?}, policy without \
                     keys {unkeyed:?}; the key server is asked");
            }
            // By multicast it is what comes again after a registration has brought it.
            MemberEvent::PushRefused(why @ PushError::Replay { .. }) => {
                info!(event = "push_refused", group = %name, %why, "group {name}: a rekey is refused: {why}");
            }
            MemberEvent::PushRefused(why) => {
                warn!(event = "push_refused", group = %name, %why, "group {name}: a rekey is refused: {why}");
            }
            MemberEvent::SpiEnded(ended) => spi_ended(name, ended),
            MemberEvent::SaLeft(spi, Left::Expired) => {
                debug!(event = "sa_expired", group = %name, %spi, "SA {spi} of group {name} has expired");
            }
            MemberEvent::SaLeft(spi, Left::Replaced) => {
                debug!(event = "sa_retired", group = %name, %spi, "SA {spi} of group {name} is replaced and gone");
            }
        }
    }
}

fn spi_ended(name: &str, ended: Ended) {
    let Ended { spi, cause, end, since, after, tries } = ended;
    let (cause, outcome) = (cause_name(cause), end_name(end));
    let ms = after.as_secs_f64() * 1000.0;
    let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    let since = SystemTime::now().checked_sub(since.elapsed()).unwrap_or(UNIX_EPOCH);
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since_unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    if end == End::Recovered {
        info!(event = "spi_recovered", group = %name, %spi, cause, outcome, since_unix_ms, after_ms, tries,
            "group {name}: SA {spi}, missing because of {cause}, is here after {ms:.1} ms and {tries} INVALID-SPI");
    } else {
        info!(event = "spi_not_recovered", group = %name, %spi, cause, outcome, since_unix_ms, after_ms, tries,
            "group {name}: SA {spi}, missing because of {cause}, did not come in {ms:.1} ms: {outcome}, \
             {tries} INVALID-SPI");
    }
}

/// Why an SPI is asked for, in replies and log lines.
pub(super) fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::KeysWithoutPolicy => "keys-without-policy",
        Cause::PolicyWithoutKeys => "policy-without-keys",
        Cause::RoomAppeared => "room-appeared",
        Cause::Packets(_) => "packets",
    }
}

/// How asking for an SPI ended, in replies and log lines.
pub(super) fn end_name(end: End) -> &'static str {
    match end {
        End::Recovered => "recovered",
        End::Unknown => "unknown",
        End::Refused => "refused",
        End::Abandoned => "abandoned",
    }
}
