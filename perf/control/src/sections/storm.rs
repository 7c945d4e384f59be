//! All members of a group register at the same moment with `getvpn-ks` as it is, over loopback: each from an
//! address and a socket of its own. The members run in this process, on whatever the daemon leaves of the
//! machine's cores.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use getvpn_gdoi::crypto::SystemRandom;
use getvpn_gdoi::member::{GroupMember, MemberEvent};
use getvpn_perf_control::site::{Auth, Rekeys, Site, clocks};
use getvpn_perf_figures::{Figures, Row, Verdict, shown};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::{Rig, Section};

pub const NAME: &str = "storm";

/// The members' addresses begin here; all of 127.0.0.0/8 is this machine.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);

/// Whoever is not registered by then has been refused for good.
const PATIENCE: Duration = Duration::from_secs(120);

/// No message of a registration is longer.
const LONGEST: usize = 4096;

#[derive(Default)]
pub struct Storm {
    members: usize,
}

/// What became of a member.
struct Registered {
    /// From the common beginning on.
    after: Duration,
    /// Registrations that failed before the one that did not.
    failures: u32,
    /// Kept open until all are in, so that nothing is answered by an ICMP error.
    _socket: tokio::net::UdpSocket,
}

impl Section for Storm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn round(&mut self, rig: &Rig, figures: &mut Figures) -> Result<()> {
        self.members = rig.members;
        if let Err(error) = storm(rig, figures) {
            figures.gap("all members registering at the same moment", &error);
        }
        Ok(())
    }

    fn rows(&self, figures: &Figures) -> Vec<Row> {
        let median = |figure| figures.median(NAME, "psk", figure);
        let lost = figures.greatest(NAME, "psk", "not registered");
        vec![
            Row {
                what: format!("{} members register at the same moment with getvpn-ks", self.members),
                ours: format!(
                    "all in after {}, half of them after {}",
                    shown(median("all"), 1, "s"),
                    shown(median("half"), 1, "s")
                ),
                reference: format!(
                    "{} of processor time at the key server, {} at the members",
                    shown(median("key server, cpu"), 1, "s"),
                    shown(median("members, cpu"), 1, "s"),
                ),
                against: format!("{} had to begin again", shown(median("failures"), 0, "registrations")),
                budget: "none refused for good".to_owned(),
                verdict: Verdict::at_most(lost, 0.0, " members"),
            },
            Row {
                what: "memory that getvpn-ks has grown by, for each of them".to_owned(),
                ours: shown(median("resident"), 0, "octets"),
                reference: String::new(),
                against: String::new(),
                budget: String::new(),
                verdict: Verdict::None,
            },
        ]
    }
}

fn storm(rig: &Rig, figures: &mut Figures) -> Result<()> {
    let programs = rig.programs.as_deref().context("no --programs")?;
    enough_sockets(rig.members)?;
    // Free a moment ago, and nobody else here takes it.
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let site = Site::new(Auth::Psk, rig.members, Rekeys::Unicast(2_000), server, FIRST)?;
    let mut daemon = Daemon::start(&programs.join("getvpn-ks"), site.directory(), &rig.cpus)?;
    let before = daemon.resident()?;
    let (registered, members_cpu) = thread::scope(|scope| {
        let members = scope.spawn(|| {
            sched_setaffinity(None, &rig.cpus)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(register_all(&site))
        });
        members.join().unwrap_or_else(|_| bail!("a member has panicked"))
    })?;
    daemon.check()?;
    let cpu = daemon.cpu()?;
    let mut after: Vec<_> = registered.iter().map(|member| member.after.as_secs_f64()).collect();
    after.sort_by(f64::total_cmp);
    let failures: u32 = registered.iter().map(|member| member.failures).sum();
    let grown = daemon.resident()?.saturating_sub(before) as f64 / rig.members as f64;

    figures.add(NAME, "psk", "not registered", "", (rig.members - registered.len()) as f64);
    figures.add(NAME, "psk", "all", "s", after.last().copied().unwrap_or(f64::NAN));
    figures.add(NAME, "psk", "half", "s", after.get(after.len() / 2).copied().unwrap_or(f64::NAN));
    figures.add(NAME, "psk", "failures", "", f64::from(failures));
    figures.add(NAME, "psk", "key server, cpu", "s", cpu.as_secs_f64());
    figures.add(NAME, "psk", "members, cpu", "s", members_cpu.as_secs_f64());
    figures.add(NAME, "psk", "resident", "octets", grown);
    Ok(())
}

