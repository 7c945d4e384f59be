//! One member of a run: the real control plane, a made data plane, and what is known of it from outside.

use crate::data_plane::DataPlane;
use crate::dice::stream;
use crate::key_server::pre_shared_key;
use crate::scenario::{GROUP, KEY_SERVER, Scenario};
use getvpn_gdoi::crypto::SeededRandom;
use getvpn_gdoi::ike::{Credentials, Identity, InitiatorConfig, Timing};
use getvpn_gdoi::member::budget::SharedBudget;
use getvpn_gdoi::member::{GroupMember, KeyServerConfig, MemberConfig};
use getvpn_gdoi::wire::Doi;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

pub(crate) struct Member {
    pub address: SocketAddr,
    pub workers: u16,
    /// `None` while it is switched off.
    pub control: Option<GroupMember>,
    pub data_plane: DataPlane,
    pub random: SeededRandom,
    pub timer: Option<Instant>,
    /// Timers at the same moment, one after another.
    pub spins: u32,
    /// Since when nothing but loss stands between it and the key server.
    pub undisturbed: Instant,
    /// Since when it has not what the key server has.
    pub out_of_step: Option<Instant>,
    /// Packets come for it until it is in step.
    pub probed: bool,
    /// When it was out of step last and no member that is in step could reach it.
    pub alone: Instant,
    /// The operator has removed it.
    pub removed: Option<Instant>,
    /// The data plane has no room for the next SA.
    pub refuses_next: bool,
    /// Whether it has something to send with.
    pub sends: bool,
}

impl Member {
    pub(crate) fn new(number: usize, seed: u64, workers: u16, now: Instant) -> Self {
        let [high, low] = u16::try_from(number).expect("at most 65,000 members").to_be_bytes();
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 1, high, low)), 848),
            workers,
            control: None,
            data_plane: DataPlane::default(),
            random: stream(seed, 0x1_0000 + u64::try_from(number).unwrap_or(0)),
            timer: None,
            spins: 0,
            undisturbed: now,
            out_of_step: None,
            probed: false,
            alone: now,
            removed: None,
            refuses_next: false,
            sends: false,
        }
    }

    /// Starts with nothing but its configuration.
    pub(crate) fn start(&mut self, scenario: &Scenario, initial_contact: bool, now: Instant) {
        let phase1 = InitiatorConfig {
            suites: vec!["aes128-sha256-ecp256".parse().expect("a suite")],
            lifetime: scenario.phase1_lifetime,
            doi: Doi::Gdoi,
            identity: Identity::Address(self.address.ip()),
            credentials: Credentials::Psk(pre_shared_key(self.address.ip())),
            peer_identity: None,
            initial_contact,
            timing: Timing::default(),
        };
        let key_servers = vec![KeyServerConfig { address: KEY_SERVER, phase1: Arc::new(phase1) }];
        let budget = SharedBudget::new(SharedBudget::DEFAULT, now);
        let ip = self.address.ip();
        let mut config = MemberConfig::new(GROUP, key_servers, ip, self.workers, budget);
        config.dpd = scenario.dpd;
        config.registration = scenario.registration.clone();
        config.recovery = scenario.recovery.clone();
        self.control = GroupMember::new(config, now);
        self.data_plane = DataPlane::default();
        self.refuses_next = false;
        self.sends = false;
    }

    pub(crate) fn stop(&mut self) {
        self.control = None;
        self.timer = None;
    }
}
