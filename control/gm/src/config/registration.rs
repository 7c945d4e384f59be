//! What a group needs to register with key servers. Control thread, at the start.

use super::replay;
use crate::reserve::Fingerprint;
use getvpn_config::{ConfigError, Section, Value, credentials, files, protocol};
use getvpn_dataplane::ReplayPolicy;
use getvpn_gdoi::ike::{self, Credentials, Identity, Suite};
use getvpn_gdoi::wire::Compat;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// How a member gets SAs from key servers.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Tried in order; at least one, all different.
    pub key_servers: Vec<KeyServer>,
    /// Who this member says that it is; one of its certificate's names if it has one. `None`, with a
    /// pre-shared key only, is the address that it sends from.
    pub identity: Option<Identity>,
    /// How it proves that.
    pub credentials: Credentials,
    /// What it offers in phase 1, in order of preference; at least one.
    pub suites: Vec<Suite>,
    /// The life of a phase 1 that it offers.
    pub phase1_lifetime: Duration,
    /// How long a key server may be silent before it is asked whether it is there (RFC 3706); `None`:
    /// never.
    pub dpd_interval: Option<Duration>,
    /// How messages look.
    pub compat: Compat,
    /// How patient it is when something is missing.
    pub recovery: Recovery,
    /// What it takes from a key server.
    pub limits: Limits,
    /// The replay windows of SAs that come from a key server. `Sender` is for SAs whose IVs tell the sender,
    /// which are those of counter modes with sender IDs; the others have no window then, because a group's
    /// SA has many senders, each with sequence numbers of its own.
    pub replay: ReplayPolicy,
    /// Tells whether the files that it names are what they were.
    pub files: Fingerprint,
}

impl Registration {
    /// Whether nothing differs, the contents of files included.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let key = |r: &Self| {
            (
                (
                    r.key_servers.clone(),
                    r.identity.clone(),
                    r.suites.clone(),
                    r.phase1_lifetime,
                    r.dpd_interval,
                ),
                (r.compat, r.recovery, r.limits, r.replay, r.files.clone()),
            )
        };
        key(self) == key(other)
    }
}

/// A key server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyServer {
    /// Where it is.
    pub address: SocketAddr,
    /// Who it must prove to be; `None` is its address where it has a certificate, and anybody who has the
    /// pre-shared key otherwise.
    pub identity: Option<Identity>,
}

/// `recovery`: rule S5 of the synchronisation method, and what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// How often INVALID-SPI is sent for an SPI before the member registers again; at least once.
    pub tries: u32,
    /// How long the first one waits for a rekey; each further one waits twice as long.
    pub first_retry: Duration,
    /// How long the member waits when no key server let it register; twice as long each time.
    pub first_backoff: Duration,
    /// The longest of those waits.
    pub longest_backoff: Duration,
    /// How long a registration may take before the next key server is tried.
    pub give_up: Duration,
    /// How long an SPI that the key server does not know is left alone.
    pub unknown_for: Duration,
    /// INVALID-SPI a second, in the whole group, for SPIs that packets came with.
    pub invalid_spi_per_s: u32,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            tries: 3,
            first_retry: Duration::from_millis(200),
            first_backoff: Duration::from_secs(1),
            longest_backoff: Duration::from_secs(60),
            give_up: Duration::from_secs(20),
            unknown_for: Duration::from_secs(60),
            invalid_spi_per_s: 20,
        }
    }
}

/// `limits`: what an authentic key server may ask this member to hold. What goes beyond is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// SAs in one policy.
    pub sas: usize,
    /// Selectors in one policy, of all its SAs together.
    pub selectors: usize,
    /// The longest lifetime of an SA or of a Rekey SA.
    pub lifetime: Duration,
    /// SAs of the group at once, with those that are being replaced.
    pub sad: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sas: 256, selectors: 1_024, lifetime: Duration::from_secs(31 * 86_400), sad: 1_024 }
    }
}

/// The keys of a `[[group]]` that are about key servers, but for `key_servers` itself.
pub(super) const KEYS: [&str; 17] = [
    "key_server_ids",
    "local_id",
    "psk_file",
    "certificate",
    "private_key",
    "trust_anchors",
    "crls",
    "phase1",
    "phase1_lifetime_s",
    "dpd_interval_s",
    "compat",
    "recovery",
    "limits",
    "sad_limit",
    "replay",
    "replay_window",
    "replay_senders",
];

const DEFAULT_DPD_INTERVAL: Duration = Duration::from_secs(30);

/// Reads what a group says of key servers, for a member that sends from `listen`; `None` when it names
/// none.
pub(super) fn read(
    section: &Section<'_>,
    base: &Path,
    workers: usize,
    listen: SocketAddr,
    warnings: &mut Vec<String>,
) -> Result<Option<Registration>, ConfigError> {
    let Some(servers) = section.get("key_servers") else {
        return match KEYS.iter().find_map(|key| section.get(key)) {
            Some(value) => Err(value.error("has no effect without key_servers; add them or remove it")),
            None => Ok(None),
        };
    };
    let key_servers = key_servers(section, &servers, listen)?;
    let credentials = credentials::read(section, base)?;
    let certificate = match &credentials {
        Credentials::Certificate(certificate) => Some(certificate.as_ref()),
        Credentials::Psk(_) => None,
    };
    let suites = protocol::suites(section)?;
    warnings.extend(protocol::weak_suites(section, &suites));
    Ok(Some(Registration {
        key_servers,
        identity: credentials::local_identity(section, certificate)?,
        suites,
        phase1_lifetime: section.get("phase1_lifetime_s").map_or(Ok(ike::DEFAULT_LIFETIME), |value| {
            value.seconds(60..=u32::MAX, "the life of a phase 1")
        })?,
        dpd_interval: match section.get("dpd_interval_s") {
            None => Some(DEFAULT_DPD_INTERVAL),
            Some(value) => {
                Some(value.seconds(0..=86_400, "an interval, 0 for never,")?).filter(|wait| !wait.is_zero())
            }
        },
        compat: protocol::compat(section)?,
        recovery: recovery(section)?,
        limits: limits(section)?,
        replay: replay::read(section, None, true, workers)?,
        credentials,
        files: fingerprint(section, base)?,
    }))
}

