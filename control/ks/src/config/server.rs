//! `[server]`: where the key server listens, who it is, what it accepts and how much of it. Read at the
//! daemon's start.

use getvpn_config::{ConfigError, Section, credentials, files, protocol, psk};
use getvpn_gdoi::crypto::Secret;
use getvpn_gdoi::ike::{self, CertificateCredentials, Identity, Suite};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it takes datagrams; at least one, all different. The first of each address family is where
    /// rekeys come from. Port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// Who it says it is; one of the certificate's names where there is a certificate.
    pub identity: Identity,
    /// What it proves that with to peers that have certificates.
    pub certificate: Option<Arc<CertificateCredentials>>,
    /// The directory of its store.
    pub store: PathBuf,
    /// What it accepts in phase 1, in order of preference; at least one.
    pub suites: Vec<Suite>,
    /// The longest that a phase 1 lives, whatever a peer offers.
    pub phase1_lifetime: Duration,
    /// How long a peer may be silent before it is asked whether it is there (RFC 3706); `None`: never.
    pub dpd_interval: Option<Duration>,
    /// How much it takes.
    pub bounds: Bounds,
}

/// `[server.bounds]`: what others can make grow, and how often they can ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Phase 1s that are not authenticated yet; more are not answered.
    pub half_open: u32,
    /// Established phase 1s; the longest idle one makes room.
    pub phase1s: u32,
    /// Member records of all groups.
    pub members: u32,
    /// Registrations begun in a second; more have to try again.
    pub registrations_per_s: u32,
    /// INVALID-SPI notifications answered in a second, for each member.
    pub member_invalid_spi_per_s: u32,
    /// The same for all members together.
    pub invalid_spi_per_s: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            half_open: 8_192,
            phase1s: 65_536,
            members: 100_000,
            registrations_per_s: 2_000,
            member_invalid_spi_per_s: 10,
            invalid_spi_per_s: 2_000,
        }
    }
}

/// Where the store is unless a configuration says otherwise.
pub(super) const DEFAULT_STORE: &str = "/var/lib/getvpn/ks";

const KEYS: [&str; 12] = [
    "listen",
    "local_id",
    "psk_file",
    "certificate",
    "private_key",
    "trust_anchors",
    "crls",
    "store",
    "phase1",
    "phase1_lifetime_s",
    "dpd_interval_s",
    "bounds",
];

/// Reads `[server]`, and the pre-shared key of peers that have none of their own.
pub(super) fn read(
    root: &Section<'_>,
    base: &Path,
    warnings: &mut Vec<String>,
) -> Result<(Server, Option<Secret>), ConfigError> {
    let Some(section) = root.table("server")? else {
        return Err(root.missing("server", "[server] with listen and local_id"));
    };
    section.only(&KEYS)?;
    let listen = listen(&section)?;
    let certificate = credentials::certificate(&section, base)?;
    let identity = match credentials::local_identity(&section, certificate.as_deref())? {
        Some(identity) => identity,
        None => {
            return Err(section.missing("local_id", "who this key server is, such as \"ks1.example.net\""));
        }
    };
    let key = section.get("psk_file").map(|value| psk::read(&value, base)).transpose()?;
    let suites = protocol::suites(&section)?;
    warnings.extend(protocol::weak_suites(&section, &suites));
    let server = Server {
        listen,
        identity,
        certificate,
        store: section.get("store").map_or(Ok(DEFAULT_STORE.into()), |value| files::path(&value, base))?,
        suites,
        phase1_lifetime: section.get("phase1_lifetime_s").map_or(Ok(ike::DEFAULT_LIFETIME), |value| {
            value.seconds(60..=u32::MAX, "the life of a phase 1")
        })?,
        dpd_interval: dpd_interval(&section)?,
        bounds: bounds(&section)?,
    };
    Ok((server, key))
}

fn listen(section: &Section<'_>) -> Result<Vec<SocketAddr>, ConfigError> {
    const WHAT: &str = "an address with its port, such as \"192.0.2.1:848\"";
    let named = section.need("listen", "where to take datagrams, such as listen = [\"192.0.2.1:848\"]")?;
    let mut listen: Vec<SocketAddr> = Vec::new();
    for value in named.one_or_several() {
        let address = protocol::socket_address(&value, WHAT)?;
        if address.ip().is_unspecified() {
            return Err(value.error(format!(
                "{address} is every address; name each one that members use, so that answers leave from the one \
                 that was asked"
            )));
        }
        if address.ip().is_multicast() {
            return Err(value.error(format!("{address} is a multicast address; name one of this machine")));
        }
        if address.port() != 0 && listen.contains(&address) {
            return Err(value.error(format!("{address} is named twice; remove one")));
        }
        listen.push(address);
    }
    if listen.is_empty() {
        return Err(named.error("empty; name at least one, such as [\"192.0.2.1:848\"]"));
    }
    Ok(listen)
}

fn dpd_interval(section: &Section<'_>) -> Result<Option<Duration>, ConfigError> {
    let Some(value) = section.get("dpd_interval_s") else { return Ok(None) };
    let interval = value.seconds(0..=86_400, "an interval, 0 for never,")?;
    Ok(Some(interval).filter(|interval| !interval.is_zero()))
}

fn bounds(section: &Section<'_>) -> Result<Bounds, ConfigError> {
    let mut bounds = Bounds::default();
    let Some(section) = section.table("bounds")? else { return Ok(bounds) };
    let all: [(&str, &str, &mut u32); 6] = [
        ("half_open", "a number of phase 1s", &mut bounds.half_open),
        ("phase1s", "a number of phase 1s", &mut bounds.phase1s),
        ("members", "a number of members", &mut bounds.members),
        ("registrations_per_s", "a number of registrations", &mut bounds.registrations_per_s),
        ("member_invalid_spi_per_s", "a number of notifications", &mut bounds.member_invalid_spi_per_s),
        ("invalid_spi_per_s", "a number of notifications", &mut bounds.invalid_spi_per_s),
    ];
    section.only(&all.each_ref().map(|(key, ..)| *key))?;
    for (key, what, bound) in all {
        if let Some(value) = section.get(key) {
            *bound = value.integer(1..=10_000_000, what)?;
        }
    }
    if bounds.member_invalid_spi_per_s > bounds.invalid_spi_per_s {
        let at = section.get("member_invalid_spi_per_s").or(section.get("invalid_spi_per_s"));
        let problem = format!(
            "one member may ask {} times a second and all together {} times; the first must not be more",
            bounds.member_invalid_spi_per_s, bounds.invalid_spi_per_s
        );
        return Err(at.map_or_else(|| section.error(&problem), |value| value.error(&problem)));
    }
    Ok(bounds)
}
