//! One trial: streams of frames at even rates for a time, then a moment for what is still under way.
//!
//! A frame is *offered* when it is due. The device *takes* it, or its ring is full and the frame is
//! *refused*, as a switch port would lose it: refused frames are lost ones. What is *held up* is this
//! program itself, by the scheduler: what was due then is not made up for, so that no burst is offered that
//! a wire could not carry, and `offered` over `elapsed_s` is the rate that really was.

use std::collections::VecDeque;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use dpdk::{Burst, Mbuf, cycles, cycles_hz, free_burst};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::frames::Frames;
use crate::ports::Ports;

/// Frames that may be behind their time before that counts as held up.
const MOST_BEHIND: u64 = 512;
/// How long nothing arrives before what has not come back counts as lost, and how long that is waited for.
const QUIET_S: f64 = 0.2;
const LONGEST_SETTLING_S: f64 = 3.0;
/// What arrives is counted by tenths of a second.
const SLICES_PER_S: u64 = 10;

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    streams: Vec<Stream>,
    seconds: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stream {
    port: usize,
    file: PathBuf,
    /// Frames a second.
    rate: f64,
    /// Where its frames come back: the first to arrive there is taken for the first that was sent.
    #[serde(default)]
    back: Option<usize>,
    /// No more than so many.
    #[serde(default)]
    most: Option<u64>,
}

/// What came of it.
#[derive(Serialize)]
pub struct Outcome {
    elapsed_s: f64,
    held_up_s: f64,
    streams: Vec<Sent>,
    /// By port.
    received: Vec<Received>,
    /// What arrived between the trials and belongs to none.
    late: u64,
}

#[derive(Serialize, Default)]
struct Sent {
    offered: u64,
    taken: u64,
    refused: u64,
    /// Only where as many came back as were taken: otherwise nobody knows which frame is which.
    latency: Option<Latency>,
}

#[derive(Serialize, Default, Clone)]
struct Received {
    frames: u64,
    octets: u64,
    by_tenth: Vec<u64>,
}

#[derive(Serialize)]
struct Latency {
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
}

/// A stream that is under way.
struct Flow {
    port: usize,
    back: Option<usize>,
    frames: Frames,
    cycles_each: f64,
    from: u64,
    due_before: u64,
    most: u64,
    sent: Sent,
    /// When frames were handed over, and how many at once.
    stamps: VecDeque<(u64, usize)>,
    back_again: u64,
    times: Histogram<u64>,
}

impl Trial {
    pub fn run(self, ports: &mut Ports) -> Result<Outcome> {
        ensure!(
            self.seconds.is_finite() && self.seconds > 0.0 && self.seconds <= 3600.0,
            "a trial takes up to 3600 s, not {}",
            self.seconds
        );
        let mut flows = self.streams.into_iter().map(|s| Flow::new(s, ports)).collect::<Result<Vec<_>>>()?;
        ports.check_links()?;
        let mut received = vec![Received::default(); ports.devices.len()];
        let late = discard(ports);

        let hz = cycles_hz();
        let start = cycles();
        let end = start + in_cycles(self.seconds);
        let mut held_up = 0;
        for flow in &mut flows {
            flow.from = start;
        }
        while cycles() < end && !flows.iter().all(Flow::done) {
            for flow in &mut flows {
                held_up += flow.offer(ports)?;
            }
            collect(ports, &mut flows, &mut received, start, hz);
        }
        let offered_until = cycles();

        let (mut quiet_since, longest) = (cycles(), cycles() + in_cycles(LONGEST_SETTLING_S));
        let all_back =
            |flows: &[Flow]| flows.iter().all(|f| f.back.is_none() || f.back_again >= f.sent.taken);
        while !all_back(&flows) && cycles() < quiet_since + in_cycles(QUIET_S) && cycles() < longest {
            if collect(ports, &mut flows, &mut received, start, hz) > 0 {
                quiet_since = cycles();
            }
        }
        ports.check_links()?;
        Ok(Outcome {
            elapsed_s: seconds(offered_until - start),
            held_up_s: seconds(held_up),
            streams: flows.into_iter().map(Flow::outcome).collect(),
            received,
            late,
        })
    }
}

