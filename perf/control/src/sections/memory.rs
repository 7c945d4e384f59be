//! What the key server keeps in memory for a registered member, by a counting allocator: once it has
//! registered, when duplicates of its messages are no longer expected, and when its phase 1 has ended.

use std::env;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use getvpn_perf_control::site::Auth;
use getvpn_perf_figures::{Figures, Row, Verdict, shown};

use super::{Rig, Section};

pub const NAME: &str = "memory";

/// What a registered member may take, in octets.
const BUDGET: f64 = 2048.0;

/// The program that counts.
const PROGRAM: &str = "getvpn-perf-weigh";

#[derive(Default)]
pub struct Memory {
    members: usize,
}

impl Section for Memory {
    fn name(&self) -> &'static str {
        NAME
    }

    fn round(&mut self, rig: &Rig, figures: &mut Figures) -> Result<()> {
        // Allocations are the same in every run, but for when tables grow.
        if figures.run == 1 {
            self.members = rig.members;
            for auth in [Auth::Psk, Auth::Certificate] {
                weigh(figures, auth, rig.members)?;
            }
        }
        Ok(())
    }

    fn rows(&self, figures: &Figures) -> Vec<Row> {
        let row = |auth: Auth| {
            let median = |figure| figures.median(NAME, auth.name(), figure);
            let [fresh, settled, record] = ["fresh", "settled", "record"].map(median);
            let proof = if auth == Auth::Psk { "pre-shared key" } else { "certificate" };
            Row {
                what: format!("memory for each of {} registered members, {proof}", self.members),
                ours: shown(settled, 0, "octets"),
                reference: format!(
                    "member record {}, phase 1 {}",
                    shown(record, 0, "octets"),
                    shown(settled - record, 0, "octets"),
                ),
                against: format!("{} in the first minute", shown(fresh, 0, "octets")),
                budget: format!("at most {BUDGET} octets"),
                verdict: Verdict::at_most(settled, BUDGET, " octets"),
            }
        };
        [Auth::Psk, Auth::Certificate].map(row).into()
    }
}

fn weigh(figures: &mut Figures, auth: Auth, members: usize) -> Result<()> {
    let mut command = Command::new(env::current_exe()?.with_file_name(PROGRAM));
    command.arg("--members").arg(members.to_string());
    if auth == Auth::Certificate {
        command.arg("--certificates");
    }
    let done = command.output().with_context(|| format!("{PROGRAM} cannot be run"))?;
    ensure!(done.status.success(), "{PROGRAM} failed:\n{}", String::from_utf8_lossy(&done.stderr));
    for line in String::from_utf8(done.stdout)?.lines() {
        let mut words = line.split_whitespace();
        let mut word = || words.next().with_context(|| format!("{PROGRAM} says {line:?}"));
        let (moment, octets, allocations) = (word()?, word()?.parse()?, word()?.parse()?);
        let [figure, count] = match moment {
            "fresh" => ["fresh", "fresh, allocations"],
            "settled" => ["settled", "settled, allocations"],
            _ => ["record", "record, allocations"],
        };
        figures.add(NAME, auth.name(), figure, "octets", octets);
        figures.add(NAME, auth.name(), count, "", allocations);
    }
    Ok(())
}
