//! The member from its start to its end. The control thread is EAL's main thread: it starts the data
//! plane, then ticks once a millisecond, and answers the control socket in between. It never waits for
//! a disk or a client while workers run.

mod answering;
mod reloading;
mod signals;

use crate::answers;
use crate::config::{Config, ConfigError, Machine};
use crate::inspect::Inspector;
use crate::key_servers::KeyServers;
use crate::member::Member;
use crate::metrics::{self, Figures};
use crate::probing::{Around, Probing};
use crate::reload::{InForce, Shapes};
use crate::reserve::{Pending, Reservations, StateError};
use crate::udp::{GdoiPort, Sockets};
use crate::vitals::Vitals;
use crate::{doctor, eal, manual, telemetry};
use dpdk::{Eal, EalError};
use getvpn_config::service::{Service, status_line};
use getvpn_ctl::reply::Counters;
use getvpn_ctl::server::{BindError, ControlSocket, Limits};
use getvpn_ctl::{Baseline, Spi, render};
use getvpn_dataplane::{Dataplane, DataplaneConfig, DataplaneError, ParkingLimits, PortsError, SaError};
use getvpn_doctor::Subject;
use getvpn_gdoi::crypto::SystemRandom;
use getvpn_gdoi::member::Transmit;
use getvpn_metrics::Listener;
use reloading::Reloading;
use signals::{Asked, Signals};
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::{self, JoinHandle};
use tokio::time::MissedTickBehavior;
use tracing::{debug, error, info, warn};

const TICK: Duration = Duration::from_millis(1);
/// Requests that may wait for the control thread.
const CALLS: usize = 16;
/// Datagrams that are taken at a time.
const DATAGRAMS: usize = 64;

/// What the command line says besides the configuration.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// More arguments for EAL.
    pub eal_args: Vec<String>,
    /// End when nothing has arrived for so long.
    pub until_idle: Option<Duration>,
    /// Where to write the last counters.
    pub summary: Option<PathBuf>,
}

