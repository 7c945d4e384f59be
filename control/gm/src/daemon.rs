//! The member from its start to its end. The control thread is EAL's main thread: it starts the data
//! plane, then ticks once a millisecond, and answers the control socket in between. It never waits for
//! a disk or a client while workers run.

use crate::answers;
use crate::config::{Config, ConfigError, GroupConfig, Machine};
use crate::member::Member;
use crate::reserve::{Pending, Reservations, StateError};
use crate::{eal, manual};
use dpdk::{Eal, EalError};
use getvpn_ctl::reply::Counters;
use getvpn_ctl::server::{BindError, Call, ControlSocket, Limits};
use getvpn_ctl::{Spi, render};
use getvpn_dataplane::{Dataplane, DataplaneConfig, DataplaneError, PortsError, SaError};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::task::{self, JoinHandle};
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

const TICK: Duration = Duration::from_millis(1);
/// Requests that may wait for the control thread.
const CALLS: usize = 16;
/// How long the ports may take to come up before traffic starts without them.
const LINK_WAIT: Duration = Duration::from_secs(9);

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
pub fn run(mut config: Config, machine: &Machine, options: &Options) -> Result<(), RunError> {
    let now = Instant::now();
    let stop = stop_signal()?;
    let socket = ControlSocket::bind(&config.control.socket)?;
    let groups = std::mem::take(&mut config.groups);
    for warning in &config.warnings {
        warn!(event = "configuration_warning", "{warning}");
    }
    tell_what_is_missing(&groups);
    let mut reservations = match manual::any_seals(&groups) {
        true => Some(Reservations::open(&config.control.state)?),
        false => None,
    };
    let mut member = Member::new(&config, &groups, now);
    let workers = config.workers.cores.len();
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
        link_wait: LINK_WAIT,
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

    let mut control = Control { member, plane, reservations, writing: None };
    let ended = control.serve(&socket, &stop, options.until_idle);
    let counters = control.end();
    print!("{}", render::counters(&counters));
    if let Some(path) = &options.summary {
        write_summary(path, &counters).map_err(|e| RunError::Summary(path.clone(), e))?;
    }
    ended
}

/// Notified by SIGINT and SIGTERM.
fn stop_signal() -> Result<Arc<Notify>, RunError> {
    let stop = Arc::new(Notify::new());
    let told = Arc::clone(&stop);
    ctrlc::set_handler(move || told.notify_one()).map_err(|e| RunError::Runtime(e.to_string()))?;
    Ok(stop)
}

fn tell_what_is_missing(groups: &[GroupConfig]) {
    for group in groups.iter().filter(|group| group.registration.is_some()) {
        let name = &group.name;
        if group.sas.is_empty() {
            warn!(
                event = "registration_not_available",
                group = %name,
                "group {name} has key servers and no manual SA: this version does not register with key servers, \
                 so the group has no SAs and protects nothing"
            );
        } else {
            warn!(
                event = "registration_not_available",
                group = %name,
                "group {name}: this version does not register with key servers; only its manual SAs are used"
            );
        }
    }
}

fn write_summary(path: &Path, counters: &Counters) -> io::Result<()> {
    let json = serde_json::to_string(counters)?;
    fs::write(path, json + "\n")
}

/// The running member.
struct Control {
    member: Member,
    plane: Dataplane,
    reservations: Option<Reservations>,
    writing: Option<JoinHandle<(Pending, Result<(), StateError>)>>,
}

