//! What is established, and that both sides mean the same.

use super::*;
use crate::ike::{DEFAULT_LIFETIME, Method, Role};

fn assert_agreed(gm: InitiatorConfig, ks: ResponderConfig, what: &str) -> Outcome {
    let mut outcome = run(gm, ks, 7, perfect);
    assert!(outcome.errors.is_empty(), "{what}: {:?}", outcome.errors);
    assert_eq!(outcome.sent.len(), 6, "{what}: six messages");
    assert!(outcome.agreed(), "{what}");
    let (member, key_server) = (outcome.member.as_ref().unwrap(), outcome.key_server.as_ref().unwrap());
    assert_eq!(member.prf(), key_server.prf(), "{what}");
    assert_eq!(member.cookies(), key_server.cookies());
    assert_eq!(member.phase2_iv(77), key_server.phase2_iv(77));
    assert_ne!(member.phase2_iv(77), member.phase2_iv(78));
    assert_eq!((member.role(), key_server.role()), (Role::Initiator, Role::Responder));
    outcome
}

#[test]
fn every_suite_is_agreed_on_with_a_pre_shared_key() {
    // Each group once, each cipher and hash several times: the groups are what takes long.
    for name in [
        "aes128-sha1-modp1024",
        "aes192-sha256-modp1536",
        "aes256-sha512-modp2048",
        "aes128-sha384-modp3072",
        "aes256-sha1-modp4096",
        "aes128-sha1-ecp256",
        "aes192-sha1-ecp256",
        "aes256-sha1-ecp256",
        "aes128-sha256-ecp256",
        "aes192-sha384-ecp256",
        "aes256-sha512-ecp384",
    ] {
        let suites = vec![suite(name)];
        let gm = InitiatorConfig { suites: suites.clone(), ..gm_config() };
        let outcome = assert_agreed(gm, ResponderConfig { suites, ..ks_config() }, name);
        for sa in [outcome.member.unwrap(), outcome.key_server.unwrap()] {
            assert_eq!(sa.suite(), suite(name));
            assert_eq!(sa.peer().method, Method::PreSharedKey);
            assert_eq!(sa.peer().subject, None);
        }
    }
}

#[test]
fn every_kind_of_certificate_is_agreed_on() {
    for (key, method) in [("rsa", Method::Rsa), ("p256", Method::EcdsaP256), ("p384", Method::EcdsaP384)] {
        for name in
            ["aes128-sha1-ecp256", "aes256-sha256-modp2048", "aes256-sha384-ecp384", "aes256-sha512-ecp256"]
        {
            let (gm, ks) = with_certificates(key);
            let suites = vec![suite(name)];
            let gm = InitiatorConfig { suites: suites.clone(), ..gm };
            let outcome = assert_agreed(gm, ResponderConfig { suites, ..ks }, &format!("{key}, {name}"));
            let (member, key_server) = (outcome.member.unwrap(), outcome.key_server.unwrap());
            assert_eq!((member.peer().method, key_server.peer().method), (method, method));
            assert_eq!(key_server.peer().subject.as_deref(), Some("CN=gm1.example.net,O=Example"));
            assert_eq!(member.peer().subject.as_deref(), Some("CN=ks1.example.net,O=Example"));
            assert_eq!(key_server.peer().identity, identity("gm1.example.net"));
        }
    }
}

#[test]
fn each_side_knows_who_the_other_is_and_what_it_can() {
    let outcome = assert_agreed(gm_config(), ks_config(), "defaults");
    let (member, key_server) = (outcome.member.unwrap(), outcome.key_server.unwrap());
    assert_eq!(member.peer().identity, identity("ks1.example.net"));
    assert_eq!(member.peer().address, ks_address());
    assert_eq!(member.peer().tag, None);
    assert_eq!(key_server.peer().identity, identity("gm1.example.net"));
    assert_eq!(key_server.peer().address, gm_address());
    assert_eq!(key_server.peer().tag, Some(PeerTag(0)));
    for sa in [&member, &key_server] {
        assert!(sa.peer().is_getvpn && sa.peer().supports_dpd);
        assert!(!sa.initial_contact());
        assert_eq!(sa.doi(), Doi::Gdoi);
    }
}

