//! `ks.toml`, read and checked once into a [`Config`] that cannot be wrong. Read at the daemon's start
//! and on reload. The first thing that is wrong is told with file, line, column, key and remedy.

mod group;
mod peer;
mod rekey;
mod server;
#[cfg(test)]
mod tests;

pub use getvpn_config::ConfigError;
pub use peer::{Peer, Peers, Who};
pub use server::{Bounds, Server};

use crate::core::{Access, GroupSettings, Limits, Settings};
use getvpn_config::socket;
use getvpn_config::{Document, Section, files, metrics};
use getvpn_ctl::{DEFAULT_KS_SOCKET, Permissions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A key server's configuration.
#[derive(Debug)]
pub struct Config {
    /// How it is reached, and who it is.
    pub server: Server,
    /// The control socket.
    pub socket: PathBuf,
    /// Who may connect to it.
    pub permissions: Permissions,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    /// Who may authenticate; at least one.
    pub peers: Peers,
    /// The groups, in order; at least one, with different names and numbers.
    pub groups: Vec<GroupSettings>,
    /// Files that hold keys.
    pub secrets: Vec<PathBuf>,
    /// What is not wrong but weak, or without effect: one line each.
    pub warnings: Vec<String>,
}

const KEYS: [&str; 5] = ["server", "control", "metrics", "peer", "group"];

impl Config {
    /// Reads and checks a configuration file and the files that it names.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(file: &Path) -> Result<Config, ConfigError> {
        Self::parse(file, &getvpn_config::read(file)?)
    }

    /// What the core needs of it.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let Bounds { members, registrations_per_s, member_invalid_spi_per_s, invalid_spi_per_s, .. } =
            self.server.bounds;
        Settings {
            groups: self.groups.clone(),
            access: Access::new(&self.peers.settings()),
            limits: Limits {
                members: usize::try_from(members).unwrap_or(usize::MAX),
                member_invalid_spi_per_s,
                invalid_spi_per_s,
                registrations_per_s,
                ..Limits::default()
            },
        }
    }

    fn parse(file: &Path, text: &str) -> Result<Config, ConfigError> {
        let document = Document::parse(file, text)?;
        let (root, base) = (document.root(), document.base());
        root.only(&KEYS)?;
        let mut warnings = Vec::new();
        let (server, default_key) = server::read(&root, base, &mut warnings)?;
        let (socket, permissions) = control(&root, base)?;
        let metrics = metrics::read(&root, metrics::KEY_SERVER_PORT, &mut warnings)?;
        let groups = group::read_all(&root, &server.listen, &mut warnings)?;
        let peers = peer::read_all(&root, base, &server, default_key.as_ref(), &groups)?;
        for group in &groups {
            if !peers.iter().any(|peer| peer.groups.contains(&group.id)) {
                let name = &group.name;
                warnings.push(format!(
                    "{}: no peer may join group {name:?}; add it to the groups of a [[peer]]",
                    file.display()
                ));
            }
        }
        Ok(Config {
            server,
            socket,
            permissions,
            metrics,
            peers,
            groups,
            secrets: secrets(&root, base)?,
            warnings,
        })
    }
}

/// The files with keys that the server and its peers name; they have been read.
fn secrets(root: &Section<'_>, base: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let mut all = Vec::new();
    for section in root.tables("peer")?.iter().chain(root.table("server")?.as_ref()) {
        for value in ["psk_file", "private_key"].iter().filter_map(|key| section.get(key)) {
            all.push(files::path(&value, base)?);
        }
    }
    all.sort();
    all.dedup();
    Ok(all)
}

fn control(root: &Section<'_>, base: &Path) -> Result<(PathBuf, Permissions), ConfigError> {
    let default = || Ok(DEFAULT_KS_SOCKET.into());
    let Some(section) = root.table("control")? else { return Ok((default()?, Permissions::default())) };
    section.only(&[&["socket"][..], &socket::KEYS].concat())?;
    let path = section.get("socket").map_or_else(default, |value| files::socket(&value, base))?;
    Ok((path, socket::permissions(&section)?))
}
