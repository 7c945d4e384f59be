//! What a trace or a capture costs the packets: the pipelines with nothing looked for, with a filter that
//! nothing matches, and with one that everything matches, all of which the budget bounds.

use std::sync::Arc;

use anyhow::Result;
use dpdk::{BURST, Burst};
use getvpn_dataplane::probe::{Budget, ProbeFilter, ProbeSpec};
use getvpn_dataplane::transform::Transform;

use super::{Rig, Section};
use crate::core::{Slice, timed};
use crate::member::Member;
use crate::workload::{Picks, SIZES, Side, Size, Workload};
use getvpn_perf_figures::{Figures, Row, Verdict, shown};

pub const NAME: &str = "probe";

/// Bursts prepared and then timed together, as for the pipelines.
const BURSTS: usize = 8;
/// How often that is done for one figure: for longer than a millisecond, which is what a budget is for.
const REPEATS: usize = 128;

/// What is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looking {
    Off,
    PassingBy,
    InVain,
    Trace,
    Capture,
}

impl Looking {
    const ALL: [Looking; 5] =
        [Looking::Off, Looking::PassingBy, Looking::InVain, Looking::Trace, Looking::Capture];

    fn name(self) -> &'static str {
        match self {
            Looking::Off => "off",
            Looking::PassingBy => "not looked at",
            Looking::InVain => "nothing matches",
            Looking::Trace => "a trace of everything",
            Looking::Capture => "a capture of everything",
        }
    }

    fn spec(self) -> Option<ProbeSpec> {
        let nobody = ProbeFilter { host: Some([203, 0, 113, 1].into()), ..ProbeFilter::default() };
        let (filter, snaplen) = match self {
            Looking::Off => return None,
            Looking::PassingBy | Looking::InVain => (nobody, u16::MAX),
            Looking::Trace => (ProbeFilter::default(), 200),
            Looking::Capture => (ProbeFilter::default(), u16::MAX),
        };
        let whole = Budget::default();
        let budget = if self == Looking::PassingBy { Budget { looks: 1, ..whole } } else { whole };
        Some(ProbeSpec { filter, snaplen, budget })
    }
}

pub struct Probes {
    bench: Option<Box<Bench>>,
    workload: Arc<Workload>,
}

struct Bench {
    member: Member,
    bursts: Vec<Burst>,
}

impl Probes {
    pub fn new(rig: &mut Rig) -> Result<Probes> {
        let member = Member::new(&mut rig.buffers)?;
        let bursts = (0..BURSTS).map(|_| Burst::new()).collect();
        let workload = Arc::new(Workload::new(Transform::Aes128Gcm, 1)?);
        Ok(Probes { bench: Some(Box::new(Bench { member, bursts })), workload })
    }

    /// The smallest packets, on which it weighs most, and the largest, of which most is copied.
    fn cases() -> impl Iterator<Item = (Side, Size)> {
        Side::BOTH.into_iter().flat_map(|side| [SIZES[0], SIZES[2]].map(|size| (side, size)))
    }
}

fn name(side: Side, size: Size) -> String {
    format!("{} {}", side.name(), size.name)
}

impl Section for Probes {
    fn name(&self) -> &'static str {
        NAME
    }

    fn round(&mut self, rig: &mut Rig, figures: &mut Figures) -> Result<()> {
        let (slice, run) = (rig.slice, figures.run as u64);
        for (side, size) in Self::cases() {
            let workload = Arc::clone(&self.workload);
            let costs = rig
                .core
                .with(&mut self.bench, move |bench| bench.measure(&workload, side, size, slice, run))?;
            for (looking, cost) in Looking::ALL.into_iter().zip(costs) {
                figures.add(NAME, &name(side, size), looking.name(), "ns", cost);
            }
        }
        Ok(())
    }

    fn rows(&self, figures: &Figures) -> Vec<Row> {
        let row = |(side, size): (Side, Size), looking: Looking| {
            let case = name(side, size);
            let median = |looking: Looking| figures.median(NAME, &case, looking.name());
            let ratio = figures.ratio(NAME, &case, looking.name(), Looking::Off.name());
            Row {
                what: format!("{}, P = {}, {}", side.name(), size.name, looking.name()),
                ours: shown(median(looking), 1, "ns"),
                reference: format!("{} off", shown(median(Looking::Off), 1, "ns")),
                against: shown(ratio, 3, "x"),
                budget: String::new(),
                verdict: Verdict::None,
            }
        };
        let on = || Looking::ALL.into_iter().filter(|looking| *looking != Looking::Off);
        Self::cases().flat_map(|case| on().map(move |looking| row(case, looking))).collect()
    }
}

impl Bench {
    /// Nanoseconds a packet, with each of [`Looking::ALL`].
    fn measure(
        &mut self,
        workload: &Workload,
        side: Side,
        size: Size,
        slice: Slice,
        seed: u64,
    ) -> [f64; Looking::ALL.len()] {
        let mut picks = workload.picks(size, seed);
        let costs = slice.costs(REPEATS * BURSTS * BURST, |which| {
            let looking = Looking::ALL[which];
            match looking.spec() {
                Some(spec) => self.member.probe.start(&spec),
                None => self.member.probe.stop(),
            }
            let mut told = 0;
            let cycles = (0..REPEATS).map(|_| self.turns(workload, side, &mut picks, &mut told)).sum();
            let wanted = matches!(looking, Looking::Trace | Looking::Capture);
            assert_eq!(told > 0, wanted, "{looking:?} has told of {told} packets");
            cycles
        });
        self.member.check();
        self.member.probe.stop();
        costs
    }

    /// Cycles of a few bursts. Others prepare them and take what is told; here that is not in the time, not in
    /// that of the budget either.
    fn turns(&mut self, workload: &Workload, side: Side, picks: &mut Picks, told: &mut usize) -> u64 {
        let Bench { member, bursts } = self;
        let away = timed(|| workload.fill(side, bursts, member.pool(), picks));
        member.away += away;
        let cycles = timed(|| {
            for burst in &mut *bursts {
                member.turn(side, &workload.snapshot, burst);
            }
        });
        member.away += timed(|| member.probe.take(|_| *told += 1));
        cycles
    }
}
