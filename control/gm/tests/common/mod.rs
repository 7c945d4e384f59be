//! A member in a directory of its own, with capture files as its ports.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, reason = "tests, each using a part of it")]

use getvpn_ctl::Command;
use getvpn_ctl::client::{self, ClientError};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One member at a time, because they share a core.
static CORE: Mutex<()> = Mutex::new(());

pub const KEY: &str = "000102030405060708090a0b0c0d0e0f10111213";
pub const SPI: u32 = 0x0001_0001;

pub struct Site {
    pub dir: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Site {
    /// A configuration with one link and, behind it, `rest`; `packets` frames wait at the LAN port.
    pub fn new(packets: u16, rest: &str) -> Self {
        let alone = CORE.lock().unwrap_or_else(PoisonError::into_inner);
        let site = Self { dir: tempfile::tempdir().unwrap(), _alone: alone };
        write_capture(&site.path("lan-in.pcap"), &(0..packets).map(udp).collect::<Vec<_>>());
        write_capture(&site.path("wan-in.pcap"), &[]);
        site.configure(rest);
        site
    }

    /// With packets of these SPIs at the WAN port, each with its source 10.2.0.n.
    pub fn wan_receives(&self, spis: &[u32]) {
        let frames: Vec<_> = (1..).zip(spis).map(|(n, &spi)| esp(n, spi)).collect();
        write_capture(&self.path("wan-in.pcap"), &frames);
    }

    /// With one SA for everything.
    pub fn with_sa(packets: u16, more: &str) -> Self {
        Self::new(packets, &format!("{}{more}", sa()))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn configure(&self, rest: &str) {
        let core = getvpn_gm::config::Machine::this().unwrap().cpus.last().copied().unwrap();
        let port = |n: u8, side: &str| {
            let file = |way: &str| self.path(&format!("{side}-{way}.pcap")).display().to_string();
            format!("--vdev=net_pcap{n},rx_pcap={},tx_pcap={}", file("in"), file("out"))
        };
        let text = format!(
            "[eal]\nargs = [\"--no-huge\", \"--no-pci\", \"-m\", \"128\", \"--no-telemetry\", {:?}, {:?}]\n\
             [workers]\ncores = [{core}]\nidle = \"sleep\"\nbuffers = 2048\n\
             [[link]]\nname = \"site\"\nlan = \"net_pcap0\"\nwan = \"net_pcap1\"\n\
             [control]\nsocket = \"gm.sock\"\n{rest}",
            port(0, "lan"),
            port(1, "wan"),
        );
        let file = self.path("gm.toml");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_getvpn-gm"));
        command
            .env_remove("GETVPN_LOG")
            .env("RUNTIME_DIRECTORY", self.dir.path())
            .arg("--config")
            .arg(self.path("gm.toml"))
            .args(arguments);
        command
    }

    /// Runs a member to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts a member and waits until it answers.
    pub fn start(&self, arguments: &[&str]) -> Running<'_> {
        let log = File::create(self.path("log")).unwrap();
        let child = self.command(arguments).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut running = Running { site: self, child: Some(child) };
        let deadline = Instant::now() + Duration::from_secs(30);
        while running.ask(&Command::Status {}).is_err() {
            let ended = running.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "{ended:?}: {}", self.log());
            std::thread::yield_now();
        }
        running
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// The IVs of what the member sent to the WAN, all with the SPI of the SA.
    pub fn sealed_ivs(&self) -> Vec<u64> {
        let frames = read_capture(&self.path("wan-out.pcap"));
        let iv = |frame: &Vec<u8>| {
            assert_eq!(frame[23], 50, "ESP");
            assert_eq!(frame[34..38], SPI.to_be_bytes());
            u64::from_be_bytes(frame[42..50].try_into().unwrap())
        };
        frames.iter().map(iv).collect()
    }
}

pub struct Running<'a> {
    site: &'a Site,
    child: Option<Child>,
}

impl Running<'_> {
    pub fn ask(&self, command: &Command) -> Result<serde_json::Value, ClientError> {
        let reply = client::ask(&self.site.path("gm.sock"), command, Duration::from_secs(20))?;
        Ok(serde_json::from_str(&reply).unwrap())
    }

    /// Asks until the reply is as wanted.
    pub fn wait(&self, command: &Command, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let reply = self.ask(command).unwrap();
            if wanted(&reply) {
                return reply;
            }
            assert!(Instant::now() < deadline, "{reply}");
        }
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    pub fn end(mut self) -> Output {
        self.child.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A group with one SA, without its last line's keys.
pub fn sa() -> String {
    format!(
        "[[group]]\nname = \"finance\"\nid = 7\n[[group.sa]]\nspi = {SPI}\ntransform = \"aes-128-gcm\"\n\
         key = \"{KEY}\"\nselectors = [{{ src = \"10.0.0.0/8\", dst = \"10.0.0.0/8\" }}]\n"
    )
}

pub fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

/// UDP from 10.1.0.1 to 10.2.0.1, without a checksum, which IPv4 allows.
fn udp(number: u16) -> Vec<u8> {
    let mut payload = vec![0x10, 0, 0x20, 0, 0, 40, 0, 0];
    payload.extend([0xab; 32]);
    ipv4(number, 17, [10, 1, 0, 1], [10, 2, 0, 1], &payload)
}

/// ESP from 10.2.0.n to 10.1.0.1.
fn esp(n: u8, spi: u32) -> Vec<u8> {
    let payload = [&spi.to_be_bytes()[..], &[0, 0, 0, 1], &[0; 64]].concat();
    ipv4(0, 50, [10, 2, 0, n], [10, 1, 0, 1], &payload)
}

fn ipv4(number: u16, protocol: u8, from: [u8; 4], to: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap();
    let mut ip = vec![0x45, 0];
    ip.extend(length.to_be_bytes());
    ip.extend(number.to_be_bytes());
    ip.extend([0x40, 0, 64, protocol, 0, 0]);
    ip.extend(from.into_iter().chain(to));
    let sum: u32 = ip.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    ip[10..12].copy_from_slice(&(!u16::try_from(folded).unwrap()).to_be_bytes());
    let ethernet = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    [&ethernet[..], &ip, payload].concat()
}

fn write_capture(path: &PathBuf, frames: &[Vec<u8>]) {
    let mut file = File::create(path).unwrap();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.write_all(&word.to_le_bytes()).unwrap();
    }
    for frame in frames {
        let length = u32::try_from(frame.len()).unwrap();
        for word in [0, 0, length, length] {
            file.write_all(&word.to_le_bytes()).unwrap();
        }
        file.write_all(frame).unwrap();
    }
}

fn read_capture(path: &PathBuf) -> Vec<Vec<u8>> {
    let octets = fs::read(path).unwrap();
    let mut rest = &octets[24..];
    let mut frames = Vec::new();
    while let Some((header, after)) = rest.split_first_chunk::<16>() {
        let length = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
        frames.push(after[..length].to_vec());
        rest = &after[length..];
    }
    frames
}
