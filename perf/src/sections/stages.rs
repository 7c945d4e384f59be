//! Where the time of a packet goes, for AES-128-GCM: each stage alone, on bursts prepared in the same way
//! as for the pipelines. What the stages together do not explain (wrapping and unwrapping, selectors,
//! counters, moving packets from stage to stage) is the rest. Replay protection is the difference
//! between a pipeline with it and the same without.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Result;
use arrayvec::ArrayVec;
use dpdk::acl::{Acl4, Key4, Rule4};
use dpdk::{BURST, Burst, Mbuf, Mempool, TxQueue};
use getvpn_dataplane::packet::{Flow, Headers, Parsed, esp, parse};
use getvpn_dataplane::sender::Sender;
use getvpn_dataplane::spi_table::SpiTable;
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{ReplayPolicy, Selector, Snapshot};

use super::pipeline::{self, SAS};
use super::{Rig, Section};
use crate::core::{Slice, in_cycles, timed};
use crate::member::Member;
use crate::workload::{self, SIZES, Side, Size, Workload};
use getvpn_perf_figures::{Figures, Row, Verdict, shown};

pub const NAME: &str = "stages";
const TRANSFORM: Transform = Transform::Aes128Gcm;
const BURSTS: usize = 8;
const PACKETS: usize = BURSTS * BURST;

/// Stages that are measured alone, in the order of the path.
const ALONE: [(Side, &[&str]); 2] = [
    (Side::Inbound, &["parse", "SPI lookup", "AEAD", "transmit"]),
    (Side::Outbound, &["parse", "classify", "IV", "AEAD", "transmit"]),
];
const AEAD: &str = "AEAD";
const REST: &str = "rest";
const REPLAY: &str = "replay";

pub struct Stages {
    bench: Option<Box<Bench>>,
    workloads: Vec<Arc<Workload>>,
    guarded: Arc<Guarded>,
}

struct Bench {
    member: Member,
    bursts: Vec<Burst>,
    pool: Arc<Mempool>,
    sink: TxQueue,
}

/// One bar of the plot: nanoseconds of each stage.
pub struct Bar {
    pub name: String,
    pub stages: Vec<(&'static str, f64)>,
}

impl Stages {
    pub fn new(rig: &mut Rig) -> Result<Stages> {
        let workloads = SAS.iter().map(|&sas| Ok(Arc::new(Workload::new(TRANSFORM, sas)?)));
        let bench = Bench {
            member: Member::new(&mut rig.buffers)?,
            bursts: (0..BURSTS).map(|_| Burst::new()).collect(),
            pool: Arc::clone(&rig.buffers.frames),
            sink: rig.buffers.sink()?,
        };
        let guarded = Arc::new(Guarded::new()?);
        Ok(Stages { bench: Some(Box::new(bench)), workloads: workloads.collect::<Result<_>>()?, guarded })
    }

    /// What the plot shows.
    pub fn bars(figures: &Figures) -> Vec<Bar> {
        let mut bars = Vec::new();
        for (side, alone) in ALONE {
            for sas in SAS {
                for size in SIZES {
                    let case = pipeline::name(side, TRANSFORM, size, sas);
                    let total = figures.median(pipeline::NAME, &case, "pipeline");
                    let mut stages: Vec<_> = alone.iter().map(|&s| (s, stage(figures, &case, s))).collect();
                    stages.push((REST, total - stages.iter().map(|(_, ns)| ns).sum::<f64>()));
                    let name =
                        format!("{} {}, {sas} SA{}", side.name(), size.name, if sas == 1 { "" } else { "s" });
                    bars.push(Bar { name, stages });
                }
            }
        }
        bars
    }
}

fn stage(figures: &Figures, case: &str, stage: &str) -> f64 {
    match stage {
        AEAD => figures.median(pipeline::NAME, case, "aead"),
        stage => figures.median(NAME, case, stage),
    }
}

impl Section for Stages {
    fn name(&self) -> &'static str {
        NAME
    }

