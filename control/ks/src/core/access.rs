//! Who may be in which group: the operator's `[[peer]]` entries, looked up by what phase 1 has proved.

use super::member::MemberKey;
use getvpn_gdoi::group::GroupId;
use ipnet::IpNet;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// One entry of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// Whom it is about.
    pub who: Who,
    /// The groups that they may be in.
    pub groups: Vec<GroupId>,
}

/// Whom an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Members with a pre-shared key, by address.
    Address(IpNet),
    /// The member whose certificate has this subject or subjectAltName.
    Name(String),
}

/// A peer that has authenticated itself in phase 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where its datagrams come from.
    pub address: SocketAddr,
    /// The address of this server that they go to.
    pub local: SocketAddr,
    /// How it did.
    pub proof: Proof,
    /// Whether it is of this make, and so understands what only this make says.
    pub is_getvpn: bool,
}

/// How a peer has authenticated itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// By the pre-shared key of its address.
    PreShared {
        /// Who it says that it is.
        identity: String,
    },
    /// By a certificate.
    Certificate {
        /// The subject, and the subjectAltNames.
        names: Vec<String>,
    },
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Proof::PreShared { identity } => f.write_str(identity),
            Proof::Certificate { names } => f.write_str(&names.join(", ")),
        }
    }
}

/// Why a peer is not let into a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAccess {
    /// No entry is about it.
    UnknownPeer,
    /// Its entry does not name the group.
    NotItsGroup,
}

/// All entries, ready to be looked up.
#[derive(Clone, Debug, Default)]
pub struct Access {
    hosts: HashMap<IpAddr, Vec<GroupId>>,
    /// The longest prefix first.
    prefixes: Vec<(IpNet, Vec<GroupId>)>,
    names: HashMap<String, Vec<GroupId>>,
}

impl Access {
    /// Of these entries. Where several are about the same peer, the groups of all of them are its groups.
    #[must_use]
    pub fn new(peers: &[PeerSettings]) -> Self {
        let mut access = Self::default();
        for peer in peers {
            match &peer.who {
                Who::Address(net) if net.prefix_len() == net.max_prefix_len() => {
                    access.hosts.entry(net.addr()).or_default().extend(&peer.groups);
                }
                Who::Address(net) => access.prefixes.push((*net, peer.groups.clone())),
                Who::Name(name) => access.names.entry(name.clone()).or_default().extend(&peer.groups),
            }
        }
        access.prefixes.sort_by_key(|(net, _)| std::cmp::Reverse(net.prefix_len()));
        access
    }

    /// By what a peer is known in all its groups.
    ///
    /// # Errors
    /// When no entry is about it.
    pub fn identify(&self, peer: &Peer) -> Result<MemberKey, NoAccess> {
        match &peer.proof {
            Proof::PreShared { identity } => {
                let address = peer.address.ip();
                self.of_address(address).ok_or(NoAccess::UnknownPeer)?;
                Ok(MemberKey::PreShared { address, identity: identity.clone() })
            }
            Proof::Certificate { names } => {
                let known = names.iter().find(|name| self.names.contains_key(*name));
                let subject = known.ok_or(NoAccess::UnknownPeer)?.clone();
                Ok(MemberKey::Certificate { subject })
            }
        }
    }

    /// Lets a peer into a group.
    ///
    /// # Errors
    /// When it may not be in it.
    pub fn allow(&self, key: &MemberKey, group: GroupId) -> Result<(), NoAccess> {
        let groups = match key {
            MemberKey::PreShared { address, .. } => self.of_address(*address),
            MemberKey::Certificate { subject } => self.names.get(subject).map(Vec::as_slice),
        };
        match groups {
            None => Err(NoAccess::UnknownPeer),
            Some(groups) if groups.contains(&group) => Ok(()),
            Some(_) => Err(NoAccess::NotItsGroup),
        }
    }

    fn of_address(&self, address: IpAddr) -> Option<&[GroupId]> {
        let prefix =
            || self.prefixes.iter().find(|(net, _)| net.contains(&address)).map(|(_, groups)| groups);
        self.hosts.get(&address).or_else(prefix).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str, proof: Proof) -> Peer {
        let (address, local) = (address.parse().unwrap(), "10.0.0.1:848".parse().unwrap());
        Peer { address, local, proof, is_getvpn: true }
    }

    #[test]
    fn the_longest_prefix_decides_and_a_host_before_it() {
        let entry = |net: &str, group| PeerSettings {
            who: Who::Address(net.parse().unwrap()),
            groups: vec![GroupId(group)],
        };
        let access = Access::new(&[entry("10.0.0.0/8", 1), entry("10.1.0.0/16", 2), entry("10.1.0.7/32", 3)]);
        let psk = |address| peer(address, Proof::PreShared { identity: "x".into() });
        for (address, group) in [("10.2.0.1:848", 1), ("10.1.0.1:848", 2), ("10.1.0.7:848", 3)] {
            let key = access.identify(&psk(address)).unwrap();
            for other in 1..=3 {
                let expected = if other == group { Ok(()) } else { Err(NoAccess::NotItsGroup) };
                assert_eq!(access.allow(&key, GroupId(other)), expected, "{address}");
            }
        }
        assert_eq!(access.identify(&psk("11.0.0.1:848")), Err(NoAccess::UnknownPeer));
    }

    #[test]
    fn a_certificate_is_known_by_subject_or_alternative_name_and_never_by_address() {
        let named = PeerSettings { who: Who::Name("gm2.example.net".into()), groups: vec![GroupId(1)] };
        let host =
            PeerSettings { who: Who::Address("10.0.0.2/32".parse().unwrap()), groups: vec![GroupId(1)] };
        let access = Access::new(&[named, host]);
        let certificate = |names: &[&str]| {
            let names = names.iter().map(ToString::to_string).collect();
            peer("10.0.0.2:848", Proof::Certificate { names })
        };
        let key = access.identify(&certificate(&["CN=gm2", "gm2.example.net"])).unwrap();
        assert_eq!(access.allow(&key, GroupId(1)), Ok(()));
        assert_eq!(access.allow(&key, GroupId(2)), Err(NoAccess::NotItsGroup));
        assert_eq!(access.identify(&certificate(&["CN=gm2"])), Err(NoAccess::UnknownPeer));
    }
}
