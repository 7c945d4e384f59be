//! `getvpn-perf-weigh`: counts what the key server keeps in memory for each registered member. A program of
//! its own, because counting slows every allocation down. `getvpn-perf-control` starts it and reads its
//! output: a name, octets and allocations for each member, a line for each moment.

use std::time::{Duration, Instant};

use allocation_counter::{measure, opt_out};
use anyhow::{Context, Result, ensure};
use clap::Parser;
use getvpn_gdoi::crypto::SystemRandom;
use getvpn_gdoi::server::Transmit;
use getvpn_ks::core::Change;
use getvpn_ks::core::record::{Key, Record};
use getvpn_ks::serve::KeyServer;
use getvpn_ks::store::{MemoryStore, Store, StoreError};
use getvpn_perf_control::fleet::{Fleet, Sent, take};
use getvpn_perf_control::site::{Auth, GROUP, Rekeys, Site, clocks};

/// Then no duplicate of a registration's messages is answered any more.
const SETTLED: Duration = Duration::from_secs(61);

#[derive(Parser)]
#[command(about = "Counts what the key server keeps in memory for each registered member.")]
struct Arguments {
    /// How many members there are.
    #[arg(long)]
    members: usize,
    /// Members have certificates instead of a pre-shared key.
    #[arg(long)]
    certificates: bool,
}

/// Counts what stays allocated by what the key server does.
#[derive(Default)]
struct Scales {
    octets: i64,
    allocations: i64,
}

impl Scales {
    fn weigh<T>(&mut self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut done = None;
        let counted = measure(|| done = Some(work()));
        self.octets += counted.bytes_current;
        self.allocations += counted.count_current;
        done.context("the work was not done")?
    }

    fn tell(&self, moment: &str, members: usize) {
        let each = |total| total as f64 / members as f64;
        println!("{moment} {:.1} {:.2}", each(self.octets), each(self.allocations));
    }
}

fn main() -> Result<()> {
    let Arguments { members, certificates } = Arguments::parse();
    let auth = if certificates { Auth::Certificate } else { Auth::Psk };
    let site = Site::virtual_one(auth, members, Rekeys::Unicast(2_000))?;
    let now = Instant::now();
    let store = Box::new(Elsewhere(MemoryStore::default()));
    let mut key_server = site.key_server(store, clocks(now))?;
    let mut fleet = Fleet::new(&site, now)?;
    let mut scales = Scales::default();
    fleet.register(&site, |_, sent, now| scales.weigh(|| taken(&mut key_server, &site, &sent, now)))?;
    scales.tell("fresh", members);

    fleet.pass(SETTLED);
    scales.weigh(|| {
        key_server.handle_timeout(clocks(fleet.now), &mut SystemRandom)?;
        ensure!(key_server.poll_transmit().is_none(), "something is sent to members that ask for nothing");
        Ok(())
    })?;
    scales.tell("settled", members);

    let goodbyes = fleet.stop();
    scales.weigh(|| taken(&mut key_server, &site, &goodbyes, fleet.now))?;
    scales.tell("record", members);

    let kept = key_server.authority().group(GROUP).map_or(0, |group| group.members().len());
    let phase1s = key_server.endpoint().phase1s();
    ensure!(kept == members, "{kept} of {members} members are left");
    ensure!(phase1s == (0, 0), "phase 1s are left: {phase1s:?}");
    Ok(())
}

/// As [`take`], but what is sent is not the key server's any longer.
fn taken(key_server: &mut KeyServer, site: &Site, sent: &[Sent], now: Instant) -> Result<Vec<Transmit>> {
    let replies = take(key_server, site, sent, now)?;
    let mut copies = Vec::new();
    opt_out(|| copies.clone_from(&replies));
    Ok(copies)
}

/// A store whose records take no memory of the key server's.
struct Elsewhere(MemoryStore);

impl Store for Elsewhere {
    fn load(&mut self) -> Result<Vec<(Key, Record)>, StoreError> {
        self.0.load()
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut done = Ok(());
        opt_out(|| done = self.0.commit(changes));
        done
    }
}
