//! A stranger's messages to one side of main mode, in each of its states.

use std::sync::Arc;
use std::time::{Duration, Instant};

use getvpn_gdoi::crypto::SeededRandom;
use getvpn_gdoi::ike::{IkeError, MainMode, Progress, Role};
use getvpn_gdoi::wire::{MAX_DATAGRAM, PayloadType};

use crate::handshake::{Auth, Handshake, Run, START, UNIX_TIME, member_address, responder_config};
use crate::{Chain, Input};

/// How octets become a message.
#[derive(Clone, Copy)]
enum Form {
    /// They are the datagram.
    Raw,
    /// They are payloads in the clear, behind the right header.
    Clear,
    /// They are payloads, encrypted.
    Encrypted,
    /// They are an identity and payloads, with the right proof of whoever holds the harness's credentials.
    Proven,
}

/// Main mode with a side of this role under test. The first octet says how far it got and by which
/// credentials; then each piece is a message in the form that its first octet says, after as many times
/// 64 ms as its second octet says. Once established, all of it is an authentic Informational message too.
///
/// Never panics; nobody is authenticated without the right credentials; and while every message was
/// refused, the honest peer can still go on.
pub fn attack(role: Role, mut input: Input<'_>) {
    let choice = input.octet();
    let auth = [Auth::Psk, Auth::WrongPsk, Auth::Certificate][usize::from(choice >> 4) % 3];
    let handshake = Handshake::get(role, auth);
    let messages = usize::from(choice & 3).min(handshake.received.len());
    let Some(mut run) = handshake.until(messages) else { return first_message(input.rest()) };
    let mut now = *START;
    let mut refused = true;
    for piece in input.pieces() {
        let mut piece = Input::new(piece);
        let form = [Form::Raw, Form::Clear, Form::Encrypted, Form::Proven][usize::from(piece.octet() & 3)];
        now += Duration::from_millis(u64::from(piece.octet()) * 64);
        let _ = run.mode.handle_timeout(now, &mut run.random);
        let datagram = make(handshake, form, piece);
        let progress = run.mode.handle(now, UNIX_TIME, &datagram, &mut run.random);
        refused &= !matches!(progress, Ok(Progress::Continue | Progress::Established(_)));
        check(auth, form, &progress);
        if let Ok(Progress::Established(sa)) = progress {
            run.established = Some(sa);
        }
        assert!(run.mode.poll_transmit().is_none_or(|reply| reply.len() <= MAX_DATAGRAM));
        assert!(run.mode.poll_transmit().is_none());
    }
    if refused && !run.mode.is_over() && auth != Auth::WrongPsk && messages < 3 {
        go_on(handshake, &mut run, messages, now);
    }
    if let Some(sa) = &mut run.established {
        let message = handshake.session.informational(1, Chain::fuzzed(input.rest()));
        let _ = sa.open_informational(&message);
        assert!(sa.open_informational(&message).is_err(), "a replay");
    }
}

/// A responder that knows nobody yet.
fn first_message(datagram: &[u8]) {
    let config = Arc::new(responder_config());
    let mut random = SeededRandom::new(2);
    if let Ok(mut mode) = MainMode::respond(config, member_address(), datagram, *START, &mut random) {
        assert!(mode.poll_transmit().is_some() && !mode.is_over());
    }
}

fn make(handshake: &Handshake, form: Form, mut piece: Input<'_>) -> Vec<u8> {
    match form {
        Form::Raw => piece.rest().to_vec(),
        Form::Clear => handshake.clear(&Chain::fuzzed(piece.rest())),
        Form::Encrypted => handshake.encrypted(&Chain::fuzzed(piece.rest())),
        Form::Proven => {
            let (choice, identity) = (piece.octet(), piece.piece());
            let honest = handshake.identity();
            let mut chain = Chain::fuzzed(piece.rest());
            if choice & 1 != 0 {
                chain = chain.behind(PayloadType::Certificate, &handshake.certificate());
            }
            let identity = if choice & 2 != 0 { identity } else { &honest };
            handshake.encrypted(&handshake.proof(identity, chain))
        }
    }
}

fn check(auth: Auth, form: Form, progress: &Result<Progress, IkeError>) {
    match progress {
        Ok(Progress::Established(sa)) => {
            assert!(auth != Auth::WrongPsk && matches!(form, Form::Proven), "{auth:?}");
            assert_eq!(sa.peer().subject.is_some(), auth == Auth::Certificate);
        }
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The honest peer's remaining messages lead to the end.
fn go_on(handshake: &Handshake, run: &mut Run, messages: usize, now: Instant) {
    // What was refused may have drawn randomness, and the recorded proof holds for one draw only.
    run.random = handshake.until(messages).unwrap().random;
    for datagram in &handshake.received[messages..] {
        if let Progress::Established(sa) = run.mode.handle(now, UNIX_TIME, datagram, &mut run.random).unwrap()
        {
            run.established = Some(sa);
        }
        let _ = run.mode.poll_transmit();
    }
    assert!(run.established.is_some());
}
