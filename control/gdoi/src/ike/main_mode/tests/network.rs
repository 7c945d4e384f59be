//! Loss, duplication, reordering, replay, patience.

use super::*;

/// Loses, doubles and delays datagrams by a seed.
fn bad(seed: u64, loss: u8) -> impl FnMut(usize, Side, &[u8]) -> Vec<(Duration, Vec<u8>)> {
    let mut random = SeededRandom::new(seed ^ 0x5eed);
    move |_, _, datagram| {
        let mut octets = [0; 5];
        random.fill(&mut octets);
        let [lost, doubled, lost_too, delay, delay_too] = octets;
        let mut arrivals = Vec::new();
        if lost >= loss {
            arrivals.push((Duration::from_millis(u64::from(delay) * 4), datagram.to_vec()));
        }
        if doubled < 100 && lost_too >= loss {
            arrivals.push((Duration::from_millis(u64::from(delay_too) * 4), datagram.to_vec()));
        }
        arrivals
    }
}

#[test]
fn loss_duplication_and_reordering_only_delay() {
    // Three in ten are lost, so that a message and its answer get through half of the time.
    let timing = Timing { tries: 14, half_open: Duration::from_secs(3600), ..Timing::default() };
    for seed in 0..200 {
        let gm = InitiatorConfig { timing, ..gm_config() };
        let ks = ResponderConfig { timing, ..ks_config() };
        let mut outcome = run(gm, ks, seed, bad(seed, 77));
        assert!(outcome.agreed(), "seed {seed}: {:?}", outcome.errors);
        assert!(
            outcome.errors.iter().all(|(_, error)| *error == IkeError::Over),
            "seed {seed}: {:?}",
            outcome.errors
        );
    }
}

#[test]
fn each_single_lost_message_is_made_up_for() {
    for lost in 0..6 {
        let mut outcome = run(gm_config(), ks_config(), 3, |number, side, datagram| {
            if number == lost { Vec::new() } else { perfect(number, side, datagram) }
        });
        assert!(outcome.agreed(), "message {}: {:?}", lost + 1, outcome.errors);
        assert!(outcome.elapsed < Duration::from_secs(1), "message {}: {:?}", lost + 1, outcome.elapsed);
    }
}

#[test]
fn an_initiator_without_an_answer_sends_again_ever_later_and_gives_up() {
    let outcome = run(gm_config(), ks_config(), 3, |_, _, _| Vec::new());
    let tries = Timing::default().tries;
    assert_eq!(outcome.sent.len(), tries as usize);
    assert!(outcome.sent.iter().all(|message| message == &outcome.sent[0]));
    assert_eq!(outcome.errors, [(Side::Member, IkeError::NoAnswer { tries, hint: None })]);
    assert!(outcome.elapsed > Duration::from_secs(26) && outcome.elapsed < Duration::from_secs(37));
}

#[test]
fn a_responder_forgets_who_does_not_go_on_and_computes_nothing_for_it() {
    let outcome = run(gm_config(), ks_config(), 3, |number, side, datagram| {
        if side == Side::Member && number > 0 { Vec::new() } else { perfect(number, side, datagram) }
    });
    assert!(outcome.errors.contains(&(Side::KeyServer, IkeError::HalfOpen(1))), "{:?}", outcome.errors);
    assert!(outcome.key_server.is_none());
}

#[test]
fn duplicates_are_answered_no_oftener_than_the_interval_allows() {
    let random = &mut SeededRandom::new(5);
    let now = Instant::now();
    let mut member = MainMode::initiate(Arc::new(gm_config()), ks_address(), now, random).unwrap();
    let first = member.poll_transmit().unwrap();
    let ks = Arc::new(ks_config());
    let mut key_server = MainMode::respond(Arc::clone(&ks), gm_address(), &first, now, random).unwrap();
    let answer = key_server.poll_transmit().unwrap();
    let mut answers = 0;
    for millisecond in 1..=10_000 {
        let at = now + Duration::from_millis(millisecond);
        assert!(matches!(key_server.handle(at, UNIX_TIME, &first, random), Ok(Progress::Continue)));
        if let Some(again) = key_server.poll_transmit() {
            assert_eq!(again, answer);
            answers += 1;
        }
    }
    assert_eq!(answers, MAX_ANSWERS);
}

#[test]
fn a_lost_sixth_message_is_sent_again_after_the_responder_is_done() {
    let mut seen = 0;
    let mut outcome = run(gm_config(), ks_config(), 3, |number, side, datagram| {
        seen += usize::from(side == Side::KeyServer);
        if side == Side::KeyServer && (3..=4).contains(&seen) {
            Vec::new()
        } else {
            perfect(number, side, datagram)
        }
    });
    assert!(outcome.agreed(), "{:?}", outcome.errors);
}

#[test]
fn a_replayed_phase_1_goes_nowhere() {
    let recorded = run(gm_config(), ks_config(), 3, perfect).sent;
    let random = &mut SeededRandom::new(4);
    let now = Instant::now();
    let ks = Arc::new(ks_config());
    let mut key_server = MainMode::respond(ks, gm_address(), &recorded[0].1, now, random).unwrap();
    for (side, message) in &recorded[1..] {
        if *side == Side::Member {
            let result = key_server.handle(now, UNIX_TIME, message, random);
            assert_eq!(result.unwrap_err(), IkeError::Cookies, "the responder's cookie is a new one");
        }
    }
    // Even to somebody who puts in the new cookie, the old proof is of no use.
    let cookie = key_server.cookies().responder;
    for index in [2, 4] {
        let mut message = recorded[index].1.clone();
        message[8..16].copy_from_slice(&cookie.0);
        let result = key_server.handle(now, UNIX_TIME, &message, random);
        assert!(!matches!(result, Ok(Progress::Established(_))), "{result:?}");
    }
}
