//! `getvpnctl trace` and `getvpnctl capture`: begins a probe, reads it until it has ended, and shows or
//! writes what comes. A probe that is not read ends by itself, so nothing is left on when this is killed.

use clap::{Args, ValueEnum};
use getvpn_ctl::capture_file::CaptureFile;
use getvpn_ctl::client::{self, ClientError};
use getvpn_ctl::probe::{self, Bounds, Filter, MAX_TRACED};
use getvpn_ctl::reply::{ProbePage, ProbeStarted};
use getvpn_ctl::{Command, Fault, FaultCode, Spi, render};
use serde::de::DeserializeOwned;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Which packets; they must have all of it.
#[derive(Debug, Args)]
pub struct FilterArguments {
    /// Only packets from this address or prefix.
    #[arg(long, value_name = "A/PREFIX")]
    src: Option<String>,
    /// Only packets to this address or prefix.
    #[arg(long, value_name = "A/PREFIX")]
    dst: Option<String>,
    /// Only packets from or to this address.
    #[arg(long, value_name = "A")]
    host: Option<IpAddr>,
    /// Only packets that come with this SPI, or are to be sealed with its SA.
    #[arg(long)]
    spi: Option<Spi>,
    /// Only packets from the WAN to the LAN, or from the LAN to the WAN.
    #[arg(long, value_enum)]
    direction: Option<Direction>,
    /// Only packets that are dropped for this reason, such as authentication; `counters` shows them.
    #[arg(long, value_name = "REASON")]
    drop: Option<String>,
    /// Only packets of this link.
    #[arg(long, value_name = "NAME")]
    link: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Direction {
    /// From the WAN to the LAN.
    In,
    /// From the LAN to the WAN.
    Out,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Side {
    /// The cleartext side.
    Lan,
    /// The ciphertext side.
    Wan,
    /// Both.
    Both,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Stage {
    /// As they arrive, before cryptography.
    Before,
    /// As they leave, after cryptography.
    After,
    /// Both.
    Both,
}

/// Arguments of `trace`.
#[derive(Debug, Args)]
pub struct TraceArguments {
    /// How many packets.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_TRACED)))]
    count: u32,
    #[command(flatten)]
    filter: FilterArguments,
}

/// Arguments of `capture`.
#[derive(Debug, Args)]
pub struct CaptureArguments {
    /// The file; one that is there already is not touched.
    #[arg(long, value_name = "FILE.pcapng")]
    out: PathBuf,
    #[command(flatten)]
    filter: FilterArguments,
    /// On which ports.
    #[arg(long, value_enum, default_value = "both")]
    side: Side,
    /// Before or after cryptography.
    #[arg(long, value_enum, default_value = "both")]
    stage: Stage,
    /// Ends after so many frames.
    #[arg(long, value_name = "N", default_value_t = Bounds::default().packets,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(Bounds::MAX_PACKETS)))]
    packets: u32,
    /// Ends after so many octets of frames.
    #[arg(long, value_name = "N", default_value_t = Bounds::default().octets,
          value_parser = clap::value_parser!(u64).range(1..=Bounds::MAX_OCTETS))]
    octets: u64,
    /// Ends after so many seconds.
    #[arg(long, value_name = "N", default_value_t = Bounds::default().seconds,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(Bounds::MAX_SECONDS)))]
    seconds: u32,
    /// Takes so many octets of each frame.
    #[arg(long, value_name = "N", default_value_t = Bounds::MAX_SNAPLEN,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(Bounds::MAX_SNAPLEN)))]
    snaplen: u32,
}

impl FilterArguments {
    fn filter(&self) -> Filter {
        Filter {
            src: self.src.clone(),
            dst: self.dst.clone(),
            host: self.host,
            spi: self.spi,
            direction: self.direction.map(|direction| match direction {
                Direction::In => probe::Direction::In,
                Direction::Out => probe::Direction::Out,
            }),
            drop: self.drop.clone(),
            link: self.link.clone(),
        }
    }
}

impl TraceArguments {
    /// What the daemon is asked.
    pub fn command(&self, timeout_s: u32) -> Command {
        Command::Trace { filter: self.filter.filter(), count: self.count, timeout_s }
    }
}

impl CaptureArguments {
    /// What the daemon is asked.
    pub fn command(&self) -> Command {
        Command::Capture {
            filter: self.filter.filter(),
            side: match self.side {
                Side::Lan => probe::Side::Lan,
                Side::Wan => probe::Side::Wan,
                Side::Both => probe::Side::Both,
            },
            stage: match self.stage {
                Stage::Before => probe::Stage::Before,
                Stage::After => probe::Stage::After,
                Stage::Both => probe::Stage::Both,
            },
            bounds: Bounds {
                packets: self.packets,
                octets: self.octets,
                seconds: self.seconds,
                snaplen: self.snaplen,
            },
        }
    }
}

/// Whom to ask, and how to show it.
pub struct Daemon<'a> {
    /// Its socket.
    pub socket: &'a Path,
    /// Whether replies are shown as they came.
    pub json: bool,
}

