//! The authority's thread: takes what happens, lets the authority decide, and passes on what follows as
//! batches. Does no I/O but reading the configuration again.

use super::metrics::Figures;
use super::network::bound;
use super::shard::{Orders, Shows, ToShard};
use super::store::Job;
use super::{answers, drops};
use crate::config::{Config, ConfigError, Server};
use crate::core::{Authority, CommandError, FreshKey, MemberId, Now, RekeyWhat, Uptime};
use crate::doctor;
use crate::serve::{Directory, endpoint_config, take_event};
use getvpn_config::level;
use getvpn_config::service::{Service, status_line};
use getvpn_ctl::rates::Readings;
use getvpn_ctl::reply::{MemberChanged, Rekeyed, Reloaded, SyncReply};
use getvpn_ctl::server::Call;
use getvpn_ctl::{Baseline, Command, Fault, FaultCode};
use getvpn_gdoi::crypto::SystemRandom;
use getvpn_gdoi::group::GroupId;
use getvpn_gdoi::server::ServerEvent;
use getvpn_metrics::Question;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

/// What is taken at once, so that a batch holds many registrations and a commit many batches.
const AT_ONCE: usize = 256;

/// What the authority is told.
pub(super) enum Input {
    /// By a shard.
    Endpoint(u16, ServerEvent),
    /// A signing key that it wanted.
    SigningKey(GroupId, FreshKey),
    /// By an operator.
    Call(Call),
    /// By the endpoint of metrics.
    Figures(Question<Figures>),
    /// To read the configuration again (SIGHUP).
    Reload,
    /// To end.
    Stop,
}

/// The authority with its surroundings.
pub(super) struct Desk {
    pub authority: Authority,
    pub directory: Arc<Directory>,
    pub file: PathBuf,
    pub server: Server,
    pub listen: HashMap<SocketAddr, SocketAddr>,
    pub shards: usize,
    pub orders: Orders,
    pub batches: mpsc::Sender<Job>,
    pub counters: Shows,
    pub started: Instant,
    pub service: Service,
    /// Of what is refused.
    pub readings: Readings,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    pub baseline: Baseline,
}

/// What all clocks say.
pub(super) fn now() -> Now {
    static BOOT: LazyLock<Option<[u8; 16]>> = LazyLock::new(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
    });
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let up = Duration::try_from(up).ok();
    Now {
        instant: Instant::now(),
        unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        uptime: BOOT.zip(up).map(|(boot, elapsed)| Uptime { boot, elapsed }),
    }
}

/// Runs until it is told to end, or the store is gone.
pub(super) fn run(mut desk: Desk, mut inputs: mpsc::Receiver<Input>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return error!(event = "failed", %error, "the authority cannot start: {error}"),
    };
    runtime.block_on(async {
        let mut waiting = Vec::with_capacity(AT_ONCE);
        desk.service.ready();
        loop {
            let mut replies = Vec::new();
            let mut stop = false;
            for input in waiting.drain(..) {
                stop |= desk.take(input, &mut replies);
            }
            desk.authority.handle_timeout(now(), &mut SystemRandom);
            let batch = desk.authority.take_batch(now());
            if !batch.is_empty() || !replies.is_empty() {
                // The store is gone when it has failed for good.
                if desk.batches.send(Job { batch, replies }).await.is_err() {
                    return;
                }
            }
            if stop {
                return;
            }
            // Here it has come round, and the store takes what it is given.
            if desk.service.is_due(Instant::now()) {
                desk.tell_service();
            }
            let longest = desk.service.every().unwrap_or(Duration::from_secs(3600));
            let latest = Instant::now() + longest;
            let due = desk.authority.poll_timeout().map_or(latest, |due| due.min(latest));
            tokio::select! {
                n = inputs.recv_many(&mut waiting, AT_ONCE) => if n == 0 { return },
                () = tokio::time::sleep_until(due.into()) => {}
            }
        }
    });
}

type Replies = Vec<Box<dyn FnOnce() + Send>>;

