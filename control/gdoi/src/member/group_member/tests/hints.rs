//! What a key server says in the clear, and what the member says to it: told to people, and no more.

use super::*;
use crate::crypto::Secret;
use crate::ike::{Credentials, IkeError, InitiatorConfig};
use crate::member::{MemberConfig, RegistrationError};
use std::sync::Arc;

/// A member whose way of doing phase 1 is another one.
fn world(key_servers: usize, change: impl Fn(&mut InitiatorConfig)) -> World {
    let now = Instant::now();
    let mut config: MemberConfig = member_config(key_servers, now);
    for server in &mut config.key_servers {
        let mut phase1 = InitiatorConfig::clone(&server.phase1);
        change(&mut phase1);
        server.phase1 = Arc::new(phase1);
    }
    World::with(config, now)
}

fn last_failure(world: &World) -> RegistrationError {
    world.member.status(world.now).last_failure.expect("a failure").2
}

#[test]
fn a_registration_that_gets_no_answer_in_time_fails_with_what_the_key_server_hinted() {
    let suite = |phase1: &mut InitiatorConfig| {
        phase1.suites = vec!["aes128-sha256-modp2048".parse().unwrap()];
    };
    let key = |phase1: &mut InitiatorConfig| {
        phase1.credentials = Credentials::Psk(Secret::from(&b"another secret"[..]));
    };
    for (mut world, hint) in
        [(world(1, suite), NotifyType::NoProposalChosen), (world(1, key), NotifyType::AuthenticationFailed)]
    {
        world.run(secs(19));
        assert!(world.member.status(world.now).last_failure.is_none(), "a hint cuts nothing short");
        world.run(secs(1));
        let why = last_failure(&world);
        assert!(
            matches!(&why, RegistrationError::Phase1(IkeError::NoAnswer { hint: told, .. }) if *told == Some(hint))
        );
        assert!(why.to_string().contains(&hint.to_string()), "{why}");
    }
}

#[test]
fn without_a_hint_it_says_how_often_it_asked() {
    let mut world = World::new(1);
    world.ks().up = false;
    world.run(secs(20));
    assert_eq!(last_failure(&world).to_string(), "phase 1: no answer after 12 tries");
}

#[test]
fn a_hint_of_one_key_server_is_not_told_of_the_next() {
    let mut world = world(2, |phase1| {
        phase1.suites = vec!["aes128-sha256-modp2048".parse().unwrap()];
    });
    world.key_servers[1].up = false;
    world.run(secs(40));
    let told: Vec<_> = (world.events.iter())
        .filter_map(|event| match event {
            MemberEvent::RegistrationFailed { key_server, why, .. } => Some((*key_server, why.to_string())),
            _ => None,
        })
        .collect();
    let [(first, hinted), (second, silent)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((*first, *second), (world.key_servers[0].address, world.key_servers[1].address));
    assert!(hinted.contains("NO-PROPOSAL-CHOSEN") && !silent.contains("NO-PROPOSAL"), "{told:?}");
}

#[test]
fn a_key_server_that_is_refused_is_told_once_for_each_attempt() {
    let mut world = world(1, |phase1| {
        phase1.peer_identity = Some("ks9.example.net".parse().unwrap());
    });
    world.run(secs(1));
    let why = last_failure(&world);
    assert!(why.to_string().contains("the peer is ks1.example.net, not ks9.example.net"), "{why}");
    assert_eq!(world.ks().hints, [NotifyType::InvalidIdInformation]);
    let counters = world.member.status(world.now).counters;
    assert_eq!((counters.failed_phase1, counters.failed_registrations), (1, 1));
}

#[test]
fn a_phase_1_that_cannot_be_made_anew_is_told_while_the_sas_live_on() {
    let mut world = World::registered(1);
    world.ks().up = false;
    let now = world.now;
    let cookies = world.ks().cookies();
    let delete = world.ks().say(crate::ike::Notice::DeleteIkeSa(cookies));
    world.deliver(0, delete);
    world.run(secs(60));
    assert!(
        world.events.iter().any(|event| matches!(
            event,
            MemberEvent::Phase1Failed { why: IkeError::NoAnswer { hint: None, .. }, .. }
        )),
        "{:?}",
        world.events
    );
    assert!(world.now > now && world.spis() == [0x1001]);
}
