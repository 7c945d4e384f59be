//! Who may authenticate, as phase 1 asks. Shared by all endpoints; replaced as a whole on reload, while
//! phase 1s that were admitted before go on under the name that they were admitted by.

use crate::config::{self, Peers, Who};
use getvpn_gdoi::crypto::Secret;
use getvpn_gdoi::crypto::x509::PeerCertificate;
use getvpn_gdoi::ike::{self, DpdTiming, PeerInfo, PeerTag, ResponderConfig, Timing};
use getvpn_gdoi::server::ServerConfig;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

/// What stands for "by its address".
const BY_ADDRESS: PeerTag = PeerTag(u64::MAX);

/// Who may authenticate.
#[derive(Debug, Default)]
pub struct Directory {
    peers: RwLock<Arc<Peers>>,
    /// The names of entries, each with the same number for good.
    names: RwLock<Names>,
}

#[derive(Debug, Default)]
struct Names {
    numbers: HashMap<String, u64>,
    names: Vec<String>,
}

impl Directory {
    /// Of these entries.
    #[must_use]
    pub fn new(peers: Peers) -> Self {
        let directory = Self::default();
        directory.replace(peers);
        directory
    }

    /// These entries instead of those before.
    pub fn replace(&self, peers: Peers) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        for peer in peers.iter() {
            if let Who::Subject(name) = &peer.who {
                names.number(name.to_string());
            }
        }
        *self.peers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(peers);
    }

    /// The name of the entry that a certificate's owner was admitted by.
    #[must_use]
    pub fn name(&self, tag: PeerTag) -> Option<String> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.names.get(usize::try_from(tag.0).ok()?).cloned()
    }

    fn peers(&self) -> Arc<Peers> {
        Arc::clone(&self.peers.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Names {
    fn number(&mut self, name: String) -> u64 {
        let next = u64::try_from(self.names.len()).unwrap_or(u64::MAX);
        *self.numbers.entry(name.clone()).or_insert_with(|| {
            self.names.push(name);
            next
        })
    }
}

impl ike::Peers for Directory {
    fn pre_shared_key(&self, address: IpAddr) -> Option<Secret> {
        self.peers().pre_shared_key(address)
    }

    fn admit(&self, peer: &PeerInfo, certificate: Option<&PeerCertificate>) -> Option<PeerTag> {
        let peers = self.peers();
        match &peers.tagged(peers.admit(peer, certificate)?)?.who {
            Who::Address { .. } => Some(BY_ADDRESS),
            Who::Subject(name) => {
                let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
                names.numbers.get(&name.to_string()).copied().map(PeerTag)
            }
        }
    }
}

/// What one of `shards` endpoints is told.
#[must_use]
pub fn endpoint_config(server: &config::Server, peers: Arc<dyn ike::Peers>, shards: usize) -> ServerConfig {
    let share = |bound: u32| (usize::try_from(bound).unwrap_or(usize::MAX) / shards.max(1)).max(1);
    ServerConfig {
        phase1: Arc::new(ResponderConfig {
            suites: server.suites.clone(),
            lifetime: server.phase1_lifetime,
            accept_ipsec_doi: false,
            identity: server.identity.clone(),
            certificate: server.certificate.clone(),
            peers,
            timing: Timing::default(),
        }),
        dpd: server.dpd_interval.map(|idle| DpdTiming { idle, ..DpdTiming::default() }),
        max_half_open: share(server.bounds.half_open),
        max_half_open_per_address: share(server.bounds.half_open).min(16),
        max_established: share(server.bounds.phase1s),
    }
}
