//! A key server's `sync` as tables.

use super::{L, R, cell, coloured, duration, number, or_dash, plural, section, table};
use crate::reply::{AskCounts, KeyServerSync, MemberSync, ServedGroup, SyncReply};
use comfy_table::{Cell, Color};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The reply to `sync`, of either daemon.
#[must_use]
pub fn sync_reply(reply: &SyncReply) -> String {
    match reply {
        SyncReply::Member(sync) => super::sync(sync),
        SyncReply::KeyServer(sync) => key_server_sync(sync),
    }
}

/// A key server's reply to `sync`.
#[must_use]
pub fn key_server_sync(reply: &KeyServerSync) -> String {
    let mut out = String::new();
    for group in &reply.groups {
        facts(&mut out, group);
        members(&mut out, group);
    }
    let limits = reply.limits;
    let mut all = table(&[("INVALID-SPI of all members", L), (&counts(&reply.invalid_spi), L)]);
    let answered = format!(
        "{} a second for one member, {} for all together",
        number(limits.member_per_s.into()),
        number(limits.server_per_s.into())
    );
    all.add_row(vec![cell("answered at most", L), cell(&answered, L)]);
    section(&mut out, &all);
    out
}

fn facts(out: &mut String, group: &ServedGroup) {
    let mut facts = table(&[("group", L), (&format!("{}, id {}", group.name, group.id), L)]);
    let state = coloured(&group.state, if group.state == "serving" { Color::Green } else { Color::Yellow });
    facts.add_row(vec![cell("state", L), state]);
    let are = |state: &str| group.members.iter().filter(|member| member.state == state).count() as u64;
    let all = plural(group.members.len() as u64, "member");
    let stand = [("in-step", "in step"), ("behind", "behind"), ("silent", "silent")];
    let stand = stand.map(|(state, words)| format!("{} {words}", number(are(state)))).join(", ");
    facts.add_row(vec![cell("members", L), cell(&format!("{all}: {stand}"), L)]);
    section(out, &facts);
}

fn members(out: &mut String, group: &ServedGroup) {
    if group.members.is_empty() {
        return;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ago = |unix_s: u64| duration(now.saturating_sub(Duration::from_secs(unix_s)).as_secs());
    let mut members = table(&[
        ("id", R),
        ("member", L),
        ("state", L),
        ("marks", L),
        ("acknowledged, ago", R),
        ("missed", R),
        ("INVALID-SPI", L),
    ]);
    for member in &group.members {
        let acknowledged = member.last_acknowledged;
        let acknowledged = acknowledged.map(|rekey| format!("{} (#{})", ago(rekey.unix_s), rekey.sequence));
        members.add_row(vec![
            cell(&member.id.to_string(), R),
            cell(&member.name, L),
            coloured(&member.state, if member.state == "in-step" { Color::Green } else { Color::Yellow }),
            cell(member.marks.map_or("-", |marks| if marks { "yes" } else { "no" }), L),
            cell(&or_dash(acknowledged), R),
            cell(&member.missed.to_string(), R),
            asked(member, ago),
        ]);
    }
    section(out, &members);
}

fn asked(member: &MemberSync, ago: impl Fn(u64) -> String) -> Cell {
    let Some(last) = &member.last_invalid_spi else { return cell("-", L) };
    let outcome = last.outcome.as_deref().unwrap_or("before this start");
    let text = format!("{}, {} ago: {outcome}\n{}", last.spi, ago(last.unix_s), counts(&member.invalid_spi));
    cell(text.trim_end(), L)
}

fn counts(counts: &AskCounts) -> String {
    let all = counts.by_name();
    let some = all.iter().filter(|&&(_, n)| n > 0).map(|&(name, n)| format!("{} {name}", number(n)));
    let some: Vec<_> = some.collect();
    if some.is_empty() { "none".into() } else { some.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Spi;
    use crate::reply::{AcknowledgedRekey, AskLimits, AskedBy};

    fn member(id: u32, asked: bool) -> MemberSync {
        let counts =
            AskCounts { answered: 1_000_000, rate_limited: 12, not_authorised: 3, ..AskCounts::default() };
        MemberSync {
            id,
            name: "a-member-with-a-long-name.branch-office.example.net (192.0.2.123)".into(),
            address: "192.0.2.123:848".parse().unwrap(),
            state: if asked { "in-step" } else { "silent" }.into(),
            marks: asked.then_some(true),
            last_acknowledged: asked.then_some(AcknowledgedRekey { sequence: 4_000_000, unix_s: 0 }),
            missed: if asked { 0 } else { 3 },
            last_invalid_spi: asked.then(|| AskedBy {
                spi: Spi(0x1234_5678),
                unix_s: 0,
                outcome: Some("rate-limited".into()),
            }),
            invalid_spi: if asked { counts } else { AskCounts::default() },
        }
    }

    fn reply() -> KeyServerSync {
        let group = ServedGroup {
            name: "finance".into(),
            id: 1234,
            state: "serving".into(),
            members: vec![member(1, true), member(4_000_000_000, false)],
        };
        KeyServerSync {
            groups: vec![group],
            invalid_spi: AskCounts { unknown: 5, server_limited: 7, ..AskCounts::default() },
            limits: AskLimits { member_per_s: 10, server_per_s: 2_000 },
        }
    }

    #[test]
    fn a_key_servers_sync_says_how_each_member_stands_and_what_it_asked_for() {
        let text = key_server_sync(&reply());
        for part in [
            "group    finance, id 1234\n",
            "2 members: 1 in step, 0 behind, 1 silent\n",
            "(#4000000)",
            "0x12345678",
            "rate-limited",
            "1,000,000 answered",
            "5 unknown, 7 limited by all together\n",
            "10 a second for one member, 2,000 for all together\n",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(widest <= 100, "{text}");
        assert!(key_server_sync(&KeyServerSync::default()).contains("none"));
    }

    #[test]
    fn the_role_tells_whose_reply_it_is() {
        let json = serde_json::to_string(&SyncReply::KeyServer(reply())).unwrap();
        assert!(json.starts_with(r#"{"role":"ks","#), "{json}");
        assert_eq!(serde_json::from_str::<SyncReply>(&json).unwrap(), SyncReply::KeyServer(reply()));
        let json = serde_json::to_string(&SyncReply::Member(crate::reply::Sync::default())).unwrap();
        assert!(json.starts_with(r#"{"role":"gm","#), "{json}");
        let read = serde_json::from_str::<SyncReply>(&json).unwrap();
        assert_eq!(sync_reply(&read), "no group has key servers");
    }
}
