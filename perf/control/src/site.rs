//! A key server as its daemon sets it up from a configuration file, and the members that may register with
//! it. Time is virtual: nothing here waits.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use getvpn_gdoi::crypto::x509::TrustStore;
use getvpn_gdoi::crypto::{Secret, SystemRandom};
use getvpn_gdoi::group::GroupId;
use getvpn_gdoi::ike::{CertificateCredentials, Credentials, Identity, InitiatorConfig, Timing};
use getvpn_gdoi::member::budget::SharedBudget;
use getvpn_gdoi::member::{GroupMember, KeyServerConfig, MemberConfig};
use getvpn_gdoi::wire::Doi;
use getvpn_ks::config::Config;
use getvpn_ks::core::Now;
use getvpn_ks::serve::{Directory, KeyServer, endpoint_config};
use getvpn_ks::store::Store;
use tempfile::TempDir;

use crate::certificates::{Authority, Issued};

/// The group of all benchmarks.
pub const GROUP: GroupId = GroupId(1234);

/// The suite of all phase 1s.
const SUITE: &str = "aes256-sha256-ecp256";
const PSK: &str = "known to the members of a benchmark";
const SERVER_NAME: &str = "ks.example.net";

/// How members authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// By a pre-shared key.
    Psk,
    /// ECDSA P-256.
    Certificate,
}

impl Auth {
    /// Its name in the raw figures.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Auth::Psk => "psk",
            Auth::Certificate => "certificate",
        }
    }
}

/// How rekeys travel: what stands in `rekey` of the configuration.
#[derive(Clone, Copy, Debug)]
pub enum Rekeys {
    /// At most so many a second.
    Unicast(u32),
    /// To a group address.
    Multicast,
}

/// Files and settings of one key server with its members.
pub struct Site {
    files: TempDir,
    config: Config,
    /// Where it listens.
    pub server: SocketAddr,
    /// The address of the first member; the others follow.
    first: Ipv4Addr,
    port: u16,
    members: Vec<Arc<InitiatorConfig>>,
}

impl Site {
    /// One whose key server listens at `server`, with `members` members at addresses from `first` on, all
    /// on the server's port.
    ///
    /// # Errors
    /// When the files cannot be written, or the configuration is not accepted.
    pub fn new(
        auth: Auth,
        members: usize,
        rekeys: Rekeys,
        server: SocketAddr,
        first: Ipv4Addr,
    ) -> Result<Site> {
        let files = tempfile::tempdir()?;
        let base = files.path();
        let mut text = format!("[server]\nlisten = [\"{server}\"]\nlocal_id = \"{SERVER_NAME}\"\n");
        text += &format!("store = \"store\"\nphase1 = [\"{SUITE}\"]\n");
        let credentials: Vec<Credentials> = match auth {
            Auth::Psk => {
                text += "psk_file = \"psk\"\n";
                write_secret(&base.join("psk"), PSK)?;
                (0..members).map(|_| Credentials::Psk(Secret::from(PSK.as_bytes()))).collect()
            }
            Auth::Certificate => {
                text += "certificate = \"ks.crt\"\nprivate_key = \"ks.key\"\ntrust_anchors = \"ca.crt\"\n";
                let authority = Authority::new()?;
                fs::write(base.join("ca.crt"), authority.certificate())?;
                authority.issue(SERVER_NAME)?.write(&base.join("ks.crt"), &base.join("ks.key"))?;
                let none: [&[u8]; 0] = [];
                let trust = Arc::new(TrustStore::new(&[authority.certificate()], &none)?);
                let credentials = |number| -> Result<Credentials> {
                    let Issued { der, key, .. } = authority.issue(&member_name(number))?;
                    let own = CertificateCredentials::new(vec![der], key, Arc::clone(&trust))?;
                    Ok(Credentials::Certificate(Arc::new(own)))
                };
                (0..members).map(credentials).collect::<Result<_>>()?
            }
        };
        text += "[server.bounds]\nregistrations_per_s = 1000000\n[control]\nsocket = \"ks.sock\"\n";
        match auth {
            Auth::Psk => {
                let network = Ipv4Addr::new(first.octets()[0], 0, 0, 0);
                text += &format!("[[peer]]\naddress = \"{network}/8\"\ngroups = [\"bench\"]\n");
            }
            Auth::Certificate => {
                for number in 0..members {
                    let name = member_name(number);
                    text += &format!("[[peer]]\nsubject = \"{name}\"\ngroups = [\"bench\"]\n");
                }
            }
        }
        text += &format!("[[group]]\nname = \"bench\"\nid = {GROUP}\n");
        text += "kek = { cipher = \"aes-128-cbc\", lifetime_s = 86400, signature = \"ecdsa-p256\" }\n";
        text += &match rekeys {
            Rekeys::Unicast(rate) => {
                format!("rekey = {{ transport = \"unicast\", acknowledge = true, rate_per_s = {rate} }}\n")
            }
            Rekeys::Multicast => "rekey = { transport = \"multicast\", address = \"239.10.1.1:848\", \
                 acknowledge = true }\n"
                .to_owned(),
        };
        text += "[[group.tek]]\ntransform = \"aes-128-gcm\"\nlifetime_s = 3600\n";
        text += "selectors = [{ src = \"10.0.0.0/8\", dst = \"10.0.0.0/8\" }]\n";
        let file = base.join("ks.toml");
        fs::write(&file, text)?;
        let config = Config::load(&file)?;
        let config_of = |(number, credentials)| initiator(number, credentials, first);
        let members = credentials.into_iter().enumerate().map(config_of).collect::<Result<_>>()?;
        Ok(Site { files, config, server, first, port: server.port(), members })
    }

