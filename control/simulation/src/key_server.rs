//! The key server of a run: the endpoint, the authority and a store in memory, put together from the
//! daemon's parts, but so that it can die between any two steps.

use crate::scenario::{KEY_SERVER, Scenario};
use getvpn_gdoi::crypto::x509::PeerCertificate;
use getvpn_gdoi::crypto::{KeyKind, Secret, SeededRandom};
use getvpn_gdoi::group::{Direction, EspSpi, GroupId, GroupKeys, GroupPolicy, SenderIds};
use getvpn_gdoi::ike::{Identity, PeerInfo, PeerTag, Peers, ResponderConfig, Timing};
use getvpn_gdoi::server::{Server, ServerConfig};
use getvpn_ks::core::{Action, Authority, Batch, Event, FreshKey, Now, PushMessage, Settings};
use getvpn_ks::serve::{Directory, Order, carry_out, take_event};
use getvpn_ks::store::{MemoryStore, Store};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// At which step of its work it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CrashPoint {
    /// What has changed is not committed.
    BeforeCommit,
    /// It is, and nothing has been sent.
    AfterCommit,
    /// Some of what is to be sent has been.
    WhileSending,
}

/// What a step leads to.
#[derive(Debug)]
pub(crate) enum Effect {
    Send(SocketAddr, Arc<[u8]>),
    /// A PUSH, which is sent as well.
    Pushed(Arc<PushMessage>, SocketAddr, Arc<[u8]>),
    /// Keys have been given to a member, with sender IDs for the SAs that it sends with.
    Granted(GroupKeys, Vec<EspSpi>, Option<SenderIds>),
    MakeSigningKey(GroupId, KeyKind),
    Log(Event),
}

/// A key server that runs.
pub(crate) struct KeyServer {
    server: Server,
    authority: Authority,
    store: MemoryStore,
    directory: Directory,
    effects: VecDeque<Effect>,
}

/// The pre-shared key of an address.
pub(crate) fn pre_shared_key(address: IpAddr) -> Secret {
    Secret::from(format!("of {address} and the key server").as_bytes())
}

#[derive(Debug)]
struct Everybody;

impl Peers for Everybody {
    fn pre_shared_key(&self, address: IpAddr) -> Option<Secret> {
        Some(pre_shared_key(address))
    }

    fn admit(&self, _: &PeerInfo, _: Option<&PeerCertificate>) -> Option<PeerTag> {
        Some(PeerTag(0))
    }
}

/// Half-open phase 1s at a time.
pub(crate) const MAX_HALF_OPEN: usize = 4096;

fn endpoint(scenario: &Scenario) -> ServerConfig {
    let phase1 = ResponderConfig {
        suites: vec!["aes128-sha256-ecp256".parse().expect("a suite")],
        lifetime: scenario.phase1_lifetime,
        accept_ipsec_doi: false,
        identity: Identity::Address(KEY_SERVER.ip()),
        certificate: None,
        peers: Arc::new(Everybody),
        timing: Timing::default(),
    };
    ServerConfig {
        phase1: Arc::new(phase1),
        dpd: Some(scenario.dpd),
        max_half_open: MAX_HALF_OPEN,
        max_half_open_per_address: 8,
        max_established: 65_536,
    }
}