/// How long a reply may take; none waits for packets.
const ANSWER: Duration = Duration::from_secs(10);
/// How long to wait before asking again when nothing came.
const PAUSE: Duration = Duration::from_millis(50);

impl Daemon<'_> {
    /// Asks, and returns the reply, also as it came.
    pub fn ask<T: DeserializeOwned>(&self, command: &Command) -> Result<(T, String), ClientError> {
        let reply = client::ask(self.socket, command, ANSWER)?;
        let parsed = serde_json::from_str(&reply)
            .map_err(|e| ClientError::Protocol(self.socket.to_owned(), e.to_string()))?;
        Ok((parsed, reply))
    }

    /// Reads a probe to its end; `each` is given every page, and says whether to go on.
    fn follow(
        &self,
        probe: u32,
        mut each: impl FnMut(&ProbePage, &str) -> Result<bool, ClientError>,
    ) -> Result<ProbePage, ClientError> {
        loop {
            let (page, reply): (ProbePage, _) = self.ask(&Command::ProbeRead { probe })?;
            let wanted = each(&page, &reply)?;
            if !page.running {
                return Ok(page);
            }
            if !wanted {
                return Ok(self.ask(&Command::ProbeStop { probe })?.0);
            }
            if page.packets.is_empty() && page.frames.is_empty() {
                thread::sleep(PAUSE);
            }
        }
    }
}

/// Shows packets as they come; returns what is said at the end.
pub fn trace(daemon: &Daemon<'_>, command: &Command) -> Result<String, ClientError> {
    let (started, _): (ProbeStarted, _) = daemon.ask(command)?;
    let mut shown = 0;
    let last = daemon.follow(started.probe, |page, reply| {
        let mut text = String::new();
        if daemon.json {
            if !page.packets.is_empty() || !page.running {
                text = format!("{reply}\n");
            }
        } else {
            for packet in &page.packets {
                shown += 1;
                text.push_str(&render::traced_packet(packet, shown));
                text.push('\n');
            }
        }
        // Nobody may be reading any more (`head`): then there is nobody to trace for.
        Ok(io::stdout().lock().write_all(text.as_bytes()).is_ok())
    })?;
    Ok(if daemon.json { String::new() } else { render::probe_end(&last, shown, "packets") })
}

/// Writes frames as they come; returns what is said at the end.
pub fn capture(daemon: &Daemon<'_>, arguments: &CaptureArguments) -> Result<String, ClientError> {
    let path = &arguments.out;
    let file_error = |error: io::Error| file_refused(path, &error);
    // Before anything is asked, so that nothing is captured in vain.
    let file = create(path).map_err(file_error)?;
    let started: Result<(ProbeStarted, _), _> = daemon.ask(&arguments.command());
    let (started, _) = started.inspect_err(|_| {
        // There is nothing in it.
        let _ = std::fs::remove_file(path);
    })?;
    eprintln!("{}", render::capture_warning(&started, &path.display().to_string()));
    let mut file = CaptureFile::begin(file, &started.ports, arguments.snaplen).map_err(file_error)?;
    let mut written = 0;
    let last = daemon.follow(started.probe, |page, _| {
        for frame in &page.frames {
            file.add(frame).map_err(file_error)?;
            written += 1;
        }
        Ok(true)
    })?;
    Ok(match daemon.json {
        true => serde_json::json!({
            "file": path, "frames": written, "ended": last.ended, "matched": last.matched,
            "skipped": last.skipped, "not_looked_at": last.not_looked_at, "lost": last.lost,
        })
        .to_string(),
        false => render::probe_end(&last, written, "frames"),
    })
}

/// What is said of a file that cannot be written.
pub fn file_refused(path: &Path, error: &io::Error) -> ClientError {
    let hint = if error.kind() == ErrorKind::AlreadyExists { ": choose another --out" } else { "" };
    let text = format!("--out {}: {error}{hint}", path.display());
    ClientError::Refused(Fault::new(FaultCode::InvalidArgument, text))
}

/// A new file that only its owner may read.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