#[test]
fn identities_of_every_kind_are_carried_over() {
    for name in [
        "192.0.2.7",
        "2001:db8::7",
        "gm1.example.net",
        "gm1@example.net",
        "CN=gm1,O=Example",
        "key-id:00010203",
    ] {
        let gm = InitiatorConfig { identity: identity(name), ..gm_config() };
        let ks = ResponderConfig {
            identity: identity(name),
            peers: Arc::new(Known { psk: Some(PSK), names: vec![name] }),
            ..ks_config()
        };
        let gm = InitiatorConfig { peer_identity: Some(identity(name)), ..gm };
        let outcome = assert_agreed(gm, ks, name);
        assert_eq!(outcome.key_server.unwrap().peer().identity.to_string(), name);
    }
}

#[test]
fn identities_of_every_kind_that_a_certificate_has_are_proven_by_it() {
    for name in ["192.0.2.7", "gm1.example.net", "gm1@example.net", "CN=gm1.example.net,O=Example"] {
        let (gm, ks) = with_certificates("p256");
        let gm = InitiatorConfig { identity: identity(name), ..gm };
        let ks = ResponderConfig { peers: Arc::new(Known { psk: None, names: vec![name] }), ..ks };
        assert_agreed(gm, ks, name);
    }
}

#[test]
fn a_configured_peer_is_one_that_its_certificate_has_whatever_it_calls_itself() {
    for expected in [Some("192.0.2.1"), Some("CN=ks1.example.net"), Some("ks1.example.net"), None] {
        let (gm, ks) = with_certificates("p256");
        let gm = InitiatorConfig { peer_identity: expected.map(identity), ..gm };
        assert_agreed(gm, ks, expected.unwrap_or("by address"));
    }
}

#[test]
fn the_shorter_lifetime_holds() {
    for (offered, longest, expected) in [(3600, 86_400, 3600), (86_400, 600, 600)] {
        let gm = InitiatorConfig { lifetime: Duration::from_secs(offered), ..gm_config() };
        let ks = ResponderConfig { lifetime: Duration::from_secs(longest), ..ks_config() };
        let outcome = assert_agreed(gm, ks, "lifetimes");
        let key_server = outcome.key_server.unwrap();
        assert_eq!(key_server.expires() - key_server.created(), Duration::from_secs(expected));
        let member = outcome.member.unwrap();
        assert_eq!(member.expires() - member.created(), Duration::from_secs(offered));
    }
    assert_eq!(DEFAULT_LIFETIME, Duration::from_secs(24 * 3600));
}

#[test]
fn the_responder_takes_its_own_first_choice_of_what_is_offered() {
    let all = || ["aes128-sha256-modp2048", "aes256-sha256-ecp256", "aes256-sha384-ecp384"].map(suite);
    let gm = InitiatorConfig { suites: all().to_vec(), ..gm_config() };
    let ks = ResponderConfig { suites: all().into_iter().rev().collect(), ..ks_config() };
    let outcome = assert_agreed(gm, ks, "preferences");
    assert_eq!(outcome.member.unwrap().suite(), suite("aes256-sha384-ecp384"));
}

#[test]
fn initial_contact_is_heard_by_the_other_side() {
    let outcome = assert_agreed(
        InitiatorConfig { initial_contact: true, ..gm_config() },
        ks_config(),
        "INITIAL-CONTACT",
    );
    assert!(outcome.key_server.unwrap().initial_contact());
    assert!(!outcome.member.unwrap().initial_contact());
}

#[test]
fn the_ipsec_doi_is_spoken_where_both_are_configured_for_it() {
    let gm = InitiatorConfig { doi: Doi::Ipsec, ..gm_config() };
    let ks = ResponderConfig { accept_ipsec_doi: true, ..ks_config() };
    let outcome = assert_agreed(gm, ks, "DOI 1");
    assert_eq!(outcome.member.unwrap().doi(), Doi::Ipsec);
    assert_eq!(outcome.key_server.unwrap().doi(), Doi::Ipsec);
}

#[test]
fn a_member_whose_address_has_a_key_may_still_come_with_a_certificate() {
    let (gm, ks) = with_certificates("p256");
    let ks =
        ResponderConfig { peers: Arc::new(Known { psk: Some(PSK), names: vec!["gm1.example.net"] }), ..ks };
    assert_agreed(gm, ks.clone(), "certificate");
    assert_agreed(gm_config(), ks, "pre-shared key");
}
