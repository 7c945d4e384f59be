//! What is refused, by which side, and in which words.

use super::*;
use crate::ike::{Method, Refusal, unprotected_notify};
use crate::wire::ExchangeType;

fn refused(gm: InitiatorConfig, ks: ResponderConfig) -> Outcome {
    let outcome = run(gm, ks, 11, perfect);
    assert!(!outcome.established());
    assert!(outcome.member.is_none(), "a member must not believe that it is established");
    outcome
}

fn first(outcome: &Outcome, side: Side) -> &IkeError {
    outcome.errors_of(side)[0]
}

#[test]
fn different_pre_shared_keys_are_named_as_such_at_the_responder() {
    let peers = Arc::new(Known { psk: Some(b"another secret"), names: vec!["gm1.example.net"] });
    let outcome = refused(gm_config(), ResponderConfig { peers, ..ks_config() });
    assert_eq!(*first(&outcome, Side::KeyServer), IkeError::PreSharedKey(5));
    assert_eq!(first(&outcome, Side::KeyServer).refusal(), Refusal::PreSharedKey);
    assert!(first(&outcome, Side::KeyServer).to_string().contains("pre-shared keys differ"));
    // It is counted once for each attempt, however often message 5 comes; and said again when it ends.
    assert_eq!(outcome.errors_of(Side::KeyServer), [&IkeError::PreSharedKey(5); 2]);
    // The member's operator sees the hint.
    let hint = Some(NotifyType::AuthenticationFailed);
    assert_eq!(
        outcome.errors_of(Side::Member),
        [&IkeError::NoAnswer { tries: Timing::default().tries, hint }]
    );
}

#[test]
fn no_common_suite_is_refused_with_what_was_offered() {
    for offered in ["aes256-sha256-ecp384", "aes128-sha256-ecp256", "aes256-sha1-ecp256"] {
        let outcome = refused(InitiatorConfig { suites: vec![suite(offered)], ..gm_config() }, ks_config());
        let error = first(&outcome, Side::KeyServer);
        assert_eq!(error.refusal(), Refusal::NoProposal);
        assert!(error.to_string().contains(offered), "{error}");
        assert!(outcome.hints.contains(&NotifyType::NoProposalChosen));
        assert!(outcome.errors_of(Side::Member)[0].to_string().contains("NO-PROPOSAL-CHOSEN"));
    }
}

#[test]
fn weak_groups_are_refused_unless_they_are_configured() {
    for weak in ["aes256-sha256-modp1024", "aes256-sha256-modp1536"] {
        let gm = InitiatorConfig { suites: vec![suite(weak)], ..gm_config() };
        let ks = ResponderConfig { suites: Suite::DEFAULT.to_vec(), ..ks_config() };
        assert_eq!(first(&refused(gm, ks), Side::KeyServer).refusal(), Refusal::NoProposal);
    }
}

#[test]
fn the_ipsec_doi_is_refused_unless_it_is_configured() {
    let outcome = refused(InitiatorConfig { doi: Doi::Ipsec, ..gm_config() }, ks_config());
    assert_eq!(*first(&outcome, Side::KeyServer), IkeError::Doi(1));
}

#[test]
fn an_address_without_a_key_is_told_apart_from_a_missing_suite() {
    let peers = Arc::new(Known { psk: None, names: vec!["gm1.example.net"] });
    let outcome = refused(gm_config(), ResponderConfig { peers, ..ks_config() });
    assert_eq!(*first(&outcome, Side::KeyServer), IkeError::NoCredentials(Method::PreSharedKey));
    let (gm, _) = with_certificates("rsa");
    assert_eq!(*first(&refused(gm, ks_config()), Side::KeyServer), IkeError::NoCredentials(Method::Rsa));
}

#[test]
fn an_identity_that_is_not_configured_is_refused_though_its_key_is_right() {
    let outcome =
        refused(InitiatorConfig { identity: identity("gm9.example.net"), ..gm_config() }, ks_config());
    assert_eq!(*first(&outcome, Side::KeyServer), IkeError::NotAdmitted(identity("gm9.example.net")));
    let hint = Some(NotifyType::InvalidIdInformation);
    assert_eq!(
        outcome.errors_of(Side::Member),
        [&IkeError::NoAnswer { tries: Timing::default().tries, hint }]
    );
}

