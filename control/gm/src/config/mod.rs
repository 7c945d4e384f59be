//! `gm.toml`, read and checked once into a [`Config`] that cannot be wrong. Control thread, at the
//! start. The first thing that is wrong is told with file, line, column, key and remedy.

mod group;
mod machine;
mod parking;
mod registration;
mod replay;
mod sa;
mod selector;
#[cfg(test)]
mod tests;

pub use getvpn_config::ConfigError;
pub use machine::Machine;
pub use registration::{KeyServer, Limits, Recovery, Registration};

use getvpn_config::socket;
use getvpn_config::{Document, Section, Unique, Value, files, metrics, protocol};
use getvpn_ctl::{DEFAULT_GM_SOCKET, Permissions};
use getvpn_dataplane::{
    Enforce, ExceptionConfig, Idle, LinkConfig, LocalAction, LocalRule, ParkingLimits, SaParams, WithoutSa,
};
use getvpn_gdoi::member::budget::SharedBudget;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A member's configuration.
#[derive(Debug)]
pub struct Config {
    /// EAL arguments, without the core list.
    pub eal_args: Vec<String>,
    /// The workers.
    pub workers: Workers,
    /// What may wait for SAs, for each worker.
    pub parking: ParkingLimits,
    /// At least one.
    pub links: Vec<LinkConfig>,
    /// The control thread's files.
    pub control: Control,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    /// This member's exceptions, in order.
    pub local: Vec<LocalRule>,
    /// The groups, in order.
    pub groups: Vec<GroupConfig>,
    /// Files that hold keys: this one if it does, and those that it names.
    pub secrets: Vec<PathBuf>,
    /// What is not wrong but should be put right, one line each: the file holds keys and others may read
    /// it, or something weak is named.
    pub warnings: Vec<String>,
}

/// `[workers]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers {
    /// The CPU of each worker; at least one, all different, all on this machine.
    pub cores: Vec<u32>,
    /// What they do when nothing arrives.
    pub idle: Idle,
    /// Buffers for frames.
    pub buffers: u32,
    /// How long a full transmit queue is tried again, in microseconds.
    pub tx_wait_us: u32,
    /// How long the ports may take to come up before traffic starts without them.
    pub link_wait: Duration,
}

/// `[control]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The control socket.
    pub socket: PathBuf,
    /// Who may connect to it.
    pub permissions: Permissions,
    /// The directory of what must survive a restart.
    pub state: PathBuf,
    /// Where datagrams of key servers arrive, and where those to them come from. Port 0 lets the system
    /// choose.
    pub listen: SocketAddr,
    /// The address of the interface that multicast rekeys arrive on; `None` leaves it to the routes.
    pub multicast_interface: Option<IpAddr>,
    /// INVALID-SPI a second, of all groups together.
    pub invalid_spi_per_s: u32,
}

/// `[[group]]`.
#[derive(Debug)]
pub struct GroupConfig {
    /// Its name; no two are the same.
    pub name: String,
    /// Its number on the wire.
    pub id: Option<u32>,
    /// What becomes of its traffic while it has no SA.
    pub without_sa: WithoutSa,
    /// How strictly it protects.
    pub enforce: Enforce,
    /// Where its SAs come from, if not from here.
    pub registration: Option<Registration>,
    /// Its manual SAs, in order.
    pub sas: Vec<ManualSa>,
}

/// `[[group.sa]]`.
pub struct ManualSa {
    /// The SA. Its counters are set from what is reserved on disk before it is used.
    pub params: SaParams,
    /// How long it lives from the daemon's start.
    pub lifetime: Option<Duration>,
}

impl std::fmt::Debug for ManualSa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ManualSa({:#010x}, {})", self.params.spi, self.params.transform.name())
    }
}

const DEVICE: &str = "a device as DPDK names it, such as \"net_pcap0\" or \"0000:01:00.0\"";

const KEYS: [&str; 8] = ["eal", "workers", "link", "parking", "control", "metrics", "policy", "group"];

/// EAL options that say which cores to use, which this daemon derives from `[workers] cores`.
const CORE_OPTIONS: [&str; 6] = ["--lcores", "--main-lcore", "-l", "-c", "-s", "-S"];

/// GDOI's port (RFC 6407 section 2.1) on every IPv4 address.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 848);

/// lcore 0 is the control thread's, and DPDK as Debian builds it has 128.
const MAX_WORKERS: usize = 127;

