//! `[[peer]]`: who may authenticate, and for which groups. Read at the daemon's start and on reload.

use super::Server;
use crate::core::{self, GroupSettings, PeerSettings};
use getvpn_config::{ConfigError, Section, Unique, Value, protocol, psk, selector};
use getvpn_gdoi::crypto::Secret;
use getvpn_gdoi::crypto::x509::{Certificate, PeerCertificate};
use getvpn_gdoi::group::GroupId;
use getvpn_gdoi::ike::{self, DistinguishedName, Identity, PeerInfo, PeerTag};
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

/// Who may authenticate. Finds a peer among thousands without looking at each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    all: Vec<Peer>,
    by_address: HashMap<IpNet, usize>,
    /// The lengths that prefixes have, the longest first.
    lengths: Vec<u8>,
    by_subject: HashMap<Identity, usize>,
}

/// `[[peer]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// How it is known.
    pub who: Who,
    /// The groups that it may join; at least one.
    pub groups: Vec<GroupId>,
}

/// How a peer is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// By its address, and proves it with a pre-shared key: main mode knows no more of a peer when the
    /// key is needed (RFC 2409 section 5.4).
    Address {
        /// Where it may come from.
        prefix: IpNet,
        /// The key shared with it.
        key: Secret,
    },
    /// By its certificate's subject or one of its alternative names.
    Subject(Identity),
}

impl Peers {
    /// The peer at an address: of prefixes that hold it, the longest.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> Option<&Peer> {
        self.all.get(self.index_at(address)?)
    }

    /// The peer that a certificate is of, by its subject or one of its alternative names; the first in the
    /// file's order where there are several.
    #[must_use]
    pub fn of(&self, certificate: &Certificate) -> Option<&Peer> {
        self.all.get(self.index_of(certificate)?)
    }

    /// All of them, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.all.iter()
    }

    /// What the core needs of them.
    #[must_use]
    pub fn settings(&self) -> Vec<PeerSettings> {
        let settings = |peer: &Peer| {
            let who = match &peer.who {
                Who::Address { prefix, .. } => core::Who::Address(*prefix),
                Who::Subject(name) => core::Who::Name(name.to_string()),
            };
            PeerSettings { who, groups: peer.groups.clone() }
        };
        self.all.iter().map(settings).collect()
    }

    /// The entry that phase 1 admitted a peer by.
    #[must_use]
    pub fn tagged(&self, tag: PeerTag) -> Option<&Peer> {
        self.all.get(usize::try_from(tag.0).ok()?)
    }

    fn index_at(&self, address: IpAddr) -> Option<usize> {
        let prefixes = self.lengths.iter().filter_map(|&length| IpNet::new(address, length).ok());
        prefixes.filter_map(|prefix| self.by_address.get(&prefix.trunc())).next().copied()
    }

    fn index_of(&self, certificate: &Certificate) -> Option<usize> {
        let subject = DistinguishedName::from_der(certificate.subject_der()).ok();
        let others = certificate.alternative_names().iter();
        let others = others.filter_map(|name| name.to_string().parse::<Identity>().ok());
        let names = subject.map(Identity::DistinguishedName).into_iter().chain(others);
        names.filter_map(|name| self.by_subject.get(&name)).min().copied()
    }

    fn add(&mut self, peer: Peer) {
        match &peer.who {
            Who::Address { prefix, .. } => {
                self.by_address.insert(*prefix, self.all.len());
                let length = prefix.prefix_len();
                if let Err(place) = self.lengths.binary_search_by(|known| length.cmp(known)) {
                    self.lengths.insert(place, length);
                }
            }
            Who::Subject(name) => {
                self.by_subject.insert(name.clone(), self.all.len());
            }
        }
        self.all.push(peer);
    }
}

impl ike::Peers for Peers {
    fn pre_shared_key(&self, address: IpAddr) -> Option<Secret> {
        match &self.at(address)?.who {
            Who::Address { key, .. } => Some(key.clone()),
            Who::Subject(_) => None,
        }
    }

