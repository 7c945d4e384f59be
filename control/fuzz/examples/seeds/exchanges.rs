//! Registrations and rekeys as our own side makes them, and what the key server receives in each state.

use getvpn_control_fuzz::group::{keys, policy};
use getvpn_control_fuzz::handshake::{Auth, Handshake};
use getvpn_control_fuzz::registration::request;
use getvpn_gdoi::group::{GroupKeys, to_key_download, to_sa_payload};
use getvpn_gdoi::ike::Role;
use getvpn_gdoi::wire::{
    Attributes, Compat, Delete, Doi, Gap, GapAttribute, Notify, NotifyType, Payload, PayloadType, Spi,
    encode_chain,
};

use super::{piece, seed};

/// Writes the seeds of the targets for registrations, rekeys and the server.
pub fn write() {
    let sa = Payload::GdoiSa(to_sa_payload(&policy(), Compat::Standard).unwrap());
    let download = Payload::KeyDownload(to_key_download(&keys(), &policy()).unwrap());
    let second = chain(&[Payload::Nonce(vec![5; 16]), sa.clone()]);
    let fourth = chain(&[Payload::Sequence(1), download.clone()]);
    let both = [piece(&second), piece(&fourth)].concat();
    seed("pull_gm", "both", &[&[0], &both[..]].concat());
    seed("pull_gm", "both_without_hash", &[&[4], &both[..]].concat());
    for (name, choice) in [("keys", 2), ("keys_reference", 3), ("keys_held", 10)] {
        seed("pull_gm", name, &[&[choice], &piece(&fourth)[..]].concat());
    }

    let request = [&[request().first.number()], &request().octets[..]].concat();
    let attributes = Attributes::new().with(GapAttribute::SenderIdRequest, 4u16);
    let confirmation = chain(&[Payload::Gap(Gap { attributes })]);
    seed("pull_ks", "both", &[&[0], &piece(&request)[..], &piece(&confirmation)].concat());
    seed("pull_ks", "confirmation", &[&[2], &piece(&confirmation)[..]].concat());

    let mut shared = keys();
    shared.sender_ids = None;
    let download = Payload::KeyDownload(to_key_download(&shared, &policy()).unwrap());
    let delete = Payload::Delete(Delete { doi: Doi::Gdoi, protocol: 1, spis: vec![0x1001.into(), 0.into()] });
    for (name, payloads) in [
        ("rekey", vec![Payload::Sequence(2), sa.clone(), download]),
        ("delete", vec![Payload::Sequence(2), delete]),
    ] {
        for (kind, choice) in [("encrypted", 2), ("signed", 4), ("signed_reference", 5)] {
            seed("push_gm", &format!("{name}_{kind}"), &[&[choice], &chain(&payloads)[..]].concat());
        }
    }
    server(&request, &confirmation);
    member(&second, &fourth, &shared);
}

fn member(second: &[u8], fourth: &[u8], shared: &GroupKeys) {
    let message = |form: u8, octets: &[u8]| piece(&[&[form, 2], octets].concat());
    let mut newer = policy();
    newer.teks[1].spi.0 = 0x1003;
    newer.kek.as_mut().unwrap().spi.0 = [0x4c; 16];
    let mut keys = shared.clone();
    keys.teks[1].0.0 = 0x1003;
    keys.kek.as_mut().unwrap().0.0 = [0x4c; 16];
    let rekey = chain(&[
        Payload::Sequence(2),
        Payload::GdoiSa(to_sa_payload(&newer, Compat::Standard).unwrap()),
        Payload::KeyDownload(to_key_download(&keys, &newer).unwrap()),
    ]);
    let delete =
        |protocol, spi: Spi| chain(&[Payload::Delete(Delete { doi: Doi::Gdoi, protocol, spis: vec![spi] })]);
    let deleted = [&[0, 9], &delete(3, 0x1001.into())[..]].concat();
    let registration = [message(4, second), message(4, fourth)].concat();
    seed("member", "registration", &[&[3], &registration[..]].concat());
    seed("member", "keys", &[&[4], &message(4, fourth)[..]].concat());
    seed("member", "rekey", &[&[5], &message(5, &rekey)[..]].concat());
    seed("member", "forged_rekey", &[&[5], &message(7, &rekey)[..]].concat());
    let kek = Delete { doi: Doi::Gdoi, protocol: 0, spis: vec![[7; 16][..].into()] };
    let kek = chain(&[Payload::Sequence(2), Payload::Delete(kek)]);
    seed("member", "delete_kek", &[&[5], &message(5, &kek)[..]].concat());
    seed("member", "delete_sa", &[&[5], &message(3, &deleted)[..]].concat());
    for what in 0..=5 {
        let owner = message(6, &[what, 0x10, 1]);
        seed("member", &format!("owner_{what}"), &[&[5], &owner[..], &message(5, &rekey)].concat());
    }
}

fn server(request: &[u8], confirmation: &[u8]) {
    let message = |form: u8, octets: &[u8]| piece(&[&[form, 2], octets].concat());
    let notify = |notify_type, spi: &[u8], data: &[u8]| {
        let (doi, protocol) = (Doi::Gdoi, 3);
        chain(&[Payload::Notify(Notify { doi, protocol, notify_type, spi: spi.into(), data: data.to_vec() })])
    };
    let invalid_spi = [&[0, 9], &notify(NotifyType::InvalidSpi, &[0, 0, 16, 1], &[])[..]].concat();
    let cookies = Handshake::get(Role::Responder, Auth::Psk).session.cookies;
    let deleted = Payload::Delete(Delete { doi: Doi::Gdoi, protocol: 1, spis: vec![cookies.into()] });
    let deleted = [&[0, 10], &chain(&[deleted])[..]].concat();
    let registration = [message(0x0c, request), message(0x0c, confirmation)].concat();
    for (name, auth) in [("psk", 0), ("certificate", 0x20)] {
        seed("server", &format!("{name}_pull"), &[&[auth | 3], &registration[..]].concat());
        seed("server", &format!("{name}_first"), &[&[auth], &message(5, &[1, 2])[..]].concat());
        for (state, what) in [(3, "established"), (7, "requested"), (15, "registered")] {
            let informational = [message(3, &invalid_spi), message(3, &deleted)].concat();
            let name = format!("{name}_{what}_informational");
            seed("server", &name, &[&[auth | state], &informational[..]].concat());
        }
    }
}

/// Payloads behind the type of the first.
fn chain(payloads: &[Payload]) -> Vec<u8> {
    let chain = encode_chain(payloads, PayloadType::None, Compat::Standard).unwrap();
    [&[chain.first.number()], chain.octets.as_slice()].concat()
}
