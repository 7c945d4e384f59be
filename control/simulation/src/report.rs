//! What a run tells: how much it did, what was done to it, and how soon members were in step again.

use crate::audit::LATE;
use crate::ledger::LedgerFigures;
use crate::network::NetworkFigures;
use crate::scenario::Options;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Something that did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What, and when.
    pub what: String,
    pub(crate) options: Options,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { seed, members, days, loss, .. } = &self.options;
        writeln!(f, "seed {seed}: {}", self.what)?;
        write!(f, "to see it again: cargo run --profile simulation -p getvpn-simulation -- ")?;
        write!(f, "--seed {seed} --members {members} --days {days}")?;
        if let Some(loss) = loss {
            write!(f, " --loss {loss}")?;
        }
        f.write_str(" --trace")
    }
}

impl std::error::Error for Failure {}

/// How long things took, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures(Vec<u32>);

impl Figures {
    pub(crate) fn add(&mut self, duration: Duration) {
        self.0.push(u32::try_from(duration.as_millis()).unwrap_or(u32::MAX));
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What so many of a thousand do not exceed.
    #[must_use]
    pub fn permille(&self, share: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * share / 1000).min(sorted.len().saturating_sub(1));
        Duration::from_millis(sorted.get(at).copied().unwrap_or(0).into())
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |share| self.permille(share).as_secs_f64();
        let (p50, p99, most) = (seconds(500), seconds(990), seconds(1000));
        write!(f, "{} times, p50 {p50:.3} s, p99 {p99:.3} s, most {most:.3} s", self.len())
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Runs that this is of.
    pub runs: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Members of all runs.
    pub members: u64,
    /// The longest that a member may be out of step.
    pub bound: Duration,
    /// From a change at the key server until a member has it, while nothing but loss was between them.
    pub after_change: Figures,
    /// From the end of a disturbance until a member has what the key server has.
    pub after_disturbance: Figures,
    /// The same where no member had it, whose packets would have told: until a rekey, or a registration
    /// before the end of what it had.
    pub unnoticed: Figures,
    /// What was done to the run, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// What the key server and the members did, by kind.
    pub work: BTreeMap<&'static str, u64>,
    /// A digest of every datagram that arrived, and when.
    pub digest: u64,
}

impl Report {
    pub(crate) fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_insert(0) += 1;
    }

    pub(crate) fn count(&mut self, kind: &'static str, number: u64) {
        *self.work.entry(kind).or_insert(0) += number;
    }

    pub(crate) fn network(&mut self, figures: NetworkFigures) {
        let NetworkFigures { sent, lost, repeated, cut, stragglers, replays } = figures;
        self.count("datagrams sent", sent);
        let faults = [
            ("datagrams lost", lost),
            ("datagrams repeated", repeated),
            ("datagrams at a partition", cut),
            ("datagrams late by seconds", stragglers),
            ("datagrams replayed later", replays),
        ];
        for (kind, number) in faults {
            *self.faults.entry(kind).or_insert(0) += number;
        }
    }

    pub(crate) fn ledger(&mut self, figures: LedgerFigures) {
        self.count("SPIs checked", figures.spis);
        self.count("SEQs checked", figures.sequences);
        self.count("sender IDs checked", figures.sender_ids);
        self.count("IVs checked", figures.ivs);
    }

    /// Adds what came of another run.
    pub fn add(&mut self, other: Report) {
        self.runs += other.runs;
        self.simulated += other.simulated;
        self.members += other.members;
        self.bound = self.bound.max(other.bound);
        self.after_change.0.extend(other.after_change.0);
        self.after_disturbance.0.extend(other.after_disturbance.0);
        self.unnoticed.0.extend(other.unnoticed.0);
        other.faults.into_iter().for_each(|(kind, n)| *self.faults.entry(kind).or_insert(0) += n);
        other.work.into_iter().for_each(|(kind, n)| *self.work.entry(kind).or_insert(0) += n);
        self.digest ^= other.digest;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.simulated.as_secs_f64() / 86_400.0;
        writeln!(f, "{} runs, {} members, {days:.1} simulated days", self.runs, self.members)?;
        writeln!(f, "digest of all datagrams {:016x}", self.digest)?;
        writeln!(f, "no SA was kept for {} s beyond its end", LATE.as_secs())?;
        writeln!(
            f,
            "in step again, each run within a bound of its own, at most {} s;",
            self.bound.as_secs()
        )?;
        writeln!(f, "when nobody had it, that and the longest life of an SA:")?;
        writeln!(f, "  after a change       {}", self.after_change)?;
        writeln!(f, "  after a disturbance  {}", self.after_disturbance)?;
        writeln!(f, "  when nobody had it   {}", self.unnoticed)?;
        for (title, figures) in [("faults", &self.faults), ("work", &self.work)] {
            writeln!(f, "{title}:")?;
            for (kind, number) in figures {
                writeln!(f, "  {kind:32} {number:>12}")?;
            }
        }
        Ok(())
    }
}