    fn round(&mut self, rig: &mut Rig, figures: &mut Figures) -> Result<()> {
        let (slice, run) = (rig.slice, figures.run as u64);
        for workload in &self.workloads {
            let tables = Arc::new(Tables::new(workload)?);
            for (side, alone) in ALONE {
                for size in SIZES {
                    let case = pipeline::name(side, TRANSFORM, size, workload.sas);
                    for &stage in alone.iter().filter(|&&stage| stage != AEAD) {
                        let (workload, tables) = (Arc::clone(workload), Arc::clone(&tables));
                        let cost = rig.core.with(&mut self.bench, move |bench| {
                            bench.measure(stage, &workload, &tables, side, size, slice, run)
                        })?;
                        figures.add(NAME, &case, stage, "ns", cost);
                    }
                }
            }
        }
        let guarded = Arc::clone(&self.guarded);
        let costs = rig.core.with(&mut self.bench, move |bench| guarded.measure(bench, slice))?;
        for ((name, _), cost) in POLICIES.iter().zip(costs) {
            figures.add(NAME, REPLAY, name, "ns", cost);
        }
        Ok(())
    }

    fn rows(&self, figures: &Figures) -> Vec<Row> {
        let bars = Self::bars(figures);
        let bars = bars.iter().filter(|bar| bar.name.contains(" 64,")).map(|bar| {
            let stages = bar.stages.iter().map(|(name, ns)| format!("{name} {ns:.1}"));
            Row {
                what: format!("stages of {}", bar.name),
                ours: shown(bar.stages.iter().map(|(_, ns)| ns).sum(), 1, "ns"),
                reference: String::new(),
                against: stages.collect::<Vec<_>>().join(", "),
                budget: String::new(),
                verdict: Verdict::None,
            }
        });
        let replay = POLICIES[1..].iter().map(|(name, _)| {
            let cost = figures.difference(NAME, REPLAY, name, POLICIES[0].0);
            Row {
                what: format!("inbound {TRANSFORM}, P = 64, replay window: {name}"),
                ours: shown(figures.median(NAME, REPLAY, name), 1, "ns"),
                reference: format!("{} without", shown(figures.median(NAME, REPLAY, POLICIES[0].0), 1, "ns")),
                against: format!("{} ({})", shown(cost, 1, "ns"), shown(in_cycles(cost), 0, "cycles")),
                budget: String::new(),
                verdict: Verdict::None,
            }
        });
        bars.chain(replay).collect()
    }
}

/// What the stages need beside packets.
struct Tables {
    spis: SpiTable<usize>,
    rules: Acl4,
    sender: Sender,
}

impl Tables {
    fn new(workload: &Workload) -> Result<Tables> {
        let rules: Vec<Rule4> =
            workload.state.groups.iter().flat_map(|group| &group.selectors).map(rule).collect();
        Ok(Tables {
            spis: SpiTable::build((0..workload.sas).map(|n| (workload::spi(n), n))),
            rules: Acl4::build(&rules)?,
            sender: Sender::new(1, 16, 1, u64::MAX, true)?,
        })
    }
}

fn rule(selector: &Selector) -> Rule4 {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => [0; 4],
    };
    Rule4 {
        protocol: selector.protocol,
        src: (octets(selector.src.address()), selector.src.length()),
        dst: (octets(selector.dst.address()), selector.dst.length()),
        src_port: selector.src_port,
        dst_port: selector.dst_port,
    }
}

impl Bench {
    /// Nanoseconds a packet of one stage.
    #[expect(clippy::too_many_arguments, reason = "what distinguishes one measurement from another")]
    fn measure(
        &mut self,
        stage: &str,
        workload: &Workload,
        tables: &Tables,
        side: Side,
        size: Size,
        slice: Slice,
        seed: u64,
    ) -> f64 {
        let mut picks = workload.picks(size, seed);
        slice.cost(PACKETS, || {
            workload.fill(side, &mut self.bursts, &self.pool, &mut picks);
            let parsed = (stage != "parse").then(|| self.bursts.iter().map(headers).collect::<Vec<_>>());
            let parsed = parsed.unwrap_or_default();
            let spis: Vec<_> = self.bursts.iter().map(spis).collect();
            let cycles = match stage {
                "parse" => timed(|| {
                    for burst in &self.bursts {
                        black_box(headers(burst));
                    }
                }),
                "SPI lookup" => timed(|| spis.iter().for_each(|spis| look_up(&tables.spis, spis))),
                "classify" => timed(|| {
                    parsed.iter().zip(&self.bursts).for_each(|(h, burst)| classify(&tables.rules, h, burst))
                }),
                // Numbers for a whole burst where its packets have one SA, else for each.
                "IV" => timed(|| {
                    let run = if workload.sas == 1 { BURST } else { 1 };
                    for _ in 0..PACKETS / run {
                        number(&tables.sender, run);
                    }
                }),
                _ => timed(|| {
                    for burst in &mut self.bursts {
                        black_box(self.sink.burst(burst));
                    }
                }),
            };
            self.bursts.iter_mut().for_each(dpdk::free_burst);
            cycles
        })
    }
}