/// Registers all members of a site; those that are not in by the end of [`PATIENCE`] are left out. The
/// second value is the processor time that it took.
async fn register_all(site: &Site) -> Result<(Vec<Registered>, Duration)> {
    let mut members = Vec::with_capacity(site.size());
    for number in 0..site.size() {
        let address = site.address(number);
        let socket = tokio::net::UdpSocket::bind(address).await;
        members.push(socket.with_context(|| format!("a member's socket at {address}"))?);
    }
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for (number, socket) in members.into_iter().enumerate() {
        tasks.spawn(tokio::time::timeout(PATIENCE, register(site.member(number, begun)?, socket, begun)));
    }
    let mut registered = Vec::new();
    while let Some(member) = tasks.join_next().await {
        // Who has run out of patience is missing.
        if let Ok(member) = member? {
            registered.push(member?);
        }
    }
    Ok((registered, getvpn_perf_control::spent::thread_time()))
}

async fn register(
    mut member: GroupMember,
    socket: tokio::net::UdpSocket,
    begun: Instant,
) -> io::Result<Registered> {
    let mut failures = 0;
    loop {
        while let Some(event) = member.poll_event() {
            match event {
                MemberEvent::Registered { .. } => {
                    return Ok(Registered { after: begun.elapsed(), failures, _socket: socket });
                }
                MemberEvent::RegistrationFailed { .. } => failures += 1,
                _ => {}
            }
        }
        while let Some(transmit) = member.poll_transmit() {
            // What cannot be sent is as if it were lost.
            let _ = socket.send_to(&transmit.bytes, transmit.to).await;
        }
        let due = member.poll_timeout().unwrap_or_else(|| Instant::now() + PATIENCE);
        tokio::select! {
            ready = socket.readable() => {
                ready?;
                receive(&mut member, &socket);
            }
            () = tokio::time::sleep_until(due.into()) => {
                member.handle_timeout(Instant::now(), &mut SystemRandom);
            }
        }
    }
}

fn receive(member: &mut GroupMember, socket: &tokio::net::UdpSocket) {
    let mut buffer = [0; LONGEST];
    while let Ok((len, from)) = socket.try_recv_from(&mut buffer) {
        let now = clocks(Instant::now());
        let datagram = buffer.get(..len).unwrap_or_default();
        member.handle_datagram(now.instant, now.unix.as_secs(), from, datagram, &mut SystemRandom);
    }
}

fn enough_sockets(members: usize) -> Result<()> {
    let wanted = members as u64 + 200;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised =
            Rlimit { current: limit.maximum.map_or(Some(wanted), |most| Some(most.min(wanted))), ..limit };
        setrlimit(Resource::Nofile, raised)?;
        ensure!(limit.maximum.is_none_or(|most| most >= wanted), "ulimit -n {wanted} is needed");
    }
    Ok(())
}

/// The key server, until it is dropped.
struct Daemon {
    child: Child,
    log: std::path::PathBuf,
}

impl Daemon {
    /// Starts it with the `ks.toml` of a directory, free to run on all of `cpus`, and waits until it serves.
    fn start(program: &Path, directory: &Path, cpus: &CpuSet) -> Result<Daemon> {
        let log = directory.join("log");
        let output = File::create(&log)?;
        let mut command = Command::new(program);
        command.arg("--config").arg(directory.join("ks.toml")).stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        let child = thread::scope(|scope| {
            let starter = scope.spawn(|| -> io::Result<Child> {
                sched_setaffinity(None, cpus)?;
                command.spawn()
            });
            starter.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
        });
        let mut daemon = Daemon { child: child.with_context(|| program.display().to_string())?, log };
        let end = Instant::now() + Duration::from_secs(10);
        while !fs::read_to_string(&daemon.log)?.contains("key server started") {
            daemon.check()?;
            ensure!(Instant::now() < end, "getvpn-ks does not get ready");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(daemon)
    }

    /// Fails if it has ended.
    fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => {
                let log = fs::read_to_string(&self.log)?;
                bail!("getvpn-ks has ended ({status}): {}", log.lines().last().unwrap_or_default())
            }
            None => Ok(()),
        }
    }

    /// Octets of memory that it occupies.
    fn resident(&self) -> Result<usize> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: usize = line.trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// Processor time that it has used.
    fn cpu(&self) -> Result<Duration> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id()))?;
        let mut nanoseconds = 0;
        for thread in threads {
            let spent = fs::read_to_string(thread?.path().join("schedstat"))?;
            nanoseconds += spent.split_whitespace().next().context("no schedstat")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }
}

impl Drop for Daemon {
    /// SIGTERM ends it cleanly; SIGKILL if it does not.
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            kill_process(pid, Signal::TERM).ok();
        }
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
