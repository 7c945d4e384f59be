//! The whole member: `getvpn-gm` reads packets from memory through `net_pcap` and sends them to
//! `net_null`, one worker. Beside it `dpdk-testpmd` forwards the same frames between the same devices on
//! the same core: what the input itself costs.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use getvpn_ctl::reply::Counters;
use getvpn_ctl::{Command, client};
use getvpn_dataplane::transform::Transform;
use pcap_file::pcap::{PcapPacket, PcapWriter};
use rustix::thread::CpuSet;
use tempfile::TempDir;

use super::{Rig, Section};
use crate::core::in_cycles;
use crate::tools::Background;
use crate::workload::{self, SIZES, Side, Size, Workload};
use getvpn_perf_figures::median;
use getvpn_perf_figures::{Figures, Row, Verdict, shown};

pub const NAME: &str = "process";
const TRANSFORM: Transform = Transform::Aes128Gcm;
/// `infinite_rx=1` keeps the whole file in mbufs.
const PACKETS: usize = 512;

pub struct Process {
    dir: TempDir,
    measured: Vec<Size>,
}

impl Process {
    pub fn new(rig: &Rig) -> Result<Process> {
        let dir = tempfile::tempdir()?;
        let workload = Workload::new(TRANSFORM, 1)?;
        let measured = if rig.quick { SIZES[..1].to_vec() } else { SIZES.to_vec() };
        for side in Side::BOTH {
            for &size in &measured {
                write_capture(&dir.path().join(capture(side, size)), &workload, side, size)?;
            }
        }
        Ok(Process { dir, measured })
    }
}

fn case(side: Side, size: Size) -> String {
    format!("{} {}", side.name(), size.name)
}

fn capture(side: Side, size: Size) -> String {
    format!("{}-{}.pcap", side.name(), size.name)
}

fn write_capture(path: &Path, workload: &Workload, side: Side, size: Size) -> Result<()> {
    let mut writer = PcapWriter::new(File::create(path)?)?;
    let mut picks = workload.picks(size, 1);
    for _ in 0..PACKETS {
        let frame = workload.frame(side, picks.next());
        let length = u32::try_from(frame.len())?;
        writer.write_packet(&PcapPacket::new(Duration::ZERO, length, frame))?;
    }
    Ok(())
}

impl Section for Process {
    fn name(&self) -> &'static str {
        NAME
    }

    fn round(&mut self, rig: &mut Rig, figures: &mut Figures) -> Result<()> {
        let Some(programs) = rig.programs.clone() else { return Ok(()) };
        let trial = Trial {
            gm: programs.join("getvpn-gm"),
            dir: self.dir.path().to_owned(),
            cpu: rig.core.cpu(),
            control: rig.core.control(),
            cpus: rig.cpus,
            window: Duration::from_millis(if rig.quick { 200 } else { 400 }),
        };
        for side in Side::BOTH {
            for &size in &self.measured {
                let case = case(side, size);
                match trial.member(side, size) {
                    Ok(rate) => figures.add(NAME, &case, "getvpn-gm", "pps", rate),
                    Err(error) => figures.gap("getvpn-gm", &error),
                }
                match trial.testpmd(side, size) {
                    Ok(rate) => figures.add(NAME, &case, "dpdk-testpmd", "pps", rate),
                    Err(error) => figures.gap("dpdk-testpmd", &error),
                }
            }
        }
        Ok(())
    }

    fn rows(&self, figures: &Figures) -> Vec<Row> {
        let mut rows = Vec::new();
        for side in Side::BOTH {
            for &size in &self.measured {
                let [ours, pmd] = ["getvpn-gm", "dpdk-testpmd"]
                    .map(|program| figures.median(NAME, &case(side, size), program));
                let [cycles, pmd_cycles] = [ours, pmd].map(|rate| in_cycles(1e9 / rate));
                let both = |rate: f64, cycles: f64| {
                    format!("{} ({})", shown(rate / 1e6, 2, "Mpps"), shown(cycles, 0, "cycles"))
                };
                rows.push(Row {
                    what: format!("getvpn-gm, {} {TRANSFORM}, P = {}, 1 SA", side.name(), size.name),
                    ours: both(ours, cycles),
                    reference: format!("{} dpdk-testpmd", both(pmd, pmd_cycles)),
                    against: format!(
                        "{} beyond the input, {}",
                        shown(cycles - pmd_cycles, 0, "cycles"),
                        shown(ours * size.mean() * 8.0 / 1e9, 2, "Gbit/s")
                    ),
                    budget: String::new(),
                    verdict: Verdict::None,
                });
            }
        }
        rows
    }
}

