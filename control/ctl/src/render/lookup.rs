//! `policy` and `spi` as sentences and tables.

use super::sync::asked_table;
use super::{L, cell, or_dash, sa_detail, section, selectors, sentence, table, unknown_spis};
use crate::reply::{PolicyHit, SpiKnown, UnknownSpis};

/// The reply to `policy`.
#[must_use]
pub fn policy_hit(hit: &PolicyHit) -> String {
    let mut out = format!("{}\n", sentence(&hit.says));
    let mut facts = table(&[("packet", L), (&packet(hit), L)]);
    let rule = hit.rule.as_ref().map(|rule| match &rule.group {
        Some(group) => format!("{}, of group {group}", rule.number),
        None => format!("{}, a [[policy]]", rule.number),
    });
    for (name, value) in [
        ("rule", rule.unwrap_or_else(|| "none".into())),
        ("to the WAN", hit.to_wan.clone()),
        ("from the WAN in the clear", hit.from_wan_in_the_clear.clone()),
        ("SA", or_dash(hit.spi.map(|spi| spi.to_string()))),
    ] {
        facts.add_row(vec![cell(name, L), cell(&value, L)]);
    }
    section(&mut out, &facts);
    if let Some(rule) = &hit.rule {
        section(&mut out, &selectors(std::slice::from_ref(&rule.selector)));
    }
    out
}

fn packet(hit: &PolicyHit) -> String {
    let end = |address: std::net::IpAddr, port: u16| match port {
        0 => address.to_string(),
        _ => std::net::SocketAddr::new(address, port).to_string(),
    };
    format!("{} to {}, protocol {}", end(hit.src, hit.src_port), end(hit.dst, hit.dst_port), hit.protocol)
}

/// The reply to `spi`.
#[must_use]
pub fn spi_known(known: &SpiKnown) -> String {
    let mark = format!("its mark as a key server draws it: {}", known.mark);
    let mut out = format!("{}\n{}\n", sentence(&known.says), sentence(&mark));
    if let Some(sa) = &known.sa {
        out.push('\n');
        out.push_str(sa_detail(sa).trim_end());
        out.push('\n');
    }
    if let Some(unknown) = &known.unknown {
        out.push('\n');
        let only = UnknownSpis { spis: vec![unknown.clone()], ..UnknownSpis::default() };
        out.push_str(unknown_spis(&only).trim_end());
        out.push('\n');
    }
    if !known.asked.is_empty() {
        let rows = known.asked.iter().map(|each| (each.group.clone(), &each.asked));
        section(&mut out, &asked_table("asked for in", rows));
    }
    out
}
