//! `doctor` for a key server: its machine, its files, how its groups stand; and `getvpn-ks --doctor`, which looks before
//! it starts.

use crate::config::{Config, ConfigError};
use getvpn_ctl::render;
use getvpn_ctl::reply::{Check, Doctor, KeyServerSync};
use getvpn_doctor::{Certificate, Subject, Tree, examine};
use getvpn_gdoi::crypto::x509;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a key server needs of its machine.
#[must_use]
pub fn subject(config: &Config) -> Subject {
    Subject {
        secrets: config.secrets.clone(),
        certificates: certificate(config).into_iter().collect(),
        unix_time: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        ..Subject::default()
    }
}

fn certificate(config: &Config) -> Option<Certificate> {
    let credentials = config.server.certificate.as_ref()?;
    let own = x509::Certificate::from_der(credentials.chain().first()?).ok()?;
    let (not_before, not_after) = (own.not_before(), own.not_after());
    Some(Certificate { of: "this key server".into(), not_before, not_after })
}

/// Looks before the key server starts, prints what was found, and tells whether it could run.
#[must_use]
pub fn before_start(file: &Path, json: bool) -> bool {
    let reply = Doctor { checks: machine(Config::load(file)) };
    match json {
        true => println!("{}", serde_json::to_string(&reply).unwrap_or_default()),
        false => print!("{}", render::doctor(&reply)),
    }
    !reply.is_red()
}

/// The running one: `sync` is how its groups stand. Reads the configuration and the files that it names.
#[must_use]
pub fn running(file: PathBuf, sync: &KeyServerSync) -> Doctor {
    let mut checks = groups(sync);
    checks.extend(machine(Config::load(&file)));
    Doctor { checks }
}

fn machine(config: Result<Config, ConfigError>) -> Vec<Check> {
    const NAME: &str = "configuration";
    let (check, subject) = match &config {
        Ok(config) if config.warnings.is_empty() => {
            (Check::green(NAME, "nothing is wrong with it"), subject(config))
        }
        Ok(config) => (
            Check::yellow(NAME, config.warnings.join("; "), "see README.md for what is strong"),
            subject(config),
        ),
        Err(error) => {
            let fix = "mend it: the next start, and the next reload, would fail";
            (Check::red(NAME, error.to_string(), fix), Subject::default())
        }
    };
    let mut checks = vec![check];
    checks.extend(examine(&Tree::default(), &subject));
    checks
}

fn groups(sync: &KeyServerSync) -> Vec<Check> {
    let each = sync.groups.iter().map(|group| {
        let name = format!("group {}", group.name);
        let are = |state: &str| group.members.iter().filter(|member| member.state == state).count();
        let (behind, silent, all) = (are("behind"), are("silent"), group.members.len());
        let stand = format!("{}: {all} members, {behind} behind, {silent} silent", group.state);
        let fix = "`sync` names them; is UDP 848 let through to them, do they run?";
        match group.state.as_str() {
            "serving" if behind + silent == 0 => Check::green(&name, stand),
            _ => Check::yellow(&name, stand, fix),
        }
    });
    each.collect()
}