/// Why a member did not start, or did not end well. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An EAL argument of the command line is wrong.
    #[error("EAL argument {0}")]
    EalArgument(String),
    /// The logs cannot be set up.
    #[error("{0}")]
    Log(String),
    /// The kernel does not tell which CPUs there are.
    #[error("the CPUs of this process cannot be found: {0}")]
    Machine(io::Error),
    /// What was sealed before is not known for certain.
    #[error(transparent)]
    State(#[from] StateError),
    /// The control socket cannot be opened.
    #[error(transparent)]
    Socket(#[from] BindError),
    /// Metrics cannot be served.
    #[error(transparent)]
    Metrics(#[from] getvpn_metrics::BindError),
    /// The GDOI port cannot be had.
    #[error(
        "[control] listen {0}: {1}; key servers answer to this port, so choose an address of this machine and a port \
         that nobody has"
    )]
    Port(SocketAddr, io::Error),
    /// A manual SA cannot be made.
    #[error("a manual SA cannot be made: {0}")]
    Sa(#[from] SaError),
    /// DPDK does not start.
    #[error(transparent)]
    Eal(#[from] EalError),
    /// The ports or workers do not start.
    #[error("the data plane cannot start: {error}{asked_for}")]
    Start {
        /// What was wrong.
        error: DataplaneError,
        /// The EAL argument that is meant, as a line of its own, if one is.
        asked_for: String,
    },
    /// The signals or the runtime of the control thread cannot be set up.
    #[error("the control thread cannot start: {0}")]
    Runtime(String),
    /// A worker ended, or a policy could not be put in force.
    #[error("{0}; the member has stopped and lets nothing through")]
    Running(DataplaneError),
    /// The last counters could not be written.
    #[error("--summary {0}: {1}")]
    Summary(PathBuf, io::Error),
}

impl RunError {
    /// Whether no packet was touched, so that the operator has something to put right first.
    #[must_use]
    pub fn is_before_start(&self) -> bool {
        !matches!(self, RunError::Running(_) | RunError::Summary(..))
    }
}

/// Runs a member until it is told to end.
///
/// # Errors
/// See [`RunError`].
pub fn run(mut config: Config, file: &Path, machine: &Machine, options: &Options) -> Result<(), RunError> {
    let now = Instant::now();
    let runtime = runtime().map_err(|e| RunError::Runtime(e.to_string()))?;
    let mut signals = Signals::catch(&runtime).map_err(|e| RunError::Runtime(e.to_string()))?;
    let socket = ControlSocket::bind_for(&config.control.socket, config.control.permissions)?;
    let groups = std::mem::take(&mut config.groups);
    for warning in &config.warnings {
        warn!(event = "configuration_warning", "{warning}");
    }
    let mut reservations = match manual::any_seals(&groups) {
        true => Some(Reservations::open(&config.control.state)?),
        false => None,
    };
    let mut subject = doctor::subject(&config, &groups, &[&config.eal_args[..], &options.eal_args].concat());
    subject.running = true;
    let shapes = Shapes::of(&groups);
    let mut member = Member::new(&config, &groups, now);
    let workers = config.workers.cores.len();
    let listen = config.control.listen;
    let random = Box::new(SystemRandom);
    let key_servers = KeyServers::new(&groups, workers, &config.control, member.sad_mut(), now, random);
    // The exception port's address is given to it when it is there.
    let comes_later = config.links.iter().any(|link| link.exception.is_some());
    let port = match key_servers.is_empty() {
        true => None,
        false => Some(GdoiPort::bind(listen, comes_later).map_err(|error| RunError::Port(listen, error))?),
    };
    let metrics = config.metrics.map(Listener::bind).transpose()?;
    manual::install(groups, workers, member.sad_mut(), reservations.as_mut(), now)?;
    if let Some((reservations, plan)) = reservations.as_mut().and_then(|r| r.plan(now).map(|plan| (r, plan)))
    {
        let result = plan.write();
        reservations.done(plan, &result, now);
        result?;
    }

    // Declared before EAL, so dropped after it.
    let _runtime_directory = eal::RuntimeDirectory::of(&config);
    let arguments = eal::arguments(&config, &options.eal_args, machine);
    let eal = Eal::init(&arguments)?;
    let plane_config = DataplaneConfig {
        links: config.links.clone(),
        idle: config.workers.idle,
        buffers: config.workers.buffers,
        tx_wait_us: config.workers.tx_wait_us,
        parking: config.parking,
        link_wait: config.workers.link_wait,
    };
    let policy = member.sad_mut().policy_state();
    let plane = Dataplane::start(&eal, &plane_config, &policy).map_err(|error| {
        let argument = match &error {
            DataplaneError::Ports(PortsError::Port { device, .. }) => eal::argument_for(device, &arguments),
            _ => None,
        };
        let asked_for = argument.map(|argument| format!("\n  EAL argument: {argument}")).unwrap_or_default();
        RunError::Start { error, asked_for }
    })?;
    info!(event = "started", workers, links = config.links.len(), sas = policy.sas.len(), "member started");

    // On the CPUs of this thread, which is EAL's main one by now: never on a worker's.
    let questions = metrics::Questions::start(metrics).map_err(|e| RunError::Runtime(e.to_string()))?;
    let _telemetry = telemetry::serve(&eal, questions.asker()).inspect_err(|error| {
        warn!(event = "telemetry_failed", %error, "DPDK's telemetry does not take our commands: {error}");
    });
    let port = port.map(|port| (port, config.control.multicast_interface));
    let inspector = Inspector::new(Instant::now(), config.workers.cores.clone());
    let mut control = Control {
        member,
        key_servers,
        plane,
        parking: config.parking,
        reservations,
        writing: None,
        service: Service::from_environment(),
        stalled: false,
        inspector,
        probing: Probing::default(),
        baseline: Baseline::new(now),
        vitals: Vitals::default(),
        file: file.to_owned(),
        machine: machine.clone(),
        in_force: InForce::new(config, shapes),
        reloading: None,
        subject,
        examining: None,
    };
    let ended = control.serve((&runtime, &mut signals), &socket, port, questions, options.until_idle);
    let counters = control.end();
    print!("{}", render::counters(&counters));
    if let Some(path) = &options.summary {
        write_summary(path, &counters).map_err(|e| RunError::Summary(path.clone(), e))?;
    }
    ended
}

/// Of the control thread; what may wait for a disk has threads of its own.
fn runtime() -> io::Result<Runtime> {
    // One writes what is reserved or reads the configuration, one looks at the machine.
    tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build()
}

fn write_summary(path: &Path, counters: &Counters) -> io::Result<()> {
    let json = serde_json::to_string(counters)?;
    fs::write(path, json + "\n")
}

/// The running member.
struct Control {
    member: Member,
    key_servers: KeyServers,
    plane: Dataplane,
    inspector: Inspector,
    parking: ParkingLimits,
    reservations: Option<Reservations>,
    writing: Option<JoinHandle<(Pending, Result<(), StateError>)>>,
    service: Service,
    /// Whether a worker has not come round for so long that the service manager gets no sign of life.
    stalled: bool,
    probing: Probing,
    baseline: Baseline,
    vitals: Vitals,
    /// What the machine is looked at for.
    subject: Subject,
    examining: Option<JoinHandle<()>>,
    file: PathBuf,
    /// As it was before the workers were pinned.
    machine: Machine,
    in_force: InForce,
    reloading: Option<Reloading>,
}

impl Control {
    /// Ticks and answers until a signal, a long enough silence, or a failure.
    fn serve(
        &mut self,
        (runtime, signals): (&Runtime, &mut Signals),
        socket: &ControlSocket,
        port: Option<(GdoiPort, Option<IpAddr>)>,
        mut questions: metrics::Questions,
        until_idle: Option<Duration>,
    ) -> Result<(), RunError> {
        runtime.block_on(async {
            let (calls, mut waiting) = mpsc::channel(CALLS);
            let clients = socket.serve(calls, Limits::default());
            tokio::pin!(clients);
            let mut serving = true;
            let sockets = port.map(|(port, interface)| Sockets::new(port, interface)).transpose();
            let mut sockets = sockets.map_err(|e| RunError::Runtime(e.to_string()))?;
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            // The workers run, the sockets are bound.
            self.service.ready();
            let ended = loop {
                tokio::select! {
                    biased;
                    asked = signals.next() => match asked {
                        Asked::Stop => {
                            info!(event = "stopping", "stopping: signal received");
                            break Ok(());
                        }
                        Asked::Reload => self.reload(None, false),
                    },
                    _ = ticks.tick() => {
                        let idle = self.plane.idle_for();
                        if until_idle.is_some_and(|limit| idle >= limit) {
                            info!(event = "stopping", "stopping: no packet for {idle:.1?}");
                            break Ok(());
                        }
                        if let Err(error) = self.tick(sockets.as_mut(), Instant::now()).await {
                            error!(event = "failed", %error, "stopping: {error}");
                            break Err(RunError::Running(error));
                        }
                    }
                    Some(call) = waiting.recv() => self.answer(call, Instant::now()),
                    Some(question) = questions.next() => question.answer(self.figures(Instant::now())),
                    result = &mut clients, if serving => {
                        serving = false;
                        if let Err(error) = result {
                            error!(event = "control_socket_failed", %error, "the control socket is gone: {error}");
                        }
                    }
                    // Behind all the rest: a flood of datagrams takes what time is left.
                    () = readable(sockets.as_ref()), if sockets.is_some() => {
                        if let Some(sockets) = &mut sockets {
                            self.receive(sockets);
                            if let Err(error) = self.follow_key_servers(Some(sockets), Instant::now()) {
                                error!(event = "failed", %error, "stopping: {error}");
                                break Err(RunError::Running(error));
                            }
                        }
                    }
                }
            };
            self.service.stopping();
            self.key_servers.stop(Instant::now());
            self.send(sockets.as_ref());
            // What is being written must be known before the exact counters are.
            if let Some(writing) = self.writing.take() {
                self.written(writing.await, Instant::now());
            }
            ended
        })
    }

    async fn tick(&mut self, sockets: Option<&mut Sockets>, now: Instant) -> Result<(), DataplaneError> {
        self.plane.housekeeping()?;
        self.inspector.tick(&self.plane, now);
        let around = Around { sad: self.member.sad(), links: self.member.links() };
        self.probing.tick(&mut self.plane, &around, now);
        self.vitals.tick(&self.plane, now);
        self.member.record_punts(self.plane.punts().drain(), &mut self.key_servers, now);
        let expired = self.member.expire(now);
        if !expired.is_empty() {
            for spi in expired {
                self.forget(spi);
            }
            self.publish()?;
        }
        self.follow_key_servers(sockets, now)?;
        self.follow_configuration(now).await;
        self.reserve(now).await;
        if self.service.is_due(now) {
            self.tell_service(now);
        }
        Ok(())
    }

    /// Tells the service manager how it stands, and that it lives: only while every worker comes round.
    fn tell_service(&mut self, now: Instant) {
        let (worker, silent) = self.plane.slowest_worker();
        let stalled = self.service.patience().is_some_and(|patience| silent > patience);
        if stalled && !self.stalled {
            error!(
                event = "worker_stalled",
                worker,
                "worker {worker} has not come round for {silent:.1?}: no sign of life to the service manager until it does"
            );
        }
        self.stalled = stalled;
        let status = self.member.status(&self.plane, &self.key_servers, now);
        let what = match stalled {
            true => format!("worker {worker} hangs"),
            false => format!("{} workers", status.workers),
        };
        let groups = status.groups.iter().map(|group| (group.name.as_str(), group.state.as_str()));
        self.service.status(status_line(&what, groups));
        if !stalled {
            self.service.alive();
        }
    }

    /// Takes some of the datagrams that are there: others may wait for this thread too.
    fn receive(&mut self, sockets: &mut Sockets) {
        let begun = Instant::now();
        let unix_time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        for _ in 0..DATAGRAMS {
            let now = Instant::now();
            if now.duration_since(begun) >= TICK {
                return;
            }
            let Some((from, datagram)) = sockets.receive() else { return };
            self.key_servers.handle_datagram(now, unix_time, from, datagram);
        }
    }

    /// Does what is due with the key servers, and makes what came of it true in the data plane at once.
    fn follow_key_servers(
        &mut self,
        sockets: Option<&mut Sockets>,
        now: Instant,
    ) -> Result<(), DataplaneError> {
        if self.key_servers.tick(now, self.member.sad_mut()) {
            self.publish()?;
            self.member.forget_known();
        }
        let Some(sockets) = sockets else { return Ok(()) };
        if let Some(groups) = self.key_servers.multicast_groups() {
            sockets.follow(&groups);
        }
        self.send(Some(sockets));
        Ok(())
    }

    fn send(&mut self, sockets: Option<&Sockets>) {
        let Some(sockets) = sockets else { return };
        while let Some(Transmit { to, bytes }) = self.key_servers.poll_transmit() {
            sockets.send(to, &bytes);
        }
    }

    fn publish(&mut self) -> Result<(), DataplaneError> {
        let state = self.member.sad().policy_state();
        self.plane.publish(&state)?;
        debug!(event = "published", sas = state.sas.len(), "{} SAs are in force", state.sas.len());
        Ok(())
    }

    /// Keeps reservations ahead of the workers; the disk is another thread's business.
    async fn reserve(&mut self, now: Instant) {
        if let Some(writing) = self.writing.take_if(|writing| writing.is_finished()) {
            self.written(writing.await, now);
        }
        let Some(reservations) = &mut self.reservations else { return };
        for ended in reservations.exhausted() {
            warn!(
                event = "iv_exhausted",
                spi = %Spi(ended.spi),
                worker = ended.worker,
                sid = ended.sid,
                "SA {}: sender ID {} has used all its IVs or sequence numbers and seals no more; the SA needs a new key",
                Spi(ended.spi),
                ended.sid
            );
        }
        if let Some(plan) = reservations.plan(now) {
            self.writing = Some(task::spawn_blocking(move || {
                let result = plan.write();
                (plan, result)
            }));
        }
    }

    fn written(&mut self, written: Result<(Pending, Result<(), StateError>), task::JoinError>, now: Instant) {
        let Some(reservations) = &mut self.reservations else { return };
        match written {
            Ok((plan, result)) => {
                if let Err(error) = &result {
                    error!(event = "reservation_failed", %error, "{error}");
                }
                reservations.done(plan, &result, now);
            }
            // Without its outcome nothing more can be reserved: sealing stops at the limit.
            Err(error) => error!(event = "reservation_failed", %error, "a reservation was lost: {error}"),
        }
    }

    fn forget(&mut self, spi: u32) {
        if let Some(reservations) = &mut self.reservations {
            reservations.forget(spi);
        }
    }

    fn figures(&self, now: Instant) -> Figures {
        Figures::gather(&self.member, &self.key_servers, &self.plane, &self.parking, now)
    }

    /// Ends the workers and writes down how far they came.
    fn end(self) -> Counters {
        let ports = self.member.ports(&self.plane);
        let before = self.plane.counters();
        let tallies = self.plane.stop().unwrap_or_else(|error| {
            error!(event = "worker_panicked", %error, "{error}");
            before
        });
        if let Some(Err(error)) = self.reservations.map(Reservations::finish) {
            warn!(event = "reservation_failed", %error, "the next start skips some sequence numbers: {error}");
        }
        info!(event = "stopped", "member stopped");
        answers::counters(&tallies, ports, self.member.links(), false)
    }
}

async fn readable(sockets: Option<&Sockets>) {
    if let Some(sockets) = sockets {
        sockets.readable().await;
    }
}