/// Of what is in the files of credentials; they have been read and checked.
fn fingerprint(section: &Section<'_>, base: &Path) -> Result<Fingerprint, ConfigError> {
    let mut all = Zeroizing::new(Vec::new());
    for key in ["psk_file", "certificate", "private_key", "trust_anchors", "crls"] {
        for value in section.get(key).map(|value| value.one_or_several()).unwrap_or_default() {
            let path = files::path(&value, base)?;
            let octets = std::fs::read(&path).map(Zeroizing::new);
            let octets =
                octets.map_err(|e| value.error(format!("{} cannot be read: {e}", path.display())))?;
            all.extend_from_slice(&Zeroizing::new(octets.len().to_be_bytes())[..]);
            all.extend_from_slice(&octets);
        }
    }
    Ok(Fingerprint::of(&all))
}

fn key_servers(
    section: &Section<'_>,
    servers: &Value<'_>,
    listen: SocketAddr,
) -> Result<Vec<KeyServer>, ConfigError> {
    let mut key_servers: Vec<KeyServer> = Vec::new();
    for value in servers.items()? {
        let address =
            protocol::socket_address(&value, "an address with its port, such as \"192.0.2.1:848\"")?;
        if key_servers.iter().any(|known| known.address == address) {
            return Err(value.error(format!("{address} is named twice; remove one")));
        }
        let any = listen.is_ipv6() && listen.ip().is_unspecified();
        if address.is_ipv4() != listen.is_ipv4() && !any {
            return Err(value.error(format!(
                "{address} cannot be reached from {listen}; set [control] listen = \"[::]:{}\" for both families",
                listen.port()
            )));
        }
        key_servers.push(KeyServer { address, identity: None });
    }
    if key_servers.is_empty() {
        return Err(servers.error("empty; name at least one, such as [\"192.0.2.1:848\"], or remove the key"));
    }
    let Some(ids) = section.get("key_server_ids") else { return Ok(key_servers) };
    let values = ids.items()?;
    if values.len() != key_servers.len() {
        let problem =
            format!("{} of {} key servers; give one for each, in order", values.len(), key_servers.len());
        return Err(ids.error(problem));
    }
    for (server, value) in key_servers.iter_mut().zip(&values) {
        server.identity = Some(protocol::identity(value)?);
    }
    Ok(key_servers)
}

fn recovery(section: &Section<'_>) -> Result<Recovery, ConfigError> {
    let mut recovery = Recovery::default();
    let Some(section) = section.table("recovery")? else { return Ok(recovery) };
    section.only(&[
        "tries",
        "first_retry_ms",
        "first_backoff_s",
        "longest_backoff_s",
        "give_up_s",
        "unknown_for_s",
        "invalid_spi_per_s",
    ])?;
    if let Some(value) = section.get("tries") {
        recovery.tries = value.integer(1..=20, "a number of tries")?;
    }
    if let Some(value) = section.get("first_retry_ms") {
        recovery.first_retry = Duration::from_millis(value.integer(10..=60_000, "a time in milliseconds")?);
    }
    if let Some(value) = section.get("first_backoff_s") {
        recovery.first_backoff = value.seconds(1..=3_600, "a wait")?;
        recovery.longest_backoff = recovery.longest_backoff.max(recovery.first_backoff);
    }
    if let Some(value) = section.get("longest_backoff_s") {
        recovery.longest_backoff = value.seconds(1..=86_400, "a wait")?;
        if recovery.longest_backoff < recovery.first_backoff {
            let first = recovery.first_backoff.as_secs();
            return Err(value.error(format!("less than first_backoff_s, which is {first}; make it more")));
        }
    }
    if let Some(value) = section.get("give_up_s") {
        recovery.give_up = value.seconds(1..=300, "a time")?;
    }
    if let Some(value) = section.get("unknown_for_s") {
        recovery.unknown_for = value.seconds(1..=3_600, "a time")?;
    }
    if let Some(value) = section.get("invalid_spi_per_s") {
        recovery.invalid_spi_per_s = value.integer(1..=10_000, "a rate")?;
    }
    Ok(recovery)
}

fn limits(section: &Section<'_>) -> Result<Limits, ConfigError> {
    let mut limits = Limits::default();
    if let Some(section) = section.table("limits")? {
        section.only(&["sas", "selectors", "lifetime_s"])?;
        if let Some(value) = section.get("sas") {
            limits.sas = value.integer(1..=4_096, "a number of SAs")?;
        }
        if let Some(value) = section.get("selectors") {
            limits.selectors = value.integer(1..=65_536, "a number of selectors")?;
        }
        if let Some(value) = section.get("lifetime_s") {
            limits.lifetime = value.seconds(60..=u32::MAX, "a lifetime")?;
        }
    }
    limits.sad = limits.sad.max(2 * limits.sas);
    if let Some(value) = section.get("sad_limit") {
        limits.sad = value.integer(1..=65_536, "a number of SAs")?;
        if limits.sad < 2 * limits.sas {
            return Err(value.error(format!(
                "a policy may have {} SAs, and while another follows both are held; give {} or more, or lower \
                 limits.sas",
                limits.sas,
                2 * limits.sas
            )));
        }
    }
    Ok(limits)
}
