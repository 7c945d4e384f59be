//! From what the configuration says of a group's key servers to what the protocol library is told.
//! Control thread, at the start.

use crate::config::Registration;
use getvpn_gdoi::group::GroupId;
use getvpn_gdoi::ike::{DpdTiming, Identity, InitiatorConfig, Timing};
use getvpn_gdoi::member::budget::{Rate, SharedBudget};
use getvpn_gdoi::member::recovery::RecoveryConfig;
use getvpn_gdoi::member::registration::RegistrationConfig;
use getvpn_gdoi::member::sad::SadLimits;
use getvpn_gdoi::member::{KeyServerConfig, MemberConfig};
use getvpn_gdoi::wire::Doi;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// Longer than any daemon runs.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

/// The address that this machine sends from to a key server. Sends nothing.
///
/// # Errors
/// When there is no route to it, which may change.
pub fn own_address(listen: SocketAddr, key_server: SocketAddr) -> io::Result<IpAddr> {
    if !listen.ip().is_unspecified() {
        return Ok(listen.ip());
    }
    let any: IpAddr = match key_server {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(key_server)?;
    Ok(socket.local_addr()?.ip())
}

/// What a group is told that registers from `address` for so many workers. `alone` is whether no other
/// group has a key server in common with it.
#[must_use]
pub fn member_config(
    registration: &Registration,
    id: u32,
    workers: usize,
    address: IpAddr,
    alone: bool,
    budget: SharedBudget,
) -> MemberConfig {
    let key_servers = registration.key_servers.iter().map(|server| {
        let phase1 = InitiatorConfig {
            suites: registration.suites.clone(),
            lifetime: registration.phase1_lifetime,
            doi: Doi::Gdoi,
            identity: registration.identity.clone().unwrap_or(Identity::Address(address)),
            credentials: registration.credentials.clone(),
            peer_identity: server.identity.clone(),
            // It would make the key server forget the phase 1s of the other groups.
            initial_contact: alone,
            timing: Timing::default(),
        };
        KeyServerConfig { address: server.address, phase1: Arc::new(phase1) }
    });
    let (recovery, limits) = (registration.recovery, registration.limits);
    let sender_ids = u16::try_from(workers).unwrap_or(u16::MAX);
    let mut config = MemberConfig::new(GroupId(id), key_servers.collect(), address, sender_ids, budget);
    config.compat = registration.compat;
    config.limits = SadLimits {
        sas: limits.sad,
        policy_sas: limits.sas,
        selectors_per_sa: limits.selectors,
        // While a policy follows another both are held.
        selectors: 2 * limits.selectors,
        lifetime: limits.lifetime,
        ..SadLimits::default()
    };
    config.recovery = RecoveryConfig {
        tries: recovery.tries,
        interval: recovery.first_retry,
        first_pause: recovery.first_backoff,
        last_pause: recovery.longest_backoff,
        unknown_for: recovery.unknown_for,
        seen: Rate {
            burst: recovery.invalid_spi_per_s.saturating_mul(8) / 5,
            per_second: recovery.invalid_spi_per_s,
        },
        ..RecoveryConfig::default()
    };
    config.registration = RegistrationConfig {
        first_pause: recovery.first_backoff,
        last_pause: recovery.longest_backoff,
        timeout: recovery.give_up,
        ..RegistrationConfig::default()
    };
    config.dpd = match registration.dpd_interval {
        Some(idle) => DpdTiming { idle, ..DpdTiming::default() },
        None => DpdTiming { idle: NEVER, ..DpdTiming::default() },
    };
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_one_that_is_listened_on_or_the_routes_choice() {
        let key_server = "127.0.0.1:848".parse().unwrap();
        let own = |listen: &str| own_address(listen.parse().unwrap(), key_server).unwrap();
        assert_eq!(own("127.0.0.2:848"), "127.0.0.2".parse::<IpAddr>().unwrap());
        assert_eq!(own("0.0.0.0:848"), "127.0.0.1".parse::<IpAddr>().unwrap());
    }
}
