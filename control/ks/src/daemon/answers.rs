//! What the control socket replies: the state of the key server in the words of the protocol. Authority
//! thread; changes nothing.

use super::shard::Shows;
use crate::core::{AskOutcome, Authority, Count, Fate, Group, Member, ReloadPlan, Tek, Transport};
use getvpn_ctl::reply::{
    AcknowledgedRekey, AskCounts, AskLimits, AskedBy, Counters, GroupDetail, GroupList, GroupStatus, Kek,
    KeyServerSync, LastAsked, MemberDetail, MemberList, MemberSync, Reason, SaList, SaSummary, ServedGroup,
    SidRun, Status, Totals,
};
use getvpn_ctl::{Fault, FaultCode, Spi};
use getvpn_gdoi::group::{Direction, GroupId};
use getvpn_gdoi::server::ServerCounters;
use std::sync::PoisonError;
use std::time::Instant;

/// The group of a name.
pub(super) fn group_named(authority: &Authority, name: &str) -> Result<GroupId, Fault> {
    let group = authority.groups().find(|group| group.settings().name == name);
    group.map(Group::id).ok_or_else(|| {
        let names: Vec<_> = authority.groups().map(|group| group.settings().name.as_str()).collect();
        let text = format!("there is no group {name:?}; there are: {}", names.join(", "));
        Fault::new(FaultCode::NotFound, text)
    })
}

/// The reply to `status`.
pub(super) fn status(authority: &Authority, started: Instant) -> Status {
    let time = authority.time(Instant::now());
    let kek = |group: &Group| {
        let entry = group.keks().last().filter(|entry| entry.fate == Fate::Open)?;
        Some(Kek {
            spi: entry.kek.spi.to_string(),
            sequence: entry.sequence.last(),
            lifetime_left_s: entry.ends.since(time).as_secs(),
        })
    };
    Status {
        role: "ks".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_s: started.elapsed().as_secs(),
        workers: 0,
        links: Vec::new(),
        groups: authority
            .groups()
            .map(|group| GroupStatus {
                name: group.settings().name.clone(),
                id: Some(group.id().0),
                state: state(group).to_owned(),
                key_server: None,
                kek: kek(group),
                failed: None,
                sas: count(group.teks().count()),
            })
            .collect(),
        clock_step: None,
    }
}

/// What [`state`] says.
pub(super) const GROUP_STATES: [&str; 4] = ["serving", "starting", "registering-again", "closing"];

pub(super) fn state(group: &Group) -> &'static str {
    if group.is_closing() {
        "closing"
    } else if !group.is_ready() {
        "starting"
    } else if group.is_registering_again() {
        "registering-again"
    } else {
        "serving"
    }
}

/// What all shards have counted, and their half-open and established phase 1s.
pub(super) fn summed(shows: &Shows) -> (ServerCounters, (usize, usize)) {
    let mut sum = ServerCounters::default();
    let (mut half_open, mut established) = (0, 0);
    for show in shows {
        let show = show.lock().unwrap_or_else(PoisonError::into_inner);
        sum.add(&show.counters);
        half_open += show.phase1s.0;
        established += show.phase1s.1;
    }
    (sum, (half_open, established))
}

/// The reply to `counters`.
pub(super) fn counters(authority: &Authority, shows: &Shows) -> Counters {
    let (sum, (half_open, established)) = summed(shows);
    let mut reply = Counters {
        total: Totals {
            rx: sum.received,
            tx: sum.sent + authority.counters().get(Count::PushesSent),
            drops: sum.refused().map(|(why, n)| (why.name().to_owned(), n)).collect(),
            ..Totals::default()
        },
        ..Counters::default()
    };
    for count in Count::ALL {
        reply.key_server.insert(count.name().to_owned(), authority.counters().get(*count));
        let reason = Reason { meaning: count.meaning().to_owned(), advice: String::new() };
        reply.reasons.insert(count.name().to_owned(), reason);
    }
    let now = [
        ("phase1-half-open-now", "Phase 1s that are being set up at this moment.", count(half_open)),
        ("phase1-established-now", "Phase 1s that there are at this moment.", count(established)),
    ];
    for (name, meaning, n) in sum.iter().chain(now) {
        reply.key_server.insert(name.to_owned(), n);
        let reason = Reason { meaning: meaning.to_owned(), advice: String::new() };
        reply.reasons.insert(name.to_owned(), reason);
    }
    reply
}

/// The reply to `sa list`.
pub(super) fn sa_list(authority: &Authority, now: Instant) -> SaList {
    let time = authority.time(now);
    let summary = |group: &Group, tek: &Tek| SaSummary {
        spi: Spi(tek.spi.0),
        group: group.settings().name.clone(),
        source: "key server".to_owned(),
        transform: tek.shape.transform.name().to_owned(),
        direction: match tek.shape.direction {
            Direction::Symmetric => "both",
            Direction::SenderOnly => "out",
            Direction::ReceiverOnly => "in",
        }
        .to_owned(),
        state: if tek.replaced { "replaced" } else { "active" }.to_owned(),
        lifetime_left_s: Some(tek.ends.since(time).as_secs()),
        packets: 0,
        bytes: 0,
        errors: 0,
    };
    let sas = authority.groups().flat_map(|group| group.teks().map(move |tek| summary(group, tek)));
    SaList { sas: sas.collect() }
}

