//! What a trace or a capture costs the packets: the pipelines with nothing looked for, with a filter that
//! nothing matches, and with one that everything matches, which the budget bounds.

use std::sync::Arc;

use anyhow::Result;
use dpdk::{BURST, Burst};
use getvpn_dataplane::probe::{Budget, ProbeFilter, ProbeSpec};
use getvpn_dataplane::transform::Transform;

use super::{Rig, Section};
use crate::core::{Slice, timed};
use crate::member::Member;
use crate::workload::{SIZES, Side, Size, Workload};
use getvpn_perf_figures::{Figures, Row, Verdict, shown};

pub const NAME: &str = "probe";

/// Bursts prepared and then timed together, as for the pipelines.
const BURSTS: usize = 8;

/// What is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looking {
    Off,
    InVain,
    Trace,
    Capture,
}

impl Looking {
    const ALL: [Looking; 4] = [Looking::Off, Looking::InVain, Looking::Trace, Looking::Capture];

    fn name(self) -> &'static str {
        match self {
            Looking::Off => "off",
            Looking::InVain => "nothing matches",
            Looking::Trace => "a trace of everything",
            Looking::Capture => "a capture of everything",
        }
    }

    fn spec(self) -> Option<ProbeSpec> {
        let nobody = ProbeFilter { host: Some([203, 0, 113, 1].into()), ..ProbeFilter::default() };
        let (filter, snaplen) = match self {
            Looking::Off => return None,
            Looking::InVain => (nobody, u16::MAX),
            Looking::Trace => (ProbeFilter::default(), 200),
            Looking::Capture => (ProbeFilter::default(), u16::MAX),
        };
        Some(ProbeSpec { filter, snaplen, budget: Budget::default() })
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
            for looking in Looking::ALL {
                let workload = Arc::clone(&self.workload);
                let cost = rig.core.with(&mut self.bench, move |bench| {
                    bench.measure(&workload, side, size, looking, slice, run)
                })?;
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
    /// Nanoseconds a packet.
    fn measure(
        &mut self,
        workload: &Workload,
        side: Side,
        size: Size,
        looking: Looking,
        slice: Slice,
        seed: u64,
    ) -> f64 {
        let Bench { member, bursts } = self;
        match looking.spec() {
            Some(spec) => member.probe.start(&spec),
            None => member.probe.stop(),
        }
        let mut picks = workload.picks(size, seed);
        let mut told = 0;
        let cost = slice.cost(BURSTS * BURST, || {
            workload.fill(side, bursts, member.pool(), &mut picks);
            let cycles = timed(|| {
                for burst in &mut *bursts {
                    member.turn(side, &workload.snapshot, burst);
                }
            });
            // Another core does that; here it is not in the time.
            member.probe.take(|_| told += 1);
            cycles
        });
        member.check();
        let wanted = matches!(looking, Looking::Trace | Looking::Capture);
        assert_eq!(told > 0, wanted, "{looking:?} has told of {told} packets");
        member.probe.stop();
        cost
    }
}