impl Config {
    /// Reads and checks a configuration file, for this machine.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(file: &Path, machine: &Machine) -> Result<Config, ConfigError> {
        let text = getvpn_config::read(file)?;
        let mut config = Self::parse(file, &text, machine)?;
        let keys = config.groups.iter().any(|group| !group.sas.is_empty());
        let problem = files::open_to_others(file).filter(|_| keys);
        if keys {
            config.secrets.push(file.to_owned());
        }
        config.warnings.extend(problem.map(|problem| format!("{} {problem}", file.display())));
        Ok(config)
    }

    fn parse(file: &Path, text: &str, machine: &Machine) -> Result<Config, ConfigError> {
        let document = Document::parse(file, text)?;
        let (root, base) = (document.root(), document.base());
        root.only(&KEYS)?;
        let workers = workers(&root, machine)?;
        let control = control(&root, file, base)?;
        let mut warnings = Vec::new();
        let groups = group::read_all(&root, base, workers.cores.len(), control.listen, &mut warnings)?;
        Ok(Config {
            eal_args: eal_args(&root)?,
            parking: parking::read(&root, &workers)?,
            workers,
            links: links(&root)?,
            control,
            metrics: metrics::read(&root, metrics::MEMBER_PORT, &mut warnings)?,
            local: local_rules(&root)?,
            groups,
            secrets: secrets(&root, base)?,
            warnings,
        })
    }
}

/// The files with keys that the groups name; they have been read.
fn secrets(root: &Section<'_>, base: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let mut all = Vec::new();
    for group in root.tables("group")? {
        for value in ["psk_file", "private_key"].iter().filter_map(|key| group.get(key)) {
            all.push(files::path(&value, base)?);
        }
    }
    Ok(all)
}

/// Why an EAL argument is not the user's to give, if it is not.
#[must_use]
pub fn refuse_eal_argument(argument: &str) -> Option<String> {
    if matches!(argument, "-h" | "--help") {
        return Some(format!(
            "{argument} would end the member before it starts; EAL's options are told by `dpdk-testpmd --help`"
        ));
    }
    let option = CORE_OPTIONS.iter().find(|&&option| match option.strip_prefix("--") {
        Some(_) => argument.split('=').next() == Some(option),
        None => argument.starts_with(option) && !argument.starts_with("--"),
    })?;
    Some(format!("{option} is derived from [workers] cores; set those and remove it"))
}

fn eal_args(root: &Section<'_>) -> Result<Vec<String>, ConfigError> {
    let Some(section) = root.table("eal")? else { return Ok(Vec::new()) };
    section.only(&["args"])?;
    let Some(args) = section.get("args") else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for value in args.items()? {
        let argument = value.string("an EAL argument, such as \"--no-huge\"")?;
        if argument.contains('\0') {
            return Err(value.error("an argument cannot hold a NUL character; remove it"));
        }
        if let Some(problem) = refuse_eal_argument(argument) {
            return Err(value.error(problem));
        }
        all.push(argument.to_owned());
    }
    Ok(all)
}

fn workers(root: &Section<'_>, machine: &Machine) -> Result<Workers, ConfigError> {
    let Some(section) = root.table("workers")? else {
        return Err(root.missing("workers", "[workers] with cores = [...], one core for each worker"));
    };
    section.only(&["cores", "idle", "buffers", "tx_wait_us", "link_wait_ms"])?;
    let cores_value = section.need("cores", "the CPU of each worker, such as cores = [1]")?;
    let mut cores = Vec::new();
    let available = machine.cpu_list();
    for value in cores_value.items()? {
        let core: u32 = value.integer(0..=u64::from(u32::MAX), "a CPU number")?;
        if cores.contains(&core) {
            return Err(value.error(format!("CPU {core} is named twice; each worker needs its own")));
        }
        if !machine.cpus.contains(&core) {
            let problem = format!("this process may not use CPU {core}; it may use {available}");
            return Err(value.error(problem));
        }
        cores.push(core);
    }
    if cores.is_empty() {
        return Err(cores_value.error(format!("empty; name at least one CPU of {available}")));
    }
    if cores.len() > MAX_WORKERS {
        return Err(cores_value.error(format!("{} workers; at most {MAX_WORKERS} are possible", cores.len())));
    }
    let integer =
        |key, range, what, default| section.get(key).map_or(Ok(default), |value| value.integer(range, what));
    Ok(Workers {
        cores,
        idle: section
            .get("idle")
            .map_or(Ok(Idle::Spin), |value| value.choice(&[("spin", Idle::Spin), ("sleep", Idle::Sleep)]))?,
        buffers: integer("buffers", 1024..=16_777_216, "a number of packet buffers", 16_384)?,
        tx_wait_us: integer("tx_wait_us", 0..=1_000_000, "a time in microseconds", 100)?,
        link_wait: Duration::from_millis(
            integer("link_wait_ms", 0..=600_000, "a time in milliseconds", 9_000)?.into(),
        ),
    })
}

