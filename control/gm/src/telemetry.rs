//! What a member answers on DPDK's telemetry socket: `/getvpn/counters`, `/getvpn/drops`, `/getvpn/sa`. On threads
//! that DPDK makes; each question goes to the control thread, as those of metrics do, and waits for a moment.

use crate::metrics::Figures;
use dpdk::telemetry::{Command, Field, Reply, register};
use dpdk::{Eal, Errno};
use getvpn_ctl::Spi;
use getvpn_dataplane::counters::Tally;
use getvpn_metrics::Asker;
use std::ffi::CStr;
use std::time::Duration;

/// How long the control thread may take.
const PATIENCE: Duration = Duration::from_secs(2);

type Make = fn(&Figures, Option<&str>) -> Option<Reply>;

const COMMANDS: [(&CStr, &CStr, Make); 3] = [
    (
        c"/getvpn/counters",
        c"All that is counted, of all links and workers. Parameters: none, or a link",
        counters,
    ),
    (c"/getvpn/drops", c"Dropped frames by reason. Parameters: none, or a link", drops),
    (c"/getvpn/sa", c"SPIs of the SAs in force. Parameters: none, or an SPI: all about its SA", sas),
];

/// Answers the commands until what is returned is dropped.
///
/// # Errors
/// When DPDK does not take them.
pub fn serve(eal: &Eal, asker: &Asker<Figures>) -> Result<Vec<Command>, Errno> {
    let commands = COMMANDS.into_iter().map(|(name, help, make)| {
        let asker = asker.clone();
        register(eal, name, help, move |argument| make(&asker.ask_blocking(PATIENCE)?, argument))
    });
    commands.collect()
}

/// The sum over all links and workers, or over the workers of one link, if there is one of that name.
fn summed(figures: &Figures, link: Option<&str>) -> Option<Tally> {
    let place = |name| figures.status.links.iter().position(|link| link.name == name);
    let link = match link {
        Some(name) => Some(place(name)?),
        None => None,
    };
    let of = figures.tallies.iter().filter(|each| link.is_none_or(|link| each.link == link));
    Some(of.map(|each| &each.tally).sum())
}

fn counters(figures: &Figures, link: Option<&str>) -> Option<Reply> {
    let tally = summed(figures, link)?;
    let all = tally.iter().map(|(counter, n)| (counter.name.to_owned(), Field::Number(n)));
    let dropped = ("dropped".to_owned(), Field::Number(tally.dropped()));
    Some(Reply::Fields(all.chain([dropped]).collect()))
}

fn drops(figures: &Figures, link: Option<&str>) -> Option<Reply> {
    let tally = summed(figures, link)?;
    let all = tally.iter_drops().map(|(reason, n)| (reason.name().to_owned(), Field::Number(n)));
    Some(Reply::Fields(all.collect()))
}

fn sas(figures: &Figures, spi: Option<&str>) -> Option<Reply> {
    let Some(spi) = spi else {
        return Some(Reply::Names(figures.sas.iter().map(|sa| Spi(sa.spi).to_string()).collect()));
    };
    let spi: Spi = spi.trim().parse().ok()?;
    let sa = figures.sas.iter().find(|sa| sa.spi == spi.0)?;
    let group = figures.status.groups.get(sa.group).map(|group| group.name.clone());
    let mut fields = vec![
        ("spi".to_owned(), Field::Text(spi.to_string())),
        ("group".to_owned(), Field::Text(group.unwrap_or_default())),
        ("transform".to_owned(), Field::Text(sa.transform.to_owned())),
        ("state".to_owned(), Field::Text(sa.state.name().to_owned())),
    ];
    if let Some(left) = sa.left {
        fields.push(("lifetime_left_s".to_owned(), Field::Number(left.as_secs())));
    }
    for (direction, totals) in [("in", sa.opened), ("out", sa.sealed)] {
        for (what, n) in [("packets", totals.packets), ("bytes", totals.octets), ("errors", totals.errors)] {
            fields.push((format!("{direction}_{what}"), Field::Number(n)));
        }
    }
    Some(Reply::Fields(fields))
}
