//! A key server's replies.

use super::{L, R, cell, coloured, duration, item, number, or_dash, plural, section, sentence, table};
use crate::reply::{GroupList, MemberChanged, MemberList, Rekeyed, Reloaded};
use comfy_table::Color;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The reply to `group list`.
#[must_use]
pub fn group_list(list: &GroupList) -> String {
    let mut groups = table(&[
        ("group", L),
        ("id", R),
        ("state", L),
        ("members", R),
        ("silent", R),
        ("SAs", R),
        ("rekeys", L),
        ("Rekey SA left", R),
        ("next rekey", R),
        ("SIDs left", R),
    ]);
    for group in &list.groups {
        groups.add_row(vec![
            cell(&group.name, L),
            cell(&group.id.to_string(), R),
            coloured(&group.state, if group.state == "serving" { Color::Green } else { Color::Yellow }),
            cell(&number(group.members), R),
            cell(&number(group.silent), R),
            cell(&number(group.sas), R),
            cell(&group.transport, L),
            cell(&or_dash(group.kek_left_s.map(duration)), R),
            cell(&or_dash(group.next_rekey_s.map(duration)), R),
            cell(&number(group.sender_ids_left.into()), R),
        ]);
    }
    let mut out = String::new();
    section(&mut out, &groups);
    for group in list.groups.iter().filter(|group| !group.removed.is_empty()) {
        let removed = format!("removed from {}: {}", group.name, group.removed.join(", "));
        out.push_str(&format!("\n{}\n", sentence(&removed)));
    }
    out
}

/// The reply to `member list`.
#[must_use]
pub fn member_list(list: &MemberList) -> String {
    if list.members.is_empty() {
        return sentence(&format!("no member of {} has registered", list.group));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ago = |unix_s: u64| duration(now.saturating_sub(Duration::from_secs(unix_s)).as_secs());
    let mut members = table(&[
        ("id", R),
        ("member", L),
        ("address", L),
        ("state", L),
        ("registered, ago", R),
        ("SIDs", L),
        ("acknowledged, ago", R),
        ("asked, ago", R),
    ]);
    for member in &list.members {
        let sids = match member.sids.count {
            0 => "-".to_owned(),
            1 => member.sids.first.to_string(),
            count => format!("{}-{}", member.sids.first, member.sids.first.saturating_add(count - 1)),
        };
        let acknowledged = member.last_acknowledged;
        members.add_row(vec![
            cell(&member.id.to_string(), R),
            cell(&member.name, L),
            cell(&member.address.to_string(), L),
            coloured(&member.state, if member.state == "in-step" { Color::Green } else { Color::Yellow }),
            cell(&ago(member.registered_unix_s), R),
            cell(&sids, L),
            cell(
                &or_dash(acknowledged.map(|rekey| format!("{} (#{})", ago(rekey.unix_s), rekey.sequence))),
                R,
            ),
            cell(
                &or_dash(
                    member.last_invalid_spi.map(|asked| format!("{} ({})", ago(asked.unix_s), asked.spi)),
                ),
                R,
            ),
        ]);
    }
    let mut out = String::new();
    section(&mut out, &members);
    out
}

/// The reply to `rekey`.
#[must_use]
pub fn rekeyed(reply: &Rekeyed) -> String {
    sentence(&format!("group {}: new keys go to {}", reply.group, plural(reply.members, "member")))
}

/// The reply to `member remove` and `member readmit`.
#[must_use]
pub fn member_changed(reply: &MemberChanged) -> String {
    let MemberChanged { group, name, removed } = reply;
    sentence(&if *removed {
        format!("{name} is removed from group {group}, and all others get new keys")
    } else {
        format!("{name} may register with group {group} again")
    })
}

/// The reply to `reload`.
#[must_use]
pub fn reloaded(reply: &Reloaded) -> String {
    let mut out = String::new();
    for warning in &reply.warnings {
        out.push_str(&format!("{}\n", sentence(&format!("warning: {warning}"))));
    }
    for part in &reply.needs_restart {
        out.push_str(&format!("{}\n", sentence(&format!("only after a restart: {part}"))));
    }
    out.push_str(match (reply.changes.is_empty(), reply.dry_run) {
        (true, _) => "nothing changes\n",
        (false, true) => "would change:\n",
        (false, false) => "changed:\n",
    });
    for change in &reply.changes {
        out.push_str(&format!("{}\n", item(change)));
    }
    out
}