/// The reply to `group list`.
pub(super) fn group_list(authority: &Authority, now: Instant) -> GroupList {
    let time = authority.time(now);
    let detail = |group: &Group| {
        let kek = group.keks().last().filter(|entry| entry.fate == Fate::Open);
        GroupDetail {
            name: group.settings().name.clone(),
            id: group.id().0,
            state: state(group).to_owned(),
            members: count(group.members().len()),
            silent: count(group.members().iter().filter(|member| member.is_silent()).count()),
            sas: count(group.teks().count()),
            rekey_sas: count(group.keks().len()),
            transport: match kek.map_or(group.settings().rekey.transport, |entry| entry.kek.transport) {
                Transport::Unicast => "unicast".to_owned(),
                Transport::Multicast(address) => address.to_string(),
            },
            version: group.version(),
            kek_left_s: kek.map(|entry| entry.ends.since(time).as_secs()),
            next_rekey_s: Some(group.next_renewal().since(time).as_secs()),
            sender_ids_left: group.sids().left(),
            removed: group.barred().iter().map(ToString::to_string).collect(),
        }
    };
    GroupList { groups: authority.groups().map(detail).collect() }
}

/// The reply to `member list`.
pub(super) fn member_list(authority: &Authority, name: &str) -> Result<MemberList, Fault> {
    let id = group_named(authority, name)?;
    let group = authority.group(id);
    let members = group.into_iter().flat_map(|group| {
        group.members().iter().map(move |member| member_detail(member, group.awaits(member.id)))
    });
    Ok(MemberList { group: name.to_owned(), members: members.collect() })
}

fn member_detail(member: &Member, awaited: bool) -> MemberDetail {
    MemberDetail {
        id: member.id.0,
        name: member.key.to_string(),
        address: member.address,
        state: member_state(member, awaited).to_owned(),
        registered_unix_s: member.registered_unix.as_secs(),
        registrations: member.registrations,
        sids: SidRun { first: member.sids.first, count: member.sids.count },
        kek: member.kek.to_string(),
        last_acknowledged: last_acknowledged(member),
        missed: member.missed,
        last_invalid_spi: member
            .asked
            .last
            .map(|last| LastAsked { spi: Spi(last.spi.0), unix_s: last.unix.as_secs() }),
    }
}

/// What [`member_state`] says.
pub(super) const MEMBER_STATES: [&str; 3] = ["in-step", "behind", "silent"];

pub(super) fn member_state(member: &Member, awaited: bool) -> &'static str {
    match (member.is_silent(), awaited || member.missed > 0) {
        (true, _) => "silent",
        (false, true) => "behind",
        (false, false) => "in-step",
    }
}

fn last_acknowledged(member: &Member) -> Option<AcknowledgedRekey> {
    let rekey = member.acknowledged?;
    Some(AcknowledgedRekey { sequence: rekey.sequence, unix_s: rekey.unix.as_secs() })
}

/// The reply to `sync`.
pub(super) fn sync(authority: &Authority) -> KeyServerSync {
    let limits = authority.limits();
    let served = |group: &Group| ServedGroup {
        name: group.settings().name.clone(),
        id: group.id().0,
        state: state(group).to_owned(),
        members: group.members().iter().map(|member| member_sync(member, group.awaits(member.id))).collect(),
    };
    KeyServerSync {
        groups: authority.groups().map(served).collect(),
        invalid_spi: ask_counts(|outcome| authority.counters().get(outcome.counted_as())),
        limits: AskLimits {
            member_per_s: limits.member_invalid_spi_per_s,
            server_per_s: limits.invalid_spi_per_s,
        },
    }
}

fn member_sync(member: &Member, awaited: bool) -> MemberSync {
    MemberSync {
        id: member.id.0,
        name: member.key.to_string(),
        address: member.address,
        state: member_state(member, awaited).to_owned(),
        marks: member.marks,
        last_acknowledged: last_acknowledged(member),
        missed: member.missed,
        last_invalid_spi: member.asked.last.map(|last| AskedBy {
            spi: Spi(last.spi.0),
            unix_s: last.unix.as_secs(),
            outcome: last.outcome.map(|outcome| outcome.name().to_owned()),
        }),
        invalid_spi: ask_counts(|outcome| member.asked.count(outcome).into()),
    }
}

fn ask_counts(count: impl Fn(AskOutcome) -> u64) -> AskCounts {
    AskCounts {
        answered: count(AskOutcome::Answered),
        answered_together: count(AskOutcome::Coalesced),
        unknown: count(AskOutcome::NoSuchSa),
        ending: count(AskOutcome::Ending),
        not_authorised: count(AskOutcome::Foreign),
        rate_limited: count(AskOutcome::MemberLimit),
        server_limited: count(AskOutcome::ServerLimit),
        unreachable: count(AskOutcome::Unreachable),
    }
}

/// A plan in lines.
pub(super) fn changes(plan: &ReloadPlan) -> Vec<String> {
    let mut lines: Vec<_> = plan.added.iter().map(|group| format!("group {group}: added")).collect();
    lines.extend(
        plan.removed.iter().map(|group| format!("group {group}: removed, its members delete its SAs")),
    );
    for (group, differences) in &plan.changed {
        lines.extend(differences.iter().map(|difference| format!("group {group}: {difference}")));
    }
    lines.extend(
        plan.members_removed.iter().map(|(group, member)| {
            format!("group {group}: {member} may no longer be a member and is removed")
        }),
    );
    lines
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
