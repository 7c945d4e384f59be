//! What the control socket replies to `drops`: what the key server refuses, why, what to do about it, and
//! whose the last was. Authority thread; changes nothing but its own readings.

use super::shard::Shows;
use crate::core::{Authority, Count, Last};
use getvpn_ctl::Spi;
use getvpn_ctl::rates::Readings;
use getvpn_ctl::reply::{DropDetail, Drops, Offender};
use getvpn_gdoi::ike::Refusal;
use getvpn_gdoi::server::ServerCounters;
use std::sync::PoisonError;
use std::time::Instant;

/// Readings for [`drops`] of a key server that starts now.
pub(super) fn readings(start: Instant) -> Readings {
    Readings::new(start, Refusal::ALL.len() + Count::ALL.len())
}

/// The reply to `drops`. Both kinds of counts are told in one list: what the protocol refuses, and what the
/// authority does.
pub(super) fn drops(
    authority: &Authority,
    shows: &Shows,
    readings: &mut Readings,
    all: bool,
    peek: bool,
) -> Drops {
    let now = Instant::now();
    let mut sum = ServerCounters::default();
    for show in shows {
        sum.add(&show.lock().unwrap_or_else(PoisonError::into_inner).counters);
    }
    let of_endpoint = sum.refused().map(|(why, count)| DropDetail {
        reason: why.name().into(),
        count,
        meaning: meaning(why).into(),
        advice: advice(why).into(),
        last: sum.last_refused(why).map(|(from, at)| offender(Last { from, spi: None, at }, now)),
        ..DropDetail::default()
    });
    let counters = authority.counters();
    let of_authority = Count::ALL.iter().map(|&count| DropDetail {
        reason: count.name().into(),
        count: counters.get(count),
        meaning: count.meaning().into(),
        advice: advice_on(count).into(),
        last: counters.last(count).map(|last| offender(last, now)),
        ..DropDetail::default()
    });
    let mut drops: Vec<_> = of_endpoint.chain(of_authority).collect();
    let counts: Vec<_> = drops.iter().map(|drop| drop.count).collect();
    let rates = readings.call(now, &counts, peek);
    for (drop, (more, per_s)) in drops.iter_mut().zip(rates.more.into_iter().zip(rates.per_s)) {
        (drop.more, drop.per_s) = (more, per_s);
    }
    let is_refusal = |name: &str| Count::ALL.iter().find(|c| c.name() == name).is_none_or(|c| c.is_refusal());
    drops.retain(|drop| is_refusal(&drop.reason) && (all || drop.count > 0));
    drops.sort_by_key(|drop| std::cmp::Reverse(drop.count));
    Drops { role: "ks".into(), since: rates.since.into(), since_s: rates.since_s, recent_s: None, drops }
}

fn offender(last: Last, now: Instant) -> Offender {
    let ago = now.saturating_duration_since(last.at);
    Offender {
        ago_ms: u64::try_from(ago.as_millis()).unwrap_or(u64::MAX),
        peer: Some(last.from),
        spi: last.spi.map(|spi| Spi(spi.0)),
        ..Offender::default()
    }
}

fn meaning(why: Refusal) -> &'static str {
    match why {
        Refusal::Malformed => "no ISAKMP message, or its payloads are missing, repeated or out of range",
        Refusal::UnknownCookies => "a message of a phase 1 that is not here, or no longer",
        Refusal::UnsupportedExchange => "an exchange that is not spoken here, such as aggressive mode",
        Refusal::Unexpected => "a message out of its turn",
        Refusal::NoProposal => "no suite that both allow",
        Refusal::KeyExchange => "a public value that is none of its group",
        Refusal::PreSharedKey => "the pre-shared key is wrong, or there is none for this address",
        Refusal::Undecryptable => "a message that does not decrypt",
        Refusal::Hash => "a HASH that is wrong",
        Refusal::Identity => "an identity that is not configured, or not the one expected",
        Refusal::Certificate => {
            "a certificate that does not hold: expired, revoked, of another CA, or not its name"
        }
        Refusal::Signature => "a signature that is wrong",
        Refusal::Timeout => "a phase 1 that was not finished in time",
        Refusal::Replay => "a message that came again",
        Refusal::Internal => "a message could not be made",
    }
}

fn advice(why: Refusal) -> &'static str {
    match why {
        Refusal::Malformed | Refusal::UnsupportedExchange | Refusal::KeyExchange | Refusal::Unexpected => {
            "look what runs at that address: a scanner, or a peer of another make whose configuration differs"
        }
        Refusal::UnknownCookies => {
            "normal after a restart of the key server; the member begins anew by itself"
        }
        Refusal::NoProposal => "compare `phase1` of [server] with that of the member",
        Refusal::PreSharedKey => "compare psk_file of the [[peer]] with that of the member, and its address",
        Refusal::Undecryptable | Refusal::Hash => {
            "keys differ: a member that was restarted settles by itself, anything else is a forger"
        }
        Refusal::Identity => "compare `local_id` of the member with [[peer]] here",
        Refusal::Certificate | Refusal::Signature => {
            "check the member's certificate: its dates, CA and names, and trust_anchors and crls here"
        }
        Refusal::Timeout => {
            "packets of UDP 848 get lost, one way perhaps: look for a filter, or a wrong source address"
        }
        Refusal::Replay => "a copy made on the way, or an attacker; harmless",
        Refusal::Internal => "a fault in getvpn-ks: look into its log",
    }
}

fn advice_on(count: Count) -> &'static str {
    match count {
        Count::RefusedUnknownGroup => "compare `id` of the member's group with [[group]] here",
        Count::RefusedUnknownPeer => "add a [[peer]] for it, if it should be a member",
        Count::RefusedNotItsGroup => "add the group to `groups` of its [[peer]], if it should be in it",
        Count::RefusedRemoved => "`getvpnctl member readmit`, if it should be in the group again",
        Count::RefusedNameTooLong => "give it a shorter identity",
        Count::RefusedTooManySenderIds => "it has more workers than the group allows; see sid_bits",
        Count::RefusedSenderIdsUsedUp => "sender IDs start again by themselves; see `getvpnctl group list`",
        Count::RefusedGroupFull => {
            "raise `members` in `bounds` of [server], or remove silent ones: `getvpnctl member list`"
        }
        Count::RefusedBusy => {
            "normal in a storm of registrations: members come again; see `bounds` of [server]"
        }
        Count::RefusedOfferEnded | Count::UnknownPull => {
            "normal while keys are replaced: the member begins anew"
        }
        Count::AckUnknown | Count::AckStale => "normal after a restart, or where acknowledgements are slow",
        Count::AckMalformed | Count::AckForged => {
            "look what runs at that address: it forges acknowledgements"
        }
        Count::AskedNoSuchSa => {
            "forged ESP reaches a member, or members of other key servers send: `getvpnctl sync`"
        }
        Count::AskedEnding => "normal at the end of an SA's life",
        Count::AskedForeign => {
            "the peer sees traffic of a group that it is not in: check its [[peer]] `groups`"
        }
        Count::AskedMemberLimit => "the member is flooded with unknown SPIs: `getvpnctl drops` there",
        Count::AskedServerLimit => {
            "many members miss an SA at once: `getvpnctl sync`, and look for lost rekeys"
        }
        Count::AskedUnreachable => "the member has missed a KEK and registers again by itself",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_refused_says_what_to_do() {
        for count in Count::ALL.iter().filter(|count| count.is_refusal()) {
            assert!(!advice_on(*count).is_empty(), "{}", count.name());
        }
    }
}
