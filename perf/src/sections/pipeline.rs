//! Both pipelines beside the bare cryptography: the same packets, the same keys, the same library, in
//! mbufs that are parsed, looked up, wrapped and sent on the one hand, in plain buffers on the other.

use std::sync::Arc;

use anyhow::Result;
use arrayvec::ArrayVec;
use dpdk::{BURST, Burst};
use getvpn_dataplane::transform::{Cipher, OpenJob, SealJob, Transform, open_burst, seal_burst};

use super::{Rig, Section};
use crate::core::{Slice, in_cycles, timed};
use crate::member::Member;
use crate::workload::{Picks, SIZES, Side, Size, Workload};
use getvpn_perf_figures::{Figures, Row, Verdict, shown};

pub const NAME: &str = "pipeline";

/// Numbers of SAs.
pub const SAS: [usize; 2] = [1, 1000];

/// Bursts prepared and then timed together: 256 packets come from the processor's second-level cache,
/// a burst at a time would come from the first.
const BURSTS: usize = 8;

/// What the budget is for.
const BUDGETED: Transform = Transform::Aes128Gcm;

pub struct Pipelines {
    bench: Option<Box<Bench>>,
    cases: Vec<Case>,
}

struct Case {
    workload: Arc<Workload>,
    side: Side,
    size: Size,
}

impl Case {
    fn name(&self) -> String {
        name(self.side, self.workload.transform, self.size, self.workload.sas)
    }
}

/// The name of a case in the raw figures.
pub fn name(side: Side, transform: Transform, size: Size, sas: usize) -> String {
    format!("{} {transform} {} {sas}", side.name(), size.name)
}

struct Bench {
    member: Member,
    bursts: Vec<Burst>,
    bare: Bare,
}

impl Pipelines {
    pub fn new(rig: &mut Rig) -> Result<Pipelines> {
        let member = Member::new(&mut rig.buffers)?;
        let bursts = (0..BURSTS).map(|_| Burst::new()).collect();
        let mut cases = Vec::new();
        for &transform in Transform::ALL {
            for sas in SAS {
                let workload = Arc::new(Workload::new(transform, sas)?);
                for side in Side::BOTH {
                    cases.extend(SIZES.map(|size| Case { workload: Arc::clone(&workload), side, size }));
                }
            }
        }
        // With a space behind, so that "64 1 " is not also "64 1000".
        cases.retain(|case| format!("{} ", case.name()).contains(&rig.case));
        Ok(Pipelines { bench: Some(Box::new(Bench { member, bursts, bare: Bare::new() })), cases })
    }
}

impl Section for Pipelines {
    fn name(&self) -> &'static str {
        NAME
    }

    fn round(&mut self, rig: &mut Rig, figures: &mut Figures) -> Result<()> {
        let (slice, run) = (rig.slice, figures.run as u64);
        for case in &self.cases {
            let (workload, side, size) = (Arc::clone(&case.workload), case.side, case.size);
            let (pipeline, aead) = rig
                .core
                .with(&mut self.bench, move |bench| bench.measure(&workload, side, size, slice, run))?;
            let name = case.name();
            figures.add(NAME, &name, "pipeline", "ns", pipeline);
            figures.add(NAME, &name, "aead", "ns", aead);
        }
        Ok(())
    }

    fn rows(&self, figures: &Figures) -> Vec<Row> {
        self.cases.iter().map(|case| case.row(figures)).collect()
    }
}

impl Case {
    fn row(&self, figures: &Figures) -> Row {
        let name = self.name();
        let rest = figures.difference(NAME, &name, "pipeline", "aead");
        let budget = match self.side {
            Side::Inbound => 35.0,
            Side::Outbound => 45.0,
        };
        let budgeted = self.workload.transform == BUDGETED;
        Row {
            what: format!(
                "{} {}, P = {}, {}",
                self.side.name(),
                self.workload.transform,
                self.size.name,
                if self.workload.sas == 1 { "1 SA".into() } else { format!("{} SAs", self.workload.sas) },
            ),
            ours: shown(figures.median(NAME, &name, "pipeline"), 1, "ns"),
            reference: format!("{} bare", shown(figures.median(NAME, &name, "aead"), 1, "ns")),
            against: format!("{} ({})", shown(rest, 1, "ns"), shown(in_cycles(rest), 0, "cycles")),
            budget: if budgeted { format!("at most {budget} ns") } else { String::new() },
            verdict: if budgeted { Verdict::at_most(rest, budget, " ns") } else { Verdict::None },
        }
    }
}