impl Flow {
    fn new(stream: Stream, ports: &mut Ports) -> Result<Flow> {
        let longest = ports.longest();
        ports.get(stream.port)?;
        if let Some(back) = stream.back {
            ports.get(back)?;
        }
        ensure!(
            stream.rate.is_finite() && (1.0..=1e9).contains(&stream.rate),
            "a rate is from 1 to 1e9, not {}",
            stream.rate
        );
        Ok(Flow {
            port: stream.port,
            back: stream.back,
            frames: Frames::read(&stream.file, longest)?,
            cycles_each: cycles_hz() as f64 / stream.rate,
            from: 0,
            due_before: 0,
            most: stream.most.unwrap_or(u64::MAX),
            sent: Sent::default(),
            stamps: VecDeque::with_capacity(1 << 16),
            back_again: 0,
            times: Histogram::new_with_max(in_cycles(60.0), 3)?,
        })
    }

    fn done(&self) -> bool {
        self.sent.offered >= self.most
    }

    /// Offers what is due by now, a burst at most; for how many cycles nothing was offered that was due.
    fn offer(&mut self, ports: &mut Ports) -> Result<u64> {
        let now = cycles();
        let due = whole((now - self.from) as f64 / self.cycles_each).saturating_sub(self.due_before);
        let mut held_up = 0;
        if due > MOST_BEHIND {
            let skipped = due - MOST_BEHIND;
            self.due_before += skipped;
            held_up = whole(skipped as f64 * self.cycles_each);
        }
        let wanted = due.min(dpdk::BURST as u64).min(self.most - self.sent.offered);
        if wanted == 0 {
            return Ok(held_up);
        }
        let mut burst = Burst::new();
        for _ in 0..wanted {
            let Some(mbuf) = Mbuf::copy_from(&ports.pool, self.frames.take()) else { break };
            burst.push(mbuf);
        }
        ensure!(!burst.is_empty(), "no buffer is left: the device keeps them all");
        let count = burst.len() as u64;
        let taken = ports.devices[self.port].tx.burst(&mut burst);
        if self.back.is_some() && taken > 0 {
            self.stamps.push_back((now, taken));
        }
        self.due_before += count;
        self.sent.offered += count;
        self.sent.taken += taken as u64;
        self.sent.refused += burst.len() as u64;
        free_burst(&mut burst);
        Ok(held_up)
    }

    /// Frames have come back, where this stream's do.
    fn returned(&mut self, mut count: usize, now: u64) {
        self.back_again += count as u64;
        while count > 0 {
            let Some((stamp, left)) = self.stamps.front_mut() else { return };
            let these = count.min(*left);
            self.times.saturating_record_n(now.saturating_sub(*stamp), these as u64);
            count -= these;
            *left -= these;
            if *left == 0 {
                self.stamps.pop_front();
            }
        }
    }

    fn outcome(mut self) -> Sent {
        if self.back.is_some() && self.back_again == self.sent.taken && self.sent.taken > 0 {
            let us = |cycles| seconds(cycles) * 1e6;
            self.sent.latency = Some(Latency {
                p50_us: us(self.times.value_at_quantile(0.5)),
                p99_us: us(self.times.value_at_quantile(0.99)),
                max_us: us(self.times.max()),
            });
        }
        self.sent
    }
}

/// Takes what has arrived everywhere; how many.
fn collect(ports: &mut Ports, flows: &mut [Flow], received: &mut [Received], start: u64, hz: u64) -> usize {
    let mut burst = Burst::new();
    let mut all = 0;
    for (number, device) in ports.devices.iter_mut().enumerate() {
        let count = device.rx.burst(&mut burst);
        if count == 0 {
            continue;
        }
        let now = cycles();
        let port = &mut received[number];
        port.frames += count as u64;
        port.octets += burst.iter().map(|mbuf| mbuf.pkt_len() as u64).sum::<u64>();
        if let Ok(slice) = usize::try_from((now - start) * SLICES_PER_S / hz) {
            if port.by_tenth.len() <= slice {
                port.by_tenth.resize(slice + 1, 0);
            }
            port.by_tenth[slice] += count as u64;
        }
        if let Some(flow) = flows.iter_mut().find(|flow| flow.back == Some(number)) {
            flow.returned(count, now);
        }
        free_burst(&mut burst);
        all += count;
    }
    all
}

/// What arrived before the trial belongs to none; how many.
fn discard(ports: &mut Ports) -> u64 {
    let mut burst = Burst::new();
    let mut all = 0;
    for device in &mut ports.devices {
        loop {
            let count = device.rx.burst(&mut burst);
            if count == 0 {
                break;
            }
            all += count as u64;
            free_burst(&mut burst);
        }
    }
    all
}

fn seconds(cycles: u64) -> f64 {
    cycles as f64 / cycles_hz() as f64
}

fn in_cycles(seconds: f64) -> u64 {
    whole(seconds * cycles_hz() as f64)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is wanted; a float saturates"
)]
fn whole(value: f64) -> u64 {
    value as u64
}