impl KeyServer {
    /// Starts from what the store holds.
    pub(crate) fn start(
        scenario: &Scenario,
        settings: Settings,
        mut store: MemoryStore,
        now: Now,
        random: &mut SeededRandom,
    ) -> Result<Self, String> {
        let stored = store.load().map_err(|error| format!("the store cannot be read: {error}"))?;
        let authority = Authority::new(settings, stored, now, random)
            .map_err(|damaged| format!("the store does not make sense: {damaged}"))?;
        Ok(Self {
            server: Server::new(endpoint(scenario)),
            authority,
            store,
            directory: Directory::default(),
            effects: VecDeque::new(),
        })
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(crate) fn authority_mut(&mut self) -> &mut Authority {
        &mut self.authority
    }

    pub(crate) fn reload(&mut self, now: Now, settings: Settings, random: &mut SeededRandom) {
        self.authority.reload(now, settings, random);
    }

    pub(crate) fn phase1s(&self) -> (usize, usize) {
        self.server.phase1s()
    }

    pub(crate) fn datagram(&mut self, now: Now, from: SocketAddr, octets: &[u8], random: &mut SeededRandom) {
        let unix = now.unix.as_secs();
        self.server.handle_datagram(now.instant, unix, KEY_SERVER, from, octets, random);
    }

    pub(crate) fn timeout(&mut self, now: Now, random: &mut SeededRandom) {
        if self.server.poll_timeout().is_some_and(|due| due <= now.instant) {
            self.server.handle_timeout(now.instant, random);
        }
        if self.authority.poll_timeout().is_some_and(|due| due <= now.instant) {
            self.authority.handle_timeout(now, random);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<std::time::Instant> {
        self.server.poll_timeout().into_iter().chain(self.authority.poll_timeout()).min()
    }

    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Commits and carries out until there is nothing left. True when it has died on the way, at the point
    /// that is wanted: of something that there is to commit or to do.
    pub(crate) fn settle(
        &mut self,
        now: Now,
        crash: Option<CrashPoint>,
        random: &mut SeededRandom,
    ) -> Result<bool, String> {
        loop {
            while let Some(event) = self.server.poll_event() {
                take_event(&mut self.authority, &self.directory, now, 0, event, random);
            }
            let batch = self.authority.take_batch(now);
            if batch.is_empty() {
                break;
            }
            if crash == Some(CrashPoint::BeforeCommit) {
                return Ok(true);
            }
            let Batch { changes, mut actions } = batch;
            self.store.commit(&changes).map_err(|error| format!("a commit fails: {error}"))?;
            match crash {
                Some(CrashPoint::AfterCommit) => return Ok(true),
                Some(CrashPoint::WhileSending) => actions.truncate(actions.len() / 2),
                _ => {}
            }
            for action in actions {
                self.carry_out(now, action, random)?;
            }
            if crash.is_some() {
                self.flush();
                return Ok(true);
            }
        }
        self.flush();
        Ok(false)
    }

    fn flush(&mut self) {
        while let Some(transmit) = self.server.poll_transmit() {
            self.effects.push_back(Effect::Send(transmit.to, transmit.datagram.into()));
        }
    }

    fn carry_out(&mut self, now: Now, action: Action, random: &mut SeededRandom) -> Result<(), String> {
        let order = match action {
            Action::Offer { pull, policy, compat } => Order::Offer(pull.pull, policy, compat),
            Action::Keys { pull, policy, keys, sequence } => {
                self.effects.push_back(granted(&policy, &keys));
                Order::Keys(pull.pull, policy, keys, sequence)
            }
            Action::Refuse { pull, why } => Order::Refuse(pull.pull, why),
            Action::Disconnect { address } => Order::Close(address),
            Action::Send { to, push, .. } => {
                let made = push.datagram(random);
                let datagram = made.map_err(|error| format!("a PUSH cannot be made: {error}"))?;
                self.effects.push_back(Effect::Pushed(push, to, datagram));
                return Ok(());
            }
            Action::MakeSigningKey { group, kind } => {
                self.effects.push_back(Effect::MakeSigningKey(group, kind));
                return Ok(());
            }
            Action::Log(event) => {
                self.effects.push_back(Effect::Log(event));
                return Ok(());
            }
        };
        carry_out(&mut self.server, now.instant, order, random);
        Ok(())
    }

    pub(crate) fn signing_key(
        &mut self,
        now: Now,
        group: GroupId,
        kind: KeyKind,
        random: &mut SeededRandom,
    ) -> Result<(), String> {
        let key = FreshKey::generate(kind, random).map_err(|error| format!("no signing key: {error}"))?;
        self.authority.signing_key(now, group, key, random);
        Ok(())
    }
}

fn granted(policy: &GroupPolicy, keys: &GroupKeys) -> Effect {
    let sends = |tek: &&getvpn_gdoi::group::TekPolicy| {
        tek.direction == Direction::Symmetric && tek.transform.is_counter_mode()
    };
    let spis = policy.teks.iter().filter(sends).map(|tek| tek.spi).collect();
    Effect::Granted(keys.clone(), spis, keys.sender_ids.clone())
}
