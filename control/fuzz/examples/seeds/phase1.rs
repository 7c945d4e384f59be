//! Honest main mode, message by message, in the forms that `phase1::attack` takes.

use getvpn_control_fuzz::handshake::{Auth, Handshake};
use getvpn_gdoi::ike::Role;
use getvpn_gdoi::wire::split_datagram;

use super::{piece, seed};

const CLEAR: u8 = 1;
const PROVEN: u8 = 3;
/// INITIAL-CONTACT as the last payload, behind its type.
const INITIAL_CONTACT: [u8; 13] = [11, 0, 0, 12, 0, 0, 0, 1, 1, 0, 0x60, 2, 0];

/// Writes the seeds of both roles.
pub fn write() {
    for (target, role) in [("phase1_responder", Role::Responder), ("phase1_initiator", Role::Initiator)] {
        for (at, auth) in [Auth::Psk, Auth::WrongPsk, Auth::Certificate].into_iter().enumerate() {
            one(target, role, auth, u8::try_from(at).unwrap() << 4);
        }
    }
}

fn one(target: &str, role: Role, auth: Auth, choice: u8) {
    let handshake = Handshake::get(role, auth);
    let mut all = vec![choice];
    if role == Role::Responder {
        seed(target, &format!("{auth:?}_first"), &[&[choice], &handshake.received[0][..]].concat());
        all[0] += 1;
    }
    let from = usize::from(all[0] & 3);
    for (at, datagram) in handshake.received[from..2].iter().enumerate() {
        let (header, body) = split_datagram(datagram).unwrap();
        let message = piece(&[&[CLEAR, 0, header.next_payload.number()], body].concat());
        let state = choice + u8::try_from(from + at).unwrap();
        seed(target, &format!("{auth:?}_{}", from + at), &[&[state], &message[..]].concat());
        all.extend(message);
    }
    // The harness's own certificate and identity, then INITIAL-CONTACT.
    let proof = piece(&[&[PROVEN, 0, 1, 0, 0], &INITIAL_CONTACT[..]].concat());
    seed(target, &format!("{auth:?}_proof"), &[&[choice + 2], &proof[..]].concat());
    all.extend(proof);
    seed(target, &format!("{auth:?}_all"), &all);
    seed(target, &format!("{auth:?}_established"), &[&[choice + 3], &INITIAL_CONTACT[..]].concat());
}