fn links(root: &Section<'_>) -> Result<Vec<LinkConfig>, ConfigError> {
    let mut links = Vec::new();
    let mut names = Unique::default();
    let mut ports = Unique::default();
    for section in root.tables("link")? {
        section.only(&["name", "lan", "wan", "mtu", "exception", "exception_mac"])?;
        let name_value = section.need("name", "the link's name")?;
        let name = name_value.string("a name")?;
        names.claim(&name_value, name.to_owned(), &format!("a link {name:?}"))?;
        let mut port = |value: Value<'_>| {
            let device = value.string(DEVICE)?;
            let claimed = ports.claim(&value, device.to_owned(), &format!("a port on device {device:?}"));
            claimed.map(|()| device.to_owned())
        };
        let (lan, wan) = (port(section.need("lan", DEVICE)?)?, port(section.need("wan", DEVICE)?)?);
        let device = section.get("exception").map(&mut port).transpose()?;
        let mac =
            section.get("exception_mac").map(|value| exception_mac(&value, device.is_some())).transpose()?;
        let mtu = match section.get("mtu") {
            Some(value) => value.integer(576..=9_216, "an MTU in octets")?,
            None => 1500,
        };
        let exception = device.map(|device| ExceptionConfig { device, mac });
        links.push(LinkConfig { name: name.to_owned(), lan, wan, mtu, exception });
    }
    if links.is_empty() {
        return Err(root.missing("link", "at least one [[link]] with name, lan and wan"));
    }
    Ok(links)
}

/// The Ethernet address of an exception port.
fn exception_mac(value: &Value<'_>, has_port: bool) -> Result<[u8; 6], ConfigError> {
    const WHAT: &str = "an Ethernet address of one station, such as \"02:00:00:00:00:07\"";
    if !has_port {
        return Err(value.error("the link has no exception port; name one by exception, or remove this"));
    }
    let text = value.string(WHAT)?;
    let octets: Option<Vec<u8>> = text
        .split(':')
        .map(|octet| u8::from_str_radix(octet, 16).ok().filter(|_| octet.len() == 2))
        .collect();
    let mac = octets.and_then(|octets| <[u8; 6]>::try_from(octets).ok());
    let mac = mac.filter(|mac| mac[0] & 1 == 0 && *mac != [0; 6]);
    mac.ok_or_else(|| value.error(format!("{text:?} is none; expected {WHAT}")))
}

fn control(root: &Section<'_>, file: &Path, base: &Path) -> Result<Control, ConfigError> {
    // Beside the keys, so that state and keys move together and no two members share it by accident.
    let mut control = Control {
        socket: DEFAULT_GM_SOCKET.into(),
        permissions: Permissions::default(),
        state: file.with_extension("state"),
        listen: DEFAULT_LISTEN,
        multicast_interface: None,
        invalid_spi_per_s: SharedBudget::DEFAULT.per_second,
    };
    let Some(section) = root.table("control")? else { return Ok(control) };
    let keys = ["socket", "state", "listen", "multicast_interface", "invalid_spi_per_s"];
    section.only(&[&keys[..], &socket::KEYS].concat())?;
    control.permissions = socket::permissions(&section)?;
    if let Some(value) = section.get("socket") {
        control.socket = files::socket(&value, base)?;
    }
    if let Some(value) = section.get("state") {
        control.state = files::path(&value, base)?;
    }
    if let Some(value) = section.get("listen") {
        control.listen = protocol::socket_address(&value, "an address with its port")?;
        if control.listen.ip().is_multicast() {
            return Err(value.error("a multicast address; name one of this machine, or 0.0.0.0 for all"));
        }
    }
    if let Some(value) = section.get("multicast_interface") {
        control.multicast_interface = Some(interface(&value)?);
    }
    if let Some(value) = section.get("invalid_spi_per_s") {
        control.invalid_spi_per_s = value.integer(1..=10_000, "a rate")?;
    }
    Ok(control)
}

fn interface(value: &Value<'_>) -> Result<IpAddr, ConfigError> {
    const WHAT: &str = "an address of an interface of this machine, such as \"192.0.2.7\"";
    let text = value.string(WHAT)?;
    let address: Option<IpAddr> = text.parse().ok();
    let address = address.filter(|address| !address.is_multicast() && !address.is_unspecified());
    address.ok_or_else(|| value.error(format!("{text:?} is none; expected {WHAT}")))
}

fn local_rules(root: &Section<'_>) -> Result<Vec<LocalRule>, ConfigError> {
    let mut rules = Vec::new();
    for section in root.tables("policy")? {
        section.only(&[&["action"][..], &selector::KEYS].concat())?;
        let action = section.need("action", "action = \"bypass\" or \"drop\"")?;
        let action = action.choice(&[("bypass", LocalAction::Bypass), ("drop", LocalAction::Drop)])?;
        rules.push(LocalRule { selector: selector::read(&section)?, action });
    }
    Ok(rules)
}