/// One start of each program.
struct Trial {
    gm: PathBuf,
    dir: PathBuf,
    cpu: usize,
    control: usize,
    cpus: CpuSet,
    /// How long packets are counted.
    window: Duration,
}

impl Trial {
    const SOURCE: &str = "net_pcap0";
    const SINK: &str = "net_null0";

    fn devices(&self, side: Side, size: Size) -> [String; 2] {
        let file = self.dir.join(capture(side, size));
        [
            format!("--vdev={},rx_pcap={},infinite_rx=1", Self::SOURCE, file.display()),
            format!("--vdev={},no-rx=1", Self::SINK),
        ]
    }

    /// Packets a second that a member takes to the end of their way.
    fn member(&self, side: Side, size: Size) -> Result<f64> {
        let (config, socket) = (self.dir.join("gm.toml"), self.dir.join("gm.sock"));
        fs::write(&config, self.config(side, size))?;
        fs::set_permissions(&config, PermissionsExt::from_mode(0o600))?;
        let log = self.dir.join("gm.log");
        let args = ["--config".as_ref(), config.as_os_str()];
        let mut gm = Background::start(&self.gm, &args, &log, &self.cpus)?;
        let ask = || -> Result<(Instant, Counters)> {
            let reply = client::ask(&socket, &Command::Counters { per: false }, Duration::from_secs(2))?;
            Ok((Instant::now(), serde_json::from_str(&reply)?))
        };
        let (from, first) = gm
            .wait_for(|| ask().ok().filter(|(_, counters)| counters.total.rx > 0))
            .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        thread::sleep(self.window);
        let (to, last) = ask()?;
        let done = |c: &Counters| c.total.decrypted + c.total.encrypted;
        ensure!(last.total.rx == done(&last) + last.total.parked, "packets went astray: {:?}", last.total);
        Ok((done(&last) - done(&first)) as f64 / (to - from).as_secs_f64())
    }

    fn config(&self, side: Side, size: Size) -> String {
        let [source, sink] = self.devices(side, size);
        let (lan, wan) = match side {
            Side::Inbound => (Self::SINK, Self::SOURCE),
            Side::Outbound => (Self::SOURCE, Self::SINK),
        };
        let dir = self.dir.display();
        let key: String =
            workload::key(TRANSFORM.key_len(), 0).iter().map(|octet| format!("{octet:02x}")).collect();
        let (cpu, spi, transform) = (self.cpu, workload::spi(0), TRANSFORM.name());
        format!(
            r#"[eal]
args = ["--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m", "512", "{source}", "{sink}"]

[workers]
cores = [{cpu}]
idle = "spin"
buffers = 4095

[[link]]
name = "bench"
lan = "{lan}"
wan = "{wan}"
mtu = 1500

[control]
socket = "{dir}/gm.sock"
state = "{dir}/gm.state"

[[group]]
name = "bench"

[[group.sa]]
spi = {spi}
transform = "{transform}"
key = "{key}"
mode = "tunnel"
direction = "both"
replay = "none"
sid = 1
sid_bits = 16
selectors = [{{ src = "10.0.0.0/8", dst = "10.0.0.0/8" }}]
"#
        )
    }

    /// Packets a second that testpmd moves.
    fn testpmd(&self, side: Side, size: Size) -> Result<f64> {
        /// The first whole second is taken, after the one in which it starts.
        const SECONDS: usize = 2;
        let [source, sink] = self.devices(side, size);
        let lcores = format!("0@{},1@{}", self.control, self.cpu);
        let eal =
            ["--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m", "512", "--lcores", &lcores];
        let its =
            ["--", "--nb-cores=1", "--burst=32", "--forward-mode=io", "--auto-start", "--stats-period=1"];
        let buffers = ["--total-num-mbufs=4096"];
        let log = self.dir.join("testpmd.log");
        let args = [&eal[..], &[source.as_str(), sink.as_str()], &its, &buffers].concat();
        let mut testpmd = Background::start(Path::new("dpdk-testpmd"), &args, &log, &self.cpus)
            .context("packaging/install bench brings it")?;
        let said = || fs::read_to_string(&log).unwrap_or_default();
        let mut rates = testpmd
            .wait_for(|| Some(receive_rates(&said())).filter(|rates| rates.len() >= SECONDS))
            .with_context(said)?;
        Ok(median(&mut rates[1..]))
    }
}

/// The packets a second that testpmd says its source received, where any.
fn receive_rates(said: &str) -> Vec<f64> {
    let rates =
        said.lines().filter_map(|line| line.trim().strip_prefix("Rx-pps:")?.split_whitespace().next());
    rates.filter_map(|rate| rate.parse().ok()).filter(|&rate| rate > 0.0).collect()
}
