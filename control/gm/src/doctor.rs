//! `doctor` for a member: what of its configuration matters to the machine, and `getvpn-gm --doctor`, which looks before
//! the member starts.

use crate::config::{Config, GroupConfig, Machine};
use getvpn_config::ConfigError;
use getvpn_ctl::render;
use getvpn_ctl::reply::{Check, Doctor};
use getvpn_dataplane::Idle;
use getvpn_doctor::{Certificate, Subject, Tree, examine};
use getvpn_gdoi::crypto::x509;
use getvpn_gdoi::ike::Credentials;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a member needs of its machine; `eal` are all arguments for EAL.
#[must_use]
pub fn subject(config: &Config, groups: &[GroupConfig], eal: &[String]) -> Subject {
    let devices = config.links.iter().flat_map(|link| [link.lan.clone(), link.wan.clone()]);
    Subject {
        cores: config.workers.cores.clone(),
        spin: config.workers.idle == Idle::Spin,
        devices: devices.collect(),
        hugepages: !eal.iter().any(|argument| argument == "--no-huge"),
        running: false,
        secrets: config.secrets.clone(),
        certificates: groups.iter().filter_map(certificate).collect(),
        unix_time: unix_time(),
    }
}

/// Seconds since 1970.
#[must_use]
pub fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn certificate(group: &GroupConfig) -> Option<Certificate> {
    let Credentials::Certificate(credentials) = &group.registration.as_ref()?.credentials else {
        return None;
    };
    let own = x509::Certificate::from_der(credentials.chain().first()?).ok()?;
    let (not_before, not_after) = (own.not_before(), own.not_after());
    Some(Certificate { of: group.name.clone(), not_before, not_after })
}

/// Looks before the member starts, prints what was found, and tells whether it could run.
#[must_use]
pub fn before_start(file: &Path, machine: &Machine, more_eal: &[String], json: bool) -> bool {
    let reply = Doctor { checks: look(Config::load(file, machine), more_eal) };
    match json {
        true => println!("{}", serde_json::to_string(&reply).unwrap_or_default()),
        false => print!("{}", render::doctor(&reply)),
    }
    !reply.is_red()
}

fn look(config: Result<Config, ConfigError>, more_eal: &[String]) -> Vec<Check> {
    const NAME: &str = "configuration";
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            let mut checks = vec![Check::red(NAME, error.to_string(), "mend it, and try again with --check")];
            checks
                .extend(examine(&Tree::default(), &Subject { unix_time: unix_time(), ..Subject::default() }));
            return checks;
        }
    };
    let mut checks = match config.warnings.is_empty() {
        true => vec![Check::green(NAME, "nothing is wrong with it")],
        false => vec![Check::yellow(NAME, config.warnings.join("; "), "see README.md for what is strong")],
    };
    let eal = [&config.eal_args[..], more_eal].concat();
    checks.extend(examine(&Tree::default(), &subject(&config, &config.groups, &eal)));
    for group in &config.groups {
        let servers = group.registration.iter().flat_map(|registration| &registration.key_servers);
        checks.extend(servers.map(|server| reachable(&group.name, server.address)));
    }
    checks
}

/// An empty datagram, which no key server minds: whether there is a way, and nobody says that nothing is there.
fn reachable(group: &str, address: SocketAddr) -> Check {
    const PATIENCE: Duration = Duration::from_millis(200);
    let name = format!("key server of {group}");
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let asked = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(&[])?;
        socket.recv(&mut [0; 1])
    });
    match asked.map_err(|error| (error.kind(), error)) {
        Ok(_) | Err((ErrorKind::WouldBlock | ErrorKind::TimedOut, _)) => {
            Check::green(&name, format!("there is a way to {address}, and nobody objects"))
        }
        Err((ErrorKind::ConnectionRefused, _)) => Check::red(
            &name,
            format!("nothing listens at {address}"),
            "start the key server, or correct key_servers",
        ),
        Err((_, error)) => {
            let fix = format!("`ip route get {}`; add a route, or correct key_servers", address.ip());
            Check::red(&name, format!("{address}: {error}"), fix)
        }
    }
}