impl Control {
    /// Ticks and answers until a signal, a long enough silence, or a failure.
    fn serve(
        &mut self,
        socket: &ControlSocket,
        stop: &Notify,
        until_idle: Option<Duration>,
    ) -> Result<(), RunError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .map_err(|e| RunError::Runtime(e.to_string()))?;
        runtime.block_on(async {
            let (calls, mut waiting) = mpsc::channel(CALLS);
            let sockets = socket.serve(calls, Limits::default());
            tokio::pin!(sockets);
            let mut serving = true;
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let ended = loop {
                tokio::select! {
                    biased;
                    () = stop.notified() => {
                        info!(event = "stopping", "stopping: signal received");
                        break Ok(());
                    }
                    _ = ticks.tick() => {
                        let idle = self.plane.idle_for();
                        if until_idle.is_some_and(|limit| idle >= limit) {
                            info!(event = "stopping", "stopping: no packet for {idle:.1?}");
                            break Ok(());
                        }
                        if let Err(error) = self.tick(Instant::now()).await {
                            error!(event = "failed", %error, "stopping: {error}");
                            break Err(RunError::Running(error));
                        }
                    }
                    Some(call) = waiting.recv() => self.answer(call, Instant::now()),
                    result = &mut sockets, if serving => {
                        serving = false;
                        if let Err(error) = result {
                            error!(event = "control_socket_failed", %error, "the control socket is gone: {error}");
                        }
                    }
                }
            };
            // What is being written must be known before the exact counters are.
            if let Some(writing) = self.writing.take() {
                self.written(writing.await, Instant::now());
            }
            ended
        })
    }

    async fn tick(&mut self, now: Instant) -> Result<(), DataplaneError> {
        self.plane.housekeeping()?;
        self.member.record_punts(self.plane.punts().drain(), now);
        let expired = self.member.expire(now);
        if !expired.is_empty() {
            for spi in expired {
                self.forget(spi);
            }
            self.plane.publish(&self.member.sad_mut().policy_state())?;
        }
        self.reserve(now).await;
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

    fn answer(&mut self, call: Call, now: Instant) {
        use getvpn_ctl::Command;
        let tallies = || self.plane.counters();
        match call.command {
            Command::Status {} => {
                let status = self.member.status(&self.plane, now);
                call.answer(Ok(status));
            }
            Command::Counters { per } => {
                let ports = self.member.ports(&self.plane);
                call.answer(Ok(answers::counters(&tallies(), ports, self.member.links(), per)));
            }
            Command::SaList {} => call.answer(Ok(answers::sa_list(self.member.sad(), now))),
            Command::SaShow { spi } => {
                let limit = |worker| self.reservations.as_ref()?.limit(spi.0, worker);
                call.answer(answers::sa_show(self.member.sad(), spi, limit, now));
            }
            Command::SaDelete { spi } => {
                let deleted = self.delete(spi);
                call.answer(deleted);
            }
            Command::UnknownSpi {} => {
                let lost = tallies().iter().map(|each| each.tally.punts_lost).sum();
                call.answer(Ok(self.member.unknown_spis(lost, now)));
            }
            Command::Sync {} | Command::Resync { .. } => call.answer(Err::<(), _>(getvpn_ctl::Fault::new(
                getvpn_ctl::FaultCode::UnknownCommand,
                "this version does not register with key servers",
            ))),
        }
    }

    fn delete(&mut self, spi: Spi) -> Result<getvpn_ctl::reply::SaDeleted, getvpn_ctl::Fault> {
        let entry = self.member.sad_mut().remove(spi.0).ok_or_else(|| answers::no_sa(spi))?;
        self.forget(spi.0);
        let group = self.member.sad().group_name(&entry.sa).to_owned();
        if let Err(error) = self.plane.publish(&self.member.sad_mut().policy_state()) {
            // What was in force stays in force, and the SAD says so.
            error!(event = "publish_failed", %error, "SA {spi} cannot be deleted: {error}");
            self.member.sad_mut().install(entry);
            return Err(getvpn_ctl::Fault::new(getvpn_ctl::FaultCode::Internal, error.to_string()));
        }
        info!(event = "sa_deleted", %spi, %group, "SA {spi} of group {group} deleted by the operator");
        Ok(getvpn_ctl::reply::SaDeleted { deleted: spi, group })
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