impl Bench {
    /// Nanoseconds a packet: through the pipeline, and the bare cryptography.
    fn measure(
        &mut self,
        workload: &Workload,
        side: Side,
        size: Size,
        slice: Slice,
        seed: u64,
    ) -> (f64, f64) {
        let Bench { member, bursts, bare } = self;
        let packets = BURSTS * BURST;
        let mut picks = workload.picks(size, seed);
        let pipeline = slice.cost(packets, || {
            workload.fill(side, bursts, member.pool(), &mut picks);
            timed(|| {
                for burst in &mut *bursts {
                    member.turn(side, &workload.snapshot, burst);
                }
            })
        });
        member.check();
        let mut picks = workload.picks(size, seed);
        let aead = slice.cost(packets, || bare.batch(workload, side, &mut picks));
        (pipeline, aead)
    }
}

/// Buffers as far apart as mbufs, in which the ESP lies as it does there.
struct Bare {
    memory: Vec<u8>,
    /// SA and length of the ESP in each buffer.
    filled: Vec<(usize, usize)>,
    iv: u64,
}

impl Bare {
    /// Octets from mbuf to mbuf in a pool of 2,048 octets of room.
    const STRIDE: usize = 2368;

    fn new() -> Bare {
        let packets = BURSTS * BURST;
        Bare { memory: vec![0; packets * Self::STRIDE], filled: Vec::with_capacity(packets), iv: 0 }
    }

    fn batch(&mut self, workload: &Workload, side: Side, picks: &mut Picks) -> u64 {
        self.filled.clear();
        for buffer in self.memory.chunks_exact_mut(Self::STRIDE) {
            let pick = picks.next();
            let esp = &workload.frame(Side::Inbound, pick)[Workload::ESP_AT..];
            buffer[Workload::ESP_AT..Workload::ESP_AT + esp.len()].copy_from_slice(esp);
            self.filled.push((pick.sa, esp.len()));
        }
        let iv = &mut self.iv;
        let mut failed = 0;
        let mut bursts =
            self.memory.chunks_exact_mut(Self::STRIDE * BURST).zip(self.filled.chunks_exact(BURST));
        let cycles = timed(|| {
            for (memory, filled) in &mut bursts {
                let packets =
                    memory.chunks_exact_mut(Self::STRIDE).zip(filled).map(|(buffer, &(sa, length))| {
                        (&workload.ciphers[sa], &mut buffer[Workload::ESP_AT..Workload::ESP_AT + length])
                    });
                failed += match side {
                    Side::Inbound => open(packets),
                    Side::Outbound => seal(packets, iv),
                };
            }
        });
        assert_eq!(failed, 0, "the bare cryptography refuses packets");
        cycles
    }
}

#[inline(never)]
fn open<'a>(packets: impl Iterator<Item = (&'a Cipher, &'a mut [u8])>) -> usize {
    let mut jobs: ArrayVec<OpenJob<'_>, BURST> =
        packets.map(|(cipher, esp)| OpenJob::new(cipher, esp)).collect();
    open_burst(&mut jobs);
    jobs.iter().filter(|job| !job.authentic).count()
}

#[inline(never)]
fn seal<'a>(packets: impl Iterator<Item = (&'a Cipher, &'a mut [u8])>, iv: &mut u64) -> usize {
    let mut jobs: ArrayVec<SealJob<'_>, BURST> = packets
        .map(|(cipher, esp)| {
            *iv += 1;
            SealJob::new(cipher, esp, *iv)
        })
        .collect();
    seal_burst(&mut jobs);
    jobs.iter().filter(|job| !job.sealed).count()
}