#[inline(never)]
fn headers(burst: &Burst) -> ArrayVec<Headers, BURST> {
    burst
        .iter()
        .filter_map(|mbuf| match parse(mbuf.data()) {
            Parsed::Ip(headers) => Some(headers),
            _ => None,
        })
        .collect()
}

fn spis(burst: &Burst) -> ArrayVec<u32, BURST> {
    let spi =
        |mbuf: &Mbuf| mbuf.data().get(Workload::ESP_AT..).and_then(esp::header).map_or(0, |(spi, _)| spi);
    burst.iter().map(spi).collect()
}

#[inline(never)]
fn look_up(table: &SpiTable<usize>, spis: &[u32]) {
    let mut found = [None; BURST];
    table.get_burst(spis, &mut found);
    black_box(&found);
}

#[inline(always)]
fn number(sender: &Sender, run: usize) {
    for number in sender.take(run) {
        black_box(number);
    }
}

#[inline(never)]
fn classify(rules: &Acl4, headers: &[Headers], burst: &Burst) {
    let keys: ArrayVec<Key4, BURST> = headers
        .iter()
        .zip(burst)
        .filter_map(|(headers, mbuf)| match headers.flow(mbuf.data()) {
            Flow::V4(key) => Some(key),
            Flow::V6(_) => None,
        })
        .collect();
    let mut found = [0; BURST];
    rules.classify(&keys, &mut found);
    black_box(&found);
}

/// The replay policies compared, the one without protection first.
const POLICIES: [(&str, ReplayPolicy); 3] = [
    ("none", ReplayPolicy::None),
    ("counter of 1024", ReplayPolicy::Counter { window: 1024 }),
    ("sender of 1024", ReplayPolicy::Sender { window: 1024, max_senders: 64 }),
];

/// Packets with sequence numbers in order, for pipelines with replay protection.
struct Guarded {
    frames: Vec<Vec<u8>>,
}

impl Guarded {
    const FRAMES: usize = 32 * PACKETS;

    fn new() -> Result<Guarded> {
        let frames = (1..=Self::FRAMES).map(|n| workload::numbered_frame(TRANSFORM, u32::try_from(n)?));
        Ok(Guarded { frames: frames.collect::<Result<_>>()? })
    }

    /// Nanoseconds a packet under each of [`POLICIES`].
    fn measure(&self, bench: &mut Bench, slice: Slice) -> Vec<f64> {
        POLICIES.iter().map(|&(_, replay)| self.measure_one(replay, bench, slice)).collect()
    }

    fn measure_one(&self, replay: ReplayPolicy, bench: &mut Bench, slice: Slice) -> f64 {
        let mut batches = self.frames.chunks_exact(PACKETS);
        let mut snapshot = None;
        let cost = slice.cost(PACKETS, || {
            if batches.len() == 0 {
                batches = self.frames.chunks_exact(PACKETS);
                // A window that has seen nothing yet.
                snapshot = None;
            }
            let snapshot = snapshot.get_or_insert_with(|| fresh(replay).expect("as it was made before"));
            let frames = batches.next().unwrap_or_default();
            for (burst, frames) in bench.bursts.iter_mut().zip(frames.chunks_exact(BURST)) {
                burst
                    .extend(frames.iter().map(|frame| Mbuf::copy_from(&bench.pool, frame).expect("an mbuf")));
            }
            timed(|| {
                for burst in &mut bench.bursts {
                    bench.member.turn(Side::Inbound, snapshot, burst);
                }
            })
        });
        bench.member.check();
        cost
    }
}

/// A snapshot whose window has seen nothing.
fn fresh(replay: ReplayPolicy) -> Result<Snapshot> {
    Ok(Snapshot::build(&workload::policy(TRANSFORM, 0, 1, replay)?, None)?)
}