#[test]
fn another_key_server_than_the_configured_one_is_refused() {
    let gm = InitiatorConfig { peer_identity: Some(identity("ks2.example.net")), ..gm_config() };
    let outcome = run(gm, ks_config(), 11, perfect);
    assert!(outcome.member.is_none());
    let error =
        IkeError::WrongPeer { found: identity("ks1.example.net"), expected: identity("ks2.example.net") };
    assert_eq!(outcome.errors_of(Side::Member), [&error], "final: it will say nothing else");

    // With certificates the peer must be the one that is addressed, if nobody is configured.
    let (gm, ks) = with_certificates("p256");
    let gm = InitiatorConfig { peer_identity: None, ..gm };
    let elsewhere = "198.51.100.1:848".parse().unwrap();
    let random = &mut SeededRandom::new(1);
    let now = Instant::now();
    let mut member = MainMode::initiate(Arc::new(gm), elsewhere, now, random).unwrap();
    let message = member.poll_transmit().unwrap();
    let mut key_server = MainMode::respond(Arc::new(ks), gm_address(), &message, now, random).unwrap();
    let mut last = None;
    for _ in 0..3 {
        let answer = key_server.poll_transmit().unwrap();
        last = Some(member.handle(now, UNIX_TIME, &answer, random));
        let Some(message) = member.poll_transmit() else { break };
        key_server.handle(now, UNIX_TIME, &message, random).unwrap();
    }
    assert_eq!(last.unwrap().unwrap_err().refusal(), Refusal::Identity);
    assert!(member.is_over());
}

#[test]
fn a_wrong_certificate_is_refused_with_the_reason() {
    for (name, refusal, word) in [
        ("expired", Refusal::Certificate, "expired"),
        ("untrusted", Refusal::Certificate, "trust anchor"),
        ("revoked", Refusal::Certificate, "revoked"),
    ] {
        let (gm, ks) = with_certificates("p256");
        let credentials = Credentials::Certificate(certificate(name, "p256"));
        let outcome = refused(InitiatorConfig { credentials, ..gm }, ks);
        let error = first(&outcome, Side::KeyServer);
        assert_eq!(error.refusal(), refusal, "{name}: {error}");
        assert!(error.to_string().contains(word), "{name}: {error}");
        assert_eq!(
            outcome.errors_of(Side::KeyServer).iter().filter(|error| error.refusal() == refusal).count(),
            1
        );
        assert!(outcome.hints.contains(&NotifyType::InvalidCertificate));
    }
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    for name in
        ["gm2.example.net", "198.51.100.1", "gm2@example.net", "CN=gm2.example.net,O=Example", "key-id:01"]
    {
        let (gm, ks) = with_certificates("p256");
        let peers = Arc::new(Known { psk: None, names: vec![name] });
        let outcome =
            refused(InitiatorConfig { identity: identity(name), ..gm }, ResponderConfig { peers, ..ks });
        let error = first(&outcome, Side::KeyServer);
        assert!(matches!(error, IkeError::CertificateName { .. }), "{name}: {error}");
    }
}

#[test]
fn a_key_server_with_a_wrong_certificate_is_refused_by_the_member() {
    let (gm, ks) = with_certificates("p256");
    let outcome =
        run(gm, ResponderConfig { certificate: Some(certificate("expired", "p256")), ..ks }, 11, perfect);
    assert!(outcome.member.is_none());
    assert_eq!(first(&outcome, Side::Member).refusal(), Refusal::Certificate);
    assert_eq!(outcome.errors_of(Side::Member).len(), 1, "final");
}

#[test]
fn a_key_that_is_not_the_certificates_makes_no_credentials() {
    let chain = parse_chain(&testdata("gm-p256.pem")).unwrap();
    let key = SigningKey::from_pem(&testdata("p384.key.pem")).unwrap();
    let trust = Arc::new(TrustStore::new(&[testdata("root.pem")], &[] as &[Vec<u8>]).unwrap());
    let error = CertificateCredentials::new(chain, key, trust).unwrap_err();
    assert!(error.to_string().contains("gm1.example.net"), "{error}");
}

#[test]
fn other_exchanges_are_refused_by_name() {
    let random = &mut SeededRandom::new(1);
    let now = Instant::now();
    let mut member = MainMode::initiate(Arc::new(gm_config()), ks_address(), now, random).unwrap();
    let first = member.poll_transmit().unwrap();
    let mut key_server = MainMode::respond(Arc::new(ks_config()), gm_address(), &first, now, random).unwrap();
    for exchange in [
        ExchangeType::Base,
        ExchangeType::Aggressive,
        ExchangeType::AuthenticationOnly,
        ExchangeType::GroupkeyPull,
        ExchangeType::GroupkeyPush,
        ExchangeType::Unknown(6),
    ] {
        let mut message = first.clone();
        message[18] = exchange.number();
        let expected = IkeError::Exchange(exchange);
        let begun = MainMode::respond(Arc::new(ks_config()), gm_address(), &message, now, random);
        assert_eq!(begun.unwrap_err(), expected);
        assert_eq!(key_server.handle(now, UNIX_TIME, &message, random).unwrap_err(), expected);
        assert_eq!(expected.refusal().name(), "unsupported-exchange");
    }
}