impl Desk {
    /// Whether it was told to end.
    fn take(&mut self, input: Input, replies: &mut Replies) -> bool {
        match input {
            Input::Endpoint(shard, event) => {
                take_event(&mut self.authority, &self.directory, now(), shard, event, &mut SystemRandom);
            }
            Input::SigningKey(group, key) => {
                self.authority.signing_key(now(), group, key, &mut SystemRandom);
            }
            Input::Call(call) => self.answer(call, replies),
            Input::Figures(question) => {
                let waiting = self.batches.max_capacity() - self.batches.capacity();
                let (server, started) = (&self.server, self.started);
                question.answer(Figures::gather(&self.authority, &self.counters, server, waiting, started));
            }
            Input::Reload => {
                if let Err(error) = self.reload(false) {
                    error!(event = "reload_failed", %error, "the configuration stays as it was: {error}");
                }
            }
            Input::Stop => {
                self.service.stopping();
                return true;
            }
        }
        false
    }

    fn answer(&mut self, call: Call, replies: &mut Replies) {
        match call.command.clone() {
            Command::Status {} => call.answer(Ok(answers::status(&self.authority, self.started))),
            Command::Drops { all, peek } => {
                let (authority, shows) = (&self.authority, &self.counters);
                let drops = drops::drops(authority, shows, &mut self.readings, all, peek);
                call.answer(Ok(self.baseline.of_drops(drops, all)));
            }
            Command::Counters { .. } => {
                let counters = answers::counters(&self.authority, &self.counters);
                call.answer(Ok(self.baseline.of(counters, Instant::now())));
            }
            Command::ResetCounters {} => {
                let counters = answers::counters(&self.authority, &self.counters);
                let reset = self.baseline.reset(counters, Instant::now());
                info!(event = "counters_reset", "counters start from zero for getvpnctl");
                call.answer(Ok(reset));
            }
            Command::Doctor {} => {
                let (file, sync) = (self.file.clone(), answers::sync(&self.authority));
                // Files are read, which the authority does not wait for.
                std::thread::spawn(move || call.answer(Ok(doctor::running(file, &sync))));
            }
            Command::LogLevel { level, for_s } => {
                call.answer(level::answer(level.as_deref(), for_s, Instant::now()));
            }
            Command::SaList {} => call.answer(Ok(answers::sa_list(&self.authority, Instant::now()))),
            Command::GroupList {} => call.answer(Ok(answers::group_list(&self.authority, Instant::now()))),
            Command::Sync {} => call.answer(Ok(SyncReply::KeyServer(answers::sync(&self.authority)))),
            Command::MemberList { group } => call.answer(answers::member_list(&self.authority, &group)),
            Command::Rekey { group, kek } => {
                let result = self.rekey(&group, kek);
                replies.push(Box::new(move || call.answer(result)));
            }
            Command::MemberRemove { group, id } => {
                let result = self.remove(&group, MemberId(id));
                replies.push(Box::new(move || call.answer(result)));
            }
            Command::MemberReadmit { group, name } => {
                let result = answers::group_named(&self.authority, &group).and_then(|id| {
                    self.authority.readmit_member(id, &name).map_err(fault)?;
                    info!(event = "member_readmitted", %group, member = %name, "{name} may register again");
                    Ok(MemberChanged { group, name, removed: false })
                });
                replies.push(Box::new(move || call.answer(result)));
            }
            Command::Reload { dry_run } => {
                let result = self.reload(dry_run);
                let result =
                    result.map_err(|error| Fault::new(FaultCode::InvalidArgument, error.to_string()));
                replies.push(Box::new(move || call.answer(result)));
            }
            other @ (Command::Runtime {}
            | Command::SaShow { .. }
            | Command::SaDelete { .. }
            | Command::Policy { .. }
            | Command::Spi { .. }
            | Command::UnknownSpi {}
            | Command::SaExport { .. }
            | Command::Trace { .. }
            | Command::Capture { .. }
            | Command::ProbeRead { .. }
            | Command::ProbeStop { .. }
            | Command::Resync { .. }) => {
                call.answer(Err::<(), _>(other.not_here("a key server")));
            }
        }
    }