    /// Whoever holds the key of an address may use any identity there.
    fn admit(&self, peer: &PeerInfo, certificate: Option<&PeerCertificate>) -> Option<PeerTag> {
        let index = match certificate {
            Some(certificate) => self.index_of(certificate)?,
            None => self.index_at(peer.address.ip())?,
        };
        u64::try_from(index).ok().map(PeerTag)
    }
}

/// Reads every `[[peer]]`; `default_key` is for those by address that have none of their own.
pub(super) fn read_all(
    root: &Section<'_>,
    base: &Path,
    server: &Server,
    default_key: Option<&Secret>,
    groups: &[GroupSettings],
) -> Result<Peers, ConfigError> {
    let mut peers = Peers::default();
    let mut addresses = Unique::default();
    let mut subjects = Unique::default();
    for section in root.tables("peer")? {
        section.only(&["address", "subject", "psk_file", "groups"])?;
        let who = match (section.get("address"), section.get("subject")) {
            (Some(_), Some(subject)) => {
                return Err(subject.error(
                    "address is given too; a peer is known by its address and a key, or by its certificate",
                ));
            }
            (None, None) => {
                let what = "address = \"192.0.2.7\" for a pre-shared key, or subject for a certificate";
                return Err(section.missing("address", what));
            }
            (Some(address), None) => {
                let prefix = prefix(&address)?;
                addresses.claim(&address, prefix, &format!("a peer at {prefix}"))?;
                let key = match (section.get("psk_file"), default_key) {
                    (Some(file), _) => psk::read(&file, base)?,
                    (None, Some(key)) => key.clone(),
                    (None, None) => {
                        let what = "the file of the key shared with this peer, here or in [server] for all";
                        return Err(section.missing("psk_file", what));
                    }
                };
                Who::Address { prefix, key }
            }
            (None, Some(subject)) => {
                let name = subject_name(&subject, server)?;
                if let Some(key) = section.get("psk_file") {
                    let problem = "has no effect with subject; give an address instead of it or remove it";
                    return Err(key.error(problem));
                }
                subjects.claim(&subject, name.clone(), &format!("a peer {name}"))?;
                Who::Subject(name)
            }
        };
        peers.add(Peer { who, groups: joined(&section, groups)? });
    }
    if peers.all.is_empty() {
        return Err(root.missing("peer", "at least one [[peer]] with address or subject, and groups"));
    }
    Ok(peers)
}

fn prefix(value: &Value<'_>) -> Result<IpNet, ConfigError> {
    let prefix = selector::prefix(value, "an address or a prefix, such as \"192.0.2.7\" or \"10.1.0.0/16\"")?;
    if let IpAddr::V6(address) = prefix.addr()
        && let Some(mapped) = address.to_ipv4_mapped()
    {
        return Err(value.error(format!("{address} is IPv4 in IPv6; write {mapped}")));
    }
    if prefix.addr().is_multicast() {
        return Err(value.error(format!("{prefix} is multicast; a peer has an address of its own")));
    }
    Ok(prefix)
}

fn subject_name(value: &Value<'_>, server: &Server) -> Result<Identity, ConfigError> {
    let name = protocol::identity(value)?;
    if matches!(name, Identity::KeyId(_)) {
        return Err(
            value.error("no certificate holds a key ID; give its subject or one of its alternative names")
        );
    }
    if server.certificate.is_none() {
        return Err(value.error(
            "this key server has no certificate, and both sides use one or none; \
             add certificate, private_key and trust_anchors to [server]",
        ));
    }
    Ok(name)
}

fn joined(section: &Section<'_>, groups: &[GroupSettings]) -> Result<Vec<GroupId>, ConfigError> {
    let names: Vec<(&str, GroupId)> = groups.iter().map(|group| (group.name.as_str(), group.id)).collect();
    let value =
        section.need("groups", "the groups that this peer may join, such as groups = [\"finance\"]")?;
    let mut joined = Vec::new();
    for item in value.items()? {
        let id = item.choice(&names)?;
        if joined.contains(&id) {
            return Err(item.error("named twice; remove one"));
        }
        joined.push(id);
    }
    if joined.is_empty() {
        return Err(value.error("empty; name at least one group, or remove the peer"));
    }
    Ok(joined)
}