#[test]
fn a_first_message_with_a_responder_cookie_or_without_its_own_is_refused() {
    let random = &mut SeededRandom::new(1);
    let now = Instant::now();
    let mut member = MainMode::initiate(Arc::new(gm_config()), ks_address(), now, random).unwrap();
    let good = member.poll_transmit().unwrap();
    for range in [0..8, 8..16] {
        let mut message = good.clone();
        let octet = if range.start == 0 { 0 } else { 1 };
        message[range].fill(octet);
        let result = MainMode::respond(Arc::new(ks_config()), gm_address(), &message, now, random);
        assert_eq!(result.unwrap_err(), IkeError::Cookies);
    }
}

#[test]
fn a_notification_in_the_clear_is_a_hint_and_changes_nothing() {
    let random = &mut SeededRandom::new(1);
    let now = Instant::now();
    let mut member = MainMode::initiate(Arc::new(gm_config()), ks_address(), now, random).unwrap();
    let first = member.poll_transmit().unwrap();
    let mut key_server = MainMode::respond(Arc::new(ks_config()), gm_address(), &first, now, random).unwrap();
    let second = key_server.poll_transmit().unwrap();
    let forged = unprotected_notify(member.cookies(), NotifyType::AuthenticationFailed).unwrap();
    for _ in 0..100 {
        let progress = member.handle(now, UNIX_TIME, &forged, random).unwrap();
        assert!(matches!(progress, Progress::Hint(NotifyType::AuthenticationFailed)));
        assert!(member.poll_transmit().is_none());
    }
    assert!(matches!(member.handle(now, UNIX_TIME, &second, random), Ok(Progress::Continue)));
    assert!(member.poll_transmit().is_some());
    let stranger = unprotected_notify(CookiePair::from([9; 16]), NotifyType::AuthenticationFailed).unwrap();
    assert_eq!(member.handle(now, UNIX_TIME, &stranger, random).unwrap_err(), IkeError::Cookies);
}

#[test]
fn forged_messages_before_the_right_one_do_not_keep_it_out() {
    for number in [1, 2, 3, 4, 5] {
        let mut outcome = run(gm_config(), ks_config(), 5, |sent, _, datagram| {
            let mut arrivals = Vec::new();
            if sent == number {
                for forgery in 0..50u8 {
                    let mut forged = datagram.to_vec();
                    let last = forged.len() - 1 - usize::from(forgery % 16);
                    // An odd number more of the last payload's length, or anything at all in its place.
                    forged[last] ^= forgery | 1;
                    if number < 4 {
                        forged[28 + 3] ^= 1;
                    }
                    arrivals.push((Duration::from_millis(1), forged));
                }
            }
            arrivals.push((Duration::from_millis(2), datagram.to_vec()));
            arrivals
        });
        assert!(outcome.agreed(), "message {}: {:?}", number + 1, outcome.errors);
    }
}

#[test]
fn what_the_responder_chose_must_have_been_offered() {
    let outcome = run(gm_config(), ks_config(), 5, perfect);
    let second = outcome.sent[1].1.clone();
    for (attribute, value) in [(1u16, 5u16), (14, 128), (2, 2), (3, 3), (4, 14)] {
        let mut message = second.clone();
        let wanted = (0x8000 | attribute).to_be_bytes();
        let at = message.windows(2).position(|window| window == wanted).unwrap();
        message[at + 2..at + 4].copy_from_slice(&value.to_be_bytes());
        let random = &mut SeededRandom::new(5);
        let mut member =
            MainMode::initiate(Arc::new(gm_config()), ks_address(), Instant::now(), random).unwrap();
        let result = member.handle(Instant::now(), UNIX_TIME, &message, random);
        assert_eq!(result.unwrap_err().refusal(), Refusal::NoProposal, "attribute {attribute}");
    }
}

#[test]
fn public_values_that_would_give_the_secret_away_are_refused() {
    let gm = InitiatorConfig { suites: vec![suite("aes128-sha1-modp1024")], ..gm_config() };
    let ks = ResponderConfig { suites: gm.suites.clone(), ..ks_config() };
    for (number, side) in [(2, Side::KeyServer), (3, Side::Member)] {
        let outcome = run(gm.clone(), ks.clone(), 5, |sent, _, datagram| {
            let mut message = datagram.to_vec();
            if sent == number {
                message[32..32 + 128].fill(0);
                message[32 + 127] = 1;
            }
            vec![(Duration::from_millis(1), message)]
        });
        assert_eq!(first(&outcome, side).refusal(), Refusal::KeyExchange);
    }
}

#[test]
fn no_error_and_no_debug_output_shows_a_key() {
    let config = format!("{:?} {:?}", gm_config(), ks_config());
    assert!(!config.contains("both know"));
    let (gm, ks) = pair(gm_config(), ks_config());
    let shown = format!("{gm:?} {ks:?}");
    assert!(!shown.contains("SKEYID") && !shown.contains("skeyid"), "{shown}");
}