    /// Tells the service manager how it stands, and that it lives.
    fn tell_service(&mut self) {
        let status = answers::status(&self.authority, self.started);
        let members: usize = self.authority.groups().map(|group| group.members().len()).sum();
        let groups = status.groups.iter().map(|group| (group.name.as_str(), group.state.as_str()));
        self.service.status(status_line(&format!("{members} members"), groups));
        self.service.alive();
    }

    fn rekey(&mut self, group: &str, kek: bool) -> Result<Rekeyed, Fault> {
        let id = answers::group_named(&self.authority, group)?;
        let what = if kek { RekeyWhat::TeksAndKek } else { RekeyWhat::Teks };
        self.authority.rekey(now(), id, what, &mut SystemRandom).map_err(fault)?;
        let members = self.authority.group(id).map_or(0, |group| group.members().len());
        Ok(Rekeyed { group: group.to_owned(), members: u64::try_from(members).unwrap_or(u64::MAX) })
    }

    fn remove(&mut self, group: &str, member: MemberId) -> Result<MemberChanged, Fault> {
        let id = answers::group_named(&self.authority, group)?;
        let members = self.authority.group(id).map(|group| group.members());
        let name = members.and_then(|members| members.get(member)).map(|member| member.key.to_string());
        self.authority.remove_member(now(), id, member, &mut SystemRandom).map_err(fault)?;
        Ok(MemberChanged { group: group.to_owned(), name: name.unwrap_or_default(), removed: true })
    }

    /// Reads the configuration again, and does what it says or only tells.
    fn reload(&mut self, dry_run: bool) -> Result<Reloaded, ConfigError> {
        if dry_run {
            return self.read_again(true);
        }
        self.service.reloading();
        let reloaded = self.read_again(false);
        self.service.ready();
        reloaded
    }

    fn read_again(&mut self, dry_run: bool) -> Result<Reloaded, ConfigError> {
        let mut config = Config::load(&self.file)?;
        for address in &mut config.server.listen {
            *address = bound(&self.listen, *address);
        }
        for group in &mut config.groups {
            group.rekey.source = bound(&self.listen, group.rekey.source);
        }
        let mut warnings = config.warnings.clone();
        let (new, old) = (&config.server, &self.server);
        if new.listen != old.listen || new.store != old.store || config.metrics != self.metrics {
            let later = "listen, store and [metrics] take effect only when the key server is started again";
            warnings.push(later.to_owned());
        }
        let settings = config.settings();
        let plan = if dry_run {
            self.authority.plan(&settings)
        } else {
            self.directory.replace(config.peers.clone());
            let peers = Arc::clone(&self.directory) as _;
            let endpoint = endpoint_config(&config.server, peers, self.shards);
            for shard in &self.orders {
                let _ = shard.send(ToShard::Reconfigure(endpoint.clone()));
            }
            let (listen, store) = (self.server.listen.clone(), self.server.store.clone());
            self.server = Server { listen, store, ..config.server };
            self.authority.reload(now(), settings, &mut SystemRandom)
        };
        let changes = answers::changes(&plan);
        if !dry_run {
            for warning in &warnings {
                warn!(event = "configuration_warning", "{warning}");
            }
            for change in &changes {
                info!(event = "configuration_changed", "{change}");
            }
            info!(event = "reloaded", changes = changes.len(), "the configuration has been read again");
        }
        Ok(Reloaded { dry_run, changes, needs_restart: Vec::new(), warnings })
    }
}

fn fault(error: CommandError) -> Fault {
    let code = match error {
        CommandError::NoSuchGroup | CommandError::NoSuchMember => FaultCode::NotFound,
        CommandError::TooManyGenerations(_) => FaultCode::Busy,
    };
    Fault::new(code, error.to_string())
}
