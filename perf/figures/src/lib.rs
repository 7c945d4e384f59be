//! The raw figures of all runs, their medians, and what is made of them: rows with a verdict, a table and
//! a CSV file. Shared by the benchmarks of the packet path and of the control plane; measures nothing
//! itself.

mod report;

use std::collections::BTreeMap;

pub use report::{processor, table, write_csv};

/// One figure of one run.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Which part of the benchmark.
    pub section: &'static str,
    /// What was measured, such as `inbound aes-128-gcm 64 1`.
    pub case: String,
    /// Which figure of it, such as `pipeline` or `aead`.
    pub figure: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// From 1.
    pub run: usize,
    /// The figure itself.
    pub value: f64,
}

/// All figures.
#[derive(Default)]
pub struct Figures {
    /// Every one of every run.
    pub all: Vec<Figure>,
    /// The present run.
    pub run: usize,
    /// Figures that could not be had, and why: once each.
    pub gaps: BTreeMap<String, String>,
}

impl Figures {
    /// Keeps a figure of the present run.
    pub fn add(
        &mut self,
        section: &'static str,
        case: &str,
        figure: &'static str,
        unit: &'static str,
        value: f64,
    ) {
        let run = self.run;
        self.all.push(Figure { section, case: case.to_owned(), figure, unit, run, value });
    }

    /// Remembers why a figure could not be had.
    pub fn gap(&mut self, what: &str, error: &anyhow::Error) {
        self.gaps.entry(what.to_owned()).or_insert_with(|| format!("{error:#}"));
    }

    /// The median over all runs; not a number if there was none.
    pub fn median(&self, section: &str, case: &str, figure: &str) -> f64 {
        median(&mut self.values(section, case, figure))
    }

    /// The greatest of all runs.
    pub fn greatest(&self, section: &str, case: &str, figure: &str) -> f64 {
        self.values(section, case, figure).into_iter().fold(f64::NAN, f64::max)
    }

    /// The median of what one figure is as a part of another one of the same run.
    pub fn ratio(&self, section: &str, case: &str, figure: &str, of: &str) -> f64 {
        let pairs = self.values(section, case, figure).into_iter().zip(self.values(section, case, of));
        median(&mut pairs.map(|(a, b)| a / b).collect::<Vec<_>>())
    }

    /// The sum over all runs.
    pub fn sum(&self, section: &str, case: &str, figure: &str) -> f64 {
        self.values(section, case, figure).into_iter().sum()
    }

    /// The median of what two figures of the same run differ by.
    pub fn difference(&self, section: &str, case: &str, figure: &str, less: &str) -> f64 {
        let pairs = self.values(section, case, figure).into_iter().zip(self.values(section, case, less));
        median(&mut pairs.map(|(a, b)| a - b).collect::<Vec<_>>())
    }

    fn values(&self, section: &str, case: &str, figure: &str) -> Vec<f64> {
        let wanted = |f: &&Figure| f.section == section && f.figure == figure && f.case == case;
        self.all.iter().filter(wanted).map(|f| f.value).collect()
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// What it came to.
    pub ours: String,
    /// What it is compared with, in the same run.
    pub reference: String,
    /// The difference, or the ratio.
    pub against: String,
    /// What it may be.
    pub budget: String,
    /// Whether it is.
    pub verdict: Verdict,
}

/// Whether a figure keeps its budget.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// There is no budget for it.
    None,
    /// It does.
    Kept,
    /// By how much not.
    Missed(String),
    /// It could not be measured here.
    Unknown,
}

impl Verdict {
    /// For a figure that must not exceed its budget.
    pub fn at_most(value: f64, budget: f64, unit: &str) -> Verdict {
        match value {
            v if v.is_nan() => Verdict::Unknown,
            v if v <= budget => Verdict::Kept,
            v => Verdict::Missed(format!("over by {:.1}{unit}", v - budget)),
        }
    }

    /// For a figure that must reach its budget.
    pub fn at_least(value: f64, budget: f64, unit: &str) -> Verdict {
        match value {
            v if v.is_nan() => Verdict::Unknown,
            v if v >= budget => Verdict::Kept,
            v => Verdict::Missed(format!("under by {:.1}{unit}", budget - v)),
        }
    }

    /// Kept only if both are.
    pub fn and(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::Missed(a), Verdict::Missed(b)) => Verdict::Missed(format!("{a}, {b}")),
            (missed @ Verdict::Missed(_), _) | (_, missed @ Verdict::Missed(_)) => missed,
            (Verdict::Unknown, _) | (_, Verdict::Unknown) => Verdict::Unknown,
            (Verdict::None, other) | (other, Verdict::None) => other,
            (Verdict::Kept, Verdict::Kept) => Verdict::Kept,
        }
    }

    /// As the table says it.
    pub fn text(&self) -> String {
        match self {
            Verdict::None => String::new(),
            Verdict::Kept => "kept".into(),
            Verdict::Missed(by) => format!("MISSED, {by}"),
            Verdict::Unknown => "not measured".into(),
        }
    }
}

/// A figure with its unit, or a dash where there is none.
pub fn shown(value: f64, decimals: usize, unit: &str) -> String {
    if value.is_nan() { "-".into() } else { format!("{value:.decimals$} {unit}") }
}

/// The middle one; not a number if there is none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}
