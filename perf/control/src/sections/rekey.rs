//! What a rekey of all members costs the key server until the last datagram is handed out, and their
//! acknowledgements after it: by unicast and by multicast. Members open each PUSH and make their
//! acknowledgements between the timed parts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use getvpn_gdoi::crypto::SystemRandom;
use getvpn_gdoi::server::Transmit;
use getvpn_ks::core::{Count, RekeyWhat};
use getvpn_ks::serve::KeyServer;
use getvpn_ks::store::MemoryStore;
use getvpn_perf_figures::{Figures, Row, Verdict, shown};

use super::{Rig, Section};
use getvpn_perf_control::fleet::{Fleet, hand_out, take};
use getvpn_perf_control::site::{Auth, GROUP, Rekeys, Site, clocks};
use getvpn_perf_control::spent::{Spent, timed};

pub const NAME: &str = "rekey";

/// Rekeys a second that no group of this size reaches: pacing aside.
const UNPACED: u32 = 1_000_000;
/// What a key server does unless its configuration says otherwise.
const PACED: u32 = 2_000;

/// After that long the SAs before a rekey have ended, and another one is possible.
const BETWEEN: Duration = Duration::from_secs(600);

pub struct Rekey {
    groups: Vec<Group>,
    members: usize,
}

/// A group of registered members.
struct Group {
    case: &'static str,
    site: Site,
    key_server: KeyServer,
    fleet: Fleet,
}

impl Rekey {
    pub fn new(rig: &Rig) -> Result<Rekey> {
        let cases = [
            ("unicast", Rekeys::Unicast(UNPACED)),
            ("paced", Rekeys::Unicast(PACED)),
            ("multicast", Rekeys::Multicast),
        ];
        let group = |(case, rekeys)| Group::new(case, rekeys, rig.members);
        let groups = cases.into_iter().map(group).collect::<Result<_>>()?;
        Ok(Rekey { groups, members: rig.members })
    }
}

impl Section for Rekey {
    fn name(&self) -> &'static str {
        NAME
    }

    fn round(&mut self, _: &Rig, figures: &mut Figures) -> Result<()> {
        self.groups.iter_mut().try_for_each(|group| group.rekey(figures))
    }

    fn rows(&self, figures: &Figures) -> Vec<Row> {
        let median = |case, figure| figures.median(NAME, case, figure);
        let sending = |case| median(case, "sending") / 1e3;
        let members = self.members as f64;
        let unicast = Row {
            what: format!("unicast rekey to {} members: until the last datagram is handed out", self.members),
            ours: format!(
                "{}, {} a member",
                shown(sending("unicast"), 1, "ms"),
                ns(sending("unicast") / members)
            ),
            reference: format!("{} by multicast", shown(sending("multicast"), 2, "ms")),
            against: shown(sending("unicast") / sending("multicast"), 0, "times"),
            budget: String::new(),
            verdict: Verdict::None,
        };
        // A few members are sent to at once.
        let passes = Some(median("paced", "virtual time")).filter(|&passes| passes > 0.0).unwrap_or(f64::NAN);
        let paced = Row {
            what: format!("the same, paced to {PACED} datagrams a second"),
            ours: format!("{} of the core", shown(sending("paced"), 1, "ms")),
            reference: format!("{} pass", shown(passes, 2, "s")),
            against: shown(sending("paced") / passes / 10.0, 2, "% of a core"),
            budget: String::new(),
            verdict: Verdict::None,
        };
        let acks = |case| median(case, "acknowledgements") / 1e3;
        let acknowledgements = Row {
            what: format!("{} acknowledgements of a rekey", self.members),
            ours: format!(
                "{}, {} each, by unicast",
                shown(acks("unicast"), 1, "ms"),
                ns(acks("unicast") / members)
            ),
            reference: format!("{} by multicast", shown(acks("multicast"), 1, "ms")),
            against: shown(acks("unicast") / acks("multicast"), 2, "times"),
            budget: String::new(),
            verdict: Verdict::None,
        };
        vec![unicast, paced, acknowledgements]
    }
}

fn ns(ms: f64) -> String {
    shown(ms * 1e6, 0, "ns")
}

impl Group {
    fn new(case: &'static str, rekeys: Rekeys, members: usize) -> Result<Group> {
        let site = Site::virtual_one(Auth::Psk, members, rekeys)?;
        let now = Instant::now();
        let mut key_server = site.key_server(Box::new(MemoryStore::default()), clocks(now))?;
        let mut fleet = Fleet::new(&site, now)?;
        fleet.register(&site, |_, sent, now| take(&mut key_server, &site, &sent, now))?;
        Ok(Group { case, site, key_server, fleet })
    }

    fn rekey(&mut self, figures: &mut Figures) -> Result<()> {
        self.fleet.pass(BETWEEN);
        self.catch_up()?;
        let acknowledged = self.acknowledged();
        let mut sending = Spent::default();
        let begun = self.fleet.now;
        let pushes = timed(&mut sending, || self.send())?;
        let expected = if self.case == "multicast" { 1 } else { self.site.size() };
        ensure!(pushes.len() == expected, "{} datagrams instead of {expected}", pushes.len());
        let took = self.fleet.now - begun;

        self.fleet.deliver(&self.site, pushes);
        let acks = self.fleet.outgoing();
        let mut taking = Spent::default();
        timed(&mut taking, || take(&mut self.key_server, &self.site, &acks, self.fleet.now))?;
        let missing = self.site.size() as u64 - (self.acknowledged() - acknowledged);
        ensure!(missing == 0, "{missing} members have not acknowledged the rekey");

        figures.add(NAME, self.case, "sending", "us", sending.cpu_us(1));
        figures.add(NAME, self.case, "sending, wall", "us", sending.wall_us(1));
        figures.add(NAME, self.case, "acknowledgements", "us", taking.cpu_us(1));
        figures.add(NAME, self.case, "virtual time", "s", took.as_secs_f64());
        Ok(())
    }

    /// An operator's rekey, until it has been sent to all once; virtual time goes on as pacing wants.
    fn send(&mut self) -> Result<Vec<Transmit>> {
        let expected = if self.case == "multicast" { 1 } else { self.site.size() };
        let mut pushes = Vec::with_capacity(expected);
        let now = clocks(self.fleet.now);
        self.key_server.command(now, &mut SystemRandom, |authority, random| {
            authority.rekey(now, GROUP, RekeyWhat::Teks, random)
        })??;
        hand_out(&mut self.key_server, &mut pushes);
        while pushes.len() < expected {
            let due = self.key_server.poll_timeout().context("nothing is due and not all is sent")?;
            self.fleet.now = self.fleet.now.max(due);
            self.key_server.handle_timeout(clocks(self.fleet.now), &mut SystemRandom)?;
            hand_out(&mut self.key_server, &mut pushes);
        }
        Ok(pushes)
    }

    /// Does what has become due meanwhile, at either side.
    fn catch_up(&mut self) -> Result<()> {
        loop {
            let now = self.fleet.now;
            self.key_server.handle_timeout(clocks(now), &mut SystemRandom)?;
            let mut sent = Vec::new();
            hand_out(&mut self.key_server, &mut sent);
            self.fleet.deliver(&self.site, sent);
            let written = self.fleet.outgoing();
            if written.is_empty() && self.key_server.poll_timeout().is_none_or(|due| due > now) {
                return Ok(());
            }
            let replies = take(&mut self.key_server, &self.site, &written, now)?;
            self.fleet.deliver(&self.site, replies);
        }
    }

    fn acknowledged(&self) -> u64 {
        self.key_server.authority().counters().get(Count::Acknowledgements)
    }
}