    /// The same at addresses that are only names: no socket is opened.
    ///
    /// # Errors
    /// As [`Site::new`].
    pub fn virtual_one(auth: Auth, members: usize, rekeys: Rekeys) -> Result<Site> {
        let server = SocketAddr::from(([10, 0, 0, 1], 848));
        Site::new(auth, members, rekeys, server, Ipv4Addr::new(10, 1, 0, 0))
    }

    /// The directory of the configuration file `ks.toml`.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.files.path()
    }

    /// A key server with this store.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn key_server(&self, store: Box<dyn Store>, now: Now) -> Result<KeyServer> {
        let directory = Arc::new(Directory::new(self.config.peers.clone()));
        let endpoint = endpoint_config(&self.config.server, Arc::clone(&directory) as _, 1);
        let settings = self.config.settings();
        let mut key_server = KeyServer::new(endpoint, directory, settings, store, now, &mut SystemRandom)?;
        key_server.handle_timeout(now, &mut SystemRandom)?;
        Ok(key_server)
    }

    /// How many members there are; never none.
    #[must_use]
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// Where a member is.
    #[must_use]
    pub fn address(&self, number: usize) -> SocketAddr {
        let offset = u32::try_from(number).unwrap_or(u32::MAX);
        let address = Ipv4Addr::from(u32::from(self.first).saturating_add(offset));
        SocketAddr::from((address, self.port))
    }

    /// Which member is there.
    #[must_use]
    pub fn number(&self, address: SocketAddr) -> Option<usize> {
        let IpAddr::V4(address) = address.ip() else { return None };
        let number = u32::from(address).checked_sub(u32::from(self.first))?;
        usize::try_from(number).ok().filter(|&number| number < self.size())
    }

    /// A member that is about to register.
    ///
    /// # Errors
    /// There is no such member.
    pub fn member(&self, number: usize, now: Instant) -> Result<GroupMember> {
        let phase1 = Arc::clone(self.members.get(number).context("there is no such member")?);
        let key_server = KeyServerConfig { address: self.server, phase1 };
        let budget = SharedBudget::new(SharedBudget::DEFAULT, now);
        let config = MemberConfig::new(GROUP, vec![key_server], self.address(number).ip(), 1, budget);
        GroupMember::new(config, now).context("a member without a key server")
    }
}

/// The clocks, with `instant` for the monotonic one.
#[must_use]
pub fn clocks(instant: Instant) -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Now { instant, unix, uptime: None }
}

/// Writes a file that only its owner may read.
///
/// # Errors
/// The file is there already or cannot be written.
pub fn write_secret(path: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())
}

fn member_name(number: usize) -> String {
    format!("gm{number}.example.net")
}

fn initiator(number: usize, credentials: Credentials, first: Ipv4Addr) -> Result<Arc<InitiatorConfig>> {
    let identity = match &credentials {
        Credentials::Psk(_) => {
            let offset = u32::try_from(number)?;
            Identity::Address(Ipv4Addr::from(u32::from(first) + offset).into())
        }
        Credentials::Certificate(_) => member_name(number).parse()?,
    };
    Ok(Arc::new(InitiatorConfig {
        suites: vec![SUITE.parse()?],
        lifetime: Duration::from_secs(86_400),
        doi: Doi::Gdoi,
        identity,
        credentials,
        peer_identity: Some(SERVER_NAME.parse()?),
        initial_contact: false,
        timing: Timing::default(),
    }))
}
